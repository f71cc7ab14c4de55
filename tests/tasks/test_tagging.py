"""Tagging from features: train, evaluate and predict, with both command lines."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import videozoo
from videozoo import cli, cli_v1
from videozoo.data.features._example import _entry, _sized, _varint, encode
from videozoo.data.features._tfrecord import write_tfrecord
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.record_formats import write_shard
from videozoo.data.features.records import FeatureRecord
from videozoo.engine.devices import make_accelerator
from videozoo.tasks.loading import build_trained, config_for_weights
from videozoo.tasks.requests import ConfigSource
from videozoo.tasks.tagging import Tagger
from videozoo.tasks.tagging.prediction import input_records
from videozoo.tasks.tagging.scoring import score_records
from videozoo.weights.files import read_weights

CLASSES = 6
STREAMS = {"rgb": 16, "audio": 8}
SMALL: dict[str, dict[str, Any]] = {
    "attention_cluster": {"num_frames": 6, "hidden_sizes": [32, 32]},
    "attention_lstm": {"embedding_size": 16, "lstm_size": 16, "hidden_sizes": [32, 32]},
    "nextvlad": {"cluster_size": 4, "groups": 4, "expansion": 1, "hidden_size": 32},
}
CLUSTERS = {"attention_cluster": {"clusters": 4}}


def make_videos(count: int, seed: int) -> list[FeatureRecord]:
    """Videos whose frames are noise, some of them with the mark of one of its tags."""
    marks = np.random.default_rng(7).normal(size=(CLASSES, sum(STREAMS.values()))) * 45
    rng = np.random.default_rng(seed)
    videos: list[FeatureRecord] = []
    for number in range(count):
        tags = np.flatnonzero(rng.random(CLASSES) < 0.3)
        frames = rng.normal(128, 12, (int(rng.integers(6, 14)), marks.shape[1]))
        for row in range(len(frames)):
            if len(tags):
                frames[row] += marks[tags[row % len(tags)]]
        features = frames.clip(0, 255).astype(np.uint8)
        videos.append(
            FeatureRecord(
                name=f"v{number:03d}",
                streams={"rgb": features[:, :16].copy(), "audio": features[:, 16:].copy()},
                labels=tuple(tags.tolist()),
            )
        )
    return videos


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    for part, count, seed in (("train", 160, 1), ("val", 24, 2), ("test", 40, 3)):
        videos = make_videos(count, seed)
        (folder / part).mkdir()
        for shard in range(2):
            write_shard(folder / part / f"{part}{shard}.tfrecord", videos[shard::2])
    return folder


def write_config(folder: Path, records: Path, model: str, **train: Any) -> Path:
    extra = CLUSTERS.get(model, {})
    config = {
        "model": {
            "name": model,
            "num_classes": CLASSES,
            "dropout": 0.0,
            "streams": [{"name": n, "dim": d, **extra} for n, d in STREAMS.items()],
            **SMALL[model],
        },
        "data": {
            **{part: str(records / part) for part in ("train", "val", "test")},
            "num_workers": 0,
        },
        "train": {
            "epochs": 8,
            "batch_size": 16,
            "optimizer": "adam",
            "learning_rate": 0.01,
            "weight_decay": 0.0,
            **train,
        },
    }
    path = folder / f"{model}.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.parametrize("model", list(SMALL))
def test_a_model_learns_evaluates_and_predicts(model: str, records: Path, tmp_path: Path):
    rate = 0.003 if model == "attention_lstm" else 0.01
    config = write_config(tmp_path, records, model, learning_rate=rate)
    run = tmp_path / "run"

    assert cli.main(["train", "--config", str(config), "--save-dir", str(run)]) == 0
    assert cli.main(["eval", "--weights", str(run), "--save-dir", str(tmp_path / "eval")]) == 0

    facts = json.loads((tmp_path / "eval" / "eval.json").read_text())
    assert facts["videos"] == 40
    assert facts["metrics"]["gap"] > 0.85  # frequencies alone give about 0.4
    shard = records / "test" / "test0.tfrecord"
    words = ["predict", "--weights", str(run), "--save-dir", str(tmp_path / "p"), "--top-k", "3"]
    assert cli.main([*words, "--explain", "--page", "--csv", str(shard)]) == 0
    found = json.loads((tmp_path / "p" / "predictions.json").read_text())["predictions"]
    assert len(found) == 20
    assert found[0]["top"][0]["class"] in (tmp_path / "p" / "page.html").read_text()
    assert len((tmp_path / "p" / "predictions.csv").read_text().splitlines()) == 1 + 20 * 3
    for row in found:
        with Image.open(tmp_path / "p" / row["explained"]) as picture:
            assert picture.height > 150
    assert [len(row["top"]) for row in found] == [3] * 20
    tagger = videozoo.load(run)
    assert isinstance(tagger, Tagger)
    result = tagger.predict(str(shard))[0]
    assert result.name == found[0]["video"]
    assert [number for number, _ in result.top(3)] == [t["label"] for t in found[0]["top"]]


def test_attention_is_a_share_of_each_frame_and_finds_what_speaks(records: Path, tmp_path: Path):
    config = write_config(tmp_path, records, "attention_lstm", learning_rate=0.003)
    run = tmp_path / "run"
    assert cli.main(["train", "--config", str(config), "--save-dir", str(run)]) == 0
    trained = config_for_weights(ConfigSource(), str(run))
    records_ = input_records([str(records / "test")], trained.config)

    scored = score_records(
        build_trained(trained).eval(),
        trained.config,
        trained.config.predict,
        records_,
        make_accelerator(device="cpu"),
        attention=True,
    )

    for number, result in scored.by_number.items():
        length = len(records_.read(number).streams["rgb"])
        for weights in result.attention:
            assert len(weights) == length
            assert weights.sum() == pytest.approx(1, abs=1e-5)


def test_features_of_another_extractor_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    packs: dict[int, Path] = {}
    for rate in (1, 2):
        packs[rate] = tmp_path / f"rate{rate}"
        with PackWriter(packs[rate], extractor={"model": "tsm", "rate": rate}) as pack:
            for video in make_videos(16, seed=rate):
                pack.write(video)
    config = str(write_config(tmp_path, tmp_path, "nextvlad"))
    run = str(tmp_path / "run")
    words = ["train", "--config", config, "--save-dir", run, "--epochs", "1", "--overwrite"]
    data = [f"data.{part}={packs[1]}" for part in ("train", "val", "test")]
    sets = [word for line in data for word in ("--set", line)]
    assert cli.main([*words, *sets]) == 0
    capsys.readouterr()

    assert cli.main(["predict", "--weights", run, "--save-dir", run, str(packs[1])]) == 0
    assert cli.main(["predict", "--weights", run, "--save-dir", run, str(packs[2])]) == 1
    assert "mixed features: these features have fingerprint" in (error := capsys.readouterr().err)
    assert "rate 2 instead of 1" in error
    assert cli.main(["eval", "--weights", run, "--set", f"data.test={packs[2]}"]) == 1
    assert cli.main([*words, *sets, "--set", f"data.val={packs[2]}"]) == 1
    assert "mixed features: data.val have fingerprint" in capsys.readouterr().err


def test_hit_at_one_of_2019_comes_only_when_asked_for(records: Path, tmp_path: Path):
    config = str(write_config(tmp_path, records, "nextvlad", epochs=1))
    run = str(tmp_path / "run")
    assert cli.main(["train", "--config", config, "--save-dir", run]) == 0
    words = ["eval", "--weights", run, "--save-dir", str(tmp_path / "eval")]
    found = list[dict[str, float]]()
    for asked in (False, True):
        assert cli.main([*words, "--set", f"eval.hit_at_one_2019={asked}"]) == 0
        found.append(json.loads((tmp_path / "eval" / "eval.json").read_text())["metrics"])

    assert "hit_at_one_2019" not in found[0]
    assert 0 < found[1]["hit_at_one_2019"] < found[1]["hit_at_one"]


def test_a_resumed_run_ends_as_one_that_never_stopped(records: Path, tmp_path: Path):
    config = str(write_config(tmp_path, records, "attention_lstm", ema_decay=0.9, epochs=4))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert cli.main(["train", "--config", config, "--save-dir", str(whole)]) == 0

    words = ["train", "--config", config, "--save-dir", str(parts)]
    assert cli.main([*words, "--epochs", "2"]) == 0
    assert cli.main([*words, "--resume"]) == 0

    one, other = (
        read_weights(run / "weights" / "epoch_4.safetensors")[0] for run in (whole, parts)
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_2019_lines_run_on_pickles(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for part, seed in (("train", 1), ("test", 3)):
        videos = [
            {
                b"video": video.name.encode(),
                b"nframes": np.int32(len(video.streams["rgb"])),
                b"feature": video.streams["rgb"],
                b"audio": video.streams["audio"],
                b"label": list(video.labels or ()),
            }
            for video in make_videos(12, seed)
        ]
        Path(f"{part}.pkl").write_bytes(pickle.dumps(videos, protocol=2))
        Path(f"{part}.list").write_text(f"{part}.pkl\n")
    np.save("eigenvals.npy", np.linspace(2, 0.1, 16)[:, None])
    sections = {
        "MODEL": {
            "name": "NEXTVLAD",
            "num_classes": CLASSES,
            "topk": 4,
            "video_feature_size": 16,
            "audio_feature_size": 8,
            "cluster_size": 2,
            "hidden_size": 16,
            "groups": 16,
            "expansion": 1,
            "drop_rate": 0.5,
            "gating_reduction": 8,
            "eigen_file": "./eigenvals.npy",
        },
        "TRAIN": {
            "epoch": 1,
            "learning_rate": 0.0002,
            "lr_boundary_examples": 2000000,
            "max_iter": 700000,
            "learning_rate_decay": 0.8,
            "l2_penalty": "1e-5",
            "gradient_clip_norm": 1.0,
            "use_gpu": False,
            "num_gpus": 1,
            "batch_size": 4,
            "filelist": "train.list",
        },
        "VALID": {"batch_size": 4, "filelist": "test.list"},
        "TEST": {"batch_size": 4, "filelist": "test.list"},
        "INFER": {"batch_size": 1, "filelist": "test.list"},
    }
    Path("nextvlad.yaml").write_text(yaml.safe_dump(sections))
    words = ["--model_name=NEXTVLAD", "--config=./nextvlad.yaml", "--use_gpu=False"]

    assert cli_v1.train([*words, "--save_dir=./checkpoints", "--pretrain=none"]) == 0
    assert cli_v1.evaluate([*words, "--weights=./checkpoints/NEXTVLAD"]) == 0
    assert cli_v1.predict([*words, "--weights=./checkpoints/NEXTVLAD"]) == 0

    state, metadata = read_weights(Path("checkpoints/NEXTVLAD/best.safetensors"))
    np.testing.assert_allclose(
        state["eigen_scale"].numpy(), np.sqrt(np.linspace(2, 0.1, 16)) + 1e-4, rtol=1e-6
    )
    assert metadata["config"]["train"]["decay_at"] == [500000.0]
    found = json.loads(Path("data/predict_results/NEXTVLAD/predictions.json").read_text())[
        "predictions"
    ]
    assert [len(row["top"]) for row in found] == [4] * 12


def test_a_missing_file_of_eigenvalues_is_named_before_anything_is_made(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = write_config(tmp_path, records, "nextvlad")
    words = ["train", "--config", str(config), "--save-dir", str(tmp_path / "run")]

    status = cli.main([*words, "--set", "model.eigen_file=nowhere.npy"])

    assert status == 1
    assert "nowhere.npy: no such file; model.eigen_file" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_tagging_cannot_do_yet_is_said(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config, run = str(write_config(tmp_path, records, "nextvlad")), str(tmp_path / "run")
    assert cli.main(["train", "--config", config, "--save-dir", run, "--epochs", "1"]) == 0
    capsys.readouterr()

    assert cli.main(["export", "--weights", run, "--format", "torch-export"]) == 2
    assert "NeXtVLAD is exported as onnx only" in capsys.readouterr().err
    assert cli.main(["eval", "--weights", run, "--report"]) == 0
    assert "average precision" in Path(run, "eval/report.html").read_text()
    assert cli.main(["predict", "--weights", run, "--annotate", str(records / "test")]) == 2


def test_a_part_that_is_learnt_from_is_told(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = str(write_config(tmp_path, records, "attention_lstm", epochs=1))
    run = str(tmp_path / "run")
    words = ["--set", f"data.val={records / 'train'}"]

    assert cli.main(["train", "--config", config, "--save-dir", run, *words]) == 0

    assert "WARNING: data.val is data.train" in capsys.readouterr().err
    line = ["eval", "--weights", run, "--save-dir", str(tmp_path / "e")]
    assert cli.main(line) == 0
    assert "WARNING" not in capsys.readouterr().err
    assert cli.main([*line, "--data", str(records / "train")]) == 0
    assert "WARNING: data.test is data.train" in capsys.readouterr().err


Says = Callable[..., tuple[int, str]]


@pytest.fixture
def says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Says:
    """Run the command line; its status, and what it said."""

    def run(*words: str, **sets: str) -> tuple[int, str]:
        capsys.readouterr()
        status = cli.main(
            [*words, *(w for k, v in sets.items() for w in ("--set", f"data.{k}={v}"))]
        )
        shown = capsys.readouterr()
        return status, shown.out + shown.err

    return run


def shard(path: Path, labels: Sequence[Sequence[int] | None]) -> str:
    """Records that have these labels."""
    videos = [
        replace(video, labels=None if given is None else tuple(given))
        for video, given in zip(make_videos(len(labels), seed=5), labels, strict=True)
    ]
    write_shard(path, videos)
    return str(path)


@pytest.mark.parametrize("model", list(SMALL))
def test_nothing_to_learn_or_to_compare_with_is_said_before_the_first_step(
    model: str, tmp_path: Path, says: Says
):
    config = str(write_config(tmp_path, tmp_path, model, epochs=1, batch_size=4))
    run = tmp_path / "run"
    words = ["train", "--config", config, "--save-dir", str(run), "--overwrite"]
    good = shard(tmp_path / "good.tfrecord", [[0], [1, 2], [3], [4, 5]])
    empty = shard(tmp_path / "empty.tfrecord", [[]] * 4)
    one = shard(tmp_path / "one.tfrecord", [[3]] * 4)
    large = shard(tmp_path / "large.tfrecord", [[0], [1], [2], [CLASSES]])

    status, said = says(*words, train=empty, val=good)
    assert (status, "data.train: none of the 4 records" in said) == (1, True)
    status, said = says(*words, train=good, val=empty)
    assert (status, "data.val: none of the 4 records" in said) == (1, True)
    status, said = says(*words, train=large, val=good)
    assert (status, "record 3" in said, "set model.num_classes=7" in said) == (1, True, True)
    assert not run.exists()
    status, said = says(*words, train=one, val=good)
    assert (status, "all labels are of one class, 3" in said) == (0, True)
    assert "5 of 6 classes are on no record" in said
    assert "4 of the 4 videos to check with are also learnt from" in said
    assert "4 records to learn from, 4 to check with" in said
    status, said = says("eval", "--weights", str(run), test=empty)
    assert (status, "there is nothing to compare with" in said, "nan" in said) == (1, True, False)


def test_segment_labels_are_not_dropped_in_silence(tmp_path: Path, says: Says):
    for name, labels in (("rated", (1, 2)), ("bare", None)):
        messages = [
            encode(video.name, None, video.streams)
            + b"\n"  # the context once more: messages of one field are put together
            + _varint(len(context := _context(labels)))
            + context
            for video in make_videos(4, seed=5)
        ]
        write_tfrecord(tmp_path / f"{name}.tfrecord", messages)
    good = shard(tmp_path / "good.tfrecord", [[0], [1, 2], [3], [4, 5]])
    rated, bare = (str(tmp_path / f"{name}.tfrecord") for name in ("rated", "bare"))
    config, run = str(write_config(tmp_path, tmp_path, "nextvlad", epochs=1)), str(tmp_path / "run")
    train = ["train", "--config", config, "--save-dir", run, "--overwrite"]
    note = "segments of these videos have labels of their own"

    for words, sets in (
        (train, {"train": rated, "val": good}),
        (train, {"train": good, "val": rated}),
        (["eval", "--weights", run], {"test": rated}),
        (["predict", "--weights", run, rated], {}),
        (["check-data", rated], {}),
        (["check-data", "--config", config], {"train": good, "val": rated, "test": good}),
        (["prepare", "youtube8m", rated, "--output", str(tmp_path / "packs")], {}),
    ):
        status, said = says(*words, **sets)
        assert (status, said.count(note)) == (0, 1), words
    status, said = says("eval", "--weights", run, test=bare)
    assert (status, "has a label of the whole video" in said) == (1, True)
    status, said = says("predict", "--weights", run, good)
    assert (status, note in said) == (0, False)
    for words in (["predict", "--weights", run, good], ["eval", "--weights", run], train):
        status, said = says(*words, train=good, val=good, test=good, max_frames="5")
        assert (status, "those beyond data.max_frames=5 are not used" in said) == (0, True)


def _context(labels: Sequence[int] | None) -> bytes:
    segments = {"segment_start_times": (0, 5), "segment_labels": (1, 2)}
    listed = segments if labels is None else {**segments, "labels": labels}
    return b"".join(
        _entry(key, _sized(3, _sized(1, b"".join(map(_varint, values)))))
        for key, values in listed.items()
    )


def test_features_that_are_not_numbers_are_named(tmp_path: Path, says: Says):
    good = make_videos(40, seed=5)
    floats = [
        replace(v, streams={n: f.astype(np.float32) for n, f in v.streams.items()}, labels=(0,))
        for v in good
    ]
    floats[7].streams["rgb"][2, 3] = np.nan
    write_shard(tmp_path / "nan.tfrecord", floats)
    config = str(write_config(tmp_path, tmp_path, "nextvlad", epochs=1))
    words = ["train", "--config", config, "--save-dir", str(tmp_path / "run")]

    status, said = says(*words, train=str(tmp_path / "nan.tfrecord"), val="null")

    assert (status, "record 7" in said, "rgb holds nan in frame 2, value 3" in said) == (
        1,
        True,
        True,
    )


def test_records_are_checked_as_a_run_would_read_them(tmp_path: Path, says: Says):
    good = shard(tmp_path / "good.tfrecord", [[0], [1, 2], [3], [4, 5]])
    large = shard(tmp_path / "large.tfrecord", [[0], [1], [2], [CLASSES], []])
    config = str(write_config(tmp_path, tmp_path, "nextvlad"))

    status, said = says("check-data", good)
    assert (status, "4 records in 1 file; 4 can be used" in said) == (0, True)
    assert "rgb 16 uint8 (4), audio 8 uint8 (4)" in said
    words = ["check-data", "--config", config, "--json", str(tmp_path / "c.json")]
    status, said = says(*words, train=good, val=large, test="null")
    assert (status, "label 6, expected 0 to 5" in said) == (1, True)
    assert "1 of 5 records have no label" in said
    assert "leak: 4 names also in data.train" in said
    facts = json.loads((tmp_path / "c.json").read_text())
    assert [part["records"] for part in facts["parts"]] == [4, 5]
    status, said = says(*words, train=good, val="null", test="null", root="null")
    assert status == 0


def test_a_batch_of_one_record_is_refused_where_the_model_needs_two(tmp_path: Path, says: Says):
    one = shard(tmp_path / "one.tfrecord", [[0]])
    config = str(write_config(tmp_path, tmp_path, "nextvlad", epochs=1))
    run = tmp_path / "run"

    status, said = says("train", "--config", config, "--save-dir", str(run), train=one, val="null")

    assert (status, "a batch of one record: this model normalises" in said) == (1, True)
    assert not run.exists()


def test_parts_with_features_of_different_kinds_do_not_go_together(tmp_path: Path, says: Says):
    good = make_videos(4, seed=5)
    floats = [
        replace(v, streams={n: f.astype(np.float32) for n, f in v.streams.items()}) for v in good
    ]
    for name, videos in (("bytes", good), ("floats", floats)):
        with PackWriter(tmp_path / name, extractor=None) as pack:
            for video in videos:
                pack.write(replace(video, labels=(0,)))
    with PackWriter(tmp_path / "known", extractor={"model": "tsm", "rate": 1}) as pack:
        for video in floats:
            pack.write(replace(video, name=f"{video.name} again", labels=(0,)))
    config = str(write_config(tmp_path, tmp_path, "attention_lstm", epochs=1))
    words = ["train", "--config", config, "--save-dir", str(tmp_path / "run")]

    status, said = says(*words, train=str(tmp_path / "bytes"), val=str(tmp_path / "floats"))
    assert (status, "rgb holds float32 in data.val, but uint8 in data.train" in said) == (1, True)
    status, said = says(*words, train=str(tmp_path / "floats"), val=str(tmp_path / "known"))
    assert (status, "data.train does not say what made its features" in said) == (0, True)


def test_rare_classes_can_count_more(tmp_path: Path, says: Says):
    labels = [[0]] * 12 + [[1], [1, 2], [2]] + [[]]
    records = shard(tmp_path / "some.tfrecord", labels)
    config, run = str(write_config(tmp_path, tmp_path, "nextvlad", epochs=2)), tmp_path / "run"
    words = ["train", "--config", config, "--overwrite", "--save-dir"]
    words = [
        *words,
        str(run),
        "--set",
        "data.balance=true",
        "--set",
        "train.class_weights=balanced",
    ]

    status, said = says(*words, train=records, val="null")

    assert status == 0, said
    # 16 labels of 3 classes: 16 / (3 x 12) and 16 / (3 x 2)
    assert "class weights: from 0.444 (0) to 2.67 (" in said
    assert "each class has about 4 of the 16 videos of an epoch (data.balance)" in said
    assert "one of them is enough" in said
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any(line.get("kind") == "epoch" for line in lines)
    weights = tmp_path / "weights.txt"
    weights.write_text("0 1\n1 2\n")
    words[-1] = f"train.class_weights={weights}"
    status, said = says(*words, train=records, val="null")
    assert (status, "no weight for 4 of 6 classes" in said) == (1, True)


def test_a_solved_model_has_no_weights_and_no_balance(tmp_path: Path, says: Says):
    records = shard(tmp_path / "some.tfrecord", [[0], [1], [2], [3], [4], [5]])
    streams = [{"name": name, "dim": dim} for name, dim in STREAMS.items()]
    config = {"model": {"name": "probe", "num_classes": CLASSES, "streams": streams}}
    config |= {"data": {"train": records, "num_workers": 0}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    words = ["train", "--config", str(tmp_path / "c.yaml"), "--save-dir", str(tmp_path / "run")]

    for setting in ("data.balance=true", "data.segments=true", "train.class_weights=balanced"):
        status, said = says(*words, "--set", setting)
        name = setting.partition("=")[0]
        assert (status, f"{name}: " in said, "is solved from all videos at once" in said) == (
            1,
            True,
            True,
        )
