"""Models that read features, on videos: features are made, kept and found again."""

from __future__ import annotations

import json
import pickle
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from filelock import FileLock

import videozoo
from tests.data.test_clips import make_video
from videozoo import cli
from videozoo.config import from_layers
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.frames.video import open_video
from videozoo.data.synthetic.world import World, make_world
from videozoo.errors import DataError
from videozoo.results import VideoSegments
from videozoo.tasks import encoding as encoding_module
from videozoo.tasks import extractor as extractor_module
from videozoo.tasks import kept_encoder as kept_encoder_module
from videozoo.tasks.encoding import kept_folder
from videozoo.tasks.extractor import Extractor
from videozoo.tasks.kept_encoder import open_encoder
from videozoo.tasks.loading import save_trained

Capture = pytest.CaptureFixture[str]
DIM = 64
ENDS = ("start", "end")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    sizes: dict[str, Any] = {"size": 36, "frames_per_second": 6}
    counts = {"num_train": 4, "num_val": 2, "num_test": 1}
    folder = tmp_path_factory.mktemp("world")
    return make_world(folder, **counts, seed=0, min_seconds=8, max_seconds=9, **sizes)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("clip") / "tsn.safetensors", seed=0)


def save(path: Path, *, seed: int) -> Path:
    model = {"name": "tsn", "num_classes": 3, "depth": 18, "width": 0.125, "num_segments": 2}
    data = {"short_side": 34, "crop_size": 32}
    config = from_layers([("", {"model": model, "data": data})])
    torch.manual_seed(seed)
    save_trained(path, config.spec.build(config.model), config, None, {})
    return path


def run(*words: str | Path) -> int:
    return cli.main([str(word) for word in words])


def localiser(name: str, **model: Any) -> Path:
    """A small configuration without any data."""
    sections = {
        "model": {"name": name, **model},
        "data": {"num_workers": 0, "test_subset": "testing"},
        "train": {"epochs": 1, "batch_size": 2},
    }
    Path(f"{name}.yaml").write_text(yaml.safe_dump(sections))
    return Path(f"{name}.yaml")


def bmn() -> Path:
    return localiser("bmn", num_steps=16, num_durations=16, num_samples=4)


def train(config: Path, world: World, encoder: Path, save_dir: str, *more: str | Path) -> int:
    videos = world.videos[0].path.parent
    words = ["--videos", videos, "--annotations", world.folder / "annotations.json"]
    return run(
        *("train", "--config", config, *words, "--encoder", encoder, "--save-dir", save_dir),
        *more,
    )


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The videos that are opened from now on, to make features."""
    opened: list[str] = []
    real = extractor_module.open_video

    def noted(path: Path) -> Any:
        opened.append(path.stem)
        return real(path)

    monkeypatch.setattr(extractor_module, "open_video", noted)
    return opened


def test_one_command_learns_from_videos_and_one_answers_on_them(
    world: World, weights: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    moved = Path(shutil.copy(weights, tmp_path / "mine.safetensors"))
    assert train(bmn(), world, moved, "run") == 0
    said = capsys.readouterr().err
    assert "model.feature_dim is 64, as the features are" in said
    assert "encoder: TSN, kept" in said
    moved.unlink()  # the run has what it needs
    opened = decoded(monkeypatch)

    video = world.split("test")[0].path
    new = Path(shutil.copy(video, tmp_path / "unseen.mp4"))
    assert run("predict", "--weights", "run", new) == 0

    found = json.loads(Path("run/predict/unseen/predictions.json").read_text())["predictions"]
    assert found[0]["video"] == "unseen"
    assert found[0]["duration_seconds"] == pytest.approx(world.split("test")[0].duration_seconds)
    assert found[0]["segments"]
    assert opened == ["unseen"]


def test_encoders_are_opened_once_in_a_training(
    world: World, weights: Path, monkeypatch: pytest.MonkeyPatch
):
    opened: list[str] = []

    def noted(text: str, options: Any = None) -> Any:
        opened.append(text)
        return open_encoder(text, options)

    for module in (encoding_module, kept_encoder_module):
        monkeypatch.setattr(module, "open_encoder", noted)

    assert train(bmn(), world, weights, "run") == 0

    assert opened == [str(weights)]
    assert Path("run/encoder/encoder.json").is_file()


def test_a_second_model_on_the_same_videos_decodes_nothing_again(
    world: World, weights: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    opened = decoded(monkeypatch)
    assert train(bmn(), world, weights, "run") == 0
    assert len(opened) == len(world.videos)
    opened.clear()

    ctcn = localiser("ctcn", width=0.125, num_classes=99)
    streams = ["--set", "data.streams=[rgb_of_2019, flow_of_2019]"]  # as `ctcn` has them
    assert train(ctcn, world, weights, "other", *streams) == 0
    names = json.loads(Path("other/start.json").read_text())["class_names"]
    assert run("eval", "--weights", "run") == 0
    assert run("predict", "--weights", "run", "--weights", "other", world.videos[0].path) == 0

    assert opened == []
    settings = yaml.safe_load(Path("other/config.yaml").read_text())
    assert settings["model"]["num_classes"] == len(names) + 1  # and the background

    words = ["--labels", weights, world.videos[0].path]
    assert run("predict", "--weights", "other", *words) == 0
    assert "--labels is not used: C-TCN names its segments itself" in capsys.readouterr().err


def test_a_stopped_making_of_features_is_continued_and_ends_with_the_same(
    world: World, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    once, videos = Extractor.extract, world.videos[0].path.parent

    def made() -> dict[str, Any]:
        folder = kept_folder(videos, Extractor([open_encoder(str(weights))], device="cpu"))
        files = FeatureFiles(folder)
        return {name: files.read(name) for name in files}

    assert train(bmn(), world, weights, "whole") == 0
    whole = made()
    shutil.rmtree(tmp_path / "cache")
    done: list[Any] = []

    def stopped(self: Extractor, video: Any, **more: Any) -> Any:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(video)
        return once(self, video, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Extractor, "extract", stopped)
        assert train(bmn(), world, weights, "stopped") == 130
    assert not Path("stopped").exists()
    opened = decoded(monkeypatch)

    assert train(bmn(), world, weights, "stopped") == 0

    assert len(opened) == len(world.videos) - 3
    assert made().keys() == whole.keys()
    for name, features in made().items():
        np.testing.assert_array_equal(features, whole[name])


def test_a_video_that_changed_is_done_again(
    world: World, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert train(bmn(), world, weights, "run") == 0
    first, second = (video.path for video in world.videos[:2])
    mine = Path(shutil.copy(first, tmp_path / "a.mp4"))
    opened = decoded(monkeypatch)
    assert run("predict", "--weights", "run", mine) == 0
    shutil.copy(second, mine)

    assert run("predict", "--weights", "run", mine, "--save-dir", "again") == 0

    assert opened == ["a", "a"]
    found = json.loads(Path("again/predictions.json").read_text())["predictions"]
    assert found[0]["duration_seconds"] == pytest.approx(world.videos[1].duration_seconds)


def test_another_encoder_is_refused_and_the_difference_is_named(
    world: World, weights: Path, tmp_path: Path, capsys: Capture
):
    assert train(bmn(), world, weights, "run") == 0
    other = save(tmp_path / "other.safetensors", seed=1)
    capsys.readouterr()

    assert run("predict", "--weights", "run", "--encoder", other, world.videos[0].path) == 1
    assert "weights_sha256" in capsys.readouterr().err
    for flag in ("--rate", "--window-seconds"):
        assert run("predict", "--weights", "run", flag, "0", world.videos[0].path) == 2
        assert f"{flag} 0: expected" in capsys.readouterr().err
    assert run("predict", "--weights", "run", "--rate", "3", world.videos[0].path) == 1
    assert "rate 3" in capsys.readouterr().err


def test_vectors_of_several_encoders_are_joined(
    world: World, weights: Path, tmp_path: Path, capsys: Capture
):
    other = save(tmp_path / "other.safetensors", seed=1)
    assert train(bmn(), world, weights, "run", "--encoder", other) == 0
    assert "model.feature_dim is 128" in capsys.readouterr().err
    encoders = [open_encoder(str(path)) for path in (weights, other)]
    video = world.videos[0].path

    joined = Extractor(encoders, device="cpu").extract(video).streams["rgb"]

    apart = [Extractor([one], device="cpu").extract(video).streams["rgb"] for one in encoders]
    np.testing.assert_array_equal(joined, np.concatenate(apart, axis=1))
    assert run("predict", "--weights", "run", video) == 0


def test_extract_takes_all_settings_from_a_run(world: World, weights: Path, tmp_path: Path):
    assert train(bmn(), world, weights, "run", "--rate", "3", "--window-seconds", "1") == 0

    assert run("extract", "--for", "run", "--output", "made", world.videos[0].path) == 0

    made = json.loads(Path("made/extractor.json").read_text())["extractor"]
    assert (made["rate"], made["window_seconds"]) == (3, 1)
    assert run("predict", "--weights", "run", "made") == 0


def test_bad_videos_are_left_out_and_named(
    world: World, weights: Path, tmp_path: Path, capsys: Capture
):
    assert train(bmn(), world, weights, "run") == 0
    bad, good = tmp_path / "bad.mp4", world.videos[0].path
    bad.write_bytes(b"no video")
    capsys.readouterr()

    assert run("predict", "--weights", "run", bad, good) == 1
    said = capsys.readouterr()
    assert good.stem in said.out
    assert "1 of 2 videos could not be used" in said.err
    assert run("predict", "--weights", "run", bad) == 1
    assert run("predict", "--weights", "run", bad, good, "--skip-bad") == 0

    videos = tmp_path / "videos"
    shutil.copytree(good.parent, videos)
    for video in world.videos[:2]:
        shutil.copy(bad, videos / video.path.name)
    capsys.readouterr()
    words = ["--videos", videos, "--annotations", world.folder / "annotations.json"]
    words += ["--encoder", weights, "--save-dir", "second"]
    assert run("train", "--config", bmn(), *words) == 1
    assert "2 of 7 videos cannot be read, more than data.bad_video_share=0.05" in (
        capsys.readouterr().err
    )


def test_videos_of_one_name_in_two_folders_have_an_answer_each_from_python(
    world: World, weights: Path
):
    assert train(bmn(), world, weights, "run") == 0
    paths: list[Path] = []
    for folder, video in zip(("x", "y"), world.videos, strict=False):
        Path(folder).mkdir()
        paths.append(Path(shutil.copy(video.path, Path(folder, "b.mp4"))))
    predictor = videozoo.load("run", device="cpu")

    results = predictor.predict(*paths)

    assert [one.video for one in results] == ["x__b", "y__b"]
    assert [one.video for one in predictor.predict("x", "y")] == ["x__b", "y__b"]
    alone = [predictor.predict(path)[0] for path in paths]
    assert [one.video for one in alone] == ["b", "b"]
    for one, other in zip(alone, results, strict=True):
        assert isinstance(one, VideoSegments)
        assert isinstance(other, VideoSegments)
        assert one.segments == other.segments
    with videozoo.open_video(paths[0]) as first, videozoo.open_video(paths[1]) as second:
        opened = predictor.predict(first, second)
    assert [one.video for one in opened] == ["x__b", "y__b"]


def test_annotations_of_one_of_two_videos_of_one_name_find_it(world: World, weights: Path):
    Path("v/x").mkdir(parents=True)
    Path("v/y").mkdir()
    for place, video in zip(("x/b", "y/b", "c", "d"), world.videos, strict=False):
        shutil.copy(video.path, f"v/{place}.mp4")
    rows = [f"v/{place}.mp4,1,2,move,train" for place in ("x/b", "c", "d")]
    Path("own.csv").write_text("\n".join(["video,start,end,label,subset", *rows]))
    words = ["--videos", "v", "--annotations", "own.csv", "--encoder", weights, "--save-dir", "r"]

    parts = ["--set", "data.train_subset=train", "--set", "data.val_subset=train"]
    assert run("train", "--config", bmn(), *words, *parts) == 0

    kept = sorted(path.stem for path in Path("cache").rglob("*.npz"))
    assert kept == ["c", "d", "x__b"]


@pytest.mark.parametrize("door", ["clips", "along", "features", "extract"])
def test_what_is_not_there_is_told_and_the_others_are_answered(
    door: str, world: World, weights: Path, capsys: Capture
):
    first, second = (str(video.path) for video in world.videos[:2])
    Path("list.txt").write_text(f"{second}\ngone.mp4\n")
    Path("empty").mkdir()
    words: list[str | Path] = ["predict", "--weights", weights, "--save-dir", "made"]
    if door == "along":
        words += ["--every", "2"]
    elif door == "features":
        assert train(bmn(), world, weights, "run") == 0
        words[2] = "run"
    elif door == "extract":
        words = ["extract", "--encoder", weights, "--output", "made", "--format", "npz"]
    capsys.readouterr()

    assert run(*words, first, "lost.mp4", "list.txt", "no/*.mp4", "empty") == 1

    said = capsys.readouterr().err
    assert "4 of 6 videos could not be used; the others are done" in said
    report = said[said.index("4 of 6") :]
    for line in ("lost.mp4: no such file", "list.txt:2: no such video 'gone.mp4'", "no/*.mp4: no"):
        assert line in report
    assert "empty: no videos in this folder" in report
    if door == "extract":
        made = sorted(path.stem for path in Path("made").glob("*.npz"))
    else:
        facts = json.loads(Path("made/predictions.json").read_text())
        made = sorted(Path(one["video"]).stem for one in facts["predictions"])
        assert len(facts["skipped"]) == 4
        assert facts["inputs"][:2] == [first, "lost.mp4"]
    assert made == sorted(Path(path).stem for path in (first, second))

    assert run(*words, first, "lost.mp4", "--strict") == 1
    assert "lost.mp4: no such file" in capsys.readouterr().err
    assert run(*words, first, "lost.mp4", "--skip-bad") == 0
    for alone, line in (("lost.mp4", "no such file"), ("empty", "no videos in this folder")):
        capsys.readouterr()
        assert run(*words, alone) == 1
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"videozoo: {alone}: {line}")


def test_a_rate_above_the_frame_rate_is_told_at_every_door(
    world: World, weights: Path, capsys: Capture
):
    videos, said = world.videos[0].path.parent, "--rate 9 is above the frame rate of"
    assert train(bmn(), world, weights, "run", "--rate", "9") == 0
    error = capsys.readouterr().err
    assert f"{said} 7 of 7 videos, such as " in error
    assert error.count("has 6 frames per second") == 2  # with the first video, and at the end
    for again in ("made now", "kept before"):
        assert run("predict", "--weights", "run", world.split("test")[0].path) == 0
        assert f"{said} 1 of 1 video, such as " in capsys.readouterr().err, again
    words = ["extract", "--encoder", weights, "--output", "made", videos, "--rate"]
    assert run(*words, "9") == 0
    assert f"{said} 7 of 7 videos" in capsys.readouterr().err
    assert run(*words, "6", "--overwrite") == 0
    assert "frame rate" not in capsys.readouterr().err


def test_kept_features_that_are_damaged_are_told_by_the_name_of_the_video(
    world: World, weights: Path, capsys: Capture
):
    assert train(bmn(), world, weights, "run") == 0
    first, second = (str(video.path) for video in world.videos[:2])
    assert run("predict", "--weights", "run", first, second) == 0
    (kept,) = Path("cache").rglob(f"{Path(first).stem}.npz")
    kept.write_bytes(b"no features")
    capsys.readouterr()

    assert run("predict", "--weights", "run", first, "lost.mp4", second) == 1

    said = capsys.readouterr().err
    assert ".npz" not in said.replace("a readable .npz file", "")
    assert "2 of 3 videos could not be used" in said
    assert f"{first}: not a readable" in said
    assert f"kept in {kept.parent.absolute()}; without that they are made again" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--videos", "VIDEOS"], "data.videos needs an encoder"),
        (["--videos", "VIDEOS", "--encoder", "nothing.onnx"], "nothing.onnx"),
        (["--videos", "EMPTY", "--encoder", "WEIGHTS"], "no videos in this folder"),
        (["--videos", "gone", "--encoder", "WEIGHTS"], "gone: no such file or folder"),
        (["--videos", "VIDEOS", "--encoder", "WEIGHTS", "--pooling", "mean"], "no choice of"),
        (["--videos", "VIDEOS", "--encoder", "WEIGHTS", "--rate", "0"], "data.rate"),
        (["--data", "VIDEOS"], "BMN learns from annotated videos: --videos DIR --annotations"),
        (
            ["--annotations", "gone.json", "--videos", "VIDEOS", "--encoder", "WEIGHTS"],
            "of VIDEOS?",
        ),
    ],
)
def test_mistakes_are_told_before_anything_is_made(
    words: list[str], said: str, world: World, weights: Path, capsys: Capture, tmp_path: Path
):
    (tmp_path / "EMPTY").mkdir()
    places = {"VIDEOS": world.videos[0].path.parent, "WEIGHTS": weights}
    named = [places.get(word, word) for word in words]
    annotations = world.folder / "annotations.json"

    if not {"--data", "--annotations"}.intersection(words):
        named += ["--annotations", annotations]

    status = run("train", "--config", bmn(), *named)

    error = capsys.readouterr().err
    assert status in (1, 2)
    assert said.replace("VIDEOS", str(places["VIDEOS"])) in error
    assert " per second, of " not in error  # nothing is made
    assert "Traceback" not in error
    assert not Path("runs").exists()


def test_weights_that_do_not_know_their_encoder_ask_for_it(
    world: World, weights: Path, tmp_path: Path, capsys: Capture
):
    config = from_layers(
        [("", {"model": {"name": "bmn", "feature_dim": DIM, "num_steps": 16, "num_durations": 16}})]
    )
    save_trained(tmp_path / "x.safetensors", config.spec.build(config.model), config, None, {})
    video = world.videos[0].path

    assert run("predict", "--weights", "x.safetensors", video) == 1
    assert "do not say what makes them; name one: --encoder" in capsys.readouterr().err
    assert run("predict", "--weights", "x.safetensors", "--encoder", weights, video) == 0
    assert "does not say what made the features" in capsys.readouterr().err


def test_a_clip_model_needs_no_encoder(world: World, weights: Path, capsys: Capture):
    video = world.videos[0].path

    assert run("predict", "--weights", weights, "--encoder", weights, video) == 2
    assert "looks at videos itself" in capsys.readouterr().err


def test_python_answers_on_paths_and_open_videos(
    world: World, weights: Path, monkeypatch: pytest.MonkeyPatch
):
    assert train(bmn(), world, weights, "run") == 0
    path = world.videos[0].path
    predictor = videozoo.load("run", device="cpu")

    (by_path,) = predictor.predict(path)
    with open_video(path) as video:
        (by_video,) = predictor.predict(video)
    again = pickle.loads(pickle.dumps(predictor)).predict([str(path)])

    assert by_path.video == by_video.video == path.stem
    assert by_path == by_video
    assert again == [by_path]
    frames = np.zeros((4, 36, 36, 3), np.uint8)
    with pytest.raises(DataError, match="how many frames per second"):
        predictor.predict(frames)
    bad = Path("bad.mp4")
    bad.write_bytes(b"no video")
    with pytest.raises(DataError, match=r"bad\.mp4"):
        predictor.predict(bad)
    with pytest.warns(UserWarning, match=r"bad\.mp4"):
        assert predictor.predict(bad, path, strict=False) == [by_path]


class OwnReader:
    """As a user writes one: a few lines around frames."""

    def __init__(self, frames: Any, frames_per_second: Any = None) -> None:
        self._frames, self.num_frames = frames, len(frames)
        if frames_per_second is not None:
            self.frames_per_second = frames_per_second

    def read(self, indices: Any) -> Any:
        return self._frames[list(indices)]


def test_a_reader_of_ones_own_is_a_video_for_every_model(world: World, weights: Path):
    assert train(bmn(), world, weights, "run") == 0
    path = world.videos[0].path
    with open_video(path) as video:
        frames, rate = video.read(range(video.num_frames)), video.info.frames_per_second
    localiser = videozoo.load("run", device="cpu", task="localisation")
    classifier = videozoo.load(weights, device="cpu", task="classification")
    own = OwnReader(frames, rate)

    (by_path,), (by_reader,) = localiser.predict(path), localiser.predict(own)
    assert by_reader.segments == by_path.segments
    (whole,), (of_reader,) = classifier.predict(path), classifier.predict(own)
    assert of_reader.labels == whole.labels
    (along,), (own_along,) = (classifier.predict(one, every=2.0) for one in (path, own))
    assert own_along.segments == along.segments
    # whole videos of frames need no rate; one error says what else is missing
    assert len(classifier.predict(OwnReader(torch.from_numpy(frames)))) == 1
    gone = OwnReader(frames, rate)
    del gone.num_frames
    for wrong, said in (
        (OwnReader(frames), "a reader of your own says it by `frames_per_second`"),
        (OwnReader(frames, "fast"), "`frames_per_second` is no number"),
        (OwnReader(frames, 0), "`frames_per_second` is 0, expected more than 0"),
        (OwnReader(frames / 255.0, rate), r"type float64, expected RGB frames uint8 \("),
        (
            OwnReader(np.zeros((8, 32, 32), np.uint8), rate),
            r"of 1 frame returned an array of shape \(1, 32, 32\)",
        ),
        (gone, "a OwnReader without `num_frames`; a reader of your own has `num_frames`"),
    ):
        with pytest.raises(DataError, match=said):
            localiser.predict(wrong)


def test_windows_of_videos_are_learnt_from_and_answered_on(
    world: World, weights: Path, capsys: Capture
):
    assert train(bmn(), world, weights, "run", "--rate=4", "--set=data.window_seconds=4") == 0
    assert "windows of 4 s, one every 2 s" in capsys.readouterr().err
    video = world.split("test")[0]

    assert run("predict", "--weights", "run", "--save-dir", "out", video.path) == 0

    (row,) = json.loads(Path("out/predictions.json").read_text())["predictions"]
    assert row["duration_seconds"] == pytest.approx(video.duration_seconds, abs=0.2)
    ends = [each["end_seconds"] for each in row["segments"]]
    assert 4 < max(ends) <= row["duration_seconds"]  # seconds of the video, not of a window


def test_events_to_describe_come_from_a_localiser_or_a_file(
    world: World, weights: Path, capsys: Capture
):
    sizes = {"embedding_size": 8, "gru_size": 8, "decoder_size": 8, "word_size": 8}
    sections = {
        "model": {"name": "ets", **sizes},
        "data": {"num_workers": 0, "min_word_count": 1},
        "train": {"epochs": 1, "batch_size": 4},
        "predict": {"max_length": 4},
    }
    Path("ets.yaml").write_text(yaml.safe_dump(sections))
    sentences = world.folder / "captions_train.json"
    words = ["--videos", world.videos[0].path.parent, "--annotations", sentences]
    assert (
        run("train", "--config", "ets.yaml", *words, "--encoder", weights, "--save-dir", "e") == 0
    )
    assert train(bmn(), world, weights, "run") == 0
    one, two = (video.path for video in world.videos[:2])

    def described(*more: str | Path) -> list[tuple[Any, ...]]:
        assert run("predict", "--weights", "e", one, two, *more, "--save-dir", "out") == 0
        rows = json.loads(Path("out/predictions.json").read_text())["predictions"]
        return [(row["video"], *(round(row[f"{end}_seconds"], 2) for end in ENDS)) for row in rows]

    lengths = [round(video.duration_seconds, 2) for video in world.videos[:2]]
    assert [row[1:] for row in described()] == [(0, end) for end in lengths]  # whole videos
    assert "described as one event" in capsys.readouterr().err
    found = described("--events", "run")
    assert {name for name, *_ in found} == {one.stem, two.stem}
    assert all(end - start >= 0.5 for _, start, end in found)
    assert run("predict", "--weights", "run", one, two, "--save-dir", "found") == 0
    assert described("--events", "found/results.json") == found
    truth = [
        (video.name, round(event.start_seconds, 2), round(event.end_seconds, 2))
        for video in world.videos[:2]
        for event in video.events
    ]
    assert sorted(described("--events", sentences)) == sorted(truth)
    assert run("predict", "--weights", "e", one, "--events", weights) == 2
    assert "finds no segments" in capsys.readouterr().err
    assert run("predict", "--weights", "run", one, "--events", "run") == 2

    Path("bad.mp4").write_bytes(b"no video")
    still = make_video(Path("still.mp4"), frames=1)
    capsys.readouterr()
    words = ["--weights", "e", "--weights", "run", "--save-dir", "both"]
    assert run("predict", *words, one, "bad.mp4", "lost.mp4", still) == 1
    said = capsys.readouterr().err
    for line in ("failed: bad.mp4:", "failed: lost.mp4:", "2 of 4 videos could not be used"):
        assert said.count(line) == 1  # of both models together
    assert "events could not" not in said
    assert "note: still.mp4: one frame; times, and all that needs motion, mean nothing" in said
    assert "features: 0 vectors" not in said
    rows = json.loads(Path("both/e/predictions.json").read_text())["predictions"]
    ends = {row["video"]: row["end_seconds"] for row in rows}
    assert ends == {one.stem: pytest.approx(lengths[0], abs=0.01), "still": pytest.approx(0.1)}


def test_sentences_of_ones_own_need_no_vectors(world: World, weights: Path, capsys: Capture):
    config = localiser("tall", sentence_dim=16, semantic_size=8, hidden_size=8)
    sections = yaml.safe_load(config.read_text())
    sections["data"] = {"num_workers": 0, "sentences": {"encoder": "given"}}  # as in `tall`
    config.write_text(yaml.safe_dump(sections))
    words = ["train", "--config", config, "--videos", world.videos[0].path.parent, "--encoder"]
    words += [weights, "--annotations", world.folder / "queries_train.txt", "--save-dir", "t"]

    assert run(*words) == 0
    assert "sentences become vectors by the built-in encoder" in capsys.readouterr().err
    assert run(*words, "--set", "data.sentences.encoder=given") == 1
    assert "data.sentences.file is not set" in capsys.readouterr().err


def test_what_is_no_video_is_answered_by_what_it_is(
    world: World, weights: Path, tmp_path: Path, capsys: Capture
):
    assert train(bmn(), world, weights, "run") == 0
    for name in ("others/notes.docx", "film.dat"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"some bytes")
    capsys.readouterr()

    assert run("predict", "--weights", "run", "others") == 1
    said = capsys.readouterr().err
    assert "others: no videos in this folder (known: .264 " in said
    assert "no features that BMN reads" in said
    assert "HDF5" not in said
    assert run("predict", "--weights", "run", "film.dat") == 1
    assert "film.dat: not a video, and no features of videos" in capsys.readouterr().err
    shutil.copy(world.videos[0].path, "film.dat")  # a video is one under any name
    assert run("predict", "--weights", "run", "film.dat") == 0


def test_only_annotated_videos_are_made_and_other_names_are_told_first(
    world: World, weights: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    videos = tmp_path / "videos"
    shutil.copytree(world.videos[0].path.parent, videos)
    shutil.copy(world.videos[0].path, videos / "of_another_day.mp4")
    opened = decoded(monkeypatch)
    annotations = ["--annotations", world.folder / "annotations.json", "--encoder", weights]

    assert run("train", "--config", bmn(), "--videos", videos, *annotations) == 0

    assert "1 of 8 videos" in capsys.readouterr().err
    assert "of_another_day" not in opened
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(world.videos[0].path, other / "x.mp4")
    opened.clear()
    words = ["--videos", other, *annotations, "--save-dir", "second"]
    assert run("train", "--config", bmn(), *words) == 1
    assert "none of the 1 video here, such as 'x', is annotated" in capsys.readouterr().err
    assert opened == []


def test_two_commands_do_not_make_the_same_features_at_once(
    world: World, weights: Path, monkeypatch: pytest.MonkeyPatch
):
    extractor = Extractor([open_encoder(str(weights))], device="cpu")
    folder = kept_folder(world.videos[0].path.parent, extractor)
    folder.parent.mkdir(parents=True)
    is_held = threading.Event()

    def hold() -> None:
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            is_held.set()
            time.sleep(2)

    threading.Thread(target=hold).start()
    assert is_held.wait(10)
    opened = decoded(monkeypatch)
    started = time.monotonic()

    assert train(bmn(), world, weights, "run") == 0

    assert time.monotonic() - started > 1
    assert len(opened) == len(world.videos)


def test_videos_are_found_again_however_their_path_is_written(
    world: World, weights: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(world.videos[0].path.parent, "here")
    opened = decoded(monkeypatch)
    words = ["--videos", "here", "--annotations", world.folder / "annotations.json"]
    assert run("train", "--config", bmn(), *words, "--encoder", weights, "--save-dir", "run") == 0
    opened.clear()

    assert run("eval", "--weights", "run") == 0
    name = world.videos[0].path.name
    assert run("predict", "--weights", "run", f"here/{name}", Path("here", name).absolute()) == 0

    assert opened == []


def test_videos_of_one_name_in_two_folders_are_two_videos(world: World, weights: Path):
    assert train(bmn(), world, weights, "run") == 0
    for folder, video in zip("ab", world.videos, strict=False):
        Path("clips", folder).mkdir(parents=True)
        shutil.copy(video.path, Path("clips", folder, "001.mp4"))

    assert run("predict", "--weights", "run", "clips", "--save-dir", "out") == 0

    found = json.loads(Path("out/predictions.json").read_text())["predictions"]
    seconds = {one["video"]: one["duration_seconds"] for one in found}
    assert seconds == {
        "a__001": pytest.approx(world.videos[0].duration_seconds),
        "b__001": pytest.approx(world.videos[1].duration_seconds),
    }


def test_a_video_that_cannot_be_read_any_more_has_no_answer(
    world: World, weights: Path, capsys: Capture
):
    assert train(bmn(), world, weights, "run") == 0
    shutil.copytree(world.videos[0].path.parent, "here")
    assert run("predict", "--weights", "run", "here") == 0
    Path("here", world.videos[0].path.name).write_bytes(b"no video any more")
    capsys.readouterr()

    assert run("predict", "--weights", "run", "here", "--save-dir", "out") == 1

    assert "1 of 7 videos could not be used" in capsys.readouterr().err
    found = json.loads(Path("out/predictions.json").read_text())["predictions"]
    assert {one["video"] for one in found} == {video.name for video in world.videos[1:]}


def test_damage_is_told_at_every_use_of_the_features(world: World, weights: Path, capsys: Capture):
    content = bytearray(world.videos[0].path.read_bytes())
    for place in range(2000, len(content) - 3000, 97):
        content[place] ^= 0x55
    assert train(bmn(), world, weights, "run") == 0
    Path("broken.mp4").write_bytes(content)

    for _ in range(2):
        capsys.readouterr()
        assert run("predict", "--weights", "run", "broken.mp4") == 0
        assert "damaged: broken.mp4: " in capsys.readouterr().err


def test_options_of_an_encoder_are_not_ignored(world: World, weights: Path, capsys: Capture):
    assert train(bmn(), world, weights, "run") == 0
    video = world.videos[0].path
    capsys.readouterr()

    assert run("predict", "--weights", "run", "--pooling", "mean", video) == 2
    assert "only with --encoder: --pooling" in capsys.readouterr().err
    assert run("predict", "--weights", "run", "--rate", "4", video) == 1
    assert "leave out --rate: then they are made as in training" in capsys.readouterr().err
    assert run("predict", "--weights", "run", "--every", "2", video) == 2
    assert "--every: not for BMN" in capsys.readouterr().err
    assert run("extract", "--encoder", "resnet51", "--output", "out", video) == 1
    assert "`videozoo encoders` lists encoders by name" in capsys.readouterr().err


def test_the_precision_of_an_encoder_is_told_and_stays_with_the_run(
    world: World, weights: Path, capsys: Capture
):
    pytest.importorskip("transformers")
    from tests.encoders.tiny_models import build, save

    encoder, video = save(build("vit"), Path("vit")), world.videos[0].path
    fast = ["--encoder-precision", "bf16"]
    words = ["extract", video, "--format", "npz", "--encoder", encoder, "--output"]
    assert run(*words, "exact") == run(*words, "fast", *fast) == 0
    one, other = (np.load(f"{where}/{video.stem}.npz")["rgb"] for where in ("exact", "fast"))
    assert 0 < np.abs(one - other).max() < 0.1
    for where, precision in (("exact", "fp32"), ("fast", "bf16")):
        made = json.loads(Path(where, "extractor.json").read_text())["extractor"]
        assert made["precision"] == precision

    assert train(bmn(), world, encoder, "run", *fast) == 0
    assert run("predict", "--weights", "run", video) == 0
    assert run("predict", "--weights", "run", "fast") == 0
    capsys.readouterr()
    assert run("predict", "--weights", "run", video, "--encoder", encoder) == 1
    assert "precision" in capsys.readouterr().err
    assert run("predict", "--weights", "run", video, *fast) == 2
    assert "only with --encoder: --encoder-precision" in capsys.readouterr().err
    words[words.index(encoder)] = weights
    assert run(*words, "third", *fast) == 2
    assert "a clip model computes as in its training" in capsys.readouterr().err


def test_a_mirror_is_part_of_the_features_and_stays_with_the_run(
    world: World, weights: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    encoder, video = open_encoder(str(weights)), world.videos[0].path
    both = Extractor([encoder], mirror=True, device="cpu")
    plain = Extractor([encoder], device="cpu")
    assert "mirror" not in plain.facts  # features of earlier versions stay what they are
    seen = [plain.extract(video).streams["rgb"]]
    prepare = encoder.prepare
    encoder.prepare = lambda frames: np.ascontiguousarray(prepare(frames)[:, :, ::-1])
    seen.append(Extractor([encoder], device="cpu").extract(video).streams["rgb"])
    assert np.abs(seen[0] - seen[1]).max() > 1e-3
    vectors = both.extract(video).streams["rgb"]
    np.testing.assert_allclose(vectors, (seen[0] + seen[1]) / 2, rtol=1e-4, atol=1e-5)

    tagger = tmp_path / "probe.yaml"
    tagger.write_text("model: {name: probe}\ndata: {num_workers: 0, mirror: true}\n")
    for number, one in enumerate(world.videos[:4]):
        folder = tmp_path / "set" / ("turn_left", "TurnRight")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.mp4").symlink_to(one.path)
    words = ["--data", "set", "--encoder", weights, "--save-dir", "tags"]
    assert run("train", "--config", tagger, *words) == 0
    said = capsys.readouterr().err
    assert "hides left and right, which may be what 'TurnRight', 'turn_left' differ by" in said
    opened = decoded(monkeypatch)
    assert run("eval", "--weights", "tags", "--data", "set") == 0
    assert opened == []  # made once
    assert run("predict", "--weights", "tags", video) == 0
    for name, flags in {"again": ["--for", "tags"], "plain": ["--encoder", weights]}.items():
        assert run("extract", video, "--output", name, "--format", "npz", *flags) == 0
    made = np.load(f"again/{video.stem}.npz")["rgb"]
    np.testing.assert_allclose(made, vectors, rtol=1e-4, atol=1e-5)
    capsys.readouterr()
    assert run("predict", "--weights", "tags", "plain") == 1
    assert "mirror None instead of True" in capsys.readouterr().err
    assert run("extract", video, "--output", "x", "--for", "tags", "--mirror") == 2
    tagger.write_text("model: {name: bmn}\ndata: {mirror: true}\n")
    assert run("train", "--config", tagger) == 1
    assert "data.mirror is for videos themselves" in capsys.readouterr().err


def test_a_run_that_is_set_aside_takes_its_encoder_along(world: World, weights: Path):
    small = {"tem": {"num_steps": 16, "hidden_size": 8}, "pem": {"hidden_size": 8}}
    for config in (bmn(), localiser("bsn", **small)):
        assert train(config, world, weights, config.stem) == 0
        assert train(config, world, weights, config.stem, "--overwrite") == 0
        for folder in (Path(config.stem), Path(f"{config.stem}.old-1")):
            assert (folder / "encoder" / "encoder.json").is_file()
            assert (folder / "best.safetensors").is_file()


def test_a_video_much_longer_than_those_learnt_from_is_told(
    world: World, weights: Path, tmp_path: Path, capsys: Capture
):
    assert train(bmn(), world, weights, "run") == 0
    long = make_world(
        tmp_path / "long",
        num_train=0,
        num_val=0,
        num_test=1,
        seed=1,
        min_seconds=50,
        max_seconds=51,
        size=36,
        frames_per_second=4,
    )
    capsys.readouterr()

    assert run("predict", "--weights", "run", long.videos[0].path, world.videos[0].path) == 0

    said = capsys.readouterr().err
    assert "WARNING: 1 video, such as test_00000 (5" in said
    assert "data.window_seconds" in said
    assert run("predict", "--weights", "run", world.videos[0].path) == 0
    assert "much longer" not in capsys.readouterr().err
    words = ["--weights", "run", "--weights", "run", "--every", "2", world.videos[0].path]
    assert run("predict", *words) == 2
    assert "--every: for none of these models" in capsys.readouterr().err
