"""Answers of Google Cloud KMS: whether they are whole, and what they hold."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from icehouse.hsm.gcpkms.crc32c import crc32c
from icehouse.hsm.gcpkms.wire import CorruptedError
from icehouse.hsm.key_service import p256


def _sound(told: bool, content: bytes, checksum: Any) -> None:  # noqa: ANN401, FBT001
    """Raise `CorruptedError` unless the service had our checksums and its own fits what came."""
    if not told or checksum != crc32c(content):
        msg = "a checksum between here and Google Cloud KMS does not fit; the answer is not used"
        raise CorruptedError(msg, hint="does something on the network change bytes? The same call may succeed later")


def encrypted(answer: Any) -> None:  # noqa: ANN401
    """Check the answer to an encryption."""
    told = answer.verified_plaintext_crc32c and answer.verified_additional_authenticated_data_crc32c
    _sound(told, answer.ciphertext, answer.ciphertext_crc32c)


def decrypted(answer: Any) -> None:  # noqa: ANN401
    """Check the answer to a decryption."""
    _sound(True, answer.plaintext, answer.plaintext_crc32c)  # noqa: FBT003  the service refuses what does not fit


def maced(answer: Any) -> None:  # noqa: ANN401
    """Check the answer to a MAC."""
    _sound(answer.verified_data_crc32c, answer.mac, answer.mac_crc32c)


def signed(answer: Any) -> None:  # noqa: ANN401
    """Check the answer to a signature."""
    _sound(answer.verified_digest_crc32c, answer.signature, answer.signature_crc32c)


def published(answer: Any) -> None:  # noqa: ANN401
    """Check the answer about a public key."""
    _sound(True, answer.pem.encode(), answer.pem_crc32c)  # noqa: FBT003  nothing was sent


def point_of(pem: str) -> bytes:
    """The point in a PEM SubjectPublicKeyInfo of a P-256 key."""
    lines = pem.strip().splitlines()
    try:
        return p256.point_of(base64.b64decode("".join(lines[1:-1]), validate=True))
    except binascii.Error:
        return p256.point_of(b"")
