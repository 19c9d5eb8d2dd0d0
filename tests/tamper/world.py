"""A vault with two users, in every state a key can be in, and someone who may write its database."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from icehouse._core import DeviceState
from icehouse.custody import RootKeys
from icehouse.hsm.simulated.simulated import SimulatedHsm
from icehouse.service import FrostService
from icehouse.store.schema import metadata
from icehouse.vault.opening import create_vault, open_vault
from icehouse.vault.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from icehouse.hsm import Hsm
    from icehouse.model import Key

USERS = ("alice", "bob")
STATES = ("dealt", "code", "claiming", "live", "rotating")
TABLES = tuple(table.name for table in metadata.sorted_tables)

Rows = dict[str, list[tuple["Any", ...]]]


@dataclass
class World:
    """A vault on a file, its devices, and the attacker's own way into the file."""

    directory: Path
    hsm: Hsm = field(default_factory=SimulatedHsm)
    claim_hsm: Hsm | None = None
    cache_keys: int = 0
    limit_burst: int = 100_000
    now: float | None = None
    custody: str = "hybrid"
    buckets: int = 0

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.path = self.directory / "vault.db"
        vault = create_vault(self.settings, self.custody, self.roots, buckets=self.buckets)
        if self.now is not None:
            vault = replace(vault, clock=lambda: self.now or 0.0)
        self.service = FrostService(vault)
        self.devices = {user: DeviceState(user) for user in USERS}
        self.raw = sqlite3.connect(self.path, isolation_level=None, timeout=30)
        self.raw.execute("PRAGMA synchronous=OFF")

    @property
    def roots(self) -> RootKeys:
        return RootKeys(self.hsm, self.claim_hsm or self.hsm)

    @property
    def settings(self) -> Settings:
        # The HSM is handed over open; the URI only has to look as durable as the database is.
        return Settings(
            store_url=f"sqlite:///{self.path}",
            hsm_uri="simulated:token",
            cache_keys=self.cache_keys,
            limit_burst=self.limit_burst,
            limit_per_second=0 if self.limit_burst < 100 else 1e6,
        )

    def reopen(self) -> FrostService:
        """The vault as another process would find it."""
        return FrostService(open_vault(self.settings, self.roots))

    def key(self, user: str = "alice") -> Key:
        key = self.service.vault.store.key_of(user)
        assert key is not None
        return key

    def say(self, text: str) -> str:
        return self.service.exchange(text)

    # Up to a state

    def bring_to(self, state: str) -> World:
        """Bring both users' keys to a state."""
        reached = STATES.index(state)
        self.service.create_users(USERS)
        for user, device in self.devices.items():
            if reached >= STATES.index("code"):
                device.take_token(self.service.enrolment_code(user))
                device.prepare()
            if reached >= STATES.index("claiming"):
                device.accept_offer(self.say(device.ask()))
            if reached >= STATES.index("live"):
                self.finish(device)
            if state == "rotating":
                device.prepare()
                device.accept_offer(self.say(device.ask()))
        return self

    def finish(self, device: DeviceState) -> None:
        """Prove and commit a pending offer."""
        self.prove(device)
        device.accept_commit(self.say(device.ask_commit()))

    def prove(self, device: DeviceState) -> None:
        """Make a pending offer's proof."""
        nonces, question = device.ask_proof()
        device.accept_proof(nonces, self.say(question))

    def rotate(self, device: DeviceState) -> None:
        """A whole rotation."""
        device.prepare()
        device.accept_offer(self.say(device.ask()))
        self.finish(device)

    def sign(self, device: DeviceState, text: bytes = b"text") -> bytes:
        nonces, question = device.ask_signature(text)
        return device.accept_signature(nonces, self.say(question))

    # Behind the vault's back

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return self.raw.execute(statement, values).fetchall()

    def snapshot(self) -> Rows:
        """Every row of every table."""
        return {table: self.sql(f'SELECT * FROM "{table}" ORDER BY 1') for table in TABLES}

    def restore(self, rows: Rows, *tables: str) -> None:
        """Put rows back: all of them, or those of some tables."""
        self.raw.execute("BEGIN IMMEDIATE")
        for table in tables or tuple(rows):
            self.raw.execute(f'DELETE FROM "{table}"')
            for row in rows[table]:
                self.raw.execute(f'INSERT INTO "{table}" VALUES ({",".join("?" * len(row))})', row)
        self.raw.execute("COMMIT")

    def bend(self, table: str, column: str, value: object, where: str, *values: object) -> bool:
        """Write a value into a row; False where the database itself refuses it."""
        try:
            self.sql(f'UPDATE "{table}" SET "{column}" = ? WHERE {where}', value, *values)
        except sqlite3.IntegrityError:
            return False
        return True

    def close(self) -> None:
        self.raw.close()
        self.service.close()


def random_device_key(state: DeviceState | None = None) -> DeviceState:
    """A device of nobody's, to draw keys with."""
    fresh = state or DeviceState("mallory")
    fresh.prepare()
    return fresh


def offer_id() -> bytes:
    """An offer's id that no vault ever gave."""
    return os.urandom(16)
