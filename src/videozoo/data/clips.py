"""From a list of videos to batches of clips.

A clip leaves here as bytes, 0..255; normalising is left to the device (`ops.pixels.normalize`).

What is drawn for a training video depends on the seed, the epoch and its place in the list only:
not on the number of workers, and not on whether the run was interrupted.
"""

import logging
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videozoo.data.annotations.class_folders import (
    FolderPart,
    folder_class_names,
    has_parts,
    read_folder,
)
from videozoo.data.annotations.class_names import first_class_number, read_class_names
from videozoo.data.annotations.list_formats import list_rows
from videozoo.data.annotations.list_labels import (
    always_gives_names,
    find_first_label,
    misnamed,
    names_by_folders,
    own_class_names,
)
from videozoo.data.annotations.videos import (
    ClipEntry,
    Several,
    is_list_name,
    list_parts,
    read_list,
    views_by_video,
)
from videozoo.data.balance import balanced_order
from videozoo.data.frames.video import VideoReader, count_frames, open_video
from videozoo.data.frames.views import (
    Draws,
    centre_rule,
    eval_plan,
    eval_views,
    train_plan,
    train_view,
)
from videozoo.data.loader import Batch, Numbers, VideoDataset, share_of
from videozoo.errors import DataError, MisfitError, VideoError, counted, few
from videozoo.settings.clips import ClipData, ClipViews
from videozoo.settings.shared import Part
from videozoo.types import ClipShape

_log = logging.getLogger(__name__)


def entry_span(entry: ClipEntry, reader: VideoReader) -> tuple[int, int]:
    """Frames of the part of a video that an entry is about: the first, and after the last."""
    count = reader.num_frames
    if entry.frame_span is not None:
        first, last = entry.frame_span
        if first >= count:
            raise VideoError(
                f"{entry.path}: has {counted(count, 'frame')}, and the list names frames from "
                f"{first} on"
            )
        return first, min(last, count)
    if entry.start_seconds is None and entry.end_seconds is None:
        return 0, count
    rate = reader.info.frames_per_second
    if not rate:
        raise VideoError(f"{entry.path}: has no frame rate, so its seconds cannot be found")
    first = min(round((entry.start_seconds or 0) * rate), count - 1)
    end = entry.end_seconds
    last = count if end is None else min(round(end * rate), count)
    return max(first, 0), max(last, first + 1)


# --- batches ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClipBatch(Batch):
    """Views of some videos, not yet normalised."""

    clips: Tensor
    """uint8 (V, T, C, H, W), C = 3 * frames_per_step; channels-last in memory."""
    labels: Tensor
    """int64 (V,): class of the video, -1 where unknown. Where a video may have several classes:
    float32 (V, num_classes), 1 for its classes and 0 for others; -1 where they are unknown."""
    videos: Tensor
    """int64 (V,): place of the video in the list (in `videos_of(entries)` for lists of views)."""
    views: Tensor
    """int64 (V,): number of the view among those of its video, from 0."""

    on_device: ClassVar = ("labels", "videos", "views")

    def __len__(self) -> int:
        return len(self.labels)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        clips = change(_as_stored(self.clips)).permute(0, 1, 4, 2, 3)
        return replace(super()._each(change), clips=clips)


def _as_stored(clips: Tensor) -> Tensor:
    """(V, T, C, H, W) in its memory order, (V, T, H, W, C)."""
    return clips.permute(0, 1, 3, 4, 2)


@dataclass(frozen=True)
class _Views:
    """Some views of a video."""

    views: list[NDArray[np.uint8]]
    label: int | tuple[int, ...] | None
    """The class, -1 if unknown; or all classes, None if unknown."""
    video: int
    first_view: int = 0
    damage: str = ""


def _collated(items: Sequence[_Views], table_width: int | None = None) -> ClipBatch:
    """Put views together; `table_width`: classes of a table, where a video may have several."""
    clips = torch.from_numpy(np.stack([view for item in items for view in item.views]))
    counts = torch.tensor([len(item.views) for item in items])
    return ClipBatch(
        clips=clips.permute(0, 1, 4, 2, 3),  # (V, T, H, W, C) -> (V, T, C, H, W)
        labels=_labels_of(items, table_width).repeat_interleave(counts, dim=0),
        videos=torch.tensor([item.video for item in items]).repeat_interleave(counts),
        views=torch.cat(
            [torch.arange(item.first_view, item.first_view + len(item.views)) for item in items]
        ),
        damaged={item.video: item.damage for item in items if item.damage},
    )


def _labels_of(items: Sequence[_Views], table_width: int | None) -> Tensor:
    if table_width is None:
        return torch.tensor([item.label for item in items])
    table = torch.zeros(len(items), table_width)
    for row, item in zip(table, items, strict=True):
        if isinstance(item.label, tuple):
            row[list(item.label)] = 1.0
        else:
            row.fill_(-1.0)
    return table


def _classes_of(
    entry: ClipEntry, reader: VideoReader, num_classes: int | None
) -> tuple[int, ...] | None:
    """All classes of a video; None if they are unknown."""
    if entry.labels is not None:
        return entry.labels
    label = _label_of(entry, reader, num_classes)
    return None if label < 0 else (label,)


def _label_of(entry: ClipEntry, reader: VideoReader, num_classes: int | None) -> int:
    """Class of a video; 2019 pickles hold it themselves."""
    label = entry.label
    if label is None:
        label = cast("int | None", getattr(reader, "label", None))
    if label is None:
        return -1
    if num_classes is not None and not -1 <= label < num_classes:
        raise MisfitError(f"{entry.path}: holds label {label}, expected 0 to {num_classes - 1}")
    return label


@contextmanager
def _naming(path: Path) -> Generator[None]:
    """Turn errors of the transforms into errors that name the video."""
    try:
        yield
    except (VideoError, MisfitError):
        raise
    except DataError as error:
        raise VideoError(f"{path}: {error}") from None


def epoch_order(
    num_entries: int, *, seed: int, epoch: int, rank: int = 0, world: int = 1
) -> list[int]:
    """Order in which one of `world` processes takes the training list; see `share_of`.

    Source:
        PaddlePaddle/models release/1.8, kinetics reader; the same order with seed 0.

    >>> [epoch_order(3, seed=0, epoch=0, rank=k, world=2) for k in (0, 1)]  # 0 2 1, and 0 again
    [[0, 1], [2, 0]]
    """
    order = list(range(num_entries))
    random.Random(seed * 1_000_003 + epoch).shuffle(order)
    return share_of(np.array(order), rank=rank, world=world).tolist()


class ClipDataset(VideoDataset[_Views, ClipBatch]):
    """Training clips: one random clip per video and epoch."""

    usable, remedy, error = "read", "take them off the list", VideoError

    def __init__(
        self,
        entries: Sequence[ClipEntry],
        shape: ClipShape,
        data: ClipData,
        *,
        seed: int = 0,
        num_classes: int | None = None,
        several: bool = False,
    ) -> None:
        """Say how clips are cut; nothing is opened yet.

        Args:
            entries: The whole list, from `load_entries`.
            shape: The clips that the model takes.
            data: How clips are cut.
            seed: Of the order and of what is drawn.
            num_classes: Labels in 2019 pickles must be smaller; None does not check.
            several: A video may have several classes; needs `num_classes`.

        Raises:
            DataError: There are no entries, or `data.balance` needs classes that the list does not
                tell.
        """
        if not entries:
            raise DataError("there are no videos to train on")
        self._table_width = num_classes if several else None
        self._classes = _known_classes(entries) if data.balance else None
        self.entries = list(entries)
        self.plan = train_plan(shape, data)
        self.seed = seed
        self.epoch = 0
        self._num_classes = num_classes

    def __len__(self) -> int:
        return len(self.entries)

    def order(self, epoch: int) -> Numbers:
        """See `epoch_order`; with `data.balance` see `balanced_order`."""
        if self._classes is not None:
            return np.array(balanced_order(self._classes, seed=self.seed, epoch=epoch))
        return np.array(epoch_order(len(self), seed=self.seed, epoch=epoch))

    def read(self, number: int, epoch: int | None) -> _Views:
        """See `VideoDataset`."""
        video = number if self._classes is None else number % len(self.entries)
        entry = self.entries[video]
        label_of = _label_of if self._table_width is None else _classes_of
        with open_video(entry.path) as reader:
            label = label_of(entry, reader, self._num_classes)
            draws = Draws.of(self.seed, epoch or 0, number)
            with _naming(entry.path):
                view = train_view(reader, self.plan, draws, entry_span(entry, reader))
        return _Views([view], label, video)

    def collate(self, items: Sequence[_Views]) -> ClipBatch:
        """See `VideoDataset`."""
        return _collated(items, self._table_width)


def _known_classes(entries: Sequence[ClipEntry]) -> list[tuple[int, ...]]:
    """The classes of each video, for balancing."""
    unknown = next((entry for entry in entries if entry.classes is None), None)
    if unknown is not None:
        raise DataError(
            f"{unknown.name}: its class is not in the list but in the file, and data.balance needs "
            "it before; name the class in the list, or leave data.balance out"
        )
    return [entry.classes or () for entry in entries]


@dataclass(frozen=True, slots=True)
class _Key:
    """A clip of a video."""

    video: int
    entry: ClipEntry
    clip: int | None
    first_view: int


class ViewDataset(VideoDataset[_Views, ClipBatch]):
    """Every view of every video, for evaluation; an item is one clip with all its crops."""

    usable, error = "read", VideoError

    def __init__(
        self,
        entries: Sequence[ClipEntry],
        shape: ClipShape,
        data: ClipData,
        views: ClipViews | None = None,
        *,
        num_classes: int | None = None,
        several: bool = False,
    ) -> None:
        """Say how views are cut; nothing is opened yet.

        Args:
            entries: The whole list, from `load_entries`. Entries of 2019 test lists, one per view,
                count as one video where `video` agrees.
            shape: The clips that the model takes.
            data: How clips are cut.
            views: How many views of each video.
            num_classes: Labels in 2019 pickles must be smaller; None does not check.
            several: A video may have several classes; needs `num_classes`.

        Raises:
            ConfigError: The crop does not fit into the frame.
            DataError: There are no entries, or a list names a clip that is not cut.
        """
        if not entries:
            raise DataError("there are no videos to evaluate")
        self.plan = eval_plan(shape, data, views or ClipViews())
        self.rows_per_item = self.plan.num_crops
        self._table_width = num_classes if several else None
        self._num_classes = num_classes
        videos = views_by_video(entries)
        self._num_videos = len(videos)
        self.repeats = _repeats(videos)
        """Place in the list of a video -> those of later lines that say the same of it, which
        are no items of their own."""
        again = {video for later in self.repeats.values() for video in later}
        self._keys = [
            key
            for video, group in enumerate(videos)
            if video not in again
            for key in self._views(video, group)
        ]

    def _views(self, video: int, group: Sequence[ClipEntry]) -> list[_Key]:
        if group[0].crop_index is not None:  # the list itself says which views
            last = max(entry.clip_index or 0 for entry in group)
            if self.plan.sampling == "segments" and last >= self.plan.num_clips:
                raise DataError(
                    f"{group[0].path}: the list names its clip {last} (from 0), but this model "
                    f"sees {counted(self.plan.num_clips, 'clip')} of each video; name the videos "
                    f"alone, or see more: --set eval.num_clips={last + 1} (or predict.num_clips)"
                )
            return [_Key(video, entry, entry.clip_index, n) for n, entry in enumerate(group)]
        plan = self.plan
        clips = [None] if plan.num_clips == 1 else range(plan.num_clips)
        return [_Key(video, group[0], clip, n * plan.num_crops) for n, clip in enumerate(clips)]

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def num_videos(self) -> int:
        """How many videos there are."""
        return self._num_videos

    def video_of(self, number: int) -> int:
        """Place in the list of the video that an item shows."""
        return self._keys[number].video

    def share(self, rank: int, world: int) -> Numbers:
        """Every `world`-th video from `rank` on, all its views."""
        return np.flatnonzero([key.video % world == rank for key in self._keys])

    def read(self, number: int, epoch: int | None) -> _Views:
        """See `VideoDataset`."""
        key = self._keys[number]
        entry = key.entry
        label_of = _label_of if self._table_width is None else _classes_of
        with open_video(entry.path) as reader, _naming(entry.path):
            label = label_of(entry, reader, self._num_classes)
            views = eval_views(
                reader,
                self.plan,
                clip=key.clip,
                crop=entry.crop_index,
                centre=centre_rule(reader),
                span=entry_span(entry, reader),
            )
            damage = str(getattr(reader, "damage", ""))
        damage = f"{entry.path}: {damage}" if damage else ""
        return _Views(views, label, key.video, key.first_view, damage)

    def collate(self, items: Sequence[_Views]) -> ClipBatch:
        """See `VideoDataset`."""
        return _collated(items, self._table_width)

    def without(self, batch: ClipBatch, videos: Mapping[int, str]) -> ClipBatch | None:
        """Drop views of videos that turned out unreadable."""
        kept = [n for n, video in enumerate(batch.videos.tolist()) if video not in videos]
        if len(kept) == len(batch):
            return batch
        if not kept:
            return None
        chosen = torch.tensor(kept)
        return replace(
            batch,
            clips=_as_stored(batch.clips)[chosen].permute(0, 1, 4, 2, 3),
            labels=batch.labels[chosen],
            videos=batch.videos[chosen],
            views=batch.views[chosen],
        )


def _repeats(videos: Sequence[Sequence[ClipEntry]]) -> dict[int, list[int]]:
    """Videos that are named again, with the same class and part, by the place of the first."""
    first: dict[ClipEntry, int] = {}
    found: dict[int, list[int]] = {}
    for video, group in enumerate(videos):
        if len(group) > 1 or group[0].video is not None:  # a list of views
            continue
        place = first.setdefault(replace(group[0], name=""), video)
        if place != video:
            found.setdefault(place, []).append(video)
    return found


# --- which videos ----------------------------------------------------------------------------


def load_entries(
    data: ClipData,
    part: Part,
    *,
    num_classes: int | None = None,
    names: Sequence[str] | None = None,
    several: Several = "refused",
) -> list[ClipEntry]:
    """Read the videos of one part of the `data:` section.

    Without `test` these are those of `val`; without `val`, where `train` is a folder, its
    validation part.

    Args:
        data: The section.
        part: Which videos.
        num_classes: Labels must be smaller; None does not check.
        names: What a trained model calls its classes, in order. By default `class_names(data)`,
            which may look at other folders than those the model was trained on.
        several: What to do with several classes per video; see `read_list`.

    Raises:
        DataError: The part is not set, or its list or folder cannot be used.
    """
    path, of_folder = _source(data, part)
    if path is None:
        also = " (nor data.val)" if part == "test" else ""
        raise DataError(f"data.{part} is not set{also}; name a list or a folder of videos")
    names = names or class_names(data) or _names_in(data, path, num_classes)
    names = names or _names_by_folders(data, path, num_classes)
    if is_folder(data, path):
        found = read_folder(
            path,
            part=of_folder,
            val_share=data.val_share,
            split_seed=data.split_seed,
            class_names=names,
            num_classes=num_classes,
        )
        if several != "all":
            return found
        return [replace(one, label=None, labels=one.classes) for one in found]
    entries = read_list(
        path,
        count_frames=count_frames,
        root=data.root,
        num_classes=num_classes,
        class_names=names,
        kind=_kind(data),
        first_label=_first_label(data, part, path, num_classes, names, several == "all"),
        several=several,
        part=part,
        split=data.split,
        may_be_parts=True,
    )
    _warn_of_names(path, entries, names)
    return entries


def _warn_of_names(path: Path, entries: Sequence[ClipEntry], names: Sequence[str] | None) -> None:
    """Log a warning if the names of the classes do not go with the folders of most videos."""
    labelled = [(one.name, one.label) for one in entries if one.label is not None]
    other = misnamed(labelled, names or ())
    if other:
        video, _, label = other[0]
        _log.warning(
            "%s: %s of %s are in folders named as another class than theirs, such as %s, "
            "whose class is %r; are the class names in the order of their numbers?",
            *(path, f"{len(other):,}", counted(len(entries), "video"), video, label),
        )


def lists_several(data: ClipData, num_classes: int | None = None) -> str:
    """What to say of a training list that shows several classes per video; empty for any other.

    Raises:
        DataError: The list cannot be read.
    """
    path, _ = _source(data, "train")
    if path is None or is_folder(data, path) or not path.exists():
        return ""
    options: Any = {"num_classes": num_classes, "count_frames": count_frames}
    rows = list(list_rows(path, data.root, _kind(data), **options))
    if all(row.labels is None for row in rows):
        return ""
    count = sum(len(row.every_label) > 1 for row in rows)
    return f"{path}: {count:,} of {counted(len(rows), 'video')} have several classes"


def has_entries(data: ClipData, part: Part) -> bool:
    """Whether the `data:` section says where the videos of this part are."""
    return _source(data, part)[0] is not None


def class_names(data: ClipData) -> list[str] | None:
    """Names of the classes by number, or None where nothing tells them.

    Raises:
        DataError: The file with the names, or the folder, cannot be read.
    """
    if data.class_names is not None:
        return read_class_names(data.class_names)
    for path in (data.train, data.val, data.test):
        if path is not None and path.exists():
            return _own_names(data, path)
    return None


def _own_names(data: ClipData, path: Path) -> list[str] | None:
    """What a folder, or a list that names classes, calls them."""
    if is_folder(data, path):
        return folder_class_names(path)
    return own_class_names(path, root=data.root)


def _names_in(data: ClipData, path: Path, num_classes: int | None) -> list[str] | None:
    """Names of classes that are known by their numbers alone, in their order; this is said.

    Raises:
        DataError: There are more or fewer names than classes.
    """
    names = _own_names(data, path)
    if names is None or names == [str(number) for number in range(len(names))]:
        return names
    shown = few(f"{number} {name!r}" for number, name in enumerate(names))
    if num_classes is not None and len(names) != num_classes:
        raise DataError(
            f"{path}: names {counted(len(names), 'class')} ({shown}), and of the model's "
            f"{num_classes} only the numbers are known; name them in order with data.class_names"
        )
    _log.warning(
        "%s: the names of the classes are not known, only their numbers; taken in the order of "
        "the names here: %s",
        path,
        shown,
    )
    return names


def _names_by_folders(data: ClipData, path: Path, num_classes: int | None) -> list[str] | None:
    """For a list without labels, of videos in folders named as their classes; this is said."""
    train = data.train
    if train is None or train == path or not train.exists() or is_folder(data, path):
        return None
    if is_folder(data, train):
        return None
    first = _first_label(data, "train", train, num_classes, None, has_several=False)
    names = names_by_folders(path, train, first, root=data.root)
    if names is not None:
        _log.warning(
            "%s: has no labels; its classes are the folders of the videos, numbered as in %s",
            path,
            train,
        )
    return names


def settled_first_label(
    data: ClipData, num_classes: int, *, has_several: bool = False
) -> tuple[int | None, str]:
    """Find out what number the first class has in the list that is learnt from.

    `has_several`: Its videos may have several classes each.

    Returns:
        The number, None where no list has numbers; and what to say of it, if anything.

    Raises:
        DataError: Nothing tells, or the list cannot be read.
    """
    path, _ = _source(data, "train")
    if data.first_label is not None or path is None or not _has_numbers(data, path):
        return data.first_label, ""
    return _found_or_asked(data, path, num_classes, class_names(data), has_several)


def _first_label(
    data: ClipData,
    part: str,
    path: Path,
    num_classes: int | None,
    names: Sequence[str] | None,
    has_several: bool,
) -> int:
    """The number of the first class in the list of one part."""
    if not _has_numbers(data, path):
        return 0
    if data.first_label is None:
        first, remark = _found_or_asked(data, path, num_classes, names, has_several)
        if remark:
            _log.warning("%s", remark)
        return first
    if part != "train" and data.first_label == 0:
        found = _found_first_label(data, path, num_classes, names, has_several)
        if found is None or found[0]:
            _log.warning(
                "%s: labels start at 1, and the first class is 0 (data.first_label); if it is 1 in "
                "this list, pass --set data.first_label=1",
                path,
            )
    return data.first_label


def _found_or_asked(
    data: ClipData,
    path: Path,
    num_classes: int | None,
    names: Sequence[str] | None,
    has_several: bool,
) -> tuple[int, str]:
    found = _found_first_label(data, path, num_classes, names, has_several)
    if found is None:
        raise DataError(
            f"{path}: labels start at 1: is that the first class, or has class 0 no video here? "
            "Say which number the first class has: --set data.first_label=1, or =0"
        )
    return found


def _found_first_label(
    data: ClipData,
    path: Path,
    num_classes: int | None,
    names: Sequence[str] | None,
    has_several: bool,
) -> tuple[int, str] | None:
    named = data.class_names is not None and data.class_names.exists()
    return find_first_label(
        path,
        root=data.root,
        num_classes=num_classes,
        class_names=names,
        first_number=first_class_number(cast(Path, data.class_names)) if named else None,
        has_several=has_several,
        count_frames=count_frames,
    )


def _has_numbers(data: ClipData, path: Path) -> bool:
    """Whether this may be a list with numbers of classes."""
    if is_folder(data, path) or not path.exists():
        return False
    return data.format == "list" or not always_gives_names(path)


def _source(data: ClipData, part: Part) -> tuple[Path | None, FolderPart]:
    """The path of a part, and which part of that folder it is."""
    chosen = getattr(data, part)
    if chosen is not None:
        shared = [data.train, data.val, data.test].count(chosen) > 1
        # a folder that is named alone is used whole, unless it has parts of its own
        lone: FolderPart = "all"
        if part == "train" and _splits_itself(data):
            lone = "train"
        return chosen, part if shared or has_parts(chosen) else lone
    if part == "test" and data.val is not None:
        return _source(data, "val")
    if data.train is not None and _splits_itself(data):
        return data.train, part
    return None, "all"


def _splits_itself(data: ClipData) -> bool:
    """Whether `train` must give the validation videos too: a folder, or a list with parts."""
    if data.train is None or data.val is not None:
        return False
    if is_folder(data, data.train):
        return True
    return is_list_name(data.train) and data.train.exists() and bool(list_parts(data.train))


def is_folder(data: ClipData, path: Path) -> bool:
    """Whether a path is a folder with one folder of videos per class, and no list."""
    if data.format != "auto":
        return data.format == "folder"
    return path.is_dir() and not is_list_name(path)


def _kind(data: ClipData) -> Literal["auto", "list", "csv"]:
    return "auto" if data.format == "folder" else data.format
