"""Whether a custody knows what to do with a verb."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.errors import RequestError

if TYPE_CHECKING:
    from icehouse.custody.custody import Custody
    from icehouse.custody.refusal import Verb


def allows(custody: Custody | type[Custody], verb: Verb) -> bool:
    """Whether a custody knows what to do with a verb."""
    return verb not in custody.refuses


def check_allowed(custody: Custody | type[Custody], verb: Verb) -> None:
    """Raise `RequestError` in the custody's own words where it refuses a verb."""
    refusal = custody.refuses.get(verb)
    if refusal is not None:
        raise RequestError(refusal.why.format(name=custody.name), hint=refusal.hint)
