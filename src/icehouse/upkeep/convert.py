"""Convert: a hierarchical vault becomes a hybrid one; keys, shares and devices stay as they are.

The old master still derives every key that it ever derived, until it is destroyed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.custody import Verb, allows, check_allowed
from icehouse.errors import ConflictError
from icehouse.model import NO_DATA_KEY, RECORDS_PER_DATA_KEY, Role, RootState
from icehouse.store.sweep import count_derived
from icehouse.upkeep.rewrap import RewrapPlan, flip, make_next
from icehouse.vault.move_records import sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.vault.vault import Vault

_ROLES = [Role.KEK, Role.CLAIM]
_SETTINGS = 2
"""The settings are sealed under the new root key, and the seal is read."""


def plan(vault: Vault) -> RewrapPlan:
    """What a conversion would cost now, in a process that keeps what it opened; raises `RequestError` as it does."""
    vault.follow()
    record = vault.store.record
    _check(vault)
    rows, claims, offers = count_derived(vault.store)
    data_keys = sum(-(-records // RECORDS_PER_DATA_KEY) for records in (rows + offers, claims))
    begun = not allows(vault.custody, Verb.CONVERT)
    nodes = min(rows, record.buckets) if record.buckets else rows
    operations = nodes + data_keys + (0 if begun else len(_ROLES) + _SETTINGS)
    rate = vault.custody.hsm.info.rate_limit
    return RewrapPlan(data_keys, 0 if begun else len(_ROLES), operations, operations / rate if rate else None)


def _check(vault: Vault) -> None:
    master = vault.store.record.newest(Role.MASTER)
    begun = vault.custody.is_converted and master is not None and master.state is not RootState.RETIRED
    if not begun:
        check_allowed(vault.custody, Verb.CONVERT)


def to_hybrid(vault: Vault, advance: Callable[[int], None] = lambda _: None) -> int:
    """Make `kek` and `claim`, flip to them, and seal every derived share; how many rows this call converted.

    Enrolment codes in force are void: they followed from the master. Killed anywhere, the same call finishes it.
    """
    vault.refresh()
    record = vault.store.record
    _check(vault)
    if allows(vault.custody, Verb.CONVERT):
        made = make_next(vault, record, _ROLES)
        try:
            flip(vault, record, made, custody=vault.custody.converts_to)
        except ConflictError:
            vault.refresh()  # another process flipped first, and this one helps it
    return sweep(vault, [NO_DATA_KEY], advance)
