"""Nonces are values that one answer consumes; a second use raises, whatever became of the first."""

from __future__ import annotations

import pickle

import pytest

from icehouse import Device, create_hsm_frost
from icehouse._core import DeviceState
from icehouse.errors import ProtocolError, RefusedError, RequestError


@pytest.fixture(scope="module")
def frost():
    with create_hsm_frost("simulated") as service:
        service.create_user_frost_shards("alice")
        yield service


@pytest.fixture(scope="module")
def alice(frost):
    device = Device.create("alice")
    device.enrol(frost, frost.enrolment_code("alice"))
    return device._state


def test_a_second_use_of_nonces_raises(frost, alice):
    nonces, question = alice.ask_signature(b"once")
    answer = frost.exchange(question)
    alice.accept_signature(nonces, answer)

    with pytest.raises(ValueError, match="used up"):
        alice.accept_signature(nonces, answer)


def test_nonces_are_used_up_by_an_answer_that_failed(frost, alice):
    nonces, question = alice.ask_signature(b"once")
    with pytest.raises(RefusedError):
        alice.accept_signature(nonces, '{"v":1,"type":"refused","reason":"unavailable"}')

    with pytest.raises(ValueError, match="used up"):
        alice.accept_signature(nonces, frost.exchange(question))


def test_nonces_of_one_question_do_not_finish_another(frost, alice):
    nonces, _ = alice.ask_signature(b"one message")
    _, question = alice.ask_signature(b"another message")

    with pytest.raises(ProtocolError, match="does not verify"):
        alice.accept_signature(nonces, frost.exchange(question))


def test_every_question_has_fresh_nonces(alice):
    questions = {alice.ask_signature(b"the same message")[1] for _ in range(8)}

    assert len(questions) == 8


def test_the_vault_answers_the_same_question_with_fresh_nonces(frost, alice):
    _, question = alice.ask_signature(b"asked twice")

    assert len({frost.exchange(question) for _ in range(8)}) == 8


@pytest.mark.parametrize("make", [lambda state: state.ask_signature(b"")[0], lambda state: state])
def test_nonces_and_devices_are_neither_shown_nor_copied_nor_compared(alice, make):
    secret = make(alice)

    assert repr(secret).endswith("(<redacted>)")
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError, match="compared"):
        _ = secret == secret  # noqa: PLR0124  that is the question
    with pytest.raises(TypeError, match="hashed"):
        hash(secret)


def test_a_device_that_is_not_enrolled_signs_nothing():
    with pytest.raises(RequestError, match="not enrolled"):
        DeviceState("bob").ask_signature(b"message")
