"""Prove: a signature with the offered shares commits exactly the offer it verified."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from icehouse.errors import ProtocolError, SealError
from icehouse.messages.authority import Speaker
from icehouse.messages.refusal import Refusal, expect
from icehouse.model import SERVER_NUMBER, Purpose, Sealed, State
from icehouse.vault.records import Resealed, fresh_of

if TYPE_CHECKING:
    from icehouse._core import Envelope, Request, Share
    from icehouse.messages.authority import Authority
    from icehouse.model import Key, StandingOffer
    from icehouse.vault.vault import Vault


def answer(vault: Vault, key: Key, authority: Authority, envelope: Envelope, request: Request) -> str:
    """Pending becomes current in one conditional write; the same proof again is answered again."""
    expect(authority, Speaker.OFFERED, Speaker.CURRENT)
    offer_id = request.offer_id or b""
    if authority.speaker is Speaker.CURRENT:
        if offer_id != key.offer_id:
            reason = "not-the-offer"
            raise Refusal(reason)
        vault.store.database.confirm()  # who committed it may not have been answered (ADR 0039)
        return envelope.committed(authority.mac_key, offer_id)
    offer, pending = key.offer, authority.share
    if offer is None or pending is None or offer_id != offer.offer_id:
        reason = "not-the-offer"
        raise Refusal(reason)
    _check(authority, offer, pending, request.signature or b"")
    after = _committed(vault, key, offer, pending)
    vault.store.replace(key, after.key, after.fresh)
    return envelope.committed(authority.mac_key, offer_id)


def _check(authority: Authority, offer: StandingOffer, pending: Share, signature: bytes) -> None:
    try:
        pending.check(authority.group, SERVER_NUMBER)
    except ProtocolError as exc:
        msg = "the pending share does not fit the offered commitments"
        raise SealError(msg) from exc
    try:
        authority.group.verify(authority.group.proof_message(offer.offer_id, offer.device_key), signature)
    except ProtocolError as exc:
        reason = "bad-proof"
        raise Refusal(reason) from exc


def _committed(vault: Vault, key: Key, offer: StandingOffer, pending: Share) -> Resealed:
    after = replace(
        key,
        epoch=offer.epoch,
        commitments=offer.commitments,
        state=State.LIVE,
        due=key.due if key.again else vault.next_rotation(key.id),
        again=False,
        salt=None,
        offer_id=offer.offer_id,
        sealed=Sealed(0, b""),
        claim=None,
        offer=None,
    )
    under = vault.under(offer.sealed.data_key, Purpose.SERVER, key)
    return Resealed(replace(after, sealed=vault.custody.seal_share(after, pending, under)), fresh_of(under))
