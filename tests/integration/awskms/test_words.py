"""What AWS KMS answers when it does not do what was asked: what passes, what does not, and what mends it."""

from __future__ import annotations

from contextlib import closing

import botocore.session
import pytest
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

from icehouse._core import DataKey
from icehouse.errors import HsmRefusedError, HsmUnavailableError
from icehouse.hsm import open_hsm
from icehouse.hsm.awskms import wire
from integration.awskms.calls import CALLS, CONTEXT, KEK, impatient
from servers.awskms_rules import AwsError

LASTING = {"LimitExceededException"}
"""Of KMS this is the quota of keys, whatever other services mean by it."""


@pytest.mark.parametrize("code", sorted(set(ThrottledRetryableChecker._THROTTLED_ERROR_CODES) - LASTING))
def test_every_throttle_that_botocore_knows_passes_and_is_called_one(server, code):
    with impatient(server) as hsm:
        server.weather.refusing["DescribeKey"] = AwsError(code, "slower, please")
        with pytest.raises(HsmUnavailableError, match=f"throttled by .*{code}") as caught:
            hsm.mac(KEK, b"")

    assert "quota" in caught.value.hint


@pytest.mark.parametrize("code", sorted(TransientRetryableChecker._TRANSIENT_ERROR_CODES))
def test_every_fault_that_botocore_knows_to_pass_passes(server, code):
    with impatient(server) as hsm:
        server.weather.refusing["DescribeKey"] = AwsError(code, "later, please")
        with pytest.raises(HsmUnavailableError, match=code):
            hsm.mac(KEK, b"")


@pytest.mark.parametrize(
    ("error", "words", "hint"),
    [
        (AwsError("RequestTimeTooSkewed", "The difference is too large.", 403), "clock is not AWS's", "set-ntp"),
        (AwsError("RequestExpired", "Request has expired."), "clock is not AWS's", "set-ntp"),
        (AwsError("InvalidSignatureException", "Signature expired: 2026 is now"), "clock is not AWS's", "set-ntp"),
        (AwsError("InvalidSignatureException", "Signature not yet current: 2026"), "clock is not AWS's", "set-ntp"),
        (AwsError("InvalidSignatureException", "does not match"), "no valid credentials", "aws configure"),
        (AwsError("MissingAuthenticationToken", "must be signed", 403), "no valid credentials", "aws configure"),
        (AwsError("NotAuthorized", "You may not do this."), "no permission", "allow kms:DescribeKey"),
        (AwsError("OptInRequired", "needs a subscription", 403), "the account may not use this", "enable-region"),
    ],
)
def test_what_does_not_pass_is_refused_with_what_mends_it(server, hsm, error, words, hint):
    server.weather.refusing["DescribeKey"] = error

    with pytest.raises(HsmRefusedError, match=words) as caught:
        hsm.mac(KEK, b"")
    assert hint in caught.value.hint


@pytest.mark.parametrize("field", ["MultiRegion", "EncryptionAlgorithm", "Origin", "KeyManager"])
def test_fields_that_a_stand_in_leaves_out_are_missed_of_amazons_own_service_only(server, monkeypatch, field):
    server.rules.leaves_out = frozenset({field})
    with closing(open_hsm(server.uri)) as hsm:
        hsm.create_key(KEK.label, KEK.kind)
        hsm.unwrap(KEK, hsm.wrap(KEK, DataKey.random(), CONTEXT), CONTEXT)

        assert (hsm.info.attested, "a stand-in for AWS KMS" in hsm.info.model) == (False, True)
    monkeypatch.setattr(wire, "of_amazon", lambda *_: True)
    with closing(open_hsm(server.uri)) as hsm, pytest.raises(HsmRefusedError, match=f"{field} (is )?None"):
        hsm.wrap(KEK, DataKey.random(), CONTEXT)


@pytest.mark.parametrize("action", CALLS)
def test_a_wrong_field_is_refused_of_a_stand_in_too(server, hsm, wrapped, action):
    for key in server.living():
        key.origin = "EXTERNAL"

    with closing(open_hsm(server.uri)) as other, pytest.raises(HsmRefusedError, match="Origin is EXTERNAL"):
        CALLS[action](other, wrapped)
    assert hsm.operations.total


def test_the_stand_in_speaks_what_botocore_speaks_to_the_real_service():
    metadata = botocore.session.get_session().get_service_model("kms").metadata

    # Where CBOR joins this list, the stand-in is to speak it, too.
    assert (metadata["protocols"], metadata["jsonVersion"]) == (["json"], "1.1")
