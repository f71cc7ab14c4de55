"""Lists with several classes per video: where the path of a line ends, what a cell holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from videozoo.data.files import VIDEO_SUFFIXES
from videozoo.data.text import class_number
from videozoo.errors import DataError, counted

Exists = Callable[[str], bool]

_BETWEEN = re.compile(r"[\s,;]+")
_NUMBER = r"[\s,;]+-?\d{1,18}"
_TWO, _THREE = (re.compile(rf"(?:{_NUMBER}){{{count}}}$") for count in (2, 3))
_LONGEST_END = 80  # characters that three numbers take
_MOST_NUMBERS = 200  # after a path, before another end of the path is looked for
_MOST_TRIED = 16  # lines whose paths are looked up to know the format
_MOST_OPENED = 5  # videos whose frames are compared with the list
_LONGEST_PATH = 4096


@dataclass(frozen=True, slots=True)
class Cut:
    """A line of a plain list in its parts."""

    path: str
    numbers: tuple[int, ...]
    """All whole numbers after the path."""


def cut_line(line: str, exists: Exists | None = None) -> Cut:
    """Cut a line where its path ends: before all whole numbers at its end.

    A path may end in numbers itself, so of the paths that exist the longest is taken.

    Args:
        line: The path and numbers; blanks, commas or semicolons stand between them.
        exists: Whether there is such a video; None: all numbers at the end are after the path.

    >>> cut_line("run/a.mp4 0 3,5")
    Cut(path='run/a.mp4', numbers=(0, 3, 5))
    >>> cut_line("take 2 7", exists=lambda path: path == "take 2")
    Cut(path='take 2', numbers=(7,))
    """
    gaps = list(_BETWEEN.finditer(line))
    numbers: list[int] = []
    end = len(line)
    ends = [end]  # of the path, by how many numbers follow it
    for gap in reversed(gaps):
        number = class_number(line[gap.end() : end])
        if number is None or not gap.start():
            break
        numbers.insert(0, number)
        end = gap.start()
        ends.append(end)
    if exists is not None and 0 < len(numbers) <= _MOST_NUMBERS and len(line) <= _LONGEST_PATH:
        for count, place in enumerate(ends):
            path = bare(line[:place])
            if exists(path):
                return Cut(path, tuple(numbers[len(numbers) - count :]))
    return Cut(bare(line[:end]), tuple(numbers))


def have_several(lines: Sequence[str], exists: Exists) -> bool:
    """Whether lines can only be paths with any number of classes.

    Not where every line has one number, `PATH LABEL`, or every line two, `PATH FRAMES LABEL`.

    >>> have_several(["a.mp4 0 3", "b.mp4 1"], exists=lambda path: path.endswith("4"))
    True
    >>> have_several(["a.mp4 60 3", "b.mp4 52 1"], exists=lambda path: True)
    False
    """
    ends = [line[-_LONGEST_END:] for line in lines]
    with_two = sum(_TWO.search(end) is not None for end in ends)
    if not with_two or (with_two == len(ends) and not any(map(_THREE.search, ends))):
        return False  # nearly all lists; the rest takes longer
    counts = [len(cut_line(line).numbers) for line in lines]
    if not _several(counts):
        return False
    most = [line for line, count in zip(lines, counts, strict=True) if count > 1]
    tried = [cut_line(line, exists) for line in most[:: -(-len(most) // _MOST_TRIED)]]
    plain = [cut for cut in tried if exists(cut.path) or _ends_as_video(cut.path)]
    if 2 * len(plain) <= len(tried):
        return False
    return _several([len(cut_line(line, exists).numbers) for line in lines])


def _several(counts: Iterable[int]) -> bool:
    found = set(counts) - {0}
    return len(found) > 1 or max(found, default=0) > 2


def _ends_as_video(path: str) -> bool:
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def first_is_frames(
    path: Path,
    cuts: Sequence[tuple[int, Cut]],
    count: Callable[[str], int | None],
    num_classes: int | None = None,
) -> bool:
    """Find out whether the first number after each path is the number of frames, not a class.

    Some videos are opened for that.

    Args:
        path: The list, for messages.
        cuts: Its lines and their numbers in the file.
        count: Frames of a video; None if it cannot be opened.
        num_classes: Classes are smaller, or end with it where the first is 1; None: unknown.

    Raises:
        DataError: The videos do not tell.
    """
    known = [(line, cut) for line, cut in cuts if cut.numbers]
    spread = known[:: max(1, len(known) // _MOST_OPENED)]
    opened = (
        (line, cut, frames) for line, cut in spread if (frames := count(cut.path)) is not None
    )
    compared = list(islice(opened, _MOST_OPENED))
    equal = [one for one in compared if abs(one[1].numbers[0] - one[2]) <= 1]
    far = [one for one in compared if not one[2] / 2 <= one[1].numbers[0] <= one[2] * 2]
    is_no_class = num_classes is not None and any(cut.numbers[0] > num_classes for _, cut in known)
    if 2 * len(equal) > len(compared) or (is_no_class and 2 * len(far) < len(compared)):
        return True
    if 2 * len(far) > len(compared) or not compared:
        return False
    line, cut, frames = next(one for one in compared if one not in far)
    raise DataError(
        f"{path}:{line}: {cut.path!r} has {counted(frames, 'frame')}, and the number after it is "
        f"{cut.numbers[0]}: a number of frames, or a class? Put a heading above the list: "
        "'path frames labels', 'path labels', or for parts of folders 'path offset frames label'"
    )


def cell_labels(cell: str, *, commas: bool = False) -> tuple[str, ...]:
    """The classes in a cell of a table: `a|b`, `a;b`, or numbers with blanks or commas between.

    Args:
        cell: The text of the cell.
        commas: A comma stands between names too.

    >>> cell_labels("run|jump"), cell_labels("0, 3"), cell_labels("long jump"), cell_labels("")
    (('run', 'jump'), ('0', '3'), ('long jump',), ())
    """
    numbers = [part for part in _BETWEEN.split(cell.strip()) if part]
    if numbers and all(class_number(part) is not None for part in numbers):
        return tuple(numbers)
    parts = re.split(r"[|;,]" if commas else r"[|;]", cell)
    return tuple(name for part in parts if (name := part.strip()))


def charades_labels(actions: str) -> Iterator[str]:
    """Classes in the column `actions` of Charades: `c092 11.90 21.20;c147 0.00 12.60`.

    Raises:
        ValueError: It is written otherwise.
    """
    for action in filter(None, map(str.strip, actions.split(";"))):
        fields = action.split()
        if len(fields) != 3 or re.fullmatch(r"c\d{3}", fields[0]) is None:
            raise ValueError(action)
        yield fields[0]


def code_of(name: str) -> str:
    """The code before the name of a class, as in the class names of Charades; else empty.

    >>> code_of("c000 Holding some clothes"), code_of("run")
    ('c000', '')
    """
    found = re.match(r"c\d{3}(?=\s)", name)
    return found[0] if found else ""


def bare(cell: str) -> str:
    """A cell without blanks and quotation marks around it.

    >>> bare(" 'my clip.mp4' ")
    'my clip.mp4'
    """
    cell = cell.strip()
    is_quoted = len(cell) > 1 and cell[0] == cell[-1] and cell[0] in "\"'"
    return cell[1:-1].strip() if is_quoted else cell
