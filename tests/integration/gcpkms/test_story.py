"""A vault on Google Cloud KMS from nothing to its users' signatures, while the service has a bad day."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from executable import Shell
from icehouse import Device, create_hsm_frost
from icehouse._core import DataKey, same_secret
from icehouse.errors import HsmRefusedError
from icehouse.founding import STORE, found
from icehouse.hsm import KeyKind, open_hsm
from icehouse.service import FrostService
from icehouse.settings import Settings
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
def test_on_a_bad_day_every_user_is_made_enrolled_signs_and_rotates(server, custody):
    bad_day(server)
    users = [f"user-{number}" for number in range(USERS if custody == "hybrid" else 50)]
    with create_hsm_frost("google", config_of(server), custody=custody) as frost:
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


def test_a_vault_moves_to_new_root_keys_and_the_old_ones_are_scheduled_for_destruction(server, tmp_path):
    place = tmp_path / "vault"
    found(place, Settings(STORE, server.uri))
    with FrostService.open(place) as frost:
        frost.create_users(["alice", "bob"])
        alice = Device.create("alice")
        alice.enrol(frost, frost.enrolment_code("alice"))
        old = [key.label for key in frost.hsm.keys("icehouse-")]
        frost.upkeep.rewrap()
        frost.upkeep.trim(void_backups=True)
        alice.sign(frost, b"message")

        assert [key.label for key in frost.hsm.keys("icehouse-")] == [f"{label[:-1]}2" for label in old]
        assert {server.keys.version(label).told.state for label in old} == {State.DESTROY_SCHEDULED}


def test_a_vault_that_could_not_be_founded_for_want_of_one_permission_is_finished_with_the_same_keys(server, tmp_path):
    place, wanted = tmp_path / "vault", Settings(STORE, server.uri)
    server.weather.denied = {"cloudkms.cryptoKeyVersions.useToEncrypt"}
    with pytest.raises(HsmRefusedError, match="no permission"):
        found(place, wanted)
    assert not (place / "vault.toml").exists()

    server.weather.denied = set()
    found(place, wanted)
    with FrostService.open(place) as frost:
        assert frost.create_users(["alice"]).created == 1
        assert len(frost.hsm.keys("")) == 2


def test_the_command_line_tells_what_is_wrong_and_makes_nothing(server, tmp_path):
    shell = Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "vault"), "HOME": str(tmp_path)})
    told = shell.run("init", "--hsm", server.uri_of(server.keys.ring.replace("europe-west3", "mars")))

    assert told.code == 2
    assert "there is no key ring projects/p-1/locations/mars/keyRings/ring" in told.err
    assert "icehouse: hint: gcloud kms keyrings create ring --location mars --project p-1" in told.err
    assert list(tmp_path.iterdir()) == []
    shell.do("init", "--hsm", server.uri)
    shell.do("users", "create", "alice")
    assert "gcpkms: unknown, at 127.0.0.1" in shell.do("doctor").out


def test_eight_threads_get_right_answers_while_the_connection_is_lost_again_and_again(server):
    done = threading.Event()
    with closing(open_hsm(server.uri)) as hsm, ThreadPoolExecutor(8) as pool:
        kek, master = hsm.create_key("kek", KeyKind.AES), hsm.create_key("master", KeyKind.HMAC)
        mac = hsm.mac(master, b"message")

        def work(_: int) -> int:
            turns = 0
            while not done.is_set():
                secret = DataKey.random()
                assert same_secret(hsm.unwrap(kek, hsm.wrap(kek, secret, bytes(32)), bytes(32)), secret)
                assert same_secret(hsm.mac(master, b"message"), mac)
                turns += 1
            return turns

        threads = [pool.submit(work, number) for number in range(8)]
        try:
            for _ in range(8):
                server.restart()
                calls = len(server.calls)
                while len(server.calls) < calls + 200 and not any(thread.done() for thread in threads):
                    done.wait(0.01)
        finally:
            done.set()

        assert all(thread.result() for thread in threads)
