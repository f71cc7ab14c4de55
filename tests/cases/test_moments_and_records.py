"""Sentences with times and records of features as people have them, through training."""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from videozoo import cli
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.records import FeatureRecord

CASES = Path(__file__).parents[3] / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the cases are not at {CASES}")
MAKER = CASES / "yt8m" / "make_tfrecords.py"


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of eight videos, each 2.4 s long."""
    folder = tmp_path_factory.mktemp("moments") / "features"
    rng = np.random.default_rng(0)
    with PackWriter(folder, extractor={"model": "tsm", "rate": 10}) as pack:
        for number in range(1, 9):
            rows = rng.normal(size=(24, 8)).astype(np.float32)
            pack.write(FeatureRecord(f"fi{number:03d}", {"rgb": rows}, duration_seconds=2.4))
    return folder


@pytest.fixture
def train(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Callable[[dict[str, object]], tuple[int, str]]:
    """Train an epoch; the status, and what was said."""

    def run(sections: dict[str, object]) -> tuple[int, str]:
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(sections))
        with caplog.at_level(logging.WARNING):
            status = cli.main(["train", "--config", str(path), "--save-dir", str(tmp_path / "run")])
        error = capsys.readouterr().err
        assert "Traceback" not in error
        return status, error + caplog.text

    return run


def sentence_models(path: Path, features: Path) -> dict[str, dict[str, object]]:
    data = {"train": str(path), "val": str(path), "features": str(features), "num_workers": 0}
    common = {"train": {"epochs": 1, "batch_size": 4, "optimizer": "adam"}}
    return {
        "tall": {
            "model": {
                "name": "tall",
                "visual_dim": 24,
                "sentence_dim": 32,
                "semantic_size": 16,
                "hidden_size": 16,
            },
            "data": {**data, "windows": {"seconds": [0.5, 1.0], "context_seconds": 0.5}},
            **common,
        },
        "ets": {
            "model": {
                "name": "ets",
                "feature_dim": 8,
                "embedding_size": 16,
                "gru_size": 16,
                "decoder_size": 16,
                "word_size": 16,
            },
            "data": {**data, "min_word_count": 1},
            **common,
        },
    }


@pytest.mark.parametrize("model", ["tall", "ets"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ok.txt", "8 sentences to learn from"),
        ("tabs.txt", "8 sentences to learn from"),
        ("mp4.txt", "8 sentences to learn from"),
        ("tacos.json", "8 sentences to learn from"),
        ("crlf_bom.txt", "8 sentences to learn from"),
        ("hashes.txt", "9 sentences to learn from"),
        ("unicode.txt", "9 sentences to learn from"),
        ("anet.json", "8 of 16 sentences reach beyond their video; worst is fi001: sentence 1: "),
        ("qvh.jsonl", "8 sentences with several moments"),
        (
            "beyond.txt",
            "1 of 9 sentences reach beyond .* worst is line 9: 1 to 33 in a video of 2.4 s",
        ),
    ],
)
def test_sentences_are_learnt_from_and_what_is_odd_is_said(
    model: str,
    name: str,
    said: str,
    features: Path,
    train: Callable[[dict[str, object]], tuple[int, str]],
):
    sections = sentence_models(CASES / "moments" / name, features)[model]

    status, text = train(sections)

    assert status == 0
    assert re.search(said, text), text
    assert re.search("reach beyond", text) is None or "reach beyond" in said


@pytest.mark.parametrize(
    ("name", "model", "said"),
    [
        ("anet_neg.json", "tall", "fi001: sentence 0: ends at 0.3, not after its start at 1.5"),
        ("anet_neg.json", "ets", "fi001: sentence 0: fi001 1.5 to 0.3 s shows nothing of its"),
        ("anet_uneven.json", "tall", "fi001: 2 timestamps for 1 sentence"),
        ("empty_sentence.txt", "ets", "line 9: the sentence is empty"),
        ("end_le_start.txt", "tall", "line 9: ends at 0.3, not after its start at 1.5"),
        ("frames.txt", "tall", r"8 of 8 sentences reach beyond .* in frames\?"),
        ("frames.txt", "ets", r"8 of 8 sentences reach beyond .* in frames\?"),
        ("latin1.txt", "tall", "line 9: the sentence is not UTF-8"),
        ("nospace.txt", "ets", "line 9: expected `VIDEO START END##sentence`"),
        ("outside.txt", "tall", "line 9: from 10 to 33 seconds lies outside the video fi001"),
        ("outside.txt", "ets", "line 9: fi001 10 to 33 s shows nothing of its video"),
    ],
)
def test_sentences_that_cannot_be_right_are_refused_before_the_first_step(
    name: str,
    model: str,
    said: str,
    features: Path,
    tmp_path: Path,
    train: Callable[[dict[str, object]], tuple[int, str]],
):
    status, text = train(sentence_models(CASES / "moments" / name, features)[model])

    assert status == 1
    assert re.search(said, text), text
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All shards that the script of the cases makes."""
    folder = tmp_path_factory.mktemp("yt8m")
    spec = importlib.util.spec_from_file_location("make_tfrecords", MAKER)
    assert spec is not None
    assert spec.loader is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return folder / "yt" / "d"


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("ok", 0, "6 of 10 classes are on no record"),
        ("video_level", 0, "8 records to learn from"),
        ("one_frame", 0, "8 records to learn from"),
        ("long", 0, "8 records to learn from"),
        ("dup_id", 0, "8 records to learn from"),
        ("emptylabels", 0, "4 of 8 records have no label"),
        ("seg2019", 0, "segments of these videos have labels of their own"),
        ("seg2019_nolabels", 1, "none of the 8 records .* has a label of the whole video"),
        ("alllabelsempty", 1, "none of the 8 records .* has a label; there is nothing to learn"),
        ("oldvocab", 1, "label 4715, expected 0 to 9; .* set model.num_classes=4716"),
        ("noaudio", 1, r"none of the 8 records .*\n.*has no stream 'audio'.* it has: rgb"),
        ("emptyaudio", 1, r"none of the 8 records .*\n.*different lengths .* rgb 12, audio 0"),
        ("audioshort", 1, r"none of the 8 records .*\n.*different lengths .* rgb 12, audio 11"),
        ("zero_frames", 1, "record 3 .*empty: it has no frames"),
        ("zero", 1, "zero.tfrecord: empty, expected TFRecords"),
    ],
)
def test_records_are_read_or_said(
    name: str,
    status: int,
    said: str,
    shards: Path,
    train: Callable[[dict[str, object]], tuple[int, str]],
):
    path = str(shards / f"{name}.tfrecord")
    sections = yaml.safe_load((CASES / "al.yaml").read_text())
    sections["data"] = {"train": path, "val": path, "num_workers": 0}
    sections["model"] |= {"hidden_sizes": [16, 16]}

    got, text = train(sections)

    assert got == status, text
    assert re.search(said, text), text
