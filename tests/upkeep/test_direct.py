"""Direct custody: as many users as the HSM holds keys, and no key in it that nobody can name."""

from __future__ import annotations

import pytest

from consenting import destroyed, orphans_removed, trimmed
from icehouse.errors import ConflictError, HsmRefusedError
from icehouse.hsm import KeyKind
from icehouse.store import data_keys, root_keys
from icehouse.upkeep import move_hsm, rewrap, rewrap_users
from icehouse.users.dealing import announce_own, deal, make_or_take_up, prepare, write
from upkeep.scene import check, keys_in, keys_needed, second_token

CAPACITY = 20
KILLS = 100


def limited(scene, capacity):
    """Let the vault's HSM hold no more than so many keys."""
    file = scene.directory / "vault.toml"
    file.write_text(file.read_text().replace('.pin"', f'.pin&capacity={capacity}"'))


def everything(frost):
    """What a creation could change."""
    database = frost.vault.store.database
    return keys_in(frost), root_keys.states(database), data_keys.counts(database), frost.vault.store.count()


def test_beyond_the_capacity_a_user_is_refused_before_anything_is_made(new_scene):
    scene = new_scene("direct", 12)
    limited(scene, CAPACITY)
    frost = scene.open()
    frost.create_users(f"more-{number}" for number in range(CAPACITY - 12 - 1))  # one is the claim key
    before = everything(frost)
    with pytest.raises(HsmRefusedError, match=f"holds {CAPACITY} keys and has {CAPACITY}: there is no room for 1 more"):
        frost.create_user_frost_shards("one-too-many")

    assert everything(frost) == before
    destroyed(frost, "more-0")
    frost.create_user_frost_shards("one-too-many")
    check(frost, CAPACITY)


def test_a_page_that_does_not_fit_whole_is_refused_whole(new_scene):
    scene = new_scene("direct", 12)
    limited(scene, CAPACITY)
    frost = scene.open()
    before = everything(frost)
    with pytest.raises(HsmRefusedError, match="no room for 8 more"):
        frost.create_users(f"more-{number}" for number in range(8))

    assert everything(frost) == before


def test_a_creation_killed_a_hundred_times_leaves_no_key_that_is_not_listed(killer, new_scene):
    scene = new_scene("direct", 4)
    count = killer.done("create", scene.copy("measured"), users=["n"]).points
    kills = 0
    for number in range(KILLS):
        kills += killer.run("create", scene.directory, users=[f"n{number}"], at=1 + number % count).killed
    frost = scene.open()
    listed = frost.upkeep.orphans()

    assert kills == KILLS
    assert all(own for _, own in listed)
    assert {label for label, _ in listed} == keys_in(frost) - keys_needed(frost)
    assert len(listed) > 10
    # No record says whose they are, and a writer of the database can name another vault's: they wait for their users.
    assert {kept.label for kept in frost.upkeep.judged_orphans().kept} == {label for label, _ in listed}
    assert orphans_removed(frost) == []
    frost.create_users(f"n{number}" for number in range(KILLS))
    check(frost, 4 + KILLS)
    assert keys_in(frost) == keys_needed(frost)
    assert frost.upkeep.orphans() == []


def test_what_a_killed_creation_left_needs_no_more_room(killer, new_scene):
    scene = new_scene("direct", 4)
    limited(scene, 6)
    count = killer.done("create", scene.copy("measured"), users=["n"]).points
    for at in range(1, count + 1, 3):
        place = scene.copy("killed")
        killer.run("create", place, users=["n"], at=at)
        killer.done("create", place, users=["n"])
        frost = scene.open(place)
        check(frost, 5)
        scene.close()


def test_another_vaults_keys_are_told_apart_and_never_removed(new_scene):
    scene = new_scene("direct", 4)
    frost = scene.open()
    foreign = ["icehouse-00000000000000000000000000000000-kek-1", "icehouse-u-00000000000000000000000000000000-1"]
    for label in foreign:
        frost.hsm.create_key(label, KeyKind.AES)

    assert frost.upkeep.orphans() == [(label, False) for label in foreign]
    assert orphans_removed(frost) == []
    assert keys_in(frost) >= set(foreign)


def test_orphans_removed_under_a_creation_do_not_harm_it(new_scene):
    scene = new_scene("direct", 4)
    creating, removing = scene.open(), scene.open()
    dealt = deal(creating.vault, prepare(creating.vault, ["n"], "ed25519"))
    ((label, own),) = removing.upkeep.orphans()

    assert own
    assert orphans_removed(removing) == []
    write(creating.vault, [dealt])
    assert label in keys_in(creating)
    check(creating, 5)
    assert removing.upkeep.orphans() == []


def test_orphans_removed_under_a_rewrap_do_not_harm_it(new_scene):
    scene = new_scene("direct", 4)
    moving_on, removing = scene.open(), scene.open()
    rewrap.begin(moving_on.vault)
    root = rewrap_users.unfinished_users(moving_on.vault)[0]
    (label,) = announce_own(moving_on.vault, [rewrap.successor(root)])
    make_or_take_up(moving_on.vault, moving_on.hsm, label)
    assert orphans_removed(removing) == [label]
    moving_on.upkeep.rewrap()

    assert f"{label[:-1]}3" in keys_in(moving_on)
    check(moving_on, 4)
    assert removing.upkeep.orphans() == []


def test_a_user_destroyed_while_being_moved_is_gone_from_both_versions(killer, new_scene):
    scene = new_scene("direct", 6)
    count = killer.done("rewrap", scene.copy("measured")).points
    for at in range(count // 4, count, count // 4):
        place = scene.copy("killed")
        killer.run("rewrap", place, at=at)
        frost = scene.open(place)
        assert destroyed(frost, "u5").destroyed
        frost.upkeep.rewrap()
        trimmed(frost)
        orphans_removed(frost)
        assert keys_in(frost) == keys_needed(frost)
        assert len(keys_in(frost)) == 5 + 1
        check(frost, 6)
        scene.sign_all(frost)
        scene.close()


def test_a_process_that_does_not_know_of_a_move_makes_no_user_in_the_old_hsm(new_scene):
    scene = new_scene("direct", 4)
    uri = second_token(scene.directory)
    early, late = scene.open(), scene.open()
    dealt = deal(early.vault, prepare(early.vault, ["early"], "ed25519"))
    move_hsm.move(scene.directory, uri)
    with pytest.raises(ConflictError):
        write(early.vault, [dealt])
    for service, user in ((early, "early"), (late, "late")):
        service.create_users([user])
    trimmed(late)
    move_hsm.settle(scene.directory)

    (scene.directory / "hsm.token").unlink()
    frost = scene.open()
    check(frost, 6)
    scene.rotate_all(frost)
    assert keys_in(frost) == keys_needed(frost)


def test_a_rewrap_that_was_begun_is_finished_before_a_move(killer, new_scene):
    scene = new_scene("direct", 4)
    uri = second_token(scene.directory)
    count = killer.done("rewrap", scene.copy("measured")).points
    assert killer.run("rewrap", scene.directory, at=count - 10).killed
    with pytest.raises(ConflictError, match="not finished"):
        move_hsm.move(scene.directory, uri)
    killer.done("rewrap", scene.directory)
    move_hsm.move(scene.directory, uri)

    frost = scene.open()
    check(frost, 4)
    scene.rotate_all(frost)
