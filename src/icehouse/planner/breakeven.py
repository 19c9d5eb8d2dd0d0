"""Break-even points between two choices: solved exactly, in users or in signatures a month."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from icehouse.errors import RequestError
from icehouse.planner.capacity import needs
from icehouse.planner.cost import bill
from icehouse.planner.curve import Curve
from icehouse.planner.demand import Load

if TYPE_CHECKING:
    from fractions import Fraction

    from icehouse.planner.catalogue import Catalogue, Claim
    from icehouse.planner.choice import Choice
    from icehouse.planner.scenario import Scenario

MOST = 10_000_000
"""Up to how many users break-even points are looked for unless told otherwise."""
MOST_SIGNATURES = 10**15
"""The same in signatures a month."""
_TENTH = 10


class Tie(NamedTuple):
    """From `number` on another choice is cheapest, or both cost the same.

    `exact` is where the lines cross, between two whole numbers or at a step. `cheaper` is None for a tie.
    """

    number: int
    exact: Fraction
    cheaper: Choice | None
    before: Choice | None

    @property
    def last_before(self) -> int:
        """The last number at which the choice before is no dearer."""
        return self.number if self.cheaper is None else self.number - 1


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Where two choices change places. `start` is the cheaper one at the first number; None for a tie."""

    one: Choice
    other: Choice
    unit: str
    start: Choice | None
    ties: tuple[Tie, ...]
    last: int

    @property
    def first(self) -> Tie | None:
        """The first break-even point."""
        return next(iter(self.ties), None)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Where the first break-even point goes when one price is a tenth lower, and a tenth higher."""

    claim: Claim
    lower: Tie | None
    higher: Tie | None
    share: Fraction
    """Dollars a month that a tenth more adds to the dearer of the two bills, at the scenario's users."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """Where the first break-even point is if another claim for a price is the true one."""

    claim: Claim
    first: Tie | None


def _load(scenario: Scenario, unit: str, most: int) -> Load:
    if unit == "users":
        return Load.by_users(scenario, Curve.line(1, most))
    if unit == "signatures":
        return Load.by_signatures(scenario, Curve.line(0, most))
    msg = f"a break-even point is in users or signatures, not {unit!r}"
    raise RequestError(msg)


def break_even(
    catalogue: Catalogue,
    pair: tuple[Choice, Choice],
    scenario: Scenario,
    *,
    unit: str = "users",
    most: int | None = None,
) -> BreakEven:
    """Every number up to `most` at which two choices change places. `unit`: `users`, or `signatures` a month."""
    last = most or (MOST if unit == "users" else MOST_SIGNATURES)
    load = _load(scenario, unit, last)
    one, other = pair
    gap = bill(catalogue, one, scenario, load).total - bill(catalogue, other, scenario, load).total
    cheaper = {-1: one, 0: None, 1: other}
    runs = gap.runs()
    ties = tuple(
        Tie(after.first, gap.zero_between(after.first), cheaper[after.sign], cheaper[before.sign])
        for before, after in itertools.pairwise(runs)
    )
    return BreakEven(one, other, unit, cheaper[runs[0].sign], ties, last)


def feasible_users(catalogue: Catalogue, choice: Choice, scenario: Scenario, *, most: int = MOST) -> tuple[int, str]:
    """Up to how many users no limit is exceeded, and the limit that binds beyond; `most` and "" where none does."""
    load = Load.by_users(scenario, Curve.line(1, most))
    last, name = most, ""
    for need in needs(catalogue, choice, scenario, load):
        beyond = next((run.first - 1 for run in need.excess.runs() if run.sign > 0), most)
        if beyond < last:
            last, name = beyond, need.limit.item
    return last, name


def sensitivity(
    catalogue: Catalogue, pair: tuple[Choice, Choice], scenario: Scenario, *, most: int = MOST
) -> list[Sensitivity]:
    """How the first break-even point in users answers to every price that either choice pays."""
    month = Load.by_users(scenario, Curve.point(scenario.users))
    paid = {key: curve for choice in pair for key, curve in bill(catalogue, choice, scenario, month).items.items()}
    found = []
    for (provider, item), curve in paid.items():
        for claim in catalogue.tiers(provider, item, scenario.region):
            if not claim.value or not curve.value:
                continue
            lower, higher = (
                break_even(
                    catalogue.with_price(claim, claim.value * (_TENTH + step) / _TENTH), pair, scenario, most=most
                ).first
                for step in (-1, 1)
            )
            found.append(Sensitivity(claim, lower, higher, curve.value / _TENTH))
    return found


def alternatives(
    catalogue: Catalogue, pair: tuple[Choice, Choice], scenario: Scenario, *, most: int = MOST
) -> list[Alternative]:
    """The first break-even point in users under every claim that is not the default, for a price either choice pays."""
    month = Load.by_users(scenario, Curve.point(scenario.users))
    paid = {
        key for choice in pair for key, curve in bill(catalogue, choice, scenario, month).items.items() if curve.value
    }
    return [
        Alternative(claim, break_even(catalogue.with_default(claim), pair, scenario, most=most).first)
        for claim in catalogue.prices
        if not claim.default and (claim.provider, claim.item) in paid
    ]
