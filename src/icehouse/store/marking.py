"""Marking rotations due: one statement for a page, each key on a day of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, exists, func, literal, or_, select, update

from icehouse.model import MAX_NAME_BYTES, State
from icehouse.store.foreign import whole, words
from icehouse.store.rows import state_number
from icehouse.store.schema import keys, offers
from icehouse.store.selection import LAST_DAY, conditions, earlier_than

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Connection, Row

    from icehouse.store.engine import Database
    from icehouse.store.selection import Filters

_DAY = 86400
_LISTED = 1000
_STATES = {state_number(state): str(state) for state in (State.LIVE, State.SUSPENDED)}


def mark_due(connection: Connection, filters: Filters, first: int, last: int) -> int:
    """Mark the live keys of a page due, spread from one day to another; how many. An earlier day stays.

    The rows are locked first, and then seen and changed at once, so no `rev` that was read before is needed; whoever
    did read one finds that it has moved on.
    """
    start, by = filters.due_from or 0, filters.due_by or 0
    own: ColumnElement[int] = literal(start)
    if filters.due_after is not None:
        changed = keys.c.changed // _DAY + filters.due_after
        # A time of last change that no row has by itself moves nothing.
        own = case((and_(changed > start, changed <= LAST_DAY), changed), else_=start)
    # The tag of a key's id is a hash: it spreads keys evenly, and the same key always falls on the same day.
    day = own + func.abs(keys.c.key_tag % (by - start + 1))
    matching = (
        keys.c.id.between(first, last),
        keys.c.state == state_number(State.LIVE),
        or_(keys.c.due == 0, keys.c.due > day, keys.c.due < -day),
        *conditions(filters),
    )
    # Locked in one order, and before the statement that looks whether an offer stands beside a row.
    locked = select(keys.c.id).where(*matching).order_by(keys.c.id).with_for_update(key_share=True)
    connection.execute(locked).all()
    # An offer that stands was made before the mark, so its commit does not settle it.
    stands = exists().where(offers.c.id == keys.c.id).correlate(keys)
    statement = update(keys).where(*matching).values(due=case((stands, -day), else_=day), rev=keys.c.rev + 1)
    return connection.execute(statement).rowcount


def overdue_since(database: Database, day: int) -> Iterator[tuple[str, int, str]]:
    """Users whose rotation was due before a day: the user, the day, the key's state; in the order of creation."""
    last = 0
    while True:
        with database.read() as connection:
            page = connection.execute(
                select(keys.c.id, keys.c.user, keys.c.due, keys.c.state)
                .where(keys.c.id > last, keys.c.due != 0, *earlier_than(day), keys.c.state.in_(_STATES))
                .order_by(keys.c.id)
                .limit(_LISTED)
            ).all()
        if not page:
            return
        yield from map(_overdue, page)
        last = page[-1].id


def _overdue(row: Row[Any]) -> tuple[str, int, str]:
    user = words(f"the user of row {row.id}", row.user, MAX_NAME_BYTES)
    return user, abs(whole(f"the due of {user!r}", row.due, LAST_DAY, -LAST_DAY)), _STATES[row.state]
