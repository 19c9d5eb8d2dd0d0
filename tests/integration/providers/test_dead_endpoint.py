"""An endpoint that is dead is reported before the deadline, whichever way it is dead, by every call."""

from __future__ import annotations

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from conformance.hsm.adapters import ADAPTERS
from conformance.hsm.patience import eventually
from icehouse._core import DataKey
from icehouse.errors import HsmUnavailableError
from icehouse.hsm import HsmKey, KeyKind, open_hsm
from servers.relay import Relay

DEADLINE = 5
"""Seconds, and what every service has where its URI says nothing else: the one figure that is promised."""
ENDPOINT = re.compile(r"127\.0\.0\.1:(\d+)")
CONTEXT = bytes(32)
SERVICES = [adapter for adapter in ADAPTERS if not adapter.name.startswith(("simulated", "pkcs11", "cloudhsm"))]


@pytest.fixture(params=SERVICES, ids=[service.name for service in SERVICES])
def service(request, tmp_path):
    made = request.param(tmp_path, lambda: None)
    yield made
    made.clean()


def at(service, port: int) -> str:
    """The service's URI with another port and the default deadline."""
    return re.sub(r"&?deadline=[\d.]+", "", ENDPOINT.sub(f"127.0.0.1:{port}", service.uri)).replace("?&", "?")


def refusing(_stack: ExitStack) -> int:
    """A port where nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


def silent(stack: ExitStack) -> int:
    """A port whose connections are accepted by the kernel and never answered."""
    return stack.enter_context(closing(socket.create_server(("127.0.0.1", 0)))).getsockname()[1]


def dropping(stack: ExitStack) -> int:
    """A port whose packets are dropped: its queue of connections is full."""
    listener = stack.enter_context(closing(socket.create_server(("127.0.0.1", 0), backlog=0)))
    for _ in range(4):
        filler = stack.enter_context(closing(socket.socket()))
        filler.setblocking(False)  # noqa: FBT003  the last ones never get in
        filler.connect_ex(listener.getsockname())
    return listener.getsockname()[1]


def refused_in_time(call) -> bool:
    begun = time.monotonic()
    with pytest.raises(HsmUnavailableError):
        call()
    return time.monotonic() - begun < DEADLINE


def test_an_endpoint_that_refuses_keeps_silent_or_drops_every_packet_is_reported_before_the_deadline(service):
    with ExitStack() as stack, ThreadPoolExecutor(3) as pool:
        uris = [at(service, kind(stack)) for kind in (refusing, silent, dropping)]
        in_time = list(pool.map(lambda uri: refused_in_time(lambda: open_hsm(uri)), uris))

        assert in_time == [True] * 3


def test_every_call_is_answered_before_the_deadline_once_the_network_swallows_what_is_sent(service):
    aes, mac, pair = HsmKey("kek", KeyKind.AES), HsmKey("master", KeyKind.HMAC), HsmKey("audit", KeyKind.ECDSA)
    (port,) = ENDPOINT.search(service.uri).groups()
    with closing(Relay(int(port))) as relay, closing(open_hsm(at(service, relay.port))) as hsm:
        for key in (aes, mac, pair):
            hsm.create_key(key.label, key.kind)
        wrapped = hsm.wrap(aes, DataKey.random(), CONTEXT)
        calls = [
            lambda: hsm.wrap(aes, DataKey.random(), CONTEXT),
            lambda: hsm.unwrap(aes, wrapped, CONTEXT),
            lambda: hsm.mac(mac, b"message"),
            lambda: hsm.sign(pair, bytes(32)),
            lambda: hsm.public_key(pair),
            lambda: hsm.keys(""),
            lambda: hsm.create_key("new", KeyKind.AES),
            lambda: hsm.destroy_key(pair),
        ]
        relay.swallow()
        with ThreadPoolExecutor(len(calls)) as pool:
            in_time = list(pool.map(refused_in_time, calls))

        assert in_time == [True] * len(calls)
        relay.recover()
        eventually(lambda: hsm.unwrap(aes, wrapped, CONTEXT))
        assert [key.label for key in eventually(lambda: hsm.keys(""))] == ["audit", "kek", "master"]
