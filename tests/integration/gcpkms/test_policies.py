"""What an organisation, a project or a principal may not: each is told by its name, with what mends it."""

from __future__ import annotations

from contextlib import closing

import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo

from icehouse.errors import HsmRefusedError
from icehouse.hsm import KeyKind, open_hsm
from icehouse.hsm.checkup import Checkup
from integration.gcpkms.calls import AUDIT, CALLS, KEK, MASTER, impatient
from servers.gcpkms import Fault
from servers.gcpkms_keys import Code, State, StatusError


@pytest.mark.parametrize("key", [KEK, MASTER, AUDIT])
@pytest.mark.usefixtures("wrapped")
def test_where_a_policy_wants_versions_disabled_before_they_are_destroyed_they_are(server, hsm, key):
    server.keys.disable_before_destroy = True
    told = hsm.destroy_key(key)

    assert told.recoverable_until is not None
    assert server.keys.version(key.label).told.state == State.DESTROY_SCHEDULED


@pytest.mark.usefixtures("wrapped")
def test_where_that_is_not_allowed_the_permission_and_the_policy_are_named_and_the_key_serves_on(server, hsm):
    server.keys.disable_before_destroy = True
    server.weather.denied = {"cloudkms.cryptoKeyVersions.update"}

    with pytest.raises(HsmRefusedError, match=r"constraints/cloudkms.disableBeforeDestroy") as caught:
        hsm.destroy_key(KEK)
    assert "permission cloudkms.cryptoKeyVersions.update" in caught.value.hint
    assert server.keys.version("kek").told.state == State.ENABLED


@pytest.mark.parametrize("method", ["UpdateCryptoKeyVersion", "DestroyCryptoKeyVersion"])
@pytest.mark.usefixtures("wrapped")
def test_a_lost_answer_on_the_way_there_changes_nothing(server, hsm, method):
    server.keys.disable_before_destroy = True
    server.weather.schedule = {(method, number): Fault.LOST_ANSWER for number in (1, 2)}

    assert hsm.destroy_key(KEK).recoverable_until is not None


def test_a_disabled_api_is_called_that_with_the_command_that_enables_it(server):
    words = "Cloud Key Management Service (KMS) API has not been used in project p-1 before or it is disabled."
    info = ErrorInfo(reason="SERVICE_DISABLED", domain="googleapis.com")
    for error in (StatusError(Code.PERMISSION_DENIED, words), StatusError(Code.PERMISSION_DENIED, "no", info)):
        server.weather.refusing = {"GetKeyRing": error}
        with pytest.raises(HsmRefusedError, match="the Cloud KMS API is disabled") as caught:
            open_hsm(server.uri)

        assert "gcloud services enable cloudkms.googleapis.com --project p-1" in caught.value.hint


def test_a_projects_number_in_the_uri_is_the_same_project(server, hsm):
    hsm.create_key("kek", KeyKind.AES)
    ring = server.keys.ring.replace(server.keys.project, server.keys.number)
    with closing(open_hsm(server.uri_of(ring))) as other:
        for key, method in ((MASTER, "MacSign"), (AUDIT, "AsymmetricSign")):
            other.create_key(key.label, key.kind)
            CALLS[method](other, b"")
        CALLS["Encrypt"](other, b"")

        assert other.keys("") == hsm.keys("")
        assert {right.granted for right in other.rights()} == {True}


@pytest.mark.parametrize("code", [Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT])
def test_where_nobody_tells_rights_they_are_open_and_doctor_goes_on(server, hsm, code):
    server.weather.refusing = {"TestIamPermissions": StatusError(code, "not for you")}
    assert {right.granted for right in hsm.rights()} == {None}

    key = hsm.create_key("icehouse-kek", KeyKind.AES)
    checks = {check.check: check for check in Checkup("hsm", server.uri, [key]).checks}
    assert checks["key icehouse-kek"].ok is True
    assert checks["latency"].ok is True


@pytest.mark.parametrize(
    "error",
    [
        StatusError(Code.INVALID_ARGUMENT, "The value of plaintext_crc32c does not match."),
        StatusError(
            Code.INVALID_ARGUMENT,
            "Request contains an invalid argument.",
            BadRequest(field_violations=[BadRequest.FieldViolation(field="ciphertext_crc32c", description="mismatch")]),
        ),
        StatusError(Code.INVALID_ARGUMENT, "The checksum did not match."),
    ],
)
@pytest.mark.parametrize("method", ["Encrypt", "Decrypt", "MacSign", "AsymmetricSign"])
def test_a_checksum_refusal_is_known_by_the_fields_name_too_and_repeated(server, wrapped, method, error):
    with impatient(server) as hsm:
        CALLS[method](hsm, wrapped)
        server.weather.refusing = {method: error}
        before = server.count(method)
        with pytest.raises(Exception, match=r"crc32c|checksum|invalid argument") as caught:
            CALLS[method](hsm, wrapped)

    assert type(caught.value).__name__ == "CorruptedError"
    assert server.count(method) > before + 1
