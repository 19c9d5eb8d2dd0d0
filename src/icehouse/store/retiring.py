"""Retiring a root key: from before its HSM is asked to destroy it until it did. Never while data keys are under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exists, update

from icehouse.errors import ConflictError
from icehouse.model import RootState
from icehouse.store.root_keys import count_under, state_of
from icehouse.store.schema import data_keys, root_keys

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from icehouse.store.engine import Database

LEFT = (RootState.MAKING, RootState.DRAINING, RootState.RETIRING, RootState.RETIRED)
"""The states of a root key that no new data key comes under."""


def begin_retiring(database: Database, label: str, *, current: bool = False) -> None:
    """Move a root key that is about to be destroyed on to `retiring`, from any state, if no data key is under it.

    One that is current only with `current`: its user is removed. Raises `ConflictError`.
    """
    states = (*LEFT, RootState.CURRENT) if current else LEFT
    under = exists().where(data_keys.c.root_key == label, data_keys.c.state != "gone")
    empty = (root_keys.c.label == label, root_keys.c.state.in_(states), ~under)

    def work(connection: Connection) -> None:
        moved = connection.execute(update(root_keys).where(*empty).values(state=RootState.RETIRING))
        if moved.rowcount != 1:
            state, count = state_of(connection, label), count_under(connection, label)
            msg = f"the root key {label!r} is {state}, and {count} data keys are under it: it is not destroyed"
            raise ConflictError(msg)

    database.change(work)


def end_retiring(database: Database, label: str, recoverable_until: int | None) -> None:
    """Write down that the HSM destroyed the key, and until when it could bring it back, where that is known."""
    until = {} if recoverable_until is None else {"recoverable_until": recoverable_until}
    ended = (
        update(root_keys)
        .where(root_keys.c.label == label, root_keys.c.state == RootState.RETIRING)
        .values(state=RootState.RETIRED, **until)
    )
    database.change(lambda connection: connection.execute(ended))
