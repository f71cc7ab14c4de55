"""The class of a label in a list: a number, a name, or the name of the video's folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from videozoo.data.annotations.list_formats import Row, has_more_columns, list_rows, may_be_name
from videozoo.data.annotations.several_labels import code_of
from videozoo.data.text import MOST_CLASSES, class_number
from videozoo.errors import DataError, brief, counted, few

_MOST_NAMED = 100_000  # classes; a list of a few lines may name any number
_LONGEST_NUMBER = 20
UNKNOWN = -1
"""Label of a video whose class is not known."""
_log = logging.getLogger(__name__)


def own_class_names(path: Path, *, root: Path | None = None) -> list[str] | None:
    """Class names that a list uses as labels, sorted; None if its labels are numbers.

    Raises:
        DataError: The list cannot be read.
    """
    rows: list[Row] = []
    for row in list_rows(path, root):
        # one number is enough to know
        if not row.is_name and any(class_number(label) is not None for label in row.every_label):
            return None
        rows.append(row)
    names = _named_classes(path, rows, None)
    return None if names is None else list(names)


def always_gives_names(path: Path) -> bool:
    """Whether the format of a list has names of classes as labels, never numbers.

    Raises:
        DataError: The list cannot be read.
    """
    first = next(list_rows(path, None), None)
    return first is not None and first.is_name


def find_first_label(
    path: Path,
    *,
    root: Path | None = None,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    first_number: int | None = None,
    has_several: bool = False,
    count_frames: Callable[[Path], int] | None = None,
) -> tuple[int, str] | None:
    """Find out which number a list gives to the first class: 0, or 1 as UCF101 does.

    Args:
        path: A list.
        root: Folder of the videos.
        num_classes: Number of classes.
        class_names: Their names, by number from 0. If they are more or fewer than `num_classes`,
            they count: whoever asks for both refuses them.
        first_number: What `first_class_number` returns for the file of class names.
        has_several: See `list_rows`.
        count_frames: See `list_rows`.

    Returns:
        The number, and a sentence for the log if it is not 0. None if nothing decides.

    Raises:
        DataError: The list cannot be read.
    """
    rows: list[Row] = []
    numbered: list[tuple[int, str]] = []
    options: Any = {"num_classes": num_classes, "count_frames": count_frames}
    for row in list_rows(path, root, has_several=has_several, **options):
        if row.search and not row.is_name and class_number(row.label) is not None:
            return 0, ""  # Diving48, whose numbers start at 0
        rows.append(row)
        for text in () if row.is_name else row.every_label:
            label = class_number(text)
            if label is not None and label < 1 and text not in (class_names or ()):
                return 0, ""
            numbered += [] if label is None else [(label, row.path)]
    if _named_classes(path, rows, class_names, quietly=True) is not None:
        return 0, ""
    low, high = min(numbered, default=(0,))[0], max(numbered, default=(0,))[0]
    if low < 1:
        return 0, ""
    note = f"{path}: labels run from {low} to {high}, taken to start at 1"
    if num_classes is not None and class_names:
        num_classes = len(class_names)
    if num_classes is not None and high >= num_classes:
        if (low, high) == (1, num_classes):
            return 1, f"{note}: there are {counted(num_classes, 'class')}"
        fits = high == num_classes and first_number == 1
        return (1, f"{note}, as the file of class names does") if fits else (0, "")
    place = {name: number for number, name in enumerate(class_names or ())}
    shifts = {
        label - place[folder]
        for label, video in numbered
        if (folder := _folder_class(video, class_names or ()))
    }
    if shifts in ({0}, {1}):
        first = shifts.pop()
        return first, f"{note}, as the folders are named" if first else ""
    if first_number is not None:
        return first_number, f"{note}, as the file of class names does" if first_number else ""
    return None if low == 1 < high else (0, "")


def label_reader(
    path: Path,
    rows: Sequence[Row],
    class_names: Sequence[str] | None,
    num_classes: int | None,
    labels: Literal["required", "optional"],
    first_label: int,
) -> Callable[[str], int | str]:
    """Make the function that turns a label of a list into a class number from 0.

    Args:
        path: The list.
        rows: Its rows.
        class_names: The class of number i; by default the names in the list, sorted.
        num_classes: Labels must be smaller; None does not check.
        labels: With `optional` and no `class_names`, labels that are names become `UNKNOWN`.
        first_label: The number that the list gives to the first class.

    Returns:
        A function from a label to its number or `UNKNOWN`. For a bad label it returns a text that
        says what is wrong; the text is empty if this cannot be a label at all.
    """
    names = _named_classes(path, rows, class_names)
    if names is not None and class_names is None and labels == "optional":
        return lambda _: UNKNOWN
    if names is not None:
        codes = {code_of(name): number for number, name in enumerate(names)}
        place = {name: number for number, name in enumerate(names)}
        place = place | codes if len(codes) == len(names) and "" not in codes else place
        known = few(map(repr, names))
        return lambda text: place.get(
            text, f"class {text!r} is not among the class names ({known})"
        )
    last = MOST_CLASSES - 1 if num_classes is None else first_label + num_classes - 1

    def number_of(text: str) -> int | str:
        label = class_number(text)
        if label is None:
            return f"label {text!r}, expected a whole number" if _is_float(text) else ""
        if first_label <= label <= last:
            return label - first_label
        expected = (
            f"{first_label} to {last}"
            if num_classes is not None
            else (f"{first_label} or more" if label < first_label else f"less than {MOST_CLASSES}")
        )
        hint = f" (data.first_label is {first_label})" if first_label else ""
        if label == num_classes and not first_label:
            hint = "; labels start at 0, unless data.first_label is 1"
        shown = text if len(text) <= _LONGEST_NUMBER else f"of {len(text)} digits"
        return f"label {shown}, expected {expected}{hint}"

    return number_of


def _named_classes(
    path: Path, rows: Sequence[Row], class_names: Sequence[str] | None, *, quietly: bool = False
) -> Sequence[str] | None:
    """The classes, if the labels of a list are their names; None if they are numbers."""
    labels = {label for row in rows for label in row.every_label}
    if any(row.is_name for row in rows):
        return class_names or sorted(labels)
    if not labels or any(map(_is_float, labels)) or not all(map(may_be_name, labels)):
        return None
    if not any(class_number(label) is not None for label in labels):
        return class_names or sorted(labels)
    if class_names is None or not labels <= set(class_names) or _are_places(class_names):
        return None
    if not quietly:
        _log.warning(
            "%s: its labels are taken as the names of the classes (%s), not as their numbers",
            path,
            few(class_names),
        )
    return class_names


def _are_places(names: Sequence[str]) -> bool:
    """Whether every class is called by its own number."""
    return all(name == str(place) for place, name in enumerate(names))


def _is_float(text: str) -> bool:
    return "." in text and text.replace(".", "", 1).removeprefix("-").isdecimal()


def with_folder_names(
    path: Path, rows: Sequence[Row], class_names: Sequence[str] | None
) -> list[Row]:
    """Rows with labels. If no row has one, each label is taken from a folder named as a class.

    Raises:
        DataError: No row has a label, and a path has no folder named as a class.
    """
    if any(row.label for row in rows):
        return list(rows)
    named = [replace(row, label=_folder_class(row.path, class_names or ())) for row in rows]
    lacking = next((row for row in named if not row.label and not row.problem), None)
    if lacking is None:
        return named
    hint = "if the folders are named as classes, name the classes (data.class_names)"
    if class_names:
        hint = f"no folder in its path is named as one of the {counted(len(class_names), 'class')}"
    elif has_more_columns(lacking.path) or not Path(lacking.path).suffix:
        hint = "one video per line"
    got = f"expected 'PATH LABEL', got {brief(lacking.text)}"
    raise DataError(f"{path}:{lacking.number}: no class: {got}; {hint}")


def names_by_folders(
    path: Path, other: Path, first_label: int, *, root: Path | None = None
) -> list[str] | None:
    """Names of classes for a list without labels, from another list with numbers.

    UCF101's test lists have no labels; the folders are named as the classes, and the training list
    has the numbers.

    Args:
        path: The list without labels.
        other: The list with numbers, of videos in folders named as their classes.
        first_label: The number that it gives to the first class.
        root: Folder of the videos.

    Returns:
        The name of each class; None if the first list has labels, or if folders and numbers of the
        other do not go together one to one.

    Raises:
        DataError: A list cannot be read.
    """
    if any(row.label or row.is_name or row.search for row in list_rows(path, root)):
        return None
    numbers: dict[str, int] = {}
    for row in list_rows(other, root):
        label, folder = class_number(row.label), _parent(row.path)
        if label is None or row.is_name or not folder:
            return None
        if numbers.setdefault(folder, label) != label:
            return None
    named = {label - first_label: folder for folder, label in numbers.items()}
    if len(named) < len(numbers) or min(named, default=-1) < 0 or max(named) >= _MOST_NAMED:
        return None
    return [named.get(number, f"class {number}") for number in range(max(named) + 1)]


def _parent(video: str) -> str:
    return Path(video.replace("\\", "/")).parent.name


def misnamed(
    videos: Sequence[tuple[str, int]], class_names: Sequence[str]
) -> list[tuple[str, str, str]]:
    """Videos in a folder that is named as another class than their label.

    Args:
        videos: Path and class, from 0, of each.
        class_names: The class of number i.

    Returns:
        Path, class of the folder, and class by the label of each; empty unless these are most of
        the videos in folders that are named as classes.
    """
    by_folder = [(path, _folder_class(path, class_names), label) for path, label in videos]
    named = [one for one in by_folder if one[1]]
    other = [
        (path, folder, class_names[label])
        for path, folder, label in named
        if label < len(class_names) and class_names[label] != folder
    ]
    return other if 2 * len(other) > len(named) else []


def _folder_class(video: str, class_names: Sequence[str]) -> str:
    """The class that a folder in the path of a video is named after; empty if none is."""
    known = set(class_names)
    folders = reversed(Path(video.replace("\\", "/")).parts[:-1])
    return next((folder for folder in folders if folder in known), "")
