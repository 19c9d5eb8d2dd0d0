"""A vault as the ceremonies see it: one store, one custody, and the rules of this process."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from time import time
from typing import TYPE_CHECKING, TypeVar

from icehouse.ceremonies.limit import Limit
from icehouse.ceremonies.new_roots import stand_in
from icehouse.custody import NOTHING_TO_OPEN
from icehouse.errors import (
    ConflictError,
    HsmRefusedError,
    HsmUnavailableError,
    RequestError,
    SealError,
    StoreError,
)
from icehouse.hsm._fork import ForkSafeLock
from icehouse.model import (
    DEALER,
    NO_DATA_KEY,
    RECORDS_PER_DATA_KEY,
    SOFTWARE,
    Purpose,
    StaleRootsError,
    State,
)
from icehouse.store import DataKeyFullError, DataKeyGoneError
from icehouse.store.data_keys import filling_key
from icehouse.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from icehouse._core import Share
    from icehouse.custody import Custody, OpenKey
    from icehouse.model import Key, StandingOffer, VaultRecord, WrappedKey
    from icehouse.store import VaultStore

T = TypeVar("T")
_ATTEMPTS = 16
_REFRESHES = 2
_MOST_DAYS = 3650
DAY = 86400
"""Seconds."""
_logger = logging.getLogger("icehouse")


class OvertakenError(StoreError):
    """Other writers came first, too often."""


class DifferentKeyError(ConflictError):
    """The user has a key of another kind already; to load it again would change nothing."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """The vault's policy: how many days after its last rotation a key is due again; 0 for never.

    A key is due up to `spread` days earlier, so that those made on one day do not all come on one day. One that has
    been due for longer than `grace` days is overdue, and suspended after `suspend` days; 0 for never.
    """

    every: int = 0
    spread: int = 0
    grace: int = 14
    suspend: int = 0

    def __post_init__(self) -> None:
        if self.every > _MOST_DAYS or self.suspend > _MOST_DAYS or self.grace > _MOST_DAYS:
            msg = f"the days of the policy of rotation must be at most {_MOST_DAYS}"
            raise RequestError(msg)
        if self.every and self.spread >= self.every:
            msg = f"rotation.spread_days must be less than rotation.every_days ({self.every}), not {self.spread}"
            raise RequestError(msg)

    def after(self, day: int, row: int) -> int:
        """The day from which a key that was rotated on a day is due again."""
        if not self.every:
            return 0
        return day + self.every - row % (self.spread + 1)


@dataclass(slots=True)
class Vault:
    """One database, the custody over it, and what this process was told.

    `custody_of` checks settings against the HSM and makes the custody that they name.
    """

    store: VaultStore
    custody_of: Callable[[VaultRecord], Custody]
    offer_seconds: int = 900
    origin: str = DEALER
    limit: Limit = field(default_factory=Limit)
    guessed: Watch = field(default_factory=Watch)
    """Alarms that anybody can raise who knows a key's id."""
    ahead: Watch = field(default_factory=Watch)
    """Alarms that only a key's own device can raise: no stranger's flood hides them."""
    unserved: Watch = field(default_factory=Watch)
    """Errors that anybody meets who names a key that is not served."""
    clock: Callable[[], float] = time
    rotation: Rotation = Rotation()
    custody: Custody = field(init=False)
    _followed: VaultRecord = field(init=False)
    """The settings that `custody` was made from."""
    _turn: ForkSafeLock = field(default_factory=ForkSafeLock, init=False)

    def __post_init__(self) -> None:
        self._followed = self.store.record
        self.custody = self.custody_of(self._followed)

    @property
    def vault_id(self) -> bytes:
        """The vault's 16 random bytes."""
        return self.store.vault_id

    @property
    def today(self) -> int:
        """The day since 1970."""
        return int(self.clock() // DAY)

    def is_due(self, key: Key) -> bool:
        """Whether a rotation is due."""
        return 0 < key.due <= self.today

    def next_rotation(self, row: int) -> int:
        """The day from which a key that is rotated today is due again; 0 where the vault has no such policy."""
        return self.rotation.after(self.today, row)

    def refresh(self) -> None:
        """Go on under the settings that the database holds now, once the HSM says that it saw them."""
        # One thread after the other: none goes back to settings that it read before another read newer ones.
        with self._turn:
            record = self.store.reload()
            self.custody = self.custody_of(record)
            self._followed = record

    def follow(self) -> bool:
        """Go on under other settings than before; false where the database holds the same ones still."""
        if self.store.reload() == self._followed:
            return False
        self.refresh()
        return True

    def birth(self, *, software: bool) -> tuple[str, bool]:
        """What a key made now says of itself for ever: its origin, and whether an HSM vouches for it."""
        return (SOFTWARE, False) if software else (self.origin, self.custody.hsm.info.attested)

    def slot(
        self,
        purpose: Purpose,
        room: int = 1,
        key: Key | None = None,
        *,
        software: bool | None = None,
        numbers: Iterator[int] | None = None,
    ) -> OpenKey:
        """A data key that takes `room` more records: one that is filling, or a fresh one.

        `software`: under the module that stands in for the HSM; not given, as it is for the key now.
        `numbers`: where a fresh one's number comes from; not given, from the vault's counter.
        """
        if software is None:
            software = self.custody.in_software(key)
        if software:
            stand_in(self)
        root = self.custody.root_key(purpose, key, software=software)
        if root is None:
            return NOTHING_TO_OPEN
        # A whole page is not looked for a place: nothing leaves a data key with so much room.
        filling = filling_key(self.store.database, purpose, root, room) if room < RECORDS_PER_DATA_KEY else None
        if filling is not None:
            return self.custody.open_wrapped(filling)
        # The number is taken first, so that no transaction waits for the HSM.
        number = self.store.allocate_data_keys(1) if numbers is None else next(numbers)
        return self.custody.new_data_key(number, purpose, root)

    def under(self, number: int, purpose: Purpose, key: Key) -> OpenKey:
        """The data key that a record stays under; another one where it had none."""
        return self.slot(purpose, key=key) if number == NO_DATA_KEY else self.custody.open_number(number, purpose)

    @staticmethod
    def alarm(watch: Watch, key: Key, words: str) -> None:
        """Tell whoever is on call, unless the log has enough of it."""
        held = watch.admit(key.id)
        if held is not None:
            _logger.critical("ALARM: %s%s", words, held)


def retry(vault: Vault, change: Callable[[], T]) -> T:
    """Do a load-check-act-write again when another writer came first, or a data key filled up meanwhile.

    Where another process moved the vault to other root keys, its settings are read again first.
    """
    mending = _Mending(vault)
    last: Exception | None = None
    for _ in range(_ATTEMPTS):
        try:
            return change()
        except DifferentKeyError:
            raise
        except (StaleRootsError, DataKeyGoneError, HsmRefusedError, HsmUnavailableError) as exc:
            mending.mend(exc)
            last = exc
        except (ConflictError, DataKeyFullError) as exc:
            last = exc
    msg = f"other writers came first {_ATTEMPTS} times; try again later ({last})"
    raise OvertakenError(msg)


class _Mending:
    """What one change met that another process may have caused; what nobody caused is raised again."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._refreshes = 0
        self._met: set[type[Exception]] = set()

    def mend(self, met: Exception) -> None:
        """Read anew what may have changed."""
        if isinstance(met, StaleRootsError):
            self._stale(met)
        elif isinstance(met, HsmUnavailableError):
            # The HSM that this process knew may have been switched off since the vault moved to another one.
            if not self._vault.follow():
                raise met
        elif type(met) in self._met:
            raise met  # the row read anew names the same data key; the settings read anew, the same root key
        elif isinstance(met, HsmRefusedError):
            # The root key that this process knew may have been destroyed since another one took over from it.
            self._vault.refresh()
        self._met.add(type(met))

    def _stale(self, met: StaleRootsError) -> None:
        known = self._vault.store.record
        self._vault.refresh()
        # Settings that changed explain it, however often; the same ones only where a thread read them meanwhile.
        self._refreshes += self._vault.store.record == known
        if self._refreshes > _REFRESHES:
            msg = "a row was written for another custody than the vault's settings name"
            raise SealError(msg) from met


def work_on(vault: Vault, key: Key, work: Callable[[Key], object]) -> None:
    """Work on a row; where another process moved it since it was read, on the row as it is now."""
    rows = iter([key])
    retry(vault, lambda: work(next(rows, None) or vault.store.key_of(key.user) or key))


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
    stands in `after` is a new one, which `stand` seals; one that stood in `before` no longer opens.
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


def stand(vault: Vault, changed: Resealed, offer: StandingOffer, pending: Share) -> Resealed:
    """A row with a standing offer beside it."""
    under = vault.slot(Purpose.SERVER, key=changed.key)
    sealed = vault.custody.seal_pending(changed.key, offer, pending, under)
    key = replace(changed.key, offer=replace(offer, sealed=sealed))
    return Resealed(key, changed.fresh + tuple(key for key in fresh_of(under) if key not in changed.fresh))
