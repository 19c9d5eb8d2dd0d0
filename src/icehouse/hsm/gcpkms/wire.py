"""Calls to Google Cloud KMS: one channel of a process, one deadline of an operation, one translation of errors."""

from __future__ import annotations

import logging
import os
import re
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from threading import BoundedSemaphore, Thread
from typing import TYPE_CHECKING, Any

from icehouse.errors import HsmError, HsmRefusedError, HsmUnavailableError, MissingExtraError
from icehouse.hsm.key_service.deadline import FIRST_PAUSE, LONGEST_PAUSE, MARGIN, Deadline

# A forked child could not use gRPC at all without this, and gRPC reads it once, when it is loaded.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "1")
try:
    import google.auth
    import grpc  # type: ignore[import-untyped]
    from google.api_core import exceptions as api
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.kms_v1 import KeyManagementServiceClient
    from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceGrpcTransport
    from google.cloud.kms_v1.services.key_management_service.transports import grpc as logging_transport
except ImportError as exc:
    raise MissingExtraError("google") from exc  # noqa: EM101  the name of the extra
from icehouse.hsm.key_service.per_process import closed

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.hsm.gcpkms.uri import GcpKmsUri

# At DEBUG, Google's client logs every request and answer whole, data keys and all.
logging.getLogger(logging_transport.__name__).setLevel(logging.INFO)

_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 60_000),
    # Each HSM has a connection of its own, so that closing one never closes another's.
    ("grpc.use_local_subchannel_pool", 1),
)
_PASSING = (
    api.ServiceUnavailable,
    api.DeadlineExceeded,
    api.GatewayTimeout,
    api.ResourceExhausted,
    api.Aborted,
    # How a server that goes away ends the calls under way.
    api.Cancelled,
    api.InternalServerError,
    api.Unknown,
)
_VIEWER, ADMIN = "roles/cloudkms.viewer", "roles/cloudkms.admin"
_USER, _SIGNER = "roles/cloudkms.cryptoKeyEncrypterDecrypter", "roles/cloudkms.signer"
RIGHTS = {
    "get_key_ring": ("cloudkms.keyRings.get", _VIEWER),
    "list_crypto_keys": ("cloudkms.cryptoKeys.list", _VIEWER),
    "get_crypto_key": ("cloudkms.cryptoKeys.get", _VIEWER),
    "list_crypto_key_versions": ("cloudkms.cryptoKeyVersions.list", _VIEWER),
    "encrypt": ("cloudkms.cryptoKeyVersions.useToEncrypt", _USER),
    "decrypt": ("cloudkms.cryptoKeyVersions.useToDecrypt", _USER),
    "mac_sign": ("cloudkms.cryptoKeyVersions.useToSign", _SIGNER),
    "asymmetric_sign": ("cloudkms.cryptoKeyVersions.useToSign", _SIGNER),
    "get_public_key": ("cloudkms.cryptoKeyVersions.viewPublicKey", "roles/cloudkms.publicKeyViewer"),
    "create_crypto_key": ("cloudkms.cryptoKeys.create", ADMIN),
    "create_crypto_key_version": ("cloudkms.cryptoKeyVersions.create", ADMIN),
    "update_crypto_key_primary_version": ("cloudkms.cryptoKeys.update", ADMIN),
    "update_crypto_key_version": ("cloudkms.cryptoKeyVersions.update", ADMIN),
    "destroy_crypto_key_version": ("cloudkms.cryptoKeyVersions.destroy", ADMIN),
}
"""Every call icehouse makes, the permission it takes, and the smallest role of Google's own that has it."""


class NotThereError(HsmRefusedError):
    """Google Cloud KMS does not know this resource."""


class ExistsError(HsmRefusedError):
    """Google Cloud KMS has a resource of this name already."""


class NotUsableError(HsmRefusedError):
    """A key version is disabled, or scheduled for destruction, or destroyed."""


class InvalidError(HsmRefusedError):
    """Google Cloud KMS does not accept an argument: for `decrypt`, that the ciphertext does not open."""


class DeniedError(HsmRefusedError):
    """These credentials lack a permission."""


class PolicyError(NotUsableError):
    """An organisation policy wants a version disabled before it is destroyed."""


class CorruptedError(HsmUnavailableError):
    """A checksum does not fit: bytes were changed between here and Google Cloud KMS."""


class Wire:
    """The service as one process reaches it. Never used by another: a forked child makes its own."""

    __slots__ = ("_client", "_closed", "_places", "_uri")

    def __init__(self, uri: GcpKmsUri) -> None:
        self._uri = uri
        self._closed = False
        self._client = KeyManagementServiceClient(transport=_transport(uri))
        self._places = BoundedSemaphore(uri.concurrency)

    def call(
        self,
        method: str,
        request: object,
        deadline: Deadline,
        *,
        check: Callable[[Any], None] = lambda _: None,
        repeat: bool = True,
    ) -> Any:  # noqa: ANN401  each method has an answer of its own type
        """Make one call, again while it fails in passing and there is time.

        `check` raises `CorruptedError` for an answer whose checksums do not fit; such an answer is never returned.
        """
        longest = FIRST_PAUSE
        while True:
            try:
                answer = self._once(method, request, deadline)
                check(answer)
            except HsmUnavailableError:
                if not repeat or not deadline.pause(longest):
                    raise
                longest = min(2 * longest, LONGEST_PAUSE)
            else:
                return answer

    def close(self) -> None:
        """Close the channel; calls under way end with an error."""
        self._closed = True
        self._client.transport.close()  # type: ignore[no-untyped-call]

    def _once(self, method: str, request: object, deadline: Deadline) -> Any:  # noqa: ANN401
        if not self._places.acquire(timeout=deadline.left()):
            msg = f"{self._uri.concurrency} calls to Google Cloud KMS are under way, and none ended in time"
            raise HsmUnavailableError(msg, hint="concurrency= in the HSM's URI allows more at once")
        try:
            answer = getattr(self._client, method)(request=request, retry=None, timeout=deadline.one_try())
            # A list comes as a pager, whose first page is the answer; it must not fetch others by itself.
            return next(answer.pages) if method.startswith("list_") else answer
        except (api.GoogleAPICallError, GoogleAuthError, ValueError) as exc:
            raise self._translated(exc, method, deadline) from exc
        finally:
            self._places.release()

    def _translated(self, exc: Exception, method: str, deadline: Deadline) -> HsmError:
        """Whatever went wrong, as icehouse's own error: the one place that knows both."""
        if self._closed:
            # By another thread, under this call.
            return closed()
        told = f"Google Cloud KMS ({self._uri.endpoint}), {method}: {getattr(exc, 'message', exc)}"
        if isinstance(exc, api.ResourceExhausted):
            return HsmUnavailableError(f"throttled by {told}", hint=_QUOTA)
        if isinstance(exc, _PASSING):
            return HsmUnavailableError(f"{told} (deadline {deadline.seconds:g} s)", hint=_REACH)
        if isinstance(exc, api.PermissionDenied):
            return self._denied(exc, method, told)
        return _refusal(exc, told)

    def _denied(self, exc: api.PermissionDenied, method: str, told: str) -> HsmRefusedError:
        """A permission that lacks, unless it is the service itself that is not to be used."""
        if exc.reason == "SERVICE_DISABLED" or "it is disabled" in told:
            enable = f"gcloud services enable cloudkms.googleapis.com --project {self._uri.project}"
            return HsmRefusedError(f"the Cloud KMS API is disabled: {told}", hint=f"enable it: '{enable}'")
        if exc.reason == "BILLING_DISABLED" or "billing to be enabled" in told:
            return HsmRefusedError(f"the project has no billing: {told}", hint="link a billing account to the project")
        permission, role = RIGHTS.get(method, ("", ""))
        hint = f"grant {role} (permission {permission}) on {self._uri.path}" if role else None
        return DeniedError(f"no permission: {told}", hint=hint)


def _refusal(exc: Exception, told: str) -> HsmError:
    match exc:
        case api.Unauthenticated() | GoogleAuthError():
            return HsmRefusedError(f"no valid credentials: {told}", hint=_LOG_IN)
        case api.InvalidArgument() if _CHECKSUM.search(f"{told} {exc.details}"):
            return CorruptedError(told)
        case api.FailedPrecondition() if _POLICY in f"{told} {exc.details}":
            return PolicyError(told, hint=f"disable the version first, or lift the policy constraints/{_POLICY}")
        case _:
            return _REFUSALS.get(type(exc), HsmRefusedError)(told)


_REFUSALS: dict[type[Exception], type[HsmRefusedError]] = {
    api.InvalidArgument: InvalidError,
    api.NotFound: NotThereError,
    api.AlreadyExists: ExistsError,
    api.FailedPrecondition: NotUsableError,
}
_CHECKSUM = re.compile(r"checksum|crc32c", re.IGNORECASE)
"""Words for a checksum that does not fit: the message's, or the field's name in the details."""
_POLICY = "cloudkms.disableBeforeDestroy"
_QUOTA = "raise the quota of Cloud KMS in this region, or ask for less at once"
_REACH = "is the network up, and does the endpoint answer? The same call may succeed later"
_LOG_IN = "run 'gcloud auth application-default login', or name a key file in GOOGLE_APPLICATION_CREDENTIALS"


def tools(verb: str, version: str) -> str:
    """The command of Google's own that does something with a version."""
    _, project, _, location, _, ring, _, key, _, number = version.split("/")
    return (
        f"gcloud kms keys versions {verb} {number} --key {key} --keyring {ring} --location {location} "
        f"--project {project}"
    )


def _transport(uri: GcpKmsUri) -> KeyManagementServiceGrpcTransport:
    if uri.insecure:
        return KeyManagementServiceGrpcTransport(channel=grpc.insecure_channel(uri.endpoint, options=_OPTIONS))

    def channel(*arguments: Any, options: Any = (), **named: Any) -> Any:  # noqa: ANN401
        # Google's own way to make a channel, with our options added.
        return KeyManagementServiceGrpcTransport.create_channel(*arguments, options=(*options, *_OPTIONS), **named)

    return KeyManagementServiceGrpcTransport(
        host=uri.endpoint,
        credentials=_credentials(uri),
        channel=channel,
        # A service account signs its own tokens: one server less that must answer.
        always_use_jwt_access=True,
    )


def _credentials(uri: GcpKmsUri) -> Any:  # noqa: ANN401
    """The application default credentials. Google looks for them on the network too, with no deadline of ours."""
    found: Future[Any] = Future()

    def look() -> None:
        try:
            found.set_result(google.auth.default(default_scopes=KeyManagementServiceGrpcTransport.AUTH_SCOPES)[0])
        except BaseException as exc:  # noqa: BLE001  whoever waits raises it
            found.set_exception(exc)

    # A daemon, so that the process may end while it still waits.
    Thread(target=look, name="icehouse-google-credentials", daemon=True).start()
    try:
        return found.result(timeout=uri.deadline * MARGIN)
    except FutureTimeoutError:
        msg = f"Google's metadata server gave no credentials (deadline {uri.deadline:g} s)"
        raise HsmUnavailableError(msg, hint=_LOG_IN) from None
    except (GoogleAuthError, OSError, ValueError) as exc:
        msg = f"there are no usable credentials for Google Cloud: {exc}"
        raise HsmRefusedError(msg, hint=_LOG_IN) from exc
