"""What was closed refuses every call, and does not open again."""

from __future__ import annotations

import inspect
import logging

import pytest

from icehouse import Device, FrostService, IcehouseError, RequestError
from icehouse.service import HybridFrostService
from icehouse.upkeep.upkeep import Upkeep
from icehouse.vault.init import MODULE, STORE, make_vault
from icehouse.vault.settings import Settings

ARGUMENTS = {
    "user_id": "alice",
    "user_ids": ["bob"],
    "participants": ["alice", "server"],
    "threshold": 2,
    "message": b"hello",
    "data_keys": [1],
}


def calls_of(kind):
    """The public methods and properties of a class, but those that make or close one."""
    return sorted(name for name in dir(kind) if not name.startswith("_") and name not in {"open", "close"})


def call(instance, name):
    """Call a method with what it needs, to the end; or read a property."""
    member = getattr(instance, name)
    if not callable(member):
        return
    needed = [each for each in inspect.signature(member).parameters.values() if each.default is each.empty]
    answer = member(**{each.name: ARGUMENTS[each.name] for each in needed})
    if inspect.isgenerator(answer):
        list(answer)


@pytest.fixture
def place(tmp_path):
    logging.disable(logging.ERROR)
    make_vault(tmp_path / "vault", Settings(STORE, MODULE), custody="hybrid", buckets=0)
    yield tmp_path / "vault"
    logging.disable(logging.NOTSET)


@pytest.fixture
def closed(place):
    """A service that was used and closed, with a device of its user's, and its upkeep."""
    frost = FrostService.open(place)
    frost.create_users(["alice"])
    device = Device.create("alice")
    device.enrol(frost, frost.enrolment_code("alice"))
    device.sign(frost, b"hello")
    upkeep = frost.upkeep
    frost.close()
    frost.close()
    return frost, device, upkeep


def test_a_closed_service_refuses_every_call_and_opens_nothing(closed, place):
    frost, _, _ = closed
    before = {file.name: file.stat().st_mtime_ns for file in place.iterdir()}
    for name in calls_of(HybridFrostService):
        with pytest.raises(RequestError, match="this service was closed") as refused:
            call(frost, name)
        assert refused.value.hint == "open the vault again"
    with pytest.raises(RequestError, match="this service was closed"):
        frost.__enter__()

    assert {file.name: file.stat().st_mtime_ns for file in place.iterdir()} == before


def test_what_was_begun_before_the_close_is_refused_as_well(place):
    frost = FrostService.open(place)
    frost.create_users(["alice", "bob"])
    device = Device.create("alice")
    device.enrol(frost, frost.enrolment_code("alice"))
    ceremony = frost.create_signing_ceremony(b"hello", ["alice", "server"])
    begun = [frost.users(), frost.listing(), frost.examine(), frost.overdue()]
    upkeep = frost.upkeep
    frost.close()

    for iterator in begun:
        with pytest.raises(IcehouseError, match="closed"):
            list(iterator)
    for name in calls_of(Upkeep):
        with pytest.raises(IcehouseError, match="closed"):
            call(upkeep, name)
    with pytest.raises(RequestError, match="this service was closed"):
        ceremony.run(device)


def test_a_device_that_was_closed_refuses_every_ceremony_and_writes_nothing(place, tmp_path):
    file = tmp_path / "alice.device"
    with FrostService.open(place) as frost:
        frost.create_users(["alice"])
        device = Device.create("alice", path=file, passphrase="secret", work_factor=2)  # noqa: S106  a test's
        token = frost.enrolment_code("alice")
        device.enrol(frost, token)
        device.close()
        before = file.read_bytes()
        for ceremony in (
            lambda: device.sign(frost, b"hello"),
            lambda: device.rotate(frost),
            lambda: device.status(frost),
            lambda: device.resolve(frost),
            lambda: device.enrol(frost, token),
            device.__enter__,
        ):
            with pytest.raises(RequestError, match="was closed"):
                ceremony()
        assert frost.get_shards("alice").epoch == 1

    assert file.read_bytes() == before
