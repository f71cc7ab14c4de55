"""Which frames of a video a clip is made of. Pure functions from frame counts to frame numbers.

Two ways to look at a video. `segment_*`: cut it into equal segments and take a short run of
neighbouring frames from each (TSN, TSM, StNet). `dense_*`: take frames at a fixed stride
(Non-local). Training draws the position, evaluation does not.

Frame numbers are taken modulo the number of frames, so a short video is played again.
"""

from __future__ import annotations

import random
from typing import Literal

CentreRule = Literal["run", "first"]
"""What is centred in a segment in evaluation: the whole `run` of frames, or its `first` frame."""


def segment_frames_random(
    num_frames: int, *, num_segments: int, run: int = 1, rng: random.Random
) -> list[int]:
    """Draw a training clip: one run of neighbouring frames from each segment.

    Args:
        num_frames: Frames in the video, at least 1.
        num_segments: Segments the video is cut into.
        run: Neighbouring frames taken from each segment.
        rng: Draws one number per segment, in order; none where segments are shorter than `run`.

    Returns:
        `num_segments * run` frame numbers.

    Raises:
        ValueError: A count is below 1.

    Source:
        PaddlePaddle/models release/1.8, kinetics reader, equal for equal random states.

    >>> segment_frames_random(4, num_segments=4, rng=random.Random(0))  # segments of one frame
    [0, 1, 2, 3]
    >>> segment_frames_random(2, num_segments=3, rng=random.Random(0))  # shorter than that
    [0, 1, 0]
    """
    length = _segment_length(num_frames, num_segments, run)
    starts = [
        segment * length + (rng.randint(0, length - run) if length >= run else 0)
        if length
        else segment
        for segment in range(num_segments)
    ]
    return _runs(starts, run, num_frames)


def segment_frames(
    num_frames: int,
    *,
    num_segments: int,
    run: int = 1,
    centre: CentreRule = "run",
    clip: int = 0,
    num_clips: int = 1,
) -> list[int]:
    """Choose the frames of an evaluation clip: the middle of each segment.

    Args:
        num_frames: Frames in the video, at least 1.
        num_segments: Segments the video is cut into.
        run: Neighbouring frames taken from each segment.
        centre: What is centred when there is one clip. In 2019 pickles centred the `run`, and
            mp4 files its `first` frame.
        clip: Which clip, from 0.
        num_clips: Clips a video; several stand evenly spread within the segments.

    Returns:
        `num_segments * run` frame numbers.

    Raises:
        ValueError: A count is below 1, or there is no such clip.

    Source:
        PaddlePaddle/models release/1.8, kinetics reader, equal for one clip.

    >>> segment_frames(30, num_segments=3)
    [4, 14, 24]
    >>> segment_frames(20, num_segments=2, run=3, centre="run")  # 3 before, 4 behind
    [3, 4, 5, 13, 14, 15]
    >>> segment_frames(20, num_segments=2, run=3, centre="first")
    [4, 5, 6, 14, 15, 16]
    >>> [segment_frames(22, num_segments=2, clip=k, num_clips=2) for k in (0, 1)]
    [[2, 13], [7, 18]]
    """
    length = _segment_length(num_frames, num_segments, run)
    if not 0 <= clip < num_clips:
        raise ValueError(f"clip {clip} of {num_clips}: expected 0 <= clip < num_clips")
    if length < run:
        offset = 0
    elif num_clips == 1 and centre == "first":
        offset = (length - 1) // 2
    else:
        offset = (length - run) * (2 * clip + 1) // (2 * num_clips)
    starts = [segment * length + offset if length else segment for segment in range(num_segments)]
    return _runs(starts, run, num_frames)


def dense_frames_random(
    num_frames: int, *, length: int, stride: int, rng: random.Random
) -> list[int]:
    """Draw a training clip: `length` frames, `stride` apart, from anywhere in the video.

    Args:
        num_frames: Frames in the video, at least 1.
        length: Frames in the clip.
        stride: Distance between them.
        rng: Draws the start, only if the video is longer than `length * stride`.

    Raises:
        ValueError: A count is below 1.

    Source:
        PaddlePaddle/models release/1.8, non-local reader, equal for equal random states.

    >>> dense_frames_random(6, length=4, stride=2, rng=random.Random(0))  # too short: from 0
    [0, 2, 4, 0]
    """
    _check(num_frames=num_frames, length=length, stride=stride)
    spare = num_frames - length * stride
    return _stride(rng.randint(0, spare) if spare > 0 else 0, length, stride, num_frames)


def dense_frames(
    num_frames: int, *, length: int, stride: int, clip: int | None = None, num_clips: int = 1
) -> list[int]:
    """Choose the frames of an evaluation clip: `length` frames, `stride` apart.

    Args:
        num_frames: Frames in the video, at least 1.
        length: Frames in the clip.
        stride: Distance between them.
        clip: Clip k of n starts at k/n of the video, as in 2019. None: the middle of the video.
        num_clips: Clips a video.

    Raises:
        ValueError: A count is below 1, or the clip is negative.

    Source:
        PaddlePaddle/models release/1.8, non-local reader, equal where `clip` is given.

    >>> dense_frames(40, length=4, stride=2, clip=3, num_clips=10)
    [12, 14, 16, 18]
    >>> dense_frames(40, length=4, stride=2)  # spans 8: 16 before, 16 behind
    [16, 18, 20, 22]
    >>> dense_frames(40, length=4, stride=2, clip=9, num_clips=10)  # runs over the end
    [36, 38, 0, 2]
    """
    _check(num_frames=num_frames, length=length, stride=stride, num_clips=num_clips)
    if clip is None:
        start = max(0, num_frames - length * stride) // 2
    elif clip < 0:
        raise ValueError(f"clip must be 0 or more, got {clip}")
    else:
        start = int(num_frames / num_clips * clip) % num_frames
    return _stride(start, length, stride, num_frames)


def _segment_length(num_frames: int, num_segments: int, run: int) -> int:
    _check(num_frames=num_frames, num_segments=num_segments, run=run)
    return num_frames // num_segments


def _check(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be 1 or more, got {count}")


def _runs(starts: list[int], run: int, num_frames: int) -> list[int]:
    return [(start + step) % num_frames for start in starts for step in range(run)]


def _stride(start: int, length: int, stride: int, num_frames: int) -> list[int]:
    return [(start + step * stride) % num_frames for step in range(length)]
