"""Calls to AWS KMS: one client of a process, one deadline of an operation, one translation of errors."""

from __future__ import annotations

import logging
import re
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from threading import BoundedSemaphore, Thread, local
from typing import TYPE_CHECKING, Any, TypeVar

from icehouse.errors import HsmError, HsmRefusedError, HsmUnavailableError, IcehouseError, MissingExtraError
from icehouse.hsm.awskms.errors import LOG_IN, REACH, Answer, CorruptedError, CutError, not_yet, refusal
from icehouse.hsm.key_service.deadline import FIRST_PAUSE, LONGEST_PAUSE, Deadline

try:
    from botocore import exceptions as aws
    from botocore.parsers import ResponseParserError

    from icehouse.hsm.awskms.session import connected
except ImportError as exc:
    raise MissingExtraError("aws") from exc  # noqa: EM101  the name of the extra
from icehouse.hsm.key_service.per_process import closed

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.hsm.awskms.uri import AwsKmsUri

T = TypeVar("T")
_CONNECT = "connect"
_NO_CREDENTIALS = (
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.CredentialRetrievalError,
    aws.TokenRetrievalError,
    aws.SSOError,
    aws.ConfigNotFound,
    aws.ConfigParseError,
)
_BROKEN = (ResponseParserError, ValueError, KeyError, TypeError)
"""What botocore raises, or we, for an answer that is not what it should be."""
_PROBLEMS = (aws.BotoCoreError, aws.ClientError, aws.HTTPClientError, OSError, *_BROKEN)
_OURS = local()


class _Discretion(logging.Filter):
    """At DEBUG, botocore logs every request and answer whole, data keys and all; not those of icehouse."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.INFO or not getattr(_OURS, "busy", False)


for _name in ("auth", "credentials", "endpoint", "hooks", "parsers", "utils"):
    logging.getLogger(f"botocore.{_name}").addFilter(_Discretion())


class Wire:
    """The service as one process reaches it. Never used by another: a forked child makes its own."""

    __slots__ = ("_client", "_closed", "_places", "_uri", "date", "region", "url", "vouched")

    def __init__(self, uri: AwsKmsUri, deadline: Deadline) -> None:
        self._uri = uri
        self._closed = False
        self._places = BoundedSemaphore(uri.concurrency)
        self.date = ""  # of the last answer, as the service told it
        # AWS looks for credentials on the network too, and a role is taken there: no deadline of ours holds inside.
        self.region, self.url = uri.region or "", uri.url or ""
        self._client = self._until(lambda: self._once(_CONNECT, lambda: connected(uri), deadline, 1.0), deadline)
        self.region, self.url = self._client.meta.region_name, self._client.meta.endpoint_url
        self.vouched = of_amazon(self.url, self.region)

    def call(
        self,
        method: str,
        deadline: Deadline,
        *,
        check: Callable[[dict[str, Any]], None] = lambda _: None,
        repeat: bool = True,
        young: bool = False,
        **request: Any,  # noqa: ANN401  each method has parameters of its own
    ) -> dict[str, Any]:
        """Make one call, again while it fails in passing and there is time.

        `check` raises `CorruptedError` for an answer that is not whole; such an answer is never returned. Of a key that
        is known to be there, `young` says so: that AWS KMS does not know it, or its state, passes.
        """
        work = getattr(self._client, method)

        def ask() -> dict[str, Any]:
            answer: dict[str, Any] = work(**request)
            self.date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
            check(answer)
            return answer

        def asked() -> dict[str, Any]:
            try:
                return self._once(method, ask, deadline, 0.5)
            except HsmRefusedError as exc:
                passing = not_yet(exc) if young else exc
                if passing is exc:
                    raise
                raise passing from exc

        return self._until(asked, deadline, repeat=repeat)

    def close(self) -> None:
        """Close the connections; calls under way may still end."""
        self._closed = True
        self._client.close()

    def _until(self, attempt: Callable[[], T], deadline: Deadline, *, repeat: bool = True) -> T:
        longest, told = FIRST_PAUSE, None
        while True:
            try:
                return attempt()
            except HsmUnavailableError as exc:
                # That there was no time left says less than what went wrong before.
                told = exc if told is None or not isinstance(exc, CutError) else told
                if not repeat or not deadline.pause(longest):
                    raise told from told.__cause__
                longest = min(2 * longest, LONGEST_PAUSE)

    def _once(self, method: str, work: Callable[[], T], deadline: Deadline, share: float) -> T:
        if not self._places.acquire(timeout=deadline.left()):
            msg = f"{self._uri.concurrency} calls to AWS KMS are under way, and none ended in time"
            raise HsmUnavailableError(msg, hint="concurrency= in the HSM's URI allows more at once")
        told: Future[T] = Future()
        # botocore bounds each wait for a socket, but no call as a whole: names, tokens and drips come on top.
        Thread(target=_work, args=(told, work, self._places), name="icehouse-aws", daemon=True).start()
        try:
            return told.result(timeout=deadline.one_try(share))
        except FutureTimeoutError:
            who = "AWS gave no credentials" if method == _CONNECT else f"{self._told(method)}: no answer"
            msg = f"{who} (deadline {deadline.seconds:g} s)"
            raise CutError(msg, hint=LOG_IN if method == _CONNECT else REACH) from None
        except _PROBLEMS as exc:
            raise self._translated(exc, method, deadline) from exc

    def _translated(self, exc: Exception, method: str, deadline: Deadline) -> IcehouseError:
        """Whatever went wrong, as icehouse's own error: the one place that knows both."""
        if self._closed:
            # By another thread, under this call.
            return closed()
        told = f"{self._told(method)}: {exc}"
        match exc:
            case aws.ClientError():
                return self._answered(exc, method)
            case _ if isinstance(exc, _NO_CREDENTIALS):
                # Once it is open, credentials that go missing may come back.
                error = HsmRefusedError if method == _CONNECT else HsmUnavailableError
                return error(f"there are no usable AWS credentials: {exc}", hint=LOG_IN)
            case aws.ParamValidationError():
                return HsmRefusedError(told)
            case _ if isinstance(exc, _BROKEN):
                return CorruptedError(f"an answer is not whole: {told}")
            case _:
                return HsmUnavailableError(f"{told} (deadline {deadline.seconds:g} s)", hint=REACH)

    def _answered(self, exc: Any, method: str) -> HsmError:  # noqa: ANN401
        error, told = exc.response.get("Error", {}), exc.response.get("ResponseMetadata", {})
        answer = Answer(
            error.get("Code", ""), error.get("Message", ""), told.get("HTTPStatusCode", 0), exc.operation_name
        )
        return refusal(answer, f"{self._told(method)}: {answer.code}: {answer.words}", self._uri)

    def _told(self, method: str) -> str:
        return f"AWS KMS ({self.url or self.region or 'no region'}), {method}"


def _work(told: Future[T], work: Callable[[], T], places: BoundedSemaphore) -> None:
    _OURS.busy = True
    try:
        answer = work()
    except BaseException as exc:  # noqa: BLE001  whoever waits raises it
        places.release()
        told.set_exception(exc)
    else:
        places.release()
        told.set_result(answer)


def whole(**fields: type) -> Callable[[dict[str, Any]], None]:
    """A check that an answer has these fields, of these types and not empty."""

    def check(answer: dict[str, Any]) -> None:
        for name, kind in fields.items():
            if not isinstance(answer.get(name), kind) or not answer[name]:
                msg = f"an answer of AWS KMS lacks its {name}; it is not used"
                raise CorruptedError(msg, hint=REACH)

    return check


def of_amazon(url: str, region: str) -> bool:
    """Whether the answers come from AWS itself: over TLS, from a host whose name is that of KMS in this region."""
    place = re.escape(region)
    host = rf"https://([a-z0-9-]+\.)*kms(-fips)?\.{place}\.((vpce\.)?amazonaws\.(com(\.cn)?|eu)|api\.aws)(:443)?/?"
    return re.fullmatch(host, url) is not None
