"""Videos and their classes, from lists.

`read_list` reads files with one video per line. `class_folders.read_folder` reads a folder with one
folder of videos per class. Both return `ClipEntry` objects. All problems of a file are reported
together, each with file and line.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from typing import Any, Literal

from videozoo.data.annotations.frame_lists import OFFSET_ADVICE
from videozoo.data.annotations.list_formats import (
    ListKind,
    Row,
    has_more_columns,
    is_of_data_set,
    list_rows,
)
from videozoo.data.annotations.list_labels import (
    UNKNOWN,
    label_reader,
    own_class_names,
    with_folder_names,
)
from videozoo.data.files import (
    IMAGE_SUFFIXES,
    PICKLE_SUFFIXES,
    VIDEO_SUFFIXES,
    Lookup,
    has_images,
    is_pickle,
    known_suffixes,
    locate,
    not_read,
    videos_under,
    walk,
)
from videozoo.data.text import raise_all
from videozoo.errors import DataError, brief, counted, few

LIST_SUFFIXES = frozenset((".csv", ".list", ".lst", ".tsv", ".txt"))
"""Endings, in lower case, of files that name videos."""

_LONGEST_PATH = 4096
_MOST_OPENED = 5  # videos whose frames are compared with the list
_EXPECTED = "expected 'PATH LABEL' or 'PATH FRAMES LABEL'"
SEVERAL_ADVICE = "several classes per video are for clip models with --set train.loss=sigmoid"
Several = Literal["refused", "as listed", "all"]
"""Of several classes per video. `refused`: an error names the line. `as listed`: entries have
`labels` where the list shows several. `all`: every entry with a class has `labels`, and numbers
after a path may be classes."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClipEntry:
    """One video of a list, or one view of it."""

    path: Path
    label: int | None
    """Class, from 0. None if unknown, or if the file holds it (pickles of the 2019 library)."""
    name: str
    """Name of the video in reports: its path as the list writes it."""
    clip_index: int | None = None
    """Use only this clip of the video; test lists of the 2019 library have one view per line."""
    crop_index: int | None = None
    """Use only this crop, numbered as in `positioned_crop`."""
    start_seconds: float | None = None
    end_seconds: float | None = None
    """Use only this part of the video."""
    frame_span: tuple[int, int] | None = None
    """Use only these frames of the video: the first, from 0, and the one after the last."""
    video: int | None = None
    """Number of the video, if several entries are views of one video."""
    labels: tuple[int, ...] | None = None
    """All classes, in order, where the list may give any number per video; `label` is None then."""

    @property
    def classes(self) -> tuple[int, ...] | None:
        """All classes of the video, one or any number; None if they are unknown."""
        if self.labels is not None:
            return self.labels
        return None if self.label is None else (self.label,)


def read_list(
    path: Path,
    *,
    root: Path | None = None,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    labels: Literal["required", "optional"] = "required",
    missing: Literal["error", "skip"] | Callable[[str], None] = "error",
    kind: ListKind = "auto",
    first_label: int = 0,
    part: Literal["train", "val", "test"] | None = None,
    split: int | None = None,
    count_frames: Callable[[Path], int] | None = None,
    several: Several = "refused",
    may_be_parts: bool = False,
) -> list[ClipEntry]:
    """Read a list of videos in any of `list_formats.FORMATS`.

    LABEL is the number or the name of a class. A list may have paths alone in three cases: for
    prediction; for pickles of the 2019 library, which hold their label; and for videos in folders
    named as their classes, as in the test lists of UCF101. In a list with one view per line, VIDEO
    is the number of the video, not its class (see `with_labels`); labels must then be `optional`.

    A relative path is looked up in the current folder, then in `root`, then beside the list; it may
    lack its ending, and may be a folder with the frames as images. The lists of Kinetics,
    Something-Something and Diving48 give names only: such a name is looked for anywhere under
    `root`, and videos that are not found are left out with a warning. Empty lines do not count, nor
    do lines that start with # and name no video.

    Args:
        path: The list.
        root: Folder of the videos.
        num_classes: Labels must be smaller; None does not check.
        class_names: The class of number i, for labels that are names. By default the names in the
            list, sorted; if labels are optional, the classes are then unknown.
        labels: `optional` accepts lines without a label, and -1, as unknown.
        missing: `skip` leaves out videos that do not exist, and logs how many. A function is told
            each of them; then there may be none left.
        kind: `auto` recognises the format from the file.
        first_label: The number that the list gives to the first class.
        part: Of a list that says to which part each video belongs, take this part, where it has
            several; None takes all. A list with a part for testing and none for validation has one
            for both.
        split: Of a list that is divided in several ways (HMDB51), take this one.
        count_frames: Opens a video and counts its frames, to check a list that says how many there
            are; None does not check.
        several: What to do with several classes per video.
        may_be_parts: Entries may be about some frames of a video (`frame_span`); else such a list
            is refused.

    Returns:
        At least one entry, in the order of the list.

    Raises:
        DataError: The list is missing, empty or malformed; up to ten bad lines are named.
    """
    lines = list_lines(
        path,
        root=root,
        num_classes=num_classes,
        class_names=class_names,
        labels=labels,
        kind=kind,
        first_label=first_label,
        several=several,
        count_frames=count_frames,
        part=part,
        split=split,
    )
    problems = [f"{line.where}: {line.problem}" for line in lines if line.entry is None]
    absent = [line for line in lines if line.entry is not None and line.is_absent]
    if not may_be_parts and any(line.first_frame is not None for line in lines):
        raise DataError(
            f"{path}: names parts of videos by their frames (PATH OFFSET FRAMES LABEL), which clip "
            "models read and nothing else; name whole videos here"
        )
    entries = [line.entry for line in lines if line.entry is not None and not line.is_absent]
    lost: list[str] = []
    if any(line.may_be_absent for line in lines):
        names = class_names or own_class_names(path) or ()
        if num_classes is not None and len(names) > num_classes:
            problems.insert(0, f"{path}: {len(names)} classes, but the model has {num_classes}")
        if not problems and not entries:
            raise DataError(
                f"{path}: none of its {counted(len(lines), 'video')} is under "
                f"{root or path.parent}; expected "
                f"files such as {lines[0].problem}; set data.root to their folder"
            )
    elif absent and missing != "skip":
        lost = [f"{line.where}: {line.problem}" for line in absent]
        places = ["the current folder", *([str(root)] if root else []), str(path.parent)]
        lost[-1] += f" (looked in {', '.join(places)})"
        if missing == "error":
            problems += lost
    raise_all(path, problems)
    if count_frames is not None:
        check_frames(path, lines, count_frames)
        _check_parts(lines, count_frames)
    if lost and callable(missing):
        for line in lost:
            missing(line)
    elif absent:
        _warn_absent(path, [line.problem for line in absent], len(lines))
    if not lines:
        raise DataError(f"{path}: names no video; expected one per line")
    if not entries and not lost:
        raise DataError(f"{path}: none of its videos exist; is `root` right?")
    return entries


@dataclass(frozen=True, slots=True)
class ListLine:
    """One line of a list: the video that it names, or what is wrong with it."""

    number: int
    """In the file, from 1; 0 where the list has no lines."""
    where: str
    """File and line, or the place in the file, for messages."""
    entry: ClipEntry | None
    """None if the line cannot be used. If the video is absent, `path` is as the list writes it."""
    problem: str = ""
    is_absent: bool = False
    may_be_absent: bool = False
    """The list belongs to a data set of which people rarely have all videos."""
    frames: int | None = None
    """Number of frames of the video, as the list says."""
    first_frame: int | None = None
    """Of the part of the video that the line is about, from 0; `frames` are then those of it."""
    is_of_folder: bool = False
    """The list names a folder of images, and a video of that name was found."""


def list_lines(
    path: Path,
    *,
    root: Path | None = None,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    labels: Literal["required", "optional"] = "required",
    kind: ListKind = "auto",
    first_label: int = 0,
    several: Several = "refused",
    count_frames: Callable[[Path], int] | None = None,
    part: Literal["train", "val", "test"] | None = None,
    split: int | None = None,
    most_classes: int | None = None,
) -> list[ListLine]:
    """Read a list as `read_list` does, but return every line, also the bad ones.

    `most_classes` is `num_classes` where labels are not checked: it tells frames from classes.

    Raises:
        DataError: The list as a whole cannot be read, or is empty.
    """
    told = several == "all"
    options: Any = {"num_classes": num_classes or most_classes, "count_frames": count_frames}
    rows = list(list_rows(path, root, kind, has_several=told, **options))
    rows = _chosen(path, rows, part, split)
    if labels == "required" and any(row.view for row in rows):
        raise DataError(
            f"{path}:{rows[0].number}: three numbers after the path; {_EXPECTED}, one class per "
            f"video, got {brief(rows[0].text)}; {SEVERAL_ADVICE}; {OFFSET_ADVICE}"
        )
    if several == "refused":
        _refuse_several(path, rows)
    holds_label = _pickles_of(path, rows, root)
    if labels == "required" and not any(row.search or holds_label(row) for row in rows):
        rows = with_folder_names(path, rows, class_names)
    elif labels == "required" and not any(
        row.label or row.problem or holds_label(row) for row in rows
    ):
        raise DataError(
            f"{path}: names videos and no classes, as the list of a test does; predict on them, or "
            "name a list with classes"
        )
    number_of = label_reader(path, rows, class_names, num_classes, labels, first_label)
    files = _files_by_stem(root or path.parent) if any(row.search for row in rows) else {}
    lookup = Lookup(root, path.parent)
    lines: list[ListLine] = []
    for row in rows:
        if labels == "optional" and row.every_label == (str(UNKNOWN),) and not row.is_name:
            row = replace(row, label="", labels=None)
        elif told and row.label and row.labels is None:
            row = replace(row, labels=(row.label,))
        is_enough = labels == "optional" or bool(row.search) or holds_label(row)
        parsed = _entry_of(row, is_enough, number_of)
        if isinstance(parsed, str):
            lines.append(ListLine(row.number, _where(path, row), None, parsed))
        elif row.search:
            lines.append(_searched(path, row, parsed, files, root or path.parent))
        else:
            lines.append(_looked_up(path, row, parsed, lookup))
    return lines


def list_parts(path: Path) -> set[str]:
    """The parts that a list gives to its videos, if there are several; else empty.

    Raises:
        DataError: The list cannot be read.
    """
    parts = {row.part for row in list_rows(path, None)} - {"", "unused"}
    return set(parts) if len(parts) > 1 else set()


def with_labels(entries: Sequence[ClipEntry], truth: Sequence[ClipEntry]) -> list[ClipEntry]:
    """Give each view in a test list of the 2019 library the class of its video.

    Args:
        entries: Views, with `video` numbers.
        truth: One entry per video; `video` is the index in it.

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
        known = truth[entry.video]
        labelled.append(replace(entry, label=known.label, labels=known.labels))
    return labelled


def videos_of(entries: Sequence[ClipEntry]) -> list[ClipEntry]:
    """One entry per video, in order of appearance; the same as `entries` unless they are views.

    >>> view = ClipEntry(Path("a.mp4"), None, "a.mp4", video=7)
    >>> len(videos_of([view, view]))
    1
    """
    return [views[0] for views in views_by_video(entries)]


def views_by_video(entries: Sequence[ClipEntry]) -> list[list[ClipEntry]]:
    """Entries of each video, in order of appearance; several per video only in lists of views."""
    groups: dict[tuple[object, ...], list[ClipEntry]] = defaultdict(list)
    for place, entry in enumerate(entries):
        # the path too: prediction lists of the 2019 library number every video 0
        key = ("alone", place) if entry.video is None else (entry.video, entry.path)
        groups[key].append(entry)
    return list(groups.values())


def matching_paths(text: str) -> list[Path]:
    """All paths that match a pattern (`clips/*.mp4`); for a plain path, the path itself.

    Raises:
        DataError: Nothing matches, or the text is a network address.
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
    """Whether a path is a list: by its ending, or as the list of a known data set."""
    return (path.suffix.lower() in LIST_SUFFIXES and not path.is_dir()) or is_of_data_set(path)


def find_videos(path: Path) -> list[ClipEntry]:
    """Every video in a folder and its subfolders, without labels; for a file, the file itself.

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


def _where(path: Path, row: Row) -> str:
    return row.where or f"{path}:{row.number}"


def _chosen(
    path: Path,
    rows: Sequence[Row],
    part: Literal["train", "val", "test"] | None,
    split: int | None,
) -> list[Row]:
    """Rows of one part and split; all of a list that is not divided.

    Raises:
        DataError: It has several splits and none is chosen, or it lacks what is chosen.
    """
    splits = sorted({row.split for row in rows if row.split is not None})
    if split is not None and split not in splits:
        there = f"the splits {few(splits)}" if splits else "no splits"
        raise DataError(f"{path}: data.split is {split}, and this list has {there}")
    if part is None:  # every video once
        of_path = {row.path: row for row in reversed(rows) if split in (None, row.split)}
        return list(reversed(of_path.values())) if splits else list(rows)
    if split is None and len(splits) > 1:
        raise DataError(
            f"{path}: divides the videos in {len(splits)} ways (splits {few(splits)}); choose one: "
            f"--set data.split={splits[0]}"
        )
    rows = [row for row in rows if split in (None, row.split)]
    parts = {row.part for row in rows if row.part not in ("", "unused")}
    if len(parts) < 2 and not splits:
        return list(rows)
    wanted: str = part
    if part != "train" and part not in parts:
        wanted = "test" if part == "val" else "val"
    chosen = [row for row in rows if row.part == wanted or (row.problem and not row.part)]
    if not chosen:
        raise DataError(f"{path}: has videos for {' and '.join(sorted(parts))}, none for {part}")
    if not splits:
        _log.warning(
            "%s: taken for %s are the %s of %s that it marks so",
            *(path, part, f"{len(chosen):,}", counted(len(rows), "video")),
        )
    return chosen


def _pickles_of(path: Path, rows: Sequence[Row], root: Path | None) -> Callable[[Row], bool]:
    """A function that says whether a row names a pickle of the 2019 library.

    Such a pickle holds its label. It is recognised by its ending; for names without ending, the
    first files of the list are opened and decide for all.
    """
    bare = [row.path for row in rows if not Path(row.path).suffix][:_MOST_OPENED]
    found = [locate(Path(name), root, path.parent) for name in bare]
    are_pickles = any(is_pickle(each) for each in found if each is not None)

    def is_one(row: Row) -> bool:
        suffix, end = Path(row.path).suffix.lower(), Path(row.text).suffix.lower()
        return bool(PICKLE_SUFFIXES & {suffix, end}) or (are_pickles and not suffix)

    return is_one


def _looked_up(path: Path, row: Row, entry: ClipEntry, lookup: Lookup) -> ListLine:
    """The line of a row, after looking for its video."""
    where = _where(path, row)
    found = lookup.find(entry.name)
    if found is not None:
        is_of_folder = found.suffix != entry.path.suffix and row.frames is not None
        entry = replace(entry, path=found)
        if row.first_frame is not None and row.frames is not None:
            span = row.first_frame, row.first_frame + row.frames
            name = f"{entry.name} {row.first_frame} {row.frames}"
            entry = replace(entry, frame_span=span, name=name)
        return ListLine(
            row.number,
            where,
            entry,
            frames=row.frames,
            first_frame=row.first_frame,
            is_of_folder=is_of_folder,
        )
    # show a path in full if it is short enough to be one
    name = repr(entry.name) if len(entry.name) < _LONGEST_PATH else brief(entry.name)
    problem = not_read(entry.name) or f"no such video {name}"
    if has_more_columns(entry.name):
        problem += f"; {_EXPECTED}, one class per video"
    if alike := lookup.without_ending(entry.name):
        problem += f", but {few((one.name for one in alike), between=' and ')}; write the ending"
    return ListLine(row.number, where, entry, problem, is_absent=True, frames=row.frames)


def _searched(
    path: Path, row: Row, entry: ClipEntry, files: Mapping[str, Sequence[Path]], root: Path
) -> ListLine:
    """The line of a row whose video may lie anywhere under the root.

    If there are several copies, the one in the folder of its class is used. Blanks and underscores
    in the name of that folder mean the same.
    """
    where = _where(path, row)
    copies = next((files[name] for name in row.search if name in files), ())
    if not copies:
        return ListLine(row.number, where, entry, entry.name, is_absent=True, may_be_absent=True)
    wanted = row.label.replace(" ", "_")
    found = min(copies, key=lambda path: path.parent.name.replace(" ", "_") != wanted)
    entry = replace(entry, path=found, name=found.relative_to(root).as_posix())
    return ListLine(row.number, where, entry, may_be_absent=True)


def _entry_of(row: Row, is_enough: bool, number_of: Callable[[str], int | str]) -> ClipEntry | str:
    """The video of a row, or a text that says what is wrong with it.

    Args:
        row: A row of the list.
        is_enough: Whether a path without a label can be used.
        number_of: Turns a label into its number; see `label_reader`.
    """
    if row.problem:
        return row.problem
    if row.view is not None:
        video, clip, crop = row.view
        path = Path(row.path)
        return ClipEntry(path, None, row.path, clip_index=clip, crop_index=crop, video=video)
    if not row.path:
        return f"{_EXPECTED}, got {brief(row.text)}"
    if row.labels is not None:
        found = [number_of(label) for label in row.labels]
        wrong = [each or _no_label(row) for each in found if isinstance(each, str)]
        classes = {each for each in found if isinstance(each, int)} - {UNKNOWN}
        ours = ClipEntry(Path(row.path), None, row.path, labels=tuple(sorted(classes)))
        return wrong[0] if wrong else ours
    if not row.label:
        return ClipEntry(Path(row.path), None, row.path) if is_enough else _no_label(row)
    label = number_of(row.label)
    if isinstance(label, int):
        return ClipEntry(Path(row.path), None if label == UNKNOWN else label, row.path)
    if not label and is_enough:
        return ClipEntry(Path(row.text), None, row.text)  # a path with blanks
    return label or _no_label(row)


def _no_label(row: Row) -> str:
    comma = "; put a blank, not a comma, before the label" if "," in row.text else ""
    return f"expected 'PATH LABEL', got {brief(row.text)}{comma}"


def _refuse_several(path: Path, rows: Sequence[Row]) -> None:
    """Raise DataError if a row has several classes."""
    first = next((row for row in rows if row.labels is not None and len(row.labels) > 1), None)
    if first is not None and first.labels is not None:
        numbers = len(first.labels) + (first.frames is not None)
        hint = f"; {OFFSET_ADVICE}" if numbers == 3 and first.first_frame is None else ""
        raise DataError(
            f"{path}:{first.number}: {counted(len(first.labels), 'class')} "
            f"({few(first.labels)}), and one class per video is expected here, got "
            f"{brief(first.text)}; {SEVERAL_ADVICE}{hint}"
        )


def _warn_absent(path: Path, absent: Sequence[str], total: int) -> None:
    _log.warning(
        "%s: %s of %s do not exist and are left out; first: %s",
        path,
        f"{len(absent):,}",
        counted(total, "video"),
        absent[0],
    )


def _files_by_stem(root: Path) -> dict[str, list[Path]]:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.root to the folder of the videos")
    files: dict[str, list[Path]] = defaultdict(list)
    of_images: dict[Path, None] = {}  # folders of frames
    for path in walk(root):
        suffix = path.suffix.lower()
        if suffix in VIDEO_SUFFIXES or suffix in PICKLE_SUFFIXES:
            files[path.stem].append(path)
        elif suffix in IMAGE_SUFFIXES and path.parent != root:
            of_images[path.parent] = None
    for folder in of_images:
        files[folder.name].append(folder)
    return files


def check_frames(
    path: Path, lines: Sequence[ListLine], count_frames: Callable[[Path], int]
) -> None:
    """Compare the numbers of frames that a list gives with some of its videos.

    The numbers are not used. But if they are far off, the column does not hold numbers of frames;
    it may be a second label.

    Args:
        path: The list.
        lines: Its lines.
        count_frames: Opens a video and counts its frames.

    Raises:
        DataError: The numbers are far off.
    """
    with_numbers = [
        (line, line.entry, line.frames)
        for line in lines
        if line.entry is not None and line.frames is not None and not line.is_absent
        if line.first_frame is None
    ]
    compared: list[tuple[ListLine, ClipEntry, int, int]] = []
    for line, entry, listed in with_numbers[:: max(1, len(with_numbers) // _MOST_OPENED)][
        :_MOST_OPENED
    ]:
        try:
            compared.append((line, entry, listed, count_frames(entry.path)))
        except DataError:  # the run reports it when it reads the video
            continue
    far = [row for row in compared if not row[3] / 2 <= row[2] <= row[3] * 2]
    if 2 * len(far) > len(compared) and not far[0][0].is_of_folder:
        line, entry, listed, count = far[0]
        raise DataError(
            f"{line.where}: {entry.name!r} has {counted(count, 'frame')}, and the number after it "
            f"is {listed}; {_EXPECTED}, one class per video; {SEVERAL_ADVICE}"
        )
    other = [row for row in compared if row[2] != row[3]]
    if other:
        line, _, listed, count = other[0]
        _log.warning(
            "%s: says %d frames, but the video has %d; the numbers in the list are not used",
            line.where,
            listed,
            count,
        )


def _check_parts(lines: Sequence[ListLine], count_frames: Callable[[Path], int]) -> None:
    """Compare parts of videos with the frames that some of the videos have.

    Raises:
        DataError: A part begins after the end of its video.
    """
    parts = [(line, line.entry) for line in lines if line.entry and line.entry.frame_span]
    late: list[tuple[ListLine, int]] = []
    counts: dict[Path, int] = {}
    for line, entry in parts[:: max(1, len(parts) // _MOST_OPENED)][:_MOST_OPENED]:
        assert entry.frame_span is not None
        try:
            count = counts.setdefault(entry.path, count_frames(entry.path))
        except DataError:  # the run reports it when it reads the video
            continue
        if entry.frame_span[0] >= count:
            raise DataError(
                f"{line.where}: begins at frame {entry.frame_span[0]}, from 0, and "
                f"{entry.path} has {counted(count, 'frame')}; expected PATH OFFSET FRAMES LABEL"
            )
        if entry.frame_span[1] > count:
            late.append((line, count))
    if late:
        line, count = late[0]
        assert line.entry is not None
        assert line.entry.frame_span is not None
        _log.warning(
            "%s: goes on to frame %d, but its folder has %d; the part ends there",
            *(line.where, line.entry.frame_span[1], count),
        )
