"""AWS on loopback, as far as `icehouse cloudhsm` uses it: the wire protocols that boto3 speaks, and faults on demand.

The service is the one that a request is signed for. `Date` in every answer is the world's own clock; every request
moves it by `tick` seconds, so that nobody has to wait.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

import botocore.session
from botocore.validate import ParamValidator

from servers.aws_cbor import read_cbor, written_cbor
from servers.aws_clock import ApiError, Clock
from servers.aws_iam import Iam, Role
from servers.aws_teardown import Teardowns
from servers.cloudhsm import CloudHsm

ACCOUNT, OTHER_ACCOUNT, REGION = "123456789012", "210987654321", "us-east-1"
KEYS = {"AKIAICEHOUSEOWNER000": ACCOUNT, "AKIAICEHOUSEOTHER000": OTHER_ACCOUNT}
_SCOPE = re.compile(r"Credential=(\w+)/\d{8}/([\w-]+)/(\w+)/aws4_request")
_SNAKE = re.compile(r"(?<=[a-z])(?=[A-Z])")
_REST = (
    ("POST", r"/schedules/(?P<Name>[^/]+)", "CreateSchedule"),
    ("GET", r"/schedules/(?P<Name>[^/]+)", "GetSchedule"),
    ("DELETE", r"/schedules/(?P<Name>[^/]+)", "DeleteSchedule"),
    ("POST", r"/schedule-groups/(?P<Name>[^/]+)", "CreateScheduleGroup"),
    ("DELETE", r"/schedule-groups/(?P<Name>[^/]+)", "DeleteScheduleGroup"),
    ("GET", r"/tags/(?P<ResourceArn>.+)", "ListTagsForResource"),
)
_RENAMED = {
    ("states", "ListTagsForResource"): "list_machine_tags",
    ("scheduler", "ListTagsForResource"): "list_group_tags",
}
_CHANGES = re.compile(r"Create|Delete|Put|Initialize")
_BELONGS = {
    "DeleteHsm": ("ec2:DeleteNetworkInterface",),
    "DeleteCluster": ("ec2:DeleteNetworkInterface", "ec2:DeleteSecurityGroup"),
}
"""The dependent actions of AWS's page of actions for CloudHSM."""
SHAPES = botocore.session.get_session().get_service_model("cloudhsmv2")


class Region:
    """What an account has in one region."""

    def __init__(self, world: World, name: str) -> None:
        self.hsm = CloudHsm(world.clock)
        self.teardowns = Teardowns(world.clock, ACCOUNT, name, world.iam)
        self.teardowns.invoke = lambda *asked: world.invoke(name, *asked)


class World:
    """One AWS account; `hsm` and `teardowns` are those of its first region.

    `faults` are by the number of the request: `throttle` and `broken` are answers, `deaf` closes the connection before
    anything is done, and `mute` after it. `refusals` are by action, for whoever asks. `kill` is a request's number, a
    process, and whether it dies `before` or `after` the request is done.
    """

    def __init__(self, *, tick: float = 15) -> None:
        self.clock = Clock()
        self.tick = tick
        self.iam = Iam(self.clock, ACCOUNT)
        self.regions: dict[str, Region] = {}
        self.hsm, self.teardowns = self.region(REGION).hsm, self.region(REGION).teardowns
        self.requests: list[tuple[str, str]] = []
        self.faults: dict[int, str] = {}
        self.refusals: dict[str, ApiError] = {}
        self.kill: tuple[int, int, str] | None = None
        self.lock = threading.RLock()

    def region(self, name: str) -> Region:
        if name not in self.regions:
            self.regions[name] = Region(self, name)
        return self.regions[name]

    @property
    def changes(self) -> list[tuple[str, str]]:
        """The requests that were to change something."""
        return [each for each in self.requests if _CHANGES.match(each[1])]

    @property
    def deleted(self) -> list[tuple[str, dict[str, str]]]:
        return self.hsm.deleted + self.teardowns.deleted + self.iam.deleted

    def advance(self, seconds: float) -> None:
        with self.lock:
            self.clock.advance(seconds)

    def serve(self) -> ThreadingHTTPServer:
        """Serve it on a free port of loopback, in a thread."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"world": self}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server

    def handle(
        self, service: str, action: str, asked: dict[str, Any], account: str | None, region: str = REGION
    ) -> dict[str, Any]:
        """Do what one request asks for."""
        if account is None:
            raise ApiError(
                "InvalidClientTokenId" if service in {"iam", "sts"} else "UnrecognizedClientException", "who?", 403
            )
        if service == "sts":
            return {"Account": account, "Arn": f"arn:aws:iam::{account}:user/someone", "UserId": "AIDA"}
        if account != ACCOUNT:
            raise ApiError("AccessDeniedException", "another account's", 403)
        if action in self.refusals:
            raise self.refusals[action]
        name = _RENAMED.get((service, action)) or _SNAKE.sub("_", action).lower()
        here = self.region(region)
        asked_of = {"cloudhsm": here.hsm, "iam": self.iam}.get(service, here.teardowns)
        here.hsm.remember()
        try:
            return getattr(asked_of, name)(asked)
        finally:
            here.hsm.remember()

    def invoke(
        self, region: str, role: Role, service: str, operation: str, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        """What a state machine asks for, checked like any request, and against its role."""
        action = operation[0].upper() + operation[1:]
        if service == "sfn":
            if not role.allows(f"states:{action}", parameters["StateMachineArn"]):
                raise ApiError("Sfn.SfnException", f"{action} is not allowed")
            return self.region(region).teardowns.start_execution(parameters)
        assert service == "cloudhsmv2"
        report = ParamValidator().validate(parameters, SHAPES.operation_model(action).input_shape)
        if report.has_errors():
            raise ApiError("States.Runtime", report.generate_report())
        # DescribeClusters and DeleteHsm have no resource types: they are allowed for all resources or not at all.
        resource = "*"
        if action == "DeleteCluster":
            resource = f"arn:aws:cloudhsm:{region}:{ACCOUNT}:cluster/{parameters['ClusterId']}"
        belonging = all(role.allows(each, "*") for each in _BELONGS.get(action, ()))
        if not role.allows(f"cloudhsm:{action}", resource) or not belonging:
            raise ApiError("CloudHsmV2.CloudHsmAccessDeniedException", f"{action} on {resource}")
        return self.handle("cloudhsm", action, parameters, ACCOUNT, region)


class _Handler(BaseHTTPRequestHandler):
    world: World
    protocol_version = "HTTP/1.1"
    # Head and body go out as one, or the body waits for the head's acknowledgement.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.world.clock.now if timestamp is None else timestamp)

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        key, region, service = _SCOPE.search(self.headers["Authorization"]).groups()
        action, asked = self._read(service, body)
        world = self.world
        with world.lock:
            world.clock.advance(world.tick)
            number = len(world.requests)
            world.requests.append((service, action))
            fault = world.faults.get(number)
            if fault == "deaf" or self._killed(number, "before"):
                self._hang_up()
                return
            try:
                if fault in {"throttle", "broken"}:
                    throttled = fault == "throttle"
                    raise ApiError(
                        "ThrottlingException" if throttled else "InternalFailure", fault, 400 if throttled else 500
                    )
                status, answer = 200, world.handle(service, action, asked, KEYS.get(key), region)
            except ApiError as error:
                status, answer = error.status, error
            if fault == "mute" or self._killed(number, "after"):
                self._hang_up()
                return
        with suppress(BrokenPipeError, ConnectionResetError):
            self._answer(service, action, status, answer)

    do_POST = do_DELETE = do_PUT = do_GET

    def _killed(self, number: int, when: str) -> bool:
        if self.world.kill is None or (self.world.kill[0], self.world.kill[2]) != (number, when):
            return False
        os.kill(self.world.kill[1], signal.SIGKILL)
        self.world.kill = None
        return True

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _read(self, service: str, body: bytes) -> tuple[str, dict[str, Any]]:
        if "smithy-protocol" in self.headers:
            return urlsplit(self.path).path.rpartition("/")[2], read_cbor(body)
        if service in {"cloudhsm", "states"}:
            return self.headers["X-Amz-Target"].rpartition(".")[2], json.loads(body or b"{}")
        if service in {"iam", "sts"}:
            fields = dict(parse_qsl(body.decode()))
            return fields["Action"], _unflatten(fields)
        url = urlsplit(self.path)
        for method, pattern, action in _REST:
            found = re.fullmatch(pattern, unquote(url.path))
            if found and method == self.command:
                return action, {**json.loads(body or b"{}"), **dict(parse_qsl(url.query)), **found.groupdict()}
        raise AssertionError(self.path)

    def _answer(self, service: str, action: str, status: int, answer: dict[str, Any] | ApiError) -> None:
        if "smithy-protocol" in self.headers:
            self._send(status, "application/cbor", written_cbor(answer), answer)
            return
        kind = {"cloudhsm": "application/x-amz-json-1.1", "states": "application/x-amz-json-1.0"}.get(service)
        if service in {"iam", "sts"}:
            kind = "text/xml"
            text = _xml_error(answer) if isinstance(answer, ApiError) else _xml(action, answer)
        elif isinstance(answer, ApiError):
            text = json.dumps({"__type": answer.code, "Message": answer.message})
        else:
            text = json.dumps(answer)
        self._send(status, kind or "application/json", text.encode(), answer)

    def _send(self, status: int, kind: str, body: bytes, answer: dict[str, Any] | ApiError) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if kind == "application/cbor":
            self.send_header("smithy-protocol", "rpc-v2-cbor")
        self.send_header("Content-Length", str(len(body)))
        if isinstance(answer, ApiError):
            self.send_header("x-amzn-ErrorType", answer.code)
        self.end_headers()
        self.wfile.write(body)


def _unflatten(fields: dict[str, str]) -> dict[str, Any]:
    """`Tags.member.1.Key=…` and its like as lists."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        parts = name.split(".")
        if len(parts) == 4 and parts[1] == "member":
            rows = found.setdefault(parts[0], [])
            while len(rows) < int(parts[2]):
                rows.append({})
            rows[int(parts[2]) - 1][parts[3]] = value
        else:
            found[name] = value
    return found


def _xml(action: str, answer: dict[str, Any]) -> str:
    return f"<{action}Response><{action}Result>{_elements(answer)}</{action}Result></{action}Response>"


def _elements(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{name}>{_elements(_quoted(name, each))}</{name}>" for name, each in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{_elements(each)}</member>" for each in value)
    return escape(str(value))


def _quoted(name: str, value: Any) -> Any:
    return quote(value) if name.endswith("PolicyDocument") else value


def _xml_error(error: ApiError) -> str:
    words = f"<Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
    return f"<ErrorResponse><Error>{words}</Error></ErrorResponse>"
