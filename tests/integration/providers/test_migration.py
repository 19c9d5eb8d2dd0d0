"""One vault with two thousand enrolled users moves from provider to provider; each one it left is switched off."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from conformance.hsm.adapters import (
    AwsKmsOnLoopback,
    CloudHsmOnShim,
    GoogleKmsOnLoopback,
    OpenBaoOnLoopback,
)
from consenting import trimmed
from icehouse import Device
from icehouse.hsm.configuration import hsm_uri
from icehouse.service import FrostService
from icehouse.upkeep.move_hsm import move, settle
from icehouse.vault.init import MODULE, STORE, make_vault
from icehouse.vault.settings import Settings

USERS = 2000
ROUTE = (GoogleKmsOnLoopback, CloudHsmOnShim, AwsKmsOnLoopback, OpenBaoOnLoopback)


@pytest.fixture
def route(tmp_path, softhsm):
    """The providers on the way."""
    stops = []
    for make in ROUTE:
        directory = tmp_path / make.name
        directory.mkdir()
        stops.append(make(directory, lambda: softhsm))
    yield stops
    for stop in stops:
        stop.clean()


def test_two_thousand_devices_sign_after_every_move_while_the_provider_before_is_gone(route, tmp_path):
    place = tmp_path / "vault"
    make_vault(place, Settings(STORE, MODULE))
    devices = [Device.create(f"user-{number}") for number in range(USERS)]
    with ThreadPoolExecutor(4) as pool:
        with FrostService.open(place) as frost:
            frost.create_users(device.user for device in devices)
            list(pool.map(lambda device: device.enrol(frost, frost.enrolment_code(device.user)), devices))
            keys = {device.user: device.public_key for device in devices}

        leave = (place / "hsm.token").unlink
        for stop in route:
            move(place, hsm_uri(*stop.provider))
            with FrostService.open(place) as frost:
                trimmed(frost)
            settle(place)
            leave()
            message = stop.name.encode()
            with FrostService.open(place) as frost:
                signed = list(pool.map(partial(Device.sign, cosigner=frost, message=message), devices))
                provider = frost.hsm.info.provider

            assert provider == stop.uri.partition(":")[0]
            for device, signature in zip(devices, signed, strict=True):
                Ed25519PublicKey.from_public_bytes(keys[device.user]).verify(signature, message)
            leave = stop.clean
