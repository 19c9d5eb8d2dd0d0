"""What a demand costs at a provider in a month, item by item."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from icehouse.planner.demand import ASYMMETRIC, SYMMETRIC, Load, demands, sum_of
from icehouse.planner.scenario import HOURS_PER_MONTH

if TYPE_CHECKING:
    from icehouse.planner.catalogue import Catalogue, Claim
    from icehouse.planner.choice import Choice
    from icehouse.planner.coefficients import KeyKind
    from icehouse.planner.curve import Curve
    from icehouse.planner.demand import Demand
    from icehouse.planner.scenario import Scenario

_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Bill:
    """A month's cost by provider and item; the total is their sum."""

    items: dict[tuple[str, str], Curve]
    nothing: Curve

    @property
    def total(self) -> Curve:
        """The whole month."""
        return sum_of([self.nothing, *self.items.values()])


def bill(catalogue: Catalogue, choice: Choice, scenario: Scenario, load: Load) -> Bill:
    """What a choice costs in a month under a load."""
    items: dict[tuple[str, str], Curve] = {}
    for provider, demand in demands(choice, scenario, load).items():
        counts = _counts(catalogue, provider, scenario, demand, load)
        for item, count in counts.items():
            tiers = catalogue.tiers(provider, item, scenario.region)
            if tiers:
                items[provider, item] = priced(count, tiers)
    return Bill(items, load.users.constant(0))


def hsm_count(catalogue: Catalogue, provider: str, scenario: Scenario) -> int:
    """How many HSMs or devices the scenario has: as it says, or the fewest that the provider's limits allow."""
    least = catalogue.limit(provider, "minimum_hsms")
    return scenario.hsms or (int(least.value) if least else 1)


def billed_keys(catalogue: Catalogue, provider: str, scenario: Scenario, demand: Demand) -> dict[KeyKind, Curve]:
    """Keys as they are billed: with their versions, unless the provider bills rotations instead, and with copies."""
    versions = 1 if catalogue.limit(provider, "paid_rotations") else scenario.key_versions
    copies = 1 + scenario.backup_copies
    billed = {kind: count * (versions * copies) for kind, count in demand.keys.items()}
    for kind, count in demand.fixed.items():
        billed[kind] = billed[kind] + count * copies if kind in billed else count * copies
    return billed


def _counts(catalogue: Catalogue, provider: str, scenario: Scenario, demand: Demand, load: Load) -> dict[str, Curve]:
    one = load.users.constant(1)
    hsms = hsm_count(catalogue, provider, scenario)
    counts = {
        "flat": one,
        "hsm": one * (hsms * HOURS_PER_MONTH),
        "pool": one * HOURS_PER_MONTH,
        "instance": one * HOURS_PER_MONTH,
        "device": one * Fraction(hsms + scenario.backup_copies, scenario.device_months),
        "operations.symmetric": _paid(catalogue, provider, demand.total(SYMMETRIC)) * Fraction(1, _BATCH),
        "operations.asymmetric": demand.total(ASYMMETRIC) * Fraction(1, _BATCH),
    }
    for kind, count in billed_keys(catalogue, provider, scenario, demand).items():
        counts[f"key.{kind}"] = count
    paid = catalogue.limit(provider, "paid_rotations")
    if paid is not None and demand.keys and scenario.key_versions > 1:
        rotations = min(scenario.key_versions - 1, int(paid.value))
        counts["rotation"] = sum_of(list(demand.keys.values())) * (rotations * (1 + scenario.backup_copies))
    return counts


def _paid(catalogue: Catalogue, provider: str, operations: Curve) -> Curve:
    free = catalogue.limit(provider, "free_operations")
    return operations if free is None else operations.above(free.value)


def priced(count: Curve, tiers: list[Claim]) -> Curve:
    """A count under its tiers: each price holds for what exceeds its tier's beginning, up to the next."""
    total = count * tiers[0].value
    for lower, upper in itertools.pairwise(tiers):
        total += count.above(upper.above) * (upper.value - lower.value)
    return total
