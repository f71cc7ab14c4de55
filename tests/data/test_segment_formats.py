"""Segments in the forms that data sets and annotation tools really have."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from videozoo.data.annotations.segment_formats import raw_videos
from videozoo.data.annotations.segment_types import FrameTimes, Reading, video_of
from videozoo.data.annotations.segments import (
    Annotations,
    annotated_classes,
    annotated_videos,
    read_annotations,
)
from videozoo.errors import DataError

LENGTHS: Mapping[str, float] = dict.fromkeys(("a", "b", "c", "1", "2", "P01_01"), 100.0)
Found = Mapping[str, list[tuple[float, float, str]]]


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def dumped(path: Path, content: Any) -> Path:
    return text(path, json.dumps(content))


def read(path: Path, reading: Reading | None = None, **more: Any) -> Annotations:
    return read_annotations(path, durations=LENGTHS, reading=reading, **more)


def times(found: Annotations) -> Found:
    return {
        one.video: [
            (round(each.start_seconds, 4), round(each.end_seconds, 4), each.label)
            for each in one.instances
        ]
        for one in found.videos
    }


# --- tables ----------------------------------------------------------------------------------


def test_times_of_tables_are_seconds_or_clocks_in_any_order_of_columns(tmp_path: Path):
    path = text(
        tmp_path / "own.csv",
        "label,End,video,note,start",
        'run,00:02.5,clips/a.mp4,"x, y",1',
        '"jump, high",1:00:01.25,clips/a.mp4,,01:30',
        "run,2,b.mp4,,0.5",
    )

    assert times(read_annotations(path, durations={"a": 4000, "b": 9})) == {
        "a": [(1.0, 2.5, "run"), (90.0, 3601.25, "jump, high")],
        "b": [(0.5, 2.0, "run")],
    }


def test_tables_of_sentences_are_no_segments(tmp_path: Path):
    path = text(tmp_path / "a.csv", "video,start,end,sentence", "a.mp4,1,2,A man runs.")

    with pytest.raises(DataError, match="not annotations of a known kind"):
        read(path)


def test_tables_of_other_countries_and_units(tmp_path: Path):
    semicolons = text(tmp_path / "a.csv", "file;start;end;class", "a.mp4;1,5;2,25;läuft")
    tabs = text(tmp_path / "b.tsv", "video\tstart_ms\tend_ms\tlabel", "a.mp4\t1500\t2250\tläuft")

    assert times(read(semicolons)) == times(read(tabs)) == {"a": [(1.5, 2.25, "läuft")]}


@pytest.mark.parametrize(("first", "from_"), [(10, 1), (0, 0)])
def test_frames_count_from_0_if_any_is_0_and_a_note_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, first: int, from_: int
):
    path = text(
        tmp_path / "own.csv",
        "video,start_frame,end_frame,label",
        f"a.mp4,{first},24,run",
        "a.mp4,50,59,run",
    )

    found = times(read(path, frames_per_second=10))

    shift = (1 - from_) / 10
    assert found["a"][1] == pytest.approx((4.9 + shift, 5.9 + shift, "run"))
    assert f"first and last frame of a segment, numbered from {from_}" in caplog.text
    with pytest.raises(DataError, match=r"start_frame counts in frames .*frames_per_second=25"):
        read(path)


def test_a_row_without_times_is_a_video_without_segments(tmp_path: Path):
    path = text(tmp_path / "a.csv", "video,start,end,label", "a.mp4,1,2,run", "b.mp4,,,")

    assert times(read(path)) == {"a": [(1.0, 2.0, "run")], "b": []}


def test_the_column_of_labels_is_asked_for(tmp_path: Path):
    path = text(tmp_path / "a.csv", "video,start,end,who,what", "a.mp4,1,2,Ann,run")

    with pytest.raises(DataError, match=r"--set data.label_from=who \(who \| what\)"):
        read(path)
    assert times(read(path, Reading("what"))) == {"a": [(1.0, 2.0, "run")]}
    with pytest.raises(DataError, match=r"label_from is 'verb', .* columns: who, what"):
        read(path, Reading("verb"))
    bare = text(tmp_path / "b.csv", "video,start,end", "a.mp4,1,2")
    assert times(read(bare)) == {"a": [(1.0, 2.0, "")]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.mp4,1,2,run, fast", r"own.csv:2: more cells than the heading"),
        ("a.mp4,1:75,2,run", r"own.csv:2: time '1:75', expected two numbers"),
        ("a.mp4,00:00:01:12,2,run", r"own.csv:2: time '00:00:01:12'"),
        ("a.mp4,,2,run", r"own.csv:2: time ''"),
        ('a.mp4,1,2,"run\nfast"', r"own.csv:3: a text in quotes that goes over several lines"),
    ],
)
def test_rows_that_cannot_be_right(tmp_path: Path, row: str, message: str):
    path = text(tmp_path / "own.csv", "video,start,end,label", row)

    with pytest.raises(DataError, match=message):
        read(path)


# --- data sets ---------------------------------------------------------------------------------


def test_a_file_of_thumos_stands_for_all_classes_of_its_part(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    video = "video_validation_0000990"
    path = text(tmp_path / "JavelinThrow_val.txt", f"{video}  0.2  8.8")
    lengths = {video: 90.0}

    found = read_annotations(path, durations=lengths)
    assert times(found) == {video: [(0.2, 8.8, "JavelinThrow")]}
    assert [one.subset for one in found.videos] == ["validation"]
    assert "holds the class 'JavelinThrow' only, by its name" in caplog.text

    text(tmp_path / "Diving_val.txt", f"{video} 10 12")
    text(tmp_path / "Diving_test.txt", "video_test_0000001 1 2")
    assert times(read_annotations(path, durations=lengths)) == {
        video: [(10, 12, "Diving"), (0.2, 8.8, "JavelinThrow")]
    }
    assert "stands for all files of its part" in caplog.text
    assert "beside it is Diving_val.txt" in caplog.text
    with pytest.raises(DataError, match="not annotations of a known kind"):
        raw_videos(text(tmp_path / "Run_val.txt", "a 0.2 8.8"))


def test_multithumos_is_a_folder_of_classes_that_overlap(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    text(tmp_path / "annotations" / "Run.txt", "a 1.0 2.5", "b 0 1")
    text(tmp_path / "annotations" / "Jump.txt", "a 2.0 2.5")
    text(tmp_path / "annotations" / "README.txt", "about")

    found = read(tmp_path / "annotations")

    assert times(found) == {"a": [(2.0, 2.5, "Jump"), (1.0, 2.5, "Run")], "b": [(0.0, 1.0, "Run")]}
    assert "README.txt" in caplog.text


HACS = {"database": {"a": {"annotations": [{"label": "Dodgeball", "segment": [5.4, 11.6]}],
        "subset": "training", "duration": "92.166667", "url": "https://x/watch?v=a"}}}  # fmt: skip
FINE_ACTION = {"version": "1.0", "database": {"a": {"filename": "a.mp4", "subset": "training",
               "duration": 92.2, "fps": 25.0, "resolution": "640x360", "annotations": [
                   {"label": "Dodgeball", "segment": [5.4, 11.6], "label_id": 3}]}}}  # fmt: skip
ACTIONFORMER = {"version": "Thumos14-30fps", "database": {"a": {
    "subset": "Test", "duration": 92.2, "fps": 30.0, "annotations": [
        {"label": "Dodgeball", "segment": ["5.4", "11.6"], "segment(frames)": ["162.0", "348.0"],
         "label_id": 5}]}}}  # fmt: skip
OPENTAD = {"version": "x", "database": {
    "a": {"subset": "training", "duration": 92.2, "frame": 2766, "annotations": [
        {"segment": [5.4, 11.6], "label": "Dodgeball"}]},
    "b": {"subset": "test", "duration": 9.0, "frame": 270}}}  # fmt: skip
MMACTION = {"a": {"duration_second": 92.2, "duration_frame": 2766, "feature_frame": 2752,
                  "fps": 30, "rfps": 29.9, "annotations": [
                      {"segment": [5.4, 11.6], "label": "Dodgeball"}]}}  # fmt: skip


@pytest.mark.parametrize("content", [HACS, FINE_ACTION, ACTIONFORMER, OPENTAD, MMACTION])
def test_json_of_the_form_of_activitynet(
    tmp_path: Path, content: Any, caplog: pytest.LogCaptureFixture
):
    found = read_annotations(dumped(tmp_path / "a.json", content))

    assert times(found)["a"] == [(5.4, 11.6, "Dodgeball")]
    assert found.videos[0].duration_seconds == pytest.approx(92.2, abs=0.1)
    assert caplog.text == ""


def test_json_that_says_two_things_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    entry = {"segment": [5.4, 11.6], "segment(frames)": [135, 290], "label": "x", "label_id": 1}
    other = {"segment": [1, 2], "segment(frames)": [30, 60], "label": "y", "label_id": 1}
    video = {"duration": 92, "fps": 30, "subset": "a", "annotations": [entry, other]}

    read_annotations(dumped(tmp_path / "a.json", {"database": {"v": video}}))

    assert "do not agree in 1 of 2 segments; the seconds are used" in caplog.text
    assert "one label_id with several label: 1 has x, y" in caplog.text


def test_json_with_several_labels_asks_which(tmp_path: Path):
    one = {"segment": [1, 2], "verb_label": "id_003", "noun_label": "id_007"}
    path = dumped(tmp_path / "a.json", {"database": {"a": {"duration": 9, "annotations": [one]}}})

    with pytest.raises(DataError, match=r"data.label_from=verb_label \(verb_label \| noun_label\)"):
        read(path)
    assert annotated_classes(path, reading=Reading("noun_label")) == ["id_007"]
    assert annotated_videos(path) == ["a"]


EPIC = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,"
    "start_frame,stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes",
    "P01_01_0,P01,P01_01,00:00:01.089,00:00:00.14,00:00:03.37,8,202,open door,open,3,door,3,"
    "['door'],[3]",
    "P01_01_1,P01,P01_01,00:00:02.629,00:01:04.37,00:01:06.17,262,370,turn on light,turn-on,6,"
    "light,114,['light'],[114]",
)


@pytest.mark.parametrize(
    ("label_from", "labels"),
    [
        ("verb", ["open", "turn-on"]),
        ("noun_class", ["3", "114"]),
        ("action", ["verb 3, noun 3", "verb 6, noun 114"]),
    ],
)
def test_epic_kitchens_asks_what_the_class_is(tmp_path: Path, label_from: str, labels: list[str]):
    path = text(tmp_path / "EPIC_100_train.csv", *EPIC)

    found = times(read(path, Reading(label_from)))

    assert found["P01_01"] == [(0.14, 3.37, labels[0]), (64.37, 66.17, labels[1])]
    assert annotated_videos(path) == ["P01_01"]
    with pytest.raises(DataError, match=r"data.label_from=verb_class \(verb_class \| noun_class"):
        read(path)


def test_label_from_without_a_choice_is_refused(tmp_path: Path):
    path = text(tmp_path / "a.list", "a 90 1 1 10 25")

    with pytest.raises(DataError, match="label_from is set, but a segment of 'C-TCN"):
        read(path, Reading("verb"))


# --- Label Studio ------------------------------------------------------------------------------


def studio_task(video: str, *ranges: tuple[int, int], **more: Any) -> dict[str, Any]:
    result = [
        {"type": "timelinelabels", "value": {"ranges": [{"start": s, "end": e}],
         "timelinelabels": ["run"]}} for s, e in ranges
    ]  # fmt: skip
    return {"id": 1, "data": {"video": video}, "annotations": [{"result": result}], **more}


def test_label_studio_takes_the_rate_from_the_task_then_from_the_video(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    local = "/data/local-files/?d=clips/a.mp4"
    with_rate = studio_task(local, (11, 25))
    with_rate["data"]["fps"] = 10
    tracked = studio_task("b.mp4", (11, 25))
    box = {"type": "videorectangle", "value": {"framesCount": 200, "duration": 10, "sequence": []}}
    tracked["annotations"][0]["result"].append(box)
    path = dumped(tmp_path / "a.json", [with_rate, tracked, studio_task("c.mp4", (11, 25))])

    found = times(read(path, frame_times={"c": FrameTimes(50, 5000)}.get))

    assert found == {"a": [(1, 2.5, "run")], "b": [(0.5, 1.25, "run")], "c": [(0.2, 0.5, "run")]}
    assert "(24, if that names none); taken are the frame rates of the videos: 50" in caplog.text
    assert "1 region of type 'videorectangle' is left out: b: region 1; only labels" in caplog.text
    with pytest.raises(DataError, match="c: region 0: Label Studio counts in frames"):
        read(path)


def test_another_rate_than_the_file_says_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    task = studio_task("a.mp4", (11, 25))
    task["data"]["fps"] = 10

    found = read(dumped(tmp_path / "a.json", [task]), frames_per_second=20)

    assert times(found) == {"a": [(0.5, 1.25, "run")]}
    assert "says that it counts 10 frames per second; 20 is used, as given" in caplog.text


def test_label_studio_tasks_of_nobody_are_no_empty_videos(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    tasks = [studio_task("a.mp4", (1, 10)), studio_task("b.mp4"), studio_task("c.mp4")]
    tasks[1]["annotations"] = []
    path = dumped(tmp_path / "a.json", tasks)

    assert times(read(path, frames_per_second=10)) == {"a": [(0, 1, "run")], "c": []}
    assert "1 of 3 tasks have no annotation in Label Studio and are left out: b.mp4" in caplog.text


def test_label_studio_predictions_are_used_where_nobody_annotated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    task = studio_task("a.mp4", (1, 10))
    task = {"data": task["data"], "predictions": task["annotations"]}

    found = read(dumped(tmp_path / "a.json", [task]), frames_per_second=10)

    assert times(found) == {"a": [(0, 1, "run")]}
    assert "nobody has annotated these tasks" in caplog.text


@pytest.mark.parametrize(
    "address",
    [
        "/data/upload/3/0a1b2c3d-a.mp4",
        "/data/local-files/?d=x%2Fa.mp4",
        "s3://bucket/x/a.mp4",
        "https://x.org/a.mp4?sign=1.2",
        "C:\\clips\\a.mp4",
    ],
)
def test_addresses_of_videos(address: str):
    assert video_of(address) == "a"


# --- VIA -------------------------------------------------------------------------------------


def test_an_attribute_of_via_is_chosen(tmp_path: Path):
    project = {
        "project": {}, "view": {"1": {"fid_list": ["1"]}}, "file": {"1": {"fname": "a.mp4"}},
        "attribute": {"1": {"aname": "action"}, "2": {"aname": "who"}},
        "metadata": {"x": {"vid": "1", "z": [1, 2.5], "av": {"1": "run", "2": "Ann"}}},
    }  # fmt: skip
    path = dumped(tmp_path / "a.json", project)

    assert times(read(path, Reading("action"))) == {"a": [(1, 2.5, "run")]}
    assert times(read(path, Reading("who"))) == {"a": [(1, 2.5, "Ann")]}
    with pytest.raises(DataError, match=r"several attributes .*data.label_from=NAME"):
        read(path)


def test_marks_of_via_that_are_no_segments_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    marks: dict[str, dict[str, Any]] = {
        "x": {"z": [1, 2.5]}, "p": {"z": [5.5]}, "q": {"z": [7]}, "s": {"z": [3], "xy": [2, 1, 1]},
        "w": {"z": []},
    }  # fmt: skip
    project = {
        "project": {}, "view": {"1": {"fid_list": ["1"]}}, "file": {"1": {"fname": "a.mp4"}},
        "attribute": {"1": {"aname": "action"}},
        "metadata": {key: {"vid": "1", "av": {"1": "run"}, **one} for key, one in marks.items()},
    }  # fmt: skip

    assert times(read(dumped(tmp_path / "a.json", project))) == {"a": [(1, 2.5, "run")]}
    said = (
        "2 marks at a point in time are left out: metadata p, 5.5 s, metadata q, 7 s; only marks "
        "with a start and an end are segments",
        "1 shape on a single frame is left out: metadata s, 3 s;",
        "1 mark of a whole video is left out: metadata w;",
    )
    assert not [one for one in said if one not in caplog.text]
    points = read(tmp_path / "a.json", Reading(spot_seconds=1))
    assert times(points) == {"a": [(1, 2.5, "run"), (5, 6, "run"), (6.5, 7.5, "run")]}


# --- CVAT ------------------------------------------------------------------------------------


def cvat(path: Path, *body: str, more: str = "") -> Path:
    meta = f"<task><id>1</id><name>t</name><size>100</size>{more}<source>a.mp4</source></task>"
    return text(
        path,
        '<?xml version="1.0" encoding="utf-8"?>',
        f"<annotations><version>1.1</version><meta>{meta}<dumped>now</dumped></meta>",
        *body,
        "</annotations>",
    )


def box(frame: int, *, outside: int = 0, keyframe: int = 1, inner: str = "") -> str:
    return f'<box frame="{frame}" outside="{outside}" keyframe="{keyframe}">{inner}</box>'


def test_tracks_of_cvat_are_segments_while_they_are_not_outside(tmp_path: Path):
    boxes = [box(0), box(1, keyframe=0), box(2, outside=1), box(10), box(11, outside=1)]
    track = '<track id="0" label="run &amp; hide" source="manual">' + "".join(boxes) + "</track>"
    open_end = '<track id="1" label="stay">' + box(50) + "</track>"

    found = times(read(cvat(tmp_path / "a.xml", track, open_end), frames_per_second=10))

    assert found == {
        "a": [(0, 0.2, "run & hide"), (1, 1.1, "run & hide"), (5, 10, "stay")],
    }


def test_cvat_counts_the_frames_of_the_file_even_if_their_distances_vary(tmp_path: Path):
    track = '<track id="0" label="run">' + box(1) + box(3, outside=1) + "</track>"
    uneven = FrameTimes(10, 4, starts=[0, 0.1, 0.5, 0.6])

    found = read(cvat(tmp_path / "a.xml", track), frame_times={"a": uneven}.get)

    assert times(found) == {"a": [(0.1, 0.6, "run")]}


def test_an_attribute_of_cvat_can_be_the_class(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    def acts(name: str) -> str:
        return f'<attribute name="act">{name}</attribute>'

    boxes = [box(0, inner=acts("sit")), box(5, inner=acts("stand")), box(9, outside=1)]
    tracks = '<track id="0" label="man">' + "".join(boxes) + "</track>"
    ball = f'<track id="1" label="ball">{box(0)}{box(9, outside=1)}</track>'
    both = cvat(tmp_path / "b.xml", tracks, ball)
    path = cvat(tmp_path / "a.xml", tracks)

    assert times(read(path, Reading("act"), frames_per_second=10)) == {
        "a": [(0, 0.5, "sit"), (0.5, 0.9, "stand")]
    }
    assert caplog.text == ""
    assert len(times(read(both, Reading("act"), frames_per_second=10))["a"]) == 2
    assert "1 track without the attribute 'act' is left out, labelled 'ball'" in caplog.text
    assert times(read(path, frames_per_second=10)) == {"a": [(0, 0.9, "man")]}
    said = "the class is the label ('man'); the attribute 'act' ('sit', 'stand') could be the class"
    assert f"{said}: --set data.label_from=act" in caplog.text
    with pytest.raises(DataError, match=r"label_from is 'action', .* its attributes: act"):
        read(path, Reading("action"), frames_per_second=10)


def test_attributes_of_cvat_that_are_no_names_are_no_classes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    held = '<attribute name="hidden">false</attribute><attribute name="age">30</attribute>'
    track = f'<track id="0" label="run">{box(0, inner=held)}{box(9, outside=1)}</track>'

    assert times(read(cvat(tmp_path / "a.xml", track), frames_per_second=10)) == {
        "a": [(0, 0.9, "run")]
    }
    assert caplog.text == ""


def test_tags_of_cvat_and_steps_between_frames(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    images = [
        f'<image id="{frame}" name="f"><tag label="run"/>{"<box/>" if not frame else ""}</image>'
        for frame in (0, 2, 4, 10)
    ]
    path = cvat(tmp_path / "a.xml", *images, more="<frame_filter>step=2</frame_filter>")

    assert times(read(path, frames_per_second=10)) == {"a": [(0, 0.6, "run"), (1, 1.2, "run")]}
    assert "1 shape on single images are left out" in caplog.text


def test_projects_of_cvat_have_several_videos(tmp_path: Path):
    tasks = "".join(
        f"<task><id>{n}</id><size>9</size><source>{v}.mp4</source></task>"
        for n, v in ((3, "a"), (4, "b"))
    )
    tracks = f'<track id="0" task_id="4" label="run">{box(0)}{box(5, outside=1)}</track>'
    path = text(
        tmp_path / "a.xml",
        f"<annotations><meta><project><tasks>{tasks}</tasks></project></meta>{tracks}</annotations>",
    )

    assert times(read(path, frames_per_second=10)) == {"a": [], "b": [(0, 0.5, "run")]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("<track>", "not valid XML"),
        ("<a>" * 30 + "</a>" * 30, "nested deeper"),
        ('<track id="0" label="x"><box frame="x"/></track>', "frame 'x'"),
    ],
)
def test_xml_that_cannot_be_read(tmp_path: Path, body: str, message: str):
    with pytest.raises(DataError, match=message):
        read(cvat(tmp_path / "a.xml", body), frames_per_second=10)


def test_xml_with_entities_is_refused(tmp_path: Path):
    path = text(tmp_path / "a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>')

    with pytest.raises(DataError, match="declares its own XML entities"):
        read(path)


# --- ELAN ------------------------------------------------------------------------------------

BOTH = "00:00:01.000\t1.000\t00:00:02.500\t2.500\t00:00:01.500\t1.500"


def test_elan_with_a_heading_and_a_column_per_tier(tmp_path: Path):
    heading = (
        "Begin Time - hh:mm:ss.ms\tBegin Time - ss.msec\tEnd Time - hh:mm:ss.ms\t"
        "End Time - ss.msec\tDuration - hh:mm:ss.ms\tDuration - ss.msec\tact\tgaze"
    )
    media = (
        '"#file:///D:/my%20films/a.mp4 -- offset: 0, duration: 00:00:09.500 / 9.5 / 9500, ms per '
        'sample: 40.0"'
    )
    path = text(tmp_path / "x.txt", '"#file:///D:/a.eaf"', media, heading, f"{BOTH}\trun\tleft")

    with pytest.raises(DataError, match=r"tiers could be the class .* \(act \| gaze \| tier\)"):
        read(path)
    found = read(path, Reading("gaze"))
    assert times(found) == {"a": [(1, 2.5, "left")]}
    assert found.videos[0].duration_seconds == 9.5
    assert times(read(path, Reading("tier"))) == {"a": [(1, 2.5, "act"), (1, 2.5, "gaze")]}


@pytest.mark.parametrize(
    "cells",
    [
        BOTH,
        "00:00:01.000\t00:00:02.500",
        "1.000\t2.500\t1.500",
        "1.000\t2.500",
        "1000\t2500\t1500",
        "00:00:01.000\t1.000\t1000\t00:00:02.500\t2.500\t2500",
    ],
)
@pytest.mark.parametrize("label", ["run away", "7"])
def test_elan_without_a_heading(
    tmp_path: Path, cells: str, label: str, caplog: pytest.LogCaptureFixture
):
    if label == "7" and cells.startswith("1000"):
        return  # a number after numbers: see below
    path = text(tmp_path / "a.txt", f"act\t\t{cells}\t{label}")

    assert times(read(path)) == {"a": [(1, 2.5, label)]}
    assert "names no video; it is taken to be of the video 'a'" in caplog.text


def test_elan_whose_columns_do_not_agree_is_refused(tmp_path: Path):
    path = text(tmp_path / "a.txt", "act\t\t1.000\t2.500\t9.000\trun")

    with pytest.raises(DataError, match=r"begin 1, end 2.5, duration 9 do not agree"):
        read(path)


def test_elan_tiers_without_text_are_the_classes(tmp_path: Path):
    path = text(tmp_path / "a.txt", "run\t\t1.000\t2.500\t", "jump\t\t3.000\t4.000\t")

    assert times(read(path)) == {"a": [(1, 2.5, "run"), (3, 4, "jump")]}


@pytest.mark.parametrize(
    ("name", "begin", "end", "found"),
    [
        ("PAL", "00:00:01:00", "00:01:02:12", (1, 62.48)),
        ("PAL-50fps", "00:00:01:00", "00:01:02:12", (1, 62.24)),
        ("NTSC", "00:10:00:00", "00:10:10:00", (600, 610.01)),
    ],
)
def test_elan_time_codes(
    tmp_path: Path,
    name: str,
    begin: str,
    end: str,
    found: tuple[float, float],
    caplog: pytest.LogCaptureFixture,
):
    heading = f"Begin Time - {name}\tEnd Time - {name}\tDuration - {name}\tact"
    path = text(tmp_path / "a.txt", heading, f"{begin}\t{end}\t00:00:01:00\trun")

    (one,) = read_annotations(path, durations={"a": 700.0}).videos[0].instances

    assert (one.start_seconds, one.end_seconds) == pytest.approx(found, abs=1e-3)
    assert f"times are whole frames of {name}" in caplog.text


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["act\t\t00:00:01:00\t00:00:02:00\trun"], r":1: times hh:mm:ss:ff without names"),
        (
            ["Begin Time - PAL\tEnd Time - PAL\tact", "00:00:01:25\t00:00:02:00\trun"],
            r":2: no begin and end time in the form hh:mm:ss:ff with frames below 25: '00:00:01:25",
        ),
    ],
)
def test_elan_time_codes_of_no_known_rate_are_refused(
    tmp_path: Path, lines: list[str], message: str
):
    with pytest.raises(DataError, match=message):
        read(text(tmp_path / "a.txt", *lines))


def test_elan_prefers_seconds_to_time_codes(tmp_path: Path):
    both = "1.000\t00:00:01:00\t2.500\t00:00:02:12\t1.500\t00:00:01:12"
    path = text(tmp_path / "a.txt", f"act\t\t{both}\trun")

    assert times(read(path)) == {"a": [(1, 2.5, "run")]}


# --- FiftyOne ----------------------------------------------------------------------------------


def test_fiftyone_has_frames_or_timestamps_and_classes_by_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    labels = {
        "a": [{"label": 1, "support": [11, 25], "confidence": 0.5}],
        "b": [{"label": "run", "timestamps": [1.0, "00:00:02.5"]}],
        "c": None,
    }
    path = dumped(tmp_path / "labels.json", {"classes": ["jump", "run"], "labels": labels})

    assert times(read(path, frame_times={"a": FrameTimes(10)}.get)) == {
        "a": [(1, 2.5, "run")], "b": [(1, 2.5, "run")],
    }  # fmt: skip
    assert "1 of 3 videos have no labels in FiftyOne and are left out: c" in caplog.text
    with pytest.raises(DataError, match="a: detection 0: FiftyOne counts in frames"):
        read(path)


# --- points in time --------------------------------------------------------------------------

SOCCERNET = {"UrlLocal": "x/", "annotations": [
    {"gameTime": "1 - 00:01", "label": "Kick-off", "position": "1123", "team": "home"},
    {"gameTime": "2 - 01:10", "label": "Goal", "position": "70500"},
]}  # fmt: skip
OSL_1 = {"labels": ["Goal"], "videos": [
    {"path": "x/a.mp4", "annotations": [{"gameTime": "1 - 00:10", "label": "Goal"}]},
]}  # fmt: skip
OSL_2 = {"version": "2.0", "labels": {}, "data": [
    {"id": "s", "inputs": [{"type": "video", "path": "x/a.mp4", "fps": 25}],
     "events": [{"head": "action", "label": "Goal", "position_ms": 10000}]},
]}  # fmt: skip


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (SOCCERNET, {"1": [(0.123, 2.123, "Kick-off")], "2": [(69.5, 71.5, "Goal")]}),
        (OSL_1, {"a": [(9, 11, "Goal")]}),
        (OSL_2, {"a": [(9, 11, "Goal")]}),
    ],
)
def test_points_in_time_become_segments_of_a_length_that_is_asked_for(
    tmp_path: Path, content: Any, expected: Found
):
    path = dumped(tmp_path / "a.json", content)

    assert times(read(path, Reading(spot_seconds=2))) == expected
    with pytest.raises(DataError, match=r"is a point in time.*data.spot_seconds=2"):
        read(path)
    assert {one.name for one in raw_videos(path, Reading(needs_labels=False))} == set(expected)


def test_heads_of_osl_are_chosen(tmp_path: Path):
    events = [{"head": head, "label": head[0], "position_ms": 5000} for head in ("act", "foul")]
    content = {"data": [{"id": "s", "inputs": [{"path": "a.mp4"}], "events": events}]}
    path = dumped(tmp_path / "a.json", content)

    with pytest.raises(DataError, match=r"heads of events .*act \| foul"):
        read(path, Reading(spot_seconds=2))
    assert times(read(path, Reading("foul", 2))) == {"a": [(4, 6, "f")]}


SPOT = {"video": "x/a", "num_frames": 90, "fps": 25, "events": [{"frame": 50, "label": "Goal"}]}


def test_events_of_e2e_spot_are_frames_from_zero(tmp_path: Path):
    path = dumped(tmp_path / "train.json", [SPOT])

    found = read(path, Reading(spot_seconds=1))

    assert times(found) == {"a": [(1.5, 2.5, "Goal")]}
    assert found.videos[0].duration_seconds == 3.6
    with pytest.raises(DataError, match=r"event 0: 'Goal' is a point in time, .*spot_seconds=2"):
        read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 0}, "x/a: num_frames 90 and fps 0, expected two numbers above 0"),
        ({"events": [{"frame": 90, "label": "Goal"}]}, "event 0: frame 90, expected .* 0 to 89"),
        ({"events": 3}, "entry 0 has no video or no list of events"),
    ],
)
def test_entries_of_e2e_spot_that_cannot_be_used(
    tmp_path: Path, change: dict[str, Any], message: str
):
    with pytest.raises(DataError, match=message):
        read(dumped(tmp_path / "a.json", [SPOT | change]), Reading(spot_seconds=1))
    with pytest.raises(DataError, match=r"a.json: a: is there twice"):
        read(dumped(tmp_path / "a.json", [SPOT, SPOT]), Reading(spot_seconds=1))


# --- tables as spreadsheets and tools write them ---------------------------------------------


@pytest.mark.parametrize(
    "table",
    [
        'sep=;\n"Video";"Start (s)";"End (s)";"Label";\na b.mp4;1,5;00:02,5;run;\n# remark, only\n',
        "# video\tbegin\tend\tclass\na b.mp4\t1.5\t2.5\trun\n",
        "\n# by hand\nName,Label,t_start,t_stop\n a b.mp4,run,1.5,2.5,,\n",
        "Media file,Start (ms),Stop (ms),Behavior\nC:\\films\\a b.mp4,1500,2500,run\n",
        "Media file,Start (s),Stop (s),Duration (s),Behavior\nx/a b.mp4,1.5,2.5,1.0,run\n",
    ],
)
def test_tables_of_spreadsheets_and_tools(tmp_path: Path, table: str):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" + table.replace("\n", "\r\n").encode())

    found = read_annotations(path, durations={"a b": 9})

    assert times(found) == {"a b": [(1.5, 2.5, "run")]}


@pytest.mark.parametrize(
    ("heading", "message"),
    [
        ("video,start,end,label,start", "two columns are called 'start'"),
        ("video,start [%],end [%],label", "not annotations of a known kind"),
    ],
)
def test_tables_that_could_mean_two_things_are_refused(tmp_path: Path, heading: str, message: str):
    path = tmp_path / "a.csv"
    path.write_text(f"{heading}\na,1,2,run,3\n")

    with pytest.raises(DataError, match=re.escape(message)):
        read(path)


def test_dialogues_about_videos_are_no_annotations(tmp_path: Path):
    turns = [{"from": "human", "value": "<video> What?"}, {"from": "gpt", "value": "A man runs."}]
    path = tmp_path / "train.json"
    path.write_text(json.dumps([{"id": "1", "video": "a.mp4", "conversations": turns}]))

    with pytest.raises(DataError, match="not annotations of a known kind"):
        read_annotations(path)
