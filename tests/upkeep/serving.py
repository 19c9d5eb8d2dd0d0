"""A process with a warm cache that serves while others do upkeep: VAULT DEVICES USERS.

It enrols, signs and rotates until it is told to stop; what it did goes out as JSON.
"""

from __future__ import annotations

import json
import select
import sys
from pathlib import Path

from icehouse import Device
from icehouse.service import FrostService

PASSPHRASE = "correct horse"  # noqa: S105  of devices that live for one test
_ENROL_EVERY = 8
_ROTATE_EVERY = 3


class Application:
    """Users' devices, and the vault they talk to."""

    def __init__(self, vault: str, devices: Path) -> None:
        self.frost = FrostService.open(vault)
        self.place = devices
        self.devices: list[Device] = []
        self.counts = {"signed": 0, "rotated": 0, "errors": []}

    def enrol(self) -> None:
        user = f"user-{137 * len(self.devices)}"
        device = Device.create(user, path=self.place / user, passphrase=PASSPHRASE, work_factor=2)
        device.enrol(self.frost, self.frost.enrolment_code(user))
        self.devices.append(device)

    def sign(self, device: Device) -> None:
        device.sign(self.frost, b"hello")
        self.counts["signed"] += 1

    def rotate(self, device: Device) -> None:
        device.rotate(self.frost)
        self.counts["rotated"] += 1

    def work(self) -> None:
        """Go on until a line comes in; whatever goes wrong is told."""
        step = 0
        while not select.select([sys.stdin], [], [], 0)[0]:
            step += 1
            device = self.devices[step % len(self.devices)]
            try:
                self.sign(device)
                if step % _ROTATE_EVERY == 0:
                    self.rotate(device)
                if step % _ENROL_EVERY == 0 and len(self.devices) < 60:
                    self.enrol()
            except Exception as exc:  # noqa: BLE001  the test decides what an error means
                self.counts["errors"].append(f"{type(exc).__name__}: {exc}")
        sys.stdin.readline()

    def tell(self) -> None:
        sys.stdout.write(json.dumps({**self.counts, "devices": [device.user for device in self.devices]}) + "\n")
        sys.stdout.flush()


def main(vault: str, devices: str, count: str) -> None:
    own = Application(vault, Path(devices))
    for _ in range(int(count)):
        own.enrol()
    own.tell()
    own.work()
    own.tell()
    sys.stdin.readline()
    for device in own.devices:
        own.sign(device)
        own.rotate(device)
        own.sign(device)
        device.close()
    own.frost.close()
    own.tell()


main(*sys.argv[1:])
