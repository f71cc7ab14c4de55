"""Statistics of the labels of records, before a run uses them.

A record without a label is of no use for training or evaluation of whole videos; labels of
segments, as in the 2019 version of YouTube-8M, are for `data.segments`. Both cases are found here
by reading records: all of them or, if there are many, some records of some files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from videozoo.data.features.packs import PackStream
from videozoo.data.features.records import FeatureRecord, RecordSet, usable_frames
from videozoo.errors import DataError
from videozoo.types import FeatureShape

MOST_RECORDS = 2000
"""Records read before a run; this takes a second or two."""
_MOST_FILES = 16

SEGMENT_LABELS = "segments of these videos have labels of their own (YouTube-8M of 2019)"
SEGMENTS_IGNORED = (
    f"{SEGMENT_LABELS}; here only labels of whole videos are read, and with --set "
    "data.segments=true those of segments"
)


@dataclass(kw_only=True)
class Survey:
    """What was found in some records."""

    total: int
    """Number of all records."""
    looked_at: int = 0
    """Records that were read and can be used."""
    labelled: int = 0
    """Records with at least one label."""
    silent: int = 0
    """Records without a list of labels, not even an empty one."""
    segment_rated: int = 0
    """Records whose segments have labels."""
    longest: int = 0
    """Highest number of frames in a record."""
    names: Counter[str] = field(default_factory=Counter[str])
    """Number of records by name of video."""
    counts: Counter[int] = field(default_factory=Counter[int])
    """Number of records by label."""
    too_large: tuple[str, int] | None = None
    """Place and label of the first record whose label is no class."""
    streams: Counter[PackStream] = field(default_factory=Counter[PackStream])
    """Number of records by stream."""
    problems: dict[int, str] = field(default_factory=dict[int, str])
    """Why a record cannot be used, by its number."""

    @property
    def is_whole(self) -> bool:
        """Whether every record was read."""
        return self.looked_at + len(self.problems) == self.total


def survey(
    records: RecordSet,
    *,
    num_classes: int | None = None,
    shape: FeatureShape | None = None,
    most: int | None = MOST_RECORDS,
    on_record: Callable[[str, FeatureRecord], None] | None = None,
) -> Survey:
    """Read records and count what is in them.

    Args:
        records: All records.
        num_classes: Labels must be smaller; None does not check.
        shape: What the model reads; other records are problems. None accepts any record.
        most: Read at most this many, the first of each of a few files; None reads all.
        on_record: Called with the place and the content of each record that can be used.
    """
    found = Survey(total=len(records))
    for number in _chosen(records, most):
        try:
            record = records.read(number)
            if shape is not None:
                usable_frames(record, shape, f"{records.where(number)} ({record.name})")
        except DataError as error:
            found.problems[number] = str(error)
            continue
        found.looked_at += 1
        if on_record is not None:
            on_record(records.where(number), record)
        found.names[record.name] += 1
        found.streams.update(
            PackStream(name, frames.shape[1], frames.dtype.name)
            for name, frames in record.streams.items()
        )
        found.segment_rated += record.has_segment_labels
        found.longest = max([found.longest, *map(len, record.streams.values())])
        found.silent += record.labels is None
        found.labelled += bool(record.labels)
        for label in record.labels or ():
            found.counts[label] += 1
            is_class = label >= 0 and (num_classes is None or label < num_classes)
            if not is_class and found.too_large is None:
                found.too_large = f"{records.where(number)} ({record.name})", label
    records.close()
    return found


def _chosen(records: RecordSet, most: int | None) -> Iterator[int]:
    if most is None or len(records) <= most:
        yield from range(len(records))
        return
    firsts = np.cumsum(records.counts) - records.counts
    files = _few(len(records.files))
    for place in files:
        first, count = int(firsts[place]), int(records.counts[place])
        yield from range(first, first + min(count, most // len(files)))


def _few(files: int) -> list[int]:
    """Numbers of at most 16 of the files, evenly spread."""
    return sorted({int(n) for n in np.linspace(0, files - 1, min(files, _MOST_FILES)).round()})
