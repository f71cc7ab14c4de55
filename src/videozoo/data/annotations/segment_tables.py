"""Segments in tables with a heading, one segment per row."""

from __future__ import annotations

import csv
from collections.abc import Iterable

from videozoo.data.annotations.segment_types import RawInstance, RawVideo, video_at
from videozoo.data.formats import TextFile
from videozoo.data.text import Table
from videozoo.errors import DataError

_COLUMNS: dict[str, tuple[str, ...]] = {
    "video": ("video", "video_id", "video_name", "name", "file", "filename", "path"),
    "label": ("label", "class", "action", "type", "category"),
    "start": ("start", "start_seconds", "start_time", "t_start", "begin"),
    "end": ("end", "end_seconds", "end_time", "t_end", "stop"),
}
_OPTIONAL: dict[str, tuple[str, ...]] = {
    "duration": ("duration", "duration_seconds", "length", "video_duration"),
    "subset": ("subset", "split", "part"),
}
"""Names of the columns of a table, in lower case."""


def table_columns(heading: str) -> dict[str, str] | None:
    """Names of the columns of a CSV of segments, by what they hold; None if it is no such table.

    >>> table_columns("Video,start,end,Label")
    {'video': 'Video', 'label': 'Label', 'start': 'start', 'end': 'end'}
    >>> table_columns("a,b,c")
    """
    try:
        names = [name.strip() for name in next(csv.reader([heading]), [])]
    except csv.Error:  # too long for a heading
        return None
    plain = {name.lower().replace("-", "_").replace(" ", "_"): name for name in names}
    found = {
        what: next((plain[one] for one in known if one in plain), None)
        for what, known in (_COLUMNS | _OPTIONAL).items()
    }
    if any(found[what] is None for what in _COLUMNS):
        return None
    return {what: name for what, name in found.items() if name is not None}


def table_videos(file: TextFile) -> Iterable[RawVideo]:
    """The segments of a table, one per row."""
    path, columns = file.path, table_columns(file.heading) or {}
    videos: dict[str, RawVideo] = {}
    rows = Table(path, file.text)
    if rows.fieldnames is not None:
        rows.fieldnames = [name.strip() for name in rows.fieldnames]
    for row in rows:
        where = f"{path}:{rows.line_num}"
        held = {what: (row[name] or "").strip() for what, name in columns.items()}
        if not held["video"]:
            raise DataError(f"{where}: a row without a video")
        video = video_at(videos, path, held["video"])
        facts = held.get("duration") or None, held.get("subset") or None
        if not video.instances:
            video.duration, video.subset = facts
        if facts != (video.duration, video.subset):
            raise DataError(
                f"{where}: {video.name} has duration {facts[0]!r} and subset {facts[1]!r} here, "
                f"but {video.duration!r} and {video.subset!r} before"
            )
        video.instances.append(
            RawInstance(where, held["start"], held["end"], held["label"] or None)
        )
    return videos.values()
