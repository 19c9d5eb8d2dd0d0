"""A vault with users and devices, and everything that must hold of it whatever was done to it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from consenting import orphans_removed
from icehouse import Device
from icehouse.hsm import open_hsm
from icehouse.model import RootState
from icehouse.service import FrostService
from icehouse.store import root_keys
from icehouse.vault.init import MODULE, STORE, make_vault
from icehouse.vault.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

ENROLLED = ("u0", "u1", "u2")
SECOND = "simulated:second.token?pin-source=file:second.pin"
"""The URI of another token beside a vault's file."""


class Scene:
    """A vault's directory, and devices that know nothing of what is done there."""

    def __init__(
        self, directory: Path, custody: str, users: int, buckets: int, store: str = STORE, **settings: object
    ) -> None:
        self.directory = directory
        make_vault(directory, Settings(store, MODULE, **settings), custody=custody, buckets=buckets)
        self.opened: list[FrostService] = []
        frost = self.open()
        frost.create_users(f"u{number}" for number in range(users))
        self.devices = {user: enrolled(frost, user) for user in ENROLLED}
        self.close()

    def open(self, directory: Path | None = None) -> FrostService:
        """Open the vault as another process would."""
        self.opened.append(FrostService.open(directory or self.directory))
        return self.opened[-1]

    def close(self) -> None:
        """Let go of every vault that was opened."""
        while self.opened:
            self.opened.pop().close()

    def copy(self, name: str) -> Path:
        """The vault's directory again, as it is now."""
        copied = self.directory.with_name(f"{self.directory.name}-{name}")
        with suppress(FileNotFoundError):
            shutil.rmtree(copied)
        shutil.copytree(self.directory, copied)
        return copied

    def sign_all(self, frost: FrostService) -> None:
        """Every device signs, and verifies what it signed."""
        for device in self.devices.values():
            device.sign(frost, b"hello")

    def rotate_all(self, frost: FrostService) -> None:
        """Every device rotates and signs."""
        for device in self.devices.values():
            device.rotate(frost)
        self.sign_all(frost)


def enrolled(frost: FrostService, user: str) -> Device:
    """A device in memory that claimed a user's key."""
    device = Device.create(user)
    device.enrol(frost, frost.enrolment_code(user))
    return device


def second_token(directory: Path, attributes: str = "") -> str:
    """Make another token beside a vault's file; its URI, relative to the file."""
    (directory / "second.pin").write_text("12345\n")
    pin = f"?pin-source=file:{directory}/second.pin"
    open_hsm(f"simulated:{directory}/second.token{pin}", create=True).close()
    return SECOND + attributes


def keys_in(frost: FrostService) -> set[str]:
    """The labels in the vault's HSMs."""
    return {key.label for hsm in frost.vault.custody.roots.hsms for key in hsm.keys("icehouse-")}


def keys_needed(frost: FrostService) -> set[str]:
    """The labels that the vault's database says are alive."""
    alive = {RootState.CURRENT, RootState.DRAINING, RootState.RETIRING}
    return {label for label, state in root_keys.states(frost.vault.store.database).items() if state in alive}


def check(frost: FrostService, users: int) -> None:
    """Every record opens, and every count is right."""
    assert frost.check() == users
    assert [str(finding) for finding in frost.examine() if isinstance(finding, Exception)] == []
    assert [str(finding) for finding in frost.examine_data_keys()] == []


def nothing_left_over(frost: FrostService) -> None:
    """Once orphans are removed, the HSM holds exactly what the database says; before, nothing that is not listed."""
    extra = keys_in(frost) - keys_needed(frost)
    assert extra == {label for label, own in frost.upkeep.orphans() if own} - keys_needed(frost)
    orphans_removed(frost)
    assert keys_in(frost) == keys_needed(frost)
    assert frost.upkeep.orphans() == []
