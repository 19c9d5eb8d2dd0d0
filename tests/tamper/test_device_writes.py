"""A device whose file cannot be written: nothing is sent on the strength of what is not durable."""

from __future__ import annotations

import pytest

from icehouse._core import Passphrase
from icehouse.device import Device
from icehouse.errors import ConflictError, StoreError
from tamper.attacker import payload_of


class Listener:
    """A wire that counts what was said on it."""

    def __init__(self, world):
        self.world = world
        self.said = []
        self.before = None

    def exchange(self, text):
        self.said.append(payload_of(text)["type"])
        answer = self.world.say(text)
        if self.before:
            self.before(self.said)
        return answer


@pytest.fixture
def device(world, tmp_path):
    world.service.create_users(["alice"])
    made = Device.create("alice", path=tmp_path / "alice.age", passphrase=Passphrase("horse"), work_factor=1)
    yield made
    made.close()


def block(path):
    """Make the next write of a device file fail, as a full disk would."""
    (path.parent / f".{path.name}.new").mkdir()


def unblock(path):
    (path.parent / f".{path.name}.new").rmdir()


def block_after(wire, path, kind):
    """Let every write fail from the answer to this message on."""

    def blocked(said):
        if said[-1] == kind:
            wire.before = None
            block(path)

    wire.before = blocked


@pytest.mark.parametrize(("kind", "then"), [("rotate", "cosign"), ("cosign", "prove"), ("prove", "cosign")])
def test_nothing_is_sent_before_what_a_failed_write_owes_is_durable(world, device, tmp_path, kind, then):
    path, wire = tmp_path / "alice.age", Listener(world)
    device.enrol(wire, world.service.enrolment_code("alice"))
    block_after(wire, path, kind)
    with pytest.raises(StoreError):
        device.rotate(wire)
    said = len(wire.said)
    for act in (lambda: device.sign(wire, b"text", check_due=False), lambda: device.rotate(wire)):
        with pytest.raises(StoreError):
            act()

    assert len(wire.said) == said
    unblock(path)
    world.key().group.verify(b"text", device.sign(wire, b"text", check_due=False))
    assert wire.said[said] == then
    assert device.epoch == world.key().epoch == 2


def test_a_token_that_could_not_be_kept_is_not_used(world, device, tmp_path):
    path, wire = tmp_path / "alice.age", Listener(world)
    block(path)
    token = world.service.enrolment_code("alice")
    for _ in range(2):
        with pytest.raises(StoreError):
            device.enrol(wire, token)

    assert wire.said == []
    unblock(path)
    device.enrol(wire)
    assert device.epoch == 1


def test_a_device_file_put_back_by_someone_else_is_not_overwritten(world, device, tmp_path):
    path, wire = tmp_path / "alice.age", Listener(world)
    before = path.read_bytes()
    device.enrol(wire, world.service.enrolment_code("alice"))
    path.write_bytes(before)

    with pytest.raises(ConflictError, match="changed by someone else"):
        device.rotate(wire)
    assert path.read_bytes() == before
