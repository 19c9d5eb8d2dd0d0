"""Offers: what `claim` and `rotate` have in common."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from icehouse.messages.authority import Speaker
from icehouse.messages.refusal import Refusal
from icehouse.model import DEVICE_NUMBER, Sealed, StandingOffer
from icehouse.vault.records import reseal, seal_offer

if TYPE_CHECKING:
    from icehouse._core import Envelope, Request
    from icehouse.messages.authority import Authority
    from icehouse.model import Key
    from icehouse.vault.vault import Vault

_OFFER_ID_BYTES = 16


def standing(vault: Vault, key: Key, request: Request, now: float | None) -> StandingOffer | None:
    """The standing offer, if this request gets it again; refuses another device's. `now`: an expired one gives way.

    Raises `SealError` where the offer's row was changed: not even its expiry is believed before its record opens.
    """
    offer = key.offer
    if offer is None:
        return None
    vault.custody.open_pending(key, offer)
    if offer.device_key == request.device_key:
        vault.store.database.confirm()  # who made it may not have been answered (ADR 0039)
        return offer
    if now is None or now <= offer.expires:
        reason = "conflict"
        raise Refusal(reason)
    return None


def make(vault: Vault, key: Key, authority: Authority, envelope: Envelope, request: Request) -> str:
    """Draw the next epoch, make the server's half durable as pending, and answer with the device's half."""
    device_key = request.device_key or b""
    whole = authority.speaker is Speaker.CODE
    epoch, offer_id = key.next_epoch, os.urandom(_OFFER_ID_BYTES)
    drawn = vault.custody.draw(key, epoch, offer_id, whole=whole)
    group = key.group.at(epoch, drawn.commitments)
    expires = int(vault.clock()) + vault.offer_seconds
    payload = envelope.write_offer(
        authority.mac_key,
        group,
        not whole,
        device_key,
        offer_id,
        drawn.half,
        drawn.server.channel_key(group, DEVICE_NUMBER, epoch),
        datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    offer = StandingOffer(epoch, drawn.commitments, offer_id, device_key, expires, payload, Sealed(0, b""))
    # The number is burnt by the same write that makes the offer stand: it is never offered again.
    burnt = replace(key, next_epoch=epoch + 1, offer=offer, again=False)
    after = seal_offer(vault, reseal(vault, key, burnt, vault.custody.open_share(key)), offer, drawn.server)
    vault.store.replace(key, after.key, after.fresh)
    return envelope.offer(authority.mac_key, payload)
