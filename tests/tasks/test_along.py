"""A clip model along a video: what happens when, and a warning where one answer says too little."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import videozoo
from videozoo import cli
from videozoo.config import from_layers
from videozoo.data.frames.video import FrameArray
from videozoo.data.synthetic.clips import write_video
from videozoo.errors import ConfigError, VideoError
from videozoo.results import VideoSegments
from videozoo.runtime.along import Along, segments_along, smoothed
from videozoo.tasks.classification import Classifier
from videozoo.tasks.loading import save_trained
from videozoo.tasks.measured import Lengths, spread
from videozoo.weights.files import read_metadata

COLOURS = ("red", "green", "blue")
MODEL = '''
"""The colour of a clip."""

from pydantic import Field
from torch import nn
from videozoo.types import Classification, ClipShape, ModelSpec, Settings


class ColourSettings(Settings):
    num_classes: int = Field(default=3, ge=1)


class Colour(nn.Module):
    def __init__(self, settings):
        super().__init__()
        self.head = nn.Linear(3, settings.num_classes)

    def forward(self, clips):
        return self.head(clips.mean(dim=(1, 3, 4)))


SPEC = ModelSpec(
    title="Colour",
    task=Classification(
        clip_shape=lambda _settings: ClipShape(sampling="segments", num_steps=2)
    ),
    settings=ColourSettings,
    build=Colour,
)
'''
CLIPS = Lengths(median_seconds=1.0, max_seconds=2.0, measured=9)


def save(folder: Path, clips: Lengths | None = CLIPS) -> Path:
    """A run folder of a model that tells colours apart."""
    folder.mkdir(exist_ok=True)
    (folder / "colour.py").write_text(MODEL)
    data = {"short_side": 32, "crop_size": 32, "mean": (0, 0, 0), "std": (1, 1, 1)}
    sections = {"model": {"name": str(folder / "colour.py")}, "data": data}
    config = from_layers([("", sections)])
    module = config.spec.build(config.model)
    with torch.no_grad():
        module.get_parameter("head.weight").copy_(12 * torch.eye(3))
        module.get_parameter("head.bias").zero_()
    measured = {} if clips is None else {"clips": clips.facts}
    save_trained(folder / "best.safetensors", module, config, COLOURS, {}, measured=measured)
    (folder / "config.yaml").write_text(config.to_yaml())
    return folder


def frames_of(*parts: tuple[str, float], rate: int = 8) -> NDArray[np.uint8]:
    """Stretches of one colour, each so many seconds long; `grey` is none of the classes."""
    shown = {"grey": (90, 90, 90)} | dict(
        zip(COLOURS, ((220, 20, 20), (20, 220, 20), (20, 20, 220)), strict=True)
    )
    rows = [np.array([shown[name]] * round(seconds * rate), np.uint8) for name, seconds in parts]
    colours = np.concatenate(rows)
    return np.broadcast_to(colours[:, None, None], (len(colours), 32, 48, 3)).copy()


def film(path: Path, *parts: tuple[str, float]) -> Path:
    write_video(path, frames_of(*parts), frames_per_second=8)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return save(tmp_path / "run")


def spans(result: Any) -> list[tuple[str, float, float]]:
    return [(each.name, each.start, each.end) for each in result.segments]


def test_what_happens_when_is_written_shown_and_drawn(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    video = film(tmp_path / "a.mp4", ("red", 4), ("grey", 4), ("green", 3.25))
    out = tmp_path / "out"
    command = ["predict", "--weights", str(run), str(video), "--save-dir", str(out)]

    words = ["--every", "1", "--explain", "--set", "predict.smooth_windows=1"]
    assert cli.main([*command, *words]) == 0

    printed = capsys.readouterr()
    assert "one window per 1 s of 1 s" in printed.err
    assert "red" in printed.out
    row = json.loads((out / "predictions.json").read_text())["predictions"][0]
    found = {each["label"]: each for each in row["segments"]}
    assert set(found) == {"red", "green"}
    assert (found["red"]["start_seconds"], found["red"]["end_seconds"]) == (0, 4)
    assert (found["green"]["start_seconds"], found["green"]["end_seconds"]) == (8, 11.25)
    assert row["duration_seconds"] == pytest.approx(11.25)
    windows = row["windows"]
    assert windows["start_seconds"] == list(range(11))
    assert np.argmax([windows["scores"][name][1] for name in COLOURS]) == 0
    assert sum(windows["scores"][name][5] for name in COLOURS) == pytest.approx(1, abs=1e-4)
    with Image.open(out / row["explained"]) as picture:
        assert picture.width > 500


def test_python_gives_segments_and_the_scores_behind_them(run: Path, tmp_path: Path):
    classifier = videozoo.load(run, task="classification")
    path = film(tmp_path / "a.mp4", ("blue", 3), ("red", 3))

    (result,) = classifier.predict(path, every=0.5)
    array = FrameArray(frames_of(("blue", 3), ("red", 3)), name="b", frames_per_second=8)
    (other,) = classifier.predict(array, every=0.5, least_score=0)

    assert isinstance(result, VideoSegments)
    (first, start, middle), (second, again, end) = sorted(spans(result))
    assert (first, start, second, end) == ("blue", 0, "red", 6)
    assert middle == again == pytest.approx(3, abs=0.5)
    assert sorted(spans(other)) == sorted(spans(result))
    assert result.windows is not None
    assert result.windows.scores.shape == (12, 3)
    assert result.windows.times[-1].tolist() == [5.5, 6]
    assert result.to_dict().keys() == {"video", "duration_seconds", "segments"}


def test_windows_are_as_long_as_the_training_clips(run: Path, tmp_path: Path):
    frames = np.concatenate([frames_of(("red", 1)), frames_of(("blue", 1))] * 4)
    video = FrameArray(frames, frames_per_second=8)  # red and blue by turns, of a second each
    classifier = videozoo.load(run, task="classification")
    slow = videozoo.load(
        save(tmp_path / "b", Lengths(median_seconds=2, max_seconds=2, measured=1)),
        task="classification",
    )

    (by_the_second,) = classifier.predict(video, every=1.0, least_score=0)
    (blurred,) = slow.predict(video, every=1.0, least_score=0)

    assert by_the_second.windows is not None
    assert blurred.windows is not None
    assert by_the_second.windows.scores.max(axis=1).mean() > 0.95
    assert blurred.windows.scores[2:-2].max(axis=1).mean() < 0.95


def test_scores_are_averaged_before_they_make_segments():
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    times = np.stack((np.arange(5.0), np.arange(5.0) + 1), axis=1)
    video = Along("v", "v", 5.0, times, scores)

    alone = segments_along(video, ["a", "b"], smooth_windows=1, least_score=0.5)
    smooth = segments_along(video, ["a", "b"], smooth_windows=3, least_score=0.5)
    sure = segments_along(video, ["a", "b"], smooth_windows=3, least_score=0.7)

    assert sorted((s.start, s.end, s.name) for s in alone) == [
        (0, 1, "a"), (1, 2, "b"), (2, 3, "a"), (3, 5, "b"),
    ]  # fmt: skip
    assert sorted((s.start, s.end, s.name) for s in smooth) == [(0, 2, "a"), (2, 5, "b")]
    assert [(s.start, s.end, s.name) for s in sure] == [(4, 5, "b"), (1, 2, "a")]
    np.testing.assert_allclose(smoothed(scores, 1), scores)


def test_one_answer_for_a_far_longer_video_is_warned_about(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    short, long = film(tmp_path / "s.mp4", ("red", 2)), film(tmp_path / "l.mp4", ("red", 5))
    command = ["predict", "--weights", str(run), "--save-dir", str(tmp_path / "out")]

    assert cli.main([*command, str(short), str(long)]) == 0

    said = " ".join(capsys.readouterr().err.split())
    assert "WARNING: 1 video is far longer than a clip" in said
    assert "l.mp4 (5 s)" in said
    assert "s.mp4 (2 s)" not in said
    assert "1 s long (median), 2 s at most" in said
    assert "2 of its frames" in said
    assert "--every SECONDS" in said
    assert cli.main([*command, str(short)]) == 0
    assert "longer" not in capsys.readouterr().err
    with pytest.warns(UserWarning, match="every=SECONDS"):
        videozoo.load(run, task="classification").predict(long)


def test_of_weights_that_tell_no_lengths_only_minutes_are_remarked_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    run = save(tmp_path / "run", None)
    video = film(tmp_path / "l.mp4", ("red", 5))
    command = ["predict", "--weights", str(run), "--save-dir", str(tmp_path / "out"), str(video)]

    assert cli.main(command) == 0
    assert "longer" not in capsys.readouterr().err
    monkeypatch.setattr("videozoo.tasks.classification.lengths.LONG_SECONDS", 4)
    assert cli.main(command) == 0
    assert "note: 1 video is far longer than a clip" in capsys.readouterr().err
    assert cli.main([*command, "--every", "1"]) == 0
    assert "do not say how long the clips were" in " ".join(capsys.readouterr().err.split())


def test_frames_without_a_rate_cannot_be_cut_into_seconds(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(frames_of(("red", 1))):
        Image.fromarray(frame).save(folder / f"{number}.png")
    out = ["--save-dir", str(tmp_path / "out")]

    assert cli.main(["predict", "--weights", str(run), str(folder), "--every", "1", *out]) == 1
    assert "does not say how many frames per second" in capsys.readouterr().err
    with pytest.raises(VideoError, match="how many frames per second"):
        videozoo.load(run, task="classification").predict(frames_of(("red", 1)), every=1.0)


def test_an_unreadable_video_among_others_is_named_at_the_end(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    good, bad = film(tmp_path / "a.mp4", ("red", 2)), tmp_path / "b.mp4"
    bad.write_bytes(b"no video")
    command = ["predict", "--weights", str(run), str(good), str(bad), "--every", "1"]

    assert cli.main([*command, "--save-dir", str(tmp_path / "out")]) == 1

    assert "1 of 2 videos could not be used" in capsys.readouterr().err
    facts = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(facts["predictions"]) == 1
    assert "b.mp4" in facts["skipped"][0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--every", "0"], "every"),
        (["--every", "nan"], "every"),
        (["--every", "1", "--set", "predict.smooth_windows=2"], "odd number"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: list[str], said: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    video = film(tmp_path / "a.mp4", ("red", 1))

    assert cli.main(["predict", "--weights", str(run), str(video), *words]) != 0

    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_python_checks_its_numbers(run: Path):
    classifier = videozoo.load(run, task="classification")

    with pytest.raises(ConfigError, match="every_seconds"):
        classifier.predict(frames_of(("red", 1)), every=-1.0)


def test_a_training_stores_how_long_its_clips_are(tmp_path: Path):
    (tmp_path / "colour.py").write_text(MODEL)
    lines = [
        f"{film(tmp_path / f'{name}{seconds}.mp4', (name, seconds)).name} {label}"
        for label, name in enumerate(COLOURS)
        for seconds in (1, 2)
    ]
    (tmp_path / "train.list").write_text("\n".join(lines))
    settings = {
        "data.train": str(tmp_path / "train.list"), "data.short_side": 32, "data.crop_size": 32,
        "data.num_workers": 0, "train.epochs": 1, "train.batch_size": 2,
    }  # fmt: skip

    result = videozoo.train(
        {"model": {"name": str(tmp_path / "colour.py")}},
        settings=settings,
        save_dir=tmp_path / "run",
        device="cpu",
    )

    assert result.weights is not None
    stored = Lengths.stored(read_metadata(result.weights)["measured"], "clips")
    assert stored == Lengths(median_seconds=1.5, max_seconds=2.0, measured=6)
    assert isinstance(videozoo.load(tmp_path / "run"), Classifier)


@pytest.mark.parametrize(
    "facts", [None, {}, {"median_seconds": "1"}, CLIPS.facts | {"measured": 0}]
)
def test_lengths_that_make_no_sense_are_not_believed(facts: Any):
    assert Lengths.stored({"clips": facts}, "clips") is None
    assert Lengths.stored({"clips": CLIPS.facts}, "clips") == CLIPS


def test_a_long_list_is_looked_at_in_part():
    assert spread(range(1001), 3) == [0, 500, 1000]
    assert len(spread(range(1000))) == 200
