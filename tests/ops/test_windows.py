"""Windows over sequences: every step is seen, and answers are put where they belong."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoo.ops import windows
from videozoo.ops.windows import (
    Window,
    merged_candidates,
    merged_curves,
    merged_tables,
    windows_over,
)
from videozoo.types import Candidates


@given(st.integers(1, 400), st.integers(1, 60), st.data())
def test_windows_see_every_step_and_the_last_ends_with_the_sequence(
    total: int, length: int, data: st.DataObject
):
    stride = data.draw(st.integers(1, length))

    found = windows_over(total, length=length, stride=stride)

    seen = {step for each in found for step in range(each.first, each.first + each.length)}
    assert seen >= set(range(total))
    assert [each.place for each in found] == list(range(len(found)))
    assert {each.count for each in found} == {len(found)}
    if total >= length:
        assert found[-1].first + length == total
    else:
        assert len(found) == 1
    for one, other in pairwise(found):
        assert 0 < other.first - one.first <= stride
        shared = one.first + length - other.first
        assert one.shared_after == other.shared_before == shared


def test_segments_come_back_where_they_were():
    window = windows_over(100, length=20, stride=10)[3]
    shares = np.array([[0.35, 0.45]])

    inside = window.inside(shares)
    back, kept = window.outside(inside)

    assert inside.tolist() == [[0.25, 0.75]]
    np.testing.assert_allclose(back, shares)
    assert kept.tolist() == [0]


def test_what_a_neighbour_sees_whole_is_left_to_it():
    first, middle, last = windows_over(40, length=20, stride=10)
    short, long, inner = [0.0, 0.4], [0.0, 0.8], [0.1, 0.4]
    late = [0.7, 1.0]
    segments = np.array([short, long, inner, late])

    assert first.outside(segments)[1].tolist() == [0, 1, 2]  # nothing is before it
    assert middle.outside(segments)[1].tolist() == [1, 2]
    assert last.outside(segments)[1].tolist() == [1, 2, 3]
    alone = windows_over(40, length=20, stride=20)[1]  # no other window sees across its borders
    assert alone.outside(segments)[1].tolist() == [0, 1, 2, 3]


def test_a_window_longer_than_its_sequence_finds_nothing_behind_it():
    (window,) = windows_over(30, length=40, stride=20)

    found, kept = window.outside(np.array([[0.5, 1.0], [0.8, 0.9], [0.0, 0.25]]))

    assert kept.tolist() == [0, 2]
    np.testing.assert_allclose(found, [[2 / 3, 1.0], [0.0, 1 / 3]])


def test_candidates_of_windows_become_those_of_the_sequence(monkeypatch: pytest.MonkeyPatch):
    one, other = windows_over(30, length=20, stride=10)
    labels = np.array([3, 4])
    parts = [
        (one, Candidates(np.array([[0.25, 0.5], [0.3, 0.4]]), np.array([0.9, 0.2]), labels)),
        (other, Candidates(np.array([[0.5, 0.75], [0.0, 0.25]]), np.array([0.6, 0.8]), labels)),
    ]

    found = merged_candidates(parts)

    np.testing.assert_allclose(found.segments * 30, [[5, 10], [6, 8], [20, 25]])
    assert found.scores.tolist() == [0.9, 0.2, 0.6]
    assert found.labels is not None
    assert found.labels.tolist() == [3, 4, 3]
    monkeypatch.setattr(windows, "MOST_PER_WINDOW", 1)
    assert merged_candidates(parts).scores.tolist() == [0.9, 0.6]


def test_tables_are_joined_as_segments_or_as_steps():
    one, other = windows_over(6, length=4, stride=2)
    ends = {"xmin": np.array([0.0, 0.25]), "xmax": np.array([0.25, 0.5]), "score": np.arange(2.0)}
    rows = {"start": np.array([0, 0, 2, 4], np.float32)}

    segments = merged_tables([(one, ends), (other, ends)])
    steps = merged_tables([(one, rows), (other, rows)])

    np.testing.assert_allclose(segments["xmin"] * 6, [0, 1, 3])
    assert segments["score"].tolist() == [0, 1, 1]
    assert steps["start"].tolist() == [0, 0, 1, 2, 2, 4]


def test_curves_of_a_resized_window_keep_their_step():
    parts = [(each, {"start": np.arange(5.0)}) for each in windows_over(100, length=50, stride=25)]

    curve = merged_curves(parts)["start"]

    assert len(curve) == 10  # ten rows per step
    assert curve[:2].tolist() == [0, 1]
    assert curve[-1] == 4


def test_a_whole_sequence_is_one_window():
    (window,) = windows_over(7, length=7, stride=3)

    assert window == Window(0, 7, 7)
