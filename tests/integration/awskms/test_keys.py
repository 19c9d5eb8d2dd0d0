"""Keys: which serve, which are refused, and what becomes of the destroyed."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from icehouse.errors import HsmRefusedError, SealError
from icehouse.hsm import open_hsm
from integration.awskms.calls import AUDIT, CALLS, CONTEXT, KEK, LABELS, MASTER

WORK = {KEK: "Encrypt", MASTER: "GenerateMac", AUDIT: "Sign"}


@pytest.mark.parametrize(
    ("key", "shape", "words"),
    [
        (KEK, {"origin": "EXTERNAL"}, "Origin is EXTERNAL, not AWS_KMS"),
        (KEK, {"origin": "EXTERNAL_KEY_STORE"}, "Origin is EXTERNAL_KEY_STORE"),
        (KEK, {"key_manager": "AWS"}, "KeyManager is AWS"),
        (KEK, {"multi_region": True}, "MultiRegion is True"),
        (KEK, {"spec": "RSA_2048"}, "it is RSA_2048 for ENCRYPT_DECRYPT"),
        (KEK, {"spec": "HMAC_512", "usage": "GENERATE_VERIFY_MAC"}, "is of kind hmac; this operation needs kind aes"),
        (MASTER, {"spec": "HMAC_256", "usage": "GENERATE_VERIFY_MAC"}, "it is HMAC_256 for"),
        (AUDIT, {"spec": "ECC_NIST_P384", "usage": "SIGN_VERIFY"}, "it is ECC_NIST_P384 for"),
        (AUDIT, {"spec": "ECC_NIST_P256", "usage": "KEY_AGREEMENT"}, "it is ECC_NIST_P256 for KEY_AGREEMENT"),
        (KEK, {"description": "payroll"}, "icehouse did not make it for this label, its description is 'payroll'"),
        (KEK, {"description": "icehouse icehouse/claim 0"}, "icehouse did not make it for this label"),
        (KEK, {"key_state": "PendingImport"}, "is PendingImport, not Enabled"),
    ],
)
def test_a_key_of_another_make_is_refused_for_what_is_wrong_with_it(server, hsm, key, shape, words):
    server.plant(key.label, **shape)

    with pytest.raises(HsmRefusedError, match=words):
        CALLS[WORK[key]](hsm, b"")
    assert server.count(*CALLS) == 0


def test_a_foreign_key_under_a_label_of_ours_is_not_destroyed(server, hsm):
    foreign = server.plant("kek", description="payroll")

    with pytest.raises(HsmRefusedError, match="icehouse did not make it"):
        hsm.destroy_key(KEK)
    assert foreign.key_state == "Enabled"


@pytest.mark.parametrize("action", CALLS)
def test_a_disabled_key_is_refused_and_serves_again_when_it_is_enabled(server, hsm, wrapped, action):
    key = server.key(LABELS[action])
    CALLS[action](hsm, wrapped)
    key.key_state = "Disabled"

    with pytest.raises(HsmRefusedError, match=f"the key labelled '{LABELS[action]}' is Disabled") as caught:
        CALLS[action](hsm, wrapped)
    assert f"aws kms enable-key --key-id {key.arn}" in caught.value.hint
    assert LABELS[action] in [each.label for each in hsm.keys("")]
    key.key_state = "Enabled"
    CALLS[action](hsm, wrapped)


@pytest.mark.parametrize("action", CALLS)
def test_a_key_that_somebody_scheduled_for_deletion_is_refused_with_how_to_save_it(server, hsm, wrapped, action):
    key = server.key(LABELS[action])
    server.backend().schedule_key_deletion(key.id, 7)

    with pytest.raises(HsmRefusedError, match=f"no key labelled '{LABELS[action]}' any more") as caught:
        CALLS[action](hsm, wrapped)
    assert f"aws kms cancel-key-deletion --key-id {key.arn}" in caught.value.hint
    key.key_state = "Enabled"
    CALLS[action](hsm, wrapped)


@pytest.mark.parametrize(("query", "days"), [({}, 30), ({"deletion_days": 7}, 7)])
@pytest.mark.usefixtures("wrapped")
def test_a_destroyed_key_can_be_recovered_as_long_as_the_uri_says(server, query, days):
    with closing(open_hsm(server.uri_of(**query))) as hsm:
        told = hsm.destroy_key(KEK)

    assert not told.done
    assert abs(told.recoverable_until - datetime.now(UTC) - timedelta(days)) < timedelta(minutes=10)


def test_an_alias_that_was_pointed_at_another_key_of_ours_is_noticed(server, hsm, wrapped):
    other = hsm.create_key("other", KEK.kind)
    server.backend().update_alias(server.key("other").id, "alias/icehouse/kek")

    # By its ARN, the key goes on serving whoever knew it.
    hsm.unwrap(KEK, wrapped, CONTEXT)
    with closing(open_hsm(server.uri)) as fresh, pytest.raises(HsmRefusedError, match="icehouse did not make it"):
        fresh.unwrap(KEK, wrapped, CONTEXT)
    with pytest.raises(SealError):
        hsm.unwrap(other, wrapped, CONTEXT)


def test_an_alias_that_was_pointed_at_a_forged_key_is_refused_while_the_true_one_lives(server, hsm, wrapped):
    true = server.key("kek")
    forged = server.plant("forged", description="icehouse icehouse/kek 0")
    with closing(open_hsm(server.uri)) as other:
        other.unwrap(KEK, wrapped, CONTEXT)
        server.backend().update_alias(forged.id, "alias/icehouse/kek")
        other._known = {key: (arn, 0.0) for key, (arn, _) in other._known.items()}

        for _ in range(2):
            with pytest.raises(HsmRefusedError, match=f"names {forged.arn}, and named {true.arn} before") as caught:
                other.unwrap(KEK, wrapped, CONTEXT)
        assert "update-alias" in caught.value.hint
        # Whoever made it knows it by its ARN, whatever its alias names.
        hsm.unwrap(KEK, wrapped, CONTEXT)
        server.backend().update_alias(true.id, "alias/icehouse/kek")
        other.unwrap(KEK, wrapped, CONTEXT)
