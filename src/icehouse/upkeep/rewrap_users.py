"""Rewrap under direct custody: every user's own key gets a successor, user by user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.errors import ConflictError, HsmRefusedError
from icehouse.model import Role
from icehouse.store import data_keys, root_keys
from icehouse.upkeep.rewrap import is_overtaken, moved_key, successor
from icehouse.users.dealing import announce_own, make_or_take_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.model import RootKey
    from icehouse.vault.vault import Vault


def unfinished_users(vault: Vault) -> list[RootKey]:
    """Users' own keys that were superseded and still wrap a data key."""
    return root_keys.draining_with_keys(vault.store.database, Role.USER)


def drain_users(vault: Vault, advance: Callable[[int], None] = lambda _: None) -> int:
    """Move every user's data keys under a successor of their own key; how many data keys this call moved."""
    moved = 0
    for root in unfinished_users(vault):
        moved += moved_user(vault, root)
        advance(1)
    return moved


def moved_user(vault: Vault, root: RootKey) -> int:
    """Move one user's data keys under a successor of the user's own key; how many this call moved."""
    database, hsm = vault.store.database, vault.custody.roots.main
    under = list(data_keys.keys_under(database, root.label))
    if not under:
        return 0  # the user was destroyed, or moved by another process, since the list was read
    try:
        (label,) = announce_own(vault, [successor(root)])
        make_or_take_up(vault, hsm, label)
        pairs = [(wrapped, moved_key(vault, wrapped, label)) for wrapped in under]
        data_keys.move_to(database, label, pairs)
    except ConflictError:
        return 0  # the same, but later; a key made for nothing is an orphan
    except HsmRefusedError:
        if not any(is_overtaken(vault, wrapped) for wrapped in under):
            raise
        return 0
    return len(pairs)
