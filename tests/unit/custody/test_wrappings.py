"""A root key's wrappings are counted by the numbers of data keys; long before there are too many, somebody is told."""

from __future__ import annotations

import logging

import pytest

from icehouse.custody import HybridCustody, OpenedKeys
from icehouse.hsm import KeyKind, open_hsm
from icehouse.model import Purpose

MANY = 1 << 28


@pytest.mark.parametrize(("number", "told"), [(1, 0), (MANY - 1, 0), (MANY, 1), (MANY + 1, 0), (1 << 31, 1)])
def test_a_warning_comes_long_before_a_root_key_has_wrapped_too_much(caplog, number, told):
    hsm = open_hsm("simulated:")
    roots = {purpose: (hsm, hsm.create_key(f"root-{purpose}", KeyKind.AES)) for purpose in Purpose}
    custody = HybridCustody(bytes(16), roots, None, OpenedKeys(0, 0))
    with caplog.at_level(logging.WARNING, logger="icehouse"):
        caplog.clear()
        custody.new_data_key(number, Purpose.SERVER)

    assert len([record for record in caplog.records if "2^32" in record.message]) == told
