"""Which ratios the comparison of two builds calls slower."""

import pytest
from bench.against import Comparison, interval, table


def test_the_interval_of_nine_samples_leaves_out_one_at_each_end():
    samples = [1.09, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07, 0.5]

    assert interval(samples) == (1.01, 1.07)


def test_the_interval_of_twenty_samples_leaves_out_five_at_each_end():
    assert interval([float(number) for number in range(20)]) == (5.0, 14.0)


def test_five_samples_give_no_interval():
    with pytest.raises(ValueError, match="5 rounds are too few"):
        interval([1.0] * 5)


@pytest.mark.parametrize(("low", "slower"), [(1.049, False), (1.051, True)])
def test_an_operation_is_slower_where_the_whole_interval_lies_above_the_bound(low, slower):
    row = Comparison("sign", 110, 100, 1.1, low, 1.2)

    assert row.slower is slower
    assert ("**slower**" in table("sqlite", "base", [row])) is slower
