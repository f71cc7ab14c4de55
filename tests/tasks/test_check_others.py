"""`check-data` of annotations, sentences, features and records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.data.make_clips import moving_frames, write_clip
from videozoo import cli
from videozoo.data import formats
from videozoo.data.annotations import segment_formats, sentences
from videozoo.data.annotations.segment_types import SegmentFile
from videozoo.data.features.record_formats import write_shard
from videozoo.data.features.records import FeatureRecord
from videozoo.data.formats import Format, TextFile
from videozoo.data.text import text_of
from videozoo.errors import DataError
from videozoo.tasks.check_data import CHECKERS

Shown = pytest.CaptureFixture[str]


def run(capsys: Shown, *words: object) -> tuple[int, str]:
    """Exit status, and what was printed, with the error."""
    status = cli.main(["check-data", *map(str, words)])
    shown = capsys.readouterr()
    return status, shown.out + shown.err


def activitynet(path: Path, videos: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"database": videos}))
    return path


def video(*segments: tuple[float, float, str], subset: str = "training") -> dict[str, Any]:
    listed = [{"segment": [start, end], "label": label} for start, end, label in segments]
    return {"duration": 100, "subset": subset, "annotations": listed}


# --- which checker ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "one",
    [*segment_formats.FORMATS, *sentences.FORMATS],
    ids=lambda one: one.name,
)
def test_every_annotation_format_is_checked(
    tmp_path: Path, one: Format[TextFile, Any], capsys: Shown
):
    path = tmp_path / one.file
    path.parent.mkdir(exist_ok=True)
    path.write_text(one.example)

    status, shown = run(capsys, tmp_path / Path(one.file).parts[0])

    assert status == 0, shown
    assert f"  {one.name}: " in shown


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a.mp4 60 0\nb.mp4 60 1\n", "videos"),  # resembles a C-TCN list
        ("run/a 60 0\nsit/b 60 1\n", "videos"),
        ("a 90 0\nb 90 1 1 10 25\n", "segments"),
        ("a.mp4\t60\t0\t3\n", "videos"),  # resembles an ETS list
        ("a\t1.0\t2.5\tA man runs.\n", "sentences"),
        ("a 90 1 1 10 25\n", "segments"),
        ("a\nb\n", "videos"),
        ("sep=;\nVideo;Start (s);End (s);Label\na b.mp4;0,1;0,4;run\n", "segments"),
    ],
)
def test_lists_are_told_from_annotations(tmp_path: Path, text: str, kind: str):
    (tmp_path / "a.list").write_text(text)

    assert next(one.kind for one in CHECKERS if one.takes(SegmentFile(tmp_path / "a.list"))) == kind


def test_json_of_no_known_kind_is_told_the_nearest(tmp_path: Path, capsys: Shown):
    (tmp_path / "a.json").write_text('{"data_base": {"a": {"annotations": [{"segment": 1}]}}}')

    status, shown = run(capsys, tmp_path / "a.json")

    assert status == 1
    assert "a.json: nothing that can be checked: JSON, an object with 'data_base'" in shown
    assert "nearest: ActivityNet" in shown


def test_results_are_pointed_to_score(tmp_path: Path, capsys: Shown):
    found = {"a": [{"segment": [1.0, 2.5], "label": "run", "score": 0.5}]}
    (tmp_path / "a.json").write_text(json.dumps({"version": "1.3", "results": found}))

    status, shown = run(capsys, tmp_path / "a.json")

    assert (status, "results of a model (ActivityNet results)" in shown) == (1, True)


def test_a_folder_of_annotations_names_its_files(tmp_path: Path, capsys: Shown):
    activitynet(tmp_path / "a.json", {"a": video((1, 2, "run"))})
    (tmp_path / "b.txt").write_text("a 1.0 2.5##A man runs.\n")

    status, shown = run(capsys, tmp_path)

    assert status == 1
    assert "holds no videos; name one of the files in it: a.json (segments), b.txt (sent" in shown


def test_the_kind_can_be_given(tmp_path: Path, capsys: Shown):
    (tmp_path / "a.list").write_text("a 90 1 1 10 25\n")

    assert "1 video, 1 segment\n" in run(capsys, tmp_path / "a.list", "--kind", "segments")[1]
    (tmp_path / "a.list").write_text("a\n")
    status, shown = run(capsys, tmp_path / "a.list", "--kind", "segments")
    assert (status, "nearest: C-TCN list" in shown) == (1, True)
    status, shown = run(capsys, tmp_path / "a.list", "--features", tmp_path)
    assert (status, "--features: nothing to compare videos with" in shown) == (2, True)


def test_settings_that_nothing_would_read_are_refused(tmp_path: Path, capsys: Shown):
    (tmp_path / "a.list").write_text("a.avi 0\nb.avi 1\n")

    for words, said in (
        (("--set", "data.root=ucf"), "--set needs --config"),
        (("--set", "data.rooot=ucf"), "--set needs --config"),
        (("--model", "tsn"), "--model needs --config"),
        (("--videos", tmp_path), "--config NAME --set data.train=LIST --set data.root=DIR"),
        (("--config", "tsn", "--set", "data.rooot=ucf"), "data.rooot"),
    ):
        status, shown = run(capsys, tmp_path / "a.list", *words)
        assert status != 0
        assert said in shown
        assert "checked" not in shown


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            "sentence,to,from,video_id\nA man runs.,5,1,a\n",
            "columns 'to', 'from' are not used; times are read from columns such as start ",
        ),
        (
            "video,start,end,label,t_begin\na,1,2,run,4\n",
            "column 't_begin' is not used; times are read from start and end",
        ),
    ],
)
def test_columns_of_times_that_are_not_read_are_named(
    tmp_path: Path, capsys: Shown, table: str, said: str
):
    (tmp_path / "a.csv").write_text(table)

    status, shown = run(capsys, tmp_path / "a.csv")

    assert (status, said in " ".join(shown.split())) == (0, True)


@pytest.mark.parametrize("mark", [";", ","])
def test_a_table_without_known_columns_is_no_list_of_videos(
    tmp_path: Path, capsys: Shown, mark: str
):
    rows = ["activity finish clip begin", "run 5 a 1"]
    (tmp_path / "a.csv").write_text("".join(row.replace(" ", mark) + "\n" for row in rows))

    status, shown = run(capsys, tmp_path / "a.csv")

    assert status == 1
    assert "columns are not known: 'activity', 'finish', 'clip', 'begin'" in shown
    assert "video: video, video_id" in shown


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "clip\tvon\tbis\twas\na.mp4\t1.0\t2.5\trun\n", "'clip', 'von', 'bis', 'was'"),
        ("a.csv", "sep=;\nVideo;Von (s);End (s);Wo\na b;0,1;0,4;run\n", "'Von (s)', 'End (s)'"),
        ("a.csv", "datei,klasse\na.mp4,0\nb.mp4,1\n", "not known: 'datei', 'klasse'"),
        ("a.txt", "run 0\njump 1\n", "Names of classes are for data.class_names"),
        ("a.txt", "run\njump\nsit down\n", "Names of classes are for data.class_names"),
        ("a.json", '{"run": "1", "jump": "0"}', "these are names of classes"),
        ("a.json", '{"0": "run", "1": "jump"}', "these are names of classes"),
    ],
)
def test_files_of_other_purposes_are_told_what_they_are(
    tmp_path: Path, capsys: Shown, name: str, text: str, said: str
):
    (tmp_path / name).write_text(text)

    status, shown = run(capsys, tmp_path / name)

    assert (status, said in shown, "missing" in shown) == (1, True, False), shown


def test_a_video_a_tab_and_a_name_are_a_list(tmp_path: Path, capsys: Shown):
    (tmp_path / "a.txt").write_text("a.mp4\trun\nb\tjump\n")

    shown = run(capsys, tmp_path / "a.txt")[1]

    assert "0 jump" in shown
    assert "words" not in shown


def test_sentences_are_counted_once_and_their_moments_beside(tmp_path: Path, capsys: Shown):
    row: dict[str, Any] = {"qid": 1, "query": "A man runs.", "vid": "a", "duration": 9}
    row["relevant_windows"] = [[0, 2], [4, 6]]
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")

    shown = run(capsys, tmp_path / "a.jsonl")[1]

    assert "QVHighlights: 1 sentence of 1 video, 2 moments\n" in shown


def test_a_file_of_sentences_is_read_once(
    tmp_path: Path, capsys: Shown, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a.txt").write_text("a 1.0 2.5##A man runs.\n")
    read = list[Path]()

    def noted(path: Path) -> str:
        read.append(path)
        return text_of(path)

    monkeypatch.setattr(formats, "text_of", noted)

    assert run(capsys, tmp_path / "a.txt")[0] == 0
    assert read == [tmp_path / "a.txt"]


def test_sentences_whose_times_are_not_read_are_no_moments(tmp_path: Path):
    (tmp_path / "a.csv").write_text("sentence,to,from,video_id\nA man runs.,5,1,a\n")

    with pytest.raises(DataError, match="columns 'to', 'from' are not used"):
        sentences.read_timed_sentences(tmp_path / "a.csv")


# --- annotations -----------------------------------------------------------------------------


def test_oddities_of_segments_are_named(tmp_path: Path, capsys: Shown):
    many = [(10.0 * i, 10.0 * i + 1, "long jump") for i in range(9)]
    path = activitynet(
        tmp_path / "a.json",
        {
            "v1": video((1, 2, "run"), (1, 2, "run"), (50, 60, "run"), (55, 70, "run"), *many),
            "v2": video((0, 2, "Long_Jump"), (98, 130, "run")),
            "v3": video((5, 4, "dig"), subset="validation"),
        },
    )

    status, shown = run(capsys, path, "--json", tmp_path / "found.json")

    assert status == 0, shown
    assert "ActivityNet: 3 videos (2 training, 1 validation), 16 segments" in shown
    assert "1 segment more than once: v1: annotation 0: 'run', 1 to 2 s; and again v1" in shown
    assert "1 segment that overlaps another of the same class: v1: annotation 2" in shown
    assert "1 segment that ends before or where it starts, e.g. v3: annotation 0" in shown
    assert "probably one class: 'long jump' (9), 'Long_Jump' (1)" in shown
    assert "1 class of 4 in subset 'validation' only: 'dig'" in shown
    assert "30 s beyond its video (100): v2: annotation 1: 'run', 98 to 130 s" in shown
    assert "most segments: v1, 13, where the usual video has 2" in shown
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["kind"] == "check-segments"
    (part,) = found["parts"]
    assert (part["format"], part["videos"], part["segments"]) == ("ActivityNet", 3, 16)
    assert (part["duplicates"], part["overlaps"]) == (1, 1)
    assert len(part["strangest"]) == 3


def test_videos_without_a_subset_are_in_no_part(tmp_path: Path, capsys: Shown):
    path = activitynet(
        tmp_path / "a.json",
        {"a": video((1, 2, "run")), "b": video((1, 2, "run")) | {"subset": None}},
    )

    assert "1 video without a subset, unlike the others, and in no part: b" in run(capsys, path)[1]


def test_what_cannot_be_used_is_a_problem(tmp_path: Path, capsys: Shown):
    path = activitynet(tmp_path / "a.json", {"a": video((1, 2, "run"), (3, 4, ""))})
    entry = json.loads(path.read_text())
    entry["database"]["a"]["annotations"].append({"segment": ["x", 3], "label": "run"})
    path.write_text(json.dumps(entry))

    status, shown = run(capsys, path)

    assert status == 1
    assert "a: annotation 2: segment ['x', 3], expected two numbers" in shown
    assert "a: annotation 1: has no label, unlike others" in shown
    assert "2 problems in the annotations" in shown


def test_annotations_are_compared_with_features(tmp_path: Path, capsys: Shown):
    (tmp_path / "features").mkdir()
    for name, steps in (("a", 200), ("b", 200), ("d", 20)):
        values = np.arange(steps * 2, dtype=np.float32).reshape(steps, 2)
        np.save(tmp_path / "features" / f"{name}.npy", values)
    path = activitynet(
        tmp_path / "a.json", {name: video((1, 2, "run")) for name in ("a", "b", "c", "d")}
    )

    status, shown = run(capsys, path, "--features", tmp_path / "features")

    assert status == 0, shown
    assert "no features of 1 of 4 videos of" in shown
    assert "vectors per second, by the lengths of the videos: 0.2 to 2, median 2" in shown
    assert "1 video with another rate than 2 vectors per second; worst is d: 20 vectors" in shown


def test_annotations_are_compared_with_videos(tmp_path: Path, capsys: Shown):
    (tmp_path / "videos").mkdir()
    for name in ("a", "x"):
        write_clip(tmp_path / "videos" / f"{name}.mp4", moving_frames(10), rate=10)
    entry = video((0.2, 0.5, "run")) | {"duration": 1.0}
    path = activitynet(tmp_path / "a.json", {"a": entry, "b": entry})
    words = (path, "--videos", tmp_path / "videos", "--no-cache", "--workers=1")

    status, shown = run(capsys, *words)

    assert status == 0, shown
    assert "no video of 1 of 2 videos of" in shown
    assert "video of 1 video that" in shown
    activitynet(path, {"a": entry | {"duration": 10}})
    status, shown = run(capsys, *words)
    assert status == 1
    assert "1 of 1 video are longer or shorter there than by the files in" in shown
    assert "10 s annotated, 1 s by the files, 10 times" in shown


def test_segments_in_seconds_and_in_frames_of_no_known_rate_are_kept_apart(
    tmp_path: Path, capsys: Shown
):
    held = [
        {"label": "run", **ends}
        for ends in ({"support": [11, 25]}, {"timestamps": [1.0, 2.5]}, {"timestamps": [2, 3]})
    ]
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"classes": ["run"], "labels": {"a": held}}))

    status, shown = run(capsys, path)
    assert status == 0, shown
    assert "some times are in frames, and nothing tells the frame rate of 1 video" in shown
    assert "lengths of segments: 14 frames" in shown
    assert "lengths of segments: 1 to 1.5 s" in shown
    assert "1 segment that overlaps another of the same class: a: detection 1: 'run'" in shown
    assert "1 to 2.5 s; and a: detection 2, 2 to 3 s" in shown

    status, shown = run(capsys, path, "--set", "data.frames_per_second=10")
    assert (status, "frames" in shown) == (0, False), shown
    assert "lengths of segments: 1 to 1.5 s" in shown


def test_what_a_file_leaves_open_can_be_said(tmp_path: Path, capsys: Shown):
    (one,) = [form for form in segment_formats.FORMATS if form.file == "EPIC_100_train.csv"]
    path = tmp_path / one.file
    path.write_text(one.example)

    status, shown = run(capsys, path)
    assert (status, "say which: --set data.label_from=verb_class" in shown) == (0, True)
    status, shown = run(capsys, path, "--set", "data.label_from=verb_class")
    assert (status, "say which" in shown) == (0, False)
    status, shown = run(capsys, path, "--set", "data.rate=3")
    assert (status, "--set data.rate=3: without --config only keys of how" in shown) == (2, True)


# --- sentences -------------------------------------------------------------------------------


def test_oddities_of_sentences_are_named(tmp_path: Path, capsys: Shown):
    path = tmp_path / "a.txt"
    lines = ["a 1 2##he runs.", "a 1 2##he runs.", "b 1 2##He runs.", "b 9 3##he digs a hole."]
    path.write_text("\n".join(lines) + "\n")

    status, shown = run(capsys, path)

    assert status == 0, shown
    assert "Charades-STA: 4 sentences of 2 videos" in shown
    assert "1 sentence more than once: line 1, a: 'he runs.', 1 to 2 s; and again line 2" in shown
    assert "1 sentence that ends before or where it starts, e.g. line 4, b" in shown
    assert "1 sentence that several videos share word for word, most often 'he runs.'" in shown
    assert "most words: line 4, b, 4, where the median is 2: 'he digs a hole.'" in shown
    assert "no length is known of 2 of 2 videos; --videos DIR or --features DIR tells it" in shown


def test_sentences_that_cannot_be_read_are_a_problem(tmp_path: Path, capsys: Shown):
    path = tmp_path / "a.txt"
    path.write_text("a 1 2##he runs.\na 1 2 he digs.\n")

    status, shown = run(capsys, path)

    assert status == 1
    assert "line 2: expected `VIDEO START END##sentence`" in shown


def test_a_configuration_of_sentences_is_checked_whole(tmp_path: Path, capsys: Shown):
    (tmp_path / "features").mkdir()
    for name in ("a", "b"):
        np.save(tmp_path / "features" / f"{name}.npy", np.ones((20, 4), np.float32))
    (tmp_path / "train.txt").write_text("a 1 2##he runs.\nc 1 2##he runs.\n")
    (tmp_path / "val.txt").write_text("b 1 2##he sits.\na 1 2##he runs.\n")
    made = {
        "model": {"name": "ets", "feature_dim": 4},
        "data": {
            "train": str(tmp_path / "train.txt"),
            "val": str(tmp_path / "val.txt"),
            "features": str(tmp_path / "features"),
            "rate": 5,
            "min_word_count": 1,
        },
    }
    (tmp_path / "ets.yaml").write_text(yaml.safe_dump(made))

    status, shown = run(capsys, "--config", tmp_path / "ets.yaml")

    assert status == 0, shown
    assert "features: no features of 1 of 2 videos" in shown
    assert "leak: 1 video in both data.train and data.val, e.g. a" in shown
    assert "1 of 4 words (25.0 %) are not in the vocabulary" in shown
    assert "2 videos with the same vector from start to end: a, b" in shown
    np.save(tmp_path / "features" / "b.npy", np.ones((20, 5), np.float32))
    status, shown = run(capsys, "--config", tmp_path / "ets.yaml")
    assert (status, "b.npy: 5 values per step" in shown) == (1, True)


@pytest.mark.parametrize("bad", [False, True])
def test_videos_of_a_tagger_are_checked(tmp_path: Path, bad: bool, capsys: Shown):
    for name in ("run", "sit"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        for number in range(2):
            path = tmp_path / "videos" / name / f"{number}.mp4"
            write_clip(path, moving_frames(3, seed=len(name) + number), rate=10)
    if bad:
        (tmp_path / "videos" / "run" / "0.mp4").write_bytes(b"no video at all")
    sets = [f"--set=data.{key}=null" for key in ("train", "val", "test", "class_names")]

    status, shown = run(
        capsys,
        *("--config", "attention_lstm", "--no-cache", "--workers=1", *sets),
        f"--set=data.videos={tmp_path / 'videos'}",
    )

    assert status == bad, shown
    assert "4 files" in shown
    assert ("0.mp4: " in shown) == bad


# --- features and records --------------------------------------------------------------------


def test_features_that_say_nothing_are_named(tmp_path: Path, capsys: Shown):
    ramp = np.arange(40, dtype=np.float32).reshape(20, 2) + 1
    half = ramp.copy()
    half[:5] = 0
    arrays = {
        "good": ramp,
        "copy": ramp,
        "zero": np.zeros((20, 2), np.float32),
        "still": np.ones((20, 2), np.float32),
        "half": half,
        "long": np.tile(ramp, (10, 1)) * 9,
        "nan": np.full((20, 2), np.nan, np.float32),
    }
    for name, values in arrays.items():
        np.save(tmp_path / f"{name}.npy", values)

    status, shown = run(capsys, tmp_path, "--json", tmp_path.parent / "found.json")

    assert status == 1
    assert "features of 7 videos, 6 can be used" in shown
    assert "nan at step 0, value 0" in shown
    assert "1 video with zeros only: zero" in shown
    assert "1 video with the same vector from start to end: still" in shown
    assert "5 vectors of zeros in 1 video, most in half (5)" in shown
    assert "copies: 1 group of videos with equal features, e.g. copy = good" in shown
    assert "longest: long.npy, 200 vectors, where the median is 20" in shown
    (part,) = json.loads((tmp_path.parent / "found.json").read_text())["parts"]
    assert (part["kind"], part["usable"], part["zero"]) == ("features", 6, ["zero"])


def test_features_of_different_lengths_do_not_go_together(tmp_path: Path, capsys: Shown):
    for name, dim in (("a", 3), ("b", 3), ("c", 4)):
        np.save(tmp_path / f"{name}.npy", np.eye(5, dim, dtype=np.float32))

    status, shown = run(capsys, tmp_path)

    assert status == 1
    assert "vectors of different lengths, 3, 4: 1 video unlike the most (3): c" in shown


def test_values_of_records_are_looked_at(tmp_path: Path, capsys: Shown):
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    records = [
        FeatureRecord("a", {"rgb": rows}, (0,)),
        FeatureRecord("b", {"rgb": np.zeros((6, 2), np.float32)}, (0, 1)),
        FeatureRecord("c", {"rgb": np.concatenate([rows] * 5)}, (1,)),
    ]
    write_shard(tmp_path / "a.tfrecord", records)

    status, shown = run(capsys, tmp_path / "a.tfrecord")

    assert status == 0, shown
    assert "rgb: 1 video with zeros only:" in shown
    assert "a.tfrecord: record 2 (c), 30, where the median is 6" in shown


def test_write_good_is_for_videos(tmp_path: Path, capsys: Shown):
    np.save(tmp_path / "a.npy", np.ones((3, 2), np.float32))

    assert run(capsys, tmp_path, "--write-good", tmp_path / "a.list")[0] == 2
