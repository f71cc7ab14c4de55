"""Accuracy of videos with several views, whose scores are averaged or added."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_BLOCK_BYTES = 1 << 20


class VideoScores:
    """Averages the scores of a video's views while they arrive; forgets complete videos.

    Only incomplete videos are kept, one row of sums each. Views of several videos may be mixed.

    >>> scores = VideoScores(2)
    >>> scores.add(7, [0.2, 0.8]) is None
    True
    >>> scores.add(7, [0.6, 0.4]).round(3).tolist()
    [0.4, 0.6]
    >>> len(scores)
    0
    """

    def __init__(self, views: int | Callable[[int], int]) -> None:
        """`views`: number of views per video, or a function from the video to it."""
        self._views: Callable[[int], int] = views if callable(views) else lambda _: views
        self._sums: dict[int, FloatArray] = {}
        self._counts: dict[int, int] = {}
        self._block: FloatArray = np.empty((0, 0))
        self._free = 0  # its rows

    def add(self, video: int, scores: ArrayLike) -> FloatArray | None:
        """Add the scores (C,) of one view; return the video's mean (C,) after the last view."""
        total = self._sums.get(video, 0) + np.asarray(scores, np.float64)
        count = self._counts.get(video, 0) + 1
        if count < self._views(video):
            self._sums[video], self._counts[video] = total, count
            return None
        self._sums.pop(video, None)
        self._counts.pop(video, None)
        return self._laid_down(total / count)

    def _laid_down(self, row: FloatArray) -> FloatArray:
        """The same in an array of many: callers keep it.

        Each small array that stays would hold memory of the large ones that came and went around
        it: 24 KB per video.
        """
        if not self._free or self._block.shape[1:] != row.shape:
            self._free = max(1, _BLOCK_BYTES // row.nbytes)
            self._block = np.empty((self._free, *row.shape))
        self._free -= 1
        place = self._block[self._free]
        place[...] = row
        return place

    def __len__(self) -> int:
        """Number of incomplete videos."""
        return len(self._sums)

    @property
    def unfinished(self) -> dict[int, tuple[FloatArray, int]]:
        """Incomplete videos in order of arrival: the mean so far, and the number of views."""
        return {
            video: (total / self._counts[video], self._counts[video])
            for video, total in self._sums.items()
        }


@dataclass(frozen=True)
class MultiCropResult:
    """Accuracies in [0, 1] and the counts behind them."""

    top1: float
    top5: float
    """Shares of all videos; a video without clips counts as wrong."""
    clip_accuracy: float
    """Share of single clips that are right; nan without clips."""
    clip1_accuracy: float
    """The same for the first clip of each video."""
    clip_hits: int
    clips: int
    clip1_hits: int
    clip1s: int
    """Videos with a clip."""
    counts: IntArray
    """(V,) kept clips of each video."""
    clips_per_video: int

    @property
    def empty(self) -> int:
        """Videos without a clip."""
        return int((self.counts == 0).sum())

    @property
    def incomplete(self) -> IntArray:
        """Videos with fewer clips than planned."""
        return np.flatnonzero(self.counts != self.clips_per_video)

    def log_lines(self) -> list[str]:
        """The lines that the 2019 library prints for a test of Non-local."""
        rule = "-" * 80
        clip1 = f"({self.clip1_hits}/{self.clip1s})"
        return [
            *(f"Id: {video} count: {self.counts[video]}" for video in self.incomplete),
            f"Num of empty videos: {self.empty}",
            f"Num of corrupted videos: {len(self.incomplete)}",
            f"Max num of clips in a video: {self.counts.max()}",
            f"Min num of clips in a video: {self.counts.min()}",
            f"Clip1 accuracy: {100 * self.clip1_accuracy:.2f} percent {clip1}",
            f"Clip accuracy: {100 * self.clip_accuracy:.2f} percent "
            f"({self.clip_hits}/{self.clips})",
            rule,
            f"top-1 accuracy: {100 * self.top1:.2f} percent",
            f"top-5 accuracy: {100 * self.top5:.2f} percent",
            rule,
        ]


class MultiCropCounter:
    """Test accuracy of Non-local as in the 2019 library: a video's clips add up their scores.

    The first `clips_per_video` clips of each video count; later ones are skipped.

    Source:
        PaddlePaddle/models release/1.8, metrics/multicrop_test.

    >>> counter = MultiCropCounter([1, 0], num_classes=2, clips_per_video=2)
    >>> counter.update([0, 0, 0], [[0.6, 0.4], [0.1, 0.9], [0.9, 0.1]])
    >>> result = counter.result()
    >>> result.top1, result.clip_accuracy, result.counts.tolist()
    (0.5, 0.5, [2, 0])
    """

    def __init__(self, labels: ArrayLike, *, num_classes: int, clips_per_video: int) -> None:
        """Start from nothing.

        Args:
            labels: (V,) true class of each video.
            num_classes: C.
            clips_per_video: `num_test_clips` of the 2019 library.
        """
        self.labels = np.asarray(labels, np.int64).reshape(-1)
        if not len(self.labels) or clips_per_video < 1:
            raise ValueError(
                f"MultiCropCounter: {len(self.labels)} videos with {clips_per_video} clips each; "
                "both must be 1 or more"
            )
        self.clips_per_video = clips_per_video
        self.sums: FloatArray = np.zeros((len(self.labels), num_classes))
        self.counts: IntArray = np.zeros(len(self.labels), np.int64)
        self._clip_hits = 0
        self._clip1_hits = 0

    def update(self, videos: ArrayLike, scores: ArrayLike) -> None:
        """Add clips in the order of arrival.

        Args:
            videos: (N,) or (N, 1), index of each clip's video in `labels`.
            scores: (N, C) probabilities.

        Raises:
            ValueError: Shapes do not fit, or a video is not in 0..V-1.
        """
        numbers = np.asarray(videos, np.int64).reshape(-1)
        rows = np.asarray(scores)
        if rows.shape != (len(numbers), self.sums.shape[1]):
            raise ValueError(
                f"MultiCropCounter: scores of shape {rows.shape}, "
                f"expected {(len(numbers), self.sums.shape[1])}"
            )
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self.labels):
            raise ValueError(
                f"MultiCropCounter: videos {numbers.min()} to {numbers.max()}, "
                f"expected 0..{len(self.labels) - 1}"
            )
        best = rows.argmax(1) if len(rows) else numbers
        for video, row, guess in zip(numbers.tolist(), rows, best.tolist(), strict=True):
            if self.counts[video] == self.clips_per_video:
                continue
            if guess == self.labels[video]:
                self._clip_hits += 1
                self._clip1_hits += int(self.counts[video] == 0)
            self.sums[video] += row
            self.counts[video] += 1

    def result(self) -> MultiCropResult:
        """Accuracies over all videos, including those without clips."""
        seen = self.counts > 0
        clips, clip1s = int(self.counts.sum()), int(seen.sum())
        # of equal sums argmax takes the first class, the reversed sort the last, as in 2019
        order = np.argsort(self.sums, axis=1, kind="stable")[:, ::-1][:, :5]
        top1 = (self.sums.argmax(1) == self.labels) & seen
        top5 = (order == self.labels[:, None]).any(1) & seen
        return MultiCropResult(
            top1=float(top1.mean()),
            top5=float(top5.mean()),
            clip_accuracy=self._clip_hits / clips if clips else float("nan"),
            clip1_accuracy=self._clip1_hits / clip1s if clip1s else float("nan"),
            clip_hits=self._clip_hits,
            clips=clips,
            clip1_hits=self._clip1_hits,
            clip1s=clip1s,
            counts=self.counts.copy(),
            clips_per_video=self.clips_per_video,
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """All counts as arrays, to add over processes with different videos."""
        return {
            "sums": self.sums.copy(),
            "counts": self.counts.copy(),
            "clip_hits": np.array(self._clip_hits, np.int64),
            "clip1_hits": np.array(self._clip1_hits, np.int64),
        }

    def merge(self, other: MultiCropCounter | Mapping[str, NDArray[Any]]) -> None:
        """Add what another counter has seen of other videos.

        Raises:
            ValueError: Both have clips of one video, whose order is not known.
        """
        state = other.state() if isinstance(other, MultiCropCounter) else other
        if state["sums"].shape != self.sums.shape:
            raise ValueError(
                f"MultiCropCounter: cannot merge {state['sums'].shape} into {self.sums.shape}"
            )
        both = np.flatnonzero((self.counts > 0) & (state["counts"] > 0))
        if len(both):
            raise ValueError(f"MultiCropCounter: video {both[0]} was seen by both processes")
        self.sums += state["sums"]
        self.counts += state["counts"]
        self._clip_hits += int(state["clip_hits"])
        self._clip1_hits += int(state["clip1_hits"])


def top_classes(scores: ArrayLike, k: int) -> list[tuple[int, float]]:
    """The `k` best classes of one row of scores with their scores, best first.

    Of equal scores the larger class number comes first, as in the 2019 library.

    >>> top_classes([0.2, 0.5, 0.3], 2)
    [(1, 0.5), (2, 0.3)]
    """
    row = np.asarray(scores)
    order = np.argsort(row, kind="stable")[::-1][:k]
    return [(int(label), float(row[label])) for label in order]
