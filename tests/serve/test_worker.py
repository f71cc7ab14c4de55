"""What the worker says of a video is what the models say of it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import videozoo
from videozoo.config import from_layers
from videozoo.data.synthetic.clips import write_video
from videozoo.errors import ConfigError, DataError, UsageError, VideoError
from videozoo.results import Segment, VideoSegments
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


def test_a_file_that_browsers_do_not_play_has_pictures(run: Path, task: worker.Task):
    video = task.video.rename(task.video.with_suffix(".avi"))  # by its ending
    models = worker.load_models([str(run)], "cpu")

    list(worker.answer(models, replace(task, video=video)))

    page = (task.folder / "page.html").read_text("utf-8")
    assert "<video" not in page
    assert page.count('class="frame"') > 1


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


def test_a_remark_is_in_the_words_of_the_page(run: Path, task: worker.Task):
    write_video(task.video, np.zeros((130, 32, 32, 3), np.uint8), frames_per_second=1)
    models = worker.load_models([str(run)], "cpu")

    list(worker.answer(models, replace(task, seconds_limit=999)))

    page = (task.folder / "page.html").read_text("utf-8")
    assert "far longer than a clip: &lt;b&gt;my film.mp4" in page
    assert "send it again with &quot;An answer every so many seconds&quot; filled in" in page
    assert "predict(" not in page


class Finder:
    """Finds two segments, without names unless it is given a classifier."""

    class_names = ()
    vectors_per_second = None
    config = from_layers([("", {"model": {"name": "bmn"}})])
    fails = False

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def predict(self, path: str, *, labels: Any = None) -> list[VideoSegments]:
        self.asked.append(labels)
        if self.fails:
            raise DataError(f"{path}: too short for it, see /srv/runs/bmn/config.yaml (line 3)")
        name = None if labels is None else labels.class_names[0]
        found = tuple(Segment(n, n + 1.0, 0.5, name) for n in range(2))
        return [VideoSegments(video=path, duration_seconds=2.0, segments=found)]


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> Finder:
    """A localiser under the name `finder`, and real models under the others."""
    made, load = Finder(), worker.load_model

    def either(name: str, device: Any) -> Any:
        return made if name.endswith("finder") else load(name, device)

    monkeypatch.setattr(worker, "load_model", either)
    return made


def test_segments_get_the_names_of_a_classifier(run: Path, task: worker.Task, finder: Finder):
    models = worker.load_models([str(run), "finder"], "cpu", str(run))

    list(worker.answer(models, task))

    assert [each["named_by"] for each in worker.described(models)] == [None, "TSM"]
    assert finder.asked == [models[0].predictor]  # loaded once for both
    found = json.loads((task.folder / worker.ANSWERS).read_text("utf-8"))
    named = {each["name"] for each in found["models"][1]["results"][0]["segments"]}
    assert named == {models[0].predictor.class_names[0]}


@pytest.mark.parametrize(
    ("weights", "labels", "said"),
    [
        ("finder", "other finder", "BMN does not classify clips of videos; name a run of a model"),
        ("run", "run", "none of the models finds segments without names; leave it out"),
    ],
)
@pytest.mark.usefixtures("finder")
def test_a_run_that_cannot_name_segments_is_refused(
    run: Path, weights: str, labels: str, said: str
):
    words = [str(run) if each == "run" else each for each in (weights, labels)]

    with pytest.raises(UsageError, match=said):
        worker.load_models([words[0]], "cpu", words[1])


def test_weights_that_need_a_configuration_are_told_in_words_of_the_command(tmp_path: Path):
    (tmp_path / "empty").mkdir()

    with pytest.raises(ConfigError, match=r"pass --config .* to `videozoo export`; serve takes"):
        worker.load_models([str(tmp_path / "empty")], "cpu")


@pytest.mark.usefixtures("finder")
def test_models_of_one_kind_are_told_apart():
    paths = ["/runs/a/finder", "/runs/b/finder", "/old/a/finder"]

    titles = [each.title for each in worker.load_models(paths, "cpu")]

    assert titles == ["BMN, runs/a/finder", "BMN, b/finder", "BMN, old/a/finder"]


def test_a_model_without_an_answer_does_not_spoil_the_others(
    run: Path, task: worker.Task, finder: Finder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(finder, "fails", True)
    models = worker.load_models([str(run), "finder"], "cpu")

    list(worker.answer(models, task))

    found = json.loads((task.folder / worker.ANSWERS).read_text("utf-8"))
    assert [each["title"] for each in found["models"]] == ["TSM"]
    assert found["notes"] == ["BMN says nothing: too short for it, see config.yaml (line 3)"]
    with pytest.raises(DataError, match="too short"):
        list(worker.answer(models[1:], task))


@pytest.mark.slow
def test_exported_models_answer_as_the_run_does(run: Path, task: worker.Task):
    graph = videozoo.load(run).export(run.parent / "served.onnx", overwrite=True)
    models = worker.load_models([str(run), str(graph)], "cpu")

    list(worker.answer(models, replace(task, every_seconds=0.5)))

    found = json.loads((task.folder / worker.ANSWERS).read_text("utf-8"))
    assert [each["title"] for each in found["models"]] == [
        f"TSM, {run.name}", "TSM, served.onnx"
    ]  # fmt: skip
    ours, graphs = (each["results"][0]["segments"] for each in found["models"])
    assert [each["name"] for each in ours] == [each["name"] for each in graphs] != []
    assert [each["score"] for each in graphs] == pytest.approx([s["score"] for s in ours], abs=1e-4)


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
    start = {"weights": [str(run)], "labels": None, "device": "cpu", "memory_mb": 30}
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
    assert lines[-1]["event"] == "failed"
    assert lines[-1]["why"].startswith("needs more than 30 MB of memory, which is all that this")
    started.communicate(timeout=30)
