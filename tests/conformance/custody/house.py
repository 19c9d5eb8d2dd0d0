"""A vault of one custody on one kind of HSM, its devices, and a clock that the test moves."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from icehouse import Device
from icehouse.custody import RootKeys
from icehouse.service import FrostService
from icehouse.vault.opening import create_vault, open_vault
from icehouse.vault.records import reseal
from icehouse.vault.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from icehouse.hsm import Hsm
    from icehouse.model import Key, State
    from softhsm import Token


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How shares are tied to root keys: the one word that a test changes."""

    custody: str
    buckets: int = 0

    def __str__(self) -> str:
        return f"{self.custody}-{self.buckets}" if self.custody == "hierarchical" else self.custody


ARRANGEMENTS = (
    Arrangement("hybrid"),
    Arrangement("direct"),
    Arrangement("hierarchical", 3),
    Arrangement("hierarchical"),
)
HYBRID, DIRECT, BUCKETS, NODES = ARRANGEMENTS


@dataclass
class House:
    """A vault on a file. `hsm` stays the test's own, so that another process can be played beside the first."""

    directory: Path
    arrangement: Arrangement
    hsm: Hsm
    token: Token | None = None
    cache_keys: int = 1024
    late: float = 0
    store_url: str = ""
    """PostgreSQL's; else a file of its own."""
    services: list[FrostService] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        made = create_vault(
            self.settings, self.arrangement.custody, RootKeys(self.hsm, self.hsm), buckets=self.arrangement.buckets
        )
        self.service = self._serving(FrostService(replace(made, clock=self._clock)))

    @property
    def settings(self) -> Settings:
        # The HSM is handed over open; the URI only has to look as durable as the database is.
        return Settings(
            self.store_url or f"sqlite:///{self.directory / 'vault.db'}",
            "simulated:token",
            cache_keys=self.cache_keys,
            limit_burst=10_000,
        )

    def _clock(self) -> float:
        return 1_800_000_000 + self.late

    def _serving(self, service: FrostService) -> FrostService:
        self.services.append(service)
        return service

    def another_process(self) -> FrostService:
        """The same vault as another process opens it."""
        vault = open_vault(self.settings, RootKeys(self.hsm, self.hsm))
        return self._serving(FrostService(replace(vault, clock=self._clock)))

    def close(self) -> None:
        for service in self.services:
            service.vault.store.close()
        self.hsm.close()

    # What a test does

    def enrolled(self, user: str, service: FrostService | None = None, suite: str = "ed25519") -> Device:
        """A device of a user who may have no key yet."""
        serving = service or self.service
        serving.create_users([user], suite=suite)
        device = Device.create(user)
        device.enrol(serving, serving.enrolment_code(user))
        return device

    def sign(self, device: Device, service: FrostService | None = None) -> None:
        """Sign, and have an unrelated library verify."""
        serving = service or self.service
        signature = serving.create_signing_ceremony(b"hello", [device.user, "server"]).run(device)
        public_key = serving.get_shards(device.user).public_key
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, b"hello")

    def key(self, user: str) -> Key:
        found = self.service.vault.store.key_of(user)
        assert found is not None
        return found

    def write(self, user: str, state: State) -> None:
        """Put a key into a state, sealed as the vault itself seals it."""
        before, vault = self.key(user), self.service.vault
        after = reseal(vault, before, replace(before, state=state), vault.custody.open_share(before))
        vault.store.replace(before, after.key, after.fresh)

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Behind the vault's back."""
        if self.store_url:
            with psycopg.connect(self.store_url, autocommit=True) as database:
                cursor = database.execute(statement.replace("?", "%s"), values)
                return cursor.fetchall() if cursor.description else []
        with closing(sqlite3.connect(self.directory / "vault.db", isolation_level=None, timeout=30)) as database:
            return database.execute(statement, values).fetchall()

    def operations(self, act: Callable[[], object]) -> dict[str, int]:
        """What an act asked of the HSM, kinds that it did not ask for left out."""
        before = self.hsm.operations.by_kind()
        act()
        after = self.hsm.operations.by_kind()
        return {kind: after[kind] - before[kind] for kind in after if after[kind] != before[kind]}
