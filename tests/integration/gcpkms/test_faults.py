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
from integration.gcpkms.calls import AUDIT, CALLS, CONTEXT, KEK, MASTER, impatient
from servers.gcpkms import Fault
from servers.gcpkms_keys import State


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.DEADLINE, Fault.EXHAUSTED, Fault.LOST_ANSWER])
def test_every_call_that_fails_in_passing_is_repeated_and_done_once(server, hsm, fault):
    every = [*CALLS, "CreateCryptoKey", "DestroyCryptoKeyVersion", "GetCryptoKey", "ListCryptoKeys"]
    every += ["CreateCryptoKeyVersion", "UpdateCryptoKeyPrimaryVersion", "ListCryptoKeyVersions"]
    server.weather.schedule = {(method, 1): fault for method in every}
    for key in (KEK, MASTER, AUDIT):
        hsm.create_key(key.label, key.kind)
    secret = DataKey.random()

    assert same_secret(hsm.unwrap(KEK, hsm.wrap(KEK, secret, CONTEXT), CONTEXT), secret)
    for method in ("MacSign", "AsymmetricSign", "GetPublicKey"):
        CALLS[method](hsm, b"")
    assert hsm.keys("") == [AUDIT, KEK, MASTER]
    hsm.destroy_key(KEK)
    hsm.create_key("kek", KeyKind.AES)
    assert server.keys.version("kek", 2).told.state == State.ENABLED
    assert set(every) <= set(server.calls)
    with pytest.raises(IndexError):
        server.keys.version("kek", 3)


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
    with closing(open_hsm(f"{server.uri}&concurrency=2")) as hsm, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: hsm.wrap(KEK, DataKey.random(), CONTEXT), range(24)))

    assert server.most_at_once == 2


def silent():
    """A port that takes connections and never says a word."""
    listener = socket.create_server(("127.0.0.1", 0))
    return closing(listener), listener.getsockname()[1]


@pytest.mark.parametrize("kind", ["closed", "silent"])
def test_a_dead_endpoint_is_reported_before_the_deadline_of_five_seconds(kind):
    holder, port = silent()
    with holder:
        if kind == "closed":
            holder.thing.close()
        begun = time.monotonic()
        with pytest.raises(HsmUnavailableError, match="within 5 seconds"):
            open_hsm(f"gcpkms://projects/p-1/locations/europe-west3/keyRings/ring?endpoint=127.0.0.1:{port}&insecure=1")

        assert time.monotonic() - begun < 5
