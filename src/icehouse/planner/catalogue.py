"""Prices and limits as claims: each with a unit, a source, a date and how far it is to be trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from icehouse.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from fractions import Fraction

    from icehouse.planner.coefficients import KeyKind

ANYWHERE = "any"

PRICE_UNITS: dict[str, frozenset[str]] = {
    "flat": frozenset({"month"}),
    "hsm": frozenset({"hsm_hour"}),
    "pool": frozenset({"pool_hour"}),
    "instance": frozenset({"hour"}),
    "device": frozenset({"device_once"}),
    "key.aes": frozenset({"key_month", "version_month"}),
    "key.hmac": frozenset({"key_month", "version_month"}),
    "key.rsa": frozenset({"key_month", "version_month"}),
    "key.ec": frozenset({"key_month", "version_month"}),
    "rotation": frozenset({"key_month"}),
    "operations.symmetric": frozenset({"10k_ops", "10k_requests"}),
    "operations.asymmetric": frozenset({"10k_ops", "10k_requests"}),
    # Figures that a catalogue states and no monthly cost needs.
    "key.software": frozenset({"key_month", "version_month"}),
    "hsm.hsm1": frozenset({"hsm_hour"}),
    "hsm.trial": frozenset({"hsm_hour"}),
    "device.plain": frozenset({"device_once"}),
    "admin": frozenset({"nothing"}),
    "licence": frozenset({"nothing"}),
}
"""Every item that may have a price, with the units it may be stated in."""

LIMIT_UNITS: dict[str, str] = {
    "keys": "keys",
    "keys.asymmetric": "keys",
    "operations_per_second": "operations/s",
    "operations_per_second.asymmetric": "operations/s",
    "operations_per_second.mac": "operations/s",
    "message_bytes": "bytes",
    "mac_bytes": "bytes",
    "minimum_hsms": "hsms",
    "sessions": "sessions",
    "hmac_key_bytes": "bytes",
    "max_users": "users",
    "free_operations": "requests_month",
    "paid_rotations": "rotations",
    "throughput": "operations/s",
    "creations_per_second": "keys/s",
    "writes_per_minute": "writes/minute",
    "reads_per_minute": "reads/minute",
}
"""Every limit, with its unit."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What someone says a figure is. `above` is where a price's tier begins: it holds for what exceeds that many."""

    provider: str
    item: str
    unit: str
    value: Fraction
    source: str
    as_of: str
    confidence: str
    default: bool
    region: str = ANYWHERE
    above: int = 0
    up_to: int | None = None
    note: str = ""

    @property
    def subject(self) -> tuple[str, str, str, int]:
        """What the claim is about: of all that are about the same, one is the default."""
        return self.provider, self.item, self.region, self.above

    def __str__(self) -> str:
        return f"{self.item} ({self.source}, {self.as_of})"


@dataclass(frozen=True, slots=True)
class Provider:
    """What kind of HSM a provider offers. `driver` is the URI scheme icehouse opens it with; empty: none."""

    name: str
    title: str
    driver: str
    cloud: bool
    hardware: bool
    single_tenant: bool
    fips: str
    kinds: frozenset[KeyKind]
    source: str
    as_of: str
    confidence: str
    note: str = ""
    incomplete: str = ""
    """What of its price is not known; such a provider is shown and never recommended."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Providers, prices and limits. Made by `reading`; every look-up goes to the default claim."""

    name: str
    providers: dict[str, Provider]
    prices: tuple[Claim, ...]
    limits: tuple[Claim, ...]

    def provider(self, name: str) -> Provider:
        """A provider by name, or `RequestError`."""
        if name not in self.providers:
            msg = f"provider must be one of {', '.join(self.providers)}, not {name!r}"
            raise RequestError(msg)
        return self.providers[name]

    @property
    def regions(self) -> list[str]:
        """The regions that any price is stated for."""
        return sorted({claim.region for claim in self.prices if claim.region != ANYWHERE})

    def check_region(self, region: str | None) -> None:
        """Raise `RequestError` for a region that no price names."""
        if region is not None and region not in self.regions:
            msg = f"region must be one of {', '.join(self.regions) or '(none is named)'}, not {region!r}"
            raise RequestError(msg)

    def tiers(self, provider: str, item: str, region: str | None) -> list[Claim]:
        """The default claims for an item's price, by tier; empty where there is none for this region."""
        found = [c for c in self.prices if c.default and (c.provider, c.item) == (provider, item)]
        here = [claim for claim in found if region in {None, claim.region}]
        chosen = here or [claim for claim in found if claim.region == ANYWHERE]
        # Where no region is asked for and several have a price, the first that the catalogue states counts.
        first = {claim.above: claim for claim in reversed(chosen)}
        return [first[above] for above in sorted(first)]

    def limit(self, provider: str, item: str) -> Claim | None:
        """The default claim for a limit."""
        return next((c for c in self.limits if c.default and (c.provider, c.item) == (provider, item)), None)

    def has_region(self, provider: str, region: str | None) -> bool:
        """Whether the provider's prices hold in a region: those that name none hold anywhere."""
        own = {claim.region for claim in self.prices if claim.provider == provider}
        return region is None or not own or ANYWHERE in own or region in own

    def with_price(self, claim: Claim, value: Fraction) -> Catalogue:
        """The same catalogue with another value for one claim, to ask what then."""
        changed = replace(claim, value=value)
        return replace(self, prices=tuple(changed if each == claim else each for each in self.prices))

    def with_default(self, claim: Claim) -> Catalogue:
        """The same catalogue with another of its claims as the default."""
        return replace(self, prices=tuple(chosen(self.prices, [claim])))


def chosen(claims: Iterable[Claim], defaults: Iterable[Claim]) -> list[Claim]:
    """The claims, with these as the defaults of their subjects."""
    by_subject = {claim.subject: claim for claim in defaults}
    return [
        replace(claim, default=claim == by_subject[claim.subject]) if claim.subject in by_subject else claim
        for claim in claims
    ]
