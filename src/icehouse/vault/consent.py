"""Consent: what may be destroyed inside an HSM, what must be kept and why, and whether somebody named it all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icehouse.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from icehouse.hsm import KeyKind

_OWN = re.compile(r"icehouse-u-([0-9a-f]{32})(?:-software)?-[1-9][0-9]*")
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Doomed:
    """A key inside an HSM that is about to be destroyed, and what it still opens, in words."""

    label: str
    kind: KeyKind
    opens: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A key that is not destroyed although the database calls it left over, and why; `changed`: its row is a lie."""

    label: str
    why: str
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """What was proposed, parted. `there`: every label of icehouse's that the HSMs hold."""

    doomed: tuple[Doomed, ...] = ()
    kept: tuple[Kept, ...] = ()
    there: frozenset[str] = frozenset()


def key_id_in(label: str) -> str:
    """The key id in the label of a user's own key, in hexadecimal digits."""
    match = _OWN.fullmatch(label)
    return "" if match is None else match[1]


def check_consent(judged: Judged, consent: Collection[str]) -> None:
    """Raise `RequestError` unless someone consented to every label that would be destroyed, and to no other."""
    for kept in judged.kept:
        if kept.label in consent:
            msg = f"the key {kept.label!r} is not to be destroyed: {kept.why}"
            raise RequestError(msg, hint="nothing in an HSM was destroyed")
    doomed = [one.label for one in judged.doomed]
    for label in consent:
        if label in judged.there and label not in doomed:
            msg = f"the key {label!r} is not among those that this would destroy"
            raise RequestError(msg, hint="nothing in an HSM was destroyed")
    missing = [label for label in doomed if label not in consent]
    if missing:
        msg = f"nobody consented to the destruction of {named(missing)} inside the HSM"
        raise RequestError(msg, hint="no backup of the database brings them back: consent to each label, or to none")


def named(labels: Sequence[str]) -> str:
    """The first few labels, and how many more there are."""
    more = f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
    return ", ".join(labels[:_NAMED]) + more
