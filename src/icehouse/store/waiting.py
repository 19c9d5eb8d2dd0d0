"""One statement of PostgreSQL's that is waited for only so long: psycopg itself waits for ever."""

from __future__ import annotations

import select
from time import monotonic
from typing import Any


class NoAnswerError(Exception):
    """The server, or a pooler in front of it, gave no answer in time. It may be about to."""


def ask(connection: Any, statement: str, seconds: float) -> Any:  # noqa: ANN401  the driver's own classes
    """The result of a statement without parameters, outside of psycopg's transactions.

    Raises `NoAnswerError`, after which `answer` goes on waiting, and the driver's errors.
    """
    connection.pgconn.send_query(statement.encode())
    return answer(connection, seconds)


def answer(connection: Any, seconds: float) -> Any:  # noqa: ANN401  the driver's own classes
    """The result of the statement that was sent."""
    pgconn, until = connection.pgconn, monotonic() + seconds
    result = None
    while True:
        _wait(pgconn, until)
        following = pgconn.get_result()
        if following is None:
            return result
        result = following
        _check(result)


def _wait(pgconn: Any, until: float) -> None:  # noqa: ANN401  the driver's own class
    while (unsent := pgconn.flush()) or pgconn.is_busy():
        left = until - monotonic()
        if left <= 0:
            raise NoAnswerError
        poll = select.poll()
        poll.register(pgconn.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
        poll.poll(left * 1000)
        pgconn.consume_input()


def _check(result: Any) -> None:  # noqa: ANN401  the driver's own class
    from psycopg import errors, pq  # noqa: PLC0415  an extra's

    if result.status == pq.ExecStatus.FATAL_ERROR:
        raise errors.error_from_result(result)


def readable(connection: Any) -> bool:  # noqa: ANN401  the driver's own class
    """Whether the server said something that nobody asked for, as it does before it ends a connection."""
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))
