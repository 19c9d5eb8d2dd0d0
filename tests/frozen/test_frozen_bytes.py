"""Fixed inputs give fixed bytes, for ever: whoever changes one of these breaks every vault that exists."""

from __future__ import annotations

from hashlib import sha256

import pytest

from frozen.formats import CONTEXT_STRINGS, Facts, ctx, enrolment_code, times_base
from icehouse._core import Group, bare_refusal, context_digest, data_key_from_bytes, key_id
from icehouse.model import SUITES

VAULT = bytes(range(16))
KEY_IDS = {
    "ed25519": "bd4d7017d00e1f1def6179bbb182876a",
    "secp256k1-tr": "d42b3082abf15294f91194a1acf4734d",
    "secp256k1": "4d017131fe505b2cca0b5ab11284d3b6",
    "p256": "1ad3ab6f75f46d575da714c9c6afcb03",
    "ristretto255": "3d32530d6b4711fe031866e9b5605bee",
    "ed448": "fe4f6c50bd975448b7325256a2d9926f",
}
PROOFS = {
    "ed25519": "afe4108f3b8827687e544398e982f8a92d14c70aceff42148118fdd49951a712",
    "secp256k1-tr": "e758dc2d96488162d6d37a3afccef3b5b7aae7b2a20b50deaecca75e3de9484f",
    "secp256k1": "e23554a95c20e66f6468600d98f9a60d11bf4604a413a54455fb56d5739cd565",
    "p256": "a54312049095c7486d76ee409de42530ca610d6fc237f5bb2357cff3af8c500f",
    "ristretto255": "549971b742f3629a7f65943d295f815b97835983be99b3f2a06dcf42fdf6afcc",
    "ed448": "b9fb720d13c182869d78b5c7dae5aa040e37120ead009842da87cf9f1ab8b3d2",
}


def facts(suite):
    """A key with fixed commitments: 5·G and 7·G."""
    commitments = times_base(suite, 5) + times_base(suite, 7)
    return Facts(VAULT, "ålice", suite, 3, 2, ("ålice", "server"), 258, commitments)


def group(suite):
    own = facts(suite)
    return Group(VAULT, own.user, suite, 3, 2, list(own.participants), own.epoch, own.commitments)


def test_a_context_is_length_prefixed_fields_after_its_kind():
    assert ctx("kind", "å", 258, b"\x00").hex() == (
        "0000001069636568 6f757365 2f76312f 6b696e6400000002 c3a500000008 000000000000010200000001 00"
    ).replace(" ", "")


def test_what_an_hsm_gets_is_the_hash_of_a_context():
    fields = [VAULT, 7, "server", "icehouse-000102030405060708090a0b0c0d0e0f-kek-1"]

    digest = context_digest("data-key", fields)

    assert digest == sha256(ctx("data-key", *fields)).digest()
    assert digest.hex() == "63bda68f96d8a3ec5a861353ada492366411e92a2b7913930abb39dca7042526"


def test_the_context_of_a_vault_s_settings_is_frozen():
    fields = [VAULT, "hybrid", "icehouse-00-kek-1", "icehouse-00-claim-1"]

    digest = context_digest("settings", fields)

    assert digest == sha256(ctx("settings", *fields)).digest()
    assert digest.hex() == "197c09401b3bfd18e4c9e2e400623e974d6553b995b1c124c8d27bb79a73bb53"


@pytest.mark.parametrize("suite", SUITES)
def test_a_key_id_is_frozen(suite):
    own = key_id(VAULT, "ålice", suite, 3)

    assert own == facts(suite).key_id == group(suite).key_id
    assert own.hex() == KEY_IDS[suite]


@pytest.mark.parametrize("suite", SUITES)
def test_the_canonical_bytes_of_a_group_and_its_proof_are_frozen(suite):
    message = group(suite).proof_message(bytes([1] * 16), bytes([2] * 32))

    assert message == facts(suite).proof_message(bytes([1] * 16), bytes([2] * 32))
    assert sha256(message).hexdigest() == PROOFS[suite]


@pytest.mark.parametrize("suite", SUITES)
def test_a_public_key_is_what_a_verifier_wants(suite):
    assert group(suite).public_key == facts(suite).public_key


@pytest.mark.parametrize("suite", SUITES)
def test_a_verifying_share_is_the_polynomial_at_its_number(suite):
    for number in (1, 2):
        assert group(suite).verifying_share(number) == times_base(suite, 5 + 7 * number)


def test_an_enrolment_code_and_its_token_are_frozen():
    claim_key, key, salt = bytes([3] * 32), bytes([4] * 16), bytes([5] * 16)

    token = data_key_from_bytes(claim_key).enrolment_code(VAULT, key, salt).token(key)

    assert token == f"{key.hex()}.{enrolment_code(claim_key, VAULT, key, salt).hex()}"
    assert token == "04" * 16 + ".479f394b6dd84f0a5661c5d6de7480d56827927ee99c387247567d386dd7f6cb"


def test_a_bare_refusal_is_frozen():
    assert bare_refusal("unknown-epoch") == '{"v":1,"type":"refused","reason":"unknown-epoch"}'


def test_the_suites_are_named_by_their_context_strings():
    for suite in SUITES:
        own = facts(suite)
        assert key_id(VAULT, own.user, suite, 3) == own.key_id
    assert list(CONTEXT_STRINGS) == list(SUITES)
