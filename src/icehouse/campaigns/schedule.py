"""The schedule: the vault's policy of rotation, applied to the keys that it does not cover yet.

A key that is rotated is given its next day in the same write, so in the long run nothing is to be done here: this is
for keys that were last rotated before there was a policy, or under one with longer intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.errors import ConflictError, RequestError
from icehouse.store.campaigns import NothingMatchesError
from icehouse.store.selection import Filters

if TYPE_CHECKING:
    from icehouse.campaigns.control import Campaigns
    from icehouse.store.campaigns import Campaign
    from icehouse.vault.vault import Vault


def apply(vault: Vault, office: Campaigns) -> list[Campaign]:
    """Start what the policy asks for now: a rotation of keys that it does not cover, a suspension of overdue ones.

    Raises `RequestError` where the vault has no policy.
    """
    policy, today = vault.rotation, vault.today
    if not (policy.every or policy.suspend):
        msg = "this vault has no policy of rotation"
        raise RequestError(msg, hint="set rotation.every_days in vault.toml")
    wanted = []
    if policy.every:
        # Not yet due in one interval from now: never marked, or under a policy with longer ones.
        after, latest = policy.every - policy.spread, today + policy.every
        uncovered = Filters(not_due_by=latest, due_from=today, due_by=today + policy.spread, due_after=after)
        wanted.append(("rotate", uncovered))
    if policy.suspend:
        wanted.append(("suspend", Filters(due_before=today - policy.suspend)))
    return [campaign for verb, filters in wanted if (campaign := _started(office, verb, filters)) is not None]


def _started(office: Campaigns, verb: str, filters: Filters) -> Campaign | None:
    """A campaign, unless there is nothing for it, or another of the verb is under way: the next time will do."""
    try:
        return office.start(verb, filters)
    except (ConflictError, NothingMatchesError):
        return None
