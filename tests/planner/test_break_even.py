"""Break-even points are those that brute force finds."""

from fractions import Fraction
from random import Random

import numpy as np
import pytest

from icehouse.errors import RequestError
from icehouse.planner import Choice, Custody, Scenario
from icehouse.planner.breakeven import alternatives, break_even, feasible_users, sensitivity
from icehouse.planner.reading import load, read
from planner.ledger import Prices, Work, bill, exact

MOST = 2_000_000
CHUNK = 1 << 16
TOO_CLOSE = 1e-4
SEEDS = range(200)


def scenario_of(work: Work) -> Scenario:
    return Scenario(
        signatures_per_user_year=Fraction(work.signatures_quarters, 4),
        rotations_per_user_year=Fraction(work.rotations_quarters, 4),
        creations_per_month=work.creations,
        cache_hit_rate=Fraction(work.hit_percent, 100),
        key_versions=work.versions,
        buckets=work.buckets,
    )


def draw(seed: int):
    """Two providers, one scenario, a custody for each."""
    random = Random(seed)  # noqa: S311  a test's numbers must be the same again
    first, second = Prices.drawn(random), Prices.drawn(random)
    work = Work.drawn(random)
    other = Work(**{**vars(work), "custody": random.choice(["direct", "hybrid", "hierarchical"])})
    return (first, work), (second, other)


def signs_by_brute_force(one, other):
    """The sign of the difference of two bills at every number of users."""
    found = np.empty(MOST, dtype=np.int8)
    for start in range(1, MOST + 1, CHUNK):
        users = np.arange(start, min(start + CHUNK, MOST + 1), dtype=np.int64)
        gap = bill(users, *one) - bill(users, *other)
        found[start - 1 : start - 1 + len(users)] = np.sign(gap)
        for index in np.flatnonzero(np.abs(gap) < TOO_CLOSE):
            number = int(users[index])
            difference = exact(number, *one) - exact(number, *other)
            found[number - 1] = (difference > 0) - (difference < 0)
    return found


def points_by_brute_force(one, other):
    signs = signs_by_brute_force(one, other)
    changes = np.flatnonzero(signs[1:] != signs[:-1]) + 1
    return int(signs[0]), [(int(index) + 1, int(signs[index])) for index in changes]


@pytest.mark.parametrize("seed", SEEDS)
def test_break_even_points_are_those_of_every_single_number_of_users(seed):
    one, other = draw(seed)
    catalogue = read(f'name = "random"\n{one[0].toml("one")}\n{other[0].toml("other")}', "a test")
    pair = (Choice("one", Custody(one[1].custody)), Choice("other", Custody(other[1].custody)))
    found = break_even(catalogue, pair, scenario_of(one[1]), most=MOST)
    sign_of = {pair[0]: -1, None: 0, pair[1]: 1}
    solved = [(tie.number, sign_of[tie.cheaper]) for tie in found.ties]

    assert (sign_of[found.start], solved) == points_by_brute_force(one, other)


def test_the_random_scenarios_break_even_often_enough_to_prove_something():
    changing = 0
    for seed in SEEDS:
        one, other = draw(seed)
        ends = [exact(number, *one) - exact(number, *other) for number in (1, MOST)]
        changing += (ends[0] > 0) != (ends[1] > 0)

    assert changing >= 40


def test_in_signatures_a_choice_by_the_hour_overtakes_one_by_the_operation():
    pair = (Choice("gcp_kms", Custody.HYBRID), Choice("aws_cloudhsm", Custody.HYBRID))
    scenario = Scenario(users=1_000_000, rotations_per_user_year=Fraction(0))
    found = break_even(load("current"), pair, scenario, unit="signatures")

    # Two HSMs by the hour less two keys by the month, over three cents for 10,000 operations.
    assert [tie.exact for tie in found.ties] == [(2 * 730 * Fraction("1.60") - 2) * 10_000 / Fraction("0.03")] * 2


def test_a_unit_that_is_neither_users_nor_signatures_is_refused():
    pair = (Choice("gcp_kms", Custody.HYBRID), Choice("aws_cloudhsm", Custody.HYBRID))

    with pytest.raises(RequestError, match="users or signatures, not 'keys'"):
        break_even(load("current"), pair, Scenario(), unit="keys")


def test_one_choice_gives_way_to_another_where_a_tier_makes_it_cheaper():
    tiers = Prices(Fraction(0), Fraction(0), ((0, Fraction(2)), (1000, Fraction(1, 10))), Fraction(0), 0)
    flat = Prices(Fraction(0), Fraction(0), ((0, Fraction(1)),), Fraction(0), 0)
    catalogue = read(f'name = "tiers"\n{tiers.toml("one")}\n{flat.toml("other")}', "a test")
    scenario = Scenario(signatures_per_user_year=Fraction(0), rotations_per_user_year=Fraction(0))
    pair = (Choice("one", Custody.ONE_KEY), Choice("other", Custody.ONE_KEY))
    found = break_even(catalogue, pair, scenario, most=MOST)

    # 2 * 1000 + (n - 1000) / 10 = n at n = 19000 / 9.
    assert [(tie.number, tie.cheaper) for tie in found.ties] == [(2112, pair[0])]
    assert found.ties[0].exact == Fraction(19000, 9)


def test_every_price_that_is_paid_moves_the_break_even_point_its_own_way():
    pair = (Choice("gcp_kms", Custody.DIRECT), Choice("aws_cloudhsm", Custody.DIRECT))
    answers = {each.claim.item: each for each in sensitivity(load("current"), pair, Scenario())}

    assert answers["key.aes"].lower.number > answers["key.aes"].higher.number
    assert answers["hsm"].lower.number < answers["hsm"].higher.number
    assert set(answers) == {"key.aes", "hsm", "operations.symmetric"}


def test_every_other_claim_for_a_price_gives_a_break_even_point_of_its_own():
    pair = (Choice("gcp_kms", Custody.ONE_KEY), Choice("aws_cloudhsm", Custody.ONE_KEY))
    found = {each.claim.value: each.first.last_before for each in alternatives(load("current"), pair, Scenario())}

    assert found == {price: int(price * 2 * 730) for price in map(Fraction, ("1.45", "1.81", "1.86"))}


@pytest.mark.parametrize(
    ("provider", "custody", "last", "limit"),
    [
        ("aws_cloudhsm", Custody.ONE_KEY, 16_666, "keys"),
        ("aws_cloudhsm", Custody.DIRECT, 16_665, "keys"),
        ("azure_mhsm", Custody.DIRECT, 4_999, "keys"),
        ("yubihsm2", Custody.DIRECT, 255, "keys"),
    ],
)
def test_the_last_possible_number_of_users_is_solved_too(provider, custody, last, limit):
    found = feasible_users(load("current"), Choice(provider, custody), Scenario())

    assert found == (last, limit)
