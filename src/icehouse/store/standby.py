"""Commits that wait for a synchronous standby: PostgreSQL lets them wait for ever where it is not there (ADR 0039).

Such a commit is neither awaited without end nor cancelled. Cancelled, it would be visible at once although only the
primary has it. Left alone, nobody sees it before the standby has it, and the same call finds it then.
"""

from __future__ import annotations

from contextlib import closing
from threading import Lock
from typing import TYPE_CHECKING, Any

from icehouse.errors import StoreError
from icehouse.store.driver import translated
from icehouse.store.waiting import NoAnswerError, answer, ask

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

_ASKS_AFTER = 5.0
_GIVES_UP_AFTER = 60.0
WAITING = (
    "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' "
    "AND query_start < clock_timestamp() - interval '3 seconds')"
)
"""Whether a commit has been waiting for a standby; a role sees its own sessions, and with pg_monitor all."""
_ITS_WAIT = "SELECT wait_event FROM pg_stat_activity WHERE pid = {}"
_STANDBY = "the database waits for a synchronous standby that does not answer: {}"
_HINT = (
    "start the standby, or let PostgreSQL go on without it (synchronous_standby_names); then repeat the call, "
    "which finds out what became of it"
)


class Standby:
    """What one process knows of the standby that its commits wait for."""

    def __init__(self) -> None:
        self.suspect = False
        """Whether a write is to ask first: it would be one more commit that waits and holds its session."""
        self._turn = Lock()

    def check(self, connection: Connection) -> None:
        """Raise `StoreError` where commits are waiting just now."""
        if not self.suspect:
            return
        if connection.exec_driver_sql(WAITING).scalar():
            raise StoreError(_STANDBY.format("this change was not begun"), hint=_HINT)
        self.suspect = False

    def commit(self, connection: Connection, process: int, connect: Callable[[], Any]) -> None:
        """End the transaction. Raises `StoreError` unless the change is where `synchronous_commit` wants it."""
        driver: Any = connection.connection.driver_connection
        told = connection.info["notices"]
        told.clear()
        try:
            if not driver.pgconn.transaction_status:  # nothing was asked of the server
                return
            result = self._committed(connection, driver, process, connect)
        except connection.dialect.loaded_dbapi.Error as exc:
            raise translated(connection, "COMMIT", exc) from exc
        except BaseException:  # such as Ctrl-C: psycopg would cancel the wait, and the change would be seen
            if not connection.invalidated:
                connection.invalidate()
            raise
        if result.command_status != b"COMMIT":
            msg = "the database undid the change instead of committing it"
            raise StoreError(msg)
        if "SyncRepWaitForLSN" in told:
            # Somebody cancelled the wait. The change is there; whoever asks again waits for the standby again.
            raise StoreError(_STANDBY.format("the change is on the primary only"), hint=_HINT)

    def _committed(self, connection: Connection, driver: Any, process: int, connect: Callable[[], Any]) -> Any:  # noqa: ANN401  the driver's own classes
        driver.pgconn.send_query(b"COMMIT")
        for _ in range(int(_GIVES_UP_AFTER / _ASKS_AFTER)):
            try:
                return answer(driver, _ASKS_AFTER)
            except NoAnswerError:
                if self._waits(process, connect):
                    self.suspect = True
                    connection.invalidate()
                    raise StoreError(_STANDBY.format("the change is not told to be done"), hint=_HINT) from None
        connection.invalidate()
        msg = f"the database did not answer a commit within {_GIVES_UP_AFTER:.0f} seconds"
        raise StoreError(msg, hint="repeat the call, which finds out what became of it")

    def _waits(self, process: int, connect: Callable[[], Any]) -> bool:
        """Ask on another connection; one thread at a time, since each may be one too many for the server."""
        from psycopg import Error  # noqa: PLC0415  an extra's

        try:
            with self._turn, closing(connect()) as other:
                result = ask(other, _ITS_WAIT.format(process), _ASKS_AFTER)
        except (Error, NoAnswerError):
            return False
        return bool(result.ntuples) and result.get_value(0, 0) == b"SyncRep"


def confirm(connection: Connection) -> None:
    """Write to the log of changes, so that the commit of this transaction waits for a standby, if one is waited for.

    What the transaction, or another before it, had read is then on the standby, too: the log is one sequence.
    """
    if connection.exec_driver_sql("SELECT current_setting('synchronous_standby_names') <> ''").scalar():
        connection.exec_driver_sql("SELECT pg_logical_emit_message(true, 'icehouse', '')")
