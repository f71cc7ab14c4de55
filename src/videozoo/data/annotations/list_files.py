"""One list of videos, whose format is not yet known, and the rows that it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from videozoo.data.files import IMAGE_SUFFIXES, Lookup
from videozoo.data.formats import TextFile
from videozoo.data.text import lines_of
from videozoo.errors import DataError

ListPart = Literal["train", "val", "test", "unused", ""]
"""The part of a data set that a row belongs to; empty if the list does not say."""

_PART_WORDS: dict[str, ListPart] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list, its columns as the file writes them."""

    number: int
    """Line number, from 1."""
    text: str
    """The whole line."""
    path: str
    """Empty if the line has too few columns."""
    label: str = ""
    """Empty if the line has none; the first of `labels`, if that is given."""
    labels: tuple[str, ...] | None = None
    """All labels, where the format may have any number per video."""
    frames: int | None = None
    first_frame: int | None = None
    """From 0. The line is about a part of its video, and `frames` is the length of this part."""
    view: tuple[int, int, int] | None = None
    """Numbers of video, clip and crop, if the line is one view of a video; it has no class."""
    search: tuple[str, ...] = ()
    """Names of the video, without ending, best first; for lists that give a name and no path. The
    video may lie anywhere under the root. The video or its class may be absent."""
    is_name: bool = False
    """The label is the name of the class, even if it looks like a number."""
    part: ListPart = ""
    split: int | None = None
    """Number of the split, if the list holds several divisions of the same videos into parts."""
    where: str = ""
    """File and place of the row, where the list is no text file with one row per line."""
    problem: str = ""
    """What is wrong with the line; such a line is not used."""

    @property
    def every_label(self) -> tuple[str, ...]:
        """The labels of the video; none where the line has none."""
        if self.labels is not None:
            return self.labels
        return (self.label,) if self.label else ()


class VideoList(TextFile):
    """A list file whose format is not yet known."""

    def __init__(
        self,
        path: Path,
        root: Path | None,
        count_frames: Callable[[Path], int] | None = None,
        *,
        has_several: bool = False,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(path)
        self._lookup = Lookup(root, path.parent)
        self.has_several, self.num_classes = has_several, num_classes
        self._count_frames = count_frames

    def exists(self, name: str) -> bool:
        """Whether a video of that name exists, looked up as for any list."""
        return self._lookup.find(name) is not None

    def num_frames(self, name: str) -> int | None:
        """Frames of a video; None if it cannot be opened, or may not be."""
        found = self._lookup.find(name)
        try:
            return None if found is None or not self._count_frames else self._count_frames(found)
        except DataError:
            return None

    def num_images(self, name: str) -> int:
        """Images in a folder of frames; 0 if there is no such folder."""
        found = self._lookup.find(name)
        if found is None or not found.is_dir():
            return 0
        return sum(one.suffix.lower() in IMAGE_SUFFIXES for one in found.iterdir())

    @cached_property
    def lines(self) -> list[tuple[int, str]]:
        """Lines that are not empty, with their numbers from 1; DataError if there are none."""
        return lines_of(self.path)

    @cached_property
    def rows(self) -> list[tuple[int, str]]:
        """`lines` without comments: lines that start with # and name no video, and ends after #."""
        lines = [(number, self._without_comment(line)) for number, line in self.lines]
        return [one for one in lines if one[1][:1] != "#" or self._videos_in(one[1])]

    def _without_comment(self, line: str) -> str:
        head, mark, _ = line.partition(" #")
        if not mark or not self._videos_in(head):
            return line
        return line if any(mark in path for path in self._videos_in(line)) else head.rstrip()

    def _videos_in(self, line: str) -> list[str]:
        """The videos that a line, or what is before its last columns, is the path of."""
        ends = [line.rsplit(between, most) for between in (None, ",", ";", "|") for most in (1, 2)]
        paths = [line, *(cut[0].strip() for cut in ends)]
        return [path for path in paths if self.exists(path.strip("\"' "))]


def with_parts(rows: Sequence[tuple[Row, str]]) -> Iterator[Row]:
    """Rows with their parts, from the words that a column of the file has for them.

    A column with any word that is not known is no column of parts.
    """
    words = [word.strip().lower() for row, word in rows if not row.problem and row.path]
    known = all(word in _PART_WORDS for word in words)
    for row, word in rows:
        part = _PART_WORDS.get(word.strip().lower(), "") if known else ""
        yield replace(row, part=part) if part else row
