"""What the bulk verbs cost per user as vaults grow: create, verify, rewrap and reseal, each vault in its own process.

One process a vault, so that its peak of memory is its own. Users have random UUID names and no device yet.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from bench import creation, vaults

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse import FrostService

SIZES = (1_000, 10_000, 100_000, 1_000_000)
KINDS = (("sqlite", "hybrid"), ("sqlite", "hierarchical"), ("postgresql", "hybrid"))
VERBS = ("create", "verify", "rewrap", "reseal")


@dataclass(frozen=True, slots=True)
class Grown:
    """One vault of so many users: microseconds and HSM operations per user of each verb, and its process's peak."""

    store: str
    custody: str
    users: int
    microseconds: dict[str, float]
    operations: dict[str, float]
    peak_megabytes: float


def measured(store: str, custody: str, users: int) -> Grown:
    """The same measured in a process of its own."""
    command = [sys.executable, "-m", "bench.scale", "--one", store, custody, str(users)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    return Grown(**json.loads(told.stdout))


def _one(store: str, custody: str, users: int) -> Grown:
    with (
        tempfile.TemporaryDirectory(prefix="icehouse-bench-") as directory,
        url(store, Path(directory)) as database,
        vaults.make(Path(directory) / "vault", store=database, custody=custody, users=users) as service,
    ):
        took, asked = _verbs(service, custody, users)
    # Linux counts in kibibytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return Grown(store, custody, users, took, asked, peak)


def url(store: str, directory: Path) -> AbstractContextManager[str]:
    """The URL of a database of its own for a vault; empty for a file beside it."""
    return vaults.postgresql(directory / "postgresql") if store == "postgresql" else nullcontext("")


def _verbs(service: FrostService, custody: str, users: int) -> tuple[dict[str, float], dict[str, float]]:
    took, asked = {}, {}
    verbs: dict[str, Callable[[], object]] = {
        "create": lambda: service.create_users(creation.random_names(0, users)),
        "verify": service.check,
    }
    if custody != "hierarchical":  # its rows name no data key, so there is nothing to wrap or to seal again
        verbs |= {"rewrap": service.upkeep.rewrap, "reseal": service.upkeep.reseal}
    for name, act in verbs.items():
        before, start = service.hsm.operations.total, perf_counter()
        act()
        took[name] = (perf_counter() - start) * 1e6 / users
        asked[name] = (service.hsm.operations.total - before) / users
    return took, asked


def main() -> None:
    """Measure one vault, and print it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--one", nargs=3, required=True, metavar=("STORE", "CUSTODY", "USERS"))
    store, custody, users = parser.parse_args().one
    print(json.dumps(asdict(_one(store, custody, int(users)))))


if __name__ == "__main__":
    main()
