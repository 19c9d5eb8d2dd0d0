"""The vault's keys inside its HSMs, as rows: no data key is written under one that is not current any more."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from time import time
from typing import TYPE_CHECKING

from sqlalchemy import and_, exists, func, insert, not_, select, update

from icehouse.errors import ConflictError, SealError
from icehouse.model import STAND_INS, Role, RootKey, RootState, StaleRootsError, VaultRecord, role_of_own
from icehouse.store import statements
from icehouse.store.engine import RowThereError
from icehouse.store.foreign import MOST_OF_A_LABEL, moment, whole, words
from icehouse.store.schema import data_keys, root_keys, vault

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Row

    from icehouse.store.engine import Database

_ATTEMPTS = 10
_MOST_VERSIONS = (1 << 31) - 1
VAULT_ROLES = (Role.KEK, Role.CLAIM, Role.MASTER, Role.SOFTWARE_KEK, Role.SOFTWARE_CLAIM)
"""The roles of the few keys that protect everything; a direct vault's users' own keys are read one by one."""


def read_record(connection: Connection) -> VaultRecord | None:
    """The vault's settings and its root keys; None where there is no vault."""
    # One statement, so that another process's flip to other root keys is seen as a whole or not at all.
    rows = connection.execute(
        select(vault.c.vault_id, vault.c.custody, vault.c.buckets, vault.c.seal, root_keys)
        .select_from(vault.outerjoin(root_keys, root_keys.c.role.in_(VAULT_ROLES)))
        .order_by(root_keys.c.role, root_keys.c.version)
    ).all()
    if not rows:
        return None
    roots = tuple(_root_of(row) for row in rows if row.label is not None)
    return VaultRecord(rows[0].vault_id, rows[0].custody, rows[0].buckets, roots, rows[0].seal)


def _root_of(row: Row[tuple[object, ...]]) -> RootKey:
    label = words("the label of a root key", row.label, MOST_OF_A_LABEL)
    try:
        role, state = Role(row.role), RootState(row.state)
    except ValueError as exc:
        msg = f"the root key {label!r} has a role or a state that icehouse never writes"
        raise SealError(msg) from exc
    version = whole(f"the version of {label!r}", row.version, _MOST_VERSIONS)
    times = [
        None if value is None else moment(f"a time of {label!r}", value)
        for value in (row.superseded, row.recoverable_until)
    ]
    return RootKey(label, role, version, state, *times)


def add_roots(connection: Connection, roots: Iterable[RootKey]) -> None:
    """Write the rows of new root keys."""
    rows = [
        {
            "label": root.label,
            "role": root.role,
            "version": root.version,
            "state": root.state,
            "superseded": root.superseded,
            "recoverable_until": root.recoverable_until,
        }
        for root in roots
    ]
    if rows:
        connection.execute(insert(root_keys), rows)


def must_be_current(connection: Connection, label: str) -> None:
    """Raise `StaleRootsError` unless new data keys may be wrapped under this root key."""
    found = connection.execute(statements.ROOT_STATE, {"root": label}).scalar()
    if found != RootState.CURRENT:
        msg = f"the root key {label!r} is not current any more"
        raise StaleRootsError(msg)


def set_state(connection: Connection, label: str, before: RootState, after: RootState) -> None:
    """Move one root key on; raises `ConflictError` where someone else did so."""
    superseded = {"superseded": int(time())} if after is RootState.DRAINING else {}
    moved = connection.execute(
        update(root_keys)
        .where(root_keys.c.label == label, root_keys.c.state == before)
        .values(state=after, **superseded)
    )
    if moved.rowcount != 1:
        msg = f"the root key {label!r} is not {before} any more: another process is changing the vault's root keys"
        raise ConflictError(msg)


def move(database: Database, label: str, before: RootState, after: RootState) -> None:
    """The same in a transaction of its own."""
    database.change(lambda connection: set_state(connection, label, before, after))


def make_current(connection: Connection, label: str) -> None:
    """Let a user's own key that was made be the current one; raises `ConflictError` where someone else moved it on.

    A flip lets every such key drain. It changes the claim root key before it looks for them, so whoever holds that one
    is seen by it, or sees what it did.
    """
    connection.execute(statements.CURRENT_CLAIM)
    set_state(connection, label, RootState.MAKING, RootState.CURRENT)


def announce(database: Database, root: RootKey) -> bool:
    """Write down a key that is about to be made in the HSM; false where someone announced this label before."""

    def work(connection: Connection) -> bool:
        if _state_of(connection, root.label) is not None:
            return False
        add_roots(connection, [root])
        return True

    try:
        return database.change(work)
    except RowThereError:
        return False  # someone did at this very moment


def flip(database: Database, before: VaultRecord, after: VaultRecord) -> None:
    """Make the settings of `after` the vault's, if they are still those of `before`; keys under way become current.

    Users' own keys, which only direct vaults have, all begin to drain. Those that are being made never become current:
    they may be in an HSM that the vault is leaving.
    """

    def work(connection: Connection) -> None:
        moved = connection.execute(
            update(vault)
            .where(vault.c.seal == before.seal)
            .values(custody=after.custody, buckets=after.buckets, seal=after.seal)
        )
        if moved.rowcount != 1:
            msg = "another process moved the vault to other root keys first"
            raise ConflictError(msg)
        was = {root.label: root.state for root in before.roots}
        for root in after.roots:
            if was.get(root.label, RootState.MAKING) is not root.state:
                set_state(connection, root.label, was.get(root.label, RootState.MAKING), root.state)
        connection.execute(
            update(root_keys)
            .where(root_keys.c.role == Role.USER, root_keys.c.state == RootState.CURRENT)
            .values(state=RootState.DRAINING, superseded=int(time()))
        )
        connection.execute(
            update(root_keys)
            .where(root_keys.c.role == Role.USER, root_keys.c.state == RootState.MAKING)
            .values(state=RootState.RETIRING)
        )

    database.change(work)


def end_stand_ins(database: Database) -> None:
    """Let no new data key come under a root key that stood in for the HSM's."""
    statement = (
        update(root_keys)
        .where(root_keys.c.role.in_(STAND_INS.values()), root_keys.c.state == RootState.CURRENT)
        .values(state=RootState.DRAINING, superseded=int(time()))
    )
    database.change(lambda connection: connection.execute(statement))


def user_roots(database: Database, *states: RootState, role: Role = Role.USER) -> list[RootKey]:
    """A direct vault's users' own keys that are in one of these states."""
    with database.read() as connection:
        found = connection.execute(
            select(root_keys).where(root_keys.c.role == role, root_keys.c.state.in_(states)).order_by(root_keys.c.label)
        ).all()
    return [_root_of(row) for row in found]


def draining_with_keys(database: Database, role: Role) -> list[RootKey]:
    """The superseded root keys of a role that data keys are still under."""
    under = exists().where(data_keys.c.root_key == root_keys.c.label, data_keys.c.state != "gone")
    with database.read() as connection:
        found = connection.execute(
            select(root_keys)
            .where(root_keys.c.role == role, root_keys.c.state == RootState.DRAINING, under)
            .order_by(root_keys.c.label)
        ).all()
    return [_root_of(row) for row in found]


def every(database: Database) -> list[RootKey]:
    """Every root key that the vault ever announced."""
    with database.read() as connection:
        return [_root_of(row) for row in connection.execute(select(root_keys).order_by(root_keys.c.label)).all()]


def root_of(database: Database, label: str) -> RootKey | None:
    """The root key of a label."""
    with database.read() as connection:
        row = connection.execute(select(root_keys).where(root_keys.c.label == label)).first()
    return None if row is None else _root_of(row)


def states(database: Database) -> dict[str, RootState]:
    """The state of every root key that the vault ever announced, by label."""
    return {root.label: root.state for root in every(database)}


def stem(label: str) -> str:
    """A label without its version."""
    return label.rpartition("-")[0]


def versions_of(database: Database, label: str) -> list[RootKey]:
    """Every version of a user's own key, whichever of them the label names. They are numbered without a gap."""
    found: list[RootKey] = []
    while root := root_of(database, f"{stem(label)}-{len(found) + 1}"):
        found.append(root)
    return found


def announce_users(database: Database, labels: Sequence[str], claim: str) -> list[str]:
    """Write down users' own keys that are about to be made; the labels to make them under.

    A label names one key for ever: one that was destroyed gives way to the next version. Raises `ConflictError` where
    another process has made the key already, `StaleRootsError` where the root key `claim` is not current any more:
    who does not know that may not know the HSM where keys are made now.
    """
    for _ in range(_ATTEMPTS - 1):
        with suppress(RowThereError):  # another process announces one of them: its row is there when this one looks
            return database.change(lambda connection: _announce_users(connection, labels, claim))
    return database.change(lambda connection: _announce_users(connection, labels, claim))


def _announce_users(connection: Connection, labels: Sequence[str], claim: str) -> list[str]:
    must_be_current(connection, claim)
    found = select(root_keys.c.label, root_keys.c.state).where(root_keys.c.label.in_(labels))
    known = {row.label: row.state for row in connection.execute(found)}
    free = [_free_version(connection, label) if label in known else label for label in labels]
    making = {label for label in known if known[label] == RootState.MAKING}
    fresh = [label for label in free if label not in making and _state_of(connection, label) is None]
    add_roots(
        connection,
        [RootKey(label, role_of_own(label), int(label.rpartition("-")[2]), RootState.MAKING) for label in fresh],
    )
    return free


def _state_of(connection: Connection, label: str) -> str | None:
    return connection.execute(select(root_keys.c.state).where(root_keys.c.label == label)).scalar()


def _free_version(connection: Connection, label: str) -> str:
    """The version of a user's own key that a label names, or the first after it that may still be made."""
    stem, _, version = label.rpartition("-")
    for number in count(int(version)):
        state = _state_of(connection, f"{stem}-{number}")
        if state is None or state == RootState.MAKING:
            return f"{stem}-{number}"
        if state in {RootState.CURRENT, RootState.DRAINING}:
            msg = f"the key {stem}-{number} was made by someone else"
            raise ConflictError(msg)
    raise AssertionError  # the versions never end


def count_under(connection: Connection, label: str) -> int:
    """How many data keys that may still be opened are wrapped under a root key."""
    return connection.execute(
        select(func.count()).select_from(data_keys).where(data_keys.c.root_key == label, data_keys.c.state != "gone")
    ).scalar_one()


def count_under_role(connection: Connection, role: Role, state: RootState) -> int:
    """How many data keys that may still be opened are wrapped under root keys of a role and state."""
    joined = data_keys.join(root_keys, root_keys.c.label == data_keys.c.root_key)
    return connection.execute(
        select(func.count())
        .select_from(joined)
        .where(root_keys.c.role == role, root_keys.c.state == state, data_keys.c.state != "gone")
    ).scalar_one()


def count_needed_under(connection: Connection, label: str) -> int:
    """The same without those that seal nothing any more and take no more records: a trim drops them."""
    spent = and_(data_keys.c.live == 0, data_keys.c.state.in_(("closed", "retiring")))
    return connection.execute(
        select(func.count())
        .select_from(data_keys)
        .where(data_keys.c.root_key == label, data_keys.c.state != "gone", not_(spent))
    ).scalar_one()


_LEFT = (RootState.MAKING, RootState.DRAINING, RootState.RETIRING, RootState.RETIRED)
"""The states of a root key that no new data key comes under."""


def begin_retiring(database: Database, label: str, *, current: bool = False) -> None:
    """Move a root key that is about to be destroyed on to `retiring`, from any state, if no data key is under it.

    One that is current only with `current`: its user is removed. Raises `ConflictError`.
    """
    states = (*_LEFT, RootState.CURRENT) if current else _LEFT
    under = exists().where(data_keys.c.root_key == label, data_keys.c.state != "gone")
    empty = (root_keys.c.label == label, root_keys.c.state.in_(states), ~under)

    def work(connection: Connection) -> None:
        moved = connection.execute(update(root_keys).where(*empty).values(state=RootState.RETIRING))
        if moved.rowcount != 1:
            state, count = _state_of(connection, label), count_under(connection, label)
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
