"""A vault on Google Cloud KMS: new root keys, a missing permission, and what the command line says."""

from __future__ import annotations

import pytest

from consenting import trimmed
from executable import Shell
from icehouse import Device
from icehouse.errors import HsmRefusedError
from icehouse.service import FrostService
from icehouse.vault.init import STORE, make_vault
from icehouse.vault.settings import Settings
from servers.gcpkms_keys import State


def test_a_vault_moves_to_new_root_keys_and_the_old_ones_are_scheduled_for_destruction(server, tmp_path):
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
        assert {server.keys.version(label).told.state for label in old} == {State.DESTROY_SCHEDULED}


def test_a_vault_that_could_not_be_founded_for_want_of_one_permission_is_finished_with_the_same_keys(server, tmp_path):
    place, wanted = tmp_path / "vault", Settings(STORE, server.uri)
    server.weather.denied = {"cloudkms.cryptoKeyVersions.useToEncrypt"}
    with pytest.raises(HsmRefusedError, match="no permission"):
        make_vault(place, wanted)
    assert not (place / "vault.toml").exists()

    server.weather.denied = set()
    make_vault(place, wanted)
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
