"""Videos themselves, with their classes and parts, for models that read features of them.

The `data:` section says where they are: `videos` (divided into parts here), or `train`, `val` and
`test` with videos of their own. Their classes come from class folders, from lists, or from a file
of labels.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from videozoo.data.annotations.class_folders import (
    FolderPart,
    drawn,
    folder_class_names,
    has_parts,
    loose_videos,
    part_folders,
    part_of_name,
    read_folder,
    uniform,
)
from videozoo.data.annotations.class_names import first_class_number, read_class_names
from videozoo.data.annotations.list_formats import list_rows
from videozoo.data.annotations.list_labels import find_first_label, own_class_names
from videozoo.data.annotations.video_labels import VideoLabels, read_labels
from videozoo.data.annotations.videos import (
    find_videos,
    is_list_name,
    list_parts,
    read_list,
    videos_of,
)
from videozoo.data.files import absolute, images_beside_videos
from videozoo.data.frames.video import count_frames
from videozoo.errors import DataError, counted, few
from videozoo.settings.shared import Part
from videozoo.settings.tags import FeatureData

_PARTS: tuple[Part, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class LabelledVideo:
    """A video and its classes."""

    path: Path
    name: str
    """Its path below the folder, or as the list writes it."""
    labels: tuple[int, ...]


def labelled_videos(
    data: FeatureData, part: Part, *, names: Sequence[str] | None = None
) -> list[LabelledVideo]:
    """The videos of one part, and their classes. Videos without any class are left out.

    Args:
        data: The section, which names videos themselves.
        part: Which videos. `test` defaults to `val`.
        names: What a trained model calls its classes, in order; by default `class_names(data)`.

    Raises:
        DataError: The part is not set, or its folder, list or labels cannot be used.
    """
    path, of_folder = _source(data, part)
    if path is None:
        also = " (nor data.val)" if part == "test" else ""
        raise DataError(f"data.{part} is not set{also}; name a folder or a list of videos")
    if part != "train" and _none_is_held_out(data, path, of_folder):
        raise DataError(
            f"{path}: no video is held out (data.val_share=0), all are for learning; evaluate "
            "other videos: --data PATH"
        )
    is_drawn = None
    if data.groups is not None and of_folder != "all" and not _is_divided(path, data):
        is_drawn = of_folder
    if data.labels is None and not is_list_name(path):
        entries = read_folder(
            path,
            part=of_folder if is_drawn is None else "all",
            val_share=data.val_share,
            split_seed=data.split_seed,
            class_names=names or class_names(data),
            together=True,
        )
        found = [LabelledVideo(one.path, one.name, one.classes or ()) for one in entries]
        return found if is_drawn is None else _of_groups(data, found, is_drawn)
    names = names or class_names(data)
    videos = _labelled(data, path, data.labels, names, of_folder)
    return _of_part(data, path, videos, of_folder, part)


def has_part(data: FeatureData, part: Part) -> bool:
    """Whether the section says where the videos of this part are."""
    path, of_folder = _source(data, part)
    return path is not None and (part == "train" or not _none_is_held_out(data, path, of_folder))


def is_drawn(data: FeatureData) -> bool:
    """Whether the videos to check with are drawn from those to learn from, and not a part of their
    own."""
    path, of_folder = _source(data, "val")
    return path is not None and of_folder != "all" and not _has_folder(data, path, "val")


def all_videos(data: FeatureData) -> list[Path]:
    """Every video that the section names, in all its parts, each once.

    Raises:
        DataError: There are none.
    """
    sources = [data.videos, *(getattr(data, part) for part in _PARTS)]
    found = [video for path in sources if path is not None for video in _videos_at(data, path)]
    return list({absolute(video): video for video in found}.values())


def class_names(data: FeatureData) -> list[str] | None:
    """Names of the classes by number, or None where nothing tells them.

    Raises:
        DataError: What should tell them cannot be read.
    """
    if data.class_names is not None:
        return read_class_names(data.class_names)
    if data.labels is not None:
        return _read_labels(data).class_names
    path = _learnt_from(data)
    if path is None:
        return None
    if is_list_name(path):
        return own_class_names(path, root=data.root)
    return folder_class_names(path)


def num_classes(data: FeatureData) -> int:
    """How many classes the videos have: as many as have names, or the highest number plus 1.

    Raises:
        DataError: What should tell it cannot be read.
    """
    names = class_names(data)
    if names is not None:
        return len(names)
    if data.labels is not None:
        return _read_labels(data).num_classes
    found = [video for part in _PARTS if has_part(data, part) for video in _all_of(data, part)]
    return 1 + max((label for video in found for label in video.labels), default=0)


def settled_first_label(data: FeatureData) -> int | None:
    """The number of the first class in the list that is learnt from; None without a list.

    Raises:
        DataError: The list does not tell, or cannot be read.
    """
    path = _learnt_from(data)
    if data.labels is not None or path is None or not is_list_name(path):
        return data.first_label
    return _first_label(data, class_names(data))[0]


def has_one_class_each(data: FeatureData) -> bool:
    """Whether each video is of one class, as in class folders and lists, and not of any number."""
    if data.labels is None:
        sources = (path for path in (data.train, data.videos) if path is not None)
        lists = [path for path in sources if is_list_name(path) and path.exists()]
        rows = (row for path in lists for row in list_rows(path, data.root))
        return all(row.labels is None for row in rows)
    labels = _read_labels(data)
    return labels.num_classes > 1 and all(len(own) == 1 for own in labels.entries.values())


def remarks(data: FeatureData) -> Iterator[str]:
    """What is odd about the labels, a line each.

    Raises:
        DataError: The labels are of other videos altogether.
    """
    if data.labels is None:
        listed = _learnt_from(data)
        if listed is not None and is_list_name(listed):
            yield from filter(None, _first_label(data, class_names(data))[1:])
        source = data.train or data.videos
        if source is None or not _is_tree(source):
            return
        if loose := loose_videos(source):
            shown = few((path.name for path in loose), 1)
            yield f"{source}: left out, for they lie beside the class folders: {shown}"
        if images := images_beside_videos(source):
            shown = few((path.relative_to(source).as_posix() for path in images), 1)
            yield f"{source}: left out, for they are images among videos: {shown}"
        return
    videos = all_videos(data)
    labels = _read_labels(data)
    found, absent = labels.of_all(videos)
    without = [video for video, own in zip(videos, found, strict=True) if not own]
    if len(without) == len(videos):
        raise DataError(
            f"{data.labels}: mentions none of the {counted(len(videos), 'video')}, such as "
            f"{videos[0]}; it names {few(map(repr, labels.entries))}"
        )
    if absent:
        yield (
            f"{data.labels}: {len(absent):,} of the {counted(len(labels.entries), 'video')} that "
            f"it names are not there: {few(absent)}"
        )
    if without:
        yield (
            f"left out: {len(without):,} of {counted(len(videos), 'video')} have no label in "
            f"{data.labels}: {few(map(str, without))}"
        )


def groups_of(names: Sequence[str], pattern: str) -> list[str]:
    """The group of each video: what a pattern finds in its path.

    Raises:
        DataError: It finds nothing in some, or the same in all.

    >>> groups_of(["run/person01_a.mp4", "run/person02_a.mp4"], "person[0-9]+")
    ['person01', 'person02']
    """
    found: list[str] = []
    without: list[str] = []
    for name in names:
        match = re.search(pattern, name)
        if match is None:
            without.append(name)
        else:
            found.append(match.group(match.lastindex or 0))
    if without:
        raise DataError(
            f"data.groups={pattern!r} finds nothing in {counted(len(without), 'video')}: "
            f"{few(without)}; expected a regular expression such as person[0-9]+"
        )
    if len(set(found)) == 1:
        raise DataError(f"data.groups={pattern!r} puts all videos into one group, {found[0]!r}")
    return found


# --- inside ------------------------------------------------------------------------------------


def _learnt_from(data: FeatureData) -> Path | None:
    """The folder or list that says what the classes are."""
    return next(filter(None, (data.train, data.videos, data.val, data.test)), None)


def _source(data: FeatureData, part: Part) -> tuple[Path | None, FolderPart]:
    """Where the videos of a part are, and which part of that folder or list they are."""
    own: Path | None = getattr(data, part)
    if own is not None:
        return own, part if _is_divided(own, data) else "all"
    if part == "test" and data.val is not None:
        return _source(data, "val")
    if data.train is not None or data.videos is None:
        return None, "all"
    is_whole = part == "train" and data.val is not None and not _is_divided(data.videos, data)
    return data.videos, "all" if is_whole else part


def _none_is_held_out(data: FeatureData, path: Path, of_folder: FolderPart) -> bool:
    """Whether what is drawn to check with is nothing."""
    return data.val_share == 0 and of_folder != "all" and not _has_folder(data, path, of_folder)


def _has_folder(data: FeatureData, path: Path, part: FolderPart) -> bool:
    """Whether a folder of its own holds a part; `test` may be `val`."""
    if is_list_name(path):
        return _is_divided(path, data)
    if not path.is_dir():
        return False
    found = part_folders(path) if data.labels is None else set(_folder_parts(path).values())
    return part in found or (part == "test" and "val" in found)


def _is_tree(path: Path) -> bool:
    return path.is_dir() and not is_list_name(path)


def _is_divided(path: Path, data: FeatureData) -> bool:
    if is_list_name(path):
        return data.labels is None and path.exists() and bool(list_parts(path))
    if not path.is_dir():
        return False
    return has_parts(path) if data.labels is None else bool(_folder_parts(path))


def _folder_parts(folder: Path) -> dict[str, FolderPart]:
    """The folders that are parts, if all videos of a folder lie in such."""
    parts: dict[str, FolderPart] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith((".", "__")):
            part = part_of_name(path.name)
            if part is None:
                return {}
            parts[path.name] = part
    return parts if "train" in parts.values() and len(set(parts.values())) > 1 else {}


def _videos_at(data: FeatureData, path: Path) -> list[Path]:
    if is_list_name(path):
        entries = read_list(
            path, root=data.root, labels="optional", count_frames=count_frames, several="as listed"
        )
        return [entry.path for entry in videos_of(entries)]
    loose = (
        set[Path]() if data.labels is not None or not _is_tree(path) else set(loose_videos(path))
    )
    return [entry.path for entry in find_videos(path) if entry.path not in loose]


def _labelled(
    data: FeatureData,
    path: Path,
    file: Path | None,
    names: Sequence[str] | None,
    part: FolderPart,
) -> list[LabelledVideo]:
    """The videos at a path that have a label, in the file of labels or in the list itself.

    Of a list that says which part each video belongs to, only those of `part`.
    """
    if file is None:
        entries = read_list(
            path,
            root=data.root,
            class_names=names,
            first_label=_first_label(data, names)[0],
            part=None if part == "all" else part,
            split=data.split,
            count_frames=count_frames,
            several="as listed",
        )
        return [LabelledVideo(one.path, one.name, one.classes or ()) for one in videos_of(entries)]
    labels = read_labels(file, may_name=True, class_names=names)
    found: list[LabelledVideo] = []
    videos = _videos_at(data, path)
    for video, own in zip(videos, labels.of_all(videos)[0], strict=True):
        if own:
            is_below = path.is_dir() and video.is_relative_to(path)
            name = video.relative_to(path).as_posix() if is_below else str(video)
            found.append(LabelledVideo(video, name, tuple(sorted(set(own)))))
    return found


def _of_part(
    data: FeatureData,
    path: Path,
    videos: Sequence[LabelledVideo],
    of_folder: FolderPart,
    part: Part,
) -> list[LabelledVideo]:
    """Those of one part: by their folder, or drawn."""
    if of_folder == "all" or (is_list_name(path) and _is_divided(path, data)):
        return list(videos)
    if data.groups is not None and not _is_divided(path, data):
        return _of_groups(data, videos, of_folder)
    parts = _folder_parts(path) if path.is_dir() else {}
    if parts:
        wanted: FolderPart = of_folder
        if wanted not in parts.values():  # without a folder for it
            wanted = "val" if wanted == "test" else wanted
        if wanted not in parts.values():
            there = ", ".join(parts)
            raise DataError(f"{path}: holds {there} and no folder for the {part} part")
        return [one for one in videos if parts[Path(one.name).parts[0]] == wanted]
    groups: dict[str, list[LabelledVideo]] = defaultdict(list)
    one_each = has_one_class_each(data)
    for one in videos:  # an equal share of each class, where each video has one
        groups[str(one.labels[0]) if one_each else ""].append(one)
    base = path if path.is_dir() else path.parent
    chosen: set[Path] = set()
    for name, group in groups.items():
        paths = [one.path for one in group]
        chosen.update(
            drawn(base, paths, name, of_folder, data.val_share, data.split_seed, together=one_each)
        )
    found = [one for one in videos if one.path in chosen]
    if not found:
        raise DataError(
            f"{path}: no video for the {part} part; add videos or change data.val_share; training "
            "can run without validation (--valid-interval 0)"
        )
    return found


def _first_label(data: FeatureData, names: Sequence[str] | None) -> tuple[int, str]:
    """The number of the first class in lists, by the one that is learnt from; what to say of it.

    Raises:
        DataError: That list does not tell.
    """
    path = _learnt_from(data)
    if data.first_label is not None or path is None or not path.exists() or not is_list_name(path):
        return data.first_label or 0, ""
    known = data.class_names is not None and data.class_names.exists()
    found = find_first_label(
        path,
        root=data.root,
        num_classes=None if names is None else len(names),
        class_names=names,
        first_number=first_class_number(data.class_names) if known and data.class_names else None,
    )
    if found is None:
        raise DataError(
            f"{path}: labels start at 1: is that the first class, or has class 0 no video here? "
            "Say which number the first class has: --set data.first_label=1, or =0"
        )
    return found


def _read_labels(data: FeatureData) -> VideoLabels:
    assert data.labels is not None
    return read_labels(data.labels, may_name=True)


def _of_groups(
    data: FeatureData, videos: Sequence[LabelledVideo], part: FolderPart
) -> list[LabelledVideo]:
    """Those of one part, where videos of one group stay together; each group is drawn by name."""
    assert data.groups is not None
    groups = groups_of([one.name for one in videos], data.groups)
    order = sorted(set(groups), key=lambda group: uniform(f"{data.split_seed}:{group}"))
    count = round(data.val_share * len(order))
    if 0 < data.val_share < 1:  # both parts have a group
        count = min(max(count, 1), len(order) - 1)
    held = set(order[:count])
    chosen = {group for group in order if (group in held) == (part != "train")}
    return [one for one, group in zip(videos, groups, strict=True) if group in chosen]


def _all_of(data: FeatureData, part: Part) -> list[LabelledVideo]:
    path, _ = _source(data, part)
    return [] if path is None else _labelled(data, path, None, None, "all")
