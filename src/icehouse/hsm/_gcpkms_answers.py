"""Answers of Google Cloud KMS: whether they are whole, and what they hold."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from icehouse.errors import HsmRefusedError
from icehouse.hsm._crc32c import crc32c
from icehouse.hsm._gcpkms_wire import CorruptedError

_P256_HEADER = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_POINT_BYTES = 65
_SCALAR_BYTES = 32


def _sound(told: bool, content: bytes, checksum: Any) -> None:  # noqa: ANN401, FBT001
    """Raise `CorruptedError` unless the service had our checksums and its own fits what came."""
    if not told or checksum != crc32c(content):
        msg = "a checksum between here and Google Cloud KMS does not fit; the answer is not used"
        raise CorruptedError(msg, hint="does something on the network change bytes? The same call may succeed later")


def encrypted(answer: Any) -> None:  # noqa: ANN401
    told = answer.verified_plaintext_crc32c and answer.verified_additional_authenticated_data_crc32c
    _sound(told, answer.ciphertext, answer.ciphertext_crc32c)


def decrypted(answer: Any) -> None:  # noqa: ANN401
    _sound(True, answer.plaintext, answer.plaintext_crc32c)  # noqa: FBT003  the service refuses what does not fit


def maced(answer: Any) -> None:  # noqa: ANN401
    _sound(answer.verified_data_crc32c, answer.mac, answer.mac_crc32c)


def signed(answer: Any) -> None:  # noqa: ANN401
    _sound(answer.verified_digest_crc32c, answer.signature, answer.signature_crc32c)


def published(answer: Any) -> None:  # noqa: ANN401
    _sound(True, answer.pem.encode(), answer.pem_crc32c)  # noqa: FBT003  nothing was sent


def raw_signature(der: bytes) -> bytes:
    """The r || s of a DER signature (RFC 3279 section 2.2.3), strictly."""
    body = _field(der, 0x30, whole=True)
    first = _field(body, 0x02)
    second = _field(body[2 + len(first) :], 0x02, whole=True)
    return b"".join(_scalar(number) for number in (first, second))


def _field(der: bytes, tag: int, *, whole: bool = False) -> bytes:
    # Both numbers and their sequence are shorter than 128 bytes, so that a length is one byte.
    if len(der) < 2 or der[0] != tag or der[1] > min(len(der) - 2, 127) or (whole and der[1] != len(der) - 2):  # noqa: PLR2004
        raise _malformed()
    return der[2 : 2 + der[1]]


def _scalar(number: bytes) -> bytes:
    value = int.from_bytes(number, "big", signed=True)
    if value <= 0 or len(number) > _SCALAR_BYTES + 1:
        raise _malformed()
    return value.to_bytes(_SCALAR_BYTES, "big")


def point_of(pem: str) -> bytes:
    """The point in a PEM SubjectPublicKeyInfo of a P-256 key (RFC 5480)."""
    lines = pem.strip().splitlines()
    try:
        der = base64.b64decode("".join(lines[1:-1]), validate=True)
    except binascii.Error:
        der = b""
    point = der[-_POINT_BYTES:]
    if der[:-_POINT_BYTES] + point[:1] != _P256_HEADER:
        raise _malformed()
    return point


def _malformed() -> HsmRefusedError:
    return HsmRefusedError("Google Cloud KMS answered with something that is not of P-256; it is not used")
