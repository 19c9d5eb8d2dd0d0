"""Users destroyed: removed at once, and destroyed when nothing could open a backup of their records any more."""

from __future__ import annotations

import subprocess

import pytest

from consenting import destroyed, trimmed
from icehouse.errors import RequestError, SealError
from upkeep.scene import check, enrolled, keys_in


def stored_bytes(scene):
    """What the database's file and its journal hold."""
    # Not read by this process: to close the file would give up SQLite's locks on it.
    return subprocess.run(["cat", *scene.directory.glob("vault.db*")], check=True, capture_output=True).stdout


def test_a_hybrid_key_is_destroyed_when_its_data_keys_and_their_root_keys_are(new_scene):
    scene = new_scene("hybrid")
    frost = scene.open()
    steps = [
        (lambda: None, "data keys"),
        (frost.upkeep.reseal, "data keys"),
        (frost.upkeep.trim, "root keys"),
        (frost.upkeep.rewrap, "root keys"),
        (frost.upkeep.trim, "root keys"),
        (lambda: trimmed(frost), ""),
    ]
    for step, waits_for in steps:
        step()
        removal = destroyed(frost, "u5")
        assert removal.waits_for.startswith(waits_for)
        assert removal.destroyed is (not waits_for)
    scene.sign_all(frost)


def test_a_direct_key_is_destroyed_at_once_with_its_key_in_the_hsm(new_scene):
    scene = new_scene("direct", 5)
    frost = scene.open()
    before = keys_in(frost)

    assert destroyed(frost, "u0").destroyed
    assert destroyed(frost, "u4").destroyed
    assert len(keys_in(frost)) == len(before) - 2
    check(frost, 5)


def test_a_hierarchical_key_is_never_destroyed_while_its_master_lives(new_scene):
    scene = new_scene("hierarchical", buckets=2)
    frost = scene.open()
    assert destroyed(frost, "u5").waits_for.startswith("never")
    frost.upkeep.convert_to_hybrid()

    removal = destroyed(frost, "u5")
    assert not removal.destroyed
    assert "master-1" in removal.waits_for
    trimmed(frost)
    assert destroyed(frost, "u5").destroyed
    scene.sign_all(frost)


@pytest.mark.parametrize("custody", ["hybrid", "direct", "hierarchical"])
def test_a_tombstone_refuses_every_ceremony_and_its_user_gets_the_next_generation(new_scene, custody):
    scene = new_scene(custody, 5)
    frost, other = scene.open(), scene.open()
    device = scene.devices.pop("u0")
    destroyed(frost, "u0")

    for service in (frost, other):
        for ask in (lambda: device.sign(service, b"hello"), lambda: device.rotate(service)):  # noqa: B023
            with pytest.raises(RequestError, match="does not know this key"):
                ask()
        for word in (service.enrolment_code, service.rotate_user_frost_shards):
            with pytest.raises(RequestError, match="destroyed"):
                word("u0")
    frost.create_users(["u0"])
    assert frost.get_shards("u0").generation == 1
    enrolled(other, "u0").sign(frost, b"hello")
    with pytest.raises(RequestError, match="does not know this key"):
        device.sign(other, b"hello")
    check(frost, 5)


@pytest.mark.parametrize("user", ["u1", "u5"])
def test_no_byte_of_a_destroyed_users_records_stays_in_the_file_or_its_journal(new_scene, user):
    scene = new_scene("hybrid")
    frost = scene.open()
    key = frost.vault.store.key_of(user)
    records = [sealed.record for sealed in (key.sealed, key.claim) if sealed is not None]
    assert all(record in stored_bytes(scene) for record in records)
    destroyed(frost, user)

    left = stored_bytes(scene)
    for record in records:
        assert not any(record[at : at + 8] in left for at in range(0, len(record) - 8, 8))


def test_a_trim_destroys_no_root_key_that_data_keys_are_under_whatever_the_database_says_of_it(new_scene):
    scene = new_scene("direct", 5)
    frost = scene.open()
    before = keys_in(frost)
    with frost.vault.store.database.write() as connection:
        connection.exec_driver_sql("UPDATE root_keys SET state = 'retiring' WHERE role = 'user'")

    assert trimmed(frost).root_keys == ()
    assert keys_in(frost) == before


def test_a_trim_asks_the_hsm_which_root_keys_are_current(new_scene):
    scene = new_scene("hybrid", 5)
    frost = scene.open()
    before = keys_in(frost)
    with frost.vault.store.database.write() as connection:
        connection.exec_driver_sql("UPDATE root_keys SET state = 'draining' WHERE role = 'claim'")
    with pytest.raises(SealError, match="settings"):
        trimmed(frost)

    assert keys_in(frost) == before
