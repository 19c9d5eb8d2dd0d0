"""Reseal: the same shares under fresh data keys, so that a data key that leaked opens nothing that is still in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from icehouse.ceremonies.moving import retire, sweep
from icehouse.errors import RequestError
from icehouse.model import State
from icehouse.store import data_keys
from icehouse.store.sweep import keys_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.ceremonies.vault import Vault

_ALL = 1 << 31
_CHUNK = 500
"""Data keys named in one look-up: databases bound how many values a statement takes."""


@dataclass(frozen=True, slots=True)
class Resealing:
    """What a reseal moved, and whom it leaves exposed where the data keys had leaked.

    `rotate`: users whose server share was under them; a rotation makes it worthless. `replace`: users whose unclaimed
    device share was under them; only a new key helps.
    """

    moved: int
    rotate: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()


def exposed(vault: Vault, numbers: list[int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The users to rotate and the users to replace, had these data keys leaked."""
    rows = keys_with(vault.store, numbers, _ALL)
    leaked = set(numbers)
    replace = [key.user for key in rows if key.claim is not None and key.claim.data_key in leaked]
    rotate = [key.user for key in rows if key.state is not State.DEALT and key.slots().keys() & leaked]
    return tuple(rotate), tuple(replace)


def reseal_under(
    vault: Vault, numbers: list[int] | None = None, advance: Callable[[int], None] = lambda _: None
) -> Resealing:
    """Move every record under these data keys, or under all there are now, to fresh ones.

    `trim` destroys the old ones afterwards. Enrolment codes of claim records that moved are void.
    """
    counts = {row.number: row for row in data_keys.counts(vault.store.database)}
    everything = numbers is None
    if numbers is None:
        numbers = [row.number for row in counts.values() if row.state != "gone"]
    unknown = sorted(set(numbers) - counts.keys())
    if unknown:
        msg = f"there is no data key {', '.join(map(str, unknown))}"
        raise RequestError(msg)
    if vault.store.record.custody == "hierarchical":
        msg = "a hierarchical vault seals nothing, so there is nothing to reseal"
        raise RequestError(msg)
    rotate, replace = ((), ()) if everything else exposed(vault, numbers)
    retire(vault, numbers)
    moved = sum(sweep(vault, numbers[at : at + _CHUNK], advance) for at in range(0, len(numbers), _CHUNK))
    return Resealing(moved, rotate, replace)
