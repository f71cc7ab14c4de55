"""Metrics of tagging: GAP, Hit@1, PERR and MAP, counted while scores arrive.

`TaggingCounter` is for videos whose tags are known, `RatedCounter` for segments of which some
classes were rated.

A video has any number of tags, and a model gives every class a score. Only the k best classes per
video are kept, so memory does not depend on the number of classes.

Equal scores never improve a result, and the order of the videos does not matter:

- within a video the smaller class number is better;
- over several videos (GAP and MAP), misses come before hits.

nan counts as minus infinity, and a class with that score is not found.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scores = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_CHUNK = 256
"""Videos processed together; their scores fit into a CPU's cache."""
_BLOCK = 4096
"""Rows whose memory is taken at once."""


def average_precision(
    scores: ArrayLike, hits: ArrayLike, *, k: int | None = None, positives: int | None = None
) -> float:
    """Mean precision at the ranks of the right answers.

    Args:
        scores: (M,), larger is better. Of equal scores, misses count as the better ones.
        hits: (M,), 1 or True for right answers.
        k: Use only the k best; then at most k answers can be found.
        positives: Number of right answers, including those without a score; by default those of
            `hits`.

    Returns:
        In [0, 1]; nan if there is nothing to find.

    Source: PaddlePaddle/models release/1.8, metrics/youtube8m.

    >>> average_precision([0.9, 0.8, 0.7], [1, 0, 1])
    0.8333333333333333
    >>> average_precision([0.9, 0.8, 0.7], [1, 0, 1], k=2)
    0.5
    """
    right = np.asarray(hits) > 0
    found, missed = np.asarray(scores)[right], np.asarray(scores)[~right]
    total = len(found) if positives is None else positives
    if k is not None:
        total = min(total, k)
    if not total:
        return float("nan")
    found = np.sort(found)[::-1]
    counts = np.arange(1, len(found) + 1)
    ranks = counts + len(missed) - np.searchsorted(np.sort(missed), found)
    precisions = (counts / ranks)[: None if k is None else np.searchsorted(ranks, k, "right")]
    return float(precisions.sum()) / total


def hit_at_one_2019(scores: ArrayLike, labels: ArrayLike) -> float:
    """Hit@1 of one batch as the 2019 library logs it: wrong, and too low.

    It compares the best class of each video with the labels of all videos of the batch, so the
    value depends on the batch. Kept to compare with old logs; `TaggingCounter.hit_at_one` is right.

    Args:
        scores: (N, C).
        labels: (N, C), 1 for a video's tags.

    Source: PaddlePaddle/models release/1.8, metrics/youtube8m.

    >>> hit_at_one_2019([[0.9, 0.1], [0.2, 0.8]], [[1, 0], [0, 1]])  # both are right
    0.5
    """
    table = np.asarray(labels, np.float64)
    return float(table[:, np.asarray(scores).argmax(1)].mean())


class TaggingCounter:
    """Collects the k best classes per video, and merges those of several processes.

    The metrics do not depend on batches, processes and order. A video takes 9k bytes.

    >>> counter = TaggingCounter(num_classes=3)
    >>> counter.update([[0.1, 0.6, 0.3], [0.5, 0.4, 0.1]], [[1], [1, 2]])
    >>> counter.hit_at_one, counter.perr, round(counter.gap, 3)
    (0.5, 0.75, 0.722)
    """

    def __init__(self, num_classes: int, k: int = 20) -> None:
        """Start from nothing.

        Args:
            num_classes: C.
            k: Classes per video that count in GAP and MAP; more than C means C.
        """
        if num_classes < 1 or k < 1:
            raise ValueError(
                f"TaggingCounter: num_classes is {num_classes} and k is {k}, expected 1 or more"
            )
        self.num_classes, self.k = num_classes, min(k, num_classes)
        self._scores = _Rows(np.float32, self.k)
        self._classes = _Rows(np.int32, self.k)
        self._hits = _Rows(np.bool_, self.k)
        self._positives = np.zeros(num_classes, np.int64)
        self._retrieved = np.zeros(num_classes + 1, np.int64)
        """Per number of tags n of a video: tags found among its n best classes."""
        self._videos = 0
        self._loss_sum = 0.0
        self._loss_total = 0

    def update(
        self,
        scores: ArrayLike,
        labels: ArrayLike | Sequence[Collection[int]],
        *,
        loss: ArrayLike | None = None,
    ) -> None:
        """Count some videos.

        Args:
            scores: (N, C), larger is better; used as float32. Give probabilities: PERR ignores
                classes with a score of 0 or less.
            labels: An array (N, C), 1 for a video's tags and 0 elsewhere; or a list of N lists
                with the numbers of the tags.
            loss: Loss per video (N,), or the mean over the batch.

        Raises:
            ValueError: Shapes do not fit, or a label is out of range. Nothing is counted then.
        """
        table = np.asarray(scores, np.float32)
        if table.ndim != 2 or table.shape[1] != self.num_classes:
            raise ValueError(
                f"TaggingCounter: scores of shape {table.shape}, expected (N, {self.num_classes})"
            )
        tags = _tags(labels, table.shape)
        self._add_loss(loss, len(table))
        for start in range(0, len(table), _CHUNK):
            stop = min(start + _CHUNK, len(table))
            first, last = np.searchsorted(tags, (start * table.shape[1], stop * table.shape[1]))
            self._add(table[start:stop], tags[first:last] - start * table.shape[1])
        self._videos += len(table)

    def _add(self, table: Scores, tags: IntArray) -> None:
        """Count (N, C) scores; `tags` are the indices of the tags in the flat table."""
        best, classes = _best(table, self.k)
        hits = _looked_up(classes, tags, self.num_classes) & (best > -np.inf)
        self._scores.add(best)
        self._classes.add(classes)
        self._hits.add(hits)
        self._positives += np.bincount(tags % self.num_classes, minlength=self.num_classes)

        counts = np.bincount(tags // self.num_classes, minlength=len(table))
        retrieved = (hits & (best > 0) & (np.arange(self.k) < counts[:, None])).sum(1)
        for row in np.flatnonzero(counts > self.k):
            more, numbers = _best(table[row : row + 1], counts[row])
            own = tags[tags // self.num_classes == row] - row * self.num_classes
            retrieved[row] = (_looked_up(numbers, own, self.num_classes) & (more > 0)).sum()
        np.add.at(self._retrieved, counts, retrieved)

    def _add_loss(self, loss: ArrayLike | None, videos: int) -> None:
        if loss is None:
            return
        values = np.asarray(loss, np.float64)
        if values.shape != (videos,) and values.size != 1:
            raise ValueError(f"TaggingCounter: loss of shape {values.shape} for {videos} videos")
        whole = values.shape == (videos,)
        self._loss_sum += float(values.sum()) if whole else float(values.reshape(())) * videos
        self._loss_total += videos

    def merge(self, other: TaggingCounter) -> None:
        """Add the counts of another counter, of other videos.

        Raises:
            ValueError: The other counter has other classes, or keeps another number of them.
        """
        ours, theirs = (self.num_classes, self.k), (other.num_classes, other.k)
        if ours != theirs:
            raise ValueError(
                f"TaggingCounter: cannot merge the best {theirs[1]} of {theirs[0]} classes into "
                f"the best {ours[1]} of {ours[0]}"
            )
        self._scores.add(other._scores.all)
        self._classes.add(other._classes.all)
        self._hits.add(other._hits.all)
        self._positives += other._positives
        self._retrieved += other._retrieved
        self._videos += other._videos
        self._loss_sum += other._loss_sum
        self._loss_total += other._loss_total

    @property
    def videos(self) -> int:
        """Videos so far."""
        return self._videos

    @property
    def gap(self) -> float:
        """Global average precision: of the k best classes of all videos, in one list.

        Divided by the number of all tags, also those outside the k best. nan without tags.
        """
        return average_precision(
            self._scores.all.ravel(),
            self._hits.all.ravel(),
            positives=int(self._positives.sum()),
        )

    @property
    def hit_at_one(self) -> float:
        """Share of videos whose best class is one of their tags; nan before the first."""
        return self._share(int(self._hits.all[:, 0].sum()))

    @property
    def perr(self) -> float:
        """Precision at equal recall rate: share of a video's n tags among its n best classes.

        Mean over videos; a video without tags counts as 0, as in the 2019 library. nan without
        videos.
        """
        counts = np.arange(1, self.num_classes + 1)
        return self._share(float((self._retrieved[1:] / counts).sum()))

    @property
    def mean_ap(self) -> float:
        """MAP: mean of `class_ap` over the classes with videos; nan without any."""
        known = self.class_ap[self._positives > 0]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def class_ap(self) -> NDArray[np.float64]:
        """Average precision of each class over the videos with it among their k best.

        (C,); nan for a class without videos (0 in the 2019 library).
        """
        classes, hits = self._classes.all.ravel(), self._hits.all.ravel()
        # class by class, best first; of equal scores misses first
        order = np.lexsort((hits, -self._scores.all.ravel(), classes))
        classes, hits = classes[order], hits[order]
        starts = np.searchsorted(classes, np.arange(self.num_classes))
        ranks = np.arange(1, len(hits) + 1) - starts[classes]
        found = np.cumsum(np.append(False, hits))  # before each rank
        precisions = (found[1:] - found[starts][classes]) / ranks
        sums = np.bincount(classes[hits], precisions[hits], minlength=self.num_classes)
        with np.errstate(invalid="ignore"):
            return sums / self._positives

    @property
    def class_positives(self) -> IntArray:
        """(C,), number of videos with each class."""
        return self._positives.copy()

    @property
    def loss(self) -> float | None:
        """Mean loss per video; None unless every video came with its loss."""
        if not self._videos or self._loss_total != self._videos:
            return None
        return self._loss_sum / self._videos

    def summary(self) -> dict[str, float]:
        """`gap`, `hit_at_one`, `perr` and `map` in [0, 1]; and `loss`, if known."""
        found = {
            "gap": self.gap,
            "hit_at_one": self.hit_at_one,
            "perr": self.perr,
            "map": self.mean_ap,
        }
        return found if self.loss is None else {**found, "loss": self.loss}

    def _share(self, amount: SupportsFloat) -> float:
        return float(amount) / self._videos if self._videos else float("nan")


class RatedCounter:
    """Collects scores of classes that people rated; of all other classes nothing is known.

    So are the segments of YouTube-8M 2019, each rated for a few classes: only rated pairs of a
    segment and a class count. The metrics do not depend on batches, processes and order.

    Source: google/youtube-8m, segment_eval_inference.py and eval.py.

    >>> counter = RatedCounter(num_classes=2)
    >>> counter.update([[0.9, 0.4], [0.7, 0.8]], [[1, 0], [0, 0]], [[1, 0], [1, 1]])
    >>> counter.mean_ap, counter.segments, counter.ratings
    (1.0, 2, 3)
    """

    def __init__(self, num_classes: int) -> None:
        """Start from nothing, with `num_classes` classes."""
        self.num_classes = num_classes
        self._scores = _Rows(np.float32)
        self._classes = _Rows(np.int32)
        self._hits = _Rows(np.bool_)
        self._segments = 0
        self._loss_sum = 0.0

    def update(
        self, scores: ArrayLike, labels: ArrayLike, rated: ArrayLike, *, loss: ArrayLike = 0.0
    ) -> None:
        """Count some segments.

        Args:
            scores: (N, C), larger is better; used as float32.
            labels: (N, C), 1 where the class is there.
            rated: (N, C), 1 where that is known.
            loss: Of each segment, (N,).

        Raises:
            ValueError: Shapes do not fit. Nothing is counted then.
        """
        table, known = np.asarray(scores, np.float32), np.asarray(rated) > 0
        there = np.asarray(labels) > 0
        shapes = {table.shape, known.shape, there.shape}
        if len(shapes) > 1 or table.ndim != 2 or table.shape[1] != self.num_classes:
            raise ValueError(
                f"RatedCounter: shapes {table.shape}, {there.shape} and {known.shape}, expected "
                f"(N, {self.num_classes}) each"
            )
        rows, classes = np.nonzero(known)
        found = table[rows, classes]
        self._scores.add(np.where(np.isnan(found), np.float32(-np.inf), found))
        self._classes.add(classes.astype(np.int32))
        self._hits.add(there[rows, classes])
        self._segments += len(table)
        self._loss_sum += float(np.asarray(loss, np.float64).sum())

    def merge(self, other: RatedCounter) -> None:
        """Add the counts of another counter, of other segments."""
        self._scores.add(other._scores.all)
        self._classes.add(other._classes.all)
        self._hits.add(other._hits.all)
        self._segments += other._segments
        self._loss_sum += other._loss_sum

    @property
    def segments(self) -> int:
        """Segments so far."""
        return self._segments

    @property
    def ratings(self) -> int:
        """Rated classes of all segments."""
        return len(self._hits)

    @property
    def class_positives(self) -> IntArray:
        """(C,), number of segments that show each class."""
        shown = self._classes.all[self._hits.all]
        return np.bincount(shown, minlength=self.num_classes)

    @property
    def class_ratings(self) -> IntArray:
        """(C,), number of segments that are rated for each class."""
        return np.bincount(self._classes.all, minlength=self.num_classes)

    @property
    def class_ap(self) -> NDArray[np.float64]:
        """Average precision of each class over the segments that are rated for it.

        (C,); nan for a class that no rated segment shows.
        """
        classes = self._classes.all
        order = np.argsort(classes, kind="stable")
        scores, hits = self._scores.all[order], self._hits.all[order]
        ends = np.cumsum(self.class_ratings)
        spans = zip(np.append(0, ends[:-1]).tolist(), ends.tolist(), strict=True)
        return np.array([average_precision(scores[a:b], hits[a:b]) for a, b in spans])

    @property
    def mean_ap(self) -> float:
        """MAP@N: mean of `class_ap` over the classes that some rated segment shows; nan without.

        The N of the challenge, 100,000 segments per class, does not limit it here.
        """
        known = self.class_ap[self.class_positives > 0]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def gap(self) -> float:
        """Global average precision of all ratings in one list; nan if no class is there."""
        return average_precision(self._scores.all, self._hits.all)

    def summary(self) -> dict[str, float]:
        """`map` and `gap` in [0, 1], and the mean `loss` per segment."""
        loss = self._loss_sum / self._segments if self._segments else float("nan")
        return {"map": self.mean_ap, "gap": self.gap, "loss": loss}


class _Rows:
    """Rows that come a few at a time, in few large arrays.

    Many small arrays that stay would lie between those that come and go with each batch, and keep
    the memory around them from being used again: 20 MB for a table of 1 MB.
    """

    def __init__(self, dtype: type[np.generic], *shape: int) -> None:
        """Start from nothing; `shape` is that of one row."""
        self._blocks = [np.empty((0, *shape), dtype)]
        self._free = 0  # rows of the last block

    def __len__(self) -> int:
        return sum(map(len, self._blocks)) - self._free

    def add(self, rows: NDArray[Any]) -> None:
        """Copy some rows to the end."""
        while len(rows):
            if not self._free:
                last = self._blocks[-1]
                self._blocks.append(np.empty((_BLOCK, *last.shape[1:]), last.dtype))
                self._free = _BLOCK
            first = _BLOCK - self._free
            taken = rows[: self._free]
            self._blocks[-1][first : first + len(taken)] = taken
            self._free -= len(taken)
            rows = rows[len(taken) :]

    @property
    def all(self) -> NDArray[Any]:
        """Every row, in order; a copy."""
        *whole, last = self._blocks
        return np.concatenate([*whole, last[: len(last) - self._free]])

    def __getstate__(self) -> dict[str, Any]:
        return {"_blocks": [self.all], "_free": 0}  # not what is free, to other processes


def _tags(labels: Any, shape: tuple[int, ...]) -> IntArray:
    """Indices of all tags in the flat (N, C) table, ascending and unique."""
    videos, classes = shape
    if hasattr(labels, "__array__"):
        table = np.asarray(labels)
        if table.shape != shape:
            raise ValueError(f"TaggingCounter: labels of shape {table.shape}, expected {shape}")
        places = np.flatnonzero(table != 0)
        if len(odd := places[table.reshape(-1)[places] != 1]):
            raise ValueError(
                f"TaggingCounter: label {table.flat[odd[0]]} of video {odd[0] // classes}, "
                "expected 0 or 1"
            )
        return places
    if len(labels) != videos:
        raise ValueError(f"TaggingCounter: labels of {len(labels)} videos, scores of {videos}")
    rows = np.repeat(np.arange(videos), [len(tags) for tags in labels])
    numbers = np.array([tag for tags in labels for tag in tags], np.int64)
    if len(odd := np.flatnonzero((numbers < 0) | (numbers >= classes))):
        raise ValueError(
            f"TaggingCounter: label {numbers[odd[0]]} of video {rows[odd[0]]} is not in "
            f"0..{classes - 1}"
        )
    return np.unique(rows * classes + numbers)


def _looked_up(classes: NDArray[np.int32], tags: IntArray, num_classes: int) -> BoolArray:
    """Which of (N, k) classes are tags of their video."""
    places = classes + num_classes * np.arange(len(classes))[:, None]
    return np.append(tags, -1)[np.searchsorted(tags, places)] == places


def _best(table: Scores, k: int) -> tuple[Scores, NDArray[np.int32]]:
    """The k best scores and classes of each row, (N, k), best first."""
    if np.isnan(table).any():
        table = np.where(np.isnan(table), np.float32(-np.inf), table)
    places = np.flatnonzero(table >= _floor(table, k)[:, None])  # np.nonzero is much slower
    rows, classes = np.divmod(places, table.shape[1])
    # padded to one width; classes ascend, and a stable sort keeps their order
    counts = np.bincount(rows, minlength=len(table))
    columns = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    best = np.full((len(table), counts.max()), -np.inf, np.float32)
    numbers = np.zeros(best.shape, np.int32)
    best[rows, columns], numbers[rows, columns] = table[rows, classes], classes
    order = np.argsort(-best, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(best, order, 1), np.take_along_axis(numbers, order, 1)


def _floor(table: Scores, k: int) -> Scores:
    """A score (N,) that at least k classes of each row reach, and rarely many more.

    The k-th best of the maxima of many small sets of classes: maxima are several times faster than
    a search for the k-th best of all.
    """
    rows, classes = table.shape
    size = max(1, min(32, classes // k))
    sets = classes // size
    maxima = table[:, : size * sets].reshape(rows, size, sets).max(1)
    return np.partition(maxima, sets - k, axis=1)[:, sets - k]
