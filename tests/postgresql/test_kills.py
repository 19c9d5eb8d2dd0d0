"""A process dies between two statements of a transaction, or around a commit; another one goes on."""

from __future__ import annotations

import pytest

from consenting import orphans_removed
from upkeep.killing import Killer
from upkeep.scene import check, nothing_left_over

USERS = 12
FRESH = ["fresh-1", "fresh-2"]


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    own = Killer(tmp_path_factory.mktemp("killer") / "stderr")
    yield own
    own.close()


def kill_everywhere(scene, killer, do, times, **arguments):
    """Kill a verb at points spread over a whole run of it; after each kill everything opens, and a device signs."""
    whole = killer.done(do, scene.directory, **arguments)
    frost = scene.open()
    for of, count in (("statement", whole.statements), ("any", whole.points)):
        for number in range(times):
            at = 1 + number * count // times
            outcome = killer.run(do, scene.directory, at=at, of=of, **arguments)
            assert outcome.killed or number, outcome  # what an earlier kill left to do may be less than a whole run
            scene.sign_all(frost)
            yield frost


@pytest.mark.parametrize("custody", ["hybrid", "direct"])
@pytest.mark.parametrize("verb", ["rewrap", "reseal"])
def test_a_verb_that_was_killed_anywhere_is_finished_by_the_next(new_scene, killer, custody, verb):
    scene = new_scene(custody, USERS)
    for frost in kill_everywhere(scene, killer, verb, 5):
        check(frost, USERS)
    killer.done(verb, scene.directory)
    killer.done("trim", scene.directory)
    check(scene.open(), USERS)
    nothing_left_over(frost)
    scene.rotate_all(frost)


@pytest.mark.parametrize("custody", ["hybrid", "direct"])
def test_users_whose_creation_was_killed_anywhere_are_made_by_the_next(new_scene, killer, custody):
    scene = new_scene(custody, USERS)
    frost = scene.open()
    whole = killer.done("create", scene.directory, users=["measured"])
    made = USERS + 1
    for of, count in (("statement", whole.statements), ("any", whole.points)):
        for number in range(8):
            users = [f"{of}-{number}"]
            at = 1 + number * count // 8
            outcome = killer.run("create", scene.directory, at=at, of=of, users=users)
            assert outcome.killed, outcome
            frost.create_users(users)
            made += 1
            check(frost, made)
    orphans_removed(frost)
    nothing_left_over(frost)
