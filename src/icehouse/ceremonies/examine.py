"""Examine: open every record of a key, and hold each share against the commitments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.ceremonies.vault import work_on
from icehouse.errors import ProtocolError, SealError
from icehouse.model import DEVICE_NUMBER, SERVER_NUMBER, State

if TYPE_CHECKING:
    from icehouse.ceremonies.vault import Vault
    from icehouse.model import Key


def examine(vault: Vault, key: Key) -> None:
    """Open every record of a key; raises `SealError` that says what does not fit."""
    try:
        work_on(vault, key, lambda now: _open_all(vault, now))
    except (ProtocolError, SealError) as exc:
        msg = f"a record of {key.user!r} does not fit: {exc}"
        raise SealError(msg) from exc


def _open_all(vault: Vault, key: Key) -> None:
    if key.state is State.DESTROYED:
        return
    custody = vault.custody
    custody.open_share(key).check(key.group, SERVER_NUMBER)
    if key.state in {State.DEALT, State.LOST}:
        custody.open_claim(key).check(key.group, DEVICE_NUMBER)
    if key.offer is not None:
        custody.open_pending(key, key.offer).check(key.offered_group(key.offer), SERVER_NUMBER)
