"""Formats of segment annotations: the table of published data sets, tools and tables.

`segments` checks what is read here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from videozoo.data.annotations.segment_cvat import cvat_videos, is_cvat
from videozoo.data.annotations.segment_datasets import (
    charades_rows,
    class_folder,
    ctcn_lines,
    epic_rows,
    is_by_video,
    is_class_folder,
    is_ctcn,
    is_thumos,
    json_videos,
    thumos_folder,
    thumos_rows,
)
from videozoo.data.annotations.segment_elan import elan_videos, is_elan
from videozoo.data.annotations.segment_tables import is_segment_table, table_videos
from videozoo.data.annotations.segment_tools import (
    fiftyone_videos,
    is_fiftyone,
    is_label_studio,
    is_osl,
    is_soccernet,
    is_spot,
    is_via,
    label_studio_videos,
    osl_videos,
    soccernet_videos,
    spot_videos,
    via_videos,
)
from videozoo.data.annotations.segment_types import RawVideo, Reading, SegmentFile, named_apart
from videozoo.data.formats import Format, TextFile, format_of, unknown
from videozoo.errors import DataError


def _has_columns(*names: str) -> Callable[[TextFile], bool]:
    return lambda file: file.columns >= set(names)


FORMATS: tuple[Format[TextFile, Callable[[SegmentFile], Iterable[RawVideo]]], ...] = (
    Format(
        "THUMOS14, a folder of CLASS_val.txt",
        is_thumos,
        thumos_folder,
        "video_validation_0000051 1.0 2.5\n",
        "annotation/run_val.txt",
        about="THUMOS14: one file per class, as the challenge gives them; one file stands for all",
        source="THUMOS Challenge 2014, temporal annotations",
    ),
    Format(
        "MultiTHUMOS, a folder of CLASS.txt",
        is_class_folder,
        class_folder,
        "video_validation_0000051 1.0 2.5\n",
        "annotations/run.txt",
        about="MultiTHUMOS: one file per class, named by the class, with all its segments",
        source="Yeung et al. 2018, Every Moment Counts; folder `annotations` of the release",
    ),
    Format(
        "VIA 3 project",
        lambda file: is_via(file.content),
        via_videos,
        '{"project": {}, "file": {"1": {"fname": "a.mp4"}}, "view": {"1": {"fid_list": ["1"]}}, '
        '"attribute": {"1": {"aname": "action", "type": 4, "options": {"0": "run"}}}, '
        '"metadata": {"1_x": {"vid": "1", "z": [1.0, 2.5], "av": {"1": "0"}}}}',
        "project.json",
        about="VGG Image Annotator 3: segments of videos in seconds; attributes by data.label_from",
        source="VIA 3 documentation, project file",
    ),
    Format(
        "Label Studio",
        lambda file: is_label_studio(file.content),
        label_studio_videos,
        '[{"id": 1, "data": {"video": "a.mp4"}, "annotations": [{"result": [{"value": '
        '{"ranges": [{"start": 11, "end": 25}], "timelinelabels": ["run"]}}]}]}]',
        "export.json",
        about="Tasks of Label Studio: exports as JSON or JSON-MIN, and pre-annotations",
        source="Label Studio, TimelineLabels; task format",
        written="videozoo convert --to labelstudio",
    ),
    Format(
        "FiftyOne temporal detections",
        is_fiftyone,
        fiftyone_videos,
        '{"classes": ["run"], "labels": {"a": [{"label": "run", "support": [11, 25]}]}}',
        "labels.json",
        about="labels.json of a FiftyOneTemporalDetectionDataset, by name of the video file",
        source="FiftyOne user guide, FiftyOneTemporalDetectionDataset",
        written="videozoo convert --to fiftyone",
    ),
    Format(
        "OSL-ActionSpotting",
        is_osl,
        osl_videos,
        '{"videos": [{"path": "a.mp4", "annotations": [{"label": "run", "position": 1750, '
        '"gameTime": "1 - 00:01"}]}], "labels": ["run"]}',
        "osl.json",
        about="OSL 1 and 2: points in time, which data.spot_seconds makes segments",
        source="OpenSportsLab, OSL-ActionSpotting and the OSL JSON format",
    ),
    Format(
        "SoccerNet, Labels-v2.json of a game",
        is_soccernet,
        soccernet_videos,
        '{"annotations": [{"gameTime": "1 - 00:01", "label": "run", "position": "1750"}]}',
        "Labels-v2.json",
        about="SoccerNet: points in time of both halves, which data.spot_seconds makes segments",
        source="SoccerNet-v2, Labels-v2.json",
    ),
    Format(
        "E2E-Spot",
        is_spot,
        spot_videos,
        '[{"video": "a", "num_frames": 180, "num_events": 1, "events": [{"frame": 35, '
        '"label": "run", "comment": ""}], "fps": 20, "width": 320, "height": 240}]',
        "train.json",
        about="E2E-Spot: points in time by frame from 0, which data.spot_seconds makes segments",
        source="https://github.com/jhong93/spot, README",
    ),
    Format(
        "CVAT for video 1.1",
        is_cvat,
        cvat_videos,
        "<annotations><version>1.1</version><meta><task><id>1</id><size>90</size>"
        "<source>a.mp4</source></task></meta>\n"
        '<track id="0" label="run"><box frame="10" outside="0" keyframe="1"/>'
        '<box frame="25" outside="1" keyframe="1"/></track></annotations>',
        "annotations.xml",
        about="CVAT: tracks of a video, or tags of its frames, of a task or a project",
        source="CVAT documentation, XML annotation format 1.1",
    ),
    Format(
        "EPIC-Kitchens-100",
        _has_columns("video_id", "start_timestamp", "stop_timestamp"),
        epic_rows,
        "video_id,start_timestamp,stop_timestamp,verb,verb_class,noun,noun_class\n"
        "a,00:00:01.00,00:00:02.50,run,7,track,8\n",
        "EPIC_100_train.csv",
        about="EPIC-Kitchens-100: data.label_from says whether verb, noun or both are the class",
        source="README of epic-kitchens-100-annotations",
    ),
    Format(
        "ActivityNet",
        lambda file: isinstance(file.content, dict) and "database" in file.content,
        json_videos,
        '{"database": {"a": {"duration": 9, "subset": "training", '
        '"annotations": [{"segment": [1.0, 2.5], "label": "run"}]}}}',
        "activity_net.v1-3.min.json",
        about="ActivityNet, and its form in HACS, FineAction, OpenTAD and ActionFormer",
        source="ActivityNet and HACS, READMEs; readers of OpenTAD and ActionFormer",
        written="videozoo convert --to activitynet",
    ),
    Format(
        "ActivityNet as in the 2019 library",
        is_by_video,
        json_videos,
        '{"a": {"duration_second": 9, "subset": "training", '
        '"annotations": [{"segment": [1.0, 2.5], "label": "run"}]}}',
        "activity_net_1_3_new.json",
        about="ActivityNet by video, as MMAction2 and the 2019 library have it",
        source="PaddlePaddle/models release/1.8; MMAction2, anet_anno_train.json",
    ),
    Format(
        "THUMOS14 with names of classes",
        _has_columns("video", "type", "start", "end"),
        thumos_rows,
        "video,type,start,end\nvideo_validation_0000051,run,1.0,2.5\n",
        "val_Annotation.csv",
        about="THUMOS14 as a table; columns of frames beside the seconds are not used",
        source="G-TAD and others, val_Annotation.csv",
    ),
    Format(
        "THUMOS14 with numbers of classes",
        _has_columns("video-name", "t-init", "t-end", "label-idx"),
        thumos_rows,
        "video-name,t-init,t-end,label-idx,video-duration\nvideo_validation_0000051,1.0,2.5,0,9\n",
        "thumos14.csv",
        about="THUMOS14 as a table with lengths; class 0 is the first",
        source="BSN and P-GCN, thumos14_test_groundtruth.csv",
    ),
    Format(
        "Charades",
        _has_columns("id", "actions", "length"),
        charades_rows,
        "id,actions,length\na,c000 1.0 2.5;c001 3.0 4.0,9\n",
        "Charades_v1_train.csv",
        about="Charades: one video per row, with all its actions",
        source="Charades, README of Charades_v1",
    ),
    Format(
        "ELAN, tab-delimited text",
        is_elan,
        elan_videos,
        "Tier\tBegin Time - ss.msec\tEnd Time - ss.msec\tAnnotation\tFile Name\n"
        "action\t1.000\t2.500\trun\ta.mp4\n",
        "elan.txt",
        about="ELAN's tab-delimited export in any of its time formats, time codes of PAL and NTSC "
        "included; tiers by data.label_from",
        source="ELAN manual, Exporting a document as a tab-delimited text file",
    ),
    Format(
        "CSV with one segment per row",
        is_segment_table,
        table_videos,
        "video,start,end,label\na.mp4,1.0,2.5,run\n",
        "segments.csv",
        about="Any order of columns; seconds, mm:ss, or frames where columns are named so",
        source="README, Annotation tools",
        written="videozoo convert --to csv",
    ),
    Format(
        "C-TCN list of the 2019 library, in frames",
        is_ctcn,
        ctcn_lines,
        "a 90 1 1 10 25\n",
        "train.list",
        about="NAME FRAMES COUNT (CLASS START END)...; class 1 is the first",
        source="PaddlePaddle/models release/1.8, C-TCN",
    ),
)
"""Formats of segment annotations."""


def raw_videos(
    path: Path, reading: Reading | None = None, *, notes: list[str] | None = None
) -> list[RawVideo]:
    """Read the videos of a file in any of `FORMATS`.

    Args:
        path: The file, or the folder.
        reading: What the user says about it.
        notes: Takes what the reader has to tell the user.

    Raises:
        DataError: The file is missing, damaged, of no known format, or leaves open what the user
            has to say.
    """
    file = SegmentFile(path, reading)
    found = format_of(file, FORMATS)
    if found is not None:
        videos = named_apart(found.read(file), path)
        if file.ignores_label_from:
            raise DataError(
                f"{path}: label_from is set, but a segment of '{found.name}' has one label only; "
                "leave label_from out"
            )
        if notes is not None:
            notes += file.notes
        return videos
    if file.is_folder:
        raise unknown(f"{path}: no annotations in this folder", FORMATS, path=path)
    is_result = isinstance(file.content, dict) and "results" in file.content
    seen = "these are results, expected annotations" if is_result else file.seen
    raise unknown(f"{path}: not annotations of a known kind: {seen}", FORMATS, path=path)
