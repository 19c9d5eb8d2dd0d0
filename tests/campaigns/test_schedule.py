"""The vault's policy of rotation: who is due when, and that the planner knows what it costs."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from threading import Event

import pytest

from campaigns.place import ENROLLED, Place, enrolled
from icehouse.campaigns import schedule
from icehouse.errors import RequestError
from icehouse.planner import Choice, Custody, Scenario
from icehouse.planner.reading import load
from icehouse.planner.verdict import verdict
from icehouse.service import FrostService
from icehouse.vault.opening import create_vault
from icehouse.vault.rotation_policy import DAY, Rotation
from icehouse.vault.settings import Settings

DEVICES = 20
EVERY, SPREAD, DAYS = 10, 3, 60


class Calendar:
    """A vault whose days pass when the test says so."""

    def __init__(self, service: FrostService) -> None:
        self.now = service.vault.clock()
        service.vault.clock = lambda: self.now

    def pass_days(self, days: int) -> None:
        self.now += days * DAY


def made(**settings):
    return FrostService(create_vault(Settings("sqlite://", "simulated:", **settings), "hybrid"))


def test_a_key_is_due_again_so_many_days_after_its_rotation():
    frost = made(rotation_every_days=90)
    calendar, device = Calendar(frost), enrolled_in(frost, "alice")
    calendar.pass_days(89)
    device.sign(frost, b"hello")
    assert device.epoch == 1
    calendar.pass_days(1)
    device.sign(frost, b"hello")
    assert device.epoch == 2
    calendar.pass_days(89)
    device.sign(frost, b"hello")

    assert device.epoch == 2


def enrolled_in(frost, user):
    frost.create_user_frost_shards(user)
    return enrolled(frost, user)


def test_without_a_policy_no_key_becomes_due():
    frost = made()
    calendar, device = Calendar(frost), enrolled_in(frost, "alice")
    calendar.pass_days(10_000)
    device.sign(frost, b"hello")

    assert device.epoch == 1


def test_keys_of_one_day_are_spread_over_several():
    rotation = Rotation(every=90, spread=9)
    days = Counter(rotation.after(20_000, row) for row in range(1000))

    assert set(days) == set(range(20_081, 20_091))
    assert set(days.values()) == {100}


def test_a_new_policy_covers_the_keys_that_were_there_before_it(place_of):
    place = place_of("hybrid", 300)
    place.sql("UPDATE keys SET state = 3")  # as if all were enrolled: their rows are not opened here
    vault = place.frost.vault
    vault.rotation = Rotation(every=90, spread=9)
    place.sql("UPDATE keys SET changed = changed - ? WHERE id > 100", 100 * DAY)
    today = vault.today
    (campaign,) = schedule.apply(vault, place.office)
    assert schedule.apply(vault, place.office) == []  # one is under way
    place.office.run(campaign.id, 1, Event())
    old = dict(place.sql("SELECT due, count(*) FROM keys WHERE id > 100 GROUP BY due"))
    fresh = dict(place.sql("SELECT due, count(*) FROM keys WHERE id <= 100 GROUP BY due"))

    assert set(old) == set(range(today, today + 10))
    assert min(fresh) >= today + 80
    assert max(fresh) <= today + 90
    assert schedule.apply(vault, place.office) == []  # nothing is left to be done


def test_a_policy_with_shorter_intervals_brings_days_forward(place_of):
    place = place_of("hybrid", 300)
    vault = place.frost.vault
    place.sql("UPDATE keys SET due = ? WHERE state = 3", vault.today + 300)
    vault.rotation = Rotation(every=90)
    (campaign,) = schedule.apply(vault, place.office)
    place.office.run(campaign.id, 1, Event())

    assert campaign.matched == ENROLLED
    assert place.sql("SELECT DISTINCT due FROM keys WHERE state = 3") == [(vault.today + 90,)]


def test_overdue_keys_are_suspended_where_the_policy_says_so(place_of):
    place = place_of("hybrid", 300)
    vault = place.frost.vault
    vault.rotation = Rotation(suspend=30)
    place.sql("UPDATE keys SET due = ? WHERE user = 'u0'", vault.today - 31)
    place.sql("UPDATE keys SET due = ? WHERE user = 'u1'", vault.today - 30)
    (campaign,) = schedule.apply(vault, place.office)
    place.office.run(campaign.id, 1, Event())

    assert place.sql("SELECT user FROM keys WHERE state = 5") == [("u0",)]


def test_a_vault_without_a_policy_says_so(place_of):
    place = place_of("hybrid", 300)

    with pytest.raises(RequestError, match="no policy"):
        schedule.apply(place.frost.vault, place.office)


def test_the_settings_file_holds_the_policy(place_of):
    place: Place = place_of("hybrid", 300)
    with (place.directory / "vault.toml").open("a") as file:
        file.write("[rotation]\nevery_days = 90\nspread_days = 9\nsuspend_days = 30\n")

    assert place.frost.vault.rotation == Rotation(90, 9, 14, 30)


@pytest.mark.parametrize(
    "wrong", [{"rotation_every_days": 4000}, {"rotation_every_days": 5, "rotation_spread_days": 5}]
)
def test_a_policy_that_cannot_be_is_refused(wrong):
    with pytest.raises(RequestError, match="rotation"):
        made(**wrong)


def test_the_planner_predicts_what_the_policy_asks_of_the_hsm():
    # Without a cache every ceremony is counted in full: what is predicted is exact up to fresh data keys.
    frost = made(rotation_every_days=EVERY, rotation_spread_days=SPREAD, cache_keys=0)
    calendar = Calendar(frost)
    devices = [enrolled_in(frost, f"u{number}") for number in range(DEVICES)]
    begun = sum(device.epoch for device in devices)
    before = frost.hsm.operations.by_kind()
    checks = 0
    for _ in range(DAYS):
        calendar.pass_days(1)
        for device in devices:
            _, due = device.status(frost)
            checks += 1
            if due:
                device.rotate(frost)
    rotations = sum(device.epoch for device in devices) - begun
    after = frost.hsm.operations.by_kind()
    asked = after["unwrap"] - before["unwrap"] - checks  # a status opens the share to check its MAC

    # On average a key is due half the spread before its interval ends.
    rate = Fraction(365) / (EVERY - Fraction(SPREAD, 2))
    scenario = Scenario(users=DEVICES, rotations_per_user_year=rate, signatures_per_user_year=Fraction(0), cache_keys=0)
    month = verdict(load("current"), Choice("simulated", Custody.HYBRID), scenario).operations
    predicted = month["unwrap"] * DAYS / Fraction(365, 12)
    assert abs(rotations - rate * DEVICES * DAYS / 365) <= DEVICES
    assert asked == 8 * rotations
    assert abs(asked - predicted) <= Fraction(15, 100) * predicted
