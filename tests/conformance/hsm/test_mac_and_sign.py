"""MACs and signatures: always the same, told apart, and accepted by an unrelated library."""

from __future__ import annotations

import hashlib
import os

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from icehouse._core import same_secret
from icehouse.errors import RequestError
from icehouse.hsm import KeyKind


@pytest.mark.parametrize("length", [0, 1, 63, 64, 127, 128, 129, 4096])
def test_the_mac_of_a_message_is_always_the_same_64_bytes(hsm, length):
    key, message = hsm.create_key("master", KeyKind.HMAC), os.urandom(length)

    # A node is 64 bytes by its type: anything shorter or longer is refused where it is made.
    assert same_secret(hsm.mac(key, message), hsm.mac(key, message))


def test_macs_of_different_messages_and_of_different_keys_differ(hsm):
    one, other = hsm.create_key("one", KeyKind.HMAC), hsm.create_key("other", KeyKind.HMAC)
    macs = [hsm.mac(key, message) for key in (one, other) for message in (b"", b"a", b"b", b"a\0")]

    for index, mac in enumerate(macs):
        assert not any(same_secret(mac, later) for later in macs[index + 1 :])


def test_a_mac_shows_nothing(hsm):
    mac = hsm.mac(hsm.create_key("master", KeyKind.HMAC), b"message")

    assert "redacted" in repr(mac)
    with pytest.raises(TypeError):
        hash(mac)


def verify(hsm, key, digest, signature):
    """Verify with an unrelated library; raises where the signature does not fit."""
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), hsm.public_key(key))
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    public.verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(SHA256())))


def test_signatures_are_64_bytes_that_an_unrelated_library_accepts(hsm):
    key = hsm.create_key("audit", KeyKind.ECDSA)

    for number in range(20):
        digest = hashlib.sha256(bytes([number])).digest()
        signature = hsm.sign(key, digest)
        assert len(signature) == 64
        verify(hsm, key, digest, signature)


def test_a_signature_does_not_fit_another_digest_or_another_key(hsm):
    key, other = hsm.create_key("one", KeyKind.ECDSA), hsm.create_key("other", KeyKind.ECDSA)
    digest = hashlib.sha256(b"message").digest()
    signature = hsm.sign(key, digest)

    with pytest.raises(InvalidSignature):
        verify(hsm, key, hashlib.sha256(b"another").digest(), signature)
    with pytest.raises(InvalidSignature):
        verify(hsm, other, digest, signature)


def test_a_public_key_is_an_uncompressed_point_that_stays(hsm):
    key = hsm.create_key("audit", KeyKind.ECDSA)
    point = hsm.public_key(key)

    assert len(point) == 65
    assert point[0] == 4
    assert hsm.public_key(key) == point


@pytest.mark.parametrize("digest", [b"", bytes(20), bytes(31), bytes(33), bytes(64)])
def test_a_digest_of_another_length_than_32_bytes_is_a_wrong_request(hsm, digest):
    key = hsm.create_key("audit", KeyKind.ECDSA)

    with pytest.raises(RequestError, match="a digest must be 32 bytes"):
        hsm.sign(key, digest)
