"""A hierarchical vault whose database is gone, rebuilt from its master and a list of its users."""

from __future__ import annotations

import pytest

from consenting import destroyed
from icehouse.errors import ConflictError, HsmRefusedError, RequestError, StaleEpochError
from icehouse.model import State
from icehouse.upkeep.recover import Listed, recover
from icehouse.vault import settings
from icehouse.vault.opening import open_vault, recover_vault
from upkeep.scene import check, enrolled

USERS = 10_000
BUCKETS = 10
FLOOR = 50


def rows_of(frost):
    """What `users list --format json` writes."""
    return [
        {
            "user": key.user,
            "suite": key.suite,
            "generation": key.generation,
            "epoch": key.epoch,
            "next_epoch": key.next_epoch,
            "offer_id": key.offer_id.hex() if key.offer_id else None,
            "state": str(key.state),
            "public_key": key.group.public_key.hex(),
        }
        for key in frost.vault.store.every_key()
    ]


@pytest.fixture
def lost(new_scene, request):
    """A vault without its database, and the list of its users."""
    scene = new_scene("hierarchical", getattr(request, "param", 20), buckets=BUCKETS)
    frost = scene.open()
    scene.rotate_all(frost)
    destroyed(frost, "u9")
    rows, vault_id = rows_of(frost), frost.vault.vault_id
    scene.close()
    for file in scene.directory.glob("vault.db*"):
        file.unlink()
    return scene, rows, vault_id


def rebuild(scene, rows, vault_id, *, buckets=BUCKETS, floor=FLOOR, create_unknown=False):
    vault = recover_vault(settings.load(scene.directory), vault_id, buckets)
    try:
        return recover(vault, [Listed.parse(row, "the list") for row in rows], floor, create_unknown=create_unknown)
    finally:
        vault.store.close()
        vault.custody.roots.close()


def assert_nothing_written(scene):
    with pytest.raises(RequestError, match="holds no vault"):
        open_vault(settings.load(scene.directory))


@pytest.mark.parametrize("lost", [USERS], indirect=True)
def test_ten_thousand_users_are_rebuilt_and_their_devices_notice_nothing(lost):
    scene, rows, vault_id = lost
    done = rebuild(scene, rows, vault_id)

    assert (done.live, done.locked, done.destroyed) == (3, USERS - 4, 1)
    frost = scene.open()
    scene.sign_all(frost)
    scene.rotate_all(frost)
    check(frost, USERS)
    assert {row["user"]: row["public_key"] for row in rows} == {
        key.user: key.group.public_key.hex() for key in frost.vault.store.every_key()
    }


def test_a_key_whose_epoch_is_not_known_waits_for_a_new_code_and_starts_above_the_floor(lost):
    scene, rows, vault_id = lost
    rebuild(scene, [row | {"epoch": None} if row["user"] == "u1" else row for row in rows], vault_id)
    frost = scene.open()
    device = scene.devices["u1"]
    before = device.public_key

    assert frost.get_shards("u1").state == State.LOST
    with pytest.raises(StaleEpochError):
        device.sign(frost, b"hello")
    device.enrol(frost, frost.enrolment_code("u1"))
    assert device.epoch > FLOOR
    assert device.public_key == before
    scene.rotate_all(frost)
    assert enrolled(frost, "u5").epoch > FLOOR


def test_without_a_floor_no_key_of_an_unknown_epoch_is_rebuilt(lost):
    scene, rows, vault_id = lost
    with pytest.raises(RequestError, match="'u3' is not known, and no floor"):
        rebuild(scene, rows, vault_id, floor=None)

    assert_nothing_written(scene)


def test_a_tombstone_outlives_recovery_and_its_user_gets_the_next_generation(lost):
    scene, rows, vault_id = lost
    rebuild(scene, rows, vault_id)
    frost = scene.open()

    assert frost.get_shards("u9").state == "removed"
    with pytest.raises(RequestError, match="was destroyed"):
        frost.enrolment_code("u9")
    assert frost.create_user_frost_shards("u9").generation == 1


def test_a_list_that_does_not_fit_names_the_users_and_writes_nothing(lost):
    scene, rows, vault_id = lost
    wrong = [row | {"public_key": rows[0]["public_key"]} if row["user"] in {"u2", "u4"} else row for row in rows]
    with pytest.raises(RequestError, match=r"2 public keys .*: u2, u4$"):
        rebuild(scene, wrong, vault_id)

    assert_nothing_written(scene)
    rebuild(scene, rows, vault_id)
    scene.sign_all(scene.open())


def test_the_wrong_number_of_buckets_is_noticed_and_writes_nothing(lost):
    scene, rows, vault_id = lost
    with pytest.raises(RequestError, match=f"{len(rows)} public keys of the list are not those derived"):
        rebuild(scene, rows, vault_id, buckets=0)

    assert_nothing_written(scene)
    rebuild(scene, rows, vault_id)
    scene.sign_all(scene.open())


def test_a_wrong_vault_id_is_noticed_and_writes_nothing(lost):
    scene, rows, vault_id = lost
    with pytest.raises(HsmRefusedError, match="has the key"):
        rebuild(scene, rows, bytes(16))

    assert_nothing_written(scene)
    rebuild(scene, rows, vault_id)
    scene.sign_all(scene.open())


def test_users_without_a_public_key_are_made_only_when_asked(lost):
    scene, rows, vault_id = lost
    unknown = [*rows, {"user": "newcomer"}]
    with pytest.raises(RequestError, match="no public key of 'newcomer'"):
        rebuild(scene, unknown, vault_id)

    assert_nothing_written(scene)
    assert rebuild(scene, unknown, vault_id, create_unknown=True).locked == len(rows) - 3
    scene.sign_all(scene.open())


def test_a_vault_is_not_recovered_over_another_or_over_itself(lost):
    scene, rows, vault_id = lost
    rebuild(scene, rows, vault_id)
    with pytest.raises(ConflictError, match="holds a vault already"):
        rebuild(scene, rows, vault_id)

    scene.sign_all(scene.open())


def test_two_recoveries_at_once_leave_one_vault(lost):
    scene, rows, vault_id = lost
    first, second = (recover_vault(settings.load(scene.directory), vault_id, BUCKETS) for _ in range(2))
    listed = [Listed.parse(row, "the list") for row in rows]
    recover(first, listed, FLOOR, create_unknown=False)
    with pytest.raises(ConflictError, match="holds a vault already"):
        recover(second, listed, FLOOR, create_unknown=False)
    for vault in (first, second):
        vault.store.close()
        vault.custody.roots.close()

    check(scene.open(), len(rows))


def test_a_recovery_killed_anywhere_is_begun_again(killer, lost):
    scene, rows, vault_id = lost
    arguments = {"rows": rows, "vault_id": vault_id.hex(), "buckets": BUCKETS, "floor": FLOOR}
    count = killer.done("recover", scene.copy("measured"), **arguments).points
    for at in range(1, count, max(1, count // 8)):
        place = scene.copy("killed")
        assert killer.run("recover", place, at=at, **arguments).killed
        killer.run("recover", place, **arguments)
        frost = scene.open(place)
        check(frost, len(rows))
        scene.sign_all(frost)
        scene.close()
