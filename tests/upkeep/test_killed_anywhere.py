"""Every verb of upkeep, killed before and after each of its primitives, and called again."""

from __future__ import annotations

import os

import pytest

from consenting import orphans_removed, trimmed
from upkeep.scene import check, keys_in, keys_needed, nothing_left_over, second_token

USERS = 12
_FEWEST = 5
_KILLS = 8
"""How many points of a verb are tried, spread evenly over all it has; every run of the suite tries the same ones."""


def kills(killer, scene, do, **arguments):
    """Some points to kill a verb at, from its first primitive to its last."""
    count = killer.done(do, scene.copy("measured"), **arguments).points
    assert count > _FEWEST
    tried = count if os.environ.get("ICEHOUSE_TEST_EVERY_KILL") else min(count, _KILLS)
    return sorted({1 + at * (count - 1) // (tried - 1) for at in range(tried)})


@pytest.mark.parametrize("custody", ["hybrid", "direct"])
@pytest.mark.parametrize("do", ["rewrap", "reseal", "move"])
def test_a_verb_killed_between_any_two_primitives_is_finished_by_the_next_call(killer, new_scene, custody, do):
    scene = new_scene(custody, 5 if custody == "direct" else USERS)
    arguments = {"uri": second_token(scene.directory)} if do == "move" else {}
    users = 5 if custody == "direct" else USERS

    for at in kills(killer, scene, do, **arguments):
        place = scene.copy("killed")
        assert killer.run(do, place, at=at, **arguments).killed
        frost = scene.open(place)
        scene.sign_all(frost)  # between the kill and the next call everyone is served
        killer.done(do, place, **arguments)
        scene.sign_all(frost)
        check(frost, users)
        assert not frost.upkeep.is_rewrapping()
        orphans_removed(frost)
        trimmed(frost)
        scene.sign_all(frost)
        nothing_left_over(frost)
        scene.close()


@pytest.mark.parametrize("custody", ["hybrid", "direct"])
def test_a_trim_killed_between_any_two_primitives_is_finished_by_the_next_call(killer, new_scene, custody):
    users = 4 if custody == "direct" else USERS
    scene = new_scene(custody, users)
    killer.done("rewrap", scene.directory)

    for at in kills(killer, scene, "trim"):
        place = scene.copy("killed")
        assert killer.run("trim", place, at=at).killed
        killer.done("trim", place)
        frost = scene.open(place)
        check(frost, users)
        scene.sign_all(frost)
        assert keys_in(frost) == keys_needed(frost)
        assert frost.upkeep.trim().ready == ()
        scene.close()


@pytest.mark.parametrize("custody", ["hybrid", "direct", "hierarchical"])
def test_a_destruction_killed_between_any_two_primitives_is_finished_by_the_next_call(killer, new_scene, custody):
    scene = new_scene(custody, 4)

    for at in kills(killer, scene, "destroy", user="u3"):
        place = scene.copy("killed")
        assert killer.run("destroy", place, user="u3", at=at).killed
        assert killer.done("destroy", place, user="u3").value is (custody == "direct")
        frost = scene.open(place)
        assert frost.get_shards("u3").state in {"removed", "destroyed"}
        check(frost, 4)
        nothing_left_over(frost)
        scene.close()


def test_a_destruction_that_was_killed_is_finished_by_the_next_key_and_a_trim(killer, new_scene):
    scene = new_scene("direct", 4)

    for at in kills(killer, scene, "destroy", user="u3"):
        place = scene.copy("killed")
        assert killer.run("destroy", place, user="u3", at=at).killed
        killer.done("create", place, users=["u3"])
        frost = scene.open(place)
        assert frost.get_shards("u3").generation <= 1
        check(frost, 4)
        trimmed(frost)
        nothing_left_over(frost)
        assert len(keys_in(frost)) == 1 + 4
        scene.close()


def test_a_conversion_killed_between_any_two_primitives_is_finished_by_the_next_call(killer, new_scene):
    scene = new_scene("hierarchical", USERS, buckets=2)

    for at in kills(killer, scene, "convert"):
        place = scene.copy("killed")
        assert killer.run("convert", place, at=at).killed
        frost = scene.open(place)
        scene.sign_all(frost)
        killer.done("convert", place)
        scene.sign_all(frost)
        check(frost, USERS)
        assert frost.get_shards("u0").custody == "hybrid"
        trimmed(frost)
        scene.sign_all(frost)
        check(frost, USERS)
        nothing_left_over(frost)
        scene.close()
