"""Long videos in parts, for models that tag by no more than so many frames at once.

A model that learnt from at most `data.max_frames` frames of a video would see only the beginning of
a video of hours. Evaluation and prediction read all of it, in parts of equal length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from videozoo.data.features.records import FeatureRecord, RecordSet
from videozoo.data.features.transforms import bounds_of_parts
from videozoo.data.loader import Numbers, share_by_video
from videozoo.data.tags import FeatureDataset
from videozoo.errors import DataError
from videozoo.settings.tags import FeatureData
from videozoo.types import FeatureShape


@dataclass(frozen=True)
class Part:
    """A stretch of a record."""

    record: int
    start: int = 0
    """First frame."""
    end: int | None = None
    """The frame after the last; None: the record as a whole."""


def is_read_in_parts(records: RecordSet) -> bool:
    """Whether long records are read in parts: those that say how they were made.

    Of features from elsewhere, such as YouTube-8M, only the first frames are read, as in the 2019
    library.
    """
    return records.extractor is not None


class RecordParts(RecordSet):
    """Parts of records as a sequence of records."""

    def __init__(self, records: RecordSet, parts: Sequence[Part]) -> None:
        """Read `parts` of `records`; those of one record are neighbours."""
        super().__init__(records.files, records.damaged)
        self.parts = tuple(parts)
        self._read: tuple[int, FeatureRecord] | None = None

    def __len__(self) -> int:
        return len(self.parts)

    def where(self, number: int) -> str:
        """Name a part in messages."""
        part = self.parts[number]
        whole = super().where(part.record)
        return whole if part.end is None else f"{whole}, frames {part.start} to {part.end - 1}"

    def read(self, number: int) -> FeatureRecord:
        """Return one part; see `RecordSet.read`."""
        part = self.parts[number]
        if self._read is None or self._read[0] != part.record:
            self._read = part.record, super().read(part.record)
        record = self._read[1]
        if part.end is None:
            return record
        streams = {name: one[part.start : part.end] for name, one in record.streams.items()}
        return replace(record, streams=streams)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_read": None}


def in_parts(
    records: RecordSet, shape: FeatureShape, most_frames: int | None
) -> RecordParts | None:
    """Divide long records; None if there are none, or they are not to be divided.

    Args:
        records: All of them; each is read once.
        shape: What the model reads.
        most_frames: Of a part; None: a model reads any number.
    """
    if most_frames is None or not is_read_in_parts(records):
        return None
    parts = [
        part
        for number in range(len(records))
        for part in _parts(records, number, shape, most_frames)
    ]
    records.close()
    return RecordParts(records, parts) if len(parts) > len(records) else None


def _parts(records: RecordSet, number: int, shape: FeatureShape, most: int) -> Iterator[Part]:
    try:
        streams = records.read(number).streams
    except DataError:  # told when it is read to be scored
        streams = {}
    lengths = {len(streams.get(stream.name, ())) for stream in shape.streams}
    length = lengths.pop() if len(lengths) == 1 else 0
    if length <= most:
        yield Part(number)
        return
    for start, end in pairwise(bounds_of_parts(length, most)):
        yield Part(number, start, end)


class PartsDataset(FeatureDataset):
    """Parts of videos; the number of each is that of its video."""

    def __init__(
        self,
        records: RecordParts,
        shape: FeatureShape,
        data: FeatureData,
        *,
        num_classes: int | None = None,
    ) -> None:
        """See `FeatureDataset`."""
        super().__init__(records, shape, data, num_classes=num_classes)
        self._videos = [part.record for part in records.parts]

    @property
    def num_videos(self) -> int:
        """See `VideoDataset`."""
        return len(set(self._videos))

    def video_of(self, number: int) -> int:
        """See `VideoDataset`."""
        return self._videos[number]

    def share(self, rank: int, world: int) -> Numbers:
        """See `VideoDataset`; all parts of a video are in one share."""
        return share_by_video(self._videos, rank, world)

    def read(self, number: int, epoch: int | None) -> Any:
        """See `VideoDataset`."""
        return replace(super().read(number, epoch), number=self._videos[number])
