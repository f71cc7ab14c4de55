"""Videos and their classes, from lists.

`read_list` reads files that name one video per line; `class_folders.read_folder` a folder with one
folder of videos per class. Both give `ClipEntry`s. Problems are reported together, with file and
line.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from typing import Literal

from videozoo.data.annotations.list_formats import ListKind, Row, has_more_columns, list_rows
from videozoo.data.annotations.list_labels import (
    UNKNOWN,
    label_reader,
    own_class_names,
    with_folder_names,
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
from videozoo.data.text import raise_all
from videozoo.errors import DataError, brief

LIST_SUFFIXES = frozenset((".csv", ".list", ".lst", ".tsv", ".txt"))
"""Endings, in lower case, of files that name videos."""

_LONGEST_PATH = 4096
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
    kind: ListKind = "auto",
    first_label: int = 0,
    count_frames: Callable[[Path], int] | None = None,
) -> list[ClipEntry]:
    """Read a list of videos, of any of `list_formats.FORMATS`.

    LABEL is a number or the name of a class. Lists of paths alone are for prediction; for 2019
    pickles, which hold their label; and for videos that lie in folders with the names of their
    classes, as those of the test lists of UCF101. Of a list with one view per line, VIDEO is the
    number of the video, not its class: see `with_labels`; only where labels are optional.

    A relative path is looked up in the current folder, as in 2019, then in `root`, then beside the
    list; where a list gives no more than names, as the official CSV of Kinetics does, files of that
    name anywhere under `root`, and those that are not there are left out with a warning. Blank
    lines do not count, nor do lines that begin with # and name no video.

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
    if any(line.may_be_absent for line in lines):
        names = class_names or own_class_names(path) or ()
        if num_classes is not None and len(names) > num_classes:
            problems.insert(0, f"{path}: {len(names)} classes, but the model has {num_classes}")
        if not problems and not entries:
            raise DataError(
                f"{path}: none of its {len(lines)} videos is under {root or path.parent}; expected "
                f"files such as {lines[0].problem}; set data.root to their folder"
            )
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
    may_be_absent: bool = False
    """The list is one of which people seldom have all videos."""
    frames: int | None = None
    """How many the list says that the video has."""


def list_lines(
    path: Path,
    *,
    root: Path | None = None,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    labels: Literal["required", "optional"] = "required",
    kind: ListKind = "auto",
    first_label: int = 0,
) -> list[ListLine]:
    """Read a list as `read_list` does, but report on every line instead of raising.

    Raises:
        DataError: The list as a whole cannot be read, or is empty.
    """
    rows = list(list_rows(path, root, kind))
    if any(row.view for row in rows) and (labels == "required" or not _can_be_views(rows)):
        raise DataError(
            f"{path}:{rows[0].number}: three numbers after the path; {_EXPECTED}, one class a "
            f"video (several are not learnt yet), got {brief(rows[0].text)}"
        )
    holds_label = _pickles_of(path, rows, root)
    if labels == "required" and not any(row.search or holds_label(row) for row in rows):
        rows = with_folder_names(path, rows, class_names)
    number_of = label_reader(path, rows, class_names, num_classes, labels, first_label)
    files = _files_by_stem(root or path.parent) if any(row.search for row in rows) else {}
    lines: list[ListLine] = []
    for row in rows:
        if labels == "optional" and row.label == str(UNKNOWN) and not row.is_name:
            row = replace(row, label="")
        is_enough = labels == "optional" or bool(row.search) or holds_label(row)
        parsed = _entry_of(row, is_enough, number_of)
        if isinstance(parsed, str):
            lines.append(ListLine(row.number, None, parsed))
        elif row.search:
            lines.append(_searched(row, parsed, files, root or path.parent))
        else:
            lines.append(_looked_up(path, row, parsed, root))
    return lines


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


# --- lines -----------------------------------------------------------------------------------


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


def _looked_up(path: Path, row: Row, entry: ClipEntry, root: Path | None) -> ListLine:
    """What a line comes to, once it is known whether its video exists."""
    found = locate(entry.path, root, path.parent)
    if found is not None:
        return ListLine(row.number, replace(entry, path=found), frames=row.frames)
    # a path in full, if it can be one
    name = repr(entry.name) if len(entry.name) < _LONGEST_PATH else brief(entry.name)
    problem = not_read(entry.name) or f"no such video {name}"
    if has_more_columns(entry.name):
        problem += f"; {_EXPECTED}, one class a video"
    return ListLine(row.number, entry, problem, is_absent=True, frames=row.frames)


def _searched(
    row: Row, entry: ClipEntry, files: Mapping[str, Sequence[Path]], root: Path
) -> ListLine:
    """What a line comes to whose video is anywhere under the root.

    Of several copies the one in the folder of its class counts, its name written with blanks or
    underscores.
    """
    copies = next((files[name] for name in row.search if name in files), ())
    if not copies:
        return ListLine(row.number, entry, entry.name, is_absent=True, may_be_absent=True)
    wanted = row.label.replace(" ", "_")
    found = min(copies, key=lambda path: path.parent.name.replace(" ", "_") != wanted)
    entry = replace(entry, path=found, name=found.relative_to(root).as_posix())
    return ListLine(row.number, entry, may_be_absent=True)


def _entry_of(row: Row, is_enough: bool, number_of: Callable[[str], int | str]) -> ClipEntry | str:
    """The video of a row; a text is what is wrong with it.

    Args:
        row: Of the list.
        is_enough: A path without a label will do.
        number_of: From a label to its number.
    """
    if row.problem:
        return row.problem
    if row.view is not None:
        video, clip, crop = row.view
        path = Path(row.path)
        return ClipEntry(path, None, row.path, clip_index=clip, crop_index=crop, video=video)
    if not row.path:
        return f"{_EXPECTED}, got {brief(row.text)}"
    if not row.label:
        return ClipEntry(Path(row.path), None, row.path) if is_enough else _no_label(row)
    label = number_of(row.label)
    if isinstance(label, int):
        return ClipEntry(Path(row.path), None if label == UNKNOWN else label, row.path)
    if not label and is_enough:
        return ClipEntry(Path(row.text), None, row.text)  # blanks in its name
    return label or _no_label(row)


def _no_label(row: Row) -> str:
    comma = "; put a blank, not a comma, before the label" if "," in row.text else ""
    return f"expected 'PATH LABEL', got {brief(row.text)}{comma}"


def _can_be_views(rows: Sequence[Row]) -> bool:
    """Whether each video has one number; or 0, all of them, as in 2019 prediction lists."""
    pairs = {(row.path, row.view[0]) for row in rows if row.view is not None}
    videos = {video for _, video in pairs}
    return videos == {0} or len({path for path, _ in pairs}) == len(videos) == len(pairs)


def _warn_absent(path: Path, absent: Sequence[str], total: int) -> None:
    _log.warning(
        "%s: %d of %d videos do not exist and are left out; first: %s",
        path,
        len(absent),
        total,
        absent[0],
    )


def _files_by_stem(root: Path) -> dict[str, list[Path]]:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.root to where the videos lie")
    files: dict[str, list[Path]] = defaultdict(list)
    for path in walk(root):
        if path.suffix.lower() in VIDEO_SUFFIXES or path.suffix.lower() in PICKLE_SUFFIXES:
            files[path.stem].append(path)
    return files


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
