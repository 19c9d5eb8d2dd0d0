"""`icehouse doctor` at Google Cloud KMS: permissions one by one, and which role mends what is missing."""

from __future__ import annotations

import json

import pytest

from executable import Shell
from icehouse.hsm.gcpkms.wire import RIGHTS
from servers.gcpkms import Fault

PERMISSIONS = sorted({permission for permission, _ in RIGHTS.values()})


@pytest.fixture
def shell(server, tmp_path):
    made = Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "vault")})
    made.do("init", "--hsm", server.uri)
    made.do("users", "create", "alice")
    return made


def wrong(done):
    return {check["check"]: check for check in done.json["checks"] if check["ok"] is False}


def test_every_permission_is_asked_for_by_name(hsm):
    assert [(right.action, right.granted) for right in hsm.rights()] == [
        (permission, True) for permission in dict(RIGHTS.values())
    ]


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_a_permission_that_is_missing_is_named_with_the_role_that_has_it(hsm, server, permission):
    server.weather.denied.add(permission)
    (missing,) = [right for right in hsm.rights() if not right.granted]

    assert missing.action == permission
    assert f"grant {dict(RIGHTS.values())[permission]} on {server.keys.ring}" in missing.mend


def test_a_sound_vault_has_every_right_and_key(shell, server):
    before = len(server.keys.__dict__), server.count("CreateCryptoKey")
    done = shell.do("doctor", "--format", "json")
    checks = done.json["checks"]

    assert {check["check"] for check in checks} >= {f"right {permission}" for permission in PERMISSIONS}
    assert sum(check["check"].startswith("key icehouse-") for check in checks) == 2
    assert wrong(done) == {}
    assert (len(server.keys.__dict__), server.count("CreateCryptoKey")) == before


def test_a_serving_process_that_may_not_decrypt_is_told_which_role_it_lacks(shell, server):
    server.weather.denied.add("cloudkms.cryptoKeyVersions.useToDecrypt")
    done = shell.run("doctor", "--format", "json")

    assert done.code == 2
    assert (
        "roles/cloudkms.cryptoKeyEncrypterDecrypter"
        in wrong(done)["right cloudkms.cryptoKeyVersions.useToDecrypt"]["mend"]
    )
    assert done.json["users"] == 1
    assert "grant roles/cloudkms.cryptoKeyEncrypterDecrypter" in json.loads(done.err.splitlines()[-1])["error"]["hint"]


def test_a_principal_that_may_not_even_list_is_told_its_rights_all_the_same(shell, server):
    server.weather.denied.add("cloudkms.cryptoKeys.list")
    found = wrong(shell.run("doctor", "--hsm", server.uri, "--format", "json"))

    assert {"credentials", "right cloudkms.cryptoKeys.list"} == found.keys()


def test_a_server_that_is_gone_leaves_the_database(shell, server):
    server.stop()
    done = shell.run("doctor", "--format", "json")

    assert done.code == 2
    assert wrong(done).keys() == {"reach"}
    assert done.json["users"] == 1


def test_a_service_that_does_not_know_a_permission_leaves_it_open(hsm, server):
    server.weather.always["TestIamPermissions"] = Fault.INVALID

    assert {right.granted for right in hsm.rights()} == {None}


def test_the_vault_falls_back_while_google_is_away_and_is_promoted(server, tmp_path):
    (tmp_path / "f.pin").write_text("12345\n")
    shell = Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "vault")})
    uri = server.uri_of(server.keys.ring, deadline=1)
    shell.do("init", "--hsm", uri, "--fallback", "simulated:f.token?pin-source=file:f.pin")
    server.stop()
    made = shell.do("users", "create", "new", "--format", "json")
    server.start()

    assert "FALLING BACK TO SOFTWARE" in made.err
    assert shell.do("rewrap", "--format", "json").json == {"promoted": 1}
    shown = shell.do("users", "create", "new", "--format", "json").json[0]
    assert (shown["origin"], shown["hsm_attested"], shown["provider"]) == ("software", False, "gcpkms")
