"""The operations that the planner predicts are those that the simulated module counts."""

from dataclasses import dataclass
from fractions import Fraction

import pytest

from icehouse import Device
from icehouse.errors import RequestError
from icehouse.opening import check_custody, create_vault
from icehouse.planner import Choice, Custody, Scenario
from icehouse.planner.coefficients import CUSTODIES
from icehouse.planner.reading import load
from icehouse.planner.verdict import verdict
from icehouse.service import FrostService
from icehouse.settings import Settings

USERS = 10_000
# Of ten thousand users so many enrol, sign and rotate: enough to count, few enough to wait for.
ENROLMENTS, SIGNATURES, ROTATIONS = 40, 60, 25
TOLERANCE = Fraction(1, 100)


def offered():
    """The custodies that a vault can be made with."""
    found = []
    for custody in CUSTODIES:
        try:
            found.append(Custody(check_custody(custody.value)))
        except RequestError:
            continue
    return found


@dataclass
class Run:
    """A service whose operations are counted from where the vault was made."""

    service: FrostService

    def counted(self):
        kinds = self.service.hsm.operations.by_kind()
        return {name: kinds[name] - self.before[name] for name in ("create_key", "wrap", "unwrap", "mac", "sign")}

    def __post_init__(self):
        self.before = self.service.hsm.operations.by_kind()


def run(custody, *, cache_keys):
    """Create ten thousand users; some of them enrol, sign and rotate."""
    vault = create_vault(Settings("sqlite://", "simulated:", cache_keys=cache_keys), custody.value)
    found = Run(FrostService(vault))
    names = [f"user {number}" for number in range(USERS)]
    found.service.create_users(names)
    devices = [Device.create(name) for name in names[:ENROLMENTS]]
    for device in devices:
        device.enrol(found.service, found.service.enrolment_code(device.user))
    for number in range(SIGNATURES):
        devices[number % ENROLMENTS].sign(found.service, b"a message")
    for number in range(ROTATIONS):
        devices[number].rotate(found.service)
    return found.counted()


def predicted(custody, *, cache_keys, cache_hit_rate):
    scenario = Scenario(
        users=USERS,
        creations_per_month=USERS,
        enrolments_per_month=ENROLMENTS,
        signatures_per_user_year=Fraction(12 * SIGNATURES, USERS),
        rotations_per_user_year=Fraction(12 * ROTATIONS, USERS),
        cache_keys=cache_keys,
        cache_hit_rate=cache_hit_rate,
    )
    return verdict(load("current"), Choice("simulated", custody), scenario).operations


def agree(counted, expected):
    """Within 1 % in all, and kind by kind within 1 % or the one data key that is begun and not yet full."""
    for kind, number in expected.items():
        assert abs(counted[kind] - number) <= max(1, number * TOLERANCE), (kind, counted, expected)

    total = sum(expected.values())
    return abs(sum(counted.values()) - total) <= max(1, total * TOLERANCE)


@pytest.mark.parametrize("custody", offered())
def test_without_a_cache_the_predicted_operations_are_the_counted_ones(custody):
    counted = run(custody, cache_keys=0)

    assert agree(counted, predicted(custody, cache_keys=0, cache_hit_rate=Fraction(0)))


def test_with_every_data_key_in_the_cache_hybrid_asks_only_for_fresh_data_keys():
    counted = run(Custody.HYBRID, cache_keys=256)

    assert agree(counted, predicted(Custody.HYBRID, cache_keys=256, cache_hit_rate=Fraction(1)))
