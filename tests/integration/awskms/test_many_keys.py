"""Thousands of keys, ours and others': making never waits for them, and lists go on where they broke off."""

from __future__ import annotations

from contextlib import closing

import pytest

from icehouse.errors import HsmUnavailableError
from icehouse.hsm import KeyKind, PartlyListedError, open_hsm
from icehouse.hsm.checkup import Checkup
from integration.awskms.calls import KEK, impatient
from servers.quota import Quotas

LOOKS = {"looks": frozenset({"DescribeKey"}), "lists": frozenset({"ListAliases", "ListKeys"})}


def fill(server, ours: int = 0, nameless: int = 0) -> None:
    for number in range(ours):
        server.plant(f"icehouse-{number:04}", description=f"icehouse icehouse/icehouse-{number:04} 0")
    for _ in range(nameless):
        server.plant("gone", description="somebody else's")
        server.backend().delete_alias("alias/icehouse/gone")


def test_fifteen_hundred_foreign_keys_and_three_hundred_of_ours_cost_a_creation_nothing(server):
    fill(server, ours=300, nameless=1500)
    with closing(open_hsm(server.uri)) as hsm:
        hsm.create_key("kek", KeyKind.AES)

    assert server.count("DescribeKey") == 2
    assert server.count("ListKeys") == 0


def test_a_lost_answer_among_them_does_not_stop_the_creation_either(server):
    fill(server, nameless=1500)
    server.weather.quotas = Quotas({"looks": 100}, LOOKS)
    server.weather.schedule = {("CreateKey", 1): "lost answer"}
    with closing(open_hsm(server.uri)) as hsm:
        hsm.create_key("kek", KeyKind.AES)

    assert server.key("kek").key_state == "Enabled"


def test_a_list_that_breaks_off_says_what_it_has_and_goes_on_from_there(server):
    fill(server, ours=250)
    with impatient(server) as hsm:
        server.weather.quotas = Quotas({"looks": 130}, LOOKS)
        with pytest.raises(PartlyListedError, match="100 keys were listed, and no more: throttled") as caught:
            hsm.keys("icehouse-")
        assert len(caught.value.keys) == 100

        looked = server.count("DescribeKey")
        server.weather.quotas = None
        assert len(hsm.keys("icehouse-")) == 250
        # The hundred that were whole, not again.
        assert server.count("DescribeKey") == looked + 150


def test_each_page_of_a_long_list_has_its_own_deadline(server):
    fill(server, ours=60)
    with impatient(server) as hsm:
        server.rules.page, server.weather.latency = 5, 0.1
        # Twelve pages and as many rounds of looks take longer than one deadline.
        keys = hsm.keys("icehouse-")

    assert len(keys) == 60


def test_doctor_reports_what_it_has_where_the_list_breaks_off(server):
    fill(server, ours=250)
    server.weather.quotas = Quotas({"looks": 130}, LOOKS)
    checks = Checkup("hsm", server.uri_of(deadline=1)).checks
    told = {check.check: check for check in checks}

    assert told["reach"].ok
    assert told["keys"].ok is False
    assert told["keys"].detail.startswith("100 keys were listed, and no more: throttled")


def test_doctor_lists_keys_without_a_label_and_looks_at_foreign_ones_once(server):
    fill(server, nameless=30)
    with impatient(server) as hsm:
        server.weather.refusing = {}
        server.rules.denied = {"kms:CreateAlias", "kms:ScheduleKeyDeletion"}
        with pytest.raises(Exception, match="no permission"):
            hsm.create_key("kek", KeyKind.AES)
        server.rules.denied = set()
        before = server.count("DescribeKey")
        assert [left.label for left in hsm.leftovers()] == ["kek"]
        assert server.count("DescribeKey") <= before + 32
        before = server.count("DescribeKey")
        assert [left.label for left in hsm.leftovers()] == ["kek"]
        assert server.count("DescribeKey") <= before + 2
    (check,) = [one for one in Checkup("hsm", server.uri).checks if one.check == "key without a label"]

    assert "made for the label kek" in check.detail
    assert "schedule-key-deletion" in check.mend


def test_whoever_may_not_list_keys_is_told_that_leftovers_were_not_looked_for(server, hsm):
    hsm.create_key(KEK.label, KEK.kind)
    server.rules.denied = {"kms:ListKeys"}
    told = {check.check: check for check in Checkup("hsm", server.uri).checks}

    assert told["keys without a label"].ok is None
    assert "not looked for" in told["keys without a label"].detail


def test_a_service_that_answers_nothing_is_still_unavailable(server):
    with impatient(server) as hsm:
        server.weather.quotas = Quotas({"lists": 0}, LOOKS)
        with pytest.raises(HsmUnavailableError):
            hsm.keys("")
