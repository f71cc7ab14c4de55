"""Segments of videos in place of whole videos, as taggers read them: `data.segments`.

::

    frames     0    5    10   15   20 22
    rated           [1 0]     [1]          which people rated: 1 the class is there, 0 it is not
    all        [---][---][---][---][-]     for prediction, one after the other

Training reads single segments; evaluation and prediction read all segments of a video at once.

Source: google/youtube-8m, `readers.py` (segments by their starts, only rated classes count) and
`inference.py` (a segment per five frames; the last may be shorter).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from videozoo.data.balance import balanced_order
from videozoo.data.features.records import FeatureRecord, RecordSet, usable_frames
from videozoo.data.label_index import RatedIndex
from videozoo.data.loader import Numbers, VideoDataset, seed_of
from videozoo.data.tags import (
    Excerpt,
    FeatureBatch,
    batch_of,
    chosen_frames,
    record_order,
    seeded,
)
from videozoo.errors import DataError
from videozoo.settings.tags import FeatureData
from videozoo.types import FeatureShape

_FRAMES_PER_SECOND = 1.0


def check_rate(records: RecordSet) -> None:
    """Refuse features of another rate: a segment is named by its start in seconds.

    Raises:
        DataError: The features say that they do not have one frame per second.
    """
    rate = (records.extractor or {}).get("rate")
    if isinstance(rate, int | float) and rate != _FRAMES_PER_SECOND:
        raise DataError(
            f"{records.files[0].path}: features with {rate:g} frames per second, and data.segments "
            "is for one per second, as in YouTube-8M; extract them with --rate 1"
        )


def frame_limit(records: RecordSet, data: FeatureData) -> int | None:
    """Frames of a record whose segments are read; None: all.

    They are limited as for whole videos: of features from elsewhere only the first frames are read,
    as in the 2019 library.
    """
    return data.max_frames if records.extractor is None else None


class _Reader:
    """Cuts segments out of records; neighbours of one record are cut from one reading of it."""

    def __init__(
        self, records: RecordSet, shape: FeatureShape, data: FeatureData, seed: int
    ) -> None:
        self.records, self.shape, self.data, self.seed = records, shape, data, seed
        self._most = frame_limit(records, data)
        self._rng = np.random.RandomState(0)
        self._last: tuple[int, FeatureRecord, int] | None = None

    def record(self, number: int) -> tuple[FeatureRecord, int]:
        """A record, and how many of its frames are used."""
        if self._last is None or self._last[0] != number:
            record = self.records.read(number)
            where = self.records.where_named(number, record.name)
            length = usable_frames(record, self.shape, where)
            self._last = number, record, min(length, self._most or length)
        return self._last[1:]

    def excerpt(
        self,
        number: int,
        span: tuple[int, int],
        draw: tuple[int | None, int],
        *,
        labels: tuple[int, ...] = (),
        rated: tuple[int, ...] | None = None,
    ) -> Excerpt:
        """A segment of a record.

        Args:
            number: Of the record.
            span: First frame, and the frame after the last.
            draw: Epoch and number of the item, which draw its frames.
            labels: Classes that are there.
            rated: Classes of which something is known.

        Raises:
            DataError: The record is damaged, or ends before the segment starts.
        """
        record, length = self.record(number)
        start, end = span
        if start >= length:
            raise DataError(
                f"{self.records.where_named(number, record.name)}: a segment from frame {start}, "
                f"and {length} frames are used"
            )
        epoch, item = draw
        rng = seeded(self._rng, self.seed, epoch, item, self.data)
        streams = chosen_frames(record, self.shape, (start, min(end, length)), rng)
        return Excerpt(number, record.name, streams, labels, rated, (start, min(end, length)))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_last": None}


class RatedSegments(VideoDataset[Excerpt, FeatureBatch]):
    """The segments that people rated, each an item: for training."""

    item = "segment"

    def __init__(
        self,
        records: RecordSet,
        index: RatedIndex,
        shape: FeatureShape,
        data: FeatureData,
        *,
        num_classes: int,
        seed: int = 0,
    ) -> None:
        """Set up how segments are read.

        Args:
            records: From `load_records`.
            index: Of these records.
            shape: What the model reads.
            data: Which frames are used, and the order of training.
            num_classes: Classes of the model.
            seed: Of the order and of random choices.
        """
        self.seed = seed
        self._index, self._data, self._num_classes = index, data, num_classes
        self._reader = _Reader(records, shape, data, seed)
        # the first segment of each record, and that after the last of all
        self._firsts = np.searchsorted(index.records, np.arange(len(records) + 1))

    def __len__(self) -> int:
        return len(self._index)

    def order(self, epoch: int) -> Numbers:
        """As `record_order` orders the records; segments of neighbouring records are shuffled.

        With `data.balance` see `balanced_order`; the classes of a segment are those that are rated.
        """
        if self._data.balance:
            return np.array(balanced_order(self._index.rated, seed=self.seed, epoch=epoch))
        records = record_order(
            self._reader.records,
            shuffle_records=self._data.shuffle_records,
            seed=self.seed,
            epoch=epoch,
        )
        rng = np.random.RandomState(seed_of(self.seed, epoch, len(self)))
        order = np.empty(len(self), np.int64)
        place = 0
        for first in range(0, len(records), self._data.shuffle_records):
            group = records[first : first + self._data.shuffle_records]
            own = [np.arange(*self._firsts[number : number + 2]) for number in group.tolist()]
            segments = np.concatenate(own)
            rng.shuffle(segments)
            order[place : place + len(segments)] = segments
            place += len(segments)
        return order

    def read(self, number: int, epoch: int | None) -> Excerpt:
        """See `VideoDataset`."""
        place = number % len(self)  # beyond its length, the same segment once more
        return _rated(self._reader, self._index, place, (epoch, number))

    def collate(self, items: Sequence[Excerpt]) -> FeatureBatch:
        """See `VideoDataset`."""
        return batch_of(items, self._reader.records, self._reader.shape, self._num_classes)


class SegmentedVideos(VideoDataset[list[Excerpt], FeatureBatch]):
    """Videos with their segments, an item each: for evaluation and prediction.

    Rows of a batch are segments, and those of a video are neighbours.
    """

    def __init__(
        self,
        records: RecordSet,
        shape: FeatureShape,
        data: FeatureData,
        *,
        index: RatedIndex | None = None,
        num_classes: int | None = None,
        seed: int = 0,
    ) -> None:
        """Set up how segments are read.

        Args:
            records: All of them.
            shape: What the model reads.
            data: Which frames are used.
            index: Of these records: only rated segments are read, of the records that have any.
                None: the whole of each record is cut into segments.
            num_classes: Classes of the model, for their ratings.
            seed: Of random choices of frames.
        """
        self.seed = seed
        self._index, self._data, self._num_classes = index, data, num_classes
        self._reader = _Reader(records, shape, data, seed)
        self._records = (
            np.arange(len(records)) if index is None else np.unique(index.records)
        )  # the record of each item

    def __len__(self) -> int:
        return len(self._records)

    def read(self, number: int, epoch: int | None) -> list[Excerpt]:
        """See `VideoDataset`."""
        record = int(self._records[number])
        if self._index is not None:
            first, last = np.searchsorted(self._index.records, (record, record + 1)).tolist()
            return [
                _rated(self._reader, self._index, place, (epoch, place))
                for place in range(first, last)
            ]
        _, length = self._reader.record(record)
        size = self._data.segment_frames
        return [
            self._reader.excerpt(record, (start, start + size), (epoch, seed_of(record, start)))
            for start in range(0, length, size)
        ]

    def collate(self, items: Sequence[list[Excerpt]]) -> FeatureBatch:
        """See `VideoDataset`."""
        rows = [segment for segments in items for segment in segments]
        return batch_of(rows, self._reader.records, self._reader.shape, self._num_classes)


def _rated(reader: _Reader, index: RatedIndex, place: int, draw: tuple[int | None, int]) -> Excerpt:
    """One rated segment."""
    one = index.segments[place]
    present = zip(one.labels, one.present, strict=True)
    return reader.excerpt(
        int(index.records[place]),
        (one.start, one.end),
        draw,
        labels=tuple(label for label, is_there in present if is_there),
        rated=one.labels,
    )
