import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from videozoo.ops.tiou import covered, tiou

quick = settings(max_examples=50, deadline=None)
segments = hnp.arrays(
    np.float64, st.tuples(st.integers(0, 5), st.just(2)), elements=st.integers(0, 12)
).map(lambda array: np.sort(array, axis=1))


@quick
@given(segments, segments, st.sampled_from([0.25, 2.0, 16.0]))
def test_tiou_is_symmetric_bounded_and_free_of_units(
    a: NDArray[np.float64], b: NDArray[np.float64], unit: float
):
    found = tiou(a, b)

    assert found.shape == (len(a), len(b))
    np.testing.assert_array_equal(found, tiou(b, a).T)
    np.testing.assert_array_equal(found, tiou(a * unit, b * unit))
    assert np.all((found >= 0) & (found <= 1))


@quick
@given(segments, segments)
def test_both_measures_count_the_same_cells(a: NDArray[np.float64], b: NDArray[np.float64]):
    cells = np.arange(12) + 0.5
    own, other = ((x[:, :1] < cells) & (cells < x[:, 1:]) for x in (a, b))
    shared = (own[:, None] & other).sum(2)
    union = (own[:, None] | other).sum(2)

    np.testing.assert_allclose(tiou(a, b), shared / np.maximum(union, 1))
    np.testing.assert_allclose(covered(a, b), shared / np.maximum(own.sum(1), 1)[:, None])


def test_what_has_no_length_overlaps_nothing():
    point = [[3.0, 3.0]]

    assert tiou(point, [[3.0, 3.0], [0.0, 9.0]]).tolist() == [[0.0, 0.0]]
    assert covered(point, [[0.0, 9.0]]).tolist() == [[0.0]]


def test_an_empty_list_is_no_segments():
    assert tiou([], [[0, 1]]).shape == (0, 1)
    assert tiou([[0, 1]], []).shape == (1, 0)


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"shape \(1, 3\), expected \(N, 2\)"):
        tiou([[0, 1, 2]], [[0, 1]])
