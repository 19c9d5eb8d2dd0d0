"""How many nodes a hierarchical vault asks its HSM for when it makes many users at once."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from icehouse.planner.scenario import RECORDS_PER_DATA_KEY

if TYPE_CHECKING:
    from icehouse.planner.scenario import Scenario

_EXACT = 10**6


def creation_nodes(scenario: Scenario) -> Fraction:
    """The nodes that a month's creations ask for: one a user without buckets, else one a bucket and page.

    Users fall into buckets at random, so this is what to expect, to the millionth. A page asks for each bucket once.
    Where the cache holds every bucket, no page asks for one again.
    """
    created, buckets, kept = scenario.creations_per_month, scenario.buckets, scenario.cache_keys
    if not buckets or not created:
        return Fraction(created)
    if kept >= buckets:
        return _exactly(_distinct(created, buckets))
    full, rest = divmod(created, RECORDS_PER_DATA_KEY)
    asked = full * _distinct(RECORDS_PER_DATA_KEY, buckets) + _distinct(rest, buckets)
    later = max(0, full + bool(rest) - 1)
    return _exactly(asked - later * _kept_from_the_page_before(buckets, kept))


def _distinct(users: int, buckets: int) -> float:
    """How many buckets so many users fall into."""
    return buckets * (1 - (1 - 1 / buckets) ** users)


def _kept_from_the_page_before(buckets: int, kept: int) -> float:
    """Of a page's buckets, how many are in the cache still: the j-th new one has pushed out j of the old."""
    asked = min(kept, int(_distinct(RECORDS_PER_DATA_KEY, buckets)))
    return sum((kept - number) / (buckets - number) for number in range(asked))


def _exactly(count: float) -> Fraction:
    return Fraction(round(count * _EXACT), _EXACT)
