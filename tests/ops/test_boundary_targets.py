import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from videozoo.ops.boundary_targets import boundary_targets, window_overlaps
from videozoo.ops.tiou import tiou

quick = settings(max_examples=40, deadline=None)
shares = st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)).map(sorted)


def test_a_long_action_has_wider_boundaries_when_the_width_is_a_share():
    narrow, _, _ = boundary_targets([[0.3, 0.8]], 100, width_steps=1)
    wide, _, _ = boundary_targets([[0.3, 0.8]], 100, width_steps=1, width_share=0.1)

    np.testing.assert_allclose(narrow.sum(), 1.0)
    np.testing.assert_allclose(wide.sum(), 5.0)


def test_a_fixed_width_does_not_depend_on_the_action():
    start, end, _ = boundary_targets([[0.25, 0.26], [0.5, 0.9]], 100, width_steps=3)

    np.testing.assert_allclose((start.sum(), end.sum()), (6.0, 6.0))
    np.testing.assert_allclose(start[23:27], [0.5, 1.0, 1.0, 0.5], atol=1e-9)


@quick
@given(st.lists(shares, max_size=4), st.integers(1, 30))
def test_targets_are_shares_and_more_segments_never_lower_them(
    segments: list[list[float]], steps: int
):
    found = np.stack(boundary_targets(segments, steps, width_steps=3))
    fewer = np.stack(boundary_targets(segments[:-1], steps, width_steps=3))

    assert found.shape == (3, steps)
    assert np.all((found >= 0) & (found <= 1 + 1e-12))
    assert np.all(fewer <= found)


def test_without_segments_there_is_nothing_to_learn():
    assert not np.any(boundary_targets([], 8, width_steps=1))
    assert not window_overlaps([], 4, 8).any()


def test_a_window_is_found_by_its_duration_and_start():
    found = window_overlaps([[0.2, 0.5]], 8, 10)

    assert found.shape == (8, 10)
    np.testing.assert_allclose(found[2, 2], 1.0)
    np.testing.assert_allclose(found[4, 1], tiou([[0.1, 0.6]], [[0.2, 0.5]])[0, 0])


def test_segments_are_cut_off_at_the_ends_of_the_video():
    np.testing.assert_array_equal(
        window_overlaps([[-0.5, 0.3], [0.8, 1.7]], 5, 5),
        window_overlaps([[0.0, 0.3], [0.8, 1.0]], 5, 5),
    )
