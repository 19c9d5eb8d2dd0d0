"""Orphans: keys in an HSM that killed creations left behind, and keys there that are no business of this vault's."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from icehouse.errors import ConflictError
from icehouse.model import RootState
from icehouse.store import root_keys
from icehouse.upkeep.evidence import gather
from icehouse.upkeep.judging import Look, judge, keys_there
from icehouse.vault.consent import check_consent
from icehouse.vault.retiring import destroy_root

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from icehouse.vault.consent import Judged
    from icehouse.vault.vault import Vault

_LEFT = {RootState.MAKING, RootState.RETIRING, RootState.RETIRED}
"""The states of a root key that nothing should be under; one that is in an HSM all the same may be an orphan."""


def orphans(vault: Vault) -> list[tuple[str, bool]]:
    """What the database calls orphans in the vault's HSMs, by label, and whether it says that each is this vault's.

    One that is may belong to a creation under way just now. One that is not is another vault's, and not to be touched.
    """
    # The HSMs first: a key's row is written before the key is made, so every key found has its row by now.
    found = keys_there(vault)
    states = root_keys.states(vault.store.database)
    return sorted((label, label in states) for label in found if label not in states or states[label] in _LEFT)


def judged_orphans(vault: Vault, advance: Callable[[int], None] = lambda _: None) -> Judged:
    """The orphans that may be destroyed, and those that must not, once every record was opened. Changes nothing."""
    there = keys_there(vault)
    proposed = [root for root in root_keys.every(vault.store.database) if root.state in _LEFT and root.label in there]
    return judge(vault, proposed, there, Look(partial(gather, vault, advance), superseded=False))


def remove_orphans(vault: Vault, consent: Collection[str]) -> list[str]:
    """Destroy the orphans that are this vault's; their labels. A creation under way finds out, and begins again.

    Raises `RequestError` where `consent` does not name them all; then nothing was done.
    """
    judged = judged_orphans(vault)
    check_consent(judged, consent)
    removed = []
    for one in judged.doomed:
        with suppress(ConflictError):  # a creation under way made it the current one first
            destroy_root(vault, one.label, one.kind)
            removed.append(one.label)
    return sorted(removed)
