"""Sessions that get lost, calls that fail, stall and are throttled: no wrong answer, and no session left behind."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest

from conformance.hsm.patience import eventually
from icehouse._core import DataKey, same_secret
from icehouse.errors import HsmUnavailableError
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


def asked(work):
    """A call that every fifth failure strikes may run out of its own repetitions; that is worth asking again."""
    for _ in range(3):
        with suppress(HsmUnavailableError):
            return work()
    return work()


def test_keys_are_made_and_destroyed_once_though_every_fifth_call_fails(hsm, shim):
    shim.weather.failing = 0.2
    kinds = [list(KeyKind)[number % 3] for number in range(4)]
    made = [asked(lambda n=n, kind=kind: hsm.create_key(f"key-{n}", kind)) for n, kind in enumerate(kinds)]
    assert hsm.keys("") == made

    # Of two keys of one label, no attribute is told.
    assert all(hsm.attributes(key.label)["CKA_LOCAL"] for key in made)
    for key in made[1:]:
        asked(lambda key=key: hsm.destroy_key(key))
    assert hsm.keys("") == made[:1]
