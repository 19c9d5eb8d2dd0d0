"""Status: what stands. Information only: nothing is ever deleted because of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.messages.authority import Speaker
from icehouse.messages.refusal import expect

if TYPE_CHECKING:
    from icehouse._core import Envelope, Request
    from icehouse.messages.authority import Authority
    from icehouse.model import Key
    from icehouse.vault.vault import Vault


def answer(vault: Vault, key: Key, authority: Authority, envelope: Envelope, request: Request) -> str:
    """The standing offer, expired or not, and whether a rotation is due."""
    del request
    expect(authority, Speaker.CODE, Speaker.CURRENT)
    return envelope.state(authority.mac_key, key.offer.offer_id if key.offer else None, vault.is_due(key))
