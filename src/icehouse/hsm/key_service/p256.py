"""What services tell of P-256, in DER, as the bytes that icehouse uses."""

from __future__ import annotations

from icehouse._core import ecdsa_point, ecdsa_raw_signature
from icehouse.errors import HsmRefusedError, ProtocolError


def raw_signature(der: bytes) -> bytes:
    """The r || s of a DER signature (RFC 3279 section 2.2.3), strictly."""
    try:
        return ecdsa_raw_signature(der)
    except ProtocolError as err:
        raise _malformed() from err


def point_of(der: bytes) -> bytes:
    """The uncompressed point in a SubjectPublicKeyInfo of a P-256 key (RFC 5480)."""
    try:
        return ecdsa_point(der)
    except ProtocolError as err:
        raise _malformed() from err


def _malformed() -> HsmRefusedError:
    return HsmRefusedError("the service answered with something that is not of P-256; it is not used")
