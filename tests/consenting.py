"""What destroys keys inside an HSM, done by someone who consents to whatever would be destroyed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icehouse.service import FrostService
    from icehouse.upkeep.trim import Trimmed
    from icehouse.users.destroy import Removal
    from icehouse.vault.consent import Judged


def labels(judged: Judged) -> list[str]:
    return [one.label for one in judged.doomed]


def trimmed(frost: FrostService) -> Trimmed:
    return frost.upkeep.trim(void_backups=True, consent=labels(frost.upkeep.ready_keys()))


def orphans_removed(frost: FrostService) -> list[str]:
    return frost.upkeep.remove_orphans(labels(frost.upkeep.judged_orphans()))


def destroyed(frost: FrostService, user: str) -> Removal:
    return frost.destroy_user(user, consent=labels(frost.own_keys([user])))
