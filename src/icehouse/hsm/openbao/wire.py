"""Calls to OpenBao: one session of a process, one deadline of an operation, one translation of errors."""

from __future__ import annotations

import json
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, TypeVar

from icehouse.errors import HsmError, HsmRefusedError, HsmUnavailableError, MissingExtraError, RequestError
from icehouse.hsm.key_service.deadline import FIRST_PAUSE, LONGEST_PAUSE
from icehouse.hsm.protocol import reopening

try:
    import requests
    from hvac.adapters import RawAdapter  # type: ignore[import-untyped]
    from urllib3.exceptions import HTTPError
except ImportError as exc:
    raise MissingExtraError("openbao") from exc  # noqa: EM101  the name of the extra
from icehouse.hsm.key_service.per_process import closed

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.hsm.key_service.deadline import Deadline
    from icehouse.hsm.openbao.token import Token
    from icehouse.hsm.openbao.uri import OpenBaoUri

T = TypeVar("T")
_MAX_ANSWER = 64 << 20
"""Bytes; a list of a million labels is shorter."""
_OK, _CLIENT_ERROR, _SERVER_ERROR = 200, 400, 500
_DENIED, _NOT_THERE, _THROTTLED = 403, 404, 429
_PASSING = frozenset({408, 412, 425, _THROTTLED, 472, 473})
"""Of the client errors; 412 is a standby that lags behind, 472 and 473 are standbys that do not serve."""
CAPABILITIES = {"get": "read", "list": "list", "post": "update", "delete": "delete"}
_REACH = "is the server up, and does the address lead to it? The same call may succeed later"
_SLOWER = "raise the rate limit quota of the mount, or ask for less at once"
_UNSEAL = "unseal the server: bao operator unseal"
_TRUST = "name the authority that signed its certificate: ca=/path/to/ca.pem in the HSM's URI"


class NotThereError(HsmRefusedError):
    """OpenBao has nothing at this path."""


class InvalidError(HsmRefusedError):
    """OpenBao does not accept an argument: for `decrypt`, that the ciphertext does not open."""


class DeniedError(HsmRefusedError):
    """OpenBao does not know the token, or its policies do not permit the call."""


class CorruptedError(HsmUnavailableError):
    """The answer is not what OpenBao answers: bytes were changed between here and there."""


class Wire:
    """The server as one process reaches it. Never used by another: a forked child makes its own."""

    __slots__ = ("_adapter", "_closed", "_places", "_token", "_uri", "date")

    def __init__(self, uri: OpenBaoUri, token: Token) -> None:
        self._uri = uri
        self._token = token
        self._closed = False
        self.date = ""  # of the last answer, as the service told it
        self._adapter = RawAdapter(
            base_uri=uri.address,
            namespace=uri.namespace,
            session=_session(uri),
            # A redirected call would take the token along, to whatever host the answer names.
            allow_redirects=False,
            strict_http=True,
        )
        self._places = BoundedSemaphore(uri.concurrency)

    def call(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        read: Callable[[dict[str, Any]], T],
        body: dict[str, Any] | None = None,
        *,
        repeat: bool = True,
    ) -> T:
        """What `read` makes of the answer's data; asked again while the call fails in passing and there is time."""
        longest = FIRST_PAUSE
        while True:
            try:
                return read(self._permitted(method, path, deadline, body))
            except HsmUnavailableError:
                if not repeat or not deadline.pause(longest):
                    raise
                longest = min(2 * longest, LONGEST_PAUSE)

    def close(self) -> None:
        """Close every connection; calls under way end with an error."""
        self._closed = True
        self._adapter.close()

    def _permitted(self, method: str, path: str, deadline: Deadline, body: dict[str, Any] | None) -> dict[str, Any]:
        """The answer; where the token is not valid any more, with the next one."""

        def log_in(path: str, body: dict[str, str]) -> str:
            return self._log_in(path, body, deadline)

        token = self._token.value(log_in)
        try:
            return self._once(method, path, deadline, body, token)
        except DeniedError as denied:
            # OpenBao says the same of a token it does not know and of one without the right.
            if self._takes(token, deadline):
                raise
            with reopening():
                renewed = self._token.renew(token, log_in)
            if not renewed:
                msg = f"OpenBao ({self._uri.endpoint}) does not take the token: it is wrong, expired or revoked"
                raise HsmRefusedError(msg, hint=self._token.hint()) from denied
            return self._once(method, path, deadline, body, self._token.value(log_in))

    def _takes(self, token: str, deadline: Deadline) -> bool:
        """Whether the token is valid; raises `HsmRefusedError` where it has no right on the mount at all."""
        try:
            self._once("get", mount_path(self._uri.mount), deadline, None, token)
        except DeniedError as denied:
            if "preflight" not in str(denied):
                return False
            msg = f"OpenBao ({self._uri.endpoint}) has no mount {self._uri.mount}/, or this token has no right on it"
            namespace = f" in the namespace {self._uri.namespace}" if self._uri.namespace else ""
            hint = f"bao secrets enable -path={self._uri.mount} transit{namespace}; or give the token a policy"
            raise HsmRefusedError(msg, hint=hint) from denied
        return True

    def _log_in(self, path: str, body: dict[str, str], deadline: Deadline) -> str:
        try:
            answer = self._once("post", path, deadline, body, None)
        except InvalidError as exc:
            msg = f"OpenBao ({self._uri.endpoint}) refuses the AppRole login: {exc}"
            raise HsmRefusedError(msg, hint="are role-id and the secret ID right, and still valid?") from exc
        auth = answer.get("auth")
        token = auth.get("client_token") if isinstance(auth, dict) else None
        if not isinstance(token, str) or not token:
            raise self._corrupted(path)
        return token

    def _once(
        self, method: str, path: str, deadline: Deadline, body: dict[str, Any] | None, token: str | None
    ) -> dict[str, Any]:
        if not self._places.acquire(timeout=deadline.left()):
            msg = f"{self._uri.concurrency} calls to OpenBao are under way, and none ended in time"
            raise HsmUnavailableError(msg, hint="concurrency= in the HSM's URI allows more at once")
        try:
            if self._closed:
                raise closed()
            headers = {} if token is None else {"X-Vault-Token": token}
            response = self._adapter.request(
                method,
                f"/v1/{path}",
                headers=headers,
                raise_exception=False,
                json=body,
                timeout=deadline.one_try(),
                stream=True,
            )
            with response:
                self.date = response.headers.get("Date", "")
                return self._answer(method, path, response.status_code, _content(response, deadline))
        except (requests.RequestException, HTTPError, OSError) as exc:
            raise self._translated(exc, path, deadline) from _bared(exc)
        finally:
            self._places.release()

    def _answer(self, method: str, path: str, status: int, content: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(content or b"{}")
        except ValueError:
            answer = None
        if isinstance(answer, dict) and _OK <= status < 300:  # noqa: PLR2004
            return answer
        if isinstance(answer, dict) and status >= _CLIENT_ERROR:
            raise self._refusal(method, path, status, answer)
        if status >= _SERVER_ERROR or status in _PASSING or _is_redirect(status):
            raise self._refusal(method, path, status, {})
        # Something between here and the server speaks; what it says about keys counts for nothing.
        raise self._corrupted(path)

    def _refusal(self, method: str, path: str, status: int, answer: dict[str, Any]) -> HsmError:
        told = f"OpenBao ({self._uri.endpoint}), {path}: {_words(answer.get('errors'))} (status {status})"
        if status == _THROTTLED:
            return HsmUnavailableError(f"throttled by {told}", hint=_SLOWER)
        if "soft-deleted" in told:
            # Of signatures OpenBao says so as an error of its own (status 500), of all else with 400.
            return InvalidError(told)
        if status >= _SERVER_ERROR or status in _PASSING or _is_redirect(status):
            return HsmUnavailableError(told, hint=_UNSEAL if "sealed" in told else _REACH)
        return self._refused(method, path, status, told)

    def _refused(self, method: str, path: str, status: int, told: str) -> HsmRefusedError:
        if status == _DENIED:
            hint = f"add to the policy: {stanza(path, CAPABILITIES[method])}"
            return DeniedError(f"no permission: {told}", hint=hint)
        if status == _NOT_THERE and "namespace" in told:
            return HsmRefusedError(told, hint="is namespace= in the HSM's URI right?")
        if status == _NOT_THERE and "no handler" in told:
            return HsmRefusedError(told, hint=f"bao secrets enable -path={self._uri.mount} transit")
        return (NotThereError if status == _NOT_THERE else InvalidError)(told)

    def _translated(self, exc: Exception, path: str, deadline: Deadline) -> HsmError:
        if self._closed:
            # By another thread, under this call.
            return closed()
        told = f"OpenBao ({self._uri.endpoint}), {path}: {type(exc).__name__}"
        if isinstance(exc, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(exc):
            return HsmRefusedError(f"{told}: nobody known vouches for its certificate", hint=_TRUST)
        return HsmUnavailableError(f"{told} (deadline {deadline.seconds:g} s)", hint=_REACH)

    def _corrupted(self, path: str) -> CorruptedError:
        msg = f"OpenBao ({self._uri.endpoint}), {path}: the answer is not OpenBao's; it is not used"
        return CorruptedError(msg, hint="does something on the way change bytes, such as a proxy?")


def mount_path(mount: str) -> str:
    """What tells about a mount to every valid token that has any right on it."""
    return f"sys/internal/ui/mounts/{mount}"


def stanza(path: str, *capabilities: str) -> str:
    """The policy, in HCL, that permits this."""
    listed = ", ".join(f'"{capability}"' for capability in capabilities)
    return f'path "{path}" {{ capabilities = [{listed}] }}'


def _session(uri: OpenBaoUri) -> requests.Session:
    if uri.ca is not None and not uri.ca.is_file():
        msg = f"ca must name a file of certificates, and {uri.ca} is none"
        raise RequestError(msg)
    session = requests.Session()
    # Neither proxies nor passwords from the environment: data keys go to the server and nowhere else.
    session.trust_env = False
    session.verify = str(uri.ca) if uri.ca is not None else True
    session.headers["Accept-Encoding"] = "identity"
    session.mount(uri.address, requests.adapters.HTTPAdapter(1, uri.concurrency, max_retries=0))
    return session


def _content(response: requests.Response, deadline: Deadline) -> bytes:
    """The whole body. Piece by piece, since a timeout bounds the wait for each piece only."""
    content = bytearray()
    while piece := response.raw.read1(1 << 16):
        content += piece
        if len(content) > _MAX_ANSWER or not deadline.left():
            msg = "the answer has no end"
            raise OSError(msg)
    return bytes(content)


def _bared(exc: Exception) -> Exception:
    """The exception without the request, which holds the token and the data key."""
    if isinstance(exc, requests.RequestException):
        exc.request = exc.response = None
    return exc


def _is_redirect(status: int) -> bool:
    # How a standby that does not pass calls on names the active server.
    return 300 <= status < _CLIENT_ERROR  # noqa: PLR2004


def _words(errors: object) -> str:
    told = "; ".join(str(error) for error in errors) if isinstance(errors, list) else ""
    return " ".join(told.split())[:300] or "no reason given"
