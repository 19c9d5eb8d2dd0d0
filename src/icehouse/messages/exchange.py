"""One message in, one answer out: FORMATS "Messages", in its order of refusals."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from icehouse import arguments
from icehouse._core import Envelope, bare_refusal
from icehouse.errors import HsmError, ProtocolError, SealError, StoreError
from icehouse.messages import abandon, claim, cosign, prove, rotate, status
from icehouse.messages.authority import Speaker, authority_of, data_keys_of, speaker_of
from icehouse.messages.refusal import Refusal
from icehouse.model import State
from icehouse.vault.retry import retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse._core import Request
    from icehouse.errors import IcehouseError
    from icehouse.messages.authority import Authority
    from icehouse.model import Key
    from icehouse.vault.vault import Vault

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
        _report(vault, envelope, exc)
        return bare_refusal("unavailable")


def _report(vault: Vault, envelope: Envelope, exc: IcehouseError) -> None:
    """The device learns that it may try again later; whoever is on call learns what does not fit."""
    # Anybody may name a key that is not served, as often as he likes.
    held = vault.unserved.admit(envelope.key_id)
    if held is not None:
        # The error names what does not fit; a stack would add nothing whoever is on call can use.
        _logger.error("a message for key %s is not served: %s%s", envelope.key_id.hex(), exc, held)


def _exchange(vault: Vault, envelope: Envelope) -> str:
    key = vault.store.key(envelope.key_id)
    if key is None or key.state is State.DESTROYED:
        # One look-up in an index. Whoever carries messages limits them for each address, which only he knows.
        return bare_refusal("unknown-key")
    speaker = speaker_of(key, envelope.epoch)
    if speaker is None:
        if envelope.epoch >= key.next_epoch:
            vault.alarm(
                vault.guessed,
                key,
                f"a device of {key.user!r} speaks at epoch {envelope.epoch}, the vault never went beyond "
                f"{key.next_epoch - 1}: was the database rolled back?",
            )
        return bare_refusal("unknown-epoch")
    numbers = data_keys_of(key, speaker)
    if all(vault.custody.is_ready(key, number) for number in numbers):
        authority = authority_of(vault, key, speaker)
        payload = envelope.authenticate(authority.mac_key)
        if payload is not None:
            vault.custody.renew(key, numbers)
    elif vault.limit.spend():
        authority, payload = _opened(vault, key, speaker, envelope)
    else:
        return bare_refusal("unavailable")
    if payload is None:
        return bare_refusal("bad-mac")
    return _serve(vault, key, authority, envelope, payload)


def _opened(vault: Vault, key: Key, speaker: Speaker, envelope: Envelope) -> tuple[Authority, bytes | None]:
    """Ask the HSM before anybody has shown who asks. That was paid for; it is given back once it is shown."""
    try:
        authority = authority_of(vault, key, speaker)
    except (SealError, HsmError):
        # The HSM was asked, or is to be asked less: a service that throttles looks like one that is away.
        raise
    except BaseException:
        vault.limit.give_back()
        raise
    payload = envelope.authenticate(authority.mac_key)
    if payload is not None:
        vault.limit.give_back()
    return authority, payload


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
                vault.ahead,
                key,
                f"the device of {key.user!r} takes epoch {envelope.epoch} for committed, the vault only offered it: "
                "was the database rolled back?",
            )
        return envelope.refused(authority.mac_key, refusal.reason)
