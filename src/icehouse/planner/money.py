"""Dollars and counts as people read them; exact until here."""

from __future__ import annotations

from fractions import Fraction

_CENTS = 100


def dollars(value: Fraction) -> str:
    """An amount in whole dollars where it is one, else with as many cents as it takes to see it."""
    if value.denominator == 1:
        return f"${int(value):,}"
    if 0 < value < Fraction(1, _CENTS):
        return f"${float(value):.2g}"
    return f"${float(round(value * _CENTS)) / _CENTS:,.2f}"


def cents(value: Fraction) -> str:
    """An amount to the cent, for columns."""
    return f"${float(round(value * _CENTS)) / _CENTS:,.2f}"


def whole(value: Fraction | int) -> str:
    """A count, rounded to whole ones."""
    return f"{round(value):,}"
