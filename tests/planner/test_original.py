"""The original's table: its six rows, and every contradiction, computed."""

from fractions import Fraction

import pytest

from icehouse.planner import original
from icehouse.planner.coefficients import KeyKind

USERS = (100, 1_000, 2_100, 10_000, 100_000, 1_000_000)


def test_the_six_rows_come_out_with_the_costs_that_were_written():
    rows = original.review(USERS).rows

    assert [(row.aws_cloudhsm, row.gcp_kms) for row in rows] == [
        (1050, 5), (1050, 50), (1050, 105), (1050, 500), (1050, 5_000), (1050, 50_000)
    ]  # fmt: skip
    assert original.written_users() == list(USERS)


def test_the_rows_at_2100_and_10000_do_not_follow_from_their_own_prices():
    rows = {row.users: row for row in original.review(USERS).rows}

    assert [users for users, row in rows.items() if not row.follows] == [2_100, 10_000]
    assert rows[2_100].winner == rows[10_000].winner == "Google"
    assert [row.winner for row in rows.values()] == ["Google"] * 4 + ["AWS"] * 2


def test_by_its_own_prices_the_tie_is_at_21000_users():
    rows = {row.users: row.winner for row in original.review([20_999, 21_000, 21_001]).rows}

    assert original.own_tie() == 21_000
    assert rows == {20_999: "Google", 21_000: "Tie", 21_001: "AWS"}


@pytest.mark.parametrize(("kind", "users"), [(KeyKind.AES, 2_336), (KeyKind.HMAC, 2_336), (KeyKind.EC, 934)])
def test_with_todays_prices_and_one_key_per_user_the_tie_is_elsewhere(kind, users):
    assert original.today_tie(kind) == users


def test_with_envelope_custody_a_million_users_at_one_operation_a_day_cost_under_100_dollars():
    costs = original.envelope_costs()

    assert {choice.provider for choice in costs} == {"gcp_kms", "aws_kms"}
    assert all(Fraction(90) < cost < 100 for cost in costs.values())


@pytest.mark.parametrize(
    "words",
    [
        "2,100 users: the original says it is a tie; by its own prices AWS costs $1,050 and Google $105",
        "10,000 users: the original says it goes to AWS; by its own prices AWS costs $1,050 and Google $500",
        "The tie is at 21,000 users, not 2,100",
        "$1,050 a month is not $1.45 an hour: one HSM for 730 hours costs $1,058.50",
        "the tie is at 2,336 users with AES or HMAC keys, and at 934 with EC keys",
        "Past 16,666 keys a CloudHSM cluster cannot hold them",
        "AWS cannot win at 100,000 and 1,000,000 users",
        "1,000,000 users at one operation a day, none served from the cache, cost $93.25 a month",
        "2 hours of one hsm1.medium were $2.90, and today none can be made",
        "2 HSMs of today for 2 hours cost $6.40",
    ],
)
def test_every_contradiction_is_said_beneath_the_table(words):
    assert words in "\n".join(original.review(USERS).findings)


def test_a_row_that_the_original_does_not_have_is_computed_and_not_judged():
    (row,) = original.review([5]).rows

    assert row.written is None
    assert row.follows is None
    assert row.gcp_kms == Fraction(1, 4)
