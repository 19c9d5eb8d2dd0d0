"""Calls that fail in passing, throttling, a sealed server, and endpoints that are dead."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from icehouse._core import DataKey, same_secret
from icehouse.errors import HsmUnavailableError
from icehouse.hsm import KeyKind, open_hsm
from integration.openbao.calls import AUDIT, CALLS, CONTEXT, DEAD, KEK, MASTER
from servers.openbao_front import Fault

EVERY = [*CALLS, "create", "config", "delete", "list", "mount", "capabilities"]


@pytest.mark.parametrize(
    "fault", [Fault.UNAVAILABLE, Fault.THROTTLED, Fault.STANDBY, Fault.LOST_ANSWER, Fault.CORRUPTED]
)
def test_every_call_that_fails_in_passing_is_repeated_and_done_once(place, fault):
    place.front.weather.schedule = {(name, 1): fault for name in EVERY}
    with closing(open_hsm(place.uri())) as hsm:
        for key in (KEK, MASTER, AUDIT):
            hsm.create_key(key.label, key.kind)
        secret = DataKey.random()
        assert same_secret(hsm.unwrap(KEK, hsm.wrap(KEK, secret, CONTEXT), CONTEXT), secret)
        for name in ("hmac", "sign", "read"):
            CALLS[name](hsm, b"")
        assert hsm.keys("") == [AUDIT, KEK, MASTER]
        assert all(right.granted for right in hsm.rights())
        assert hsm.destroy_key(KEK).done
        hsm.create_key("kek", KeyKind.AES)

    assert set(EVERY) <= set(place.front.calls)


@pytest.mark.usefixtures("wrapped")
def test_throttling_that_lasts_is_told_with_what_mends_it(place):
    with place.impatient() as hsm:
        place.front.weather.per_second = 0.001
        with pytest.raises(HsmUnavailableError, match="throttled") as caught:
            hsm.wrap(KEK, DataKey.random(), CONTEXT)

    assert "quota" in caught.value.hint


@pytest.mark.usefixtures("wrapped")
def test_a_real_rate_limit_of_the_server_throttles(place):
    quota = f"sys/quotas/rate-limit/{place.mount}"
    place.server.api("POST", quota, {"path": f"{place.mount}/", "rate": 0.001})
    try:
        # Opening the mount is what is served at once.
        with place.impatient() as hsm, pytest.raises(HsmUnavailableError, match=r"throttled by .*quota exceeded"):
            hsm.wrap(KEK, DataKey.random(), CONTEXT)
    finally:
        place.server.api("DELETE", quota)


def test_a_sealed_server_is_unavailable_and_goes_on_with_the_same_keys_when_it_is_unsealed(place, hsm, wrapped):
    mac = hsm.mac(MASTER, b"message")
    place.server.seal()
    try:
        with pytest.raises(HsmUnavailableError, match="sealed") as caught:
            open_hsm(place.uri(deadline=0.5))
        assert "unseal" in caught.value.hint
    finally:
        place.server.unseal()

    for call in CALLS.values():
        call(hsm, wrapped)
    assert same_secret(hsm.mac(MASTER, b"message"), mac)


def test_an_answer_that_never_comes_leaves_time_for_another(place, hsm, wrapped):
    place.front.weather.schedule = {("decrypt", 1): Fault.STALLED}
    begun = time.monotonic()
    hsm.unwrap(KEK, wrapped, CONTEXT)

    assert time.monotonic() - begun < 5


@pytest.mark.usefixtures("wrapped")
def test_no_more_calls_are_under_way_at_once_than_the_uri_says(place):
    place.front.weather.latency = 0.02
    with closing(open_hsm(place.uri(concurrency=2))) as hsm, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: hsm.wrap(KEK, DataKey.random(), CONTEXT), range(24)))

    assert place.front.most_at_once == 2


@pytest.mark.parametrize(("kind", "query", "seconds"), [("silent", "", 5), ("closed", "&deadline=2", 2)])
def test_a_dead_endpoint_is_reported_before_the_deadline_of_five_seconds_or_the_one_given(place, kind, query, seconds):
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        if kind == "closed":
            listener.close()
        begun = time.monotonic()
        with pytest.raises(HsmUnavailableError, match=f"deadline {seconds} s"):
            open_hsm(DEAD.format(port=port, token=place.token_file) + query)

        assert time.monotonic() - begun < seconds


@pytest.mark.parametrize("call", ["config", "delete"])
def test_a_deletion_whose_answer_was_lost_spares_the_key_that_another_made_since(place, call):
    with closing(open_hsm(place.uri())) as hsm, closing(open_hsm(place.uri())) as other:
        hsm.create_key("kek", KeyKind.AES)
        made, real = [], place.front.arrived

        def arrived(name):
            """As soon as the key is gone, and before anything else is asked, another makes it anew and uses it."""
            if place.front.count("delete") and not made:
                made.append("")
                other.create_key("kek", KeyKind.AES)
                made[0] = other.wrap(KEK, DataKey.random(), CONTEXT)
            return real(name)

        place.front.arrived = arrived
        place.front.weather.schedule = {(call, 1): Fault.LOST_ANSWER, ("delete", 1): Fault.LOST_ANSWER}
        hsm.destroy_key(KEK)

        other.unwrap(KEK, made[0], CONTEXT)
