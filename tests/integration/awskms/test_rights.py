"""What these credentials may do is told without doing anything, action by action."""

from __future__ import annotations

import pytest

from icehouse.hsm.awskms.rights import FOUND, SERVE

TRIED = ("DescribeKey", "Encrypt", "Decrypt", "GenerateMac", "Sign", "GetPublicKey", "ListKeys")


def told(hsm):
    return {right.action.removeprefix("kms:"): right.granted for right in hsm.rights()}


@pytest.mark.usefixtures("wrapped")
def test_whoever_may_do_everything_is_told_so_where_it_can_be_known(server, hsm):
    before = len(server.living())

    assert told(hsm) == dict.fromkeys((*SERVE, "ListKeys"), True) | dict.fromkeys(set(FOUND) - {"ListKeys"})
    assert len(server.living()) == before
    assert hsm.operations.by_kind()["keys"] == 0


@pytest.mark.usefixtures("wrapped")
@pytest.mark.parametrize("action", TRIED)
def test_a_missing_right_is_told_alone_with_the_policy_that_mends_it(server, hsm, action):
    server.rules.denied = {f"kms:{action}"}
    rights = {right.action: right for right in hsm.rights()}

    assert rights[f"kms:{action}"].granted is False
    assert f"allow kms:{action} as the policy icehouse-" in rights[f"kms:{action}"].mend
    assert [right.action for right in rights.values() if right.granted is False] == [f"kms:{action}"]


def test_without_keys_what_takes_one_is_not_known(hsm):
    rights = told(hsm)

    assert rights["ListAliases"] is True
    assert rights["Encrypt"] is None


@pytest.mark.usefixtures("wrapped")
def test_a_disabled_key_tells_nothing_of_rights(server, hsm):
    server.key("master").key_state = "Disabled"
    rights = told(hsm)

    assert (rights["GenerateMac"], rights["Sign"]) == (None, True)
