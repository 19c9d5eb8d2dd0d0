"""Reseal: the same shares under fresh data keys, so that a data key that leaked opens nothing that is still in use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from icehouse.custody import Verb, check_allowed
from icehouse.errors import RequestError
from icehouse.model import State
from icehouse.store import data_keys
from icehouse.store.sweep import keys_with
from icehouse.vault.move_records import retire, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from icehouse.vault.vault import Vault

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
    """The users to rotate and the users to replace, had these data keys leaked.

    To be asked before their records are moved: afterwards nothing tells who was under them.
    """
    leaked = set(numbers)
    found = (row for chunk in _chunks(numbers) for row in keys_with(vault.store, chunk, _ALL))
    rows = sorted({row.id: row for row in found}.values(), key=lambda row: row.id)
    replace = [key.user for key in rows if key.claim is not None and key.claim.data_key in leaked]
    rotate = [key.user for key in rows if key.state is not State.DEALT and key.slots().keys() & leaked]
    return tuple(rotate), tuple(replace)


def begin(vault: Vault, numbers: list[int]) -> Resealing:
    """Let these data keys take no more records, and name whom they expose while their records still tell.

    A call that is killed halfway leaves fewer to name, so the names are to be kept before `reseal_under` begins.
    """
    vault.follow()
    check_allowed(vault.custody, Verb.RESEAL)
    unknown = sorted(set(numbers) - {row.number for row in data_keys.counts(vault.store.database)})
    if unknown:
        msg = f"there is no data key {', '.join(map(str, unknown))}"
        raise RequestError(msg)
    retire(vault, numbers)
    return Resealing(0, *exposed(vault, numbers))


def reseal_under(
    vault: Vault, numbers: list[int] | None = None, advance: Callable[[int], None] = lambda _: None
) -> Resealing:
    """Move every record under these data keys, or under all there are now, to fresh ones.

    `trim` destroys the old ones afterwards. Enrolment codes of claim records that moved are void.
    """
    vault.follow()
    check_allowed(vault.custody, Verb.RESEAL)
    leaked = Resealing(0)
    if numbers is None:
        numbers = [row.number for row in data_keys.counts(vault.store.database) if row.state != "gone"]
        retire(vault, numbers)
    else:
        leaked = begin(vault, numbers)
    return replace(leaked, moved=sweep(vault, frozenset(numbers), advance))


def _chunks(numbers: list[int]) -> Iterator[list[int]]:
    return (numbers[at : at + _CHUNK] for at in range(0, len(numbers), _CHUNK))
