"""Taggers on segments that people rated, as in YouTube-8M of 2019, from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import videozoo
from videozoo import cli
from videozoo.data.features.record_formats import find_records, write_shard
from videozoo.data.features.records import FeatureRecord, SegmentRating
from videozoo.errors import UsageError
from videozoo.settings.tags import FeatureData
from videozoo.tasks.tagging.labels import check_ratings
from videozoo.tasks.tagging.scoring import label_loss
from videozoo.types import FeatureShape, Stream
from videozoo.weights.files import read_weights

CLASSES = 4
MARKS = np.random.default_rng(7).normal(size=(CLASSES, 24)) * 45


def make_videos(count: int, seed: int) -> list[FeatureRecord]:
    """Videos whose segments of five frames have the marks of their classes; some are rated."""
    rng = np.random.default_rng(seed)
    videos: list[FeatureRecord] = []
    for number in range(count):
        frames = rng.normal(128, 12, (int(rng.integers(16, 30)), MARKS.shape[1]))
        ratings: list[SegmentRating] = []
        for start in range(0, len(frames), 5):
            tags = np.flatnonzero(rng.random(CLASSES) < 0.3).tolist()
            frames[start : start + 5] += MARKS[tags].sum(axis=0)
            if start + 5 <= len(frames) and rng.random() < 0.7:
                for label in rng.choice(CLASSES, int(rng.integers(1, 3)), replace=False).tolist():
                    ratings.append(SegmentRating(start, start + 5, label, label in tags))
        features = frames.clip(0, 255).astype(np.uint8)
        videos.append(
            FeatureRecord(
                f"s{seed}v{number}",
                {"rgb": features[:, :16].copy(), "audio": features[:, 16:].copy()},
                has_segment_labels=True,
                ratings=tuple(ratings),
            )
        )
    return videos


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records, a configuration, and a run that learnt from them."""
    folder = tmp_path_factory.mktemp("segments")
    for part, count, seed in (("train", 60, 1), ("val", 12, 2), ("test", 16, 3)):
        videos = make_videos(count, seed)
        (folder / part).mkdir()
        for shard in range(2):
            write_shard(folder / part / f"{shard}.tfrecord", videos[shard::2])
    streams = [{"name": "rgb", "dim": 16}, {"name": "audio", "dim": 8}]
    sizes = {"cluster_size": 4, "groups": 4, "expansion": 1, "hidden_size": 32, "dropout": 0.0}
    train = {"epochs": 3, "batch_size": 16, "optimizer": "adam", "learning_rate": 0.01}
    config = {
        "model": {"name": "nextvlad", "num_classes": CLASSES, "streams": streams, **sizes},
        "data": {
            **{part: str(folder / part) for part in ("train", "val", "test")},
            "segments": True,
            "num_workers": 0,
        },
        "train": {**train, "weight_decay": 0.0},
    }
    (folder / "c.yaml").write_text(yaml.safe_dump(config))
    words = ["train", "--config", str(folder / "c.yaml"), "--save-dir", str(folder / "run")]
    assert cli.main([*words, "--set", "train.ema_decay=0.5"]) == 0
    return folder


def test_a_submission_scores_as_the_evaluation_does(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = ["--weights", str(folder / "run")]
    assert cli.main(["eval", *run, "--save-dir", str(tmp_path / "e")]) == 0
    said = capsys.readouterr().err
    words = ["predict", *run, "--save-dir", str(tmp_path / "p"), "--csv", str(folder / "test")]
    assert cli.main(words) == 0
    for results in (tmp_path / "p", tmp_path / "p" / "submission.csv"):
        words = ["score", str(results), "--truth", str(folder / "test")]
        assert cli.main([*words, "--json", str(tmp_path / "s.json")]) == 0
        scored = json.loads((tmp_path / "s.json").read_text())

        facts = json.loads((tmp_path / "e" / "eval.json").read_text())
        assert scored["metrics"]["map"] == pytest.approx(facts["metrics"]["map"], abs=1e-12)
    assert facts["metrics"]["map"] > 0.9  # a third of the ratings say that a class is there
    assert f"{facts['segments']} segments of {facts['videos']} videos, " in said
    assert {"class", "segments", "rated", "ap"} == set(facts["classes"][0])
    rows = json.loads((tmp_path / "p" / "predictions.json").read_text())["predictions"]
    assert len(rows) == 16
    with (tmp_path / "p" / "predictions.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == sum(len(row["segments"]) for row in rows)
    assert (table[0]["start_seconds"], table[0]["name"]) == (
        str(rows[0]["segments"][0]["start_seconds"]),
        rows[0]["segments"][0]["label"],
    )


def test_a_submission_ranks_every_segment_of_the_wanted_classes(folder: Path, tmp_path: Path):
    (tmp_path / "ids.csv").write_text("Index\n1\n3\n")
    words = ["predict", "--weights", str(folder / "run"), "--save-dir", str(tmp_path / "p")]
    words += ["--set", f"predict.segment_classes={tmp_path / 'ids.csv'}", str(folder / "test")]

    assert cli.main(words) == 0

    lines = (tmp_path / "p" / "submission.csv").read_text().splitlines()
    assert lines[0] == "Class,Segments"
    assert [line.partition(",")[0] for line in lines[1:]] == ["1", "3"]
    videos = make_videos(16, 3)
    every = {f"{one.name}:{s}" for one in videos for s in range(0, len(one.streams["rgb"]), 5)}
    ranked = lines[1].partition(",")[2].split()
    assert (len(ranked), set(ranked)) == (len(every), every)


def test_python_programs_get_segments(folder: Path):
    tagger = videozoo.load(folder / "run", task="tagging")

    first = tagger.predict_segments(str(folder / "test"))[0]

    assert first.duration_seconds == len(make_videos(1, 3)[0].streams["rgb"])
    assert all(one.score >= 0.5 and one.start % 5 == 0 for one in first.segments)
    with pytest.raises(UsageError, match=r"call \.predict_segments"):
        tagger.predict(str(folder / "test"))


def test_a_resumed_run_ends_as_one_that_never_stopped(folder: Path, tmp_path: Path):
    words = ["train", "--config", str(folder / "c.yaml"), "--save-dir", str(tmp_path / "r")]
    words += ["--set", "train.ema_decay=0.5"]
    assert cli.main([*words, "--epochs", "2"]) == 0
    assert cli.main([*words, "--resume"]) == 0

    ours, theirs = (
        read_weights(path / "weights" / "epoch_3.safetensors")[0]
        for path in (folder / "run", tmp_path / "r")
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_what_nobody_rated_changes_no_loss():
    logits = torch.tensor([[2.0, -1.0, 3.0]], requires_grad=True)
    labels, rated = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    weights = torch.tensor([2.0, 1.0, 1.0])

    loss = label_loss(logits, labels, one_class=False, rated=rated, class_weights=weights)
    loss.sum().backward()

    by_hand = 2 * np.log1p(np.exp(-2)) + np.log1p(np.exp(-1))
    assert loss.item() == pytest.approx(by_hand, rel=1e-6)
    assert logits.grad is not None
    assert logits.grad[0, 2] == 0


@pytest.mark.parametrize(
    ("command", "sets", "message"),
    [
        ("train", {"train.loss": "softmax"}, "each class of a segment is rated by itself"),
        ("train", {"data.segment_frames": 6}, "expected 6 frames (data.segment_frames)"),
        ("train", {"model.num_classes": 2}, "label 3, expected 0 to 1"),
        ("eval", {"data.test": "bare"}, "has segments that people rated"),
        ("predict", {"predict.segment_classes": "ids.csv"}, "'9', expected a class from 0 to 3"),
        ("predict --explain", {}, "leave --explain out"),
    ],
)
def test_what_cannot_be_done_is_said(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    sets: dict[str, Any],
    message: str,
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ids.csv").write_text("Index\n1\n9\n")
    (tmp_path / "bare").mkdir()
    bare = [FeatureRecord("a", make_videos(1, 3)[0].streams, (1,))]
    write_shard(tmp_path / "bare" / "a.tfrecord", bare)
    source = "--config" if command == "train" else "--weights"
    words = [*command.split(), source, str(folder / ("c.yaml" if command == "train" else "run"))]
    words += ["--save-dir", str(tmp_path / "out")]
    for name, value in sets.items():
        words += ["--set", f"{name}={value}"]
    words += [str(folder / "test")] if command.startswith("predict") else []
    assert cli.main(words) == 1 or "--explain" in words
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_check_data_counts_ratings(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["check-data", str(folder / "test")]) == 0

    said = capsys.readouterr().out
    ratings = [one for video in make_videos(16, 3) for one in video.ratings or ()]
    present = sum(one.is_present for one in ratings)
    assert f"{len(ratings)} ratings of 4 classes: {present} present" in said


def test_segments_beyond_the_end_of_their_record_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    ratings = (SegmentRating(0, 5, 0, True), SegmentRating(38, 43, 1, True))
    rgb = np.random.default_rng(0).integers(0, 256, (40, 3), np.uint8)
    shard = tmp_path / "a.tfrecord"
    record = FeatureRecord("a", {"rgb": rgb}, (0,), has_segment_labels=True, ratings=ratings)
    write_shard(shard, [record])
    notes: list[str] = []

    status = cli.main(["check-data", str(shard)])
    check_ratings(
        find_records(shard),
        "data.train",
        notes.append,
        num_classes=2,
        shape=FeatureShape(streams=[Stream(name="rgb", dim=3)]),
        data=FeatureData(segments=True),
    )

    said = " ".join(capsys.readouterr().out.split())
    assert (status, "1 rated segment beyond the end of the record" in said) == (0, True)
    assert "frames 38 to 42 of 40" in said
    assert any("1 rated segment cut, because frames" in note for note in notes)
