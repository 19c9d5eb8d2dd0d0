"""Promote: keys that were made in software, because the HSM was away, come under it.

The shares stay, under fresh data keys, and a rotation becomes due at once: only that makes worthless what the software
module kept. Origin and attestation stay as they are for ever. Killed anywhere, the same call finishes the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.errors import ConflictError, HsmUnavailableError
from icehouse.model import Purpose, Role, RootState, State, is_software, user_label
from icehouse.store import data_keys, root_keys
from icehouse.store.sweep import keys_at, keys_with
from icehouse.upkeep.rewrap import flip, make_next
from icehouse.users.dealing import announce_own, own_data_key
from icehouse.vault.move_records import Slots, moved, needs_moving, retire, sweep
from icehouse.vault.records import fresh_of
from icehouse.vault.retry import retry
from icehouse.vault.root_keys import check_room

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from icehouse.store.data_keys import DataKeyCount
    from icehouse.vault.vault import Vault

_CHUNK = 500
_PAGE = 256


def is_promotable(vault: Vault) -> bool:
    """Whether something of this vault is still under the module that stood in for its HSM."""
    record = vault.store.reload()
    standing = any(is_software(root.label) and root.state is RootState.CURRENT for root in record.roots)
    return standing or bool(_in_software(vault))


def count(vault: Vault) -> int:
    """How many records are under the module that stood in for the HSM."""
    return sum(row.live for row in _in_software(vault))


def promote(vault: Vault, advance: Callable[[int], None] = lambda _: None) -> int:
    """Bring every key that was made in software under the HSM; how many this call moved.

    Raises `HsmUnavailableError` while the HSM is away, `HsmRefusedError` where it has no room.
    """
    vault.refresh()
    if vault.custody.roots.away:
        msg = "the HSM is still away, so keys that were made in software stay there"
        raise HsmUnavailableError(msg, hint="icehouse doctor says what is wrong with it")
    _found(vault)
    count = 0
    # A process without the HSM may go on making keys; those that it made under the roots ended here are taken along.
    root_keys.end_stand_ins(vault.store.database)
    vault.refresh()
    numbers = [row.number for row in _in_software(vault)]
    move = _moved_own if vault.custody.users_own else sweep
    for chunk in (numbers[at : at + _CHUNK] for at in range(0, len(numbers), _CHUNK)):
        retire(vault, chunk)
        count += move(vault, chunk, advance)
    data_keys.drop_empty(vault.store.database)
    return count


def _found(vault: Vault) -> None:
    """The first root keys in the HSM of a vault that was made while it was away."""
    record = vault.store.record
    roles = [role for role in vault.custody.roles if record.current(role) is None]
    if not roles:
        return
    made = make_next(vault, record, roles)
    try:
        flip(vault, record, made)
    except ConflictError:
        vault.refresh()  # another process flipped first, and this one helps it


def _in_software(vault: Vault) -> list[DataKeyCount]:
    """The data keys under root keys that ended to stand in, or still do."""
    rows = data_keys.counts(vault.store.database)
    return [row for row in rows if is_software(row.root_key) and row.state != "gone"]


def _moved_own(vault: Vault, numbers: list[int], advance: Callable[[int], None]) -> int:
    """Direct: a key of each user's own is made in the HSM, which must have the room for all of a page."""
    done = 0
    while page := keys_with(vault.store, numbers, _PAGE):
        check_room(vault.custody.roots.main, [user_label(key.key_id, 1) for key in page])
        for key in page:
            done += retry(vault, lambda row=key.id: _move_one(vault, row, numbers))  # type: ignore[misc]
            advance(1)
    return done


def _move_one(vault: Vault, row: int, numbers: list[int]) -> int:
    key = next(iter(keys_at(vault.store, [row])), None)
    if key is None or not needs_moving(key, numbers):
        return 0
    (label,) = announce_own(vault, [user_label(key.key_id, 1)])
    main = vault.custody.roots.home(Role.USER)
    own = own_data_key(vault, main, label, vault.store.allocate_data_keys(1))
    unclaimed = key.state in {State.DEALT, State.LOST}
    claim = vault.slot(Purpose.CLAIM, key=key) if unclaimed else own
    after = moved(vault, key, Slots(own, claim))

    def work(connection: Connection) -> None:
        root_keys.make_current(connection, label)
        vault.store.replace_in(connection, key, after.key, fresh_of(own, claim))

    vault.store.database.change(work)
    return 1


__all__ = ["count", "is_promotable", "promote"]
