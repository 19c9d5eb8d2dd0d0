"""Which custody a vault is of: its settings name it, and the HSM vouches for them before anything is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.custody import Verb, allows, custody_class, is_ours
from icehouse.errors import HsmUnavailableError, SealError
from icehouse.vault.fallback import check_stand_in

if TYPE_CHECKING:
    from icehouse.custody import Custody, RootKeys
    from icehouse.model import VaultRecord
    from icehouse.vault.settings import Settings


def custody_of_record(settings: Settings, record: VaultRecord, roots: RootKeys) -> type[Custody]:
    """The custody of settings that were checked. A module is imported only where the HSM vouched for its name."""
    ours = is_ours(record.custody)
    if not ours and ":" not in record.custody:
        msg = f"the vault's database names a custody that this icehouse does not know: {record.custody!r}"
        raise SealError(msg)
    if not ours and not roots.vouched:
        msg = f"the HSM is away, so nothing vouches that this vault's custody is {record.custody!r}"
        raise HsmUnavailableError(msg, hint="icehouse's own custodies open without it where a fallback stands in")
    kind = custody_class(record.custody)
    if not roots.vouched and not allows(kind, Verb.FALL_BACK):
        # It has no fallback, so only a vault of another custody is opened before its HSM has looked at it.
        msg = "the vault's settings in the database were changed: it was of another custody"
        raise SealError(msg)
    if not ours:
        check_stand_in(settings, record.custody)
    return kind
