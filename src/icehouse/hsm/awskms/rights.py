"""What AWS KMS must permit, told by dry runs on the keys that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icehouse.errors import HsmRefusedError
from icehouse.hsm.awskms.errors import PAGE, DeniedError, WouldDoError
from icehouse.hsm.awskms.listing import Memory, keys_of
from icehouse.hsm.listing import PartlyListedError
from icehouse.hsm.protocol import KeyKind, Right

if TYPE_CHECKING:
    from icehouse.hsm.awskms.keys import Keys
    from icehouse.hsm.awskms.uri import AwsKmsUri
    from icehouse.hsm.awskms.wire import Wire
    from icehouse.hsm.key_service.deadline import Deadline

SERVE = ("ListAliases", "DescribeKey", "Encrypt", "Decrypt", "GenerateMac", "Sign", "GetPublicKey")
FOUND = ("ListKeys", "CreateKey", "TagResource", "CreateAlias", "UpdateAlias", "ScheduleKeyDeletion")
_MOST_KEYS = 4
"""How many keys of each kind are tried; those with the last labels, which serve now."""
_TRIAL = bytes(32)


def rights(wire: Wire, keys: Keys, uri: AwsKmsUri, deadline: Deadline) -> list[Right]:
    """Each action, whether it is allowed for all keys tried, and what allows it."""
    granted: dict[str, bool | None] = dict.fromkeys((*SERVE, *FOUND))
    trial = _Trial(wire, deadline, granted)
    trial.done("ListKeys", "list_keys", Limit=1)
    if trial.done("ListAliases", "list_aliases", Limit=1):
        _try_keys(trial, keys)
    return [Right(f"kms:{action}", told, _mend(action, uri)) for action, told in granted.items()]


def _try_keys(trial: _Trial, keys: Keys) -> None:
    try:
        found = keys_of(keys, Memory(), "")
    except DeniedError:
        trial.granted["DescribeKey"] = False
        return
    except PartlyListedError as exc:
        found = exc.keys
    if found:
        trial.granted["DescribeKey"] = True
    for kind in KeyKind:
        for key in [each for each in found if each.kind is kind][-_MOST_KEYS:]:
            try:
                arn = keys.usable(key)
            except HsmRefusedError:
                # Disabled or foreign: no right mends that.
                continue
            _TRIES[kind](trial, arn)


class _Trial:
    """What was found out so far."""

    __slots__ = ("_deadline", "_wire", "granted")

    def __init__(self, wire: Wire, deadline: Deadline, granted: dict[str, bool | None]) -> None:
        self._wire = wire
        self._deadline = deadline
        self.granted = granted

    def done(self, action: str, method: str, **request: Any) -> dict[str, Any] | None:  # noqa: ANN401
        """Make a call that changes nothing, or a dry run; note whether it was allowed, and return the answer."""
        answer = None
        try:
            answer = self._wire.call(method, self._deadline, **request)
        except DeniedError:
            self.granted[action] = False
            return None
        except WouldDoError:
            pass
        if self.granted[action] is None:
            self.granted[action] = True
        return answer or {}


def _try_aes(trial: _Trial, arn: str) -> None:
    # Nothing but a true ciphertext gets as far as the question who may open it.
    made = trial.done("Encrypt", "encrypt", KeyId=arn, Plaintext=_TRIAL)
    if made:
        trial.done("Decrypt", "decrypt", KeyId=arn, CiphertextBlob=made["CiphertextBlob"], DryRun=True)


def _try_hmac(trial: _Trial, arn: str) -> None:
    trial.done("GenerateMac", "generate_mac", KeyId=arn, Message=_TRIAL, MacAlgorithm="HMAC_SHA_512", DryRun=True)


def _try_ecdsa(trial: _Trial, arn: str) -> None:
    digest = {"Message": _TRIAL, "MessageType": "DIGEST", "SigningAlgorithm": "ECDSA_SHA_256"}
    trial.done("Sign", "sign", KeyId=arn, DryRun=True, **digest)
    trial.done("GetPublicKey", "get_public_key", KeyId=arn)


_TRIES = {KeyKind.AES: _try_aes, KeyKind.HMAC: _try_hmac, KeyKind.ECDSA: _try_ecdsa}


def _mend(action: str, uri: AwsKmsUri) -> str:
    policy = "icehouse-serve" if action in SERVE else "icehouse-found"
    whose = f"the role {uri.role}" if uri.role else "whoever runs icehouse"
    return f"allow kms:{action} as the policy {policy} in {PAGE} does, for {whose}"
