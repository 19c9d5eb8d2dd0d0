"""A vault in memory, and devices of its users in files."""

from __future__ import annotations

import pytest

from icehouse import Device, create_hsm_frost
from icehouse._core import Passphrase

PASSPHRASE = "correct horse battery staple"  # noqa: S105


@pytest.fixture
def service():
    with create_hsm_frost("simulated") as made:
        made.create_users(["alice"])
        yield made


@pytest.fixture
def enrolled(service, tmp_path):
    """The file of alice's device, which is closed."""
    path = tmp_path / "home" / "alice.device"
    path.parent.mkdir()
    with Device.create("alice", path=path, passphrase=Passphrase(PASSPHRASE), work_factor=1) as device:
        device.enrol(service, service.enrolment_code("alice"))
    return path


@pytest.fixture
def opened():
    """Opens a device's file; it is closed when the test ends."""
    devices = []

    def opens(path):
        devices.append(Device.open(path, Passphrase(PASSPHRASE)))
        return devices[-1]

    yield opens
    for device in devices:
        device.close()
