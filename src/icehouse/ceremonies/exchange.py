"""One message in, one answer out: FORMATS "Messages", in its order of refusals."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from icehouse import arguments
from icehouse._core import Envelope, bare_refusal
from icehouse.ceremonies import abandon, claim, cosign, prove, rotate, status
from icehouse.ceremonies.authority import Speaker, authority_of, data_keys_of, speaker_of
from icehouse.ceremonies.refusal import Refusal
from icehouse.ceremonies.vault import retry
from icehouse.errors import HsmError, ProtocolError, SealError, StoreError
from icehouse.model import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse._core import Request
    from icehouse.ceremonies.authority import Authority
    from icehouse.ceremonies.vault import Vault
    from icehouse.model import Key

    Ceremony = Callable[[Vault, Key, Authority, Envelope, Request], str]

_logger = logging.getLogger("icehouse")

_CEREMONIES: dict[str, Ceremony] = {
    "claim": claim.answer,
    "rotate": rotate.answer,
    "cosign": cosign.answer,
    "prove": prove.answer,
    "abandon": abandon.answer,
    "status": status.answer,
}


def exchange(vault: Vault, message: str | bytes) -> str:
    """Answer a device's message. Never raises for what a device or the network sent."""
    try:
        envelope = Envelope(message if isinstance(message, str) else arguments.octets(message, "a message").decode())
    except (ProtocolError, UnicodeError):
        return bare_refusal("malformed")
    try:
        return retry(vault, lambda: _exchange(vault, envelope))
    except (SealError, HsmError, StoreError) as exc:
        # The device learns that it may try again later; whoever is on call learns what does not fit.
        # The error names what does not fit; a stack would add nothing whoever is on call can use.
        _logger.error(  # noqa: TRY400
            "a message for key %s is not served: %s", envelope.key_id.hex(), exc
        )
        return bare_refusal("unavailable")


def _exchange(vault: Vault, envelope: Envelope) -> str:
    key = vault.store.key(envelope.key_id)
    if key is None or key.state is State.DESTROYED:
        return bare_refusal("unknown-key" if vault.limit.spend() else "unavailable")
    speaker = speaker_of(key, envelope.epoch)
    if speaker is None:
        if envelope.epoch >= key.next_epoch:
            vault.alarm(
                f"a device of {key.user!r} speaks at epoch {envelope.epoch}, the vault never went beyond "
                f"{key.next_epoch - 1}: was the database rolled back?"
            )
        return bare_refusal("unknown-epoch")
    if vault.limit.exhausted and not all(vault.custody.is_ready(key, number) for number in data_keys_of(key, speaker)):
        return bare_refusal("unavailable")
    try:
        authority = authority_of(vault, key, speaker)
    except SealError:
        vault.limit.spend()  # nobody has shown who asks, and the HSM may have been asked for a key that does not open
        raise
    payload = envelope.authenticate(authority.mac_key)
    if payload is None:
        return bare_refusal("bad-mac" if vault.limit.spend() else "unavailable")
    return _serve(vault, key, authority, envelope, payload)


def _serve(vault: Vault, key: Key, authority: Authority, envelope: Envelope, payload: bytes) -> str:
    try:
        request = envelope.read(payload, authority.group)
    except ProtocolError:
        return envelope.refused(authority.mac_key, "malformed")
    if key.state is State.SUSPENDED:
        return envelope.refused(authority.mac_key, "suspended")
    try:
        return _CEREMONIES[request.type](vault, key, authority, envelope, request)
    except Refusal as refusal:
        if refusal.reason == "wrong-epoch" and authority.speaker is Speaker.OFFERED:
            vault.alarm(
                f"the device of {key.user!r} takes epoch {envelope.epoch} for committed, the vault only offered it: "
                "was the database rolled back?"
            )
        return envelope.refused(authority.mac_key, refusal.reason)
