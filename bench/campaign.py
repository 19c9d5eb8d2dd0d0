"""`python -m bench.campaign`: how fast two workers are beside one, and what is left after many of them were killed."""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import IO, TYPE_CHECKING, NamedTuple

from bench import machine, scale
from icehouse.campaigns.control import Campaigns
from icehouse.campaigns.worker import WorkerPool
from icehouse.service import FrostService
from icehouse.store import campaigns
from icehouse.store.campaigns import CampaignState
from icehouse.vault.init import MODULE, STORE, make_vault
from icehouse.vault.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

STORES = ("sqlite", "postgresql")
_LATENCY = 0.005
_LOOK = 0.002


class Pair(NamedTuple):
    """A campaign of one worker beside the same one of two, in seconds."""

    what: str
    one: float
    two: float


def made(directory: Path, custody: str, users: int, latency: float, url: str = STORE) -> Path:
    """A vault with users; afterwards its HSM takes so many seconds for every operation."""
    make_vault(directory, Settings(url, MODULE), custody=custody, buckets=0)
    with FrostService.open(directory) as service:
        service.create_users(f"user-{number}" for number in range(users))
    if latency:
        file = directory / "vault.toml"
        slow = file.read_text(encoding="utf-8").replace(MODULE, f"{MODULE}&latency={latency}")
        file.write_text(slow, encoding="utf-8")
    return directory


def seconds(directory: Path, verb: str, workers: int) -> float:
    """How long a campaign takes with so many workers, each a process with one thread, ready before it is started."""
    command = [sys.executable, "-m", "bench.campaign", "--worker", directory]
    # Processes of their own, not forks: the core's threads do not live on in a fork.
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(workers)]
    for process in started:
        _pipe(process.stdout).readline()
    with FrostService.open(directory) as service:
        office, database = Campaigns(service.vault), service.vault.store.database
        number = office.start(verb).id
        begun = monotonic()
        for process in started:
            _pipe(process.stdin).write(f"{number}\n".encode())
            _pipe(process.stdin).flush()
        while campaigns.campaign_of(database, number).state is not CampaignState.DONE:
            sleep(_LOOK)
        taken = monotonic() - begun
        progress = office.report(number).progress
    for process in started:
        process.communicate()
    if progress.failed or progress.skipped:
        msg = f"the campaign did not do all of its work: {progress}"
        raise RuntimeError(msg)
    return taken


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise AssertionError
    return stream


def work(directory: Path) -> None:
    """Open the vault, say so, and work on the campaign that standard input names."""
    with FrostService.open(directory) as service:
        print("ready", flush=True)
        WorkerPool(service.vault, 1, campaign=int(sys.stdin.readline())).run()


def speed(place: Path, store: str, users: int, rounds: int) -> Iterator[Pair]:
    """Two workers beside one, alternating."""
    # One data key for a thousand users, a node for each: about as many operations of the HSM in both.
    for verb, custody, count in (("rewrap", "hybrid", users), ("verify", "hierarchical", users // 200)):
        own = place / f"{custody}-{store}"
        own.mkdir()
        with scale.url(store, own) as url:
            directory = made(own / "vault", custody, count, _LATENCY, url or STORE)
            one, two = [], []
            for _ in range(rounds):
                one.append(seconds(directory, verb, 1))
                two.append(seconds(directory, verb, 2))
        what = f"{verb} of {count:,} users, {custody} on {store}, HSM with {_LATENCY * 1000:g} ms: two workers"
        yield Pair(what, median(one), median(two))


def reliability(place: Path, users: int, kills: int) -> dict[str, object]:
    """A reseal whose workers are killed at random statements while one call in twenty to the HSM fails."""
    directory = made(place / "kills", "hybrid", users, 0)
    with FrostService.open(directory) as service:
        number = Campaigns(service.vault).start("reseal").id
    # Each life is a part of the whole that leaves enough for all of them.
    farthest = max(10, users // 50 // kills)
    numbers = map(str, (number, kills, 2, 1, 7, farthest))
    begun = monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "bench.mortal", directory, *numbers], check=True, capture_output=True, text=True
    )
    taken = monotonic() - begun
    with FrostService.open(directory) as service:
        progress = Campaigns(service.vault).report(number).progress
        checked = service.check()
        misfits = list(service.examine_data_keys())
    return {
        "users": users,
        **json.loads(done.stdout),
        "seconds": round(taken, 1),
        "done": progress.done,
        "skipped": progress.skipped,
        "failed": progress.failed,
        "opened_afterwards": checked,
        "wrong_counts": len(misfits),
    }


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.campaign", description=__doc__)
    parser.add_argument("--users", type=int, default=400_000, help="for the comparison of one worker and two")
    parser.add_argument("--rounds", type=int, default=3, help="how often one worker and two alternate")
    parser.add_argument("--kills", type=int, default=0, metavar="N", help="kill so many workers, and compare nothing")
    parser.add_argument("--worker", type=Path, metavar="VAULT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.getLogger("icehouse").setLevel(logging.CRITICAL)
    if options.worker:
        work(options.worker)
        return
    with tempfile.TemporaryDirectory(prefix="icehouse-bench-") as directory:
        place = Path(directory)
        if options.kills:
            results = [reliability(place, options.users, options.kills)]
        else:
            pairs = [pair for store in STORES for pair in speed(place, store, options.users, options.rounds)]
            results = [{**pair._asdict(), "times": round(pair.one / pair.two, 3)} for pair in pairs]
    print(json.dumps({"machine": machine.facts(), "results": results}, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
