"""Which rows a campaign is about: filters as conditions, and pages of rows by their numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, exists, func, or_, select

from icehouse.errors import SealError
from icehouse.model import MAX_EPOCH, NO_DATA_KEY, SUITES, Purpose, Role, RootState, State
from icehouse.store.data_keys import wrapped_of
from icehouse.store.foreign import LAST_SECOND, MOST, not_ours
from icehouse.store.rows import ORIGINS, key_of, origin_number, state_number
from icehouse.store.schema import claims, data_keys, keys, offers, removals, root_keys
from icehouse.store.statements import JOINED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Row, Select

    from icehouse.model import Key, WrappedKey
    from icehouse.store.engine import Database
    from icehouse.store.vault_store import VaultStore


LAST_DAY = 32_000
"""A day of the year 2057, since 1970: the last on which a rotation may be due."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which keys: those that every filter given lets through.

    `unchanged_since` is in seconds since 1970. Days are counted since 1970: keys that were due before one, or are not
    yet due on one. `due_from` and `due_by` are no filters but the days over which a rotation is spread, `due_after`
    how many days after its last change a key's own days begin. `below` bounds the numbers of data keys that a reseal
    moves records away from.
    """

    unchanged_since: int | None = None
    epoch: int | None = None
    suite: str | None = None
    state: str | None = None
    origin: str | None = None
    data_keys: tuple[int, ...] = ()
    root_keys: tuple[str, ...] = ()
    due_before: int | None = None
    not_due_by: int | None = None
    due_from: int | None = None
    due_by: int | None = None
    due_after: int | None = None
    below: int | None = None

    def to_json(self) -> str:
        """The filters given, for the campaign's row."""
        return json.dumps({name: value for name, value in asdict(self).items() if value not in {None, ()}})

    @classmethod
    def parse(cls, text: str) -> Filters:
        """What `to_json` wrote; raises `SealError` for anything else."""
        try:
            found = json.loads(text)
            kept = {field.name: found.pop(field.name) for field in fields(cls) if field.name in found}
            lists: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()
            }
            # `RecursionError` is what comes of a thousand brackets.
            if found != {} or not all(_MAY_BE[name](value) for name, value in lists.items()):
                raise ValueError  # noqa: TRY301  one message for all
        except (ValueError, AttributeError, TypeError, RecursionError):
            not_ours("the terms of a campaign", text)
        return cls(**lists)


def _is_number(most: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and -most <= value <= most


def _are(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, tuple) and all(type(one) is kind for one in value)


_is_day = _is_number(LAST_DAY)
_MAY_BE: dict[str, Callable[[Any], bool]] = {
    "unchanged_since": _is_number(LAST_SECOND),
    "epoch": _is_number(MAX_EPOCH),
    "suite": SUITES.__contains__,
    "state": frozenset(map(str, State)).__contains__,
    "origin": frozenset(ORIGINS).__contains__,
    "data_keys": lambda value: _are(int)(value) and all(map(_is_number(MOST), value)),
    "root_keys": _are(str),
    "due_before": _is_day,
    "not_due_by": _is_day,
    "due_from": _is_day,
    "due_by": _is_day,
    "due_after": _is_day,
    "below": _is_number(MOST),
}
"""What each filter may be in a campaign's row."""


class Range(NamedTuple):
    """A page: the lowest and the highest number in it, and how many match."""

    first: int
    last: int
    matched: int


def conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """The filters as SQL about rows of `keys`; destroyed keys match none."""
    found = [keys.c.state != state_number(State.DESTROYED), *_of_rows(filters)]
    if filters.due_before is not None:
        found += [keys.c.due != 0, *earlier_than(filters.due_before)]
    if filters.not_due_by is not None:
        day = filters.not_due_by
        found.append(or_(keys.c.due == 0, keys.c.due > day, keys.c.due < -day))
    if filters.data_keys:
        found.append(_under(lambda number: number.in_(filters.data_keys)))
    if filters.root_keys:
        numbers = select(data_keys.c.number).where(data_keys.c.root_key.in_(filters.root_keys))
        under = _under(lambda number: number.in_(numbers))
        derived = any("-master-" in label for label in filters.root_keys)
        found.append(or_(keys.c.data_key == NO_DATA_KEY, under) if derived else under)
    if filters.below is not None:
        found.append(_under(lambda number: and_(number != NO_DATA_KEY, number < filters.below)))
    return found


def earlier_than(day: int) -> list[ColumnElement[bool]]:
    """Due before a day, whatever the sign says; written so that no value makes the database fail."""
    return [keys.c.due < day, keys.c.due > -day]


def _of_rows(filters: Filters) -> list[ColumnElement[bool]]:
    """What the row of a key says by itself."""
    wanted = (
        (keys.c.epoch, filters.epoch),
        (keys.c.suite, None if filters.suite is None else SUITES.index(filters.suite)),
        (keys.c.state, None if filters.state is None else state_number(State(filters.state))),
        (keys.c.origin, None if filters.origin is None else origin_number(filters.origin)),
    )
    found = [column == value for column, value in wanted if value is not None]
    if filters.unchanged_since is not None:
        found.append(keys.c.changed <= filters.unchanged_since)
    return found


def _under(matches: Callable[[ColumnElement[Any]], ColumnElement[bool]]) -> ColumnElement[bool]:
    """Keys with a record under a data key whose number matches; what stands beside a row is looked up by the row."""
    beside = [table.alias() for table in (claims, offers)]
    found = [exists().where(row.c.id == keys.c.id, matches(row.c.data_key)).correlate(keys) for row in beside]
    return or_(matches(keys.c.data_key), *found)


def key_pages(database: Database, filters: Filters, size: int) -> Iterator[Range]:
    """The rows that match, in pages of at most so many."""
    yield from _pages(database, select(keys.c.id).where(*conditions(filters)), keys.c.id, size)


def data_key_pages(database: Database, filters: Filters, size: int) -> Iterator[Range]:
    """The data keys under superseded root keys that match, in pages of at most so many."""
    matching = select(data_keys.c.number).where(*_draining(filters))
    yield from _pages(database, matching, data_keys.c.number, size)


def _draining(filters: Filters) -> list[ColumnElement[bool]]:
    superseded = select(root_keys.c.label).where(root_keys.c.state == RootState.DRAINING)
    found = [data_keys.c.state != "gone", data_keys.c.root_key.in_(superseded)]
    if filters.data_keys:
        found.append(data_keys.c.number.in_(filters.data_keys))
    if filters.root_keys:
        found.append(data_keys.c.root_key.in_(filters.root_keys))
    return found


def _pages(database: Database, matching: Select[tuple[int]], number: ColumnElement[int], size: int) -> Iterator[Range]:
    last = 0
    while True:
        page = matching.where(number > last).order_by(number).limit(size).subquery()
        column = next(iter(page.columns))
        with database.read() as connection:
            first, highest, count = connection.execute(
                select(func.min(column), func.max(column), func.count()).select_from(page)
            ).one()
        if not count:
            return
        yield Range(first, highest, count)
        last = highest


def numbered_keys_in(store: VaultStore, filters: Filters, first: int, last: int) -> list[tuple[int, Key | SealError]]:
    """The keys of a page that match now, by their rows; for a row that contradicts itself, what is wrong with it."""
    with store.database.read() as connection:
        rows = connection.execute(
            JOINED.where(keys.c.id.between(first, last), *conditions(filters)).order_by(keys.c.id)
        ).all()
    return [(row[0], _reading(row, store.vault_id)) for row in rows]


def _reading(row: Sequence[object], vault: bytes) -> Key | SealError:
    try:
        return key_of(row, vault)
    except SealError as exc:
        return exc


def data_keys_in(
    database: Database, filters: Filters, first: int, last: int
) -> list[tuple[int, WrappedKey | SealError]]:
    """The data keys of a page that are still under superseded root keys; for a row that is none, what is wrong."""
    with database.read() as connection:
        rows = connection.execute(
            select(data_keys)
            .where(data_keys.c.number.between(first, last), *_draining(filters))
            .order_by(data_keys.c.number)
        ).all()
    return [(row.number, _wrapping(row)) for row in rows]


def _wrapping(row: Row[tuple[object, ...]]) -> WrappedKey | SealError:
    try:
        return wrapped_of(row)
    except SealError as exc:
        return exc


def roots_in_use(database: Database) -> list[str]:
    """The labels that data keys are under."""
    with database.read() as connection:
        found = connection.execute(select(data_keys.c.root_key).where(data_keys.c.state != "gone").distinct())
        return sorted(found.scalars())


def unfinished_removals(store: VaultStore, first: int, last: int) -> list[Key]:
    """The removed keys of a page whose data keys still open, or whose own root key is still called current."""
    current = (
        select(root_keys.c.label)
        .where(root_keys.c.role.in_((Role.USER, Role.SOFTWARE_USER)), root_keys.c.state == RootState.CURRENT)
        .where(root_keys.c.label == data_keys.c.root_key)
    )
    alive = select(removals.c.id).join(data_keys, data_keys.c.number == removals.c.data_key)
    alive = alive.where(or_(data_keys.c.state != "gone", current.exists()), data_keys.c.purpose == Purpose.SERVER)
    removed = keys.c.state == state_number(State.DESTROYED)
    with store.database.read() as connection:
        rows = connection.execute(JOINED.where(keys.c.id.between(first, last), removed, keys.c.id.in_(alive))).all()
    return [key_of(row, store.vault_id) for row in rows]
