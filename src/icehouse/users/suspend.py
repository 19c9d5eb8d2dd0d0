"""Suspend: a key that refuses every call until it is resumed. Its shares stay as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from icehouse.errors import RequestError
from icehouse.model import State
from icehouse.vault.records import reseal
from icehouse.vault.retry import retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.model import Key
    from icehouse.vault.vault import Vault


def suspend(vault: Vault, user: str, still: Callable[[Key], bool] = lambda _: True) -> bool:
    """Suspend a user's key, if it is `still` to be; whether this call did. A standing offer is cancelled."""
    return retry(vault, lambda: _moved(vault, user, State.LIVE, State.SUSPENDED, still))


def resume(vault: Vault, user: str) -> bool:
    """Let a suspended key serve again; whether this call did. Whatever is due stays due."""
    return retry(vault, lambda: _moved(vault, user, State.SUSPENDED, State.LIVE, lambda _: True))


def _moved(vault: Vault, user: str, before: State, after: State, still: Callable[[Key], bool]) -> bool:
    key = vault.store.key_of(user)
    if key is None:
        msg = f"there is no user {user!r}"
        raise RequestError(msg)
    if key.state is after:
        return False
    if key.state is not before:
        msg = f"the key of {user!r} is {key.state}, so it cannot become {after}"
        raise RequestError(msg)
    if not still(key):
        return False
    # A number is burnt with the offer, so that its row, put back into the database, opens no longer.
    burnt = key.next_epoch + (key.offer is not None)
    changed = replace(key, state=after, offer=None, next_epoch=burnt)
    sealed = reseal(vault, key, changed, vault.custody.open_share(key))
    vault.store.replace(key, sealed.key, sealed.fresh, counts=1)
    return True
