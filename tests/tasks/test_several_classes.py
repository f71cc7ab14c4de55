"""Clip models of several classes per video: from lists to answers, on tiny made-up clips."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

import videozoo
from videozoo import cli
from videozoo.data.annotations.videos import read_list
from videozoo.data.synthetic.clips import SyntheticClips, make_clips
from videozoo.metrics.accuracy import AccuracyCounter
from videozoo.metrics.tagging import TaggingCounter, average_precision
from videozoo.results import VideoLabels
from videozoo.tasks.classification import Classifier
from videozoo.tasks.classification.scoring import ClipCounts
from videozoo.weights.files import read_metadata

NAMES = ["right-left", "up-down", "grow-shrink", "turn", "forward", "back"]

CONFIG = """
model: {name: MODEL, num_classes: 6, depth: 18, width: 0.125 EXTRA}
data:
  train: FOLDER/train.txt
  val: FOLDER/val.txt
  short_side: 40
  crop_size: 32
  flip: 0
  num_workers: 0
  frame_stride: 2
train: {epochs: 2, batch_size: 4, learning_rate: 0.05, mixup_alpha: 0.2, label_smoothing: 0.05}
"""
MODELS = [
    ("tsn", ", num_segments: 3"),
    ("tsm", ", num_segments: 4"),
    ("stnet", ", num_segments: 3, frames_per_segment: 2"),
    ("nonlocal", ", num_frames: 4, temporal_convs: true"),
]


def several(label: int) -> str:
    """Two classes in place of one of eight; now and then the first alone."""
    return f"{label // 2}" if label == 7 else f"{label // 2} {4 + label % 2}"


@pytest.fixture(scope="session")
def listed(tmp_path_factory: pytest.TempPathFactory) -> SyntheticClips:
    folder = tmp_path_factory.mktemp("several")
    clips = make_clips(folder, num_train=16, num_val=8, num_test=8, seed=0, size=40)
    for part in ("train", "val"):
        lines = [line.split() for line in (folder / f"{part}.list").read_text().splitlines()]
        text = "".join(f"{path} {several(int(label))}\n" for path, label in lines)
        (folder / f"{part}.txt").write_text(text)
    return clips


def configured(path: Path, clips: SyntheticClips, model: str, extra: str) -> Path:
    text = CONFIG.replace("MODEL", model).replace("EXTRA", extra)
    path.write_text(text.replace("FOLDER", str(clips.folder)))
    return path


def opened(weights: Path) -> Classifier:
    found = videozoo.load(weights)
    assert isinstance(found, Classifier)
    return found


def scores_of(result: VideoLabels) -> NDArray[np.floating[Any]]:
    assert result.scores is not None
    return result.scores


def run(*words: str | Path) -> int:
    return cli.main([str(word) for word in words])


@pytest.fixture(scope="session")
def trained(listed: SyntheticClips, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained-several")
    config = configured(folder / "c.yaml", listed, "tsm", ", num_segments: 4")
    assert run("train", "--config", config, "--save-dir", folder / "run") == 0
    return folder / "run"


@pytest.mark.parametrize(("model", "extra"), MODELS)
def test_every_clip_model_learns_several_classes(
    model: str,
    extra: str,
    listed: SyntheticClips,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
):
    config = configured(tmp_path / "c.yaml", listed, model, extra)
    folder, out = tmp_path / "run", tmp_path / "out"

    assert run("train", "--config", config, "--save-dir", folder) == 0

    said = capfd.readouterr().err
    assert "train.txt: 14 of 16 videos have several classes: a score per class" in said
    assert "best MAP" in said
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    assert all(0 <= line["valid_map"] <= 1 and "hit_at_one" in line for line in epochs)
    assert read_metadata(folder / "best.safetensors")["config"]["train"]["loss"] == "sigmoid"

    assert run("eval", "--weights", folder, "--save-dir", out) == 0
    facts = json.loads((out / "eval.json").read_text())
    assert facts["metrics"]["map"] == pytest.approx(max(line["valid_map"] for line in epochs))
    assert [row["videos"] for row in facts["classes"]] == [2, 2, 2, 2, 4, 3]
    assert facts["metrics"]["map"] == pytest.approx(
        np.mean([row["ap"] for row in facts["classes"]])
    )
    assert "mean average precision of 6 classes" in (out / "report.html").read_text()

    least = ["--set", "predict.least_score=0.4"]
    assert run("predict", "--weights", folder, listed.unseen[0], "--save-dir", out, *least) == 0
    (row,) = json.loads((out / "predictions.json").read_text())["predictions"]
    (result,) = opened(folder).predict(listed.unseen[0])
    for each in row["top"]:
        assert each["score"] == pytest.approx(float(scores_of(result)[each["label"]]), abs=1e-5)
    assert [one["label"] for one in row["classes"]] == [
        number for number in np.argsort(-scores_of(result)) if scores_of(result)[number] >= 0.4
    ]
    assert result.least_score == 0.5
    assert [label.number for label in result.there] == [
        number for number in np.argsort(-scores_of(result)) if scores_of(result)[number] >= 0.5
    ]


def test_scores_are_sigmoids_of_the_logits(trained: Path, listed: SyntheticClips):
    classifier = opened(trained)
    (result,) = classifier.predict(listed.unseen[0])

    logits: list[torch.Tensor] = []

    def keep(_module: nn.Module, _given: Any, found: torch.Tensor) -> None:
        logits.append(found)

    classifier.module.register_forward_hook(keep)
    classifier.predict(listed.unseen[0])

    assert np.allclose(logits[0].sigmoid()[0].numpy(), scores_of(result), atol=1e-6)


def test_average_precision_is_that_of_all_videos(trained: Path, tmp_path: Path):
    assert run("eval", "--weights", trained, "--save-dir", tmp_path) == 0
    facts = json.loads((tmp_path / "eval.json").read_text())
    entries = [row["video"] for row in facts["results"]]
    folder = Path(facts["config"]["data"]["val"]).parent
    results = opened(trained).predict([folder / name for name in entries])

    for number, row in enumerate(facts["classes"]):
        hits = [number in each["labels"] for each in facts["results"]]
        scores = [float(scores_of(result)[number]) for result in results]
        assert row["ap"] == pytest.approx(average_precision(scores, hits))


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.frozensets(st.integers(0, 2))), min_size=1, max_size=12
    )
)
def test_precision_is_taken_at_every_right_video_of_the_whole_ranking(
    videos: list[tuple[int, frozenset[int]]],
):
    """The definition of Charades and MMAction2, where no scores are equal."""
    generator = np.random.default_rng([seed for seed, _ in videos])
    scores = generator.permuted(np.linspace(0, 1, 3 * len(videos))).reshape(-1, 3)
    counter = ClipCounts(AccuracyCounter(3), tags=TaggingCounter(3, 3))
    assert counter.tags is not None
    counter.tags.update(scores, [tags for _, tags in videos])

    found: list[float] = []
    for label in range(3):
        order = np.argsort(-scores[:, label])
        right = np.array([label in videos[place][1] for place in order])
        at_hits = [right[: rank + 1].mean() for rank in np.flatnonzero(right)]
        found += [float(np.mean(at_hits))] if at_hits else []
    if found:
        assert counter.summary()["map"] == pytest.approx(np.mean(found))
    else:
        assert np.isnan(counter.summary()["map"])


def test_rare_classes_are_made_up_for_and_runs_resume(
    listed: SyntheticClips, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    config = configured(tmp_path / "c.yaml", listed, "tsn", ", num_segments: 2")
    words: list[Any] = ["train", "--config", config, "--set", "data.balance=true"]
    words += ["--set", "train.class_weights=balanced"]
    assert run(*words, "--save-dir", tmp_path / "whole") == 0
    said = capfd.readouterr().err
    assert "class weights: from 0.625 (4) to 1.25 (" in said
    assert "note: each class has about 3 of the 16 clips of an epoch (data.balance)" in said
    assert "both make up for rare classes" in said

    part = tmp_path / "part"
    assert run(*words, "--save-dir", part, "--epochs", "1") == 0
    assert run("train", "--resume", part, "--epochs", "2") == 0

    ends = [
        opened(folder / "weights" / "epoch_2.safetensors") for folder in (tmp_path / "whole", part)
    ]
    whole, again = (end.module.state_dict() for end in ends)
    assert all(torch.equal(whole[key], again[key]) for key in whole)


def test_a_resumed_run_ends_with_the_same_weights(
    listed: SyntheticClips, trained: Path, tmp_path: Path
):
    config = configured(tmp_path / "c.yaml", listed, "tsm", ", num_segments: 4")
    folder = tmp_path / "run"
    assert run("train", "--config", config, "--save-dir", folder, "--epochs", "1") == 0
    assert run("train", "--resume", folder, "--epochs", "2") == 0

    whole = opened(trained / "weights" / "epoch_2.safetensors").module.state_dict()
    again = opened(folder / "weights" / "epoch_2.safetensors").module.state_dict()
    assert all(torch.equal(whole[key], again[key]) for key in whole)


@pytest.mark.parametrize("kind", ["torch-export"])
def test_exports_carry_the_sigmoids(
    trained: Path, listed: SyntheticClips, tmp_path: Path, kind: str
):
    path = tmp_path / "model.pt2"
    assert run("export", "--weights", trained, "--format", kind, "--output", path) == 0

    (ours,) = opened(trained).predict(listed.unseen[0])
    (theirs,) = opened(path).predict(listed.unseen[0])

    assert np.allclose(scores_of(ours), scores_of(theirs), atol=1e-5)
    assert theirs.least_score == 0.5
    refused = run("eval", "--weights", path, "--set", "train.loss=softmax")
    assert refused == 1


def test_windows_belong_to_every_class_that_scores_enough(
    trained: Path, listed: SyntheticClips, tmp_path: Path
):
    words = ["--every", "0.2", "--set", "predict.least_score=0.3"]
    assert (
        run("predict", "--weights", trained, listed.unseen[0], "--save-dir", tmp_path, *words) == 0
    )

    (row,) = json.loads((tmp_path / "predictions.json").read_text())["predictions"]
    scores = np.array(list(row["windows"]["scores"].values()))
    assert not np.allclose(scores.sum(axis=0), 1)
    (result,) = opened(trained).predict(listed.unseen[0], every=0.2, least_score=0.3)
    assert [segment.name for segment in result.segments] == [s["label"] for s in row["segments"]]


@pytest.mark.parametrize(
    ("data", "words", "status", "message"),
    [
        ("val.list", ["--set", "data.class_names=null"], 1, "label 7, expected 0 to 5"),
        ("one.txt", [], 0, "every video has one class, and the model gives each class a score"),
        ("val.txt", ["--set", "train.loss=softmax"], 1, "trained with train.loss=sigmoid"),
    ],
)
def test_other_kinds_of_lists_are_said_or_refused(
    trained: Path,
    listed: SyntheticClips,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    data: str,
    words: list[str],
    status: int,
    message: str,
):
    lines = (listed.folder / "val.list").read_text().splitlines()
    one = "".join(f"{line.split()[0]} {int(line.split()[1]) // 2}\n" for line in lines)
    (listed.folder / "one.txt").write_text(one)
    line: list[Any] = ["eval", "--weights", trained, "--data", listed.folder / data]

    assert run(*line, "--save-dir", tmp_path, *words) == status

    captured = capfd.readouterr()
    assert message in captured.out + captured.err


def test_check_data_counts_every_class_and_writes_a_list_that_trains(
    listed: SyntheticClips, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    config = configured(tmp_path / "c.yaml", listed, "tsn", ", num_segments: 2")
    good, facts = tmp_path / "good.txt", tmp_path / "facts.json"
    words = ["--config", config, "--write-good", good, "--json", facts, "--no-cache"]

    assert run("check-data", listed.folder / "val.txt", *words) == 0

    (part,) = json.loads(facts.read_text())["parts"]
    assert part["videos"] == 8
    assert [row["videos"] for row in part["classes"]] == [2, 2, 2, 2, 4, 3]
    assert "7 of 8 videos have several classes" in capfd.readouterr().out
    before, after = (read_list(path, several="all") for path in (listed.folder / "val.txt", good))
    assert [(one.path.name, one.labels) for one in before] == [
        (one.path.name, one.labels) for one in after
    ]


def test_a_model_of_one_class_refuses_a_list_of_several(
    listed: SyntheticClips, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    config = configured(tmp_path / "c.yaml", listed, "tsn", ", num_segments: 2")

    line = ["train", "--config", config, "--save-dir", tmp_path / "run"]
    assert run(*line, "--set", "train.loss=softmax") == 1

    assert "train.txt:1: 2 classes (" in capfd.readouterr().err


def test_a_configuration_that_does_not_say_it_takes_it_from_the_weights(
    trained: Path, listed: SyntheticClips, tmp_path: Path
):
    config = configured(tmp_path / "c.yaml", listed, "tsm", ", num_segments: 4")

    line = ["eval", "--weights", trained, "--config", config, "--save-dir", tmp_path]
    assert run(*line) == 0

    assert "map" in json.loads((tmp_path / "eval.json").read_text())["metrics"]
