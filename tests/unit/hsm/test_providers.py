"""`create_hsm_frost` names providers; each name and its configuration makes one URI."""

from __future__ import annotations

from pathlib import Path

import pytest

from icehouse.errors import RequestError
from icehouse.hsm.awskms.uri import AwsKmsUri
from icehouse.hsm.configuration import hsm_uri
from icehouse.hsm.gcpkms.uri import GcpKmsUri
from icehouse.hsm.openbao.uri import OpenBaoUri
from icehouse.hsm.pkcs11.pkcs11 import Pkcs11Uri


def test_simulated_is_in_memory_unless_told_a_path():
    assert hsm_uri("simulated", {}) == "simulated:"


def test_a_simulated_path_keeps_its_odd_characters():
    uri = hsm_uri("simulated", {"path": "/a b/t?k", "pin_source": "/a b/p&n"})

    assert uri == "simulated:/a%20b/t%3Fk?pin-source=file:/a%20b/p%26n"


def test_a_simulated_hsm_can_be_made_to_suffer():
    config = {"latency": 0.02, "rate_limit": 500, "capacity": 9, "faults": {3: "unavailable", 7: "session-loss"}}

    assert hsm_uri("simulated", config) == (
        "simulated:?capacity=9&latency=0.02&rate-limit=500&fault=3:unavailable&fault=7:session-loss"
    )
    assert hsm_uri("simulated", {"path": "/t", "pin_source": "/p", "latency": 1}) == (
        "simulated:/t?pin-source=file:/p&latency=1"
    )


def test_pkcs11_takes_its_three_settings_whatever_characters_they_have():
    config = {"module_path": Path("/l/m;&?.so"), "token_label": "a/b;c=d%", "pin_source": "/p&q;%"}

    assert Pkcs11Uri.parse(hsm_uri("pkcs11", config)) == Pkcs11Uri(
        module_path=Path("/l/m;&?.so"),
        pin_file=Path("/p&q;%"),
        token="a/b;c=d%",  # noqa: S106  a label
    )


def test_google_takes_its_three_settings_and_how_to_reach_it():
    config = {"project_id": "p-1", "location": "global", "key_ring": "r", "endpoint": "[::1]:7", "insecure": 1}

    assert GcpKmsUri.parse(hsm_uri("google", config)) == GcpKmsUri("p-1", "global", "r", "[::1]:7", insecure=True)
    assert hsm_uri("google", {name: config[name] for name in ("project_id", "location", "key_ring")}) == (
        "gcpkms://projects/p-1/locations/global/keyRings/r"
    )


def test_aws_kms_takes_a_region_and_whose_keys_these_are():
    config = {"region": "eu-central-1", "role": "arn:aws:iam::222222222222:role/a+b", "deletion_days": 7}

    assert AwsKmsUri.parse(hsm_uri("aws-kms", config)) == AwsKmsUri(
        "eu-central-1", role="arn:aws:iam::222222222222:role/a+b", account="222222222222", deletion_days=7
    )
    assert hsm_uri("aws-kms", {}) == "awskms://"


def test_openbao_takes_its_address_its_mount_and_who_asks():
    config = {"address": "[::1]:7", "mount": "a/b", "token_source": "/t&k", "insecure": 1, "namespace": "n/m"}
    role = {"address": "bao", "role_id": "r&=", "secret_id_source": Path("/s"), "ca": "/c", "deadline": 2}

    assert OpenBaoUri.parse(hsm_uri("openbao", config)) == OpenBaoUri(
        "[::1]:7", "a/b", "n/m", token_file=Path("/t&k"), insecure=True
    )
    assert OpenBaoUri.parse(hsm_uri("openbao", role)) == OpenBaoUri(
        "bao:8200", role_id="r&=", secret_id_file=Path("/s"), ca=Path("/c"), deadline=2
    )


@pytest.mark.parametrize(
    ("provider", "config", "words"),
    [
        ("hsm", {}, "hsm_provider must be one of"),
        ("", {}, "hsm_provider must be one of"),
        ("simulated", {"path": "/t"}, "needs both path and pin_source"),
        ("simulated", {"pin_source": "/t"}, "needs both path and pin_source"),
        ("simulated", {"pin": "1234"}, "config has no setting pin;"),
        ("pkcs11", {}, "needs module_path, pin_source, token_label"),
        ("pkcs11", {"module_path": "/m", "token_label": "t"}, "needs pin_source"),
        ("google", {"project_id": "p"}, "needs key_ring, location in config"),
        ("google", {"region": "x"}, "config has no setting region"),
        ("aws-kms", {"cluster_id": "x"}, "config has no setting cluster_id"),
        ("openbao", {"mount": "m"}, "needs address in config"),
        ("openbao", {"address": "h", "token": "hvs.1"}, "config has no setting token;"),
        ("pkcs11", {"region": "x"}, "config has no setting region"),
    ],
)
def test_an_unknown_provider_or_setting_is_a_wrong_request(provider, config, words):
    with pytest.raises(RequestError, match=words):
        hsm_uri(provider, config)
