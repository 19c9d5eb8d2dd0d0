"""What key services tell of P-256: read as an unrelated library writes it, and refused in every other form."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from icehouse.errors import HsmRefusedError
from icehouse.hsm.key_service import ecdsa
from icehouse.hsm.key_service.p256 import point_of, raw_signature

DIGEST = hashlib.sha256(b"hello").digest()
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
FIELD = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF


def spki(key):
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def uncompressed(key):
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def sequence(*integers):
    body = b"".join(b"\x02" + bytes([len(each)]) + each for each in integers)
    return b"\x30" + bytes([len(body)]) + body


@pytest.fixture
def key():
    return ec.generate_private_key(ec.SECP256R1())


def test_signatures_of_an_unrelated_library_are_read_and_verify(key):
    for number in range(32):
        digest = hashlib.sha256(b"%d" % number).digest()
        der = key.sign(digest, ec.ECDSA(utils.Prehashed(SHA256())))
        r, s = utils.decode_dss_signature(der)

        assert raw_signature(der) == r.to_bytes(32, "big") + s.to_bytes(32, "big")
        assert ecdsa.verify(point_of(spki(key)), digest, raw_signature(der))


def test_a_signature_verifies_with_either_sign_of_s(key):
    # FIPS 186-5 takes both; HSMs make both.
    r, s = utils.decode_dss_signature(key.sign(DIGEST, ec.ECDSA(utils.Prehashed(SHA256()))))

    for each in (s, ORDER - s):
        assert ecdsa.verify(uncompressed(key), DIGEST, r.to_bytes(32, "big") + each.to_bytes(32, "big"))


def test_the_point_is_read_from_what_an_unrelated_library_writes(key):
    assert point_of(spki(key)) == uncompressed(key)


@pytest.mark.parametrize(
    "der",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(sequence(b"\x01"), id="one number"),
        pytest.param(sequence(b"\x01", b"\x01", b"\x01"), id="three numbers"),
        pytest.param(sequence(b"\x01", b"\x00"), id="zero"),
        pytest.param(sequence(b"\x81", b"\x01"), id="negative"),
        pytest.param(sequence(b"", b"\x01"), id="empty"),
        pytest.param(sequence(b"\x00\x01", b"\x01"), id="a needless zero"),
        pytest.param(sequence(b"\x00" + ORDER.to_bytes(32, "big"), b"\x01"), id="the order"),
        pytest.param(sequence(b"\x01" + bytes(32), b"\x01"), id="257 bits"),
        pytest.param(sequence(b"\x01", b"\x01") + b"\x00", id="a byte too many"),
        pytest.param(sequence(b"\x01", b"\x01")[:-1], id="a byte too few"),
        pytest.param(b"\x30\x81\x06" + sequence(b"\x01", b"\x01")[2:], id="a length in two bytes"),
    ],
)
def test_a_signature_in_any_other_form_is_refused(der):
    with pytest.raises(HsmRefusedError, match="not of P-256"):
        raw_signature(der)


def test_a_public_key_of_any_other_form_is_refused(key):
    compressed = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    header = spki(key)[:-65]
    y = int.from_bytes(spki(key)[-32:], "big")
    others = [
        b"",
        spki(key)[:-1],
        spki(key) + b"\x00",
        uncompressed(key),
        spki(ec.generate_private_key(ec.SECP256K1())),
        spki(ec.generate_private_key(ec.SECP384R1())),
        spki(ed25519.Ed25519PrivateKey.generate()),
        bytes.fromhex("3039") + header[2:23] + b"\x03\x22\x00" + compressed,
        spki(key)[:-32] + ((y + 1) % FIELD).to_bytes(32, "big"),
    ]

    for other in others:
        with pytest.raises(HsmRefusedError, match="not of P-256"):
            point_of(other)


def test_a_point_in_another_form_or_a_digest_of_another_length_verifies_nothing(key):
    r, s = utils.decode_dss_signature(key.sign(DIGEST, ec.ECDSA(utils.Prehashed(SHA256()))))
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    compressed = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)

    assert not ecdsa.verify(compressed, DIGEST, signature)
    assert not ecdsa.verify(uncompressed(key), DIGEST[:31], signature)
    assert not ecdsa.verify(uncompressed(key), DIGEST, signature + b"\x00")
    assert ecdsa.verify(uncompressed(key), DIGEST, signature)
