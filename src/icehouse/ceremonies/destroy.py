"""Destroy: a user's records are removed at once, and destroyed for good when nothing could open a backup of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from icehouse.ceremonies.vault import retry
from icehouse.errors import RequestError
from icehouse.hsm import KeyKind
from icehouse.model import NO_DATA_KEY, Role, RootState, Sealed, State
from icehouse.store import data_keys, root_keys

if TYPE_CHECKING:
    from icehouse.ceremonies.vault import Vault
    from icehouse.model import Key, RootKey


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of a user's key. `destroyed` once no backup of it can be opened; else `waits_for` says for what."""

    user: str
    destroyed: bool
    waits_for: str = ""
    until: datetime | None = None


def destroy(vault: Vault, user: str) -> Removal:
    """Turn a user's key into a tombstone; again, it says how far the destruction has come."""
    key = retry(vault, lambda: _removed(vault, user))
    if vault.store.record.custody == "direct":
        _destroy_own_keys(vault, vault.store.removals_of(key))
    vault.store.database.shrink()
    return status(vault, key)


def _removed(vault: Vault, user: str) -> Key:
    key = vault.store.key_of(user)
    if key is None:
        msg = f"there is no user {user!r}"
        raise RequestError(msg)
    if key.state is State.DESTROYED:
        return key
    after = replace(
        key,
        state=State.DESTROYED,
        due=False,
        salt=None,
        offer_id=None,
        sealed=Sealed(NO_DATA_KEY, b""),
        claim=None,
        offer=None,
    )
    vault.store.remove(key, after)
    return after


def _destroy_own_keys(vault: Vault, numbers: list[int]) -> None:
    """A direct vault's user has an HSM key that nobody else's records are under: it goes now."""
    database = vault.store.database
    labels = {row.root_key for row in data_keys.counts(database) if row.number in numbers and row.purpose == "server"}
    data_keys.begin_retiring(database, numbers)
    data_keys.drop_empty(database)
    for label in sorted(labels):
        root = root_keys.root_of(database, label)
        if root is None or root.role is not Role.USER:
            continue
        if root.state is RootState.CURRENT:
            with database.write() as connection:
                root_keys.set_state(connection, label, RootState.CURRENT, RootState.DRAINING)
        destroy_root(vault, label, KeyKind.AES)


def destroy_root(vault: Vault, label: str, kind: KeyKind) -> None:
    """Destroy a drained root key in its HSM. Killed anywhere, the same call finishes it."""
    database = vault.store.database
    root = root_keys.root_of(database, label)
    if root is None or root.state is RootState.RETIRED:
        return
    hsm, key = vault.custody.roots.find(label, kind)
    if root.state is not RootState.RETIRING:
        root_keys.begin_retiring(database, label)
    done = hsm.destroy_key(key)
    vault.custody.roots.forget(label)
    until = done.recoverable_until
    root_keys.end_retiring(database, label, int(until.timestamp()) if until else None)


def status(vault: Vault, key: Key) -> Removal:
    """Whether a removed key is destroyed, and if not, what stands in the way and until when."""
    if vault.store.record.current(Role.MASTER) is not None:
        return Removal(key.user, destroyed=False, waits_for="never, while the master key lives: it derives this key")
    numbers = set(vault.store.removals_of(key))
    rows = [row for row in data_keys.counts(vault.store.database) if row.number in numbers]
    alive = [row.number for row in rows if row.state != "gone"]
    if alive:
        names = ", ".join(map(str, alive))
        return Removal(key.user, destroyed=False, waits_for=f"data keys {names}: reseal them, rewrap, and trim")
    roots = _roots_of(vault, {row.root_key for row in rows})
    living = [root.label for root in roots if root.state is not RootState.RETIRED]
    if living:
        names = ", ".join(living)
        return Removal(key.user, destroyed=False, waits_for=f"root keys {names}: rewrap, and trim with --void-backups")
    until = max((root.recoverable_until for root in roots if root.recoverable_until), default=None)
    when = datetime.fromtimestamp(until, UTC) if until else None
    if when is not None and when > datetime.now(UTC):
        return Removal(key.user, destroyed=False, waits_for="the HSM's own backups", until=when)
    return Removal(key.user, destroyed=True, until=when)


def _roots_of(vault: Vault, labels: set[str]) -> list[RootKey]:
    """Every root key version that may ever have wrapped data keys that ended under these."""
    record, found = vault.store.reload(), []
    for label in labels:
        last = root_keys.root_of(vault.store.database, label)
        if last is None:
            continue
        if last.role is Role.USER:
            found += root_keys.versions_of(vault.store.database, label)
        else:
            found += [root for root in record.roots if root.role is last.role and root.version <= last.version]
    return [root for root in found if root.state is not RootState.MAKING]
