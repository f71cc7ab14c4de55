from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from videozoo.metrics.tagging import (
    RatedCounter,
    TaggingCounter,
    average_precision,
    hit_at_one_2019,
)

quick = settings(max_examples=40, deadline=None)

Videos = tuple[NDArray[np.float32], NDArray[np.float32]]


@st.composite
def videos(draw: st.DrawFn, *, ties: bool = True) -> Videos:
    """Scores in [0, 1] and multi-hot labels of a few videos."""
    count, classes = draw(st.integers(1, 8)), draw(st.integers(1, 9))
    if ties:
        steps = hnp.arrays(np.int64, (count, classes), elements=st.integers(0, 4))
        scores = draw(steps) / 4
    else:
        seed = draw(st.integers(0, 2**31))
        scores = np.random.default_rng(seed).permutation(count * classes).reshape(count, classes)
        scores = (scores + 1) / (count * classes)
    labels = draw(hnp.arrays(np.float32, (count, classes), elements=st.sampled_from([0, 0, 1])))
    return scores.astype(np.float32), labels


def counted(scores: NDArray[np.float32], labels: NDArray[np.float32], k: int) -> TaggingCounter:
    counter = TaggingCounter(scores.shape[1], k)
    counter.update(scores, labels)
    return counter


def best_first(row: NDArray[np.float32]) -> list[int]:
    return sorted(range(len(row)), key=lambda label: (-row[label], label))


def precision_by_the_book(pairs: list[tuple[float, float]], positives: int) -> float:
    """Mean precision over the hits of a list, walked through one by one."""
    if not positives:
        return float("nan")
    total = hits = 0.0
    for rank, (_, hit) in enumerate(sorted(pairs, key=lambda p: (-p[0], p[1])), start=1):
        hits += hit
        total += hit * hits / rank
    return total / positives


@quick
@given(videos(), st.integers(1, 10))
def test_every_metric_is_what_its_definition_says(pair: Videos, k: int):
    scores, labels = pair
    pairs = [
        (label, float(row[label]), float(tags[label]))
        for row, tags in zip(scores, labels, strict=True)
        for label in best_first(row)[:k]
    ]
    right: list[float] = []
    for row, tags in zip(scores, labels, strict=True):
        n = int(tags.sum())
        good = [label for label in best_first(row)[:n] if tags[label] and row[label] > 0]
        right.append(len(good) / n if n else 0.0)
    aps = [
        precision_by_the_book([p[1:] for p in pairs if p[0] == label], int(labels[:, label].sum()))
        for label in range(scores.shape[1])
    ]

    counter = counted(scores, labels, k)

    gap = precision_by_the_book([p[1:] for p in pairs], int(labels.sum()))
    np.testing.assert_allclose(counter.gap, gap, rtol=1e-12)
    np.testing.assert_allclose(counter.class_ap, aps, rtol=1e-12)
    np.testing.assert_allclose(counter.perr, np.mean(right), rtol=1e-12)
    hits = [tags[best_first(row)[0]] for row, tags in zip(scores, labels, strict=True)]
    assert counter.hit_at_one == np.mean(hits, dtype=np.float64)
    known = [ap for ap in aps if not np.isnan(ap)]
    np.testing.assert_allclose(counter.mean_ap, np.mean(known) if known else np.nan, rtol=1e-12)


@quick
@given(videos(), st.integers(1, 10), st.data())
def test_neither_batches_nor_processes_nor_their_order_change_a_bit(
    pair: Videos, k: int, data: st.DataObject
):
    scores, labels = pair
    order = np.array(data.draw(st.permutations(range(len(labels)))))
    cut, at = (data.draw(st.integers(0, len(labels))) for _ in range(2))

    first, second = TaggingCounter(scores.shape[1], k), TaggingCounter(scores.shape[1], k)
    for part in (order[:cut][:at], order[:cut][at:]):
        first.update(scores[part], labels[part])
    second.update(scores[order[cut:]], labels[order[cut:]])
    second.merge(pickle.loads(pickle.dumps(first)))  # as between processes

    whole = counted(scores, labels, k)
    np.testing.assert_equal(second.summary(), whole.summary())
    np.testing.assert_array_equal(second.class_ap, whole.class_ap)
    assert second.videos == whole.videos == len(labels)


@quick
@given(videos(), st.integers(1, 10))
def test_every_metric_lies_between_0_and_1(pair: Videos, k: int):
    for value in counted(*pair, k).summary().values():
        assert np.isnan(value) or 0 <= value <= 1 + 1e-12


@quick
@given(videos(), st.data())
def test_perfect_scores_give_1(pair: Videos, data: st.DataObject):
    _, labels = pair
    labels[:, 0] = 1
    noise = data.draw(hnp.arrays(np.float32, labels.shape, elements=st.floats(0, 0.25, width=32)))

    summary = counted(0.5 * labels + noise, labels, k=labels.shape[1]).summary()

    assert summary == pytest.approx(dict.fromkeys(summary, 1.0))


@quick
@given(videos(), st.integers(1, 10), st.data())
def test_a_better_score_for_a_tag_never_lowers_the_gap(pair: Videos, k: int, data: st.DataObject):
    scores, labels = pair
    row, label = (data.draw(st.integers(0, n - 1)) for n in scores.shape)
    labels[row, label] = 1
    better = scores.copy()
    better[row, label] = data.draw(st.sampled_from([0.3, 0.5, 0.9, 1.0, 2.0])) + scores[row, label]

    assert counted(better, labels, k).gap >= counted(scores, labels, k).gap - 1e-12


@quick
@given(videos(ties=False), st.integers(1, 10))
def test_only_the_order_of_the_scores_matters(pair: Videos, k: int):
    scores, labels = pair

    np.testing.assert_equal(
        counted(scores, labels, k).summary(), counted(scores**3, labels, k).summary()
    )


@quick
@given(videos(), st.integers(1, 10))
def test_labels_may_be_a_table_or_lists_of_numbers(pair: Videos, k: int):
    scores, labels = pair
    lists = [np.flatnonzero(row).tolist() for row in labels]
    counter = TaggingCounter(scores.shape[1], k)

    counter.update(scores, [tags[::-1] + tags[:1] for tags in lists])

    np.testing.assert_equal(counter.summary(), counted(scores, labels, k).summary())
    assert counter.class_positives.tolist() == labels.sum(0).tolist()


@pytest.mark.parametrize("kind", ["random", "all equal", "ascending"])
@pytest.mark.parametrize("k", [1, 20])
def test_thousands_of_classes_are_searched_in_full(kind: str, k: int):
    rng = np.random.default_rng(0)
    shape = 300, 1003
    scores = {
        "random": rng.random(shape),
        "all equal": np.full(shape, 0.5),
        "ascending": np.broadcast_to(np.linspace(0, 1, shape[1]), shape),
    }[kind].astype(np.float32)
    labels = (rng.random(shape) < 0.03).astype(np.float32)  # about 30 tags: often more than k

    counter = counted(scores, labels, k)

    order = np.argsort(-scores, axis=1, kind="stable")
    hits = np.take_along_axis(labels, order, 1)
    best = np.take_along_axis(scores, order, 1)[:, :k].ravel().tolist()
    pairs = list(zip(best, hits[:, :k].ravel().tolist(), strict=True))
    counts = labels.sum(1)
    among = np.arange(shape[1]) < counts[:, None]
    assert counter.gap == pytest.approx(precision_by_the_book(pairs, int(labels.sum())))
    assert counter.perr == pytest.approx(((hits * among).sum(1) / counts).mean())
    assert counter.hit_at_one == pytest.approx(hits[:, 0].mean())


def test_videos_that_come_one_by_one_take_no_more_memory():
    rng = np.random.default_rng(0)
    scores, labels = rng.random((1000, 30), np.float32), rng.random((1000, 30)) < 0.1
    at_once, one_by_one = TaggingCounter(30), TaggingCounter(30)
    at_once.update(scores, labels)
    for row in range(1000):
        one_by_one.update(scores[row : row + 1], labels[row : row + 1])

    assert one_by_one.summary() == pytest.approx(at_once.summary())
    assert len(pickle.dumps(one_by_one)) < 3 * len(pickle.dumps(at_once))


def test_small_batches_leave_no_small_arrays_that_split_the_memory():
    rng, labels = np.random.default_rng(0), np.eye(8)
    counter = TaggingCounter(8)
    tracemalloc.start()
    try:
        counts: list[int] = []
        for _ in range(2):
            for _ in range(100):
                counter.update(rng.random((8, 8)), labels)
            counts.append(len(tracemalloc.take_snapshot().traces))
    finally:
        tracemalloc.stop()

    assert counts[1] - counts[0] < 50
    assert counter.videos == 1600


def test_many_videos_are_counted_as_few():
    """More than one array holds."""
    rng = np.random.default_rng(0)
    scores, numbers = rng.random((9000, 3), np.float32), rng.integers(0, 3, 9000)
    labels = np.eye(3)[numbers]
    at_once, parts = TaggingCounter(3), TaggingCounter(3)
    at_once.update(scores, labels)
    for start in range(0, 9000, 1000):
        part = TaggingCounter(3)
        for first in range(start, start + 1000, 100):
            part.update(scores[first : first + 100], labels[first : first + 100])
        parts.merge(pickle.loads(pickle.dumps(part)))

    assert at_once.summary() == parts.summary()
    assert parts.hit_at_one == (scores.argmax(1) == numbers).mean()


def test_memory_grows_by_9_bytes_a_kept_class_and_not_with_the_classes():
    counter = TaggingCounter(4000, 20)
    empty = len(pickle.dumps(counter))

    counter.update(np.random.default_rng(0).random((512, 4000)), [[1]] * 512)

    assert len(pickle.dumps(counter)) - empty < 512 * 20 * 9 + 2000


def test_hit_at_one_of_2019_depends_on_who_is_in_the_batch():
    scores, labels = np.eye(4), np.eye(4)

    assert hit_at_one_2019(scores, labels) == 0.25
    assert hit_at_one_2019(scores[:1], labels[:1]) == 1.0
    assert counted(scores.astype(np.float32), labels.astype(np.float32), 1).hit_at_one == 1.0


def test_a_score_that_is_not_a_number_is_worse_than_any_number():
    nan = float("nan")
    counter = TaggingCounter(3, 2)

    counter.update([[nan, 0.2, 0.1], [0.3, nan, 0.1]], [[0], [2]])

    assert (counter.hit_at_one, counter.gap) == (0.0, 1 / 4 / 2)


def test_a_class_without_a_score_is_not_found():
    nothing = -np.inf
    counter = TaggingCounter(4, 4)

    counter.update([[nothing, 0.9, nothing, nothing]], [[0, 1]])

    assert (counter.gap, counter.perr, counter.mean_ap) == (0.5, 0.5, 0.5)


def test_equal_scores_do_not_flatter():
    scores = np.full((4, 2), 0.5, np.float32)
    labels = np.array([[1, 0]] * 2 + [[0, 1]] * 2, np.float32)

    assert counted(scores, labels, 1).gap == pytest.approx((1 / 3 + 2 / 4) / 4)


def test_a_tag_outside_the_k_best_still_counts_as_missing():
    counter = TaggingCounter(3, 1)
    counter.update([[0.9, 0.5, 0.1]], [[0, 1]])

    assert (counter.gap, counter.perr) == (0.5, 1.0)


def test_classes_without_videos_do_not_lower_the_mean_of_the_classes():
    counter = TaggingCounter(50)
    counter.update(np.eye(50)[:2], [[0], [1]])

    assert counter.mean_ap == 1.0
    assert np.isnan(counter.class_ap[2:]).all()


def test_the_mean_loss_weights_batches_by_their_size():
    counter, other = TaggingCounter(2), TaggingCounter(2)
    counter.update([[1, 0]] * 3, [[0]] * 3, loss=1.0)
    other.update([[1, 0]], [[0]], loss=[5.0])
    counter.merge(other)

    assert counter.loss == counter.summary()["loss"] == 2.0


def test_a_loss_that_some_videos_lack_is_not_reported():
    counter = TaggingCounter(2)
    counter.update([[1, 0]], [[0]], loss=1.0)
    counter.update([[1, 0]], [[0]])

    assert counter.loss is None
    assert "loss" not in counter.summary()


def test_nothing_seen_yet_is_not_a_number_rather_than_zero():
    assert all(np.isnan(value) for value in TaggingCounter(4).summary().values())


def test_an_empty_batch_changes_nothing():
    counter = TaggingCounter(3)
    counter.update(np.zeros((0, 3)), np.zeros((0, 3)))
    counter.update([[0.1, 0.2, 0.3]], [[2]])
    counter.update(np.zeros((0, 3)), [])

    assert counter.summary() == {"gap": 1.0, "hit_at_one": 1.0, "perr": 1.0, "map": 1.0}


@pytest.mark.parametrize("k", [2, 5, 40])
def test_no_more_is_found_than_k(k: int):
    scores = np.linspace(1, 0, 30)

    assert average_precision(scores, np.ones(30), k=k) == pytest.approx(1.0)
    assert average_precision(scores[::-1], np.arange(30) >= 28, k=k) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([[0.1, 0.9]], [[2]], "label 2 of video 0 is not in 0..1"),
        ([[0.1, 0.9]] * 2, [[], [-1]], "label -1 of video 1"),
        ([[0.1, 0.9]], [[0], [1]], "labels of 2 videos, scores of 1"),
        ([[0.1, 0.9]] * 2, np.array([[0, 1], [0.5, 0]]), "label 0.5 of video 1, expected 0 or 1"),
        ([[0.1, 0.9]], np.array([0, 1]), r"labels of shape \(2,\), expected \(1, 2\)"),
        ([0.1, 0.9], [[0]], r"scores of shape \(2,\)"),
        ([[0.1, 0.2, 0.7]], [[0]], r"scores of shape \(1, 3\), expected \(N, 2\)"),
    ],
)
def test_what_does_not_fit_is_refused_and_named(scores: object, labels: object, message: str):
    counter = TaggingCounter(2)

    with pytest.raises(ValueError, match=message):
        counter.update(scores, labels, loss=1.0)  # type: ignore[arg-type]

    assert counter.videos == 0


def test_a_loss_of_another_number_of_videos_is_refused():
    with pytest.raises(ValueError, match=r"loss of shape \(2,\) for 3 videos"):
        TaggingCounter(2).update([[0, 1]] * 3, [[0]] * 3, loss=[1.0, 2.0])


def test_counters_of_other_classes_do_not_merge():
    with pytest.raises(ValueError, match="the best 3 of 3 classes into the best 2 of 2"):
        TaggingCounter(2).merge(TaggingCounter(3))


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="k is 0"):
        TaggingCounter(3, 0)


# --- segments of which some classes are rated --------------------------------------------------


@quick
@given(videos(ties=False), st.integers(0, 2**31))
def test_only_rated_classes_count_as_in_the_challenge_of_2019(found: Videos, seed: int):
    scores, labels = found
    rated = np.random.default_rng(seed).random(labels.shape) < 0.5
    counter, parts = RatedCounter(labels.shape[1]), RatedCounter(labels.shape[1])
    counter.update(scores, labels, rated)
    for row in reversed(range(len(labels))):
        part = RatedCounter(labels.shape[1])
        part.update(scores[row : row + 1], labels[row : row + 1], rated[row : row + 1])
        parts.merge(part)

    precisions: list[float] = []
    for label in range(labels.shape[1]):
        ranked = [n for n in np.argsort(-scores[:, label]) if rated[n, label]]
        hits = [labels[n, label] > 0 for n in ranked]
        if any(hits):
            places = [place for place, hit in enumerate(hits, 1) if hit]
            precisions.append(float(np.mean([n / at for n, at in enumerate(places, 1)])))
    if precisions:
        assert counter.mean_ap == pytest.approx(np.mean(precisions))
        assert parts.summary() == pytest.approx(counter.summary())
    else:
        assert np.isnan(counter.mean_ap)
    assert counter.ratings == rated.sum()
    assert (counter.class_positives == (labels * rated).sum(0)).all()


def test_ratings_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="expected \\(N, 3\\) each"):
        RatedCounter(3).update(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((1, 3)))
