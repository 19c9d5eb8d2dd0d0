"""Whatever arrives, `exchange` answers: what has no form gets a bare refusal before any key is looked for."""

from __future__ import annotations

import pytest

from frozen.formats import b64, header
from icehouse import create_hsm_frost
from icehouse._core import bare_refusal


@pytest.fixture(scope="module")
def frost():
    with create_hsm_frost("simulated") as service:
        yield service


@pytest.fixture
def head(frost):
    return b64(header(frost.create_user_frost_shards("alice").key_id, 0))


def refused(frost, message):
    return frost.exchange(message) == bare_refusal("malformed")


@pytest.mark.parametrize("payload", ["!!!", "e31=", "e3", "e31", "e", "e30 ", "+/+/"])
def test_a_payload_that_is_no_base64_has_no_form(frost, head, payload):
    assert refused(frost, f"{head}.{payload}.{b64(bytes(32))}")


@pytest.mark.parametrize("message", ["", ".", "..", "...", "{}", "null", "é.é.é", "\x00", "\ud800", "a" * (5 << 20)])
def test_what_is_no_message_has_no_form(frost, message):
    assert refused(frost, message)


def test_a_good_form_without_authority_is_refused_for_another_reason(frost, head):
    assert frost.exchange(f"{head}.e30.{b64(bytes(32))}") == bare_refusal("unknown-epoch")
