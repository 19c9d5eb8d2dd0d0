"""Fixed inputs give fixed bytes, for ever: whoever changes one of these breaks every vault that exists."""

from __future__ import annotations

from hashlib import sha256

import pytest
from frozen.formats import CONTEXT_STRINGS, Facts, ctx, enrolment_code, times_base

from icehouse._core import Group, bare_refusal, context_digest, data_key_from_bytes, key_id
from icehouse.model import SUITES

VAULT = bytes(range(16))
KEY_IDS = {}
PROOFS = {}


def facts(suite):
    """A key with fixed commitments: 5·G and 7·G."""
    commitments = times_base(suite, 5) + times_base(suite, 7)
    return Facts(VAULT, "ålice", suite, 3, 2, ("ålice", "server"), 258, commitments)


def group(suite):
    own = facts(suite)
    return Group(VAULT, own.user, suite, 3, 2, list(own.participants), own.epoch, own.commitments)


def test_a_context_is_length_prefixed_fields_after_its_kind():
    assert ctx("kind", "å", 258, b"\x00").hex() == (
        "00000010"
        "69636568 6f757365 2f76312f 6b696e64"
        "00000002 c3a5"
        "00000008 0000000000000102"
        "00000001 00"
    ).replace(" ", "")


def test_what_an_hsm_gets_is_the_hash_of_a_context():
    fields = [VAULT, 7, "server", "icehouse-000102030405060708090a0b0c0d0e0f-kek-1"]

    digest = context_digest("data-key", fields)

    assert digest == sha256(ctx("data-key", *fields)).digest()
    assert digest.hex() == "@@data-key@@"


def test_the_context_of_a_vault_s_settings_is_frozen():
    fields = [VAULT, "hybrid", "icehouse-00-kek-1", "icehouse-00-claim-1"]

    digest = context_digest("settings", fields)

    assert digest == sha256(ctx("settings", *fields)).digest()
    assert digest.hex() == "@@settings@@"


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
    assert token == "04" * 16 + ".@@code@@"


def test_a_bare_refusal_is_frozen():
    assert bare_refusal("unknown-epoch") == '{"v":1,"type":"refused","reason":"unknown-epoch"}'


def test_the_suites_are_named_by_their_context_strings():
    for suite in SUITES:
        own = facts(suite)
        assert key_id(VAULT, own.user, suite, 3) == own.key_id
    assert list(CONTEXT_STRINGS) == list(SUITES)
