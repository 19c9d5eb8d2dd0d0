"""The custodies by name: those of icehouse in a table, any other as `module:Class`."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from typing import cast

from icehouse import arguments
from icehouse.custody.custody import Custody
from icehouse.errors import RequestError

KINDS = {
    "hybrid": "icehouse.custody.hybrid:HybridCustody",
    "hierarchical": "icehouse.custody.hierarchical:HierarchicalCustody",
    "direct": "icehouse.custody.direct:DirectCustody",
}
"""The custodies of icehouse."""
_OF_A_VAULT = {"roots", "hsm", "is_converted"}
_NEEDED = {name for name in (*dir(Custody), *Custody.__annotations__) if not name.startswith("_")} - _OF_A_VAULT
"""What the class of a custody has."""
_PLACE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def is_ours(custody: str) -> bool:
    """Whether this is one of icehouse's own custodies, which need no import that someone else names."""
    return custody in KINDS


def custody_class(custody: str) -> type[Custody]:
    """The class of a custody, a name of the table or `module:Class`; or `RequestError`.

    It imports the module, so the text must come from the caller or from settings that the HSM has vouched for.
    """
    return _class(arguments.text(custody, "custody"))


@cache
def _class(custody: str) -> type[Custody]:
    place = KINDS.get(custody, custody)
    if not _PLACE.fullmatch(place):
        msg = f"custody must be one of {', '.join(KINDS)}, not {custody!r}"
        raise RequestError(msg)
    module, _, name = place.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as exc:
        msg = f"the custody {custody!r} cannot be imported: {exc}"
        raise RequestError(
            msg, hint="install the package that it is in, here and wherever the vault is opened"
        ) from exc
    if getattr(found, "name", None) != custody:
        msg = f"the custody {custody!r} must have its own place as its name, not {getattr(found, 'name', None)!r}"
        raise RequestError(msg)
    missing = sorted(name for name in _NEEDED if not hasattr(found, name))
    if missing:
        msg = f"the custody {custody!r} lacks {', '.join(missing)}"
        raise RequestError(msg)
    return cast("type[Custody]", found)
