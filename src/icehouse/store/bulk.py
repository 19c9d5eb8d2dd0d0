"""Pages of new keys in one transaction, through the driver."""

from __future__ import annotations

from collections import Counter
from time import time
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from icehouse._core import user_tags
from icehouse.errors import ConflictError
from icehouse.model import NO_DATA_KEY, SUITES
from icehouse.store import statements
from icehouse.store.data_keys import insert_data_key, move_slots
from icehouse.store.driver import insert_rows
from icehouse.store.engine import RowThereError
from icehouse.store.root_keys import make_current, read_record
from icehouse.store.rows import DEALT_NUMBER, FIRST_REV, NO_SALT, key_of, key_row, origin_number, tag, user_tag
from icehouse.store.schema import claims, keys
from icehouse.store.vault_store import take_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from icehouse.model import Key, WrappedKey
    from icehouse.store.vault_store import VaultStore


# A dealt key: the tags of its user and of its id, its commitments, the server's record, the claim record.
DealtRow = tuple[int, int, bytes, bytes, bytes]


class Making(NamedTuple):
    """What the new keys of a page have in common; `fresh` data keys are not stored yet."""

    suite: str
    origin: str
    attested: bool
    servers: Sequence[int]
    """The data key of each server record; `NO_DATA_KEY` for a derived row."""
    claim: int
    """The data key of the claim records; `NO_DATA_KEY` where there are none."""
    fresh: tuple[WrappedKey, ...]
    roots: tuple[str, ...] = ()
    """The users' own keys that were made for this page."""


class NewPage(NamedTuple):
    """Users, the key of each, and what their keys have in common."""

    users: Sequence[str]
    dealt: Sequence[DealtRow]
    making: Making


def insert_pages(store: VaultStore, pages: Sequence[NewPage]) -> None:
    """Write pages of new keys; raises `ConflictError` where a user has one already, and writes nothing."""
    count = sum(len(page.users) for page in pages)
    # Where writers work side by side, a counter that all of them want is not held while pages are written.
    taken = store.allocate_keys(count) if store.database.side_by_side else None

    def work(connection: Connection) -> None:
        for page in pages:
            _take_room(connection, store, page.making)
        first = taken or take_numbers(connection, "next_key", count, keys.c.id)
        for page in pages:
            _insert_page(connection, first, page)
            first += len(page.users)

    try:
        store.database.change(work)
    except RowThereError as exc:
        msg = "a user of these pages has a key already"
        raise ConflictError(msg) from exc


def _insert_page(connection: Connection, first: int, page: NewPage) -> None:
    making = page.making
    same: dict[str, int | bytes | None] = {
        "rev": FIRST_REV,
        "suite": SUITES.index(making.suite),
        "generation": 0,
        "epoch": 0,
        "next_epoch": 1,
        "state": DEALT_NUMBER,
        "origin": origin_number(making.origin),
        "attested": int(making.attested),
        "due": 0,
        "salt": NO_SALT,
        "offer_id": None,
        "changed": int(time()),
    }
    rows = [
        (number, user_tag, key_tag, user, commitments, server, record)
        for number, (user, server, (user_tag, key_tag, commitments, record, _)) in enumerate(
            zip(page.users, making.servers, page.dealt, strict=True), first
        )
    ]
    insert_rows(connection, keys, rows, same)
    if making.claim != NO_DATA_KEY:
        records = [(number, new[4]) for number, new in enumerate(page.dealt, first)]
        insert_rows(connection, claims, records, {"data_key": making.claim})


def insert_keys(store: VaultStore, made: Sequence[Key]) -> None:
    """Write a vault with keys that were made elsewhere, in one transaction; derived ones and tombstones only.

    Raises `ConflictError` where the database holds another vault, or keys.
    """
    rows = [_row_of(store, key) for key in made]
    try:
        store.database.change(lambda connection: _insert_keys(connection, store, rows))
    except RowThereError as exc:
        raise ConflictError(_OCCUPIED, hint=_OCCUPIED_HINT) from exc


def _row_of(store: VaultStore, key: Key) -> tuple[object, ...]:
    """The columns of a key's row, but its number."""
    tags = user_tag(store.vault_id, key.user), tag(key.key_id)
    return (FIRST_REV, *tags, key.user, SUITES.index(key.suite), key.generation, *key_row(key).values())


def _insert_keys(connection: Connection, store: VaultStore, rows: Sequence[tuple[object, ...]]) -> None:
    connection.execute(statements.HOLD_VAULT)  # one recovery at a time
    there = read_record(connection)
    if there is None:
        store.found(connection)
    elif there != store.record or connection.execute(select(keys.c.id).limit(1)).first() is not None:
        raise ConflictError(_OCCUPIED, hint=_OCCUPIED_HINT)
    if rows:
        first = take_numbers(connection, "next_key", len(rows), keys.c.id)
        insert_rows(connection, keys, [(number, *row) for number, row in enumerate(rows, first)])


_OCCUPIED = "the database holds a vault already"
_OCCUPIED_HINT = "recover into an empty database"


def _take_room(connection: Connection, store: VaultStore, making: Making) -> None:
    for label in making.roots:
        make_current(connection, label)
    for key in making.fresh:
        insert_data_key(connection, key)
    store.check_master(connection, derived=NO_DATA_KEY in making.servers)
    slots = Counter((*making.servers, *([making.claim] * len(making.servers))))
    del slots[NO_DATA_KEY]
    move_slots(connection, {}, slots)


def keys_of(store: VaultStore, users: Sequence[str]) -> dict[str, Key]:
    """The keys that these users have."""
    tags = user_tags(store.vault_id, users)
    with store.database.read() as connection:
        taken = list(connection.execute(statements.TAKEN_TAGS, {"tags": tags}).scalars())
        # Most users of a bulk creation have none, so whole rows are read of the others only.
        rows = connection.execute(statements.BY_USER_TAGS, {"tags": taken}).all() if taken else []
    found = (key_of(row, store.vault_id) for row in rows)
    return {key.user: key for key in found}


__all__ = ["DealtRow", "Making", "NewPage", "insert_pages", "keys_of"]
