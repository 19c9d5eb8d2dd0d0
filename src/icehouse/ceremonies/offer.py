"""Offers: what `claim` and `rotate` have in common."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from icehouse._core import rotate as draw
from icehouse.ceremonies.refusal import Refusal
from icehouse.ceremonies.vault import reseal, stand
from icehouse.model import DEVICE_NUMBER, SERVER_NUMBER, Sealed, StandingOffer

if TYPE_CHECKING:
    from icehouse._core import Envelope, Request, Share
    from icehouse.ceremonies.authority import Authority
    from icehouse.ceremonies.vault import Vault
    from icehouse.model import Key

_OFFER_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Start:
    """What an offer starts from: the server's share, and the device's where the server still holds it."""

    server: Share
    device: Share | None


def standing(vault: Vault, key: Key, request: Request, now: float | None) -> StandingOffer | None:
    """The standing offer, if this request gets it again; refuses another device's. `now`: an expired one gives way.

    Raises `SealError` where the offer's row was changed: not even its expiry is believed before its record opens.
    """
    offer = key.offer
    if offer is None:
        return None
    vault.custody.open_pending(key, offer)
    if offer.device_key == request.device_key:
        return offer
    if now is None or now <= offer.expires:
        reason = "conflict"
        raise Refusal(reason)
    return None


def make(vault: Vault, key: Key, authority: Authority, envelope: Envelope, request: Request, start: Start) -> str:
    """Draw the next epoch, make the server's half durable as pending, and answer with the device's half."""
    device_key = request.device_key or b""
    epoch = key.next_epoch
    commitments, differences = draw(key.group)
    group = key.group.at(epoch, commitments)
    pending = start.server.plus(differences[SERVER_NUMBER - 1])
    half = differences[DEVICE_NUMBER - 1]
    if start.device is not None:
        half = start.device.plus(half)
    expires = int(vault.clock()) + vault.offer_seconds
    offer_id = os.urandom(_OFFER_ID_BYTES)
    payload = envelope.write_offer(
        authority.mac_key,
        group,
        start.device is None,
        device_key,
        offer_id,
        half,
        pending.channel_key(group, DEVICE_NUMBER, epoch),
        datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    offer = StandingOffer(epoch, commitments, offer_id, device_key, expires, payload, Sealed(0, b""))
    # The number is burnt by the same write that makes the offer stand: it is never offered again.
    changed = reseal(vault, key, replace(key, next_epoch=epoch + 1, offer=offer), start.server)
    after, fresh = stand(vault, changed, offer, pending)
    vault.store.replace(key, after, fresh)
    return envelope.offer(authority.mac_key, payload)
