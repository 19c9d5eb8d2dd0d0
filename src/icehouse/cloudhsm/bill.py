"""What a run costs, by the planner's catalogue: every started hour of every HSM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from icehouse.planner.reading import load

if TYPE_CHECKING:
    from fractions import Fraction

    from icehouse.cloudhsm.record import Record
    from icehouse.planner.catalogue import Claim

_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of an HSM's hour. `here` is False where the catalogue has none for the region, and another's is used."""

    claim: Claim
    here: bool

    def of(self, hsms: int, seconds: int) -> Fraction:
        """The dollars for HSMs that run this long; a started hour counts whole."""
        return self.claim.value * hsms * max(0, -(-seconds // _HOUR))

    def share(self, hsms: int, seconds: float) -> Fraction:
        """The dollars of just these seconds."""
        return self.claim.value * hsms * round(seconds * 1000) / (_HOUR * 1000)


def rate(region: str) -> Rate:
    """The price in a region."""
    catalogue = load("current")
    found = catalogue.tiers("aws_cloudhsm", "hsm", region)
    return Rate(found[0], here=True) if found else Rate(catalogue.tiers("aws_cloudhsm", "hsm", None)[0], here=False)


def so_far(record: Record, now: int) -> Fraction:
    """What a run has cost at most: as if every HSM had been there since the first one was asked for."""
    if not record.first_hsm_at:
        return rate(record.region).of(0, 0)
    until = record.ended_at or now
    return rate(record.region).of(record.wanted.hsms, until - record.first_hsm_at)


def at_the_end(record: Record) -> Fraction:
    """What it will have cost when the teardown has come; the whole of it, had the first HSM been there at once."""
    until = record.ended_at or record.ends_at
    return rate(record.region).of(record.wanted.hsms, until - (record.first_hsm_at or record.begun_at))
