"""Status: what stands. Information only: nothing is ever deleted because of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.ceremonies.authority import Speaker
from icehouse.ceremonies.refusal import expect

if TYPE_CHECKING:
    from icehouse._core import Envelope, Request
    from icehouse.ceremonies.authority import Authority
    from icehouse.ceremonies.vault import Vault
    from icehouse.model import Key


def answer(vault: Vault, key: Key, authority: Authority, envelope: Envelope, request: Request) -> str:
    """The standing offer, expired or not, and whether a rotation is due."""
    del request
    expect(authority, Speaker.CODE, Speaker.CURRENT)
    return envelope.state(authority.mac_key, key.offer.offer_id if key.offer else None, vault.is_due(key))
