"""A vault with something in every table, a process that runs any command over it, and someone who writes into it."""

from __future__ import annotations

import io
import logging
import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icehouse._core import DeviceState
from icehouse.campaigns.control import Campaigns
from icehouse.cli.main import run
from icehouse.service import FrostService
from icehouse.store.campaigns import CampaignState
from icehouse.store.selection import Filters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USERS = ("dealt", "code", "claiming", "live", "rotating", "suspended", "destroyed")
PATIENCE = 60
"""Seconds after which a command hangs: hundreds of times what the slowest of them takes."""

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("exchange",),
    ("worker", "--once", "--threads", "1"),
    ("users", "list"),
    ("users", "list", "--since", "2020-01-01", "--format", "json"),
    ("users", "create", "dealt", "live", "destroyed", "new"),
    ("users", "code", "dealt"),
    ("users", "code", "claiming"),
    ("users", "overdue"),
    ("users", "overdue", "--grace", "1d", "--format", "json"),
    ("users", "suspend", "rotating"),
    ("users", "resume", "suspended"),
    ("users", "destroy", "rotating", "--yes"),
    ("show", "live"),
    ("rotate", "rotating"),
    ("rewrap", "--dry-run"),
    ("rewrap",),
    ("reseal",),
    ("trim",),
    ("trim", "--void-backups"),
    ("doctor",),
    ("doctor", "--remove-orphans", "--format", "json"),
    ("campaign", "list"),
    ("campaign", "status", "1"),
    ("campaign", "status", "2", "--findings", "--format", "json"),
    ("campaign", "pause", "3"),
    ("campaign", "resume", "2"),
    ("campaign", "cancel", "3"),
    ("campaign", "start", "reseal", "--threads", "1"),
    ("campaign", "start", "rotate", "--by", "2056-01-01", "--state", "live", "--rate", "1000", "--threads", "1"),
    ("campaign", "start", "rewrap", "--detach"),
    ("campaign", "start", "destroy", "--epoch", "1", "--yes", "--threads", "1"),
    ("campaign", "due"),
    ("store", "prepare"),
)
"""Every command that opens a vault, and what makes it look at all of it."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and whether it ended in a way that icehouse knows."""

    code: int
    out: str
    err: str

    @property
    def is_foreseen(self) -> bool:
        return self.code in {0, 1, 2} and not any(sign in self.err for sign in ("Traceback", "a fault in icehouse"))


class HangsError(BaseException):
    """The command did not end; no handler of the command's own is to take this for anything else."""


@dataclass
class Town:
    """A directory with a vault that every case gets anew, and messages of its devices."""

    made: Path
    place: Path
    messages: tuple[str, ...]

    @classmethod
    def build(cls, directory: Path, custody: str = "hybrid") -> Town:
        made = directory / "made"
        run_here(("init", "--custody", custody, "--vault", str(made)))
        # With a policy `campaign due` has something to do.
        settings = made / "vault.toml"
        settings.write_text(f"{settings.read_text()}\n[rotation]\nevery_days = 90\nsuspend_days = 30\n")
        with FrostService.open(made) as service:
            messages = tuple(populate(service))
        with closing(sqlite3.connect(made / "vault.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return cls(made, directory / "place", messages)

    @property
    def database(self) -> Path:
        return self.place / "vault.db"

    def anew(self) -> None:
        """The vault as it was made."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.made, self.place)

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.database, isolation_level=None)) as connection:
            return connection.execute(statement, values).fetchall()

    def bend(self, table: str, column: str, value: str) -> bool:
        """Write an SQL value into the first row of a table, and all others too; False where SQLite refuses it."""
        try:
            self.sql(f'UPDATE OR IGNORE "{self.named(table)}" SET "{column}" = {value}')
        except sqlite3.Error:
            return False
        return True

    def named(self, table: str) -> str:
        """A table's name; that of the schema's version is whatever table has its column."""
        if table != "version":
            return table
        return str(self.sql("SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%version_num%'")[0][0])

    def run(self, *command: str) -> Done:
        return run_here((*command, "--vault", str(self.place)), "".join(f"{line}\n" for line in self.messages))


def populate(service: FrostService) -> Iterator[str]:
    """A user in every state, campaigns that are done, paused and running, a rate; what devices would say next."""
    service.create_users(USERS)
    devices = {user: DeviceState(user) for user in USERS}
    for user in USERS[1:]:
        devices[user].take_token(service.enrolment_code(user))
        devices[user].prepare()
    for user in USERS[2:]:
        devices[user].accept_offer(service.exchange(devices[user].ask()))
    for user in USERS[3:]:
        _commit(service, devices[user])
    rotating = devices["rotating"]
    rotating.prepare()
    rotating.accept_offer(service.exchange(rotating.ask()))
    service.suspend_user("suspended")
    service.destroy_user("destroyed")
    service.rotate_user_frost_shards("live")
    _start_campaigns(service)
    yield devices["code"].ask()
    yield devices["claiming"].ask_status()
    yield devices["claiming"].ask_proof()[1]
    yield devices["live"].ask_signature(b"text")[1]
    yield rotating.ask_status()
    yield rotating.ask_proof()[1]
    yield devices["suspended"].ask_status()
    yield devices["destroyed"].ask_status()
    devices["live"].prepare()
    yield devices["live"].ask()
    yield devices["live"].ask_abandon(bytes(16))


def _commit(service: FrostService, device: DeviceState) -> None:
    nonces, question = device.ask_proof()
    device.accept_proof(nonces, service.exchange(question))
    device.accept_commit(service.exchange(device.ask_commit()))


def _start_campaigns(service: FrostService) -> None:
    office = Campaigns(service.vault)
    done = office.start("rotate", Filters(), rate=100_000)
    assert office.run(done.id, 1, _never()) is CampaignState.DONE
    paused = office.start("suspend", Filters(due_before=32_000))
    office.pause(paused.id)
    office.start("verify", Filters(), rate=100_000)
    database = service.vault.store.database
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO findings VALUES (2, 4, 'live', 'SealError', 'planted by the test')")


def _never() -> Any:
    from threading import Event  # noqa: PLC0415

    return Event()


@contextmanager
def _bounded() -> Iterator[None]:
    """Raise `HangsError` where the main thread goes on for too long."""

    def ring(*_: object) -> None:
        raise HangsError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class _Text(io.TextIOWrapper):
    """A stream as a command finds it."""

    def __init__(self, text: str = "") -> None:
        super().__init__(io.BytesIO(text.encode()), encoding="utf-8", write_through=True)

    def said(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined]


def run_here(command: tuple[str, ...], given: str = "") -> Done:
    """Run a command in this process, which is what makes a hundred thousand of them affordable."""
    out, err, logger = _Text(), _Text(), logging.getLogger("icehouse")
    before, mask = (sys.stdin, list(logger.handlers), logger.propagate), os.umask(0o077)
    sys.stdin = _Text(given)
    try:
        with redirect_stdout(out), redirect_stderr(err), _bounded():
            code = run(list(command))
    except HangsError:
        code = -1
    finally:
        sys.stdin, logger.handlers, logger.propagate = before
        os.umask(mask)
    return Done(code, out.said(), err.said())
