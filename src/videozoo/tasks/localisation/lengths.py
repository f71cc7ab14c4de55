"""Notes on lengths before a training: of steps, of windows, and of the actions to learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.config import RunConfig
from videozoo.data.annotations.segments import Annotation
from videozoo.data.segment_windows import SequenceWindows, WindowDataset
from videozoo.data.segments import SequenceVideos
from videozoo.errors import DataError, counted
from videozoo.results import VideoSegments
from videozoo.tasks.loading import Trained
from videozoo.tasks.measured import Lengths, length
from videozoo.weights.exported import exported_kind, read_description
from videozoo.weights.files import read_metadata

FloatArray = NDArray[np.float64]

_MANY = 0.05
"""Share of actions shorter than a step from which on a window is suggested."""
_SHORT, _LONG = 5.0, 95.0
"""Percentiles of the lengths of actions: a step should not be longer than the one, and half a
window not shorter than the other."""
_VIDEOS = "videos"
"""The key of the lengths in `Trained.measured`."""
_NEARLY = 0.8
"""A window that is longer than this share of the usual video is no help."""


def window_notes(dataset: WindowDataset, num_steps: int) -> Iterator[str]:
    """Say which windows a training uses, and what does not fit into them.

    Args:
        dataset: What is learnt from.
        num_steps: Steps of the model.
    """
    windows = dataset.windows
    background = dataset.num_background
    also = f" and {background:,} without" if background else ""
    yield (
        f"windows of {windows.window_seconds:g} s, one every {windows.stride_seconds:g} s: learns "
        f"from {len(dataset) - background:,} with an action{also}, of {len(windows):,} in "
        f"{counted(len(windows.of_video), 'video')}"
    )
    lost, total = windows.num_actions
    if lost:
        yield (
            f"{lost:,} of {total:,} actions are not learnt, as no window holds "
            f"{windows.data.least_inside:.0%} of them: take longer windows (data.window_seconds), "
            "or a shorter stride (data.stride_seconds)"
        )
    vectors = windows.vectors_per_window
    if 0 < vectors < num_steps / 2:
        yield (
            f"a window holds about {vectors:g} feature vectors, fewer than half of the {num_steps} "
            "steps of the model: extract features at a higher rate, or take longer windows"
        )


def other_windows_notes(trained: Trained, config: RunConfig) -> Iterator[str]:
    """Say if a model sees stretches of another length than it learnt from.

    Args:
        trained: The model.
        config: The configuration of the evaluation or prediction.
    """
    stored = (
        read_metadata(trained.path).get("config")
        if exported_kind(trained.path) is None
        else read_description(trained.path).config
    )
    data = stored.get("data") if isinstance(stored, dict) else None
    if not isinstance(data, dict) or "window_seconds" not in data:
        return
    learnt, now = data["window_seconds"], getattr(config.data, "window_seconds", None)
    if learnt != now:
        yield (
            f"{trained.path} learnt from {_stretch(learnt)} and sees {_stretch(now)} here, so that "
            f"a step has another length; as it learnt: --set data.window_seconds="
            f"{'null' if learnt is None else f'{learnt:g}'}"
        )


def lengths_learnt(videos: SequenceVideos) -> dict[str, Any]:
    """Lengths of the training videos, to be stored with the weights; empty if not known."""
    in_frames = any(each.frames is not None for one in videos.present for each in one.instances)
    seconds = [one.duration_seconds for one in videos.present if one.duration_seconds > 0]
    found = None if in_frames else Lengths.of(seconds)
    return {} if found is None else {_VIDEOS: found.facts}


def much_longer_notes(
    trained: Trained, config: RunConfig, results: Sequence[VideoSegments]
) -> Iterator[str]:
    """Say if whole videos are much longer than those a model learnt from: its steps are, too.

    Args:
        trained: The model.
        config: The configuration of the prediction.
        results: The results, which tell the lengths of the videos.
    """
    known = Lengths.stored(trained.measured, _VIDEOS)
    if known is None or getattr(config.data, "window_seconds", None) is not None:
        return
    found = [(one.video, one.duration_seconds or 0.0) for one in results]
    longer = [(name, seconds) for name, seconds in found if known.is_far_exceeded(seconds)]
    if longer:
        name, seconds = longer[0]
        yield (
            f"WARNING: {counted(len(longer), 'video')}, such as {name} ({length(seconds)}), much "
            f"longer than those that the model learnt from ({length(known.median_seconds)}): each "
            "is seen as a whole, so a step is as many times longer, and short actions are lost; "
            "train in windows (data.window_seconds), or cut the video"
        )


def _stretch(window_seconds: float | None) -> str:
    return "whole videos" if window_seconds is None else f"windows of {window_seconds:g} s"


def check_windows_to_learn(windows: SequenceWindows) -> None:
    """Raise if no window can teach anything.

    Raises:
        DataError: No action lies in a window.
    """
    if any(window.total for _, window in windows.with_actions) or not windows.num_actions[1]:
        return
    longest = max(map(max, filter(len, map(_lengths, windows.videos.present))), default=0.0)
    raise DataError(
        f"no window of {windows.window_seconds:g} s holds {windows.data.least_inside:.0%} of an "
        f"action; the actions of {windows.videos.annotations.path} are up to {longest:.3g} s long: "
        "take longer windows (data.window_seconds)"
    )


def step_notes(
    videos: SequenceVideos, num_steps: int, windows: SequenceWindows | None = None
) -> Iterator[str]:
    """Say how many actions are shorter than a step of the model, and which windows would fit.

    A model cannot place the start and the end of such an action, nor tell two of them apart.

    Args:
        videos: The training videos.
        num_steps: Steps of the model.
        windows: Their windows; None: whole videos.
    """
    found = _steps_and_actions(videos, num_steps, windows)
    if found is None or not (found.is_shorter).any():
        return
    share = float(found.is_shorter.mean())
    text = (
        f"a step of the model is {found.step_seconds:.2g} s here, and "
        f"{_percent(share)} of the {len(found.actions):,} actions are shorter"
    )
    advice = _advice(found, videos, num_steps, windows) if share >= _MANY else ""
    yield f"{text}: {advice}" if advice else text


@dataclass(frozen=True)
class _Lengths:
    step_seconds: float
    """Median over the videos."""
    actions: FloatArray
    """Seconds of each action."""
    is_shorter: NDArray[np.bool_]
    """Which actions are shorter than a step of their video."""
    usual_seconds: float
    """Median length of a video."""


def _steps_and_actions(
    videos: SequenceVideos, num_steps: int, windows: SequenceWindows | None
) -> _Lengths | None:
    """Compare the actions with the steps; None for annotations in frames, or without actions."""
    steps: list[float] = []
    lengths: list[FloatArray] = []
    shorter: list[NDArray[np.bool_]] = []
    seconds: list[float] = []
    for one in videos.present:
        if any(instance.frames is not None for instance in one.instances):
            return None
        if not (one.instances and one.duration_seconds > 0):
            continue
        step = (one.duration_seconds if windows is None else windows.window_seconds) / num_steps
        actions = _lengths(one)
        steps.append(step)
        seconds.append(one.duration_seconds)
        lengths.append(actions)
        shorter.append(actions < step)
    if not steps:
        return None
    return _Lengths(
        float(np.median(steps)),
        np.concatenate(lengths),
        np.concatenate(shorter),
        float(np.median(seconds)),
    )


def _lengths(annotation: Annotation) -> FloatArray:
    return np.array([one.end_seconds - one.start_seconds for one in annotation.instances])


def _advice(
    found: _Lengths, videos: SequenceVideos, num_steps: int, windows: SequenceWindows | None
) -> str:
    vector = _seconds_per_vector(videos)
    short, long = np.percentile(found.actions, (_SHORT, _LONG)).tolist()
    if vector > short:
        return (
            f"the features have one vector every {vector:.2g} s; extract them at a higher rate, "
            f"such as --rate {1 / short:.2g}"
        )
    seconds = max(num_steps * vector, min(num_steps * short, 2 * long))
    now = found.usual_seconds if windows is None else windows.window_seconds
    if seconds < _NEARLY * now:
        return f"set data.window_seconds={_rounded(seconds)}"
    return f"give the model more steps than {num_steps} (model.num_steps)"


def _seconds_per_vector(videos: SequenceVideos) -> float:
    """Of the first video that can be read; 0 if none can."""
    for one in videos.present:
        try:
            return one.duration_seconds / videos.files.length(one.video)
        except DataError:
            continue
    return 0.0


def _rounded(seconds: float) -> str:
    """Seconds with two digits."""
    return f"{float(f'{seconds:.2g}'):g}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.2g} %"
