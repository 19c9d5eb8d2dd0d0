"""Data keys as rows: filling, closed, retiring, gone; every reference to one is counted where it is written."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select, update

from icehouse.errors import ConflictError, IcehouseError, SealError
from icehouse.model import Purpose, WrappedKey
from icehouse.store import statements
from icehouse.store.foreign import MOST, MOST_OF_A_LABEL, not_ours, raw, whole, words
from icehouse.store.root_keys import make_current, must_be_current
from icehouse.store.schema import data_keys, vault

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Row

    from icehouse.store.engine import Database

_LISTED = 1000
_TEXTS = ("purpose", "state", "root_key")


class DataKeyFullError(IcehouseError):
    """The data key has no room left, or seals nothing any more; another must be taken."""


class DataKeyGoneError(SealError):
    """A record names a data key that is no more: the row was read just before it moved, or it was changed."""


class DataKeyCount(NamedTuple):
    """What a data key is for and how many records it ever sealed and seals now."""

    number: int
    purpose: str
    state: str
    used: int
    live: int
    root_key: str


def wrapped_key(database: Database, number: int) -> WrappedKey:
    """A data key as it is stored; raises `SealError` where there is none that opens."""
    with database.read() as connection:
        row = connection.execute(statements.DATA_KEY, {"number": number}).first()
    if row is None or row.state == "gone":
        msg = f"there is no data key {number} any more, but a record names it"
        raise DataKeyGoneError(msg)
    return wrapped_of(row)


def filling_key(database: Database, purpose: Purpose, root_key: str, room: int) -> WrappedKey | None:
    """A data key that takes `room` more records, if there is one."""
    with database.read() as connection:
        wanted = {"purpose": purpose, "root_key": root_key, "room": room}
        row = connection.execute(statements.FILLING_KEY, wanted).first()
    return None if row is None else wrapped_of(row)


def counts(database: Database, numbers: Collection[int] | None = None) -> list[DataKeyCount]:
    """What every data key seals, or each of these."""
    found = select(*[data_keys.c[name] for name in DataKeyCount._fields]).order_by(data_keys.c.number)
    if numbers is not None:
        found = found.where(data_keys.c.number.in_(numbers))
    with database.read() as connection:
        return [_count_of(row) for row in connection.execute(found)]


def _count_of(row: Row[Any]) -> DataKeyCount:
    name = f"data key {row.number}"
    texts = [words(f"{name}'s {column}", getattr(row, column), MOST_OF_A_LABEL) for column in _TEXTS]
    used, live = whole(f"{name}'s used", row.used), whole(f"{name}'s live", row.live, least=-MOST)
    return DataKeyCount(row.number, texts[0], texts[1], used, live, texts[2])


def next_number(database: Database) -> int:
    """The number that the next data key gets: every one there is has a lower one."""
    with database.read() as connection:
        return whole("the vault's next_data_key", connection.execute(select(vault.c.next_data_key)).scalar())


def keys_under(database: Database, root_key: str) -> Iterator[WrappedKey]:
    """The data keys that are wrapped under a root key and may still be opened."""
    last = 0
    while True:
        with database.read() as connection:
            page = connection.execute(
                select(data_keys)
                .where(data_keys.c.root_key == root_key, data_keys.c.state != "gone", data_keys.c.number > last)
                .order_by(data_keys.c.number)
                .limit(_LISTED)
            ).all()
        if not page:
            return
        yield from map(wrapped_of, page)
        last = page[-1].number


def wrapped_of(row: Row[tuple[object, ...]]) -> WrappedKey:
    """A data key of its row; raises `SealError` for a value that icehouse never writes."""
    name = f"data key {row.number}"
    if row.purpose not in set(Purpose):
        not_ours(f"{name}'s purpose", row.purpose)
    root_key = words(f"{name}'s root_key", row.root_key, MOST_OF_A_LABEL)
    wrapped = raw(f"{name}'s wrapped", row.wrapped)
    return WrappedKey(whole(name, row.number), Purpose(row.purpose), root_key, wrapped)


def insert_data_key(connection: Connection, key: WrappedKey) -> None:
    """Add an unused data key; raises `StaleRootsError` where its root key is not current any more."""
    must_be_current(connection, key.root_key)
    row = {"number": key.number, "purpose": key.purpose, "root_key": key.root_key, "wrapped": key.wrapped}
    connection.execute(statements.INSERT_DATA_KEY, {**row, "state": "filling", "used": 0, "live": 0})


def rewrapped(database: Database, before: WrappedKey, after: WrappedKey) -> None:
    """Put a data key under another root key, if nobody did so first. Raises `ConflictError`, `StaleRootsError`."""
    database.change(lambda connection: _rewrap_in(connection, before, after), counts=1)


def rewrapped_all(database: Database, pairs: Sequence[tuple[WrappedKey, WrappedKey]]) -> None:
    """The same for several, all of them or none."""

    def work(connection: Connection) -> None:
        for before, after in pairs:
            _rewrap_in(connection, before, after)

    database.change(work, counts=len(pairs))


def _rewrap_in(connection: Connection, before: WrappedKey, after: WrappedKey) -> None:
    must_be_current(connection, after.root_key)
    moved = connection.execute(
        update(data_keys)
        .where(
            data_keys.c.number == before.number,
            data_keys.c.root_key == before.root_key,
            data_keys.c.wrapped == before.wrapped,
        )
        .values(root_key=after.root_key, wrapped=after.wrapped)
    )
    if moved.rowcount != 1:
        msg = f"data key {before.number} was rewrapped by someone else"
        raise ConflictError(msg)


def move_to(database: Database, label: str, pairs: list[tuple[WrappedKey, WrappedKey]]) -> None:
    """Let a user's new root key be the current one and put the user's data keys under it, all at once."""

    def work(connection: Connection) -> None:
        make_current(connection, label)
        for before, after in pairs:
            _rewrap_in(connection, before, after)

    database.change(work, counts=len(pairs))


def begin_retiring(database: Database, numbers: list[int]) -> None:
    """Let these data keys take no more records."""
    named = (data_keys.c.number.in_(numbers), data_keys.c.state.in_(("filling", "closed")))
    _update(database, *named, state="retiring")


def drop_empty(database: Database) -> int:
    """Destroy the data keys that retire and seal nothing any more; how many. Their numbers stay taken."""
    return _update(database, data_keys.c.state == "retiring", data_keys.c.live == 0, state="gone", wrapped=b"")


def retire_closed(database: Database) -> int:
    """Let full data keys that seal nothing any more retire; how many."""
    return _update(database, data_keys.c.state == "closed", data_keys.c.live == 0, state="retiring")


def _update(database: Database, *where: ColumnElement[bool], **values: object) -> int:
    statement = update(data_keys).where(*where).values(**values)
    return database.change(lambda connection: connection.execute(statement).rowcount)


def move_slots(connection: Connection, before: Mapping[int, int], after: Mapping[int, int]) -> None:
    """Count what a change seals under each data key; raises `DataKeyFullError` where one takes no more."""
    move_slots_of(connection, [(before, after)])


def move_slots_of(connection: Connection, changes: Sequence[tuple[Mapping[int, int], Mapping[int, int]]]) -> None:
    """The same for several rows at once; what comes to a data key is counted even where as much leaves it."""
    come: Counter[int] = Counter()
    left: Counter[int] = Counter()
    for before, after in changes:
        for number in before.keys() | after.keys():
            difference = after.get(number, 0) - before.get(number, 0)
            (come if difference > 0 else left)[number] += abs(difference)
    for number in sorted(come.keys() | left.keys()):  # in one order, so that writers do not go in circles
        if come[number]:
            _take_slots(connection, number, come[number])
        if left[number]:
            leaving = connection.execute(statements.LEAVE_SLOTS, {"key": number, "records": left[number]})
            if leaving.rowcount != 1:
                msg = f"a row names data key {number}, and the database holds none of that number"
                raise SealError(msg)


def _take_slots(connection: Connection, number: int, count: int) -> None:
    taken = connection.execute(statements.TAKE_SLOTS, {"key": number, "records": count})
    if taken.rowcount != 1:
        msg = f"data key {number} has no room for {count} more records"
        raise DataKeyFullError(msg)
