"""Convert files of features: shards of YouTube-8M, pickles of the 2019 library, our packs."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from videozoo.data.features.packs import PackWriter
from videozoo.data.features.record_formats import open_records, write_shard
from videozoo.data.features.records import FeatureRecord, RecordFile
from videozoo.errors import DataError
from videozoo.safe_write import written_aside

TargetKind = Literal["pack", "tfrecord", "pickle"]

SUFFIXES: dict[TargetKind, str] = {"pack": "", "tfrecord": ".tfrecord", "pickle": ".pkl"}

_PICKLE_KEYS = {"rgb": "feature", "audio": "audio"}


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """One file to read and one to write. Plain data, so that it can be sent to another process."""

    source: Path
    target: Path
    kind: TargetKind
    num_classes: int | None = None
    """Leave out labels that are not below this number, as the converter of the 2019 library did for
    a larger vocabulary. None keeps all."""
    skip_bad: bool = False
    """Leave out records that cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Converted:
    """Result of the conversion of one file."""

    videos: int
    skipped: tuple[str, ...] = ()
    """Why each record was left out."""
    segment_rated: int = 0
    """Records whose segments have labels, which are not converted: only shards hold them."""


def convert(conversion: Conversion) -> Converted:
    """Convert a file; the new file appears when it is complete.

    One record is in memory at a time, except for pickles, which must be read and written whole.

    Raises:
        DataError: The source is damaged (record and place are named), or the target format cannot
            hold what is in it.
    """
    source = open_records(conversion.source)
    skipped: list[str] = []
    segment_rated: list[str] = []
    records = _usable(source, conversion, skipped, segment_rated)
    conversion.target.parent.mkdir(parents=True, exist_ok=True)
    try:
        match conversion.kind:
            case "pack":
                videos = _write_pack(conversion.target, source, records)
            case "tfrecord":
                videos = write_shard(conversion.target, map(_for_shard, records))
            case "pickle":
                videos = write_pickle(conversion.target, records)
    except OSError as error:
        raise DataError(f"{conversion.target}: cannot be written: {error.strerror}") from None
    finally:
        source.close()
    return Converted(videos=videos, skipped=tuple(skipped), segment_rated=len(segment_rated))


def write_pickle(path: Path, records: Iterable[FeatureRecord]) -> int:
    """Write a pickle for the 2019 library; the file appears when it is complete.

    Args:
        path: The file.
        records: Videos with streams `rgb` and, if there is sound, `audio`.

    Returns:
        Number of records.

    Raises:
        DataError: A record has another stream.

    Source: PaddlePaddle/models release/1.8, tf2pkl and feature_reader.
    """
    videos = [_entry_of_2019(record) for record in records]
    with written_aside(path) as aside, aside.open("wb") as file:
        pickle.dump(videos, file, protocol=2)
    return len(videos)


def _entry_of_2019(record: FeatureRecord) -> dict[bytes, Any]:
    if unknown := set(record.streams) - set(_PICKLE_KEYS):
        raise DataError(
            f"{record.name}: stream {sorted(unknown)[0]!r} has no place in a 2019 pickle, which "
            "knows rgb and audio; write packs"
        )
    video: dict[bytes, Any] = {b"video": record.name.encode("utf-8", "surrogateescape")}
    for name, frames in record.streams.items():
        video[_PICKLE_KEYS[name].encode()] = np.array(frames)
    if record.labels is not None:
        video[b"label"] = list(record.labels)
    video[b"nframes"] = np.int32(_num_frames(record))
    return video


def _write_pack(target: Path, source: RecordFile, records: Iterator[FeatureRecord]) -> int:
    with PackWriter(target, extractor=source.extractor, overwrite=True) as pack:
        for record in records:
            pack.write(record)
    return pack.num_videos


def _for_shard(record: FeatureRecord) -> FeatureRecord:
    """Convert streams to what shards can hold: bytes or float32."""
    streams = {
        name: frames if frames.dtype == np.uint8 else frames.astype(np.float32)
        for name, frames in record.streams.items()
    }
    return replace(record, streams=streams)


def _usable(
    source: RecordFile, conversion: Conversion, skipped: list[str], segment_rated: list[str]
) -> Iterator[FeatureRecord]:
    """Yield the records that can be used.

    Adds to `skipped` why other records cannot be used, and to `segment_rated` the names of videos
    whose segments have labels that the target cannot hold.
    """
    for number in range(len(source)):
        try:
            record = source.read(number)
        except DataError as error:
            if not conversion.skip_bad:
                raise
            skipped.append(str(error))
            continue
        if record.labels is not None and conversion.num_classes is not None:
            kept = tuple(sorted(label for label in record.labels if label < conversion.num_classes))
            record = replace(record, labels=kept)
        if record.ratings is not None and conversion.num_classes is not None:
            known = (one for one in record.ratings if one.label < conversion.num_classes)
            record = replace(record, ratings=tuple(known))
        if record.has_segment_labels and (conversion.kind != "tfrecord" or record.ratings is None):
            segment_rated.append(record.name)
        yield record


def _num_frames(record: FeatureRecord) -> int:
    return len(next(iter(record.streams.values()), ()))
