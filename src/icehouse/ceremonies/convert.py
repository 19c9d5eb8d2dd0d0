"""Convert: a hierarchical vault becomes a hybrid one; keys, shares and devices stay as they are.

The old master still derives every key that it ever derived, until it is destroyed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.ceremonies.moving import sweep
from icehouse.ceremonies.rewrap import check_room, flip, make_next
from icehouse.errors import RequestError
from icehouse.model import NO_DATA_KEY, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.ceremonies.vault import Vault


def to_hybrid(vault: Vault, advance: Callable[[int], None] = lambda _: None) -> int:
    """Make `kek` and `claim`, flip to them, and seal every derived share; how many rows this call converted.

    Enrolment codes in force are void: they followed from the master. Killed anywhere, the same call finishes it.
    """
    record = vault.store.reload()
    if record.custody == "hierarchical":
        roles = [Role.KEK, Role.CLAIM]
        check_room(vault.custody.roots.main, len(roles))
        flip(vault, record, make_next(vault, record, roles), custody="hybrid")
    elif record.custody != "hybrid" or record.newest(Role.MASTER) is None:
        msg = f"only a hierarchical vault is converted to hybrid, and this one's custody is {record.custody}"
        raise RequestError(msg)
    else:
        vault.refresh()
    return sweep(vault, [NO_DATA_KEY], advance)
