"""The end of a root key: its data keys go first, then it is destroyed in the HSM that has it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from icehouse.errors import ConflictError, HsmRefusedError, SealError
from icehouse.hsm import Destruction
from icehouse.model import (
    OWN_ROLES,
    Purpose,
    RootKey,
    RootState,
    user_label,
)
from icehouse.store import data_keys, root_keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from icehouse.custody import RootKeys
    from icehouse.hsm import KeyKind
    from icehouse.model import Key
    from icehouse.vault.vault import Vault


def drop_data_keys_of(vault: Vault, key: Key) -> list[str]:
    """Drop the data keys of a direct vault's removed user; the root keys of his that may be destroyed then.

    It asks no HSM, and a backup of the database undoes it. Raises `SealError` where a row names another user's.
    """
    database = vault.store.database
    numbers = vault.store.removals_of(key)
    own = [row for row in data_keys.counts(database, numbers) if row.purpose == Purpose.SERVER]
    stems = {root_keys.stem(user_label(key.key_id, 1, software=software)) for software in (False, True)}
    for row in own:
        if root_keys.stem(row.root_key) not in stems:
            msg = (
                f"data key {row.number}, named for {key.user!r} who was removed, is under {row.root_key!r}: not his own"
            )
            raise SealError(msg)
    data_keys.begin_retiring(database, [row.number for row in own])
    data_keys.drop_empty(database)
    # Only now: until the data keys were gone, another process could move them under the key's next version.
    labels = []
    for root in [root for row in own for root in root_keys.versions_of(database, row.root_key)]:
        if root.role not in OWN_ROLES or root.state is RootState.RETIRED:
            continue
        if root.state is RootState.MAKING:
            continue  # made by a rewrap that came too late: an orphan
        if root.state is RootState.CURRENT:
            with suppress(ConflictError):
                root_keys.move(database, root.label, RootState.CURRENT, RootState.DRAINING)
        labels.append(root.label)
    return labels


def destroy_root(vault: Vault, label: str, kind: KeyKind, *, current: bool = False) -> None:
    """Destroy a key in its HSM that was judged, and consented to. Raises `ConflictError` where data keys are under it.

    Killed anywhere, the same call finishes it.
    """
    database, roots = vault.store.database, vault.custody.roots
    roots.check_vouched()
    root_keys.begin_retiring(database, label, current=current)
    done = _destroyed(roots, label, kind)
    roots.forget(label)
    until = done.recoverable_until
    root_keys.end_retiring(database, label, int(until.timestamp()) if until else None)


def settle(vault: Vault, roots: Iterable[RootKey]) -> None:
    """Write down of keys about to be destroyed, which no HSM has any more, that they were."""
    for root in roots:
        if root.state is RootState.RETIRING and not vault.custody.roots.has(root.label):
            root_keys.end_retiring(vault.store.database, root.label, None)


def _destroyed(roots: RootKeys, label: str, kind: KeyKind) -> Destruction:
    """Destroy a retiring key. Where every HSM answers and none has it, whoever began to retire it destroyed it."""
    try:
        hsm, key = roots.find(label, kind)
        return hsm.destroy_key(key)
    except HsmRefusedError:
        roots.forget(label)
        if roots.has(label):
            raise
        return Destruction(done=True)
