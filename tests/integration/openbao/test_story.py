"""A vault whose root keys are in OpenBao: founded, rewrapped, trimmed, and moved to it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from consenting import trimmed
from executable import Shell
from icehouse import Device, create_hsm_frost
from icehouse.errors import HsmRefusedError
from icehouse.service import FrostService
from icehouse.upkeep.move_hsm import move, settle
from icehouse.vault.init import MODULE, STORE, make_vault
from icehouse.vault.settings import Settings
from servers.openbao import policy_of

OURS = "icehouse-*"


@pytest.fixture(autouse=True)
def _only_what_the_page_grants(place):
    place.permit(policy_of(place.mount, OURS))


@pytest.mark.parametrize("custody", ["hybrid", "hierarchical", "direct"])
def test_users_enrol_sign_and_rotate_in_every_custody(place, custody):
    address = f"127.0.0.1:{place.front.port}"
    config = {"address": address, "mount": place.mount, "token_source": place.token_file, "insecure": 1}
    users = [f"user-{number}" for number in range(5)]
    with create_hsm_frost("openbao", config, custody=custody) as frost:
        frost.create_users(users)
        for user in users:
            device = Device.create(user)
            device.enrol(frost, frost.enrolment_code(user))
            device.rotate(frost)
            signature = device.sign(frost, b"message")
            Ed25519PublicKey.from_public_bytes(frost.get_shards(user).public_key).verify(signature, b"message")

        assert {frost.get_shards(user).epoch for user in users} == {2}
        assert (frost.get_shards("user-0").provider, frost.get_shards("user-0").hsm_attested) == ("openbao", False)


def test_a_vault_goes_over_to_new_root_keys_and_the_old_ones_are_gone(place, tmp_path):
    vault = tmp_path / "vault"
    make_vault(vault, Settings(STORE, place.uri()))
    with FrostService.open(vault) as frost:
        frost.create_users(["alice", "bob"])
        alice = Device.create("alice")
        alice.enrol(frost, frost.enrolment_code("alice"))
        old = [key.label for key in frost.hsm.keys("icehouse-")]
        frost.upkeep.rewrap()
        trimmed(frost)
        alice.sign(frost, b"message")

        assert [key.label for key in frost.hsm.keys("icehouse-")] == [f"{label[:-1]}2" for label in old]
        names = place.server.api("GET", f"{place.mount}/keys?list=true")["data"]["keys"]
        assert not set(old) & set(names)


def test_a_vault_moves_here_from_a_simulated_hsm_which_can_then_go(place, tmp_path):
    vault, users = tmp_path / "vault", [f"user-{number}" for number in range(10)]
    make_vault(vault, Settings(STORE, MODULE))
    with FrostService.open(vault) as frost:
        frost.create_users(users)
        devices = [Device.create(user) for user in users]
        for device in devices:
            device.enrol(frost, frost.enrolment_code(device.user))
    move(vault, place.uri())
    with FrostService.open(vault) as frost:
        trimmed(frost)
    settle(vault)
    (vault / "hsm.token").unlink()

    with FrostService.open(vault) as frost:
        for device in devices:
            device.sign(frost, b"message")
            device.rotate(frost)
        assert frost.hsm.info.provider == "openbao"
        assert frost.check() == len(users)


def test_a_vault_that_could_not_be_founded_for_want_of_one_permission_is_finished_with_the_same_keys(place, tmp_path):
    vault, wanted = tmp_path / "vault", Settings(STORE, place.uri())
    place.permit(policy_of(place.mount, OURS, without="transit/encrypt/icehouse-*"))
    with pytest.raises(HsmRefusedError, match="no permission"):
        make_vault(vault, wanted)
    assert not (vault / "vault.toml").exists()

    place.permit(policy_of(place.mount, OURS))
    make_vault(vault, wanted)
    with FrostService.open(vault) as frost:
        assert frost.create_users(["alice"]).created == 1
        assert len(frost.hsm.keys("")) == 2


def test_the_command_line_tells_what_is_wrong_and_makes_nothing(place, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    shell = Shell(home, {"ICEHOUSE_VAULT": str(home / "vault"), "HOME": str(home)})
    told = shell.run("init", "--hsm", place.uri("mars"))

    assert told.code == 2
    assert "has no mount mars/, or this token has no right on it" in told.err
    assert "icehouse: hint: bao secrets enable -path=mars transit" in told.err
    assert list(home.iterdir()) == []
    shell.do("init", "--hsm", place.uri())
    assert "openbao: transit v2" in shell.do("doctor").out
