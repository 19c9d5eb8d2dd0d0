"""What was asked for: how many HSMs, of what kind, where, and for how long."""

from __future__ import annotations

import re
from dataclasses import dataclass

from icehouse.errors import RequestError

CREATION = 20 * 60
"""Seconds until the first HSM answers.

The original strategy says that a cluster takes "~15 minutes to provision"; five more for initialising it by hand.
"""
LONGEST = 7 * 24 * 3600
TYPE = "hsm2m.medium"
MODES = ("FIPS", "NON_FIPS")
MOST_HSMS = 28
"""The most that one cluster may have (AWS CloudHSM user guide, quotas)."""

_TTL = re.compile(r"(?:([0-9]{1,3})d)?(?:([0-9]{1,4})h)?(?:([0-9]{1,5})m)?", re.ASCII)
_SUBNET = re.compile(r"subnet-[0-9a-f]{8,17}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A cluster as it was asked for. `ttl` is in seconds. Raises `RequestError`."""

    ttl: int
    subnets: tuple[str, ...]
    hsms: int = 2
    hsm_type: str = TYPE
    mode: str = "FIPS"

    def __post_init__(self) -> None:
        if not 1 <= self.hsms <= MOST_HSMS:
            msg = f"a cluster has 1 to {MOST_HSMS} HSMs, not {self.hsms}"
            raise RequestError(msg)
        if self.hsm_type == "hsm1.medium":
            msg = "hsm1.medium can no longer be created (since April 2025)"
            raise RequestError(msg, hint=f"use --type {TYPE}")
        if self.hsm_type != TYPE:
            msg = f"the HSM type must be {TYPE}, not {self.hsm_type!r}"
            raise RequestError(msg)
        if self.mode not in MODES:
            msg = f"the mode must be one of {', '.join(MODES)}, not {self.mode!r}"
            raise RequestError(msg)
        self._check_ttl()
        self._check_subnets()

    def _check_ttl(self) -> None:
        if not CREATION < self.ttl <= LONGEST:
            msg = (
                f"--ttl must be longer than the {CREATION // 60} minutes that a cluster takes to be made, "
                f"and at most {LONGEST // 86400} days, not {self.ttl // 60} minutes"
            )
            raise RequestError(msg)

    def _check_subnets(self) -> None:
        for subnet in self.subnets:
            if not _SUBNET.fullmatch(subnet):
                msg = f"a subnet is named like subnet-0123456789abcdef0, not {subnet!r}"
                raise RequestError(msg)
        if len(set(self.subnets)) != len(self.subnets):
            msg = "each subnet must be named once"
            raise RequestError(msg)
        needed = min(self.hsms, 2)
        if len(self.subnets) < needed:
            msg = f"{self.hsms} HSMs need at least {needed} subnets, each in another zone, not {len(self.subnets)}"
            raise RequestError(msg, hint="name each with --subnet")


def seconds(text: str) -> int:
    """A duration like `2h`, `90m` or `1d12h`, in seconds; raises `RequestError`."""
    found = _TTL.fullmatch(text.strip())
    if not text.strip() or found is None:
        msg = f"a duration is written like 2h, 90m or 1d12h, not {text!r}"
        raise RequestError(msg)
    days, hours, minutes = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60
