"""What is between icehouse and PostgreSQL: nothing, or a pooler, which must leave each client a session of its own.

Nothing in the protocol names a pooler. But it has to invent the number of a server's process that it tells a client
at its login, because it does not know yet which one will serve. Whether it pools sessions shows where two clients ask
in turns: each is served by one process, and not by the other's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icehouse.errors import StoreError
from icehouse.store.waiting import NoAnswerError, ask

if TYPE_CHECKING:
    from collections.abc import Callable

_TURNS = 4
_OTHER_SECONDS = 2.0
"""A second client that waits longer is waiting for its turn: the first one keeps its session."""


def process_of(connection: Any, seconds: float) -> int:  # noqa: ANN401  the driver's own class
    """The server's process that serves this connection just now. Raises `NoAnswerError`."""
    return int(ask(connection, "SELECT pg_backend_pid()", seconds).get_value(0, 0))


def check(connection: Any, process: int, connect: Callable[[], Any], seconds: float) -> None:  # noqa: ANN401
    """Raise `StoreError` where the pooler lends sessions to several clients in turns."""
    other = connect()
    other.prepare_threshold = None
    try:
        mine, theirs = {process}, set()
        for _ in range(_TURNS):
            theirs.add(process_of(other, _OTHER_SECONDS))
            mine.add(process_of(connection, seconds))
    except NoAnswerError:
        return
    finally:
        other.close()
    if len(mine) > 1 or len(theirs) > 1 or mine & theirs:
        raise lends_sessions()


def check_still(connection: Any, process: int, seconds: float) -> None:  # noqa: ANN401  the driver's own class
    """Raise `StoreError` where another process serves a connection than did at its beginning."""
    if process_of(connection, seconds) != process:
        raise lends_sessions()


def lends_sessions() -> StoreError:
    """What is wrong with pooling transactions, and what to do."""
    msg = "a pooler in front of the database pools transactions or statements: settings and locks of a session leak"
    return StoreError(
        msg, hint="let it pool sessions (PgBouncer: pool_mode = session), or connect to the server itself"
    )
