"""Formats of segment annotations: the table of published data sets, tools and tables.

`segments` checks what is read here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from videozoo.data.annotations.segment_datasets import (
    charades_rows,
    ctcn_lines,
    is_by_video,
    is_ctcn,
    json_videos,
    thumos_files,
    thumos_folder,
    thumos_rows,
)
from videozoo.data.annotations.segment_tables import table_columns, table_videos
from videozoo.data.annotations.segment_tools import (
    is_label_studio,
    is_via,
    label_studio_videos,
    via_videos,
)
from videozoo.data.annotations.segment_types import RawVideo
from videozoo.data.formats import Format, TextFile, format_of, unknown


def _has_columns(*names: str) -> Callable[[TextFile], bool]:
    return lambda file: file.columns >= set(names)


FORMATS: tuple[Format[TextFile, Callable[[TextFile], Iterable[RawVideo]]], ...] = (
    Format(
        "THUMOS14, a folder of CLASS_val.txt",
        lambda file: file.is_folder and bool(thumos_files(file.path)),
        thumos_folder,
        "video_validation_0000051 1.0 2.5\n",
        "annotation/run_val.txt",
    ),
    Format(
        "VIA 3 project",
        lambda file: is_via(file.content),
        via_videos,
        '{"project": {}, "file": {"1": {"fname": "a.mp4"}}, "view": {"1": {"fid_list": ["1"]}}, '
        '"attribute": {"1": {"aname": "action", "type": 4, "options": {"0": "run"}}}, '
        '"metadata": {"1_x": {"vid": "1", "z": [1.0, 2.5], "av": {"1": "0"}}}}',
        "project.json",
    ),
    Format(
        "Label Studio",
        lambda file: is_label_studio(file.content),
        label_studio_videos,
        '[{"id": 1, "data": {"video": "a.mp4"}, "annotations": [{"result": [{"value": '
        '{"ranges": [{"start": 11, "end": 25}], "timelinelabels": ["run"]}}]}]}]',
        "export.json",
    ),
    Format(
        "ActivityNet",
        lambda file: isinstance(file.content, dict) and "database" in file.content,
        json_videos,
        '{"database": {"a": {"duration": 9, "subset": "training", '
        '"annotations": [{"segment": [1.0, 2.5], "label": "run"}]}}}',
        "activity_net.v1-3.min.json",
    ),
    Format(
        "ActivityNet as in the 2019 library",
        is_by_video,
        json_videos,
        '{"a": {"duration_second": 9, "subset": "training", '
        '"annotations": [{"segment": [1.0, 2.5], "label": "run"}]}}',
        "activity_net_1_3_new.json",
    ),
    Format(
        "THUMOS14 with names of classes",
        _has_columns("video", "type", "start", "end"),
        thumos_rows,
        "video,type,start,end\nvideo_validation_0000051,run,1.0,2.5\n",
        "val_Annotation.csv",
    ),
    Format(
        "THUMOS14 with numbers of classes",
        _has_columns("video-name", "t-init", "t-end", "label-idx"),
        thumos_rows,
        "video-name,t-init,t-end,label-idx,video-duration\nvideo_validation_0000051,1.0,2.5,0,9\n",
        "thumos14.csv",
    ),
    Format(
        "Charades",
        _has_columns("id", "actions", "length"),
        charades_rows,
        "id,actions,length\na,c000 1.0 2.5;c001 3.0 4.0,9\n",
        "Charades_v1_train.csv",
    ),
    Format(
        "CSV with one segment per row",
        lambda file: table_columns(file.heading) is not None,
        table_videos,
        "video,start,end,label\na.mp4,1.0,2.5,run\n",
        "segments.csv",
    ),
    Format(
        "C-TCN list of the 2019 library, in frames",
        is_ctcn,
        ctcn_lines,
        "a 90 1 1 10 25\n",
        "train.list",
    ),
)
"""Formats of segment annotations."""


def raw_videos(path: Path) -> Iterable[RawVideo]:
    """Read the videos of a file in any of `FORMATS`.

    Raises:
        DataError: The file is missing, damaged or of no known format.
    """
    file = TextFile(path)
    found = format_of(file, FORMATS)
    if found is not None:
        return found.read(file)
    if file.is_folder:
        raise unknown(f"{path}: no annotations in this folder", FORMATS, path=path)
    is_result = isinstance(file.content, dict) and "results" in file.content
    seen = "these are results, expected annotations" if is_result else file.seen
    raise unknown(f"{path}: not annotations of a known kind: {seen}", FORMATS, path=path)
