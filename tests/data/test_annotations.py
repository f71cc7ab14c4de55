from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from videozoo.data.annotations.class_names import read_class_names
from videozoo.data.annotations.segment_results import (
    read_class_scores,
    read_results,
    write_results,
)
from videozoo.data.annotations.segments import (
    Annotations,
    annotated_classes,
    is_of_subset,
    read_annotations,
    read_durations,
)
from videozoo.data.lengths import Measured
from videozoo.data.synthetic.world import make_world
from videozoo.errors import DataError

DATA = Path(__file__).parents[3] / "shared" / "data"
ANET, THUMOS = DATA / "activitynet", DATA / "thumos14" / "annotations"
needs_anet = pytest.mark.skipif(not ANET.is_dir(), reason=f"sample files are not at {ANET}")
needs_thumos = pytest.mark.skipif(not THUMOS.is_dir(), reason=f"sample files are not at {THUMOS}")


def entry(*segments: tuple[float, float, str], **facts: Any) -> dict[str, Any]:
    listed = [{"segment": [start, end], "label": label} for start, end, label in segments]
    return {"duration": 20.0, "subset": "training", "annotations": listed, **facts}


def write(path: Path, videos: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"version": "1.3", "taxonomy": [], "database": videos}))
    return path


def text(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def times(found: Annotations) -> dict[str, list[tuple[float, float, str]]]:
    return {
        one.video: [(i.start_seconds, i.end_seconds, i.label) for i in one.instances]
        for one in found.videos
    }


# --- every kind of file ----------------------------------------------------------------------


def test_official_json(tmp_path: Path):
    path = write(
        tmp_path / "a.json",
        {
            "b": entry((5.0, 10.0, "run"), (1, 2, "jump"), resolution="320x240"),
            "a": entry(subset="testing"),
        },
    )

    found = read_annotations(path)

    assert [one.video for one in found.videos] == ["a", "b"]
    assert times(found) == {"a": [], "b": [(5.0, 10.0, "run"), (1.0, 2.0, "jump")]}
    assert found.class_names == ("jump", "run")
    assert found.videos[1].shares().tolist() == [[0.25, 0.5], [0.05, 0.1]]
    assert found.labels(found.videos[1]).tolist() == [1, 0]
    assert found.videos[1].duration_seconds == 20
    assert found.videos[1].extras == {"resolution": "320x240"}
    assert found.videos[0].shares().shape == (0, 2)


def test_json_of_2019(tmp_path: Path):
    facts = {"duration_second": 10.0, "duration_frame": 300, "feature_frame": 288}
    video = {"subset": "validation", "annotations": [{"segment": [1, 2], "label": "x"}], **facts}
    path = tmp_path / "new.json"
    path.write_text(json.dumps({"v_a": video}))

    (one,) = read_annotations(path).videos

    assert (one.video, one.duration_seconds, one.subset) == ("v_a", 10.0, "validation")
    assert one.extras == {"duration_frame": 300, "feature_frame": 288}


def test_thumos_csv_tells_subsets_by_names_and_takes_lengths_from_elsewhere(tmp_path: Path):
    path = text(
        tmp_path / "val.csv",
        "video,type,type_idx,start,end,startFrame,endFrame",
        "video_validation_0000051,Billiards,12,67.5,75.9,2025,2277",
        "video_validation_0000051,Ambiguous,0,85.9,90.6,2577,2718",
    )
    lengths = text(tmp_path / "lengths.txt", "video_validation_0000051 30 120.5")

    found = read_annotations(
        path, durations=read_durations(lengths), ignored_classes=("Ambiguous",)
    )

    assert times(found) == {"video_validation_0000051": [(67.5, 75.9, "Billiards")]}
    assert found.videos[0].duration_seconds == 120.5
    assert found.videos[0].subset == "validation"


def test_thumos_csv_of_numbers_tells_lengths(tmp_path: Path):
    path = text(
        tmp_path / "test.csv",
        "video-name,t-init,t-end,f-init,f-end,video-duration,frame-rate,video-frames,label-idx",
        "video_test_0000278,0.0,1.4,0,42,215.2,30.0,6455,-1",
        "video_test_0000278,95.7,97.2,2871,2916,215.2,30.0,6455,1",
    )

    named = read_annotations(path, class_names=["a", "b"], ignored_classes=("Ambiguous",))

    assert times(named) == {"video_test_0000278": [(95.7, 97.2, "b")]}
    assert named.labels(named.videos[0]).tolist() == [1]
    assert read_annotations(path).class_names == ("Ambiguous", "1")
    assert read_durations(path) == {"video_test_0000278": 215.2}


def test_thumos_folder_of_classes(tmp_path: Path):
    text(tmp_path / "Diving_val.txt", "video_validation_0000001  1.5 2.5")
    text(tmp_path / "Shotput_val.txt", "video_validation_0000001 3.0 4.0")

    found = read_annotations(tmp_path, durations={"video_validation_0000001": 9})

    assert times(found) == {
        "video_validation_0000001": [(1.5, 2.5, "Diving"), (3.0, 4.0, "Shotput")]
    }


def test_charades_csv(tmp_path: Path):
    path = text(
        tmp_path / "charades.csv",
        "id,subject,scene,quality,script,objects,actions,length",
        '46GP8,HR43,Kitchen,6,"One, two.",food,c092 11.90 21.20;c147 0.00 12.60,24.83',
        "N11GT,0KZ7,Stairs,5,,,,30.5",
    )
    classes = text(tmp_path / "classes.txt", "c092 Smiling at a book", "c147 Fixing a door")

    coded, named = (
        read_annotations(path, class_names=names) for names in (None, read_class_names(classes))
    )

    assert times(coded)["46GP8"] == [(11.9, 21.2, "c092"), (0.0, 12.6, "c147")]
    assert times(named)["46GP8"][0] == (11.9, 21.2, "c092 Smiling at a book")
    assert times(named)["N11GT"] == []
    assert [one.duration_seconds for one in named.videos] == [24.83, 30.5]
    assert [one.subset for one in named.videos] == [None, None]


def test_lists_of_2019_count_frames_and_classes_from_one(tmp_path: Path):
    path = text(tmp_path / "gt.list", "vid_a 100 2 1 10 20 3 50 100", "vid_b")
    lengths = text(tmp_path / "dur.list", "vid_a 25 40", "vid_b 25 8.5")

    found = read_annotations(
        path, durations=read_durations(lengths), class_names=["x", "y", "z"], bad_segments="refuse"
    )

    assert times(found) == {"vid_a": [(4.0, 8.0, "x"), (20.0, 40.0, "z")], "vid_b": []}
    assert [one.frames for one in found.videos[0].instances] == [(10.0, 20.0), (50.0, 100.0)]
    assert annotated_classes(path) == ["0", "2"]


def test_our_own_worlds_are_official(tmp_path: Path):
    world = make_world(
        tmp_path, num_train=1, num_val=1, num_test=0, seed=1, size=16, frames_per_second=4
    )

    found = read_annotations(tmp_path / "annotations.json", bad_segments="refuse")

    assert len(found.of_subset("training")) == len(found.of_subset("validation")) == 1
    events = [(e.start_seconds, e.end_seconds) for v in world.split("train") for e in v.events]
    assert [(s, e) for s, e, _ in times(found)["train_00000"]] == events


@needs_anet
def test_sample_files_of_activitynet():
    truth = read_annotations(ANET / "mmaction2_tests" / "eval_localization" / "gt.json")
    frames = read_annotations(ANET / "mmaction2_tests" / "annotations" / "action_test_anno.json")
    results = read_results(ANET / "official_samples" / "sample_detection_prediction.json")
    scores = read_class_scores(ANET / "official_samples" / "sample_classification_prediction.json")
    names = read_class_names(ANET / "mmaction2_tools" / "action_name.csv")

    assert {one.video: len(one.instances) for one in truth.videos} == {
        "v_bYUmtLBL7W4": 3,
        "v_hDPLy21Yyuk": 1,
    }
    assert truth.class_names == ("Cleaning shoes", "Wakeboarding")
    assert [one.duration_seconds for one in frames.videos] == [1.0, 2.0]
    assert frames.of_subset("validation") is frames  # it names no subsets
    assert len(results) == len(scores) == 4926
    assert results["wONwHYy59Tc"][0].label == "Blow-drying hair"
    assert scores["wONwHYy59Tc"] == {"Blow-drying hair": 1.0}
    assert len(names) == 200
    assert {label for row in scores.values() for label in row} <= set(names)


@needs_thumos
def test_sample_files_of_thumos(caplog: pytest.LogCaptureFixture):
    lengths = read_durations(THUMOS / "thumos14_test_groundtruth.csv")
    ignored = ("Ambiguous",)
    table = read_annotations(
        THUMOS / "test_Annotation.csv", durations=lengths, ignored_classes=ignored
    )
    numbers = read_annotations(
        THUMOS / "thumos14_test_groundtruth.csv",
        class_names=table.class_names,
        ignored_classes=ignored,
    )
    everything = dict.fromkeys(
        json.loads((THUMOS / "thumos_gt.json").read_text())["database"], 10_000.0
    )
    as_json = read_annotations(THUMOS / "thumos_gt.json", durations=everything)

    assert len(lengths) == len(table) == len(numbers) == 213
    assert len(table.class_names) == 20
    assert times(table) == times(numbers)
    assert len(table.left_out) == 26
    assert "26 of 3,358 segments are left out" in caplog.text
    assert len(as_json.of_subset("train")) == 200
    assert len(as_json.of_subset("test")) == 210
    with pytest.raises(DataError, match=r"has no duration.*and 197 more"):
        read_annotations(THUMOS / "val_Annotation.csv")


VIA = {
    "project": {"pid": "__VIA__", "pname": "mine"},
    "config": {},
    "attribute": {
        "1": {"aname": "action", "anchor_id": "FILE1_Z2_XY0", "type": 4,
              "options": {"0": "dig", "1": "swim"}},
    },
    "file": {"1": {"fid": "1", "fname": "clips/a.mp4"}, "2": {"fid": "2", "fname": "b.mp4"}},
    "metadata": {
        "1_x": {"vid": "1", "z": [0.5, 2.25], "xy": [], "av": {"1": "1"}},
        "1_y": {"vid": "1", "z": [3.0], "xy": [2, 1, 1, 9, 9], "av": {"1": "0"}},
        "2_z": {"vid": "2", "z": [1.0, 4.0], "xy": [], "av": {"1": "0"}},
    },
    "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": ["2"]}},
}  # fmt: skip


def dumped(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_projects_of_via(tmp_path: Path):
    path = dumped(tmp_path / "via.json", VIA)

    found = read_annotations(path, durations={"a": 5, "b": 5})

    assert times(found) == {"a": [(0.5, 2.25, "swim")], "b": [(1.0, 4.0, "dig")]}
    assert [one.subset for one in found.videos] == [None, None]
    two = {**VIA, "metadata": {**VIA["metadata"], "q": {"vid": "1", "z": [0, 1], "av": {"2": "x"}}}}
    with pytest.raises(DataError, match=r"several attributes \('action', '2'\)|\('2', 'action'\)"):
        read_annotations(dumped(path, two), durations={"a": 5, "b": 5})
    with pytest.raises(DataError, match="a: has no duration, expected seconds above 0; name a fil"):
        read_annotations(dumped(path, VIA))


def studio(ranges: list[tuple[int, int]], label: str, video: str, **more: Any) -> dict[str, Any]:
    value = {
        "ranges": [{"start": start, "end": end} for start, end in ranges],
        "timelinelabels": [label],
    }
    result = [{"type": "timelinelabels", "from_name": "t", "to_name": "v", "value": value}]
    return {"id": 1, "data": {"video": video}, "annotations": [{"result": result, **more}]}


def test_exports_of_label_studio_count_frames_from_one(tmp_path: Path):
    tasks = [
        studio([(1, 25), (51, 100)], "dig", "/data/upload/3/0a1b2c3d-a.mp4"),
        studio([(1, 10)], "swim", "/data/upload/3/ffffffff-b.mp4"),
        studio([(1, 10)], "no", "/data/upload/3/ffffffff-b.mp4", was_cancelled=True),
    ]
    path = dumped(tmp_path / "studio.json", tasks)
    lengths = {"a": 4, "b": 4}

    found = read_annotations(path, durations=lengths, frames_per_second=25)

    assert times(found) == {"a": [(0.0, 1.0, "dig"), (2.0, 4.0, "dig")], "b": [(0.0, 0.4, "swim")]}
    with pytest.raises(DataError, match=r"counts in frames \(1 to 25\).*frames_per_second=25"):
        read_annotations(path, durations=lengths)
    sound = {"start": 1.5, "end": 2.5, "labels": ["speech"]}
    task = {"id": 1, "data": {"video": "c.mp4"}, "annotations": [{"result": [{"value": sound}]}]}
    heard = read_annotations(dumped(path, [task]), durations={"c": 4})
    assert times(heard) == {"c": [(1.5, 2.5, "speech")]}
    small = {"id": 1, "clip": "d.mp4", "marks": [tasks[0]["annotations"][0]["result"][0]["value"]]}
    flat = read_annotations(dumped(path, [small]), durations={"d": 4}, frames_per_second=25)
    assert times(flat) == {"d": [(0.0, 1.0, "dig"), (2.0, 4.0, "dig")]}


def test_tables_with_a_segment_a_row(tmp_path: Path):
    path = text(
        tmp_path / "own.csv",
        "Video, Start,end,Label,split,duration",
        "clips/a.mp4,0.5,1.5,dig,train,4",
        "b.mov,1,2,swim,val,5",
        "clips/a.mp4,2,3, swim ,train,4",
    )

    found = read_annotations(path)

    assert times(found) == {
        "a": [(0.5, 1.5, "dig"), (2.0, 3.0, "swim")],
        "b": [(1.0, 2.0, "swim")],
    }
    assert [(one.subset, one.duration_seconds) for one in found.videos] == [
        ("train", 4),
        ("val", 5),
    ]
    text(path, "video,start,end,label", "x/a.mp4,0,1,dig", "y/a.mp4,0,1,dig")
    assert set(times(read_annotations(path, durations={"x__a": 4, "y__a": 4}))) == {"x__a", "y__a"}
    text(path, "video,start,end,label", "x/a.mp4,0,1,dig", "x/a.avi,0,1,dig")
    with pytest.raises(DataError, match=r"x/a.mp4 and x/a.avi are both called 'a'"):
        read_annotations(path)


# --- subsets ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subset", "wanted", "expected"),
    [
        ("training", "training", True),
        ("training", "train", True),
        ("train", "training", True),
        ("validation", "val", True),
        ("val", "validation", True),
        ("testing", "test", True),
        ("validation", "train_val", True),
        ("training", "train_val", True),
        ("testing", "train_val", False),
        ("training", "validation", False),
        (None, "training", False),
    ],
)
def test_subsets_go_by_several_names(subset: str | None, wanted: str, expected: bool):
    assert is_of_subset(subset, wanted) is expected


def test_an_empty_subset_names_those_there_are(tmp_path: Path):
    found = read_annotations(write(tmp_path / "a.json", {"a": entry()}))

    with pytest.raises(DataError, match="no video is of subset 'dev'; its subsets are: 'training'"):
        found.of_subset("dev")
    assert found.of_subset(None) is found


# --- bad input -------------------------------------------------------------------------------


BAD = {
    "a": entry((15, 25, "x"), (3, 2, "x"), (21, 22, "x"), (4, 5, "x")),
}


def test_bad_segments_are_cut_or_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = write(tmp_path / "a.json", BAD)

    with caplog.at_level(logging.WARNING):
        cut = read_annotations(path)
    dropped = read_annotations(path, bad_segments="drop")

    assert times(cut) == {"a": [(15.0, 25.0, "x"), (4.0, 5.0, "x")]}
    assert cut.videos[0].shares().tolist() == [[0.75, 1.0], [0.2, 0.25]]
    assert times(dropped) == {"a": [(4.0, 5.0, "x")]}
    assert "2 of 4 segments are left out" in caplog.text
    assert "a: annotation 1: segment [3, 2] ends before it starts" in caplog.text
    assert [len(one.left_out) for one in (cut, dropped)] == [2, 3]


def test_bad_segments_are_refused_on_request(tmp_path: Path):
    path = write(tmp_path / "a.json", BAD)

    with pytest.raises(DataError) as error:
        read_annotations(path, bad_segments="refuse")

    assert "annotation 0: segment [15, 25] reaches beyond the video of 20 seconds" in str(
        error.value
    )
    assert "annotation 1: segment [3, 2] ends before it starts" in str(error.value)
    assert "annotation 2: segment [21, 22] lies outside the video of 20 seconds" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ('{"database": {}}', "holds no video"),
        ('{"database": []}', "database is a list"),
        ('{"database": {"a": 3}}', "a is a int, expected an object with duration"),
        ('{"a": {"duration": 3, "annotations": 5}}', "annotations are a int, expected a list"),
        ('{"a": {"duration": 3, "annotations": [5]}}', "annotation 0 is a int"),
        ('{"a": {"duration": 3, "annotations": [{"segment": [1]}]}}', "segment is .1., expected"),
        ('{"a": {"duration": 3, "annotations": [{"segment": [1, "x"]}]}}', "expected two numbers"),
        ("b 10 1 2 3 4\na 10 2 1 3 4\n", ":2: expected 'NAME FRAMES COUNT .CLASS START END.*'"),
        ('{"a": {"annotations": []}}', "a: has no duration, expected seconds above 0; name a file"),
        ('{"a": {"duration": -1}}', "has no duration, expected seconds above 0, got -1"),
        ('{"a": {"duration": NaN}}', "has no duration, expected seconds above 0, got nan"),
    ],
)
def test_what_is_no_annotation_is_told_in_one_line(tmp_path: Path, content: str, message: str):
    path = tmp_path / "a.txt"
    path.write_text(content)

    with pytest.raises(DataError, match=message) as error:
        read_annotations(path)

    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_classes_and_absent_files(tmp_path: Path):
    path = write(tmp_path / "a.json", {"a": entry((1, 2, "swim"))})

    with pytest.raises(DataError, match="unknown class 'swim', expected one of 2: 'run', 'jump'"):
        read_annotations(path, class_names=["run", "jump"])
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_annotations(tmp_path / "none.json")
    with pytest.raises(DataError, match="no annotations in this folder"):
        read_annotations(tmp_path)


def test_a_video_that_is_there_twice_is_told(tmp_path: Path):
    path = text(tmp_path / "a.list", "a 9 0", "b 9 0", "a 9 0")

    with pytest.raises(DataError, match=r"a\.list:3: a: is there twice"):
        read_annotations(path, durations={"a": 1, "b": 1})


def test_only_the_first_few_problems_are_named(tmp_path: Path):
    videos = {f"v{number}": {"annotations": []} for number in range(9)}

    with pytest.raises(DataError, match=r"v0: .*; .*v1: .*; .*v2: .*; and 6 more$"):
        read_annotations(write(tmp_path / "a.json", videos))


def test_a_key_that_is_there_twice_is_told(tmp_path: Path):
    path = tmp_path / "a.json"
    video = '{"duration": 5, "annotations": []}'
    path.write_text(f'{{"database": {{"a": {video}, "b": {video}, "a": {video}}}}}')

    with pytest.raises(DataError, match=r"a.json: database: the key 'a' is there twice"):
        read_annotations(path)
    path.write_text('{"a": {"duration": 5, "annotations": [], "duration": 6}}')
    with pytest.raises(DataError, match=r"a.json: a: the key 'duration' is there twice"):
        read_annotations(path)


def test_damaged_json_shows_where(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text('{"a": {"duration": 5, "annotations": []}, "b": {"duration": oops}}')

    with pytest.raises(DataError, match=r"""not valid JSON: .*after .*"b": {"duration": o'"""):
        read_annotations(path)
    path.write_text('{"a": 1}\n{"a": 2}\n')
    with pytest.raises(DataError, match="of a known kind: JSON Lines, objects with 'a'"):
        read_annotations(path)


@pytest.mark.parametrize("label", [None, "", "  "])
def test_a_segment_without_a_label_beside_others_is_refused(tmp_path: Path, label: object):
    video = entry((1, 2, "x"), (3, 4, "x"))
    video["annotations"][1]["label"] = label

    with pytest.raises(DataError, match="a: annotation 1: has no label, unlike others"):
        read_annotations(write(tmp_path / "a.json", {"a": video}))


def test_segments_may_all_be_without_a_label(tmp_path: Path):
    video = entry() | {"annotations": [{"segment": [1, 2]}, {"segment": [3, 4]}]}

    found = read_annotations(write(tmp_path / "a.json", {"a": video}))

    assert times(found) == {"a": [(1.0, 2.0, ""), (3.0, 4.0, "")]}


def test_labels_are_names(tmp_path: Path):
    video = entry((1, 2, "x"), (3, 4, "x"))
    video["annotations"][1]["label"] = {"name": "x"}

    with pytest.raises(DataError, match="annotation 1: label is a dict, expected the name"):
        read_annotations(write(tmp_path / "a.json", {"a": video}))


def test_blanks_around_labels_mean_nothing_and_other_oddities_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = write(
        tmp_path / "a.json",
        {
            "a": entry((1, 2, " Hit "), (3, 4, "Hit"), (3, 4, "hit"), (5, 6, "Ambiguous")),
            "b": entry(subset=None),
        },
    )

    found = read_annotations(path)

    assert found.class_names == ("Ambiguous", "Hit", "hit")
    assert "segments labelled 'Ambiguous', 1 of them, count as a class" in caplog.text
    assert "data.ignored_classes=[Ambiguous]" in caplog.text
    assert "differ in upper and lower case only: Hit, hit" in caplog.text
    assert "1 of 2 videos have no subset, unlike the others, and are in no part: b" in caplog.text
    caplog.clear()
    read_annotations(path, ignored_classes=("Ambiguous", "hit"))
    assert "Ambiguous" not in caplog.text
    caplog.clear()
    read_annotations(path, quiet=True)
    assert caplog.text == ""


def test_lengths_measured_by_features_count_and_are_compared(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    videos = {name: entry((1, 2, "x")) for name in "abc"}
    path = write(tmp_path / "a.json", videos)
    seconds = {"v_a": 25.0, "b": 20.1}

    found = read_annotations(path, measured=Measured(tmp_path / "f", seconds, {"c": 19.0}, 1.0))

    assert [one.duration_seconds for one in found.videos] == [25.0, 20.1, 20.0]
    assert "1 of 2 videos are longer or shorter there" in caplog.text
    assert "a: 20 s annotated, 25 s by its features, 1.25 times" in caplog.text
    with pytest.raises(DataError, match=r"3 of 3 videos .* 20 s annotated, 2 s by its features"):
        read_annotations(path, measured=Measured(tmp_path, {}, dict.fromkeys("abc", 2.0), 0.5))


# --- lengths ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    ["v_a 25 12.5\n", "v_a 12.5\n", '{"v_a": 12.5}', '{"v_a": {"duration_second": 12.5}}'],
)
def test_lengths_of_videos(tmp_path: Path, content: str):
    (tmp_path / "d").write_text(content)

    assert read_durations(tmp_path / "d") == {"v_a": 12.5}


def test_a_length_that_is_none_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="d:2: b lasts 'x', expected seconds"):
        read_durations(text(tmp_path / "d", "a 3", "b x"))


# --- results ---------------------------------------------------------------------------------

FOUND = {"score": 0.25, "segment": [1.5, 2.0]}


def test_results_are_written_as_they_were_in_2019(tmp_path: Path):
    write_results(tmp_path / "bmn", {"v_a": [FOUND]}, form="bmn_2019")
    labelled = {"score": 0.25, "label": "run", "segment": [1.5, 2.0]}
    write_results(tmp_path / "ctcn", {"v_a": [labelled]}, form="ctcn_2019")

    assert (tmp_path / "bmn").read_text() == (
        '{"version": "VERSION 1.3", "results": {"a": [{"score": 0.25, "segment": [1.5, 2.0]}]}, '
        '"external_data": {}}'
    )
    assert (tmp_path / "ctcn").read_text() == (
        '{"version": "VERSION 1.3", "external_data": {"uesd": false, "details": "none"}, '
        '"results": {"v_a": [{"score": 0.25, "label": "run", "segment": [1.5, 2.0]}]}}'
    )


@pytest.mark.parametrize("form", ["activitynet", "bmn_2019", "ctcn_2019"])
def test_results_come_back(tmp_path: Path, form: Any):
    write_results(tmp_path / "r.json", {"a": [FOUND, {**FOUND, "label": "x"}], "b": []}, form=form)

    back = read_results(tmp_path / "r.json")

    assert [(d.start_seconds, d.end_seconds, d.score, d.label) for d in back["a"]] == [
        (1.5, 2.0, 0.25, None),
        (1.5, 2.0, 0.25, "x"),
    ]
    assert back["b"] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"database": {}}', "has no object 'results'; these are annotations"),
        ('{"results": {}}', "holds no results"),
        ('{"results": {"a": 1}}', "a: holds a int, expected a list"),
        ('{"results": {"a": [{"score": 1}]}}', "a: result 0: .*expected a score and a segment"),
        ("nothing", "not valid JSON"),
    ],
)
def test_bad_results_are_told(tmp_path: Path, content: str, message: str):
    (tmp_path / "r.json").write_text(content)

    with pytest.raises(DataError, match=message):
        read_results(tmp_path / "r.json")


scores = st.dictionaries(
    st.text("abc", min_size=1), st.dictionaries(st.text("xyz"), st.floats(0, 1)), min_size=1
)


@settings(max_examples=20)
@given(scores)
def test_class_scores_of_activitynet(
    tmp_path_factory: pytest.TempPathFactory, given: dict[str, dict[str, float]]
):
    path = tmp_path_factory.mktemp("scores") / "s.json"
    results = {
        video: [{"label": label, "score": score} for label, score in row.items()]
        for video, row in given.items()
    }
    path.write_text(json.dumps({"version": "VERSION 1.3", "results": results}))

    assert read_class_scores(path) == given


def test_class_scores_of_others(tmp_path: Path):
    path = tmp_path / "cuhk.json"
    path.write_text(json.dumps({"results": {"a": [0.25, 0.75]}, "class": ["x", "y"]}))
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps({"a": {"x": 0.25, "y": 0.75}}))

    assert read_class_scores(path) == read_class_scores(plain) == {"a": {"x": 0.25, "y": 0.75}}
    plain.write_text(json.dumps({"a": [0.5]}))
    with pytest.raises(DataError, match=r"a: .*expected scores of classes"):
        read_class_scores(plain)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.floats(-5, 25), st.floats(-5, 25)), max_size=5))
@example([(0.0, 5e-324)])
def test_shares_lie_within_the_video(
    tmp_path_factory: pytest.TempPathFactory, segments: list[tuple[float, float]]
):
    path = tmp_path_factory.mktemp("any") / "a.json"
    logging.disable()
    found = read_annotations(write(path, {"a": entry(*((s, e, "x") for s, e in segments))}))
    logging.disable(logging.NOTSET)

    shares = found.videos[0].shares()

    assert len(shares) + len(found.left_out) == len(segments)
    assert np.all((shares >= 0) & (shares <= 1))
    assert np.all(shares[:, 0] < shares[:, 1])
