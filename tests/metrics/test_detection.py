from collections.abc import Sequence

import numpy as np
import pytest
from benchmarks.bench_localisation_metrics import plain_ap
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from videozoo.metrics.detection import (
    ACTIVITYNET_TIOUS,
    ERRORS,
    THUMOS_TIOUS,
    DetectionCounter,
)

quick = settings(max_examples=25, deadline=None)

Array = NDArray[np.float64]
Labels = dict[str, NDArray[np.int64]]
Detections = dict[str, tuple[Array, Array, NDArray[np.int64]]]
Made = tuple[dict[str, Array], Labels, Detections]


@st.composite
def videos(draw: st.DrawFn) -> Made:
    """A few videos of two classes whose segments often compete; a video without truth too."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    truth: dict[str, Array] = {}
    labels: Labels = {}
    detections: Detections = {"stranger": (segments(rng, 1), np.array([0.505]), np.array([0]))}
    for number in range(draw(st.integers(1, 4))):
        name, count, most = f"v{number}", int(rng.integers(1, 6)), int(rng.integers(0, 25))
        truth[name], labels[name] = segments(rng, count), rng.integers(0, 2, count)
        scores = rng.permutation(100)[:most] / 100 + number / 1000
        detections[name] = segments(rng, most), scores, rng.integers(0, 2, most)
    return truth, labels, detections


def segments(rng: np.random.Generator, count: int) -> Array:
    ends: Array = np.sort(rng.integers(0, 8, (count, 2)), axis=1).astype(np.float64)
    return ends + np.array([0.0, 0.5])


def counted(made: Made, tious: Sequence[float] = ACTIVITYNET_TIOUS) -> DetectionCounter:
    truth, labels, detections = made
    counter = DetectionCounter(truth, labels, tious=tious)
    for name, found in detections.items():
        counter.update(name, *found)
    return counter


def one_video(*found: tuple[float, float, float, int]) -> DetectionCounter:
    """Two segments of class 0, one of class 1; detections (start, end, score, class)."""
    counter = DetectionCounter(
        {"a": [[0, 10], [20, 40], [60, 160]]}, {"a": [0, 0, 1]}, durations_seconds={"a": 200.0}
    )
    table = np.array(found).reshape(-1, 4)
    counter.update("a", table[:, :2], table[:, 2], table[:, 3].astype(int))
    return counter


@quick
@given(videos())
def test_ap_is_what_plain_loops_find(made: Made):
    tious = [0.2, 0.5, 0.75]

    ap = counted(made, tious=tious).result().ap

    np.testing.assert_allclose(ap, plain_ap(*made, np.array(tious)), atol=1e-12)


def test_ap_by_hand():
    result = one_video((0, 10, 0.9, 0), (50, 55, 0.8, 0), (20, 36, 0.7, 0)).result()

    # found at ranks 1 and 3, the second with a tIoU of 0.8
    assert result.classes.tolist() == [0, 1]
    np.testing.assert_allclose(result.ap[:7, 0], 0.5 * (1 + 2 / 3))
    np.testing.assert_allclose(result.ap[7:, 0], 0.5)
    np.testing.assert_allclose(result.ap[:, 1], 0.0)
    assert result.summary()["map@0.5"] == pytest.approx(5 / 12)
    assert result.mean_ap == pytest.approx((7 * 5 / 12 + 3 * 0.25) / 10)


def test_a_detection_may_take_its_second_best_segment():
    counter = DetectionCounter({"a": [[0, 10], [0, 8]]}, {"a": [0, 0]}, tious=[0.5])
    counter.update("a", [[0, 10], [0, 10]], [0.9, 0.8], [0, 0])

    assert counter.result().mean_ap == 1.0


def test_a_detection_elsewhere_is_wrong():
    counter = DetectionCounter({"a": [[0, 10]]}, {"a": [0]}, tious=THUMOS_TIOUS)
    counter.update("a", [[0, 10]], [0.5], [0])
    before = counter.result()
    counter.update("b", [[0, 10]], [0.9], [0])
    after = counter.result()

    assert (before.mean_ap, after.mean_ap) == (1.0, 0.5)
    assert (after.videos, after.empty_videos, after.videos_without_truth) == (1, 0, 1)
    assert list(after.summary()) == [f"map@0.{n}" for n in range(3, 8)] + ["map"]


def test_classes_that_the_truth_does_not_have_count_nowhere():
    counter = one_video((0, 10, 0.9, 0), (0, 10, 0.8, 7))

    assert counter.result().ap.shape == (10, 2)
    assert counter.false_positives().counts[-1].sum() == 1


def test_every_kind_of_error_is_told_apart():
    counter = one_video(
        (0, 10, 0.99, 0),  # right
        (0, 9, 0.98, 0),  # again
        (60, 150, 0.97, 0),  # another class's segment
        (6, 22, 0.96, 0),  # overlaps a segment of its class by less
        (130, 180, 0.95, 0),  # overlaps one of another class by less
        (45, 55, 0.94, 0),  # overlaps nothing
    )

    found = counter.false_positives()

    assert found.counts[:3].sum(axis=1).tolist() == [2, 4, 6]
    assert found.counts[-1].tolist() == [1, 1, 1, 1, 1, 1]
    assert found.shares[0].tolist() == [0.5, 0.5, 0, 0, 0, 0]
    assert list(found.gains) == list(ERRORS)


def test_the_gain_is_what_map_rises_by_without_an_error():
    counter = one_video((50, 55, 0.9, 0), (0, 10, 0.8, 0))

    gains = counter.false_positives().gains

    # the only right one moves from rank 2 to rank 1: AP of one of two classes from 1/4 to 1/2
    assert gains["background"] == pytest.approx(0.125)
    assert not any(gain for name, gain in gains.items() if name != "background")


def test_missed_segments_are_told_apart():
    found = one_video((0, 9, 0.1, 0)).missed()

    assert found.is_missed.tolist() == [False, True, True]
    assert found.share == pytest.approx(2 / 3)
    assert [(each.truths, each.share) for each in found.by_length()[:3]] == [
        (2, 0.5),
        (0, None),
        (1, 1.0),
    ]
    assert [each.truths for each in found.by_coverage()] == [2, 0, 1, 0, 0]
    assert [(each.truths, each.share) for each in found.by_instances()[:2]] == [(1, 1.0), (2, 0.5)]


@quick
@given(videos())
def test_right_ones_and_missed_ones_add_up_to_the_truth(made: Made):
    counter = counted(made)

    missed = counter.missed().is_missed
    profile = counter.false_positives(times=1000)

    assert profile.counts[-1, 0] == len(missed) - missed.sum()
    assert np.all(np.diff(profile.counts, axis=0) >= 0)
    assert min(profile.gains.values()) >= -1e-12


@quick
@given(videos())
def test_parts_merge_to_the_whole(made: Made):
    truth, labels, detections = made
    parts = [DetectionCounter(truth, labels) for _ in range(2)]
    for place, (name, found) in enumerate(detections.items()):
        parts[place % 2].update(name, *found)

    parts[0].merge(parts[1])

    np.testing.assert_array_equal(parts[0].result().ap, counted(made).result().ap)


@pytest.mark.parametrize("truth", [{}, {"a": [[0.0, 1.0]]}])
def test_nothing_found_or_nothing_to_find_is_0(truth: dict[str, list[list[float]]]):
    counter = DetectionCounter(truth, {name: [0] for name in truth}, durations_seconds={"a": 2.0})
    for detections in (0, 1):
        if detections and not truth:
            counter.update("b", [[0, 1]], [0.5], [0])
        result = counter.result()

        assert result.mean_ap == 0
        assert not any(result.summary().values())
        assert result.empty_videos == len(truth)
        assert not counter.false_positives().shares.any()
        assert not any(counter.false_positives().gains.values())
        assert counter.missed().share == len(truth)
        assert sum(each.truths for each in counter.missed().by_instances()) == len(truth)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="truth of video 'a': 1 segments, 2 labels"):
        DetectionCounter({"a": [[0, 1]]}, {"a": [0, 1]})
    counter = DetectionCounter({"a": [[0, 1]]}, {"a": [0]})
    with pytest.raises(ValueError, match=r"1 segments, scores of shape \(1,\), labels of \(0,\)"):
        counter.update("a", [[0, 1]], [0.5], [])
    with pytest.raises(ValueError, match="without durations_seconds"):
        counter.missed().by_coverage()


def test_equal_scores_are_counted_by_class_and_their_order_may_decide():
    counter = DetectionCounter({"a": [[0, 10]], "b": [[0, 10]]}, {"a": [1], "b": [1]}, tious=[0.5])
    counter.update("a", [[0, 10], [50, 60], [0, 5]], [1, 1, 1], [1, 1, 7])
    counter.update("b", [[50, 60], [0, 10]], [0.5, 1], [1, 1])

    turned = counter.backwards()

    assert counter.tied() == turned.tied() == 3  # class 7 counts nowhere
    assert counter.result().mean_ap == pytest.approx((1 + 2 / 3) / 2)
    assert turned.result().mean_ap == pytest.approx((1 + 2 / 3) / 2)
    assert counter.result().detections == turned.result().detections == 5
    distinct = DetectionCounter({"a": [[0, 10]]}, {"a": [1]}, tious=[0.5])
    distinct.update("a", [[50, 60], [0, 10]], [0.5, 1], [1, 1])
    assert distinct.tied() == 0
    assert distinct.backwards().result().mean_ap == distinct.result().mean_ap == 1
