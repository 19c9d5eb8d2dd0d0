"""Everything that destroys keys inside an HSM, done by someone who consents to whatever the HSM holds."""

from __future__ import annotations

from contextlib import suppress
from threading import Event
from typing import TYPE_CHECKING

from consenting import destroyed, orphans_removed, trimmed
from icehouse.campaigns.control import Campaigns
from icehouse.errors import IcehouseError
from icehouse.store.selection import Filters

if TYPE_CHECKING:
    from conformance.custody.house import House
    from icehouse.service import FrostService

BYSTANDER = "bystander"
"""A user whose key someone destroys while nobody means any other user's."""


def keys_in(house: House) -> set[str]:
    return {key.label for key in house.hsm.keys("icehouse-")}


def own_labels(house: House, user: str) -> set[str]:
    """The labels of a user's own keys in the HSM."""
    return {one.label for one in house.service.own_keys([user]).doomed}


def campaign(frost: FrostService, verb: str, **filters: object) -> None:
    office = Campaigns(frost.vault)
    office.run(office.start(verb, Filters(**filters)).id, 1, Event())


def do_everything(house: House, frost: FrostService) -> None:
    """Every call that destroys, as carelessly as it can be made; whoever refuses may."""
    everything = sorted(keys_in(house))
    for act in (
        frost.upkeep.trim,
        lambda: frost.upkeep.trim(void_backups=True, consent=everything),
        lambda: trimmed(frost),
        lambda: frost.upkeep.remove_orphans(everything),
        lambda: orphans_removed(frost),
        lambda: frost.destroy_user(BYSTANDER, consent=everything),
        lambda: destroyed(frost, BYSTANDER),
        lambda: campaign(frost, "destroy", state="dealt"),
        lambda: orphans_removed(frost),
        lambda: trimmed(frost),
    ):
        with suppress(IcehouseError):
            act()
