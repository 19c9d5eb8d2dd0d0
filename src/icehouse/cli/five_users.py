"""The original strategy's test script: five users' keys, signed with and rotated, on whatever token it is given."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from icehouse.cli.printer import say
from icehouse.device.device import Device
from icehouse.hsm import open_hsm
from icehouse.service import FrostService
from icehouse.vault import settings as vault_settings
from icehouse.vault.init import STORE, make_vault
from icehouse.vault.settings import FILE_NAME, Settings

if TYPE_CHECKING:
    from pathlib import Path

USERS = tuple(f"user{number}" for number in range(1, 6))
_HEAD = "# vault "


@dataclass(frozen=True, slots=True)
class Told:
    """What was done, and how long it took."""

    operations: int
    hsm_keys: int
    seconds: float

    @property
    def facts(self) -> dict[str, object]:
        """The same under names for people."""
        return {
            "users": len(USERS),
            "signatures": 2 * len(USERS),
            "rotations": len(USERS),
            "hsm_operations": self.operations,
            "hsm_keys_for_all_users": self.hsm_keys,
            "seconds": round(self.seconds, 3),
        }


class Walkthrough:
    """The script. Its vault lies in a directory until its root keys are destroyed, however often it is killed."""

    def __init__(self, directory: Path, uri: str) -> None:
        self.directory = directory
        self.uri = uri

    def run(self) -> Told:
        """Tell it, and leave nothing behind."""
        self._clear()
        begun = monotonic()
        try:
            make_vault(self.directory, Settings(STORE, self.uri))
            with FrostService.open(self.directory) as service:
                for user in USERS:
                    self._walk(service, user)
                keys = len(service.hsm.keys(f"icehouse-{service.vault.vault_id.hex()}-"))
                return Told(service.hsm.operations.total, keys, monotonic() - begun)
        finally:
            self._clear()

    def _walk(self, service: FrostService, user: str) -> None:
        service.create_keygen_ceremony(2, [user, "server"])
        with Device.create(user) as device:
            device.enrol(service, service.enrolment_code(user))
            before = device.public_key
            service.create_signing_ceremony(f"rotate-shards-{user}".encode(), [user, "server"]).run(device)
            device.rotate(service)
            service.create_signing_ceremony(b"with the new shards", [user, "server"]).run(device)
            say(f"{user}: made, signed, rotated, signed again; the public key {before.hex() if before else ''} stayed")

    def _clear(self) -> None:
        """Destroy the root keys of a walkthrough, and forget it. Its settings name the vault before any key is made."""
        for name in (FILE_NAME, f"{FILE_NAME}.unfinished"):
            file = self.directory / name
            if file.exists():
                self._destroy_keys(file)
        if self.directory.exists():
            shutil.rmtree(self.directory)

    def _destroy_keys(self, file: Path) -> None:
        head = file.read_text(encoding="utf-8").partition("\n")[0]
        hsm = open_hsm(vault_settings.read(file).hsm_uri)
        try:
            for key in hsm.keys(f"icehouse-{head.removeprefix(_HEAD)}-"):
                hsm.destroy_key(key)
        finally:
            hsm.close()
