"""A vault as the ceremonies see it: one store, one custody, and the rules of this process."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from time import time
from typing import TYPE_CHECKING

from icehouse.custody import NOTHING_TO_OPEN
from icehouse.hsm.fork import ForkSafeLock
from icehouse.model import DEALER, NO_DATA_KEY, RECORDS_PER_DATA_KEY, SOFTWARE, Purpose
from icehouse.store.data_keys import filling_key
from icehouse.vault.limit import Limit
from icehouse.vault.root_keys import stand_in
from icehouse.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from icehouse.custody import Custody, OpenKey
    from icehouse.model import Key, VaultRecord
    from icehouse.store import VaultStore

from icehouse.vault.rotation_policy import DAY, Rotation

_logger = logging.getLogger("icehouse")


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
    rotation: Rotation = field(default_factory=Rotation)
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
