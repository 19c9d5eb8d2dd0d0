"""The database behind a SQLAlchemy URL: durable, impatient to write, patient to wait."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import RLock, local
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import StaticPool

from icehouse.errors import MissingExtraError, RequestError, SealError, StoreError
from icehouse.store import postgresql, standby
from icehouse.store.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from sqlalchemy import URL, Connection, Engine

    Fence: TypeAlias = Callable[[Connection, int], None]

T = TypeVar("T")
CONNECTIONS = 16
"""How many connections a process opens to PostgreSQL at most, unless it is told otherwise."""
_WAIT_SECONDS = 30
_ATTEMPTS = 10
_PAUSE_SECONDS = 0.005
_PRAGMAS = (
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",
    "cache_size=-65536",  # 64 MiB hold both indexes of a million keys
)


class GaveWayError(StoreError):
    """The database undid the change so that another writer's could go on; nothing was written, try again."""


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
        self._kept = local()
        self._fence = local()
        self._pid = os.getpid()
        try:
            self.engine: Engine = create_engine(parsed, **self._options(parsed, connections))
        except (NoSuchModuleError, ModuleNotFoundError) as exc:
            extra = "postgresql"
            raise MissingExtraError(extra) from exc
        if self.backend == "sqlite":
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        self._sessions = Sessions(self.engine, connections) if self.backend == "postgresql" else None
        self._reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    def _options(self, url: URL, connections: int) -> dict[str, Any]:
        if self.backend == "sqlite":
            options: dict[str, Any] = {"poolclass": StaticPool} if self.in_memory else {}
            return options | {"connect_args": {"check_same_thread": False, "timeout": _WAIT_SECONDS}}
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
        self._after_fork()
        with self._turn, _TRANSLATED, self._connection() as connection:
            try:
                yield connection
            except (TypeError, ValueError) as exc:
                msg = "the database holds a value of a type that icehouse never writes"
                raise SealError(msg) from exc

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """SQLite: one that this thread keeps. PostgreSQL: one of the pool's, so that threads may outnumber them."""
        if self._sessions is not None:
            with self._sessions.connection(self._reading) as pooled:
                yield pooled
            return
        connection: Connection | None = getattr(self._kept, "connection", None)
        if connection is None or connection.closed or connection.invalidated:
            connection = self._kept.connection = self._reading.connect()
        yield connection

    @contextmanager
    def write(self, counts: int = 0) -> Iterator[Connection]:
        """A transaction; durable when it ends. On SQLite it holds the right to write from its first statement.

        On PostgreSQL writers run side by side, and one may be undone for another's sake: `GaveWayError`. A change
        that may wait for another's row belongs into `change`. `counts` says how many keys of a larger task it
        completes, for the thread's fence.
        """
        self._after_fork()
        with self._turn, _TRANSLATED, self._transaction() as connection:
            fence: Fence | None = getattr(self._fence, "held", None)
            if fence is not None:
                fence(connection, counts)
            yield connection

    def _transaction(self) -> AbstractContextManager[Connection]:
        return self.engine.begin() if self._sessions is None else self._sessions.transaction(self.engine)

    def confirm(self) -> None:
        """Return once everything that could be read until now is durable, also where a standby is to have it.

        A change is durable when its own transaction ends. This is for an answer that rests on what was only read: its
        commit may be waiting for a standby since the primary restarted.
        """
        if self.backend == "postgresql":
            with self.write() as connection:
                standby.confirm(connection)

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
        self._fence.held = fence
        try:
            yield
        finally:
            self._fence.held = None

    def _after_fork(self) -> None:
        """In a fork's child: the parent's connections are the parent's to use and to close."""
        if self._pid != os.getpid() and not self.in_memory:
            self.engine.dispose(close=False)
            self._kept = local()
            self._pid = os.getpid()
            if self._sessions is not None:
                self._sessions.forget()

    def shrink(self) -> None:
        """Leave nothing of deleted rows behind: SQLite overwrites them already, its journal is emptied here."""
        if self.backend == "sqlite" and not self.in_memory:
            with self.read() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close every connection; a second call does nothing."""
        connection: Connection | None = getattr(self._kept, "connection", None)
        if connection is not None:
            connection.close()
        self.engine.dispose()


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
    return parsed


def check_no_password(url: str) -> str:
    """Return a URL that came as an argument, which every user of the machine can read; refuse one with a password."""
    if _parsed(url).password is not None:
        msg = "a password must not be an argument: other users of this machine see it"
        hint = "use a password file (PGPASSFILE, or ?passfile=PATH in the URL), or ICEHOUSE_STORE__URL"
        raise RequestError(msg, hint=hint)
    return url


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401  the driver's own class
    connection.isolation_level = None  # transactions are begun below, not by the driver's guess
    cursor = connection.cursor()
    if not _is_of_others(cursor):
        _use_wal(cursor)
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _is_of_others(cursor: Any) -> bool:  # noqa: ANN401  the driver's own class
    """Whether a file holds tables and no vault's: it is refused, and a journal's mode would stay with it."""
    tables = {name for (name,) in cursor.execute("SELECT name FROM sqlite_master")}
    return bool(tables) and "root_keys" not in tables


def _use_wal(cursor: Any) -> None:  # noqa: ANN401  the driver's own class
    """Ask again while another connection does: of several that find a new database, SQLite lets none wait for that."""
    until = monotonic() + _WAIT_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc) or monotonic() > until:
                raise
            sleep(_PAUSE_SECONDS)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


class _Translated:
    """Turns what the database raises into `StoreError`. Without state, so one serves every statement."""

    def __enter__(self) -> None:
        """Nothing is to be prepared."""

    def __exit__(self, _kind: object, raised: BaseException | None, _trace: object) -> None:
        if isinstance(raised, IntegrityError):
            return  # a row that is there already: the caller knows what that means
        if isinstance(raised, DBAPIError):
            if getattr(raised.orig, "sqlstate", None) in postgresql.GAVE_WAY:
                raise GaveWayError from raised
            # The driver's own words, without SQLAlchemy's: those repeat the statement and its values.
            # Of PostgreSQL's words the first line; the others may repeat values.
            msg = f"the database failed: {str(raised.orig).partition(chr(10))[0]}"
            raise StoreError(msg, hint=_hint(str(raised.orig))) from raised
        if isinstance(raised, PoolTimeoutError):
            msg = f"no connection to the database became free within {_WAIT_SECONDS} seconds"
            raise StoreError(msg, hint="raise the setting store.connections") from raised
        if isinstance(raised, SQLAlchemyError):
            msg = f"the database failed: {type(raised).__name__}"
            raise StoreError(msg) from raised


_TRANSLATED = _Translated()


_MAKE_ROOM = "make room on the disk of the database, and repeat the call; what was completed before stays"


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
