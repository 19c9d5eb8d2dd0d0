"""Verification of ECDSA on P-256 (FIPS 186-5, 6.4.2), to check what an HSM signed; nothing secret passes here."""

from __future__ import annotations

_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
_SIGNATURE_BYTES, _POINT_BYTES = 64, 65
_Point = tuple[int, int] | None


def verify(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether `signature`, r || s, is one on a digest of 32 bytes under an uncompressed SEC1 point."""
    if len(public_key) != _POINT_BYTES or public_key[0] != 4 or len(signature) != _SIGNATURE_BYTES:  # noqa: PLR2004  as SEC 1 has it
        return False
    x, y = int.from_bytes(public_key[1:33], "big"), int.from_bytes(public_key[33:], "big")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (x < _P and y < _P and (y * y - (x**3 - 3 * x + _B)) % _P == 0 and 0 < r < _N and 0 < s < _N):
        return False
    inverse = pow(s, -1, _N)
    found = _add(_times(_G, int.from_bytes(digest, "big") * inverse % _N), _times((x, y), r * inverse % _N))
    return found is not None and found[0] % _N == r


def _add(one: _Point, other: _Point) -> _Point:
    if one is None or other is None:
        return one or other
    if one[0] == other[0]:
        if (one[1] + other[1]) % _P == 0:
            return None
        slope = (3 * one[0] * one[0] - 3) * pow(2 * one[1], -1, _P)
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, _P)
    x = (slope * slope - one[0] - other[0]) % _P
    return x, (slope * (one[0] - x) - one[1]) % _P


def _times(point: _Point, scalar: int) -> _Point:
    total: _Point = None
    for bit in f"{scalar:b}":
        total = _add(total, total)
        if bit == "1":
            total = _add(total, point)
    return total
