"""The database behind a SQLAlchemy URL: durable, impatient to write, patient to wait."""

from __future__ import annotations

import os
import random
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import RLock, local
from time import sleep
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from icehouse.errors import MissingExtraError, RequestError, SealError, StoreError
from icehouse.store import foreign, postgresql, sqlite, standby
from icehouse.store.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from sqlalchemy import URL, Connection, Engine

    from icehouse.store.wal import Leftover

    Fence: TypeAlias = Callable[[Connection, int], None]

T = TypeVar("T")
CONNECTIONS = 16
"""How many connections a process opens to the database at most, unless it is told otherwise."""
_WAIT_SECONDS = 30
_ATTEMPTS = 10
_PAUSE_SECONDS = 0.005


class GaveWayError(StoreError):
    """The database undid the change so that another writer's could go on; nothing was written, try again."""


class RowThereError(StoreError):
    """A row that was to be new is there already, or the database says so: it may hold a rule of somebody else's."""


class _Thread(local):
    """What one thread, or greenlet, is doing with a database."""

    busy = False
    """Whether it has a connection."""
    fence: Fence | None = None


class Database:
    """Connections for reading and transactions for writing, on SQLite or PostgreSQL."""

    def __init__(self, url: str, connections: int = CONNECTIONS) -> None:
        parsed = _parsed(url)
        if connections < 1:
            msg = f"the setting store.connections must be 1 or more, not {connections}"
            raise RequestError(msg)
        self.backend = parsed.get_backend_name()
        self.side_by_side = self.backend == "postgresql"
        """Whether several transactions write at the same time."""
        self.in_memory = self.backend == "sqlite" and parsed.database in {None, "", ":memory:"}
        # One in-memory database is one connection, so its users take turns.
        self._turn: AbstractContextManager[object] = RLock() if self.in_memory else nullcontext()
        self._closed = False
        self._thread = _Thread()
        try:
            self.engine: Engine = create_engine(parsed, **self._options(parsed, connections))
        except (NoSuchModuleError, ModuleNotFoundError) as exc:
            extra = "postgresql"
            raise MissingExtraError(extra) from exc
        self._sqlite: sqlite.Connections | None = None
        if self.backend == "sqlite":
            self._sqlite = sqlite.Connections(self.engine, connections)
        self._sessions = Sessions(self.engine, connections) if self.backend == "postgresql" else None
        self._reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        _OPEN.add(self)

    def _options(self, url: URL, connections: int) -> dict[str, Any]:
        if self.backend == "sqlite":
            return sqlite.options(in_memory=self.in_memory)
        return {
            "connect_args": postgresql.connect_arguments(url),
            # Every change is conditional or locks what it relies on (ADR 0025); a server's default may be another.
            "isolation_level": "READ COMMITTED",
            "hide_parameters": True,
            "pool_size": connections,
            "max_overflow": 0,
            "pool_timeout": _WAIT_SECONDS,
            "pool_use_lifo": True,
        }

    @property
    def missing(self) -> bool:
        """Whether it is a file that is not there; SQLite would make an empty one just to look into it."""
        file = self.engine.url.database
        is_path = self.backend == "sqlite" and not self.in_memory and not str(file).startswith("file:")
        return is_path and not Path(str(file)).exists()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection on which each statement stands on its own and sees what is current."""
        # For SQLite one generator, and none in another: every message of every device comes by here.
        thread, whole = self._only_one(), False
        try:
            with self._turn, _TRANSLATED:
                if self._sqlite is None:
                    with self._server_sessions.connection(self._reading) as connection:
                        yield connection
                    return
                connection = self._sqlite.lend()
                try:
                    yield connection
                    whole = True
                finally:
                    self._sqlite.take_back(connection, whole=whole)
        finally:
            thread.busy = False

    @contextmanager
    def write(self, counts: int = 0) -> Iterator[Connection]:
        """A transaction; durable when it ends. On SQLite it holds the right to write from its first statement.

        On PostgreSQL writers run side by side, and one may be undone for another's sake: `GaveWayError`. A change
        that may wait for another's row belongs into `change`. `counts` says how many keys of a larger task it
        completes, for the thread's fence.
        """
        thread = self._only_one()
        try:
            with self._turn, _TRANSLATED, self._transaction() as connection:
                if thread.fence is not None:
                    thread.fence(connection, counts)
                yield connection
        finally:
            thread.busy = False

    def _transaction(self) -> AbstractContextManager[Connection]:
        if self._sqlite is not None:
            return self._sqlite.writing()
        return self._server_sessions.transaction(self.engine)

    @property
    def _server_sessions(self) -> Sessions:
        if self._sessions is None:
            msg = f"a {self.backend} database has no sessions of a server"
            raise StoreError(msg, hint="this is a fault of icehouse: please report it")
        return self._sessions

    def confirm(self) -> None:
        """Return once everything that could be read until now is durable, also where a standby is to have it.

        A change is durable when its own transaction ends. This is for an answer that rests on what was only read: its
        commit may be waiting for a standby since the primary restarted, or lie unsynced in the journal of a SQLite file
        since the process that wrote it was killed.
        """
        if self._sqlite is None:
            with self.write() as connection:
                standby.confirm(connection)
        elif not self.in_memory:
            with _TRANSLATED:
                self._sqlite.confirm()

    @property
    def pooled(self) -> bool:
        """Whether a pooler is between this process and the database; false before the first use."""
        return self._sessions is not None and bool(self._sessions.pooled)

    def change(self, work: Callable[[Connection], T], counts: int = 0) -> T:
        """Do all of `work` in one transaction; where that gave way to another writer's, do all of it again."""
        for attempt in range(1, _ATTEMPTS):
            try:
                with self.write(counts) as connection:
                    return work(connection)
            except GaveWayError:
                sleep(random.uniform(0, _PAUSE_SECONDS * 2**attempt))  # noqa: S311  no secret
        with self.write(counts) as connection:
            return work(connection)

    @contextmanager
    def fenced(self, fence: Fence) -> Iterator[None]:
        """Let this thread write nothing unless `fence`, called first in every transaction, lets it."""
        self._thread.fence = fence
        try:
            yield
        finally:
            self._thread.fence = None

    def _only_one(self) -> _Thread:
        """Let a thread use one connection at a time: nobody who holds one waits for another, however many wait."""
        if self._closed:
            msg = "the database was closed by this process"
            raise StoreError(msg, hint="open the vault again")
        thread = self._thread
        if thread.busy:
            msg = "this thread has a connection to the database already, and asked for another"
            raise StoreError(msg, hint="this is a fault of icehouse: please report it")
        thread.busy = True
        return thread

    def forked(self) -> None:
        """In a fork's child: the parent's connections are the parent's to use and to close."""
        self._thread = _Thread()
        if self.in_memory:
            return
        if self._sqlite is not None:
            self._sqlite.forked()
        if self._sessions is not None:
            self._sessions.forget()
        self.engine.dispose(close=False)

    def shrink(self) -> Leftover | None:
        """Leave nothing of deleted rows behind, or answer where it still lies.

        SQLite overwrites them already; here its journal is emptied. PostgreSQL does so in its own time.
        """
        if self._sqlite is None or self.in_memory:
            return None
        thread = self._only_one()
        try:
            with _TRANSLATED:
                return self._sqlite.emptied()
        finally:
            thread.busy = False

    def close(self) -> None:
        """Close every connection, for good; a second call does nothing."""
        self._closed = True
        if self._sqlite is not None:
            self._sqlite.close()
        self.engine.dispose()


_OPEN: WeakSet[Database] = WeakSet()


def _leave_to_the_parent() -> None:
    for database in list(_OPEN):
        database.forked()


# Before the child has a second thread that could be lent what is the parent's.
os.register_at_fork(after_in_child=_leave_to_the_parent)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Without its cause, which would repeat the URL, and with it a password.
        msg = "the store is no SQLAlchemy URL, such as sqlite:///vault.db or postgresql://user@host/database"
        raise RequestError(msg) from None
    backend = parsed.drivername.partition("+")[0]
    if backend in {"postgresql", "postgres"}:
        return postgresql.normal(parsed)
    if backend != "sqlite":
        msg = f"the store must be sqlite or postgresql, not {backend}"
        raise RequestError(msg)
    if parsed.drivername != "sqlite":
        msg = f"a SQLite store names no driver, not {parsed.drivername.partition('+')[2]}"
        raise RequestError(msg, hint="write sqlite:///vault.db")
    return parsed


def holds_password(url: str) -> bool:
    """Whether a URL carries a password, wherever libpq would look for it."""
    return _parsed(url).password is not None


def check_no_password(url: str) -> str:
    """Return a URL that came as an argument, which every user of the machine can read; refuse one with a password."""
    if holds_password(url):
        msg = "a password must not be an argument: other users of this machine see it"
        hint = "use a password file (PGPASSFILE, or ?passfile=PATH in the URL), or ICEHOUSE_STORE__URL"
        raise RequestError(msg, hint=hint)
    return url


class _Translated:
    """Turns what the database raises into `StoreError`. Without state, so one serves every statement."""

    def __enter__(self) -> None:
        """Nothing is to be prepared."""

    def __exit__(self, _kind: object, raised: BaseException | None, _trace: object) -> None:
        if isinstance(raised, IntegrityError):
            msg = f"the database holds a row already that was to be new: {first_line(raised.orig)}"
            raise RowThereError(msg) from raised
        if isinstance(raised, TypeError | ValueError | OverflowError):
            msg = "the database holds a value of a type or size that icehouse never writes"
            raise SealError(msg) from raised
        if isinstance(raised, DBAPIError):
            foreign.refuse(raised.orig)
            if getattr(raised.orig, "sqlstate", None) in postgresql.GAVE_WAY:
                raise GaveWayError from raised
            # The driver's own words, without SQLAlchemy's: those repeat the statement and its values.
            # Of PostgreSQL's words the first line; the others may repeat values.
            msg = f"the database failed: {first_line(raised.orig)}"
            raise StoreError(msg, hint=_hint(str(raised.orig))) from raised
        if isinstance(raised, PoolTimeoutError):
            msg = f"no connection to the database became free within {_WAIT_SECONDS} seconds"
            raise StoreError(msg, hint="raise the setting store.connections") from raised
        if isinstance(raised, SQLAlchemyError):
            msg = f"the database failed: {type(raised).__name__}"
            raise StoreError(msg) from raised


_TRANSLATED = _Translated()


_MAKE_ROOM = "make room on the disk of the database, and repeat the call; what was completed before stays"


def first_line(raised: object) -> str:
    """The first line of the driver's words."""
    return str(raised).partition("\n")[0]


def _hint(words: str) -> str | None:
    for sign, hint in (
        ("disk is full", _MAKE_ROOM),
        ("readonly", "the database must be writable by the user icehouse runs as"),
        ("unable to open", "check that the directory of the database exists and may be written"),
        ("locked", "another process has been writing for too long; try again"),
        ("lock timeout", "another process has been writing for too long; try again"),
        ("authentication failed", "give the role's password: in a file (PGPASSFILE), in PGPASSWORD or in vault.toml"),
        ("read-only", "name the primary in the store's URL"),
        ("permission denied", "grant the role what it needs: see docs/howto/postgresql.md"),
        ("No space left", _MAKE_ROOM),
        ("connection", "check that the database runs and can be reached"),
        ("no such table", "this database holds no vault; make one with 'icehouse init'"),
    ):
        if sign in words:
            return hint
    return None
