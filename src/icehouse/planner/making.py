"""How fast keys can be made: services let in far fewer creations than operations."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icehouse.planner.catalogue import Catalogue, Claim

_MINUTE = 60
WRITES_PER_KEY, READS_PER_KEY = 1, 2
"""What icehouse asks of Google Cloud KMS for one key: whether it is there, the key, and what it is like."""
COUNTED = {
    "creations_per_second": Fraction(1),
    "writes_per_minute": Fraction(WRITES_PER_KEY * _MINUTE),
    "reads_per_minute": Fraction(READS_PER_KEY * _MINUTE),
}
"""How much of each limit one key a second takes."""


def slowest(catalogue: Catalogue, provider: str) -> tuple[Fraction, Claim] | None:
    """How many keys a second may be made at a provider, and the limit that says so; None where none is known."""
    limits = [(item, catalogue.limit(provider, item)) for item in COUNTED]
    rates = [(limit.value / COUNTED[item], limit) for item, limit in limits if limit is not None]
    return min(rates, key=lambda rate: rate[0], default=None)


def seconds(catalogue: Catalogue, provider: str, keys: int) -> Fraction | None:
    """How long it takes to make so many keys at a provider, where a limit is known."""
    found = slowest(catalogue, provider)
    return None if found is None else keys / found[0]
