"""SQLite's side of the store: how a file is opened, and how any number of threads share a few connections to it."""

from __future__ import annotations

import sqlite3
from collections import deque
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import NullPool, StaticPool

from icehouse.errors import IcehouseError, StoreError
from icehouse.files import durable_file
from icehouse.store import foreign, wal
from icehouse.store.private_file import make_private

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from icehouse.store.wal import Leftover

WAIT_SECONDS = 30
_PAUSE_SECONDS = 0.005
_PRAGMAS = (
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",
    "cache_size=-65536",  # 64 MiB hold both indexes of a million keys
    "trusted_schema=OFF",  # what is written into the schema calls no function that does more than compute
)


def options(*, in_memory: bool) -> dict[str, Any]:
    """How SQLAlchemy's engine is made: what it opens is kept, lent and closed by `Connections`."""
    # SQLAlchemy's own pool takes longer to lend a connection than SQLite takes to read a key.
    pool = StaticPool if in_memory else NullPool
    return {"poolclass": pool, "connect_args": {"check_same_thread": False, "timeout": WAIT_SECONDS}}


class Connections:
    """A process's connections to one database: at most so many that read, and one that writes.

    Each is lent for one use, and no thread keeps one between two uses: threads and greenlets may outnumber them, and
    those that ended leave nothing behind.
    """

    def __init__(self, engine: Engine, most: int) -> None:
        self._engine = engine
        self._most = most
        self._inherited: list[object] = []
        self._begin_anew()
        event.listen(engine, "do_connect", make_private, once=True)
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "engine_disposed", lambda _: self._close_idle())

    def _begin_anew(self) -> None:
        # A semaphore; Python's own costs as much as reading a row.
        self._places: SimpleQueue[None] = SimpleQueue()
        for _ in range(self._most):
            self._places.put(None)
        self._idle: deque[Connection] = deque()
        self._turn = Lock()
        self._writer: Connection | None = None
        self._closed = False

    def forked(self) -> None:
        """In a fork's child: the parent's connections are the parent's to use and to close."""
        # They are kept from the garbage collector, which would close them.
        self._inherited += [self._idle, self._writer]
        self._begin_anew()

    def lend(self) -> Connection:
        """Lend a connection on which every statement stands on its own."""
        try:
            self._places.get(timeout=WAIT_SECONDS)
        except Empty:
            msg = f"all {self._most} connections that read are lent"
            raise PoolTimeoutError(msg) from None
        try:
            return self._idle.pop()  # the one that was used last, whose pages are cached
        except IndexError:
            pass
        try:
            return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except BaseException:
            self._places.put(None)
            raise

    def take_back(self, connection: Connection, *, whole: bool) -> None:
        """Take back what was lent. Where not all was `whole`, a statement may be left that holds an older state."""
        if whole:
            self._idle.append(connection)
        else:
            connection.close()
        self._places.put(None)
        if self._closed:
            self._close_idle()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Lend the connection that writes, in a transaction that is durable when this ends."""
        taken = False
        try:
            # SQLite would make them wait as well, but inside its own code, where no greenlet lets another one end.
            taken = self._turn.acquire(timeout=WAIT_SECONDS)
            _check_turn(taken=taken)
            if self._writer is None:
                self._writer = self._engine.connect()
            with self._writer.begin():
                yield self._writer
        except (IcehouseError, IntegrityError):
            raise
        except BaseException:
            self._close_writer()  # nobody knows in which state it is
            raise
        finally:
            if taken:
                self._turn.release()
        if self._closed:
            self._close_idle()

    def confirm(self) -> None:
        """Make durable whatever can be read by now.

        A writer that was killed between writing its commit into the journal and syncing it leaves one that everybody
        reads, and that a power cut would undo.
        """
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as apart:
            file = str(apart.exec_driver_sql("PRAGMA database_list").fetchone()[2])  # type: ignore[index]
        if file:
            durable_file.sync(Path(f"{file}-wal"))

    def emptied(self) -> Leftover | None:
        """Empty the journal; what was removed may still lie in what this names."""
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as apart:
            return wal.empty(apart, self._turn)

    def close(self) -> None:
        """Close every connection; those that are lent, when they come back."""
        self._closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()
        if self._turn.acquire(blocking=False):  # else whoever writes closes it
            try:
                self._close_writer()
            finally:
                self._turn.release()

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def _check_turn(*, taken: bool) -> None:
    if not taken:
        msg = f"other threads of this process have been writing for more than {WAIT_SECONDS} seconds"
        raise StoreError(msg, hint="another process may have been writing for too long; try again")


def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401  the driver's own class
    connection.isolation_level = None  # transactions are begun below, not by the driver's guess
    foreign.guard_sqlite(connection)
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
    until = monotonic() + WAIT_SECONDS
    while True:
        try:
            (mode,) = cursor.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc) or monotonic() > until:
                raise
            sleep(_PAUSE_SECONDS)
        else:
            break
    if mode not in {"wal", "memory"}:
        msg = f"SQLite cannot keep a write-ahead log beside this database: its journal is {mode!r}"
        raise StoreError(msg, hint="keep it in a local directory that icehouse may write to")


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
