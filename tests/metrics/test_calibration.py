"""How sure against how right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoo.metrics.calibration import confidence_bins, expected_calibration_error


def test_a_model_that_is_right_as_often_as_it_says_has_no_error():
    rng = np.random.default_rng(0)
    sure = rng.random(200_000)
    right = rng.random(200_000) < sure

    assert expected_calibration_error(confidence_bins(sure, right)) < 0.005


def test_one_that_is_always_sure_and_half_the_time_right_is_off_by_a_half():
    bins = confidence_bins([1.0] * 4, [True, False, True, False])

    assert expected_calibration_error(bins) == 0.5
    assert [each.total for each in bins] == [0] * 9 + [4]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=30), st.integers(1, 20))
def test_every_example_falls_into_one_bin_and_the_error_is_a_share(
    examples: list[tuple[float, bool]], num_bins: int
):
    bins = confidence_bins(
        [sure for sure, _ in examples], [right for _, right in examples], num_bins=num_bins
    )

    assert sum(each.total for each in bins) == len(examples)
    for each in bins:
        assert not each.total or each.low - 1e-4 <= each.confidence <= each.high + 1e-4
    error = expected_calibration_error(bins)
    assert math.isnan(error) if not examples else 0 <= error <= 1


def test_what_is_no_share_is_refused():
    with pytest.raises(ValueError, match="from 0 to 1"):
        confidence_bins([1.5], [True])
    with pytest.raises(ValueError, match="shape"):
        confidence_bins([0.5, 0.5], [True])
