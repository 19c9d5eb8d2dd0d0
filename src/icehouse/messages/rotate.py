"""Rotate: new shares for the same public key, offered as a difference."""

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
    """The same request gets the same offer; another device key waits until the standing offer is abandoned."""
    expect(authority, Speaker.CURRENT)
    offer = standing(vault, key, request, None)
    if offer is not None:
        return envelope.offer(authority.mac_key, offer.payload)
    return make(vault, key, authority, envelope, request)
