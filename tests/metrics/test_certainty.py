"""Intervals of accuracies, and chance."""

import math

import pytest

from videozoo.metrics.certainty import chance_level, wilson_interval


@pytest.mark.parametrize(
    ("share", "total", "low", "high"),
    [(0.8, 10, 0.4901625, 0.9433178), (0.0, 20, 0.0, 0.1611252), (1.0, 20, 0.8388748, 1.0)],
)
def test_intervals_are_those_of_wilson(share: float, total: int, low: float, high: float):
    assert wilson_interval(share, total) == pytest.approx((low, high), abs=1e-6)


def test_chance_is_the_most_frequent_class():
    assert chance_level([2, 2, 0, 1]) == 0.5
    assert math.isnan(chance_level([]))
