"""Write features of videos into a folder, video by video, from many processes.

::

    extractor.json                what made the features, and its fingerprint
    videos.jsonl                  one line per video: name, file, length, duration_seconds, labels
    part-RANK-NUMBER/ ...         pack, tfrecord: parts with many videos each
    NAME.npz ...                  npz, npy, csv: one file per video
    .staged/NAME.npy              a finished video that is not yet in a part
    .videos-00000.jsonl           lines of one process that are not yet in videos.jsonl

An added video is safe on the disk, even if the process is killed right after.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from videozoo.data.features.packs import PackWriter
from videozoo.data.features.record_formats import write_shard
from videozoo.data.features.records import (
    EXTRACTOR,
    EXTRACTOR_FORMAT,
    SOURCE,
    FeatureRecord,
    fingerprint,
    read_extractor_file,
)
from videozoo.errors import DataError, RunError
from videozoo.safe_json import parse_json
from videozoo.safe_npy import map_npy
from videozoo.safe_write import sync, written_aside

FolderKind = Literal["pack", "tfrecord", "npz", "npy", "csv"]
Line = dict[str, Any]

STREAM = "rgb"
"""Name of the stream in packs, TFRecords and npz files, as in YouTube-8M."""

_VIDEOS = "videos.jsonl"
_STAGED = ".staged"
_PART = re.compile(r"part-(?P<rank>\d{5})-(?P<number>\d{5})(\.tfrecord)?")
_PART_VIDEOS = 1024
_PART_BYTES = 1 << 30


class FeatureFolder:
    """A folder of features that is being written.

    One process calls `prepare` first and `merge` last. In between, every process makes its own
    object and its own `writer`.
    """

    def __init__(self, folder: Path, kind: FolderKind, extractor: Mapping[str, Any]) -> None:
        self.folder = folder
        self.kind: FolderKind = kind
        self.extractor = dict(extractor)
        self.done: dict[str, Line] = {}
        """Lines of the finished videos, by name; filled by `prepare` and `read`."""

    # --- before and after, by one process ---------------------------------------------------------

    def prepare(self, *, made_with: str, overwrite: bool = False) -> None:
        """Make the folder, or check that an existing one can take more videos.

        Args:
            made_with: Version of videozoo, for information; not part of the fingerprint.
            overwrite: Remove what an earlier extraction wrote; other files stay.

        Raises:
            DataError: It holds features of another extractor or format, or other files.
            RunError: It cannot be written.
        """
        try:
            found = read_extractor_file(self.folder)
            if found is None:
                self._refuse_others()
            elif overwrite:
                self._remove()
            else:
                self._compare(found)
                self.merge()
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            manifest = {
                "format": EXTRACTOR_FORMAT,
                "version": 1,
                "kind": self.kind,
                "stream": STREAM,
                "extractor": self.extractor,
                "fingerprint": fingerprint(self.extractor),
                "videozoo": made_with,
            }
            with written_aside(self.folder / EXTRACTOR) as aside:
                aside.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
            self.done = {}
        except OSError as error:
            raise RunError(f"{self.folder}: cannot be written: {error.strerror}") from None

    def merge(self) -> None:
        """Collect in `videos.jsonl` what all processes wrote, including killed ones.

        Raises:
            RunError: The folder cannot be written.
        """
        try:
            self._clear_unfinished()
            journals = self._journals()
            lines = dict[str, Line]()
            for path in (self.folder / _VIDEOS, *journals):
                lines |= {str(line["name"]): line for line in _lines_of(path)}
            waiting = list[Line]()
            part = self._next_part(0)
            for name, line in list(lines.items()):
                file = str(line["file"])
                if not file.startswith(_STAGED) and (self.folder / file).exists():
                    continue
                if self._staged(name).exists():
                    waiting.append(line | {"file": part.name})
                    lines[name] = waiting[-1]
                else:  # its file was removed
                    del lines[name]
            lines = dict(sorted(lines.items()))
            _write_lines(self.folder / _VIDEOS, lines.values())
            for path in journals:
                path.unlink()
            if waiting:  # after the lines are written; see `close_part` for the reason
                self._write_part(part, waiting)
            shutil.rmtree(self.folder / _STAGED, ignore_errors=True)
            self.done = lines
        except OSError as error:
            raise RunError(f"{self.folder}: cannot be written: {error.strerror}") from None

    def forget(self, names: Iterable[str]) -> None:
        """Remove the files of videos that are to be done again; `merge` then drops their lines.

        For folders with one file per video.

        Raises:
            RunError: A file cannot be removed.
        """
        for name in names:
            file = str(self.done.get(name, {}).get("file", ""))
            if not file or file != Path(file).name:  # nothing outside the folder
                continue
            try:
                _remove(self.folder / file)
            except OSError as error:
                raise RunError(f"{self.folder / file}: {error.strerror}") from None

    # --- in between, by every process -------------------------------------------------------------

    def read(self) -> None:
        """Read which videos are finished, after another process has called `prepare`."""
        self.done = {str(line["name"]): line for line in _lines_of(self.folder / _VIDEOS)}

    def writer(self, rank: int) -> FeatureWriter:
        """Start to add videos; one writer per rank at a time."""
        return FeatureWriter(self, rank)

    # --- inside -----------------------------------------------------------------------------------

    def _compare(self, manifest: Mapping[str, Any]) -> None:
        theirs, mine = manifest.get("fingerprint"), fingerprint(self.extractor)
        if theirs != mine:
            there = cast("dict[str, Any]", manifest.get("extractor") or {})
            keys = [key for key in self.extractor if self.extractor[key] != there.get(key)]
            keys = [key for key in keys if key != SOURCE]
            raise DataError(
                f"{self.folder}: holds features of fingerprint {theirs}, these would have {mine} "
                f"(they differ in {', '.join(keys) or 'unknown facts'}); name another "
                "folder, or pass --overwrite"
            )
        if manifest.get("kind") != self.kind:
            raise DataError(
                f"{self.folder}: holds features as {manifest.get('kind')}, not {self.kind}; "
                "name another folder, or pass --overwrite"
            )

    def _refuse_others(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f"{self.folder}: is a file, expected a folder to write features to")
        if self.folder.is_dir() and any(self.folder.iterdir()):
            raise DataError(
                f"{self.folder}: holds files that are not from an extraction; name another folder"
            )

    def _remove(self) -> None:
        self._clear_unfinished()
        journals = self._journals()
        listed = [line for path in (self.folder / _VIDEOS, *journals) for line in _lines_of(path)]
        files = {str(line["file"]) for line in listed}
        files = {name for name in files if name == Path(name).name}  # nothing outside the folder
        files |= {path.name for path in self.folder.iterdir() if _PART.fullmatch(path.name)}
        for name in sorted(files | {_STAGED, _VIDEOS, *(path.name for path in journals)}):
            _remove(self.folder / name)
        _remove(self.folder / EXTRACTOR)  # last, so that an interrupted removal can be repeated

    def _journals(self) -> list[Path]:
        return sorted(self.folder.glob(".videos-*.jsonl"))

    def _clear_unfinished(self) -> None:
        """Remove what a process was writing when it was killed."""
        for path in self.folder.glob("*.new"):
            name = path.name.removesuffix(".new")
            if _PART.fullmatch(name) or name.endswith((f".{self.kind}", ".jsonl")):
                _remove(path)

    def _staged(self, name: str) -> Path:
        return self.folder / _STAGED / f"{name}.npy"

    def _next_part(self, rank: int) -> Path:
        found = [_PART.fullmatch(path.name) for path in self.folder.iterdir()]
        there = [int(part["number"]) for part in found if part and int(part["rank"]) == rank]
        number = 1 + max(there, default=-1)
        suffix = "" if self.kind == "pack" else ".tfrecord"
        return self.folder / f"part-{rank:05d}-{number:05d}{suffix}"

    def _write_part(self, part: Path, lines: Iterable[Line]) -> None:
        """Write staged videos as one pack or shard."""
        records = (_record(line, map_npy(self._staged(str(line["name"])))) for line in lines)
        if self.kind == "pack":
            with PackWriter(part, extractor=self.extractor) as pack:
                for record in records:
                    pack.write(record)
        else:
            write_shard(part, records)


class FeatureWriter:
    """Adds the videos of one process to a folder."""

    def __init__(self, target: FeatureFolder, rank: int) -> None:
        self._target = target
        self._rank = rank
        self._journal = target.folder / f".videos-{rank:05d}.jsonl"
        self._lines: dict[str, Line] = {}
        self._staged: list[Line] = []
        self._staged_bytes = 0

    def add(self, record: FeatureRecord) -> None:
        """Write one video to the disk.

        Raises:
            RunError: It cannot be written.
        """
        features = np.ascontiguousarray(record.streams[STREAM], np.float32)
        target, in_parts = self._target, self._target.kind in ("pack", "tfrecord")
        path = target._staged(record.name) if in_parts else self._file_of(record.name)
        line: Line = {
            "name": record.name,
            "file": path.relative_to(target.folder).as_posix(),
            "length": len(features),
            "duration_seconds": record.duration_seconds,
            "labels": None if record.labels is None else list(record.labels),
            **record.facts,
        }
        try:
            with written_aside(path) as aside:
                _write_features(aside, "npy" if in_parts else target.kind, features, record.labels)
            with self._journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            sync(self._journal)
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror}") from None
        self._lines[record.name] = line
        if in_parts:
            self._staged.append(line)
            self._staged_bytes += features.nbytes
            if len(self._staged) >= _PART_VIDEOS or self._staged_bytes >= _PART_BYTES:
                self.close_part()

    def close_part(self) -> None:
        """Move the staged videos into a new part.

        The journal names the part before the part exists. So after a crash at any point, `merge`
        finds each video either in the part or still staged, never in both.

        Raises:
            RunError: It cannot be written.
        """
        if not self._staged:
            return
        target, part = self._target, self._target._next_part(self._rank)
        try:
            for line in self._staged:
                line["file"] = part.name
            _write_lines(self._journal, self._lines.values())
            target._write_part(part, self._staged)
            for line in self._staged:
                target._staged(str(line["name"])).unlink()
        except OSError as error:
            raise RunError(f"{part}: cannot be written: {error.strerror}") from None
        self._staged, self._staged_bytes = [], 0

    def _file_of(self, name: str) -> Path:
        return self._target.folder / f"{name}.{self._target.kind}"


def _write_features(
    path: Path, kind: FolderKind, features: NDArray[np.float32], labels: tuple[int, ...] | None
) -> None:
    with path.open("wb") as file:
        if kind == "npz":
            more = {} if labels is None else {"labels": np.array(labels, np.int64)}
            np.savez(file, **{STREAM: features}, **more)  # pyright: ignore[reportArgumentType]
        elif kind == "npy":
            np.save(file, features)
        else:  # csv with a heading, as the features of ActivityNet are published
            names = ",".join(f"f{column}" for column in range(features.shape[1]))
            np.savetxt(file, features, fmt="%.9g", delimiter=",", header=names, comments="")


_OWN = ("name", "file", "length", "duration_seconds", "labels")


def _record(line: Line, features: NDArray[np.float32]) -> FeatureRecord:
    return FeatureRecord(
        str(line["name"]),
        {STREAM: features},
        None if line["labels"] is None else tuple(line["labels"]),
        duration_seconds=line["duration_seconds"],
        facts={key: value for key, value in line.items() if key not in _OWN},
    )


def _lines_of(path: Path) -> Iterator[Line]:
    """Lines of a journal; a line cut off by a killed process is left out.

    So are lines that name a place outside the folder: what they name is read and removed.
    """
    if not path.exists():
        return
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = parse_json(text)
        except ValueError:
            continue
        if not isinstance(line, dict) or not {"name", "file"} <= cast("Line", line).keys():
            continue
        if all(_is_inside(str(line[key])) for key in ("name", "file")):
            yield cast("Line", line)


def _is_inside(name: str) -> bool:
    path = Path(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _write_lines(path: Path, lines: Iterable[Line]) -> None:
    with written_aside(path) as aside:
        aside.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
