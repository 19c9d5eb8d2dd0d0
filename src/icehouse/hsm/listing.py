"""Lists of keys that are long or break off, one label among many, and keys that no label names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from icehouse.errors import HsmRefusedError, HsmUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from icehouse.hsm.protocol import Hsm, HsmKey


class GoneError(HsmRefusedError):
    """A key is about to be destroyed, and until then it can be brought back: the hint says how."""


class PartlyListedError(HsmUnavailableError):
    """A list of keys broke off. `.keys` are those that came before; the next call goes on from there."""

    def __init__(self, keys: Sequence[HsmKey], cause: HsmUnavailableError) -> None:
        super().__init__(f"{len(keys)} keys were listed, and no more: {cause}", hint=cause.hint)
        self.keys = list(keys)


class Leftover(NamedTuple):
    """A key that icehouse made and that no label names: an interrupted creation left it, or its name was taken off."""

    name: str
    """As the service names it."""
    label: str
    """What it was made for."""
    made: datetime | None
    mend: str
    """How it is destroyed, and how it gets its name back."""


@runtime_checkable
class FindsLabels(Protocol):
    """An `Hsm` that looks for one label without listing the others."""

    def find(self, label: str) -> HsmKey | None:
        """The key of exactly this label; None where there is none. One HSM operation. Raises `GoneError`."""


@runtime_checkable
class TellsLeftovers(Protocol):
    """An `Hsm` in which a key may come to have no label."""

    def leftovers(self) -> Iterator[Leftover]:
        """The keys that icehouse made and no label names, as they are found. What goes wrong is raised in between."""


def labelled(hsm: Hsm, label: str) -> HsmKey | None:
    """The key of exactly this label; None where there is none. One HSM operation."""
    try:
        return sought(hsm, label)
    except GoneError:
        return None


def sought(hsm: Hsm, label: str) -> HsmKey | None:
    """As `labelled`; raises `GoneError` for a key that is about to be destroyed, where the module tells."""
    if isinstance(hsm, FindsLabels):
        return hsm.find(label)
    return next((key for key in hsm.keys(label) if key.label == label), None)
