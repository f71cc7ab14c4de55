"""From files of features of long videos to batches of windows of one length.

A video of hours, resized to a hundred steps, has steps longer than most actions. Here a localiser
reads windows of a fixed number of seconds instead, each resized to its number of steps. Training
takes the windows in which an action lies, evaluation and prediction take all.

Source of the rules for training: the reference code of G-TAD (Xu et al., arXiv:1911.11462) and
OpenTAD's configurations of BMN and G-TAD, both for THUMOS14: half a window from one to the next,
windows with at least 90 % of an action, a last window that ends with the video, and nothing after
the end of a video that is shorter than a window.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from videozoo.data.annotations.segments import Annotation, Instance
from videozoo.data.loader import Numbers, seed_of, share_by_video
from videozoo.data.segments import SequenceDataset, SequenceItem, SequenceVideos
from videozoo.errors import DataError, MisfitError, few
from videozoo.ops.tiou import covered
from videozoo.ops.windows import Window, inside_window, windows_of_seconds
from videozoo.settings.segments import SequenceData
from videozoo.types import SequenceShape, Targets

_TOGETHER_BYTES = 2**28
"""Features of the videos whose windows are mixed in training: as much is kept in memory."""


# --- which windows ---------------------------------------------------------------------------


@dataclass(frozen=True)
class SequenceWindows:
    """Windows of the videos of one part."""

    videos: SequenceVideos
    """The videos; the length of each in seconds is known."""
    of_video: tuple[tuple[Window, ...], ...]
    """All windows of each present video. A video that cannot be read has one with no steps."""
    data: SequenceData

    def __len__(self) -> int:
        return sum(map(len, self.of_video))

    @property
    def window_seconds(self) -> float:
        """Length of a window."""
        assert self.data.window_seconds is not None  # as `find_windows` has it
        return self.data.window_seconds

    @property
    def stride_seconds(self) -> float:
        """Seconds from one window to the next."""
        return self.data.stride_seconds or self.window_seconds / 2

    @property
    def vectors_per_window(self) -> float:
        """Median number of feature vectors in a window; 0 if no video can be read."""
        lengths = [windows[0].length for windows in self.of_video if windows[0].total]
        return float(np.median(lengths)) if lengths else 0.0

    @cached_property
    def all(self) -> tuple[tuple[int, Window], ...]:
        """Every window with the number of its video, in order."""
        return tuple((n, each) for n, windows in enumerate(self.of_video) for each in windows)

    @cached_property
    def with_actions(self) -> tuple[tuple[int, Window], ...]:
        """The windows to learn actions from; windows of unreadable videos are among them."""
        return tuple(
            (number, window)
            for number, window in self.all
            if not window.total or self.insides(number, window).max(initial=0) >= self._least
        )

    @cached_property
    def without_actions(self) -> tuple[tuple[int, Window], ...]:
        """The windows in which there is nothing of any action."""
        return tuple(
            (number, window)
            for number, window in self.all
            if window.total and not self.insides(number, window).max(initial=0) > 0
        )

    def insides(self, number: int, window: Window) -> NDArray[np.float64]:
        """Share of each action of a video that is inside a window, (G,)."""
        segments = window.inside(self.videos.present[number].shares())
        return covered(segments, [[0.0, 1.0]])[:, 0]

    def counts(self, number: int, window: Window) -> NDArray[np.bool_]:
        """Which actions of a video count in a window, (G,)."""
        return self.insides(number, window) >= self._least

    @property
    def _least(self) -> float:
        return self.data.least_inside - 1e-9  # an action that is just whole is whole

    @cached_property
    def num_actions(self) -> tuple[int, int]:
        """Number of actions that count in no window, and of all actions."""
        lost = total = 0
        for number, windows in enumerate(self.of_video):
            if not windows[0].total:
                continue
            best = np.max([self.insides(number, each) for each in windows], axis=0)
            lost += int((best < self._least).sum())
            total += len(best)
        return lost, total


def find_windows(videos: SequenceVideos, data: SequenceData) -> SequenceWindows:
    """Cut the videos of one part into windows of `data.window_seconds`.

    The seconds of a feature vector are the length of the video divided by their number; where the
    length is unknown, the rate that is stored with the features, or `data.rate`, tells.

    Raises:
        DataError: The length of a video is not known in seconds, or a window is shorter than one
            vector.
        MisfitError: Features have another form than the configured one.
    """
    assert data.window_seconds is not None
    in_frames = next((v for v in videos.present if any(one.frames for one in v.instances)), None)
    if in_frames is not None:
        raise DataError(
            f"{videos.annotations.path}: counts in frames ({in_frames.video}), and "
            "data.window_seconds needs seconds; give annotations in seconds, or leave it out: "
            "--set data.window_seconds=null"
        )
    found: list[Annotation] = []
    windows: list[tuple[Window, ...]] = []
    unknown: list[str] = []
    rate = videos.files.rate(data.rate, 0.0)
    for annotation in videos.present:
        try:
            total = videos.files.length(annotation.video)
        except MisfitError:
            raise
        except DataError:  # told when it is read
            found.append(annotation)
            windows.append((Window(0, 1, 0),))
            continue
        known = _with_seconds(annotation, total, rate)
        if not known.duration_seconds > 0:
            unknown.append(known.video)
            continue
        found.append(known)
        windows.append(_windows_of(known, total, data, videos))
    if unknown:
        raise DataError(
            f"{videos.files.path}: the length of {len(unknown):,} of {len(videos.present):,} "
            f"videos is not known, and data.window_seconds needs seconds: {few(unknown)}; name the "
            "lengths (--set data.durations=FILE) or how many vectors per second there are (--set "
            "data.rate=NUMBER), or make features with `videozoo extract`, which keeps both"
        )
    return SequenceWindows(replace(videos, present=tuple(found)), tuple(windows), data)


def _with_seconds(annotation: Annotation, total: int, rate: float) -> Annotation:
    if annotation.duration_seconds > 0 or not rate:
        return annotation
    return replace(annotation, duration_seconds=total / rate)


def _windows_of(
    annotation: Annotation, total: int, data: SequenceData, videos: SequenceVideos
) -> tuple[Window, ...]:
    assert data.window_seconds is not None
    per_second = total / annotation.duration_seconds
    if data.window_seconds * per_second < 1:
        raise DataError(
            f"data.window_seconds is {data.window_seconds:g}, shorter than one step of the "
            f"features of {annotation.video}, {1 / per_second:.3g} s "
            f"({total} in {annotation.duration_seconds:g} s: "
            f"{videos.files.where(annotation.video)}); take a longer window, or extract features "
            "at a higher rate"
        )
    return windows_of_seconds(
        *(total, annotation.duration_seconds),
        window_seconds=data.window_seconds,
        stride_seconds=data.stride_seconds,
    )


def annotation_inside(annotation: Annotation, window: Window) -> Annotation:
    """The annotation of a window, as if it were a video; actions are not cut at its ends."""
    seconds = annotation.duration_seconds / window.total
    start, length = window.first * seconds, window.length * seconds
    inside = tuple(
        Instance(one.start_seconds - start, one.end_seconds - start, one.label)
        for one in annotation.instances
        if one.start_seconds < start + length and one.end_seconds > start
    )
    return replace(annotation, duration_seconds=length, instances=inside)


# --- batches ---------------------------------------------------------------------------------


class WindowDataset(SequenceDataset):
    """Windows of videos, each resized to the length that the model reads.

    In training the items are the windows with an action and, drawn anew for each epoch, windows
    without any; in evaluation all windows, video by video.
    """

    item = "window"

    def __init__(
        self,
        windows: SequenceWindows,
        shape: SequenceShape,
        *,
        seed: int = 0,
        targets: Targets | None = None,
        training: bool = False,
        only: Sequence[tuple[int, Window]] | None = None,
    ) -> None:
        """Set up how windows are read.

        Args:
            windows: From `find_windows`.
            shape: What the model reads.
            seed: Seed of the order and of random choices.
            targets: See `SequenceDataset`.
            training: Take the windows of training.
            only: Take these windows, with the numbers of their videos; by default all.
        """
        super().__init__(windows.videos, shape, windows.data, seed=seed, targets=targets)
        self.windows = windows
        self._fixed = windows.all if only is None else tuple(only)
        self._background: tuple[tuple[int, Window], ...] = ()
        self._num_background = 0
        if training:
            self._fixed = windows.with_actions
            share = windows.data.background_windows
            if share:
                self._background = windows.without_actions
                wanted = math.ceil(len(self._fixed) * share / (1 - share))
                self._num_background = min(wanted, len(self._background))
        windows.videos.files.keep_up_to(_TOGETHER_BYTES if training else 0)
        each = len(self) / max(1, len(windows.videos.present))
        self.missing = replace(
            self.missing, num_items=round(len(windows.videos.missing) * max(1.0, each))
        )
        self._drawn: tuple[int | None, tuple[tuple[int, Window], ...]] = (None, ())

    @property
    def num_background(self) -> int:
        """How many windows of an epoch hold no action."""
        return self._num_background

    def __len__(self) -> int:
        return len(self._fixed) + self._num_background

    def _items(self, epoch: int | None) -> tuple[tuple[int, Window], ...]:
        if epoch is None or not self._num_background:
            return self._fixed
        if self._drawn[0] != epoch:
            rng = random.Random(f"{self.seed}/{epoch}/background")
            drawn = rng.sample(self._background, self._num_background)
            self._drawn = epoch, (*self._fixed, *drawn)
        return self._drawn[1]

    def read(self, number: int, epoch: int | None) -> SequenceItem:
        """See `VideoDataset`."""
        video, window = self._items(epoch)[number]
        annotation, files = self.videos.present[video], self.videos.files
        features = files.read(annotation.video, feature_dim=self.shape.feature_dim)
        if len(features) != window.total:
            raise DataError(
                f"{files.where(annotation.video)}: {len(features)} steps, but "
                f"{window.total or 'none'} when the windows were counted; was it changed since?"
            )
        inside = inside_window(features, window)
        counts = self.windows.counts(video, window)
        segments = np.clip(window.inside(annotation.shares()[counts]), 0.0, 1.0)
        labels = self.videos.annotations.labels(annotation)[counts]
        item = self.prepared(video, inside, segments, labels, self.draws(number, epoch))
        return replace(item, window=window)

    def order(self, epoch: int) -> Numbers:
        """All windows in the order of an epoch.

        Videos are mixed, and the windows of as many neighbouring videos as are kept in memory. So
        the features of a video are read once in an epoch by each process that reads.
        """
        rng = np.random.RandomState(seed_of(self.seed, epoch))
        numbers: dict[int, list[int]] = {}
        for item, (video, _) in enumerate(self._items(epoch)):
            numbers.setdefault(video, []).append(item)
        ordered: list[Numbers] = []
        group: list[int] = []
        held = 0
        for video in rng.permutation(list(numbers)).tolist():
            size = 4 * self.shape.feature_dim * self.windows.of_video[video][0].total
            if group and held + size > _TOGETHER_BYTES:
                ordered.append(rng.permutation(group))
                group, held = [], 0
            group += numbers[video]
            held += size
        return np.concatenate([*ordered, rng.permutation(group)]).astype(np.int64)

    @property
    def num_videos(self) -> int:
        """See `VideoDataset`."""
        return len(self.videos.present)

    def video_of(self, number: int) -> int:
        """See `VideoDataset`."""
        return self._fixed[number][0]

    def share(self, rank: int, world: int) -> Numbers:
        """See `VideoDataset`; all windows of a video are in one share."""
        return share_by_video([video for video, _ in self._fixed], rank, world)
