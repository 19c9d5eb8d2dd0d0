"""`python -m bench.custody`: DESIGN §2's table in figures, measured, and put into `docs/explanation/custody.md`."""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from bench import machine, vaults
from icehouse import Device
from icehouse.custody import RootKeys
from icehouse.hsm.simulated.simulated import SimulatedHsm
from icehouse.service import FrostService
from icehouse.vault.opening import buckets_for, create_vault, open_vault
from icehouse.vault.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "custody.md"
_DEVICES = 50
_MESSAGE = b"a message of thirty-two bytes..."
_BLOCK = re.compile(r"(<!-- measured: [^\n]* -->).*?(\n<!-- end of what was measured -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Measured:
    """One custody at one number of users. Times are medians; operations are of a process whose cache is empty."""

    custody: str
    users: int
    buckets: int
    hsm_keys: int
    created_operations: dict[str, int]
    created_microseconds: float
    bytes_per_user: float
    enrolled_operations: float
    enrolled_milliseconds: float
    signed_operations: float
    signed_milliseconds: float
    rotated_operations: float
    rotated_milliseconds: float


class House:
    """A vault in a file beside an HSM in memory: what its token's file would cost is no custody's."""

    def __init__(self, directory: Path, custody: str, buckets: int, cache_keys: int = 1024) -> None:
        directory.mkdir()
        self.directory, self.hsm = directory, SimulatedHsm()
        # The HSM is handed over open; the URI only has to look as durable as the database is.
        self.settings = Settings(f"sqlite:///{directory / 'vault.db'}", "simulated:in-memory", cache_keys=cache_keys)
        self.roots = RootKeys(self.hsm, self.hsm)
        self.service = FrostService(create_vault(self.settings, custody, self.roots, buckets=buckets))

    def reopen(self) -> None:
        """Go on as a process that has opened nothing yet."""
        self.service.vault.store.close()
        self.service = FrostService(open_vault(self.settings, self.roots))

    def asked(self, act: Callable[[], object]) -> dict[str, int]:
        """What an act asks of the HSM."""
        before = self.hsm.operations.by_kind()
        act()
        after = self.hsm.operations.by_kind()
        return {kind: after[kind] - before[kind] for kind in after if after[kind] != before[kind]}


def measured(directory: Path, custody: str, buckets: int, users: int) -> Measured:
    """Create users; then a few of them enrol, sign and rotate."""
    house = House(directory, custody, buckets)
    names = [f"user-{number:012d}" for number in range(users)]
    start = perf_counter()
    created = house.asked(lambda: house.service.create_users(names))
    took = perf_counter() - start
    used = vaults.footprint(directory).used / users
    house.reopen()
    devices = [Device.create(name) for name in names[:: max(1, users // _DEVICES)][:_DEVICES]]
    enrolled = _each(house, devices, lambda device: _enrol(house, device))
    house.reopen()
    signed = _each(house, devices, lambda device: device.sign(house.service, _MESSAGE, check_due=False))
    house.reopen()
    rotated = _each(house, devices, lambda device: device.rotate(house.service))
    keys = len(house.hsm.keys("icehouse-"))
    house.service.vault.store.close()
    return Measured(custody, users, buckets, keys, created, took * 1e6 / users, used, *enrolled, *signed, *rotated)


def _enrol(house: House, device: Device) -> None:
    device.enrol(house.service, house.service.enrolment_code(device.user))


def _each(house: House, devices: list[Device], act: Callable[[Device], object]) -> tuple[float, float]:
    """HSM operations per device, and the median's milliseconds, both sides of the exchange included."""
    times = []
    before = house.hsm.operations.total
    for device in devices:
        start = perf_counter()
        act(device)
        times.append((perf_counter() - start) * 1e3)
    return (house.hsm.operations.total - before) / len(devices), median(times)


def run(sizes: list[int], directory: Path) -> dict[str, object]:
    """Measure every custody at every size; the run as JSON."""
    logging.getLogger("icehouse").setLevel(logging.ERROR)
    found = []
    facts = machine.facts()
    for users in sizes:
        for custody, buckets in (
            ("direct", 0),
            ("hybrid", 0),
            ("hierarchical", buckets_for(users)),
            ("hierarchical", 0),
        ):
            print(f"bench: {users:,} users, {_name(custody, buckets)}", file=sys.stderr, flush=True)
            found.append(asdict(measured(directory / f"{custody}-{buckets}-{users}", custody, buckets, users)))
    return {"machine": facts, "devices": _DEVICES, "results": found}


def _name(custody: str, buckets: int) -> str:
    return f"{custody}, buckets = {buckets}" if custody == "hierarchical" else custody


def table(ran: dict[str, object]) -> str:
    """The run as Markdown: a table for each number of users, and what it was measured on."""
    results, facts = ran["results"], ran["machine"]
    if not isinstance(results, list) or not isinstance(facts, dict):
        msg = "this is no JSON of a run"
        raise TypeError(msg)
    sizes = dict.fromkeys(result["users"] for result in results)
    parts = [_table_of(users, [result for result in results if result["users"] == users]) for users in sizes]
    where = f"{facts['cores']} cores of {facts['processor']}, with a load of {facts['load']} from others when it began"
    return "\n\n".join(parts) + f"\n\nMeasured {facts['when'][:10]} on {where}: compare times within a table only."


def _table_of(users: int, results: list[dict[str, object]]) -> str:
    heads = [_name(str(result["custody"]), int(str(result["buckets"]))) for result in results]
    rows = [
        ("keys in the HSM", "{hsm_keys:,}"),
        ("HSM operations to create all users", "{created}"),
        ("… per 1,000 users", "{per_1000:,.4g}"),
        ("… per enrolment (code, claim, proof, commit)", "{enrolled_operations:.3g}"),
        ("… per signature", "{signed_operations:.3g}"),
        ("… per rotation", "{rotated_operations:.3g}"),
        ("bytes on disk per created user", "{bytes_per_user:,.0f}"),
        ("creation, µs per user", "{created_microseconds:,.0f}"),
        ("enrolment, ms", "{enrolled_milliseconds:.1f}"),
        ("signature, ms", "{signed_milliseconds:.1f}"),
        ("rotation, ms", "{rotated_milliseconds:.1f}"),
    ]
    lines = [f"| {users:,} users | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    lines += [f"| {what} | {' | '.join(form.format(**_cells(result)) for result in results)} |" for what, form in rows]
    return "\n".join(lines)


def _cells(result: dict[str, object]) -> dict[str, object]:
    asked, users = result["created_operations"], result["users"]
    if not isinstance(asked, dict) or not isinstance(users, int):
        msg = "this is no JSON of a run"
        raise TypeError(msg)
    created = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in sorted(asked.items()))
    return {**result, "created": created or "none", "per_1000": sum(asked.values()) * 1000 / users}


def main() -> None:
    """Measure, or read an earlier run, and write the page's tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.custody", description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[1_000, 100_000], metavar="N", help="how many users")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the run here")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="earlier", help="measure nothing: show this run")
    parser.add_argument(
        "--page", type=Path, nargs="?", const=PAGE, metavar="FILE", help="put the tables into this page"
    )
    options = parser.parse_args()
    if options.earlier:
        ran = json.loads(options.earlier.read_text(encoding="utf-8"))
    else:
        with tempfile.TemporaryDirectory(prefix="icehouse-bench-") as directory:
            ran = run(options.users, Path(directory))
    if options.json:
        options.json.write_text(json.dumps(ran, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.page:
        options.page.write_text(rewritten(options.page.read_text(encoding="utf-8"), ran), encoding="utf-8")
    print(table(ran))


def rewritten(page: str, ran: dict[str, object]) -> str:
    """The page with the tables of this run."""
    if not _BLOCK.search(page):
        msg = "the page has no place for what is measured"
        raise ValueError(msg)
    return _BLOCK.sub(lambda found: f"{found[1]}\n\n{table(ran)}\n{found[2]}", page)


if __name__ == "__main__":
    main()
