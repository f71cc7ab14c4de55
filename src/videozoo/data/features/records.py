"""Records of features, one per video: their type, their checks, and many files as one sequence.

`record_formats.find_records` opens files.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from videozoo.data.text import as_text, kind_of
from videozoo.errors import DataError, MisfitError, brief
from videozoo.safe_json import parse_json
from videozoo.types import FeatureShape

Facts = Mapping[str, Any]

EXTRACTOR = "extractor.json"
"""File beside the features of `videozoo extract` that says what made them. It is not called
`manifest.json`, because a folder with a `manifest.json` is a pack."""
EXTRACTOR_FORMAT = "videozoo-feature-folder"
_MOST_OPEN = 64  # files that one process keeps open
MOST_LOADED_BYTES = 1 << 30
"""Most memory in a process for files that can only be read whole; a single file may take more."""
DTYPES = ("uint8", "float16", "float32", "float64")
"""Types of number that features may have."""


@dataclass(frozen=True, slots=True)
class SegmentRating:
    """What a person said of one class in a segment of a video, of 5 frames as a rule."""

    start: int
    """First frame, from 0; with one frame per second also the start in seconds."""
    end: int
    """The frame after the last."""
    label: int
    is_present: bool


@dataclass(frozen=True)
class FeatureRecord:
    """One video as sequences of features."""

    name: str
    streams: Mapping[str, NDArray[Any]]
    """(T, dim) each: uint8 as YouTube-8M stores them, or floats. May be views; do not write."""
    labels: tuple[int, ...] | None = None
    """Classes of the video; None if the file has no labels."""
    duration_seconds: float | None = None
    """Length of the video. Only packs store it."""
    facts: Facts = field(default_factory=dict[str, Any])
    """Other facts about the video, plain data. Only packs store them."""
    has_segment_labels: bool = False
    """Segments of the video have labels (2019 version of YouTube-8M)."""
    ratings: tuple[SegmentRating, ...] | None = None
    """These labels; None if there are none, or if their lists differ in length."""


class RecordFile(Protocol):
    """The videos of one file. Can be sent to other processes, which open the file again."""

    @property
    def path(self) -> Path:
        """The file or folder."""
        ...

    @property
    def loaded_bytes(self) -> int:
        """Memory that reading takes until `close`, about; 0 unless the file is read whole."""
        ...

    @property
    def extractor(self) -> Facts | None:
        """Facts about what made the features, if the file has them."""
        ...

    def __len__(self) -> int: ...

    def read(self, number: int) -> FeatureRecord:
        """Return one video, from 0; DataError names file and record."""
        ...

    def close(self) -> None:
        """Close files and free memory; `read` opens them again."""
        ...


class RecordSet:
    """Many files as one sequence of records; only some are open at a time."""

    def __init__(self, files: Sequence[RecordFile], damaged: Sequence[str] = ()) -> None:
        """Join files in order.

        Args:
            files: The files.
            damaged: For each file that cannot be opened, what is wrong with it.

        Raises:
            DataError: The features come from different extractors.
        """
        self.files = list(files)
        self.damaged = tuple(damaged)
        self.counts = np.array([len(file) for file in self.files], np.int64)
        self.extractor = _common_extractor(self.files)
        self._ends = np.cumsum(self.counts)
        self._open: dict[Path, RecordFile] = {}  # least recently used first

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def fingerprint(self) -> str | None:
        """Hash of the facts about the extractor; None if they are not known."""
        return None if self.extractor is None else fingerprint(self.extractor)

    def place(self, number: int) -> tuple[RecordFile, int]:
        """File of a record, and the number of the record in it."""
        if not 0 <= number < len(self):
            raise IndexError(f"record {number} of {len(self)}")
        file = int(np.searchsorted(self._ends, number, side="right"))
        return self.files[file], int(number - self._ends[file] + self.counts[file])

    def where(self, number: int) -> str:
        """Name a record in messages."""
        file, inside = self.place(number)
        if isinstance(file, RecordArrays):
            return file.read(inside).name
        return f"{file.path}: record {inside}"

    def where_named(self, number: int, name: str) -> str:
        """`where`, and the name of the video unless it says that already."""
        where = self.where(number)
        return where if where == name else f"{where} ({name})"

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
    """Records in memory; a `RecordFile`."""

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
        """Do nothing: there is no file."""


SOURCE = "source"
"""Key of a fact about an extractor: how to find it again. The features do not depend on it."""


def fingerprint(extractor: Facts) -> str:
    """Hash of the facts about an extractor; equal only if every fact except `SOURCE` is equal.

    >>> fingerprint({"model": "tsn", "rate": 1}) == fingerprint({"rate": 1, "model": "tsn"})
    True
    """
    facts = {key: value for key, value in extractor.items() if key != SOURCE}
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_extractor(folder: Path) -> dict[str, Any] | None:
    """Facts about what made the single files in a folder; None if they are not known.

    Packs store these facts themselves.

    Raises:
        DataError: The file with the facts is damaged.
    """
    manifest = read_extractor_file(folder)
    return None if manifest is None else checked_facts(folder / EXTRACTOR, manifest)


def read_extractor_file(folder: Path) -> dict[str, Any] | None:
    """The whole `extractor.json` that `videozoo extract` wrote into a folder; None if none.

    Raises:
        DataError: It cannot be read, or is damaged: without it, times would be guessed.
    """
    path = folder / EXTRACTOR
    if not path.is_file():
        return None
    try:
        manifest: Any = parse_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DataError(
            f"{path}: says what made these features, but is damaged: {error}; extract them again"
        ) from None
    if not isinstance(manifest, dict):
        return None
    manifest = cast("dict[str, Any]", manifest)
    return manifest if manifest.get("format") == EXTRACTOR_FORMAT else None


def checked_facts(path: Path, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """The facts under `extractor` in a file; None if it says that they are not known.

    Raises:
        DataError: They are no facts, or their number of vectors per second is none.
    """
    facts = manifest.get("extractor")
    if facts is None:
        return None
    rate = cast("dict[str, Any]", facts).get("rate") if isinstance(facts, dict) else None
    if not isinstance(facts, dict) or not (rate is None or is_length(rate)):
        raise DataError(
            f"{path}: damaged: {brief(facts)}, expected facts about what made the features, with a "
            "rate above 0; extract them again"
        )
    return cast("dict[str, Any]", facts)


def is_length(value: object) -> bool:
    """Whether a value of a file is a finite number above 0: seconds, or a rate.

    >>> is_length(2.5), is_length(0), is_length(float("nan")), is_length("2")
    (True, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value < math.inf


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


# --- checks of records ---------------------------------------------------------------


def without_axes_of_one(array: NDArray[Any]) -> NDArray[Any]:
    """Features as (T, C): axes of length 1 are dropped, the order of the others stays.

    An array with more than two other axes comes back as it is, and one where more than one axis
    could be the steps: (T, 1, 1).

    >>> [without_axes_of_one(np.zeros(shape)).shape for shape in ((5, 1, 3), (5, 3, 1, 1))]
    [(5, 3), (5, 3)]
    >>> [without_axes_of_one(np.zeros(shape)).shape for shape in ((1, 1, 3), (5, 1, 1))]
    [(1, 3), (5, 1, 1)]
    """
    if array.ndim <= 2:
        return array
    long = [axis for axis, size in enumerate(array.shape) if size != 1]
    if len(long) == 2:
        return array.reshape([array.shape[axis] for axis in long])
    if long in ([], [array.ndim - 1]):  # one step
        return array.reshape(1, -1)
    return array


def checked_record(
    where: str, name: object, streams: Mapping[str, Any], labels: object
) -> FeatureRecord:
    """Make a record after checking its parts.

    Raises:
        DataError: A stream is not (T, dim) numbers, or the labels are not whole numbers.
    """
    streams = {
        stream: without_axes_of_one(cast("NDArray[Any]", frames))
        if isinstance(frames, np.ndarray)
        else frames
        for stream, frames in streams.items()
    }
    for stream, frames in streams.items():
        if not isinstance(frames, np.ndarray) or frames.ndim != 2:
            got = f"shape {frames.shape}" if isinstance(frames, np.ndarray) else kind_of(frames)
            raise DataError(f"{where}: {stream} has {got}, expected an array (frames, values)")
        if frames.dtype.name not in DTYPES:
            raise DataError(
                f"{where}: {stream} holds {frames.dtype}, expected uint8 or floating-point numbers"
            )
    return FeatureRecord(as_text(name), streams, _labels(where, labels))


def _labels(where: str, labels: object) -> tuple[int, ...] | None:
    if labels is None:
        return None
    array = as_array(labels)
    if array.size == 0:
        return ()
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(f"{where}: labels are {labels!r:.80}, expected a list of class numbers")
    return tuple(cast("list[int]", array.tolist()))


def as_array(value: object) -> NDArray[Any]:
    """A value as an array; of objects if its lists differ in length."""
    try:
        return np.asarray(value)
    except ValueError:
        return np.array([value, None], object)[:1]


def usable_frames(record: FeatureRecord, shape: FeatureShape, where: str) -> int:
    """Check that a model can read a record, and return its number of frames.

    Raises:
        MisfitError: A stream is missing, or its vectors have another length.
        DataError: The video has no frames, its streams differ in length, or a value is not finite.
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
                f"{where}: {stream.name} has {frames.shape[1]} values per frame, expected "
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
