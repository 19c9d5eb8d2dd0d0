"""A layer of HTTP in front of OpenBao that fails, stalls, throttles, loses and bends what passes through it."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl

_SECONDS = 60


class Fault(StrEnum):
    """What can befall one call."""

    UNAVAILABLE = "unavailable"
    THROTTLED = "throttled"
    STANDBY = "standby"
    """A standby names the active server instead of passing the call on."""
    LOST_ANSWER = "lost answer"
    """The call is done, and its answer never arrives."""
    CORRUPTED = "corrupted"
    """The answer is cut in two."""
    SHORT = "short"
    """What was asked for is a byte too short."""
    PROXY = "proxy"
    """Something on the way answers, in its own words, that there is no such thing."""
    OTHER_VERSION = "other version"
    OTHER_KEY = "other key"
    WORDLESS = "wordless"
    """The call is done, and the answer is empty, as older servers' are."""
    STALLED = "stalled"
    """Nothing comes, for as long as the front is there."""


_PASSING = [Fault.UNAVAILABLE, Fault.THROTTLED, Fault.LOST_ANSWER, Fault.CORRUPTED]
_STATUS = {Fault.UNAVAILABLE: 503, Fault.THROTTLED: 429, Fault.STANDBY: 307, Fault.PROXY: 404}


@dataclass
class Weather:
    """What the front makes its clients suffer. `schedule` names faults by call and number, counted from 1."""

    schedule: dict[tuple[str, int], Fault] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)
    failing: float = 0.0
    """Which part of all calls fails in passing."""
    latency: float = 0.0
    per_second: float | None = None
    """The quota of calls a second; `burst` are served at once."""
    burst: float = 1.0


class Front:
    """The layer, on a port of its own that it keeps."""

    def __init__(self, behind: int, tls: ssl.SSLContext | None = None) -> None:
        self.behind = behind
        self._tls = tls
        self.weather = Weather()
        self.calls: list[str] = []
        self.failed = 0
        """How many calls failed in passing by chance."""
        self.most_at_once = 0
        self.tokens: list[str] = []
        """What callers proved who they are with, in order."""
        self.gone = threading.Event()
        self._under_way = 0
        self._lock = threading.Lock()
        self._random = random.Random(15)  # noqa: S311  the same faults in each run
        self._spent = (time.monotonic(), 0.0)
        self._server: _Server | None = None
        self.port = 0
        self.start()

    def start(self) -> None:
        """Serve, at the same port as before."""
        self.gone.clear()
        self._server = _Server(("127.0.0.1", self.port), self)
        if self._tls:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Drop every connection and serve no more."""
        if self._server is not None:
            self.gone.set()
            self._server.shutdown()
            self._server.drop()
            self._server = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def count(self, *names: str) -> int:
        """How often these calls came; without any, all."""
        return sum(1 for name in self.calls if name in names or not names)

    def arrived(self, name: str) -> Fault | None:
        """Count a call and say what befalls it."""
        with self._lock:
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
            self.calls.append(name)
            if self._over_quota():
                return Fault.THROTTLED
            scheduled = self.weather.schedule.get((name, self.calls.count(name))) if self.weather.schedule else None
            if scheduled or name in self.weather.always:
                return scheduled or self.weather.always[name]
            if self._random.random() < self.weather.failing:
                self.failed += 1
                return self._random.choice(_PASSING)
            return None

    def left(self) -> None:
        with self._lock:
            self._under_way -= 1

    def _over_quota(self) -> bool:
        rate = self.weather.per_second
        if rate is None:
            return False
        (at, spent), now = self._spent, time.monotonic()
        spent = max(0.0, spent - (now - at) * rate)
        over = spent + 1 > self.weather.burst
        self._spent = now, spent + (not over)
        return over


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address, front: Front) -> None:
        self.front = front
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request, client_address):
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self._open.discard(request)
        super().shutdown_request(request)

    def drop(self) -> None:
        self.server_close()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, *_):
        """A client that went away, or a server behind that did: the client is told by the end of its connection."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self):
        super().setup()
        front = self.server.front
        self._behind = http.client.HTTPConnection("127.0.0.1", front.behind, timeout=_SECONDS)

    def finish(self):
        self._behind.close()
        super().finish()

    def log_message(self, *_):
        """Say nothing."""

    def _pass(self):
        front = self.server.front
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = name_of(self.command, self.path)
        fault = front.arrived(name)
        try:
            front.tokens.append(self.headers.get("X-Vault-Token") or "")
            if front.weather.latency:
                time.sleep(front.weather.latency)
            if fault is Fault.STALLED:
                front.gone.wait(_SECONDS)
                self.close_connection = True
                return
            if fault in _STATUS:
                self._told(_STATUS[fault], b"<html>" if fault is Fault.PROXY else b'{"errors":["the weather"]}')
                return
            status, content = self._asked(body)
        finally:
            front.left()
        if fault is Fault.LOST_ANSWER:
            self.close_connection = True
            return
        self._told(status, bend(content, fault) if fault else content)

    do_GET = do_POST = do_DELETE = do_PUT = _pass

    def _asked(self, body: bytes) -> tuple[int, bytes]:
        headers = {name: value for name, value in self.headers.items() if name.startswith("X-Vault-")}
        self._behind.request(self.command, self.path, body or None, headers)
        answer = self._behind.getresponse()
        return answer.status, answer.read()

    def _told(self, status: int, content: bytes) -> None:
        self.send_response(status)
        if status == _STATUS[Fault.STANDBY]:
            self.send_header("Location", "http://127.0.0.1:9/never-asked")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()


def name_of(method: str, target: str) -> str:
    """What a call is for, in one word."""
    first, *path = urlsplit(target).path.removeprefix("/v1/").split("/")
    if first in {"sys", "auth"}:
        return {"capabilities-self": "capabilities", "login": "login"}.get(path[-1], "mount")
    if path[0] != "keys":
        return path[0]
    if len(path) == 1:
        return "list"
    return "config" if path[-1] == "config" else {"GET": "read", "POST": "create", "DELETE": "delete"}[method]


def bend(content: bytes, fault: Fault) -> bytes:
    """An answer as a fault leaves it."""
    match fault:
        case Fault.CORRUPTED:
            return content[: len(content) // 2]
        case Fault.SHORT:
            for name in (b'"plaintext":"', b"vault:v1:", b"PUBLIC KEY-----\\n"):
                head, found, tail = content.partition(name)
                if found:
                    return head + found + tail[4:]
        case Fault.OTHER_VERSION:
            return content.replace(b"vault:v1:", b"vault:v2:")
        case Fault.WORDLESS:
            return b""
        case Fault.OTHER_KEY:
            return content.replace(b'"name":"', b'"name":"not-')
    return content
