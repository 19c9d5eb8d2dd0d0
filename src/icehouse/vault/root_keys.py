"""New root keys: written down before they are made, so that a crash leaves none that nobody can name."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from icehouse.errors import ConflictError, HsmRefusedError
from icehouse.hsm import KeyKind, labelled
from icehouse.model import STAND_INS, RootKey, RootState, root_label
from icehouse.store import root_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icehouse.custody import Custody
    from icehouse.hsm import Hsm
    from icehouse.model import Role, VaultRecord
    from icehouse.store import VaultStore


class Rooted(Protocol):
    """What has root keys: a vault, as far as these functions need one."""

    store: VaultStore
    custody: Custody

    @property
    def vault_id(self) -> bytes:
        """The vault's 16 random bytes."""

    def refresh(self) -> None:
        """Go on under the settings that the database holds now."""


def left_behind(hsm: Hsm, newest: RootKey | None) -> RootKey | None:
    """The key that a call before this one was killed after it made."""
    if newest is None or newest.state is not RootState.MAKING:
        return None
    return newest if labelled(hsm, newest.label) else None


def next_root(vault: Rooted, record: VaultRecord, role: Role) -> RootKey:
    """The root key that would be made next."""
    newest = record.newest(role)
    version = newest.version + 1 if newest else 1
    return RootKey(root_label(vault.vault_id, role, version), role, version, RootState.MAKING)


def make_root(vault: Rooted, role: Role) -> RootKey:
    """One new version. Whoever announced a label makes it, in one HSM, and nobody else does: it names one key."""
    while not root_keys.announce(vault.store.database, root := next_root(vault, vault.store.reload(), role)):
        pass  # another process took this version
    hsm = vault.custody.roots.home(role)
    hsm.create_key(root.label, KeyKind.AES)
    vault.custody.roots.made(root.label, hsm)
    return root


def stand_in(vault: Rooted) -> None:
    """See that the software module has the root keys that stand in for the HSM's; killed anywhere, call it again."""
    record = vault.store.record
    missing = [role for role in vault.custody.roles if record.current(STAND_INS[role]) is None]
    for role in missing:
        _stand_in(vault, STAND_INS[role])
    if missing:
        vault.refresh()


def _stand_in(vault: Rooted, role: Role) -> None:
    record = vault.store.reload()
    if record.current(role) is not None:
        return  # another process was faster
    root = left_behind(vault.custody.roots.stand_in, record.newest(role)) or make_root(vault, role)
    with suppress(ConflictError):
        root_keys.move(vault.store.database, root.label, RootState.MAKING, RootState.CURRENT)


def check_room(hsm: Hsm, labels: Sequence[str], kind: KeyKind = KeyKind.AES) -> None:
    """Refuse an HSM that has no room for these keys, or cannot make such keys, before anything is made.

    Keys that are there already, from a call that was killed, need no more room.
    """
    info = hsm.info
    if kind not in info.capabilities:
        msg = f"the HSM ({info.model}) makes no keys of kind {kind}"
        raise HsmRefusedError(msg)
    if info.capacity is None:
        return
    there = {key.label for key in hsm.keys("")}
    missing = len(set(labels) - there)
    if len(there) + missing > info.capacity:
        msg = f"the HSM holds {info.capacity} keys and has {len(there)}: there is no room for {missing} more"
        raise HsmRefusedError(msg)
