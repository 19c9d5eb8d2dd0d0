"""What ordinary operations cost in this build: one JSON object of microseconds. `bench.against` runs it in two builds.

It uses public names only, so that it runs in an older checkout, too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from bench import vaults
from icehouse import Device, FrostService

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DEVICES = 60
_SIGNATURES = 5
_BULK = 16_384
_STARTS = 3
_MESSAGE = b"a message of thirty-two bytes..."


def _each(operation: Callable[[int], object], count: int) -> float:
    """The median of so many single operations."""
    samples = []
    for number in range(count):
        start = perf_counter()
        operation(number)
        samples.append((perf_counter() - start) * 1e6)
    return median(samples)


def _people(service: FrostService) -> dict[str, float]:
    """What one user's key goes through, each step by itself."""
    names = [str(uuid.uuid4()) for _ in range(_DEVICES)]
    devices = [Device.create(name) for name in names]
    tokens: list[str] = []
    measured = {
        "create a user": _each(lambda number: service.create_user_frost_shards(names[number]), _DEVICES),
        "mint a code": _each(lambda number: tokens.append(service.enrolment_code(names[number])), _DEVICES),
        "enrol": _each(lambda number: devices[number].enrol(service, tokens[number]), _DEVICES),
        "look up a user": _each(lambda number: service.get_shards(names[number]), _DEVICES),
    }
    return measured | _signed_and_rotated(service, devices)


class _Listener:
    """A cosigner that keeps what devices send to it."""

    def __init__(self, service: FrostService) -> None:
        self.messages: list[str] = []
        self._service = service

    def exchange(self, message: str) -> str:
        """The service's answer."""
        self.messages.append(message)
        return self._service.exchange(message)


def _signed_and_rotated(service: FrostService, devices: Sequence[Device]) -> dict[str, float]:
    listener = _Listener(service)
    for device in devices:
        device.sign(listener, _MESSAGE, check_due=False)  # one message, and no question before it
    messages = listener.messages * _SIGNATURES
    return {
        "the server's half of a signature": _each(lambda number: service.exchange(messages[number]), len(messages)),
        "sign": _each(lambda number: devices[number].sign(service, _MESSAGE), _DEVICES),
        "rotate": _each(lambda number: devices[number].rotate(service), _DEVICES),
    }


def _bulk(service: FrostService) -> dict[str, float]:
    names = [str(uuid.uuid4()) for _ in range(_BULK)]
    start = perf_counter()
    service.create_users(names)
    return {"create users in bulk": (perf_counter() - start) * 1e6 / _BULK}


def _starts(directory: Path, store: str) -> dict[str, float]:
    command = [Path(sys.executable).parent / "icehouse", "--help"]
    return {
        "open a vault": _each(lambda _: vaults.reopen(directory, store=store).close(), _STARTS),
        "start the command": _each(lambda _: subprocess.run(command, check=True, capture_output=True), _STARTS),
    }


def measured(directory: Path, store: str = "") -> dict[str, float]:
    """Microseconds of each ordinary operation on a new vault in an empty directory."""
    service = vaults.make(directory, store=store)
    try:
        found = _people(service) | _bulk(service)
    finally:
        service.close()
    return found | _starts(directory, store)


def main() -> None:
    """Measure on a SQLite file, or on PostgreSQL with that word as argument."""
    with tempfile.TemporaryDirectory(prefix="icehouse-bench-") as place:
        directory = Path(place) / "vault"
        if sys.argv[1:] == ["postgresql"]:
            with vaults.postgresql(Path(place) / "server") as url:
                result = measured(directory, url.replace("postgresql://", "postgresql+psycopg://", 1))
        else:
            result = measured(directory)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
