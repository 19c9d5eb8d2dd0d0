"""Phases: the cheapest choice that can work, month by month along a growth curve, and what each switch takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from icehouse.planner.rewrap import Rewrap, move
from icehouse.planner.verdict import plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from icehouse.planner.catalogue import Catalogue
    from icehouse.planner.choice import Choice
    from icehouse.planner.constraint import Constraints
    from icehouse.planner.scenario import Scenario
    from icehouse.planner.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Month:
    """One month: its users, and the cheapest choice that can work; None where none can."""

    number: int
    users: int
    best: Verdict | None


@dataclass(frozen=True, slots=True)
class Phase:
    """Consecutive months with one choice. `switch` is the move into it; None for the first, and where none came before.

    `cost` is that of all its months.
    """

    choice: Choice | None
    months: tuple[Month, ...]
    cost: Fraction
    switch: Rewrap | None

    @property
    def first(self) -> Month:
        """The month it begins with."""
        return self.months[0]

    @property
    def last(self) -> Month:
        """The month it ends with."""
        return self.months[-1]


def phases(
    catalogue: Catalogue,
    scenario: Scenario,
    growth: Sequence[int],
    constraints: Constraints,
    *,
    providers: Iterable[str] = (),
    custodies: Iterable[str] = (),
) -> list[Phase]:
    """The phases of a growth curve. A choice is kept while it is no dearer than any other that can work."""
    names, kinds = tuple(providers), tuple(custodies)
    found: list[Phase] = []
    before = growth[0]
    for number, users in enumerate(growth):
        created = scenario.creations_per_month + max(0, users - before)
        before = users
        month = replace(scenario, users=users, creations_per_month=created)
        offered = plan(month, catalogue, providers=names, custodies=kinds, constraints=constraints)
        held = found[-1].choice if found else None
        best = _best(offered.verdicts, held)
        found = _appended(found, Month(number, users, best), catalogue, month)
    return found


def _best(verdicts: Sequence[Verdict], held: Choice | None) -> Verdict | None:
    feasible = [verdict for verdict in verdicts if verdict.feasible]
    kept = next((v for v in feasible if v.choice == held and v.cost <= feasible[0].cost), None)
    return kept or next(iter(feasible), None)


def _appended(found: list[Phase], month: Month, catalogue: Catalogue, scenario: Scenario) -> list[Phase]:
    choice = month.best.choice if month.best else None
    cost = month.best.cost if month.best else Fraction(0)
    if found and found[-1].choice == choice:
        last = found[-1]
        return [*found[:-1], replace(last, months=(*last.months, month), cost=last.cost + cost)]
    before = found[-1].choice if found else None
    switch = move(catalogue, before, choice, scenario) if before and choice else None
    return [*found, Phase(choice, (month,), cost, switch)]
