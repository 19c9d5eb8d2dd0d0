"""The sessions that one process has on a PostgreSQL server: how each begins, and how many there may be."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from threading import Condition
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError

from icehouse.errors import StoreError
from icehouse.store import pooler, postgresql
from icehouse.store.standby import Standby
from icehouse.store.waiting import NoAnswerError, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

_IDLE_SECONDS = 30.0
"""A connection that nobody used for so long is asked whether it is still there."""
_ANSWER_SECONDS = 10.0
_ONE_MORE_SECONDS = 2.0
"""How long one more session is waited for behind a pooler, where this process has some already."""
_FEWER_SECONDS = 60.0
"""For how long a process makes do with the sessions it has, before it asks for one more again."""
_MORE = "raise the server's max_connections, the role's CONNECTION LIMIT or the pooler's pool_size"
_LOCKED = "55P03"
_FULL = ("too many clients", "too many connections", "connection slots are reserved", "no more connections allowed")


class NoMoreError(StoreError):
    """The server, or a pooler in front of it, has no more sessions for this process."""


class Sessions:
    """One process's sessions. `pooled` says whether a pooler is between; None before the first one began."""

    def __init__(self, engine: Engine, most: int) -> None:
        self.pooled: bool | None = None
        self._room = _Room(most)
        self._standby = Standby()
        self._connect: Callable[[], Any] = lambda: None
        event.listen(engine, "do_connect", self._begin)
        event.listen(engine, "close", lambda *_: self._room.closed())
        event.listen(engine, "checkin", _note)
        event.listen(engine, "checkout", self._see_alive)

    def forget(self) -> None:
        """In a fork's child: none of the parent's sessions is this process's."""
        self._room.open = 0

    def _begin(self, dialect: Any, record: Any, given: Any, named: Any) -> Any:  # noqa: ANN401  the driver's own
        """Begin a session and check it; each may have settings of its own."""
        self._connect = partial(dialect.connect, *given, **named)
        try:
            connection = self._connect()
        except dialect.loaded_dbapi.Error as exc:
            if self._room.open and any(sign in str(exc) for sign in _FULL):
                raise NoMoreError(hint=_MORE) from exc
            raise
        try:
            self._admit(connection, record.info)
        except BaseException:
            connection.close()
            raise
        self._room.opened()
        return connection

    def _admit(self, connection: Any, info: dict[str, Any]) -> None:  # noqa: ANN401  the driver's own
        info["notices"] = notices = []
        connection.add_notice_handler(lambda notice: notices.append(notice.source_function))
        try:
            seconds = _ONE_MORE_SECONDS if self.pooled and self._room.open else _ANSWER_SECONDS
            info["process"] = process = pooler.process_of(connection, seconds)
        except NoAnswerError:
            if self.pooled and self._room.open:
                raise NoMoreError(hint=_MORE) from None
            msg = f"the database did not answer within {_ANSWER_SECONDS:.0f} seconds"
            hint = "check that it runs, and that a pooler in front of it has a session left for this process"
            raise StoreError(msg, hint=hint) from None
        pooled = process != connection.info.backend_pid
        if pooled:
            # Another client of the pooler may have left a statement under the name that ours would get.
            connection.prepare_threshold = None
            if not self._room.open:
                pooler.check(connection, process, self._connect, _ANSWER_SECONDS)
        self._standby.suspect |= postgresql.check(connection)
        self.pooled = pooled

    def _see_alive(self, connection: Any, record: Any, _proxy: object) -> None:  # noqa: ANN401  the driver's own
        """Without a round trip where nothing is suspect: what ends a connection leaves something to read on it."""
        idle = monotonic() - record.info.get("idle since", monotonic())
        if not self.pooled and idle < _IDLE_SECONDS and not connection.closed and not readable(connection):
            return
        try:
            pooler.check_still(connection, record.info["process"], _ANSWER_SECONDS)
        except StoreError:
            raise
        except Exception as exc:
            raise InvalidatePoolError from exc  # the pool gives up its other old connections, too, and makes a new one

    @contextmanager
    def connection(self, engine: Engine) -> Iterator[Connection]:
        """One of the pool's connections, so that threads may outnumber them."""
        connection = self._taken(engine)
        try:
            with connection:
                yield connection
        finally:
            self._room.leave()

    def _taken(self, engine: Engine) -> Connection:
        until = monotonic() + postgresql.WAIT_SECONDS
        while True:
            self._room.enter()
            try:
                return engine.connect()
            except BaseException as exc:
                self._room.leave()
                if not isinstance(exc, NoMoreError) or not self._room.shrink() or monotonic() > until:
                    raise

    @contextmanager
    def transaction(self, engine: Engine) -> Iterator[Connection]:
        """A transaction that is where `synchronous_commit` wants it when this ends."""
        with self.connection(engine) as connection, connection.begin():
            self._standby.check(connection)
            try:
                yield connection
            except DBAPIError as exc:
                # Whoever holds the lock may be a commit that waits for a standby: the next write asks.
                self._standby.suspect |= getattr(exc.orig, "sqlstate", None) == _LOCKED
                raise
            self._standby.commit(connection, connection.info["process"], self._connect)


def _note(_connection: object, record: Any) -> None:  # noqa: ANN401  SQLAlchemy's own class
    record.info["idle since"] = monotonic()


class _Room:
    """How many connections may be in use at once: as many as the settings say, or as there were to be had."""

    def __init__(self, most: int) -> None:
        self.open = 0
        self._most = most
        self._limit = most
        self._until = 0.0
        self._used = 0
        self._changed = Condition()

    def enter(self) -> None:
        """Wait until one more may be used."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._used < self._allowed(), postgresql.WAIT_SECONDS):
                msg = f"no connection to the database became free within {postgresql.WAIT_SECONDS} seconds"
                raise StoreError(msg, hint="raise the setting store.connections, or a pooler's pool_size")
            self._used += 1

    def _allowed(self) -> int:
        if self._limit < self._most and monotonic() > self._until:
            self._limit = self._most
        return self._limit

    def leave(self) -> None:
        with self._changed:
            self._used -= 1
            self._changed.notify()

    def shrink(self) -> bool:
        """Make do with what is open; false where nothing is."""
        with self._changed:
            self._limit = min(self._most, self.open)
            self._until = monotonic() + _FEWER_SECONDS
            return self._limit > 0

    def opened(self) -> None:
        with self._changed:
            self.open += 1

    def closed(self) -> None:
        with self._changed:
            self.open = max(0, self.open - 1)
            if not self.open:
                self._limit = self._most
                self._changed.notify_all()
