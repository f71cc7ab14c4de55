"""Formats of files of features, with one record per video.

`find_records` takes a file in any of `FORMATS`, a folder or a glob of such files, or a list. All
records together are one `RecordSet`, numbered from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from videozoo.data.features._example import Example, WireError, encode, parse
from videozoo.data.features._index import remembered
from videozoo.data.features._tfrecord import TFRecordFile, looks_like_tfrecord, write_tfrecord
from videozoo.data.features.packs import MANIFEST, PackFile
from videozoo.data.features.records import (
    Facts,
    FeatureRecord,
    RecordFile,
    RecordSet,
    SegmentRating,
    as_array,
    checked_record,
    read_extractor,
)
from videozoo.data.files import VIDEO_SUFFIXES, locate
from videozoo.data.formats import Format, format_of, unknown
from videozoo.data.text import as_text, is_text, kind_of, lines_of, raise_all
from videozoo.errors import DataError, NoFeaturesError, brief
from videozoo.safe_npy import read_npz
from videozoo.safe_pickle import load_pickle

Kind = Literal["tfrecord", "pickle", "pack", "npz"]
_ADVICE = "`videozoo extract` makes features from videos."
_RECORD_SUFFIXES = (".tfrecord", ".tfrecords", ".npz")


def open_records(path: Path, kind: Kind | Literal["auto"] = "auto") -> RecordFile:
    """Open one file, or one pack.

    Raises:
        DataError: It is missing, damaged, or not in a known format.
    """
    name = _kind_of(path) if kind == "auto" else kind
    found = next((one for one in FORMATS if one.name == name), None)
    if found is None:
        problem = f"{path}: not features of videos"
        raise unknown(problem, FORMATS, _ADVICE, path=path, kind=NoFeaturesError)
    return found.read(path)


def find_records(
    path: Path,
    *,
    root: Path | None = None,
    kind: Kind | Literal["auto"] = "auto",
    strict: bool = True,
) -> RecordSet:
    """Open every video that `path` names.

    Args:
        path: A file in a known format, a pack, a folder or a glob of them (in the order of their
            names), or a text file with one of these per line. Lines are looked up in the current
            folder, in `root`, and beside the list.
        root: Folder of the files in a list.
        kind: Format of the files; `auto` recognises it.
        strict: Raise if a file cannot be opened; otherwise see `RecordSet.damaged`.

    Raises:
        DataError: A file is missing or not usable, a folder mixes formats, features of different
            extractors are mixed, or there is no video.
    """
    paths = expand_records(path, root=root, kind=kind)
    damaged: list[str] = []
    if not strict and len(paths) > 1:
        paths, damaged = _openable(paths, kind)
    kinds: list[Kind | None] = [_kind_of(one) if kind == "auto" else kind for one in paths]
    if set(kinds) == {"tfrecord"}:
        with ThreadPoolExecutor(8) as pool:  # finding the starts of records waits for the disk
            files: list[RecordFile] = list(pool.map(TFRecords, paths))
    else:
        files = [open_records(one, kind) for one in paths]
    records = RecordSet(files, damaged)
    if not len(records):
        raise DataError(f"{path}: holds no video")
    return records


def _openable(paths: Sequence[Path], kind: Kind | Literal["auto"]) -> tuple[list[Path], list[str]]:
    """Files that can be opened, and the errors of the others."""
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
    """Files and packs that `path` names; see `find_records`.

    Raises:
        DataError: A file is missing, or a folder mixes formats.
    """
    return _expand(path, kind) or _listed(path, root, kind)


def holds_records(path: Path) -> bool:
    """Whether a path is a file of features, or a folder with such files and without videos.

    TFRecords, packs and `.npz` files count. Pickles do not, because they may be clips.
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


@dataclass(frozen=True)
class _Start:
    """A path, and the first bytes of the file."""

    path: Path
    head: bytes = b""

    def ends(self, *suffixes: str) -> bool:
        return self.path.suffix.lower() in suffixes


def start_of(path: Path) -> _Start:
    """What the formats are told by; DataError if the file cannot be read."""
    if path.is_dir():
        return _Start(path)
    try:
        with path.open("rb") as file:
            return _Start(path, file.read(16))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _kind_of(path: Path) -> Kind | None:
    """The format of a file, by its first bytes."""
    start = start_of(path)
    found = format_of(start, FORMATS)
    if start.head[:2] == b"\x1f\x8b" and not looks_like_tfrecord(start.head):
        raise DataError(
            f"{path}: compressed with gzip, so that a record cannot be found without reading "
            "all before it; unpack it first: gzip -d FILE"
        )
    return None if found is None else cast("Kind", found.name)


def _expand(path: Path, kind: Kind | Literal["auto"]) -> list[Path] | None:
    """Files that a path names; None if the path is a list of files."""
    if path.is_dir():
        return [path] if (path / MANIFEST).is_file() else _inside(path, kind)
    if path.exists():
        if path.suffix.lower() in (".txt", ".list"):
            return None
        return None if kind == "auto" and _kind_of(path) is None and is_text(path) else [path]
    if any(sign in str(path) for sign in "*?["):
        found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        if not found:
            raise DataError(f"{path}: no file has such a name")
        return found
    raise DataError(f"{path}: no such file or folder")


def _inside(folder: Path, wanted: Kind | Literal["auto"]) -> list[Path]:
    """Files in a known format and packs, in a folder and its subfolders; all of one format."""
    found = [(path, kind) for path, kind in _walk(folder) if wanted in ("auto", kind)]
    kinds = {kind: path for path, kind in reversed(found)}  # the first of each
    if not found:
        of_kind = "" if wanted == "auto" else f" of kind {wanted}"
        problem = f"{folder}: no features of videos{of_kind} in this folder"
        raise unknown(problem, FORMATS, _ADVICE, path=folder, kind=NoFeaturesError)
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
    """Files that a list names, one per line."""
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


class TFRecords:
    """A shard of `SequenceExample`s: `id` (or `video_id`), `labels`, one feature list per stream.

    An `Example` counts as a video of one frame: its `mean_rgb` becomes `rgb`.
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
        record = checked_record(where, name[0], streams, context.get("labels"))
        if "segment_labels" not in context:
            return record
        return replace(record, has_segment_labels=True, ratings=_ratings(context))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


_SEGMENT_FRAMES = 5  # where the ends of segments are not given


def _ratings(context: Mapping[str, Sequence[Any]]) -> tuple[SegmentRating, ...] | None:
    """Labels of segments; None if their lists do not fit one another.

    Source: google/youtube-8m, readers.py.
    """
    starts, labels = context.get("segment_start_times", []), context.get("segment_labels", [])
    scores = context.get("segment_scores", [])
    ends = context.get("segment_end_times") or [
        start + _SEGMENT_FRAMES for start in starts if isinstance(start, int)
    ]
    if len({len(starts), len(ends), len(labels), len(scores)}) > 1:
        return None
    rows = list(zip(starts, ends, labels, scores, strict=True))
    for start, end, label, score in rows:
        is_whole = all(type(one) is int for one in (start, end, label))
        if not is_whole or not isinstance(score, int | float) or not 0 <= start < end:
            return None
    return tuple(SegmentRating(a, b, label, score > 0) for a, b, label, score in rows)


def _video_level(example: Example) -> dict[str, NDArray[np.float32]]:
    return {
        name.removeprefix("mean_"): np.array([values], np.float32)
        for name, values in example.context.items()
        if values and isinstance(values[0], float)
    }


def write_shard(path: Path, records: Iterable[FeatureRecord]) -> int:
    """Write a TFRecord shard as in YouTube-8M; the file appears when it is complete.

    Returns:
        Number of records.
    """
    return write_tfrecord(
        path,
        (encode(one.name, one.labels, one.streams, _ratings_of(one)) for one in records),
    )


def _ratings_of(record: FeatureRecord) -> dict[str, Any]:
    """The ratings of segments as a shard holds them; nothing without any."""
    ratings = record.ratings
    if ratings is None:
        return {}
    return {
        "segment_start_times": [one.start for one in ratings],
        "segment_end_times": [one.end for one in ratings],
        "segment_labels": [one.label for one in ratings],
        "segment_scores": np.array([one.is_present for one in ratings], np.float32),
    }


class PickleFile:
    """A list of dicts with keys video, feature, audio, label, nframes: text or bytes.

    The first `read` loads the whole file, because a pickle cannot be read in parts; `close` frees
    it.

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
        values = {as_text(key): value for key, value in cast("dict[Any, Any]", video).items()}
        count = _num_frames(where, values.get("nframes"))
        streams = {
            stream: value[:count] if isinstance(value, np.ndarray) and value.ndim else value
            for key, stream in (("feature", "rgb"), ("audio", "audio"))
            if (value := values.get(key)) is not None
        }
        name = values.get("video", f"{self.path.stem}/{number}")
        return checked_record(where, name, streams, values.get("label"))

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
    array = as_array(value)
    if array.size != 1 or array.dtype.kind not in "iu" or array.item() < 0:
        raise DataError(f"{where}: nframes is {value!r:.80}, expected a number of frames")
    return int(array.item())


class NpzFile:
    """One video: one array (T, dim) per stream, and perhaps `labels`; named after the file."""

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
        return checked_record(str(self.path), self.path.stem, arrays, labels)

    def close(self) -> None:
        """Nothing stays open."""


@dataclass(frozen=True)
class LabelledFile:
    """One video among the single files of a folder."""

    file: str
    """Its `.npz` file."""
    name: str
    """What it is called, in place of the name of the file."""
    labels: tuple[int, ...]


class LabelledFiles:
    """Some files of a folder of `.npz` files, with names and labels that are given."""

    loaded_bytes = 0

    def __init__(self, folder: Path, videos: Sequence[LabelledFile]) -> None:
        self.path = folder
        self.extractor: Facts | None = read_extractor(folder)
        self._videos = tuple(videos)

    def __len__(self) -> int:
        return len(self._videos)

    @property
    def labels(self) -> list[tuple[int, ...]]:
        """The labels of each video."""
        return [video.labels for video in self._videos]

    def read(self, number: int) -> FeatureRecord:
        """Return one video; DataError names its file."""
        video = self._videos[number]
        path = self.path / video.file
        arrays = read_npz(path)
        arrays.pop("labels", None)
        return checked_record(str(path), video.name, arrays, list(video.labels))

    def close(self) -> None:
        """Nothing stays open."""


FORMATS: tuple[Format[_Start, Callable[[Path], RecordFile]], ...] = (
    Format(
        "pack",
        lambda start: (start.path / MANIFEST).is_file(),
        PackFile,
        f"a folder: {MANIFEST}, videos.jsonl, rgb.npy (frames of all videos, C), audio.npy",
        f"pack/{MANIFEST}",
        about="Ours, the fastest to read: the features of many videos in one array per stream.",
        written="`videozoo prepare` and `videozoo extract`, by default",
    ),
    Format(
        "tfrecord",
        lambda start: looks_like_tfrecord(start.head) or start.ends(".tfrecord", ".tfrecords"),
        TFRecords,
        "one SequenceExample per video: id, labels, rgb (T, 1024) bytes, audio (T, 128) bytes; "
        "of 2019: segment_start_times, segment_end_times, segment_labels, segment_scores",
        "a.tfrecord",
        about="Shards of YouTube-8M, by frame or by video (`mean_rgb`, `mean_audio`); with "
        "`data.segments` the segments that people rated in 2019: a score above 0 means that the "
        "class is there, 0 that it is not.",
        source="https://research.google.com/youtube8m/download.html",
        written="`videozoo prepare --format tfrecord`",
    ),
    Format(
        "npz",
        lambda start: start.head[:4] == b"PK\x03\x04" or start.ends(".npz"),
        NpzFile,
        "one file per video: rgb (T, C), audio (T, C), labels",
        "a.npz",
        about="One video; its name is that of the file.",
        written="`videozoo extract --format npz`",
    ),
    Format(
        "pickle",
        lambda start: start.head[:1] == b"\x80" or start.ends(".pkl", ".pickle"),
        PickleFile,
        "a list of dicts: video, feature (T, 1024), audio (T, 128), label, nframes",
        "a.pkl",
        about="YouTube-8M as the 2019 library reads it; loaded without running anything in it.",
        source="PaddlePaddle/models release/1.8, feature_reader and tf2pkl",
        written="`videozoo prepare --format pickle`",
    ),
)
"""Formats of files of features; the names are the choices of `data.format`."""
