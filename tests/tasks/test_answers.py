"""`predict --page --subtitles --csv`: what is written beside predictions.json, for any model."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import videozoo
from tests.untrained import untrained_tsm
from videozoo import cli
from videozoo.data.synthetic.clips import write_video
from videozoo.errors import UsageError
from videozoo.report.answers import ModelAnswers, VideoAnswer
from videozoo.results import Segment, VideoSegments
from videozoo.tasks.answers import with_paths, write_films


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip model that was never trained."""
    return untrained_tsm(tmp_path_factory.mktemp("run"))


@pytest.fixture
def videos(tmp_path: Path) -> list[Path]:
    pictures = np.full((16, 32, 40, 3), 128, np.uint8)
    paths = [tmp_path / "videos" / name for name in ("a b.mp4", "<i>ü.mp4")]
    paths[0].parent.mkdir()
    for path in paths:
        write_video(path, pictures, frames_per_second=8)
    return paths


def videozoo_says(capsys: Any, *words: str | Path) -> str:
    assert cli.main([str(word) for word in words]) == 0
    return capsys.readouterr().err


def test_a_clip_model_writes_a_page_and_a_table(
    run: Path, videos: list[Path], tmp_path: Path, capsys: Any
):
    out = tmp_path / "out"
    said = videozoo_says(
        capsys, "predict", "--weights", run, "--save-dir", out, *videos, "--page", "--csv",
        "--subtitles", "--top-k", "2",
    )  # fmt: skip

    page = (out / "page.html").read_text("utf-8")
    assert 'src="../videos/a%20b.mp4"' in page
    assert "&lt;i&gt;ü.mp4" in page
    assert "<moves" not in page
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2", "1", "2"]
    assert {row["model"] for row in rows} == {"TSM"}
    assert {row["start_seconds"] for row in rows} == {""}
    facts = json.loads((out / "predictions.json").read_text("utf-8"))
    best = facts["predictions"][0]["top"][0]
    assert (rows[0]["name"], float(rows[0]["score"])) == (
        best["class"],
        pytest.approx(best["score"]),
    )
    assert facts["files"] == ["page.html", "predictions.csv"]
    assert not list(out.glob("*.vtt"))
    assert "no subtitles for 2 of 2 videos, of which nothing with words and seconds is said" in said
    assert f"{out / 'page.html'}" in said


def test_along_a_video_there_are_subtitles_and_films_too(
    run: Path, videos: list[Path], tmp_path: Path, capsys: Any
):
    out = tmp_path / "out"
    videozoo_says(
        capsys, "predict", "--weights", run, "--save-dir", out, *videos, "--every", "1",
        "--set", "predict.least_score=0", "--subtitles", "--embed-frames", "--annotate",
    )  # fmt: skip

    (a, other) = sorted(each.name for each in out.glob("*.vtt"))
    assert (a, other) == ("<i>ü.vtt", "a b.vtt")
    text = (out / "a b.vtt").read_text("utf-8")
    assert text.startswith("WEBVTT\n\n00:00:00.000 --> ")
    assert "&lt;" in text
    assert (out / "a b.srt").is_file()
    page = (out / "page.html").read_text("utf-8")
    assert "data:image/jpeg" in page
    assert "<video" not in page
    assert {each.name for each in out.glob("*.mp4")} == {
        "a b_annotated.mp4",
        "<i>ü_annotated.mp4",
    }


def test_films_of_any_model_show_each_second(videos: list[Path], tmp_path: Path):
    segments = (Segment(0.5, 1.0, 0.9, "run"), Segment(1.5, 2.0, 0.1, "unsure"))
    result = VideoSegments(video="x", duration_seconds=2.0, segments=segments)
    models = [ModelAnswers(title="C-TCN", videos=[VideoAnswer(result=result, path=videos[0])])]

    films, failed = write_films(models, tmp_path / "out", print)

    assert films == [tmp_path / "out" / "a b_annotated.mp4"]
    assert not failed
    with videozoo.open_video(films[0]) as film:
        shown = film.read(range(16)).astype(int)
    band = np.abs(shown[:, 228:246, :100] - 128).mean(axis=(1, 2, 3))  # 256 pixels high
    assert [number for number in range(16) if band[number] > 20] == [4, 5, 6, 7]

    unknown = [ModelAnswers(title="C-TCN", videos=[VideoAnswer(result=result)])]
    with pytest.raises(UsageError, match="needs a model that sees the videos"):
        write_films(unknown, tmp_path, print)


def test_several_models_share_a_page(run: Path, videos: list[Path], tmp_path: Path, capsys: Any):
    other = tmp_path / "other" / run.name
    other.parent.mkdir()
    other.write_bytes(run.read_bytes())
    out = tmp_path / "out"

    said = videozoo_says(
        capsys, "predict", "--weights", run, "--weights", other, "--save-dir", out, videos[0],
        "--page", "--csv", "--annotate", "--top-k", "1",
    )  # fmt: skip

    names = [f"TSM, {each.parent.name}" for each in (run, other)]
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        assert [row["model"] for row in csv.DictReader(file)] == names
    page = (out / "page.html").read_text("utf-8")
    assert all(f"<h3>{name}</h3>" in page for name in names)
    assert 'src="../videos/a%20b.mp4"' in page
    assert {path.name for path in out.rglob("*") if path.is_file()} == {
        *("page.html", "predictions.csv", "a b_annotated.mp4", "predictions.json"),
    }
    assert f"written: {out / 'page.html'}" in said


def test_answers_about_features_find_the_videos_of_the_features(videos: list[Path]):
    of_folder = VideoSegments(video="a b", duration_seconds=None, segments=())
    (named,) = with_paths([VideoAnswer(result=of_folder)], {}, videos[0].parent)
    assert named.path == videos[0]

    result = VideoSegments(video="a", duration_seconds=None, segments=())
    made = {"cache/x/a.npz": Path("x/a.mp4"), "cache/x/b.npz": Path("x/b.mp4")}

    (found,) = with_paths([VideoAnswer(result=result)], made)
    (unsure,) = with_paths([VideoAnswer(result=result)], {**made, "cache/y/a.npz": Path("y/a.mp4")})

    assert found.path == Path("x/a.mp4")
    assert unsure.path is None
