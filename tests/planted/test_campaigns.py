"""Campaigns that somebody else wrote: each fails by its name, and the worker goes on with the others."""

from __future__ import annotations

import json

import pytest

RUNNING = 3  # as the town numbers it

TERMS = [
    "[" * 50_000,
    '{"data_keys": 5}',
    '{"data_keys": [1, "2"]}',
    '{"data_keys": [9223372036854775808]}',
    '{"suite": "rsa"}',
    '{"suite": ["ed25519"]}',
    '{"state": "broken"}',
    '{"origin": 5}',
    '{"epoch": 1.5}',
    '{"epoch": true}',
    '{"due_from": 0, "due_by": 99999999999999999999}',
    '{"below": NaN}',
    '{"unknown": 1}',
    "text",
    "[]",
    "5",
    "",
]
PAGES = [
    ("first", "'word'"),
    ("last", "x'00'"),
    ("token", "9223372036854775807"),
    ("attempts", "9223372036854775807"),
    ("matched", "0.5"),
    ("operations", "'word'"),
    ("not_before", "'word'"),
    ("not_before", "9223372036854775807"),
    ("state", "'word'"),
    ("number", "'word'"),
]
CAMPAIGNS = [("verb", "'word'"), ("verb", "x'00'"), ("started", "-9223372036854775808"), ("terms", "x'7b7d'")]


def worked(town):
    """How a worker ended, and what became of the campaign that ran."""
    done = town.run("worker", "--once", "--threads", "1")
    assert (done.code, done.is_foreseen) == (0, True), done.err
    return done.err, town.sql("SELECT state FROM campaigns WHERE id = ?", RUNNING)[0][0]


def findings(town):
    return town.sql("SELECT whose, reason, words FROM findings WHERE campaign = ? ORDER BY subject", RUNNING)


@pytest.mark.parametrize("terms", TERMS)
def test_terms_that_icehouse_never_writes_fail_their_campaign(town, terms):
    town.sql("UPDATE campaigns SET terms = ? WHERE id = ?", terms, RUNNING)
    said, state = worked(town)

    assert state == "failed"
    assert "the terms of a campaign" in said
    assert findings(town)[0][:2] == (f"campaign {RUNNING}", "SealError")


@pytest.mark.parametrize(("column", "value"), PAGES)
def test_a_page_that_icehouse_never_writes_fails_its_campaign(town, column, value):
    town.sql(f"UPDATE pages SET {column} = {value} WHERE campaign = {RUNNING}")
    said, state = worked(town)

    assert state == "failed"
    assert "a campaign failed" in said
    assert findings(town)[0][0] == f"campaign {RUNNING}"


@pytest.mark.parametrize(("column", "value"), CAMPAIGNS)
def test_a_campaign_that_icehouse_never_writes_fails(town, column, value):
    town.sql(f"UPDATE campaigns SET {column} = {value} WHERE id = {RUNNING}")
    _, state = worked(town)

    assert state == "failed"


def test_the_worker_goes_on_with_the_others(town):
    town.run("campaign", "resume", "2")
    town.sql("UPDATE campaigns SET terms = '5' WHERE id = ?", RUNNING)
    worked(town)

    assert town.sql("SELECT id, state FROM campaigns ORDER BY id") == [(1, "done"), (2, "done"), (3, "failed")]


def test_a_campaign_without_a_page_left_is_not_waited_for(town):
    town.sql("DELETE FROM pages WHERE campaign = ?", RUNNING)
    said, state = worked(town)

    assert state == "failed"
    assert "no page left to work on" in said


@pytest.mark.parametrize("rate", ["0", "-1", "9e999", "'text'", "1e-300", "x'00'", "-9e999"])
@pytest.mark.parametrize("verb", ["verify", "reseal"])
def test_a_rate_that_icehouse_never_writes_fails_its_campaign(town, verb, rate):
    town.sql("UPDATE campaigns SET verb = ?, under_way = ? WHERE id = ?", verb, verb, RUNNING)
    town.sql(f"UPDATE hsm_rates SET rate = {rate}")
    said, state = worked(town)

    assert state == "failed"
    assert "the rate at which an HSM may be asked" in said
    assert [row[0] for row in findings(town)] == [f"campaign {RUNNING}"]  # no key is blamed


def test_a_rate_is_written_anew_by_the_next_campaign_that_names_one(town):
    town.sql("UPDATE hsm_rates SET rate = 'text'")
    worked(town)
    done = town.run("campaign", "start", "verify", "--rate", "1000", "--threads", "1", "--format", "json")

    assert done.code == 0, done.err
    assert json.loads(done.out)["state"] == "done"


def test_a_verb_that_is_called_under_way_and_is_not_ends_no_start_in_a_loop(town):
    town.sql("UPDATE campaigns SET under_way = 'reseal' WHERE id = 1")
    done = town.run("campaign", "start", "reseal", "--detach")

    assert (done.code, done.is_foreseen) == (2, True)
    assert "under_way" in done.err


def test_a_failed_campaign_is_told_with_its_reason(town):
    town.sql("UPDATE campaigns SET terms = '5' WHERE id = ?", RUNNING)
    worked(town)
    status = town.run("campaign", "status", str(RUNNING), "--format", "json")
    told = town.run("campaign", "status", str(RUNNING), "--findings")

    assert json.loads(status.out)["state"] == "failed"
    assert "the terms of a campaign holds '5'" in told.out


@pytest.mark.parametrize("day", ["-9223372036854775808", "9223372036854775807", "'word'"])
def test_a_day_that_no_key_has_fails_no_campaign_of_the_others(town, day):
    town.sql(f"UPDATE keys SET due = {day} WHERE user = 'live'")
    town.run("campaign", "resume", "2")
    worked(town)

    assert town.sql("SELECT id, state FROM campaigns ORDER BY id") == [(1, "done"), (2, "done"), (3, "done")]
    assert [row[1] for row in findings(town)] == ["SealError"]
