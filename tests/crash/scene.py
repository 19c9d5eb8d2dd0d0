"""A vault's process, a device's process, and the wire between them."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from crash.ledger import Ledger
from crash.processes import KILLED, ProcessDiedError, WorkError

if TYPE_CHECKING:
    from pathlib import Path

    from crash.processes import Nursery, Worker

USER = "alice"
RECORDS = "SELECT data_key FROM keys UNION ALL SELECT data_key FROM claims UNION ALL SELECT data_key FROM offers"


class Scene:
    """One vault directory and one device file, with whatever processes are at work on them."""

    def __init__(self, nursery: Nursery, directory: Path) -> None:
        self.nursery = nursery
        self.directory = directory
        self.ledger = Ledger()
        self.kills = 0
        self.public_key: str | None = None
        self.token = ""
        self.workers: dict[str, Worker] = {}

    @property
    def vault_path(self) -> Path:
        return self.directory / "vault"

    @property
    def device_path(self) -> Path:
        return self.directory / "device.age"

    def worker(self, role: str) -> Worker:
        """The process of a role, forked where there is none."""
        if role not in self.workers:
            self.workers[role] = self.nursery.fork(role)
        return self.workers[role]

    def bury(self, role: str) -> None:
        """A process was killed; nothing else may have ended it."""
        assert self.workers.pop(role).end() == KILLED, f"the {role}'s process ended by itself"
        self.kills += 1

    def open(self, role: str) -> None:
        """Let a process open what is its own; a device's file is made where there is none."""
        if role == "vault":
            self.vault("open", path=str(self.vault_path))
        else:
            self.device("open", path=str(self.device_path), user=USER)

    def close(self) -> None:
        """Let go of the files; the processes stay for the next scene."""
        for role in self.workers:
            self.worker(role).do("close")

    def end(self) -> None:
        """End the processes."""
        for worker in self.workers.values():
            worker.end()

    def vault(self, what: str, **arguments: object) -> object:
        return self.worker("vault").do(what, **arguments)

    def device(self, what: str, **arguments: object) -> object:
        return self.worker("device").do(what, self._carry, **arguments)

    def _carry(self, message: str) -> str:
        try:
            return self.ledger.note(message, self.worker("vault").say(message))
        except ProcessDiedError:
            # The vault's process is started again, the device's goes on where it was.
            self.bury("vault")
            self.open("vault")
            return "lost"

    def save(self, template: Path) -> None:
        """Keep the files as they are."""
        self.close()
        shutil.copytree(self.directory, template)

    def restore(self, template: Path) -> None:
        """Put kept files back, and forget what the wire saw of those that were there."""
        self.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.copytree(template, self.directory)
        self.ledger = Ledger()

    # What must hold at the end of every story

    def check(self) -> None:
        """Device and vault agree, everything opens, and every count is right."""
        epoch = self.sign()
        found = self.vault("check")
        assert isinstance(found, dict)
        assert found["wrong"] == [], found
        assert found["miscounts"] == [], found
        assert found["unknown"] == [], found
        assert found["users"] == {USER: [self.public_key, epoch]}, found
        self.count_records()

    def sign(self) -> int:
        """The device signs; returns the epoch it did it at."""
        signature = self.device("sign", text="hello")
        facts = self.device("facts")
        assert isinstance(facts, dict)
        assert facts["public_key"] == self.public_key, "the public key moved"
        assert facts["pending"] is None
        # An unrelated verifier: pyca/cryptography.
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(facts["public_key"])).verify(
            bytes.fromhex(str(signature)), b"hello"
        )
        return facts["epoch"]

    def count_records(self) -> None:
        """Data keys count what names them, and never more than they may."""
        with closing(sqlite3.connect(self.vault_path / "vault.db")) as database:
            numbers = [number for (number,) in database.execute(RECORDS) if number]
            for number, used, live in database.execute("SELECT number, used, live FROM data_keys"):
                assert live == numbers.count(number), f"data key {number} counts {live} records"
                assert live <= used <= 1024, f"data key {number} sealed {used} records"
            assert set(numbers) <= {number for (number,) in database.execute("SELECT number FROM data_keys")}


@dataclass(frozen=True, slots=True)
class Act:
    """What one side is asked to do, and is asked again after every crash."""

    role: str
    what: str
    arguments: dict[str, str | int]

    def play(self, scene: Scene) -> object:
        """Do it; a device that got no answer, or a process that died, is asked again."""
        known = {"TOKEN": scene.token, "VAULT": str(scene.vault_path), "DEVICE": str(scene.device_path)}
        arguments = {name: known.get(value, value) for name, value in self.arguments.items()}
        for _ in range(4):
            try:
                return getattr(scene, self.role)(self.what, **arguments)
            except ProcessDiedError:
                scene.bury(self.role)
                if self.what != "init":
                    scene.open(self.role)
            except WorkError as exc:
                if "ConnectionError" not in str(exc):
                    raise
        msg = f"{self.what} does not come to an end"
        raise AssertionError(msg)
