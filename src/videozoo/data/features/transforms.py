"""Resize, slice and divide sequences of features, and augment them as C-TCN does."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from videozoo.ops.tiou import tiou

if TYPE_CHECKING:
    from videozoo.settings.segments import ResizeMethod

FloatArray = NDArray[np.float32]
Segments = NDArray[np.float64]
Labels = NDArray[np.int64]

_CUBIC = -0.75  # as in OpenCV; other libraries use -0.5
_SLIVER = 1e-3  # parts of a step that OpenCV leaves out of a mean
_LEAST_BACKGROUND = 5
_CROP_TRIES = 100
_LEAST_OVERLAPS = (0, 0.1, 0.3, 0.5, 0.7, 0.9)


def resize_steps(features: FloatArray, num_steps: int, method: ResizeMethod) -> FloatArray:
    """Resize a sequence to another number of steps.

    Args:
        features: (T, C), T at least 1.
        num_steps: At least 1. If it equals T, the sequence is returned as it is.
        method: `nearest` repeats or leaves out steps. `linear` and `cubic` interpolate between the
            2 or 4 nearest steps; the ends repeat. `area` takes means if the number of steps gets
            smaller, and interpolates with sharper edges than `linear` if it gets larger.

    Returns:
        (num_steps, C) float32, as `resize` of OpenCV along one side of an image: `nearest` exactly,
        the others up to float rounding.

    >>> resize_steps(np.array([[0], [1], [2], [3]], np.float32), 2, "area").ravel().tolist()
    [0.5, 2.5]
    """
    length = len(features)
    if length == num_steps:
        return features
    scale = 1 / (num_steps / length)  # not length / num_steps, which may differ in the last bit
    places = np.arange(num_steps, dtype=np.float64)
    if method == "nearest":
        return features[np.minimum((places * scale).astype(np.int64), length - 1)]
    if method == "area" and scale >= 1:
        return _means(features, places * scale, scale)
    if method == "area":
        left = np.floor(places * scale).astype(np.int64)
        share = (places + 1) - (left + 1) * (num_steps / length)
        share = np.where(share <= 0, 0, share - np.floor(share))
    else:
        centre = (places + 0.5) * scale - 0.5
        left = np.floor(centre).astype(np.int64)
        share = centre - left
    if method == "cubic":
        return _mixed(features, left - 1, _cubic_weights(share))
    return _mixed(features, left, np.stack([1 - share, share]))


def _mixed(features: FloatArray, first: NDArray[np.int64], weights: Segments) -> FloatArray:
    """Weighted sum of `len(weights)` neighbouring steps from `first` on; the ends repeat."""
    mixed = np.zeros((len(first), features.shape[1]), np.float32)
    for i, weight in enumerate(weights.astype(np.float32)):
        mixed += weight[:, None] * features[np.clip(first + i, 0, len(features) - 1)]
    return mixed


def _cubic_weights(share: Segments) -> Segments:
    def near(x: Segments) -> Segments:
        return ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1

    beyond = share + 1
    first = ((_CUBIC * beyond - 5 * _CUBIC) * beyond + 8 * _CUBIC) * beyond - 4 * _CUBIC
    second, third = near(share), near(1 - share)
    return np.stack([first, second, third, 1 - first - second - third])


def _means(features: FloatArray, starts: Segments, scale: float) -> FloatArray:
    """Mean of the sequence over [start, start + scale), where each step has length 1."""
    length = len(features)
    width = np.minimum(scale, length - starts)[:, None]
    ends = np.minimum(starts + scale, length)
    after, before = np.ceil(starts), np.floor(ends)
    starts = np.where(after - starts <= _SLIVER, after, starts)
    ends = np.where(ends - before <= _SLIVER, before, ends)
    sums = np.zeros((length + 1, features.shape[1]))
    np.cumsum(features, axis=0, dtype=np.float64, out=sums[1:])

    def up_to(place: Segments) -> Segments:
        whole = np.minimum(place.astype(np.int64), length - 1)
        return sums[whole] + (place - whole)[:, None] * features[whole]

    return ((up_to(ends) - up_to(starts)) / width).astype(np.float32)


def random_move(
    features: FloatArray, segments: Segments, labels: Labels, rng: random.Random
) -> tuple[FloatArray, Segments, Labels]:
    """Cut out the actions, and insert each at a random place in the background.

    Args:
        features: (T, C).
        segments: (G, 2) in steps.
        labels: (G,).
        rng: Draws the places.

    Returns:
        Features, segments and labels, with the actions in their new order. If actions overlap, the
        steps that they share appear twice. Unchanged if there is too little background.

    Source: C-TCN, PaddlePaddle/models release/1.8; the same result for the same `rng`.
    """
    ends = np.minimum(segments[:, 1].astype(np.int64), len(features)).tolist()
    spans = [np.arange(start, end) for start, end in zip(_whole(segments), ends, strict=True)]
    is_action = np.zeros(len(features), np.bool_)
    for span in spans:
        is_action[span] = True
    background = np.flatnonzero(~is_action)
    if not len(segments) or len(background) < max(_LEAST_BACKGROUND, len(segments)):
        return features, segments, labels
    drawn = rng.sample(range(len(background)), len(segments))
    order = np.argsort(drawn)
    cuts = np.split(background, np.array(drawn)[order])
    pieces: list[NDArray[np.int64]] = [cuts[0]]
    starts: list[int] = []
    for place, gap in zip(order.tolist(), cuts[1:], strict=True):
        starts.append(sum(map(len, pieces)))
        pieces += [spans[place], gap]
    lengths = segments[order, 1] - segments[order, 0]
    moved = np.stack([np.array(starts, np.float64), starts + lengths], axis=1)
    return features[np.concatenate(pieces)], moved, labels[order]


def _whole(segments: Segments) -> list[int]:
    return segments[:, 0].astype(np.int64).tolist()


def random_crop(
    features: FloatArray,
    segments: Segments,
    labels: Labels,
    rng: random.Random,
    *,
    min_scale: float = 0.3,
) -> tuple[FloatArray, Segments, Labels]:
    """Crop a sequence to a random part, and keep the actions with their middle inside.

    One of up to seven parts is chosen: the whole sequence and, for each of six thresholds, the
    first of 100 random parts whose tIoU with every action reaches the threshold.

    Args:
        features: (T, C).
        segments: (G, 2) in steps.
        labels: (G,).
        rng: Draws the part.
        min_scale: Shortest part, as a fraction of the sequence.

    Returns:
        Features, segments and labels of the part, segments cut to it. There may be no segment left;
        the 2019 library then added a background segment from 0 to 0, which matches no anchor.

    Source: C-TCN, PaddlePaddle/models release/1.8; the same result for the same `rng`.
    """
    length = len(features)
    if not len(segments):
        return features, segments, labels
    parts = [(0, length)]
    for least in _LEAST_OVERLAPS:
        for _ in range(_CROP_TRIES):
            size = int(length * rng.uniform(min_scale, 1))
            start = rng.randrange(max(length - size, 1))
            if size and tiou(segments, [[start, start + size]]).min() >= least:
                parts.append((start, size))
                break
    start, size = rng.choice(parts)
    middles = segments.mean(axis=1)
    kept = (middles >= start) & (middles <= start + size)
    inside = np.clip(segments[kept] - start, 0, size)
    return features[start : start + size], inside, labels[kept]


def slice_frames(
    num_frames: int, count: int, rng: np.random.RandomState | None = None
) -> NDArray[np.int64]:
    """Choose one frame from each of `count` equal slices of a video.

    Args:
        num_frames: Frames of the video, at least 1. If fewer than `count`, frames repeat.
        count: Number of slices.
        rng: Draws one number per slice, in order; None takes the middles.

    Returns:
        (count,), ascending.

    Source: PaddlePaddle/models release/1.8, feature_reader; the same frames from the same `rng`.

    >>> slice_frames(10, 5).tolist()
    [1, 3, 5, 7, 9]
    """
    inside = np.full(count, 0.5) if rng is None else rng.random_sample(count)
    chosen = (np.arange(count) + inside) * (num_frames / count)
    return np.minimum(chosen.astype(np.int64), num_frames - 1)


def bounds_of_parts(num_frames: int, most: int) -> list[int]:
    """Where the parts of a long video begin, and the end of the last: parts of equal length.

    Args:
        num_frames: Frames of the video.
        most: Of a part.

    >>> bounds_of_parts(7, 3)
    [0, 2, 5, 7]
    """
    return np.linspace(0, num_frames, -(-num_frames // most) + 1).round().astype(int).tolist()
