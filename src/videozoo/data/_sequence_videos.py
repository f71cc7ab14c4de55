"""Which videos localisers learn from and are tested on: what feature files and proposals share."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field, model_validator

from videozoo.data._sequence_batches import Workers
from videozoo.data.activitynet import (
    Annotations,
    BadSegments,
    annotated_classes,
    annotated_videos,
    is_of_subset,
    named,
    read_annotations,
    read_class_names,
    read_durations,
)
from videozoo.data.lengths import Measured
from videozoo.errors import DataError
from videozoo.types import Settings

Part = Literal["train", "val", "test"]
_log = logging.getLogger(__name__)


class AnnotatedData(Settings):
    """Videos with what happens in them, and who reads them."""

    annotations: Path | None = None
    """What happens when: ActivityNet's JSON, official or that of 2019; CSV of THUMOS14 or Charades,
    or with the columns video, start, end, label; projects of VIA 3 and exports of Label Studio;
    2019 lists of C-TCN. For all parts, unless the next two say otherwise."""
    val_annotations: Path | None = None
    """Those of the videos to check with after each epoch, where they are in another file."""
    test_annotations: Path | None = None
    """Those of the videos to evaluate on, by default the same as for checking."""
    train_subset: str | None = "training"
    """Subset to learn from; `train_val` takes two. A file that names no subsets is used whole."""
    val_subset: str | None = "validation"
    """Subset to check with after each epoch."""
    test_subset: str | None = "validation"
    """Subset to evaluate on, by default that of `val_subset`."""
    class_names: Path | None = None
    """Names of the classes by number, a line each or as JSON. By default all labels of
    `annotations`, sorted."""
    durations: Path | None = None
    """Lengths of videos in seconds where the annotations do not tell: `NAME ... SECONDS` a line,
    JSON, or other annotations."""
    bad_segments: BadSegments = "clip"
    """What becomes of segments that reach beyond the video: cut them, drop them, or refuse the
    file. Those of which nothing is left are dropped, or refused."""
    ignored_classes: tuple[str, ...] = ()
    """Segments with these labels do not count, such as `Ambiguous` of THUMOS14."""
    frames_per_second: float | None = Field(default=None, gt=0)
    """Of the videos, for exports of Label Studio, which count frames."""
    num_workers: int = Field(default=4, ge=0)
    """Processes that read, on each training process; never more than the machine has cores.
    0 reads in the training process itself."""
    prefetch_batches: int = Field(default=2, ge=1)
    """Batches each worker prepares ahead."""
    bad_video_share: float = Field(default=0.05, ge=0, le=1)
    """Training goes on without videos that have no features, and replaces damaged ones by others;
    it stops when together they are more than this share."""

    @model_validator(mode="before")
    @classmethod
    def _test_as_val(cls, given: Any) -> Any:
        """Take the held-out videos for both: another part is a choice."""
        if isinstance(given, dict) and "val_subset" in given and "test_subset" not in given:
            return {**given, "test_subset": given["val_subset"]}
        return cast("Any", given)


def load_annotations(
    data: AnnotatedData,
    part: Part,
    *,
    durations: Mapping[str, float] | None = None,
    measured: Measured | None = None,
    quiet: bool = False,
) -> Annotations:
    """Read what happens in the videos of one part of the `data:` section.

    Classes are those of `data.class_names`, or of `data.annotations` for every part.

    Args:
        data: Where it is written.
        part: Which videos.
        durations: Seconds of videos where neither the annotations nor `data.durations` tell.
        measured: What features say of lengths.
        quiet: Log no warning: the same file was read before.

    Raises:
        DataError: The part is not set or cannot be used, or shows a class that is not known.
    """
    path = _annotations_of(data, part)
    if path is None:
        raise DataError(
            "data.annotations is not set; name a file of annotations, such as ActivityNet's JSON"
        )
    known = dict(durations or {})
    if data.durations is not None:
        known |= read_durations(data.durations)
    names: Sequence[str] | None = None
    if data.class_names is not None:
        names = read_class_names(data.class_names)
    elif data.annotations is not None and path != data.annotations:
        names = annotated_classes(data.annotations, ignored_classes=data.ignored_classes)
    subset: str | None = getattr(data, f"{part}_subset")
    found = read_annotations(
        path,
        bad_segments=data.bad_segments,
        durations=known,
        measured=measured,
        class_names=names,
        ignored_classes=data.ignored_classes,
        frames_per_second=data.frames_per_second,
        quiet=quiet,
    )
    if part == "train" and not quiet:
        _say_unused(found, data)
    return found.of_subset(subset)


def _say_unused(found: Annotations, data: AnnotatedData) -> None:
    """Log a warning about annotated videos of subsets that no part of a run is made of."""
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
            "%s: annotated videos in no part of this run: %s; see data.train_subset, "
            "data.val_subset and data.test_subset",
            found.path,
            named,
        )


def videos_learnt_from(data: AnnotatedData) -> list[str]:
    """Names of the videos to learn from; none where their annotations cannot be read any more."""
    if data.annotations is None:
        return []
    try:
        return annotated_videos(data.annotations, subset=data.train_subset)
    except DataError:  # evaluation does without
        return []


def are_of_one_file(data: AnnotatedData) -> bool:
    """Whether the videos to check with are annotated where those to learn from are."""
    return _annotations_of(data, "val") == data.annotations


def _annotations_of(data: AnnotatedData, part: Part) -> Path | None:
    chosen = {
        "train": (data.annotations,),
        "val": (data.val_annotations, data.annotations),
        "test": (data.test_annotations, data.val_annotations, data.annotations),
    }
    return next((path for path in chosen[part] if path is not None), None)


def check_missing(videos: int, missing: Sequence[str], source: Path, *, share: float) -> None:
    """Raise where training would have to do without too many videos.

    Raises:
        DataError: More than `share` of `videos` are missing.
    """
    if len(missing) > share * videos:
        raise DataError(
            f"{source}: {len(missing)} of {videos} training videos have no features here, more "
            f"than data.bad_video_share={share:g} allows; add them, or allow more: {named(missing)}"
        )


def refuse_missing(videos: int, missing: Sequence[str], source: Path) -> None:
    """Raise where videos that are to be evaluated have no features.

    Raises:
        DataError: Some are missing.
    """
    if missing:
        raise DataError(
            f"{source}: {len(missing)} of {videos} videos have no features here: {named(missing)}; "
            "add them, or leave out --strict"
        )


def workers_of(data: AnnotatedData) -> Workers:
    """Who reads."""
    return Workers(num_workers=data.num_workers, prefetch_batches=data.prefetch_batches)
