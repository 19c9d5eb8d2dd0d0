"""A writer of a vault's database says what he likes of its root keys; no key that a record is under is destroyed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.custody.house import BUCKETS, DIRECT, HYBRID
from consenting import labels, orphans_removed, trimmed
from icehouse.errors import ConflictError, RequestError
from icehouse.model import RootState
from icehouse.store import root_keys
from icehouse.upkeep import evidence
from planted.destroying import BYSTANDER, do_everything, keys_in, own_labels

USERS = ("alice", "bob")
STATES = pytest.mark.parametrize("state", [str(state) for state in RootState])
CUSTODIES = pytest.mark.parametrize("arrangement", [HYBRID, DIRECT, BUCKETS], ids=str)


def furnished(new_house, arrangement):
    """A vault with two users who sign, and one who may go; their devices."""
    house = new_house(arrangement)
    devices = [house.enrolled(user) for user in USERS]
    house.enrolled(BYSTANDER)
    return house, devices


def rows(house):
    return house.sql("SELECT label, state FROM root_keys")


def put_back(house, before):
    """The rows as they were: what a backup of the database would bring back."""
    for label, state in before:
        house.sql("UPDATE root_keys SET state = ? WHERE label = ?", state, label)


def signs(house, devices):
    frost = house.another_process()
    return [bool(house.sign(device, frost) is None) for device in devices]


@CUSTODIES
@STATES
def test_whatever_state_a_row_is_in_no_key_that_a_record_is_under_is_destroyed(new_house, arrangement, state):
    house, devices = furnished(new_house, arrangement)
    before, kept = rows(house), keys_in(house) - own_labels(house, BYSTANDER)
    house.sql("UPDATE root_keys SET state = ?", state)
    do_everything(house, house.service)
    put_back(house, before)

    assert kept <= keys_in(house)
    assert signs(house, devices) == [True, True]


@STATES
def test_the_same_of_users_own_keys_alone(new_house, state):
    house, devices = furnished(new_house, DIRECT)
    before, kept = rows(house), keys_in(house) - own_labels(house, BYSTANDER)
    house.sql("UPDATE root_keys SET state = ? WHERE role = 'user'", state)
    do_everything(house, house.another_process())
    put_back(house, before)

    assert kept <= keys_in(house)
    assert signs(house, devices) == [True, True]


@CUSTODIES
@STATES
@pytest.mark.parametrize(
    "hidden", ["state = 'gone'", "root_key = 'icehouse-elsewhere'", "live = 0, state = 'retiring'"]
)
def test_data_keys_that_are_hidden_as_well_give_nothing_up(new_house, arrangement, state, hidden):
    house, _ = furnished(new_house, arrangement)
    house.service.check()  # what this process opened before must not count for what the database says now
    kept = keys_in(house) - own_labels(house, BYSTANDER)
    house.sql(f"UPDATE data_keys SET {hidden}")
    house.sql("UPDATE root_keys SET state = ? WHERE role IN ('user', 'kek', 'claim')", state)
    do_everything(house, house.service)

    assert kept <= keys_in(house)


@STATES
def test_users_whom_the_database_calls_removed_keep_their_own_keys_until_someone_names_them(new_house, state):
    house, _ = furnished(new_house, DIRECT)
    kept = keys_in(house) - own_labels(house, BYSTANDER)
    for user in USERS:
        house.sql('UPDATE keys SET state = 4, data_key = 0, record = ? WHERE "user" = ?', b"", user)
    house.sql("UPDATE data_keys SET live = 0, state = 'gone'")
    house.sql("UPDATE root_keys SET state = ? WHERE role = 'user'", state)
    do_everything(house, house.another_process())

    assert kept <= keys_in(house)


@STATES
def test_rows_that_are_gone_speak_for_nobody(new_house, state):
    house, _ = furnished(new_house, DIRECT)
    kept = keys_in(house) - own_labels(house, BYSTANDER)
    for user in USERS:
        house.sql('DELETE FROM keys WHERE "user" = ?', user)
    house.sql("DELETE FROM data_keys WHERE purpose = 'server'")
    house.sql("UPDATE root_keys SET state = ? WHERE role = 'user'", state)
    do_everything(house, house.another_process())

    assert kept <= keys_in(house)


@pytest.mark.parametrize("state", ["making", "retiring", "retired"])
def test_the_consent_to_void_backups_is_not_got_round_by_calling_a_superseded_key_an_orphan(new_house, state):
    house, _ = furnished(new_house, HYBRID)
    house.service.upkeep.rewrap()
    before = keys_in(house)
    house.sql("UPDATE root_keys SET state = ? WHERE state = 'draining'", state)
    judged = house.service.upkeep.judged_orphans()

    assert judged.doomed == ()
    assert all("trim --void-backups" in kept.why for kept in judged.kept)
    assert orphans_removed(house.service) == []
    assert keys_in(house) == before
    assert len(trimmed(house.service).root_keys) == 2
    assert house.service.check() == 3


@CUSTODIES
def test_a_library_call_destroys_nothing_that_nobody_consented_to(new_house, arrangement):
    house, _ = furnished(new_house, arrangement)
    frost = house.service
    if arrangement is BUCKETS:
        frost.upkeep.convert_to_hybrid()
    else:
        frost.upkeep.rewrap()
    before, ready = keys_in(house), labels(frost.upkeep.ready_keys())
    assert ready
    for consent in ([], ready[1:], [*ready, *sorted(before - {*ready})[:1]]):
        with pytest.raises(RequestError, match=r"nobody consented|not among those"):
            frost.upkeep.trim(void_backups=True, consent=consent)

    assert keys_in(house) == before
    assert set(frost.upkeep.trim(void_backups=True, consent=ready).root_keys) == {*ready}
    assert keys_in(house) == before - {*ready}


def test_a_user_is_not_removed_either_where_nobody_consented(new_house):
    house, devices = furnished(new_house, DIRECT)
    (label,) = own_labels(house, "alice")
    with pytest.raises(RequestError, match=f"nobody consented to the destruction of {label}"):
        house.service.destroy_user("alice")

    assert signs(house, devices) == [True, True]
    assert house.service.destroy_user("alice", consent=[label]).destroyed
    assert label not in keys_in(house)


def test_a_user_is_destroyed_although_the_database_hides_that_he_has_a_key_of_his_own(new_house):
    house, _ = furnished(new_house, DIRECT)
    (label,) = own_labels(house, "alice")
    house.sql("DELETE FROM root_keys WHERE label = ?", label)
    assert house.service.destroy_user("alice", consent=[label]).destroyed

    assert label not in keys_in(house)
    assert house.sql("SELECT state FROM root_keys WHERE label = ?", label) == [("retired",)]


@STATES
def test_a_key_that_data_keys_are_under_never_begins_to_retire(new_house, state):
    house, _ = furnished(new_house, DIRECT)
    for label, _ in rows(house):
        house.sql("UPDATE root_keys SET state = ?", state)
        with pytest.raises(ConflictError, match="data keys are under it"):
            root_keys.begin_retiring(house.service.vault.store.database, label, current=True)

        assert house.sql("SELECT DISTINCT state FROM root_keys") == [(state,)]


@pytest.mark.parametrize("label", ["kek-x", "icehouse-u-", "icehouse-u-00-" + "9" * 40])
def test_a_data_key_under_a_label_that_is_none_ends_no_trim_in_a_fault(new_house, label):
    house, devices = furnished(new_house, DIRECT)
    house.sql("UPDATE data_keys SET root_key = ? WHERE purpose = 'server' AND number = 1", label)
    house.sql("UPDATE root_keys SET state = 'draining' WHERE role = 'user'")
    before = keys_in(house)
    house.service.upkeep.trim()

    assert keys_in(house) == before
    assert signs(house, devices[1:]) == [True]


def test_a_generation_of_millions_costs_a_trim_no_more_than_a_thousand(new_house, monkeypatch):
    house, _ = furnished(new_house, DIRECT)
    asked = []
    real = evidence.key_id
    monkeypatch.setattr(evidence, "key_id", lambda *words: asked.append(1) or real(*words))
    key = house.key("alice")
    evidence._Gathering(house.service.vault)._name(replace(key, generation=3_000_000), "icehouse-u-00-1")

    assert len(asked) <= 6 * 1000
