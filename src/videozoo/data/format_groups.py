"""The groups of formats: which table belongs to which kind of data, and what reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videozoo.data.annotations import (
    class_names,
    list_formats,
    result_formats,
    segment_formats,
    sentences,
    video_labels,
)
from videozoo.data.features import by_name, record_formats
from videozoo.data.formats import Format, TextFile, format_of


@dataclass(frozen=True)
class FormatGroup:
    """The formats of one kind of data."""

    name: str
    """One word, as in `videozoo formats segments`."""
    title: str
    reads: str
    """What is read from such files."""
    used_by: str
    """The setting or command that takes them."""
    formats: tuple[Format[Any, Any], ...]
    """The table."""
    opened: Callable[[Path], Any]
    """From a path to what `Format.looks_like` takes."""
    aliases: tuple[str, ...] = ()
    """Other words for it."""

    def format_of(self, path: Path) -> Format[Any, Any] | None:
        """The format of a file or folder; None if it has none of this group."""
        return format_of(self.opened(path), self.formats)


GROUPS: tuple[FormatGroup, ...] = (
    FormatGroup(
        "clips",
        "Lists of clips",
        "the video and its class, by number or by name; the number of frames, where it is given",
        "`data.train`, `data.val` and `data.test` of clip models; `predict`, `extract`, "
        "`check-data`",
        list_formats.FORMATS,
        lambda path: list_formats.VideoList(path, path.parent),
        ("lists", "videos", "multi-label"),
    ),
    FormatGroup(
        "segments",
        "Segments",
        "the video, start, end and class of each segment; length and subset of the video, where "
        "they are given",
        "`data.annotations` of localisers; `convert`, `check-data`, `score`",
        segment_formats.FORMATS,
        TextFile,
        ("annotations",),
    ),
    FormatGroup(
        "sentences",
        "Captions and moments",
        "the video, start, end and sentence; the length of the video, where it is given",
        "`data.train`, `data.val` and `data.test` of captioners and of models that find moments; "
        "`check-data`, `score`",
        sentences.FORMATS,
        TextFile,
        ("captions", "moments"),
    ),
    FormatGroup(
        "labels",
        "Classes of videos beside them",
        "the classes of each video, one or several, by path or by name",
        "`data.labels` of taggers with `data.videos`; `train --videos --labels`",
        video_labels.FORMATS,
        TextFile,
    ),
    FormatGroup(
        "names",
        "Names of classes",
        "the names of the classes, in the order of their numbers",
        "`data.class_names`; `score --class-names`",
        class_names.FORMATS,
        TextFile,
        ("class-names", "classes"),
    ),
    FormatGroup(
        "results",
        "Results of models",
        "what a model found in each video, with its scores",
        "`videozoo score`, for any model",
        result_formats.FORMATS,
        TextFile,
        ("predictions",),
    ),
    FormatGroup(
        "records",
        "Records of features with tags",
        "features of each video by stream, and the numbers of its classes",
        "`data.train`, `data.val` and `data.test` of taggers; `prepare`, `check-data`",
        record_formats.FORMATS,
        record_formats.start_of,
        ("tags",),
    ),
    FormatGroup(
        "features",
        "Features by the name of the video",
        "where the features of each video lie; the name of the video is that of its file",
        "`data.features` of localisers, captioners and models that find moments; `check-data`",
        by_name.LAYOUTS,
        by_name.place_of,
    ),
    FormatGroup(
        "arrays",
        "The file of one video among features",
        "an array (steps, values), or one per stream",
        "`data.features` of localisers, captioners and models that find moments; `check-data`",
        by_name.FORMATS,
        lambda path: path,
        ("features",),
    ),
)
"""All groups, in the order of `docs/formats.md`."""


def groups_named(word: str) -> tuple[FormatGroup, ...]:
    """The groups of that name or alias; empty if there is none."""
    return tuple(one for one in GROUPS if word in (one.name, *one.aliases))
