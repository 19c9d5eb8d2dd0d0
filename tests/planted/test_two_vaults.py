"""Two vaults in one HSM: whatever the database of one names, the keys of the other are never destroyed."""

from __future__ import annotations

import pytest

from conformance.custody.house import ARRANGEMENTS, BUCKETS, DIRECT, HYBRID
from consenting import destroyed
from icehouse.model import Role, RootState
from planted.destroying import BYSTANDER, do_everything, keys_in, own_labels

STATES = pytest.mark.parametrize("state", [str(state) for state in RootState])


@STATES
@pytest.mark.parametrize("mine", [HYBRID, DIRECT, BUCKETS], ids=str)
def test_no_row_that_names_anothers_keys_destroys_one(new_house, state, mine):
    house = new_house(mine)
    house.enrolled("alice")
    house.enrolled(BYSTANDER)
    others = [new_house(arrangement) for arrangement in ARRANGEMENTS[:3]]
    devices = [other.enrolled("carol") for other in others]
    theirs = keys_in(house) - own_labels(house, BYSTANDER) - own_labels(house, "alice")
    known = {label for (label,) in house.sql("SELECT label FROM root_keys")}
    for label in sorted(theirs - known):
        version = int(label.rpartition("-")[2])
        house.sql("INSERT INTO root_keys (label, role, version, state) VALUES (?, 'user', ?, ?)", label, version, state)
    for role in Role:
        for label in sorted(theirs - known):
            house.sql("UPDATE root_keys SET role = ?, state = ? WHERE label = ?", str(role), state, label)
        do_everything(house, house.service)

    assert theirs <= keys_in(house)
    for other, device in zip(others, devices, strict=True):
        other.sign(device)


def test_a_removal_that_names_anothers_key_destroys_only_the_users_own(new_house):
    house, other = new_house(DIRECT), new_house(DIRECT)
    house.enrolled("alice")
    device = other.enrolled("carol")
    (foreign,) = own_labels(other, "carol")
    house.sql("INSERT INTO root_keys (label, role, version, state) VALUES (?, 'user', 1, 'current')", foreign)
    asked = [one.label for one in house.service.own_keys(["alice"]).doomed]
    assert destroyed(house.service, "alice").destroyed

    assert foreign not in asked
    assert foreign in keys_in(other)
    other.sign(device)
