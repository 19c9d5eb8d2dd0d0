"""Verdicts: whether a choice can work, and which limit says no, with its source."""

from dataclasses import replace
from fractions import Fraction

import pytest

from icehouse.errors import RequestError
from icehouse.planner import Choice, Constraints, Custody, Scenario, plan
from icehouse.planner.reading import load
from icehouse.planner.scenario import SECONDS_PER_MONTH
from icehouse.planner.verdict import verdict

CURRENT = load("current")
QUIET = Scenario(signatures_per_user_year=Fraction(0), rotations_per_user_year=Fraction(0), peak_factor=Fraction(1))


def weigh(choice, scenario, constraints=None):
    return verdict(CURRENT, choice, scenario, constraints)


def exceeded(choice, scenario):
    return {need.limit.item: need for need in weigh(choice, scenario).exceeded}


@pytest.mark.parametrize(
    ("choice", "last"),
    [
        (Choice("aws_cloudhsm", Custody.DIRECT), 16_665),
        (Choice("aws_cloudhsm", Custody.DIRECT, claim_provider="gcp_kms"), 16_666),
        (Choice("aws_cloudhsm", Custody.ONE_KEY), 16_666),
    ],
    ids=["claim key in the same cluster", "claim key elsewhere", "no claim key"],
)
def test_a_cloudhsm_cluster_holds_16666_keys_and_not_one_more(choice, last):
    beyond = exceeded(choice, replace(QUIET, users=last + 1))

    assert weigh(choice, replace(QUIET, users=last)).feasible
    assert list(beyond) == ["keys"]
    assert beyond["keys"].limit.value == 16_666
    assert beyond["keys"].wanted.value == 16_667
    assert beyond["keys"].limit.source == "icehouse provider notes, November 2026"


def busy(operations_per_second):
    """A million users who sign just that often."""
    yearly = Fraction(operations_per_second) * SECONDS_PER_MONTH * 12 / 1_000_000
    return replace(QUIET, users=1_000_000, signatures_per_user_year=yearly)


def test_google_serves_500_operations_a_second_and_not_one_more():
    choice = Choice("gcp_kms", Custody.HYBRID)
    beyond = exceeded(choice, busy(501))

    assert weigh(choice, busy(500)).feasible
    assert list(beyond) == ["operations_per_second"]
    assert (beyond["operations_per_second"].limit.value, beyond["operations_per_second"].wanted.value) == (500, 501)
    assert "provider notes" in beyond["operations_per_second"].limit.source


def test_an_azure_pool_holds_5000_keys_and_not_one_more():
    choice, any_driver = Choice("azure_mhsm", Custody.DIRECT), Constraints(any_driver=True)
    beyond = exceeded(choice, replace(QUIET, users=5_000))

    assert weigh(choice, replace(QUIET, users=4_999), any_driver).feasible
    assert list(beyond) == ["keys"]
    assert (beyond["keys"].limit.value, beyond["keys"].wanted.value) == (5_000, 5_001)
    assert "5,000 keys" in beyond["keys"].limit.source


def test_key_versions_count_against_the_capacity():
    choice = Choice("aws_cloudhsm", Custody.DIRECT)

    assert weigh(choice, replace(QUIET, users=8_332, key_versions=2)).feasible
    assert "keys" in exceeded(choice, replace(QUIET, users=8_333, key_versions=2))


def test_one_hsm_is_fewer_than_a_cluster_should_have():
    found = exceeded(Choice("aws_cloudhsm", Custody.HYBRID), replace(QUIET, hsms=1))

    assert "at least 2 hsms, and 1 are there" in str(found["minimum_hsms"])


def test_a_busy_audit_key_meets_the_quota_for_asymmetric_operations():
    choice = Choice("gcp_kms", Custody.HYBRID)
    found = exceeded(choice, replace(QUIET, checkpoints_per_month=50 * SECONDS_PER_MONTH + 1))

    assert list(found) == ["operations_per_second.asymmetric"]


def test_keys_beyond_the_last_tier_with_a_known_price_are_refused_with_its_source():
    choice = Choice("azure_kv_premium", Custody.ONE_KEY, user_key="ec")
    found = weigh(choice, replace(QUIET, users=251)).exceeded

    assert [need.limit.source for need in found] == ["Azure retail prices (West Europe)"]
    assert "at most 250 keys with a known price" in str(found[0])


def test_software_will_do_only_up_to_the_number_of_users_that_is_told():
    choice = Choice("simulated", Custody.HYBRID)

    assert not weigh(choice, QUIET).feasible
    assert weigh(choice, replace(QUIET, users=100, software_until=100)).feasible
    assert "max_users" in exceeded(choice, replace(QUIET, users=101, software_until=100))


@pytest.mark.parametrize(
    ("words", "ruled_out", "left"),
    [
        ("FIPS 140-3 level 3", "gcp_kms", "aws_cloudhsm"),
        ("fips 140-2 level 3", "simulated", "gcp_kms"),
        ("no cloud", "aws_kms", "yubihsm2"),
        ("single tenant", "aws_kms", "aws_cloudhsm"),
    ],
)
def test_a_requirement_rules_out_whom_it_should(words, ruled_out, left):
    constraints = Constraints.parse([words])
    out, kept = (weigh(Choice(name, Custody.HYBRID), QUIET, constraints) for name in (ruled_out, left))

    assert not out.feasible
    assert any(each.provider == ruled_out for each in out.obstacles)
    assert kept.feasible


def test_two_providers_means_a_claim_root_key_at_another_one():
    found = plan(QUIET, constraints=Constraints.parse(["two providers"]))

    assert found.cheapest is not None
    assert all(len(set(each.choice.providers)) == 2 for each in found.verdicts)
    assert Custody.HIERARCHICAL not in {each.choice.custody for each in found.verdicts}


def test_an_unknown_requirement_is_refused():
    with pytest.raises(RequestError, match=r"a requirement must be one of .*, not 'made in Sweden'"):
        Constraints.parse(["made in Sweden"])


def test_a_region_without_a_price_rules_a_provider_out():
    found = weigh(Choice("azure_mhsm", Custody.HYBRID), replace(QUIET, region="us-east-1"))

    assert "region" in {each.name for each in found.obstacles}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("users", 0, "users must be between 1 and 1,000,000,000, not 0"),
        ("users", -5, "users must be between 1 and 1,000,000,000, not -5"),
        ("users", 10**12, "users must be between 1 and 1,000,000,000, not 1,000,000,000,000"),
        ("users", 1.5, "users must be a whole number, not 1.5"),
        ("users", True, "users must be a whole number, not True"),
        ("signatures_per_user_year", Fraction(-1), "signatures per user year must be between"),
        ("signatures_per_user_year", "many", "signatures per user year must be a whole number or a fraction"),
        ("cache_hit_rate", Fraction(3, 2), "cache hit rate must be between 0 and 1, not 1.5"),
        ("records_per_data_key", 1025, "records per data key must be between 1 and 1,024, not 1,025"),
        ("key_versions", 0, "key versions must be between 1 and 100, not 0"),
        ("hsms", 0, "hsms must be between 1 and 1,000, not 0"),
        ("peak_factor", Fraction(1, 2), "peak factor must be between 1 and"),
    ],
)
def test_absurd_numbers_are_refused_with_the_rule(field, value, message):
    with pytest.raises(RequestError, match=message):
        Scenario(**{field: value})
