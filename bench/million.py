"""`python -m bench.million`: a million-user vault from creation on, and devices that live in it while it is rewrapped.

The HSM takes five milliseconds for each operation of the rewrap, so that it lasts as long as devices need.

Every signature is verified by the device that asked for it, and the whole vault once more at the end.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import TYPE_CHECKING

from bench import creation, machine, vaults
from icehouse import Device

if TYPE_CHECKING:
    from collections.abc import Callable


_THREADS = 8
_LATENCY = 0.005
_MESSAGE = b"a message of thirty-two bytes..."


class Million:
    """A vault in a directory, and what was measured of it."""

    def __init__(self, directory: Path, users: int, devices: int) -> None:
        self.directory, self.users = directory, users
        self.service = vaults.make(directory)
        self.chosen = random.Random(1).sample(range(users), devices)  # noqa: S311  a choice, no secret
        self.found: dict[str, float] = {"users": users, "devices": devices}

    def live(self) -> None:
        """Create, verify, and rewrap while the chosen devices enrol, sign and rotate; verify again."""
        self._timed("create", lambda: self.service.create_users(creation.increasing_names(0, self.users)))
        self._timed("verify", self._verify)
        operations = self.service.hsm.operations.total
        rewrapped = Event()
        with ThreadPoolExecutor(_THREADS) as pool, vaults.reopen(self.directory, latency=_LATENCY) as upkeep:
            done = [pool.submit(self._device, number, rewrapped) for number in self.chosen]
            try:
                self._timed("rewrap while devices live", upkeep.upkeep.rewrap)
            finally:
                rewrapped.set()
            self.found["rewrap, HSM operations"] = upkeep.hsm.operations.total
            self._timed("the last devices", lambda: [one.result() for one in done])
            rounds = [one.result() for one in done]
        self.found["signatures while the rewrap ran"] = sum(rounds)
        self.found["HSM operations for devices"] = self.service.hsm.operations.total - operations
        self._timed("verify again", self._verify)
        epochs = [self.service.get_shards(creation.increasing_name(number)).epoch for number in self.chosen]
        if min(epochs) < 2:
            msg = f"a device ended at epoch {min(epochs)}"
            raise RuntimeError(msg)
        self.found["bytes per user"] = vaults.footprint(self.directory).used / self.users

    def _device(self, number: int, rewrapped: Event) -> int:
        """Enrol, rotate and sign; how many signatures were made while the rewrap ran."""
        user = creation.increasing_name(number)
        device = Device.create(user)
        device.enrol(self.service, self.service.enrolment_code(user))
        device.rotate(self.service)
        device.sign(self.service, _MESSAGE)
        return 0 if rewrapped.is_set() else 1

    def _verify(self) -> None:
        if self.service.check() != self.users:
            msg = "the vault holds another number of users than were created"
            raise RuntimeError(msg)

    def _timed(self, name: str, act: Callable[[], object]) -> None:
        print(f"bench: {name}", file=sys.stderr, flush=True)
        start = perf_counter()
        act()
        self.found[f"{name}, seconds"] = perf_counter() - start


def main() -> None:
    """Run it, and print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.million", description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--devices", type=int, default=1_000, metavar="N")
    options = parser.parse_args()
    facts = machine.facts()
    with tempfile.TemporaryDirectory(prefix="icehouse-bench-") as directory:
        million = Million(Path(directory) / "vault", options.users, options.devices)
        million.live()
        million.service.close()
    print(json.dumps({"machine": facts, **million.found}, indent=2))


if __name__ == "__main__":
    main()
