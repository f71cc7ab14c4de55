"""Features of videos on disk: who holds which video, read one at a time.

Four kinds of file, told apart by their content:

* TFRecord shards of `SequenceExample`s, as YouTube-8M is published;
* the pickles of the 2019 library, a list of videos each;
* our own packs, a folder with `manifest.json`, `videos.jsonl` and one `STREAM.npy` a stream:
  the fastest, and every record is found at once;
* one `.npz` a video, an array a stream.

`find_records` takes any of these, a folder or glob of them, or a list; all together are one
`RecordSet`, numbered from 0.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from videozoo.data.features._example import Example, WireError, encode, parse
from videozoo.data.features._index import remembered
from videozoo.data.features._tfrecord import TFRecordFile, looks_like_tfrecord, write_tfrecord
from videozoo.data.files import VIDEO_SUFFIXES, locate
from videozoo.data.text import kind_of, lines_of, raise_all
from videozoo.errors import DataError, MisfitError, brief
from videozoo.safe_json import parse_json
from videozoo.safe_npy import map_npy, read_npz
from videozoo.safe_pickle import load_pickle
from videozoo.safe_write import sync
from videozoo.types import FeatureShape

Kind = Literal["tfrecord", "pickle", "pack", "npz"]
Facts = Mapping[str, Any]

MANIFEST = "manifest.json"
EXTRACTOR = "extractor.json"
"""Beside features that `videozoo extract` wrote: what made them. Not `manifest.json`: a folder with
one of those is a pack."""
EXTRACTOR_FORMAT = "videozoo-feature-folder"
_VIDEOS = "videos.jsonl"
_MOST_OPEN = 64  # files held open by one process
MOST_LOADED_BYTES = 1 << 30
"""Files that can only be read whole take no more memory than that in a process, or one file."""
_PACK = "videozoo-feature-pack"
_PACK_VERSION = 1
_NPY_HEADER_BYTES = 128
_STREAM_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
_RECORD_SUFFIXES = (".tfrecord", ".tfrecords", ".npz")
_DTYPES = ("uint8", "float16", "float32", "float64")


@dataclass(frozen=True)
class FeatureRecord:
    """One video as sequences of features."""

    name: str
    streams: Mapping[str, NDArray[Any]]
    """(T, dim) each: uint8 as YouTube-8M stores them, or floats. May be views; do not write."""
    labels: tuple[int, ...] | None = None
    """Its classes; None where the file does not say."""
    duration_seconds: float | None = None
    """Length of the video. Only packs keep it."""
    facts: Facts = field(default_factory=dict[str, Any])
    """What else is known of the video, plain data. Only packs keep it."""
    has_segment_labels: bool = False
    """Segments of it have labels of their own, as in the YouTube-8M of 2019, which are not here."""


class RecordFile(Protocol):
    """The videos of one file. Can be sent to other processes, which open it anew."""

    @property
    def path(self) -> Path:
        """The file or folder."""
        ...

    @property
    def loaded_bytes(self) -> int:
        """About how much memory reading takes until `close`, for files that are read whole."""
        ...

    @property
    def extractor(self) -> Facts | None:
        """What made the features, where the file says so."""
        ...

    def __len__(self) -> int: ...

    def read(self, number: int) -> FeatureRecord:
        """Return one video, from 0; DataError names file and record."""
        ...

    def close(self) -> None:
        """Let go of files and memory; `read` opens again."""
        ...


def open_records(path: Path, kind: Kind | Literal["auto"] = "auto") -> RecordFile:
    """Open one file, or one pack.

    Raises:
        DataError: It is missing, damaged, or not of a known kind.
    """
    found: Kind | None = _kind_of(path) if kind == "auto" else kind
    if found is None:
        raise DataError(
            f"{path}: not features of videos; expected TFRecords, a 2019 pickle, a .npz file, or "
            f"a pack (a folder with {MANIFEST}); of videos, `videozoo extract` makes them"
        )
    return _OPENERS[found](path)


def find_records(
    path: Path,
    *,
    root: Path | None = None,
    kind: Kind | Literal["auto"] = "auto",
    strict: bool = True,
) -> RecordSet:
    """Open every video that `path` names.

    Args:
        path: A file of a known kind, a pack, a folder or a glob of them (in the order of their
            names), or a text file with one of these a line. Lines are looked up in the current
            folder, in `root`, and beside the list.
        root: Where listed files lie.
        kind: What the files are; `auto` looks.
        strict: Refuse files that cannot be opened; else see `RecordSet.damaged`.

    Raises:
        DataError: A file is missing or not usable; a folder mixes kinds; features of different
            origin are mixed; there is no video.
    """
    paths = expand_records(path, root=root, kind=kind)
    damaged: list[str] = []
    if not strict and len(paths) > 1:
        paths, damaged = _openable(paths, kind)
    kinds: list[Kind | None] = [_kind_of(one) if kind == "auto" else kind for one in paths]
    if set(kinds) == {"tfrecord"}:
        with ThreadPoolExecutor(8) as pool:  # finding where records start waits for the disk
            files: list[RecordFile] = list(pool.map(TFRecords, paths))
    else:
        files = [open_records(one, kind) for one in paths]
    records = RecordSet(files, damaged)
    if not len(records):
        raise DataError(f"{path}: holds no video")
    return records


def _openable(paths: Sequence[Path], kind: Kind | Literal["auto"]) -> tuple[list[Path], list[str]]:
    """Tell files that can be opened from what is wrong with the others."""
    good: list[Path] = []
    damaged: list[str] = []
    for path in paths:
        try:
            open_records(path, kind)
            good.append(path)
        except DataError as error:
            damaged.append(str(error))
    if not good:
        raise DataError(f"none of the files can be used:\n  {damaged[0]}")
    return good, damaged


def expand_records(
    path: Path, *, root: Path | None = None, kind: Kind | Literal["auto"] = "auto"
) -> list[Path]:
    """Files and packs that `path` names, as `find_records` takes it.

    Raises:
        DataError: A file is missing; a folder mixes kinds.
    """
    return _expand(path, kind) or _listed(path, root, kind)


def holds_records(path: Path) -> bool:
    """Whether a file is of features, or a folder of such files and no videos.

    TFRecords, packs and `.npz` files are; pickles may be clips as well, and do not count.
    """
    if not path.is_dir():
        return _kind_of(path) in ("tfrecord", "npz")
    is_held = False
    for inside in path.rglob("*"):
        suffix = inside.suffix.lower()
        if suffix in VIDEO_SUFFIXES:
            return False
        is_held = is_held or suffix in _RECORD_SUFFIXES or inside.name == MANIFEST
    return is_held


class RecordSet:
    """Many files as one sequence of records. Few are open at a time."""

    def __init__(self, files: Sequence[RecordFile], damaged: Sequence[str] = ()) -> None:
        """Take files in order, and what is wrong with files that cannot be opened.

        Raises:
            DataError: They hold features of different origin.
        """
        self.files = list(files)
        self.damaged = tuple(damaged)
        self.counts = np.array([len(file) for file in self.files], np.int64)
        self.extractor = _common_extractor(self.files)
        self._ends = np.cumsum(self.counts)
        self._open: dict[Path, RecordFile] = {}  # least lately used first

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def fingerprint(self) -> str | None:
        """Changes with the extractor; None where nothing is known of it."""
        return None if self.extractor is None else fingerprint(self.extractor)

    def place(self, number: int) -> tuple[RecordFile, int]:
        """File of a record, and its number there."""
        if not 0 <= number < len(self):
            raise IndexError(f"record {number} of {len(self)}")
        file = int(np.searchsorted(self._ends, number, side="right"))
        return self.files[file], int(number - self._ends[file] + self.counts[file])

    def where(self, number: int) -> str:
        """Name a record in messages."""
        file, inside = self.place(number)
        return f"{file.path}: record {inside}"

    def read(self, number: int) -> FeatureRecord:
        """Return one video.

        Raises:
            DataError: It cannot be read; names file and record.
        """
        file, inside = self.place(number)
        self._open.pop(file.path, None)
        self._open[file.path] = file
        loaded = sum(other.loaded_bytes for other in self._open.values())
        while len(self._open) > _MOST_OPEN or (loaded > MOST_LOADED_BYTES and len(self._open) > 1):
            other = self._open.pop(next(iter(self._open)))
            loaded -= other.loaded_bytes
            other.close()
        return file.read(inside)

    def close(self) -> None:
        """Close every file; `read` opens them again."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}


class RecordArrays:
    """Records that are in memory already; a `RecordFile`."""

    path = Path("features in memory")
    loaded_bytes = 0

    def __init__(self, records: Sequence[FeatureRecord], extractor: Facts | None = None) -> None:
        self._records = tuple(records)
        self.extractor = extractor

    def __len__(self) -> int:
        return len(self._records)

    def read(self, number: int) -> FeatureRecord:
        """Return one video, from 0."""
        return self._records[number]

    def close(self) -> None:
        """Nothing to let go of."""


SOURCE = "source"
"""Among the facts about an extractor: how to call it again, on which its features do not depend."""


def fingerprint(extractor: Facts) -> str:
    """Number that two extractors share only where all facts about them are equal, but `SOURCE`.

    >>> fingerprint({"model": "tsn", "rate": 1}) == fingerprint({"rate": 1, "model": "tsn"})
    True
    """
    facts = {key: value for key, value in extractor.items() if key != SOURCE}
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_extractor(folder: Path) -> dict[str, Any] | None:
    """What made the features in a folder; None where it does not say.

    For the single files in it; packs carry it themselves.
    """
    manifest = read_extractor_file(folder)
    return None if manifest is None else cast("dict[str, Any] | None", manifest.get("extractor"))


def read_extractor_file(folder: Path) -> dict[str, Any] | None:
    """All that `videozoo extract` wrote of a folder beside its features; None where it did not."""
    path = folder / EXTRACTOR
    if not path.is_file():
        return None
    try:
        manifest: Any = parse_json(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if not isinstance(manifest, dict):
        return None
    manifest = cast("dict[str, Any]", manifest)
    return manifest if manifest.get("format") == EXTRACTOR_FORMAT else None


def _common_extractor(files: Sequence[RecordFile]) -> Facts | None:
    prints: dict[str | None, RecordFile] = {}
    for file in files:
        prints.setdefault(None if file.extractor is None else fingerprint(file.extractor), file)
    if len(prints) > 1:
        (one, first), (other, second) = list(prints.items())[:2]
        raise DataError(
            "features of different origin are mixed: "
            f"{first.path} {_origin(one, first)}, but {second.path} {_origin(other, second)}; "
            "extract them again with one extractor, or use them apart"
        )
    return files[0].extractor if files else None


def _origin(mark: str | None, file: RecordFile) -> str:
    if mark is None:
        return "does not say what made its features"
    return f"has fingerprint {mark} ({json.dumps(file.extractor, sort_keys=True)})"


# --- which files -----------------------------------------------------------------------------


def _kind_of(path: Path) -> Kind | None:
    """Tell the kind of a file from how it starts."""
    if path.is_dir():
        return "pack" if (path / MANIFEST).is_file() else None
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if looks_like_tfrecord(head):
        return "tfrecord"
    if head[:2] == b"\x1f\x8b":
        raise DataError(
            f"{path}: compressed with gzip, so that no record can be found without reading all "
            "before it; unpack it first: gzip -d FILE"
        )
    if head[:4] == b"PK\x03\x04" or suffix == ".npz":
        return "npz"
    if head[:1] == b"\x80" or suffix in (".pkl", ".pickle"):
        return "pickle"
    return "tfrecord" if suffix in (".tfrecord", ".tfrecords") else None


def _expand(path: Path, kind: Kind | Literal["auto"]) -> list[Path] | None:
    """Files that a path names, or None where it is a list of them."""
    if path.is_dir():
        return [path] if (path / MANIFEST).is_file() else _inside(path, kind)
    if path.exists():
        if path.suffix.lower() in (".txt", ".list"):
            return None
        return None if kind == "auto" and _kind_of(path) is None and _is_text(path) else [path]
    if any(sign in str(path) for sign in "*?["):
        found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        if not found:
            raise DataError(f"{path}: no file has such a name")
        return found
    raise DataError(f"{path}: no such file or folder")


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        return b"\0" not in file.read(4096)


def _inside(folder: Path, wanted: Kind | Literal["auto"]) -> list[Path]:
    """Files of a known kind and packs in a folder and its subfolders, all of one kind."""
    found = [(path, kind) for path, kind in _walk(folder) if wanted in ("auto", kind)]
    kinds = {kind: path for path, kind in reversed(found)}  # the first of each
    if not found:
        of_kind = "" if wanted == "auto" else f" of kind {wanted}"
        raise DataError(
            f"{folder}: no features of videos{of_kind} in this folder; expected TFRecords, 2019 "
            f"pickles, .npz files, or packs (folders with {MANIFEST})"
        )
    if len(kinds) > 1:
        shown = ", ".join(f"{path} ({kind})" for kind, path in sorted(kinds.items()))
        raise DataError(
            f"{folder}: holds several kinds of files, which may be the same videos twice: {shown}; "
            "name those to use by a glob or a list, or set data.format"
        )
    return [path for path, _ in found]


def _walk(folder: Path) -> Iterator[tuple[Path, Kind]]:
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read as a folder: {error.strerror}") from None
    for path in inside:
        if path.name.startswith("."):
            continue
        kind = _kind_of(path)
        if kind is not None:
            yield path, kind
        elif path.is_dir():
            yield from _walk(path)


def _listed(path: Path, root: Path | None, kind: Kind | Literal["auto"]) -> list[Path]:
    """Files that a list names, one a line."""
    paths: list[Path] = []
    absent: list[str] = []
    for number, line in lines_of(path):
        found = locate(Path(line), root, path.parent)
        if found is None:
            absent.append(f"{path}:{number}: no such file {brief(line)}")
        elif found.is_dir():
            paths += _expand(found, kind) or []
        else:
            paths.append(found)
    if absent:
        places = ["the current folder", *([str(root)] if root else []), str(path.parent)]
        absent[-1] += f" (looked in {', '.join(places)})"
    raise_all(path, absent)
    return paths


# --- what every kind must be -----------------------------------------------------------------


def _record(where: str, name: object, streams: Mapping[str, Any], labels: object) -> FeatureRecord:
    """Check one video.

    Raises:
        DataError: A stream is not (T, dim) numbers, or the labels are not whole numbers.
    """
    for stream, frames in streams.items():
        if not isinstance(frames, np.ndarray) or frames.ndim != 2:
            got = f"shape {frames.shape}" if isinstance(frames, np.ndarray) else kind_of(frames)
            raise DataError(f"{where}: {stream} has {got}, expected an array (frames, values)")
        if frames.dtype.name not in _DTYPES:
            raise DataError(
                f"{where}: {stream} holds {frames.dtype}, expected uint8 or floating-point numbers"
            )
    return FeatureRecord(_text(name), streams, _labels(where, labels))


def _labels(where: str, labels: object) -> tuple[int, ...] | None:
    if labels is None:
        return None
    array = _as_array(labels)
    if array.size == 0:
        return ()
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(f"{where}: labels are {labels!r:.80}, expected a list of class numbers")
    return tuple(cast("list[int]", array.tolist()))


def _as_array(value: object) -> NDArray[Any]:
    """Of objects, where it is no table."""
    try:
        return np.asarray(value)
    except ValueError:
        return np.array([value, None], object)[:1]


def _text(name: object) -> str:
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)


# --- TFRecord --------------------------------------------------------------------------------


class TFRecords:
    """A shard of `SequenceExample`s: `id` (or `video_id`), `labels`, a feature list a stream.

    An `Example` counts as a video of one frame: `mean_rgb` is its `rgb`.
    """

    loaded_bytes = 0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.extractor: Facts | None = read_extractor(path.parent)
        self._file = TFRecordFile(path)

    def __len__(self) -> int:
        return len(self._file)

    def read(self, number: int) -> FeatureRecord:
        """Return one video; DataError names shard, record and byte."""
        data = self._file.read(number)
        where = self._file.where(number)
        try:
            example = parse(data)
        except WireError as error:
            raise DataError(f"{where}: not a SequenceExample: {error}") from None
        context = example.context
        name = context.get("id") or context.get("video_id") or [f"{self.path.stem}/{number}"]
        streams = example.frames or _video_level(example)
        record = _record(where, name[0], streams, context.get("labels"))
        return replace(record, has_segment_labels="segment_labels" in context)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _video_level(example: Example) -> dict[str, NDArray[np.float32]]:
    return {
        name.removeprefix("mean_"): np.array([values], np.float32)
        for name, values in example.context.items()
        if values and isinstance(values[0], float)
    }


def write_shard(path: Path, records: Iterable[FeatureRecord]) -> int:
    """Write a TFRecord shard as YouTube-8M has them; it appears when it is complete.

    Returns:
        How many records.
    """
    return write_tfrecord(
        path, (encode(record.name, record.labels, record.streams) for record in records)
    )


# --- pickles of 2019 -------------------------------------------------------------------------


class PickleFile:
    """A list of dicts with keys video, feature, audio, label, nframes: text or bytes.

    It can only be read whole; that is done when a record is asked for, and undone by `close`.

    Source: PaddlePaddle/models release/1.8, feature_reader and tf2pkl.
    """

    extractor: Facts | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self._videos: list[Any] | None = None
        try:
            self.loaded_bytes = path.stat().st_size
            self._count = int(
                remembered(path, "pickle", lambda: np.array([len(self._loaded())], np.int64))[0]
            )
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from None
        self.close()

    def __len__(self) -> int:
        return self._count

    def read(self, number: int) -> FeatureRecord:
        """Return one video, cut to its `nframes`; DataError names file and record."""
        videos = self._loaded()
        where = f"{self.path}: record {number}"
        video = videos[number] if number < len(videos) else None
        if not isinstance(video, dict):
            raise DataError(f"{where}: is {kind_of(video)}, expected a dict")
        values = {_text(key): value for key, value in cast("dict[Any, Any]", video).items()}
        count = _num_frames(where, values.get("nframes"))
        streams = {
            stream: value[:count] if isinstance(value, np.ndarray) and value.ndim else value
            for key, stream in (("feature", "rgb"), ("audio", "audio"))
            if (value := values.get(key)) is not None
        }
        name = values.get("video", f"{self.path.stem}/{number}")
        return _record(where, name, streams, values.get("label"))

    def close(self) -> None:
        """Free the memory."""
        self._videos = None

    def _loaded(self) -> list[Any]:
        if self._videos is None:
            videos = load_pickle(self.path)
            if not isinstance(videos, list):
                raise DataError(f"{self.path}: holds {kind_of(videos)}, expected a list of videos")
            self._videos = cast("list[Any]", videos)
        return self._videos

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_videos": None}


def _num_frames(where: str, value: object) -> int | None:
    if value is None:
        return None
    array = _as_array(value)
    if array.size != 1 or array.dtype.kind not in "iu" or array.item() < 0:
        raise DataError(f"{where}: nframes is {value!r:.80}, expected a number of frames")
    return int(array.item())


# --- one .npz a video ------------------------------------------------------------------------


class NpzFile:
    """One video: an array (T, dim) a stream, and perhaps `labels`. Its name is that of the file."""

    loaded_bytes = 0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.extractor: Facts | None = read_extractor(path.parent)

    def __len__(self) -> int:
        return 1

    def read(self, number: int) -> FeatureRecord:
        """Return the video; DataError names the file."""
        arrays = read_npz(self.path)
        labels = arrays.pop("labels", None)
        return _record(str(self.path), self.path.stem, arrays, labels)

    def close(self) -> None:
        """Nothing stays open."""


# --- packs -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PackStream:
    """One stream of a pack, or of records."""

    name: str
    dim: int
    """Values a frame."""
    dtype: str

    def __str__(self) -> str:
        return f"{self.name} {self.dim} {self.dtype}"


class PackFile:
    """Our own pack, mapped into memory: reading a record touches its frames only."""

    loaded_bytes = 0

    def __init__(self, path: Path) -> None:
        self.path = path
        manifest = _read_manifest(path)
        self.extractor: Facts | None = manifest["extractor"]
        self.streams = tuple(PackStream(**stream) for stream in manifest["streams"])
        self.num_frames: int = manifest["frames"]
        self._count: int = manifest["videos"]
        self._maps: dict[str, NDArray[Any]] | None = None
        self._lines, ends = _lines_of(path / _VIDEOS)
        self._ends = ends
        if len(ends) != self._count:
            raise DataError(
                f"{path / _VIDEOS}: {len(ends)} lines, but {MANIFEST} counts {self._count} videos; "
                "is the pack complete?"
            )
        self._mapped()
        self.close()

    def __len__(self) -> int:
        return self._count

    def read(self, number: int) -> FeatureRecord:
        """Return one video, as views of the files; DataError names pack and record."""
        where = f"{self.path}: record {number}"
        streams = self._mapped()
        assert self._lines is not None
        start = int(self._ends[number - 1]) if number else 0
        try:
            line = parse_json(self._lines[start : int(self._ends[number])].tobytes())
            first, length = int(line["start"]), int(line["length"])
            name, labels = line["name"], line["labels"]
            duration, facts = line.get("duration_seconds"), dict(line.get("facts", {}))
            duration = None if duration is None else float(duration)
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{self.path / _VIDEOS}:{number + 1}: not a video of a pack") from None
        if min(first, length) < 0 or first + length > self.num_frames:
            raise DataError(
                f"{where}: frames {first} to {first + length}, but the pack has {self.num_frames}"
            )
        views = {stream: frames[first : first + length] for stream, frames in streams.items()}
        record = _record(where, name, views, labels)
        return replace(record, duration_seconds=duration, facts=facts)

    def close(self) -> None:
        """Let go of the files."""
        self._maps = self._lines = None

    def _mapped(self) -> dict[str, NDArray[Any]]:
        if self._lines is None:
            self._lines = _lines_of(self.path / _VIDEOS)[0]
        if self._maps is None:
            self._maps = {stream.name: self._map(stream) for stream in self.streams}
        return self._maps

    def _map(self, stream: PackStream) -> NDArray[Any]:
        path = self.path / f"{stream.name}.npy"
        expected = (self.num_frames, stream.dim)
        frames = map_npy(path)
        if frames.shape != expected or frames.dtype != stream.dtype:
            raise DataError(
                f"{path}: holds {frames.dtype} {frames.shape}, but {MANIFEST} says "
                f"{stream.dtype} {expected}"
            )
        return frames

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": None, "_lines": None}


def _lines_of(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """A mapped text file, and where each of its lines ends."""
    try:
        if not path.stat().st_size:
            return np.zeros(0, np.uint8), np.zeros(0, np.int64)
        text = np.memmap(path, np.uint8, "r")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return text, np.flatnonzero(text == ord("\n")) + 1


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest: Any = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(manifest, dict) or cast("dict[str, Any]", manifest).get("format") != _PACK:
        raise DataError(f"{path}: not the manifest of a feature pack")
    manifest = cast("dict[str, Any]", manifest)
    if manifest.get("version") != _PACK_VERSION:
        raise DataError(
            f"{path}: version {manifest.get('version')!r} of feature packs, expected "
            f"{_PACK_VERSION}; a newer videozoo may read it"
        )
    if not _is_manifest(manifest):
        raise DataError(f"{path}: damaged: expected streams, videos, frames and extractor")
    return manifest


def _is_manifest(manifest: dict[str, Any]) -> bool:
    counts = [manifest.get("videos"), manifest.get("frames")]
    extractor, streams = manifest.get("extractor", 0), manifest.get("streams")
    return (
        all(isinstance(count, int) and count >= 0 for count in counts)
        and (extractor is None or isinstance(extractor, dict))
        and isinstance(streams, list)
        and all(_is_stream(stream) for stream in cast("list[Any]", streams))
    )


def _is_stream(stream: Any) -> bool:
    return (
        isinstance(stream, dict)
        and set(cast("dict[str, Any]", stream)) == {"name", "dim", "dtype"}
        and isinstance(stream["name"], str)
        and _STREAM_NAME.fullmatch(stream["name"]) is not None  # it becomes a file name
        and isinstance(stream["dim"], int)
        and stream["dtype"] in _DTYPES
    )


class PackWriter:
    """Write a pack, one record in memory at a time; the folder appears when it is complete.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "pack"
    >>> with PackWriter(folder, extractor={"model": "tsn"}) as pack:
    ...     pack.write(FeatureRecord("a", {"rgb": np.zeros((2, 4), np.uint8)}, (1,)))
    >>> open_records(folder).read(0).labels
    (1,)
    """

    def __init__(
        self, folder: Path, *, extractor: Facts | None = None, overwrite: bool = False
    ) -> None:
        """Prepare to write.

        Args:
            folder: What will hold the pack.
            extractor: Facts about what made the features, plain data; packs that differ in them
                do not mix.
            overwrite: Take the place of a pack that is there.

        Raises:
            DataError: There is something at `folder` already.
        """
        if folder.exists() and not (overwrite and (folder / MANIFEST).is_file()):
            raise DataError(f"{folder}: exists already; name another folder, or remove it")
        self._folder = folder
        self._aside = folder.with_name(f"{folder.name}.new")
        self._extractor = None if extractor is None else json.loads(json.dumps(extractor))
        self._streams: tuple[PackStream, ...] = ()
        self._files: dict[str, BinaryIO] = {}
        self.num_videos = 0
        self.num_frames = 0

    def __enter__(self) -> Self:
        if self._aside.exists():  # of a run that was stopped
            shutil.rmtree(self._aside)
        self._aside.mkdir(parents=True)
        self._files[_VIDEOS] = (self._aside / _VIDEOS).open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            for file in self._files.values():
                file.close()
            shutil.rmtree(self._aside, ignore_errors=True)

    def write(self, record: FeatureRecord) -> None:
        """Append one video.

        Raises:
            DataError: Its streams are not those of the first video, or not equally long.
        """
        streams = tuple(
            PackStream(name, frames.shape[1], frames.dtype.name)
            for name, frames in sorted(record.streams.items())
        )
        lengths = {name: len(frames) for name, frames in record.streams.items()}
        length = next(iter(lengths.values()), 0)
        if len(set(lengths.values())) > 1:
            raise DataError(f"{record.name}: streams of different lengths: {lengths}")
        if length and not self._streams:
            self._begin(record, streams)
        if length and streams != self._streams:
            raise DataError(
                f"{record.name}: holds {_shown(streams)}, but the pack {_shown(self._streams)}"
            )
        line: dict[str, Any] = {
            "name": record.name,
            "start": self.num_frames,
            "length": length,
            "labels": None if record.labels is None else list(record.labels),
        }
        if record.duration_seconds is not None:
            line["duration_seconds"] = record.duration_seconds
        if record.facts:
            line["facts"] = dict(record.facts)
        self._files[_VIDEOS].write(json.dumps(line).encode() + b"\n")
        for name, frames in record.streams.items() if length else ():
            little = frames.astype(frames.dtype.newbyteorder("<"), copy=False)
            self._files[name].write(np.ascontiguousarray(little).data)
        self.num_videos += 1
        self.num_frames += length

    def _begin(self, record: FeatureRecord, streams: tuple[PackStream, ...]) -> None:
        for stream in streams:
            if not _is_stream(vars(stream)):
                raise DataError(f"{record.name}: {_shown([stream])} cannot be put into a pack")
        self._streams = streams
        for stream in streams:
            self._files[stream.name] = (self._aside / f"{stream.name}.npy").open("wb")
            self._files[stream.name].write(bytes(_NPY_HEADER_BYTES))

    def _finish(self) -> None:
        if not self._streams:
            raise DataError(f"{self._folder}: nothing to write: there was no frame of any video")
        for stream in self._streams:
            self._files[stream.name].seek(0)
            self._files[stream.name].write(_npy_header(stream, self.num_frames))
        manifest = {
            "format": _PACK,
            "version": _PACK_VERSION,
            "videos": self.num_videos,
            "frames": self.num_frames,
            "streams": [vars(stream) for stream in self._streams],
            "extractor": self._extractor,
            "fingerprint": None if self._extractor is None else fingerprint(self._extractor),
        }
        for file in self._files.values():
            file.close()
        (self._aside / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        for path in self._aside.iterdir():
            sync(path)
        old = self._folder.with_name(f"{self._folder.name}.old")
        if self._folder.exists():  # to be overwritten
            self._folder.rename(old)
        self._aside.rename(self._folder)
        sync(self._folder.parent)
        shutil.rmtree(old, ignore_errors=True)


def _shown(streams: Iterable[PackStream]) -> str:
    return ", ".join(f"{stream.name} ({stream.dim} {stream.dtype})" for stream in streams)


def _npy_header(stream: PackStream, num_frames: int) -> bytes:
    """Head of a .npy file, of a size that does not depend on the number of frames.

    Source: numpy.lib.format, version 1.0.
    """
    facts = {
        "descr": np.dtype(stream.dtype).newbyteorder("<").str,
        "fortran_order": False,
        "shape": (num_frames, stream.dim),
    }
    magic = b"\x93NUMPY\x01\x00"
    room = _NPY_HEADER_BYTES - len(magic) - 2
    return magic + struct.pack("<H", room) + f"{facts!r}".ljust(room - 1).encode() + b"\n"


_OPENERS: Mapping[Kind, Callable[[Path], RecordFile]] = {
    "tfrecord": TFRecords,
    "pickle": PickleFile,
    "pack": PackFile,
    "npz": NpzFile,
}


def usable_frames(record: FeatureRecord, shape: FeatureShape, where: str) -> int:
    """Frames of a video, whose streams are those of the model.

    Raises:
        MisfitError: A stream is missing, or its vectors have another length.
        DataError: The video has no frames, streams differ in their number, or one holds what is
            not a number.
    """
    lengths: dict[str, int] = {}
    for stream in shape.streams:
        frames = record.streams.get(stream.name)
        if frames is None:
            held = ", ".join(name or "one without a name" for name in record.streams) or "none"
            raise MisfitError(
                f"{where}: has no stream {stream.name!r}, which the model reads; it has: {held}"
            )
        lengths[stream.name] = len(frames)
        if len(frames) and frames.shape[1] != stream.dim:
            raise MisfitError(
                f"{where}: {stream.name} has {frames.shape[1]} values a frame, expected "
                f"{stream.dim}; are these the features the model was made for?"
            )
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"{where}: streams of different lengths in frames: {shown}")
    length = next(iter(lengths.values()))
    if not length:
        raise DataError(f"{where}: empty: it has no frames")
    for stream in shape.streams:
        frames = record.streams[stream.name]
        if frames.dtype.kind == "f" and not np.isfinite(frames).all():
            frame, value = (int(place) for place in np.argwhere(~np.isfinite(frames))[0])
            raise DataError(
                f"{where}: {stream.name} holds {frames[frame, value]} in frame {frame}, value "
                f"{value}; extract it again"
            )
    return length
