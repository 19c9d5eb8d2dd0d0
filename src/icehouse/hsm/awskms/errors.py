"""What AWS KMS answers when it does not do what was asked, and which error of icehouse's that is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from icehouse.errors import HsmError, HsmRefusedError, HsmUnavailableError

if TYPE_CHECKING:
    from icehouse.hsm.awskms.uri import AwsKmsUri

LOG_IN = "run 'aws configure' or 'aws sso login', set AWS_PROFILE, or give this machine an instance or task role"
PAGE = "docs/howto/aws-kms.md"
THROTTLED = frozenset(
    {"BandwidthLimitExceeded", "EC2ThrottledException", "PriorRequestNotComplete"}
    | {"ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled"}
    | {"RequestThrottledException", "SlowDown", "Throttling", "ThrottlingException", "ThrottledException"}
    | {"TooManyRequestsException", "TransactionInProgressException"}
)
"""As botocore has them, without `LimitExceededException`: of KMS that is the quota of keys, which does not pass."""
_PASSING = frozenset(
    {"DependencyTimeoutException", "KeyUnavailableException", "KMSInternalException", "RequestTimeout"}
    | {"InternalFailure", "InternalServerError", "ServiceUnavailable", "ServiceUnavailableException"}
    | {"RequestTimeoutException"}
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "NotAuthorized"})
_CLOCK = frozenset({"RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"})
_LATE = re.compile(r"expired:|not yet current|too skewed", re.IGNORECASE)
_STRANGER = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidClientTokenId"}
    | {"InvalidSignatureException", "MissingAuthenticationToken", "MissingAuthenticationTokenException"}
    | {"SignatureDoesNotMatch", "UnrecognizedClientException"}
)
_DENIAL = re.compile(r"to perform: (?P<action>kms:[A-Za-z]+)")
_TOO_MANY, _FAULT = 429, 500
REACH = "is the network up, is this a region of AWS, and does the endpoint answer? The same call may succeed later"
_QUOTA = "raise the request quota of AWS KMS in this region, or ask for less at once"
_SET_CLOCK = "is this machine's clock right? timedatectl set-ntp true keeps it so"
_OPT_IN = "enable the region for this account, and see that the account is active: 'aws account enable-region'"


class NotThereError(HsmRefusedError):
    """AWS KMS does not know this key or alias."""


class ExistsError(HsmRefusedError):
    """AWS KMS has an alias of this name already."""


class NotUsableError(HsmRefusedError):
    """A key is in a state in which this is not done."""


class DisabledError(NotUsableError):
    """A key is disabled."""


class DeletedError(NotUsableError):
    """A key is about to be deleted."""


class InvalidError(HsmRefusedError):
    """A ciphertext does not open under this key in this context."""


class DeniedError(HsmRefusedError):
    """These credentials lack a permission."""


class WouldDoError(HsmRefusedError):
    """A dry run: the call would have been done."""


class CutError(HsmUnavailableError):
    """A call did not end in the time it had."""


class CorruptedError(HsmUnavailableError):
    """An answer is not whole."""


class NotYetError(HsmUnavailableError):
    """AWS KMS does not know yet, everywhere, what it was told: seconds, sometimes minutes."""


class Answer(NamedTuple):
    """An error as AWS names it."""

    code: str
    words: str
    status: int
    operation: str


def refusal(answer: Answer, told: str, uri: AwsKmsUri) -> HsmError:
    """An error of AWS's as icehouse's own. `told` says who answered what."""
    code = answer.code
    if code in THROTTLED or answer.status == _TOO_MANY:
        return HsmUnavailableError(f"throttled by {told}", hint=_QUOTA)
    if code in _PASSING or (answer.status >= _FAULT and code not in _REFUSALS):
        return HsmUnavailableError(f"{told} (deadline {uri.deadline:g} s)", hint=REACH)
    if code in _DENIED:
        return DeniedError(f"no permission: {told}", hint=_mend(answer, uri))
    return _stranger(answer, told) or _refused(answer, told)


def _stranger(answer: Answer, told: str) -> HsmRefusedError | None:
    """An error about who asks, where it is one."""
    if answer.code in _CLOCK or (answer.code in _STRANGER and _LATE.search(answer.words)):
        return HsmRefusedError(f"this machine's clock is not AWS's: {told}", hint=_SET_CLOCK)
    if answer.code in _STRANGER:
        return HsmRefusedError(f"no valid credentials: {told}", hint=LOG_IN)
    if answer.code == "OptInRequired":
        return HsmRefusedError(f"the account may not use this: {told}", hint=_OPT_IN)
    return None


def _refused(answer: Answer, told: str) -> HsmRefusedError:
    if answer.code == "KMSInvalidStateException" and "pending deletion" in answer.words:
        return DeletedError(told)
    return _REFUSALS.get(answer.code, HsmRefusedError)(told, hint=_HINTS.get(answer.code))


def not_yet(error: HsmError) -> HsmError:
    """What an error means of a key that is known to be there: what has not got everywhere yet passes by itself."""
    if isinstance(error, NotThereError | NotUsableError) and not isinstance(error, DeletedError):
        return NotYetError(f"not known everywhere yet: {error}", hint=AGAIN)
    return error


AGAIN = "AWS KMS needs seconds, sometimes minutes, until a change is known everywhere: the same call succeeds then"


def _mend(answer: Answer, uri: AwsKmsUri) -> str:
    if answer.operation == "AssumeRole":
        return f"allow sts:AssumeRole on {uri.role}, and name the caller in that role's trust policy"
    # Making a key with a tag takes another permission than the call's own.
    denial = _DENIAL.search(answer.words)
    action = denial["action"] if denial else f"kms:{answer.operation}"
    return f"allow {action}, as the policy in {PAGE} does for the keys of alias/{uri.prefix}/*"


_REFUSALS: dict[str, type[HsmRefusedError]] = {
    "NotFoundException": NotThereError,
    "AlreadyExistsException": ExistsError,
    "DisabledException": DisabledError,
    "KMSInvalidStateException": NotUsableError,
    "InvalidCiphertextException": InvalidError,
    "IncorrectKeyException": InvalidError,
    "DryRunOperationException": WouldDoError,
}
_HINTS = {"LimitExceededException": "raise the quota of KMS keys or aliases in this account and region"}
