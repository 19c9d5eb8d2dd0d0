"""Phases: the cheapest choice along a growth curve, and what each switch takes."""

from fractions import Fraction

import pytest

from icehouse.errors import RequestError
from icehouse.planner import Choice, Constraints, Custody, Scenario
from icehouse.planner.growth import MOST_MONTHS, between, parse
from icehouse.planner.phases import phases
from icehouse.planner.reading import load
from icehouse.planner.rewrap import move

QUIET = Scenario(rotations_per_user_year=Fraction(0))


def along(catalogue, growth, **more):
    return phases(load(catalogue), QUIET, growth, Constraints(), **more)


def test_the_originals_three_phases_come_out_of_its_own_prices():
    found = along("original", [50, 100, 101, 21_000, 21_001, 1_000_000], custodies=["one-key"])

    assert [(phase.choice.provider, phase.first.users, phase.last.users) for phase in found] == [
        ("simulated", 50, 100),
        ("gcp_kms", 101, 21_000),
        ("aws_cloudhsm", 21_001, 1_000_000),
    ]


def test_a_choice_is_kept_while_it_is_no_dearer_than_any_other():
    found = along("original", [20_999, 21_000, 20_000], custodies=["one-key"])

    assert len(found) == 1


def test_a_phase_costs_the_sum_of_its_months():
    (found,) = along("original", [200, 400], custodies=["one-key"])

    assert found.cost == 10 + 20


def test_months_in_which_nothing_can_work_are_a_phase_without_a_choice():
    found = along("current", [100, 300], providers=["yubihsm2"], custodies=["direct"])

    assert [phase.choice for phase in found] == [Choice("yubihsm2", Custody.DIRECT), None]
    assert found[1].switch is None


def test_moving_hybrid_to_another_provider_takes_three_operations_a_data_key_and_two_new_keys():
    before, after = Choice("aws_kms", Custody.HYBRID), Choice("gcp_kms", Custody.HYBRID)
    found = move(load("current"), before, after, Scenario(users=1_024_000))

    assert (found.old, found.new, found.created, found.devices) == (1000, 2000, 2, 0)
    assert found.minutes == Fraction(2002, 500 * 60)


def test_moving_direct_custody_into_hybrid_opens_every_users_data_key_once():
    before, after = Choice("gcp_kms", Custody.DIRECT), Choice("gcp_kms", Custody.HYBRID)
    found = move(load("current"), before, after, Scenario(users=2048))

    assert (found.old, found.new, found.created) == (2048, 2, 2)


@pytest.mark.parametrize(
    ("before", "after"), [(Custody.HIERARCHICAL, Custody.HYBRID), (Custody.HYBRID, Custody.HIERARCHICAL)]
)
def test_into_and_out_of_hierarchical_every_device_takes_part(before, after):
    found = move(load("current"), Choice("gcp_kms", before), Choice("gcp_kms", after), Scenario(users=500))

    assert found.devices == 500


def test_growth_goes_through_its_points_at_an_even_rate():
    assert parse("0:100,2:400,3:400") == [100, 200, 400, 400]


@pytest.mark.parametrize("text", ["", "0", "0:10,x:5", "1:10,2:20", "0:10,0:20", "0:-5", "0:10,5:20,4:30"])
def test_a_growth_that_is_no_curve_is_refused(text):
    with pytest.raises(RequestError, match="points must read MONTH:USERS"):
        parse(text)


def test_absurd_growth_is_refused():
    with pytest.raises(RequestError, match="users must be between 1 and"):
        parse("0:10,12:99999999999")

    with pytest.raises(RequestError, match=f"at most {MOST_MONTHS} months, not 9999"):
        between([(0, 1), (9999, 2)])
