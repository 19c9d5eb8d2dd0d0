"""Rewrap under direct custody: every user's own key gets a successor, user by user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.ceremonies.dealing import announce
from icehouse.ceremonies.rewrap import check_room, moved_key
from icehouse.errors import ConflictError, HsmRefusedError
from icehouse.hsm import KeyKind
from icehouse.model import Role, RootKey, RootState
from icehouse.store import data_keys, root_keys
from icehouse.store.root_keys import user_roots

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.ceremonies.vault import Vault


def begin_users(vault: Vault) -> None:
    """Let every user's current key drain, once the HSM has room for as many more; a move under way is gone on with."""
    if unfinished_users(vault):
        return
    check_room(vault.custody.roots.main, len(user_roots(vault.store.database, RootState.CURRENT)))
    root_keys.drain_role(vault.store.database, Role.USER)


def unfinished_users(vault: Vault) -> list[RootKey]:
    """Users' own keys that were superseded and still wrap a data key."""
    return root_keys.draining_with_keys(vault.store.database, Role.USER)


def drain_users(vault: Vault, advance: Callable[[int], None] = lambda _: None) -> int:
    """Move every user's data keys under a successor of their own key; how many data keys this call moved."""
    moved = 0
    for root in unfinished_users(vault):
        moved += _moved_user(vault, root)
        advance(1)
    return moved


def _moved_user(vault: Vault, root: RootKey) -> int:
    label = f"{root.label.rpartition('-')[0]}-{root.version + 1}"
    announce(vault, [label])
    hsm = vault.custody.roots.main
    try:
        hsm.create_key(label, KeyKind.AES)
    except HsmRefusedError:
        if not any(key.label == label for key in hsm.keys(label)):
            raise
    vault.custody.roots.made(label, hsm)
    pairs = [
        (wrapped, moved_key(vault, wrapped, label))
        for wrapped in data_keys.keys_under(vault.store.database, root.label)
    ]
    try:
        data_keys.move_to(vault.store.database, label, pairs)
    except ConflictError:
        return 0  # another process moved this user first
    return len(pairs)
