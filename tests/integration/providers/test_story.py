"""From nothing to a user's signature on every provider, while it has a bad day."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from conformance.hsm.adapters import Can
from icehouse import Device, create_hsm_frost
from icehouse.errors import HsmUnavailableError, RefusedError
from integration.providers.watch import watch

BAD_DAY = {"failing": 0.05, "latency": 0.02, "per_second": 500}
DEADLINE = 5
"""In seconds; what every provider that knows one takes by itself."""
MOST_OPERATIONS = 12
"""That a hybrid vault asks of its HSM, however many of a thousand users come."""


def patiently(call):
    """The answer of a call that is put off for a while, as an application would wait for it."""
    for _ in range(20):
        try:
            return call()
        except HsmUnavailableError:
            pass
        except RefusedError as refusal:
            if refusal.reason != "unavailable":
                raise
        time.sleep(0.02)
    return call()


def live(frost, user: str) -> None:
    """Enrol, rotate and sign, and have an unrelated library verify."""
    device = Device.create(user)
    token = patiently(lambda: frost.enrolment_code(user))
    patiently(lambda: device.enrol(frost, token))
    while device.epoch < 2:
        patiently(lambda: device.resolve(frost) or device.rotate(frost))
    signature = patiently(lambda: device.sign(frost, b"message"))
    public_key = patiently(lambda: frost.get_shards(user)).public_key
    Ed25519PublicKey.from_public_bytes(public_key).verify(signature, b"message")


@pytest.mark.needs(Can.STORM)
@pytest.mark.parametrize(("custody", "many"), [("hybrid", 1000), ("hierarchical", 50), ("direct", 20)])
def test_on_a_bad_day_every_user_is_made_enrolled_signs_and_rotates(adapter, custody, many, monkeypatch):
    if adapter.name == "simulated-in-memory":
        many //= 10  # it is the same module as the one in a file
    adapter.storm(**BAD_DAY)
    seen = watch(monkeypatch, adapter.uri.partition(":")[0])
    users = [f"user-{number}" for number in range(many)]
    with patiently(lambda: create_hsm_frost(*adapter.provider, custody=custody)) as frost:
        patiently(lambda: frost.create_users(users))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda user: live(frost, user), users))

        assert {patiently(lambda user=user: frost.get_shards(user)).epoch for user in users} == {2}
        assert seen.longest < DEADLINE
        assert seen.failed + adapter.struck() > 0
        if custody == "hybrid":
            assert frost.hsm.operations.total <= MOST_OPERATIONS + seen.failed
