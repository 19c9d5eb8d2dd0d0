"""The channel that production uses, over TLS, and what icehouse leaves in logs and errors."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import logging
import pickle
import ssl
import traceback
from contextlib import closing

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from icehouse._core import DataKey, data_key_to_bytes, same_secret
from icehouse.errors import HsmRefusedError, HsmUnavailableError
from icehouse.hsm import KeyKind, open_hsm
from integration.openbao.calls import CALLS, CONTEXT, KEK, MASTER
from servers.openbao_front import Fault, Front


@pytest.fixture
def certified(place, tmp_path):
    """The front with a certificate that nobody but this test knows, and the certificate's file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
    builder = builder.add_extension(address, critical=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    file = tmp_path / "ca.pem"
    file.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, tmp_path / "key.pem")
    place.front.stop()
    place.front = Front(place.server.port, context)
    return file


def test_keys_are_used_over_tls_under_an_authority_of_ones_own(place, certified):
    with closing(open_hsm(place.uri(insecure=None, ca=certified))) as hsm:
        kek, secret = hsm.create_key("kek", KeyKind.AES), DataKey.random()

        assert same_secret(hsm.unwrap(kek, hsm.wrap(kek, secret, CONTEXT), CONTEXT), secret)
        assert hsm.info.attested is False


@pytest.mark.usefixtures("certified")
def test_a_server_whose_certificate_nobody_vouches_for_gets_no_token(place):
    with pytest.raises(HsmRefusedError, match="nobody known vouches for its certificate") as caught:
        open_hsm(place.uri(insecure=None))

    assert "ca=" in caught.value.hint
    assert place.front.tokens == []


@pytest.mark.usefixtures("wrapped")
def test_a_standby_that_names_another_host_does_not_make_the_token_go_there(place):
    with place.impatient() as hsm:
        place.front.weather.always = {"hmac": Fault.STANDBY}
        with pytest.raises(HsmUnavailableError, match="status 307"):
            hsm.mac(MASTER, b"message")


@pytest.mark.usefixtures("wrapped")
def test_no_secret_is_logged_however_much_is_asked_for(place, hsm, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "hvac", "requests"):
        caplog.set_level(logging.DEBUG, name)
    secret, token = DataKey.random(), place.token_file.read_text().strip()
    wrapped = hsm.wrap(KEK, secret, CONTEXT)
    hsm.unwrap(KEK, wrapped, CONTEXT)
    hsm.mac(MASTER, b"message")
    body = {"input": base64.b64encode(b"message").decode()}
    mac = place.server.api("POST", f"{place.mount}/hmac/master/sha2-512", body)["data"]["hmac"]

    told = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "urllib3" in told
    for word in (base64.b64encode(data_key_to_bytes(secret)).decode(), mac.removeprefix("vault:v1:"), token):
        assert word not in told


def test_no_secret_is_in_an_error_or_in_what_is_shown(place, wrapped):
    token = place.token_file.read_text().strip()
    with place.impatient() as hsm:
        hsm.unwrap(KEK, wrapped, CONTEXT)
        place.front.stop()
        for name in ("decrypt", "hmac"):
            with pytest.raises(HsmUnavailableError) as caught:
                CALLS[name](hsm, wrapped)
            told = "".join(traceback.format_exception(caught.value))
            assert token not in f"{told} {caught.value!r} {caught.value.hint}"
            # The request of the client's own exception holds the token and the data key.
            cause = caught.value.__cause__
            assert cause is not None
            assert getattr(cause, "request", None) is None
        assert token not in f"{hsm!r} {hsm.info!r} {hsm._token!r}"
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(hsm)
