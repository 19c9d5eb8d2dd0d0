"""What another process commits between two transactions of an upkeep verb, and what a warm cache does after a trim."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from consenting import destroyed, trimmed
from icehouse import Device
from icehouse.errors import ConflictError, RequestError, SealError
from icehouse.model import NO_DATA_KEY, Purpose, StaleRootsError
from icehouse.service import FrostService
from icehouse.store import DataKeyFullError
from icehouse.store.sweep import keys_with
from icehouse.users.dealing import deal, prepare, write
from icehouse.vault import move_records
from icehouse.vault.move_records import Slots, moved
from icehouse.vault.records import fresh_of
from upkeep.scene import check, enrolled

USERS = 12


class Meanwhile:
    """Work that is done just before one of a vault's transactions begins."""

    def __init__(self, frost, at, work):
        self.left = at
        self.work = work
        event.listen(frost.vault.store.database.engine, "before_cursor_execute", self)

    def __call__(self, _connection, _cursor, statement, *_):
        if statement != "BEGIN IMMEDIATE":
            return
        self.left -= 1
        if self.left == 0:
            self.work()

    @property
    def done(self):
        return self.left <= 0


def everything(scene, other, number):
    """What a serving process commits: a rotation, an enrolment, a creation, a code, a mark."""
    scene.devices["u0"].rotate(other)
    enrolled(other, f"u{3 + number}")
    other.create_users([f"new-{number}"])
    other.enrolment_code("u11")
    other.rotate_user_frost_shards("u1")


@pytest.mark.parametrize("custody", ["hybrid", "direct"])
@pytest.mark.parametrize("verb", ["reseal", "rewrap"])
def test_rows_committed_between_any_two_transactions_still_open_after_a_trim(new_scene, custody, verb):
    scene = new_scene(custody, USERS)
    other = scene.open()
    other.check()
    made = USERS
    for number in range(4):
        frost = scene.open()
        at = 1 + number * (1 if custody == "hybrid" else 5)
        meanwhile = Meanwhile(frost, at, lambda number=number: everything(scene, other, number))
        getattr(frost.upkeep, verb)()
        if not meanwhile.done:
            break
        made += 1
        trimmed(frost)
        check(frost, made)
        check(other, made)
        scene.sign_all(other)
    assert number == 3


def test_rows_committed_between_any_two_transactions_of_a_conversion_still_open(new_scene):
    scene = new_scene("hierarchical", USERS, buckets=2)
    other = scene.open()
    frost = scene.open()
    meanwhile = [Meanwhile(frost, at, lambda at=at: everything(scene, other, at)) for at in (2, 4)]
    frost.upkeep.convert_to_hybrid()
    trimmed(frost)

    assert all(one.done for one in meanwhile)
    check(other, USERS + 2)
    scene.sign_all(other)
    scene.rotate_all(frost)


def test_of_a_trim_and_a_process_that_is_just_sealing_the_seal_is_refused_when_it_is_later(new_scene):
    scene = new_scene("hybrid")
    late, frost = scene.open(), scene.open()
    key = late.vault.store.key_of("u0")
    slot = late.vault.slot(Purpose.SERVER)
    sealed = moved(late.vault, key, Slots(slot, slot))
    frost.upkeep.reseal()
    frost.upkeep.trim()

    now = late.vault.store.key_of("u0")
    with pytest.raises(ConflictError):
        late.vault.store.replace(key, sealed.key, sealed.fresh)
    with pytest.raises(DataKeyFullError):
        late.vault.store.replace(now, sealed.key, sealed.fresh)
    check(late, 12)


def test_of_a_trim_and_a_process_that_is_just_sealing_the_trim_leaves_what_was_sealed(new_scene):
    scene = new_scene("hybrid")
    sealing, frost = scene.open(), scene.open()
    number = sealing.vault.store.key_of("u0").sealed.data_key
    Meanwhile(frost, 2, lambda: scene.devices["u0"].rotate(sealing))
    frost.upkeep.reseal([number])
    frost.upkeep.trim()

    check(frost, 12)
    scene.sign_all(sealing)


def test_a_rotation_with_a_warm_cache_goes_on_while_its_data_key_is_resealed_and_trimmed(new_scene):
    scene = new_scene("hybrid")
    late, frost = scene.open(), scene.open()
    scene.sign_all(late)

    def reseal_and_trim():
        frost.upkeep.reseal()
        frost.upkeep.trim()

    meanwhile = Meanwhile(late, 1, reseal_and_trim)
    scene.devices["u0"].rotate(late)

    assert meanwhile.done
    check(late, 12)


def test_a_stale_process_writes_no_data_key_under_a_root_key_that_drains(new_scene):
    scene = new_scene("hybrid")
    stale, frost = scene.open(), scene.open()
    root = stale.vault.custody.root_key(Purpose.SERVER, None)
    fresh = stale.vault.custody.new_data_key(stale.vault.store.allocate_data_keys(1), Purpose.SERVER, root)
    key = stale.vault.store.key_of("u0")
    sealed = moved(stale.vault, key, Slots(fresh, fresh))
    frost.upkeep.rewrap()

    with pytest.raises(StaleRootsError):
        stale.vault.store.replace(key, sealed.key, fresh_of(fresh))
    scene.rotate_all(stale)
    check(stale, 12)


def test_a_leaked_data_key_opens_at_most_1024_records_and_no_live_one_after_a_reseal(new_scene):
    scene = new_scene("hybrid", 1100)
    frost = scene.open()
    store, custody = frost.vault.store, frost.vault.custody
    full, number = (store.key_of(user).sealed.data_key for user in ("u500", "u0"))
    assert 1000 < len(opened_by(frost, custody.unwrap(store.wrapped_key(full)), "current")) <= 1024
    leaked = custody.unwrap(store.wrapped_key(number))
    before = opened_by(frost, leaked, "current")
    assert before == {key.user for key in keys_with(store, [number], 9999) if key.sealed.data_key == number}
    assert len(before) <= 1024

    done = frost.upkeep.reseal([number])
    assert set(done.rotate) == {"u0", "u1", "u2"}
    assert done.replace == ()
    assert opened_by(frost, leaked, "current") == set()
    check(frost, 1100)
    scene.rotate_all(frost)


def test_data_keys_that_come_late_among_many_older_numbers_are_left_and_nothing_goes_in_circles(new_scene, monkeypatch):
    monkeypatch.setattr(move_records, "_NAMED", 2)  # of 500: no vault of a test has so many data keys
    scene = new_scene("hybrid", USERS)
    frost, other = scene.open(), scene.open()
    late = deal(other.vault, prepare(other.vault, [f"late-{number}" for number in range(1024)], "ed25519"))
    frost.create_users(f"new-{number}" for number in range(1024))
    meanwhile = Meanwhile(frost, 4, lambda: write(other.vault, [late]))
    resealed = frost.upkeep.reseal()

    assert meanwhile.done
    assert resealed.moved == USERS + 1024
    number = late.dealing.servers[0].number
    assert len(keys_with(frost.vault.store, [number], 9999)) == 1024
    check(frost, USERS + 2 * 1024)


@pytest.mark.parametrize("act", [destroyed, FrostService.enrolment_code])
def test_a_reseal_of_own_keys_goes_on_where_a_user_is_changed_meanwhile(new_scene, act):
    scene = new_scene("direct", USERS)
    frost, other = scene.open(), scene.open()
    meanwhile = Meanwhile(frost, 6, lambda: act(other, "u11"))
    resealed = frost.upkeep.reseal()

    assert meanwhile.done
    assert resealed.moved == USERS - (act is destroyed)
    check(frost, USERS)


def test_a_leaked_claim_data_key_lists_the_unclaimed_users_for_replacement(new_scene):
    scene = new_scene("hybrid", 12)
    frost = scene.open()
    store = frost.vault.store
    number = store.key_of("u5").claim.data_key
    leaked = frost.vault.custody.unwrap(store.wrapped_key(number))
    before = opened_by(frost, leaked, "claim")
    done = frost.upkeep.reseal([number])

    assert before == set(done.replace) == {f"u{at}" for at in range(3, 12)}
    assert done.rotate == ()
    assert opened_by(frost, leaked, "claim") == set()


def opened_by(frost, data_key, role):
    """The users whose record this data key opens."""
    users = set()
    for key in frost.vault.store.every_key():
        sealed = key.sealed if role == "current" else key.claim
        if sealed is None or sealed.data_key == NO_DATA_KEY:
            continue
        try:
            key.row.open(role, data_key, sealed.data_key, 2 if role == "current" else 1, sealed.record)
        except SealError:
            continue
        users.add(key.user)
    return users


def test_a_device_enrols_with_a_code_made_after_a_reseal(new_scene):
    scene = new_scene("hybrid")
    frost = scene.open()
    token = frost.enrolment_code("u5")
    frost.upkeep.reseal()
    device = Device.create("u5")
    with pytest.raises(RequestError, match="wrong, used or void"):
        device.enrol(frost, token)
    device.enrol(frost, frost.enrolment_code("u5"))

    device.sign(frost, b"hello")
