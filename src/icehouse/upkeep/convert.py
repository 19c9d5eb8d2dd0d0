"""Convert: a hierarchical vault becomes a hybrid one; keys, shares and devices stay as they are.

The old master still derives every key that it ever derived, until it is destroyed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.errors import ConflictError, RequestError
from icehouse.model import NO_DATA_KEY, RECORDS_PER_DATA_KEY, Role, RootState
from icehouse.store.sweep import count_derived
from icehouse.upkeep.rewrap import RewrapPlan, flip, make_next
from icehouse.vault.move_records import sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.model import VaultRecord
    from icehouse.vault.vault import Vault

_ROLES = [Role.KEK, Role.CLAIM]
_SETTINGS = 2
"""The settings are sealed under the new root key, and the seal is read."""


def plan(vault: Vault) -> RewrapPlan:
    """What a conversion would cost now, in a process that keeps what it opened; raises `RequestError` as it does."""
    record = vault.store.reload()
    _check(record)
    rows, claims, offers = count_derived(vault.store)
    data_keys = sum(-(-records // RECORDS_PER_DATA_KEY) for records in (rows + offers, claims))
    begun = record.custody == "hybrid"
    nodes = min(rows, record.buckets) if record.buckets else rows
    operations = nodes + data_keys + (0 if begun else len(_ROLES) + _SETTINGS)
    rate = vault.custody.hsm.info.rate_limit
    return RewrapPlan(data_keys, 0 if begun else len(_ROLES), operations, operations / rate if rate else None)


def _check(record: VaultRecord) -> None:
    master = record.newest(Role.MASTER)
    begun = record.custody == "hybrid" and master is not None and master.state is not RootState.RETIRED
    if record.custody != "hierarchical" and not begun:
        msg = f"only a hierarchical vault is converted to hybrid, and this one's custody is {record.custody}"
        raise RequestError(msg)


def to_hybrid(vault: Vault, advance: Callable[[int], None] = lambda _: None) -> int:
    """Make `kek` and `claim`, flip to them, and seal every derived share; how many rows this call converted.

    Enrolment codes in force are void: they followed from the master. Killed anywhere, the same call finishes it.
    """
    vault.refresh()
    record = vault.store.record
    _check(record)
    if record.custody == "hierarchical":
        made = make_next(vault, record, _ROLES)
        try:
            flip(vault, record, made, custody="hybrid")
        except ConflictError:
            vault.refresh()  # another process flipped first, and this one helps it
    return sweep(vault, [NO_DATA_KEY], advance)
