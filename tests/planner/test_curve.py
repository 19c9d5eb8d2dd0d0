"""Curves are exact: at every number they are what the formula says."""

from fractions import Fraction
from itertools import pairwise
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from icehouse.planner.curve import Curve

LAST = 40
fractions = st.fractions(min_value=-5, max_value=5, max_denominator=12)


@st.composite
def formulas(draw):
    """A curve and the plain function that it must equal."""
    slope, constant, step = draw(fractions), draw(fractions), draw(st.fractions(0, 3, max_denominator=9))
    edge = draw(st.integers(-10, 70))
    line = Curve.line(1, LAST)
    curve = line * slope + constant + (line * step).ceil() + (line * slope).above(edge)

    def plain(number):
        beyond = max(Fraction(0), number * slope - edge)
        return number * slope + constant + ceil(number * step) + beyond

    return curve, plain


@given(formulas())
def test_a_curve_is_its_formula_at_every_number(formula):
    curve, plain = formula

    assert [curve.at(number) for number in range(1, LAST + 1)] == [plain(number) for number in range(1, LAST + 1)]


@given(formulas())
def test_runs_cover_every_number_once_with_its_sign(formula):
    curve, plain = formula
    runs = curve.runs()
    signs = [run.sign for run in runs for _ in range(run.first, run.last + 1)]

    assert signs == [(plain(n) > 0) - (plain(n) < 0) for n in range(1, LAST + 1)]
    assert all(before.sign != after.sign for before, after in pairwise(runs))


@settings(max_examples=40)
@given(formulas(), formulas())
def test_sums_differences_and_the_lesser_are_taken_number_by_number(one, other):
    (a, plain_a), (b, plain_b) = one, other

    for number in range(1, LAST + 1):
        assert (a + b).at(number) == plain_a(number) + plain_b(number)
        assert (a - b).at(number) == plain_a(number) - plain_b(number)
        assert a.least(b).at(number) == min(plain_a(number), plain_b(number))


@given(formulas())
def test_ceil_is_taken_number_by_number_rising_and_falling(formula):
    curve, plain = formula

    assert [curve.ceil().at(n) for n in range(1, LAST + 1)] == [ceil(plain(n)) for n in range(1, LAST + 1)]


def test_a_zero_between_two_numbers_is_found_on_the_line_and_at_a_step():
    sloped = Curve.line(1, 10) * 2 - 5
    stepped = (Curve.line(1, 10) * Fraction(1, 4)).ceil() + Fraction(-3, 2)

    assert sloped.zero_between(3) == Fraction(5, 2)
    assert stepped.zero_between(5) == 5
