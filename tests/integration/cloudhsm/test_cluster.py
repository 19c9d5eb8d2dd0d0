"""The cluster is looked up before its keys are used: what is wrong with it is said, and nothing is made by half."""

from __future__ import annotations

import logging
import socket
import sys

import pytest

from icehouse import create_hsm_frost
from icehouse._core import DataKey
from icehouse.errors import HsmRefusedError, HsmUnavailableError, MissingExtraError, RequestError
from icehouse.hsm import KeyKind
from icehouse.hsm.configuration import hsm_uri
from icehouse.hsm.pkcs11.cloudhsm import _refusal, warn_of_availability_check
from servers.cloudhsm_trial import STRANGER

CONTEXT = bytes(32)


@pytest.fixture
def nothing_made(place, opened):
    """After the test the token must be as empty as before."""
    yield
    assert opened(place.uri()).keys("") == []


def refusal(config, kind, words, **changed):
    with pytest.raises(kind, match=words) as caught:
        create_hsm_frost("aws", config | changed)
    return caught.value.hint or ""


def test_a_cluster_serves_users_and_says_what_it_is(config):
    with create_hsm_frost("aws", config) as frost:
        frost.create_users(["alice"])
        assert frost.get_shards("alice").provider == "pkcs11"
        assert frost.hsm.info.model == "AWS CloudHSM stand-in SoftHSM v2, hsm2m.medium FIPS"


@pytest.mark.usefixtures("nothing_made")
@pytest.mark.parametrize(
    ("changed", "words", "hint"),
    [
        ({"cluster_id": "cluster-aaaaaaaaaaa"}, "no cluster cluster-aaaaaaaaaaa in us-east-1", "check cluster-id"),
        ({"cluster_id": "production"}, "cluster-id must read", "describe-clusters"),
        ({"region": "eu-central-1"}, "no cluster .* in eu-central-1", "region"),
        ({"region": "us-nowhere-1"}, "region must be one that has CloudHSM", "us-east-1"),
        ({"single_hsm": "yes"}, "single_hsm must be True or False", ""),
        ({"module_path": "/nowhere/module.so"}, "no PKCS#11 module at", "module-path"),
        ({"cluster": "cluster-aaaaaaaaaaa"}, "no setting cluster", ""),
    ],
)
def test_a_wrong_setting_is_named(config, changed, words, hint):
    assert hint in refusal(config, RequestError, words, **changed)


@pytest.mark.usefixtures("nothing_made")
@pytest.mark.parametrize("missing", ["region", "cluster_id", "pin_source"])
def test_a_missing_setting_is_named(config, missing):
    del config[missing]

    refusal(config, RequestError, f"aws needs {missing}")


@pytest.mark.usefixtures("nothing_made")
@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("UNINITIALIZED", HsmRefusedError),
        ("INITIALIZED", HsmRefusedError),
        ("CREATE_IN_PROGRESS", HsmRefusedError),
        ("DELETE_IN_PROGRESS", HsmRefusedError),
        ("UPDATE_IN_PROGRESS", HsmUnavailableError),
        ("MODIFY_IN_PROGRESS", HsmUnavailableError),
    ],
)
def test_a_cluster_that_is_not_active_is_not_opened(config, cluster, state, kind):
    cluster.state = state

    assert refusal(config, kind, state)


def test_a_degraded_cluster_serves(config, cluster, opened):
    cluster.state = "DEGRADED"

    opened(hsm_uri("aws", config)).create_key("kek", KeyKind.AES)


@pytest.mark.usefixtures("nothing_made")
def test_with_one_active_hsm_no_key_is_made_unless_it_is_said_to_be_enough(config, cluster):
    cluster.hsms[1].state = "CREATE_IN_PROGRESS"

    assert "single_hsm" in refusal(config, HsmRefusedError, "only with 2 active HSMs, and .* has 1")


def test_one_active_hsm_is_enough_where_that_is_said(config, cluster):
    del cluster.hsms[1]

    with create_hsm_frost("aws", config | {"single_hsm": True}) as frost:
        frost.create_users(["alice"])


def test_keys_that_there_are_serve_with_one_active_hsm_and_new_ones_are_made_once_there_are_two(
    config, cluster, opened
):
    key = opened(hsm_uri("aws", config)).create_key("kek", KeyKind.AES)
    cluster.hsms[1].state = "DELETE_IN_PROGRESS"
    hsm = opened(hsm_uri("aws", config))
    hsm.wrap(key, DataKey.random(), CONTEXT)
    with pytest.raises(HsmRefusedError, match="2 active HSMs"):
        hsm.create_key("other", KeyKind.AES)

    cluster.hsms[1].state = "ACTIVE"
    hsm.create_key("other", KeyKind.AES)


@pytest.mark.usefixtures("nothing_made")
def test_a_cluster_without_an_active_hsm_is_unavailable(config, cluster):
    for hsm in cluster.hsms:
        hsm.state = "DELETED"

    assert "create-hsm" in refusal(config, HsmUnavailableError, "no active HSM")


@pytest.mark.usefixtures("nothing_made")
@pytest.mark.parametrize(
    ("key", "kind", "words", "hint"),
    [
        ("AKIANOBODY", RequestError, "UnrecognizedClient", "not valid"),
        (STRANGER, HsmRefusedError, "AccessDenied", "cloudhsm:DescribeClusters"),
        (None, RequestError, "no AWS credentials", "AWS_PROFILE"),
    ],
)
def test_credentials_that_are_wrong_or_missing_are_named(config, monkeypatch, key, kind, words, hint):
    if key:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    else:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")

    assert hint in refusal(config, kind, words)


SSO = """[profile expired]
sso_start_url = https://example.awsapps.com/start
sso_region = us-east-1
sso_account_id = 111122223333
sso_role_name = icehouse
"""


@pytest.mark.usefixtures("nothing_made")
@pytest.mark.parametrize("profile", ["expired", "unknown"])
def test_a_login_that_expired_or_never_was_is_not_taken_for_an_aws_that_is_away(config, monkeypatch, tmp_path, profile):
    (tmp_path / "aws").write_text(SSO)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    monkeypatch.setenv("AWS_PROFILE", profile)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")

    assert "AWS_PROFILE" in refusal(config, RequestError, "AWS credentials")


@pytest.mark.usefixtures("nothing_made")
def test_an_endpoint_of_the_environment_must_be_reached_over_tls_too(config, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1")
    config.pop("endpoint", None)

    refusal(config, RequestError, "endpoint must be https")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("CloudHsmServiceException", 400, HsmUnavailableError),
        ("ThrottlingException", 400, HsmUnavailableError),
        ("CloudHsmInternalFailureException", 500, HsmUnavailableError),
        ("MissingAuthenticationTokenException", 400, RequestError),
        ("OptInRequired", 403, HsmRefusedError),
    ],
)
def test_only_what_passes_by_itself_counts_as_away(code, status, kind):
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}

    assert type(_refusal(answer)) is kind


@pytest.mark.usefixtures("nothing_made")
def test_an_aws_that_is_not_there_is_unavailable(config):
    refusal(config, HsmUnavailableError, "does not answer", endpoint="http://127.0.0.1:9")


@pytest.mark.usefixtures("nothing_made")
def test_an_aws_that_never_answers_is_unavailable(config):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        refusal(config, HsmUnavailableError, "does not answer", endpoint=endpoint)


@pytest.mark.parametrize("fault", ["throttle", "broken", "deaf"])
def test_an_answer_that_fails_once_is_asked_for_again(config, world, fault, opened):
    world.faults = {0: fault}

    opened(hsm_uri("aws", config)).create_key("kek", KeyKind.AES)
    assert len(world.requests) == 2


@pytest.mark.usefixtures("nothing_made")
def test_a_wrong_pin_is_told_after_the_cluster_was_found(config, place):
    right = place.pin_file.read_text()
    place.pin_file.write_text("crypto-user:271828")
    assert "pin-source" in refusal(config, HsmRefusedError, "wrong PIN")

    place.pin_file.write_text(right)


def test_without_boto3_the_extra_is_named(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)

    with pytest.raises(MissingExtraError) as caught:
        create_hsm_frost("aws", config)
    assert caught.value.extra == "aws"


@pytest.mark.parametrize(
    ("written", "active", "warns"),
    [
        ('{"clusters": [{"type": "hsm1", "cluster": {"servers": []}}]}', 2, True),
        ('{"clusters": [{"cluster": {"options": {"disable_key_availability_check": true}}}]}', 2, False),
        ('{"clusters": []}', 3, False),
        (None, 2, False),
    ],
)
def test_two_hsms_with_the_clients_availability_check_are_warned_of(tmp_path, caplog, written, active, warns):
    (tmp_path / "etc").mkdir()
    if written:
        (tmp_path / "etc" / "cloudhsm-pkcs11.cfg").write_text(written)
    with caplog.at_level(logging.WARNING, "icehouse.hsm"):
        warn_of_availability_check(tmp_path / "lib" / "libcloudhsm_pkcs11.so", active)

    assert ("--disable-key-availability-check" in caplog.text) is warns
