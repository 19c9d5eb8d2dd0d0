"""How fast an HSM is asked: one bucket for all workers."""

from __future__ import annotations

from threading import Event
from time import monotonic

import pytest

from icehouse.campaigns import pace
from icehouse.campaigns.pace import Pace
from icehouse.errors import RequestError
from icehouse.store import rates

NAME = "simulated: software token in a file"


def test_an_hsm_without_a_limit_is_asked_as_often_as_it_answers(place_of):
    assert rates.take(place_of("hybrid", 300).frost.vault.store.database, NAME, 1) is None


def test_workers_together_take_no_more_than_the_rate_allows(place_of, monkeypatch):
    place = place_of("hybrid", 300)
    databases = [place.frost.vault.store.database, place.open().vault.store.database]
    now = 1_000_000.0
    monkeypatch.setattr(rates, "time", lambda: now)
    rates.limit(databases[0], NAME, 10)
    taken = 0
    for step in range(1, 101):  # ten seconds
        now = 1_000_000.0 + step / 10
        for database in databases:
            lot = rates.take(database, NAME, 0.25)
            taken += lot.tokens
            assert lot.tokens or 0 < lot.seconds <= 0.1

    assert 99 <= taken <= 100


def test_a_bucket_holds_one_seconds_worth_and_a_clock_that_is_behind_gets_no_more(place_of, monkeypatch):
    database = place_of("hybrid", 300).frost.vault.store.database
    now = 1_000_000.0
    monkeypatch.setattr(rates, "time", lambda: now)
    rates.limit(database, NAME, 8)
    now += 3600
    assert sum(rates.take(database, NAME, 1).tokens for _ in range(3)) == 8
    now -= 1800

    assert rates.take(database, NAME, 1).tokens == 0


def test_a_clock_that_is_put_back_stops_no_worker_and_gives_no_more(place_of, monkeypatch):
    database = place_of("hybrid", 300).frost.vault.store.database
    now = 1_000_000.0
    monkeypatch.setattr(rates, "time", lambda: now)
    rates.limit(database, NAME, 8)
    now -= 3600
    assert rates.take(database, NAME, 1).tokens == 0
    now += 1

    assert sum(rates.take(database, NAME, 1).tokens for _ in range(3)) == 8


def test_a_worker_that_waits_for_its_turn_shows_that_it_lives(place_of, monkeypatch):
    database = place_of("hybrid", 300).frost.vault.store.database
    rates.limit(database, NAME, 0.001)
    signs, slept = [], []

    def sleep(seconds):
        slept.append(seconds)
        if sum(slept) > 60:
            rates.limit(database, NAME, None)

    monkeypatch.setattr(pace.time, "sleep", sleep)
    with database.fenced(lambda _connection, work: signs.append(work)):
        Pace(database).wait(NAME)

    assert len(signs) > 5


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 2e6])
def test_a_rate_that_cannot_be_is_refused_before_anything_is_written(place_of, rate):
    place = place_of("hybrid", 300)

    with pytest.raises(RequestError, match="rate"):
        place.office.start("verify", rate=rate)
    assert place.office.all() == []


def test_a_campaign_keeps_to_its_rate_and_the_next_without_one_is_free(place_of):
    place = place_of("direct", 12)
    data_keys = place.number("SELECT count(*) FROM data_keys")
    number = place.office.start("rewrap", rate=40).id
    begun = monotonic()
    place.office.run(number, 4, Event())
    seconds = monotonic() - begun
    operations = place.office.report(number).progress.operations

    assert operations >= 3 * data_keys
    # Of the first second's worth and what is in a lot, nobody has to wait for more.
    assert seconds >= (operations - 2 * 40) / 40
    place.office.start("verify")
    assert place.sql("SELECT count(*) FROM hsm_rates") == [(0,)]
