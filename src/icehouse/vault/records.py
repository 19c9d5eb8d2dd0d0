"""A key's records, sealed again into its changed row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from icehouse.model import NO_DATA_KEY, Purpose, State

if TYPE_CHECKING:
    from icehouse._core import Share
    from icehouse.custody import OpenKey
    from icehouse.model import Key, StandingOffer, WrappedKey
    from icehouse.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class Resealed:
    """A changed row with its records sealed into it, and the data keys that were made for them."""

    key: Key
    fresh: tuple[WrappedKey, ...] = ()


def fresh_of(*slots: OpenKey) -> tuple[WrappedKey, ...]:
    """The data keys that the store does not hold yet."""
    return tuple({slot.number: slot.wrapped for slot in slots if slot.fresh}.values())


def reseal(vault: Vault, before: Key, after: Key, share: Share) -> Resealed:
    """`after` with its records sealed into its changed row; the data keys stay.

    Every column a decision depends on is bound into every record, so a change of one reseals all. An offer that
    stands in `after` is a new one, which `seal_offer` seals; one that stood in `before` no longer opens.
    """
    under = vault.under(before.sealed.data_key, Purpose.SERVER, after)
    sealed = vault.custody.seal_share(after, share, under)
    if before.claim is None and not _holds_device_share(before):
        return Resealed(replace(after, sealed=sealed), fresh_of(under))
    device_share = vault.custody.open_claim(before)
    number = before.claim.data_key if before.claim else NO_DATA_KEY
    beside = vault.under(number, Purpose.CLAIM, after)
    claim = vault.custody.seal_claim(after, device_share, beside)
    return Resealed(replace(after, sealed=sealed, claim=claim), fresh_of(under, beside))


def _holds_device_share(key: Key) -> bool:
    """Whether the vault still holds, or derives, the device's share of a key that no device has claimed."""
    return key.state in {State.DEALT, State.LOST}


def seal_offer(vault: Vault, changed: Resealed, offer: StandingOffer, pending: Share) -> Resealed:
    """A row with a standing offer beside it."""
    under = vault.slot(Purpose.SERVER, key=changed.key)
    sealed = vault.custody.seal_pending(changed.key, offer, pending, under)
    key = replace(changed.key, offer=replace(offer, sealed=sealed))
    return Resealed(key, changed.fresh + tuple(key for key in fresh_of(under) if key not in changed.fresh))
