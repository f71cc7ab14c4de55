"""Annotation files as people have them, through the reader and through training and evaluation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from videozoo import cli
from videozoo.data.annotations.segments import read_annotations
from videozoo.data.features.records import FeatureRecord
from videozoo.data.features.writer import FeatureFolder

CASES = Path(__file__).parents[3] / "shared" / "cases" / "annotations"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the cases are not at {CASES}")

SECONDS, RATE, DIM = 2.4, 5, 8
VIDEOS = [f"{kind}{number:03d}" for kind in ("fi", "nofi") for number in range(1, 9)]
Said = Callable[[], str]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `videozoo extract` writes them: of sixteen videos, each 2.4 s long."""
    folder = FeatureFolder(tmp_path_factory.mktemp("feat"), "npz", {"model": "tsm", "rate": RATE})
    folder.prepare(made_with="test")
    writer = folder.writer(0)
    rng = np.random.default_rng(0)
    for name in VIDEOS:
        values = rng.normal(size=(12, DIM)).astype(np.float32)
        writer.add(FeatureRecord(name, {"rgb": values}, duration_seconds=SECONDS))
    folder.merge()
    return folder.folder


def config_of(folder: Path, name: str, features: Path) -> str:
    sections = {
        "model": {
            "name": "bmn",
            "feature_dim": DIM,
            "num_steps": 12,
            "num_durations": 6,
            "num_samples": 2,
        },
        "data": {
            "annotations": str(CASES / name),
            "features": str(features),
            "num_workers": 0,
            "bad_video_share": 0.2,
        },
        "train": {"epochs": 1, "batch_size": 8, "optimizer": "adam", "learning_rate": 0.001},
    }
    path = folder / "bmn.yaml"
    path.write_text(yaml.safe_dump(sections))
    return str(path)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Said:
    """What the last command told people, but for its tables."""

    def text() -> str:
        told = caplog.text + capsys.readouterr().err
        caplog.clear()
        return told

    return text


def train(folder: Path, name: str, features: Path, *words: str) -> int:
    config = config_of(folder, name, features)
    run = str(folder / "run")
    return cli.main(["train", "--config", config, "--save-dir", run, *words])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrongduration.json", r"24 s annotated, 2.4 s by its features, 10 times; .* in frames"),
        ("inframes.json", r"60 s annotated, 2.4 s by its features, 25 times; .* in frames"),
        ("framesclip.json", r"1 to 38 in a video of 2.4 s; are they in frames\?"),
        ("nulllabel.json", r"fi001: annotation 0: has no label"),
        ("nolabel.json", r"fi001: annotation 0: has no label"),
        ("nan.json", r"fi001: annotation 1: segment \[nan, 1\], expected two numbers"),
        ("nullseg.json", r"fi001: annotation 0: segment is None, expected \[start, end\]"),
        ("labelstudio.json", r"fi001: region 0: Label Studio counts in frames .*frames_per_second"),
    ],
)
def test_what_cannot_be_right_is_refused_before_the_first_step(
    name: str, message: str, features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert train(tmp_path, name, features) == 1

    error = capsys.readouterr().err
    assert name in error
    assert re.search(message, error), error
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "words", "messages"),
    [
        ("ok.json", [], []),
        ("valid.json", [], []),
        ("strings.json", [], []),
        ("noduration.json", [], []),
        ("noseg.json", [], []),
        ("dupseg.json", [], []),
        ("mp4names.json", [], []),
        ("pathnames.json", [], []),
        ("testsubset.json", ["data.val_subset=test"], []),
        (
            "trainval.json",
            [],
            ["annotated videos that no part of this run uses: 3 of subset 'train_val'"],
        ),
        ("ambig.json", [], ["'Ambiguous'", "data.ignored_classes=[Ambiguous]"]),
        ("somesubset.json", [], ["3 of 16 videos have no subset", "fi001, fi002, fi003"]),
        ("oddseg.json", [], ["1 of 21 segments reach beyond", "fi003: annotation 1: 1 to 99"]),
        ("missing.json", [], ["no features of missing1, missing2"]),
        ("own.csv", [], ["names no subsets"]),
        ("via.json", [], ["names no subsets"]),
        ("labelstudio.json", ["data.frames_per_second=25"], ["names no subsets"]),
    ],
)
def test_what_can_be_used_is_trained_on_and_oddities_are_said(
    name: str,
    words: list[str],
    messages: list[str],
    features: Path,
    tmp_path: Path,
    said: Said,
):
    sets = [word for one in words for word in ("--set", one)]

    assert train(tmp_path, name, features, *sets) == 0

    text = said()
    for message in messages:
        assert text.count(message) == 1
    if not messages:
        assert "note" not in text
        assert "WARNING" not in text


def test_evaluation_is_on_the_part_that_was_held_out(features: Path, tmp_path: Path, said: Said):
    words = ["--set", "data.val_subset=test"]
    assert train(tmp_path, "testsubset.json", features, *words) == 0
    said()
    line = ["eval", "--weights", str(tmp_path / "run"), "--no-report", "--save-dir"]

    assert cli.main([*line, str(tmp_path / "e")]) == 0

    facts = json.loads((tmp_path / "e" / "eval.json").read_text())
    assert (facts["videos"], facts["videos_learnt_from"]) == (6, 0)
    assert "WARNING" not in said()
    assert cli.main([*line, str(tmp_path / "f"), "--set", "data.test_subset=training"]) == 0
    assert "WARNING: evaluation is on videos to learn from: 10 of 10" in said()


@pytest.mark.parametrize("name", ["own.csv", "via.json", "labelstudio.json"])
def test_exports_of_tools_say_the_same(name: str):
    found = read_annotations(CASES / name, durations={"fi001": SECONDS}, frames_per_second=RATE * 5)

    (video,) = found.videos
    (one,) = video.instances
    assert (video.video, one.label) == ("fi001", "hit")
    assert one.start_seconds == pytest.approx(0.3, abs=0.03)
    assert one.end_seconds == pytest.approx(1.5, abs=0.03)


def test_every_case_is_here():
    source = Path(__file__).read_text()

    assert [path.name for path in CASES.iterdir() if f'"{path.name}"' not in source] == []
