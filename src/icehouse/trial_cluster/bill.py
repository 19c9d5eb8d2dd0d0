"""What a run costs, by the planner's catalogue: every started hour of every HSM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from icehouse.planner.reading import load

if TYPE_CHECKING:
    from fractions import Fraction

    from icehouse.planner.catalogue import Claim
    from icehouse.trial_cluster.record import Record

_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of an HSM's hour; where the catalogue has none for the region, it is not of `here`."""

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


def so_far(record: Record, now: int, *, gone: bool = False) -> Fraction:
    """What a run has cost at most: as if every HSM had been there since the first one was asked for.

    `gone` says that AWS has nothing of it any more: whatever ended it, it cost nothing after its time.
    """
    if not record.first_hsm_at:
        return rate(record.region).of(0, 0)
    until = record.ended_at or (min(now, record.ends_at) if gone else now)
    return rate(record.region).of(_hsms(record), until - record.first_hsm_at)


def at_the_end(record: Record, now: int = 0, *, gone: bool = False) -> Fraction:
    """What it will have cost when the teardown has come; the whole of it, had the first HSM been there at once.

    A run whose time is over and that is still there has cost more by now.
    """
    if gone and not record.first_hsm_at:
        return rate(record.region).of(0, 0)
    until = record.ended_at or (record.ends_at if gone else max(now, record.ends_at))
    return rate(record.region).of(_hsms(record), until - (record.first_hsm_at or record.begun_at))


def _hsms(record: Record) -> int:
    """How many HSMs to count: those that were agreed to, and every one that was made again since."""
    return record.wanted.hsms + len(record.gone)
