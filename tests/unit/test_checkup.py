"""The check of an HSM, against modules that are not as they should be."""

from __future__ import annotations

import hashlib
from contextlib import closing
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from icehouse.custody import KINDS, custody_class
from icehouse.hsm import KeyKind, open_hsm
from icehouse.hsm.checkup import KINDS_OF, Checkup
from icehouse.hsm.key_service.ecdsa import verify
from icehouse.hsm.protocol import time_of
from icehouse.vault.opening import KIND_OF

DIGEST = hashlib.sha256(b"hello").digest()


@pytest.fixture
def uri(tmp_path):
    (tmp_path / "pin").write_text("12345\n")
    return f"simulated:{tmp_path}/token?pin-source=file:{tmp_path}/pin"


@pytest.fixture
def keys(uri):
    with closing(open_hsm(uri, create=True)) as hsm:
        return [hsm.create_key(f"icehouse-{kind}", kind) for kind in KeyKind]


def found(uri, keys=()):
    return {check.check: check for check in Checkup("hsm", uri, keys).checks}


def signature(key):
    r, s = utils.decode_dss_signature(key.sign(DIGEST, ec.ECDSA(utils.Prehashed(SHA256()))))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def test_keys_of_every_kind_are_tried(uri, keys):
    checks = found(uri, keys)

    assert [checks[f"key {key.label}"].ok for key in keys] == [True, True, True]
    assert "of 6 operations" in checks["latency"].detail


def test_an_operation_that_fails_is_a_finding_and_the_rest_goes_on(uri, keys):
    checks = found(f"{uri}&fault=2:unavailable", keys)

    assert checks["key icehouse-aes"].ok is False
    assert checks["key icehouse-hmac"].ok is checks["key icehouse-ecdsa"].ok is True


def test_a_full_module_is_said_to_have_no_room(uri, keys):
    checks = found(f"{uri}&capacity={len(keys)}", keys)

    assert (checks["capacity"].ok, checks["capacity"].detail) == (None, "3 of 3 keys, no room for another")


def test_an_hsm_that_opens_and_does_not_answer_is_out_of_reach(uri, keys):
    checks = found(f"{uri}&fault=1:unavailable", keys)

    assert (checks["client"].ok, checks["reach"].ok, checks["credentials"].ok) == (True, False, None)


def test_an_hsm_that_opens_and_refuses_the_first_question_lacks_credentials(uri, keys):
    checks = found(f"{uri}&fault=1:refused", keys)

    assert (checks["reach"].ok, checks["credentials"].ok) == (True, False)


def test_a_pkcs11_keys_attributes_are_told(softhsm):
    token = softhsm.new_token("checkup")
    with closing(open_hsm(token.uri)) as hsm:
        key = hsm.create_key("icehouse-kek", KeyKind.AES)

    assert "EXTRACTABLE" in found(token.uri, [key])["key icehouse-kek"].detail.upper()


def test_signatures_of_an_unrelated_library_verify():
    for _ in range(4):
        key = ec.generate_private_key(ec.SECP256R1())
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

        assert verify(point, DIGEST, signature(key))


@pytest.mark.parametrize("place", [0, 1, 40, 64])
def test_a_bent_signature_key_or_digest_does_not_verify(place):
    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    signed = signature(key)

    def bent(content, at):
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]

    assert not verify(bent(point, place), DIGEST, signed)
    assert not verify(point, bent(DIGEST, place % 32), signed)
    assert not verify(point, DIGEST, bent(signed, place % 64))
    assert not verify(point, DIGEST, signed[:32] + bytes(32))


def test_the_date_of_an_answer_is_a_moment_or_nothing():
    assert time_of("Wed, 25 Nov 2026 23:44:20 GMT") == datetime(2026, 11, 25, 23, 44, 20, tzinfo=UTC)
    assert time_of("") is time_of("today") is None


def test_the_kinds_of_keys_that_custodies_need_are_those_of_their_roles():
    # A direct vault's users have keys of the same kind as its claim key.
    assert {custody: {KIND_OF[role] for role in custody_class(custody).roles} for custody in KINDS} == {
        custody: set(kinds) for custody, kinds in KINDS_OF.items()
    }
