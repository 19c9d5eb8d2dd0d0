"""Trim: destroy what superseded data keys and root key versions left behind, and with it what only they could open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from icehouse.model import RootState
from icehouse.store import data_keys, root_keys
from icehouse.store.selection import unfinished_removals
from icehouse.upkeep.evidence import believe, gather
from icehouse.upkeep.judging import Judging, Look, judge, keys_there, needed_by
from icehouse.vault.consent import Doomed, Judged, Kept, check_consent
from icehouse.vault.retiring import destroy_root, drop_data_keys_of, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from icehouse.model import RootKey
    from icehouse.store.wal import Leftover
    from icehouse.vault.vault import Vault


_LAST = (1 << 63) - 1
_SUPERSEDED = (RootState.DRAINING, RootState.RETIRING)


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What a trim destroyed, and what it could destroy with `void_backups`; `kept`: what it must not, and why.

    `unreadable_before`: backups of the database made before then cannot be read once those are gone.
    `leftover`: in which of the database's files wrapped data keys may still lie, where somebody else keeps them there.
    """

    data_keys: int
    root_keys: tuple[str, ...]
    ready: tuple[str, ...]
    unreadable_before: datetime | None
    recoverable_until: datetime | None = None
    leftover: Leftover | None = None
    kept: tuple[Kept, ...] = ()


def trim(vault: Vault, *, void_backups: bool = False, consent: Collection[str] = ()) -> Trimmed:
    """Destroy empty data keys; with `void_backups`, also the root key versions that nothing is under any more.

    Raises `RequestError` where `consent` does not name every root key that would be destroyed; then nothing was done.
    """
    if not void_backups:
        gone = _drop(vault)
        leftover = vault.store.database.shrink()
        ready, kept = _askable(vault)
        askable = tuple(root.label for root in ready)
        return Trimmed(gone, (), askable, _superseded(ready), leftover=leftover, kept=kept)
    judged = ready_keys(vault)
    check_consent(judged, consent)
    gone = _drop(vault)
    labels = [one.label for one in judged.doomed]
    for one in judged.doomed:
        destroy_root(vault, one.label, one.kind)
    settle(vault, root_keys.every(vault.store.database))
    vault.refresh()
    leftover = vault.store.database.shrink()
    done = [root for label in labels if (root := root_keys.root_of(vault.store.database, label))]
    until = max((root.recoverable_until for root in done if root.recoverable_until), default=None)
    return Trimmed(
        gone,
        tuple(labels),
        (),
        _superseded(done),
        datetime.fromtimestamp(until, UTC) if until else None,
        leftover,
        judged.kept,
    )


def _drop(vault: Vault) -> int:
    """Destroy the data keys that seal nothing any more; how many. It asks no HSM."""
    database = vault.store.database
    if vault.custody.users_own:
        for key in unfinished_removals(vault.store, 0, _LAST):
            drop_data_keys_of(vault, key)
    data_keys.retire_closed(database)
    return data_keys.drop_empty(database)


def ready_keys(vault: Vault, advance: Callable[[int], None] = lambda _: None) -> Judged:
    """The superseded root keys that `trim` would destroy, once every record opened without them. Changes nothing."""
    vault.refresh()  # the HSM says first which are current
    there = keys_there(vault)
    return judge(vault, _proposed(vault, there), there, Look(partial(gather, vault, advance), superseded=True))


def _askable(vault: Vault) -> tuple[list[RootKey], tuple[Kept, ...]]:
    """The same as far as the database tells, and what is kept all the same: no record is opened."""
    vault.refresh()
    proposed = _proposed(vault, None if vault.custody.roots.absent else keys_there(vault))
    if not proposed:
        return [], ()
    judging = Judging(vault, believe(vault), superseded=True)
    verdicts = [(root, judging.of(root)) for root in proposed]
    ready = [root for root, verdict in verdicts if isinstance(verdict, Doomed)]
    return ready, tuple(verdict for _, verdict in verdicts if isinstance(verdict, Kept))


def _proposed(vault: Vault, there: Collection[str] | None) -> list[RootKey]:
    """What is not current and nothing is under, as far as the database tells; `there`: of what the HSMs hold."""
    roots = root_keys.every(vault.store.database)
    if there is None:
        return [root for root in roots if root.state in _SUPERSEDED and not needed_by(vault, root)]
    idle = [root for root in roots if root.state is not RootState.CURRENT and root.label in there]
    return [root for root in idle if not needed_by(vault, root)]


def _superseded(roots: list[RootKey]) -> datetime | None:
    before = max((root.superseded for root in roots if root.superseded), default=None)
    return datetime.fromtimestamp(before, UTC) if before else None
