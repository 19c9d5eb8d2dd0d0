"""Who speaks: which key must have authenticated a message, found before its payload is read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from icehouse.model import DEVICE_NUMBER, State

if TYPE_CHECKING:
    from icehouse._core import Group, MacKey, Share
    from icehouse.model import Key, StandingOffer
    from icehouse.vault.vault import Vault


class Speaker(StrEnum):
    """What a message's `kid` stands for."""

    CODE = "code"
    CURRENT = "current"
    OFFERED = "offered"


@dataclass(frozen=True, slots=True)
class Authority:
    """A speaker, the key it authenticates with, and the server's share it follows from (none for a code)."""

    speaker: Speaker
    mac_key: MacKey
    group: Group
    share: Share | None


def speaker_of(key: Key, epoch: int) -> Speaker | None:
    """What an epoch stands for in this row; only the current and the offered one have a channel key."""
    if epoch == 0:
        return Speaker.CODE if key.state is State.DEALT and key.salt is not None else None
    if epoch == key.epoch:
        return Speaker.CURRENT
    if key.offer is not None and epoch == key.offer.epoch:
        return Speaker.OFFERED
    return None


def data_keys_of(key: Key, speaker: Speaker) -> list[int]:
    """The data keys that must be open before this speaker's MAC can be checked."""
    if speaker is Speaker.CODE:
        return [key.claim.data_key] if key.claim else [key.sealed.data_key]
    if speaker is Speaker.OFFERED and key.offer is not None:
        return [key.offer.sealed.data_key]
    return [key.sealed.data_key]


def authority_of(vault: Vault, key: Key, speaker: Speaker) -> Authority:
    """The key that authenticates this speaker. Opens the record it follows from; raises `SealError`."""
    if speaker is Speaker.CODE:
        # The code follows from the salt alone; the claim record vouches for the rest of the row.
        vault.custody.open_claim(key)
        return Authority(speaker, vault.custody.enrolment_code(key), key.group, None)
    if speaker is Speaker.OFFERED and key.offer is not None:
        return _of_offer(vault, key, key.offer)
    share = vault.custody.open_share(key)
    return Authority(speaker, share.channel_key(key.group, DEVICE_NUMBER, key.epoch), key.group, share)


def _of_offer(vault: Vault, key: Key, offer: StandingOffer) -> Authority:
    share = vault.custody.open_pending(key, offer)
    channel = share.channel_key(key.group, DEVICE_NUMBER, offer.epoch)
    return Authority(Speaker.OFFERED, channel, key.offered_group(offer), share)
