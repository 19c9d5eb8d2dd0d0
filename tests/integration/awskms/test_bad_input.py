"""What is told to whoever lacks a permission, credentials, the client itself, or names the wrong account or region."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest

from icehouse.errors import HsmRefusedError, HsmUnavailableError, RequestError
from icehouse.hsm import KeyKind, open_hsm
from integration.awskms.calls import AUDIT, CALLS, KEK, MASTER
from servers.awskms import OTHER, Fault


@pytest.mark.parametrize("action", CALLS)
def test_a_missing_permission_is_named_with_the_policy_that_has_it(server, hsm, wrapped, action):
    server.rules.denied = {f"kms:{action}"}

    with pytest.raises(HsmRefusedError, match="no permission") as caught:
        CALLS[action](hsm, wrapped)
    assert f"allow kms:{action}, as the policy in docs/howto/aws-kms.md does" in caught.value.hint
    server.rules.denied = set()
    CALLS[action](hsm, wrapped)


@pytest.mark.parametrize("action", ["CreateKey", "TagResource", "CreateAlias", "ScheduleKeyDeletion"])
@pytest.mark.usefixtures("wrapped")
def test_without_permission_no_key_is_made_by_half_or_destroyed(server, hsm, action):
    server.rules.denied = {f"kms:{action}"}
    call = (lambda *_: hsm.destroy_key(KEK)) if action == "ScheduleKeyDeletion" else hsm.create_key

    with pytest.raises(HsmRefusedError, match="no permission") as caught:
        call("new", KeyKind.AES)
    assert f"allow kms:{action}" in caught.value.hint
    assert hsm.keys("") == [AUDIT, KEK, MASTER]
    assert len(server.living()) == 3


@pytest.mark.usefixtures("wrapped")
def test_a_key_that_got_no_alias_and_cannot_be_deleted_is_named(server, hsm):
    server.rules.denied = {"kms:CreateAlias", "kms:ScheduleKeyDeletion"}

    with pytest.raises(HsmRefusedError, match=r"no permission: .*CreateAlias") as caught:
        hsm.create_key("new", KeyKind.AES)
    (orphan,) = [key for key in server.living() if "icehouse/new" in key.description]
    assert f"{orphan.arn}, made for it, could not be scheduled for deletion" in caught.value.hint


@pytest.mark.usefixtures("wrapped")
def test_a_full_account_is_refused_with_the_quota_to_raise(server, hsm):
    server.rules.room = 3

    with pytest.raises(HsmRefusedError, match="limit of keys") as caught:
        hsm.create_key("new", KeyKind.AES)
    assert "raise the quota" in caught.value.hint


@pytest.mark.usefixtures("wrapped")
def test_in_another_region_there_are_no_keys_and_no_region_is_made_up(server):
    with closing(open_hsm(server.uri_of("eu-west-1"))) as hsm:
        with pytest.raises(HsmRefusedError, match="no key labelled 'kek'") as caught:
            hsm.mac(KEK, b"")
        assert "region" in caught.value.hint
    with pytest.raises(RequestError, match="AWS has no region 'mars'"):
        open_hsm(server.uri_of("mars"))


def test_without_a_region_the_environments_is_taken_and_without_that_one_is_asked_for(server, monkeypatch):
    with pytest.raises(RequestError, match="no AWS region was named"):
        open_hsm(server.uri_of(""))

    monkeypatch.setenv("AWS_REGION", "us-east-2")
    with closing(open_hsm(server.uri_of(""))) as hsm:
        hsm.create_key("kek", KeyKind.AES)
    assert server.backend(region="us-east-2").keys


def test_credentials_of_another_account_than_the_uri_says_are_refused(server, monkeypatch):
    open_hsm(server.uri_of(account=server.account)).close()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OTHER)

    with pytest.raises(HsmRefusedError, match=f"of the AWS account {server.other_account}, not {server.account}"):
        open_hsm(server.uri_of(account=server.account))
    assert server.calls[-1] == "GetCallerIdentity"


def test_a_role_in_another_account_keeps_its_keys_there(server):
    role = f"arn:aws:iam::{server.other_account}:role/icehouse"
    with pytest.raises(HsmRefusedError, match=r"no permission: .*AssumeRole") as caught:
        open_hsm(server.uri_of(role=role))
    assert f"allow sts:AssumeRole on {role}" in caught.value.hint

    server.roles.add(role)
    with closing(open_hsm(server.uri_of(role=role))) as hsm:
        hsm.create_key("kek", KeyKind.AES)
        CALLS["Encrypt"](hsm, b"")
    assert server.living() == []
    (key,) = server.backend(server.other_account).keys.values()
    assert key.description.startswith("icehouse icehouse/kek ")


def test_a_profile_that_is_not_there_is_a_wrong_request(server):
    with pytest.raises(RequestError, match="profile"):
        open_hsm(server.uri_of(profile="nobody"))


def test_credentials_that_aws_does_not_know_are_refused(server, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANOBODY0000000001")

    with pytest.raises(HsmRefusedError, match=r"no valid credentials: .*UnrecognizedClientException") as caught:
        open_hsm(server.uri)
    assert "aws configure" in caught.value.hint


def test_aws_kms_is_not_made_by_icehouse(server):
    with pytest.raises(RequestError, match="nothing to be made"):
        open_hsm(server.uri, create=True)


@pytest.mark.parametrize(
    ("variable", "query"),
    [
        ("AWS_ENDPOINT_URL_KMS", ""),
        ("AWS_ENDPOINT_URL_STS", "?account=111122223333"),
        ("AWS_ENDPOINT_URL_STS", "?role=arn:aws:iam::111122223333:role/icehouse"),
    ],
)
def test_an_endpoint_of_the_environment_without_tls_is_not_used(server, monkeypatch, variable, query):
    monkeypatch.setenv(variable, f"http://127.0.0.1:{server.port}")

    with pytest.raises(RequestError, match="an endpoint of AWS must be https"):
        open_hsm(f"awskms://eu-central-1{query}")
    assert server.calls == []


FRESH = """
import sys
{before}
import icehouse, icehouse.hsm, icehouse.service, icehouse.hsm.configuration
loaded = {{name.partition(".")[0] for name, module in sys.modules.items() if module}}
assert not loaded & {{"boto3", "botocore"}}
from icehouse.errors import IcehouseError
try:
    icehouse.hsm.open_hsm("awskms://eu-central-1?deadline=2")
except IcehouseError as exc:
    name = next(each.__name__ for each in type(exc).__mro__ if each.__module__ == "icehouse.errors")
    print(name, exc, exc.hint, sep="|")
"""


def fresh(before: str, tmp_path, **named: str) -> str:
    """Open AWS KMS in an interpreter of its own, on a machine without credentials."""
    environment = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "PATH": "/usr/bin:/bin"} | named
    command = [sys.executable, "-c", FRESH.format(before=before)]
    told = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=60)
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_missing_credentials_are_told_with_how_to_get_them(tmp_path):
    told = fresh("", tmp_path)

    assert told.startswith("HsmRefusedError|there are no usable AWS credentials")
    assert "aws configure" in told


def test_a_missing_client_is_an_error_that_names_the_extra(tmp_path):
    told = fresh("sys.modules['boto3'] = sys.modules['botocore'] = None", tmp_path)

    assert told.strip() == "MissingExtraError|this needs the optional part 'aws'|pip install 'icehouse[aws]'"


def test_a_metadata_server_that_never_answers_is_reported_within_the_deadline(tmp_path):
    named = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_METADATA_SERVICE_TIMEOUT": "60"}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        named["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        told = fresh("", tmp_path, **named)

    assert told.startswith("HsmUnavailableError|AWS gave no credentials (deadline 2 s)")
    assert time.monotonic() - begun < 60


CREDENTIALS = """
import datetime, json
soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)
named = {"AccessKeyId": "AKIAICEHOUSEOWNER001", "SecretAccessKey": "x", "Expiration": soon.isoformat()}
print(json.dumps(named | {"Version": 1}))
"""


def test_credentials_that_run_out_and_are_not_renewed_make_it_unavailable_until_they_are(server, monkeypatch, tmp_path):
    source = tmp_path / "credentials.py"
    (tmp_path / "config").write_text(f"[profile short]\ncredential_process = {sys.executable} {source}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(HsmRefusedError, match="no usable AWS credentials"):
        open_hsm(server.uri_of(profile="short"))

    source.write_text(CREDENTIALS)
    with closing(open_hsm(server.uri_of(profile="short", deadline=2))) as hsm:
        source.unlink()
        with pytest.raises(HsmUnavailableError, match="no usable AWS credentials"):
            hsm.keys("")
        source.write_text(CREDENTIALS)
        assert hsm.keys("") == []


def test_a_token_service_that_fails_in_passing_is_asked_again(server):
    role = f"arn:aws:iam::{server.other_account}:role/icehouse"
    server.roles.add(role)
    server.weather.schedule = {("AssumeRole", 1): Fault.UNAVAILABLE}
    open_hsm(server.uri_of(role=role)).close()

    assert server.count("AssumeRole") == 2


def test_the_environment_is_as_it_was_when_a_server_is_closed(server):
    server.close()

    assert os.environ.get("AWS_SECRET_ACCESS_KEY") != "of-no-account"
