"""Orphans: keys in an HSM that killed creations left behind, and keys there that are no business of this vault's."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from icehouse.ceremonies.destroy import destroy_root
from icehouse.errors import ConflictError
from icehouse.model import RootState
from icehouse.store import root_keys

if TYPE_CHECKING:
    from icehouse.ceremonies.vault import Vault
    from icehouse.hsm import HsmKey

PREFIX = "icehouse-"
_LEFT = {RootState.MAKING, RootState.RETIRING, RootState.RETIRED}
"""The states of a root key that nothing is under; one that is in an HSM all the same is an orphan."""


def orphans(vault: Vault) -> list[tuple[str, bool]]:
    """The orphans in the vault's HSMs by label, and whether each is this vault's.

    One that is may belong to a creation under way just now. One that is not is another vault's, and not to be touched.
    """
    # The HSMs first: a key's row is written before the key is made, so every key found has its row by now.
    found = {key.label for key in _all_keys(vault)}
    states = root_keys.states(vault.store.database)
    return sorted((label, label in states) for label in found if label not in states or states[label] in _LEFT)


def remove_orphans(vault: Vault) -> list[str]:
    """Destroy the orphans that are this vault's; their labels. A creation under way finds out, and begins again."""
    ours = {label for label, own in orphans(vault) if own}
    removed = []
    for key in _all_keys(vault):
        if key.label in ours and _claimed(vault, key.label):
            destroy_root(vault, key.label, key.kind)
            removed.append(key.label)
    return sorted(removed)


def _all_keys(vault: Vault) -> list[HsmKey]:
    return [key for hsm in vault.custody.roots.hsms for key in hsm.keys(PREFIX)]


def _claimed(vault: Vault, label: str) -> bool:
    """Let nobody make this key the current one any more; false where someone did so first."""
    for state in _LEFT - {RootState.RETIRING}:
        with suppress(ConflictError):
            root_keys.move(vault.store.database, label, state, RootState.RETIRING)
            return True
    root = root_keys.root_of(vault.store.database, label)
    return root is not None and root.state is RootState.RETIRING
