"""Judging: which keys inside an HSM may be destroyed. The database proposes, what opened decides, a person consents.

A key that was destroyed comes back with no backup of the database, so nothing here rests on the database's word: a
writer of it may call any key left over, superseded or destroyed already (ADR 0030).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from icehouse.hsm import KeyKind
from icehouse.model import NO_DATA_KEY, OWN_ROLES, STAND_INS, Role, RootState, root_label, user_label
from icehouse.store import root_keys
from icehouse.store.sweep import keys_with
from icehouse.upkeep.evidence import OUTLIVED, rank_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from icehouse.hsm import HsmKey
    from icehouse.model import RootKey
    from icehouse.upkeep.evidence import Evidence, Rank
    from icehouse.vault.vault import Vault

from icehouse.vault.consent import _OWN, Doomed, Judged, Kept, key_id_in

PREFIX = "icehouse-"


def keys_there(vault: Vault) -> dict[str, HsmKey]:
    """Every key of icehouse's in the vault's HSMs by its label, another vault's as well."""
    return {key.label: key for hsm in vault.custody.roots.hsms for key in hsm.keys(PREFIX)}


def judge(vault: Vault, proposed: Iterable[RootKey], there: Mapping[str, HsmKey], look: Look) -> Judged:
    """Part what the database proposes. The evidence is asked for only where something is proposed."""
    roots = list(proposed)
    if not roots:
        return Judged(there=frozenset(there))
    judging = Judging(vault, look.evidence(), superseded=look.superseded)
    doomed, kept = [], []
    for root in roots:
        verdict = judging.of(root)
        if isinstance(verdict, Doomed):
            doomed.append(replace(verdict, kind=there[root.label].kind))
        elif verdict is not None and root_keys.root_of(vault.store.database, root.label) == root:
            kept.append(verdict)  # else it was moved on meanwhile
    return Judged(tuple(doomed), tuple(kept), frozenset(there))


@dataclass(frozen=True, slots=True)
class Look:
    """What is looked for: keys that were superseded, or those that never came into use; and how to gather evidence."""

    evidence: Callable[[], Evidence]
    superseded: bool


class Judging:
    """Judges root keys one by one: those that were superseded, or those that never came into use.

    Which of the two a key is follows from its version and that of the key which the HSM sealed as current, or under
    which its user's record opened. Its row's state only proposes it.
    """

    def __init__(self, vault: Vault, evidence: Evidence, *, superseded: bool) -> None:
        self._vault = vault
        self._evidence = evidence
        self._superseded = superseded

    def of(self, root: RootKey) -> Doomed | Kept | None:
        """What becomes of a key; None where it is another command's business."""
        misfit = _misfit(self._vault, root)
        if misfit:
            return Kept(root.label, misfit, changed=True)
        if root.label in self._evidence.labels:
            return Kept(root.label, "a record opened under it just now", changed=True)
        needed = needed_by(self._vault, root)
        if needed:
            return Kept(root.label, needed, changed=True)
        return self._own(root) if root.role in OWN_ROLES else self._shared(root)

    def _shared(self, root: RootKey) -> Doomed | Kept | None:
        if self._evidence.unopened:
            why = f"{self._evidence.unopened} users' records do not open and may need it: 'icehouse doctor' names them"
            return Kept(root.label, why)
        return self._by_rank(root, self._rank_of_current(root.role), "")

    def _rank_of_current(self, role: Role) -> Rank:
        record = self._vault.store.record
        if role is Role.MASTER and role not in self._vault.custody.roles:
            return OUTLIVED  # converted: no master is current any more, whatever its version
        pair = next((pair for pair in STAND_INS.items() if role in pair), (role,))
        current = [rank_of(root) for one in pair if (root := record.current(one))]
        return max(current, default=OUTLIVED)

    def _own(self, root: RootKey) -> Doomed | Kept | None:
        """A user's own key goes only where a record that opened speaks for its key id."""
        own = key_id_in(root.label)
        spoken = self._evidence.speaking.get(own)
        if spoken is not None:
            return self._by_rank(root, spoken.rank, f"{spoken.whose}, ")
        if own in self._evidence.removed:
            user = self._evidence.removed[own]
            return Kept(root.label, f"it is of {user!r}, who was removed: 'icehouse users destroy' destroys it")
        if self._superseded and root.state is RootState.MAKING:
            return None
        why = "no record that opens says whose it is; if 'icehouse users create' was interrupted, repeat it to use it"
        return Kept(root.label, why)

    def _by_rank(self, root: RootKey, current: Rank, whose: str) -> Doomed | Kept | None:
        if (rank_of(root) < current) is self._superseded:
            return Doomed(root.label, KeyKind.AES, f"{whose}{root.role} {root.version}: {_opens(root)}")
        if self._superseded:
            return None
        return Kept(root.label, "backups may need it, as it was superseded: 'icehouse trim --void-backups' destroys it")


def needed_by(vault: Vault, root: RootKey) -> str:
    """What of the database is under a root key, in words; nothing where it is empty, as far as the database tells."""
    if root.role is Role.MASTER:
        return "users' shares follow from it" if keys_with(vault.store, [NO_DATA_KEY], 1) else ""
    with vault.store.database.read() as connection:
        count = root_keys.count_needed_under(connection, root.label)
    return f"{count} data keys are under it" if count else ""


def _misfit(vault: Vault, root: RootKey) -> str | None:
    """What is wrong with a row whose label, role and version do not fit each other and this vault."""
    if root.role not in OWN_ROLES:
        if root.label != root_label(vault.vault_id, root.role, root.version):
            return f"it is not this vault's {root.role} key {root.version}"
        current = vault.store.record.current(root.role)
        return "it is current" if current is not None and current.label == root.label else None
    match = _OWN.fullmatch(root.label)
    own = match and user_label(bytes.fromhex(match[1]), root.version, software=root.role is Role.SOFTWARE_USER)
    return None if own == root.label else f"it is no user's own key {root.version}"


def _opens(root: RootKey) -> str:
    when = "" if root.superseded is None else f" from before {_iso(root.superseded)}"
    what = "every share it derived" if root.role is Role.MASTER else "data keys"
    return f"opens {what} in backups{when}; no record of the database is under it"


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
