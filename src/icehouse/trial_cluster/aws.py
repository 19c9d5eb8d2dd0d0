"""The one way to AWS: calls by name, errors in icehouse's words, and AWS's own clock."""

from __future__ import annotations

import os
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from icehouse.errors import HsmRefusedError, HsmUnavailableError, MissingExtraError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

EXTRA = "aws"
_PATIENCE_TO_CONNECT = 10
_PATIENCE_TO_READ = 60
_THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "BandwidthLimitExceeded",
        "SlowDown",
        "PriorRequestNotComplete",
    }
)
"""What AWS did not begin with: the same call is not done twice when it is repeated."""
_BUSY = frozenset(
    {
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "ServiceFailure",
        "InternalFailure",
        "InternalServerException",
        "CloudHsmInternalFailureException",
        "CloudHsmServiceException",
        "ConcurrentModification",
        "EntityTemporarilyUnmodifiable",
        "StateMachineDeleting",
    }
)
_STRANGER = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "IncompleteSignature",
        "AuthFailure",
    }
)
_SERVER_FAULT = 500
_REPEAT = "repeat the command: it goes on where it stopped"
_TRIES = 4


class AwsRefusedError(HsmRefusedError):
    """AWS refused; `code` is its name for the reason."""

    def __init__(self, message: str, *, code: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class AwsUnansweredError(HsmUnavailableError):
    """AWS may have done what it was asked for, and nobody knows."""


class Aws:
    """AWS in one region. Raises `MissingExtraError` without boto3, `RequestError` for a region it does not have.

    `patience` is how many seconds lie between two looks at something that takes time.
    """

    def __init__(
        self, region: str | None = None, *, patience: float = 15, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        try:
            import boto3  # noqa: PLC0415  loaded by whoever uses it
            import botocore.config  # noqa: PLC0415
        except ImportError as exc:
            raise MissingExtraError(EXTRA) from exc
        self._session = boto3.session.Session()
        # Only whoever knows what was asked for can tell whether it may be asked again.
        self._config = botocore.config.Config(
            retries={"total_max_attempts": 1},
            connect_timeout=_PATIENCE_TO_CONNECT,
            read_timeout=_PATIENCE_TO_READ,
        )
        # boto3 itself reads AWS_DEFAULT_REGION only, unlike every other client of AWS.
        self.region = self._checked(region or os.environ.get("AWS_REGION") or self._session.region_name)
        self.patience = patience
        self.now = 0
        """Seconds since 1970, as AWS said in its last answer."""
        self._sleep = sleep
        self._clients: dict[str, Any] = {}

    def _checked(self, region: str | None) -> str:
        if not region:
            msg = "no AWS region was named"
            raise RequestError(msg, hint="name it with --region or in AWS_REGION")
        known = [
            each
            for partition in self._session.get_available_partitions()
            for each in self._session.get_available_regions("cloudhsmv2", partition)
        ]
        if region not in known:
            msg = f"the region must be one that has CloudHSM, not {region!r}"
            raise RequestError(msg, hint=f"they are {', '.join(sorted(known))}")
        return region

    def wait(self) -> None:
        """Let some time pass."""
        self._sleep(self.patience)

    def call(
        self,
        service: str,
        operation: str,
        *,
        but: tuple[str, ...] = (),
        later: tuple[str, ...] = (),
        once: bool = False,
        **parameters: Any,  # noqa: ANN401  whatever AWS names
    ) -> dict[str, Any]:
        """Call AWS. Errors whose code is in `but` give an empty answer; those in `later` may pass by themselves.

        What AWS could not answer is asked again, unless it is to be asked `once`, because it would be done twice.

        Raises `RequestError` where AWS does not know who asks, `HsmUnavailableError` where the same call may succeed
        later (`AwsUnansweredError` where it may also have succeeded), and else `AwsRefusedError`.
        """
        for _ in range(0 if once else _TRIES - 1):
            try:
                return self._ask(service, operation, but, later, parameters)
            except HsmUnavailableError:
                self.wait()
        return self._ask(service, operation, but, later, parameters)

    def caller(self) -> tuple[str, str, str]:
        """The partition, account and region of whoever's credentials these are."""
        answer = self.call("sts", "get_caller_identity")
        return answer["Arn"].split(":")[1], answer["Account"], self.region

    def _ask(
        self, service: str, operation: str, but: tuple[str, ...], later: tuple[str, ...], parameters: dict[str, Any]
    ) -> dict[str, Any]:
        from botocore import exceptions as problems  # noqa: PLC0415

        try:
            answer: dict[str, Any] = getattr(self._client(service), operation)(**parameters)
        except problems.ClientError as exc:
            self._tell_time(exc.response)
            if exc.response.get("Error", {}).get("Code") in but:
                return {}
            raise _refusal((service, operation), exc.response, later) from exc
        except (
            problems.NoCredentialsError,
            problems.PartialCredentialsError,
            problems.CredentialRetrievalError,
        ) as exc:
            msg = "there are no AWS credentials"
            raise RequestError(msg, hint="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from exc
        except problems.ParamValidationError as exc:
            msg = f"{service} {operation}: {exc}"
            raise RequestError(msg) from exc
        except (problems.EndpointConnectionError, problems.ConnectTimeoutError) as exc:
            msg = f"AWS does not answer: {service} {operation}: {exc}"
            raise HsmUnavailableError(msg, hint=_REPEAT) from exc
        except problems.BotoCoreError as exc:
            msg = f"AWS does not answer: {service} {operation}: {exc}"
            raise AwsUnansweredError(msg, hint=_REPEAT) from exc
        self._tell_time(answer)
        return answer

    def _client(self, service: str) -> Any:  # noqa: ANN401  boto3 is optional, and so are its types
        if service not in self._clients:
            self._clients[service] = self._session.client(service, region_name=self.region, config=self._config)
        return self._clients[service]

    def _tell_time(self, answer: dict[str, Any]) -> None:
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        self.now = int(parsedate_to_datetime(date).timestamp()) if date else int(time.time())


def _refusal(
    asked: tuple[str, str], response: dict[str, Any], later: tuple[str, ...]
) -> RequestError | HsmUnavailableError | HsmRefusedError:
    error = response.get("Error", {})
    code, status = error.get("Code", ""), response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    msg = f"AWS refused {' '.join(asked)}: {code}: {error.get('Message', '')}"
    if code in _STRANGER:
        return RequestError(msg, hint="the AWS credentials are not valid, or no longer")
    if code in _THROTTLED or code in later:
        return HsmUnavailableError(msg, hint=_REPEAT)
    if code in _BUSY or status >= _SERVER_FAULT:
        return AwsUnansweredError(msg, hint=_REPEAT)
    return AwsRefusedError(msg, code=code)
