"""Claim: the first device of a key, authorised by an enrolment code, is offered its share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.messages.authority import Speaker
from icehouse.messages.offer import make, standing
from icehouse.messages.refusal import expect

if TYPE_CHECKING:
    from icehouse._core import Envelope, Request
    from icehouse.messages.authority import Authority
    from icehouse.model import Key
    from icehouse.vault.vault import Vault


def answer(vault: Vault, key: Key, authority: Authority, envelope: Envelope, request: Request) -> str:
    """The same request gets the same offer while it stands; another device waits until it expires."""
    expect(authority, Speaker.CODE)
    offer = standing(vault, key, request, vault.clock())
    if offer is not None:
        return envelope.offer(authority.mac_key, offer.payload)
    return make(vault, key, authority, envelope, request)
