"""What keeps a vault in shape over the years: rewrap, reseal, trim, convert. No device takes part in any of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse import arguments
from icehouse.errors import RequestError, SealError
from icehouse.model import State
from icehouse.upkeep import convert, orphans, promote, reseal, rewrap, rewrap_users, trim
from icehouse.users import destroy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from icehouse.upkeep.reseal import Resealing
    from icehouse.upkeep.rewrap import RewrapPlan
    from icehouse.upkeep.trim import Trimmed
    from icehouse.users.destroy import Removal
    from icehouse.vault.consent import Judged
    from icehouse.vault.vault import Vault


def _silent(_: int) -> None:
    """Nobody watches."""


class Upkeep:
    """A vault's upkeep. Every verb can be killed anywhere and called again; `advance` counts what was done."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def plan_rewrap(self) -> RewrapPlan:
        """What `rewrap` would ask of the HSM now. Changes nothing."""
        return rewrap.plan(self._vault)

    def rewrap(self, advance: Callable[[int], None] = _silent) -> int:
        """Bring every data key under new versions of the root keys, in the HSM where new ones are made; how many moved.

        Where keys were made in software because the HSM was away, these are promoted instead, and counted; the next
        call makes new versions again.

        Raises `RequestError` for a hierarchical vault, `HsmRefusedError` where the HSM has no room.
        """
        arguments.function(advance, "advance")
        if self.promotable:
            return promote.promote(self._vault, advance)
        rewrap.begin(self._vault)
        return rewrap.drain(self._vault, advance) + rewrap_users.drain_users(self._vault, advance)

    @property
    def promotable(self) -> bool:
        """Whether keys, or root keys, are in the software module that stood in for the HSM; `rewrap` promotes them."""
        return promote.is_promotable(self._vault)

    def in_software(self) -> int:
        """How many records are under the software module that stood in for the HSM."""
        return promote.count(self._vault)

    def is_rewrapping(self) -> bool:
        """Whether a rewrap was begun and not finished."""
        return rewrap.is_unfinished(self._vault)

    def convert_to_hybrid(self, advance: Callable[[int], None] = _silent) -> int:
        """Seal every share that a hierarchical vault derives; how many keys were converted. Devices notice nothing."""
        arguments.function(advance, "advance")
        return convert.to_hybrid(self._vault, advance)

    def plan_conversion(self) -> RewrapPlan:
        """What `convert_to_hybrid` would ask of the HSM now. Changes nothing."""
        return convert.plan(self._vault)

    def begin_reseal(self, data_keys: Sequence[int]) -> Resealing:
        """Close these data keys, and name whom they expose: to be kept before `reseal` moves the records."""
        return reseal.begin(self._vault, arguments.numbers(data_keys, "data_keys"))

    def reseal(self, data_keys: Sequence[int] | None = None, advance: Callable[[int], None] = _silent) -> Resealing:
        """Move every record under these data keys, or under all, to fresh ones."""
        arguments.function(advance, "advance")
        numbers = None if data_keys is None else arguments.numbers(data_keys, "data_keys")
        if numbers == []:
            msg = "name at least one data key"
            raise RequestError(msg)
        return reseal.reseal_under(self._vault, numbers, advance)

    def ready_keys(self, advance: Callable[[int], None] = _silent) -> Judged:
        """The root keys that `trim(void_backups=True)` would destroy in the HSM, what each still opens, what is kept.

        It opens every record, and changes nothing.
        """
        arguments.function(advance, "advance")
        return trim.ready_keys(self._vault, advance)

    def trim(self, *, void_backups: bool = False, consent: Collection[str] = ()) -> Trimmed:
        """Destroy empty data keys; with `void_backups`, also the root keys that nothing is under any more.

        `consent`: the labels of all of these, as `ready_keys` tells them. Raises `RequestError` where one is missing,
        or must be kept; then nothing was destroyed.
        """
        void, named = arguments.flag(void_backups, "void_backups"), arguments.texts(consent, "consent")
        return trim.trim(self._vault, void_backups=void, consent=named)

    def removals(self) -> Iterator[Removal]:
        """How far the destruction of every user who was removed has come; rows that contradict themselves are none."""
        rows = (key for key in self._vault.store.readings() if not isinstance(key, SealError))
        tombstones = (key for key in rows if key.state is State.DESTROYED)
        return (destroy.status(self._vault, key) for key in tombstones)

    def orphans(self) -> list[tuple[str, bool]]:
        """Keys in the vault's HSMs that its database calls left over or does not name, and whether it names each.

        Those that it does not name are another vault's. One that it names may be one that is being made just now.
        """
        return orphans.orphans(self._vault)

    def judged_orphans(self, advance: Callable[[int], None] = _silent) -> Judged:
        """The orphans that `remove_orphans` would destroy, and those that it keeps although the database names them.

        It opens every record where there are any, and changes nothing.
        """
        arguments.function(advance, "advance")
        return orphans.judged_orphans(self._vault, advance)

    def remove_orphans(self, consent: Collection[str] = ()) -> list[str]:
        """Destroy the orphans that this vault made; their labels. Another vault's are never touched.

        `consent`: the labels of all of these, as `judged_orphans` tells them. Raises `RequestError` where one is
        missing, or must be kept; then nothing was destroyed.
        """
        return orphans.remove_orphans(self._vault, arguments.texts(consent, "consent"))
