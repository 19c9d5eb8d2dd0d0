"""A vault on Google Cloud KMS from nothing to its users' signatures, while the service has a bad day."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from icehouse import Device, create_hsm_frost
from icehouse.cli.main import app, main
from icehouse.service import FrostService
from servers.gcpkms_keys import State

USERS = 1000
MOST_OPERATIONS = 12


def config_of(server, **more):
    parts = server.keys.ring.split("/")
    named = {"project_id": parts[1], "location": parts[3], "key_ring": parts[5]}
    return named | {"endpoint": f"127.0.0.1:{server.port}", "insecure": 1} | more


def bad_day(server) -> None:
    server.weather.failing = 0.05
    server.weather.latency = 0.02
    server.weather.per_second, server.weather.burst = 500, 50


@pytest.mark.parametrize("custody", ["hybrid", "hierarchical"])
def test_on_a_bad_day_every_user_is_made_enrolled_signs_and_rotates(server, custody, tmp_path):
    bad_day(server)
    users = [f"user-{number}" for number in range(USERS if custody == "hybrid" else 50)]
    with create_hsm_frost(
        "google", config_of(server), custody=custody, store=f"sqlite:///{tmp_path}/vault.db"
    ) as frost:
        frost.create_users(users)

        def live(user: str) -> None:
            device = Device.create(user)
            device.enrol(frost, frost.enrolment_code(user))
            device.rotate(frost)
            signature = device.sign(frost, b"message")
            key = Ed25519PublicKey.from_public_bytes(frost.get_shards(user).public_key)
            key.verify(signature, b"message")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(live, users))

        assert {frost.get_shards(user).epoch for user in users} == {2}
        if custody == "hybrid":
            assert frost.hsm.operations.total <= MOST_OPERATIONS
        assert (frost.get_shards("user-0").provider, frost.get_shards("user-0").hsm_attested) == ("gcpkms", False)
