"""A device whose file cannot be written: nothing is sent on the strength of what is not durable."""

from __future__ import annotations

import errno
import os

import pytest

from icehouse._core import Passphrase
from icehouse.device.device import Device
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


@pytest.fixture
def disk(monkeypatch):
    """The disk of the device's file, which may be full: then nothing can be made durable on it."""
    disk, sync = Disk(), os.fsync

    def fsync(descriptor):
        if disk.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return disk


class Disk:
    is_full = False

    def fill_after(self, wire, kind):
        """Let every write fail from the answer to this message on."""

        def filled(said):
            if said[-1] == kind:
                wire.before = None
                self.is_full = True

        wire.before = filled


@pytest.mark.parametrize(("kind", "then"), [("rotate", "cosign"), ("cosign", "prove"), ("prove", "cosign")])
def test_nothing_is_sent_before_what_a_failed_write_owes_is_durable(world, device, disk, kind, then):
    wire = Listener(world)
    device.enrol(wire, world.service.enrolment_code("alice"))
    disk.fill_after(wire, kind)
    with pytest.raises(StoreError):
        device.rotate(wire)
    said = len(wire.said)
    for act in (lambda: device.sign(wire, b"text", check_due=False), lambda: device.rotate(wire)):
        with pytest.raises(StoreError):
            act()

    assert len(wire.said) == said
    disk.is_full = False
    world.key().group.verify(b"text", device.sign(wire, b"text", check_due=False))
    assert wire.said[said] == then
    assert device.epoch == world.key().epoch == 2


def test_a_token_that_could_not_be_kept_is_not_used(world, device, disk):
    wire = Listener(world)
    disk.is_full = True
    token = world.service.enrolment_code("alice")
    for _ in range(2):
        with pytest.raises(StoreError):
            device.enrol(wire, token)

    assert wire.said == []
    disk.is_full = False
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
