"""Whether a choice can work at all: what it needs of every limit, and which limit binds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from icehouse.planner.coefficients import KeyKind
from icehouse.planner.cost import billed_keys, hsm_count
from icehouse.planner.curve import Curve
from icehouse.planner.demand import ASYMMETRIC, SYMMETRIC, Load, demands, sum_of
from icehouse.planner.making import COUNTED
from icehouse.planner.scenario import SECONDS_PER_MONTH, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icehouse.planner.catalogue import Catalogue, Claim
    from icehouse.planner.choice import Choice
    from icehouse.planner.constraint import Constraints
    from icehouse.planner.demand import Demand
    from icehouse.planner.scenario import Scenario

_ASYMMETRIC_KINDS = (KeyKind.EC, KeyKind.RSA)


@dataclass(frozen=True, slots=True)
class Need:
    """What a load needs of one limit. `excess` is above zero exactly where the limit is exceeded."""

    provider: str
    limit: Claim
    wanted: Curve
    excess: Curve

    @property
    def binds(self) -> bool:
        """Whether the limit is exceeded at the first number."""
        return self.excess.value > 0

    @property
    def used(self) -> Fraction:
        """Which part of the limit is used; a minimum that is met uses none."""
        return self.wanted.value / self.limit.value if self.limit.value else Fraction(0)

    def __str__(self) -> str:
        unit, least = self.limit.unit, self.limit.item == "minimum_hsms"
        return (
            f"{self.provider} has at {'least' if least else 'most'} {shown(self.limit.value)} {unit}, and "
            f"{shown(self.wanted.value)} {'are there' if least else 'are needed'} "
            f"(limit {self.limit.item}; source: {self.limit.source}, {self.limit.as_of})"
        )


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a choice is out of the question, whatever the numbers."""

    provider: str
    name: str
    words: str
    source: str

    def __str__(self) -> str:
        return f"{self.provider} {self.words} (limit {self.name}; source: {self.source})"


def needs(catalogue: Catalogue, choice: Choice, scenario: Scenario, load: Load) -> list[Need]:
    """What a choice needs of every limit its providers have."""
    found: list[Need] = []
    for provider, demand in demands(choice, scenario, load).items():
        for item, wanted in _wanted(catalogue, provider, scenario, demand, load):
            limit = catalogue.limit(provider, item)
            if limit is not None and item == "max_users" and scenario.software_until is not None:
                limit = _told(limit, scenario.software_until)
            if limit is not None:
                sign = -1 if item == "minimum_hsms" else 1
                found.append(Need(provider, limit, wanted, (wanted + -limit.value) * sign))
        found += _unpriced(catalogue, provider, scenario, demand)
    return found


def _told(limit: Claim, users: int) -> Claim:
    return replace(limit, value=Fraction(users), source="the scenario", as_of="now")


def _wanted(
    catalogue: Catalogue, provider: str, scenario: Scenario, demand: Demand, load: Load
) -> Iterator[tuple[str, Curve]]:
    one = load.users.constant(1)
    per_second = Fraction(scenario.peak_factor) / SECONDS_PER_MONTH
    held = [count * scenario.key_versions for count in demand.keys.values()] + list(demand.fixed.values())
    asymmetric = [demand.keys[kind] * scenario.key_versions for kind in _ASYMMETRIC_KINDS if kind in demand.keys]
    yield "keys", sum_of([one * 0, *held])
    yield "keys.asymmetric", sum_of([one * 0, *asymmetric])
    yield "operations_per_second", demand.total(SYMMETRIC) * per_second
    yield "operations_per_second.mac", demand.total(("mac",)) * per_second
    yield "operations_per_second.asymmetric", demand.total(ASYMMETRIC) * per_second
    made = sum_of([one * 0, demand.operations["create_key"]]) * per_second
    for item, share in COUNTED.items():
        yield item, made * share
    yield "message_bytes", one * demand.wrap_bytes
    yield "mac_bytes", one * demand.mac_bytes
    yield "minimum_hsms", one * hsm_count(catalogue, provider, scenario)
    yield "max_users", load.users


def _unpriced(catalogue: Catalogue, provider: str, scenario: Scenario, demand: Demand) -> Iterator[Need]:
    """Keys beyond the last tier that a source states a price for."""
    for kind, count in billed_keys(catalogue, provider, scenario, demand).items():
        tiers = catalogue.tiers(provider, f"key.{kind}", scenario.region)
        if tiers and tiers[-1].up_to is not None:
            last = tiers[-1]
            yield Need(provider, _as_limit(last, last.up_to or 0), count, count - (last.up_to or 0))


def _as_limit(claim: Claim, value: int) -> Claim:
    return replace(claim, value=Fraction(value), unit="keys with a known price")


def obstacles(catalogue: Catalogue, choice: Choice, scenario: Scenario, constraints: Constraints) -> list[Obstacle]:
    """Everything that rules a choice out whatever the numbers: requirements, key kinds, regions, drivers."""
    found: list[Obstacle] = []
    if constraints.two_providers and not choice.claim_provider:
        words = f"with {choice.custody} needs a claim root key of its own at another provider"
        found.append(Obstacle(choice.provider, "two providers", words, "the requirement"))
    asked = demands(choice, scenario, Load.by_users(scenario, Curve.point(1)))
    for name, demand in asked.items():
        provider = catalogue.provider(name)
        found += [Obstacle(name, unmet, f"is not {unmet}", provider.source) for unmet in constraints.unmet(provider)]
        lacking = sorted((demand.keys.keys() | demand.fixed.keys()) - provider.kinds)
        if lacking:
            words = f"has no {' or '.join(lacking).upper()} keys"
            found.append(Obstacle(name, "key kinds", words, provider.source))
        if not catalogue.has_region(name, scenario.region):
            words = f"has no known price in {scenario.region}"
            found.append(Obstacle(name, "region", words, f"the catalogue {catalogue.name!r}"))
        if provider.incomplete:
            found.append(Obstacle(name, "prices", f"has no complete price: {provider.incomplete}", provider.source))
        if not provider.driver and not constraints.any_driver:
            found.append(Obstacle(name, "driver", "has no driver in icehouse", "icehouse"))
    return found
