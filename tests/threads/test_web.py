"""An application of `def` handlers, which FastAPI runs in threads that stay."""

from __future__ import annotations

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import pytest
import uvicorn
from fastapi import Body, FastAPI

from icehouse import Device

CLIENTS = 40
HANG = 300
"""Ten times what it takes on a slow machine."""


class Client:
    """Someone's device, which reaches the vault over HTTP."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.statuses: list[int] = []

    def post(self, path: str, body: str = "") -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=HANG)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            self.statuses.append(answer.status)
            return json.load(answer)
        finally:
            connection.close()

    def exchange(self, message: str) -> str:
        return self.post("/exchange", message)


@pytest.fixture
def port(frost):
    """Where the application listens."""
    app = FastAPI()
    app.post("/users/{user}")(lambda user: frost.create_user_frost_shards(user).public_key.hex())
    app.post("/users/{user_id}/code")(frost.enrolment_code)

    @app.post("/exchange")
    def exchange(message: Annotated[str, Body()]) -> str:
        return frost.exchange(message)

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
        assert thread.is_alive()
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def test_forty_clients_of_a_fastapi_application_are_answered_240_times_of_240(port):
    clients = [Client(port) for _ in range(CLIENTS)]
    together = threading.Barrier(CLIENTS)

    def live(number: int) -> str:
        client, user = clients[number], f"user-{number}"
        together.wait(HANG)
        public_key = client.post(f"/users/{user}")
        device = Device.create(user)
        device.enrol(client, client.post(f"/users/{user}/code"))
        device.sign(client, b"hello", check_due=False)
        assert device.public_key.hex() == public_key
        return user

    with ThreadPoolExecutor(CLIENTS) as pool:
        served = list(pool.map(live, range(CLIENTS)))

    assert len(served) == CLIENTS
    assert [status for client in clients for status in client.statuses] == [200] * 240
