"""A vault as the ceremonies see it: one store, one custody, and the rules of this process."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from time import time
from typing import TYPE_CHECKING, TypeVar

from icehouse.ceremonies.limit import Limit
from icehouse.errors import ConflictError, StoreError
from icehouse.model import Purpose
from icehouse.store import DataKeyFullError

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse._core import Share
    from icehouse.custody import Custody, OpenKey
    from icehouse.model import Key, StandingOffer, WrappedKey
    from icehouse.store import VaultStore

T = TypeVar("T")
_ATTEMPTS = 16
_logger = logging.getLogger("icehouse")


class DifferentKeyError(ConflictError):
    """The user has a key of another kind already; to load it again would change nothing."""


@dataclass(frozen=True, slots=True)
class Vault:
    """One database, the custody over it, and what this process was told."""

    store: VaultStore
    custody: Custody
    offer_seconds: int = 900
    origin: str = "dealer"
    limit: Limit = field(default_factory=Limit)
    clock: Callable[[], float] = time

    @property
    def vault_id(self) -> bytes:
        """The vault's 16 random bytes."""
        return self.store.vault_id

    def slot(self, purpose: Purpose, room: int = 1) -> OpenKey:
        """A data key that takes `room` more records: one that is filling, or a fresh one."""
        filling = self.store.filling_key(purpose, self.custody.root_key(purpose), room)
        if filling is not None:
            return self.custody.open_wrapped(filling)
        # The number is taken first, so that no transaction waits for the HSM.
        return self.custody.new_data_key(self.store.allocate_data_key(), purpose)

    def alarm(self, words: str) -> None:
        """Tell whoever is on call."""
        _logger.critical("ALARM: %s", words)


def retry(change: Callable[[], T]) -> T:
    """Do a load-check-act-write again when another writer came first, or a data key filled up meanwhile."""
    for _ in range(_ATTEMPTS):
        try:
            return change()
        except DifferentKeyError:
            raise
        except (ConflictError, DataKeyFullError) as exc:
            last = exc
    msg = f"other writers came first {_ATTEMPTS} times; try again later ({last})"
    raise StoreError(msg)


def reseal(vault: Vault, before: Key, after: Key, share: Share) -> Key:
    """`after` with its records sealed into its changed row; the data keys stay.

    Every column a decision depends on is bound into every record, so a change of one reseals all. An offer that
    stands in `after` is a new one, which `stand` seals; one that stood in `before` no longer opens.
    """
    own = vault.custody.open_number(before.sealed.data_key, Purpose.SERVER)
    sealed = vault.custody.seal_share(after, share, own)
    claim = after.claim
    if claim is not None:
        device_share = vault.custody.open_claim(before)
        under = vault.custody.open_number(claim.data_key, Purpose.CLAIM)
        claim = vault.custody.seal_claim(after, device_share, under)
    return replace(after, sealed=sealed, claim=claim)


def stand(vault: Vault, key: Key, offer: StandingOffer, pending: Share) -> tuple[Key, WrappedKey | None]:
    """`key` with a standing offer beside it, and the fresh data key it is sealed under, if it took one."""
    under = vault.slot(Purpose.SERVER)
    sealed = vault.custody.seal_pending(key, offer, pending, under)
    return replace(key, offer=replace(offer, sealed=sealed)), under.wrapped if under.fresh else None
