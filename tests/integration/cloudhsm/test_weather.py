"""Sessions that get lost, calls that fail, stall and are throttled: no wrong answer, and no session left behind."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from conformance.hsm.adapters import Pkcs11InWeather
from conformance.hsm.patience import eventually
from icehouse import Device, create_hsm_frost
from icehouse._core import DataKey, same_secret
from icehouse.hsm import KeyKind

CONTEXT = bytes(32)
THREADS = 8
SECONDS = 4


def work(hsm, keys, mac, until) -> int:
    """Use every kind of key until then; how often."""
    turns = 0
    while time.monotonic() < until:
        secret, context = DataKey.random(), bytes([turns % 256]) * 32
        wrapped = eventually(partial(hsm.wrap, keys["aes"], secret, context))
        assert same_secret(eventually(partial(hsm.unwrap, keys["aes"], wrapped, context)), secret)
        assert same_secret(eventually(lambda: hsm.mac(keys["hmac"], b"message")), mac)
        assert len(eventually(lambda: hsm.sign(keys["ecdsa"], bytes(32)))) == 64
        turns += 1
    return turns


def in_threads(hsm, keys, seconds) -> int:
    mac, until = hsm.mac(keys["hmac"], b"message"), time.monotonic() + seconds
    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(lambda _: work(hsm, keys, mac, until), range(THREADS)))


@pytest.fixture
def keys(hsm):
    return {kind: hsm.create_key(f"key-{kind}", kind) for kind in KeyKind}


def test_sessions_that_drop_under_eight_threads_cost_no_answer_and_leak_nothing(hsm, shim, keys):
    shim.weather.drop_every = 400
    assert in_threads(hsm, keys, SECONDS) >= THREADS

    assert shim.weather.dropped >= 2
    assert shim.weather.largest_pool <= 16
    hsm.close()
    assert shim.open_sessions == 0


def test_many_threads_share_few_sessions(hsm, shim, keys):
    shim.weather.latency = 0.002
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda _: hsm.wrap(keys["aes"], DataKey.random(), CONTEXT), range(128)))

    assert shim.weather.largest_pool <= 16
    hsm.close()
    assert shim.open_sessions == 0


def test_a_storm_is_sat_out(hsm, shim, keys):
    shim.weather.failing, shim.weather.latency = 0.05, 0.002
    shim.weather.per_second, shim.weather.burst = 2_000, 50
    assert in_threads(hsm, keys, SECONDS) >= THREADS

    assert shim.weather.failed > 0
    shim.weather.clear()
    hsm.close()
    assert shim.open_sessions == 0


def test_keys_are_made_and_destroyed_once_though_every_fifth_call_fails(hsm, shim):
    shim.weather.failing = 0.2
    made = [hsm.create_key(f"key-{number}", kind) for number in range(4) for kind in (list(KeyKind)[number % 3],)]
    assert hsm.keys("") == made

    # Of two keys of one label, no attribute is told.
    assert all(hsm.attributes(key.label)["CKA_LOCAL"] for key in made)
    for key in made[1:]:
        hsm.destroy_key(key)
    assert hsm.keys("") == made[:1]


def storm(weather) -> None:
    weather.failing, weather.latency, weather.per_second, weather.burst = 0.05, 0.005, 500, 50


def live(frost, users) -> None:
    """Every user enrols, rotates and signs."""
    frost.create_users(users)

    def live_one(user: str) -> None:
        device = Device.create(user)
        device.enrol(frost, frost.enrolment_code(user))
        device.rotate(frost)
        key = Ed25519PublicKey.from_public_bytes(frost.get_shards(user).public_key)
        key.verify(device.sign(frost, b"message"), b"message")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(live_one, users))
    assert {frost.get_shards(user).epoch for user in users} == {2}


@pytest.mark.parametrize(("custody", "many"), [("hybrid", 100), ("hierarchical", 20), ("direct", 5)])
def test_users_of_a_cluster_are_made_enrol_rotate_and_sign_in_a_storm(config, shim, custody, many):
    shim.weather.hidden, shim.weather.stale = 1, 1
    storm(shim.weather)
    with create_hsm_frost("aws", config, custody=custody) as frost:
        live(frost, [f"user-{number}" for number in range(many)])

    assert shim.weather.failed > 0
    assert shim.open_sessions == 0


def test_users_of_any_other_token_are_made_enrol_rotate_and_sign_in_a_storm(softhsm, tmp_path):
    plain = Pkcs11InWeather(tmp_path, lambda: softhsm)
    pin = plain.token.pin_file
    config = {"module_path": plain.module.path, "token_label": plain.token.label, "pin_source": pin}
    storm(plain.module.weather)
    with create_hsm_frost("pkcs11", config, custody="hierarchical") as frost:
        live(frost, [f"user-{number}" for number in range(20)])

    assert plain.module.weather.failed > 0
    assert plain.module.open_sessions == 0
    plain.clean()
