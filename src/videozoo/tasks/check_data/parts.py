"""Find the videos to check: in lists, in folders, or in the files of a configuration."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from videozoo.data import labelled_videos
from videozoo.data.annotations.class_folders import class_order, part_folders
from videozoo.data.annotations.class_names import first_class_number, read_class_names
from videozoo.data.annotations.list_labels import find_first_label, own_class_names
from videozoo.data.annotations.videos import (
    ClipEntry,
    Several,
    check_frames,
    is_list_name,
    list_lines,
)
from videozoo.data.files import is_pickle, not_read
from videozoo.data.formats import TextFile
from videozoo.data.frames.check import FileToCheck, scan_folder
from videozoo.data.frames.video import count_frames
from videozoo.errors import ConfigError, DataError, UsageError, counted
from videozoo.settings.tags import FeatureData
from videozoo.tasks.requests import ConfigSource
from videozoo.types import Classification, Tagging

if TYPE_CHECKING:
    from videozoo.config import RunConfig


Kind = Literal["videos", "segments", "sentences", "features", "records"]
"""Kinds of data that can be checked."""


@dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """`videozoo check-data`."""

    path: Path | None = None
    """A folder, a list, one video, annotations or features; None: the data of the configuration."""
    kind: Kind | None = None
    """What is at `path`; None: found from what is in it."""
    videos: Path | None = None
    """Videos to compare annotations or features with."""
    features: Path | None = None
    """Features to compare annotations with."""
    source: ConfigSource = field(default_factory=ConfigSource)
    deep: bool = False
    """Decode every frame, not only the first, middle and last."""
    workers: int | None = None
    """Processes; None: one per core."""
    base_seconds: float | None = None
    """Time limit for a small file."""
    json_path: Path | None = None
    write_good: Path | None = None
    """Where to write a list of the videos that can be used."""
    use_cache: bool = True
    opened: TextFile | None = field(default=None, compare=False)
    """What is at `path`, where its text is read already."""


@dataclass(frozen=True, slots=True)
class VideoToCheck:
    """One video of a list or folder."""

    file: FileToCheck
    name: str
    label: int | None = None
    line: int | None = None
    """Line in its list, from 1."""
    may_be_absent: bool = False
    """A missing file is no error: the Kinetics CSV names videos that were never downloaded."""
    is_view: bool = False
    """The item comes from a list of views, which holds no classes."""
    labels: tuple[int, ...] | None = None
    """All classes, where the list shows several per video; `label` is None then."""
    frame_span: tuple[int, int] | None = None
    """The part of the video that the list names: its first frame, and the one after its last."""
    where: str = ""
    """File and line, or the place in the file, for messages; empty for files of a folder."""

    @property
    def is_labelled(self) -> bool:
        """Whether the list says which classes the video has."""
        return self.label is not None or self.labels is not None


@dataclass(kw_only=True)
class Part:
    """One list, or one part (train, val, test) of a folder."""

    name: str
    source: Path
    items: list[VideoToCheck]
    problems: list[str] = field(default_factory=list[str])
    class_names: Sequence[str] | None = None
    is_folder: bool = False
    num_classes: int | None = None
    """Classes of the model; labels must be below it."""
    first_label: int = 0
    """The number of the first class in the list, 0 or 1."""
    is_labelled: bool = True
    remarks: list[str] = field(default_factory=list[str])


def find_parts(request: CheckRequest) -> tuple[list[Part], int]:
    """Return the parts, and the number of frames per clip (0: unknown)."""
    path, config, frames = request.path, None, 0
    if request.source.path is not None:
        config = request.source.load()
        if not isinstance(config.spec.task, Classification | Tagging):
            raise UsageError(
                f"--config {request.source.path}: {config.spec.title} does not read videos; name "
                "the folder or list of videos to check, without --config"
            )
        frames = _frames_of_clip(config)
    if path is None:
        if config is None:
            raise UsageError("nothing to check: name a folder, a list or a video, or --config FILE")
        if isinstance(config.spec.task, Tagging):
            return _labelled_parts(config), frames
        return _configured_parts(config), frames
    if path.is_dir() and not is_list_name(path):
        return list(_folder_parts(path)), frames
    if not os.path.lexists(path):
        raise DataError(not_read(path) or f"{path}: no such file or folder")
    if is_list_name(path):
        data = config.data if config is not None else None
        num_classes = config.model.num_classes if config is not None else None
        names, number = None, None
        if data is not None and data.class_names is not None and data.class_names.exists():
            names = read_class_names(data.class_names)
            number = first_class_number(data.class_names)
        root = data.root if data else None
        first: int | None = data.first_label if data else None
        remark = ""
        if first is None:
            found = find_first_label(
                path,
                root=root,
                num_classes=num_classes,
                class_names=names,
                first_number=number,
                has_several=config is not None and _has_several(config),
                count_frames=count_frames,
            )
            first, remark = found or (None, "")
        part = _list_part(
            "list",
            path,
            root=root,
            names=names,
            first_label=first or 0,
            num_classes=num_classes,
            several="all" if config is not None and _has_several(config) else "as listed",
        )
        part.num_classes = num_classes
        if config is not None:
            part.problems += _check_count_of_names(part, config)
        part.remarks += [remark] if remark else []
        part.remarks += _unlabelled(part)
        return [part], frames
    item = VideoToCheck(FileToCheck(path), str(path))
    return [Part(name="file", source=path, items=[item], is_labelled=False)], frames


def _frames_of_clip(config: RunConfig) -> int:
    if not isinstance(config.spec.task, Classification):
        return 0
    shape = config.spec.task.clip_shape(config.model)
    stride = config.data.frame_stride if shape.sampling == "dense" else 1
    return shape.num_steps * shape.frames_per_step * stride


def _has_several(config: RunConfig) -> bool:
    """Whether the configuration says that a video may have several classes."""
    return getattr(config.train, "loss", None) == "sigmoid"


def _several(config: RunConfig) -> Several:
    """What a run with this configuration does with several classes per video."""
    loss = getattr(config.train, "loss", None)
    told: dict[Any, Several] = {"sigmoid": "all", "softmax": "refused"}
    return told.get(loss, "as listed")


def _configured_parts(config: RunConfig) -> list[Part]:
    """The parts that a run with this configuration reads."""
    from videozoo.data import clips

    data: clips.ClipData = config.data
    names, problems = None, list[str]()
    try:
        if data.class_names is None or data.class_names.exists():
            names = clips.class_names(data)
    except DataError as error:
        problems.append(str(error))
    if data.train is None and data.val is None and data.test is None:
        raise DataError(
            "this configuration names no videos; name a folder or a list: "
            "videozoo check-data PATH, or --set data.train=PATH"
        )
    first = data.first_label
    try:
        first, remark = clips.settled_first_label(
            data, config.model.num_classes, has_several=_has_several(config)
        )
    except DataError as error:
        remark = ""
        problems.append(str(error))
    parts: list[Part] = []
    for name in ("train", "val", "test"):
        if not clips.has_entries(data, name) or (name == "test" and data.test is None):
            continue
        source = cast(Path, getattr(data, name) or data.train)
        is_folder = clips.is_folder(data, source)
        part = Part(name=name, source=source, items=[], class_names=names, is_folder=is_folder)
        try:
            if is_folder:
                entries = clips.load_entries(data, name, names=names)
                part.items = [_item(entry) for entry in entries]
            else:
                kind = "auto" if data.format == "folder" else data.format
                part = _list_part(
                    name,
                    source,
                    root=data.root,
                    names=names,
                    kind=kind,
                    first_label=first or 0,
                    part=name,
                    split=data.split,
                    num_classes=config.model.num_classes,
                    several=_several(config),
                )
                part.problems += _unlabelled(part)
                if any(item.is_view for item in part.items):
                    part.problems.append(
                        f"{source}: a list of views has no classes; expected lines 'PATH LABEL'"
                    )
        except DataError as error:
            part.problems.append(str(error))
        part.num_classes = config.model.num_classes
        part.is_labelled = part.is_labelled and bool(part.items)
        unlike = _check_count_of_names(part, config)
        problems[:0] = unlike if not parts else []  # first, as in a run
        parts.append(part)
    parts[0].remarks += [remark] if remark else []
    parts[0].problems[:0] = [problem for problem in problems if problem not in parts[0].problems]
    return parts


def _check_count_of_names(part: Part, config: RunConfig) -> list[str]:
    """The error of a run whose file of class names has more or fewer than the model.

    Labels are then compared with the names.
    """
    from videozoo.tasks.common import configured_class_names

    if config.data.class_names is None or not part.class_names or part.is_folder:
        return []
    try:
        configured_class_names(config)
    except ConfigError as error:
        part.num_classes = len(part.class_names)
        return [str(error)]
    return []


def _labelled_parts(config: RunConfig) -> list[Part]:
    """The parts of videos whose features a tagger learns from."""
    data: FeatureData = config.data
    parts: list[Part] = []
    names, problems = None, list[str]()
    try:
        names = labelled_videos.class_names(data)
    except DataError as error:
        problems.append(str(error))
    for name in ("train", "val", "test"):
        if not labelled_videos.has_part(data, name) or (name == "test" and data.test is None):
            continue
        source = cast(Path, getattr(data, name) or data.videos)
        part = Part(name=name, source=source, items=[], class_names=names, is_folder=True)
        try:
            part.items = [
                VideoToCheck(
                    FileToCheck(one.path),
                    one.name,
                    one.labels[0] if len(one.labels) == 1 else None,
                    labels=None if len(one.labels) == 1 else one.labels,
                )
                for one in labelled_videos.labelled_videos(data, name)
            ]
        except DataError as error:
            part.problems += [] if str(error) in problems else [str(error)]
        part.is_labelled = any(item.is_labelled for item in part.items)
        parts.append(part)
    if not parts:
        raise DataError("this configuration names no videos; name them: --set data.videos=PATH")
    parts[0].problems[:0] = problems
    return parts


def _item(entry: ClipEntry) -> VideoToCheck:
    return VideoToCheck(FileToCheck(entry.path), entry.name, entry.label, labels=entry.labels)


def _list_part(
    name: str,
    path: Path,
    *,
    root: Path | None,
    names: Sequence[str] | None,
    kind: Any = "auto",
    first_label: int = 0,
    part: Literal["train", "val", "test"] | None = None,
    split: int | None = None,
    num_classes: int | None = None,
    several: Several = "as listed",
) -> Part:
    names = names or own_class_names(path, root=root)
    lines = list_lines(
        path,
        root=root,
        class_names=names,
        labels="optional",
        kind=kind,
        first_label=first_label,
        part=part,
        split=split,
        several=several,
        most_classes=num_classes,
        count_frames=count_frames,
    )
    made = Part(name=name, source=path, items=[], class_names=names, first_label=first_label)
    try:
        check_frames(path, lines, count_frames)
    except DataError as error:
        made.problems.append(str(error))
    seen: set[tuple[Path, int | None]] = set()
    for line in lines:
        entry = line.entry
        if entry is None:
            made.problems.append(f"{line.where}: {line.problem}")
            continue
        if entry.video is not None:  # one line per view; its number is not a class
            if (entry.path, entry.video) in seen:
                continue
            seen.add((entry.path, entry.video))
        item_path = entry.path
        if line.is_absent and not line.may_be_absent and not item_path.is_absolute():
            item_path = path.parent / item_path
        made.items.append(
            VideoToCheck(
                FileToCheck(item_path),
                entry.name,
                entry.label,
                line.number,
                may_be_absent=line.is_absent and line.may_be_absent,
                is_view=entry.crop_index is not None,
                labels=entry.labels,
                frame_span=entry.frame_span,
                where=line.where,
            )
        )
    made.is_labelled = any(item.is_labelled for item in made.items)
    several_of = sum(len(item.labels or ()) > 1 for item in made.items)
    if several_of:
        made.remarks.append(
            f"{name}: {several_of:,} of {counted(len(made.items), 'video')} have several classes"
        )
    return made


def _unlabelled(part: Part) -> list[str]:
    """Problems: lines without a class. The pickles of the 2019 library hold their class inside."""
    bare = [item for item in part.items if not item.is_labelled and not is_pickle(item.file.path)]
    if not bare or not part.is_labelled:
        return []
    return [f"{bare[0].where}: no class after the video ({len(bare)} such lines)"]


def _folder_parts(folder: Path) -> Iterator[Part]:
    """All files of a folder, by part if it is divided, by class if it has class folders."""
    problems: list[str] = []
    part_of: dict[str, str] = {}
    try:
        divided = part_folders(folder)
        part_of = {path.name: part for part, paths in divided.items() for path in paths}
    except DataError as error:
        problems.append(str(error))
    is_divided = bool(part_of)
    found: dict[str, list[FileToCheck]] = defaultdict(list)
    for file in scan_folder(folder):
        steps = file.path.relative_to(folder).parts
        part = part_of.get(steps[0]) if len(steps) > 1 else None
        found[part or ("beside the parts" if is_divided else "folder")].append(file)
    depth = 1 if is_divided else 0
    # the class names of the training part, as in a run
    names = class_order(
        _class_folders(folder, found.get("train") or found.get("folder") or (), depth)
    )
    for part, files in found.items():
        used = names if part != "beside the parts" else []
        number = {name: label for label, name in enumerate(used)}
        items = [
            VideoToCheck(
                file, str(file.path.relative_to(folder)), number.get(_step(folder, file, depth))
            )
            for file in files
        ]
        made = Part(name=part, source=folder, items=items, class_names=used or None, is_folder=True)
        made.is_labelled = bool(used)
        made.problems, problems = problems, []
        if used and part in ("train", "folder"):
            filled = {item.label for item in items if item.file.is_expected}
            made.problems += [
                f"{folder}: no videos in class folder {name!r}"
                for label, name in enumerate(used)
                if label not in filled
            ]
        yield made


def _class_folders(folder: Path, files: Iterable[FileToCheck], depth: int) -> set[str]:
    """Names of the class folders; none if videos lie beside them, or if there is only one."""
    names: set[str] = set()
    for file in files:
        steps = file.path.relative_to(folder).parts
        if file.is_expected and not file.remark and len(steps) <= depth + 1:
            return set()
        if len(steps) > depth + 1 and not steps[depth].startswith((".", "__")):
            names.add(steps[depth])
    return names if len(names) > 1 else set()


def _step(folder: Path, file: FileToCheck, depth: int) -> str:
    steps = file.path.relative_to(folder).parts
    return steps[depth] if len(steps) > depth + 1 else ""
