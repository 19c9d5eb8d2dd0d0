"""Own keys: those inside the HSM that belong to one user each, in a direct vault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.errors import IcehouseError
from icehouse.model import USERS_OWN, Purpose, State
from icehouse.vault.consent import Doomed, Judged, key_id_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icehouse.model import Key
    from icehouse.vault.vault import Vault


def own_keys(vault: Vault, keys: Sequence[Key]) -> Judged:
    """The keys in the HSM that are these users' own, and what each still opens; none where the vault is not direct.

    Whoever names a user says whose keys they are, and the vault's id, which the HSM sealed, which: it needs no record.
    """
    if not vault.custody.users_own:
        return Judged()
    whose = {key.key_id.hex(): key for key in keys}
    prefix = f"{USERS_OWN}{next(iter(whose))}-" if len(whose) == 1 else USERS_OWN
    there = {key.label: key for hsm in vault.custody.roots.hsms for key in hsm.keys(prefix)}
    owned = {label: whose[key_id_in(label)] for label in sorted(there) if key_id_in(label) in whose}
    under = {key.key_id: _opened_under(vault, key) for key in whose.values()}
    doomed = [Doomed(label, there[label].kind, _opens(label, key, under[key.key_id])) for label, key in owned.items()]
    return Judged(tuple(doomed), there=frozenset(owned))


def _opened_under(vault: Vault, key: Key) -> str | None:
    """The root key under which the user's record opens now; None where it does not, or where there is none."""
    if key.state is State.DESTROYED:
        return None
    try:
        vault.custody.open_share(key)
        return vault.custody.open_number(key.sealed.data_key, Purpose.SERVER).wrapped.root_key
    except IcehouseError:
        return None


def _opens(label: str, key: Key, under: str | None) -> str:
    if label == under:
        return f"opens the key of {key.user!r} at epoch {key.epoch}, here and in every backup"
    gone = ", who was removed" if key.state is State.DESTROYED else ""
    unread = ", whose record does not open here" if under is None and not gone else ""
    return f"opens backups of the key of {key.user!r}{gone}{unread}"
