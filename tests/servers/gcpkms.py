"""Google Cloud KMS on loopback: the real gRPC service's messages, real cryptography, states, quotas, and faults.

It is strict where the real service is: it refuses a request whose checksum does not fit, a version that is not
enabled, a key of another purpose, more bytes than its HSMs take, and whoever lacks a permission.
"""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

import grpc
from google.cloud.kms_v1 import types
from google.iam.v1 import iam_policy_pb2 as iam
from google.rpc import status_pb2

from icehouse.hsm.gcpkms.wire import RIGHTS
from servers import gcpkms_crypto
from servers.gcpkms_keys import Keys, StatusError

if TYPE_CHECKING:
    from servers.quota import Quotas

IAM = "google.iam.v1.IAMPolicy"
SERVICE = "google.cloud.kms.v1.KeyManagementService"
METHODS = {
    "GetKeyRing": (types.GetKeyRingRequest, types.KeyRing),
    "ListCryptoKeys": (types.ListCryptoKeysRequest, types.ListCryptoKeysResponse),
    "GetCryptoKey": (types.GetCryptoKeyRequest, types.CryptoKey),
    "CreateCryptoKey": (types.CreateCryptoKeyRequest, types.CryptoKey),
    "UpdateCryptoKeyPrimaryVersion": (types.UpdateCryptoKeyPrimaryVersionRequest, types.CryptoKey),
    "ListCryptoKeyVersions": (types.ListCryptoKeyVersionsRequest, types.ListCryptoKeyVersionsResponse),
    "CreateCryptoKeyVersion": (types.CreateCryptoKeyVersionRequest, types.CryptoKeyVersion),
    "UpdateCryptoKeyVersion": (types.UpdateCryptoKeyVersionRequest, types.CryptoKeyVersion),
    "DestroyCryptoKeyVersion": (types.DestroyCryptoKeyVersionRequest, types.CryptoKeyVersion),
    "Encrypt": (types.EncryptRequest, types.EncryptResponse),
    "Decrypt": (types.DecryptRequest, types.DecryptResponse),
    "MacSign": (types.MacSignRequest, types.MacSignResponse),
    "AsymmetricSign": (types.AsymmetricSignRequest, types.AsymmetricSignResponse),
    "GetPublicKey": (types.GetPublicKeyRequest, types.PublicKey),
}
RESULT = {"Encrypt": "ciphertext", "Decrypt": "plaintext", "MacSign": "mac", "AsymmetricSign": "signature"}
"""The field of an answer that a bent bit would hurt most."""


READS = frozenset({"GetKeyRing", "ListCryptoKeys", "GetCryptoKey", "ListCryptoKeyVersions", "TestIamPermissions"})
WRITES = frozenset(
    {"CreateCryptoKey", "UpdateCryptoKeyPrimaryVersion", "CreateCryptoKeyVersion", "UpdateCryptoKeyVersion"}
    | {"DestroyCryptoKeyVersion"}
)
GROUPS = {"reads": READS, "writes": WRITES}
"""Which calls Google counts as what: cloud.google.com/kms/quotas, read November 2026."""


class Fault(StrEnum):
    """What can befall one call."""

    UNAVAILABLE = "unavailable"
    DEADLINE = "deadline"
    EXHAUSTED = "exhausted"
    UNAUTHENTICATED = "unauthenticated"
    INVALID = "invalid"
    LOST_ANSWER = "lost answer"
    """The call is done, and its answer never arrives."""
    CORRUPTED = "corrupted"
    """A bit of the answer is bent on its way."""
    UNVERIFIED = "unverified"
    """The service never saw the checksum that was sent."""
    WRONG_NAME = "wrong name"
    """Another version answers."""
    LOWER_LEVEL = "lower level"
    """The answer was made in software."""


_CODES = {
    Fault.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Fault.LOST_ANSWER: grpc.StatusCode.UNAVAILABLE,
    Fault.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
    Fault.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Fault.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Fault.EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@dataclass
class Weather:
    """What the service makes its clients suffer. `schedule` names faults by method and number, counted from 1."""

    schedule: dict[tuple[str, int], Fault] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)
    failing: float = 0.0
    """Which part of all calls fails in passing."""
    latency: float = 0.0
    per_second: float | None = None
    """The quota of calls a second; `burst` are served at once."""
    burst: float = 1.0
    denied: set[str] = field(default_factory=set)
    """Permissions that the caller lacks."""
    quotas: Quotas | None = None
    refusing: dict[str, StatusError] = field(default_factory=dict)
    """What methods are refused with, whoever asks."""
    page_latency: float = 0.0


class KmsServer:
    """One project with one key ring, `projects/p-1/locations/europe-west3/keyRings/ring`, served on loopback."""

    def __init__(self, tls: grpc.ServerCredentials | None = None) -> None:
        self._tls = tls
        self.tokens: set[str] = set()
        """What callers proved who they are with."""
        self.keys = Keys("p-1", "europe-west3", "ring")
        self.weather = Weather()
        self.calls: list[str] = []
        self.most_at_once = 0
        self.failed = 0
        """How many calls failed in passing by chance."""
        self._under_way = 0
        self._lock = threading.Lock()
        self._random = random.Random(15)  # noqa: S311  the same faults in each run, the first ones soon
        self._spent = (time.monotonic(), 0.0)
        self._server: grpc.Server | None = None
        self.port = 0
        self.start()

    @property
    def uri(self) -> str:
        return self.uri_of(self.keys.ring)

    def uri_of(self, ring: str, deadline: float = 5) -> str:
        return f"gcpkms://{ring}?endpoint=127.0.0.1:{self.port}&insecure=1&deadline={deadline}"

    def start(self) -> None:
        """Serve, at the same port as before."""
        self._server = grpc.server(ThreadPoolExecutor(16))
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._handler(name), request_deserializer=asked.deserialize, response_serializer=told.serialize
            )
            for name, (asked, told) in METHODS.items()
        }
        permitted = grpc.unary_unary_rpc_method_handler(
            self._permitted,
            request_deserializer=iam.TestIamPermissionsRequest.FromString,
            response_serializer=iam.TestIamPermissionsResponse.SerializeToString,
        )
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(SERVICE, handlers),
                grpc.method_handlers_generic_handler(IAM, {"TestIamPermissions": permitted}),
            )
        )
        address = f"127.0.0.1:{self.port}"
        if self._tls:
            self.port = self._server.add_secure_port(address, self._tls)
        else:
            self.port = self._server.add_insecure_port(address)
        self._server.start()

    def stop(self) -> None:
        """Drop every connection and serve no more."""
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def count(self, *methods: str) -> int:
        """How often these methods were called; without any, all calls."""
        return sum(1 for name in self.calls if name in methods or not methods)

    def _permitted(self, request, context):
        """Which of the permissions asked for the caller has; whoever asks needs none for that."""
        fault = self._arrived("TestIamPermissions")
        if "TestIamPermissions" in self.weather.refusing:
            _refuse(context, self.weather.refusing["TestIamPermissions"])
        if fault in _CODES:
            context.abort(_CODES[fault], f"the schedule says so: {fault}")
        if request.resource != self.keys.ring:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{request.resource} not found.")
        return iam.TestIamPermissionsResponse(
            permissions=[name for name in request.permissions if name not in self.weather.denied]
        )

    def _handler(self, name):
        def handle(request, context):
            self.tokens |= {value for name, value in context.invocation_metadata() if name == "authorization"}
            with self._entered():
                return answered(request, context)

        def answered(request, context):
            fault = self._arrived(name)
            time.sleep(self.weather.latency + self.weather.page_latency * name.startswith("List"))
            if name in self.weather.refusing:
                _refuse(context, self.weather.refusing[name])
            if fault in _CODES and fault is not Fault.LOST_ANSWER:
                context.abort(_CODES[fault], f"the schedule says so: {fault}")
            permission = RIGHTS[_snake(name)][0]
            if permission in self.weather.denied:
                context.abort(grpc.StatusCode.PERMISSION_DENIED, f"Permission '{permission}' denied on resource")
            try:
                answer = self.keys.answer(self._work(_snake(name)), self.keys.by_id(request))
            except StatusError as refusal:
                _refuse(context, refusal)
            if fault is Fault.LOST_ANSWER:
                context.abort(_CODES[fault], "the connection was lost")
            return bend(name, answer, fault)

        return handle

    @contextmanager
    def _entered(self):
        with self._lock:
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def _work(self, method: str):
        computes = getattr(gcpkms_crypto, method, None)
        return partial(computes, self.keys) if computes else getattr(self.keys, method)

    def _arrived(self, name: str) -> Fault | None:
        """Count a call and say what befalls it."""
        with self._lock:
            self.calls.append(name)
            if self._over_quota() or (self.weather.quotas and self.weather.quotas.exceeded(name)):
                return Fault.EXHAUSTED
            scheduled = self.weather.schedule.get((name, self.calls.count(name))) if self.weather.schedule else None
            if scheduled or name in self.weather.always:
                return scheduled or self.weather.always[name]
            if self._random.random() < self.weather.failing:
                self.failed += 1
                return self._random.choice([Fault.UNAVAILABLE, Fault.DEADLINE, Fault.EXHAUSTED, Fault.LOST_ANSWER])
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


def _refuse(context, refusal: StatusError) -> None:
    """End a call with a status, and with details where there are any, as gRPC carries them."""
    if refusal.details:
        status = status_pb2.Status(code=refusal.code.value[0], message=str(refusal))
        for detail in refusal.details:
            status.details.add().Pack(detail)
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(refusal.code, str(refusal))


def bend(name: str, answer, fault: Fault | None):
    """An answer as a fault leaves it."""
    if name not in RESULT and name != "GetPublicKey":
        return answer
    match fault:
        case Fault.CORRUPTED if name == "GetPublicKey":
            answer.pem = answer.pem.replace("A", "B", 1)
        case Fault.CORRUPTED:
            content = bytearray(getattr(answer, RESULT[name]))
            content[-1] ^= 1
            setattr(answer, RESULT[name], bytes(content))
        case Fault.UNVERIFIED:
            for verified in ("plaintext", "data", "digest"):
                if hasattr(answer, f"verified_{verified}_crc32c"):
                    setattr(answer, f"verified_{verified}_crc32c", False)
        case Fault.WRONG_NAME if hasattr(answer, "name"):
            answer.name = f"{answer.name.rpartition('/')[0]}/99"
        case Fault.LOWER_LEVEL:
            answer.protection_level = types.ProtectionLevel.SOFTWARE
    return answer


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
