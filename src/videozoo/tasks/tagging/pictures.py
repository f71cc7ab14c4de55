"""Pictures of the attention of tagging models over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from videozoo.config import RunConfig
from videozoo.data.features.records import RecordSet
from videozoo.data.tag_parts import is_read_in_parts
from videozoo.report.annotate import picture_names, write_picture
from videozoo.report.timeline import HeatRow, Timeline, timeline_picture
from videozoo.tasks.tagging.scoring import VideoTags, feature_shape

_MOST_TAGS = 5  # above the rows


def draw_attention(
    results: Mapping[int, VideoTags],
    class_names: Sequence[str],
    records: RecordSet,
    config: RunConfig,
    folder: Path,
) -> list[Path]:
    """Write one picture per video: its tags, and the weight of each moment in each stream.

    Args:
        results: Number of the record -> its result, with `attention`.
        class_names: Names of all classes.
        records: The records. If they hold the `rate` of their extractor (vectors per second), the
            axis is in seconds.
        config: The configuration of the run.
        folder: The folder for `VIDEO_attention.png`.

    Raises:
        RunError: The disk refuses.
    """
    rate = (records.extractor or {}).get("rate")
    streams = [stream.name for stream in feature_shape(config).streams]
    files = picture_names([Path(result.name) for result in results.values()])
    written: list[Path] = []
    for (number, result), name in zip(results.items(), files, strict=True):
        count = max(len(frames) for frames in records.read(number).streams.values())
        if config.data.max_frames is not None and not is_read_in_parts(records):
            count = min(count, config.data.max_frames)
        timeline = Timeline(
            title=result.name,
            length=count / rate if rate else count,
            unit="s" if rate else "frames",
            rows=[
                HeatRow(name=stream, values=weights)
                for stream, weights in zip(streams, result.attention, strict=True)
            ],
            bars=[(class_names[number], score) for number, score in result.top(_MOST_TAGS)],
        )
        written.append(write_picture(folder / f"{name}_attention.png", timeline_picture(timeline)))
    return written
