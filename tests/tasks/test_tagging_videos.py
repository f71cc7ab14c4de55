"""Taggers that learn from videos themselves: class folders, lists, files of labels."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import videozoo
from videozoo import cli
from videozoo.config import from_layers
from videozoo.data.labelled_videos import labelled_videos
from videozoo.data.synthetic.clips import write_video
from videozoo.results import VideoLabels
from videozoo.settings.tags import FeatureData
from videozoo.tasks import extractor as extractor_module
from videozoo.tasks.loading import save_trained
from videozoo.tasks.tagging.solving import folds_of

Capture = pytest.CaptureFixture[str]
COLOURS = {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of one colour each: CLASS/NUMBER.mp4, so that the names of files collide."""
    folder, rng = tmp_path_factory.mktemp("made"), np.random.RandomState(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        for number in range(4):
            noise = rng.randint(-40, 40, (4, 32, 32, 3))
            frames = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            write_video(folder / name / f"{number}.mp4", frames, frames_per_second=4)
    return folder


@pytest.fixture
def clips(made: Path) -> Path:
    return Path(shutil.copytree(made, "clips"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = {"name": "tsn", "num_classes": 3, "depth": 18, "width": 0.125, "num_segments": 1}
    data = {"short_side": 32, "crop_size": 32}
    config = from_layers([("", {"model": model, "data": data})])
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("encoder") / "tsn.safetensors"
    save_trained(path, config.spec.build(config.model), config, None, {})
    return path


def run(*words: str | Path) -> int:
    return cli.main([str(word) for word in words])


def tagger(**data: Any) -> Path:
    model = {"embedding_size": 8, "lstm_size": 8, "hidden_sizes": [8, 8], "dropout": 0.0}
    sections = {
        "model": {"name": "attention_lstm", **model},
        "data": {"num_workers": 0, "train": "old.list", **data},
        "train": {"epochs": 2, "batch_size": 4, "optimizer": "adam", "learning_rate": 0.01},
    }
    Path("tagger.yaml").write_text(yaml.safe_dump(sections))
    return Path("tagger.yaml")


def train(*words: str | Path, **data: Any) -> int:
    return run("train", "--config", tagger(**data), "--save-dir", "run", *words)


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    opened: list[str] = []
    real = extractor_module.open_video

    def noted(path: Path) -> Any:
        opened.append(str(path))
        return real(path)

    monkeypatch.setattr(extractor_module, "open_video", noted)
    return opened


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_a_long_video_is_read_to_its_end(
    loss: str, clips: Path, encoder: Path, capsys: Capture, here: Path
):
    with_loss = ("--set", f"train.loss={loss}", "--set", "predict.top_k=3")
    words = ("--data", clips, "--encoder", encoder, "--rate", "4", *with_loss)
    assert train(*words, max_frames=4) == 0
    rows = [colour for colour in COLOURS.values() for _ in range(4 if colour[0] == 40 else 2)]
    frames = np.tile(np.array(rows, np.uint8)[:, None, None], (1, 32, 32, 1))
    (here / "long").mkdir()
    write_video(here / "long" / "film.mp4", frames, frames_per_second=4)
    assert run("extract", "long", "--for", "run", "--output", "made", "--format", "npz") == 0
    vectors = np.load("made/film.npz")["rgb"]
    assert len(vectors) == 10
    model = videozoo.load("run", task="tagging")

    def scores(result: VideoLabels) -> dict[str, float]:
        return {label.name: label.score for label in result.labels}

    starts = [0, 3, 7, 10]
    parts = [scores(model.predict(vectors[a:b])[0]) for a, b in pairwise(starts)]
    sizes = np.diff(starts) / 10
    wanted = {name: sum(s * one[name] for s, one in zip(sizes, parts, strict=True))
              for name in COLOURS}  # fmt: skip
    for one in ("long/film.mp4", "made/film.npz", vectors):
        assert scores(model.predict(one)[0]) == pytest.approx(wanted, abs=1e-6)
    assert scores(model.predict(vectors[:4])[0]) != pytest.approx(wanted, abs=1e-4)
    if loss == "sigmoid":
        return

    capsys.readouterr()
    assert run("predict", "--weights", "run", "long", "clips/red", "--explain") == 0
    assert "up to 10 frames per video: long ones are read in parts" in capsys.readouterr().err
    found = json.loads(next(Path("run/predict").glob("*/predictions.json")).read_text())
    film = next(one for one in found["predictions"] if one["video"] == "film")
    said = {one["class"]: one["score"] for one in film["top"]}
    assert said == pytest.approx(wanted, abs=1e-5)
    assert len(found["predictions"]) == 5
    for name in COLOURS:
        shutil.copytree("long", f"longs/{name}")
    assert run("eval", "--weights", "run", "--data", "longs") == 0
    facts = json.loads(Path("run/eval/eval.json").read_text())
    losses = [-np.log(wanted[name]) for name in COLOURS]
    assert facts["videos"] == 3
    assert facts["metrics"]["loss"] == pytest.approx(np.mean(losses), abs=1e-4)


def test_a_tagger_learns_from_class_folders_and_answers_on_videos(
    clips: Path, encoder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    opened = decoded(monkeypatch)
    assert train("--data", clips, "--encoder", encoder, "--epochs", "20") == 0
    said = capsys.readouterr().err
    assert "model.num_classes is 3: blue, green, red" in said
    assert "9 records to learn from, 3 to check with" in said
    assert len(opened) == 12
    opened.clear()

    assert run("eval", "--weights", "run") == 0
    facts = json.loads(Path("run/eval/eval.json").read_text())
    assert facts["videos"] == 3
    assert [row["class"] for row in facts["classes"]] == ["blue", "green", "red"]
    assert run("train", "--resume", "run", "--epochs", "21") == 0
    assert opened == []

    unseen = Path(shutil.copytree(clips / "red", "other/red")).parent
    assert run("eval", "--weights", "run", "--data", unseen, "--save-dir", "on-other") == 0
    facts = json.loads(Path("on-other/eval.json").read_text())
    assert (facts["videos"], facts["metrics"]["top1"]) == (4, 1.0)
    assert run("predict", "--weights", "run", unseen / "red/0.mp4") == 0
    found = json.loads(Path("run/predict/0/predictions.json").read_text())["predictions"]
    assert found[0]["top"][0]["class"] == "red"


def test_videos_with_any_number_of_labels_are_learnt_from(
    clips: Path, encoder: Path, capsys: Capture
):
    names = [f"{colour}/{number}.mp4" for colour in COLOURS for number in range(4)]
    lines = [f"{name} {place % 3},{3 + place % 2}" for place, name in enumerate(names)]
    Path("clips/labels.txt").write_text("\n".join([*lines[1:], "gone.mp4 1"]))

    assert train("--videos", clips, "--labels", "clips/labels.txt", "--encoder", encoder) == 0

    said = capsys.readouterr().err
    assert "1 of the 12 videos that it names are not there: gone.mp4" in said
    assert "left out: 1 of 12 videos have no label in clips/labels.txt: clips/blue/0.mp4" in said
    assert "model.num_classes is 5" in said
    assert run("eval", "--weights", "run") == 0


def test_names_of_labels_and_lists_of_videos(clips: Path, encoder: Path):
    labels = {f"{c}/{n}.mp4": [c, "odd" if n % 2 else "even"] for c in COLOURS for n in range(4)}
    Path("clips/labels.json").write_text(json.dumps(labels))
    assert train("--videos", clips, "--labels", "clips/labels.json", "--encoder", encoder) == 0
    names = json.loads(Path("run/start.json").read_text())["class_names"]
    assert names == ["blue", "even", "green", "odd", "red"]

    for part, numbers in {"train": (0, 1), "val": (2,)}.items():
        lines = [f"clips/{c}/{n}.mp4 {c}" for c in COLOURS for n in numbers]
        Path(f"{part}.list").write_text("\n".join(lines))
    config = tagger(encoder=str(encoder), train="train.list", val="val.list")
    assert run("train", "--config", config, "--save-dir", "lists") == 0
    assert run("eval", "--weights", "lists") == 0
    assert json.loads(Path("lists/eval/eval.json").read_text())["videos"] == 3
    assert run("train", "--config", config, "--data", "train.list", "--save-dir", "one") == 0
    assert run("eval", "--weights", "one", "--data", "val.list") == 0
    assert json.loads(Path("one/eval/eval.json").read_text())["videos"] == 3


def test_parts_are_by_their_folders_or_drawn_by_their_names(clips: Path):
    Path("labels.json").write_text(json.dumps({f"{n}.mp4": n for n in range(4)}))
    data = FeatureData(videos=clips, labels=Path("labels.json"), val_share=0.4)
    drawn = {part: labelled_videos(data, part) for part in ("train", "val", "test")}
    assert drawn["test"] == drawn["val"]
    names = {part: {video.name for video in found} for part, found in drawn.items()}
    assert len(names["train"] | names["val"]) == 12
    assert names["train"]
    assert names["val"]
    assert not names["train"] & names["val"]

    for number, part in enumerate(("train", "val", "test")):
        shutil.copytree(clips / "red", f"parts/{part}/deep{number}")
    divided = FeatureData(videos=Path("parts"), labels=Path("labels.json"))
    for number, part in enumerate(("train", "val", "test")):
        found = labelled_videos(divided, part)
        assert found[0].name == f"{part}/deep{number}/0.mp4"
        assert [video.labels for video in found] == [(0,), (1,), (2,), (3,)]


def test_classes_that_the_model_does_not_know_are_refused(
    clips: Path, encoder: Path, capsys: Capture
):
    assert train("--data", clips, "--encoder", encoder) == 0
    Path("other").mkdir()
    shutil.copytree(clips / "red", "other/reds")
    assert run("eval", "--weights", "run", "--data", "other") == 1
    assert "class folder 'reds' is not among the 3 class names" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--videos", "clips", "--annotations", "x.json"], "name their classes: --labels"),
        (["--videos", "clips", "--labels", "none.txt"], "mentions none of the 12 videos"),
        (["--videos", "clips/red"], "no class folders"),
        (["--data", "gone"], "gone: no such file or folder"),
        (["--data", "features"], "--set data.train=features"),
        (["--data", "clips", "--set", "model.num_classes=4"], "model.num_classes is 4"),
        (["--set", "data.labels=none.txt"], "labels: is for videos themselves"),
    ],
)
def test_mistakes_are_told(
    words: list[str], said: str, clips: Path, encoder: Path, capsys: Capture
):
    Path("none.txt").write_text("other.mp4 1\n")
    Path("features").mkdir()
    np.savez("features/a.npz", rgb=np.zeros((2, 4), np.float32))
    more = [] if words[0] == "--set" else ["--encoder", encoder]
    assert train(*words, *more) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not Path("run").exists()


def probe(*words: str | Path, save_dir: str = "run") -> int:
    quick = ["--set", "data.num_workers=0", "--set", "data.val_share=0.4"]
    return run("train", *words, "--save-dir", save_dir, *quick)


def test_a_folder_alone_is_learnt_by_a_probe_that_says_how_sure_it_is(
    clips: Path, encoder: Path, capsys: Capture
):
    assert probe("--data", clips, "--encoder", encoder) == 0
    said = capsys.readouterr().err
    assert "taking probe" in said
    assert "--config tsm --pretrain" in said
    assert "train.loss is softmax" in said
    assert "cross-validation on the" in said
    assert "top-1 100.0 % (95 % interval" in said
    line = json.loads(Path("run/metrics.jsonl").read_text())
    assert line["cv_chance"] < line["cv_interval"][0]
    before = load_file("run/best.safetensors")

    assert run("train", "--resume", "run") == 0
    after = load_file("run/best.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert json.loads(Path("run/metrics.jsonl").read_text()) == line
    assert run("eval", "--weights", "run") == 0
    facts = json.loads(Path("run/eval/eval.json").read_text())
    assert facts["metrics"]["top1"] == facts["metrics"]["mean_class"] == 1
    assert facts["certainty"]["interval"][1] == 1
    assert run("predict", "--weights", "run", clips / "red/0.mp4") == 0
    found = json.loads(Path("run/predict/0/predictions.json").read_text())["predictions"]
    assert sum(row["score"] for row in found[0]["top"]) == pytest.approx(1, abs=1e-5)


def test_few_videos_are_all_learnt_from_and_judged_by_cross_validation(
    clips: Path, encoder: Path, capsys: Capture
):
    words = ("train", "--data", clips, "--encoder", encoder, "--set", "data.num_workers=0")
    assert run(*words, "--save-dir", "run") == 0
    said = capsys.readouterr().err
    assert "12 videos of 3 classes are few: all are learnt from" in said
    assert "cross-validation on the 12 videos to learn from" in said
    assert "held-out video" not in said
    assert "videozoo predict" in said
    assert "videozoo eval" not in said

    assert run("eval", "--weights", "run") == 1
    assert "no video is held out (data.val_share=0)" in capsys.readouterr().err
    assert run("eval", "--weights", "run", "--data", clips) == 0

    shutil.copytree(clips, "parts/train")
    shutil.copytree(clips, "parts/val")
    divided = ("train", "--data", "parts", "--encoder", encoder, "--set", "data.num_workers=0")
    assert run(*divided, "--save-dir", "divided") == 0
    said = capsys.readouterr().err
    assert "are few" not in said
    assert "on the 12 held-out videos" in said


def test_labels_without_rhyme_or_reason_are_said_to_be_near_chance(
    clips: Path, encoder: Path, capsys: Capture
):
    for number, video in enumerate(sorted(clips.rglob("*.mp4"))):
        target = Path("mixed") / f"class{(number + number // 4) % 2}" / f"{number}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, target)
    assert probe("--data", "mixed", "--encoder", encoder) == 0
    assert "NEAR CHANCE" in capsys.readouterr().err


def test_several_classes_per_video_and_groups(clips: Path, encoder: Path, capsys: Capture):
    labels = {f"{c}/{n}.mp4": [c, "odd" if n % 2 else "even"] for c in COLOURS for n in range(4)}
    Path("labels.json").write_text(json.dumps({f"clips/{key}": v for key, v in labels.items()}))
    words = ("--config", "probe", "--videos", clips, "--labels", "labels.json")
    assert probe(*words, "--encoder", encoder) == 0
    said = capsys.readouterr().err
    assert "train.loss is sigmoid" in said
    assert "GAP" in said

    line = ("--data", clips, "--encoder", encoder)
    assert probe(*line, "--set", "data.groups='/[0-9]'", save_dir="days") == 0
    assert "(2 folds of 2 groups)" in capsys.readouterr().err
    parts = {
        part: {
            video.name.split("/")[1]
            for video in labelled_videos(FeatureData(videos=clips, groups="/[0-9]"), part)
        }
        for part in ("train", "val")
    }
    assert parts["train"]
    assert parts["val"]
    assert not parts["train"] & parts["val"]
    assert probe(*line, "--set", "data.groups=person", save_dir="none") == 1
    assert "finds nothing in" in capsys.readouterr().err


def test_groups_stay_together_and_classes_are_spread():
    targets = np.eye(2)[[0, 1] * 12]
    groups = [str(number // 4) for number in range(24)]

    fold = folds_of(targets, groups, folds=3, seed=0)

    for group in set(groups):
        assert len({fold[n] for n in range(24) if groups[n] == group}) == 1
    assert [int(targets[fold == number].sum(axis=0)[0]) for number in range(3)] == [4, 4, 4]


@pytest.mark.slow
def test_an_exported_file_answers_on_videos_by_the_encoder_that_its_run_keeps(
    clips: Path, encoder: Path, capsys: Capture
):
    pytest.importorskip("onnxscript")
    mine = Path("mine.safetensors")
    shutil.copy(encoder, mine)
    assert train("--data", clips, "--encoder", mine) == 0
    assert run("export", "--weights", "run") == 0
    mine.unlink()
    video = next(clips.rglob("*.mp4"))

    assert run("predict", "--weights", "run/best.onnx", video) == 0

    shutil.copy("run/best.onnx", "alone.onnx")
    capsys.readouterr()
    assert run("predict", "--weights", "alone.onnx", video) == 1
    error = capsys.readouterr().err
    assert "which cannot be loaded: " in error
    assert "tell where it is: --encoder; or put the file back into its run, which keeps it" in error
    shutil.copy(encoder, mine)
    assert run("predict", "--weights", "alone.onnx", "--encoder", mine, video) == 0
