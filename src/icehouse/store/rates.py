"""Token buckets as rows: how fast HSMs may be asked by all workers together."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from time import time
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from icehouse.errors import RequestError
from icehouse.store.schema import hsm_rates

if TYPE_CHECKING:
    from sqlalchemy import Connection, Update

    from icehouse.store.engine import Database

_LONGEST_WAIT = 1.0
FASTEST = 1_000_000


class Lot(NamedTuple):
    """Tokens that were taken, or how many seconds to wait for the next."""

    tokens: int
    seconds: float


def check_rate(rate: float) -> float:
    """Return a rate in operations a second, or raise `RequestError`."""
    if not 0 < rate <= FASTEST:
        msg = f"the rate must be a number of HSM operations a second above 0, up to {FASTEST}, not {rate:g}"
        raise RequestError(msg)
    return rate


def limit(database: Database, name: str, rate: float | None) -> None:
    """Let an HSM be asked at most this often a second; None for as often as it answers."""

    def work(connection: Connection) -> None:
        connection.execute(delete(hsm_rates).where(hsm_rates.c.name == name))
        if rate is not None:
            row = {"name": name, "rate": check_rate(rate), "tokens": 0.0, "at": time(), "rev": 0}
            connection.execute(insert(hsm_rates).values(row))

    while True:
        with suppress(IntegrityError):  # another process sets it at this very moment, too
            return database.change(work)


def take(database: Database, name: str, seconds: float) -> Lot | None:
    """Take what so many seconds allow, one token at least; None where the HSM has no limit.

    The bucket holds one second's worth. Clocks of machines differ: the bucket's own time only goes forward, so one
    that is behind gets less, and all together never more than the rate.
    """
    while True:
        with database.read() as connection:
            row = connection.execute(select(hsm_rates).where(hsm_rates.c.name == name)).first()
        if row is None:
            return None
        now = max(time(), row.at)
        full = max(row.rate, 1.0)
        there = min(full, row.tokens + (now - row.at) * row.rate)
        wanted = min(int(there), max(1, int(row.rate * seconds)))
        if not wanted:
            return Lot(0, min(_LONGEST_WAIT, (1 - there) / row.rate))
        taking = (
            update(hsm_rates)
            .where(hsm_rates.c.name == name, hsm_rates.c.rev == row.rev, hsm_rates.c.at == row.at)
            .values(tokens=there - wanted, at=now, rev=row.rev + 1)
        )
        if database.change(partial(_done, taking)):
            return Lot(wanted, 0.0)


def _done(statement: Update, connection: Connection) -> bool:
    return connection.execute(statement).rowcount == 1
