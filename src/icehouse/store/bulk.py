"""A page of new keys in one transaction, through the driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam
from sqlalchemy.exc import IntegrityError

from icehouse.errors import ConflictError
from icehouse.model import SUITES
from icehouse.store.rows import DEALT_NUMBER, FIRST_REV, NO_SALT, key_of, origin_number, tag, user_tag
from icehouse.store.schema import claims, keys
from icehouse.store.vault_store import _JOINED, insert_data_key, move_slots, take_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icehouse.model import Key, WrappedKey
    from icehouse.store.vault_store import VaultStore


# A dealt key: its id, its commitments, the server's record, the claim record.
DealtRow = tuple[bytes, bytes, bytes, bytes]


class Making(NamedTuple):
    """What the new keys of a page have in common; `fresh` data keys are not stored yet."""

    suite: str
    origin: str
    attested: bool
    server: WrappedKey
    claim: WrappedKey
    fresh: tuple[WrappedKey, ...]


_KEY_COLUMNS = [column.name for column in keys.columns]
_CLAIM_COLUMNS = [column.name for column in claims.columns]


def insert_page(store: VaultStore, users: Sequence[str], dealt: Sequence[DealtRow], making: Making) -> None:
    """Write a page of new keys; raises `ConflictError` where a user has one already, and writes nothing."""
    vault, suite = store.vault_id, SUITES.index(making.suite)
    origin, attested = origin_number(making.origin), int(making.attested)
    server, claim = making.server.number, making.claim.number
    try:
        with store.database.write() as connection:
            for key in making.fresh:
                insert_data_key(connection, key)
            move_slots(connection, {}, {server: len(users), claim: len(users)})
            first = take_numbers(connection, "next_key", len(users), keys.c.id)
            rows = [
                (number, FIRST_REV, user_tag(vault, user), tag(key_id), user, suite, 0, 0, 1, DEALT_NUMBER,
                 origin, attested, 0, commitments, NO_SALT, None, server, record)
                for number, user, (key_id, commitments, record, _) in zip(
                    range(first, first + len(users)), users, dealt, strict=True
                )
            ]  # fmt: skip
            connection.exec_driver_sql(_statement(keys.name, _KEY_COLUMNS, connection.dialect.paramstyle), rows)
            beside = [(first + index, claim, new[3]) for index, new in enumerate(dealt)]
            connection.exec_driver_sql(_statement(claims.name, _CLAIM_COLUMNS, connection.dialect.paramstyle), beside)
    except IntegrityError as exc:
        msg = "a user of this page has a key already"
        raise ConflictError(msg) from exc


def _statement(table: str, columns: Sequence[str], paramstyle: str) -> str:
    place = "?" if paramstyle == "qmark" else "%s"
    names = ", ".join(f'"{column}"' for column in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({', '.join([place] * len(columns))})"  # noqa: S608  our own names


_OF_USERS = _JOINED.where(keys.c.user_tag.in_(bindparam("tags", expanding=True)))


def keys_of(store: VaultStore, users: Sequence[str]) -> dict[str, Key]:
    """The keys that these users have."""
    tags = [user_tag(store.vault_id, user) for user in users]
    with store.database.read() as connection:
        rows = connection.execute(_OF_USERS, {"tags": tags}).all()
    found = (key_of(row, store.vault_id) for row in rows)
    return {key.user: key for key in found}


__all__ = ["Making", "insert_page", "keys_of"]
