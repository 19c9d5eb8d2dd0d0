"""The original strategy's table, recomputed from its own prices, and what does not follow from them.

Nothing here states a result: the rows come from the file of what was written, everything else is computed.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from icehouse.errors import RequestError
from icehouse.planner.breakeven import break_even, feasible_users
from icehouse.planner.choice import Choice
from icehouse.planner.coefficients import Custody, KeyKind
from icehouse.planner.money import dollars, whole
from icehouse.planner.reading import load
from icehouse.planner.scenario import HOURS_PER_MONTH, Scenario
from icehouse.planner.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icehouse.planner.breakeven import BreakEven

CLOUDHSM = Choice("aws_cloudhsm", Custody.ONE_KEY)
CLOUD_HSM = Choice("gcp_kms", Custody.ONE_KEY)
_NAMES = {CLOUDHSM: "AWS", CLOUD_HSM: "Google", None: "Tie"}
_DAYS_PER_YEAR = 365
_MILLION = 1_000_000
_TRIAL_HOURS = 2


@dataclass(frozen=True, slots=True)
class Written:
    """A row as the original has it."""

    users: int
    aws_cloudhsm: Fraction
    gcp_kms: Fraction
    winner: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row computed from the original's prices, beside what was written, if anything was."""

    users: int
    aws_cloudhsm: Fraction
    gcp_kms: Fraction
    winner: str
    written: Written | None

    @property
    def follows(self) -> bool | None:
        """Whether what was written follows from the original's own prices; None where nothing was."""
        if self.written is None:
            return None
        computed = (self.aws_cloudhsm, self.gcp_kms, self.winner)
        return computed == (self.written.aws_cloudhsm, self.written.gcp_kms, self.written.winner)


@dataclass(frozen=True, slots=True)
class Review:
    """The table and the findings beneath it, in words."""

    rows: tuple[Row, ...]
    findings: tuple[str, ...]


@cache
def _document() -> tuple[tuple[Written, ...], int]:
    text = (files("icehouse.planner") / "catalogues" / "original-table.toml").read_text(encoding="utf-8")
    document = tomllib.loads(text)
    rows = tuple(
        Written(row["users"], Fraction(row["aws_cloudhsm"]), Fraction(row["gcp_kms"]), row["winner"])
        for row in document["row"]
    )
    return rows, document["tie"]


def written_users() -> list[int]:
    """The numbers of users in the original's rows."""
    return [row.users for row in _document()[0]]


def review(users: Sequence[int]) -> Review:
    """The original's table at these numbers of users, and what does not follow."""
    if not users:
        msg = "the original's table needs at least one number of users"
        raise RequestError(msg)
    written = {row.users: row for row in _document()[0]}
    rows = tuple(_row(number, written.get(number)) for number in users)
    findings = [*_contradictions(rows), _tie(), _fixed_price(), _today(), _capacity(), _envelope(), _trial()]
    return Review(rows, tuple(findings))


def _row(users: int, written: Written | None) -> Row:
    catalogue, scenario = load("original"), Scenario(users=users)
    aws, google = (verdict(catalogue, choice, scenario).cost for choice in (CLOUDHSM, CLOUD_HSM))
    winner = "Tie" if aws == google else "AWS" if aws < google else "Google"
    return Row(users, aws, google, winner, written)


def _contradictions(rows: Sequence[Row]) -> list[str]:
    found = []
    for row in rows:
        if row.follows is False and row.written is not None:
            verb = {"Tie": "is a tie"}
            was = verb.get(row.written.winner, f"goes to {row.written.winner}")
            found.append(
                f"{whole(row.users)} users: the original says it {was}; by its own prices AWS costs "
                f"{dollars(row.aws_cloudhsm)} and Google {dollars(row.gcp_kms)}, so {_wins(row.winner)}."
            )
    return found


def _wins(winner: str) -> str:
    return "it is a tie" if winner == "Tie" else f"{winner} wins"


def _first(found: BreakEven) -> int:
    if found.first is None:
        msg = f"{found.one} and {found.other} never change places"
        raise RequestError(msg)
    return found.first.last_before


def own_tie() -> int:
    """Where the original's own prices break even."""
    return _first(break_even(load("original"), (CLOUD_HSM, CLOUDHSM), Scenario()))


def today_tie(kind: KeyKind) -> int:
    """Where today's prices break even with one key per user: the last number at which Google is no dearer."""
    return _first(break_even(load("current"), (replace(CLOUD_HSM, user_key=kind), CLOUDHSM), Scenario()))


def _tie() -> str:
    catalogue = load("original")
    flat, key = catalogue.tiers("aws_cloudhsm", "flat", None)[0], catalogue.tiers("gcp_kms", "key.aes", None)[0]
    claimed = _document()[1]
    return (
        f"The tie is at {whole(own_tie())} users, not {whole(claimed)}: at {dollars(key.value)} a key "
        f"{whole(claimed)} keys cost {dollars(key.value * claimed)}, which is not {dollars(flat.value)}."
    )


def _fixed_price() -> str:
    catalogue = load("original")
    flat, hour = (catalogue.tiers("aws_cloudhsm", item, None)[0].value for item in ("flat", "hsm.trial"))
    least = load("current").limit("aws_cloudhsm", "minimum_hsms")
    hsms = int(least.value) if least else 1
    month = hour * HOURS_PER_MONTH
    return (
        f"{dollars(flat)} a month is not {dollars(hour)} an hour: one HSM for {HOURS_PER_MONTH} hours costs "
        f"{dollars(month)}, and the {hsms} that a cluster should have cost {dollars(month * hsms)}."
    )


def _today() -> str:
    catalogue = load("current")
    hour = catalogue.tiers("aws_cloudhsm", "hsm", None)[0].value
    least = catalogue.limit("aws_cloudhsm", "minimum_hsms")
    ec = catalogue.tiers("gcp_kms", "key.ec", None)
    return (
        f"With today's prices and one key per user the tie is at {whole(today_tie(KeyKind.AES))} users with AES or "
        f"HMAC keys, and at {whole(today_tie(KeyKind.EC))} with EC keys ({dollars(ec[0].value)} each up to "
        f"{whole(ec[-1].above)}, {dollars(ec[-1].value)} beyond), against {int(least.value) if least else 1} HSMs at "
        f"{dollars(hour)} an hour ({dollars(verdict(catalogue, CLOUDHSM, Scenario()).cost)} a month)."
    )


def _capacity() -> str:
    catalogue = load("current")
    last, _ = feasible_users(catalogue, CLOUDHSM, Scenario())
    direct, _ = feasible_users(catalogue, replace(CLOUDHSM, custody=Custody.DIRECT), Scenario())
    limit = catalogue.limit("aws_cloudhsm", "keys")
    beyond = [str(row.users) for row in _document()[0] if row.users > last and row.winner == "AWS"]
    rows = " and ".join(whole(int(users)) for users in beyond)
    return (
        f"Past {whole(last)} keys a CloudHSM cluster cannot hold them at all (source: "
        f"{limit.source if limit else 'none'}), so AWS cannot win at {rows} users with one key per user. Icehouse's "
        f"direct custody keeps a claim key beside them: {whole(direct)} users in one cluster."
    )


def envelope_costs() -> dict[Choice, Fraction]:
    """A million users, an operation a day each, with envelope custody on a cloud's key service."""
    scenario = Scenario(
        users=_MILLION,
        signatures_per_user_year=Fraction(_DAYS_PER_YEAR),
        rotations_per_user_year=Fraction(0),
    )
    offered = (Choice("gcp_kms", Custody.HYBRID), Choice("aws_kms", Custody.HYBRID))
    return {choice: verdict(load("current"), choice, scenario).cost for choice in offered}


def _envelope() -> str:
    (google, google_cost), (aws, aws_cost) = envelope_costs().items()
    titles = load("current").providers
    found = break_even(
        load("current"),
        (google, Choice("aws_cloudhsm", Custody.HYBRID)),
        Scenario(users=_MILLION, rotations_per_user_year=Fraction(0)),
        unit="signatures",
    )
    return (
        f"With envelope custody (hybrid) the cost follows operations, not users: {whole(_MILLION)} users at one "
        f"operation a day, none served from the cache, cost {dollars(google_cost)} a month on "
        f"{titles[google.provider].title} and {dollars(aws_cost)} on {titles[aws.provider].title}. CloudHSM breaks "
        f"even with Google at {whole(_first(found))} operations a month."
    )


def _trial() -> str:
    current = load("current")
    old = load("original").tiers("aws_cloudhsm", "hsm.trial", None)[0]
    now, retired = (current.tiers("aws_cloudhsm", item, None)[0] for item in ("hsm", "hsm.hsm1"))
    least = current.limit("aws_cloudhsm", "minimum_hsms")
    hsms = int(least.value) if least else 1
    was, costs = dollars(old.value * _TRIAL_HOURS), dollars(now.value * hsms * _TRIAL_HOURS)
    return (
        f"{_TRIAL_HOURS} hours of one {old.note} were {was}, and today none can be made: {retired.note}. "
        f"{hsms} HSMs of today for {_TRIAL_HOURS} hours cost {costs}."
    )
