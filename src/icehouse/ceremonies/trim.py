"""Trim: destroy what superseded data keys and root key versions left behind, and with it what only they could open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from icehouse.ceremonies.destroy import destroy_root, let_go
from icehouse.hsm import KeyKind
from icehouse.model import NO_DATA_KEY, Role, RootState
from icehouse.store import data_keys, root_keys
from icehouse.store.selection import unfinished_removals
from icehouse.store.sweep import keys_with

if TYPE_CHECKING:
    from icehouse.ceremonies.vault import Vault
    from icehouse.model import RootKey
    from icehouse.store.wal import Leftover


_LAST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What a trim destroyed, and what it could destroy with `void_backups`.

    `unreadable_before`: backups of the database made before then cannot be read once those are gone.
    `leftover`: in which of the database's files wrapped data keys may still lie, where somebody else keeps them there.
    """

    data_keys: int
    root_keys: tuple[str, ...]
    ready: tuple[str, ...]
    unreadable_before: datetime | None
    recoverable_until: datetime | None = None
    leftover: Leftover | None = None


def trim(vault: Vault, *, void_backups: bool = False) -> Trimmed:
    """Destroy empty data keys; with `void_backups`, also the root key versions that nothing is under any more."""
    database = vault.store.database
    if vault.store.record.custody == "direct":
        for key in unfinished_removals(vault.store, 0, _LAST):
            let_go(vault, key)
    data_keys.retire_closed(database)
    gone = data_keys.drop_empty(database)
    ready = drained(vault)
    before = max((root.superseded for root in ready if root.superseded), default=None)
    destroyed = []
    if void_backups:
        if any(root.role in {Role.USER, Role.SOFTWARE_USER} for root in ready):
            vault.custody.roots.learn("icehouse-")
        for root in ready:
            destroy_root(vault, root.label, KeyKind.HMAC if root.role is Role.MASTER else KeyKind.AES)
            destroyed.append(root.label)
        vault.refresh()
    leftover = database.shrink()
    labels = [root_keys.root_of(database, label) for label in destroyed]
    until = max((root.recoverable_until for root in labels if root and root.recoverable_until), default=None)
    return Trimmed(
        gone,
        tuple(destroyed),
        tuple(root.label for root in ready if root.label not in destroyed),
        datetime.fromtimestamp(before, UTC) if before else None,
        datetime.fromtimestamp(until, UTC) if until else None,
        leftover,
    )


def drained(vault: Vault) -> list[RootKey]:
    """The superseded root keys that nothing is under any more, whatever their rows say of themselves.

    A destroyed key does not come back with a backup of the database, so the HSM says first which are current.
    """
    vault.refresh()
    record = vault.store.record
    database, superseded = vault.store.database, (RootState.DRAINING, RootState.RETIRING)
    roots = [*record.roots]
    for role in (Role.USER, Role.SOFTWARE_USER):
        roots += root_keys.user_roots(database, *superseded, role=role)
    return [root for root in roots if root.state in superseded and _is_empty(vault, root)]


def _is_empty(vault: Vault, root: RootKey) -> bool:
    if root.role is Role.MASTER:
        return not keys_with(vault.store, [NO_DATA_KEY], 1)
    with vault.store.database.read() as connection:
        return root_keys.count_under(connection, root.label) == 0
