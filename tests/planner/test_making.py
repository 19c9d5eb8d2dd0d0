"""Making keys has quotas of its own: a plan says how long they make it take, and what does not fit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from icehouse.planner import Choice, Custody, Scenario, plan
from icehouse.planner.quote import quotes
from icehouse.planner.reading import load
from icehouse.planner.rewrap import move, rewrap
from icehouse.planner.verdict import verdict

CURRENT = load("current")
QUIET = Scenario(signatures_per_user_year=Fraction(0), rotations_per_user_year=Fraction(0), peak_factor=Fraction(1))
DAY = 86_400
AWS, GOOGLE = Choice("aws_kms", Custody.DIRECT), Choice("gcp_kms", Custody.DIRECT)


def test_an_account_of_aws_kms_holds_a_hundred_thousand_keys_and_not_one_more():
    fits = verdict(CURRENT, AWS, replace(QUIET, users=99_999))
    beyond = verdict(CURRENT, AWS, replace(QUIET, users=100_000))

    assert fits.feasible
    assert [(need.limit.item, need.limit.value, need.wanted.value) for need in beyond.exceeded] == [
        ("keys", 100_000, 100_001)
    ]
    assert "resource quotas" in beyond.exceeded[0].limit.source


@pytest.mark.parametrize(("choice", "a_second"), [(AWS, Fraction(5)), (GOOGLE, Fraction(1))])
def test_a_rewrap_of_users_own_keys_takes_as_long_as_making_them(choice, a_second):
    scenario = replace(QUIET, users=50_000)

    assert rewrap(CURRENT, choice, scenario).seconds == 50_001 / a_second
    assert verdict(CURRENT, choice, scenario).making == 50_001 / a_second


def test_a_million_keys_on_google_are_days_in_the_plan_and_in_its_words():
    (found,) = plan(replace(QUIET, users=1_000_000), providers=["gcp_kms"], custodies=["direct"]).verdicts

    assert found.rewrap.seconds > 11 * DAY
    assert any("takes 11.6 days" in note and "writes_per_minute" in note for note in found.notes)


def test_moving_a_million_keys_to_aws_is_not_done_in_minutes():
    found = move(CURRENT, GOOGLE, AWS, replace(QUIET, users=1_000_000))

    assert found.seconds == Fraction(1_000_001) / 5
    assert found.minutes > 3000


def test_a_hybrid_vaults_two_keys_take_no_time_worth_a_note():
    found = verdict(CURRENT, Choice("gcp_kms", Custody.HYBRID), replace(QUIET, users=1_000_000))

    assert found.notes == ()
    assert found.rewrap.seconds < 60


@pytest.mark.parametrize(
    ("choice", "item", "a_second"), [(AWS, "creations_per_second", 5), (GOOGLE, "writes_per_minute", 1)]
)
def test_more_creations_than_fit_in_a_month_are_refused(choice, item, a_second):
    most = a_second * 730 * 3600
    users = 50_000
    fits = verdict(CURRENT, choice, replace(QUIET, users=users, creations_per_month=most))
    beyond = verdict(CURRENT, choice, replace(QUIET, users=users, creations_per_month=most + 1))

    assert fits.feasible
    assert [need.limit.item for need in beyond.exceeded] == [item]


def test_a_quote_of_new_keys_is_as_long_as_they_take():
    (aws,) = quotes("awskms", 30_000, 10_000)
    (google,) = quotes("gcpkms", 30_000, 10_000)

    assert (aws.seconds, google.seconds) == (2000, 10_000)
