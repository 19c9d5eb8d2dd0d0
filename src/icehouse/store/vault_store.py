"""One vault's rows. Every write of a key names the `rev` it saw and fails when another came first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, inspect, select
from sqlalchemy.exc import IntegrityError

from icehouse.errors import ConflictError, SealError, StoreError
from icehouse.model import NO_DATA_KEY, SUITES, Role, State
from icehouse.store import data_keys, migrate, postgresql, statements
from icehouse.store.data_keys import insert_data_key, move_slots
from icehouse.store.driver import one_row
from icehouse.store.engine import CONNECTIONS, Database, RowThereError
from icehouse.store.root_keys import add_roots, must_be_current, read_record
from icehouse.store.rows import claim_row, key_of, key_row, offer_row, tag, user_tag
from icehouse.store.schema import data_keys as data_key_table
from icehouse.store.schema import keys, removals, vault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Column, Connection, Row, Select

    from icehouse.model import Key, VaultRecord, WrappedKey


class VaultStore:
    """The rows of one vault."""

    def __init__(self, database: Database, record: VaultRecord) -> None:
        self.database = database
        self.record = record

    @classmethod
    def create(cls, url: str, record: VaultRecord, connections: int = CONNECTIONS) -> VaultStore:
        """Make the tables of a new vault; raises `ConflictError` where one is already."""
        store = cls.prepare(url, record, connections)
        try:
            store.database.change(lambda connection: _found_first(connection, store))
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def prepare(cls, url: str, record: VaultRecord, connections: int = CONNECTIONS) -> VaultStore:
        """Make the tables for a vault that `found` will write."""
        database = Database(url, connections)
        migrate.upgrade(database)
        return cls(database, record)

    def found(self, connection: Connection) -> None:
        """Write the settings and the root keys of a new vault."""
        record = self.record
        connection.execute(
            insert(vault).values(
                id=1,
                next_data_key=1,
                next_key=1,
                vault_id=record.vault_id,
                custody=record.custody,
                buckets=record.buckets,
                seal=record.seal,
            )
        )
        add_roots(connection, record.roots)

    @classmethod
    def open(cls, url: str, connections: int = CONNECTIONS) -> VaultStore | None:
        """Open the vault of a database; None where the database holds none."""
        database = Database(url, connections)
        try:
            record = None if database.missing else _record_in(database)
        except BaseException:
            database.close()
            raise
        if record is None:
            database.close()
            return None
        return cls(database, record)

    def reload(self) -> VaultRecord:
        """Read the vault's settings again: another process may have moved it to other root keys."""
        with self.database.read() as connection:
            record = read_record(connection)
        if record is None or record.vault_id != self.record.vault_id:
            msg = "the database does not hold this vault any more"
            raise StoreError(msg)
        self.record = record
        return record

    def warnings(self) -> list[str]:
        """What may cost this database's durability or safety later, in words; what costs it now is refused."""
        if self.database.backend != "postgresql":
            return []
        with self.database.read() as connection:
            return postgresql.warnings(connection)

    @property
    def connected(self) -> str:
        """Which database it is, and what is between."""
        between = {"sqlite": "", "postgresql": ", connected to the server itself"}[self.database.backend]
        return f"{self.database.backend}{', through a pooler of sessions' if self.database.pooled else between}"

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
            row = one_row(connection, statement, {"tag": identity})
        return None if row is None else key_of(row, self.vault_id)

    def every_key(self) -> Iterator[Key]:
        """Every key, in the order they were made. Raises `SealError` at the first row that contradicts itself."""
        for reading in self.readings():
            if isinstance(reading, SealError):
                raise reading
            yield reading

    def changed_keys(self, since: int) -> Iterator[Key]:
        """Every key whose row was written at or after this second since 1970, in the order they were made."""
        last = 0
        while True:
            with self.database.read() as connection:
                page = connection.execute(statements.CHANGED_AFTER, {"last": last, "since": since}).all()
            if not page:
                return
            for row in page:
                yield key_of(row, self.vault_id)
            last = page[-1][0]

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

    def replace(self, before: Key, after: Key, fresh: Sequence[WrappedKey] = (), *, counts: int = 0) -> Key:
        """Write what changed from `before` to `after`, in one transaction, if nobody wrote in between.

        `fresh` are new data keys that the change seals under. Raises `ConflictError` and `DataKeyFullError`.
        """
        try:
            self.database.change(lambda connection: self.replace_in(connection, before, after, fresh), counts)
        except RowThereError as exc:
            msg = f"the key of {before.user!r} was changed by someone else; load it again"
            raise ConflictError(msg) from exc
        return replace(after, rev=before.rev + 1)

    def replace_in(self, connection: Connection, before: Key, after: Key, fresh: Sequence[WrappedKey] = ()) -> None:
        """The same inside a transaction of the caller's."""
        values = {"seen_id": before.id, "seen_rev": before.rev, **key_row(after)}
        statement = statements.REPLACE_KEY
        if before.generation != after.generation:
            statement = statements.RECREATE_KEY
            identity = {"suite": SUITES.index(after.suite), "generation": after.generation}
            values |= {**identity, "key_tag": tag(after.key_id)}
        written = connection.execute(statement, values)
        if written.rowcount != 1:
            msg = f"the key of {before.user!r} was changed by someone else; load it again"
            raise ConflictError(msg)
        for key in fresh:
            insert_data_key(connection, key)
        self.check_master(
            connection, derived=after.sealed.data_key == NO_DATA_KEY and after.state is not State.DESTROYED
        )
        move_slots(connection, before.slots(), after.slots())
        self._write_beside(connection, before, after)

    def check_master(self, connection: Connection, *, derived: bool) -> None:
        """Refuse to write a tag under a master that was superseded meanwhile."""
        if derived:
            master = self.record.current(Role.MASTER)
            must_be_current(connection, master.label if master else "")

    def remove(self, before: Key, after: Key) -> None:
        """Turn a key's row into a tombstone, and write down which data keys its records stood under."""
        self.remove_all([(before, after)])

    def remove_all(self, changes: Sequence[tuple[Key, Key]]) -> None:
        """The same for many keys, in one transaction."""

        def work(connection: Connection) -> None:
            for before, after in changes:
                self.replace_in(connection, before, after)
                connection.execute(delete(removals).where(removals.c.id == before.id))
                for number in before.slots():
                    connection.execute(insert(removals).values(id=before.id, data_key=number))

        self.database.change(work, counts=len(changes))

    def removals_of(self, key: Key) -> list[int]:
        """The data keys under which a destroyed key's records stood."""
        with self.database.read() as connection:
            found = connection.execute(select(removals.c.data_key).where(removals.c.id == key.id))
            return sorted(found.scalars())

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

    def allocate_data_keys(self, count: int) -> int:
        """The first of `count` numbers for new data keys, none of them given twice."""
        return self._allocated("next_data_key", count, data_key_table.c.number)

    def allocate_keys(self, count: int) -> int:
        """The first of `count` numbers for rows of new keys. In a transaction of its own: all writers want the counter.

        Raises `SealError` where the counter was put back.
        """
        return self._allocated("next_key", count, keys.c.id)

    def _allocated(self, counter: str, count: int, given: Column[int]) -> int:
        return self.database.change(lambda connection: take_numbers(connection, counter, count, given))

    def wrapped_key(self, number: int) -> WrappedKey:
        """A data key as it is stored; raises `SealError` where there is none that opens."""
        return data_keys.wrapped_key(self.database, number)


def _record_in(database: Database) -> VaultRecord | None:
    with database.read() as connection:
        return read_record(connection) if migrate.is_there(connection) else None


def vault_id_in(database: Database) -> bytes | None:
    """The id of the vault that a database holds, whatever its schema's version; None where it holds none."""
    if database.missing:
        return None
    with database.read() as connection:
        tables = inspect(connection)
        if vault.name not in tables.get_table_names():
            return None
        if vault.c.vault_id.name not in {column["name"] for column in tables.get_columns(vault.name)}:
            return None  # another application's table of this name
        return connection.execute(select(vault.c.vault_id)).scalar()


def _found_first(connection: Connection, store: VaultStore) -> None:
    there = connection.execute(select(vault.c.id)).first() is not None
    try:
        if not there:
            store.found(connection)
    except IntegrityError:  # another process did at this very moment
        there = True
    if there:
        msg = "the database holds a vault already"
        raise ConflictError(msg)


def take_numbers(connection: Connection, counter: str, count: int, given: Column[int]) -> int:
    """The first of `count` numbers that no one else gets; raises `SealError` where the counter was put back."""
    after = connection.execute(statements.TAKE_NUMBERS[counter], {"numbers": count}).scalar_one()
    highest = connection.execute(select(func.max(given))).scalar()
    if not isinstance(after, int) or (highest is not None and highest >= after - count):
        msg = f"the vault's counter {counter} was put back: it would give {given.table.name} {highest} out again"
        raise SealError(msg)
    return after - count


__all__ = ["VaultStore"]
