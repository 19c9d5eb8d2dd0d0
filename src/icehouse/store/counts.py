"""Whether the counts of data keys are what their records add up to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, or_, select, union_all

from icehouse.model import RECORDS_PER_DATA_KEY
from icehouse.store.schema import claims, data_keys, keys, offers

if TYPE_CHECKING:
    from icehouse.store.vault_store import VaultStore


class Miscount(NamedTuple):
    """A data key whose counts are wrong, and how many records name it."""

    number: int
    used: int
    live: int
    found: int


def miscounts(store: VaultStore) -> list[Miscount]:
    """Every data key whose counts are wrong.

    One statement, so that what others write meanwhile is seen as a whole or not at all.
    """
    named = union_all(*(select(table.c.data_key) for table in (keys, claims, offers))).subquery()
    found = select(named.c.data_key, func.count().label("records")).group_by(named.c.data_key).subquery()
    records = func.coalesce(found.c.records, 0)
    used, live = data_keys.c.used, data_keys.c.live
    statement = (
        select(data_keys.c.number, used, live, records)
        .select_from(data_keys.outerjoin(found, found.c.data_key == data_keys.c.number))
        .where(or_(live != records, used < live, used > RECORDS_PER_DATA_KEY))
        .order_by(data_keys.c.number)
    )
    with store.database.read() as connection:
        return [Miscount(*row) for row in connection.execute(statement)]
