"""Classes of videos from a file beside them: tags by path or by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from videozoo.data.annotations.list_formats import has_more_columns, header_of, list_rows
from videozoo.data.files import VIDEO_SUFFIXES, absolute
from videozoo.data.formats import Format, TextFile, format_of, unknown
from videozoo.data.text import MOST_CLASSES, class_number, lines_of, raise_all
from videozoo.data.video_names import video_name
from videozoo.errors import DataError, brief, counted


@dataclass
class VideoLabels:
    """Classes of videos, found by path or else by name."""

    path: Path
    entries: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """Classes of each video, as the file writes its name."""
    class_names: list[str] | None = None
    """Names of the classes by number, where the file gives names."""
    by_path: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    by_name: dict[str, set[tuple[int, ...]]] = field(
        default_factory=dict[str, set[tuple[int, ...]]]
    )

    def of(self, video: Path) -> tuple[int, ...] | None:
        """Classes of one video; None if the file does not name it.

        Raises:
            DataError: The file names several videos of that name, with different classes.
        """
        found = self.by_path.get(absolute(video))
        if found is not None:
            return found
        named = self.by_name.get(video_name(video), set())
        if len(named) > 1:
            raise DataError(
                f"{self.path}: several videos are called {video_name(video)}, with different "
                f"labels, and none is at {video}; write paths relative to the current folder"
            )
        return next(iter(named), None)

    @property
    def num_classes(self) -> int:
        """The highest label plus 1."""
        return 1 + max((label for labels in self.by_path.values() for label in labels), default=-1)

    def of_all(self, videos: Sequence[Path]) -> tuple[list[tuple[int, ...] | None], list[str]]:
        """Classes of all videos of a data set: what names one by its path names no other.

        Returns:
            Classes of each, None if the file does not name it; and the names of the file that are
            none of these videos.

        Raises:
            DataError: See `of`.
        """
        names: dict[str, list[str]] = defaultdict(list)
        for name in self.entries:
            for base in (Path(), self.path.parent):
                names[absolute(base / name)].append(name)
        by_path = [names.get(absolute(video), []) for video in videos]
        left = VideoLabels(self.path)
        used = {name for found in by_path for name in found}
        for name, own in self.entries.items():
            if name not in used:
                left.add(name, own)
        known = {name for video in videos for name in (video_name(video), video.name)}
        absent = [one for one in left.entries if not {Path(one).name, Path(one).stem} & known]
        found = [
            self.entries[listed[0]] if listed else left.of(video)
            for video, listed in zip(videos, by_path, strict=True)
        ]
        return found, absent

    def add(self, video: str, labels: tuple[int, ...]) -> None:
        """Add the classes of one video."""
        self.entries[video] = labels
        for base in (Path(), self.path.parent):
            self.by_path[absolute(base / video)] = labels
        # an identifier as in ActivityNet, with or without the ending of the file
        for name in {Path(video).stem, Path(video).name}:
            self.by_name.setdefault(name, set()).add(labels)


@dataclass(frozen=True)
class RawLabels:
    """The classes of one video as the file writes them, not yet checked."""

    where: str
    video: str
    """Its path or name; empty if the line cannot be read."""
    labels: tuple[Any, ...]
    """Numbers from 0, or names of classes."""
    text: object
    """What the file says, for messages."""


def read_labels(
    path: Path, *, may_name: bool = False, class_names: Sequence[str] | None = None
) -> VideoLabels:
    """Read the classes of videos in any of `FORMATS`, numbers from 0.

    Args:
        path: The file.
        may_name: The file may give names of classes in place of numbers.
        class_names: The class of number i, for names; by default all names of the file, sorted.

    Raises:
        DataError: The file is of no known format, or a name is not among `class_names`; up to ten
            bad lines are named.
    """
    file = TextFile(path)
    found = format_of(file, FORMATS)
    if found is None:
        raise unknown(f"{path}: no classes of videos: {file.seen}", FORMATS, path=path)
    rows = list(found.read(file))
    if may_name and found.read is _line_rows and 2 * sum(not row.video for row in rows) > len(rows):
        rows = _named_rows(path) or rows
    labels = VideoLabels(path)
    every = [one for row in rows for one in row.labels]
    if may_name and every and all(isinstance(one, str) for one in every):
        labels.class_names = list(class_names or sorted(set(every)))
    numbers = {name: number for number, name in enumerate(labels.class_names or ())}
    problems: list[str] = []
    seen: dict[str, tuple[str, frozenset[int]]] = {}
    for row in rows:
        own: tuple[Any, ...] = tuple(
            numbers.get(one, one) if isinstance(one, str) else one for one in row.labels
        )
        problem = _problem(row, own, labels.class_names, may_name)
        if problem:
            problems.append(f"{row.where}: {problem}")
            continue
        place, first = seen.setdefault(row.video, (row.where, frozenset(own)))
        if first != frozenset(own):
            line = place.rpartition(":")[2]
            problems.append(f"{row.where}: {row.video!r} has other labels in line {line}")
        labels.add(row.video, own)
    raise_all(path, problems)
    return labels


def _problem(
    row: RawLabels, own: tuple[Any, ...], names: Sequence[str] | None, may_name: bool
) -> str:
    """What is wrong with a row whose labels are `own`; empty if nothing."""
    if not row.video:
        also = " or 'PATH NAME;NAME'" if may_name else ""
        return f"expected 'PATH LABEL[,LABEL...]'{also}, got {brief(row.text)}"
    if all(type(one) is int and one >= 0 for one in own):
        return "" if max(own, default=0) < MOST_CLASSES else f"a class number of {max(own):,}"
    if names is None:
        return f"expected class numbers, got {brief(row.text)}"
    unknown_name = next(one for one in own if isinstance(one, str))
    return f"{brief(unknown_name)} is not among the {counted(len(names), 'class name')}"


# --- formats ---------------------------------------------------------------------------------


def _is_object(file: TextFile) -> bool:
    if _is_called_json(file):
        return isinstance(file.content, dict) and bool(file.content)
    try:
        return isinstance(file.content, dict)
    except DataError:  # the path of a video may begin with a brace
        return False


def _is_called_json(file: TextFile) -> bool:
    return file.path.suffix.lower() == ".json"


def _object_rows(file: TextFile) -> Iterator[RawLabels]:
    for video, values in cast("dict[str, Any]", file.content).items():
        listed = cast("list[Any]", values if isinstance(values, list) else [values])
        yield RawLabels(f"{file.path}: {video!r}", video, tuple(listed), values)


def _line_rows(file: TextFile) -> Iterator[RawLabels]:
    lines = [line for line in lines_of(file.path) if not line[1].startswith("#")]
    for number, line in lines[1:] if lines and header_of(lines[0][1]) else lines:
        video, found = _cut(line)
        is_good = video and found and not has_more_columns(video)
        yield RawLabels(f"{file.path}:{number}", video if is_good else "", found, line)


def _named_rows(path: Path) -> list[RawLabels]:
    """The rows of a list that names classes, in any form of lists of clips; none of numbers.

    A number after a path may be one of frames, which only the videos tell.
    """
    rows = list(list_rows(path, None))
    if all(class_number(label) is not None for row in rows for label in row.every_label):
        return []
    return [
        RawLabels(
            f"{path}:{row.number}",
            row.path if row.every_label and not row.problem and not _has_names(row.path) else "",
            row.every_label,
            row.text,
        )
        for row in rows
    ]


def _has_names(path: str) -> bool:
    """Whether what should be a path holds names of classes: in `a,cooking,outdoor` it ends at `a`.

    >>> _has_names("a,cooking"), _has_names("a, b.mp4"), _has_names("a")
    (True, False, False)
    """
    return "," in path and Path(path).suffix.lower() not in VIDEO_SUFFIXES


def _cut(line: str) -> tuple[str, tuple[int, ...]]:
    """The path of a line, and its labels: one after a blank or semicolon, more after commas.

    >>> _cut("my clip.mp4 3, 5"), _cut("my clip.mp4,3")
    (('my clip.mp4', (3, 5)), ('my clip.mp4', (3,)))
    """
    cells = [cell.strip() for cell in line.split(",")]
    start = len(cells)
    while start > 1 and _is_label(cells[start - 1]):
        start -= 1
    video, cells = ",".join(cells[:start]), cells[start:]
    for delimiter in (" ", "\t", ";", "|"):
        head, _, tail = video.rpartition(delimiter)
        if head.strip() and _is_label(tail.strip()):
            video, cells = head.strip(), [tail.strip(), *cells]
            break
    return video.strip('"'), tuple(map(int, cells))


def _is_label(text: str) -> bool:
    return 0 < len(text) < 10 and text.isascii() and text.isdigit()


FORMATS: tuple[Format[TextFile, Callable[[TextFile], Iterator[RawLabels]]], ...] = (
    Format(
        "JSON, an object from video to labels",
        _is_object,
        _object_rows,
        '{"run/abc.mp4": [0, 2], "jump/b.mp4": 1}',
        "labels.json",
        about="Classes of each video as numbers, or as names where a command takes names.",
    ),
    Format(
        "one video per line: PATH LABEL[,LABEL...]",
        lambda file: not _is_called_json(file),
        _line_rows,
        "run/abc.mp4 0,2\njump/b.mp4 1\n",
        "labels.txt",
        about="Lists of Kinetics fit. Tabs, commas and semicolons may stand in place of the blank; "
        "a heading `path,label` and lines that start with # are left out. For taggers also names "
        "of classes, in any form of the lists of clips: `run/abc.mp4 cooking;outdoor`.",
    ),
)
"""Formats of files with the classes of videos."""
