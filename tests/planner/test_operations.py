"""The operations that the planner predicts are those that the simulated module counts."""

from dataclasses import dataclass
from fractions import Fraction

import pytest

from icehouse import Device
from icehouse.planner import Choice, Custody, Scenario
from icehouse.planner.reading import load
from icehouse.planner.verdict import verdict
from icehouse.service import FrostService
from icehouse.vault.opening import create_vault
from icehouse.vault.settings import Settings

USERS = 10_000
# Of these users so many enrol, sign and rotate: enough to count, few enough to wait for.
ENROLMENTS, SIGNATURES, ROTATIONS = 40, 60, 25
TOLERANCE = Fraction(1, 100)


# Every custody, and hierarchical with nodes that users share; direct is made user by user, and fewer will do.
ARRANGEMENTS = {
    "hybrid": (Custody.HYBRID, 0, USERS),
    "direct": (Custody.DIRECT, 0, USERS // 10),
    "hierarchical": (Custody.HIERARCHICAL, 0, USERS),
    "hierarchical-buckets": (Custody.HIERARCHICAL, 10, USERS),
}


@pytest.fixture(params=ARRANGEMENTS.values(), ids=ARRANGEMENTS)
def arrangement(request):
    return request.param


@dataclass
class Run:
    """A service whose operations are counted from where the vault was made."""

    service: FrostService

    def counted(self):
        kinds = self.service.hsm.operations.by_kind()
        return {name: kinds[name] - self.before[name] for name in ("create_key", "wrap", "unwrap", "mac", "sign")}

    def __post_init__(self):
        self.before = self.service.hsm.operations.by_kind()


def run(custody, buckets, users, *, cache_keys):
    """Create users; some of them enrol, sign and rotate."""
    settings = Settings("sqlite://", "simulated:", cache_keys=cache_keys)
    found = Run(FrostService(create_vault(settings, custody.value, buckets=buckets)))
    names = [f"user {number}" for number in range(users)]
    found.service.create_users(names)
    devices = [Device.create(name) for name in names[:ENROLMENTS]]
    for device in devices:
        device.enrol(found.service, found.service.enrolment_code(device.user))
    for number in range(SIGNATURES):
        devices[number % ENROLMENTS].sign(found.service, b"a message")
    for number in range(ROTATIONS):
        devices[number].rotate(found.service)
    return found.counted()


def predicted(custody, buckets, users, *, cache_keys, cache_hit_rate):
    scenario = Scenario(
        users=users,
        buckets=buckets,
        creations_per_month=users,
        enrolments_per_month=ENROLMENTS,
        signatures_per_user_year=Fraction(12 * SIGNATURES, users),
        rotations_per_user_year=Fraction(12 * ROTATIONS, users),
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


def test_without_a_cache_the_predicted_operations_are_the_counted_ones(arrangement):
    counted = run(*arrangement, cache_keys=0)

    assert agree(counted, predicted(*arrangement, cache_keys=0, cache_hit_rate=Fraction(0)))


def test_with_everything_in_the_cache_only_what_is_made_is_asked_for(arrangement):
    counted = run(*arrangement, cache_keys=USERS)

    assert agree(counted, predicted(*arrangement, cache_keys=USERS, cache_hit_rate=Fraction(1)))
