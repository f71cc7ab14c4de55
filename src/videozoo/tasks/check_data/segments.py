"""Check what a localiser reads: annotations, features, and the lengths of videos and actions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from videozoo import __version__
from videozoo.config import RunConfig
from videozoo.data.coverage import has_one_annotations_file
from videozoo.data.segment_windows import SequenceWindows, WindowDataset, find_windows
from videozoo.data.segments import SequenceVideos
from videozoo.errors import DataError, RunError, UsageError, few
from videozoo.safe_write import written_aside
from videozoo.settings.shared import Part
from videozoo.tasks.check_data.output import say
from videozoo.tasks.check_data.parts import CheckRequest
from videozoo.tasks.check_data.result import counted
from videozoo.tasks.localisation.lengths import (
    check_windows_to_learn,
    step_notes,
    window_notes,
)
from videozoo.tasks.localisation.sources import find_videos, sequence_shape
from videozoo.types import Localisation

_MOST_SHOWN = 5


def run_segments(request: CheckRequest, *, console: Console | None = None) -> bool:
    """Read all annotations and features of a localiser, print a summary, write the requested file.

    Returns:
        False if the request names no configuration of a localiser.

    Raises:
        DataError: Something cannot be used.
        VideozooError: There is nothing to check, or the result cannot be written.
    """
    if request.source.path is None:
        return False
    config = request.source.load()
    if not isinstance(config.spec.task, Localisation):
        return False
    if request.path is not None or request.write_good is not None:
        raise UsageError(
            f"{config.spec.title} reads features and annotations, which its configuration names; "
            "leave out the path and --write-good"
        )
    out = console or Console()
    facts = [_checked(config, part, out) for part in _parts(config)]
    if request.json_path is not None:
        _write(request.json_path, facts)
        say(out, f"everything, part by part: {request.json_path}")
    wrong = sum(len(part["problems"]) for part in facts)
    if wrong:
        raise DataError(f"{counted(wrong, 'problem')} in the features and annotations")
    return True


def _parts(config: RunConfig) -> list[Part]:
    """The parts of the section that differ."""
    data = config.data
    parts: list[Part] = ["train"]
    if not has_one_annotations_file(data) or data.val_subset != data.train_subset:
        parts.append("val")
    if data.test_annotations is not None or data.test_subset != data.val_subset:
        parts.append("test")
    return parts


def _checked(config: RunConfig, part: Part, out: Console) -> dict[str, Any]:
    problems: list[str] = []
    notes: list[str] = []
    facts: dict[str, Any] = {"name": part, "problems": problems, "notes": notes}
    try:
        videos = find_videos(config, part, quiet=part != "train")
        facts |= _read(config, videos, problems)
        if videos.missing:
            notes.append(
                f"no features of {len(videos.missing)} of {len(videos.annotations)} videos: "
                f"{few(videos.missing)}"
            )
        facts |= _lengths(config, part, videos, notes)
    except DataError as error:
        problems.append(str(error))
    _show(out, facts)
    return facts


def _read(config: RunConfig, videos: SequenceVideos, problems: list[str]) -> dict[str, Any]:
    """Read the features of every video."""
    dim, readable = sequence_shape(config).feature_dim, 0
    for one in videos.present:
        try:
            videos.files.read(one.video, feature_dim=dim)
            readable += 1
        except DataError as error:
            problems.append(str(error))
    return {
        "videos": len(videos.annotations),
        "missing": list(videos.missing),
        "readable": readable,
        "segments": sum(len(one.instances) for one in videos.present),
    }


def _lengths(
    config: RunConfig, part: Part, videos: SequenceVideos, notes: list[str]
) -> dict[str, Any]:
    """Compare the lengths of videos, actions, windows and steps."""
    seconds = [one.duration_seconds for one in videos.present]
    facts: dict[str, Any] = {"median_seconds": float(np.median(seconds))}
    shape, windows = sequence_shape(config), None
    if config.data.window_seconds is not None:
        windows = find_windows(videos, config.data)
        facts["windows"] = _window_facts(windows)
        if part == "train":
            check_windows_to_learn(windows)
            notes += window_notes(WindowDataset(windows, shape, training=True), shape.num_steps)
    if part == "train":
        notes += step_notes(videos, shape.num_steps, windows)
    return facts


def _window_facts(windows: SequenceWindows) -> dict[str, Any]:
    lost, _ = windows.num_actions
    return {
        "seconds": windows.window_seconds,
        "stride_seconds": windows.stride_seconds,
        "count": len(windows),
        "with_actions": len(windows.with_actions),
        "actions_in_none": lost,
    }


def _show(out: Console, facts: dict[str, Any]) -> None:
    say(out, f"data, {facts['name']}", style="bold")
    if "videos" in facts:
        say(
            out,
            f"  {counted(facts['videos'], 'annotated video')}, {facts['readable']:,} with features "
            f"that can be used; {counted(facts['segments'], 'segment')}",
        )
    for title, lines in (("Cannot be used", facts["problems"]), ("Good to know", facts["notes"])):
        if lines:
            say(out, f"  {title}")
            for line in _first(lines):
                say(out, f"    {line}")


def _first(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _MOST_SHOWN
    return [*lines[:_MOST_SHOWN], *([f"and {more:,} more"] if more > 0 else [])]


def _write(path: Path, parts: list[dict[str, Any]]) -> None:
    facts = {"videozoo": __version__, "kind": "check-segments", "format": 1, "parts": parts}
    try:
        with written_aside(path) as aside:
            aside.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None
