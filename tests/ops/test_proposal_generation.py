import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from videozoo.ops.proposal_generation import (
    best_overlaps,
    boundary_mask,
    decode_boundary_maps,
    generate_proposals,
    proposal_features,
    result_entries,
)
from videozoo.types import Candidates

quick = settings(max_examples=40, deadline=None)
Scores = NDArray[np.float64]
curves = hnp.arrays(
    np.float64, st.shared(st.integers(1, 12), key="steps"), elements=st.integers(0, 8)
).map(lambda array: array / 8)


def pairs_by_the_book(start: Scores, end: Scores, threshold: float) -> list[tuple[int, int]]:
    """First and last cells, shortest first."""
    steps = len(start)

    def is_chosen(scores: Scores, place: int) -> bool:
        before = scores[place - 1] if place else 0
        after = scores[place + 1] if place + 1 < steps else 0
        here = scores[place]
        return here > threshold * scores.max() or (here > before and here > after)

    return [
        (first, first + duration)
        for duration in range(steps)
        for first in range(steps - duration)
        if (first == 0 or is_chosen(start, first))
        and (first + duration == steps - 1 or is_chosen(end, first + duration))
    ]


@quick
@given(curves, curves, st.sampled_from([0.0, 0.5, 0.9]), st.integers(1, 100))
def test_proposals_are_the_best_pairs_of_likely_boundaries(
    start: Scores, end: Scores, threshold: float, top_k: int
):
    found = generate_proposals(start, end, threshold=threshold, top_k=top_k)

    steps = len(start)
    pairs = pairs_by_the_book(start, end, threshold)
    pairs.sort(key=lambda pair: -start[pair[0]] * end[pair[1]])  # stable
    expected = [(first / steps, (last + 1) / steps) for first, last in pairs[:top_k]]
    np.testing.assert_allclose(found.segments, expected)
    np.testing.assert_allclose(found.scores, [start[a] * end[b] for a, b in pairs[:top_k]])


@quick
@given(curves, curves, st.integers(0, 2**31))
def test_maps_are_read_at_every_pair(start: Scores, end: Scores, seed: int):
    steps = len(start)
    maps = np.random.default_rng(seed).random((2, steps, steps))

    found = decode_boundary_maps(maps, start, end, threshold=0.5)

    pairs = pairs_by_the_book(start, end, 0.5)
    expected = [start[a] * end[b] * maps[:, b - a, a].prod() for a, b in pairs]
    np.testing.assert_allclose(found.scores, expected)
    np.testing.assert_allclose(found.segments, [(a / steps, (b + 1) / steps) for a, b in pairs])


def test_windows_longer_than_the_map_are_left_out():
    found = decode_boundary_maps(np.ones((2, 2, 4)), np.ones(4), np.ones(4))

    lengths = found.segments[:, 1] - found.segments[:, 0]
    assert len(lengths) == 4 + 3
    assert lengths.max() == pytest.approx(0.5)


def test_missing_pairs_are_filled_up_with_random_ones_where_asked():
    start, end = np.array([0.9, 0.1, 0.2]), np.array([0.1, 0.2, 0.8])
    few = generate_proposals(start, end, top_k=20)
    filled = generate_proposals(start, end, top_k=20, rng=random.Random(7))
    again = generate_proposals(start, end, top_k=20, rng=random.Random(7))

    assert (len(few.scores), len(filled.scores)) == (2, 20)
    assert np.all(filled.segments[:, 0] < filled.segments[:, 1])
    assert np.all(np.diff(filled.scores) <= 0)
    np.testing.assert_array_equal(filled.segments, again.segments)


def test_nothing_is_drawn_where_there_are_enough():
    rng = random.Random(7)
    generate_proposals(np.ones(5), np.ones(5), top_k=3, rng=rng)

    assert rng.random() == random.Random(7).random()


def test_a_boundary_is_high_or_higher_than_its_neighbours():
    assert boundary_mask([0.2, 0.1, 0.1, 1.0, 0.6], 0.5).tolist() == [
        True,
        False,
        False,
        True,
        True,
    ]


def test_features_follow_the_score_through_start_action_and_end():
    action = np.zeros(20)
    action[8:12] = 1.0

    found = proposal_features(action, [[0.4, 0.6]], num_action=4, num_start=4, num_end=4)

    assert found.shape == (1, 12)
    inside, before, after = found[0, :4], found[0, 4:8], found[0, 8:]
    assert np.all(np.diff(before) > 0)
    np.testing.assert_allclose(after, before[::-1], atol=1e-12)
    np.testing.assert_allclose(inside, inside[::-1], atol=1e-12)
    assert inside[1] == pytest.approx(1.0)


def test_features_beyond_the_video_are_zero():
    found = proposal_features(np.ones(10), [[1.5, 1.6]])

    assert not found.any()


def test_overlaps_with_the_segment_that_fits_best():
    overlaps, inside = best_overlaps([[0.0, 0.5], [0.8, 0.9]], [[0.25, 0.75], [0.0, 0.1]])

    np.testing.assert_allclose(overlaps, [1 / 3, 0.0])
    np.testing.assert_allclose(inside, [0.5, 0.0])
    assert not np.any(best_overlaps([[0.0, 0.5]], []))


def test_result_entries_are_seconds_within_the_video():
    found = Candidates(np.array([[-0.5, 0.5], [0.5, 1.5]]), np.array([0.9, 0.8]), np.array([1, 0]))

    entries = result_entries(found, 10.0, classes=["run", "jump"], most=5)

    assert entries == [
        {"score": 0.9, "label": "jump", "segment": [0.0, 5.0]},
        {"score": 0.8, "label": "run", "segment": [5.0, 10.0]},
    ]
    assert [each["score"] for each in result_entries(found, 10.0, most=1)] == [0.9]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"maps of shape \(2, 3, 3\), 4 starts"):
        decode_boundary_maps(np.ones((2, 3, 3)), np.ones(4), np.ones(4))
