"""Packs, our own format of features: any record is found at once, so they are the fastest to read.

A pack is a folder with `manifest.json`, `videos.jsonl` and one `STREAM.npy` per stream.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import numpy as np
from numpy.typing import NDArray

from videozoo.data.features.records import (
    DTYPES,
    Facts,
    FeatureRecord,
    checked_facts,
    checked_record,
    fingerprint,
    is_length,
)
from videozoo.errors import DataError, brief, counted
from videozoo.safe_json import parse_json
from videozoo.safe_npy import map_npy
from videozoo.safe_write import sync

MANIFEST = "manifest.json"
_VIDEOS = "videos.jsonl"
_PACK = "videozoo-feature-pack"
_PACK_VERSION = 1
_NPY_HEADER_BYTES = 128
_STREAM_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


@dataclass(frozen=True)
class PackStream:
    """One stream of a pack, or of records."""

    name: str
    dim: int
    """Values per frame."""
    dtype: str

    def __str__(self) -> str:
        return f"{self.name} {self.dim} {self.dtype}"


class PackFile:
    """A pack, mapped into memory: reading a record reads its own frames only."""

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
                f"{path / _VIDEOS}: {counted(len(ends), 'line')}, but {MANIFEST} counts "
                f"{counted(self._count, 'video')}; "
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
        except (ValueError, KeyError, TypeError, OverflowError):
            raise DataError(f"{self.path / _VIDEOS}:{number + 1}: not a video of a pack") from None
        if duration is not None and not is_length(duration):
            raise DataError(
                f"{self.path / _VIDEOS}:{number + 1}: not a video of a pack: it lasts "
                f"{brief(duration)}, expected seconds"
            )
        if min(first, length) < 0 or first + length > self.num_frames:
            raise DataError(
                f"{where}: frames {first} to {first + length}, but the pack has {self.num_frames}"
            )
        views = {stream: frames[first : first + length] for stream, frames in streams.items()}
        record = checked_record(where, name, views, labels)
        return replace(
            record, duration_seconds=None if duration is None else float(duration), facts=facts
        )

    def close(self) -> None:
        """Close the files."""
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
    checked_facts(path, manifest)
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
        and stream["dtype"] in DTYPES
    )


class PackWriter:
    """Write a pack, with one record in memory; the folder appears when it is complete.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "pack"
    >>> with PackWriter(folder, extractor={"model": "tsn"}) as pack:
    ...     pack.write(FeatureRecord("a", {"rgb": np.zeros((2, 4), np.uint8)}, (1,)))
    >>> PackFile(folder).read(0).labels
    (1,)
    """

    def __init__(
        self, folder: Path, *, extractor: Facts | None = None, overwrite: bool = False
    ) -> None:
        """Prepare to write.

        Args:
            folder: Folder of the pack.
            extractor: Facts about what made the features, plain data. Packs with different facts
                cannot be mixed.
            overwrite: Replace an existing pack.

        Raises:
            DataError: `folder` exists already.
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
        if self._aside.exists():  # left by a run that was stopped
            shutil.rmtree(self._aside)
        self._aside.mkdir(parents=True)
        self._files[_VIDEOS] = (self._aside / _VIDEOS).open("wb")
        return self

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
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
            DataError: Its streams differ from those of the first video, or in their lengths.
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
            raise DataError(f"{self._folder}: nothing to write: there is no frame in any video")
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
        if self._folder.exists():  # it is replaced
            self._folder.rename(old)
        self._aside.rename(self._folder)
        sync(self._folder.parent)
        shutil.rmtree(old, ignore_errors=True)


def _shown(streams: Iterable[PackStream]) -> str:
    return ", ".join(f"{stream.name} ({stream.dim} {stream.dtype})" for stream in streams)


def _npy_header(stream: PackStream, num_frames: int) -> bytes:
    """Header of a .npy file; its size does not depend on the number of frames.

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
