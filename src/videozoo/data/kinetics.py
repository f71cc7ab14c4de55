"""Which videos there are, and what each shows: lists, the official Kinetics CSV, class folders.

`read_list` reads files of one video a line, `read_folder` a folder with one folder of videos a
class; both give `ClipEntry`s. Problems are collected and reported together, with file and line.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from videozoo.errors import DataError
from videozoo.safe_json import parse_json

Part = Literal["train", "val", "test", "all"]

_VIDEOS = "3gp asf avi flv gif m2ts m4v mkv mov mp4 mpeg mpg mts ogv ts vob webm wmv y4m"
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _VIDEOS.split())
"""Endings, in lower case, that make a file in a class folder a video."""

IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".webp"))
"""A folder of such files and no video is one video of a class folder."""

_PART_FOLDERS: Mapping[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_MOST_LINES = 10  # problems shown in one error
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
) -> list[ClipEntry]:
    """Read a list of videos. The kind is told from its text.

    * `PATH LABEL` a line, separated by a blank (paths may hold blanks too), as in 2019.
    * `PATH` a line: for prediction, or 2019 pickles, which hold their label.
    * `PATH VIDEO CLIP CROP`: the 2019 test list of Non-local, one line a view. VIDEO is the number
      of the video, not its class: see `with_labels`.
    * The official Kinetics CSV (header `label,youtube_id,time_start,time_end,split`). Videos are
      searched under `root` by name, `ID_000010_000020.mp4`, whatever folders they lie in.
      Videos that are not there are left out, and their number is logged as a warning.

    A relative path is looked up in the current folder, as in 2019, then in `root`, then beside the
    list. Blank lines do not count.

    Args:
        path: The list.
        root: Where videos lie.
        num_classes: Labels must be smaller; None does not check.
        class_names: For the CSV: the class of number i. By default its own classes, sorted.
        labels: `optional` accepts lines without a label, and -1, as unknown.
        missing: `skip` leaves out videos that do not exist, and logs how many.
        kind: `auto` takes a file with the header of the Kinetics CSV for one.

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
    if absent:
        _warn_absent(path, [line.problem for line in absent], len(lines))
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


def list_lines(
    path: Path,
    *,
    root: Path | None = None,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    labels: Literal["required", "optional"] = "required",
    kind: Literal["auto", "list", "csv"] = "auto",
) -> list[ListLine]:
    """Read a list as `read_list` does, but report on every line instead of raising.

    Raises:
        DataError: The list as a whole cannot be read, or is empty.
    """
    lines = lines_of(path)
    if kind == "csv" and not _is_csv(lines[0][1]):
        raise DataError(
            f"{path}:{lines[0][0]}: expected the header 'label,youtube_id,time_start,time_end', "
            f"got {lines[0][1]!r}"
        )
    if kind != "list" and _is_csv(lines[0][1]):
        return list(_csv_lines(path, root or path.parent, class_names))
    return list(_plain_lines(path, lines, root, num_classes, labels))


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


def read_folder(
    folder: Path,
    *,
    part: Part = "all",
    val_share: float = 0.2,
    split_seed: int = 0,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
) -> list[ClipEntry]:
    """Read a folder that holds one folder of videos a class; deeper folders count to the class.

    With subfolders `train`, `val` (or `valid`, `validation`), `test` and nothing else, these are
    the parts. Without, `val_share` of each class are `val`, drawn by each file's own name, so
    that adding videos moves no other from one part to the other. (Only where that leaves a class
    with no video in a part, one is moved there.) `test` is `val` where there is no such folder.

    Args:
        folder: FOLDER/CLASS/VIDEO, or FOLDER/PART/CLASS/VIDEO.
        part: `all` is everything, over all parts.
        val_share: Share of validation, 0 to 1, where no folder says it.
        split_seed: Another number draws another share.
        class_names: The class of number i; by default the sorted names of the folders.
        num_classes: There may be no more classes than that; None does not check.

    Returns:
        Entries sorted by class, then path.

    Raises:
        DataError: There is no such folder, it has no class folders, or a class has no videos.
    """
    parts = _part_folders(folder)
    if not parts:
        by_class = _videos_by_class(folder)
        chosen = {
            name: _drawn(folder / name, videos, name, part, val_share, split_seed)
            for name, videos in by_class.items()
        }
        found = [(folder, chosen)]
    elif part == "all":
        found = [(path, _videos_by_class(path)) for paths in parts.values() for path in paths]
    else:
        found = _of_part(parts, part, val_share, split_seed)
    names = list(class_names or folder_class_names(folder))
    _check_classes(folder, found, names, num_classes)
    number = {name: label for label, name in enumerate(names)}
    return [
        ClipEntry(path, number[name], path.relative_to(base).as_posix())
        for base, classes in found
        for name, paths in sorted(classes.items(), key=lambda item: number[item[0]])
        for path in paths
    ]


def has_parts(folder: Path) -> bool:
    """Whether a folder is divided into `train`, `val` and `test` itself."""
    return folder.is_dir() and bool(_part_folders(folder))


def part_of_name(name: str) -> Part | None:
    """The part that a folder of this name holds.

    >>> part_of_name("Validation"), part_of_name("cats")
    ('val', None)
    """
    return _PART_FOLDERS.get(name.lower())


def folder_class_names(folder: Path) -> list[str]:
    """Classes of a folder that `read_folder` reads: its sorted folder names.

    Raises:
        DataError: There is no such folder, or it has no class folders.
    """
    parts = _part_folders(folder)
    # those of the training part, so that a class with nothing to learn from is an error
    bases = parts.get("train") or [path for paths in parts.values() for path in paths] or [folder]
    return sorted({path.name for base in bases for path in _class_folders(base)})


def find_videos(path: Path) -> list[ClipEntry]:
    """Every video in a folder and its subfolders, without labels; a video file is itself one.

    Raises:
        DataError: There is nothing at `path`, or no video in it.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_file():
        return [ClipEntry(path, None, str(path))]
    videos = _videos_under(path) or ([path] if _has_images(path) else [])
    if not videos:
        raise DataError(f"{path}: no videos in this folder (known: {_known_suffixes()})")
    return [ClipEntry(video, None, str(video)) for video in videos]


def read_class_names(path: Path) -> list[str]:
    """Read class names in order of their numbers.

    Knows a JSON list of names; a JSON object from number to name or from name to number; text with
    one name a line; text with `NAME NUMBER` a line, as the 2019 tool `generate_label.py` wrote.

    Raises:
        DataError: The file is missing or empty, or the numbers are not 0, 1, 2, ... without gaps.
    """
    text = text_of(path)
    names: list[str] | None
    if not text.strip():
        names = None
    elif path.suffix.lower() == ".json" or text.lstrip()[:1] in ("[", "{"):
        names = _names_from_json(path, text)
    else:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        pairs = [line.rsplit(None, 1) for line in lines]
        numbered = all(len(pair) == 2 and integer(pair[1]) is not None for pair in pairs)
        names = _in_order((int(pair[1]), pair[0]) for pair in pairs) if numbered else None
        names = lines if names is None else names
    if not names:
        raise DataError(f"{path}: no class names in this file")
    return names


def _names_from_json(path: Path, text: str) -> list[str]:
    try:
        content: Any = parse_json(text)
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from None
    if isinstance(content, list):
        return [str(name) for name in cast(list[Any], content)]
    names: list[str] | None = None
    if isinstance(content, dict):
        items = [(str(k), v) for k, v in cast(dict[Any, Any], content).items()]
        if all(integer(str(value)) is not None for _, value in items):
            names = _in_order((int(value), key.strip('"')) for key, value in items)
        elif all(integer(key) is not None for key, _ in items):
            names = _in_order((int(key), str(value)) for key, value in items)
    if names is None:
        raise DataError(
            f"{path}: expected a JSON list of names, or an object from number to name "
            "or from name to number, the numbers 0, 1, 2, ... without gaps"
        )
    return names


def _in_order(pairs: Iterable[tuple[int, str]]) -> list[str] | None:
    ordered = sorted(pairs)
    if [number for number, _ in ordered] != list(range(len(ordered))):
        return None
    return [name for _, name in ordered]


# --- lists -----------------------------------------------------------------------------------


def text_of(path: Path) -> str:
    """The text of a list; a DataError where it cannot be read."""
    try:
        # surrogates carry file names that are not UTF-8
        return path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, expected a file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def lines_of(path: Path) -> list[tuple[int, str]]:
    """Lines that are not empty, with their numbers from 1."""
    lines = [(n, line.strip()) for n, line in enumerate(text_of(path).split("\n"), start=1)]
    lines = [(n, line) for n, line in lines if line]
    if not lines:
        raise DataError(f"{path}: empty; expected one video a line")
    if any("\0" in line for _, line in lines[:3]):
        raise DataError(f"{path}: not a text file; expected a list with one video a line")
    return lines


def _plain_lines(
    path: Path,
    lines: Sequence[tuple[int, str]],
    root: Path | None,
    num_classes: int | None,
    labels: Literal["required", "optional"],
) -> Iterable[ListLine]:
    are_views = all(_view_fields(line) is not None for _, line in lines)
    for number, line in lines:
        parsed = _view_of(line) if are_views else _entry_of(line, labels, num_classes)
        if isinstance(parsed, str):
            yield ListLine(number, None, parsed)
            continue
        found = locate(parsed.path, root, path.parent)
        if found is None:
            yield ListLine(number, parsed, f"no such video {parsed.name!r}", is_absent=True)
        else:
            yield ListLine(number, replace(parsed, path=found))


def _entry_of(
    line: str, labels: Literal["required", "optional"], num_classes: int | None
) -> ClipEntry | str:
    """Parse `PATH LABEL` or `PATH`; a text is what is wrong with it."""
    head, _, tail = line.rpartition(" ") if " " in line else line.rpartition("\t")
    head, label = head.strip(), integer(tail)
    if not head or label is None:
        if labels == "optional" or line.lower().endswith(".pkl"):
            return ClipEntry(Path(line), None, line)
        comma = "; put a blank, not a comma, before the label" if "," in line else ""
        return f"expected 'PATH LABEL', got {line!r}{comma}"
    if labels == "optional" and label == -1:
        return ClipEntry(Path(head), None, head)
    if label < 0 or (num_classes is not None and label >= num_classes):
        expected = f"0 to {num_classes - 1}" if num_classes is not None else "0 or more"
        hint = "; labels start at 0" if label == num_classes else ""
        return f"label {label}, expected {expected}{hint}"
    return ClipEntry(Path(head), label, head)


def _view_fields(line: str) -> tuple[str, int, int, int] | None:
    fields = line.split()
    if len(fields) != 4:
        return None
    video, clip, crop = (integer(text) for text in fields[1:])
    if video is None or clip is None or crop is None:
        return None
    return fields[0], video, clip, crop


def _view_of(line: str) -> ClipEntry | str:
    fields = _view_fields(line)
    assert fields is not None
    name, video, clip, crop = fields
    if min(video, clip) < 0 or not 0 <= crop <= 5:
        return f"expected 'PATH VIDEO CLIP CROP' with a crop from 0 to 5, got {line!r}"
    return ClipEntry(Path(name), None, name, clip_index=clip, crop_index=crop, video=video)


def locate(video: Path, root: Path | None, beside: Path) -> Path | None:
    """Find what a list names: as it is, under `root`, or beside the list."""
    try:
        if video.exists():
            return video
        if not video.is_absolute():
            for folder in (root, beside):
                if folder is not None and (folder / video).exists():
                    return folder / video
    except (OSError, ValueError):  # no file can have such a name
        pass
    return None


def integer(text: str) -> int | None:
    """Read a whole number; None for anything else."""
    digits = text[1:] if text[:1] == "-" else text
    return int(text) if digits.isascii() and digits.isdigit() else None


def _warn_absent(path: Path, absent: Sequence[str], total: int) -> None:
    _log.warning(
        "%s: %d of %d videos do not exist and are left out; first: %s",
        path,
        len(absent),
        total,
        absent[0],
    )


def raise_all(path: Path, problems: Sequence[str]) -> None:
    """Raise one DataError that names the first few problems, if there are any."""
    if len(problems) == 1:
        raise DataError(problems[0])
    if problems:
        shown = [*problems[:_MOST_LINES]]
        if len(problems) > _MOST_LINES:
            shown.append(f"and {len(problems) - _MOST_LINES} more")
        raise DataError("\n  ".join([f"{path}: {len(problems)} lines cannot be used:", *shown]))


# --- the official CSV ------------------------------------------------------------------------


def _is_csv(header: str) -> bool:
    return {"youtube_id", "time_start", "time_end"} <= {
        column.strip().strip('"') for column in header.split(",")
    }


def _csv_lines(path: Path, root: Path, class_names: Sequence[str] | None) -> Iterable[ListLine]:
    names = list(class_names or csv_class_names(path))
    number = {name: label for label, name in enumerate(names)}
    files = _files_by_stem(root)
    rows = csv.DictReader(text_of(path).splitlines(), skipinitialspace=True)
    for line, row in enumerate(rows, start=2):
        label_name = (row.get("label") or "").strip()
        try:
            stem = _kinetics_stem(row)
        except (KeyError, TypeError, ValueError):
            got = ",".join(str(value) for value in row.values() if value is not None)
            expected = "expected 'label,youtube_id,time_start,time_end,...'"
            yield ListLine(line, None, f"{expected}, got {got!r}")
            continue
        if label_name and label_name not in number:
            problem = f"class {label_name!r} is not among the class names"
            yield ListLine(line, None, problem)
            continue
        label = number[label_name] if label_name else None
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
    return _is_csv(lines_of(path)[0][1])


def csv_class_names(path: Path) -> list[str]:
    """Classes of an official Kinetics CSV, sorted as the 2019 tools did."""
    rows = csv.DictReader(text_of(path).splitlines(), skipinitialspace=True)
    return sorted({name for row in rows if (name := (row.get("label") or "").strip())})


def _kinetics_stem(row: Mapping[str, str]) -> str:
    start, end = (int(float(row[key])) for key in ("time_start", "time_end"))
    return f"{row['youtube_id'].strip()}_{start:06d}_{end:06d}"


def _files_by_stem(root: Path) -> dict[str, list[Path]]:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.root to where the videos lie")
    files: dict[str, list[Path]] = defaultdict(list)
    for path in _walk(root):
        if path.suffix.lower() in VIDEO_SUFFIXES or path.suffix == ".pkl":
            files[path.stem].append(path)
    return files


def _best_match(paths: Sequence[Path] | None, class_name: str) -> Path | None:
    """Prefer the copy in the folder of the class, its name written with blanks or underscores."""
    if not paths:
        return None
    wanted = class_name.replace(" ", "_")
    return min(paths, key=lambda path: path.parent.name.replace(" ", "_") != wanted)


# --- folders ---------------------------------------------------------------------------------


def _subfolders(folder: Path) -> list[Path]:
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read as a folder: {error.strerror}") from None
    return [path for path in inside if path.is_dir() and not path.name.startswith((".", "__"))]


def _class_folders(folder: Path) -> list[Path]:
    folders = _subfolders(folder)
    if not folders:
        raise DataError(
            f"{folder}: no class folders; expected one folder of videos a class, "
            f"{folder.name}/CLASS/VIDEO.mp4"
        )
    return folders


def _part_folders(folder: Path) -> dict[Part, list[Path]]:
    """Folders of each part, or nothing where the folder is not divided."""
    folders = _subfolders(folder)
    parts: dict[Part, list[Path]] = defaultdict(list)
    for path in folders:
        if path.name.lower() not in _PART_FOLDERS or not _subfolders(path):
            return {}
        parts[_PART_FOLDERS[path.name.lower()]].append(path)
    return dict(parts) if "train" in parts else {}


def _of_part(
    parts: Mapping[Part, list[Path]], part: Part, val_share: float, split_seed: int
) -> list[tuple[Path, dict[str, list[Path]]]]:
    wanted: Part = "val" if part == "test" and "test" not in parts else part
    if wanted in parts and (wanted != "train" or "val" in parts):
        return [(path, _videos_by_class(path)) for path in parts[wanted]]
    return [  # there is no validation folder: take it from the training folder
        (
            base,
            {
                name: _drawn(base / name, videos, name, wanted, val_share, split_seed)
                for name, videos in _videos_by_class(base).items()
            },
        )
        for base in parts["train"]
    ]


def _videos_by_class(folder: Path) -> dict[str, list[Path]]:
    classes = {path.name: _videos_under(path) for path in _class_folders(folder)}
    empty = [name for name, videos in classes.items() if not videos]
    if empty:
        shown = ", ".join(repr(name) for name in empty[:_MOST_LINES])
        raise DataError(
            f"{folder}: no videos in class folder {shown}; add some (known: {_known_suffixes()}) "
            "or remove the folder"
        )
    return classes


def _drawn(
    base: Path, videos: Sequence[Path], name: str, part: Part, val_share: float, split_seed: int
) -> list[Path]:
    """Choose the videos of a class that belong to `part`."""
    if part == "all":
        return list(videos)
    place = {
        video: _uniform(f"{split_seed}:{name}/{video.relative_to(base).as_posix()}")
        for video in videos
    }
    val = {video for video in videos if place[video] < val_share}
    if len(videos) > 1 and 0 < val_share < 1:
        if not val:
            val = {min(videos, key=place.__getitem__)}
        elif len(val) == len(videos):
            val.remove(max(videos, key=place.__getitem__))
    elif len(videos) == 1 and val_share < 1:
        val = set()  # nothing to learn from would be worse than nothing to check with
    return [video for video in videos if (video in val) == (part != "train")]


def _uniform(text: str) -> float:
    """Turn a text into a number in [0, 1) that looks drawn and is the same everywhere."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _check_classes(
    folder: Path,
    found: Sequence[tuple[Path, dict[str, list[Path]]]],
    names: Sequence[str],
    num_classes: int | None,
) -> None:
    unknown = sorted({name for _, classes in found for name in classes} - set(names))
    if unknown:
        raise DataError(
            f"{folder}: class folder {unknown[0]!r} is not among the {len(names)} class names "
            f"({', '.join(map(repr, names[:3]))}, ...)"
        )
    if num_classes is not None and len(names) > num_classes:
        raise DataError(
            f"{folder}: {len(names)} classes, but the model has {num_classes}; "
            f"set model.num_classes={len(names)}"
        )
    if not any(paths for _, classes in found for paths in classes.values()):
        raise DataError(f"{folder}: no video for this part; add videos or change data.val_share")


def _walk(folder: Path) -> Iterable[Path]:
    for base, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(
            name for name in folders if name[0] != "." and not leads_back(Path(base, name))
        )
        yield from (Path(base, name) for name in sorted(files) if not name.startswith("."))


def leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one that it lies in, so that a walk would never end."""
    if not folder.is_symlink():
        return False
    try:
        target = folder.stat()
        return any(os.path.samestat(target, above.stat()) for above in folder.absolute().parents)
    except OSError:  # leads nowhere
        return False


def _videos_under(folder: Path) -> list[Path]:
    """Video files below a folder, and subfolders that hold the images of one video."""
    videos: list[Path] = []
    images: dict[Path, None] = {}  # folders, in order
    for path in _walk(folder):
        suffix = path.suffix.lower()
        if suffix in VIDEO_SUFFIXES:
            videos.append(path)
        elif suffix in IMAGE_SUFFIXES and path.parent != folder:
            images[path.parent] = None
    with_video = {video.parent for video in videos}
    return sorted([*videos, *(path for path in images if path not in with_video)])


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir())


def _known_suffixes() -> str:
    return " ".join(sorted(VIDEO_SUFFIXES))
