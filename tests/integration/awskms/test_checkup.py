"""What `icehouse doctor` finds of AWS KMS."""

from __future__ import annotations

from icehouse.hsm.checkup import Checkup
from integration.awskms.calls import AUDIT, KEK, MASTER


def test_keys_of_every_kind_answer_and_the_clock_is_told(hsm, server, wrapped):
    assert wrapped
    before = hsm.keys("")
    keys = [hsm.create_key(f"icehouse-{key.label}", key.kind) for key in (KEK, MASTER, AUDIT)]
    checks = {check.check: check for check in Checkup("hsm", server.uri, keys).checks}

    assert [checks[f"key {key.label}"].ok for key in keys] == [True, True, True]
    assert checks["clock"].ok is True
    assert [check.action for check in hsm.rights()]
    assert [name for name, check in checks.items() if check.ok is False] == []
    assert len(hsm.keys("")) == len(before) + len(keys)
