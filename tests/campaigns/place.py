"""A vault's directory and what tests of campaigns ask of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from threading import Event
from typing import TYPE_CHECKING, Any

from icehouse import Device
from icehouse.campaigns.control import Campaigns
from icehouse.service import FrostService
from icehouse.vault.init import MODULE, STORE, make_vault
from icehouse.vault.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from icehouse.campaigns.control import Report
    from icehouse.store.selection import Filters

ENROLLED = 4


class Place:
    """A vault, opened when it is first needed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._opened: list[FrostService] = []

    @property
    def store(self) -> str:
        """The URL of its database."""
        return STORE

    def found(self, custody: str, users: int) -> None:
        """Make the vault; its first users have devices."""
        make_vault(self.directory, Settings(self.store, MODULE), custody=custody, buckets=0)
        with FrostService.open(self.directory) as frost:
            frost.create_users(f"u{number}" for number in range(users))
            for number in range(ENROLLED):
                enrolled(frost, f"u{number}")

    def open(self) -> FrostService:
        """The vault as another process opens it."""
        self._opened.append(FrostService.open(self.directory))
        return self._opened[-1]

    @property
    def frost(self) -> FrostService:
        """The vault as this process has it."""
        return self._opened[0] if self._opened else self.open()

    @property
    def office(self) -> Campaigns:
        """Its campaigns."""
        return Campaigns(self.frost.vault)

    def close(self) -> None:
        """Let go of it."""
        while self._opened:
            self._opened.pop().close()

    def campaign(self, verb: str, filters: Filters | None = None, *, threads: int = 2) -> Report:
        """Start a campaign and see it through."""
        number = self.office.start(verb, filters).id
        self.office.run(number, threads, Event())
        return self.office.report(number)

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Behind the vault's back."""
        with closing(sqlite3.connect(self.directory / "vault.db", isolation_level=None, timeout=30)) as database:
            return database.execute(statement, values).fetchall()

    def number(self, statement: str, *values: object) -> int:
        """One number."""
        return int(self.sql(statement, *values)[0][0])

    def check(self, users: int) -> None:
        """Every record opens, and every count is right."""
        with FrostService.open(self.directory) as frost:
            assert frost.check() == users
            assert [str(finding) for finding in frost.examine_data_keys()] == []


def enrolled(frost: FrostService, user: str) -> Device:
    """A device in memory that claimed a user's key."""
    device = Device.create(user)
    device.enrol(frost, frost.enrolment_code(user))
    return device
