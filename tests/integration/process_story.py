"""A process that opens a vault and a device: VAULT DEVICE PASSPHRASE sign|fork. What it did goes out as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from icehouse import Device
from icehouse.service import FrostService


def sign(frost: FrostService, device: Device) -> None:
    for message in (b"one", b"two"):
        frost.create_signing_ceremony(message, ["alice", "server"]).run(device)
    device.rotate(frost)
    frost.create_signing_ceremony(b"three", ["alice", "server"]).run(device)


def fork(frost: FrostService, device: Path, passphrase: str) -> list[str]:
    """Two children of one opened vault, then their parent: each opens the device and signs."""
    served = []
    for who in ("child", "child", "parent"):
        if who == "parent":
            with Device.open(device, passphrase) as alice:
                sign(frost, alice)
        else:
            child = os.fork()
            if not child:
                with Device.open(device, passphrase) as alice:
                    sign(frost, alice)
                # The child closes what it opened, and nothing of its parent's.
                frost.close()
                os._exit(0)
            _, status = os.waitpid(child, 0)
            assert status == 0, f"a child ended with {status}"
        served.append(who)
    return served


def main(vault: str, device: str, passphrase: str, what: str) -> None:
    with FrostService.open(vault) as frost:
        if what == "fork":
            frost.check()
            told: dict[str, object] = {"served": fork(frost, Path(device), passphrase)}
        else:
            with Device.open(device, passphrase) as alice:
                sign(frost, alice)
                told = {"epoch": alice.epoch}
    sys.stdout.write(json.dumps(told))


main(*sys.argv[1:])
