"""AWS KMS and STS on loopback: moto's server, held to the rules of the real one, with faults on demand."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from moto.iam.models import get_account_id_from
from moto.kms.models import kms_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.test import Client

from servers.awskms_rules import AwsError, Rules, living

if TYPE_CHECKING:
    import ssl

    from servers.quota import Quotas

REGION = "eu-central-1"
RESULT = {"Encrypt": "CiphertextBlob", "Decrypt": "Plaintext", "GenerateMac": "Mac", "Sign": "Signature"}
RESULT |= {"GetPublicKey": "PublicKey"}
"""The field of an answer that a bent bit would hurt most."""
OWNER, OTHER = "AKIAICEHOUSEOWNER001", "AKIAICEHOUSEOTHER001"
_SCOPE = re.compile(r"Credential=(\w+)/\d{8}/([\w-]+)/(\w+)/aws4_request")
_MOTO = Client(DomainDispatcherApplication(create_backend_app))
_MOTO_LOCK = threading.Lock()


class Fault(StrEnum):
    """What can befall one call."""

    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"
    EXHAUSTED = "exhausted"
    LOST_ANSWER = "lost answer"
    """The call is done, and its answer never arrives."""
    STALL = "stall"
    """Nothing happens at all."""
    CUT = "cut"
    """The answer ends too early."""
    EMPTY = "empty"
    """The answer lacks everything."""
    CORRUPTED = "corrupted"
    """A bit of the answer is bent on its way."""
    SHORT = "short"
    """A byte of the result is missing."""
    WRONG_KEY = "wrong key"
    """Another key answers."""


_REFUSED = {
    Fault.UNAVAILABLE: ("ServiceUnavailableException", "the schedule says so", 503),
    Fault.INTERNAL: ("KMSInternalException", "the schedule says so", 500),
    Fault.EXHAUSTED: ("ThrottlingException", "You have exceeded the rate at which you may call KMS.", 400),
}
_PASSING = (*_REFUSED, Fault.LOST_ANSWER)


@dataclass
class Weather:
    """What the service makes its clients suffer. `schedule` names faults by action and number, counted from 1."""

    schedule: dict[tuple[str, int], Fault] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)
    failing: float = 0.0
    """Which part of all calls fails in passing."""
    latency: float = 0.0
    per_second: float | None = None
    """The quota of calls a second; `burst` are served at once."""
    burst: float = 1.0
    quotas: Quotas | None = None
    refusing: dict[str, AwsError] = field(default_factory=dict)
    """What actions are refused with, whoever asks."""


class AwsKmsServer:
    """Two AWS accounts of its own, served on loopback; the process's environment has the first one's credentials."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.account, self.other_account = (f"{random.randrange(10**12):012}" for _ in range(2))  # noqa: S311
        self.accounts = {OWNER: self.account, OTHER: self.other_account}
        self.roles: set[str] = set()
        """The roles that may be assumed, by ARN."""
        self.weather = Weather()
        self.rules = Rules()
        self.calls: list[str] = []
        self.most_at_once = 0
        self.failed = 0
        """How many calls failed in passing by chance."""
        self._under_way = 0
        self._lock = threading.Lock()
        self._random = random.Random(15)  # noqa: S311  the same faults in each run, the first ones soon
        self._spent = (time.monotonic(), 0.0)
        self._server: _Server | None = None
        self.port = 0
        self.start()
        self._before = {name: os.environ.get(name) for name in ENVIRONMENT}
        os.environ.update(ENVIRONMENT)

    @property
    def uri(self) -> str:
        return self.uri_of()

    def uri_of(self, region: str = REGION, deadline: float = 5, **more: object) -> str:
        named = "".join(f"&{name.replace('_', '-')}={value}" for name, value in more.items())
        return f"awskms://{region}?endpoint=127.0.0.1:{self.port}&insecure=1&deadline={deadline}{named}"

    def start(self) -> None:
        """Serve, at the same port as before."""
        self._server = _Server(self.port, self, self._tls)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Drop every connection and serve no more."""
        if self._server is not None:
            self._server.end()
            self._server = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop for good, and give the environment back."""
        self.stop()
        for name, value in self._before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

    def backend(self, account: str | None = None, region: str = REGION):
        """What moto keeps of an account."""
        return kms_backends[account or self.account][region]

    def key(self, label: str, prefix: str = "icehouse"):
        """The key that a label's alias names."""
        return Rules.key(self.backend(), f"alias/{prefix}/{label}")

    def plant(self, label: str, spec: str = "SYMMETRIC_DEFAULT", usage: str = "ENCRYPT_DECRYPT", **more: Any):
        """A key that somebody else made, under a label of icehouse's."""
        description, everywhere = (
            more.pop("description", f"icehouse icehouse/{label} 0"),
            more.pop("multi_region", False),
        )
        key = self.backend().create_key(None, usage, spec, description, [], everywhere)
        for name, value in more.items():
            setattr(key, name, value)
        self.backend().create_alias(key.id, f"alias/icehouse/{label}")
        return key

    def living(self) -> list[Any]:
        return living(self.backend())

    def count(self, *actions: str) -> int:
        """How often these actions were called; without any, all calls."""
        return sum(1 for name in self.calls if name in actions or not actions)

    def handle(self, action: str, region: str, caller: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """One request: who asks, what befalls it, and what moto says within the rules."""
        fault = self._arrived(action)
        if self.weather.latency:
            time.sleep(self.weather.latency)
        try:
            if fault in _REFUSED:
                raise AwsError(*_REFUSED[fault])
            if action in self.weather.refusing:
                raise self.weather.refusing[action]
            if caller not in self.accounts and not caller.startswith("ASIA"):
                raise AwsError("UnrecognizedClientException", "The security token included in the request is invalid.")
            account = self.accounts.get(caller) or get_account_id_from(caller)
            asked = json.loads(body)
            answer = self._answer(action, asked, account, region, headers)
        except AwsError as error:
            return error.status, json.dumps({"__type": error.code, "message": str(error)}).encode()
        if fault is Fault.LOST_ANSWER:
            raise ConnectionAbortedError
        return 200, bend(action, answer, fault)

    def _answer(self, action, asked, account, region, headers) -> dict[str, Any]:
        with _MOTO_LOCK:
            answer = self.rules.before(action, asked, account, region)
            if answer is not None:
                return answer
            body = json.dumps(self.rules.plain(asked, account, region))
            told = _MOTO.post("/", headers=headers | {"x-moto-account-id": account}, data=body)
            answer = json.loads(told.data) or {}
            if told.status_code != 200:
                message = answer.get("message", answer.get("Message", ""))
                raise AwsError(answer["__type"].rpartition("#")[2], message, told.status_code)
            self.rules.after(action, asked, answer, account, region)
            return answer

    def tokens(self, headers: dict[str, str], body: bytes, caller: str) -> tuple[int, bytes]:
        """A request to STS."""
        action = re.search(rb"Action=(\w+)", body)[1].decode()
        fault = self._arrived(action)
        if fault in _REFUSED:
            return _sts_error(AwsError(*_REFUSED[fault]))
        if caller not in self.accounts:
            return _sts_error(AwsError("InvalidClientTokenId", "The security token is invalid.", 403))
        role = re.search(rb"RoleArn=([^&]+)", body)
        if role and role[1].decode().replace("%3A", ":").replace("%2F", "/") not in self.roles:
            return _sts_error(AwsError("AccessDenied", "User is not authorized to perform: sts:AssumeRole", 403))
        with _MOTO_LOCK:
            told = _MOTO.post("/", headers=headers | {"x-moto-account-id": self.accounts[caller]}, data=body)
        return told.status_code, told.data

    def entered(self, by: int) -> None:
        with self._lock:
            self._under_way += by
            self.most_at_once = max(self.most_at_once, self._under_way)

    def _arrived(self, action: str) -> Fault | None:
        """Count a call and say what befalls it."""
        with self._lock:
            self.calls.append(action)
            if self._over_quota() or (self.weather.quotas and self.weather.quotas.exceeded(action)):
                return Fault.EXHAUSTED
            scheduled = self.weather.schedule.get((action, self.calls.count(action))) if self.weather.schedule else None
            if scheduled or action in self.weather.always:
                return scheduled or self.weather.always[action]
            if self._random.random() < self.weather.failing:
                self.failed += 1
                return self._random.choice(_PASSING)
            return None

    def _over_quota(self) -> bool:
        rate = self.weather.per_second
        if rate is None:
            return False
        (at, spent), now = self._spent, time.monotonic()
        spent = max(0.0, spent - (now - at) * rate)
        over = spent + 1 > self.weather.burst
        self._spent = now, spent + (not over)
        return over


ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": OWNER,
    "AWS_SECRET_ACCESS_KEY": "of-no-account",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, served: AwsKmsServer, tls: ssl.SSLContext | None) -> None:
        self.served = served
        self._connections: set[socket.socket] = set()
        self.ended = threading.Event()
        super().__init__(("127.0.0.1", port), _Handler)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def process_request(self, request, client_address):
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        # A connection that its client or a test broke off is no news.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def end(self) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # Head and body go out as one, or the body waits for the head's acknowledgement.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        served = self.server.served
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        caller, region, service = _SCOPE.search(self.headers["Authorization"]).groups()
        headers = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
        action = (self.headers.get("X-Amz-Target") or "").rpartition(".")[2]
        kind = "text/xml" if service == "sts" else "application/x-amz-json-1.1"
        if served.weather.always.get(action) is Fault.STALL:
            served.calls.append(action)
            self.server.ended.wait()
        served.entered(1)
        try:
            if service == "sts":
                status, told = served.tokens(headers, body, caller)
            else:
                status, told = served.handle(action, region, caller, headers, body)
        finally:
            served.entered(-1)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)


def bend(action: str, answer: dict[str, Any], fault: Fault | None) -> bytes:
    """An answer as a fault leaves it."""
    if fault is Fault.EMPTY:
        return b"{}"
    if fault is Fault.CUT:
        return json.dumps(answer).encode()[:-9]
    if fault is Fault.WRONG_KEY and "KeyId" in answer:
        answer["KeyId"] = f"{answer['KeyId'][:-4]}beef"
    if fault in {Fault.CORRUPTED, Fault.SHORT} and action in RESULT:
        content = bytearray(base64.b64decode(answer[RESULT[action]]))
        content[-1] ^= 1
        answer[RESULT[action]] = base64.b64encode(content[: -1 if fault is Fault.SHORT else None]).decode()
    return json.dumps(answer).encode()


def _sts_error(error: AwsError) -> tuple[int, bytes]:
    words = f"<Code>{error.code}</Code><Message>{error}</Message>"
    return error.status, f"<ErrorResponse><Error>{words}</Error></ErrorResponse>".encode()
