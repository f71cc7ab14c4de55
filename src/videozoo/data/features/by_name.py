"""Features of whole videos, found by the name of the video in folders, packs and HDF5 files."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from videozoo.data.features._hdf5 import are_datasets, is_common_name, names_in, read_datasets
from videozoo.data.features._lmdb import Stored, holds_lmdb, stored_in
from videozoo.data.features.packs import MANIFEST
from videozoo.data.features.record_formats import find_records
from videozoo.data.features.records import (
    Facts,
    RecordSet,
    fingerprint,
    is_length,
    read_extractor,
    without_axes_of_one,
)
from videozoo.data.features.writer import FeatureFolder
from videozoo.data.files import PICKLE_SUFFIXES, VIDEO_SUFFIXES, walk
from videozoo.data.formats import Format, format_of, unknown
from videozoo.data.lengths import Measured
from videozoo.data.text import kind_of, of_video, text_of
from videozoo.data.video_names import names_apart
from videozoo.errors import DataError, MisfitError, NoFeaturesError, brief, counted, few
from videozoo.safe_npy import map_npy, read_npy, read_npz
from videozoo.safe_pickle import DamagedError, ForbiddenError, RefusedError, load_pickle

_HDF5 = (".h5", ".hdf5")
_PAIR = ("rgb", "flow")
_ONLY = ""  # name of the stream in files with one array
_MOST_KEPT = 4  # videos kept in memory, because events of one video often follow each other

Streams = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class _File:
    """The file of one video."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def streams(self) -> Streams:
        found = format_of(self.path, FORMATS)
        if found is None:
            raise unknown(f"{self.path}: not features of a video", FORMATS, path=self.path)
        try:
            return found.read(self.path)
        except DataError as error:
            error.absent = error.absent if self.path.exists() else self.path
            raise


@dataclass(frozen=True)
class _Files:
    """The files of one video, one per stream, as C-TCN has them."""

    paths: Mapping[str, _File]

    def __str__(self) -> str:
        return " + ".join(map(str, self.paths.values()))

    def streams(self) -> Streams:
        return {name: _only(file.streams(), str(file)) for name, file in self.paths.items()}


@dataclass(frozen=True)
class _Group:
    """A dataset, or a group of them, in an HDF5 file of many videos."""

    path: Path
    name: str

    def __str__(self) -> str:
        return f"{self.path}: {self.name}"

    def streams(self) -> Streams:
        return read_datasets(self.path, self.name)


@dataclass(frozen=True)
class _Record:
    """One video of a pack."""

    records: RecordSet
    number: int

    def __str__(self) -> str:
        return self.records.where(self.number)

    def streams(self) -> Streams:
        return self.records.read(self.number).streams


@dataclass(frozen=True)
class _Value:
    """One video of an LMDB database."""

    stored: Stored

    def __str__(self) -> str:
        return str(self.stored)

    def streams(self) -> Streams:
        arrays = dict(self.stored.arrays())
        arrays.pop("labels", None)
        return arrays


_Source = _File | _Files | _Group | _Record | _Value


@dataclass(frozen=True)
class VideoFact:
    """The video file that features were made of, as stored with them."""

    path: Path
    num_bytes: int | None
    """Its size then; None if unknown."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> VideoFact | None:
        """From the facts of a record; None if they do not tell."""
        path, size = facts.get("path"), facts.get("bytes")
        if not isinstance(path, str) or not path:
            return None
        return cls(Path(path), size if isinstance(size, int) else None)


@dataclass
class _Found:
    """The features that were found at a path."""

    sources: Iterable[tuple[str, _Source]]
    """Names of videos, each with the place of its features."""
    extractor: Facts | None = None
    durations: dict[str, float] = field(default_factory=dict[str, float])
    lengths: dict[str, int] = field(default_factory=dict[str, int])
    videos: dict[str, VideoFact] = field(default_factory=dict[str, VideoFact])


class FeatureFiles:
    """Features of videos by name; names match with or without a `v_` in front."""

    def __init__(
        self, path: Path | Sequence[Path] | RecordSet, *, streams: tuple[str, ...] = ()
    ) -> None:
        """Find the videos that have features.

        Args:
            path: One of `LAYOUTS`, several of them, or records that are open already. The layouts
                are: a folder with one file per video (.csv, .npy, .npz, .pt, .h5, .pkl, or pickles
                of the 2019 library without an ending); folders of such files; one subfolder per
                stream, such as `rgb` and `flow` of C-TCN; a feature pack or a folder of packs; one
                HDF5 file of many videos; the file of one video.
            streams: Arrays of a video, or subfolders, to concatenate in this order, cut to the
                shortest. By default the only one, or `rgb` and `flow`.

        Raises:
            DataError: The path does not exist, holds no features, or holds a video twice.
        """
        if isinstance(path, RecordSet):
            held, path = _records(path, streams), path.files[0].path
        else:
            paths = [path] if isinstance(path, Path) else path
            held = _together([(one, _held_at(_Place(one, streams or _PAIR))) for one in paths])
            path = paths[0]
        self.path = path
        self._streams = streams
        self._sources: dict[str, _Source] = {}
        self._kept: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._most_bytes: int | None = None
        self.extractor = held.extractor
        """Facts about what made the features, if known."""
        self.durations = held.durations
        """Lengths of videos in seconds, as far as they are stored with the features."""
        self.videos = held.videos
        """Names of videos -> their files, as far as they are stored with the features."""
        self._lengths = held.lengths
        for name, source in held.sources:
            if name in self._sources:
                raise DataError(
                    f"{path}: features of {name!r} are there twice: {self._sources[name]} and "
                    f"{source}"
                )
            self._sources[name] = source
        if not self._sources and any(path.glob("*.tfrecord")):
            raise DataError(
                f"{path}: holds TFRecords, which only models that tag videos can read; for this "
                "model extract the features again with --format pack (or npy, npz, csv)"
            )
        if not self._sources:
            raise unknown(
                f"{path}: no features of videos here",
                (*LAYOUTS, *FORMATS),
                "`videozoo extract` makes features from videos.",
                path=path,
                kind=NoFeaturesError,
            )

    @property
    def fingerprint(self) -> str | None:
        """Hash of what made the features; None if that is not known."""
        return None if self.extractor is None else fingerprint(self.extractor)

    @property
    def measured(self) -> Measured:
        """Lengths of the videos, as far as their features tell."""
        rate = (self.extractor or {}).get("rate")
        each = 1 / rate if isinstance(rate, int | float) and rate > 0 else 0.0
        counted = {n: count * each for n, count in self._lengths.items() if count * each > 0}
        estimates = {name: one for name, one in counted.items() if name not in self.durations}
        return Measured(self.path, self.durations, estimates, slack_seconds=each)

    def __len__(self) -> int:
        return len(self._sources)

    def __iter__(self) -> Iterator[str]:
        """Names of videos, sorted."""
        return iter(sorted(self._sources))

    def __contains__(self, video: object) -> bool:
        return isinstance(video, str) and self._source(video) is not None

    def where(self, video: str) -> str:
        """File or record of a video, for messages; the video must have features."""
        return str(self._source(video))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": OrderedDict()}

    @property
    def own_rate(self) -> float | None:
        """Vectors per second, as stored with the features; None if it is not stored."""
        rate = (self.extractor or {}).get("rate")
        return None if rate is None else float(rate)

    def rate(self, configured: float | None, default: float) -> float:
        """Vectors per second: as configured or as stored with the features, else the default.

        Raises:
            DataError: The configured and the stored number differ.
        """
        own = self.own_rate
        if own is not None and configured is not None and abs(own - configured) > 1e-3 * own:
            raise DataError(
                f"{self.path}: the features say that they have {own:g} vectors per second, but "
                f"data.rate is {configured:g}, with which every time would be wrong; leave it out: "
                "--set data.rate=null"
            )
        return configured or own or default

    def rate_notes(self, configured: float | None, rate: float) -> tuple[str, ...]:
        """A note if the number of vectors per second is only assumed; else empty."""
        if configured is not None or self.own_rate is not None:
            return ()
        return (
            f"{self.path}: the features do not say how many vectors per second they have; "
            f"{rate:g} is assumed: --set data.rate=NUMBER",
        )

    def read(self, video: str, *, feature_dim: int | None = None) -> NDArray[np.float32]:
        """Return the features of a video, (T, C) float32. They are cached: do not write into them.

        Args:
            video: Name of the video.
            feature_dim: Required C; None accepts any.

        Raises:
            DataError: The video has no features, the file is damaged or empty, or a value is not
                finite.
            MisfitError: C is not `feature_dim`, the video has several arrays and `streams` names
                none, or features are stored as bytes.
        """
        features = self._kept.pop(video, None)
        if features is None or feature_dim not in (None, features.shape[1]):
            features = self._read(video, feature_dim)
        self._kept[video] = features
        while len(self._kept) > 1 and self._keeps_too_much():
            self._kept.popitem(last=False)
        return features

    def keep_up_to(self, num_bytes: int) -> None:
        """Keep videos in memory up to a size instead of a few; the last one read always stays."""
        self._most_bytes = num_bytes

    def _keeps_too_much(self) -> bool:
        if self._most_bytes is None:
            return len(self._kept) > _MOST_KEPT
        return sum(each.nbytes for each in self._kept.values()) > self._most_bytes

    def length(self, video: str) -> int:
        """Number of feature vectors of a video.

        It is read from what is stored beside the features or from the head of a `.npy` file;
        features in other files are read whole.

        Raises:
            DataError, MisfitError: As `read`.
        """
        stored = of_video(video, self._lengths)
        if stored:
            return stored
        source = self._source(video)
        if isinstance(source, _File) and source.path.suffix == ".npy":
            shape = map_npy(source.path).shape
            if len(shape) == 2 and shape[0]:  # else `read` says what is wrong
                return shape[0]
        return len(self.read(video))

    def _read(self, video: str, feature_dim: int | None) -> NDArray[np.float32]:
        source = self._source(video)
        if source is None:
            raise DataError(f"{video}: no features in {self.path}")
        where = str(source)
        features = self._side_by_side(source.streams(), where)
        if features.ndim == 1 and isinstance(source, _Value):
            features = _in_rows(features, where, feature_dim)
        if features.ndim > 2 and max(features.shape) == features.size == feature_dim:
            features = features.reshape(1, -1)  # one step, wherever its axis is
        if features.ndim != 2:
            raise DataError(
                f"{where}: shape {features.shape}, expected (steps, values)"
                + ("; only axes of length 1 can be left out" if features.ndim > 2 else "")
            )
        if not len(features):
            raise DataError(f"{where}: empty: it has no features")
        told = of_video(video, self._lengths)
        if told and told != len(features):
            raise DataError(
                f"{where}: has {counted(len(features), 'vector')}, but {told:,} are told beside "
                "it, so that every time would be wrong: it was changed since; extract it again"
            )
        if feature_dim is not None and features.shape[1] != feature_dim:
            turned = "; is it transposed?" if features.shape[0] == feature_dim else ""
            raise MisfitError(
                f"{where}: {features.shape[1]} values per step, expected model.feature_dim="
                f"{feature_dim}{turned or '; are these the features the model was made for?'}"
            )
        features = features.astype(np.float32, copy=False)
        if not np.isfinite(features).all():
            step, value = (int(place) for place in np.argwhere(~np.isfinite(features))[0])
            raise DataError(
                f"{where}: {features[step, value]} at step {step}, value {value}; extract it again"
            )
        return features

    def _source(self, video: str) -> _Source | None:
        return of_video(video, self._sources)

    def _side_by_side(self, streams: Streams, where: str) -> NDArray[Any]:
        names = self._streams
        if set(streams) == {_ONLY} or not names:
            names = _PAIR if set(streams) == set(_PAIR) else tuple(streams)
            if len(names) != 1 and names != _PAIR:
                held = ", ".join(streams) or "none"
                shown = ", ".join(f"{name} {array.shape}" for name, array in streams.items())
                tables = [name for name, array in streams.items() if array.ndim > 1]
                example = next(iter((*tables, *streams)), "NAME")
                raise MisfitError(
                    f"{where}: holds several arrays ({held}); choose data.streams, such as "
                    f"--set 'data.streams=[{example}]'; their shapes: {shown or 'none'}"
                )
        for name in names:
            if name not in streams:
                held = ", ".join(streams)
                raise MisfitError(f"{where}: has no array {name!r} (data.streams); it has: {held}")
        chosen = [without_axes_of_one(streams[name]) for name in names]
        for array in chosen:
            if array.dtype.kind == "u" and array.dtype.itemsize == 1:
                raise MisfitError(f"{where}: stored as bytes, expected floating-point numbers")
            if array.dtype.kind not in "fiu":
                raise DataError(f"{where}: holds {array.dtype}, expected numbers")
            if array.ndim != 2:
                return array
        shortest = min(map(len, chosen))
        if len(chosen) == 1:
            return chosen[0]
        return np.concatenate([array[:shortest] for array in chosen], axis=1)


def _in_rows(values: NDArray[Any], where: str, feature_dim: int | None) -> NDArray[Any]:
    """Numbers that are stored without a shape, as (T, C)."""
    if feature_dim is None:
        raise DataError(
            f"{where}: {counted(values.size, 'number')} without a shape: only a model that says "
            "how many there are per step (model.feature_dim) can read them"
        )
    if values.size % feature_dim:
        raise MisfitError(
            f"{where}: {counted(values.size, 'number')} without a shape, which are no steps of "
            f"model.feature_dim={feature_dim}"
        )
    return values.reshape(-1, feature_dim)


def _only(streams: Streams, where: str) -> NDArray[Any]:
    if len(streams) != 1:
        raise MisfitError(f"{where}: holds {len(streams)} arrays, expected one per stream")
    return next(iter(streams.values()))


# --- layouts: where the features of many videos lie ------------------------------------------


def _files_in(folder: Path) -> list[tuple[str, Path]]:
    """Names of videos and their files, sorted; files without ending only if no file has one."""
    try:
        with os.scandir(folder) as inside:
            names = sorted(entry.name for entry in inside if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read as a folder: {error.strerror}") from None
    paths = [folder / name for name in names]
    if not any(path.suffix or path.is_dir() for path in paths):
        return [(path.name, path) for path in paths]
    return [(path.stem, path) for path in paths if _is_of_video(path)]


def _is_of_video(path: Path) -> bool:
    return bool(path.suffix) and format_of(path, FORMATS) is not None


@dataclass(frozen=True)
class _Place:
    """A path in which to look for features."""

    path: Path
    streams: tuple[str, ...]
    """Names of the subfolders, in order."""

    @cached_property
    def files(self) -> list[tuple[str, Path]]:
        """Names of videos and their files, in a folder."""
        return _files_in(self.path)

    @cached_property
    def tree(self) -> list[tuple[str, Path]]:
        """Names of videos and their files in the folders below, if the folder has none itself."""
        if not self.path.is_dir() or self.files:
            return []
        paths = [path for path in walk(self.path) if _is_of_video(path)]
        return list(zip(names_apart(paths, root=self.path), paths, strict=True))

    @property
    def holds_packs(self) -> bool:
        if (self.path / MANIFEST).is_file():
            return True
        if not self.path.is_dir() or self.files:
            return False
        inside = sorted(self.path.iterdir())
        return any((path / MANIFEST).is_file() for path in inside if path.is_dir())

    @property
    def holds_streams(self) -> bool:
        is_empty = self.path.is_dir() and not self.files
        return is_empty and all((self.path / name).is_dir() for name in self.streams)


def holds_features(path: Path) -> bool:
    """Whether a path holds features by the names of videos, and no videos.

    Pickles and files without ending do not count, because they may be clips; of tables, those do
    that hold numbers only.
    """
    if holds_lmdb(path):
        return True
    if path.is_file():
        return _is_surely_of_video(path)
    if not path.is_dir():
        return False
    inside = [one for one in path.rglob("*") if one.is_file()]
    if any(one.suffix.lower() in VIDEO_SUFFIXES for one in inside):
        return False
    place = place_of(path)
    return place.holds_packs or any(map(_is_surely_of_video, inside))


def _is_surely_of_video(path: Path) -> bool:
    if path.suffix.lower() in ("", *PICKLE_SUFFIXES) or not _is_of_video(path):
        return False
    return path.suffix.lower() != ".csv" or _holds_numbers(path)


def _holds_numbers(path: Path) -> bool:
    try:
        lines = text_of(path).splitlines()[1:2]
    except DataError:
        return False
    return bool(lines) and _are_numbers(lines[0])


def place_of(path: Path) -> _Place:
    """What the layouts are told by, with the usual names of streams."""
    return _Place(path, _PAIR)


def _together(parts: Sequence[tuple[Path, _Found]]) -> _Found:
    """What was found at several paths, as one.

    Raises:
        DataError: The features come from different extractors.
    """
    (first, held), *others = parts
    if not others:
        return held
    sources = list(held.sources)
    for path, other in others:
        if (held.extractor is None) != (other.extractor is None) or (
            held.extractor is not None
            and other.extractor is not None
            and fingerprint(held.extractor) != fingerprint(other.extractor)
        ):
            raise DataError(
                f"features of different origin are mixed: those in {first} and those in {path} "
                "were not made by one encoder in one way; use them apart, or make them again"
            )
        sources += other.sources
        held.durations.update(other.durations)
        held.lengths.update(other.lengths)
        held.videos.update(other.videos)
    return replace(held, sources=sources)


def _held_at(place: _Place) -> _Found:
    if not place.path.exists():
        raise DataError(f"{place.path}: no such file or folder of features")
    layout = format_of(place, LAYOUTS)
    return _Found(()) if layout is None else layout.read(place)


def _packs(place: _Place) -> _Found:
    return _records(find_records(place.path, kind="pack"), place.streams)


def _records(records: RecordSet, streams: Sequence[str]) -> _Found:
    """Videos of records; their lengths are those of the streams that are read."""
    sources: list[tuple[str, _Source]] = []
    held = _Found(sources, records.extractor)
    for number in range(len(records)):
        record = records.read(number)
        sources.append((record.name, _Record(records, number)))
        read = [record.streams[name] for name in streams if name in record.streams]
        held.lengths[record.name] = min(map(len, read or record.streams.values()), default=0)
        if record.duration_seconds is not None:
            held.durations[record.name] = record.duration_seconds
        if (video := VideoFact.of(record.facts)) is not None:
            held.videos[record.name] = video
    records.close()
    return held


def _folder_per_stream(place: _Place) -> _Found:
    parts = {name: dict(_files_in(place.path / name)) for name in place.streams}
    names = set.intersection(*(set(part) for part in parts.values()))
    files = [
        (name, _Files({stream: _File(part[name]) for stream, part in parts.items()}))
        for name in names
    ]
    return _Found(files, read_extractor(place.path))


def _folder(place: _Place) -> _Found:
    held = _Found([(name, _File(path)) for name, path in place.files], read_extractor(place.path))
    _tell_lengths(held, place.path)
    return held


def _tree(place: _Place) -> _Found:
    return _Found([(name, _File(path)) for name, path in place.tree], read_extractor(place.path))


def _tell_lengths(held: _Found, folder: Path) -> None:
    """Add the lengths that an extraction wrote beside its files."""
    if held.extractor is None:
        return
    written = FeatureFolder(folder, "npz", held.extractor)
    written.read()
    for name, _ in held.sources:
        line = written.done.get(name)
        if line is None:
            continue
        length, duration = line.get("length"), line.get("duration_seconds")
        is_count = isinstance(length, int) and not isinstance(length, bool) and length >= 0
        if not is_count or not (duration is None or is_length(duration)):
            raise DataError(
                f"{folder}: damaged: {brief(name)} is stored with {brief(length)} vectors and "
                f"{brief(duration)} seconds, expected numbers; extract it again"
            )
        held.lengths[name] = int(line["length"])
        if duration is not None:
            held.durations[name] = float(duration)
        if (video := VideoFact.of(line)) is not None:
            held.videos[name] = video


def _hdf5(place: _Place) -> _Found:
    """Videos by name; or one video, if the data sets have the names of streams."""
    names = names_in(place.path)
    known = {*_PAIR, *place.streams}
    streams = [name for name in names if name in known]
    if streams:
        shown = few([repr(name) for name in streams])
        others = [repr(name) for name in names if name not in known]
        if not are_datasets(place.path, streams):
            raise DataError(
                f"{place.path}: {shown} at its top is the name of a stream, and holds other data "
                "sets: a group per stream is not read; store a group per video, with a data set "
                "per stream: VIDEO/rgb, VIDEO/flow"
            )
        if others and not set(place.streams) <= set(streams):
            raise DataError(
                f"{place.path}: holds {shown}, as one video with a data set per stream, and "
                f"{few(others)}, as many videos; if it is one video, name its streams: --set "
                f"'data.streams=[{', '.join(streams)}]'; if many, rename what is called {shown}"
            )
        return _one_file(place)
    if len(names) == 1 and is_common_name(names[0]) and are_datasets(place.path, names):
        return _one_file(place)
    return _Found([(name.rpartition("/")[2], _Group(place.path, name)) for name in names])


def _one_file(place: _Place) -> _Found:
    held = _Found([(place.path.stem, _File(place.path))], read_extractor(place.path.parent))
    _tell_lengths(held, place.path.parent)
    return held


LAYOUTS: tuple[Format[_Place, Callable[[_Place], _Found]], ...] = (
    Format(
        "feature packs",
        lambda place: place.holds_packs,
        _packs,
        f"features/{MANIFEST}\nfeatures/rgb.npy",
        f"features/{MANIFEST}",
        about="A pack of `videozoo extract`, or a folder of packs.",
        written="`videozoo extract`, by default",
    ),
    Format(
        "one folder per stream",
        lambda place: place.holds_streams,
        _folder_per_stream,
        "features/rgb/a.npy\nfeatures/flow/a.npy",
        "features/rgb/a.npy",
        about="As C-TCN has them: one folder of files for `rgb`, one for `flow`; data.streams.",
    ),
    Format(
        "one file per video, in folders",
        lambda place: bool(place.tree),
        _tree,
        "features/run/a.npy\nfeatures/jump/b.npz",
        about="Videos of one name in different folders are called FOLDER__NAME.",
    ),
    Format(
        "LMDB database",
        lambda place: holds_lmdb(place.path),
        lambda place: _Found([(name, _Value(one)) for name, one in stored_in(place.path)]),
        "features/data.mdb",
        "features/data.mdb",
        about="A folder with data.mdb, or one file .lmdb or .mdb. Keys are names of videos; values "
        "are .npy, .npz, pickles of arrays, or float32 without a shape, which model.feature_dim "
        "gives. Keys VIDEO_frame_NUMBER are one vector per frame. Read without LMDB; no lock file.",
        source="LMDB 0.9, mdb.c; RULSTM, for keys of frames",
    ),
    Format(
        "one file per video",
        lambda place: place.path.is_dir(),
        _folder,
        "features/a.npy\nfeatures/b.npz",
        "features/a.npy",
        about="Named after the videos, of any form below, such as those of ActivityNet for BSN.",
        written="`videozoo extract --format npz | npy | csv`",
    ),
    Format(
        "HDF5 file of many videos",
        lambda place: place.path.suffix.lower() in _HDF5,
        _hdf5,
        "features.h5",
        "features.h5",
        about="A data set per video, or a group per video with data sets of any name: the only "
        "one, `rgb` and `flow`, or those of data.streams; all may lie in one group `features`. "
        "Data sets `rgb` and `flow` at its top are the streams of one video.",
    ),
    Format(
        "file of one video",
        lambda place: _is_of_video(place.path),
        _one_file,
        "a.npy",
        "a.npy",
        about="Any form below.",
    ),
)
"""Layouts: where the features of videos lie. The examples are names of files."""


# --- formats: the file of one video ----------------------------------------------------------


def _from_csv(path: Path) -> NDArray[np.float32]:
    """One row per step; if the first row is not numbers, it is a heading."""
    lines = text_of(path).splitlines()
    heading = bool(lines) and not _are_numbers(lines[0])
    rows = [line for line in lines[heading:] if line.strip()]
    if not rows:
        raise DataError(f"{path}: empty: it has no features")
    try:
        return np.loadtxt(rows, np.float32, delimiter=",", ndmin=2, comments=None)
    except ValueError as error:
        raise DataError(f"{path}: not a table of numbers: {error}") from None


def _are_numbers(line: str) -> bool:
    try:
        return bool([float(text) for text in line.split(",")])
    except ValueError:
        return False


def _from_pickle(path: Path) -> NDArray[Any]:
    """A dict with the key b'scores', as in C-TCN, or an array."""
    content = load_pickle(path)
    if isinstance(content, dict):
        held = cast("dict[Any, Any]", content)
        content = held.get(b"scores", held.get("scores"))
    if isinstance(content, list):
        try:
            content = np.asarray(content, np.float32)
        except (ValueError, TypeError):
            content = None
    if not isinstance(content, np.ndarray):
        raise DataError(f"{path}: expected a dict with an array b'scores' (steps, values)")
    return cast("NDArray[Any]", content)


def _in_npz(path: Path) -> Streams:
    """Labels of taggers do not count."""
    arrays = read_npz(path)
    arrays.pop("labels", None)
    return arrays


def _from_torch(path: Path) -> Streams:
    """A tensor, or a dict of tensors; other values of a dict do not count."""
    from torch import Tensor  # here: torch takes seconds, and other files do without

    from videozoo.safe_torch import read_torch_file

    try:
        content = read_torch_file(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (ForbiddenError, RefusedError, DamagedError) as error:
        raise DataError(f"{path}: not tensors that torch.save wrote: {error}") from None
    held = cast("dict[Any, Any]", content) if isinstance(content, dict) else {_ONLY: content}
    found = {str(name): one for name, one in held.items() if isinstance(one, Tensor)}
    if not found:
        raise DataError(
            f"{path}: holds {kind_of(content)} without tensors, expected a tensor (steps, values), "
            "or a dict of them"
        )
    half = "torch.bfloat16"  # which numpy does not have
    return {
        n: (t.float() if str(t.dtype) == half else t).detach().numpy() for n, t in found.items()
    }


def _in_datasets(path: Path) -> Streams:
    return read_datasets(path, None)


def _alone(read: Callable[[Path], NDArray[Any]]) -> Callable[[Path], Streams]:
    """Turn a function that reads one array into one that reads streams."""
    return lambda path: {_ONLY: read(path)}


def _ends(*suffixes: str) -> Callable[[Path], bool]:
    return lambda path: path.suffix.lower() in suffixes


FORMATS: tuple[Format[Path, Callable[[Path], Streams]], ...] = (
    Format(
        "CSV",
        _ends(".csv"),
        _alone(_from_csv),
        "f0,f1\n0.1,0.2\n0.3,0.4\n",
        "a.csv",
        about="One row per step, with or without a heading, as ActivityNet's features for BSN.",
        written="`videozoo extract --format csv`",
    ),
    Format(
        "NumPy",
        _ends(".npy"),
        _alone(read_npy),
        "(T, C) float32",
        "a.npy",
        about="One array.",
        written="`videozoo extract --format npy`",
    ),
    Format(
        "NumPy, several streams",
        _ends(".npz"),
        _in_npz,
        "rgb (T, C), flow (T, C)",
        "a.npz",
        about="One array, or one per stream; data.streams chooses.",
        written="`videozoo extract --format npz`",
    ),
    Format(
        "PyTorch",
        _ends(".pt", ".pth"),
        _from_torch,
        "a tensor (T, C), or a dict of them: rgb (T, C), flow (T, C)",
        "a.pt",
        about="what torch.save wrote; it is read without running anything in it",
    ),
    Format(
        "HDF5",
        _ends(*_HDF5),
        _in_datasets,
        "rgb (T, C), flow (T, C)",
        "a.h5",
        about="One data set, or one per stream.",
    ),
    Format(
        "pickle",
        _ends(".pkl", ".pickle", ""),
        _alone(_from_pickle),
        "(T, C) float32, or the dict {b'scores': (T, C)} of C-TCN",
        "a.pkl",
        about="An array, or the dict of C-TCN; loaded without running anything in it.",
        source="PaddlePaddle/models release/1.8, C-TCN",
    ),
)
"""Formats of the file of one video, recognised by the ending."""
