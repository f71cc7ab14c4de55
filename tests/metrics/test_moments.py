import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from videozoo.metrics.moments import (
    Search,
    distinct,
    mean_tiou,
    recall,
    recall_2019,
    tiou,
    tiou_2019,
)

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden/tall_metrics/tall_metrics.json").read_text("utf-8")
)

times = st.integers(-20, 60).map(lambda quarter: quarter / 4)
moments = st.tuples(times, times)
forward = moments.map(sorted).map(tuple)
tables = st.lists(st.tuples(moments, st.sampled_from([0.1, 0.2, 0.2, 0.5, 0.9])), max_size=8)

Table = list[tuple[tuple[float, float], float]]


def arrays(table: Table) -> tuple[NDArray[Any], NDArray[Any]]:
    return (
        np.array([pair for pair, _ in table], np.float64).reshape(-1, 2),
        np.array([score for _, score in table], np.float64),
    )


@given(moments, moments)
def test_overlap_is_a_share_and_both_ways_the_same(a: Any, b: Any):
    share = tiou(a, b).item()

    assert 0 <= share <= 1
    assert share == tiou(b, a).item()


@given(forward, forward)
def test_the_overlap_of_2019_is_the_same_wherever_two_touch(a: Any, b: Any):
    if min(a[1], b[1]) > max(a[0], b[0]):
        assert tiou_2019(a, b).item() == pytest.approx(tiou(a, b).item())
    elif a != b:
        assert tiou_2019(a, b).item() <= 0 == tiou(a, b).item()


@given(tables, st.sampled_from([0.05, 0.25, 0.45, 0.65]))
def test_left_moments_are_what_the_plain_way_leaves(table: Table, limit: float):
    pairs, scores = arrays(table)

    expected: list[int] = []
    left = sorted(range(len(table)), key=lambda i: (scores[i], i))
    while left:
        best = left.pop()
        expected.append(best)
        left = [i for i in left if _overlap(pairs[i], pairs[best]) <= limit]

    assert distinct(pairs, scores, limit=limit).tolist() == expected


def _overlap(a: NDArray[Any], b: NDArray[Any]) -> float:
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    covered = (a[1] - a[0]) + (b[1] - b[0]) - shared
    return shared / covered if covered else float("nan")


def test_recorded_choices_come_out():
    for case in GOLDEN["nms"]:
        picks = distinct(
            np.stack((case["start"], case["end"]), 1), case["score"], limit=case["overlap"]
        )
        assert picks.tolist() == case["picks"]


def test_recorded_overlaps_come_out():
    for case in GOLDEN["iou"]:
        assert tiou_2019(case["a"], case["b"]) == pytest.approx(case["iou"], abs=1e-12)


def search(*pairs: tuple[float, float], truth: tuple[float, float]) -> Search:
    """Best first."""
    return Search(
        np.array(pairs).reshape(-1, 2), -np.arange(len(pairs), dtype=float), np.array(truth)
    )


def test_thinning_out_lets_a_later_moment_count():
    found = search((0, 10), (0, 11), (0, 12), (20, 30), truth=(21, 31))

    assert recall([found], n=2, threshold=0.5) == 0
    assert recall([found], n=2, threshold=0.5, limit=0.45) == 1
    assert recall_2019([found], n=2, threshold=0.5) == 1


@given(st.lists(st.tuples(tables, forward), min_size=1, max_size=4), st.integers(1, 5))
def test_recall_grows_with_n_and_falls_with_the_threshold(cases: list[tuple[Table, Any]], n: int):
    searches = [Search(*arrays(table), np.array(truth)) for table, truth in cases]

    values = [recall(searches, n=n, threshold=limit) for limit in (0.1, 0.5, 0.9)]

    assert values == sorted(values, reverse=True)
    assert recall(searches, n=n + 1, threshold=0.5) >= values[1]
    assert 0 <= mean_tiou(searches) <= 1


def test_a_sentence_without_moments_is_a_miss():
    searches = [search(truth=(0, 5)), search((0, 5), truth=(0, 5))]

    assert recall(searches, n=1, threshold=0.5) == 0.5
    assert recall_2019(searches, n=1, threshold=0.5) == 0.5
    assert mean_tiou(searches) == 0.5


def test_no_sentence_has_no_recall():
    assert np.isnan(recall([], n=1, threshold=0.5))
    assert np.isnan(recall_2019([], n=1, threshold=0.5))
    assert np.isnan(mean_tiou([]))


def test_a_score_that_is_not_a_number_is_the_worst():
    broken = Search(np.array([[0, 1], [5, 6]]), np.array([np.nan, -3.0]), np.array([5, 6]))

    assert recall([broken], n=1, threshold=0.5) == 1
    assert recall_2019([broken], n=1, threshold=0.5) == 1
