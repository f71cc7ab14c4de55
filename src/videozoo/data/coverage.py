"""Annotations of one part of the `data:` section, and checks of their times with features."""

from __future__ import annotations

import logging
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from videozoo.data.annotations.class_names import read_class_names
from videozoo.data.annotations.segment_types import FrameTimesOf, Reading
from videozoo.data.annotations.segments import (
    Annotations,
    annotated_classes,
    annotated_videos,
    is_of_subset,
    read_annotations,
    read_durations,
)
from videozoo.data.annotations.sentences import TimedSentences, check_times
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.lengths import Measured
from videozoo.errors import DataError
from videozoo.settings.captions import CaptionData
from videozoo.settings.segments import AnnotatedData, SequenceData
from videozoo.settings.shared import Part

_log = logging.getLogger(__name__)


def load_annotations(
    data: AnnotatedData,
    part: Part,
    *,
    durations: Mapping[str, float] | None = None,
    measured: Measured | None = None,
    frame_times: FrameTimesOf | None = None,
    quiet: bool = False,
) -> Annotations:
    """Read the annotations of one part of the `data:` section.

    The classes come from `data.class_names`; without it, from `data.annotations` for every part.

    Args:
        data: The section.
        part: Part to read.
        durations: Seconds of videos, used if neither annotations nor `data.durations` have them.
        measured: Lengths of videos by their features.
        frame_times: When the frames of videos are shown, for annotations in frames.
        quiet: Log no warnings, because the file was read before.

    Raises:
        DataError: The part is not set or cannot be used, or has an unknown class.
    """
    path = _annotations_of(data, part)
    if path is None:
        raise DataError(
            "data.annotations is not set; name a file of annotations, such as ActivityNet's JSON"
        )
    known = dict(durations or {})
    if data.durations is not None:
        known |= read_durations(data.durations)
    reading = reading_of(data)
    names: Sequence[str] | None = None
    if data.class_names is not None:
        names = read_class_names(data.class_names)
    elif data.annotations is not None and path != data.annotations:
        names = annotated_classes(
            data.annotations, ignored_classes=data.ignored_classes, reading=reading
        )
    subset: str | None = getattr(data, f"{part}_subset")
    found = read_annotations(
        path,
        bad_segments=data.bad_segments,
        durations=known,
        measured=measured,
        class_names=names,
        ignored_classes=data.ignored_classes,
        frames_per_second=data.frames_per_second,
        frame_times=frame_times,
        reading=reading,
        quiet=quiet,
    )
    if part == "train" and not quiet:
        _warn_of_unused(found, data)
    return found.of_subset(subset)


def load_features(data: SequenceData | CaptionData) -> FeatureFiles:
    """Open `data.features`.

    Raises:
        DataError: It is not set, or holds no features.
    """
    if data.features is None:
        raise DataError("data.features is not set; name a folder of features, one file per video")
    return FeatureFiles(data.features, streams=data.streams)


def reading_of(data: AnnotatedData) -> Reading:
    """What the `data:` section says about files of segments that leave something open."""
    return Reading(data.label_from, data.spot_seconds)


def _warn_of_unused(found: Annotations, data: AnnotatedData) -> None:
    """Log a warning if annotated videos are in a subset that no part of the run uses."""
    parts = (data.train_subset, data.val_subset, data.test_subset)
    wanted = [subset for subset in parts if subset is not None]
    if len(wanted) < len(parts):  # a part is the whole file
        return
    unused = Counter(
        one.subset
        for one in found.videos
        if one.subset is not None and one.instances
        if not any(is_of_subset(one.subset, subset) for subset in wanted)
    )
    if unused:
        named = ", ".join(f"{count} of subset {subset!r}" for subset, count in unused.items())
        _log.warning(
            "%s: annotated videos that no part of this run uses: %s; see data.train_subset, "
            "data.val_subset and data.test_subset",
            found.path,
            named,
        )


def training_videos(data: AnnotatedData) -> list[str]:
    """Names of the training videos; empty if their annotations cannot be read any more."""
    if data.annotations is None:
        return []
    try:
        return annotated_videos(data.annotations, subset=data.train_subset)
    except DataError:  # evaluation does not need them
        return []


def has_one_annotations_file(data: AnnotatedData) -> bool:
    """Whether training and validation videos are annotated in the same file."""
    return _annotations_of(data, "val") == data.annotations


def _annotations_of(data: AnnotatedData, part: Part) -> Path | None:
    chosen = {
        "train": (data.annotations,),
        "val": (data.val_annotations, data.annotations),
        "test": (data.test_annotations, data.val_annotations, data.annotations),
    }
    return next((path for path in chosen[part] if path is not None), None)


def check_times_by_features(
    found: TimedSentences,
    vectors: Mapping[str, int],
    features: FeatureFiles,
    *,
    rate: float,
    configured: float | None,
) -> tuple[str, ...]:
    """Compare lengths and times in a file of sentences with the features of its videos.

    Args:
        found: The file.
        vectors: Number of feature vectors of each video that was read.
        features: Features of the videos.
        rate: Vectors per second.
        configured: `data.rate`.

    Returns:
        Notes for the user.

    Raises:
        DataError: Most lengths or times do not fit at all.
    """
    given = found.durations
    rates = [count / given[video] for video, count in vectors.items() if given.get(video, 0) > 0]
    is_assumed = configured is None and features.own_rate is None
    advice = ""
    if rates and features.own_rate is None:
        advice = (
            "The features do not say how many vectors per second they have: "
            f"{rate:g} is {'assumed' if is_assumed else 'data.rate'}, but by the lengths in that "
            f"file it is about {statistics.median(rates):.3g}: --set data.rate=NUMBER"
        )
    seconds = {video: count / rate for video, count in vectors.items()}
    check_times(found, seconds, features=features.path, slack_seconds=1 / rate, advice=advice)
    return () if rates else features.rate_notes(configured, rate)
