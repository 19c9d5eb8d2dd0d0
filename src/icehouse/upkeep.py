"""What keeps a vault in shape over the years: rewrap, reseal, trim, convert. No device takes part in any of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.ceremonies import convert, reseal, rewrap, rewrap_users, trim
from icehouse.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from icehouse.ceremonies.reseal import Resealing
    from icehouse.ceremonies.rewrap import RewrapPlan
    from icehouse.ceremonies.trim import Trimmed
    from icehouse.ceremonies.vault import Vault


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

        Raises `RequestError` for a hierarchical vault, `HsmRefusedError` where the HSM has no room.
        """
        direct = self._vault.custody.name == "direct"
        if direct:
            rewrap_users.begin_users(self._vault)
        rewrap.begin(self._vault)
        moved = rewrap.drain(self._vault, advance)
        return moved + (rewrap_users.drain_users(self._vault, advance) if direct else 0)

    def is_rewrapping(self) -> bool:
        """Whether a rewrap was begun and not finished."""
        return bool(rewrap.unfinished(self._vault) or rewrap_users.unfinished_users(self._vault))

    def convert_to_hybrid(self, advance: Callable[[int], None] = _silent) -> int:
        """Seal every share that a hierarchical vault derives; how many keys were converted. Devices notice nothing."""
        return convert.to_hybrid(self._vault, advance)

    def reseal(self, data_keys: Sequence[int] | None = None, advance: Callable[[int], None] = _silent) -> Resealing:
        """Move every record under these data keys, or under all, to fresh ones."""
        if data_keys is not None and not data_keys:
            msg = "name at least one data key"
            raise RequestError(msg)
        return reseal.reseal_under(self._vault, None if data_keys is None else list(data_keys), advance)

    def trim(self, *, void_backups: bool = False) -> Trimmed:
        """Destroy empty data keys; with `void_backups`, also the root keys that nothing is under any more."""
        return trim.trim(self._vault, void_backups=void_backups)
