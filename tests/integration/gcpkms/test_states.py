"""States of versions: each is told by its name, with what brings the key back; none is taken for tampering."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import timedelta

import pytest
from google.cloud.kms_v1 import types

from executable import Shell
from icehouse._core import DataKey
from icehouse.errors import HsmRefusedError, HsmUnavailableError
from icehouse.hsm import GoneError, KeyKind, labelled, open_hsm
from integration.gcpkms.calls import AUDIT, CALLS, CONTEXT, KEK, MASTER, impatient
from servers.gcpkms_keys import DESTRUCTION, Algorithm, State

LABELS = {"Encrypt": "kek", "Decrypt": "kek", "MacSign": "master"}
RESTORE = "gcloud kms keys versions restore 1 --key {} --keyring ring --location europe-west3 --project p-1"


def schedule(server, label, number=1):
    """Somebody schedules a version for destruction, with Google's own tools."""
    name = server.keys.version(label, number).told.name
    server.keys.answer(server.keys.destroy_crypto_key_version, types.DestroyCryptoKeyVersionRequest(name=name))


def put(server, label, state, number=1):
    """Put a version into a state, one that this client does not know, too."""
    types.CryptoKeyVersion.pb(server.keys.version(label, number).told).state = state


@pytest.mark.parametrize("method", CALLS)
def test_a_scheduled_key_is_refused_by_its_state_with_how_long_and_how_it_comes_back(server, hsm, wrapped, method):
    label = LABELS.get(method, "audit")
    schedule(server, label)
    with pytest.raises(
        HsmRefusedError, match=f"no key labelled '{label}' any more: version 1 is DESTROY_SCHEDULED"
    ) as caught:
        CALLS[method](hsm, wrapped)

    until = server.keys.version(label).told.destroy_time
    assert f"{until:%Y-%m-%d %H:%M} UTC" in str(caught.value)
    assert RESTORE.format(label) in caught.value.hint
    assert "versions enable 1" in caught.value.hint
    server.keys.version(label).told.state = State.ENABLED
    CALLS[method](hsm, wrapped)


def test_what_a_scheduled_older_version_wrapped_is_no_tampering_and_can_be_brought_back(server, hsm, wrapped):
    server.keys.add_version("kek", primary=True)
    schedule(server, "kek")
    for _ in range(2):
        with pytest.raises(HsmRefusedError, match=r"version 1 .* does not open: it is DESTROY_SCHEDULED") as caught:
            hsm.unwrap(KEK, wrapped, CONTEXT)
        assert RESTORE.format("kek") in caught.value.hint

    server.keys.finish_destruction("kek")
    with pytest.raises(HsmRefusedError, match=r"version 1 .* it is DESTROYED") as caught:
        hsm.unwrap(KEK, wrapped, CONTEXT)
    assert "nothing brings it back" in caught.value.hint


def test_a_vault_whose_root_key_is_scheduled_names_the_state_and_the_way_back_in_doctor_too(server, tmp_path):
    shell = Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "vault")})
    shell.do("init", "--hsm", server.uri)
    shell.do("users", "create", "alice")
    (kek,) = [name.rpartition("/")[2] for name in server.keys._keys if "-kek-" in name]
    schedule(server, kek)
    told = shell.run("users", "create", "bob")
    assert told.code == 2
    assert "DESTROY_SCHEDULED" in told.err
    assert RESTORE.format(kek) in told.err

    done = shell.run("doctor", "--format", "json")
    (check,) = [one for one in done.json["checks"] if one["check"] == f"key {kek}"]
    assert check["ok"] is False
    assert "DESTROY_SCHEDULED" in check["detail"]
    assert RESTORE.format(kek) in check["mend"]
    server.keys.version(kek).told.state = State.ENABLED
    shell.do("users", "create", "bob")


def test_after_google_rotated_a_vaults_key_a_scheduled_old_version_is_no_changed_setting(server, tmp_path):
    shell = Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "vault")})
    shell.do("init", "--hsm", server.uri)
    (kek,) = [name.rpartition("/")[2] for name in server.keys._keys if "-kek-" in name]
    server.keys.add_version(kek, primary=True)
    schedule(server, kek)
    told = shell.run("users", "create", "bob")

    assert told.code == 2
    assert "were changed" not in told.err
    assert "DESTROY_SCHEDULED" in told.err


def test_a_key_whose_older_version_still_decrypts_is_there_and_decrypts(server, hsm, wrapped):
    server.keys.add_version("kek", primary=True)
    schedule(server, "kek", 2)

    with closing(open_hsm(server.uri)) as other:
        assert KEK in other.keys("")
        assert labelled(other, "kek") == KEK
        other.unwrap(KEK, wrapped, CONTEXT)
        with pytest.raises(HsmRefusedError, match="version 2 of the key labelled 'kek' is DESTROY_SCHEDULED"):
            other.wrap(KEK, DataKey.random(), CONTEXT)
    with pytest.raises(HsmRefusedError, match="already has a key labelled 'kek'"):
        hsm.create_key("kek", KeyKind.AES)


@pytest.mark.usefixtures("wrapped")
def test_one_that_asks_for_a_scheduled_label_is_told_and_one_that_only_asks_whether_it_is_there_is_not(server, hsm):
    schedule(server, "kek")

    assert labelled(hsm, "kek") is None
    with pytest.raises(GoneError):
        hsm.find("kek")
    server.keys.finish_destruction("kek")
    assert hsm.find("kek") is None


@pytest.mark.parametrize("state", [77, State.PENDING_EXTERNAL_DESTRUCTION, State.EXTERNAL_DESTRUCTION_FAILED])
@pytest.mark.parametrize("method", CALLS)
def test_a_state_that_is_strange_or_unknown_is_refused_by_name_and_not_taken_for_destroyed(
    server, hsm, wrapped, method, state
):
    label = LABELS.get(method, "audit")
    put(server, label, state)
    words = "77 (unknown to the installed google-cloud-kms)" if state == 77 else state.name

    with closing(open_hsm(server.uri)) as other, pytest.raises(HsmRefusedError, match=re.escape(words)) as caught:
        CALLS[method](other, wrapped)
    assert ("pip install --upgrade" in caught.value.hint) == (state == 77)
    assert label in [key.label for key in hsm.keys("")]


def test_a_protection_level_purpose_or_algorithm_that_the_client_does_not_know_is_refused_by_its_number(server, hsm):
    server.keys.plant("kek")
    told = server.keys.version("kek").told
    for field, words in (("protection_level", "protection level is 99 "), ("algorithm", "algorithm is 99 ")):
        message = types.CryptoKeyVersion.pb(told)
        before = getattr(message, field)
        setattr(message, field, 99)
        with pytest.raises(HsmRefusedError, match=words) as caught:
            hsm.wrap(KEK, DataKey.random(), CONTEXT)
        assert "upgrade" in caught.value.hint
        setattr(message, field, before)
    key = server.keys._keys[f"{server.keys.ring}/cryptoKeys/kek"].told
    types.CryptoKey.pb(key).purpose = 99
    with pytest.raises(HsmRefusedError, match="purpose is 99 "):
        hsm.wrap(KEK, DataKey.random(), CONTEXT)

    assert hsm.keys("") == []


def test_the_level_of_a_single_tenant_hsm_in_an_answer_is_refused_by_name(server, hsm):
    server.keys.plant("kek")
    hsm.wrap(KEK, DataKey.random(), CONTEXT)
    types.CryptoKeyVersion.pb(server.keys.version("kek").told).protection_level = 5

    with pytest.raises(HsmRefusedError, match=r"protection level (HSM_SINGLE_TENANT|5 )"):
        hsm.wrap(KEK, DataKey.random(), CONTEXT)


@pytest.mark.parametrize("key", [KEK, MASTER, AUDIT])
def test_a_version_that_is_being_generated_is_waited_for_and_unavailable_at_last(server, wrapped, key):
    method = {KEK: "Encrypt", MASTER: "MacSign", AUDIT: "AsymmetricSign"}[key]
    version = server.keys.version(key.label)
    version.told.state, version.looks_until_ready = State.PENDING_GENERATION, 4
    with closing(open_hsm(server.uri)) as hsm:
        CALLS[method](hsm, wrapped)
    with impatient(server) as hsm:
        version.told.state, version.looks_until_ready = State.PENDING_GENERATION, 1000
        with pytest.raises(HsmUnavailableError, match="still being generated"):
            CALLS[method](hsm, wrapped)

    assert version.told.state == State.PENDING_GENERATION


def test_an_import_that_failed_says_what_it_is_and_stands_in_nobodys_way(server, hsm):
    hsm.create_key("master", KeyKind.HMAC)
    server.keys.add_version("master")
    put(server, "master", State.IMPORT_FAILED, 2)
    with closing(open_hsm(server.uri)) as other:
        other.mac(MASTER, b"message")

    server.keys.plant("kek")
    put(server, "kek", State.IMPORT_FAILED)
    server.keys.version("kek").told.import_failure_reason = "the wrapped key is too short"
    with pytest.raises(HsmRefusedError, match="version 1 is IMPORT_FAILED: the wrapped key is too short"):
        hsm.wrap(KEK, DataKey.random(), CONTEXT)


@pytest.mark.usefixtures("wrapped")
@pytest.mark.parametrize("lag", [2, 1000])
def test_a_primary_that_is_not_propagated_yet_keeps_nobody_from_the_key_that_was_made(server, lag):
    with impatient(server) as hsm:
        hsm.destroy_key(KEK)
        server.keys.primary_lag = lag
        hsm.create_key("kek", KeyKind.AES)
        wrapped = hsm.wrap(KEK, DataKey.random(), CONTEXT)

        assert wrapped[4:8] == bytes([0, 0, 0, 2])
    assert server.count("CreateCryptoKeyVersion") == 1


@pytest.mark.parametrize("key", [KEK, MASTER, AUDIT])
def test_a_version_that_is_still_generated_is_destroyed_once_it_is(server, hsm, wrapped, key):
    assert wrapped
    version = server.keys.version(key.label)
    version.told.state, version.looks_until_ready = State.PENDING_GENERATION, 4

    until = hsm.destroy_key(key).recoverable_until
    assert until - version.told.destroy_time == timedelta(0)
    assert timedelta(days=30) == DESTRUCTION


def test_a_planted_key_of_another_algorithm_is_refused_without_advice_to_rewrap(server, hsm):
    server.keys.plant("master", algorithm=Algorithm.HMAC_SHA256)

    with pytest.raises(HsmRefusedError, match="HMAC_SHA256") as caught:
        hsm.mac(MASTER, b"")
    assert "rewrap" not in caught.value.hint
