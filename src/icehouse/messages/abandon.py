"""Abandon: a device gives up an offer; its number is burnt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from icehouse.messages.authority import Speaker
from icehouse.messages.refusal import expect
from icehouse.vault.records import reseal

if TYPE_CHECKING:
    from icehouse._core import Envelope, Request
    from icehouse.messages.authority import Authority
    from icehouse.model import Key
    from icehouse.vault.vault import Vault


def answer(vault: Vault, key: Key, authority: Authority, envelope: Envelope, request: Request) -> str:
    """Cancel the offer if it stands. An offer that was never known or is gone already is abandoned, too."""
    expect(authority, Speaker.CODE, Speaker.CURRENT)
    offer_id = request.offer_id or b""
    if key.offer is not None and key.offer.offer_id == offer_id:
        share = authority.share or vault.custody.open_share(key)
        # One number more is burnt, so that the offer's row, put back into the database, opens no longer.
        changed = replace(key, next_epoch=key.next_epoch + 1, offer=None)
        after = reseal(vault, key, changed, share)
        vault.store.replace(key, after.key, after.fresh)
    else:
        vault.store.database.confirm()  # who cancelled it may not have been answered (ADR 0039)
    return envelope.abandoned(authority.mac_key, offer_id)
