"""Twisted Edwards curves in plain integers: RFC 8032 §5.1, §5.2, and RFC 9496's ristretto255 on top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Point(NamedTuple):
    """Extended homogeneous coordinates: x = X/Z, y = Y/Z, x·y = T/Z."""

    x: int
    y: int
    z: int
    t: int


@dataclass(frozen=True)
class Edwards:
    """a·x² + y² = 1 + d·x²·y² modulo p; `size` bytes to an encoded point; prime order `order`."""

    p: int
    a: int
    d: int
    order: int
    cofactor: int
    size: int
    base: tuple[int, int]

    @property
    def generator(self) -> Point:
        """The base point."""
        return self.point(*self.base)

    @property
    def zero(self) -> Point:
        """The neutral element."""
        return Point(0, 1, 1, 0)

    def point(self, x: int, y: int) -> Point:
        """A point from its affine coordinates, which must be on the curve."""
        assert (self.a * x * x + y * y - 1 - self.d * x * x * y * y) % self.p == 0
        return Point(x, y, 1, x * y % self.p)

    def add(self, one: Point, two: Point) -> Point:
        """The unified addition of Hisil, Wong, Carter and Dawson (2008), §3.1."""
        p = self.p
        a, b = one.x * two.x % p, one.y * two.y % p
        c, d = one.t * self.d * two.t % p, one.z * two.z % p
        e = ((one.x + one.y) * (two.x + two.y) - a - b) % p
        f, g, h = (d - c) % p, (d + c) % p, (b - self.a * a) % p
        return Point(e * f % p, g * h % p, f * g % p, e * h % p)

    def times(self, scalar: int, point: Point) -> Point:
        """Double and add."""
        total = self.zero
        for bit in f"{scalar:b}":
            total = self.add(total, total)
            if bit == "1":
                total = self.add(total, point)
        return total

    def equal(self, one: Point, two: Point) -> bool:
        """Whether two points are the same."""
        return (one.x * two.z - two.x * one.z) % self.p == 0 and (one.y * two.z - two.y * one.z) % self.p == 0

    def encode(self, point: Point) -> bytes:
        """RFC 8032: y in little-endian, the lowest bit of x on top."""
        inverse = pow(point.z, -1, self.p)
        x, y = point.x * inverse % self.p, point.y * inverse % self.p
        return (y | (x & 1) << (8 * self.size - 1)).to_bytes(self.size, "little")

    def decode(self, encoded: bytes) -> Point:
        """The one point of this encoding; raises `ValueError` where RFC 9591 wants it refused."""
        if len(encoded) != self.size:
            raise ValueError(encoded.hex())
        number = int.from_bytes(encoded, "little")
        sign, y = number >> (8 * self.size - 1), number & ((1 << (8 * self.size - 1)) - 1)
        square = (y * y - 1) * pow(self.d * y * y - self.a, -1, self.p) % self.p
        x = square_root(square, self.p)
        if y >= self.p or x is None or (x == 0 and sign):
            raise ValueError(encoded.hex())
        point = self.point(x if x & 1 == sign else self.p - x, y)
        if self.equal(point, self.zero) or not self.equal(self.times(self.order, point), self.zero):
            raise ValueError(encoded.hex())
        return point


def square_root(square: int, p: int) -> int | None:
    """A square root modulo a prime that is 3 modulo 4 or 5 modulo 8."""
    if p % 4 == 3:
        root = pow(square, (p + 1) // 4, p)
    else:
        root = pow(square, (p + 3) // 8, p)
        if root * root % p != square % p:
            root = root * pow(2, (p - 1) // 4, p) % p
    return root if root * root % p == square % p else None


_P25519 = 2**255 - 19
ED25519 = Edwards(
    p=_P25519,
    a=-1,
    d=-121665 * pow(121666, -1, _P25519) % _P25519,
    order=2**252 + 27742317777372353535851937790883648493,
    cofactor=8,
    size=32,
    base=(
        15112221349535400772501151409588531511454012693041857206046113283949847762202,
        46316835694926478169428394003475163141307993866256225615783033603165251855960,
    ),
)
ED448 = Edwards(
    p=2**448 - 2**224 - 1,
    a=1,
    d=-39081,
    order=2**446 - 13818066809895115352007386748515426880336692474882178609894547503885,
    cofactor=4,
    size=57,
    base=(
        224580040295924300187604334099896036246789641632564134246125461686950415467406032909029192869357953282578032075146446173674602635247710,
        298819210078481492676017930443930673437544040154080242095928241372331506189835876003536878655418784733982303233503462500531545062832660,
    ),
)
_ROOT_OF_MINUS_ONE = pow(2, (_P25519 - 1) // 4, _P25519)


def decode_ristretto(encoded: bytes) -> Point:
    """RFC 9496 §4.3.1; raises `ValueError` for what is no canonical encoding, and for the identity."""
    p, d = _P25519, ED25519.d
    s = int.from_bytes(encoded, "little")
    if len(encoded) != 32 or s >= p or s & 1:
        raise ValueError(encoded.hex())
    u1, u2 = (1 - s * s) % p, (1 + s * s) % p
    v = (-d * u1 * u1 - u2 * u2) % p
    root = square_root(pow(v * u2 * u2, -1, p), p)
    if root is None:
        raise ValueError(encoded.hex())
    den_x = root * u2 % p
    den_y = root * den_x * v % p
    x = _absolute(2 * s * den_x)
    y = u1 * den_y % p
    if x * y % p & 1 or y == 0 or s == 0:
        raise ValueError(encoded.hex())
    return ED25519.point(x, y)


def equal_ristretto(one: Point, two: Point) -> bool:
    """RFC 9496 §4.3.3: whether two points stand for the same element."""
    p = _P25519
    return (one.x * two.y - one.y * two.x) % p == 0 or (one.y * two.y - one.x * two.x) % p == 0


def encode_ristretto(point: Point) -> bytes:
    """RFC 9496 §4.3.2."""
    p = _P25519
    x0, y0, z0, t0 = point
    u1, u2 = (z0 + y0) * (z0 - y0) % p, x0 * y0 % p
    root = square_root(pow(u1 * u2 * u2, -1, p), p)
    assert root is not None
    den1, den2 = root * u1 % p, root * u2 % p
    z_inverse = den1 * den2 * t0 % p
    if t0 * z_inverse % p & 1:
        x, y = y0 * _ROOT_OF_MINUS_ONE % p, x0 * _ROOT_OF_MINUS_ONE % p
        a_minus_d_root = square_root((-1 - ED25519.d) % p, p)
        assert a_minus_d_root is not None
        den = den1 * pow(a_minus_d_root, -1, p) % p
    else:
        x, y, den = x0, y0, den2
    if x * z_inverse % p & 1:
        y = -y % p
    return _absolute(den * (z0 - y)).to_bytes(32, "little")


def _absolute(number: int) -> int:
    number %= _P25519
    return _P25519 - number if number & 1 else number
