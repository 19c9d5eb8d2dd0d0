"""A plan: every choice for one scenario, what it costs, whether it can work, and what it would mean."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from icehouse import arguments
from icehouse.planner.capacity import Need, Obstacle, needs, obstacles
from icehouse.planner.catalogue import Catalogue
from icehouse.planner.choice import Choice, choices
from icehouse.planner.coefficients import WARNINGS, Custody
from icehouse.planner.constraint import Constraints
from icehouse.planner.cost import bill
from icehouse.planner.curve import Curve
from icehouse.planner.demand import OPERATIONS, Load, demands
from icehouse.planner.making import COUNTED, seconds, slowest
from icehouse.planner.reading import load
from icehouse.planner.rewrap import Rewrap, rewrap
from icehouse.planner.scenario import SECONDS_PER_MONTH, Scenario

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_HOUR = 3600
_FREQUENT = ("keys", "operations", *COUNTED)
_LONG = _HOUR
"""Seconds from which on the making of keys is worth a note."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One choice in one scenario. Money is in dollars a month, rates are operations a second."""

    choice: Choice
    scenario: Scenario
    cost: Fraction
    items: dict[str, Fraction]
    hsm_keys: int
    operations: dict[str, Fraction]
    peak_rate: Fraction
    obstacles: tuple[Obstacle, ...]
    exceeded: tuple[Need, ...]
    nearest: Need | None
    """Of the limits on keys and rates that hold, the one that is used most."""
    exposed: int
    """How many users' server shares (hierarchical: whole keys) one leaked data key or node exposes."""
    making: Fraction | None
    """Seconds that it takes to make the keys of all users; None where no rate is known."""
    rewrap: Rewrap
    notes: tuple[str, ...]

    @property
    def feasible(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.obstacles and not self.exceeded

    @property
    def binding(self) -> Need | Obstacle | None:
        """What stands in the way first; None where nothing does."""
        reasons: list[Need | Obstacle] = [*self.exceeded, *self.obstacles]
        return reasons[0] if reasons else None

    @property
    def cost_per_user(self) -> Fraction:
        """A month's cost for one user."""
        return self.cost / self.scenario.users


@dataclass(frozen=True, slots=True)
class Plan:
    """Every choice for one scenario: those that can work first, the cheapest first."""

    catalogue: Catalogue
    scenario: Scenario
    verdicts: tuple[Verdict, ...]

    @property
    def cheapest(self) -> Verdict | None:
        """The cheapest choice that can work, or None."""
        return next((verdict for verdict in self.verdicts if verdict.feasible), None)


def plan(
    scenario: Scenario,
    catalogue: Catalogue | str = "current",
    *,
    providers: Iterable[str] = (),
    custodies: Iterable[str] = (),
    constraints: Constraints | None = None,
) -> Plan:
    """Weigh every choice that a catalogue offers for a scenario. Opens nothing but the catalogue of that name.

    Raises `RequestError` for unknown names.
    """
    arguments.instance(scenario, Scenario, "scenario", "a Scenario")
    if not isinstance(catalogue, str):
        arguments.instance(catalogue, Catalogue, "catalogue", "a Catalogue or its name")
    if constraints is not None:
        arguments.instance(constraints, Constraints, "constraints", "Constraints")
    providers, custodies = arguments.texts(providers, "providers"), arguments.texts(custodies, "custodies")
    prices = load(catalogue) if isinstance(catalogue, str) else catalogue
    prices.check_region(scenario.region)
    wanted = constraints or Constraints()
    offered = choices(prices, providers=providers, custodies=custodies, two_providers=wanted.two_providers)
    found = [verdict(prices, choice, scenario, wanted) for choice in offered]
    order = {choice: number for number, choice in enumerate(offered)}
    found.sort(key=lambda each: (not each.feasible, each.cost, order[each.choice]))
    return Plan(prices, scenario, tuple(found))


def verdict(
    catalogue: Catalogue, choice: Choice, scenario: Scenario, constraints: Constraints | None = None
) -> Verdict:
    """What one choice costs in a scenario, and whether it can work."""
    month = Load.by_users(scenario, Curve.point(scenario.users))
    cost = bill(catalogue, choice, scenario, month)
    asked = demands(choice, scenario, month)
    operations = {
        name: sum((demand.operations[name].value for demand in asked.values()), Fraction(0)) for name in OPERATIONS
    }
    keys = sum(
        sum(count.value for count in demand.keys.values()) * scenario.key_versions
        + sum(count.value for count in demand.fixed.values())
        for demand in asked.values()
    )
    limits = needs(catalogue, choice, scenario, month)
    holding = [need for need in limits if not need.binds and need.limit.item.startswith(_FREQUENT)]
    served = sum(operations.values()) - operations["create_key"]
    return Verdict(
        choice=choice,
        scenario=scenario,
        cost=cost.total.value,
        items={f"{provider} {item}": curve.value for (provider, item), curve in cost.items.items() if curve.value},
        hsm_keys=int(keys),
        operations=operations,
        peak_rate=served * scenario.peak_factor / SECONDS_PER_MONTH,
        obstacles=tuple(obstacles(catalogue, choice, scenario, constraints or Constraints())),
        exceeded=tuple(need for need in limits if need.binds),
        nearest=max(holding, key=lambda need: need.used, default=None),
        exposed=exposed(choice, scenario),
        making=seconds(catalogue, choice.provider, int(keys)),
        rewrap=rewrap(catalogue, choice, scenario),
        notes=(
            *_notes(catalogue, choice),
            *_making_words(catalogue, choice, int(keys)),
        ),
    )


def _notes(catalogue: Catalogue, choice: Choice) -> Iterator[str]:
    if choice.custody in WARNINGS:
        yield WARNINGS[choice.custody]
    yield from (f"{name}: {note}" for name in choice.providers if (note := catalogue.provider(name).note))


def _making_words(catalogue: Catalogue, choice: Choice, keys: int) -> list[str]:
    """A note where making the keys takes long, and which limit makes it so."""
    found = slowest(catalogue, choice.provider)
    if found is None or keys / found[0] < _LONG:
        return []
    rate, limit = found
    hours = keys / rate / _HOUR
    duration = f"{float(hours / 24):.1f} days" if hours >= 24 else f"{float(hours):.1f} hours"  # noqa: PLR2004
    words = f"making {keys:,} keys takes {duration}, and a rewrap as long again"
    return [f"{choice}: {words} (limit {limit.item}; source: {limit.source}, {limit.as_of})"]


def exposed(choice: Choice, scenario: Scenario) -> int:
    """How many users one leaked data key or node exposes."""
    if choice.custody is Custody.HYBRID:
        return min(scenario.users, scenario.records_per_data_key)
    if choice.custody is Custody.HIERARCHICAL and scenario.buckets != 0:
        return -(-scenario.users // scenario.buckets)
    return 1
