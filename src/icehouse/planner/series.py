"""What a chart shows: lines of cost against users, where they stop being possible, and where they cross."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from icehouse.planner.breakeven import break_even, feasible_users
from icehouse.planner.capacity import obstacles
from icehouse.planner.constraint import Constraints
from icehouse.planner.cost import bill
from icehouse.planner.curve import Curve
from icehouse.planner.demand import Load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icehouse.planner.catalogue import Catalogue
    from icehouse.planner.choice import Choice
    from icehouse.planner.scenario import Scenario

POINTS = 240


@dataclass(frozen=True, slots=True)
class Line:
    """A choice's cost at some numbers of users. Beyond `last` the named limit is exceeded."""

    choice: Choice
    points: tuple[tuple[int, float], ...]
    last: int
    limit: str


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where two possible choices change places: the cheaper one before, the cheaper one after, and the cost there."""

    users: int
    cost: float
    before: Choice
    after: Choice


@dataclass(frozen=True, slots=True)
class Series:
    """Everything that a chart of cost against users shows."""

    lines: tuple[Line, ...]
    crossings: tuple[Crossing, ...]
    first: int
    last: int


def spread(first: int, last: int, points: int = POINTS) -> list[int]:
    """Whole numbers from the first to the last, evenly far apart on a logarithmic axis."""
    ratio = last / first
    return sorted({round(first * ratio ** (step / (points - 1))) for step in range(points)})


def series(
    catalogue: Catalogue,
    scenario: Scenario,
    offered: Sequence[Choice],
    *,
    first: int,
    last: int,
    constraints: Constraints | None = None,
) -> Series:
    """The lines of some choices; those ruled out at any number of users, or possible at none, are left out."""
    wanted = constraints or Constraints()
    users = Curve.line(1, last)
    lines: list[Line] = []
    for choice in offered:
        possible, limit = feasible_users(catalogue, choice, scenario, most=last)
        if obstacles(catalogue, choice, scenario, wanted) or possible < first:
            continue
        total = bill(catalogue, choice, scenario, Load.by_users(scenario, users)).total
        points = tuple((number, float(total.at(number))) for number in spread(first, last))
        lines.append(Line(choice, points, possible, limit))
    return Series(tuple(lines), _crossings(catalogue, scenario, lines, first, last), first, last)


def _crossings(
    catalogue: Catalogue, scenario: Scenario, lines: Sequence[Line], first: int, last: int
) -> tuple[Crossing, ...]:
    found = []
    for one, other in combinations(lines, 2):
        both = min(one.last, other.last)
        result = break_even(catalogue, (one.choice, other.choice), scenario, most=last)
        for tie in result.ties:
            if tie.cheaper is None or not first <= tie.number <= both:
                continue
            loser = one.choice if tie.cheaper == other.choice else other.choice
            point = Load.by_users(scenario, Curve.point(tie.last_before))
            cost = float(bill(catalogue, tie.cheaper, scenario, point).total.value)
            found.append(Crossing(tie.last_before, cost, loser, tie.cheaper))
    return tuple(found)
