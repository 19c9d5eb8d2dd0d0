"""Workers are killed at random statements while one call in twenty to the HSM fails; nothing is lost or done twice."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from icehouse.store.campaigns import CampaignState
from icehouse.store.selection import Filters

USERS = 5000
WORKERS = 2


def killed(place, verb, filters, *, kills, farthest, threads=1):
    """A campaign seen through by mortal workers; its report, and what became of them."""
    number = place.office.start(verb, filters).id
    place.close()
    numbers = map(str, (number, kills, WORKERS, threads, 7, farthest))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "bench.mortal", place.directory, *numbers],
        check=True,
        capture_output=True,
        text=True,
    )
    told = json.loads(done.stdout)
    assert told["killed"] == kills
    report = place.office.report(number)
    assert report.campaign.state is CampaignState.DONE
    assert report.progress.failed == 0
    assert place.sql("SELECT count(*) FROM pages WHERE state != 'done'") == [(0,)]
    return report


def test_a_reseal_with_fifteen_kills_moves_every_record_once(place_of):
    place = place_of("hybrid", USERS)
    before = place.number("SELECT max(number) FROM data_keys")
    report = killed(place, "reseal", Filters(), kills=15, farthest=20)
    records = place.number("SELECT (SELECT count(*) FROM keys) + (SELECT count(*) FROM claims)")

    assert (report.progress.done, report.progress.skipped) == (USERS, 0)
    assert place.sql("SELECT sum(used), sum(live) FROM data_keys WHERE number > ?", before) == [(records, records)]
    assert place.number("SELECT sum(live) FROM data_keys WHERE number <= ?", before) == 0
    place.check(USERS)


@pytest.mark.parametrize(("custody", "users", "kills"), [("hybrid", USERS, 5), ("direct", 12, 5)])
def test_a_rewrap_with_kills_moves_every_data_key_once(place_of, custody, users, kills):
    place = place_of(custody, users)
    data_keys = place.number("SELECT count(*) FROM data_keys")
    report = killed(place, "rewrap", Filters(), kills=kills, farthest=10)

    assert (report.campaign.matched, report.progress.done, report.progress.skipped) == (data_keys, data_keys, 0)
    assert not place.frost.upkeep.is_rewrapping()
    assert place.number("SELECT max(version) FROM root_keys") == 2
    place.check(users)


def test_a_verification_with_kills_counts_every_key_once(place_of):
    place = place_of("hybrid", USERS)
    report = killed(place, "verify", Filters(), kills=5, farthest=10)

    assert report.progress.done == USERS


def test_a_destruction_with_kills_removes_every_key_once(place_of):
    place = place_of("hybrid", USERS)
    dealt = place.number("SELECT count(*) FROM keys WHERE state = 2")
    revisions = place.number("SELECT sum(rev) FROM keys")
    report = killed(place, "destroy", Filters(state="dealt"), kills=5, farthest=600)

    assert report.progress.done == dealt == place.number("SELECT count(*) FROM keys WHERE state = 4")
    assert place.number("SELECT sum(rev) FROM keys") == revisions + dealt
    place.check(USERS)


def test_a_rotation_with_kills_marks_every_key_once(place_of):
    place = place_of("hybrid", USERS)
    place.sql("UPDATE keys SET state = 3")  # as if all were enrolled: their rows are not opened here
    revisions = place.number("SELECT sum(rev) FROM keys")
    report = killed(place, "rotate", Filters(), kills=5, farthest=8)

    assert report.progress.done == USERS
    assert place.number("SELECT sum(rev) FROM keys") == revisions + USERS
