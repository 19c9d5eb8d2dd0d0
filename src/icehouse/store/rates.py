"""Token buckets as rows: how fast HSMs may be asked by all workers together."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Float, cast, delete, extract, func, insert, select, update

from icehouse.errors import RequestError, StoreError
from icehouse.store.engine import RowThereError
from icehouse.store.foreign import LAST_SECOND
from icehouse.store.schema import hsm_rates

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Row, Update

    from icehouse.store.engine import Database

_LONGEST_WAIT = 1.0
_SERVER_CLOCK = select(cast(extract("epoch", func.clock_timestamp()), Float))
FASTEST = 1_000_000
SLOWEST = 0.001
"""Operations a second: one in a quarter of an hour. A worker that waited longer would seem to do nothing."""
_ATTEMPTS = 10
_SHOWN = 40


class RateError(StoreError):
    """The rate of an HSM holds what icehouse never writes: no key's fault, and nothing that passes."""


class Lot(NamedTuple):
    """Tokens that were taken, or how many seconds to wait for the next."""

    tokens: int
    seconds: float


def check_rate(rate: float) -> float:
    """Return a rate in operations a second, or raise `RequestError`."""
    if not SLOWEST <= rate <= FASTEST:
        msg = f"the rate must be a number of HSM operations a second from {SLOWEST} to {FASTEST}, not {rate:g}"
        raise RequestError(msg)
    return rate


def limit(database: Database, name: str, rate: float | None) -> None:
    """Let an HSM be asked at most this often a second; None for as often as it answers."""

    def work(connection: Connection) -> None:
        connection.execute(delete(hsm_rates).where(hsm_rates.c.name == name))
        if rate is not None:
            row = {"name": name, "rate": check_rate(rate), "tokens": 0.0, "at": _clock(connection), "rev": 0}
            connection.execute(insert(hsm_rates).values(row))

    for _ in range(_ATTEMPTS - 1):
        with suppress(RowThereError):  # another process sets it at this very moment, too
            return database.change(work)
    return database.change(work)


def take(database: Database, name: str, seconds: float) -> Lot | None:
    """Take what so many seconds allow, one token at least; None where the HSM has no limit.

    The bucket holds one second's worth. One clock counts, the database's; a bucket filled up in its future, for it was
    put back since, goes on from now with what is in it, so that all together never take more than the rate.
    """
    while True:
        with database.read() as connection:
            row = connection.execute(select(hsm_rates).where(hsm_rates.c.name == name)).first()
            clock = _clock(connection)
        if row is None:
            return None
        _check(row)
        if row.at > clock + _LONGEST_WAIT:
            put_back = update(hsm_rates).where(*_seen(row)).values(at=clock, rev=row.rev + 1)
            database.change(partial(_done, put_back))
            continue
        now = max(clock, row.at)
        full = max(row.rate, 1.0)
        there = min(full, row.tokens + (now - row.at) * row.rate)
        wanted = min(int(there), max(1, int(row.rate * seconds)))
        if not wanted:
            return Lot(0, min(_LONGEST_WAIT, (1 - there) / row.rate))
        taking = update(hsm_rates).where(*_seen(row)).values(tokens=there - wanted, at=now, rev=row.rev + 1)
        if database.change(partial(_done, taking)):
            return Lot(wanted, 0.0)


def _check(row: Row[Any]) -> None:
    """Raise `RateError` for a value that icehouse never writes."""
    fits = all(type(value) is float for value in (row.rate, row.tokens, row.at)) and type(row.rev) is int
    if fits and SLOWEST <= row.rate <= FASTEST and 0 <= row.tokens <= FASTEST and 0 <= row.at <= LAST_SECOND:
        return
    shown = ", ".join(f"{name} = {str(getattr(row, name))[:_SHOWN]}" for name in ("rate", "tokens", "at", "rev"))
    msg = f"the rate at which an HSM may be asked holds what icehouse never writes: {shown}"
    raise RateError(msg, hint="start a campaign with --rate: it writes the rate anew")


def _clock(connection: Connection) -> float:
    """Seconds since 1970: by the server's clock, which machines share, or by that of SQLite's one machine."""
    if connection.dialect.name == "postgresql":
        return float(connection.execute(_SERVER_CLOCK).scalar_one())
    return time()


def _seen(row: Row[Any]) -> tuple[ColumnElement[bool], ...]:
    return hsm_rates.c.name == row.name, hsm_rates.c.rev == row.rev, hsm_rates.c.at == row.at


def _done(statement: Update, connection: Connection) -> bool:
    return connection.execute(statement).rowcount == 1
