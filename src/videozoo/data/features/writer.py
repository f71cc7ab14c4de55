"""Write features of videos into a folder, video by video, from many processes.

::

    extractor.json                what made the features, and its fingerprint
    videos.jsonl                  a line a video: name, file, length, duration_seconds, labels, ...
    part-00000-00000/ ...         pack, tfrecord: some videos each, RANK-NUMBER
    NAME.npz ...                  npz, npy, csv: a file a video
    .staged/NAME.npy              a video that is done and not yet in a part
    .videos-00000.jsonl           lines of one process, not yet in videos.jsonl

A video that was added is on the disk, also when the process is killed a moment later.
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
"""What the features are called in packs, TFRecords and npz files, as in YouTube-8M."""

_VIDEOS = "videos.jsonl"
_STAGED = ".staged"
_PART = re.compile(r"part-(?P<rank>\d{5})-(?P<number>\d{5})(\.tfrecord)?")
_PART_VIDEOS = 1024
_PART_BYTES = 1 << 30


class FeatureFolder:
    """Says what a folder already holds, and takes more.

    One process calls `prepare` first and `merge` last; in between each process makes its own
    object with its own rank.
    """

    def __init__(self, folder: Path, kind: FolderKind, extractor: Mapping[str, Any]) -> None:
        self.folder = folder
        self.kind: FolderKind = kind
        self.extractor = dict(extractor)
        self.done: dict[str, Line] = {}
        """By name: the videos that the folder holds; after `prepare` or `read`."""

    # --- before and after, by one process ---------------------------------------------------------

    def prepare(self, *, made_with: str, overwrite: bool = False) -> None:
        """Make the folder, or see that more of the same can be added.

        Args:
            made_with: Version of videozoo, for people; not part of the fingerprint.
            overwrite: Remove what an earlier extraction wrote; other files stay.

        Raises:
            DataError: It holds features of another extractor or kind, or is not of ours.
            RunError: The disk refuses.
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
        """Gather what processes have left, also those that were killed, into `videos.jsonl`.

        Raises:
            RunError: The disk refuses.
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
                else:  # somebody removed it
                    del lines[name]
            lines = dict(sorted(lines.items()))
            _write_lines(self.folder / _VIDEOS, lines.values())
            for path in journals:
                path.unlink()
            if waiting:  # only now, for the reason that `close_part` gives
                self._write_part(part, waiting)
            shutil.rmtree(self.folder / _STAGED, ignore_errors=True)
            self.done = lines
        except OSError as error:
            raise RunError(f"{self.folder}: cannot be written: {error.strerror}") from None

    # --- in between, by every process -------------------------------------------------------------

    def read(self) -> None:
        """See what is done, after another process has called `prepare`."""
        self.done = {str(line["name"]): line for line in _lines_of(self.folder / _VIDEOS)}

    def writer(self, rank: int) -> FeatureWriter:
        """Begin to add videos; at most one for each rank at a time."""
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
                f"(they differ in {', '.join(keys) or 'what is known of them'}); name another "
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
                f"{self.folder}: holds files that are not of an extraction; name another folder"
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
        _remove(self.folder / EXTRACTOR)  # last, so that a removal cut short can be taken up again

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
    """Adds videos to a folder, for one process."""

    def __init__(self, target: FeatureFolder, rank: int) -> None:
        self._target = target
        self._rank = rank
        self._journal = target.folder / f".videos-{rank:05d}.jsonl"
        self._lines: dict[str, Line] = {}
        self._staged: list[Line] = []
        self._staged_bytes = 0

    def add(self, record: FeatureRecord) -> None:
        """Put a video on the disk.

        Raises:
            RunError: The disk refuses.
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
        """Move videos that wait into a part of their own.

        The journal names the part before it is there: whatever happens in between, `merge` finds
        each video either in the part or still waiting, never in both.

        Raises:
            RunError: The disk refuses.
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
        else:  # as the features of ActivityNet are handed around: names of the columns first
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
    """Lines of a journal; one that was cut off when its process was killed does not count."""
    if not path.exists():
        return
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = parse_json(text)
        except ValueError:
            continue
        if isinstance(line, dict) and {"name", "file"} <= cast("Line", line).keys():
            yield cast("Line", line)


def _write_lines(path: Path, lines: Iterable[Line]) -> None:
    with written_aside(path) as aside:
        aside.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
