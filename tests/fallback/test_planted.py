"""A promotion destroys nothing, and no row of a root key in software has a key destroyed that a record is under."""

from __future__ import annotations

from contextlib import suppress

import pytest

from consenting import orphans_removed, trimmed
from fallback.conftest import enrolled
from icehouse.errors import IcehouseError
from icehouse.model import RootState
from icehouse.store import root_keys


def hsm_keys(frost):
    return {key.label for hsm in frost.vault.custody.roots.hsms for key in hsm.keys("icehouse-")}


def destroyed_by(frost, act):
    hsms = frost.vault.custody.roots.hsms
    before = sum(hsm.operations.by_kind()["destroy_key"] for hsm in hsms)
    act()
    return sum(hsm.operations.by_kind()["destroy_key"] for hsm in hsms) - before


def sql(frost, statement, *values):
    with frost.vault.store.database.write() as connection:
        return connection.exec_driver_sql(statement, values)


def do_all(frost, everything):
    """What destroys keys, by someone who consents to whatever there is; whoever refuses may."""
    for act in (orphans_removed, trimmed, lambda own: own.upkeep.trim(void_backups=True, consent=everything)):
        with suppress(IcehouseError):
            act(frost)


@pytest.mark.parametrize("state", [str(state) for state in RootState])
@pytest.mark.parametrize("custody", ["hybrid", "direct"])
def test_whatever_the_rows_say_of_root_keys_in_software_what_is_under_them_still_opens(place, custody, state):
    place.found(custody)
    with place.without_hsm() as frost:
        frost.create_users(["new", "unclaimed"])
        device = enrolled(frost, "new")
    with place.open() as frost:
        kept = hsm_keys(frost)
        before = root_keys.states(frost.vault.store.database)
        sql(frost, "UPDATE root_keys SET state = ? WHERE role LIKE 'software%'", state)
        do_all(frost, sorted(kept))
        for label, was in before.items():
            sql(frost, "UPDATE root_keys SET state = ? WHERE label = ?", str(was), label)

        assert kept <= hsm_keys(frost)
        assert destroyed_by(frost, frost.upkeep.rewrap) == 0
        device.sign(frost, b"hello")
        assert frost.check() == 2
