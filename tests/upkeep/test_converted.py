"""A hierarchical vault becomes a hybrid one under processes that do not know."""

from __future__ import annotations

import pytest

from consenting import destroyed, trimmed
from icehouse.errors import RequestError
from upkeep.scene import check, enrolled

USERS = 12


def test_a_process_that_does_not_know_serves_on_before_during_and_after(killer, new_scene):
    scene = new_scene("hierarchical", USERS, buckets=2)
    count = killer.done("convert", scene.copy("measured")).points
    stale, reading = scene.open(), scene.open()
    assert killer.run("convert", scene.directory, at=count - 4).killed

    # The settings are flipped and no row is converted yet.
    assert "master-1" not in str(reading.upkeep.trim().ready)
    for service in (stale, reading):
        scene.sign_all(service)
    stale.rotate_user_frost_shards("u5")
    stale.rotate_user_frost_shards("u0")
    destroyed(stale, "u6")
    scene.rotate_all(stale)
    enrolled(stale, "u7")
    stale.create_users(["new"])
    assert killer.done("convert", scene.directory).value < USERS
    check(reading, USERS + 1)
    assert "master-1" in str(trimmed(reading).root_keys)
    for service in (stale, reading, scene.open()):
        check(service, USERS + 1)
        scene.rotate_all(service)


def test_a_process_that_only_reads_finds_converted_rows(killer, new_scene):
    scene = new_scene("hierarchical", USERS, buckets=2)
    asked, examined, made = scene.open(), scene.open(), scene.open()
    for service in (asked, examined, made):
        service.check()
    killer.done("convert", scene.directory)
    killer.done("trim", scene.directory)

    assert asked.get_shards("u0").custody == "hybrid"
    check(examined, USERS)
    assert made.create_users(["new", "u1"]).created == 1
    with pytest.raises(RequestError, match="only a hierarchical vault is converted"):
        made.upkeep.convert_to_hybrid()
    assert made.upkeep.rewrap() > 0


def test_devices_and_public_keys_stay_as_they_are(new_scene):
    scene = new_scene("hierarchical", USERS, buckets=2)
    frost = scene.open()
    before = {one.user_id: one.public_key for one in frost.users()}
    frost.upkeep.convert_to_hybrid()

    assert {one.user_id: one.public_key for one in frost.users()} == before
    scene.sign_all(frost)
    enrolled(frost, "u9").sign(frost, b"hello")
