import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from videozoo.metrics.moments import (
    AP_TIOUS,
    Saliency,
    Search,
    distinct,
    mean_tiou,
    qvhighlights,
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


# ---- several true moments -----------------------------------------------------------------------


def several(*pairs: tuple[float, float], truths: list[tuple[float, float]]) -> Search:
    """Best first."""
    return Search(
        np.array(pairs, np.float64).reshape(-1, 2),
        -np.arange(len(pairs), dtype=float),
        np.array(truths, np.float64).reshape(-1, 2),
    )


def test_any_of_several_true_moments_may_be_found():
    found = several((20, 30), (0, 10), truths=[(0, 10), (20, 28)])

    assert recall([found], n=1, threshold=0.7) == 1
    assert recall_2019([found], n=1, threshold=0.7) == 1
    assert mean_tiou([found]) == pytest.approx(0.8)


def test_a_sentence_without_a_true_moment_is_never_found():
    found = several((0, 10), truths=[])

    assert recall([found], n=1, threshold=0.0) == 0
    assert mean_tiou([found]) == 0


def ap(*searches: Search) -> list[float]:
    return [round(value, 4) for value in qvhighlights(searches).ap]


def test_average_precision_counts_every_true_moment_once():
    both = several((0, 10), (20, 30), truths=[(0, 10), (20, 30)])
    twice = several((0, 10), (0, 10), (20, 30), truths=[(0, 10), (20, 30)])
    half = several((0, 10), truths=[(0, 10), (20, 30)])

    assert ap(both) == [1.0] * 10
    assert ap(twice) == [round((1 + 2 / 3) / 2, 4)] * 10
    assert ap(half) == [0.5] * 10


def test_of_two_true_moments_that_fit_alike_the_last_is_taken():
    """As in the code of QVHighlights; only (0, 4) is left for the second moment."""
    first_left = several((0, 8), (0, 4), truths=[(0, 4), (4, 8)])
    last_left = several((0, 8), (4, 8), truths=[(0, 4), (4, 8)])

    assert ap(first_left)[0] == 1.0
    assert ap(last_left)[0] == 0.5


def test_equal_scores_keep_the_order_of_the_list_and_only_ten_moments_count():
    right, wrong = (0.0, 10.0), (50.0, 60.0)
    tied = Search(np.array([right, wrong]), np.zeros(2), np.array([right]))
    turned = Search(np.array([wrong, right]), np.zeros(2), np.array([right]))
    late = several(*[wrong] * 10, right, truths=[right])

    assert (ap(tied)[0], ap(turned)[0], ap(late)[0]) == (1.0, 0.5, 0.0)
    assert qvhighlights([turned]).recall_1[0] == 0


def test_a_missing_prediction_is_a_miss_and_a_sentence_without_truth_is_left_out():
    found = several((0, 10), truths=[(0, 10)])
    silent = several(truths=[(0, 10)])
    lost = several((0, 10), truths=[])

    scores = qvhighlights([found, silent, lost])

    assert (scores.sentences, scores.unanswered, scores.without_truth) == (2, 1, 1)
    assert scores.recall_1 == (0.5,) * 10
    assert scores.mean_ap == 0.5
    assert np.isnan(qvhighlights([lost]).mean_ap)


def test_true_moments_are_grouped_by_their_length():
    found = several((0, 10), (20, 45), truths=[(0, 10), (20, 45), (0, 100)])

    groups = qvhighlights([found]).mean_ap_by_length

    assert groups == {"short": 1.0, "middle": 0.5, "long": 0.0}


@given(st.lists(st.tuples(tables, st.lists(forward, max_size=4)), min_size=1, max_size=4))
def test_scores_stay_in_range_and_fall_with_the_threshold(cases: list[tuple[Table, Any]]):
    searches = [
        Search(*arrays(table), np.array(truth, np.float64).reshape(-1, 2)) for table, truth in cases
    ]

    scores = qvhighlights(searches)

    if scores.sentences:
        assert all(0 <= value <= 1 for value in (*scores.ap, *scores.recall_1))
        assert list(scores.recall_1) == sorted(scores.recall_1, reverse=True)
        assert scores.recall_1[0] == recall(
            [
                Search(one.moments[:1], one.scores[:1], one.truth)
                for one in searches
                if len(one.true_moments)
            ],
            n=1,
            threshold=AP_TIOUS[0],
        )


def test_highlights_are_scored_for_each_person_and_hit_by_any():
    labels = np.array([[4, 0], [3, 4], [0, 0], [0, 0]])
    right = Saliency(np.array([3.0, 2.0, 1.0, 0.0]), labels)
    short = Saliency(np.array([-1.0]), labels)  # clips without a score have 0
    far = Saliency(np.array([0.0, 0.0, 0.0, 0.0, 9.0]), labels)
    silent = Saliency(np.zeros(0), labels)
    search = several((0, 2), truths=[(0, 2)])

    def very_good(*saliencies: Saliency) -> tuple[float, float]:
        return qvhighlights([search], saliencies).highlights["very_good"]

    assert very_good(right) == ((1 + 0.5) / 2, 1.0)
    assert very_good(short) == (pytest.approx((1 / 4 + 1 / 3) / 2), 1.0)
    assert very_good(far)[1] == 0
    assert very_good(silent) == (0.0, 0.0)
    turned = qvhighlights([search], [Saliency(np.array([1.0, 2.0, 0.0, 0.0]), labels)])
    assert turned.highlights["very_good"][0] == 0.75
    assert turned.highlights["good"][0] == 1.0
    assert qvhighlights([search]).highlights == {}


def test_published_numbers_have_the_names_of_papers():
    search = several((0, 10), truths=[(0, 10)])

    numbers = qvhighlights([search], [Saliency(np.ones(1), np.full((1, 3), 4))]).published

    assert numbers["MR-full-R1@0.5"] == numbers["MR-short-mAP"] == 100
    assert numbers["HL-min-VeryGood-Hit1"] == 100
    assert np.isnan(numbers["MR-long-mAP"])
