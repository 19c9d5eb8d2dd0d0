"""One vault's rows. Every write of a key names the `rev` it saw and fails when another came first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, inspect, select
from sqlalchemy.exc import IntegrityError

from icehouse.errors import ConflictError, IcehouseError, SealError, StoreError
from icehouse.model import Key, Purpose, WrappedKey
from icehouse.store import migrate, statements
from icehouse.store.engine import Database
from icehouse.store.rows import claim_row, key_of, key_row, offer_row, tag, user_tag
from icehouse.store.schema import data_keys, keys, vault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Column, Connection, Row, Select


class DataKeyFullError(IcehouseError):
    """The data key has no room left, or seals nothing any more; another must be taken."""


@dataclass(frozen=True, slots=True)
class VaultRecord:
    """The vault's settings as the database holds them; `seal` proves that the HSM saw the others."""

    vault_id: bytes
    custody: str
    kek: str
    claim: str
    seal: bytes

    def __post_init__(self) -> None:
        words = (self.custody, self.kek, self.claim)
        if not all(isinstance(word, str) for word in words) or {type(self.vault_id), type(self.seal)} != {bytes}:
            msg = "the vault's settings in the database were changed: they hold a value that icehouse never writes"
            raise SealError(msg)


class VaultStore:
    """The rows of one vault."""

    def __init__(self, database: Database, record: VaultRecord) -> None:
        self.database = database
        self.record = record

    @classmethod
    def create(cls, url: str, record: VaultRecord) -> VaultStore:
        """Make the tables of a new vault; raises `ConflictError` where one is already."""
        database = Database(url)
        migrate.upgrade(database)
        values = {name: getattr(record, name) for name in VaultRecord.__slots__}
        try:
            with database.write() as connection:
                if connection.execute(select(vault.c.id)).first() is None:
                    connection.execute(insert(vault).values(id=1, next_data_key=1, next_key=1, **values))
                    return cls(database, record)
        except BaseException:
            database.close()
            raise
        database.close()
        msg = "the database holds a vault already"
        raise ConflictError(msg)

    @classmethod
    def open(cls, url: str) -> VaultStore | None:
        """Open the vault of a database; None where the database holds none."""
        database = Database(url)
        if database.missing:
            database.close()
            return None
        with database.read() as connection:
            names = inspect(connection).get_table_names()
            if not names:
                database.close()
                return None
            if vault.name not in names:
                msg = "the database holds other tables and no vault"
                raise StoreError(msg, hint="give icehouse a database of its own")
            migrate.check(connection)
            row = connection.execute(select(vault)).first()
        if row is None:
            database.close()
            return None
        return cls(database, VaultRecord(row.vault_id, row.custody, row.kek, row.claim, row.seal))

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    @property
    def vault_id(self) -> bytes:
        """The vault's 16 random bytes."""
        return self.record.vault_id

    # Keys

    def key(self, key_id: bytes) -> Key | None:
        """The key of an id."""
        key = self._one(statements.BY_KEY_TAG, tag(key_id))
        if key is not None and key.key_id != key_id:
            return None  # another id with the same first 64 bits
        return key

    def key_of(self, user: str) -> Key | None:
        """The key of a user."""
        key = self._one(statements.BY_USER_TAG, user_tag(self.vault_id, user))
        if key is not None and key.user != user:
            msg = f"the row found for {user!r} names another user"
            raise SealError(msg)
        return key

    def _one(self, statement: Select[Any], identity: int) -> Key | None:
        with self.database.read() as connection:
            row = connection.execute(statement, {"tag": identity}).first()
        return None if row is None else key_of(row, self.vault_id)

    def every_key(self) -> Iterator[Key]:
        """Every key, in the order they were made. Raises `SealError` at the first row that contradicts itself."""
        for reading in self.readings():
            if isinstance(reading, SealError):
                raise reading
            yield reading

    def readings(self) -> Iterator[Key | SealError]:
        """Every key, or for a row that contradicts itself what is wrong with it, in the order they were made."""
        last = 0
        while True:
            with self.database.read() as connection:
                page = connection.execute(statements.PAGE_AFTER, {"last": last}).all()
            if not page:
                return
            yield from (self._reading(row) for row in page)
            last = page[-1][0]

    def _reading(self, row: Row[tuple[object, ...]]) -> Key | SealError:
        try:
            return key_of(row, self.vault_id)
        except SealError as exc:
            return exc

    def count(self) -> int:
        """How many keys there are."""
        with self.database.read() as connection:
            return connection.execute(select(func.count()).select_from(keys)).scalar_one()

    def replace(self, before: Key, after: Key, fresh: WrappedKey | None = None) -> Key:
        """Write what changed from `before` to `after`, in one transaction, if nobody wrote in between.

        `fresh` is a new data key that the change seals under. Raises `ConflictError` and `DataKeyFullError`.
        """
        conflict = f"the key of {before.user!r} was changed by someone else; load it again"
        seen = {"seen_id": before.id, "seen_rev": before.rev}
        try:
            with self.database.write() as connection:
                written = connection.execute(statements.REPLACE_KEY, {**seen, **key_row(after)})
                if written.rowcount != 1:
                    raise ConflictError(conflict)
                if fresh is not None:
                    insert_data_key(connection, fresh)
                move_slots(connection, before.slots(), after.slots())
                self._write_beside(connection, before, after)
        except IntegrityError as exc:
            raise ConflictError(conflict) from exc
        return after

    @staticmethod
    def _write_beside(connection: Connection, before: Key, after: Key) -> None:
        of = {"of": before.id}
        if before.claim != after.claim:
            connection.execute(statements.DELETE_CLAIM, of)
            if after.claim is not None:
                connection.execute(statements.INSERT_CLAIM, claim_row(before.id, after.claim))
        if before.offer != after.offer:
            connection.execute(statements.DELETE_OFFER, of)
            if after.offer is not None:
                connection.execute(statements.INSERT_OFFER, offer_row(before.id, after.offer))

    # Data keys

    def allocate_data_key(self) -> int:
        """A number for a new data key, never given twice."""
        with self.database.write() as connection:
            return take_numbers(connection, "next_data_key", 1, data_keys.c.number)

    def wrapped_key(self, number: int) -> WrappedKey:
        """A data key as it is stored; raises `SealError` where there is none that opens."""
        with self.database.read() as connection:
            row = connection.execute(statements.DATA_KEY, {"number": number}).first()
        if row is None or row.state == "gone":
            msg = f"there is no data key {number} any more, but a record names it"
            raise SealError(msg)
        return _wrapped_of(row)

    def filling_key(self, purpose: Purpose, root_key: str, room: int) -> WrappedKey | None:
        """A data key that takes `room` more records, if there is one."""
        with self.database.read() as connection:
            wanted = {"purpose": purpose, "root_key": root_key, "room": room}
            row = connection.execute(statements.FILLING_KEY, wanted).first()
        return None if row is None else _wrapped_of(row)

    def data_key_counts(self) -> list[tuple[int, str, str, int, int]]:
        """Of every data key: its number, purpose, state, the records it ever sealed, and those it seals now."""
        columns = (data_keys.c.number, data_keys.c.purpose, data_keys.c.state, data_keys.c.used, data_keys.c.live)
        with self.database.read() as connection:
            return [(row[0], row[1], row[2], row[3], row[4]) for row in connection.execute(select(*columns))]


def _wrapped_of(row: Row[tuple[object, ...]]) -> WrappedKey:
    if row.purpose not in set(Purpose) or not isinstance(row.wrapped, bytes):
        msg = f"data key {row.number} holds a value that icehouse never writes"
        raise SealError(msg)
    return WrappedKey(row.number, Purpose(row.purpose), row.root_key, row.wrapped)


def take_numbers(connection: Connection, counter: str, count: int, given: Column[int]) -> int:
    """The first of `count` numbers that no one else gets; raises `SealError` where the counter was put back."""
    after = connection.execute(statements.TAKE_NUMBERS[counter], {"numbers": count}).scalar_one()
    highest = connection.execute(select(func.max(given))).scalar()
    if not isinstance(after, int) or (highest is not None and highest >= after - count):
        msg = f"the vault's counter {counter} was put back: it would give {given.table.name} {highest} out again"
        raise SealError(msg)
    return after - count


def insert_data_key(connection: Connection, key: WrappedKey) -> None:
    """Add an unused data key."""
    row = {"number": key.number, "purpose": key.purpose, "root_key": key.root_key, "wrapped": key.wrapped}
    connection.execute(statements.INSERT_DATA_KEY, {**row, "state": "filling", "used": 0, "live": 0})


def move_slots(connection: Connection, before: Mapping[int, int], after: Mapping[int, int]) -> None:
    """Count what a change seals under each data key; raises `DataKeyFullError` where one takes no more."""
    for number in sorted(before.keys() | after.keys()):
        difference = after.get(number, 0) - before.get(number, 0)
        if difference > 0:
            _take_slots(connection, number, difference)
        elif difference < 0:
            connection.execute(statements.LEAVE_SLOTS, {"key": number, "records": -difference})


def _take_slots(connection: Connection, number: int, count: int) -> None:
    taken = connection.execute(statements.TAKE_SLOTS, {"key": number, "records": count})
    if taken.rowcount != 1:
        msg = f"data key {number} has no room for {count} more records"
        raise DataKeyFullError(msg)


__all__ = ["DataKeyFullError", "VaultRecord", "VaultStore"]
