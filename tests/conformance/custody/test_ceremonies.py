"""One body for every custody: the same ceremonies, the same answers."""

from __future__ import annotations

import pytest

from consenting import destroyed
from icehouse import Device
from icehouse._core import DeviceState
from icehouse.errors import ConflictError, RefusedError, RequestError
from icehouse.model import SUITES, BulkResult, State
from tamper.attacker import payload_of, reason_of


def claiming(house, user):
    """A device that holds an offer it has not proved."""
    device = DeviceState(user)
    device.take_token(house.service.enrolment_code(user))
    device.prepare()
    device.accept_offer(house.service.exchange(device.ask()))
    return device


def proof(house, device):
    """A device's signature with the offered shares."""
    nonces, question = device.ask_proof()
    device.accept_proof(nonces, house.service.exchange(question))


def test_a_user_is_made_enrols_signs_and_rotates(house):
    made = house.service.create_user_frost_shards("alice")
    alice = Device.create("alice")
    alice.enrol(house.service, house.service.enrolment_code("alice"))
    house.sign(alice)
    first = alice.epoch
    alice.rotate(house.service)
    house.sign(alice)
    after = house.service.get_shards("alice")

    assert (after.key_id, after.public_key) == (made.key_id, made.public_key)
    assert after.custody == house.arrangement.custody
    assert after.epoch == alice.epoch > first
    assert house.service.check() == 1


@pytest.mark.on("simulated")
@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_is_served(house, suite):
    alice = house.enrolled("alice", suite=suite)
    alice.sign(house.service, b"one")
    alice.rotate(house.service)
    alice.sign(house.service, b"two")

    assert house.service.check_user("alice").suite == suite


def test_the_same_creation_again_gives_the_same_answer(house):
    first = house.service.create_user_frost_shards("alice")

    assert house.service.create_user_frost_shards("alice") == first
    assert house.service.create_keygen_ceremony(2, ["alice", "server"]) == first
    with pytest.raises(ConflictError, match="another suite"):
        house.service.create_user_frost_shards("alice", suite="p256")


def test_many_are_made_at_once_and_none_twice(house):
    names = [f"user-{number}" for number in range(12)]
    house.service.create_users(names[::2])
    before = [view.public_key for view in house.service.users()]
    second = house.service.create_users(names)
    again = house.operations(lambda: house.service.create_users(names))

    assert second == BulkResult(6, 6)
    assert again == {}
    assert [view.public_key for view in house.service.users()][:6] == before
    assert house.service.check() == 12
    assert len({view.public_key for view in house.service.users()}) == 12


def test_a_newer_code_voids_the_older_and_cancels_its_claim(house):
    house.service.create_users(["alice"])
    thief = claiming(house, "alice")
    newer = house.service.enrolment_code("alice")
    proof_question = thief.ask_proof()[1]
    alice = Device.create("alice")
    alice.enrol(house.service, newer)
    house.sign(alice)

    assert reason_of(house.service.exchange(proof_question)) == "bare:unknown-epoch"
    assert alice.epoch == 2
    with pytest.raises(RequestError, match="enrolled already"):
        house.service.enrolment_code("alice")


def test_a_repeated_message_gets_the_same_offer_and_the_same_commit(house):
    house.service.create_users(["alice"])
    device = claiming(house, "alice")
    same = DeviceState("alice")
    same.take_token(house.service.enrolment_code("alice"))
    same.prepare()
    offers = {house.service.exchange(same.ask()) for _ in range(2)}
    same.accept_offer(offers.pop())
    proof(house, same)
    commits = {house.service.exchange(same.ask_commit()) for _ in range(3)}

    assert offers == set()
    assert [payload_of(commit)["type"] for commit in commits] == ["committed"]
    assert reason_of(house.service.exchange(device.ask_proof()[1])) == "bare:unknown-epoch"


def test_an_abandoned_offer_burns_its_number(house):
    alice = house.enrolled("alice")
    state = alice._state
    state.prepare()
    state.accept_offer(house.service.exchange(state.ask()))
    offered = alice.pending_epoch
    state.accept_abandoned(None, house.service.exchange(state.ask_abandon()))
    house.sign(alice)
    alice.rotate(house.service)
    house.sign(alice)

    assert alice.epoch > offered
    assert house.service.check() == 1


def test_an_offer_that_expired_gives_way_to_another_device(house):
    house.service.create_users(["alice"])
    token = house.service.enrolment_code("alice")
    first, second = DeviceState("alice"), DeviceState("alice")
    for device in (first, second):
        device.take_token(token)
        device.prepare()
    first.accept_offer(house.service.exchange(first.ask()))
    early = reason_of(house.service.exchange(second.ask()))
    house.late = 901
    second.accept_offer(house.service.exchange(second.ask()))
    proof(house, second)
    second.accept_commit(house.service.exchange(second.ask_commit()))

    assert early == "conflict"
    assert reason_of(house.service.exchange(first.ask_proof()[1])) == "bare:unknown-epoch"
    assert second.facts()["epoch"] == 2
    assert house.service.check() == 1


def test_a_due_rotation_is_done_at_the_devices_next_contact(house):
    alice = house.enrolled("alice")
    before = alice.epoch
    house.service.rotate_user_frost_shards("alice")
    house.sign(alice)
    after = alice.epoch
    house.sign(alice)

    assert (after > before, alice.epoch) == (True, after)


def test_two_processes_serve_one_vault(house):
    other = house.another_process()
    alice, bob = house.enrolled("alice"), house.enrolled("bob", other)
    for device in (alice, bob):
        for service in (other, house.service):
            house.sign(device, service)
            device.rotate(service)
    destroyed(house.service, "bob")

    house.sign(alice, other)
    with pytest.raises(RequestError, match="does not know this key"):
        bob.sign(other, b"message")


def test_a_destroyed_user_is_refused_everything_and_nobody_else_anything(house):
    alice, bob = house.enrolled("alice"), house.enrolled("bob")
    house.service.create_users(["carol"])
    carol = claiming(house, "carol")
    bobs = house.key("bob")
    removals = [destroyed(house.service, user) for user in ("alice", "carol")]
    questions = [
        alice._state.ask_status(),
        alice._state.ask_signature(b"text")[1],
        carol.ask_proof()[1],
        carol.ask_abandon(),
        carol.ask_status(),
    ]
    alice._state.prepare()
    questions.append(alice._state.ask())

    assert {reason_of(house.service.exchange(question)) for question in questions} == {"bare:unknown-key"}
    with pytest.raises(RequestError, match=r"destroyed|enrolled"):
        house.service.enrolment_code("alice")
    assert house.service.get_shards("alice").state == ("destroyed" if removals[0].destroyed else "removed")
    assert house.key("bob") == bobs
    house.sign(bob)
    bob.rotate(house.service)
    assert house.service.check() == 3


def test_a_user_made_again_is_of_the_next_generation_and_the_old_device_is_refused(house):
    alice, bob = house.enrolled("alice"), house.enrolled("bob")
    old = house.service.get_shards("alice")
    destroyed(house.service, "alice")
    made = house.service.create_users(["alice", "bob"])
    fresh = house.service.get_shards("alice")
    again = house.enrolled("alice")
    house.sign(again)
    again.rotate(house.service)
    house.sign(bob)

    assert made.created + made.existing == 2
    assert (fresh.generation, fresh.epoch, fresh.state) == (1, 0, State.DEALT)
    assert fresh.public_key != old.public_key
    assert fresh.key_id != old.key_id
    with pytest.raises(RequestError, match="does not know this key"):
        alice.sign(house.service, b"message")
    assert house.service.check() == 2


def test_destroying_and_making_again_many_times_leaves_one_key(house):
    seen = set()
    for generation in range(4):
        seen.add(house.service.create_user_frost_shards("alice").public_key)
        assert house.service.get_shards("alice").generation == generation
        destroyed(house.service, "alice")

    destroyed(house.service, "alice")
    assert len(seen) == 4
    assert house.service.check() == 1


def test_a_suspended_key_refuses_until_it_is_resumed(house):
    alice = house.enrolled("alice")
    house.write("alice", State.SUSPENDED)
    for act in (lambda: alice.sign(house.service, b"text"), lambda: alice.rotate(house.service)):
        with pytest.raises(RefusedError) as caught:
            act()

        assert (caught.value.reason, caught.value.authenticated) == ("suspended", True)
    house.write("alice", State.LIVE)
    alice.rotate(house.service)
    house.sign(alice)


def test_a_row_copied_over_another_users_serves_neither(house):
    alice, bob = house.enrolled("alice"), house.enrolled("bob")
    columns = "epoch, next_epoch, commitments, offer_id, data_key, record"
    names = [name.strip() for name in columns.split(",")]
    row = house.sql(f"SELECT {columns} FROM keys WHERE \"user\" = 'bob'")[0]
    house.sql(f"UPDATE keys SET {', '.join(f'{name} = ?' for name in names)} WHERE \"user\" = 'alice'", *row)

    with pytest.raises(RefusedError) as caught:
        alice.sign(house.service, b"text")
    assert (caught.value.reason, caught.value.authenticated) == ("unavailable", False)
    house.sign(bob)
