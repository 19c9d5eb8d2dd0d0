"""A vault on AWS KMS: founded, moved to new root keys, moved here from elsewhere, and told what is wrong."""

from __future__ import annotations

import pytest

from consenting import trimmed
from executable import Shell
from icehouse import Device, create_hsm_frost
from icehouse.errors import HsmRefusedError
from icehouse.service import FrostService
from icehouse.upkeep.move_hsm import move, settle
from icehouse.vault.init import MODULE, STORE, make_vault
from icehouse.vault.settings import Settings
from servers.awskms import ENVIRONMENT, REGION


@pytest.mark.parametrize("custody", ["hybrid", "hierarchical", "direct"])
def test_every_custody_works_from_creation_to_rotation(server, custody):
    users = [f"user-{number}" for number in range(4)]
    config = {"region": REGION, "endpoint": f"127.0.0.1:{server.port}", "insecure": 1}
    with create_hsm_frost("aws-kms", config, custody=custody) as frost:
        frost.create_users(users)
        for user in users:
            device = Device.create(user)
            device.enrol(frost, frost.enrolment_code(user))
            device.rotate(frost)
            device.sign(frost, b"message")

        assert {frost.get_shards(user).epoch for user in users} == {2}
        assert (frost.get_shards("user-0").provider, frost.get_shards("user-0").hsm_attested) == ("awskms", False)


def test_a_vault_moves_to_new_root_keys_and_the_old_ones_are_scheduled_for_deletion(server, tmp_path):
    place = tmp_path / "vault"
    make_vault(place, Settings(STORE, server.uri))
    with FrostService.open(place) as frost:
        frost.create_users(["alice", "bob"])
        alice = Device.create("alice")
        alice.enrol(frost, frost.enrolment_code("alice"))
        old = [key.label for key in frost.hsm.keys("icehouse-")]
        frost.upkeep.rewrap()
        trimmed(frost)
        alice.sign(frost, b"message")

        assert [key.label for key in frost.hsm.keys("icehouse-")] == [f"{label[:-1]}2" for label in old]
        assert {server.key(label).key_state for label in old} == {"PendingDeletion"}


def test_a_vault_moves_here_from_a_simulated_hsm_which_can_then_go(server, tmp_path):
    place, users = tmp_path / "vault", [f"user-{number}" for number in range(8)]
    make_vault(place, Settings(STORE, MODULE))
    with FrostService.open(place) as frost:
        frost.create_users(users)
        devices = [Device.create(user) for user in users]
        for device in devices:
            device.enrol(frost, frost.enrolment_code(device.user))
    move(place, server.uri)
    with FrostService.open(place) as frost:
        trimmed(frost)
    settle(place)
    (place / "hsm.token").unlink()

    with FrostService.open(place) as frost:
        for device in devices:
            device.sign(frost, b"message")
        assert frost.hsm.info.provider == "awskms"
        assert frost.check() == len(users)


def test_a_vault_that_could_not_be_founded_for_want_of_one_permission_is_finished_with_the_same_keys(server, tmp_path):
    place, wanted = tmp_path / "vault", Settings(STORE, server.uri)
    server.rules.denied = {"kms:Encrypt"}
    with pytest.raises(HsmRefusedError, match="no permission"):
        make_vault(place, wanted)
    assert not (place / "vault.toml").exists()

    server.rules.denied = set()
    make_vault(place, wanted)
    with FrostService.open(place) as frost:
        assert frost.create_users(["alice"]).created == 1
        assert len(frost.hsm.keys("")) == 2
    assert len(server.living()) == 2


def test_the_command_line_tells_what_is_wrong_and_makes_nothing(server, tmp_path):
    shell = Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "vault"), "HOME": str(tmp_path)} | ENVIRONMENT)
    told = shell.run("init", "--hsm", server.uri_of("mars"))

    assert told.code == 1
    assert "AWS has no region 'mars'" in told.err
    server.rules.denied = {"kms:CreateKey"}
    told = shell.run("init", "--hsm", server.uri)
    assert told.code == 2
    assert "icehouse: hint: allow kms:CreateKey" in told.err
    server.rules.denied = set()
    shell.do("init", "--hsm", server.uri)
    shell.do("users", "create", "alice")
    assert "awskms: unknown, a stand-in for AWS KMS, at http://127.0.0.1" in shell.do("doctor").out
