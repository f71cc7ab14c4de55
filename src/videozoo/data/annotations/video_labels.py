"""Classes of videos from a file beside them: tags by path or by name."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from videozoo.data.annotations.list_formats import has_more_columns, header_of
from videozoo.data.text import json_of, lines_of, raise_all, text_of
from videozoo.errors import DataError, brief


def video_name(path: Path) -> str:
    """Name of a video among its features: the name of its file without the ending."""
    return path.name if path.is_dir() else path.stem


def absolute(path: Path | str) -> str:
    """The absolute path, for comparison; links are not followed, and the disk is not read."""
    return os.path.abspath(path)  # noqa: PTH100


@dataclass
class VideoLabels:
    """Classes of videos, found by path or else by name."""

    path: Path
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

    def add(self, video: str, labels: tuple[int, ...]) -> None:
        """Add the classes of one video."""
        for base in (Path(), self.path.parent):
            self.by_path[absolute(base / video)] = labels
        # an identifier as in ActivityNet, with or without the ending of the file
        for name in {Path(video).stem, Path(video).name}:
            self.by_name.setdefault(name, set()).add(labels)


def read_labels(path: Path) -> VideoLabels:
    """Read the classes of videos, numbers from 0.

    A text file has one video per line, `PATH LABEL[,LABEL...]`, so lists of Kinetics can be used.
    Tabs, commas and semicolons may stand in place of the blank. A header `path,label` and lines
    that start with # are left out. A JSON file holds one object, `{PATH: [LABEL, ...]}` or
    `{PATH: LABEL}`.

    Raises:
        DataError: The file is neither; up to ten bad lines are named.
    """
    labels = VideoLabels(path)
    problems: list[str] = []
    if path.suffix.lower() == ".json":
        content = json_of(path, text_of(path))
        if not isinstance(content, dict) or not content:
            raise DataError(f"{path}: expected an object {{PATH: [LABEL, ...]}}")
        for video, values in cast("dict[str, Any]", content).items():
            many = cast("list[Any]", values if isinstance(values, list) else [values])
            if all(type(one) is int and one >= 0 for one in many):
                labels.add(video, tuple(many))
            else:
                problems.append(f"{path}: {video!r}: expected class numbers, got {brief(values)}")
    else:
        seen: dict[str, tuple[int, tuple[int, ...]]] = {}
        lines = [line for line in lines_of(path) if not line[1].startswith("#")]
        for number, line in lines[1:] if lines and header_of(lines[0][1]) else lines:
            video, found = _cut(line)
            if video and found and not has_more_columns(video):
                first = seen.setdefault(video, (number, found))
                if set(first[1]) != set(found):
                    problems.append(
                        f"{path}:{number}: {video!r} has other labels in line {first[0]}"
                    )
                labels.add(video, found)
            else:
                problems.append(
                    f"{path}:{number}: expected 'PATH LABEL[,LABEL...]', got {brief(line)}"
                )
    raise_all(path, problems)
    return labels


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
    for delimiter in (" ", "\t", ";"):
        head, _, tail = video.rpartition(delimiter)
        if head.strip() and _is_label(tail.strip()):
            video, cells = head.strip(), [tail.strip(), *cells]
            break
    return video.strip('"'), tuple(map(int, cells))


def _is_label(text: str) -> bool:
    return 0 < len(text) < 10 and text.isascii() and text.isdigit()
