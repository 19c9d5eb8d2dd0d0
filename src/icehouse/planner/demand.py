"""What a scenario asks of an HSM in a month: keys of every kind and operations of every kind."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from icehouse.planner.coefficients import AUDIT, MAC_BYTES, TABLE, USER_KEY_WRAPS, WRAP_BYTES, KeyKind
from icehouse.planner.nodes import creation_nodes
from icehouse.planner.scenario import MONTHS_PER_YEAR

if TYPE_CHECKING:
    from icehouse.planner.choice import Choice
    from icehouse.planner.coefficients import Coefficients
    from icehouse.planner.curve import Curve
from icehouse.planner.scenario import Scenario

OPERATIONS = ("create_key", "wrap", "unwrap", "mac", "sign")
SYMMETRIC = ("wrap", "unwrap", "mac")
ASYMMETRIC = ("sign",)


@dataclass(frozen=True, slots=True)
class Load:
    """What users do in a month. Every count is a curve over the same numbers."""

    users: Curve
    creations: Curve
    enrolments: Curve
    signatures: Curve
    rotations: Curve

    @classmethod
    def by_users(cls, scenario: Scenario, users: Curve) -> Load:
        """The load as a function of the number of users."""
        return cls(
            users,
            users.constant(scenario.creations_per_month),
            users.constant(_enrolments(scenario)),
            users * (Fraction(scenario.signatures_per_user_year) / MONTHS_PER_YEAR),
            users * (Fraction(scenario.rotations_per_user_year) / MONTHS_PER_YEAR),
        )

    @classmethod
    def by_signatures(cls, scenario: Scenario, signatures: Curve) -> Load:
        """The load as a function of all users' signatures in a month."""
        users = signatures.constant(scenario.users)
        return cls(
            users,
            users.constant(scenario.creations_per_month),
            users.constant(_enrolments(scenario)),
            signatures,
            users * (Fraction(scenario.rotations_per_user_year) / MONTHS_PER_YEAR),
        )


def _enrolments(scenario: Scenario) -> int:
    told = scenario.enrolments_per_month
    return scenario.creations_per_month if told is None else told


@dataclass(frozen=True, slots=True)
class Demand:
    """What one provider's HSM is asked for. Keys are counted without their versions; `fixed` ones have only one."""

    keys: dict[KeyKind, Curve]
    fixed: dict[KeyKind, Curve]
    operations: dict[str, Curve]
    wrap_bytes: int
    mac_bytes: int

    def total(self, names: tuple[str, ...]) -> Curve:
        """The operations of these kinds in a month."""
        return sum_of([self.operations[name] for name in names])

    def __add__(self, other: Demand) -> Demand:
        return Demand(
            _added(self.keys, other.keys),
            _added(self.fixed, other.fixed),
            {name: self.operations[name] + other.operations[name] for name in OPERATIONS},
            max(self.wrap_bytes, other.wrap_bytes),
            max(self.mac_bytes, other.mac_bytes),
        )


def sum_of(curves: list[Curve]) -> Curve:
    """The sum of some curves, of which there is one at least."""
    total = curves[0]
    for curve in curves[1:]:
        total += curve
    return total


def _added(one: dict[KeyKind, Curve], other: dict[KeyKind, Curve]) -> dict[KeyKind, Curve]:
    return {
        kind: one[kind] + other[kind] if kind in one and kind in other else (one.get(kind) or other[kind])
        for kind in KeyKind
        if kind in one or kind in other
    }


def demands(choice: Choice, scenario: Scenario, load: Load) -> dict[str, Demand]:
    """What a choice asks of each of its providers."""
    table = TABLE[choice.custody]
    server = _server(choice, table, scenario, load)
    if table.claim_root is None:
        return {choice.provider: server}
    claim = _claim(table, table.claim_root, scenario, load)
    if choice.claim_provider and choice.claim_provider != choice.provider:
        return {choice.provider: server, choice.claim_provider: claim}
    return {choice.provider: server + claim}


def _server(choice: Choice, table: Coefficients, scenario: Scenario, load: Load) -> Demand:
    keys: dict[KeyKind, Curve] = {}
    fixed: dict[KeyKind, Curve] = {}
    if table.keys_per_user:
        keys[choice.user_key] = load.users * table.keys_per_user
    if table.server_root is not None:
        (keys if table.root_versions else fixed)[table.server_root] = load.users.constant(1)
    if scenario.checkpoints_per_month:
        keys[AUDIT] = keys.get(AUDIT, load.users.constant(0)) + 1
    operations = _none(load)
    operations["sign"] += scenario.checkpoints_per_month
    operations["wrap"] += _server_wraps(table, scenario, load)
    operations["mac"] += load.users.constant(creation_nodes(scenario) * table.macs_per_bucket)
    operations[table.opening] += _openings(table, scenario, load)
    if table.keys_per_user and table.claim_root is not None:
        operations["create_key"] += load.creations * table.keys_per_user
        operations["wrap"] += load.creations * USER_KEY_WRAPS
    mac_bytes = MAC_BYTES[scenario.buckets != 0] if table.opening == "mac" else 0
    return Demand(keys, fixed, operations, 0 if table.opening == "mac" else WRAP_BYTES, mac_bytes)


def _claim(table: Coefficients, root: KeyKind, scenario: Scenario, load: Load) -> Demand:
    operations = _none(load)
    operations["wrap"] += _pages(scenario, load) * table.wraps_per_page.claim
    each = _per_ceremony(scenario, table.enrol_touches.claim, table.enrol_opens.claim)
    operations["unwrap"] += load.enrolments * each
    return Demand({root: load.users.constant(1)}, {}, operations, WRAP_BYTES, 0)


def _none(load: Load) -> dict[str, Curve]:
    return {name: load.users.constant(0) for name in OPERATIONS}


def _pages(scenario: Scenario, load: Load) -> Curve:
    return (load.creations * Fraction(1, scenario.records_per_data_key)).ceil()


def _server_wraps(table: Coefficients, scenario: Scenario, load: Load) -> Curve:
    """Fresh data keys: one per page of creations, one whenever claims and rotations filled the last one."""
    offers = (load.enrolments + load.rotations) * table.slots_per_offer
    filled = (offers * Fraction(1, scenario.records_per_data_key)).ceil()
    return _pages(scenario, load) * table.wraps_per_page.server + filled


def _openings(table: Coefficients, scenario: Scenario, load: Load) -> Curve:
    enrol = _per_ceremony(scenario, table.enrol_touches.server, table.enrol_opens.server)
    sign = _per_ceremony(scenario, table.sign_touches, table.sign_opens)
    rotate = _per_ceremony(scenario, table.rotate_touches, table.rotate_opens)
    return load.enrolments * enrol + load.signatures * sign + load.rotations * rotate


def _per_ceremony(scenario: Scenario, touches: int, opens: int) -> Fraction:
    return touches * (1 - Fraction(scenario.cache_hit_rate)) if scenario.cache_keys else Fraction(opens)
