"""Windows along a whole video, for one encoder or several.

::

    video  |-----------|-----------|-----------|-----      a cell is 1 / rate seconds
                 ^           ^           ^           ^     window k is centred on (k + 0.5) / rate
             [---o---o---o---]                             steps spread over window_seconds
                         [---o---o---o---]                 windows may overlap

However much they overlap, the video is decoded once, in order, as far as windows need it, and each
frame is scaled and cropped once per plan. Kept in memory are the frames of one window and of one
batch, whatever the video's length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from videozoo.data.frames import transforms
from videozoo.data.frames.transforms import Frames
from videozoo.data.frames.video import ShiftedFramesError, VideoReader
from videozoo.data.frames.views import ViewPlan
from videozoo.errors import VideoError, counted

T = TypeVar("T")
_SLACK_SECONDS = 1e-3
"""A frame that begins so little after a moment is the frame of that moment: some containers round
times to milliseconds."""
_MOST_NUMBERS = 20_000_000
"""Frames of all windows together: a week at 2 windows per second of 16 frames each. Time stamps may
say anything, and a file of a few frames can claim to last for years."""


@dataclass(frozen=True, kw_only=True)
class WindowPlan:
    """Which windows, and which frames and pixels of each."""

    rate: float
    """Windows per second."""
    num_steps: int = 1
    """Frames of a window, or runs of neighbouring frames."""
    frames_per_step: int = 1
    """Neighbouring frames in a run; their channels are stacked."""
    window_seconds: float | None = None
    """Length of the video part over which the steps are spread. None: steps are `frame_stride`
    frames apart at any frame rate, as models for dense clips are trained."""
    frame_stride: int = 1
    prepare: Callable[[Frames], Frames] = lambda frames: frames
    """Scales and crops frames, (T, H, W, 3)."""


def clip_windows(view: ViewPlan, *, rate: float, window_seconds: float | None = None) -> WindowPlan:
    """Windows that a clip model sees as it sees clips in evaluation, from their centre crop.

    Args:
        view: From `views.eval_plan`.
        rate: Windows per second.
        window_seconds: See `WindowPlan`.
    """
    return WindowPlan(
        rate=rate,
        num_steps=view.num_steps,
        frames_per_step=view.frames_per_step,
        window_seconds=window_seconds,
        frame_stride=view.frame_stride,
        prepare=lambda frames: prepared(frames, view),
    )


@dataclass(frozen=True)
class FrameTimes:
    """The times of a video's frames."""

    start_seconds: NDArray[np.float64]
    """Start of each frame, increasing, the first at 0."""
    duration_seconds: float
    """Until the last frame has been shown; it is as long as the others are on average."""

    @classmethod
    def of(cls, reader: VideoReader, name: str) -> FrameTimes:
        """Read a video's clock: the time stamps where they are whole, else its frame rate.

        Raises:
            VideoError: It has neither; `name` says which video.
        """
        rate, stamps = reader.info.frames_per_second, reader.frame_seconds
        if stamps is None:
            if not rate:
                raise VideoError(
                    f"{name}: does not say how many frames per second it has, so it cannot be cut "
                    "into windows of seconds; make a video file of it (a reader of your own says "
                    "it by `frames_per_second`)"
                )
            return cls(
                np.arange(reader.num_frames, dtype=np.float64) / rate, reader.num_frames / rate
            )
        start = np.array(stamps, np.float64)
        if len(start) > 1:
            return cls(start, float(start[-1] * len(start) / (len(start) - 1)))
        return cls(start, 1 / rate if rate else 0.0)


def num_windows(duration_seconds: float, rate: float) -> int:
    """Count the windows of a video: those whose centre lies within it, at least one.

    >>> num_windows(10.0, 2), num_windows(10.2, 2), num_windows(10.3, 2), num_windows(0.1, 2)
    (20, 20, 21, 1)
    """
    return max(1, math.ceil(duration_seconds * rate - 0.5 - 1e-6))


def window_frames(
    times: FrameTimes, plan: WindowPlan, *, name: str = "the video"
) -> NDArray[np.int64]:
    """Choose the frames of every window.

    A window is cut into `num_steps` equal slices; a step is the frame shown in the middle of its
    slice, or the run of neighbouring frames around it. Where a window reaches beyond the video, the
    first or last frame stands in.

    Args:
        times: Of the video's frames.
        plan: The windows.
        name: How an error calls the video.

    Returns:
        Frame numbers (num_windows, num_steps * frames_per_step).

    Raises:
        VideoError: By its time stamps the video lasts so long that the windows would be too many.

    >>> times = FrameTimes(np.arange(8) / 4, 2.0)  # two seconds of four frames each
    >>> window_frames(times, WindowPlan(rate=1, num_steps=2, window_seconds=1)).tolist()
    [[1, 3], [5, 7]]
    >>> window_frames(times, WindowPlan(rate=1, num_steps=2, window_seconds=4)).tolist()
    [[0, 6], [2, 7]]
    """
    count = num_windows(times.duration_seconds, plan.rate)
    if count * plan.num_steps * plan.frames_per_step > _MOST_NUMBERS:
        raise VideoError(
            f"{name}: by its time stamps it lasts {times.duration_seconds:,.0f} s with "
            f"{counted(len(times.start_seconds), 'frame')}, which are {count:,} windows at "
            f"{plan.rate:g} per second, too many; write it again with right times, cut it, or "
            "make fewer windows per second (--rate)"
        )
    centres = (np.arange(count) + 0.5) / plan.rate
    steps, run = plan.num_steps, plan.frames_per_step
    if plan.window_seconds is None:
        length, stride = steps * run, plan.frame_stride
        offsets = np.arange(length) * stride - length * stride // 2
        numbers = _frames_at(centres, times)[:, None] + offsets
    else:
        moments = ((np.arange(steps) + 0.5) / steps - 0.5) * plan.window_seconds
        middles = _frames_at(centres[:, None] + moments, times)
        runs = middles[..., None] + np.arange(run) - run // 2
        numbers = runs.reshape(count, steps * run)
    return np.clip(numbers, 0, len(times.start_seconds) - 1)


def _frames_at(seconds: NDArray[np.floating[Any]], times: FrameTimes) -> NDArray[np.int64]:
    """Numbers of the frames shown at these moments."""
    found = np.searchsorted(times.start_seconds, seconds + _SLACK_SECONDS, side="right") - 1
    return np.maximum(found, 0)


@dataclass
class _Pending:
    """The windows of one plan while the video is decoded."""

    numbers: NDArray[np.int64]
    plan: WindowPlan
    batch_size: int
    done: int = 0
    kept: dict[int, Frames] = field(default_factory=dict[int, Frames])
    """Prepared frames that windows still need, in the order of their numbers."""
    batch: list[NDArray[np.uint8]] = field(default_factory=list[NDArray[np.uint8]])

    def __post_init__(self) -> None:
        self._last = self.numbers.max(axis=1)
        # of all windows from this one on: parts of a video may lie within one another
        self._first = np.minimum.accumulate(self.numbers.min(axis=1)[::-1])[::-1]
        self.wanted = set(self.numbers.ravel().tolist())

    @property
    def is_complete(self) -> bool:
        return self.done == len(self.numbers)

    def take(self, number: int, frame: Frames) -> Iterator[NDArray[np.uint8]]:
        """Take the next frame (H, W, 3); give the batches that it completes."""
        if number in self.wanted:
            self.kept[number] = self.plan.prepare(frame[None])[0].copy()  # not the whole frame
        while not self.is_complete and self._last[self.done] <= number:
            frames = np.stack([self.kept[one] for one in self.numbers[self.done].tolist()])
            self.batch.append(transforms.side_by_side(frames, self.plan.frames_per_step))
            self.done += 1
            if len(self.batch) == self.batch_size or self.is_complete:
                yield np.stack(self.batch)
                self.batch = []
            oldest = number + 1 if self.is_complete else self._first[self.done]
            for old in [one for one in self.kept if one < oldest]:
                del self.kept[old]


def read_windows(
    reader: VideoReader,
    plans: Sequence[tuple[NDArray[np.int64], WindowPlan]],
    *,
    batch_size: int,
    name: str,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Decode a video once, as far as needed, and give the windows of each plan, in order.

    Args:
        reader: The video.
        plans: Frame numbers from `window_frames` (or of other windows, in the order of their last
            frames), and their plan.
        batch_size: Windows at a time.
        name: How an error calls the video.

    Yields:
        The place of the plan, and its next windows: (up to batch_size, num_steps, height, width,
        3 * frames_per_step), contiguous.

    Raises:
        ShiftedFramesError: The windows so far may be wrong; see `retried`.
        VideoError: The video ends before the last frame that a window needs, or cannot be decoded.
    """
    pending = [_Pending(numbers, plan, batch_size) for numbers, plan in plans]
    wanted = sorted(set[int]().union(*(one.wanted for one in pending)))
    last = -1
    for last, frame in reader.frames_at(wanted):  # to its end: a surprise may come late
        for place, one in enumerate(pending):
            for windows in one.take(last, frame):
                yield place, windows
    if not all(one.is_complete for one in pending):
        raise VideoError(
            f"{name}: damaged: of {counted(reader.num_frames, 'frame')} that it describes, those "
            f"after {last} did not come out"
        )


def vectors_along(
    reader: VideoReader,
    plans: Sequence[tuple[WindowPlan, int]],
    encoded: Callable[[int, NDArray[np.uint8]], Callable[[], NDArray[np.float32]]],
    *,
    batch_size: int,
    name: str,
    on_windows: Callable[[int, int], None] | None = None,
) -> tuple[FrameTimes, list[NDArray[np.float32]]]:
    """Turn a video into one vector per window and plan; it is decoded once, in order.

    Args:
        reader: The video.
        plans: The windows, and the length of their vectors.
        encoded: Begins to turn windows, as `read_windows` gives them for a plan of this place, into
            vectors, and returns what waits for them: while a GPU computes a batch, the frames of
            the next are decoded.
        batch_size: Windows at a time.
        name: How an error calls the video.
        on_windows: Called with (windows done, windows in all) after each batch.

    Returns:
        The times of the frames, and per plan (windows, length of a vector).

    Raises:
        VideoError: The video cannot be read, or does not tell its frame rate.
    """
    times = FrameTimes.of(reader, name)
    numbers = [window_frames(times, plan, name=name) for plan, _ in plans]
    total = sum(map(len, numbers))

    def tables() -> list[NDArray[np.float32]]:
        made = [
            np.empty((len(each), dim), np.float32)
            for each, (_, dim) in zip(numbers, plans, strict=True)
        ]
        done = [0] * len(made)

        def store(which: int, vectors: NDArray[np.float32]) -> None:
            made[which][done[which] : done[which] + len(vectors)] = vectors
            done[which] += len(vectors)
            if on_windows is not None:
                on_windows(sum(done), total)

        pairs = [(each, plan) for each, (plan, _) in zip(numbers, plans, strict=True)]
        begun: tuple[int, Callable[[], NDArray[np.float32]]] | None = None
        for which, windows in read_windows(reader, pairs, batch_size=batch_size, name=name):
            following = which, encoded(which, windows)
            if begun is not None:
                store(begun[0], begun[1]())
            begun = following
        assert begun is not None  # a video has at least one window
        store(begun[0], begun[1]())
        return made

    return times, retried(tables)


def retried(work: Callable[[], T]) -> T:
    """Run what reads windows; once more, if other frames came out than the headers say.

    The reader then decodes everything, so that the second time is the last.

    Args:
        work: Begins with the first window each time.
    """
    try:
        return work()
    except ShiftedFramesError:
        return work()


def prepared(frames: Frames, view: ViewPlan) -> Frames:
    """Scale frames and take their centre, as in evaluation."""
    frames = transforms.resize_short_side(
        frames, view.short_side, rule=view.resize, backend=view.resize_with
    )
    if view.sampling == "segments":
        return transforms.centre_crop(frames, view.crop_size)
    side = view.crop_size  # the 2019 reader of dense clips rounded the other way
    top, left = ((size - side) // 2 for size in frames.shape[1:3])
    return transforms.crop(frames, top=top, left=left, height=side, width=side)
