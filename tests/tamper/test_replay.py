"""Messages and answers replayed, swapped and reflected: nothing moves, nothing is deleted, no nonce answers twice."""

from __future__ import annotations

import itertools
from contextlib import suppress

import pytest

from icehouse._core import DeviceState, Passphrase, bare_refusal
from icehouse.device.device import Device
from icehouse.device.file import MemoryFile
from icehouse.errors import ConflictError, IcehouseError, ProtocolError, RequestError
from tamper.attacker import WORD, inside, payload_of, reason_of
from tamper.probes import copy_of
from tamper.world import World

BARE = ("malformed", "unknown-key", "unknown-epoch", "bad-mac", "unavailable", "conflict", "not-the-offer", "bad-proof")


class Tape:
    """A wire that remembers: everything said on it, in order."""

    def __init__(self, world):
        self.world = world
        self.said = []

    def exchange(self, text):
        answer = self.world.say(text)
        self.said.append((text, answer))
        return answer


def tell(tape, device, step):
    """One step of a device's story."""
    if step == "ask":
        device.prepare()
        device.accept_offer(tape.exchange(device.ask()))
    elif step == "proof":
        nonces, question = device.ask_proof()
        device.accept_proof(nonces, tape.exchange(question))
    elif step == "commit":
        device.accept_commit(tape.exchange(device.ask_commit()))
    elif step == "status":
        device.read_status(tape.exchange(device.ask_status()))
    else:
        nonces, question = device.ask_signature(b"text")
        device.accept_signature(nonces, tape.exchange(question))


STORY = ("status", "ask", "proof", "commit", "status", "sign", "ask", "sign", "proof", "commit", "sign", "status")


def shares_of(world):
    """All that decides who can sign: every row but what counts data keys."""
    rows = world.snapshot()
    return {table: rows[table] for table in ("keys", "claims", "offers")}


def test_every_message_replayed_at_every_later_point_changes_nothing(world):
    world.bring_to("code")
    tape = Tape(world)
    for step in STORY:
        tell(tape, world.devices["alice"], step)
        before = shares_of(world)
        for text, _ in tape.said:
            world.say(text)

            assert shares_of(world) == before


def test_a_message_of_an_older_epoch_is_unknown(world):
    world.bring_to("code")
    tape = Tape(world)
    for step in STORY:
        tell(tape, world.devices["alice"], step)
    old = [text for text, answer in tape.said if payload_of(text)["epoch"] < 2]

    assert {world.say(text) for text in old} == {bare_refusal("unknown-epoch")}
    assert len(old) > 6


def test_the_same_request_gets_the_same_offer_byte_for_byte_while_it_stands(world):
    world.bring_to("code")
    alice = world.devices["alice"]
    claims = {world.say(alice.ask()) for _ in range(3)}
    alice.accept_offer(claims.copy().pop())
    world.finish(alice)
    alice.prepare()

    assert len(claims) == 1
    assert len({world.say(alice.ask()) for _ in range(3)}) == 1


def test_the_same_signing_request_is_answered_with_other_commitments(world):
    world.bring_to("live")
    _, question = world.devices["alice"].ask_signature(b"text")
    answers = [payload_of(world.say(question)) for _ in range(20)]

    assert len({answer["hiding"] for answer in answers}) == 20
    assert len({answer["binding"] for answer in answers}) == 20
    assert len({answer["share"] for answer in answers}) == 20


def test_a_lost_cosignature_of_a_proof_is_asked_for_again_with_other_commitments(world):
    world.bring_to("rotating")
    alice = world.devices["alice"]
    _, lost = alice.ask_proof()
    first = world.say(lost)
    nonces, question = alice.ask_proof()
    second = world.say(question)

    assert payload_of(lost)["commitments"] != payload_of(question)["commitments"]
    assert payload_of(first)["hiding"] != payload_of(second)["hiding"]
    alice.accept_proof(nonces, second)
    alice.accept_commit(world.say(alice.ask_commit()))
    assert alice.facts()["epoch"] == 2


def test_nonces_are_used_once_even_when_the_answer_was_bad(world):
    world.bring_to("live")
    alice = world.devices["alice"]
    nonces, question = alice.ask_signature(b"text")
    with pytest.raises(IcehouseError):
        alice.accept_signature(nonces, bare_refusal("unavailable"))

    with pytest.raises(ValueError, match="used up"):
        alice.accept_signature(nonces, world.say(question))


def test_an_answer_to_another_message_is_refused_by_the_device(world):
    world.bring_to("live")
    alice = world.devices["alice"]
    _, question = alice.ask_signature(b"text")
    other = world.say(question)
    nonces, _ = alice.ask_signature(b"text")

    with pytest.raises(ProtocolError, match="participant 2 does not verify") as caught:
        alice.accept_signature(nonces, other)
    assert caught.value.culprits == (2,)


# What a device believes


def steps_of(state):
    """Every way this device takes an answer in its present state."""
    found = {}
    facts = state.facts()
    if facts["requesting"]:
        found["offer"] = state.accept_offer
    if facts["pending"] is not None:
        found["cosigned proof"] = lambda answer: state.accept_proof(state.ask_proof()[0], answer)
        found["committed"] = state.accept_commit
        found["abandoned"] = lambda answer: state.accept_abandoned(None, answer)
    if facts["epoch"]:
        found["cosigned"] = lambda answer: state.accept_signature(state.ask_signature(b"text")[0], answer)
    return found


@pytest.fixture
def recorded(world):
    """Everything said in the lives of both devices, one of which abandoned an offer, up to a standing offer."""
    world.bring_to("code")
    tape = Tape(world)
    for device in world.devices.values():
        for step in ("status", "ask", "proof", "commit", "status", "sign", "ask"):
            tell(tape, device, step)
        device.accept_abandoned(None, tape.exchange(device.ask_abandon()))
        for step in ("ask", "proof"):
            tell(tape, device, step)
    return tape


def test_no_recorded_answer_no_reflected_message_and_no_bare_refusal_moves_a_device(recorded):
    alice = recorded.world.devices["alice"]
    alice.prepare()  # so that it waits for an offer, too
    lies = [text for pair in recorded.said for text in pair] + [bare_refusal(reason) for reason in BARE]
    lies += ["", "{}", "null", ".."]
    before = inside(alice)
    for name, take in steps_of(alice).items():
        for lie in lies:
            with pytest.raises(IcehouseError):
                take(lie)

            assert inside(alice) == before, name


def test_a_devices_own_message_is_no_answer_to_it(recorded):
    alice = recorded.world.devices["alice"]
    before = inside(alice)
    for take, own in (
        (alice.accept_commit, alice.ask_commit()),
        (lambda text: alice.accept_abandoned(None, text), alice.ask_abandon()),
        (alice.read_status, alice.ask_status()),
        (alice.accept_offer, alice.ask_status()),
    ):
        with pytest.raises((ProtocolError, RequestError)):
            take(own)

    assert inside(alice) == before


class Wire:
    """Someone who answers in the cosigner's place, from what he recorded and what he can make up."""

    def __init__(self, *answers):
        self.answers = itertools.chain(answers, itertools.repeat(answers[-1]))

    def exchange(self, text):
        del text
        return next(self.answers)


ACTS = {
    "resolve": lambda device, wire: device.resolve(wire),
    "rotate": lambda device, wire: device.rotate(wire),
    "sign": lambda device, wire: device.sign(wire, b"text"),
    "status": lambda device, wire: device.status(wire),
}


@pytest.mark.parametrize("proved", [True, False], ids=["proved", "not proved"])
@pytest.mark.parametrize("act", ACTS)
def test_recorded_answers_with_forged_refusals_make_no_device_delete_anything(recorded, act, proved):
    """Each pair: what the wire says first, and what it says to everything after that."""
    alice = recorded.world.devices["alice"]
    if not proved:
        # The same pending offer before its proof was made.
        alice.accept_abandoned(None, recorded.exchange(alice.ask_abandon()))
        tell(recorded, alice, "ask")
    kept, file = alice.facts(), alice.to_file(Passphrase(WORD), 1)
    key = kept["key"].hex()
    answers = list({answer for _, answer in recorded.said if payload_of(answer).get("key", key) == key})
    pool = [*answers, *map(bare_refusal, BARE)]
    ends = [answer for answer in pool if payload_of(answer)["type"] in {"abandoned", "committed", "refused"}]
    for first, then in itertools.product(pool, ends):
        state = DeviceState.from_file(file, Passphrase(WORD))
        with suppress(IcehouseError):
            ACTS[act](Device(state, MemoryFile()), Wire(first, then))

        assert {**state.facts(), "requesting": False} == {**kept, "requesting": False}


# Offers that end in other ways


def test_a_bent_pending_record_fails_the_proof_with_the_epoch_unchanged(world):
    world.bring_to("rotating")
    alice = world.devices["alice"]
    world.prove(alice)
    rows = world.snapshot()
    for column in ("record", "commitments", "payload", "device_key", "offer_id"):
        value = world.sql(f"SELECT {column} FROM offers LIMIT 1")[0][0]
        for place in (0, len(value) // 2, len(value) - 1):
            bent = bytearray(value)
            bent[place] ^= 1
            world.bend("offers", column, bytes(bent), "1")

            assert reason_of(world.say(alice.ask_commit())) == "bare:unavailable"
            assert world.key().epoch == 1
            world.restore(rows)
    alice.accept_commit(world.say(alice.ask_commit()))
    assert world.key().epoch == 2


def test_an_offer_replaced_before_its_proof_existed_is_resolved_by_abandon(tmp_path):
    world = World(tmp_path, now=0.0).bring_to("claiming")
    first = world.devices["alice"]
    second = copy_of(first)
    second.prepare()
    world.now = 10_000.0
    second_offer = world.say(second.ask())
    device = Device(first, MemoryFile())

    assert device.resolve(world.service)
    assert (device.epoch, device.pending_epoch) == (0, None)
    assert payload_of(second_offer)["group"]["epoch"] == 2
    world.close()


def test_another_device_with_the_same_code_waits_until_the_offer_expires(tmp_path):
    world = World(tmp_path, now=0.0).bring_to("claiming")
    second = copy_of(world.devices["alice"])
    second.prepare()
    answers = [reason_of(world.say(second.ask()))]
    world.now = 900.0
    answers.append(reason_of(world.say(second.ask())))
    world.now = 901.0
    answers.append(reason_of(world.say(second.ask())))

    assert answers == ["conflict", "conflict", "offer"]
    world.close()


def test_a_code_is_void_after_the_commit_and_after_a_newer_one(world):
    world.bring_to("code")
    alice = world.devices["alice"]
    old = copy_of(alice)
    alice.take_token(world.service.enrolment_code("alice"))
    tell(Tape(world), alice, "ask")
    used = copy_of(alice)
    used.prepare()
    world.finish(alice)

    assert world.say(old.ask()) == bare_refusal("unknown-epoch")
    assert world.say(used.ask_status()) == bare_refusal("unknown-epoch")


def test_an_old_code_is_a_bad_mac_while_a_newer_one_is_in_force(world):
    world.bring_to("code")
    old = copy_of(world.devices["alice"])
    world.service.enrolment_code("alice")

    assert world.say(old.ask()) == bare_refusal("bad-mac")


def test_a_replayed_rotate_after_an_abandon_only_stands_in_the_way(world):
    """The wire can make an offer stand that nobody asked for; the device clears it away."""
    world.bring_to("live")
    alice, tape = world.devices["alice"], Tape(world)
    tell(tape, alice, "ask")
    replayed = tape.said[0][0]
    alice.accept_abandoned(None, world.say(alice.ask_abandon()))
    assert reason_of(world.say(replayed)) == "offer"
    Device(alice, MemoryFile()).rotate(world.service)

    assert alice.facts()["epoch"] == world.key().epoch > 2


def test_a_first_claim_that_conflicts_says_what_to_do(world):
    world.bring_to("claiming")
    second = copy_of(world.devices["alice"])
    second.accept_abandoned(None, world.say(second.ask_abandon()))
    rival = copy_of(second)
    rival.prepare()
    world.say(rival.ask())
    second = Device(copy_of(second), MemoryFile())

    with pytest.raises(ConflictError) as caught:
        second.enrol(world.service)
    assert "enrolment code" in caught.value.hint
