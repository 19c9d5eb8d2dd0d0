"""Marking rotations due: one statement for a page, each key on a day of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import case, exists, func, literal, or_, select, update

from icehouse.model import State
from icehouse.store.rows import state_number
from icehouse.store.schema import keys, offers
from icehouse.store.selection import conditions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Connection

    from icehouse.store.engine import Database
    from icehouse.store.selection import Filters

_DAY = 86400
_LISTED = 1000


def mark_due(connection: Connection, filters: Filters, first: int, last: int) -> int:
    """Mark the live keys of a page due, spread from one day to another; how many. An earlier day stays.

    The rows are locked first, and then seen and changed at once, so no `rev` that was read before is needed; whoever
    did read one finds that it has moved on.
    """
    start, by = filters.due_from or 0, filters.due_by or 0
    own: ColumnElement[int] = literal(start)
    if filters.due_after is not None:
        changed = keys.c.changed // _DAY + filters.due_after
        own = case((changed > start, changed), else_=start)
    # The tag of a key's id is a hash: it spreads keys evenly, and the same key always falls on the same day.
    day = own + func.abs(keys.c.key_tag % (by - start + 1))
    matching = (
        keys.c.id.between(first, last),
        keys.c.state == state_number(State.LIVE),
        or_(keys.c.due == 0, func.abs(keys.c.due) > day),
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
    states = {state_number(state): str(state) for state in (State.LIVE, State.SUSPENDED)}
    last = 0
    while True:
        with database.read() as connection:
            page = connection.execute(
                select(keys.c.id, keys.c.user, func.abs(keys.c.due).label("due"), keys.c.state)
                .where(keys.c.id > last, keys.c.due != 0, func.abs(keys.c.due) < day, keys.c.state.in_(states))
                .order_by(keys.c.id)
                .limit(_LISTED)
            ).all()
        if not page:
            return
        yield from ((row.user, row.due, states[row.state]) for row in page)
        last = page[-1].id
