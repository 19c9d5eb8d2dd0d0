"""What it takes to move everything under new root keys, or to another choice."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from icehouse.planner.coefficients import TABLE, USER_KEY_WRAPS, Custody
from icehouse.planner.making import seconds

if TYPE_CHECKING:
    from icehouse.planner.catalogue import Catalogue
    from icehouse.planner.choice import Choice
    from icehouse.planner.scenario import Scenario

_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Rewrap:
    """HSM operations at the old and at the new root key; `seconds` is None where no rate is known.

    `devices` counts the users whose devices must take part; `possible` is False where the root key can never move.
    """

    old: int
    new: int
    created: int
    seconds: Fraction | None
    devices: int = 0
    possible: bool = True

    @property
    def operations(self) -> int:
        """Operations of all kinds."""
        return self.old + self.new + self.created

    @property
    def minutes(self) -> Fraction | None:
        """How long it takes at the slower side's rate."""
        return None if self.seconds is None else self.seconds / _MINUTE


def data_keys(custody: Custody, scenario: Scenario) -> int:
    """Data keys that hold the server's shares: the fewest there can be, which a reseal brings about."""
    if custody is Custody.HYBRID:
        return -(-scenario.users // scenario.records_per_data_key)
    return scenario.users if custody is Custody.DIRECT else 0


def rate(catalogue: Catalogue, provider: str, scenario: Scenario) -> Fraction | None:
    """Operations a second at a provider: what was measured, else its quota, else what the catalogue knows."""
    if scenario.hsm_rate is not None:
        return Fraction(scenario.hsm_rate)
    for item in ("operations_per_second", "throughput"):
        limit = catalogue.limit(provider, item)
        if limit is not None:
            return limit.value
    return None


def rewrap(catalogue: Catalogue, choice: Choice, scenario: Scenario) -> Rewrap:
    """The same custody under new versions of its root keys, at the same provider, when every device is enrolled."""
    table = TABLE[choice.custody]
    keys = data_keys(choice.custody, scenario)
    if not table.rewrap_per_data_key:
        return Rewrap(0, 0, 0, None, possible=False)
    created = _created(choice, scenario)
    operations = keys * table.rewrap_per_data_key
    speed = rate(catalogue, choice.provider, scenario)
    at_rate = None if speed is None else (operations + created) / speed
    return Rewrap(keys, operations - keys, created, _longer(at_rate, seconds(catalogue, choice.provider, created)))


def move(catalogue: Catalogue, before: Choice, after: Choice, scenario: Scenario) -> Rewrap:
    """From one choice to another with the same users and the same public keys.

    Between two of one custody the data keys are rewrapped. Between two custodies every share is opened and sealed
    anew. Into or out of `hierarchical` every device must rotate, because shares follow from the root key there.
    """
    old, new = TABLE[before.custody], TABLE[after.custody]
    created = _created(after, scenario)
    if before.custody is Custody.ONE_KEY or after.custody is Custody.ONE_KEY:
        # The original's arrangement keeps nothing that could be moved: every user gets a new key.
        return _timed(catalogue, before, after, scenario, (0, 0, created, scenario.users))
    if Custody.HIERARCHICAL in {before.custody, after.custody}:
        opened, sealed = scenario.users * old.rotate_touches, _wraps(after, scenario)
        return _timed(catalogue, before, after, scenario, (opened, sealed, created, scenario.users))
    if before.custody is after.custody:
        keys = data_keys(before.custody, scenario)
        return _timed(catalogue, before, after, scenario, (keys, keys * (new.rewrap_per_data_key - 1), created, 0))
    opened, sealed = data_keys(before.custody, scenario), _wraps(after, scenario)
    return _timed(catalogue, before, after, scenario, (opened, sealed, created, 0))


def _wraps(after: Choice, scenario: Scenario) -> int:
    if after.custody is Custody.HIERARCHICAL:
        return scenario.users
    return data_keys(after.custody, scenario) * USER_KEY_WRAPS


def _created(after: Choice, scenario: Scenario) -> int:
    table = TABLE[after.custody]
    roots = (table.server_root is not None) + (table.claim_root is not None)
    return roots + table.keys_per_user * scenario.users


def _timed(
    catalogue: Catalogue, before: Choice, after: Choice, scenario: Scenario, counts: tuple[int, int, int, int]
) -> Rewrap:
    old, new, created, devices = counts
    made = seconds(catalogue, after.provider, created)
    rates = (rate(catalogue, before.provider, scenario), rate(catalogue, after.provider, scenario))
    at_rate: Fraction | None = None
    if None not in rates:
        # The two sides work at the same time, and the slower one decides.
        at_rate = max(
            (Fraction(work) / speed for work, speed in zip((old, new + created), rates, strict=True) if speed),
            default=None,
        )
    return Rewrap(old, new, created, _longer(at_rate, made), devices)


def _longer(at_rate: Fraction | None, made: Fraction | None) -> Fraction | None:
    """Keys are made beside the operations: whichever takes longer decides; without a rate it is not known."""
    return None if at_rate is None else max(at_rate, made or Fraction(0))
