"""What the real AWS KMS insists on and moto does not: states, usages, sizes, dry runs, digests, pages, permissions."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from moto.kms import models
from moto.kms.models import kms_backends

USAGES = {
    "Encrypt": "ENCRYPT_DECRYPT",
    "Decrypt": "ENCRYPT_DECRYPT",
    "GenerateMac": "GENERATE_VERIFY_MAC",
    "Sign": "SIGN_VERIFY",
    "GetPublicKey": "SIGN_VERIFY",
}
_BLOBS = {"Plaintext": 4096, "Message": 4096, "CiphertextBlob": 6144}
_KEY_ID = 36
"""moto's ciphertexts begin with the id of their key."""


# moto makes an RSA key for every key, even where it has no use for one: slow.
_moto_generates = models.generate_private_key
models.generate_private_key = lambda spec: _moto_generates(spec) if spec.startswith(("RSA", "ECC")) else None


class AwsError(Exception):
    """An error as AWS names it."""

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass
class Rules:
    """`room` is the quota of keys, `page` the longest page.

    What is new is not known at once: `lag` is how many looks at a new alias find nothing, `key_lag` how many calls that
    name a new key by its id do not know it, `state_lag` how many after these do not know its state, `list_lag` how many
    lists are without it. `leaves_out` are fields that answers lack.
    """

    denied: set[str] = field(default_factory=set)
    """Actions that nobody is allowed, such as `kms:Encrypt`."""
    lag: int = 0
    key_lag: int = 0
    state_lag: int = 0
    list_lag: int = 0
    leaves_out: frozenset[str] = frozenset()
    room: int | None = None
    page: int = 1000
    _young: dict[str, int] = field(default_factory=dict)
    _new: dict[str, list[int]] = field(default_factory=dict)
    """Of a new key: how many calls do not know it yet, how many not its state, how many lists are without it."""

    def before(self, action: str, asked: dict[str, Any], account: str, region: str) -> dict[str, Any] | None:
        """Refuse what AWS refuses; an answer, where moto's would be wrong."""
        backend = kms_backends[account][region]
        name = asked.get("TargetKeyId") or asked.get("KeyId")
        key = self.key(backend, name)
        needed = {f"kms:{action}"} | ({"kms:TagResource"} if asked.get("Tags") else set())
        for denied in needed & self.denied:
            resource = key.arn if key else f"arn:aws:kms:{region}:{account}:*"
            who = f"arn:aws:iam::{account}:user/icehouse"
            words = f"User: {who} is not authorized to perform: {denied} on resource: {resource}"
            raise AwsError("AccessDeniedException", f"{words} because no identity-based policy allows it")
        self._check_known(action, key, name)
        if self._too_young(action, name):
            raise AwsError("NotFoundException", f"Alias arn:aws:kms:{region}:{account}:{name} is not found.")
        if action == "CreateKey" and self.room is not None and len(living(backend)) >= self.room:
            raise AwsError("LimitExceededException", "You have reached the limit of keys in this account and region.")
        if key is None:
            return None
        _check_move(backend, action, key, asked)
        _check_state(action, key)
        _check_usage(action, key, asked)
        if action == "Decrypt":
            _check_ciphertext(backend, key, base64.b64decode(asked["CiphertextBlob"]))
        if asked.get("DryRun"):
            words = "The request would have succeeded, but the DryRun option is set."
            raise AwsError("DryRunOperationException", words, 412)
        return _signed(key, asked) if action == "Sign" else None

    def plain(self, asked: dict[str, Any], account: str, region: str) -> dict[str, Any]:
        """The request with ids in place of ARNs: not all of moto takes these."""
        backend = kms_backends[account][region]
        named = {name: self.key(backend, asked[name]) for name in ("KeyId", "TargetKeyId") if name in asked}
        return asked | {name: key.id for name, key in named.items() if key and not asked[name].startswith("alias/")}

    def after(self, action: str, asked: dict[str, Any], answer: dict[str, Any], account: str, region: str) -> None:
        """Complete an answer of moto's."""
        key = self.key(kms_backends[account][region], asked.get("KeyId"))
        if action in USAGES and key:
            answer["KeyId"] = key.arn
        if action == "CreateKey":
            self._new[answer["KeyMetadata"]["KeyId"]] = [self.key_lag, self.state_lag, self.list_lag]
        if action in {"Encrypt", "Decrypt"}:
            answer["EncryptionAlgorithm"] = "SYMMETRIC_DEFAULT"
        if action == "ScheduleKeyDeletion":
            answer |= {"KeyId": key.arn, "KeyState": "PendingDeletion"}
        if action in {"CreateAlias", "UpdateAlias"}:
            self._young[asked["AliasName"]] = self.lag
        self._listed(action, asked, answer)
        for told in (answer, answer.get("KeyMetadata", {})):
            for name in self.leaves_out:
                told.pop(name, None)

    def _listed(self, action: str, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        """A page of a list, without what lists do not show yet."""
        field = {"ListKeys": "Keys", "ListAliases": "Aliases"}.get(action)
        if field is None:
            return
        if action == "ListKeys":
            answer["Keys"] = [each for each in answer["Keys"] if not self._unlisted(each["KeyId"])]
        else:
            answer["Aliases"] = [each for each in answer["Aliases"] if not self._young.get(each["AliasName"])]
        start = int(asked.get("Marker", 0))
        end = start + min(self.page, asked.get("Limit", self.page))
        if end < len(answer[field]):
            answer |= {"Truncated": True, "NextMarker": str(end)}
        answer[field] = answer[field][start:end]

    def _check_known(self, action: str, key, name: str | None) -> None:
        """A new key is not known everywhere at once, nor is its state."""
        if key is None or name is None or name.startswith("alias/"):
            return
        left = self._new.get(key.id, [0, 0, 0])
        if left[0] > 0:
            left[0] -= 1
            raise AwsError("NotFoundException", f"Key '{key.arn}' does not exist")
        if left[1] > 0 and action != "DescribeKey":
            left[1] -= 1
            raise AwsError("KMSInvalidStateException", f"{key.arn} is creating.")

    def _unlisted(self, key_id: str) -> bool:
        left = self._new.get(key_id, [0, 0, 0])
        left[2] -= 1
        return left[2] >= 0

    def _too_young(self, action: str, name: str | None) -> bool:
        if action != "DescribeKey" or not self._young.get(name or ""):
            return False
        self._young[name] -= 1
        return True

    @staticmethod
    def key(backend, name: str | None):
        """The key that an id, an ARN or an alias names."""
        if name and name.startswith("alias/"):
            name = next((alias.target_key_id for alias in backend.list_aliases() if alias.alias_name == name), None)
        return backend.keys.get((name or "").rpartition("/")[2])


def living(backend) -> list[Any]:
    return [key for key in backend.keys.values() if key.key_state != "PendingDeletion"]


def _check_move(backend, action: str, key, asked: dict[str, Any]) -> None:
    """An alias goes from a key to one of the same kind only."""
    before = Rules.key(backend, asked["AliasName"]) if action == "UpdateAlias" else None
    if before is not None and (before.key_usage, before.key_spec) != (key.key_usage, key.key_spec):
        raise AwsError("ValidationException", "The current and new KMS key must be the same type, with the same usage.")


def _check_state(action: str, key) -> None:
    if key.key_state == "Disabled" and action in USAGES:
        raise AwsError("DisabledException", f"{key.arn} is disabled.")
    changes = {"CreateAlias", "UpdateAlias", "ScheduleKeyDeletion"}
    if key.key_state not in {"Enabled", "Disabled"} and action in changes | USAGES.keys():
        words = {"PendingDeletion": "is pending deletion", "PendingImport": "is pending import"}.get(
            key.key_state, f"is {key.key_state.lower()}"
        )
        raise AwsError("KMSInvalidStateException", f"{key.arn} {words}.")


def _check_usage(action: str, key, asked: dict[str, Any]) -> None:
    if action not in USAGES:
        return
    if key.key_usage != USAGES[action]:
        words = f"{key.arn} key usage is {key.key_usage} which is not valid for {action}."
        raise AwsError("InvalidKeyUsageException", words)
    for name, most in _BLOBS.items():
        if name in asked and not 1 <= len(base64.b64decode(asked[name])) <= most:
            raise AwsError("ValidationException", f"1 validation error detected: the length of {name}")
    algorithm = {"HMAC_512": "HMAC_SHA_512", "HMAC_256": "HMAC_SHA_256"}.get(key.key_spec)
    if action == "GenerateMac" and asked["MacAlgorithm"] != algorithm:
        raise AwsError("InvalidKeyUsageException", f"Algorithm {asked['MacAlgorithm']} is incompatible.")


def _check_ciphertext(backend, key, ciphertext: bytes) -> None:
    # As the real one: only a ciphertext that is whole gets an answer about its key.
    name = ciphertext[:_KEY_ID].decode(errors="replace")
    if name not in backend.keys:
        raise AwsError("InvalidCiphertextException")
    if name != key.id:
        raise AwsError("IncorrectKeyException", "The key ID in the request does not identify a CMK that can do this.")


def _signed(key, asked: dict[str, Any]) -> dict[str, Any]:
    """moto hashes a digest again."""
    message = base64.b64decode(asked["Message"])
    if asked["SigningAlgorithm"] not in key.signing_algorithms:
        raise AwsError("InvalidKeyUsageException", f"Algorithm {asked['SigningAlgorithm']} is incompatible.")
    if asked.get("MessageType") != "DIGEST" or len(message) != SHA256.digest_size:
        raise AwsError("ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_256.")
    signature = key.private_key.private_key.sign(message, ec.ECDSA(Prehashed(SHA256())))
    told = base64.b64encode(signature).decode()
    return {"KeyId": key.arn, "Signature": told, "SigningAlgorithm": asked["SigningAlgorithm"]}
