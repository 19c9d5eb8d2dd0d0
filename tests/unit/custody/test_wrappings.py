"""A root key's wrappings are counted by the numbers of data keys; long before there are too many, somebody is told."""

from __future__ import annotations

import logging

import pytest

from icehouse.custody import HybridCustody, Opened, RootKeys
from icehouse.hsm import KeyKind, open_hsm
from icehouse.model import Purpose, Role, RootKey, RootState, VaultRecord, root_label

MANY = 1 << 28


@pytest.mark.parametrize(("number", "told"), [(1, 0), (MANY - 1, 0), (MANY, 1), (MANY + 1, 0), (1 << 31, 1)])
def test_a_warning_comes_long_before_a_root_key_has_wrapped_too_much(caplog, number, told):
    hsm, label = open_hsm("simulated:"), root_label(bytes(16), Role.KEK, 1)
    hsm.create_key(label, KeyKind.AES)
    record = VaultRecord(bytes(16), "hybrid", 0, (RootKey(label, Role.KEK, 1, RootState.CURRENT),), b"")
    custody = HybridCustody(record, RootKeys(hsm, hsm), None, Opened(0, 0), lambda: record)
    with caplog.at_level(logging.WARNING, logger="icehouse"):
        caplog.clear()
        custody.new_data_key(number, Purpose.SERVER, label)

    assert len([record for record in caplog.records if "2^32" in record.message]) == told
