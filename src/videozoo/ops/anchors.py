"""C-TCN's anchors: windows of many lengths all over a video, and segments as offsets from them.

Times are steps of the feature sequence, `num_steps` per video.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from videozoo.candidates import Candidates
from videozoo.ops.tiou import as_segments, tiou

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEVEL_STEPS = (4, 8, 16, 32, 64, 128, 256, 512)
ANCHORS_PER_POSITION = 7

_CENTRE_UNIT, _LENGTH_UNIT = 0.1, 0.2
"""Units of the offsets, as fractions of the anchor's length."""
_NO_OVERLAP = 1e-6
_GOOD_OVERLAP = 0.5


class AnchorCoder:
    """Turns segments into offsets from anchors, which a network learns, and back.

    A level of the network with a stride of s steps has positions s apart, and 7 anchors at each: s
    long, then 0.9, 1.1, 0.8, 1.2, 0.7 and 1.3 times s. If s is the whole video, only shorter ones:
    1, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65.

    Source: Reference behaviour: PaddlePaddle/models release/1.8 (C-TCN).

    >>> coder = AnchorCoder()
    >>> coder.anchors.shape, coder.anchors[:3].tolist()
    ((1785, 2), [[2.0, 4.0], [2.0, 3.6], [2.0, 4.4]])
    """

    def __init__(self, num_steps: int = 512, level_steps: Sequence[int] = LEVEL_STEPS) -> None:
        """Make the anchors.

        Args:
            num_steps: Length of the feature sequence.
            level_steps: Stride of each level; must divide `num_steps`.

        Raises:
            ValueError: A stride does not divide `num_steps`.
        """
        odd = [step for step in level_steps if num_steps % step]
        if odd:
            raise ValueError(f"AnchorCoder: a stride of {odd[0]} does not divide {num_steps} steps")
        self.num_steps, self.level_steps = num_steps, tuple(level_steps)
        self.anchors: FloatArray = np.concatenate(
            [_level(step, num_steps) for step in self.level_steps]
        )
        """(A, 2): centre and length in steps; level by level, position by position."""

    def encode(self, segments: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, IntArray]:
        """The training targets of every anchor.

        Each segment, best overlap first, gets the anchor that fits it best. Then each anchor left
        that overlaps a segment by at least 0.5 gets that segment - unless there is only one such
        anchor: it stays background, as in the 2019 library.

        Args:
            segments: (G, 2): start and end in steps.
            labels: (G,): classes from 1; 0 is background.

        Returns:
            Offsets (A, 2): of the centre in tenths of the anchor's length, of the length in fifths
            of it. Labels (A,). Background anchors have the offsets of the first segment, which no
            loss uses; 0 without segments.

        Raises:
            ValueError: The numbers of labels and segments differ.
        """
        truth, classes = as_segments(segments), np.asarray(labels, np.int64).reshape(-1)
        if len(truth) != len(classes):
            raise ValueError(f"AnchorCoder: {len(truth)} segments and {len(classes)} labels")
        if not len(truth):
            return np.zeros(self.anchors.shape), np.zeros(len(self.anchors), np.int64)
        windows = _as_ends(self.anchors)
        matched = _matched(tiou(truth, windows))
        own = _as_centres(truth)[np.maximum(matched, 0)]
        anchors = _as_centres(windows)  # there and back, for the last digit of the 2019 library
        offsets = np.stack(
            (
                (own[:, 0] - anchors[:, 0]) / anchors[:, 1] / _CENTRE_UNIT,
                (own[:, 1] / anchors[:, 1] - 1.0) / _LENGTH_UNIT,
            ),
            axis=1,
        )
        return offsets, np.where(matched < 0, 0, classes[np.maximum(matched, 0)])

    def segments(self, offsets: NDArray[np.floating[Any]]) -> FloatArray:
        """Turn offsets (A, 2) into segments (A, 2), start and end in steps; not cut off."""
        centres = offsets[:, 0] * _CENTRE_UNIT * self.anchors[:, 1] + self.anchors[:, 0]
        lengths = (offsets[:, 1] * _LENGTH_UNIT + 1.0) * self.anchors[:, 1]
        return _as_ends(np.stack((centres, lengths), axis=1))

    def decode(
        self,
        offsets: NDArray[np.floating[Any]],
        scores: NDArray[np.floating[Any]],
        *,
        score_threshold: float,
    ) -> Candidates:
        """Turn the network's outputs for one video into segments.

        Args:
            offsets: (A, 2).
            scores: (A, C) after softmax; class 0 is background.
            score_threshold: Only higher scores are kept.

        Returns:
            Every anchor with every class above the threshold, classes ascending. Segments are
            fractions of the sequence; labels count from 0, one less than the column. May be empty.

        Raises:
            ValueError: Shapes do not fit the anchors.
        """
        count = len(self.anchors)
        if offsets.shape != (count, 2) or scores.ndim != 2 or len(scores) != count:
            raise ValueError(
                f"AnchorCoder: offsets of shape {offsets.shape} and scores of {scores.shape}, "
                f"expected ({count}, 2) and ({count}, C)"
            )
        is_found = scores.T[1:] > score_threshold
        labels, anchors = np.nonzero(is_found)
        segments = self.segments(offsets) / self.num_steps
        return Candidates(segments[anchors], scores[anchors, labels + 1].astype(np.float64), labels)


def _level(step: int, num_steps: int) -> FloatArray:
    # in the order of operations of the 2019 library, for its last digit
    deltas = [(step * 4.5 / 15.0) * (1.0 + place) / 3 for place in range(3)]
    half = (step * 4.5 / 15.0) / 6
    lengths = [float(step)]
    for delta in deltas:
        lengths += [step - delta, step - delta - half if step == num_steps else step + delta]
    centres = (np.arange(num_steps // step) + 0.5) * step
    grid = np.meshgrid(centres, lengths, indexing="ij")
    return np.stack([each.ravel() for each in grid], axis=1, dtype=np.float64)


def _matched(overlaps: FloatArray) -> IntArray:
    """The segment of each anchor, -1 for none, from overlaps (G, A)."""
    count = overlaps.shape[1]
    matched = np.full(count, -1, np.int64)
    free = overlaps.copy()
    while True:
        segment, anchor = divmod(int(free.argmax()), count)
        if free[segment, anchor] < _NO_OVERLAP:
            break
        matched[anchor] = segment
        free[segment] = 0
        free[:, anchor] = 0
    more = np.flatnonzero((matched < 0) & (overlaps.max(axis=0) >= _GOOD_OVERLAP))
    if len(more) > 1:
        matched[more] = overlaps[:, more].argmax(axis=0)
    return matched


def _as_ends(boxes: FloatArray) -> FloatArray:
    half = boxes[:, 1] / 2
    return np.stack((boxes[:, 0] - half, boxes[:, 0] + half), axis=1)


def _as_centres(segments: FloatArray) -> FloatArray:
    starts, ends = segments[:, 0], segments[:, 1]
    return np.stack(((starts + ends) / 2, ends - starts), axis=1)
