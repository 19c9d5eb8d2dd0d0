"""What a number of operations and new keys costs, and how long it takes, at each provider that a driver opens."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from icehouse.planner.making import seconds
from icehouse.planner.reading import load

if TYPE_CHECKING:
    from icehouse.planner.catalogue import Catalogue

_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Quote:
    """One provider. `seconds` is None where no rate is known.

    `operations` is what the operations cost in dollars, beyond anything that is free; `monthly` what the new keys add
    to every month for as long as they live.
    """

    provider: str
    seconds: Fraction | None
    operations: Fraction
    monthly: Fraction


def quotes(driver: str, operations: int, new_keys: int, catalogue: Catalogue | str = "current") -> list[Quote]:
    """A quote of every provider that is opened with a URI of this scheme and whose prices are known."""
    prices = load(catalogue) if isinstance(catalogue, str) else catalogue
    return [
        Quote(name, _seconds(prices, name, operations, new_keys), operations * price / _BATCH, new_keys * monthly)
        for name, provider in prices.providers.items()
        if provider.driver == driver and not provider.incomplete
        for price in [_first(prices, name, "operations.symmetric")]
        for monthly in [_first(prices, name, "key.aes")]
    ]


def _first(prices: Catalogue, provider: str, item: str) -> Fraction:
    tiers = prices.tiers(provider, item, None)
    return tiers[0].value if tiers else Fraction(0)


def _seconds(prices: Catalogue, provider: str, operations: int, new_keys: int) -> Fraction | None:
    """The longer of two: operations at their rate, and new keys at theirs."""
    for item in ("operations_per_second", "throughput"):
        limit = prices.limit(provider, item)
        if limit is not None:
            return max(operations / limit.value, seconds(prices, provider, new_keys) or Fraction(0))
    return None
