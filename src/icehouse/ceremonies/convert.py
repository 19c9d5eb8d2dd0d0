"""Convert: a hierarchical vault becomes a hybrid one; keys, shares and devices stay as they are.

The old master still derives every key that it ever derived, until it is destroyed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.ceremonies.moving import sweep
from icehouse.ceremonies.rewrap import flip, make_next
from icehouse.errors import ConflictError, RequestError
from icehouse.model import NO_DATA_KEY, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.ceremonies.vault import Vault


def to_hybrid(vault: Vault, advance: Callable[[int], None] = lambda _: None) -> int:
    """Make `kek` and `claim`, flip to them, and seal every derived share; how many rows this call converted.

    Enrolment codes in force are void: they followed from the master. Killed anywhere, the same call finishes it.
    """
    vault.refresh()
    record = vault.store.record
    if record.custody == "hierarchical":
        made = make_next(vault, record, [Role.KEK, Role.CLAIM])
        try:
            flip(vault, record, made, custody="hybrid")
        except ConflictError:
            vault.refresh()  # another process flipped first, and this one helps it
    elif record.custody != "hybrid" or record.newest(Role.MASTER) is None:
        msg = f"only a hierarchical vault is converted to hybrid, and this one's custody is {record.custody}"
        raise RequestError(msg)
    return sweep(vault, [NO_DATA_KEY], advance)
