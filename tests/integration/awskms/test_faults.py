"""Calls that fail in passing, throttling, and endpoints that are dead."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from icehouse._core import DataKey, same_secret
from icehouse.errors import HsmUnavailableError
from icehouse.hsm import KeyKind, open_hsm
from integration.awskms.calls import AUDIT, CALLS, CONTEXT, KEK, MASTER, impatient
from servers.awskms import Fault


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.INTERNAL, Fault.EXHAUSTED, Fault.LOST_ANSWER])
def test_every_call_that_fails_in_passing_is_repeated_and_done_once(server, hsm, fault):
    every = [*CALLS, "CreateKey", "CreateAlias", "UpdateAlias", "DescribeKey", "ListAliases", "ListKeys"]
    every += ["ScheduleKeyDeletion"]
    server.weather.schedule = {(action, server.count(action) + 1): fault for action in every}
    for key in (KEK, MASTER, AUDIT):
        hsm.create_key(key.label, key.kind)
    secret = DataKey.random()

    assert same_secret(hsm.unwrap(KEK, hsm.wrap(KEK, secret, CONTEXT), CONTEXT), secret)
    for action in ("GenerateMac", "Sign", "GetPublicKey"):
        CALLS[action](hsm, b"")
    assert hsm.keys("") == [AUDIT, KEK, MASTER]
    hsm.destroy_key(KEK)
    hsm.create_key("kek", KeyKind.AES)
    assert set(every) <= set(server.calls)
    assert len(server.living()) == 3


@pytest.mark.usefixtures("wrapped")
def test_throttling_that_lasts_is_told_with_what_mends_it(server):
    with impatient(server) as hsm:
        server.weather.per_second = 0.001
        with pytest.raises(HsmUnavailableError, match="throttled") as caught:
            hsm.wrap(KEK, DataKey.random(), CONTEXT)

    assert "quota" in caught.value.hint


@pytest.mark.usefixtures("wrapped")
def test_no_more_calls_are_under_way_at_once_than_the_uri_says(server):
    server.weather.latency = 0.02
    with closing(open_hsm(server.uri_of(concurrency=2))) as hsm, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: hsm.mac(MASTER, b"message"), range(24)))

    assert server.most_at_once == 2


@pytest.mark.parametrize("action", ["Decrypt", "DescribeKey"])
def test_a_call_that_stalls_is_given_up_within_the_deadline(server, wrapped, action):
    with impatient(server) as hsm:
        server.weather.always = {action: Fault.STALL}
        begun = time.monotonic()
        with pytest.raises(HsmUnavailableError, match=r"deadline 0.8 s"):
            hsm.unwrap(KEK, wrapped, CONTEXT)

        assert time.monotonic() - begun < 2


@pytest.mark.parametrize(("kind", "query", "seconds"), [("silent", "", 5), ("closed", "&deadline=2", 2)])
@pytest.mark.usefixtures("server")
def test_a_dead_endpoint_is_reported_before_the_deadline_of_five_seconds_or_the_one_given(kind, query, seconds):
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        if kind == "closed":
            listener.close()
        begun = time.monotonic()
        with pytest.raises(HsmUnavailableError, match=f"deadline {seconds} s"):
            open_hsm(f"awskms://eu-central-1?endpoint=127.0.0.1:{port}&insecure=1{query}")

        assert time.monotonic() - begun < seconds
