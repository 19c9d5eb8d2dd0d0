"""Costs of a month, item by item, against sums done by hand."""

from dataclasses import replace
from fractions import Fraction

import pytest

import icehouse
from icehouse.planner import Choice, Custody, Scenario
from icehouse.planner.coefficients import KeyKind
from icehouse.planner.reading import load
from icehouse.planner.verdict import verdict

CURRENT = load("current")
# A thousand users who sign 120,000 times a month and rotate 1,000 times: 121,000 unwraps, 1 fresh data key.
SCENARIO = Scenario(users=1000, signatures_per_user_year=Fraction(1440), rotations_per_user_year=Fraction(12))


def items(provider, custody, scenario=SCENARIO, **more):
    return verdict(CURRENT, Choice(provider, custody, **more), scenario).items


def test_cloudhsm_costs_its_hsms_by_the_hour_and_nothing_else():
    assert items("aws_cloudhsm", Custody.HYBRID) == {"aws_cloudhsm hsm": 2 * 730 * Fraction("1.60")}


def test_google_costs_its_key_versions_and_its_operations():
    assert items("gcp_kms", Custody.HYBRID) == {
        "gcp_kms key.aes": 2,
        "gcp_kms operations.symmetric": 121_001 * Fraction("0.03") / 10_000,
    }


def test_the_first_20000_requests_of_aws_kms_are_free():
    assert items("aws_kms", Custody.HYBRID)["aws_kms operations.symmetric"] == 101_001 * Fraction("0.03") / 10_000


def test_aws_kms_bills_at_most_two_rotations_of_a_key():
    costs = [items("aws_kms", Custody.HYBRID, replace(SCENARIO, key_versions=n)) for n in (1, 2, 3, 9)]

    assert [cost["aws_kms key.aes"] + cost.get("aws_kms rotation", 0) for cost in costs] == [2, 4, 6, 6]


def test_google_bills_every_version_of_a_key():
    assert items("gcp_kms", Custody.HYBRID, replace(SCENARIO, key_versions=9))["gcp_kms key.aes"] == 18


@pytest.mark.parametrize(("users", "cost"), [(2000, 5000), (2001, 5001), (3000, 6000)])
def test_google_ec_keys_are_cheaper_beyond_the_first_2000(users, cost):
    found = items("gcp_kms", Custody.ONE_KEY, replace(SCENARIO, users=users), user_key=KeyKind.EC)

    assert found["gcp_kms key.ec"] == cost


def test_a_device_is_written_off_over_its_months_with_its_spares():
    found = items("yubihsm2", Custody.HYBRID, replace(SCENARIO, device_months=10, backup_copies=1))

    assert found == {"yubihsm2 device": 3 * 95}


def test_backup_copies_are_billed_as_keys():
    assert items("gcp_kms", Custody.HYBRID, replace(SCENARIO, backup_copies=2))["gcp_kms key.aes"] == 6


def test_an_audit_key_costs_its_key_and_its_signatures():
    found = items("gcp_kms", Custody.HYBRID, replace(SCENARIO, checkpoints_per_month=20_000))

    assert found["gcp_kms key.ec"] == Fraction("2.50")
    assert found["gcp_kms operations.asymmetric"] == 2 * Fraction("0.15")


def test_with_two_providers_each_bills_its_own_part():
    found = items("gcp_kms", Custody.HYBRID, claim_provider="aws_kms")

    assert found["gcp_kms key.aes"] == 1
    assert found["aws_kms key.aes"] == 1


def test_the_original_prices_cost_what_the_original_says_a_month():
    found = verdict(load("original"), Choice("gcp_kms", Custody.ONE_KEY), Scenario(users=1000))

    assert found.cost == 50


@pytest.mark.parametrize(
    ("custody", "buckets", "exposed"),
    [
        (Custody.DIRECT, 0, 1),
        (Custody.HYBRID, 0, 1024),
        (Custody.HIERARCHICAL, 50, 200),
        (Custody.HIERARCHICAL, 0, 1),
    ],
)
def test_what_a_leak_exposes_is_as_the_custody_promises(custody, buckets, exposed):
    scenario = Scenario(users=10_000, buckets=buckets)

    assert verdict(CURRENT, Choice("gcp_kms", custody), scenario).exposed == exposed


def test_rewrapping_hybrid_takes_three_operations_a_data_key_at_the_quotas_rate():
    found = verdict(CURRENT, Choice("gcp_kms", Custody.HYBRID), Scenario(users=1_024_000)).rewrap

    assert (found.operations, found.created) == (3002, 2)
    assert found.seconds == Fraction(3002, 500)


def test_rewrapping_direct_takes_a_new_key_and_three_operations_a_user():
    found = verdict(CURRENT, Choice("gcp_kms", Custody.DIRECT), Scenario(users=1000)).rewrap

    assert (found.operations, found.created) == (4001, 1001)


def test_a_hierarchical_root_key_can_never_move():
    assert not verdict(CURRENT, Choice("gcp_kms", Custody.HIERARCHICAL), Scenario()).rewrap.possible


def test_a_rate_that_was_measured_is_believed():
    scenario = Scenario(users=1024, hsm_rate=Fraction(2))

    assert verdict(CURRENT, Choice("aws_cloudhsm", Custody.HYBRID), scenario).rewrap.seconds == Fraction(5, 2)


def test_plan_is_a_public_name_and_puts_the_cheapest_choice_that_can_work_first():
    found = icehouse.plan(Scenario(users=1_000_000))
    costs = [each.cost for each in found.verdicts if each.feasible]

    assert found.cheapest is found.verdicts[0]
    assert costs == sorted(costs)
    assert [each.feasible for each in found.verdicts] == sorted((e.feasible for e in found.verdicts), reverse=True)
