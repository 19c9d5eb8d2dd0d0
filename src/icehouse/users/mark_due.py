"""Mark a rotation due: the device's next contact does it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from icehouse.errors import RequestError
from icehouse.model import NO_DATA_KEY, State
from icehouse.vault.move_records import move_row
from icehouse.vault.retry import retry

if TYPE_CHECKING:
    from icehouse.model import Key
    from icehouse.vault.vault import Vault


def mark_due(vault: Vault, user: str) -> Key:
    """Ask for a rotation at the device's next contact. The mark decides nothing about a share."""
    return retry(vault, lambda: _mark_due(vault, user))


def _mark_due(vault: Vault, user: str) -> Key:
    key = vault.store.key_of(user)
    if key is None:
        msg = f"there is no user {user!r}"
        raise RequestError(msg)
    if key.state is State.DESTROYED:
        msg = f"the key of {user!r} was destroyed"
        raise RequestError(msg)
    if vault.custody.is_outdated(key):
        move_row(vault, key.id, [NO_DATA_KEY])
        key = vault.store.key_of(user) or key
    due = key.due if vault.is_due(key) else vault.today
    after = replace(key, due=due, again=key.again or key.offer is not None)
    return key if after == key else vault.store.replace(key, after)
