"""Short Weierstrass curves in plain integers: SEC 1 points, compressed."""

from __future__ import annotations

from dataclasses import dataclass

Point = tuple[int, int] | None
"""Affine coordinates; None is the neutral element."""


@dataclass(frozen=True)
class Weierstrass:
    """y² = x³ + a·x + b modulo p, of prime order."""

    p: int
    a: int
    b: int
    order: int
    base: tuple[int, int]

    def add(self, one: Point, two: Point) -> Point:
        """The chord and the tangent."""
        if one is None or two is None:
            return one or two
        if one[0] == two[0] and (one[1] + two[1]) % self.p == 0:
            return None
        if one == two:
            slope = (3 * one[0] * one[0] + self.a) * pow(2 * one[1], -1, self.p)
        else:
            slope = (two[1] - one[1]) * pow(two[0] - one[0], -1, self.p)
        x = (slope * slope - one[0] - two[0]) % self.p
        return x, (slope * (one[0] - x) - one[1]) % self.p

    def times(self, scalar: int, point: Point) -> Point:
        """Double and add."""
        total: Point = None
        for bit in f"{scalar:b}":
            total = self.add(total, total)
            if bit == "1":
                total = self.add(total, point)
        return total

    def decode(self, encoded: bytes) -> tuple[int, int]:
        """The point of a compressed encoding; raises `ValueError` for anything else."""
        x = int.from_bytes(encoded[1:], "big")
        square = (x * x * x + self.a * x + self.b) % self.p
        root = pow(square, (self.p + 1) // 4, self.p)
        if len(encoded) != 33 or encoded[0] not in {2, 3} or x >= self.p or root * root % self.p != square:
            raise ValueError(encoded.hex())
        return x, root if root & 1 == encoded[0] & 1 else self.p - root

    def encode(self, point: Point) -> bytes:
        """The compressed encoding."""
        assert point is not None
        return bytes([2 | point[1] & 1]) + point[0].to_bytes(32, "big")


P256 = Weierstrass(
    p=2**256 - 2**224 + 2**192 + 2**96 - 1,
    a=-3,
    b=0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    order=0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    base=(
        0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
        0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    ),
)
SECP256K1 = Weierstrass(
    p=2**256 - 2**32 - 977,
    a=0,
    b=7,
    order=0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    base=(
        0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
        0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
    ),
)
