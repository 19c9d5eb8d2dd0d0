"""The device's rules of DESIGN §3 where an ordinary story does not lead."""

from __future__ import annotations

import pytest

from crash.ledger import payload_of
from crash.pocket import PASSPHRASE, Crash, Pocket, new_content
from icehouse._core import DeviceState, bare_refusal, verify
from icehouse.device.device import Device
from icehouse.errors import ConflictError, RefusedError, RequestError
from icehouse.service import create_hsm_frost

USER = "alice"


class Wire:
    """A network that counts what is said, and answers as it is told to instead of the vault."""

    def __init__(self, vault):
        self.vault = vault
        self.said = []
        self.instead = {}

    def exchange(self, message):
        kind = payload_of(message)["type"]
        self.said.append(kind)
        answer = self.instead.pop(kind, None)
        if isinstance(answer, BaseException):
            raise answer
        return answer or self.vault.exchange(message)


@pytest.fixture
def vault():
    with create_hsm_frost("simulated") as service:
        service.create_user_frost_shards(USER)
        yield service


@pytest.fixture
def wire(vault):
    return Wire(vault)


@pytest.fixture
def pocket(vault, wire):
    """An enrolled device."""
    own = Pocket("A", "A", new_content(USER))
    own.device.enrol(wire, vault.enrolment_code(USER))
    wire.said.clear()
    return own


def cut_off(pocket, wire, kind):
    """A rotation whose process dies when it waits for the answer to this message."""
    wire.instead[kind] = Crash()
    with pytest.raises(Crash):
        pocket.device.rotate(wire)
    pocket.start()
    wire.said.clear()


def test_a_copy_with_an_unproved_offer_hears_that_another_copy_committed_it(vault, pocket, wire):
    cut_off(pocket, wire, "cosign")
    copy = Pocket("A'", "A", pocket.disk.contents[-1])
    pocket.device.resolve(wire)

    verify("ed25519", vault.get_shards(USER).public_key, b"hello", copy.device.sign(wire, b"hello"))
    assert copy.device.epoch == vault.get_shards(USER).epoch == 2


def test_zeros_commit_nothing(vault, pocket, wire):
    cut_off(pocket, wire, "cosign")
    state = pocket.disk.state()

    with pytest.raises(RefusedError) as refused:
        state.accept_commit(vault.exchange(state.ask_committed()))
    assert (refused.value.reason, refused.value.authenticated) == ("bad-proof", True)
    assert vault.get_shards(USER).epoch == state.facts()["epoch"] == 1


def test_a_rotation_whose_offer_is_withdrawn_says_so(vault, pocket, wire):
    wire.instead["cosign"] = bare_refusal("unknown-epoch")

    with pytest.raises(ConflictError, match="withdrawn"):
        pocket.device.rotate(wire)
    assert wire.said == ["rotate", "cosign", "abandon"]
    assert pocket.device.epoch == vault.get_shards(USER).epoch == 1


def test_a_bare_conflict_makes_a_device_abandon_nothing(pocket, wire):
    wire.instead["rotate"] = bare_refusal("conflict")

    with pytest.raises(ConflictError):
        pocket.device.rotate(wire)
    assert wire.said == ["rotate"]


def test_a_file_that_someone_else_changed_makes_a_device_say_nothing(vault, wire, tmp_path):
    path = tmp_path / "alice.age"
    with Device.create(USER, path=path, passphrase=PASSPHRASE, work_factor=1) as device:
        before = path.read_bytes()
        device.enrol(wire, vault.enrolment_code(USER))
        wire.said.clear()
        path.write_bytes(before)

        with pytest.raises(ConflictError, match="changed by someone else"):
            device.rotate(wire)
        assert wire.said == []


def test_a_pending_offer_is_not_replaced_by_another(pocket, wire, vault):
    cut_off(pocket, wire, "cosign")
    state = pocket.disk.state()
    state.prepare()

    with pytest.raises(RequestError, match="resolve"):
        state.accept_offer(bare_refusal("conflict"))
    assert state.facts()["pending"] == 2
    assert vault.get_shards(USER).epoch == 1


def test_a_device_whose_code_and_offer_are_void_keeps_both_until_a_newer_code_comes(vault, wire):
    pocket = Pocket("A", "A", new_content(USER))
    wire.instead["cosign"] = Crash()
    with pytest.raises(Crash):
        pocket.device.enrol(wire, vault.enrolment_code(USER))
    pocket.start()
    newer = vault.enrolment_code(USER)
    with pytest.raises(RequestError, match="wrong, used or void"):
        pocket.device.enrol(wire)
    kept = pocket.disk.state().facts()
    pocket.device.enrol(wire, newer)

    assert kept["token"]
    assert kept["pending"] == 1
    assert pocket.device.epoch == vault.get_shards(USER).epoch == 2


def test_a_request_is_kept_over_a_lost_answer_and_gets_the_same_offer(pocket, wire, vault):
    wire.instead["rotate"] = ConnectionError("lost")
    with pytest.raises(ConnectionError):
        pocket.device.rotate(wire)
    asked = pocket.disk.state().ask()
    offered = vault.exchange(asked)

    assert vault.exchange(asked) == offered
    assert DeviceState.from_file(pocket.disk.contents[-1], PASSPHRASE).ask() == asked
