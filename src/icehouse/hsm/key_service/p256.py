"""What services tell of P-256, in DER, as the bytes that icehouse uses."""

from __future__ import annotations

from icehouse.errors import HsmRefusedError

_HEADER = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_POINT_BYTES = 65
_SCALAR_BYTES = 32


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


def point_of(der: bytes) -> bytes:
    """The uncompressed point in a SubjectPublicKeyInfo of a P-256 key (RFC 5480)."""
    point = der[-_POINT_BYTES:]
    if der[:-_POINT_BYTES] + point[:1] != _HEADER:
        raise _malformed()
    return point


def _malformed() -> HsmRefusedError:
    return HsmRefusedError("the service answered with something that is not of P-256; it is not used")
