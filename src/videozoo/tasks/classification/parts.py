"""Scores of parts of one video, such as proposals: the video is decoded once for all of them.

A part is seen as evaluation sees a list's video with a start and an end: the frames of one clip are
spread over it, in their centre crop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from videozoo.config import RunConfig
from videozoo.data.frames.video import VideoReader
from videozoo.data.frames.views import centre_rule, eval_frames, eval_plan
from videozoo.data.frames.windows import FrameTimes, clip_windows, read_windows, retried
from videozoo.errors import DataError
from videozoo.settings.clips import ClipPredict
from videozoo.tasks.classification.scoring import ClipScorer
from videozoo.tasks.clip_views import clip_shape

_MOST_FRAMES = 4096
"""Frames that may be kept at once, of parts that overlap: about 600 MB of 224 x 224. More parts
need more passes over the video."""


def score_parts(
    score: ClipScorer,
    config: RunConfig,
    reader: VideoReader,
    parts: NDArray[np.float64],
    *,
    name: str,
    shares: bool = False,
) -> NDArray[np.float32]:
    """Score parts of a video, batch by batch.

    Args:
        score: The model, from `scorer_of`.
        config: Says how clips are cut.
        reader: The video.
        parts: (N, 2): start and end in seconds. What lies outside the video is cut away; a part has
            at least one frame.
        name: How an error calls the video.
        shares: Parts are given as shares of the video, in [0, 1], and not in seconds.

    Returns:
        (N, num_classes), in the order of the parts.

    Raises:
        DataError: A part ends before it starts, or is not finite.
        VideoError: The video cannot be read, or does not tell its frame rate.
    """
    if parts.ndim != 2 or parts.shape[1] != 2 or not np.isfinite(parts).all():
        raise DataError(f"{name}: parts of shape {parts.shape}, expected finite numbers (N, 2)")
    if (parts[:, 1] < parts[:, 0]).any():
        start, end = parts[parts[:, 1] < parts[:, 0]][0].tolist()
        raise DataError(f"{name}: a part from {start:g} to {end:g} ends before it starts")
    num_classes: int = config.model.num_classes
    scores = np.zeros((len(parts), num_classes), np.float32)
    if not len(parts):
        return scores
    views: ClipPredict = config.predict
    view = replace(eval_plan(clip_shape(config), config.data, views), num_clips=1, num_crops=1)
    times = FrameTimes.of(reader, name)
    seconds = parts * times.duration_seconds if shares else parts
    rule = centre_rule(reader)
    numbers = np.array(
        [eval_frames(reader, view, centre=rule, span=span) for span in _spans(seconds, times)],
        np.int64,
    )
    plan = clip_windows(view, rate=1.0)
    order = np.lexsort((numbers.min(axis=1), numbers.max(axis=1)))
    size = max(1, _MOST_FRAMES // numbers.shape[1])

    def score_group(group: NDArray[np.int64]) -> None:
        done = 0
        plans = [(numbers[group], plan)]
        for _, windows in read_windows(reader, plans, batch_size=views.batch_size, name=name):
            found = score(torch.from_numpy(windows).permute(0, 1, 4, 2, 3))
            scores[group[done : done + len(found)]] = found
            done += len(found)

    for first in range(0, len(order), size):
        group = order[first : first + size]
        retried(partial(score_group, group))
    return scores


def _spans(seconds: NDArray[np.float64], times: FrameTimes) -> Iterator[tuple[int, int]]:
    """The frames of each part: the first, and after the last."""
    count = len(times.start_seconds)
    for start, end in seconds.tolist():
        first = int(np.searchsorted(times.start_seconds, start, side="right")) - 1
        last = int(np.searchsorted(times.start_seconds, end, side="left"))
        first = min(max(first, 0), count - 1)
        yield first, min(max(last, first + 1), count)
