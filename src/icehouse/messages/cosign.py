"""Cosign: the server's half of a signature, in one round trip and with no stored state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.errors import SealError
from icehouse.messages.authority import Speaker
from icehouse.messages.refusal import Refusal, expect
from icehouse.model import SERVER_NUMBER

if TYPE_CHECKING:
    from icehouse._core import Envelope, Request
    from icehouse.messages.authority import Authority
    from icehouse.model import Key
    from icehouse.vault.vault import Vault


def answer(vault: Vault, key: Key, authority: Authority, envelope: Envelope, request: Request) -> str:
    """`sign` at the current epoch only, `proof` at the offered one only and for exactly its message."""
    del vault
    expect(authority, Speaker.OFFERED if request.proof else Speaker.CURRENT)
    if request.proof:
        offer = key.offer
        if offer is None or request.message != authority.group.proof_message(offer.offer_id, offer.device_key):
            reason = "not-the-proof"
            raise Refusal(reason)
    elif request.reserved:
        reason = "reserved"
        raise Refusal(reason)
    if authority.share is None:
        msg = "an enrolment code signs nothing"
        raise SealError(msg)
    return envelope.cosigned(authority.mac_key, request, authority.share, authority.group, SERVER_NUMBER)
