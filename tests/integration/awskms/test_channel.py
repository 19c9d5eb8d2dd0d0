"""The channel that production uses, over TLS, and what it leaves in logs."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import logging
import ssl
from contextlib import closing

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from icehouse._core import DataKey, data_key_to_bytes, same_secret
from icehouse.errors import HsmUnavailableError
from icehouse.hsm import KeyKind, open_hsm
from icehouse.hsm.awskms.wire import of_amazon
from integration.awskms.calls import CONTEXT, KEK, MASTER
from servers.awskms import REGION, AwsKmsServer


@pytest.fixture
def certified(tmp_path):
    """A server with a certificate that nobody but this test knows, and the file that vouches for it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
    builder = builder.add_extension(address, critical=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    roots, private = tmp_path / "roots.pem", tmp_path / "key.pem"
    roots.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(roots, private)
    server = AwsKmsServer(context)
    yield server, roots
    server.close()


def test_keys_are_used_over_tls(certified, monkeypatch):
    server, roots = certified
    monkeypatch.setenv("AWS_CA_BUNDLE", str(roots))

    with closing(open_hsm(f"awskms://{REGION}?endpoint=127.0.0.1:{server.port}")) as hsm:
        secret = DataKey.random()
        kek = hsm.create_key("kek", KeyKind.AES)
        assert same_secret(hsm.unwrap(kek, hsm.wrap(kek, secret, CONTEXT), CONTEXT), secret)
        assert (hsm.info.attested, hsm.info.model) == (
            False,
            f"unknown, a stand-in for AWS KMS, at https://127.0.0.1:{server.port}",
        )


def test_a_server_whose_certificate_nobody_vouches_for_gets_nothing(certified):
    server, _ = certified

    with pytest.raises(HsmUnavailableError, match="SSL"):
        open_hsm(f"awskms://{REGION}?endpoint=127.0.0.1:{server.port}&deadline=1")
    assert server.calls == []


@pytest.mark.parametrize(
    ("url", "region", "amazons"),
    [
        ("https://kms.eu-central-1.amazonaws.com", "eu-central-1", True),
        ("https://kms-fips.us-east-1.amazonaws.com", "us-east-1", True),
        ("https://kms.cn-north-1.amazonaws.com.cn", "cn-north-1", True),
        ("https://kms.eu-central-1.api.aws", "eu-central-1", True),
        ("https://vpce-0a-1b.kms.eu-central-1.vpce.amazonaws.com:443", "eu-central-1", True),
        ("http://kms.eu-central-1.amazonaws.com", "eu-central-1", False),
        ("https://kms.eu-west-1.amazonaws.com", "eu-central-1", False),
        ("https://ec2-1-2-3-4.eu-central-1.compute.amazonaws.com", "eu-central-1", False),
        ("https://kms.eu-central-1.amazonaws.com.example", "eu-central-1", False),
        ("https://evilkms.eu-central-1.amazonaws.com", "eu-central-1", False),
        ("https://127.0.0.1:443", "eu-central-1", False),
    ],
)
def test_only_kmss_own_hosts_vouch_for_hardware(url, region, amazons):
    assert of_amazon(url, region) is amazons


@pytest.mark.usefixtures("wrapped")
def test_no_secret_is_logged_however_much_is_asked_for(server, hsm, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("botocore", "botocore.endpoint", "botocore.parsers", "botocore.hooks", "boto3", "urllib3"):
        caplog.set_level(logging.DEBUG, name)
    secret = DataKey.random()
    hsm.unwrap(KEK, hsm.wrap(KEK, secret, CONTEXT), CONTEXT)
    hsm.mac(MASTER, b"message")
    plain = data_key_to_bytes(secret)
    node = server.backend().generate_mac(b"\0message", server.key("master").id, "HMAC_SHA_512", [], dry_run=False)[0]

    told = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "urllib3" in told
    for form in (repr(plain)[2:-1], base64.b64encode(plain).decode(), plain.hex(), node):
        assert form not in told


def test_what_others_log_of_botocore_is_left_alone(caplog):
    caplog.set_level(logging.DEBUG, "botocore.parsers")
    logging.getLogger("botocore.parsers").debug("an answer of another service")

    assert "an answer of another service" in caplog.text
