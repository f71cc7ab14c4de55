"""From a list of videos to batches of clips.

A clip leaves here as bytes, 0..255; normalising is left to the device (`ops.pixels.normalize`).

What is drawn for a training video depends on the seed, the epoch and its place in the list only:
not on the number of workers, and not on whether the run was interrupted.
"""

import logging
import random
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from videozoo.data._workers import MOST_REPLACEMENTS, Loader, named_few
from videozoo.data.annotations.class_folders import Part, folder_class_names, has_parts, read_folder
from videozoo.data.annotations.class_names import first_class_number, read_class_names
from videozoo.data.annotations.list_labels import (
    always_gives_names,
    find_first_label,
    own_class_names,
)
from videozoo.data.annotations.videos import (
    ClipEntry,
    read_list,
    videos_of,
    views_by_video,
)
from videozoo.data.frames.video import VideoReader, count_frames, open_video
from videozoo.data.frames.views import (
    Draws,
    ViewPlan,
    centre_rule,
    eval_plan,
    eval_views,
    train_plan,
    train_view,
)
from videozoo.errors import DataError, VideoError
from videozoo.settings.clips import ClipData, ClipViews
from videozoo.types import ClipShape

_log = logging.getLogger(__name__)


def entry_span(entry: ClipEntry, reader: VideoReader) -> tuple[int, int]:
    """Frames of the part of a video that an entry is about: the first, and after the last."""
    count = reader.num_frames
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
class ClipBatch:
    """Views of some videos, ready for a network but for normalising."""

    clips: Tensor
    """uint8 (V, T, C, H, W), C = 3 * frames_per_step; channels-last in memory."""
    labels: Tensor
    """int64 (V,): class of the video, -1 where unknown."""
    videos: Tensor
    """int64 (V,): place of the video in the list (in `videos_of(entries)` for lists of views)."""
    views: Tensor
    """int64 (V,): number of the view among those of its video, from 0."""
    replaced: int = 0
    """Training: how many of these stand in for a video that could not be read."""
    skipped: tuple[int, ...] = ()
    """Evaluation: videos that turned out unreadable. Leave them out of the result, also where an
    earlier batch held some views of them."""

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Self:
        """The same batch on a device; the copy overlaps with other work where memory is pinned."""
        return replace(
            self,
            clips=_as_stored(self.clips).to(device, non_blocking=True).permute(0, 1, 4, 2, 3),
            labels=self.labels.to(device, non_blocking=True),
            videos=self.videos.to(device, non_blocking=True),
            views=self.views.to(device, non_blocking=True),
        )

    def pin_memory(self) -> Self:
        """The same batch in memory that a GPU can fetch by itself."""
        return replace(
            self,
            clips=_as_stored(self.clips).pin_memory().permute(0, 1, 4, 2, 3),
            labels=self.labels.pin_memory(),
            videos=self.videos.pin_memory(),
            views=self.views.pin_memory(),
        )


def _as_stored(clips: Tensor) -> Tensor:
    """(V, T, C, H, W) as it lies in memory, (V, T, H, W, C)."""
    return clips.permute(0, 1, 3, 4, 2)


@dataclass(frozen=True)
class _Bad:
    """A video that could not be read. Travels from a worker as data, for a plain message."""

    video: int
    message: str


@dataclass(frozen=True)
class _Item:
    """What one entry gave."""

    views: list[NDArray[np.uint8]] = field(default_factory=list[NDArray[np.uint8]])
    label: int = -1
    video: int = -1
    first_view: int = 0
    bad: tuple[_Bad, ...] = ()
    damaged: tuple[_Bad, ...] = ()
    """The video itself, where some of it does not decode."""
    fatal: str | None = None
    """A mistake in the list, after which there is no going on."""


@dataclass(frozen=True)
class _Loaded:
    """What a worker sends."""

    batch: ClipBatch | None
    """None where no video could be read."""
    bad: tuple[_Bad, ...]
    damaged: tuple[_Bad, ...] = ()
    fatal: str | None = None

    def pin_memory(self) -> "_Loaded":
        return self if self.batch is None else replace(self, batch=self.batch.pin_memory())


class _LabelError(Exception):
    pass


def _collate(items: Sequence[_Item]) -> _Loaded:
    fatal = next((item.fatal for item in items if item.fatal), None)
    if fatal:
        return _Loaded(None, (), fatal=fatal)
    bad = tuple(problem for item in items for problem in item.bad)
    good = [item for item in items if item.views]
    if not good:
        return _Loaded(None, bad)
    clips = torch.from_numpy(np.stack([view for item in good for view in item.views]))
    counts = torch.tensor([len(item.views) for item in good])
    batch = ClipBatch(
        clips=clips.permute(0, 1, 4, 2, 3),  # (V, T, H, W, C) -> (V, T, C, H, W)
        labels=torch.tensor([item.label for item in good]).repeat_interleave(counts),
        videos=torch.tensor([item.video for item in good]).repeat_interleave(counts),
        views=torch.cat(
            [torch.arange(item.first_view, item.first_view + len(item.views)) for item in good]
        ),
        replaced=sum(bool(item.bad) for item in good),
    )
    return _Loaded(batch, bad, tuple(problem for item in good for problem in item.damaged))


def _label_of(entry: ClipEntry, reader: VideoReader, num_classes: int | None) -> int:
    """Class of a video; 2019 pickles hold it themselves."""
    label = entry.label
    if label is None:
        label = cast("int | None", getattr(reader, "label", None))
    if label is None:
        return -1
    if num_classes is not None and not -1 <= label < num_classes:
        raise _LabelError(f"{entry.path}: holds label {label}, expected 0 to {num_classes - 1}")
    return label


class _TrainItems(Dataset[_Item]):
    """Training clips by (epoch, place in the list)."""

    def __init__(
        self, entries: Sequence[ClipEntry], plan: ViewPlan, seed: int, num_classes: int | None
    ) -> None:
        self.entries = entries
        self.plan = plan
        self.seed = seed
        self.num_classes = num_classes

    def __getitem__(self, key: tuple[int, int]) -> _Item:
        epoch, place = key
        bad: list[_Bad] = []
        other = random.Random(f"{self.seed}/{epoch}/{place}")
        while len(bad) < MOST_REPLACEMENTS:
            try:
                return replace(self._read(place, epoch), bad=tuple(bad))
            except _LabelError as error:
                return _Item(fatal=str(error))
            except DataError as error:
                bad.append(_Bad(place, str(error)))
                place = other.randrange(len(self.entries))
        return _Item(bad=tuple(bad))

    def _read(self, place: int, epoch: int) -> _Item:
        entry = self.entries[place]
        with open_video(entry.path) as reader:
            label = _label_of(entry, reader, self.num_classes)
            draws = Draws.of(self.seed, epoch, place)
            with _naming(entry.path):
                view = train_view(reader, self.plan, draws, entry_span(entry, reader))
        return _Item([view], label, place)


class _EvalItems(Dataset[_Item]):
    """Evaluation views by (video, place among its views, entry, clip)."""

    def __init__(self, plan: ViewPlan, num_classes: int | None) -> None:
        self.plan = plan
        self.num_classes = num_classes

    def __getitem__(self, key: "_EvalKey") -> _Item:
        entry = key.entry
        try:
            with open_video(entry.path) as reader, _naming(entry.path):
                label = _label_of(entry, reader, self.num_classes)
                views = eval_views(
                    reader,
                    self.plan,
                    clip=key.clip,
                    crop=entry.crop_index,
                    centre=centre_rule(reader),
                    span=entry_span(entry, reader),
                )
                damage = str(getattr(reader, "damage", ""))
        except _LabelError as error:
            return _Item(fatal=str(error))
        except DataError as error:
            return _Item(bad=(_Bad(key.video, str(error)),))
        damaged = (_Bad(key.video, f"{entry.path}: {damage}"),) if damage else ()
        return _Item(views, label, key.video, key.first_view, damaged=damaged)


@dataclass(frozen=True, slots=True)
class _EvalKey:
    video: int
    entry: ClipEntry
    clip: int | None
    first_view: int


@contextmanager
def _naming(path: Path) -> Generator[None]:
    """Make what the transforms say about frames an error that names the video."""
    try:
        yield
    except VideoError:
        raise
    except DataError as error:
        raise VideoError(f"{path}: {error}") from None


class _Order(Sampler[list[Any]]):
    """The batches of one pass; set before each."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []

    def __iter__(self) -> Iterator[list[Any]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def _loader(
    items: Dataset[_Item], order: _Order, data: ClipData, *, num_batches: int, keep: bool
) -> Loader[_Loaded]:
    return Loader(
        items,
        order,
        num_workers=data.num_workers,
        prefetch_batches=data.prefetch_batches,
        num_batches=num_batches,
        keep=keep,
        collate=_collate,
    )


def epoch_order(
    num_entries: int, *, seed: int, epoch: int, rank: int = 0, world: int = 1
) -> list[int]:
    """Order in which one of `world` processes takes the training list.

    All processes shuffle alike; the head is repeated so that they get equally many, and process k
    takes every `world`-th from k on.

    Source:
        PaddlePaddle/models release/1.8, kinetics reader; the same order with seed 0.

    >>> [epoch_order(3, seed=0, epoch=0, rank=k, world=2) for k in (0, 1)]  # 0 2 1, and 0 again
    [[0, 1], [2, 0]]
    """
    order = list(range(num_entries))
    random.Random(seed * 1_000_003 + epoch).shuffle(order)
    each = -(-num_entries // world)
    return [order[(turn * world + rank) % num_entries] for turn in range(each)]


class TrainBatches:
    """Training batches, epoch by epoch; workers stay alive in between.

    Each epoch holds whole batches: what is left over at its end is dropped, as in 2019, unless it
    is the only batch.
    """

    def __init__(
        self,
        entries: Sequence[ClipEntry],
        shape: ClipShape,
        data: ClipData,
        *,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        num_classes: int | None = None,
    ) -> None:
        """Prepare to read; nothing is opened yet.

        Args:
            entries: The whole list, the same on every process.
            shape: What the model eats.
            data: How clips are cut, and how many workers cut them.
            batch_size: Clips a batch of this process.
            seed: Of the order and of what is drawn.
            rank: Number of this process.
            world: How many there are.
            num_classes: Labels in 2019 pickles must be smaller; None does not check.

        Raises:
            DataError: There are no entries.
        """
        if not entries:
            raise DataError("there are no videos to train on")
        self._entries = list(entries)
        self._data = data
        self._batch_size = batch_size
        self._seed = seed
        self._rank = rank
        self._world = world
        self._order = _Order()
        self._bad: dict[int, str] = {}
        self._loader = _loader(
            _TrainItems(self._entries, train_plan(shape, data), seed, num_classes),
            self._order,
            data,
            num_batches=self.batches_per_epoch,
            keep=True,
        )

    @property
    def batches_per_epoch(self) -> int:
        """Batches of this process in one epoch; the same on all."""
        each = -(-len(self._entries) // self._world)
        return max(1, each // self._batch_size)

    @property
    def bad_videos(self) -> dict[int, str]:
        """Videos that could not be read so far: place in the list, and why."""
        return dict(self._bad)

    def epoch(self, number: int, *, skip_batches: int = 0) -> "TrainEpoch":
        """Batches of one epoch, counted from 0; the first `skip_batches` are not even decoded."""
        order = epoch_order(
            len(self._entries),
            seed=self._seed,
            epoch=number,
            rank=self._rank,
            world=self._world,
        )
        size = self._batch_size
        batches = [
            [(number, place) for place in order[start * size : (start + 1) * size]]
            for start in range(skip_batches, self.batches_per_epoch)
        ]
        return TrainEpoch(self, batches)

    def _read(self, batches: list[list[Any]]) -> Iterator[ClipBatch]:
        self._order.batches = batches
        for loaded in self._loader if batches else ():
            if loaded.fatal:
                raise DataError(loaded.fatal)
            self._note(loaded.bad)
            if loaded.batch is None:
                raise DataError(
                    f"no video could be read in {MOST_REPLACEMENTS} tries; "
                    f"the last: {loaded.bad[-1].message}"
                )
            yield loaded.batch

    def _note(self, bad: Sequence[_Bad]) -> None:
        for problem in bad:
            self._bad.setdefault(problem.video, problem.message)
        share = len(self._bad) / len(self._entries)
        if share > self._data.bad_video_share:
            raise DataError(
                f"{len(self._bad)} of {len(self._entries)} training videos cannot be read, more "
                f"than data.bad_video_share={self._data.bad_video_share:g} allows; take them off "
                f"the list, or allow more:\n  {named_few(self._bad)}"
            )


@dataclass(frozen=True)
class TrainEpoch:
    """One epoch of `TrainBatches`; sized, to be iterated once or more."""

    _source: TrainBatches
    _batches: list[list[Any]]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[ClipBatch]:
        return self._source._read(self._batches)


class EvalBatches:
    """Every view of every video, once, in order, the last incomplete batch too.

    With several processes each takes every `world`-th video, all its views, none twice; so some
    may have a batch more than others.
    """

    def __init__(
        self,
        entries: Sequence[ClipEntry],
        shape: ClipShape,
        data: ClipData,
        views: ClipViews | None = None,
        *,
        batch_size: int | None = None,
        rank: int = 0,
        world: int = 1,
        skip_bad: bool = False,
        num_classes: int | None = None,
    ) -> None:
        """Prepare to read; nothing is opened yet.

        Args:
            entries: The whole list, the same on every process. Entries of 2019 test lists, one a
                view, count as one video where `video` agrees.
            shape: What the model eats.
            data: How clips are cut, and how many workers cut them.
            views: How many views a video; `views.batch_size` bounds the views in a batch.
            batch_size: In place of `views.batch_size`.
            rank: Number of this process.
            world: How many there are.
            skip_bad: Go on without videos that cannot be read, and report them.
            num_classes: Labels in 2019 pickles must be smaller; None does not check.

        Raises:
            ConfigError: The crop does not fit into the frame.
            DataError: There are no entries.
        """
        if not entries:
            raise DataError("there are no videos to evaluate")
        views = views or ClipViews()
        self.plan = eval_plan(shape, data, views)
        self._data = data
        self._skip_bad = skip_bad and len(videos_of(entries)) > 1
        self._num_classes = num_classes
        self._world = world
        self._bad: dict[int, str] = {}
        self.damaged: dict[int, str] = {}
        """Videos of the last pass that do not decode in full: place in the list, and why."""
        keys = [
            key
            for video, group in list(enumerate(views_by_video(entries)))[rank::world]
            for key in self._keys(video, group)
        ]
        size = max(1, (batch_size or views.batch_size) // self.plan.num_crops)
        self._batches = [keys[start : start + size] for start in range(0, len(keys), size)]

    @property
    def skipped(self) -> dict[int, str]:
        """Videos that could not be read in the last pass: place in the list, and why."""
        return dict(self._bad)

    def __len__(self) -> int:
        """Batches at most; a batch in which no video can be read is left out."""
        return len(self._batches)

    def __iter__(self) -> Iterator[ClipBatch]:
        self._bad, self.damaged = {}, {}
        if not self._batches:
            return
        order = _Order()
        order.batches = cast(Any, self._batches)
        items = _EvalItems(self.plan, self._num_classes)
        ready: ClipBatch | None = None  # held back, to take news of a batch that has no views
        news: tuple[int, ...] = ()
        for loaded in _loader(items, order, self._data, num_batches=len(self), keep=False):
            if loaded.fatal:
                raise DataError(loaded.fatal)
            news += self._note(loaded.bad)
            self.damaged |= {problem.video: problem.message for problem in loaded.damaged}
            batch = None if loaded.batch is None else _without(loaded.batch, self._bad)
            if batch is None:
                continue
            if ready is not None:
                yield ready
            ready, news = replace(batch, skipped=news), ()
        if ready is not None:
            yield replace(ready, skipped=ready.skipped + news)
        elif self._world == 1:
            raise DataError(f"none of the videos can be read:\n  {named_few(self._bad)}")

    def _keys(self, video: int, group: Sequence[ClipEntry]) -> list[_EvalKey]:
        if group[0].crop_index is not None:  # the list itself says which views
            return [_EvalKey(video, entry, entry.clip_index, n) for n, entry in enumerate(group)]
        plan = self.plan
        clips = [None] if plan.num_clips == 1 else range(plan.num_clips)
        return [_EvalKey(video, group[0], clip, n * plan.num_crops) for n, clip in enumerate(clips)]

    def _note(self, bad: Sequence[_Bad]) -> tuple[int, ...]:
        new: list[int] = []
        for problem in bad:
            if not self._skip_bad:
                raise VideoError(problem.message)
            if problem.video not in self._bad:
                self._bad[problem.video] = problem.message
                new.append(problem.video)
        return tuple(new)


def _without(batch: ClipBatch, bad: dict[int, str]) -> ClipBatch | None:
    """Drop views of videos that turned out unreadable."""
    kept = [n for n, video in enumerate(batch.videos.tolist()) if video not in bad]
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


# --- which videos ----------------------------------------------------------------------------


def load_entries(
    data: ClipData,
    part: Literal["train", "val", "test"],
    *,
    num_classes: int | None = None,
    names: Sequence[str] | None = None,
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

    Raises:
        DataError: The part is not set, or its list or folder cannot be used.
    """
    path, of_folder = _source(data, part)
    if path is None:
        also = " (nor data.val)" if part == "test" else ""
        raise DataError(f"data.{part} is not set{also}; name a list or a folder of videos")
    names = names or class_names(data) or _names_in(data, path, num_classes)
    if _is_folder(data, path):
        return read_folder(
            path,
            part=of_folder,
            val_share=data.val_share,
            split_seed=data.split_seed,
            class_names=names,
            num_classes=num_classes,
        )
    return read_list(
        path,
        count_frames=count_frames,
        root=data.root,
        num_classes=num_classes,
        class_names=names,
        kind=_kind(data),
        first_label=_first_label(data, part, path, num_classes, names),
    )


def has_entries(data: ClipData, part: Literal["train", "val", "test"]) -> bool:
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
    if _is_folder(data, path):
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
    few = ", ".join(f"{number} {name!r}" for number, name in enumerate(names[:3]))
    if num_classes is not None and len(names) != num_classes:
        raise DataError(
            f"{path}: names {len(names)} classes ({few}, ...), and of the model's {num_classes} "
            "only the numbers are known; name them in order with data.class_names"
        )
    _log.warning(
        "%s: the names of the classes are not known, only their numbers; taken in the order of "
        "the names here: %s, ...",
        path,
        few,
    )
    return names


def settled_first_label(data: ClipData, num_classes: int) -> tuple[int | None, str]:
    """Find out what number the first class has in the list that is learnt from.

    Returns:
        The number, None where no list has numbers; and what to say of it, if anything.

    Raises:
        DataError: Nothing tells, or the list cannot be read.
    """
    path, _ = _source(data, "train")
    if data.first_label is not None or path is None or not _has_numbers(data, path):
        return data.first_label, ""
    return _found_or_asked(data, path, num_classes, class_names(data))


def _first_label(
    data: ClipData, part: str, path: Path, num_classes: int | None, names: Sequence[str] | None
) -> int:
    """The number of the first class in the list of one part."""
    if not _has_numbers(data, path):
        return 0
    if data.first_label is None:
        first, remark = _found_or_asked(data, path, num_classes, names)
        if remark:
            _log.warning("%s", remark)
        return first
    if part != "train" and data.first_label == 0:
        found = _found_first_label(data, path, num_classes, names)
        if found is None or found[0]:
            _log.warning(
                "%s: labels start at 1, and the first class is 0 (data.first_label); if it is 1 in "
                "this list, pass --set data.first_label=1",
                path,
            )
    return data.first_label


def _found_or_asked(
    data: ClipData, path: Path, num_classes: int | None, names: Sequence[str] | None
) -> tuple[int, str]:
    found = _found_first_label(data, path, num_classes, names)
    if found is None:
        raise DataError(
            f"{path}: labels start at 1: is that the first class, or has class 0 no video here? "
            "Say which number the first class has: --set data.first_label=1, or =0"
        )
    return found


def _found_first_label(
    data: ClipData, path: Path, num_classes: int | None, names: Sequence[str] | None
) -> tuple[int, str] | None:
    named = data.class_names is not None and data.class_names.exists()
    return find_first_label(
        path,
        root=data.root,
        num_classes=num_classes,
        class_names=names,
        first_number=first_class_number(cast(Path, data.class_names)) if named else None,
    )


def _has_numbers(data: ClipData, path: Path) -> bool:
    """Whether this may be a list with numbers of classes."""
    if _is_folder(data, path) or not path.exists():
        return False
    return data.format == "list" or not always_gives_names(path)


def _source(data: ClipData, part: Literal["train", "val", "test"]) -> tuple[Path | None, Part]:
    """Where a part is, and which part of that folder."""
    chosen = getattr(data, part)
    if chosen is not None:
        shared = [data.train, data.val, data.test].count(chosen) > 1
        # a folder that is named alone is used whole, unless it has parts of its own
        lone: Part = "all"
        if part == "train" and _splits_itself(data):
            lone = "train"
        return chosen, part if shared or has_parts(chosen) else lone
    if part == "test" and data.val is not None:
        return _source(data, "val")
    if data.train is not None and _splits_itself(data):
        return data.train, part
    return None, "all"


def _splits_itself(data: ClipData) -> bool:
    """Whether `train` is a folder that must give the validation videos too."""
    return data.train is not None and data.val is None and _is_folder(data, data.train)


def _is_folder(data: ClipData, path: Path) -> bool:
    return data.format == "folder" or (data.format == "auto" and path.is_dir())


def _kind(data: ClipData) -> Literal["auto", "list", "csv"]:
    return "auto" if data.format == "folder" else data.format
