"""Features of whole videos, found by the name of the video in folders, packs and HDF5 files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from videozoo.data.features._hdf5 import names_in, read_datasets
from videozoo.data.features.records import (
    MANIFEST,
    Facts,
    NpzFile,
    RecordSet,
    find_records,
    fingerprint,
    read_extractor,
)
from videozoo.data.features.writer import FeatureFolder
from videozoo.data.lengths import Measured
from videozoo.data.text import spellings, text_of
from videozoo.errors import DataError, MisfitError
from videozoo.safe_npy import read_npy
from videozoo.safe_pickle import load_pickle

_HDF5 = (".h5", ".hdf5")
_PICKLES = (".pkl", ".pickle")
_SUFFIXES = (".csv", ".npy", ".npz", *_HDF5, *_PICKLES)
_PAIR = ("rgb", "flow")
_ONLY = ""  # name of the stream in files that hold one array

Streams = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class _File:
    """A file of one video."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def streams(self) -> Streams:
        suffix = self.path.suffix.lower()
        if suffix == ".npz":
            return NpzFile(self.path).read(0).streams
        if suffix in _HDF5:
            return read_datasets(self.path, None)
        if suffix in _PICKLES:
            return {_ONLY: _from_pickle(self.path)}
        return {_ONLY: _from_csv(self.path) if suffix == ".csv" else read_npy(self.path)}


@dataclass(frozen=True)
class _Files:
    """A file of each stream: the 2019 folders of C-TCN."""

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
    """A video of a pack."""

    records: RecordSet
    number: int

    def __str__(self) -> str:
        return self.records.where(self.number)

    def streams(self) -> Streams:
        return self.records.read(self.number).streams


_Source = _File | _Files | _Group | _Record


class FeatureFiles:
    """Features of videos by name; a `v_` in front of a name may be there or not."""

    def __init__(self, path: Path, *, streams: tuple[str, ...] = ()) -> None:
        """Look what is there.

        Args:
            path: A folder with one file a video (.csv, .npy, .npz, .h5, .pkl), or one subfolder of
                such files a stream, as C-TCN's `rgb` and `flow`; a feature pack or a folder of
                them; one HDF5 file of many videos; or the file of one video.
            streams: Arrays of a video, or subfolders, to be put side by side in this order, cut to
                the shortest. By default the only one, or `rgb` and `flow`.

        Raises:
            DataError: There is no such thing, it holds no features, or those of a video twice.
        """
        self.path = path
        self._streams = streams
        self.extractor: Facts | None = None
        """What made the features, where that is known."""
        self.durations: dict[str, float] = {}
        """Seconds of the videos whose features tell."""
        self._lengths: dict[str, int] = {}
        self._sources: dict[str, _Source] = {}
        if not path.exists():
            raise DataError(f"{path}: no such file or folder of features")
        if path.is_dir() and _holds_packs(path):
            records = find_records(path, kind="pack")
            self.extractor = records.extractor
            for number in range(len(records)):
                record = records.read(number)
                self._add(record.name, _Record(records, number))
                self._lengths[record.name] = min(map(len, record.streams.values()), default=0)
                if record.duration_seconds is not None:
                    self.durations[record.name] = record.duration_seconds
            records.close()
        elif path.is_dir():
            self._add_folder(path)
        elif path.suffix.lower() in _HDF5:
            for name in names_in(path):
                self._add(name, _Group(path, name))
        elif path.suffix.lower() in _SUFFIXES:
            self._add(path.stem, _File(path))
        if not self._sources and any(path.glob("*.tfrecord")):
            raise DataError(
                f"{path}: holds TFRecords, which models that tag videos read; for this one extract "
                "the features again with --format pack (or npy, npz, csv)"
            )
        if not self._sources:
            raise DataError(
                f"{path}: no features of videos here; expected one file a video "
                f"({', '.join(_SUFFIXES)}), a feature pack, or an HDF5 file; of videos, "
                "`videozoo extract` makes them"
            )

    @property
    def fingerprint(self) -> str | None:
        """Changes with what made the features; None where nothing is known of it."""
        return None if self.extractor is None else fingerprint(self.extractor)

    @property
    def measured(self) -> Measured:
        """How long the videos are, as far as their features tell."""
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
        """File or record of a video that is there, for messages."""
        return str(self._source(video))

    def read(self, video: str, *, feature_dim: int | None = None) -> NDArray[np.float32]:
        """Return the features of a video that is there, (T, C) float32.

        Args:
            video: Its name.
            feature_dim: C must be this.

        Raises:
            DataError: The file is damaged or empty, or holds what is not a number.
            MisfitError: C is another, the video has several arrays and none was chosen, or
                features are stored as bytes.
        """
        source = self._source(video)
        if source is None:
            raise DataError(f"{video}: no features in {self.path}")
        where = str(source)
        features = self._side_by_side(source.streams(), where)
        if features.ndim != 2:
            raise DataError(f"{where}: shape {features.shape}, expected (steps, values)")
        if not len(features):
            raise DataError(f"{where}: empty: it has no features")
        if feature_dim is not None and features.shape[1] != feature_dim:
            turned = "; is it transposed?" if features.shape[0] == feature_dim else ""
            raise MisfitError(
                f"{where}: {features.shape[1]} values a step, expected model.feature_dim="
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
        return next((self._sources[n] for n in spellings(video) if n in self._sources), None)

    def _add(self, name: str, source: _Source) -> None:
        if name in self._sources:
            raise DataError(
                f"{self.path}: features of {name!r} are there twice: "
                f"{self._sources[name]} and {source}"
            )
        self._sources[name] = source

    def _add_folder(self, folder: Path) -> None:
        held = _files_in(folder)
        self.extractor = read_extractor(folder)
        if self.extractor is not None:
            written = FeatureFolder(folder, "npz", self.extractor)
            written.read()
            self._lengths = {name: int(line["length"]) for name, line in written.done.items()}
            seconds = {name: line.get("duration_seconds") for name, line in written.done.items()}
            self.durations = {name: float(one) for name, one in seconds.items() if one is not None}
        subfolders = self._streams or _PAIR
        if not held and all((folder / name).is_dir() for name in subfolders):
            parts = {name: dict(_files_in(folder / name)) for name in subfolders}
            for name in set.intersection(*(set(part) for part in parts.values())):
                files = {stream: _File(part[name]) for stream, part in parts.items()}
                self._add(name, _Files(files))
        for name, path in held:
            self._add(name, _File(path))

    def _side_by_side(self, streams: Streams, where: str) -> NDArray[Any]:
        names = self._streams
        if set(streams) == {_ONLY} or not names:
            names = _PAIR if set(streams) == set(_PAIR) else tuple(streams)
            if len(names) != 1 and names != _PAIR:
                held = ", ".join(streams) or "none"
                raise MisfitError(f"{where}: holds several arrays ({held}); choose data.streams")
        for name in names:
            if name not in streams:
                held = ", ".join(streams)
                raise MisfitError(f"{where}: has no array {name!r} (data.streams); it has: {held}")
        chosen = [streams[name] for name in names]
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


def _files_in(folder: Path) -> list[tuple[str, Path]]:
    try:
        with os.scandir(folder) as inside:
            names = sorted(entry.name for entry in inside if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read as a folder: {error.strerror}") from None
    paths = [folder / name for name in names]
    return [(path.stem, path) for path in paths if path.suffix.lower() in _SUFFIXES]


def _holds_packs(folder: Path) -> bool:
    if (folder / MANIFEST).is_file():
        return True
    return not _files_in(folder) and any(
        (path / MANIFEST).is_file() for path in sorted(folder.iterdir()) if path.is_dir()
    )


def _only(streams: Streams, where: str) -> NDArray[Any]:
    if len(streams) != 1:
        raise MisfitError(f"{where}: holds {len(streams)} arrays, expected one a stream")
    return next(iter(streams.values()))


# --- kinds of file ---------------------------------------------------------------------------


def _from_csv(path: Path) -> NDArray[np.float32]:
    """A row a step; a first row that is not numbers names the columns."""
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
    """C-TCN's, a dict with the key b'scores'; or an array by itself."""
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
