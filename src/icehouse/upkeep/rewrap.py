"""Rewrap: the same shares under a new version of a root key, or in another HSM. No device is involved.

The current root key is flipped first, so that nothing new comes under the old one; then every data key is unwrapped,
wrapped, read back and compared, and only then written. Killed anywhere, the same call finishes the work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from icehouse._core import DataKey, same_secret
from icehouse.custody import Verb, check_allowed, check_settings, seal_settings
from icehouse.errors import ConflictError, HsmError, HsmRefusedError, RequestError
from icehouse.model import NO_DATA_KEY, Purpose, Role, RootKey, RootState
from icehouse.store import DataKeyGoneError, data_keys, root_keys
from icehouse.vault.root_keys import left_behind, make_root, next_root

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from icehouse.custody import Custody
    from icehouse.model import VaultRecord, WrappedKey
    from icehouse.vault.vault import Vault

from icehouse.vault.root_keys import check_room

OPERATIONS_PER_DATA_KEY = 3

"""Unwrap under the old root key, wrap under the new one, unwrap again to compare."""

SHARED_ROLES = (Role.KEK, Role.CLAIM)


@dataclass(frozen=True, slots=True)
class RewrapPlan:
    """What a rewrap will ask of the HSM; `seconds` at the rate that the HSM states, where it states one."""

    data_keys: int
    new_keys: int
    operations: int
    seconds: float | None


def unfinished(vault: Vault) -> list[RootKey]:
    """The superseded root keys that data keys are still under."""
    record = vault.store.reload()
    found = []
    with vault.store.database.read() as connection:
        for root in record.roots:
            if root.state is RootState.DRAINING and root.role in SHARED_ROLES:
                found += [root] if root_keys.count_under(connection, root.label) else []
    return found


def begin(vault: Vault) -> None:
    """Make new versions of the root keys and flip to them; a rewrap that was begun already is gone on with.

    Under direct custody the same write lets every user's own key drain.
    """
    vault.refresh()
    custody = _sealing(vault)
    if is_unfinished(vault):
        return
    record = vault.store.record
    roles = [role for role in SHARED_ROLES if record.current(role) is not None]
    owned = root_keys.user_roots(vault.store.database, RootState.CURRENT) if custody.users_own else []
    made = make_next(vault, record, roles, beside=[successor(root) for root in owned])
    try:
        flip(vault, record, made)
    except ConflictError:
        vault.refresh()  # another process flipped first, and this one helps it


def is_unfinished(vault: Vault) -> bool:
    """Whether data keys are still under superseded root keys."""
    return bool(unfinished(vault) or root_keys.draining_with_keys(vault.store.database, Role.USER))


def _sealing(vault: Vault) -> Custody:
    check_allowed(vault.custody, Verb.REWRAP)
    return vault.custody


def make_next(vault: Vault, record: VaultRecord, roles: list[Role], beside: Sequence[str] = ()) -> list[RootKey]:
    """New versions of these root keys, made in the HSM where new ones belong.

    Refused before anything is made where an HSM has no room, for these and for the keys to be made `beside` them.
    """
    left = check_next(vault, record, roles, beside)
    return [left.get(role) or make_root(vault, role) for role in roles]


def check_next(vault: Vault, record: VaultRecord, roles: list[Role], beside: Sequence[str] = ()) -> dict[Role, RootKey]:
    """Refuse HSMs without room for new versions; those that are there, left by a call that was killed."""
    roots = vault.custody.roots
    left = {role: root for role in roles if (root := left_behind(roots.home(role), record.newest(role)))}
    for hsm in roots.hsms:
        making = [role for role in roles if role not in left and roots.home(role) is hsm]
        labels = [next_root(vault, record, role).label for role in making]
        labels += beside if hsm is roots.main else ()
        if labels:
            check_room(hsm, labels)
    return left


def prove(vault: Vault, made: Sequence[RootKey]) -> None:
    """Raise `HsmError` unless the HSM wraps under these new root keys and opens what it wrapped."""
    custody = _sealing(vault)
    for root in made:
        purpose = Purpose.CLAIM if root.role is Role.CLAIM else Purpose.SERVER
        key = DataKey.random()
        if not same_secret(key, custody.unwrap(custody.wrap(NO_DATA_KEY, purpose, root.label, key))):
            msg = f"the HSM opened another key than it wrapped under {root.label!r}"
            raise HsmError(msg)


def successor(root: RootKey) -> str:
    """The label that the next version of a user's own key would have."""
    return f"{root.label.rpartition('-')[0]}-{root.version + 1}"


def flip(vault: Vault, before: VaultRecord, made: list[RootKey], custody: str | None = None) -> None:
    """Let the keys that were made be the current ones, and those they replace drain."""
    labels, roles = {root.label for root in made}, {root.role for root in made}
    if custody is not None:
        roles.add(Role.MASTER)
    kept = [
        replace(root, state=RootState.DRAINING) if root.role in roles and root.state is RootState.CURRENT else root
        for root in before.roots
        if root.label not in labels
    ]
    after = replace(
        before,
        custody=custody or before.custody,
        roots=(*kept, *(replace(root, state=RootState.CURRENT) for root in made)),
    )
    # They may have been changed since they were looked at, and the new seal must not vouch for that.
    check_settings(before, vault.custody.roots)
    vault.custody.roots.check_vouched()
    sealed = replace(after, seal=seal_settings(after, vault.custody.roots))
    root_keys.flip(vault.store.database, before, sealed)
    vault.refresh()


def drain(vault: Vault, advance: Callable[[int], None] = lambda _: None) -> int:
    """Rewrap every data key that is under a superseded root key; how many this call moved."""
    moved, left = 0, unfinished(vault)
    vault.follow()  # nothing goes to what the database alone calls current
    for root in left:
        while pending := list(data_keys.keys_under(vault.store.database, root.label)):
            for wrapped in pending:
                moved += rewrapped(vault, wrapped, root)
                advance(1)
    return moved


def rewrapped(vault: Vault, wrapped: WrappedKey, root: RootKey) -> bool:
    """Rewrap one data key that is under a superseded root key; whether this call moved it."""
    current = vault.store.record.current(root.role)
    if current is None:
        msg = f"the vault has no current {root.role} key to rewrap under"
        raise RequestError(msg)
    try:
        data_keys.rewrapped(vault.store.database, wrapped, moved_key(vault, wrapped, current.label))
    except ConflictError:
        return False  # another process rewrapped it first, and the list is read again
    except HsmRefusedError:
        if not is_overtaken(vault, wrapped):
            raise
        return False  # the same, and it was trimmed, too
    return True


def rewrapped_together(vault: Vault, wrapped: Sequence[WrappedKey], root: RootKey) -> None:
    """Rewrap data keys that are under one superseded root key, and write them at once.

    Raises `ConflictError`, `HsmRefusedError` or `SealError` where one of them cannot be moved; then none is.
    """
    current = vault.store.record.current(root.role)
    if current is not None:
        pairs = [(one, moved_key(vault, one, current.label)) for one in wrapped]
        data_keys.rewrapped_all(vault.store.database, pairs)


def is_overtaken(vault: Vault, wrapped: WrappedKey) -> bool:
    """Whether a data key is not under its root key any more, or no more at all."""
    try:
        return vault.store.wrapped_key(wrapped.number) != wrapped
    except DataKeyGoneError:
        return True


def moved_key(vault: Vault, wrapped: WrappedKey, root_key: str) -> WrappedKey:
    """A data key under another root key, read back and compared. Three HSM operations."""
    custody = _sealing(vault)
    key = custody.unwrap(wrapped)
    fresh = custody.wrap(wrapped.number, wrapped.purpose, root_key, key)
    if not same_secret(key, custody.unwrap(fresh)):
        msg = f"data key {wrapped.number} read back under {root_key!r} is another key: nothing was changed"
        raise HsmError(msg)
    return fresh


def plan(vault: Vault) -> RewrapPlan:
    """What a rewrap would cost now."""
    record, database = vault.store.reload(), vault.store.database
    left = [root.label for root in unfinished(vault)]
    current = [root.label for role in SHARED_ROLES if (root := record.current(role)) is not None]
    users = root_keys.draining_with_keys(database, Role.USER)
    whose = users or root_keys.user_roots(database, RootState.CURRENT)
    with database.read() as connection:
        count = sum(root_keys.count_under(connection, label) for label in left or current)
        count += root_keys.count_under_role(connection, Role.USER, RootState.DRAINING if users else RootState.CURRENT)
    new_keys = (0 if left else len(current)) + len(whose)
    operations = OPERATIONS_PER_DATA_KEY * count + new_keys
    rate = vault.custody.hsm.info.rate_limit
    return RewrapPlan(count, new_keys, operations, operations / rate if rate else None)
