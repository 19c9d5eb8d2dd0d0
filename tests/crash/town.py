"""Two server processes over one database, a clock to turn, and everything that was ever said."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sqlalchemy import event

from crash.ledger import Ledger, payload_of
from icehouse.custody import RootKeys
from icehouse.hsm.simulated.simulated import SimulatedHsm
from icehouse.service import FrostService
from icehouse.store.counts import miscounts
from icehouse.vault.opening import create_vault, open_vault
from icehouse.vault.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from icehouse.model import Key

USER = "alice"
CACHES = (0, 256)


@dataclass(frozen=True, slots=True)
class Founded:
    """An empty vault to copy, and its HSM."""

    directory: Path
    hsm: SimulatedHsm

    @classmethod
    def found(cls, directory: Path) -> Founded:
        hsm = SimulatedHsm()
        create_vault(_settings(directory), "hybrid", RootKeys(hsm, hsm)).store.close()
        return cls(directory, hsm)


def _settings(directory: Path, cache_keys: int = 0) -> Settings:
    # The HSM is handed over open; its URI only has to look as durable as the database is.
    url = f"sqlite:///{directory}/vault.db"
    return Settings(url, "simulated:token", cache_keys=cache_keys, limit_per_second=1e6, limit_burst=10**9)


class Town:
    """One vault, served by two processes that share nothing but its database."""

    def __init__(self, founded: Founded) -> None:
        self.hsm = founded.hsm
        self.directory = TemporaryDirectory(dir=founded.directory)
        self.path = founded.directory.joinpath(self.directory.name)
        shutil.copy(founded.directory / "vault.db", self.path)
        self.now = 1_800_000_000.0
        self.meanwhile: dict[int, Callable[[], object]] = {}
        self.servers = [self._open(number) for number in range(len(CACHES))]
        self.ledger = Ledger()
        self.messages: list[str] = []
        self.answers: list[str] = []

    def _open(self, number: int) -> FrostService:
        vault = open_vault(_settings(self.path, CACHES[number]), RootKeys(self.hsm, self.hsm))

        def happen(*execution: object) -> None:
            # Before a transaction takes the right to write, whatever waits for that moment happens.
            if execution[2] == "BEGIN IMMEDIATE":
                self.meanwhile.pop(number, lambda: None)()

        event.listen(vault.store.database.engine, "before_cursor_execute", happen)
        return FrostService(replace(vault, clock=lambda: self.now))

    def close(self) -> None:
        for server in self.servers:
            server.vault.store.close()
        self.directory.cleanup()

    def restart(self, number: int) -> None:
        """A server's process dies between two messages, and another takes its place."""
        self.servers[number].vault.store.close()
        self.servers[number] = self._open(number)

    def say(self, number: int, message: str) -> str:
        """One message, at one of the servers."""
        answer = self.ledger.note(message, self.servers[number].exchange(message))
        said = payload_of(answer)
        assert said.get("reason") not in {"unavailable", "malformed", "unknown-key"}, said
        self.messages.append(message)
        self.answers.append(answer)
        return answer

    def say_while(self, number: int, message: str, meanwhile: Callable[[], object]) -> str:
        """One message; between the server's reading and its writing, something else happens."""
        self.meanwhile[number] = meanwhile
        try:
            return self.say(number, message)
        finally:
            self.meanwhile.pop(number, None)

    def key(self) -> Key:
        key = self.servers[0].vault.store.key_of(USER)
        assert key is not None
        return key

    def check(self) -> None:
        """Every record opens, and every count is right."""
        assert self.servers[1].check() == 1
        assert miscounts(self.servers[0].vault.store) == []
