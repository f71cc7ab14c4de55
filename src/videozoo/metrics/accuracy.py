"""Top-k accuracy of classification, counted example by example.

Counts are kept, not means of batches: batch sizes do not matter, and counts of several processes
can be added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


def top_k_hits(scores: ArrayLike, labels: ArrayLike, k: int) -> BoolArray:
    """Whether the label of each example is among its `k` best classes.

    Of equal scores the smaller class number counts as better. nan is worse than any score.

    Args:
        scores: (N, C), larger is better.
        labels: (N,) or (N, 1), in 0..C-1; -1, for unknown, is never hit.
        k: More than C means C.

    Returns:
        (N,).

    Raises:
        ValueError: The shapes do not fit, `k` is not positive, or a label is out of range.

    Source:
        PaddlePaddle/models release/1.8, metrics/kinetics (argsort of the negated row).

    >>> top_k_hits([[0.1, 0.6, 0.3], [0.2, 0.4, 0.4]], [2, 2], k=1).tolist()
    [False, False]
    >>> top_k_hits([[0.1, 0.6, 0.3], [0.2, 0.4, 0.4]], [2, 2], k=2).tolist()
    [True, True]
    """
    if k < 1:
        raise ValueError(f"top_k_hits: k is {k}, expected 1 or more")
    checked, numbers = _checked(scores, labels)
    return (_ranks(checked, numbers) < min(k, checked.shape[1])) & (numbers >= 0)


def batch_metrics(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """Top-1 and top-5 accuracy of one batch in percent, as the 2019 library logs them.

    Examples with an unknown label (-1) count as wrong here.

    >>> batch_metrics([[0.9, 0.1], [0.2, 0.8]], [0, 0])
    (50.0, 100.0)
    """
    top1, top5 = (100 * float(top_k_hits(scores, labels, k).mean()) for k in (1, 5))
    return top1, top5


@dataclass(frozen=True)
class ClassAccuracy:
    """The accuracy of one class."""

    label: int
    hits: int
    total: int
    """Examples of this class."""

    @property
    def accuracy(self) -> float:
        """Share of its examples that are right; nan without examples."""
        return self.hits / self.total if self.total else float("nan")


class AccuracyCounter:
    """Count hits while scores arrive, and merge the counts of several processes.

    Memory does not grow with the number of examples.

    >>> counter = AccuracyCounter(num_classes=3)
    >>> counter.update([[0.1, 0.6, 0.3], [0.5, 0.4, 0.1]], [2, 0])
    >>> counter.total, counter.top1
    (2, 0.5)
    >>> counter.confusion.tolist()
    [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    """

    def __init__(self, num_classes: int, *, with_confusion: bool = True) -> None:
        """Start from nothing.

        Args:
            num_classes: C.
            with_confusion: Keep the (C, C) table; without it memory is C numbers.
        """
        if num_classes < 1:
            raise ValueError(f"AccuracyCounter: num_classes is {num_classes}, expected 1 or more")
        self.num_classes = num_classes
        self._class_totals = np.zeros(num_classes, np.int64)
        self._class_hits = np.zeros(num_classes, np.int64)
        self._top5_hits = 0
        self._unlabelled = 0
        self._loss_sum = 0.0
        self._loss_total = 0
        size = num_classes if with_confusion else 0
        self._confusion = np.zeros((size, size), np.int64)

    def update(
        self, scores: ArrayLike, labels: ArrayLike, *, loss: ArrayLike | None = None
    ) -> None:
        """Count some examples.

        Args:
            scores: (N, C), larger is better.
            labels: (N,) or (N, 1), in 0..C-1; -1 is unknown: not counted at all.
            loss: Of each example (N,), or the mean over the batch; with a mean, all labels must
                be known.

        Raises:
            ValueError: Shapes do not fit, or a label is out of range.
        """
        checked, numbers = _checked(scores, labels)
        if checked.shape[1] != self.num_classes:
            raise ValueError(
                f"AccuracyCounter: scores of {checked.shape[1]} classes, "
                f"expected {self.num_classes}"
            )
        known = numbers >= 0
        if loss is not None:
            self._add_loss(np.asarray(loss, np.float64), known)
        self._unlabelled += int((~known).sum())
        checked, numbers = checked[known], numbers[known]
        if not len(numbers):
            return
        ranks = _ranks(checked, numbers)
        size = self.num_classes
        self._class_totals += np.bincount(numbers, minlength=size)
        self._class_hits += np.bincount(numbers[ranks < 1], minlength=size)
        self._top5_hits += int((ranks < min(5, size)).sum())
        if self._confusion.size:
            np.add.at(self._confusion, (numbers, _best(checked)), 1)

    def _add_loss(self, loss: NDArray[np.float64], known: BoolArray) -> None:
        if loss.shape == known.shape:
            self._loss_sum += float(loss[known].sum())
        elif loss.size == 1 and known.all():
            self._loss_sum += float(loss.reshape(())) * len(known)
        else:
            raise ValueError(
                f"AccuracyCounter: loss of shape {loss.shape} for {len(known)} examples, "
                f"{int((~known).sum())} of them unlabelled"
            )
        self._loss_total += int(known.sum())

    @property
    def total(self) -> int:
        """Labelled examples so far."""
        return int(self._class_totals.sum())

    @property
    def unlabelled(self) -> int:
        """Examples with an unknown label, counted nowhere else."""
        return self._unlabelled

    @property
    def top1(self) -> float:
        """Share of examples whose best class is their label, in [0, 1]; nan before the first."""
        return int(self._class_hits.sum()) / self.total if self.total else float("nan")

    @property
    def top5(self) -> float:
        """Share of examples with their label among the best 5 (or C, if fewer) classes."""
        return self._top5_hits / self.total if self.total else float("nan")

    @property
    def mean_class(self) -> float:
        """Mean of the accuracies of all classes with examples."""
        seen = self._class_totals > 0
        if not seen.any():
            return float("nan")
        return float(np.mean(self._class_hits[seen] / self._class_totals[seen]))

    @property
    def loss(self) -> float | None:
        """Mean loss per example; None unless every example came with its loss."""
        if not self.total or self._loss_total != self.total:
            return None
        return self._loss_sum / self.total

    @property
    def confusion(self) -> IntArray:
        """Counts (C, C): row the true class, column the best class; (0, 0) if not kept."""
        return self._confusion.copy()

    def per_class(self) -> list[ClassAccuracy]:
        """All classes in order, also those without examples."""
        pairs = zip(self._class_hits.tolist(), self._class_totals.tolist(), strict=True)
        return [ClassAccuracy(label, hits, total) for label, (hits, total) in enumerate(pairs)]

    def summary(self) -> dict[str, float]:
        """Shares in [0, 1]: `top1`, `top5`, `mean_class`; and `loss`, if known.

        With up to five classes `top5` is always 1, and left out.
        """
        found = {"top1": self.top1, "top5": self.top5, "mean_class": self.mean_class}
        if self.num_classes <= 5:
            del found["top5"]
        return found if self.loss is None else {**found, "loss": self.loss}

    def state(self) -> dict[str, NDArray[Any]]:
        """All counts as arrays; their sums over processes, key by key, are the merged counts."""
        return {
            "class_totals": self._class_totals.copy(),
            "class_hits": self._class_hits.copy(),
            "top5_hits": np.array(self._top5_hits, np.int64),
            "unlabelled": np.array(self._unlabelled, np.int64),
            "loss_sum": np.array(self._loss_sum, np.float64),
            "loss_total": np.array(self._loss_total, np.int64),
            "confusion": self._confusion.copy(),
        }

    def merge(self, other: AccuracyCounter | Mapping[str, NDArray[Any]]) -> None:
        """Add the counts of another counter, or of its `state`.

        Raises:
            ValueError: The other one counts other classes.
        """
        state = other.state() if isinstance(other, AccuracyCounter) else other
        ours = (self._class_totals.shape, self._confusion.shape)
        theirs = (state["class_totals"].shape, state["confusion"].shape)
        if ours != theirs:
            raise ValueError(
                f"AccuracyCounter: cannot merge counts of {theirs[0][0]} classes into "
                f"{self.num_classes} (confusion {theirs[1]} and {ours[1]})"
            )
        self._class_totals += state["class_totals"]
        self._class_hits += state["class_hits"]
        self._top5_hits += int(state["top5_hits"])
        self._unlabelled += int(state["unlabelled"])
        self._loss_sum += float(state["loss_sum"])
        self._loss_total += int(state["loss_total"])
        self._confusion += state["confusion"]


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[Any], IntArray]:
    """Scores (N, C) and labels (N,), checked."""
    table, numbers = np.asarray(scores), np.asarray(labels)
    if table.ndim != 2 or not table.shape[1]:
        raise ValueError(f"accuracy: scores of shape {table.shape}, expected (N, classes)")
    if numbers.shape not in ((len(table),), (len(table), 1)):
        raise ValueError(
            f"accuracy: labels of shape {numbers.shape} for {len(table)} rows of scores"
        )
    numbers = numbers.reshape(-1).astype(np.int64)
    bad = (numbers < -1) | (numbers >= table.shape[1])
    if bad.any():
        raise ValueError(
            f"accuracy: label {numbers[bad][0]} of example {int(np.argmax(bad))} is not in "
            f"0..{table.shape[1] - 1} (or -1 for unknown)"
        )
    return table, numbers


def _ranks(scores: NDArray[Any], labels: IntArray) -> IntArray:
    """Number of classes that are better than the label, in one pass without sorting."""
    own = scores[np.arange(len(labels)), labels][:, None]
    better = (scores > own) | (np.isnan(own) & ~np.isnan(scores))
    as_good = (scores == own) | (np.isnan(own) & np.isnan(scores))
    before = as_good & (np.arange(scores.shape[1]) < labels[:, None])
    return (better | before).sum(1)


def _best(scores: NDArray[Any]) -> IntArray:
    """The class of rank 0."""
    missing = np.isnan(scores)
    # -inf is better than nan: find it if there is nothing larger
    finite = np.where(missing, -np.inf, scores)
    is_best = (finite == finite.max(1, keepdims=True)) & (~missing | missing.all(1, keepdims=True))
    return is_best.argmax(1)
