"""Readers of a user's own: what an object must have to stand for a video, and what is added."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import IOBase
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from videozoo.data.frames.video import VideoInfo, VideoReader
from videozoo.errors import VideoError, counted

NEEDED = (
    "a reader of your own has `num_frames` (a number), `read(indices)`, which returns RGB frames "
    "uint8 (len(indices), H, W, 3), and for whatever has seconds (features, `every=`) "
    "`frames_per_second`"
)
_WHOLE = ("info", "num_frames", "read", "frames", "frames_at", "frame_seconds")
_BATCH = 16
"""Frames read at once where many are wanted in order."""


class FrameReader(Protocol):
    """What a reader must have. Where seconds count, also `frames_per_second`, a number."""

    @property
    def num_frames(self) -> int:
        """How many frames can be read."""
        ...

    def read(self, indices: Sequence[int], /) -> NDArray[np.uint8]:
        """Frames by number as RGB (len(indices), H, W, 3); any order, repeats allowed."""
        ...


def is_reader(video: object) -> bool:
    """Whether an object seems to read frames: it has `num_frames` or `read`, and is no file."""
    has_either = hasattr(video, "num_frames") or callable(getattr(video, "read", None))
    return has_either and not isinstance(video, IOBase)


def as_video_reader(video: Any, name: str) -> VideoReader:
    """A reader with all that models ask for; those of `open_video` are returned as they are.

    Args:
        video: It must have `num_frames` and `read(indices)`. Where seconds count, it must also have
            `frames_per_second`, or `info` and `frame_seconds` as `VideoReader` describes them.
        name: How errors call it.

    Raises:
        VideoError: Something is missing, or `num_frames` is no count.
    """
    if all(hasattr(video, each) for each in _WHOLE):
        return cast(VideoReader, video)
    return _OwnReader(video, name)


class _OwnReader:
    """Adds to a reader what it does not have itself."""

    def __init__(self, video: Any, name: str) -> None:
        self._video, self._name = video, name
        self.path = Path(name)
        missing = [each for each in ("num_frames", "read") if not hasattr(video, each)]
        count: Any = getattr(video, "num_frames", 0)
        is_count = isinstance(count, int | np.integer) and not isinstance(count, bool)
        if missing or not callable(video.read):
            problem = f"without `{missing[0] if missing else 'read(indices)'}`"
        elif not is_count or count < 1:
            problem = f"whose `num_frames` is {count!r:.60}, expected a number, 1 or more"
        else:
            problem = _wrong_rate(video)
        if problem:
            raise VideoError(f"{name}: a {type(video).__name__} {problem}; {NEEDED}")
        self._num_frames = int(count)

    @property
    def num_frames(self) -> int:
        """How many frames can be read."""
        return self._num_frames

    @property
    def info(self) -> VideoInfo:
        """What the reader says; else the size of its first frame, and its rate."""
        known: Any = getattr(self._video, "info", None)
        if isinstance(known, VideoInfo):
            return known
        height, width = self.read([0]).shape[1:3]
        return VideoInfo(
            num_frames=self._num_frames,
            height=height,
            width=width,
            frames_per_second=_rate_of(self._video),
            codec="rawvideo",
            container=type(self._video).__name__,
            rotation=0,
        )

    @property
    def frame_seconds(self) -> list[float] | None:
        """When each frame is shown, if the reader says it."""
        known: Any = getattr(self._video, "frame_seconds", None)
        return None if known is None else [float(each) for each in known]

    @property
    def damage(self) -> str:
        """What the reader says is wrong with the video."""
        return str(getattr(self._video, "damage", ""))

    def read(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Frames `indices` as RGB (len(indices), H, W, 3).

        Raises:
            VideoError: The reader returns something else.
        """
        wanted = [int(index) for index in indices]
        frames: Any = self._video.read(wanted)
        if hasattr(frames, "cpu"):  # a tensor
            frames = frames.detach().cpu().numpy()
        if not _are_frames(frames, len(wanted)):
            what = f"a {type(frames).__name__}"
            if isinstance(frames, np.ndarray):
                what = f"an array of shape {frames.shape} and type {frames.dtype}"
            raise VideoError(
                f"{self._name}: read() of {counted(len(wanted), 'frame')} returned {what}, "
                f"expected RGB frames uint8 ({len(wanted)}, H, W, 3)"
            )
        return cast("NDArray[np.uint8]", frames)

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Every frame in order, RGB (H, W, 3).

        Raises:
            VideoError: The reader returns something else.
        """
        return (frame for _, frame in self.frames_at(range(self._num_frames)))

    def frames_at(self, indices: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Some frames in order, each with its number; read a few at a time.

        Raises:
            VideoError: The reader returns something else.
        """
        wanted = sorted({int(index) for index in indices})
        for first in range(0, len(wanted), _BATCH):
            numbers = wanted[first : first + _BATCH]
            yield from zip(numbers, self.read(numbers), strict=True)

    def close(self) -> None:
        """Nothing: who opened the reader closes it."""

    def __enter__(self) -> _OwnReader:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _are_frames(frames: Any, count: int) -> bool:
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 4:
        return False
    return len(frames) == count and frames.shape[3] == 3 and 0 not in frames.shape


def _rate_of(video: Any) -> float | None:
    for owner in (video, getattr(video, "info", None)):
        rate: Any = getattr(owner, "frames_per_second", None)
        if rate is not None:
            return float(rate)
    return None


def _wrong_rate(video: Any) -> str:
    try:
        rate = _rate_of(video)
    except (TypeError, ValueError):
        return "whose `frames_per_second` is no number"
    if rate is not None and not 0 < rate < float("inf"):
        return f"whose `frames_per_second` is {rate:g}, expected more than 0"
    return ""
