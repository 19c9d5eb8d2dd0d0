"""The database behind a SQLAlchemy URL: durable, impatient to write, patient to wait."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import RLock, local
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from icehouse.errors import MissingExtraError, RequestError, SealError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from sqlalchemy import Connection, Engine

    Fence: TypeAlias = Callable[[Connection, int], None]

_WAIT_SECONDS = 30


class Database:
    """Connections for reading and transactions for writing, on SQLite or PostgreSQL."""

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError as exc:
            msg = "the store is no SQLAlchemy URL, such as sqlite:///vault.db"
            raise RequestError(msg) from exc
        self.backend = parsed.get_backend_name()
        if self.backend not in {"sqlite", "postgresql"}:
            msg = f"the store must be sqlite or postgresql, not {self.backend}"
            raise RequestError(msg)
        self.in_memory = self.backend == "sqlite" and parsed.database in {None, "", ":memory:"}
        # One in-memory database is one connection, so its users take turns.
        self._turn: AbstractContextManager[object] = RLock() if self.in_memory else nullcontext()
        self._kept = local()
        self._fence = local()
        self._pid = os.getpid()
        options: dict[str, Any] = {"poolclass": StaticPool} if self.in_memory else {}
        if self.backend == "sqlite":
            options["connect_args"] = {"check_same_thread": False, "timeout": _WAIT_SECONDS}
        try:
            self.engine: Engine = create_engine(parsed, **options)
        except (NoSuchModuleError, ModuleNotFoundError) as exc:
            extra = "postgresql"
            raise MissingExtraError(extra) from exc
        if self.backend == "sqlite":
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        self._reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def missing(self) -> bool:
        """Whether it is a file that is not there; SQLite would make an empty one just to look into it."""
        file = self.engine.url.database
        is_path = self.backend == "sqlite" and not self.in_memory and not str(file).startswith("file:")
        return is_path and not Path(str(file)).exists()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A kept connection of this thread, each statement on its own and always current."""
        self._after_fork()
        with self._turn, _TRANSLATED:
            connection: Connection | None = getattr(self._kept, "connection", None)
            if connection is None or connection.closed or connection.invalidated:
                connection = self._kept.connection = self._reading.connect()
            try:
                yield connection
            except (TypeError, ValueError) as exc:
                msg = "the database holds a value of a type that icehouse never writes"
                raise SealError(msg) from exc

    @contextmanager
    def write(self, work: int = 0) -> Iterator[Connection]:
        """A transaction that holds the right to write from its first statement; durable when it ends.

        `work` says how many keys of a larger task it completes; the thread's fence counts them.
        """
        self._after_fork()
        with self._turn, _TRANSLATED, self.engine.begin() as connection:
            fence: Fence | None = getattr(self._fence, "held", None)
            if fence is not None:
                fence(connection, work)
            yield connection

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


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401  the driver's own class
    connection.isolation_level = None  # transactions are begun below, not by the driver's guess
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-65536", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


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
            # The driver's own words, without SQLAlchemy's: those repeat the statement and its values.
            msg = f"the database failed: {raised.orig}"
            raise StoreError(msg, hint=_hint(str(raised.orig))) from raised
        if isinstance(raised, SQLAlchemyError):
            msg = f"the database failed: {type(raised).__name__}"
            raise StoreError(msg) from raised


_TRANSLATED = _Translated()


def _hint(words: str) -> str | None:
    for sign, hint in (
        ("disk is full", "make room on the disk of the database; nothing was written"),
        ("readonly", "the database must be writable by the user icehouse runs as"),
        ("unable to open", "check that the directory of the database exists and may be written"),
        ("locked", "another process has been writing for too long; try again"),
        ("no such table", "this database holds no vault; make one with 'icehouse init'"),
    ):
        if sign in words:
            return hint
    return None
