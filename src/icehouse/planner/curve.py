"""Exact piecewise-linear functions of a whole number: what a cost is, seen from the users or the operations.

The model of costs is written once, over curves. A table's row is a curve over a single number; a break-even point
is where the difference of two curves changes its sign. Nothing is sampled or rounded: a curve is whole numbers over
one denominator, which is fifty times as fast as a fraction for every piece.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Number = Fraction | int
_WORD = 1 << 64


class Piece(NamedTuple):
    """From `start` to the next piece's start the value at n is `constant + slope * n`, over the denominator."""

    start: int
    constant: int
    slope: int


class Run(NamedTuple):
    """A longest stretch of numbers over which a curve keeps its sign."""

    first: int
    last: int
    sign: int


@dataclass(frozen=True, slots=True)
class Curve:
    """A function on the whole numbers from the first piece's start to `last`."""

    last: int
    denominator: int
    pieces: tuple[Piece, ...]

    @classmethod
    def line(cls, first: int, last: int) -> Curve:
        """The number itself."""
        return cls(last, 1, (Piece(first, 0, 1),))

    @classmethod
    def point(cls, number: int) -> Curve:
        """The number itself, over that number alone."""
        return cls.line(number, number)

    @property
    def first(self) -> int:
        """The first number the curve is defined for."""
        return self.pieces[0].start

    def constant(self, value: Number) -> Curve:
        """The same value over the same numbers as this curve."""
        exact = Fraction(value)
        return Curve(self.last, exact.denominator, (Piece(self.first, exact.numerator, 0),))

    def at(self, number: int) -> Fraction:
        """The value at a number."""
        piece = self._piece(number)
        return Fraction(piece.constant + piece.slope * number, self.denominator)

    def _piece(self, number: int) -> Piece:
        return self.pieces[bisect_right(self.pieces, number, key=lambda piece: piece.start) - 1]

    @property
    def value(self) -> Fraction:
        """The value at the first number: all there is to a curve over one."""
        return self.at(self.first)

    def __add__(self, other: Curve | Number) -> Curve:
        second = other if isinstance(other, Curve) else self.constant(other)
        common = lcm(self.denominator, second.denominator)
        one, two = self._over(common), second._over(common)
        if len(two) == 1:
            return Curve(self.last, common, _raised(one, two[0]))
        if len(one) == 1:
            return Curve(self.last, common, _raised(two, one[0]))
        return Curve(self.last, common, _merged(_both(one, two, self.last)))

    def __sub__(self, other: Curve | Number) -> Curve:
        return self + other * -1

    def __mul__(self, factor: Number) -> Curve:
        if not factor:
            return self.constant(0)
        exact = Fraction(factor)
        up, down = exact.numerator, self.denominator * exact.denominator
        pieces = tuple(Piece(start, constant * up, slope * up) for start, constant, slope in self.pieces)
        return _reduced(self.last, down, pieces)

    def _over(self, denominator: int) -> tuple[Piece, ...]:
        """The pieces over a multiple of the curve's own denominator."""
        factor = denominator // self.denominator
        if factor == 1:
            return self.pieces
        return tuple(Piece(start, constant * factor, slope * factor) for start, constant, slope in self.pieces)

    def ceil(self) -> Curve:
        """The least whole number that is no less: a step wherever a whole number is passed."""
        return Curve(self.last, 1, _merged(self._steps()))

    def _steps(self) -> Iterator[Piece]:
        down = self.denominator
        for piece, last in self._ranges():
            constant, slope = piece.constant, piece.slope
            number = piece.start
            while number <= last:
                value = -(-(constant + slope * number) // down)
                yield Piece(number, value, 0)
                if not slope:
                    break
                # The first number beyond this step: past `value` when rising, at or under `value - 1` when falling.
                rising = (value * down - constant) // slope + 1
                number = rising if slope > 0 else -((constant - (value - 1) * down) // slope)

    def positive(self) -> Curve:
        """The curve where it is above zero, and zero elsewhere."""
        return Curve(self.last, self.denominator, _merged(self._clipped()))

    def _clipped(self) -> Iterator[Piece]:
        for piece, last in self._ranges():
            for run in _runs(piece, last):
                yield Piece(run.first, piece.constant, piece.slope) if run.sign > 0 else Piece(run.first, 0, 0)

    def least(self, other: Curve) -> Curve:
        """The lesser of two curves at every number."""
        return self - (self - other).positive()

    def above(self, threshold: Number) -> Curve:
        """By how much the curve exceeds a threshold; zero where it does not."""
        return (self + -threshold).positive()

    def runs(self) -> list[Run]:
        """Where the curve is below, at and above zero, from the first number to the last."""
        found: list[Run] = []
        for piece, last in self._ranges():
            for run in _runs(piece, last):
                if found and found[-1].sign == run.sign:
                    found[-1] = Run(found[-1].first, run.last, run.sign)
                else:
                    found.append(run)
        return found

    def zero_between(self, number: int) -> Fraction:
        """Where between `number - 1` and `number` the sign changes: on the line, or at the step itself."""
        piece = self._piece(number)
        if piece.start < number and piece.slope:
            return Fraction(-piece.constant, piece.slope)
        return Fraction(number)

    def _ranges(self) -> Iterator[tuple[Piece, int]]:
        """Every piece with the last number it holds for."""
        for index, piece in enumerate(self.pieces):
            yield piece, self.pieces[index + 1].start - 1 if index + 1 < len(self.pieces) else self.last


def _reduced(last: int, denominator: int, pieces: tuple[Piece, ...]) -> Curve:
    """The same curve over a smaller denominator, where the denominator has grown beyond a machine's word."""
    if denominator > _WORD:
        common = gcd(denominator, *(number for piece in pieces for number in piece[1:]))
        if common > 1:
            pieces = tuple(Piece(start, c // common, s // common) for start, c, s in pieces)
            denominator //= common
    return Curve(last, denominator, pieces)


def _runs(piece: Piece, last: int) -> Iterator[Run]:
    """The signs of one piece: at most below, at, and above zero, in either order."""
    start, constant, slope = piece
    if not slope:
        yield Run(start, last, (constant > 0) - (constant < 0))
        return
    before = -1 if slope > 0 else 1
    low, high = -(constant // slope), -constant // slope
    for first, end, sign in (
        (start, min(low - 1, last), before),
        (max(start, low), min(high, last), 0),
        (max(start, high + 1), last, -before),
    ):
        if first <= end:
            yield Run(first, end, sign)


def _raised(pieces: tuple[Piece, ...], by: Piece) -> tuple[Piece, ...]:
    """The pieces with one line added to all of them."""
    _, more, steeper = by
    if not more and not steeper:
        return pieces
    return tuple(Piece(start, constant + more, slope + steeper) for start, constant, slope in pieces)


def _both(one: tuple[Piece, ...], other: tuple[Piece, ...], last: int) -> Iterator[Piece]:
    """The sum of two curves, cut wherever either of them is."""
    i = j = 0
    while True:
        a, b = one[i], other[j]
        yield Piece(max(a.start, b.start), a.constant + b.constant, a.slope + b.slope)
        next_one = one[i + 1].start if i + 1 < len(one) else last + 1
        next_other = other[j + 1].start if j + 1 < len(other) else last + 1
        if min(next_one, next_other) > last:
            return
        i, j = i + (next_one <= next_other), j + (next_other <= next_one)


def _merged(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """The same function in as few pieces as there are."""
    found: list[Piece] = []
    for piece in pieces:
        if not found or piece[1:] != found[-1][1:]:
            found.append(piece)
    return tuple(found)
