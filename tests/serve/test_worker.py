"""What the worker says of a video is what the models say of it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import videozoo
from videozoo.data.synthetic.clips import write_video
from videozoo.errors import VideoError
from videozoo.serve import worker


@pytest.fixture
def task(tmp_path: Path) -> worker.Task:
    """A video of two seconds, as the server asks about it."""
    video = tmp_path / "job" / "video.mp4"
    video.parent.mkdir()
    write_video(video, np.full((16, 32, 40, 3), 128, np.uint8), frames_per_second=8)
    return worker.Task(
        id="0" * 32, name="<b>my film.mp4", video=video, folder=video.parent, work="answer",
        sentences=(), every_seconds=None, annotate=False, seconds_limit=60, megapixels_limit=1,
    )  # fmt: skip


def test_answers_are_those_of_the_model(run: Path, task: worker.Task):
    models = worker.load_models([str(run)], "cpu")

    steps = list(worker.answer(models, task))

    assert [each["what"] for each in steps] == ["reading the video", "TSM", "writing the answers"]
    found = json.loads((task.folder / worker.ANSWERS).read_text("utf-8"))
    expected = videozoo.load(run).predict(str(task.video))[0].to_dict()
    assert found["models"] == [
        {"title": "TSM", "results": [{**expected, "video": "<b>my film.mp4"}]}
    ]
    assert found["duration_seconds"] == pytest.approx(2.0)
    page = (task.folder / "page.html").read_text("utf-8")
    assert 'src="video"' in page
    assert "&lt;b&gt;my film.mp4" in page
    assert "<b>my" not in page
    assert str(task.folder) not in page
    assert "&lt;moves left&gt;" in page


def test_along_a_video_there_are_segments_subtitles_and_a_film(run: Path, task: worker.Task):
    models = worker.load_models([str(run)], "cpu")

    list(worker.answer(models, replace(task, every_seconds=0.5, annotate=True)))

    found = json.loads((task.folder / worker.ANSWERS).read_text("utf-8"))
    assert found["models"][0]["results"][0]["segments"]
    assert (task.folder / "answers.vtt").read_text("utf-8").startswith("WEBVTT")
    assert (task.folder / "annotated.mp4").stat().st_size > 0


def test_a_search_keeps_what_the_other_models_said(run: Path, task: worker.Task):
    models = worker.load_models([str(run)], "cpu")
    list(worker.answer(models, replace(task, every_seconds=0.5)))
    before = (task.folder / worker.ANSWERS).read_text("utf-8")
    page = (task.folder / "page.html").read_text("utf-8")

    list(worker.answer(models, replace(task, work="search", sentences=("a",))))

    assert (task.folder / worker.ANSWERS).read_text("utf-8") == before
    assert (task.folder / "page.html").read_text("utf-8").count("<tr>") == page.count("<tr>")


def test_a_video_beyond_the_limits_is_refused(run: Path, task: worker.Task):
    models = worker.load_models([str(run)], "cpu")

    for limited, said in (
        (replace(task, seconds_limit=1), "lasts 00:02; this server takes videos up to 00:01"),
        (replace(task, megapixels_limit=0.001), "frames of 40 x 32"),
    ):
        with pytest.raises(VideoError, match=said):
            list(worker.answer(models, limited))


@pytest.mark.slow
def test_the_process_ends_with_the_server_and_holds_to_its_memory(run: Path, task: worker.Task):
    started = subprocess.Popen(
        [sys.executable, "-m", "videozoo.serve.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdin is not None
    assert started.stdout is not None
    start = {"weights": [str(run)], "device": "cpu", "memory_mb": 30}
    started.stdin.write(f"{json.dumps(start)}\n")
    started.stdin.flush()
    assert json.loads(started.stdout.readline())["event"] == "ready"
    large = task.folder / "large.mp4"
    write_video(large, np.zeros((64, 1400, 1400, 3), np.uint8), frames_per_second=8)
    told = {
        **{
            key: str(value) if isinstance(value, Path) else value
            for key, value in vars(task).items()
        },
        **{"video": str(large), "megapixels_limit": 10, "annotate": True},
    }

    started.stdin.write(f"{json.dumps(told)}\n")
    started.stdin.flush()
    lines = [json.loads(line) for line in started.stdout]

    assert lines[0]["event"] == "progress"
    assert lines[-1]["event"] in ("failed", "progress")  # said, or died of it
    assert lines[-1].get("why", "needs more than 30 MB") == "needs more than 30 MB"
    started.communicate(timeout=30)
