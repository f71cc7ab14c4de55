"""Which videos there are, and what each shows: lists and the official Kinetics CSV.

`read_list` reads files of one video a line; `class_folders.read_folder` a folder with one folder of
videos a class. Both give `ClipEntry`s. Problems are reported together, with file and line.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from typing import Literal

from videozoo.data.annotations._list_rows import (
    Row,
    column_rows,
    has_more_columns,
    header_of,
    may_be_name,
)
from videozoo.data.files import (
    PICKLE_SUFFIXES,
    VIDEO_SUFFIXES,
    has_images,
    is_pickle,
    known_suffixes,
    locate,
    not_read,
    videos_under,
    walk,
)
from videozoo.data.text import Table, integer, lines_of, raise_all, text_of
from videozoo.errors import DataError, brief, few

LIST_SUFFIXES = frozenset((".csv", ".list", ".lst", ".tsv", ".txt"))
"""Endings, in lower case, of files that name videos."""

_LONGEST_PATH = 4096
_UNKNOWN = -1  # a label
_MOST_OPENED = 5  # videos whose frames are compared with the list
_EXPECTED = "expected 'PATH LABEL' or 'PATH FRAMES LABEL'"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClipEntry:
    """One video of a list, or one view of it."""

    path: Path
    label: int | None
    """Class, from 0. None: unknown, or (2019 pickles) in the file itself."""
    name: str
    """How reports call the video: its path as the list writes it."""
    clip_index: int | None = None
    """Only this clip of the video; 2019 test lists have one line a view."""
    crop_index: int | None = None
    """Only this crop, as `positioned_crop` numbers them."""
    start_seconds: float | None = None
    end_seconds: float | None = None
    """Use only this part of the video."""
    video: int | None = None
    """Number of the video, where several entries are views of one."""


def read_list(
    path: Path,
    *,
    root: Path | None = None,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    labels: Literal["required", "optional"] = "required",
    missing: Literal["error", "skip"] = "error",
    kind: Literal["auto", "list", "csv"] = "auto",
    first_label: int = 0,
    count_frames: Callable[[Path], int] | None = None,
) -> list[ClipEntry]:
    """Read a list of videos. The kind is told from its text.

    * `PATH LABEL` or `PATH FRAMES LABEL` a line, separated by blanks (paths may hold blanks too),
      tabs, commas or semicolons. LABEL is a number or the name of a class. A first line such as
      `path,label` may say which column is which.
    * `PATH` a line: for prediction; for 2019 pickles, which hold their label; and where every
      video lies in a folder with the name of its class, as in the test lists of UCF101.
    * `PATH VIDEO CLIP CROP`: the 2019 test list of Non-local, one line a view. VIDEO is the number
      of the video, not its class: see `with_labels`. Only where labels are optional.
    * The official Kinetics CSV (header `label,youtube_id,time_start,time_end,split`). Videos are
      searched under `root` by name, `ID_000010_000020.mp4`, whatever folders they lie in.
      Videos that are not there are left out, and their number is logged as a warning.

    A relative path is looked up in the current folder, as in 2019, then in `root`, then beside the
    list. Blank lines do not count, nor do lines that begin with # and name no video.

    Args:
        path: The list.
        root: Where videos lie.
        num_classes: Labels must be smaller; None does not check.
        class_names: The class of number i, where classes are given by name. By default those of
            the list itself, sorted; where labels are optional, such classes are then unknown.
        labels: `optional` accepts lines without a label, and -1, as unknown.
        missing: `skip` leaves out videos that do not exist, and logs how many.
        kind: `auto` takes a file with the header of the Kinetics CSV for one.
        first_label: The number that the list gives to the first class.
        count_frames: Opens a video and counts its frames, for a list that says how many there are;
            None compares nothing.

    Returns:
        At least one entry, in the order of the list.

    Raises:
        DataError: The list is missing, empty or malformed; every bad line is named, up to ten.
    """
    lines = list_lines(
        path,
        root=root,
        num_classes=num_classes,
        class_names=class_names,
        labels=labels,
        kind=kind,
        first_label=first_label,
    )
    problems = [f"{path}:{line.number}: {line.problem}" for line in lines if line.entry is None]
    absent = [line for line in lines if line.entry is not None and line.is_absent]
    entries = [line.entry for line in lines if line.entry is not None and not line.is_absent]
    if kind != "list" and is_kinetics_csv(path):
        _check_csv(path, root or path.parent, class_names, num_classes, problems, lines)
    elif absent and missing == "error":
        problems += [f"{path}:{line.number}: {line.problem}" for line in absent]
        places = ["the current folder", *([str(root)] if root else []), str(path.parent)]
        problems[-1] += f" (looked in {', '.join(places)})"
    raise_all(path, problems)
    if count_frames is not None:
        check_frames(path, lines, count_frames)
    if absent:
        _warn_absent(path, [line.problem for line in absent], len(lines))
    if not lines:
        raise DataError(f"{path}: names no video; expected one a line")
    if not entries:
        raise DataError(f"{path}: none of its videos exist; is `root` right?")
    return entries


@dataclass(frozen=True, slots=True)
class ListLine:
    """One line of a list: the video it names, or what is wrong with it."""

    number: int
    """In the file, from 1."""
    entry: ClipEntry | None
    """None: the line cannot be used. Where its video is absent, `path` is as the list writes it."""
    problem: str = ""
    is_absent: bool = False
    frames: int | None = None
    """How many the list says that the video has."""


def list_lines(
    path: Path,
    *,
    root: Path | None = None,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    labels: Literal["required", "optional"] = "required",
    kind: Literal["auto", "list", "csv"] = "auto",
    first_label: int = 0,
) -> list[ListLine]:
    """Read a list as `read_list` does, but report on every line instead of raising.

    Raises:
        DataError: The list as a whole cannot be read, or is empty.
    """
    lines = lines_of(path)
    head = lines[0][1]
    if kind == "csv" and _csv_delimiter(head) is None and header_of(head) is None:
        raise DataError(
            f"{path}:{lines[0][0]}: expected the header 'label,youtube_id,time_start,time_end' or "
            f"'path,label', got {brief(head)}"
        )
    if kind != "list" and _csv_delimiter(head) is not None:
        return list(_csv_lines(path, root or path.parent, class_names, labels))
    views = _views_in(path, lines, labels)
    if views is not None:
        return [_line_of(path, number, view, root) for number, view in views]
    return list(_plain_lines(path, lines, root, class_names, num_classes, labels, first_label))


def with_labels(entries: Sequence[ClipEntry], truth: Sequence[ClipEntry]) -> list[ClipEntry]:
    """Give each view of a 2019 test list the class of its video.

    Args:
        entries: With `video` numbers.
        truth: One entry a video; `video` is the place in it.

    Raises:
        DataError: An entry has a video number that `truth` does not have.
    """
    labelled: list[ClipEntry] = []
    for entry in entries:
        if entry.video is None or not 0 <= entry.video < len(truth):
            raise DataError(
                f"{entry.name}: video number {entry.video}, expected 0 to {len(truth) - 1}, "
                "a place in the list with the classes"
            )
        labelled.append(replace(entry, label=truth[entry.video].label))
    return labelled


def videos_of(entries: Sequence[ClipEntry]) -> list[ClipEntry]:
    """One entry a video, in order of appearance: `entries` itself but for lists of views.

    >>> view = ClipEntry(Path("a.mp4"), None, "a.mp4", video=7)
    >>> len(videos_of([view, view]))
    1
    """
    return [views[0] for views in views_by_video(entries)]


def views_by_video(entries: Sequence[ClipEntry]) -> list[list[ClipEntry]]:
    """Entries of each video, in order of appearance; one each but for lists of views."""
    groups: dict[tuple[object, ...], list[ClipEntry]] = defaultdict(list)
    for place, entry in enumerate(entries):
        # the path too: 2019 prediction lists number every video 0
        key = ("alone", place) if entry.video is None else (entry.video, entry.path)
        groups[key].append(entry)
    return list(groups.values())


def matching_paths(text: str) -> list[Path]:
    """The path that a text is, or all that match it where it is a pattern (`clips/*.mp4`).

    Raises:
        DataError: Nothing matches, or it is a network address.
    """
    refusal = not_read(text)
    if refusal and not Path(text).exists():
        raise DataError(refusal)
    if Path(text).exists() or not any(character in text for character in "*?["):
        return [Path(text)]
    matches = sorted(glob(text, recursive=True))  # noqa: PTH207 - any pattern, as a shell
    if not matches:
        raise DataError(f"{text}: nothing matches this pattern")
    return [Path(match) for match in matches]


def is_list_name(path: Path) -> bool:
    """Whether a path ends as those of lists do, and is no folder."""
    return path.suffix.lower() in LIST_SUFFIXES and not path.is_dir()


def find_videos(path: Path) -> list[ClipEntry]:
    """Every video in a folder and its subfolders, without labels; a video file is itself one.

    Raises:
        DataError: There is nothing at `path`, or no video in it.
    """
    if path.is_symlink() and not path.exists():  # one video that cannot be read, among others
        return [ClipEntry(path, None, str(path))]
    if not path.exists():
        raise DataError(not_read(path) or f"{path}: no such file or folder")
    if path.is_file():
        return [ClipEntry(path, None, str(path))]
    videos = videos_under(path) or ([path] if has_images(path) else [])
    if not videos:
        raise DataError(f"{path}: no videos in this folder (known: {known_suffixes()})")
    return [ClipEntry(video, None, str(video)) for video in videos]


# --- lists -----------------------------------------------------------------------------------


def _plain_lines(
    path: Path,
    lines: Sequence[tuple[int, str]],
    root: Path | None,
    class_names: Sequence[str] | None,
    num_classes: int | None,
    labels: Literal["required", "optional"],
    first_label: int,
) -> Iterator[ListLine]:
    rows = list(_rows_of(path, lines, root))
    holds_label = _pickles_of(path, rows, root)
    if labels == "required" and not any(map(holds_label, rows)):
        rows = _with_folder_names(path, rows, class_names)
    number_of = _label_reader(path, rows, class_names, num_classes, labels, first_label)
    for row in rows:
        if labels == "optional" and row.label == str(_UNKNOWN):
            row = replace(row, label="")
        is_enough = labels == "optional" or holds_label(row)
        parsed = _entry_of(row, is_enough, number_of)
        yield _line_of(path, row.number, parsed, root, row.frames)


def _rows_of(path: Path, lines: Sequence[tuple[int, str]], root: Path | None) -> Iterator[Row]:
    return column_rows(lines, lambda name: locate(Path(name), root, path.parent) is not None)


def _pickles_of(path: Path, rows: Sequence[Row], root: Path | None) -> Callable[[Row], bool]:
    """Which rows name a 2019 pickle, which holds its label itself: by the endings.

    For names without ending, the first files of the list tell of all.
    """
    bare = [row.path for row in rows if not Path(row.path).suffix][:_MOST_OPENED]
    found = [locate(Path(name), root, path.parent) for name in bare]
    are_pickles = any(is_pickle(each) for each in found if each is not None)

    def is_one(row: Row) -> bool:
        suffix, end = Path(row.path).suffix.lower(), Path(row.text).suffix.lower()
        return bool(PICKLE_SUFFIXES & {suffix, end}) or (are_pickles and not suffix)

    return is_one


def _line_of(
    path: Path, number: int, parsed: ClipEntry | str, root: Path | None, frames: int | None = None
) -> ListLine:
    """What a line comes to, once it is known whether its video exists."""
    if isinstance(parsed, str):
        return ListLine(number, None, parsed)
    found = locate(parsed.path, root, path.parent)
    if found is not None:
        return ListLine(number, replace(parsed, path=found), frames=frames)
    # a path in full, if it can be one
    name = repr(parsed.name) if len(parsed.name) < _LONGEST_PATH else brief(parsed.name)
    problem = not_read(parsed.name) or f"no such video {name}"
    if has_more_columns(parsed.name):
        problem += f"; {_EXPECTED}, one class a video"
    return ListLine(number, parsed, problem, is_absent=True, frames=frames)


def _entry_of(row: Row, is_enough: bool, number_of: Callable[[str], int | str]) -> ClipEntry | str:
    """The video of a row; a text is what is wrong with it.

    Args:
        row: Of the list.
        is_enough: A path without a label will do.
        number_of: From a label to its number.
    """
    if not row.path:
        return f"{_EXPECTED}, got {brief(row.text)}"
    if not row.label:
        return ClipEntry(Path(row.path), None, row.path) if is_enough else _no_label(row)
    label = number_of(row.label)
    if isinstance(label, int):
        return ClipEntry(Path(row.path), None if label == _UNKNOWN else label, row.path)
    if not label and is_enough:
        return ClipEntry(Path(row.text), None, row.text)  # blanks in its name
    return label or _no_label(row)


def _no_label(row: Row) -> str:
    comma = "; put a blank, not a comma, before the label" if "," in row.text else ""
    return f"expected 'PATH LABEL', got {brief(row.text)}{comma}"


def _label_reader(
    path: Path,
    rows: Sequence[Row],
    class_names: Sequence[str] | None,
    num_classes: int | None,
    labels: Literal["required", "optional"],
    first_label: int,
) -> Callable[[str], int | str]:
    """How the labels of a list become numbers from 0; a text is what is wrong with one.

    An empty text: it is no label at all.
    """
    names = _named_classes(path, rows, class_names)
    if names is not None and class_names is None and labels == "optional":
        return lambda _: _UNKNOWN
    if names is not None:
        place = {name: number for number, name in enumerate(names)}
        known = few(map(repr, names))
        return lambda text: place.get(
            text, f"class {text!r} is not among the class names ({known})"
        )
    last = None if num_classes is None else first_label + num_classes - 1

    def number_of(text: str) -> int | str:
        label = integer(text)
        if label is None:
            return f"label {text!r}, expected a whole number" if _is_float(text) else ""
        if label >= first_label and (last is None or label <= last):
            return label - first_label
        expected = f"{first_label} or more" if last is None else f"{first_label} to {last}"
        hint = f" (data.first_label is {first_label})" if first_label else ""
        if label == num_classes and not first_label:
            hint = "; labels start at 0, where data.first_label is not 1"
        return f"label {label}, expected {expected}{hint}"

    return number_of


def _named_classes(
    path: Path, rows: Sequence[Row], class_names: Sequence[str] | None, *, quietly: bool = False
) -> Sequence[str] | None:
    """The classes, where the labels of a list are their names and not their numbers."""
    labels = {row.label for row in rows if row.label}
    if not labels or any(map(_is_float, labels)) or not all(map(may_be_name, labels)):
        return None
    if not any(integer(label) is not None for label in labels):
        return class_names or sorted(labels)
    if class_names is None or not labels <= set(class_names) or _are_places(class_names):
        return None
    if not quietly:
        _log.warning(
            "%s: its labels are taken for the names of the classes (%s), not their numbers",
            path,
            few(class_names),
        )
    return class_names


def _are_places(names: Sequence[str]) -> bool:
    """Whether every class is called by its own number."""
    return all(name == str(place) for place, name in enumerate(names))


def _is_float(text: str) -> bool:
    return "." in text and text.replace(".", "", 1).removeprefix("-").isdecimal()


def _with_folder_names(
    path: Path, rows: Sequence[Row], class_names: Sequence[str] | None
) -> list[Row]:
    """Rows with labels: where there are none, folders named as classes tell them.

    Raises:
        DataError: No row has a label, and the folders do not tell.
    """
    if any(row.label for row in rows):
        return list(rows)
    named = [replace(row, label=_folder_class(row.path, class_names or ())) for row in rows]
    lacking = next((row for row in named if not row.label), None)
    if lacking is None:
        return named
    hint = "name the classes (data.class_names) where folders are named as classes"
    if class_names:
        hint = f"no folder of it is called as one of the {len(class_names)} classes"
    elif has_more_columns(lacking.path) or not Path(lacking.path).suffix:
        hint = "one video a line"
    got = f"expected 'PATH LABEL', got {brief(lacking.text)}"
    raise DataError(f"{path}:{lacking.number}: no class: {got}; {hint}")


def _folder_class(video: str, class_names: Sequence[str]) -> str:
    """The class that a folder of a video's path is named as."""
    known = set(class_names)
    folders = reversed(Path(video.replace("\\", "/")).parts[:-1])
    return next((folder for folder in folders if folder in known), "")


def _views_in(
    path: Path, lines: Sequence[tuple[int, str]], labels: Literal["required", "optional"]
) -> list[tuple[int, ClipEntry | str]] | None:
    """The views that a 2019 test list names, or None where it is another list.

    Raises:
        DataError: A list with classes has three numbers after each path.
    """
    fields = [(number, _view_fields(line)) for number, line in lines]
    if any(each is None for _, each in fields):
        return None
    views = [(number, *each) for number, each in fields if each is not None]
    if labels == "required" or not _can_be_views(views):
        number, line = lines[0]
        raise DataError(
            f"{path}:{number}: three numbers after the path; {_EXPECTED}, one class a video "
            f"(several are not learnt yet), got {brief(line)}"
        )
    return [(number, _view_of(name, *numbers)) for number, name, *numbers in views]


def _can_be_views(views: Sequence[tuple[int, str, int, int, int]]) -> bool:
    """Whether each video has one number; or 0, all of them, as in 2019 prediction lists."""
    pairs = {(name, video) for _, name, video, _, _ in views}
    videos = {video for _, video in pairs}
    return videos == {0} or len({name for name, _ in pairs}) == len(videos) == len(pairs)


def _view_fields(line: str) -> tuple[str, int, int, int] | None:
    fields = line.split()
    if len(fields) != 4:
        return None
    video, clip, crop = (integer(text) for text in fields[1:])
    if video is None or clip is None or crop is None:
        return None
    return fields[0], video, clip, crop


def _view_of(name: str, video: int, clip: int, crop: int) -> ClipEntry | str:
    if min(video, clip) < 0 or not 0 <= crop <= 5:
        got = f"{name} {video} {clip} {crop}"
        return f"expected 'PATH VIDEO CLIP CROP' with a crop from 0 to 5, got {brief(got)}"
    return ClipEntry(Path(name), None, name, clip_index=clip, crop_index=crop, video=video)


def _warn_absent(path: Path, absent: Sequence[str], total: int) -> None:
    _log.warning(
        "%s: %d of %d videos do not exist and are left out; first: %s",
        path,
        len(absent),
        total,
        absent[0],
    )


# --- the official CSV ------------------------------------------------------------------------


def _csv_delimiter(header: str) -> str | None:
    """What parts the columns of the Kinetics CSV; None where this is not its header."""
    wanted = {"youtube_id", "time_start", "time_end"}
    for delimiter in (",", ";", "\t"):
        if wanted <= {column.strip().strip('"') for column in header.split(delimiter)}:
            return delimiter
    return None


def _csv_rows(path: Path) -> Table:
    delimiter = _csv_delimiter(lines_of(path)[0][1]) or ","
    return Table(path, text_of(path), delimiter=delimiter)


def _csv_lines(
    path: Path,
    root: Path,
    class_names: Sequence[str] | None,
    labels: Literal["required", "optional"],
) -> Iterable[ListLine]:
    names = list(class_names or csv_class_names(path))
    is_known = class_names is not None or labels == "required"
    number = {name: label for label, name in enumerate(names)}
    files = _files_by_stem(root)
    for line, row in enumerate(_csv_rows(path), start=2):
        label_name = (row.get("label") or "").strip()
        try:
            stem = _kinetics_stem(row)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            got = ",".join(str(value) for value in row.values() if value is not None)
            expected = "expected 'label,youtube_id,time_start,time_end,...'"
            yield ListLine(line, None, f"{expected}, got {brief(got)}")
            continue
        if label_name and label_name not in number:
            problem = f"class {label_name!r} is not among the class names"
            yield ListLine(line, None, problem)
            continue
        label = number[label_name] if label_name and is_known else None
        found = _best_match(files.get(stem) or files.get(row["youtube_id"].strip()), label_name)
        if found is None:
            name = f"{stem}.mp4"
            yield ListLine(line, ClipEntry(Path(name), label, name), name, is_absent=True)
        else:
            yield ListLine(line, ClipEntry(found, label, found.relative_to(root).as_posix()))


def _check_csv(
    path: Path,
    root: Path,
    class_names: Sequence[str] | None,
    num_classes: int | None,
    problems: list[str],
    lines: Sequence[ListLine],
) -> None:
    """Raise for what is wrong with the CSV as a whole."""
    names = class_names or csv_class_names(path)
    if num_classes is not None and len(names) > num_classes:
        problems.insert(0, f"{path}: {len(names)} classes, but the model has {num_classes}")
    raise_all(path, problems)
    if all(line.is_absent for line in lines):
        first = lines[0].problem if lines else "ID_000010_000020.mp4"
        raise DataError(
            f"{path}: none of its {len(lines)} videos is under {root}; expected files such as "
            f"{first}; set data.root to their folder"
        )


def is_kinetics_csv(path: Path) -> bool:
    """Whether a file starts with the header of the official Kinetics CSV."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            first = next((line for line in file if line.strip()), "")
    except OSError:
        first = ""
    return _csv_delimiter(first or lines_of(path)[0][1]) is not None  # which says what is wrong


def csv_class_names(path: Path) -> list[str]:
    """Classes of an official Kinetics CSV, sorted as the 2019 tools did."""
    return sorted({name for row in _csv_rows(path) if (name := (row.get("label") or "").strip())})


def own_class_names(path: Path, *, root: Path | None = None) -> list[str] | None:
    """Classes of a list or CSV that gives them by name, sorted; None where it gives numbers.

    Raises:
        DataError: It cannot be read.
    """
    if is_kinetics_csv(path):
        return csv_class_names(path)
    rows: list[Row] = []
    for row in _rows_of(path, lines_of(path), root):
        if integer(row.label) is not None:  # the rest need not be looked at
            return None
        rows.append(row)
    names = _named_classes(path, rows, None)
    return None if names is None else list(names)


def find_first_label(
    path: Path,
    *,
    root: Path | None = None,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    first_number: int | None = None,
) -> tuple[int, str] | None:
    """Find out which number a list gives to the first class: 0, or 1 as UCF101 does.

    Args:
        path: A list.
        root: Where videos lie.
        num_classes: How many classes there are.
        class_names: What they are called.
        first_number: What `first_class_number` says of the file with the names.

    Returns:
        The number, and what to say of it where it is not 0; None: nothing tells.

    Raises:
        DataError: The list cannot be read.
    """
    rows: list[Row] = []
    told: list[tuple[int, str]] = []
    for row in _rows_of(path, lines_of(path), root):
        label = integer(row.label)
        if label is not None and label < 1 and row.label not in (class_names or ()):
            return 0, ""
        rows.append(row)
        told += [] if label is None else [(label, row.path)]
    if _named_classes(path, rows, class_names, quietly=True) is not None:
        return 0, ""
    low, high = min(told, default=(0,))[0], max(told, default=(0,))[0]
    if low < 1:
        return 0, ""
    said = f"{path}: labels run from {low} to {high}, taken to start at 1"
    if num_classes is not None and high >= num_classes:
        is_one = (low, high) == (1, num_classes)
        return (1, f"{said}: there are {num_classes} classes") if is_one else (0, "")
    place = {name: number for number, name in enumerate(class_names or ())}
    shifts = {
        label - place[folder]
        for label, video in told
        if (folder := _folder_class(video, class_names or ()))
    }
    if shifts in ({0}, {1}):
        first = shifts.pop()
        return first, f"{said}, as the folders are named" if first else ""
    if first_number is not None:
        return first_number, f"{said}, as the file of class names does" if first_number else ""
    return None if low == 1 < high else (0, "")


def _kinetics_stem(row: Mapping[str, str]) -> str:
    start, end = (int(float(row[key])) for key in ("time_start", "time_end"))
    return f"{row['youtube_id'].strip()}_{start:06d}_{end:06d}"


def _files_by_stem(root: Path) -> dict[str, list[Path]]:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.root to where the videos lie")
    files: dict[str, list[Path]] = defaultdict(list)
    for path in walk(root):
        if path.suffix.lower() in VIDEO_SUFFIXES or path.suffix.lower() in PICKLE_SUFFIXES:
            files[path.stem].append(path)
    return files


def _best_match(paths: Sequence[Path] | None, class_name: str) -> Path | None:
    """Prefer the copy in the folder of the class, its name written with blanks or underscores."""
    if not paths:
        return None
    wanted = class_name.replace(" ", "_")
    return min(paths, key=lambda path: path.parent.name.replace(" ", "_") != wanted)


def check_frames(
    path: Path, lines: Sequence[ListLine], count_frames: Callable[[Path], int]
) -> None:
    """Compare the numbers of frames in a list with some of its videos.

    They are not used; but a number that is far off is no number of frames, and the column is
    perhaps another label.

    Args:
        path: The list.
        lines: Of it.
        count_frames: Opens a video and counts.

    Raises:
        DataError: They are far off.
    """
    told = [
        (f"{path}:{line.number}", line.entry, line.frames)
        for line in lines
        if line.entry is not None and line.frames is not None and not line.is_absent
    ]
    compared: list[tuple[str, ClipEntry, int, int]] = []
    for where, entry, said in told[:: max(1, len(told) // _MOST_OPENED)][:_MOST_OPENED]:
        try:
            compared.append((where, entry, said, count_frames(entry.path)))
        except DataError:  # it is named when it is to be read
            continue
    far = [row for row in compared if not row[3] / 2 <= row[2] <= row[3] * 2]
    if 2 * len(far) > len(compared):
        where, entry, said, count = far[0]
        raise DataError(
            f"{where}: {entry.name!r} has {count} frames, and the number after it is {said}; "
            f"{_EXPECTED}, one class a video"
        )
    other = [row for row in compared if row[2] != row[3]]
    if other:
        where, _, said, count = other[0]
        _log.warning(
            "%s: says %d frames, the video has %d; what the list says of frames is not used",
            where,
            said,
            count,
        )
