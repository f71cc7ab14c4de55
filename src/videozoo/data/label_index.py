"""Labels of all records of a data set, found once by reading every record, and remembered.

A survey reads some records; what balances classes, and what takes segments for items, must know the
labels of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from videozoo.data.features._index import remembered
from videozoo.data.features.rated_segments import RatedSegment, rated_segments
from videozoo.data.features.record_formats import LabelledFiles
from videozoo.data.features.records import FeatureRecord, RecordFile, RecordSet
from videozoo.errors import DataError, MisfitError, counted

IntArray = NDArray[np.int64]
_DAMAGED = -(2**62)  # in place of a label or a start


@dataclass(frozen=True)
class LabelIndex:
    """The labels of every record."""

    labels: tuple[tuple[int, ...], ...]
    """Of each record; none for a record without labels, and for one that cannot be read."""

    def counts(self, num_classes: int) -> list[int]:
        """Records of each class.

        Raises:
            MisfitError: A label is no class.
        """
        every = np.array([label for own in self.labels for label in own], np.int64)
        return _counts(every, num_classes)


@dataclass(frozen=True)
class RatedIndex:
    """Every rated segment of some records, in their order."""

    records: IntArray
    """(S,): number of the record of each segment."""
    segments: tuple[RatedSegment, ...]
    outside: tuple[str, ...] = ()
    """Segments that start after the last frame that is used, which are left out."""
    cut: tuple[str, ...] = ()
    """Segments that end after it, of which only the frames before are used."""
    problems: dict[int, str] = field(default_factory=dict[int, str])
    """Why a record cannot be used, by its number."""

    def __len__(self) -> int:
        return len(self.segments)

    @property
    def ratings(self) -> int:
        """Ratings of all segments."""
        return sum(len(one.labels) for one in self.segments)

    @property
    def rated(self) -> tuple[tuple[int, ...], ...]:
        """The rated classes of each segment."""
        return tuple(one.labels for one in self.segments)

    def counts(self, num_classes: int, *, present: bool = True) -> list[int]:
        """Segments in which each class is rated present; or absent.

        Raises:
            MisfitError: A label is no class.
        """
        every = [
            label
            for one in self.segments
            for label, is_there in zip(one.labels, one.present, strict=True)
            if is_there == present
        ]
        return _counts(np.array(every, np.int64), num_classes)


def label_index(records: RecordSet) -> LabelIndex:
    """The labels of all records; the files are read once, and what they hold is remembered.

    Raises:
        DataError: A file cannot be read.
    """
    labels: list[tuple[int, ...]] = []
    for file in records.files:
        if isinstance(file, LabelledFiles):
            labels += file.labels
            continue
        own: list[list[int]] = [[] for _ in range(len(file))]
        for record, label in _table(file, "labels", _label_rows, 2).tolist():
            if label != _DAMAGED:
                own[record].append(label)
        labels += map(tuple, own)
    records.close()
    return LabelIndex(tuple(labels))


def rated_index(
    records: RecordSet, *, segment_frames: int, most_frames: int | None = None
) -> RatedIndex:
    """The rated segments of all records; the files are read once, and remembered.

    Args:
        records: All of them.
        segment_frames: Frames that every segment must have.
        most_frames: Frames of a record that are used; None: all.

    Raises:
        DataError: A file cannot be read.
        MisfitError: A segment has another length.
    """
    numbers: list[int] = []
    segments: list[RatedSegment] = []
    outside: list[str] = []
    cut: list[str] = []
    problems: dict[int, str] = {}
    first = 0
    for file in records.files:
        for number, rows in _by_record(_table(file, "ratings", _rating_rows, 6)):
            where = f"{records.where(first + number)}"
            if rows[0, 1] == _DAMAGED:
                problems[first + number] = _problem(records, first + number)
                continue
            for start in np.unique(rows[:, 1]).tolist():
                own = rows[rows[:, 1] == start]
                end, frames = int(own[0, 2]), int(own[0, 5])
                if end - start != segment_frames:
                    raise MisfitError(
                        f"{where}: a rated segment from frame {start} to {end}, expected "
                        f"{counted(segment_frames, 'frame')} (data.segment_frames)"
                    )
                if start >= min(frames, most_frames or frames):
                    used = f"{min(frames, most_frames or frames)} of {frames}"
                    outside.append(f"{where}: from frame {start}, and {used} frames are used")
                    continue
                if end > min(frames, most_frames or frames):
                    used = f"{min(frames, most_frames or frames)} of {frames}"
                    cut.append(f"{where}: frames {start} to {end - 1}, and {used} are used")
                numbers.append(first + number)
                labels, present = own[:, 3].tolist(), own[:, 4].astype(bool).tolist()
                segments.append(RatedSegment(start, end, tuple(labels), tuple(present)))
        first += len(file)
    records.close()
    return RatedIndex(
        np.array(numbers, np.int64), tuple(segments), tuple(outside), tuple(cut), problems
    )


def _counts(labels: IntArray, num_classes: int) -> list[int]:
    if len(labels) and (labels.min() < 0 or labels.max() >= num_classes):
        odd = labels.min() if labels.min() < 0 else labels.max()
        raise MisfitError(
            f"label {odd}, expected 0 to {num_classes - 1}; set model.num_classes={odd + 1}, or "
            "leave such labels out: videozoo prepare youtube8m --num-classes "
            f"{num_classes}"
        )
    return np.bincount(labels, minlength=num_classes).tolist()


def _table(
    file: RecordFile, kind: str, rows: Callable[[FeatureRecord, str], Iterator[tuple[int, ...]]],
    width: int,
) -> IntArray:  # fmt: skip
    """Rows of whole numbers that start with the number of the record in its file."""

    def made() -> IntArray:
        found: list[tuple[int, ...]] = []
        for number in range(len(file)):
            try:
                record = file.read(number)
                found += [(number, *row) for row in rows(record, f"{file.path}: record {number}")]
            except DataError:
                found.append((number, *[_DAMAGED] * (width - 1)))
        return np.array(found, np.int64).ravel()

    # a folder does not change its date when a file in it does; one video is read quickly
    if len(file) < 2 or not file.path.is_file():
        return made().reshape(-1, width)
    flat = remembered(file.path, f"{kind}-1", made)
    if len(flat) % width or (len(flat) and flat[::width].max() >= len(file)):  # not what was kept
        flat = made()
    return flat.reshape(-1, width)


def _label_rows(record: FeatureRecord, _where: str) -> Iterator[tuple[int, ...]]:
    for label in record.labels or ():
        yield (label,)


def _rating_rows(record: FeatureRecord, where: str) -> Iterator[tuple[int, ...]]:
    frames = max(map(len, record.streams.values()), default=0)
    for one in rated_segments(record, where):
        for label, is_there in zip(one.labels, one.present, strict=True):
            yield one.start, one.end, label, int(is_there), frames


def _by_record(table: IntArray) -> Iterator[tuple[int, IntArray]]:
    if len(table):
        places = np.flatnonzero(np.diff(table[:, 0])) + 1
        for rows in np.split(table, places):
            yield int(rows[0, 0]), rows


def _problem(records: RecordSet, number: int) -> str:
    """What is wrong with a record; it is read once more for that."""
    try:
        record = records.read(number)
        rated_segments(record, records.where_named(number, record.name))
    except DataError as error:
        return str(error)
    return f"{records.where(number)}: cannot be read"
