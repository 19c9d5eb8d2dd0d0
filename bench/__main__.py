"""`make bench`: icehouse beside its peer, in one run that alternates between them."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from bench import campaign, chart, creation, enrolment, exchanges, machine, others, scale, vaults
from bench.peer import Peer
from bench.results import Figure, page, peers_table, scale_table, table

_DEVICES = 100
_USERS = 100_000
_ENROLLED = 20_000
_CAMPAIGN = 400_000
_CAMPAIGN_ROUNDS = 3
_ZF_DEALER = "ZF dealer, all threads"


class Run:
    """The measurements of one run."""

    def __init__(self, sizes: list[int], enrolled: int, rounds: int, directory: Path) -> None:
        self.sizes = sizes
        self.users, self.enrolled, self.rounds = min(max(sizes), _USERS), enrolled, rounds
        self._directory = directory
        self._peer = Peer()
        self.figures: list[Figure] = []

    def to_json(self) -> dict[str, object]:
        """Measure everything; the run as JSON."""
        found = machine.facts()
        self._creation()
        self._exchanges()
        self._enrolled_bytes()
        grown = self._grown()
        self._workers()
        return {
            "machine": found,
            "users": self.users,
            "enrolled": self.enrolled,
            "rounds": self.rounds,
            "threads": self._peer.threads,
            "results": [figure.to_json() for figure in self.figures],
            "grown": grown,
            "peers": self._peers(),
        }

    def _creation(self) -> None:
        _say(f"creating {self.users:,} users twice")
        names = {"increasing": creation.increasing_names, "random": creation.random_names}
        services = {kind: vaults.make(self._directory / kind) for kind in names}
        operations = services["random"].hsm.operations.total
        dealer, memory, durable = [], [], {kind: [] for kind in names}
        slice_of = self.users // self.rounds
        for number in range(self.rounds):
            dealer.append(self._peer.run()["dealer_all_threads"])
            memory.append(creation.dealt_in_memory())
            for kind, service in services.items():
                users = names[kind](number * slice_of, slice_of)
                durable[kind].append(creation.created(service, users, slice_of))
        operations = services["random"].hsm.operations.total - operations
        for service in services.values():
            service.close()
        self._faster("creation in memory, both shares sealed", memory, dealer)
        self._faster("creation sealed and durable, increasing names", durable["increasing"], dealer, "≥ 2.2")
        self._faster("creation sealed and durable, random UUID names", durable["random"], dealer, "≥ 2.2")
        self._add(Figure("HSM operations per 1,000 users created", operations * 1000 / self.users, "", goal="≤ 2"))
        for kind, goal in (("increasing", ""), ("random", "≤ 420")):
            used = vaults.footprint(self._directory / kind).used / self.users
            self._add(Figure(f"on disk per unclaimed user, {kind} names", used, "bytes", goal=goal))

    def _exchanges(self) -> None:
        _say("signing and rotating")
        durable = vaults.reopen(self._directory / "random")
        memory = vaults.make_in_memory()
        memory.create_users(f"user-{number}" for number in range(_DEVICES))
        devices = {
            service: exchanges.enrolled(service, [view.user_id for view in islice(service.users(), _DEVICES)])
            for service in (durable, memory)
        }
        halves, offers, offers_in_memory, signs, refreshes = [], [], [], [], []
        for _ in range(self.rounds):
            peer = self._peer.run()
            signs.append(peer["commit_and_sign"])
            refreshes.append(peer["refresh"])
            halves.append(median(exchanges.signature_halves(durable, devices[durable])))
            offers.append(median(exchanges.rotation_offers(durable, devices[durable])))
            offers_in_memory.append(median(exchanges.rotation_offers(memory, devices[memory])))
        durable.close()
        memory.close()
        self._slower("the server's half of a signature", halves, ("ZF commit and sign", signs), "≤ 1.4")
        zf_refresh = ("ZF dealer refresh, both sides", refreshes)
        self._slower("a rotation offer, durable", offers, zf_refresh)
        self._slower("a rotation offer, database in memory", offers_in_memory, zf_refresh)

    def _enrolled_bytes(self) -> None:
        _say(f"enrolling {self.enrolled:,} users")
        directory = self._directory / "enrolled"
        users = list(creation.random_names(0, self.enrolled))
        with vaults.make(directory) as service:
            service.create_users(users)
        enrolment.enrol_all(directory, users)
        used = vaults.footprint(directory).used / self.enrolled
        self._add(Figure("on disk per enrolled user, random names", used, "bytes", goal="≤ 300"))

    def _grown(self) -> list[dict[str, Any]]:
        grown = []
        for store, custody in scale.KINDS:
            for users in self.sizes:
                _say(f"{users:,} users, {custody} on {store}")
                grown.append(scale.measured(store, custody, users))
        created = {(row.store, row.custody, row.users): row.microseconds["create"] for row in grown}
        most, few = max(self.sizes), 10_000
        if ("sqlite", "hybrid", few) in created and most > few:
            # A third of a second once is chance.
            often = [scale.measured("sqlite", "hybrid", few).microseconds["create"] for _ in range(self.rounds)]
            times = created["sqlite", "hybrid", most] / median(often)
            self._add(Figure(f"creation of {most:,} users, per user: times that of {few:,}", times, "", goal="≤ 1.15"))
        sealed = created["sqlite", "hybrid", most]
        derived = created["sqlite", "hierarchical", most]
        self._add(Figure("hierarchical creation", derived, "µs", "hybrid creation", sealed, goal="≤ 1"))
        dealer = median(self._peer.run()["dealer_all_threads"] for _ in range(self.rounds))
        on_postgresql = created["postgresql", "hybrid", most]
        what = "creation sealed and durable on PostgreSQL, random UUID names"
        self._add(Figure(what, on_postgresql, "µs", _ZF_DEALER, dealer, faster=True, goal="≥ 1.5"))
        peak = max(row.peak_megabytes for row in grown)
        self._add(Figure(f"peak memory of a bulk run, up to {most:,} users", peak, "MB", goal="≤ 300"))
        return [asdict(row) for row in grown]

    def _workers(self) -> None:
        users = min(4 * self.users, _CAMPAIGN)
        for store in campaign.STORES:
            _say(f"one worker and two, on {store}")
            for pair in campaign.speed(self._directory, store, users, min(self.rounds, _CAMPAIGN_ROUNDS)):
                self._add(Figure(pair.what, pair.two, "s", "one", pair.one, faster=True, goal="≥ 1.9"))

    def _peers(self) -> dict[str, dict[str, float]]:
        _say("other libraries")
        zf = self._peer.run()
        own = {"dealer": zf["dealer_one_thread"], "commit_and_sign": zf["commit_and_sign"]}
        return {
            "ZF `frost-ed25519` 3.0.0 (Rust)": own,
            "`frost-rs` 1.0.0 (PyPI)": others.frost_rs(),
            "`@noble/curves` 2.4.0 (Node)": others.noble(),
        }

    def _faster(self, what: str, ours: list[float], theirs: list[float], goal: str = "") -> None:
        self._add(Figure(what, median(ours), "µs", _ZF_DEALER, median(theirs), faster=True, goal=goal))

    def _slower(self, what: str, ours: list[float], peer: tuple[str, list[float]], goal: str = "") -> None:
        self._add(Figure(what, median(ours), "µs", peer[0], median(peer[1]), goal=goal))

    def _add(self, figure: Figure) -> None:
        self.figures.append(figure)


def _say(words: str) -> None:
    print(f"bench: {words}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, or read an earlier run, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 and 10,000 users and 2,000 enrolled, for a look")
    parser.add_argument("--most", type=int, default=max(scale.SIZES), metavar="N", help="no vault larger than this")
    parser.add_argument("--enrolled", type=int, metavar="N", help="enrol this many users instead")
    parser.add_argument("--rounds", type=int, default=5, help="how often ours and the peer's alternate")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the run here")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="earlier", help="measure nothing: show this run")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the reference page here, its chart beside")
    options = parser.parse_args()
    if options.earlier:
        run = json.loads(options.earlier.read_text(encoding="utf-8"))
    else:
        sizes = [users for users in scale.SIZES if users <= (10_000 if options.quick else options.most)]
        enrolled = 2_000 if options.quick else _ENROLLED
        with tempfile.TemporaryDirectory(prefix="icehouse-bench-") as directory:
            run = Run(sizes, options.enrolled or enrolled, options.rounds, Path(directory)).to_json()
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(run, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.page:
        options.page.parent.mkdir(parents=True, exist_ok=True)
        options.page.write_text(page(run), encoding="utf-8")
        chart.draw(run, options.page.with_suffix(".svg"))
    print(table(run["results"]), scale_table(run["grown"]), peers_table(run["peers"]), sep="\n")


if __name__ == "__main__":
    main()
