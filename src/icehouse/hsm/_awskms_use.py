"""The calls that use a key of AWS KMS by its ARN, and what their answers must be."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from icehouse._core import data_key_from_bytes, data_key_to_bytes, node_from_bytes, same_secret
from icehouse.errors import HsmRefusedError
from icehouse.hsm._awskms_wire import InvalidError, whole
from icehouse.hsm._p256 import point_of, raw_signature

if TYPE_CHECKING:
    from icehouse._core import DataKey, Node
    from icehouse.hsm._awskms_wire import Wire
    from icehouse.hsm._deadline import Deadline

MAX_BYTES = 4096
"""What AWS KMS takes at once, to encrypt or to authenticate."""
_DATA_KEY_BYTES = 32
_MAC_BYTES = 64
_CONTEXT = "icehouse"
_CIPHER, _MAC, _SIGNATURE = "SYMMETRIC_DEFAULT", "HMAC_SHA_512", "ECDSA_SHA_256"


def wrapped(wire: Wire, deadline: Deadline, arn: str, secret: DataKey, context: bytes) -> bytes | None:
    """The ciphertext of a data key; `None` where it does not open again."""
    answer = wire.call(
        "encrypt",
        deadline,
        check=whole(KeyId=str, CiphertextBlob=bytes),
        KeyId=arn,
        Plaintext=data_key_to_bytes(secret),
        EncryptionContext=_bound(context),
    )
    _check(answer, arn, EncryptionAlgorithm=_CIPHER)
    ciphertext: bytes = answer["CiphertextBlob"]
    try:
        return ciphertext if same_secret(opened(wire, deadline, arn, ciphertext, context), secret) else None
    except InvalidError:
        return None


def opened(wire: Wire, deadline: Deadline, arn: str, ciphertext: bytes, context: bytes) -> DataKey:
    """The data key in a ciphertext. Raises `InvalidError` where it is not this key's, or not in this context."""
    answer = wire.call(
        "decrypt",
        deadline,
        check=whole(KeyId=str, Plaintext=bytes),
        # Named, so that no other key's ciphertext opens.
        KeyId=arn,
        CiphertextBlob=ciphertext,
        EncryptionContext=_bound(context),
    )
    _check(answer, arn, EncryptionAlgorithm=_CIPHER)
    if len(answer["Plaintext"]) != _DATA_KEY_BYTES:
        msg = f"AWS KMS opened {len(answer['Plaintext'])} bytes, and a data key has {_DATA_KEY_BYTES}"
        raise InvalidError(msg)
    return data_key_from_bytes(answer["Plaintext"])


def authenticated(wire: Wire, deadline: Deadline, arn: str, message: bytes) -> Node:
    """The MAC of a message of any length."""
    answer = wire.call(
        "generate_mac",
        deadline,
        check=whole(KeyId=str, Mac=bytes),
        KeyId=arn,
        Message=_framed(message),
        MacAlgorithm=_MAC,
    )
    _check(answer, arn, MacAlgorithm=_MAC)
    if len(answer["Mac"]) != _MAC_BYTES:
        msg = f"AWS KMS answered with a MAC of {len(answer['Mac'])} bytes, not {_MAC_BYTES}; it is not used"
        raise HsmRefusedError(msg)
    return node_from_bytes(answer["Mac"])


def signed(wire: Wire, deadline: Deadline, arn: str, digest: bytes) -> bytes:
    """A signature on a digest, as r || s."""
    answer = wire.call(
        "sign",
        deadline,
        check=whole(KeyId=str, Signature=bytes),
        KeyId=arn,
        Message=digest,
        MessageType="DIGEST",
        SigningAlgorithm=_SIGNATURE,
    )
    _check(answer, arn, SigningAlgorithm=_SIGNATURE)
    return raw_signature(answer["Signature"])


def published(wire: Wire, deadline: Deadline, arn: str) -> bytes:
    """The point of a public key."""
    answer = wire.call("get_public_key", deadline, check=whole(KeyId=str, PublicKey=bytes), KeyId=arn)
    _check(answer, arn, KeyUsage="SIGN_VERIFY")
    return point_of(answer["PublicKey"])


def _check(answer: dict[str, Any], arn: str, **wanted: str) -> None:
    """Refuse an answer that another key gave, or one of another algorithm."""
    if answer["KeyId"] != arn:
        msg = f"{arn} was asked, and {answer['KeyId']} answered; the answer is not used"
        raise HsmRefusedError(msg, hint="is the endpoint Amazon's own?")
    for name, value in wanted.items():
        if answer.get(name) != value:
            msg = f"the answer of {arn} has the {name} {answer.get(name)}, not {value}; it is not used"
            raise HsmRefusedError(msg, hint="is the endpoint Amazon's own?")


def _bound(context: bytes) -> dict[str, str]:
    return {_CONTEXT: context.hex()}


def _framed(message: bytes) -> bytes:
    """Any message as the 1 to 4,096 bytes that AWS KMS takes, no two alike."""
    if len(message) < MAX_BYTES:
        return b"\x00" + message
    return b"\x01" + hashlib.sha512(message).digest()
