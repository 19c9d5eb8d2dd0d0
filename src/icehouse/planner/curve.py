"""Exact piecewise-linear functions of a whole number: what a cost is, seen from the users or the operations.

The model of costs is written once, over curves. A table's row is a curve over a single number; a break-even point
is where the difference of two curves changes its sign. Everything is a fraction: nothing is sampled or rounded.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

Number = Fraction | int
_ZERO = Fraction(0)


class Piece(NamedTuple):
    """From `start` to the next piece's start the value at n is `constant + slope * n`."""

    start: int
    constant: Fraction
    slope: Fraction

    def at(self, number: int) -> Fraction:
        """The value at a number."""
        return self.constant + self.slope * number if self.slope else self.constant


class Run(NamedTuple):
    """A longest stretch of numbers over which a curve keeps its sign."""

    first: int
    last: int
    sign: int


@dataclass(frozen=True, slots=True)
class Curve:
    """A function on the whole numbers from the first piece's start to `last`."""

    last: int
    pieces: tuple[Piece, ...]

    @classmethod
    def line(cls, first: int, last: int) -> Curve:
        """The number itself."""
        return cls(last, (Piece(first, _ZERO, Fraction(1)),))

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
        return Curve(self.last, (Piece(self.first, Fraction(value), _ZERO),))

    def at(self, number: int) -> Fraction:
        """The value at a number."""
        return self.pieces[self._index(number)].at(number)

    def _index(self, number: int) -> int:
        return bisect_right(self.pieces, number, key=lambda piece: piece.start) - 1

    @property
    def value(self) -> Fraction:
        """The value at the first number: all there is to a curve over one."""
        return self.pieces[0].at(self.first)

    def __add__(self, other: Curve | Number) -> Curve:
        if not isinstance(other, Curve):
            moved = tuple(Piece(start, constant + other, slope) for start, constant, slope in self.pieces)
            return Curve(self.last, moved)
        return Curve(self.last, tuple(_merged(_both(self, other))))

    def __sub__(self, other: Curve | Number) -> Curve:
        return self + (other * -1)

    def __mul__(self, factor: Number) -> Curve:
        if not factor:
            return self.constant(0)
        return Curve(self.last, tuple(Piece(start, c * factor, s * factor) for start, c, s in self.pieces))

    def ceil(self) -> Curve:
        """The least whole number that is no less: a step wherever a whole number is passed."""
        return Curve(self.last, tuple(_merged(self._steps())))

    def _steps(self) -> Iterator[Piece]:
        for piece, last in self._ranges():
            if not piece.slope:
                yield Piece(piece.start, Fraction(_ceil(piece.constant)), _ZERO)
                continue
            number, rising = piece.start, piece.slope > 0
            while number <= last:
                value = _ceil(piece.at(number))
                yield Piece(number, Fraction(value), _ZERO)
                # The first number beyond this step: past `value` when rising, at or under `value - 1` when falling.
                edge = ((value if rising else value - 1) - piece.constant) / piece.slope
                number = floor(edge) + 1 if rising else _ceil(edge)

    def positive(self) -> Curve:
        """The curve where it is above zero, and zero elsewhere."""
        return Curve(self.last, tuple(_merged(self._clipped())))

    def _clipped(self) -> Iterator[Piece]:
        for piece, last in self._ranges():
            for run in _runs(piece, last):
                yield Piece(run.first, piece.constant, piece.slope) if run.sign > 0 else Piece(run.first, _ZERO, _ZERO)

    def least(self, other: Curve) -> Curve:
        """The lesser of two curves at every number."""
        return self - (self - other).positive()

    def above(self, threshold: Number) -> Curve:
        """By how much the curve exceeds a threshold; zero where it does not."""
        return (self - threshold).positive() if isinstance(threshold, int) else (self + -threshold).positive()

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
        piece = self.pieces[self._index(number)]
        if piece.start < number and piece.slope:
            return -piece.constant / piece.slope
        return Fraction(number)

    def _ranges(self) -> Iterator[tuple[Piece, int]]:
        """Every piece with the last number it holds for."""
        for index, piece in enumerate(self.pieces):
            yield piece, self.pieces[index + 1].start - 1 if index + 1 < len(self.pieces) else self.last


def _ceil(value: Fraction) -> int:
    return -((-value.numerator) // value.denominator)


def _sign(value: Fraction) -> int:
    return (value > 0) - (value < 0)


def _runs(piece: Piece, last: int) -> Iterator[Run]:
    """The signs of one piece: at most below, at, and above zero, in either order."""
    if not piece.slope:
        yield Run(piece.start, last, _sign(piece.constant))
        return
    before = -1 if piece.slope > 0 else 1
    zero = -piece.constant / piece.slope
    low, high = _ceil(zero), floor(zero)
    for first, end, sign in (
        (piece.start, min(low - 1, last), before),
        (max(piece.start, low), min(high, last), 0),
        (max(piece.start, high + 1), last, -before),
    ):
        if first <= end:
            yield Run(first, end, sign)


def _both(one: Curve, other: Curve) -> Iterator[Piece]:
    """The sum of two curves, cut wherever either of them is."""
    left, right = one.pieces, other.pieces
    i = j = 0
    while True:
        a, b = left[i], right[j]
        yield Piece(max(a.start, b.start), a.constant + b.constant, a.slope + b.slope)
        next_left = left[i + 1].start if i + 1 < len(left) else one.last + 1
        next_right = right[j + 1].start if j + 1 < len(right) else one.last + 1
        if min(next_left, next_right) > one.last:
            return
        i, j = i + (next_left <= next_right), j + (next_right <= next_left)


def _merged(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same function in as few pieces as there are."""
    last: Piece | None = None
    for piece in pieces:
        if last is None or (piece.constant, piece.slope) != (last.constant, last.slope):
            yield piece
            last = piece
