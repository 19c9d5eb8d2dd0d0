"""What one message, and a flood of them, may cost a vault: elements decoded, the lock that all threads share, lines."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from icehouse import create_hsm_frost
from icehouse._core import DeviceState, Envelope, MacKey, elements_decoded
from icehouse.model import SUITES
from tamper.attacker import b64, channel_of, message, payload_of, reason_of
from tamper.test_limits import stranger
from tamper.world import World

MEBIBYTE = 1 << 20


class Spoken:
    """A user of a suite with a device that may sign, and what a message of his costs."""

    def __init__(self, suite):
        self.frost = create_hsm_frost("simulated")
        self.frost.create_user_frost_shards("alice", suite=suite)
        self.device = DeviceState("alice")
        self.device.take_token(self.frost.enrolment_code("alice"))
        self.offer()
        self.nonces, self.question = self.device.ask_proof()
        self.device.accept_proof(self.nonces, self.frost.exchange(self.question))
        self.device.accept_commit(self.frost.exchange(self.device.ask_commit()))

    def offer(self):
        self.device.prepare()
        self.device.accept_offer(self.frost.exchange(self.device.ask()))

    def says(self, payload, epoch=1):
        key_id = self.device.facts()["key"]
        own = channel_of(self.device, "current" if epoch == 1 else "pending")
        return message(own, key_id, epoch, {"v": 1, "key": key_id.hex(), "epoch": epoch} | payload)

    def cost(self, text):
        before = elements_decoded()
        answer = self.frost.exchange(text)
        return elements_decoded() - before, reason_of(answer)


@pytest.fixture(params=SUITES)
def spoken(request):
    made = Spoken(request.param)
    yield made
    made.frost.close()


def test_no_message_decodes_three_times_what_the_dearest_honest_one_does(spoken):
    honest, answered = spoken.cost(spoken.device.ask_signature(b"text")[1])
    assert (answered, honest > 0) == ("cosigned", True)

    one = payload_of(spoken.device.ask_signature(b"text")[1])["commitments"][0]
    sign = {"type": "cosign", "purpose": "sign", "message": b64(b"text"), "taproot_root": None}
    floods = [{**sign, "commitments": listed} for listed in ([one] * 2, [one] * 254, [one] * 1_000)]
    floods += [{**sign, "commitments": [{**one, "participant": n} for n in range(1, 255)]}]
    floods += [{**sign, "commitments": [one], "message": b64(bytes(MEBIBYTE + 1))}]
    point = one["hiding"]
    for kind in ("claim", "rotate", "prove", "abandon", "status"):
        floods += [{"type": kind, "commitments": [one] * 1_000}, {"type": kind, "participant": 1, "device_key": point}]
        floods += [{"type": kind, "offer_id": "ab" * (MEBIBYTE // 4)}, {"type": kind, "offer_id": "ab" * 16}]
    floods += [{"type": "prove", "offer_id": "ab" * 16, "signature": "ab" * (MEBIBYTE // 4)}]
    costs = [spoken.cost(spoken.says(payload)) for payload in floods]

    assert not {reason for _, reason in costs} & {"cosigned", "committed"}
    assert max(decoded for decoded, _ in costs) <= 3 * honest


def test_the_offers_proof_decodes_no_more_than_three_signatures_do(spoken):
    honest, _ = spoken.cost(spoken.device.ask_signature(b"text")[1])
    spoken.offer()
    nonces, question = spoken.device.ask_proof()
    costs = [spoken.cost(question)[0]]
    spoken.device.accept_proof(nonces, spoken.frost.exchange(question))
    bad = payload_of(spoken.device.ask_commit()) | {"signature": payload_of(spoken.device.ask_commit())["signature"]}
    costs.append(spoken.cost(spoken.says(bad, 2))[0])

    assert max(costs) <= 3 * honest


def test_the_longest_honest_message_is_answered_and_one_of_two_mebibytes_is_not_read():
    spoken = Spoken("ed25519")
    longest = spoken.device.ask_signature(bytes(MEBIBYTE))[1]

    assert spoken.cost(longest)[1] == "cosigned"
    assert len(longest) < 2 * MEBIBYTE
    assert spoken.cost(longest + "A" * MEBIBYTE)[1] == "bare:malformed"


# The interpreter's lock


@contextmanager
def counting():
    """A thread that counts whenever it gets the interpreter's lock, which nobody is made to give up meanwhile."""
    count, stop = [0], threading.Event()

    def tick():
        while not stop.is_set():
            time.sleep(0.0005)
            count[0] += 1

    before, thread = sys.getswitchinterval(), threading.Thread(target=tick)
    thread.start()
    sys.setswitchinterval(30)
    try:
        yield count
    finally:
        sys.setswitchinterval(before)
        stop.set()
        thread.join()


def lets_others_run(count, call):
    """Whether another thread ran while this call did; a few tries, for it may be slow to wake."""
    for _ in range(50):
        before = count[0]
        call()
        if count[0] != before:
            return True
    return False


def test_a_long_message_lets_other_threads_run_while_it_is_read():
    spoken = Spoken("ed25519")
    device_key, epoch = channel_of(spoken.device), 1
    longest = spoken.device.ask_signature(bytes(MEBIBYTE))[1]
    envelope = Envelope(longest)
    vault = spoken.frost.vault
    key = vault.store.key_of("alice")
    share = vault.custody.open_share(key)
    own: MacKey = share.channel_key(key.group, 1, epoch)
    payload = json.dumps(payload_of(longest)).encode()
    calls = {
        "parse": lambda: Envelope(longest),
        "authenticate": lambda: envelope.authenticate(own),
        "read": lambda: envelope.read(payload, key.group),
        "answer": lambda: envelope.offer(own, bytes(MEBIBYTE)),
    }
    with counting() as count:
        silent = [name for name, call in calls.items() if not lets_others_run(count, call)]

    assert device_key
    assert silent == []


# Lines of the log


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.ERROR, logger="icehouse")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "icehouse"]


@pytest.fixture
def own(tmp_path):
    world = World(tmp_path).bring_to("live")
    yield world
    world.close()


def test_a_flood_of_guessed_epochs_is_a_few_lines_and_a_count(own, lines):
    answers = {reason_of(own.say(stranger(own, epoch=2 + n))) for n in range(1_500)}

    assert answers == {"bare:unknown-epoch"}
    assert len(lines()) <= 5
    assert "1,000 such lines were held back" in lines()[-1]
    assert all("was the database rolled back?" in line for line in lines())


def test_guessed_epochs_of_many_keys_are_bounded_in_all(tmp_path, lines):
    world = World(tmp_path)
    users = [f"user-{n}" for n in range(60)]
    world.service.create_users(users)
    for _ in range(3):
        for user in users:
            world.say(stranger(world, user, 99))
    world.close()

    assert len(lines()) <= 25


def test_what_is_not_served_is_logged_a_few_times_however_often_it_is_asked_for(own, lines):
    own.bend("keys", "record", bytes(61), "user = 'alice'")
    answers = {reason_of(own.say(stranger(own))) for _ in range(300)}

    assert answers == {"bare:unavailable"}
    assert 1 <= len(lines()) <= 5
    assert "is not served" in lines()[0]


def test_a_strangers_flood_hides_no_alarm_that_a_device_raises(own, lines):
    own.rotate(own.devices["alice"])
    for n in range(300):
        own.say(stranger(own, "alice", 9 + n))
    loud = len(lines())
    device = own.devices["bob"]
    device.prepare()
    device.accept_offer(own.say(device.ask()))
    own.prove(device)
    rows = own.snapshot()
    device.accept_commit(own.say(device.ask_commit()))
    own.restore(rows)
    own.say(device.ask_status())

    assert len(lines()) == loud + 1
    assert "takes epoch 2 for committed" in lines()[-1]


def test_one_line_about_a_key_comes_again_when_a_minute_has_passed(own, lines, monkeypatch):
    now = [1_000_000.0]
    monkeypatch.setattr("icehouse.watch.monotonic", lambda: now[0])
    own.say(stranger(own, epoch=9))
    for _ in range(5):
        own.say(stranger(own, epoch=9))
    now[0] += 61
    own.say(stranger(own, epoch=9))

    assert len(lines()) == 2
    assert lines()[-1].endswith("(5 such lines were held back before this one)")
