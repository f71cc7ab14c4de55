from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from videozoo.metrics.accuracy import AccuracyCounter, batch_metrics, top_k_hits

Examples = tuple[NDArray[np.float32], NDArray[np.int64]]


@st.composite
def examples(draw: st.DrawFn) -> Examples:
    """Scores with many ties, and labels that may be unknown."""
    count, classes = draw(st.integers(1, 12)), draw(st.integers(1, 9))
    scores = draw(hnp.arrays(np.float32, (count, classes), elements=st.sampled_from([0, 1, 2, 3])))
    labels = draw(hnp.arrays(np.int64, count, elements=st.integers(-1, classes - 1)))
    return scores, labels


def counted(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> AccuracyCounter:
    counter = AccuracyCounter(scores.shape[1])
    counter.update(scores, labels)
    return counter


@given(examples(), st.integers(1, 12))
def test_a_hit_is_a_label_among_the_first_k_of_the_sorted_negated_row(pair: Examples, k: int):
    scores, labels = pair

    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]

    assert top_k_hits(scores, labels, k).tolist() == (order == labels[:, None]).any(1).tolist()


@given(examples(), st.data())
def test_neither_batches_nor_their_order_change_the_counts(pair: Examples, data: st.DataObject):
    scores, labels = pair
    order = np.array(data.draw(st.permutations(range(len(labels)))))
    cut = data.draw(st.integers(0, len(labels)))

    first = counted(scores[order[:cut]], labels[order[:cut]])
    second = counted(scores[order[cut:]], labels[order[cut:]])
    first.merge(second)

    whole = counted(scores, labels)
    for key, value in whole.state().items():
        np.testing.assert_array_equal(first.state()[key], value, err_msg=key)


@given(examples())
def test_unknown_labels_do_not_count(pair: Examples):
    scores, labels = pair

    with_unknown, without = (
        counted(scores, labels),
        counted(scores[labels >= 0], labels[labels >= 0]),
    )

    assert with_unknown.unlabelled == (labels < 0).sum()
    assert without.unlabelled == 0
    for key in ("top1", "top5", "mean_class"):
        np.testing.assert_equal(getattr(with_unknown, key), getattr(without, key))


@given(examples())
def test_the_confusion_table_agrees_with_the_hits(pair: Examples):
    counter = counted(*pair)

    rows = counter.per_class()

    assert np.diag(counter.confusion).tolist() == [row.hits for row in rows]
    assert counter.confusion.sum(1).tolist() == [row.total for row in rows]


def test_sums_of_states_merge_counters():
    scores = np.eye(3, dtype=np.float32)
    a, b, together = AccuracyCounter(3), AccuracyCounter(3), AccuracyCounter(3)
    a.update(scores, [0, 1, 0], loss=1.0)
    b.update(scores[:2], [1, 1], loss=[4.0, 0.0])

    together.merge({key: value + b.state()[key] for key, value in a.state().items()})

    assert together.total == 5
    assert together.top1 == 3 / 5
    assert together.loss == pytest.approx((3 * 1.0 + 4.0) / 5)


def test_the_mean_loss_weights_batches_by_their_size():
    counter = AccuracyCounter(2)
    counter.update([[1, 0]] * 3, [0, 0, 0], loss=1.0)
    counter.update([[1, 0]], [[0]], loss=[5.0])

    assert counter.loss == 2.0


def test_a_loss_that_some_examples_lack_is_not_reported():
    counter = AccuracyCounter(2)
    counter.update([[1, 0]], [0], loss=1.0)
    counter.update([[1, 0]], [0])

    assert counter.loss is None
    assert "loss" not in counter.summary()


def test_top5_of_fewer_than_five_classes_is_always_right():
    assert batch_metrics([[0.1, 0.9], [0.4, 0.6]], [0, 1]) == (50.0, 100.0)


def test_a_score_that_is_not_a_number_is_never_a_hit():
    nan = float("nan")
    scores = np.array([[nan, 0.2, 0.1], [0.3, nan, -np.inf], [nan, -np.inf, nan]], np.float32)

    assert top_k_hits(scores, [0, 1, 1], 2).tolist() == [False, False, True]
    assert counted(scores, np.array([0, 1, 1])).confusion.sum(0).tolist() == [1, 2, 0]


def test_nothing_seen_yet_is_not_a_number_rather_than_zero():
    assert all(np.isnan(value) for value in AccuracyCounter(4).summary().values())


def test_classes_without_examples_do_not_lower_the_mean_of_the_classes():
    counter = AccuracyCounter(4)
    counter.update([[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]], [0, 0, 1])

    assert counter.top1 == pytest.approx(2 / 3)
    assert counter.mean_class == 0.5


def test_the_confusion_table_can_be_left_out():
    counter = AccuracyCounter(1000, with_confusion=False)
    counter.update(np.ones((2, 1000)), [0, 7])

    assert counter.confusion.shape == (0, 0)
    assert counter.top1 == 0.5


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([[0.1, 0.9]], [2], "label 2 of example 0"),
        ([[0.1, 0.9]], [-2], "label -2 of example 0"),
        ([[0.1, 0.9]], [0, 1], r"labels of shape \(2,\) for 1 rows"),
        ([0.1, 0.9], [0], r"scores of shape \(2,\)"),
        ([[0.1, 0.2, 0.7]], [0], "3 classes, expected 2"),
    ],
)
def test_what_does_not_fit_is_refused_and_named(scores: object, labels: object, message: str):
    with pytest.raises(ValueError, match=message):
        AccuracyCounter(2).update(scores, labels)  # type: ignore[arg-type]


def test_counters_of_other_classes_do_not_merge():
    with pytest.raises(ValueError, match="3 classes into 2"):
        AccuracyCounter(2).merge(AccuracyCounter(3))
