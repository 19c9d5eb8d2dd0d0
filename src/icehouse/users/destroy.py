"""Destroy: a user's records are removed at once, and destroyed for good when nothing could open a backup of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from icehouse.errors import RequestError
from icehouse.model import (
    NO_DATA_KEY,
    OWN_ROLES,
    SOFTWARE,
    Purpose,
    Role,
    RootKey,
    RootState,
    Sealed,
    State,
    is_software,
    role_of_own,
    user_label,
)
from icehouse.store import data_keys, root_keys
from icehouse.users.own_keys import own_keys
from icehouse.vault.consent import check_consent
from icehouse.vault.retry import retry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from icehouse.model import Key, VaultRecord
    from icehouse.store.wal import Leftover
    from icehouse.vault.consent import Doomed
    from icehouse.vault.vault import Vault

from icehouse.vault.retiring import destroy_root, drop_data_keys_of, settle


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of a user's key. `destroyed` once no backup of it can be opened; else `waits_for` says for what.

    `leftover` says in which of the database's files its records may still lie, where somebody else keeps them there.
    """

    user: str
    destroyed: bool
    waits_for: str = ""
    until: datetime | None = None
    leftover: Leftover | None = None


def destroy(vault: Vault, user: str, consent: Collection[str] = ()) -> Removal:
    """Turn a user's key into a tombstone; again, it says how far the destruction has come.

    In a direct vault it destroys the user's own keys in the HSM as well. Raises `RequestError` where `consent` does not
    name them all; then nothing was done.
    """
    owned = own_keys(vault, [_key_of(vault, user)])
    check_consent(owned, consent)
    key = retry(vault, lambda: removed(vault, user))
    if vault.custody.users_own:
        finish(vault, key, owned.doomed)
    leftover = vault.store.database.shrink()
    left = own_keys(vault, [key]).doomed
    if left:
        waits_for = f"{_named(one.label for one in left)}: the same call again"
        return Removal(user, destroyed=False, waits_for=waits_for, leftover=leftover)
    return replace(status(vault, key), leftover=leftover)


def _key_of(vault: Vault, user: str) -> Key:
    key = vault.store.key_of(user)
    if key is None:
        msg = f"there is no user {user!r}"
        raise RequestError(msg)
    return key


def _named(labels: Iterable[str]) -> str:
    return f"root keys {', '.join(labels)}"


def removed(vault: Vault, user: str) -> Key:
    """Turn a user's key into a tombstone, if nobody wrote to it meanwhile. Raises `ConflictError`."""
    key = _key_of(vault, user)
    if key.state is State.DESTROYED:
        return key
    after = tombstone(key)
    vault.store.remove(key, after)
    return after


def tombstone(key: Key) -> Key:
    """What is left of a key that was removed."""
    return replace(
        key,
        state=State.DESTROYED,
        due=0,
        salt=None,
        offer_id=None,
        sealed=Sealed(NO_DATA_KEY, b""),
        claim=None,
        offer=None,
    )


def finish(vault: Vault, key: Key, doomed: Sequence[Doomed]) -> None:
    """A direct vault's user has HSM keys that nobody else's records are under: once they are removed, these go.

    Killed anywhere, the same call finishes it.
    """
    drop_data_keys_of(vault, key)
    for one in doomed:
        _announced(vault, one.label)
        destroy_root(vault, one.label, one.kind, current=True)
    versions = [user_label(key.key_id, 1, software=software) for software in (False, True)]
    settle(vault, [root for label in versions for root in root_keys.versions_of(vault.store.database, label)])


def _announced(vault: Vault, label: str) -> None:
    """See that a key has a row, in which its destruction is written down; the row may have been deleted."""
    if root_keys.root_of(vault.store.database, label) is not None:
        return
    version = int(label.rpartition("-")[2])
    root_keys.announce(vault.store.database, RootKey(label, role_of_own(label), version, RootState.MAKING))


def status(vault: Vault, key: Key) -> Removal:
    """Whether a removed key is destroyed, and if not, what stands in the way and until when."""
    record = vault.store.reload()
    if record.current(Role.MASTER) is not None:
        return Removal(key.user, destroyed=False, waits_for="never, while the master key lives: it derives this key")
    rows = data_keys.counts(vault.store.database, vault.store.removals_of(key))
    if vault.custody.users_own:
        # The server's share was under a key of the user's own; without it the device's share is worth nothing.
        rows = [row for row in rows if row.purpose == Purpose.SERVER]
    if not rows and record.newest(Role.MASTER) is None:
        # A key's records were under some data key: a database that names none hides it, and what opens its backups.
        return Removal(key.user, destroyed=False, waits_for="the database does not name its data keys: restore them")
    alive = [row.number for row in rows if row.state != "gone"]
    if alive:
        names = ", ".join(map(str, alive))
        return Removal(key.user, destroyed=False, waits_for=f"data keys {names}: reseal them, rewrap, and trim")
    # A master that was superseded derives the keys of its time until it is destroyed as well.
    masters = [root for root in record.roots if root.role is Role.MASTER]
    roots = [*masters, *_roots_of(vault, record, {row.root_key for row in rows}), *_stand_ins_of(vault, record, key)]
    living = [root.label for root in roots if root.state is not RootState.RETIRED]
    if living:
        mend = "icehouse users destroy" if vault.custody.users_own else "rewrap, and trim with --void-backups"
        return Removal(key.user, destroyed=False, waits_for=f"{_named(living)}: {mend}")
    until = max((root.recoverable_until for root in roots if root.recoverable_until), default=None)
    when = datetime.fromtimestamp(until, UTC) if until else None
    if when is not None and when > datetime.now(UTC):
        return Removal(key.user, destroyed=False, waits_for="the HSM's own backups", until=when)
    return Removal(key.user, destroyed=True, until=when)


def _stand_ins_of(vault: Vault, record: VaultRecord, key: Key) -> list[RootKey]:
    """The root keys in software that may ever have wrapped a data key of a user's who was made in software."""
    if key.origin != SOFTWARE:
        return []
    if vault.custody.users_own:
        return root_keys.versions_of(vault.store.database, user_label(key.key_id, 1, software=True))
    return [root for root in record.roots if is_software(root.label) and root.state is not RootState.MAKING]


def _roots_of(vault: Vault, record: VaultRecord, labels: set[str]) -> list[RootKey]:
    """Every root key version that may ever have wrapped data keys that ended under these."""
    found = []
    for label in labels:
        last = root_keys.root_of(vault.store.database, label)
        if last is None:
            continue
        if last.role in OWN_ROLES:
            found += root_keys.versions_of(vault.store.database, label)
        else:
            found += [root for root in record.roots if root.role is last.role and root.version <= last.version]
    return [root for root in found if root.state is not RootState.MAKING]
