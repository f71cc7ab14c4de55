"""Folders with one subfolder of videos per class, with or without folders for parts above."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, cast

from videozoo.data.annotations.neighbours import places
from videozoo.data.annotations.videos import ClipEntry
from videozoo.data.files import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    is_video_name,
    known_suffixes,
    not_read,
    videos_under,
    walk,
)
from videozoo.data.text import integer
from videozoo.errors import DataError, counted, few

FolderPart = Literal["train", "val", "test", "all"]

_PART_WORDS: Mapping[FolderPart, str] = {
    "train": "train|training",
    "val": "val|valid|validation|dev|development|eval|evaluation",
    "test": "test|testing",
}
_MOST_LINES = 10  # names shown in one error


def read_folder(
    folder: Path,
    *,
    part: FolderPart = "all",
    val_share: float = 0.2,
    split_seed: int = 0,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    together: bool = False,
) -> list[ClipEntry]:
    """Read a folder with one folder of videos per class; deeper folders belong to their class.

    If subfolders `train`, `val` (or `valid`, `validation`, `dev`, `eval`) and `test` hold the class
    folders, they are the parts. If not, a share `val_share` of each class becomes `val`. Each video
    is drawn by its own file name, so adding videos never moves another video to the other part.
    (The exception: if a part would have no video of a class, one is moved there.) Without a folder
    `test`, `test` is the same as `val`.

    Args:
        folder: FOLDER/CLASS/VIDEO, or FOLDER/PART/CLASS/VIDEO.
        part: Which videos to return; `all` returns those of every part.
        val_share: Share of videos for validation, 0 to 1. Used only without part folders.
        split_seed: Seed of the draw; another seed chooses other videos.
        class_names: The class of number i; by default the names of the folders in `class_order`.
        num_classes: Highest number of classes allowed; None does not check.
        together: Neighbours by name become `val` together: see `drawn`.

    Returns:
        Entries sorted by class, then path.

    Raises:
        DataError: There is no such folder, it has no class folders, or a class has no videos.
    """
    parts = part_folders(folder)
    if not parts:
        by_class = _videos_by_class(folder)
        chosen = {
            name: drawn(folder / name, videos, name, part, val_share, split_seed, together)
            for name, videos in by_class.items()
        }
        found = [(folder, chosen)]
    elif part == "all":
        found = [(path, _videos_by_class(path)) for paths in parts.values() for path in paths]
    else:
        found = _of_part(folder, parts, part, val_share, split_seed, together)
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
    """Whether a folder is itself divided into `train`, `val` and `test`.

    Raises:
        DataError: Only some of its folders are parts: see `part_folders`.
    """
    return folder.is_dir() and bool(part_folders(folder))


def part_of_name(name: str) -> FolderPart | None:
    """The part that a folder of this name holds; None if the name is not that of a part.

    >>> part_of_name("Validation"), part_of_name("test_set"), part_of_name("cats")
    ('val', 'test', None)
    """
    part: FolderPart
    for part, words in _PART_WORDS.items():
        if re.fullmatch(rf"({words})[ _-]?(set|data|split)?", name.lower()):
            return part
    return None


def part_folders(folder: Path) -> dict[FolderPart, list[Path]]:
    """Folders of each part; empty if the folder is not divided into parts.

    `eval` counts as `val`. If there is another folder for `val`, `eval` counts as `test`.

    Raises:
        DataError: Some folders are named as parts, but they hold no class folders, or other
            folders lie beside them.
    """
    folders = _subfolders(folder)
    named = [path for path in folders if part_of_name(path.name) and _holds_something(path)]
    divided = [path for path in named if _subfolders(path)]
    if not divided:
        _check_undivided(folder, folders, named)
        return {}
    odd = [path for path in folders if path not in divided and _holds_videos(path)]
    if odd:
        shown = few(repr(path.name) for path in odd)
        there = ", ".join(path.name for path in divided)
        what = "holds no class folders" if odd[0] in named else "is no part"
        raise DataError(
            f"{folder}: holds parts ({there}) and beside them {shown}, which {what}; move it "
            "elsewhere, or rename the parts if they are classes"
        )
    parts: dict[FolderPart, list[Path]] = defaultdict(list)
    for path in divided:
        parts[cast(FolderPart, part_of_name(path.name))].append(path)
    second = [path for path in parts.get("val", ()) if path.name.lower().startswith("eval")]
    if second and len(second) < len(parts["val"]):
        parts["val"] = [path for path in parts["val"] if path not in second]
        parts["test"] += second
    return dict(parts)


def _check_undivided(folder: Path, folders: Sequence[Path], named: Sequence[Path]) -> None:
    """Raise DataError if folders that look like classes are parts, or hold parts."""
    if len({part_of_name(path.name) for path in named}) > 1:
        names = " and ".join(repr(path.name) for path in named[:3])
        raise DataError(
            f"{folder}: {names} are named as parts and hold no class folders; expected "
            f"{folder.name}/{named[0].name}/CLASS/VIDEO.mp4"
        )
    for path in folders:
        inside = [below for below in _subfolders(path) if part_of_name(below.name)]
        if len({part_of_name(below.name) for below in inside}) < 2:
            continue
        names = ", ".join(below.name for below in inside)
        if len(folders) == 1:
            raise DataError(f"{folder}: one level too high: {path} holds the parts ({names})")
        raise DataError(
            f"{folder}: class folder {path.name!r} holds parts ({names}); expected the parts "
            f"above the classes, {folder.name}/{inside[0].name}/{path.name}/VIDEO.mp4"
        )


def class_order(names: Iterable[str]) -> list[str]:
    """Sort the names of class folders: as numbers if all are numbers, else as text.

    >>> class_order(["10", "9", "0"]), class_order(["b", "10", "9"])
    (['0', '9', '10'], ['10', '9', 'b'])
    """
    different = set(names)
    if all(integer(name) is not None for name in different):
        return sorted(different, key=lambda name: (int(name), name))
    return sorted(different)


def folder_class_names(folder: Path) -> list[str]:
    """Classes of a folder that `read_folder` reads: its folder names in `class_order`.

    Raises:
        DataError: There is no such folder, or it has no class folders.
    """
    parts = part_folders(folder)
    # the training part decides, so a class without training videos is an error
    bases = parts.get("train") or [path for paths in parts.values() for path in paths] or [folder]
    return class_order(path.name for base in bases for path in _class_folders(base))


def loose_videos(folder: Path) -> list[Path]:
    """Videos beside the class folders: they have no class, and `read_folder` leaves them out.

    Raises:
        DataError: Only some folders are parts: see `part_folders`.
    """
    parts = part_folders(folder).values()
    bases = [folder, *(path for paths in parts for path in paths)]
    return [path for base in bases for path in sorted(base.iterdir()) if _is_loose(path)]


def _is_loose(path: Path) -> bool:
    return not path.name.startswith(".") and is_video_name(path) and path.is_file()


def one_level_down(folder: Path) -> Path | None:
    """If a folder has one subfolder only, look below it for the folder that holds the classes.

    None if there is no such folder.
    """
    classes = _subfolders(folder)
    while len(classes) == 1:
        folder = classes[0]
        classes = [path for path in _subfolders(folder) if _holds_videos(path)]
        if len(classes) > 1:
            return folder
    return None


def _subfolders(folder: Path) -> list[Path]:
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        reason = not_read(folder) or f"{folder}: cannot be read as a folder: {error.strerror}"
        raise DataError(reason) from None
    return [path for path in inside if path.is_dir() and not path.name.startswith((".", "__"))]


def _class_folders(folder: Path) -> list[Path]:
    folders = _subfolders(folder)
    if not folders:
        raise DataError(
            f"{folder}: no class folders; expected one folder of videos per class, "
            f"{folder.name}/CLASS/VIDEO.mp4"
        )
    return folders


def _of_part(
    folder: Path,
    parts: Mapping[FolderPart, list[Path]],
    part: FolderPart,
    val_share: float,
    split_seed: int,
    together: bool,
) -> list[tuple[Path, dict[str, list[Path]]]]:
    wanted: FolderPart = "val" if part == "test" and "test" not in parts else part
    if wanted not in parts and "train" not in parts:
        there = ", ".join(path.name for paths in parts.values() for path in paths)
        raise DataError(f"{folder}: holds {there} and no folder for the {wanted} part")
    if wanted in parts and (wanted != "train" or "val" in parts):
        return [(path, _videos_by_class(path)) for path in parts[wanted]]
    return [  # without a validation folder, its videos are drawn from the training folder
        (
            base,
            {
                name: drawn(base / name, videos, name, wanted, val_share, split_seed, together)
                for name, videos in _videos_by_class(base).items()
            },
        )
        for base in parts["train"]
    ]


def _videos_by_class(folder: Path) -> dict[str, list[Path]]:
    classes = {path.name: videos_under(path) for path in _class_folders(folder)}
    empty = [name for name, videos in classes.items() if not videos]
    if empty:
        shown = ", ".join(repr(name) for name in empty[:_MOST_LINES])
        raise DataError(
            f"{folder}: no videos in class folder {shown}; add some (known: {known_suffixes()}) "
            "or remove the folder"
        )
    return classes


def drawn(
    base: Path,
    videos: Sequence[Path],
    name: str,
    part: FolderPart,
    val_share: float,
    split_seed: int,
    together: bool = False,
) -> list[Path]:
    """Choose the videos of a class that belong to `part`: each is drawn by its own name.

    Args:
        base: Folder that the names are relative to.
        videos: All videos of the class.
        name: Name of the class, for the draw.
        part: `train` or not; `all` takes every video.
        val_share: Share of them that is not for training.
        split_seed: Seed of the draw.
        together: Draw nothing; `val` is the last share of the videos by name (with another seed
            another share), and clips of one source are never apart: see `neighbours`. A video
            that is added behind the others moves none of them from `train` to `val`.
    """
    if part == "all":
        return list(videos)
    if together:
        found = places([_below(video, base) for video in videos])
        place = {
            video: (1 - one + split_seed * val_share) % 1
            for video, one in zip(videos, found, strict=True)
        }
    else:
        place = {video: uniform(f"{split_seed}:{name}/{_below(video, base)}") for video in videos}
    val = {video for video in videos if place[video] < val_share}
    if len(videos) > 1 and 0 < val_share < 1:
        if not val:
            val = _at(min(place.values()), place)
        elif len(val) == len(videos):
            val -= _at(max(place.values()), place)
    elif len(videos) == 1 and val_share < 1:
        val = set()  # the only video of a class is for training
    return [video for video in videos if (video in val) == (part != "train")]


def _at(value: float, place: Mapping[Path, float]) -> set[Path]:
    return {video for video, own in place.items() if own == value}


def _below(video: Path, base: Path) -> str:
    return (video.relative_to(base) if video.is_relative_to(base) else video).as_posix()


def uniform(text: str) -> float:
    """Turn a text into a number in [0, 1) that looks random and is the same on every machine."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _check_classes(
    folder: Path,
    found: Sequence[tuple[Path, dict[str, list[Path]]]],
    names: Sequence[str],
    num_classes: int | None,
) -> None:
    unknown = sorted(
        (name, base) for base, classes in found for name in classes if name not in set(names)
    )
    if unknown:
        name, base = unknown[0]
        alike = next((known for known in names if known.lower() == name.lower()), None)
        raise DataError(
            f"{base}: class folder {name!r} is not among the {len(names)} class names "
            f"({few(map(repr, names))}); "
            + (f"rename it to {alike!r}" if alike else "rename it, or move it away")
        )
    if num_classes is not None and len(names) > num_classes:
        raise DataError(
            f"{folder}: {counted(len(names), 'class')}, but the model has {num_classes}; "
            f"set model.num_classes={len(names)}"
        )
    if not any(paths for _, classes in found for paths in classes.values()):
        raise DataError(
            f"{folder}: no video for this part: a class with one video uses it for training; add "
            "videos or change data.val_share; training can run without validation "
            "(--valid-interval 0), and evaluation can use other videos (--data PATH)"
        )


def _holds_something(folder: Path) -> bool:
    return next(iter(walk(folder)), None) is not None


def _holds_videos(folder: Path) -> bool:
    kinds = VIDEO_SUFFIXES | IMAGE_SUFFIXES  # images may be the frames of a video
    return any(path.suffix.lower() in kinds for path in walk(folder))
