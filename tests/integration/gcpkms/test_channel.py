"""The channel that production uses, over TLS with credentials, and what it leaves in logs."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import logging
import os
import subprocess
import sys

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from icehouse._core import DataKey, data_key_to_bytes
from integration.gcpkms.calls import CONTEXT, KEK
from servers.gcpkms import KmsServer

USE = """
import sys
from icehouse._core import DataKey, same_secret
from icehouse.errors import IcehouseError
from icehouse.hsm import KeyKind, open_hsm
try:
    hsm = open_hsm(sys.argv[1])
    kek, secret = hsm.create_key("kek", KeyKind.AES), DataKey.random()
    print(same_secret(hsm.unwrap(kek, hsm.wrap(kek, secret, bytes(32)), bytes(32)), secret), hsm.info.attested)
    hsm.close()
except IcehouseError as exc:
    print(type(exc).__name__, exc)
"""


def pem_of(key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def certified():
    """A server with a certificate that nobody but this test knows."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
    builder = builder.add_extension(address, critical=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    server = KmsServer(grpc.ssl_server_credentials([(pem_of(key), pem)]))
    yield server, pem
    server.stop()


def use(server, tmp_path, roots: bytes, deadline: float = 5) -> str:
    """Use the server as a service account would, in a process that trusts these roots."""
    (tmp_path / "roots.pem").write_bytes(roots)
    account = {
        "type": "service_account",
        "client_email": "icehouse@p-1.iam.gserviceaccount.com",
        "token_uri": "http://127.0.0.1:9/never-asked",
        "private_key": pem_of(rsa.generate_private_key(65537, 2048)).decode(),
        "private_key_id": "1",
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    environment = os.environ | {
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(tmp_path / "roots.pem"),
        "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "account.json"),
    }
    uri = f"gcpkms://{server.keys.ring}?endpoint=127.0.0.1:{server.port}&deadline={deadline}"
    command = [sys.executable, "-c", USE, uri]
    told = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=60)
    assert told.returncode == 0, told.stderr
    return told.stdout.strip()


def test_a_service_account_uses_keys_over_tls_and_proves_itself_with_a_token_of_its_own(certified, tmp_path):
    server, roots = certified

    assert use(server, tmp_path, roots) == "True False"
    (token,) = server.tokens
    assert token.startswith("Bearer ey")


def test_a_server_whose_certificate_nobody_vouches_for_gets_nothing(certified, tmp_path):
    server, _ = certified
    told = use(server, tmp_path, b"", deadline=1)

    assert told.startswith("HsmUnavailableError")
    assert (server.calls, server.tokens) == ([], set())


@pytest.mark.usefixtures("wrapped")
def test_no_data_key_is_logged_however_much_is_asked_for(hsm, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "google")
    secret = DataKey.random()
    # Google's client keeps its records to itself otherwise.
    monkeypatch.setattr(logging.getLogger("google"), "propagate", True)
    hsm.unwrap(KEK, hsm.wrap(KEK, secret, CONTEXT), CONTEXT)
    plain = data_key_to_bytes(secret)

    told = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "Sending request" not in told
    assert repr(plain)[2:-1] not in told
