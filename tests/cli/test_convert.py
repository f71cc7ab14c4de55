"""videozoo convert: from one tool to another, and what it says."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tests.data.make_clips import moving_frames, write_clip

from videozoo import cli
from videozoo.cli.convert import FORMS
from videozoo.data.annotations.segment_writers import WRITERS
from videozoo.data.video_times import VideoTimes, frame_times
from videozoo.errors import DataError

CASES = Path(__file__).parents[3] / "shared" / "cases"
TABLE = "video,start,end,label\na.mp4,0.1,0.5,run\nb.mp4,0.2,0.9,jump\n"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name, rate in (("a.mp4", 10), ("sub/b.mp4", 20)):
        (folder / name).parent.mkdir(exist_ok=True)
        write_clip(folder / name, moving_frames(20, height=32, width=32), rate=rate)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def convert(*words: object) -> int:
    return cli.main(["convert", *map(str, words)])


def test_a_table_goes_to_label_studio_and_back(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "own.csv").write_text(TABLE)

    assert convert(tmp_path / "own.csv", tmp_path / "t.json", "--to", "labelstudio",
                   "--videos", films, "--address", "/data/local-files/?d=") == 0  # fmt: skip

    said = capsys.readouterr().out
    assert f"2 segments of 2 videos: {tmp_path / 'own.csv'} (CSV with one segment" in said
    assert 'frameRate="$fps"' in said
    tasks = json.loads((tmp_path / "t.json").read_text())
    assert [task["data"] for task in tasks] == [
        {"video": "/data/local-files/?d=a.mp4", "fps": 10.0, "duration": 2.0},
        {"video": "/data/local-files/?d=sub/b.mp4", "fps": 20.0, "duration": 1.0},
    ]
    assert convert(tmp_path / "t.json", tmp_path / "back.csv", "--to", "csv") == 0
    assert "nobody has annotated these tasks" in capsys.readouterr().out
    assert [(row["start"], row["end"], row["label"]) for row in rows(tmp_path / "back.csv")] == [
        ("0.1", "0.5", "run"), ("0.2", "0.9", "jump"),
    ]  # fmt: skip


def test_results_go_to_a_tool_for_correction(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    listed = [
        {"segment": [0.1, 0.5], "score": 0.9, "label": "run"},
        {"segment": [0.1, 0.4], "score": 0.2, "label": "run"},
    ]
    content: dict[str, Any] = {"version": "1", "results": {"a": listed, "b": []}}
    (tmp_path / "results.json").write_text(json.dumps(content))
    words = ("--to", "labelstudio", "--videos", films, "--least-score", 0.5)

    assert convert(tmp_path / "results.json", tmp_path, *words) == 0

    assert "1 segment left out, as asked: lower scores" in capsys.readouterr().out
    tasks = json.loads((tmp_path / WRITERS["labelstudio"].file).read_text())
    found = [task["predictions"][0]["result"] for task in tasks]
    assert [[region["value"]["ranges"][0] for region in one] for one in found] == [
        [{"start": 2, "end": 5}], [],
    ]  # fmt: skip
    assert found[0][0]["score"] == 0.9
    assert convert(tmp_path / "results.json", tmp_path / "a.csv", "--to", "csv") == 0
    assert [row["score"] for row in rows(tmp_path / "a.csv")] == ["0.9", "0.2", ""]


def test_nothing_is_written_over_unless_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source, target = tmp_path / "own.csv", tmp_path / "a.json"
    source.write_text(TABLE)
    target.write_text("mine")

    assert convert(source, target, "--to", "activitynet") == 1
    assert "exists; pass --overwrite" in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert convert(source, target, "--to", "activitynet", "--overwrite") == 0
    assert "the lengths of 2 of 2 videos are not known" in capsys.readouterr().out
    assert convert(source, source, "--to", "csv", "--overwrite") == 1
    assert "is the source itself" in capsys.readouterr().err
    assert source.read_text() == TABLE


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        (TABLE, ["--to", "foo"], "no such format; there are:\n  activitynet "),
        (TABLE, ["--to", "labelstudio"], "its frame rate is not known; name the folder"),
        (TABLE, ["--to", "csv", "--videos", "none"], "none: no such folder of videos"),
        ("a,b\n1,2\n", ["--to", "csv"], "not a file that can be converted"),
        ("video,start_frame,end_frame,label\na,1,2,x\n", ["--to", "csv"],
         "--frames-per-second 25, or name their folder: --videos DIR"),
        ("video,start,end,who,what\na,1,2,x,y\n", ["--to", "csv"], "--label-from who (who | what)"),
        (TABLE, ["--to", "csv", "--most", "0"], "--most 0: expected more than 0"),
        ('{"predictions": [{"video": "a", "sentence": "x", "unit": "seconds", "top": '
         '[{"start": 1, "end": 2, "score": 1}]}]}', ["--to", "csv"], "only segments can be"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted(
    content: str,
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "source").write_text(content)

    assert convert(tmp_path / "source", tmp_path / "out", *words) in (1, 2)

    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_segments_and_lost_videos_are_named(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    source = tmp_path / "own.csv"
    source.write_text(TABLE + "a.mp4,0.9,0.9,run\nlost.mp4,0,1,run\n")

    assert convert(source, tmp_path / "o", "--to", "fiftyone", "--videos", films) == 0

    said = capsys.readouterr().out
    assert "1 of 4 segments are left out: 4: segment [0.9, 0.9] ends before it starts" in said
    assert f"1 of 3 videos are not in {films}: lost" in said
    assert "the frame rates of 1 video are not known" in said


def test_what_is_odd_is_converted_and_said(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    entry = {"duration": 20, "annotations": [{"segment": [1, 38], "label": "x"}]}
    other = {"duration": 1, "annotations": [{"segment": [0.1, 0.9], "label": None}]}
    (tmp_path / "a.json").write_text(json.dumps({"database": {"a": entry, "b": other}}))

    assert convert(tmp_path / "a.json", tmp_path / "a.csv", "--to", "csv", "--videos", films) == 0

    said = capsys.readouterr().out
    assert "1 of 2 segments have no label, unlike the others: in b" in said
    assert "1 of 2 segments reach beyond their video" in said
    assert "a: 1 to 38 in 20 s; are they in frames?" in said
    assert "lengths of 1 video differ from their files: a lasts 20 s there and 2 s in" in said
    assert [row["end"] for row in rows(tmp_path / "a.csv")] == ["38.0", "0.9"]


def test_the_help_names_every_form():
    assert set(FORMS) == set(WRITERS)


def test_frames_of_files_whose_distances_vary():
    path = CASES / "videos" / "vfr.mkv"
    if not path.is_file():
        pytest.skip(f"the cases are not at {CASES}")

    found = frame_times(path)

    assert found is not None
    assert found.starts is not None
    assert len(found.starts) == found.num_frames
    for first, last in ((1, 1), (2, 5), (3, len(found.starts))):
        assert found.frames(*found.span(first, last)) == (first, last)


def test_videos_of_one_name_in_two_folders_are_told(films: Path, tmp_path: Path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.mp4").write_bytes((films / "a.mp4").read_bytes())
    times = VideoTimes.under(tmp_path)

    with pytest.raises(DataError, match="a: several videos have this name"):
        times("a")
    for name in ("x/a", "x__a", "y/a.mp4"):
        found = times(name)
        assert found is not None
        assert (found.frames_per_second, found.num_frames) == (10, 20)


def test_videos_of_one_name_go_to_a_tool_and_back(films: Path, tmp_path: Path):
    for folder in ("x", "y"):
        (tmp_path / "films" / folder).mkdir(parents=True)
        (tmp_path / "films" / folder / "a.mp4").write_bytes((films / "a.mp4").read_bytes())
    own = "video,start,end,label\nx/a.mp4,0.1,0.5,run\ny/a.mp4,0.2,0.9,jump\n"
    (tmp_path / "own.csv").write_text(own)
    for form in ("labelstudio", "fiftyone"):
        there, back = tmp_path / f"{form}.json", tmp_path / f"{form}.csv"
        videos = ("--videos", tmp_path / "films")

        assert convert(tmp_path / "own.csv", there, "--to", form, *videos) == 0
        assert convert(there, back, "--to", "csv", *videos) == 0

        found = [(row["video"], row["start"], row["end"], row["label"]) for row in rows(back)]
        assert found == [("x/a.mp4", "0.1", "0.5", "run"), ("y/a.mp4", "0.2", "0.9", "jump")]
