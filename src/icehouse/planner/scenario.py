"""A scenario: how many users there are, what they do, and what is asked of the HSM."""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction

from icehouse.errors import RequestError

RECORDS_PER_DATA_KEY = 1024
"""The product's own bound; fewer is a choice, more is refused."""
MOST_USERS = 10**9
MONTHS_PER_YEAR = 12
HOURS_PER_MONTH = 730
"""A twelfth of 365 days, so that "one a day" and "by the hour" mean the same month."""
SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600

_MOST_PER_YEAR = 10**7
_MOST_COUNT = 10**9
_MOST_VERSIONS = 100


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a vault is to do. Counts are whole numbers; rates are exact fractions."""

    users: int = 1000
    signatures_per_user_year: Fraction = Fraction(12)
    rotations_per_user_year: Fraction = Fraction(1)
    creations_per_month: int = 0
    """Users created in this month, a page at a time."""
    enrolments_per_month: int | None = None
    """Devices that claim their key in this month; None for as many as there are creations."""
    checkpoints_per_month: int = 0
    """Signatures by the audit key; with any, there is one."""
    records_per_data_key: int = RECORDS_PER_DATA_KEY
    buckets: int = 0
    """Hierarchical only; 0 for one node per user."""
    cache_keys: int = 256
    """How many opened data keys or nodes a process keeps; 0 for none."""
    cache_hit_rate: Fraction = Fraction(0)
    """The share of ceremonies that find their data key open already; 0 is the dearest case."""
    hsms: int | None = None
    """HSMs in the cluster, or devices; None for the fewest that the provider's limits allow."""
    region: str | None = None
    key_versions: int = 1
    """Versions of every key that are kept enabled."""
    backup_copies: int = 0
    """Further copies of every key or device. Clusters by the hour keep backups at no charge of their own."""
    peak_factor: Fraction = Fraction(10)
    """How much busier the busiest second is than the average one."""
    device_months: int = 36
    """Over how many months a device that was bought is written off."""
    hsm_rate: Fraction | None = None
    """Operations a second, where the reader measured them; None for what the catalogue knows."""
    software_until: int | None = None
    """Up to how many users a module without hardware will do; None for the catalogue's limit."""

    def __post_init__(self) -> None:
        for name, (least, most) in _BOUNDS.items():
            _check(name, getattr(self, name), least, most)


_BOUNDS: dict[str, tuple[int, int]] = {
    "users": (1, MOST_USERS),
    "signatures_per_user_year": (0, _MOST_PER_YEAR),
    "rotations_per_user_year": (0, _MOST_PER_YEAR),
    "creations_per_month": (0, MOST_USERS),
    "enrolments_per_month": (0, MOST_USERS),
    "checkpoints_per_month": (0, _MOST_COUNT),
    "records_per_data_key": (1, RECORDS_PER_DATA_KEY),
    "buckets": (0, MOST_USERS),
    "cache_keys": (0, 10**6),
    "cache_hit_rate": (0, 1),
    "hsms": (1, 1000),
    "key_versions": (1, _MOST_VERSIONS),
    "backup_copies": (0, _MOST_VERSIONS),
    "peak_factor": (1, 10**6),
    "device_months": (1, 1200),
    "hsm_rate": (1, 10**9),
    "software_until": (0, MOST_USERS),
}
_OPTIONAL = frozenset({"enrolments_per_month", "hsms", "hsm_rate", "software_until"})
_FRACTIONS = frozenset(field.name for field in fields(Scenario) if "Fraction" in str(field.type))


def _check(name: str, value: object, least: int, most: int) -> None:
    words = name.replace("_", " ")
    if value is None and name in _OPTIONAL:
        return
    exact = (int, Fraction) if name in _FRACTIONS else (int,)
    if isinstance(value, bool) or not isinstance(value, exact):
        kind = "a whole number or a fraction" if name in _FRACTIONS else "a whole number"
        msg = f"{words} must be {kind}, not {value!r}"
        raise RequestError(msg)
    if not least <= value <= most:
        msg = f"{words} must be between {least:,} and {most:,}, not {shown(value)}"
        raise RequestError(msg)


def shown(value: Fraction | int) -> str:
    """A number as people read it."""
    return f"{int(value):,}" if value == int(value) else f"{float(value):,.6g}"


def fraction(name: str, text: str) -> Fraction:
    """The exact number that a text spells; raises `RequestError`."""
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        msg = f"{name} must be a number, not {text!r}"
        raise RequestError(msg) from None
