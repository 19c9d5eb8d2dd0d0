"""The calls that use a key of AWS KMS by its ARN, and what their answers must be."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from icehouse._core import data_key_from_bytes, data_key_to_bytes, node_from_bytes, same_secret
from icehouse.errors import HsmRefusedError
from icehouse.hsm.awskms.errors import InvalidError
from icehouse.hsm.awskms.wire import whole
from icehouse.hsm.key_service.p256 import point_of, raw_signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse._core import DataKey, Node
    from icehouse.hsm.awskms.wire import Wire
    from icehouse.hsm.key_service.deadline import Deadline

MAX_BYTES = 4096
"""What AWS KMS takes at once, to encrypt or to authenticate."""
_DATA_KEY_BYTES = 32
_MAC_BYTES = 64
_CONTEXT = "icehouse"
_CIPHER, _MAC, _SIGNATURE = "SYMMETRIC_DEFAULT", "HMAC_SHA_512", "ECDSA_SHA_256"


class Asked(NamedTuple):
    """A key that an operation asks, by its ARN. `young`: it is known to be there, so what says otherwise passes."""

    wire: Wire
    deadline: Deadline
    arn: str
    young: bool

    def call(self, method: str, check: Callable[[dict[str, Any]], None], **request: Any) -> dict[str, Any]:  # noqa: ANN401
        """Call a method about this key; `check` looks at the answer."""
        return self.wire.call(method, self.deadline, check=check, young=self.young, KeyId=self.arn, **request)

    def check(self, answer: dict[str, Any], **wanted: str) -> None:
        """Refuse an answer that another key gave, or one of another algorithm."""
        if answer["KeyId"] != self.arn:
            msg = f"{self.arn} was asked, and {answer['KeyId']} answered; the answer is not used"
            raise HsmRefusedError(msg, hint="is the endpoint Amazon's own?")
        for name, value in wanted.items():
            if answer.get(name) is None and not self.wire.vouched:
                continue  # stand-ins leave out what Amazon's own always tells
            if answer.get(name) != value:
                msg = f"the answer of {self.arn} has the {name} {answer.get(name)}, not {value}; it is not used"
                raise HsmRefusedError(msg, hint="is the endpoint Amazon's own?")


def wrapped(asked: Asked, secret: DataKey, context: bytes) -> bytes | None:
    """The ciphertext of a data key; `None` where it does not open again."""
    answer = asked.call(
        "encrypt",
        whole(KeyId=str, CiphertextBlob=bytes),
        Plaintext=data_key_to_bytes(secret),
        EncryptionContext=_bound(context),
    )
    asked.check(answer, EncryptionAlgorithm=_CIPHER)
    ciphertext: bytes = answer["CiphertextBlob"]
    try:
        return ciphertext if same_secret(opened(asked, ciphertext, context), secret) else None
    except InvalidError:
        return None


def opened(asked: Asked, ciphertext: bytes, context: bytes) -> DataKey:
    """The data key in a ciphertext. Raises `InvalidError` where it is not this key's, or not in this context."""
    # The key is named, so that no other key's ciphertext opens.
    answer = asked.call(
        "decrypt",
        whole(KeyId=str, Plaintext=bytes),
        CiphertextBlob=ciphertext,
        EncryptionContext=_bound(context),
    )
    asked.check(answer, EncryptionAlgorithm=_CIPHER)
    if len(answer["Plaintext"]) != _DATA_KEY_BYTES:
        msg = f"AWS KMS opened {len(answer['Plaintext'])} bytes, and a data key has {_DATA_KEY_BYTES}"
        raise InvalidError(msg)
    return data_key_from_bytes(answer["Plaintext"])


def authenticated(asked: Asked, message: bytes) -> Node:
    """The MAC of a message of any length."""
    answer = asked.call("generate_mac", whole(KeyId=str, Mac=bytes), Message=_framed(message), MacAlgorithm=_MAC)
    asked.check(answer, MacAlgorithm=_MAC)
    if len(answer["Mac"]) != _MAC_BYTES:
        msg = f"AWS KMS answered with a MAC of {len(answer['Mac'])} bytes, not {_MAC_BYTES}; it is not used"
        raise HsmRefusedError(msg)
    return node_from_bytes(answer["Mac"])


def signed(asked: Asked, digest: bytes) -> bytes:
    """A signature on a digest, as r || s."""
    answer = asked.call(
        "sign",
        whole(KeyId=str, Signature=bytes),
        Message=digest,
        MessageType="DIGEST",
        SigningAlgorithm=_SIGNATURE,
    )
    asked.check(answer, SigningAlgorithm=_SIGNATURE)
    return raw_signature(answer["Signature"])


def published(asked: Asked) -> bytes:
    """The point of a public key."""
    answer = asked.call("get_public_key", whole(KeyId=str, PublicKey=bytes))
    asked.check(answer, KeyUsage="SIGN_VERIFY")
    return point_of(answer["PublicKey"])


def _bound(context: bytes) -> dict[str, str]:
    return {_CONTEXT: context.hex()}


def _framed(message: bytes) -> bytes:
    """Any message as the 1 to 4,096 bytes that AWS KMS takes, no two alike."""
    if len(message) < MAX_BYTES:
        return b"\x00" + message
    return b"\x01" + hashlib.sha512(message).digest()
