"""Enrolment codes: one-time secrets that let one device claim one key."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from icehouse.errors import RequestError
from icehouse.model import State
from icehouse.vault.records import reseal
from icehouse.vault.retry import retry

if TYPE_CHECKING:
    from icehouse.vault.vault import Vault

_SALT_BYTES = 16


def mint(vault: Vault, user: str) -> str:
    """A new enrolment token for a user's key; every earlier one is void, a standing claim is cancelled."""
    return retry(vault, lambda: _mint(vault, user))


def _mint(vault: Vault, user: str) -> str:
    key = vault.store.key_of(user)
    if key is None:
        msg = f"there is no user {user!r}"
        raise RequestError(msg, hint="create the user first")
    if key.state is State.DESTROYED:
        msg = f"the key of {user!r} was destroyed"
        raise RequestError(msg, hint="create the user again for a key of the next generation")
    if key.state not in {State.DEALT, State.LOST}:
        msg = f"{user!r} is enrolled already: an enrolment code is for a key that no device holds yet"
        raise RequestError(msg)
    share = vault.custody.open_share(key)
    # A key that was rebuilt without its epoch becomes claimable: the application authorises it by asking for a code.
    changed = replace(key, salt=os.urandom(_SALT_BYTES), offer=None, state=State.DEALT)
    after = reseal(vault, key, changed, share)
    written = vault.store.replace(key, after.key, after.fresh)
    return vault.custody.enrolment_code(written).token(written.key_id)
