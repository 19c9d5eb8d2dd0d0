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
from icehouse.store import foreign, postgresql

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
    "trusted_schema=OFF",  # what is written into the schema calls no function that does more than compute
)


class GaveWayError(StoreError):
    """The database undid the change so that another writer's could go on; nothing was written, try again."""


class RowThereError(StoreError):
    """A row that was to be new is there already, or the database says so: it may hold a rule of somebody else's."""


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
        else:
            postgresql.listen(self.engine)
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
            yield connection

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """SQLite: one that this thread keeps. PostgreSQL: one of the pool's, so that threads may outnumber them."""
        if self.backend == "postgresql":
            with self._reading.connect() as pooled:
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
        with self._turn, _TRANSLATED, self.engine.begin() as connection:
            fence: Fence | None = getattr(self._fence, "held", None)
            if fence is not None:
                fence(connection, counts)
            yield connection

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
    foreign.guard_sqlite(connection)
    cursor = connection.cursor()
    _use_wal(cursor)
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


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


def first_line(raised: object) -> str:
    """The first line of the driver's words."""
    return str(raised).partition("\n")[0]


def _hint(words: str) -> str | None:
    for sign, hint in (
        ("disk is full", "make room on the disk of the database; nothing was written"),
        ("readonly", "the database must be writable by the user icehouse runs as"),
        ("unable to open", "check that the directory of the database exists and may be written"),
        ("locked", "another process has been writing for too long; try again"),
        ("lock timeout", "another process has been writing for too long; try again"),
        ("authentication failed", "give the role's password: in a file (PGPASSFILE), in PGPASSWORD or in vault.toml"),
        ("read-only", "name the primary in the store's URL"),
        ("permission denied", "grant the role what it needs: see docs/howto/postgresql.md"),
        ("No space left", "make room on the disk of the database; nothing was written"),
        ("connection", "check that the database runs and can be reached"),
        ("no such table", "this database holds no vault; make one with 'icehouse init'"),
    ):
        if sign in words:
            return hint
    return None
