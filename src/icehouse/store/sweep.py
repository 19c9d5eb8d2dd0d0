"""Rows by the data keys that they stand under, and pages of them written back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from icehouse.errors import ConflictError
from icehouse.model import NO_DATA_KEY, State
from icehouse.store.data_keys import insert_data_key, move_slots_of
from icehouse.store.driver import delete_rows, insert_rows, update_rows
from icehouse.store.rows import claim_row, key_of, key_row, offer_row, state_number
from icehouse.store.schema import claims, keys, offers
from icehouse.store.statements import AFTER, JOINED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from icehouse.model import Key, WrappedKey
    from icehouse.store.vault_store import VaultStore


def keys_with(store: VaultStore, numbers: Sequence[int], limit: int, after: int = 0) -> list[Key]:
    """At most `limit` keys with a record under one of these data keys; `NO_DATA_KEY`: rows that have none.

    Those with a higher number than `after`, in order: no index leads to them, so every row after it is looked at. A
    `range` of data keys, which may be as long as it likes, is compared with its ends.
    """
    alive = keys.c.state != state_number(State.DESTROYED)
    columns = (keys.c.data_key, claims.c.data_key, offers.c.data_key)
    if isinstance(numbers, range):
        condition = or_(*[column.between(numbers.start, numbers.stop - 1) for column in columns])
    elif any(number != NO_DATA_KEY for number in numbers):
        condition = or_(*[column.in_(numbers) for column in columns])
    else:
        condition = keys.c.data_key == NO_DATA_KEY
    with store.database.read() as connection:
        rows = connection.execute(AFTER.where(alive, condition).limit(limit), {"last": after}).all()
    return [key_of(row, store.vault_id) for row in rows]


def keys_at(store: VaultStore, ids: Sequence[int]) -> list[Key]:
    """The keys of these rows."""
    with store.database.read() as connection:
        rows = connection.execute(JOINED.where(keys.c.id.in_(ids)).order_by(keys.c.id)).all()
    return [key_of(row, store.vault_id) for row in rows]


def count_derived(store: VaultStore) -> tuple[int, int, int]:
    """Derived rows; how many of them no device has claimed; and how many of them an offer stands beside."""
    derived = (keys.c.data_key == NO_DATA_KEY, keys.c.state != state_number(State.DESTROYED))
    rows = select(func.count()).select_from(keys).where(*derived)
    unclaimed = rows.where(keys.c.state.in_([state_number(State.DEALT), state_number(State.LOST)]))
    offered = select(func.count()).select_from(keys.join(offers, offers.c.id == keys.c.id)).where(*derived)
    with store.database.read() as connection:
        counts = [connection.execute(statement).scalar_one() for statement in (rows, unclaimed, offered)]
    return counts[0], counts[1], counts[2]


def write_page(store: VaultStore, changes: Sequence[tuple[Key, Key]], fresh: Sequence[WrappedKey] = ()) -> None:
    """Write many changed rows in one transaction, if nobody wrote any of them in between.

    The keys stay those of their generation. Raises `ConflictError` and `DataKeyFullError`, and writes nothing then.
    """
    if not changes:
        return
    seen = [(before.id, before.rev) for before, _ in changes]
    rows = [key_row(after) for _, after in changes]
    derived = any(after.sealed.data_key == NO_DATA_KEY and after.state is not State.DESTROYED for _, after in changes)

    def work(connection: Connection) -> None:
        if not update_rows(connection, keys, seen, rows):
            msg = "a key of this page was changed by someone else; load it again"
            raise ConflictError(msg)
        for key in fresh:
            insert_data_key(connection, key)
        store.check_master(connection, derived=derived)
        move_slots_of(connection, [(before.slots(), after.slots()) for before, after in changes])
        _write_beside(connection, changes)

    store.database.change(work, counts=len(changes))


def _write_beside(connection: Connection, changes: Sequence[tuple[Key, Key]]) -> None:
    """The changed claim records and offers of a page."""
    moved = [(before, after) for before, after in changes if before.claim != after.claim]
    delete_rows(connection, claims, [before.id for before, _ in moved if before.claim])
    rows = [claim_row(before.id, after.claim) for before, after in moved if after.claim]
    insert_rows(connection, claims, [tuple(row.values()) for row in rows])
    moved = [(before, after) for before, after in changes if before.offer != after.offer]
    delete_rows(connection, offers, [before.id for before, _ in moved if before.offer])
    rows = [offer_row(before.id, after.offer) for before, after in moved if after.offer]
    insert_rows(connection, offers, [tuple(row.values()) for row in rows])
