"""Finding segments: train, evaluate and predict, with both command lines."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import videozoo
from tests.weights.test_paddle import record
from videozoo import cli, cli_v1
from videozoo.config import from_layers
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.records import FeatureRecord
from videozoo.data.features.writer import FeatureFolder
from videozoo.report.timeline import SpanRow, Timeline, timeline_picture
from videozoo.settings.segments import SequenceEval
from videozoo.tasks.inference import MeanLosses
from videozoo.tasks.loading import Trained, build_trained, paddle_names
from videozoo.tasks.localisation import prediction
from videozoo.tasks.localisation.measures import Truth, measure_detections, measure_proposals
from videozoo.tasks.localisation.pages import tie_line
from videozoo.tasks.localisation.results import VideoProposals
from videozoo.tasks.localisation.scoring import LocalisationResults
from videozoo.types import Candidates
from videozoo.weights.files import read_weights
from videozoo.weights.fit import as_paddle
from videozoo.weights.paddle import write_pdparams

STEPS, DIM = 20, 8
CLASSES = ("dig", "swim")
PARTS = {"training": 24, "validation": 8, "testing": 4}

SMALL: dict[str, dict[str, Any]] = {
    "bmn": {
        "feature_dim": DIM,
        "num_steps": STEPS,
        "num_durations": STEPS,
        "num_samples": 4,
        "samples_per_bin": 2,
    },
    "bsn_tem": {"feature_dim": DIM, "num_steps": STEPS, "hidden_size": 32},
    "bsn": {
        "tem": {"feature_dim": DIM, "num_steps": STEPS, "hidden_size": 32},
        "pem": {"hidden_size": 4},
    },
    "ctcn": {"feature_dim": 3, "num_steps": 512, "num_classes": 3},
}


def make_video(rng: np.random.Generator, dim: int = DIM) -> tuple[Any, list[dict[str, Any]]]:
    """Noise, with marks of two actions, one a third: where each starts, goes on and ends."""
    features = rng.normal(0, 0.3, (STEPS, dim)).astype(np.float32)
    segments: list[dict[str, Any]] = []
    for low in (1, 11):
        start, length = low + int(rng.integers(0, 3)), int(rng.integers(3, 7))
        label = int(rng.integers(0, 2))
        features[start, 0] += 3
        features[start : start + length, 1 + label] += 2
        features[start + length - 1, -1] += 3
        # boundaries just between two steps belong to neither
        seconds = [2.0 * start + 0.3, 2.0 * (start + length) - 0.3]
        segments.append({"segment": seconds, "label": CLASSES[label]})
    return features, segments


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


def write_world(folder: Path) -> Path:
    """Write videos of every part into a folder: features and annotations."""
    (folder / "features").mkdir()
    rng = np.random.default_rng(0)
    database: dict[str, Any] = {}
    for subset, count in PARTS.items():
        for number in range(count):
            name = f"v_{subset[:2]}{number:02d}"
            features, segments = make_video(rng)
            np.save(folder / "features" / f"{name}.npy", features)
            shown = [] if subset == "testing" else segments
            database[name] = {"duration": 40.0, "subset": subset, "annotations": shown}
    (folder / "anet.json").write_text(json.dumps({"database": database}))
    return folder


def write_config(folder: Path, world: Path, model: str, *, data: Any = None, **train: Any) -> str:
    config = {
        "model": {"name": model, **SMALL[model]},
        "data": {
            "annotations": str(world / "anet.json"),
            "features": str(world / "features"),
            "num_workers": 0,
            **(data or {}),
        },
        "train": {
            "epochs": 2,
            "batch_size": 8,
            "optimizer": "adam",
            "learning_rate": 0.002,
            "channels_last": False,
            **train,
        },
    }
    path = folder / f"{model}.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def evaluated(run: Path, folder: Path, *words: str) -> dict[str, Any]:
    line = ["eval", "--weights", str(run), "--save-dir", str(folder), "--no-report"]
    assert cli.main([*line, *words]) == 0
    return json.loads((folder / "eval.json").read_text())


@pytest.fixture(scope="module")
def bmn_run(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bmn")
    config = write_config(folder, world, "bmn", epochs=6)
    assert cli.main(["train", "--config", config, "--save-dir", str(folder / "run")]) == 0
    return folder / "run"


def test_bmn_learns_and_evaluates(bmn_run: Path, tmp_path: Path):
    words = ["--set", "eval.average_numbers=[1,10,150]", "--set", f"eval.score_files={tmp_path}/s"]

    facts = evaluated(bmn_run, tmp_path, *words)

    assert (facts["videos"], facts["videos_annotated"], facts["missing"]) == (8, 8, [])
    metrics = facts["metrics"]
    assert set(metrics) == {"ar@1", "ar@10", "ar@150", "auc"}
    assert metrics["ar@10"] > 0.5  # ten random segments find about 0.2
    assert len(facts["curve"]["average_recall"]) == 100
    assert sum(row["segments"] for row in facts["by_length"]) == 16
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert sorted(results) == [f"va{number:02d}" for number in range(8)]  # without `v_`
    assert all(0 <= t <= 40 for row in results.values() for one in row for t in one["segment"])
    assert len(list((tmp_path / "s").glob("v_va*.csv"))) == 8


def test_proposals_and_classes_of_videos_make_detections(
    bmn_run: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    database = json.loads((world / "anet.json").read_text())["database"]
    scores = {
        name: {one["label"]: 0.9 for one in video["annotations"]} or {"dig": 0.1}
        for name, video in database.items()
    }
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(scores))

    facts = evaluated(bmn_run, tmp_path, "--labels", str(labels))

    assert facts["metrics"]["map@0.5"] > 0.2
    assert facts["metrics"]["auc"] > 0
    found = facts["detections"]
    assert sum(found["best"].values()) == pytest.approx(1)
    assert [row["class"] for row in found["classes"]] == list(CLASSES)
    assert "mAP@0.5" in capsys.readouterr().out
    one = json.loads((tmp_path / "results.json").read_text())["results"]["va00"][0]
    assert one["label"] in CLASSES
    capsys.readouterr()
    line = ["score", str(tmp_path / "results.json"), "--truth", str(world / "anet.json")]
    assert cli.main([*line, "--json", str(tmp_path / "again.json")]) == 0
    again = json.loads((tmp_path / "again.json").read_text())
    for key in ("map", "map@0.5", "map@0.95"):
        assert again["metrics"][key] == pytest.approx(facts["metrics"][key])
    assert again["detections"]["best"] == pytest.approx(found["best"])
    assert "all results are of" in capsys.readouterr().out

    labels.write_text(json.dumps({"va00": {"fly": 1.0}}))
    line = ["eval", "--weights", str(bmn_run), "--labels", str(labels)]
    assert cli.main(line) == 1
    assert "unknown class 'fly'" in capsys.readouterr().err
    labels.write_text(json.dumps({"x": {"dig": 1.0}}))
    assert cli.main(line) == 1
    assert "no class scores for any of the 8 videos" in capsys.readouterr().err


def test_what_a_localiser_predicted_is_scored(bmn_run: Path, world: Path, tmp_path: Path):
    facts = evaluated(bmn_run, tmp_path / "eval")
    line = ["predict", "--weights", str(bmn_run), str(world / "features")]
    assert cli.main([*line, "--save-dir", str(tmp_path / "predicted")]) == 0

    line = ["score", str(tmp_path / "predicted"), "--truth", str(world / "anet.json")]
    assert cli.main([*line, "--subset", "val", "--json", str(tmp_path / "again.json")]) == 0

    again = json.loads((tmp_path / "again.json").read_text())
    assert again["format"] == "ActivityNet results"  # those in the predictions are rounded
    for key in ("ar@1", "ar@10", "auc"):
        assert again["metrics"][key] == pytest.approx(facts["metrics"][key])


def test_what_a_classifier_of_ours_predicted_will_do_as_labels(
    bmn_run: Path, world: Path, tmp_path: Path
):
    top = [{"class": "swim", "label": 1, "score": 0.8}]
    rows = [{"video": f"clips/v_va{number:02d}.mp4", "top": top} for number in range(8)]
    (tmp_path / "predictions.json").write_text(json.dumps({"predictions": rows}))

    facts = evaluated(bmn_run, tmp_path / "e", "--labels", str(tmp_path))

    assert facts["metrics"]["map"] >= 0


def test_bmn_predicts_on_files_folders_and_lists(
    bmn_run: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    listed = tmp_path / "some.list"
    listed.write_text("v_te00\nv_te01 anything\n")
    line = ["predict", "--weights", str(bmn_run), "--save-dir", str(tmp_path), "--top-k", "2"]

    assert cli.main([*line, "--explain", str(listed)]) == 0

    assert "v_te01" in capsys.readouterr().out
    found = json.loads((tmp_path / "predictions.json").read_text())["predictions"]
    assert [row["video"] for row in found] == ["v_te00", "v_te01"]
    assert found[0]["duration_seconds"] == 40.0  # the annotations tell
    assert found[0]["segments"][0]["end_seconds"] <= 40.0
    with Image.open(tmp_path / found[0]["explained"]) as picture:
        assert picture.height > 150
    files = [str(world / "features" / f"v_te0{number}.npy") for number in range(3)]
    assert cli.main([*line, *files]) == 0
    assert len(json.loads((tmp_path / "predictions.json").read_text())["predictions"]) == 3
    finder: Any = videozoo.load(bmn_run)
    alone = finder.predict(world / "features")
    assert len(alone) == sum(PARTS.values())
    assert alone[0].segments[0].score >= alone[0].segments[-1].score

    lost = ["--set", "data.annotations=null", "--set", "data.durations=null"]
    assert cli.main([*line, *lost, files[0]]) == 0
    row = json.loads((tmp_path / "predictions.json").read_text())["predictions"][0]
    assert row["duration_seconds"] is None
    assert 0 <= row["segments"][0]["start"] <= 1


def test_annotations_as_a_list_name_videos_and_their_lengths(
    bmn_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    for name in ("infer.list", "some.json"):
        listed = tmp_path / name
        listed.write_text('{"v_te01": {"duration_second": 80.0}, "v_te00": {"subset": "test"}}')
        line = ["predict", "--weights", str(bmn_run), "--save-dir", str(tmp_path), str(listed)]
        assert cli.main([*line, "--set", "data.annotations=null"]) == 0

        found = json.loads((tmp_path / "predictions.json").read_text())["predictions"]
        assert [(row["video"], row["duration_seconds"]) for row in found] == [
            ("v_te01", 80.0),
            ("v_te00", None),
        ]
        assert "by their names" not in caplog.text


def test_a_resumed_run_ends_as_one_that_never_stopped(world: Path, tmp_path: Path):
    config = write_config(tmp_path, world, "bmn", ema_decay=0.9)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert cli.main(["train", "--config", config, "--save-dir", str(whole)]) == 0

    words = ["train", "--config", config, "--save-dir", str(parts)]
    assert cli.main([*words, "--epochs", "1"]) == 0
    assert cli.main([*words, "--resume"]) == 0

    one, other = (
        read_weights(run / "weights" / "epoch_2.safetensors")[0] for run in (whole, parts)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_both_stages_of_bsn_in_one_run(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    second = {"epochs": 3, "batch_size": 8, "learning_rate": 0.05}
    config = write_config(tmp_path, world, "bsn", epochs=20, second_stage=second)
    run = tmp_path / "run"
    line = ["train", "--config", config, "--save-dir", str(run), "--log-interval", "0"]
    assert cli.main(line) == 0

    facts = evaluated(run, tmp_path / "e")

    assert facts["metrics"]["ar@10"] > 0.5
    # each stage is a run of its own, and through files the numbers are the same
    files = {"proposal": str(tmp_path / "proposals"), "feature": str(tmp_path / "numbers")}
    sets = [w for key, path in files.items() for w in ("--set", f"eval.{key}_files={path}")]
    stage = evaluated(run / "first", tmp_path / "f", *sets)
    assert 0 < stage["metrics"]["loss"] < 10
    data = [f"data.proposals={files['proposal']}", f"data.proposal_features={files['feature']}"]
    sets = [word for each in data for word in ("--set", each)]
    apart = evaluated(run / "second", tmp_path / "s", *sets)
    assert apart["metrics"]["auc"] == pytest.approx(facts["metrics"]["auc"], abs=1e-9)
    words = ["predict", "--weights", str(run / "second"), "--save-dir", str(tmp_path / "q")]
    assert cli.main([*words, *files.values()]) == 0
    assert len(json.loads((tmp_path / "q" / "predictions.json").read_text())["predictions"]) == 8
    together, first = (read_weights(path / "best.safetensors")[0] for path in (run, run / "first"))
    assert all(torch.equal(together[f"tem.{name}"], first[name]) for name in first)
    words = ["predict", "--weights", str(run), "--save-dir", str(tmp_path / "p"), "--explain"]
    assert cli.main([*words, str(world / "features" / "v_te00.npy")]) == 0

    # going on: with the second stage alone, once the first is done
    before = (run / "best.safetensors").read_bytes()
    (run / "best.safetensors").unlink()
    assert cli.main(["eval", "--weights", str(run)]) == 1
    assert "not finished" in capsys.readouterr().err
    assert cli.main([*line, "--resume"]) == 0
    again, _ = read_weights(run / "best.safetensors")
    assert len(before) == (run / "best.safetensors").stat().st_size
    assert all(torch.equal(again[name], together[name]) for name in again)
    assert cli.main(line) == 1  # there is a run
    assert "already holds a run" in capsys.readouterr().err


def test_flags_are_of_both_stages_of_bsn(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    second = {"epochs": 3, "batch_size": 8, "learning_rate": 0.05}
    config = write_config(tmp_path, world, "bsn", epochs=2, second_stage=second)
    run = tmp_path / "run"
    words = ["train", "--config", config, "--save-dir", str(run), "--log-interval", "0"]
    flags = ["--epochs", "1", "--batch-size", "4", "--learning-rate", "0.01"]

    assert cli.main([*words, *flags]) == 0

    assert "second: --set train.second_stage.learning_rate=X" in capsys.readouterr().err
    for stage, rate in (("first", 0.01), ("second", 0.05)):
        stored = read_weights(run / stage / "best.safetensors")[1]["config"]["train"]
        assert (stored["epochs"], stored["batch_size"]) == (1, 4)
        assert stored["learning_rate"] == rate
    # the weights of both say how long the videos were, as those of the first stage do
    measured = [
        read_weights(each / "best.safetensors")[1]["measured"] for each in (run, run / "first")
    ]
    assert measured[0] == measured[1]
    assert measured[0]["videos"]["median_seconds"] > 0


def test_stages_of_bsn_must_fit_each_other(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = write_config(tmp_path, world, "bsn")

    words = ["train", "--config", config, "--save-dir", str(tmp_path / "r")]
    assert cli.main([*words, "--set", "model.pem.feature_dim=31"]) == 1
    assert "make them agree" in capsys.readouterr().err
    assert cli.main([*words, "--pretrain", "some.safetensors"]) == 2
    assert "BSN trains two networks" in capsys.readouterr().err
    line = ["--model_name=BSN", f"--config={config}", f"--save_dir={tmp_path / 'v1'}"]
    assert cli_v1.train([*line, "--set", "model.pem.feature_dim=31"]) == 1
    assert "make them agree" in capsys.readouterr().err  # nobody asked for other weights
    assert cli.main([*words, "--resume"]) == 1
    assert "holds no run" in capsys.readouterr().err


def write_snippets(folder: Path) -> dict[str, Path]:
    """C-TCN's world: pickles of two streams, 2019 lists, class names, durations."""
    rng = np.random.default_rng(1)
    lines: dict[str, list[str]] = {"train": [], "val": []}
    durations: list[str] = []
    for part, count in (("train", 2), ("val", 2)):
        for stream in ("rgb", "flow"):
            (folder / "feats" / f"{stream}_{part}").mkdir(parents=True)
        for number in range(count):
            name = f"v_{part}{number}"
            features, segments = make_video(rng, dim=3)
            for stream, columns in (("rgb", features[:, :2]), ("flow", features[:, 2:])):
                path = folder / "feats" / f"{stream}_{part}" / f"{name}.pkl"
                path.write_bytes(pickle.dumps({b"scores": columns}, protocol=2))
            fields = [name, str(STEPS), str(len(segments))]
            for one in segments:
                start, end = (int(t / 2) for t in one["segment"])
                fields += [str(CLASSES.index(one["label"]) + 1), str(start), str(end)]
            lines[part].append(" ".join(fields))
            durations.append(f"{name} {STEPS} 40.0")
    files = {part: folder / f"{part}.list" for part in lines}
    for part, path in files.items():
        path.write_text("\n".join(lines[part]) + "\n")
    files["durations"] = folder / "durations.list"
    files["durations"].write_text("\n".join(line for line in durations if "val" in line))
    files["labels"] = folder / "labels.txt"
    files["labels"].write_text("\n".join(CLASSES))
    files["infer"] = folder / "infer.list"
    files["infer"].write_text("v_val0\nv_val1\n")
    return files


def test_the_2019_lines_of_ctcn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    write_snippets(tmp_path)
    streams = {part: {s: f"{s}_{part}" for s in ("rgb", "flow")} for part in ("train", "val")}
    sections = {
        "MODEL": {
            "name": "CTCN",
            "num_classes": 3,
            "img_size": 512,
            "concept_size": 3,
            "num_anchors": 7,
            "total_num_anchors": 1785,
            "snippet_length": 1,
            "root": "./feats",
        },
        "TRAIN": {
            "epoch": 1,
            "filelist": "train.list",
            **streams["train"],
            "batch_size": 2,
            "num_threads": 1,
            "use_gpu": False,
            "num_gpus": 1,
            "learning_rate": 0.0005,
            "learning_rate_decay": 0.1,
            "lr_decay_iter": 9000,
            "l2_weight_decay": "1e-4",
            "momentum": 0.9,
        },
        "VALID": {"filelist": "val.list", **streams["val"], "batch_size": 2},
        "TEST": {
            "filelist": "val.list",
            **streams["val"],
            "class_label_file": "labels.txt",
            "video_duration_file": "durations.list",
            "batch_size": 1,
            "score_thresh": 0.001,
            "nms_thresh": 0.8,
            "sigma_thresh": 0.9,
            "soft_thresh": 0.004,
        },
        "INFER": {"filelist": "infer.list", **streams["val"], "batch_size": 1},
    }
    Path("ctcn.yaml").write_text(yaml.safe_dump(sections))
    words = ["--model_name=CTCN", "--config=ctcn.yaml", "--use_gpu=False"]
    words += ["--set", "data.num_workers=0"]

    assert cli_v1.train([*words, "--pretrain=none"]) == 0
    weights = "--weights=data/checkpoints/CTCN"
    assert cli_v1.evaluate([*words, weights]) == 0
    nothing = ["--set", "predict.class_nms.score_threshold=1.0"]
    assert cli_v1.predict([*words, weights, *nothing]) == 0

    name = "CTCN_{}_res_decode_0.001_0.8_0.9_0.004.json"
    written = json.loads(Path("data/evaluate_results", name.format("test")).read_text())
    assert written["external_data"] == {"uesd": False, "details": "none"}
    assert list(written["results"]) == ["v_val0", "v_val1"]
    found = [one for row in written["results"].values() for one in row]
    assert {one["label"] for one in found} <= set(CLASSES)
    facts = json.loads(Path("data/evaluate_results/CTCN/eval.json").read_text())
    assert {"map", "map@0.5", "auc"} <= set(facts["metrics"])
    empty = json.loads(Path("data/predict_results", name.format("infer")).read_text())["results"]
    assert list(empty.values()) == [[], []]  # and no crash, as in 2019
    assert "has no effect" not in capsys.readouterr().err


def v1_training(**changes: Any) -> dict[str, Any]:
    return {
        "subset": "train",
        "epoch": 1,
        "batch_size": 8,
        "num_threads": 1,
        "use_gpu": False,
        "num_gpus": 1,
        "learning_rate": 0.001,
        "learning_rate_decay": 0.1,
        "lr_decay_iter": 4200,
        "l2_weight_decay": "1e-4",
        **changes,
    }


@pytest.fixture
def world_2019(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same videos as CSV with 2019's annotations."""
    monkeypatch.chdir(tmp_path)
    database = json.loads((world / "anet.json").read_text())["database"]
    for video in database.values():
        video["duration_second"] = video.pop("duration")
    Path("anet.json").write_text(json.dumps(database))
    Path("feats").mkdir()
    header = ",".join(f"f{number}" for number in range(DIM))
    for path in (world / "features").glob("*.npy"):
        target = Path("feats") / f"{path.stem}.csv"
        np.savetxt(target, np.load(path), "%.6f", ",", header=header, comments="")
    some = {name: database[name] for name in ("v_te00", "v_te01")}
    Path("infer.list").write_text(json.dumps(some))  # as 2019 ships it
    return tmp_path


def lines_of_2019(model: str, sections: dict[str, Any]) -> None:
    """Train, evaluate and predict, as 2019's run.sh did."""
    Path(f"{model}.yaml").write_text(yaml.safe_dump(sections))
    words = [f"--model_name={model}", f"--config={model}.yaml", "--use_gpu=False"]
    words += ["--set", "data.num_workers=0"]
    assert cli_v1.train([*words, "--pretrain=none", "--log_interval=1"]) == 0
    weights = f"--weights=data/checkpoints/{model}"
    assert cli_v1.evaluate([*words, weights]) == 0
    assert cli_v1.predict([*words, weights]) == 0


def names_in(folder: str, suffix: str) -> list[str]:
    return sorted(path.stem for path in Path(folder).iterdir() if path.suffix == suffix)


def test_the_2019_lines_of_bmn(world_2019: Path, capsys: pytest.CaptureFixture[str]):
    snms = {"snms_alpha": 0.001, "snms_t1": 0.5, "snms_t2": 0.9}
    lines_of_2019(
        "BMN",
        {
            "MODEL": {
                "name": "BMN",
                "tscale": STEPS,
                "dscale": STEPS,
                "feat_dim": DIM,
                "prop_boundary_ratio": 0.5,
                "num_sample": 4,
                "num_sample_perbin": 2,
                "anno_file": "anet.json",
                "feat_path": "feats",
            },
            "TRAIN": v1_training(),
            "VALID": {"subset": "validation", "batch_size": 8},
            "TEST": {
                "subset": "validation",
                "batch_size": 1,
                **snms,
                "output_path": "data/output/EVAL/BMN_results",
                "result_path": "data/evaluate_results",
            },
            "INFER": {
                "subset": "test",
                "batch_size": 1,
                **snms,
                "filelist": "infer.list",
                "output_path": "data/output/INFER/BMN_results",
                "result_path": "data/predict_results",
            },
        },
    )

    held = json.loads(Path("data/evaluate_results/bmn_results_validation.json").read_text())
    assert list(held) == ["version", "results", "external_data"]
    assert len(held["results"]) == 8
    inferred = json.loads(Path("data/predict_results/bmn_results_test.json").read_text())
    assert list(inferred["results"]) == ["te00", "te01"]
    assert names_in("data/output/INFER/BMN_results", ".csv") == ["v_te00", "v_te01"]
    assert len(names_in("data/output/EVAL/BMN_results", ".csv")) == 8
    note = "snms_alpha 0.001, snms_t1 0.5, snms_t2 0.9 have no effect, as in the 2019 library"
    assert note in capsys.readouterr().err


def test_the_2019_lines_of_bsn(world_2019: Path):
    def paths(part: str) -> dict[str, str]:
        return {
            "output_path_tem": f"data/output/{part}/TEM_results",
            "output_path_pgm_proposal": f"data/output/{part}/PGM_proposals",
            "output_path_pgm_feature": f"data/output/{part}/PGM_feature",
        }

    lines_of_2019(
        "BsnTem",
        {
            "MODEL": {
                "name": "BSNTEM",
                "tscale": STEPS,
                "feat_dim": DIM,
                "hidden_dim": 16,
                "gt_boundary_ratio": 0.1,
                "anno_file": "anet.json",
                "feat_path": "feats",
                "pgm_top_K_train": 30,
                "pgm_top_K": 40,
                "pgm_threshold": 0.5,
                "bsp_boundary_ratio": 0.25,
                "num_sample_start": 8,
                "num_sample_end": 8,
                "num_sample_action": 16,
                "num_sample_perbin": 3,
                "pgm_thread": 12,
            },
            "TRAIN": v1_training(),
            "VALID": {"subset": "validation", "batch_size": 8},
            "TEST": {"subset": "train_val", "batch_size": 1, **paths("EVAL")},
            "INFER": {"filelist": "infer.list", "subset": "test", **paths("INFER")},
        },
    )

    header = Path("data/output/EVAL/TEM_results/v_tr00.csv").read_text().splitlines()[0]
    assert header == "start,end,action"
    for kind, suffix in (
        ("TEM_results", ".csv"),
        ("PGM_proposals", ".csv"),
        ("PGM_feature", ".npy"),
    ):
        assert len(names_in(f"data/output/EVAL/{kind}", suffix)) == 32
        assert names_in(f"data/output/INFER/{kind}", suffix) == ["v_te00", "v_te01"]
    assert np.load("data/output/EVAL/PGM_feature/v_tr00.npy").shape[0] <= 30

    pem = {"output_path_pem": "data/output/{}/PEM_results", "result_path_pem": "data/{}_results"}
    eval_paths = {
        key: text.format(part)
        for (key, text), part in zip(pem.items(), ("EVAL", "evaluate"), strict=True)
    }
    infer_paths = {
        key: text.format(part)
        for (key, text), part in zip(pem.items(), ("INFER", "predict"), strict=True)
    }
    lines_of_2019(
        "BsnPem",
        {
            "MODEL": {
                "name": "BSNPEM",
                "tscale": STEPS,
                "top_K": 30,
                "feat_dim": 32,
                "hidden_dim": 16,
                "anno_file": "anet.json",
                "feat_path": "data/output/EVAL/PGM_feature/",
                "prop_path": "data/output/EVAL/PGM_proposals/",
            },
            "TRAIN": v1_training(top_K=30),
            "VALID": {"subset": "validation", "batch_size": 8, "top_K": 30},
            "TEST": {"subset": "validation", "batch_size": 1, "top_K": 40, **eval_paths},
            "INFER": {
                "subset": "test",
                "filelist": "infer.list",
                "top_K": 40,
                "feat_path": "data/output/INFER/PGM_feature/",
                "prop_path": "data/output/INFER/PGM_proposals/",
                **infer_paths,
            },
        },
    )

    header = Path("data/output/EVAL/PEM_results/v_va00.csv").read_text().splitlines()[0]
    assert header == "xmin,xmax,xmin_score,xmax_score,iou_score"
    held = json.loads(Path("data/evaluate_results/bsn_results_validation.json").read_text())
    assert len(held["results"]) == 8
    inferred = json.loads(Path("data/predict_results/bsn_results_test.json").read_text())
    assert list(inferred["results"]) == ["te00", "te01"]


def test_videos_without_features_are_named_and_do_not_count(
    bmn_run: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "f").mkdir()
    for number in range(6):
        name = f"v_va{number:02d}.npy"
        (tmp_path / "f" / name).write_bytes((world / "features" / name).read_bytes())
    line = ["eval", "--weights", str(bmn_run), "--set", f"data.features={tmp_path / 'f'}"]

    assert cli.main([*line, "--strict"]) == 1
    assert "2 of 8 videos have no features here: v_va06, v_va07" in capsys.readouterr().err
    assert cli.main([*line, "--save-dir", str(tmp_path / "e"), "--no-report"]) == 1

    shown = capsys.readouterr()
    assert "6 of 8" in shown.out
    assert "2 of 8 videos could not be used; the others are done:\n  v_va06: no" in shown.err
    facts = json.loads((tmp_path / "e" / "eval.json").read_text())
    assert (facts["videos"], facts["videos_annotated"]) == (6, 8)
    assert facts["missing"] == ["v_va06", "v_va07"]


def test_features_of_another_extractor_are_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for rate in (0.5, 2):
        with PackWriter(tmp_path / f"pack{rate}", extractor={"model": "tsm", "rate": rate}) as pack:
            for path in sorted((world / "features").glob("*.npy")):
                pack.write(
                    FeatureRecord(name=path.stem, streams={"rgb": np.load(path)}, labels=None)
                )
    config = write_config(
        tmp_path, world, "bsn_tem", data={"features": str(tmp_path / "pack0.5")}, epochs=1
    )
    run = str(tmp_path / "run")
    assert cli.main(["train", "--config", config, "--save-dir", run]) == 0
    predict = ["predict", "--weights", run, "--save-dir", run]

    assert cli.main([*predict, str(tmp_path / "pack0.5")]) == 0
    assert cli.main([*predict, str(tmp_path / "pack2")]) == 1
    assert "rate 2 instead of 0.5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["data.features=null"], "data.features is not set"),
        (["data.annotations=null"], "data.annotations is not set"),
        (["data.annotations=nowhere.json"], "nowhere.json"),
        (["model.feature_dim=12"], "8 values per step, expected model.feature_dim=12"),
        (["data.resize=refuse", "model.num_steps=24"], "20 steps, expected 24"),
        (["data.train_subset=trainig"], "no video is of subset 'trainig'"),
        (["train.mixup_alpha=0.2"], "train.mixup_alpha: is for models that classify clips"),
        (["eval.tious=[1.5]"], "eval.tious"),
    ],
)
def test_mistakes_are_named_in_one_line(
    changes: list[str],
    message: str,
    world: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    config = write_config(tmp_path, world, "bsn_tem", epochs=1)
    sets = [word for change in changes for word in ("--set", change)]

    status = cli.main(["train", "--config", config, "--save-dir", str(tmp_path / "r"), *sets])

    assert status == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_detectors_and_annotations_must_agree_on_classes(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = write_config(tmp_path, world, "ctcn")
    words = ["train", "--config", config, "--save-dir", str(tmp_path / "r")]

    assert cli.main([*words, "--set", "model.num_classes=9"]) == 1
    error = capsys.readouterr().err
    assert "2 classes (dig, swim), but model.num_classes is 9" in error
    assert "--set model.num_classes=3" in error


def test_nothing_annotated_is_nothing_to_compare_with(
    bmn_run: Path, capsys: pytest.CaptureFixture[str]
):
    line = ["eval", "--weights", str(bmn_run), "--set", "data.test_subset=testing"]

    assert cli.main(line) == 1
    assert "none of the 4 videos has an annotated segment" in capsys.readouterr().err


def test_what_localisation_cannot_do_is_said(
    bmn_run: Path, world: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["export", "--weights", str(bmn_run), "--format", "torch-export"]) == 2
    assert "BMN is exported as onnx only" in capsys.readouterr().err
    words = ["predict", "--weights", str(bmn_run), "--annotate", str(world / "features")]
    assert cli.main(words) == 2
    assert cli.main(["eval", "--weights", str(bmn_run), "--data", str(world)]) == 2
    config = ["--set", "eval.proposal_files=x"]
    assert cli.main(["eval", "--weights", str(bmn_run), *config]) == 1
    assert "bsn_tem" in capsys.readouterr().err


def test_the_report_draws_the_curve(bmn_run: Path, tmp_path: Path):
    pytest.importorskip("matplotlib")

    line = ["eval", "--weights", str(bmn_run), "--save-dir", str(tmp_path), "--report"]
    assert cli.main(line) == 0

    page = (tmp_path / "report.html").read_text()
    assert "Average recall by average number of proposals" in page
    assert "Recall by coverage" in page


def test_care_knows_localisers(
    bmn_run: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = write_config(tmp_path, world, "bmn")

    assert cli.main(["check-data", "--config", config, str(world)]) == 2
    assert "BMN reads features and annotations" in capsys.readouterr().err
    cli.main(["doctor", str(bmn_run)])
    assert "parameters; they fit" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize("container", ["pickle", "combined"])
def test_a_2019_checkpoint_with_its_sampling_matrix_loads(container: str, tmp_path: Path):
    sizes = {"feature_dim": 8, "num_steps": 6, "num_durations": 6, "num_samples": 2}
    config = from_layers([("", {"model": {"name": "bmn", **sizes}})])
    module = config.spec.build(config.model)
    arrays = as_paddle(module.state_dict(), paddle_names(config, "test"))
    arrays["sample_mask"] = np.zeros((6, 2 * 6 * 6), np.float32)
    path = tmp_path / "BMN.pdparams"
    if container == "pickle":
        write_pdparams(path, arrays)
    else:  # without names, in their order
        path.write_bytes(b"".join(record(arrays[name]) for name in sorted(arrays)))

    loaded = build_trained(Trained(config=config, path=path))

    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=0)


# --- lengths and parts that do not fit -------------------------------------------------------


def write_features(folder: Path, world: Path, seconds: float, *names: str) -> Path:
    """Features as `videozoo extract` writes them, of videos of the world under other names."""
    made = FeatureFolder(folder, "npz", {"model": "tsm", "rate": STEPS / seconds})
    made.prepare(made_with="test")
    writer = made.writer(0)
    for name in names:
        values = np.load(world / "features" / f"{name}.npy")
        writer.add(FeatureRecord(name, {"rgb": values}, duration_seconds=seconds))
    made.merge()
    return folder


@pytest.mark.parametrize("named", ["folder", "file", "list"])
def test_the_length_that_features_carry_wins_over_annotations_of_the_same_name(
    named: str,
    bmn_run: Path,
    world: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
):
    folder = write_features(tmp_path / "f", world, 30.0, "v_te00", "v_te01")
    listed = tmp_path / "some.list"
    listed.write_text("v_te00\n")
    what = {"folder": folder, "file": folder / "v_te00.npz", "list": listed}[named]
    words = ["--set", f"data.features={folder}", "--save-dir", str(tmp_path / "p")]

    assert cli.main(["predict", "--weights", str(bmn_run), *words, str(what)]) == 0

    found = json.loads((tmp_path / "p" / "predictions.json").read_text())["predictions"]
    assert {row["duration_seconds"] for row in found} == {30.0}
    assert all(one["end_seconds"] <= 30.0 for row in found for one in row["segments"])
    results = json.loads((tmp_path / "p" / "results.json").read_text())["results"]
    assert all(one["segment"][1] <= 30.0 for row in results.values() for one in row)
    assert "v_te00: 40 s annotated, 30 s by its features" in caplog.text
    finder: Any = videozoo.load(bmn_run)
    assert finder.predict(folder)[0].duration_seconds == 30.0


def test_lengths_that_only_names_tell_are_said(
    bmn_run: Path, world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    what = str(world / "features" / "v_te00.npy")
    line = ["predict", "--weights", str(bmn_run), "--save-dir", str(tmp_path), what]

    assert cli.main(line) == 0

    assert "features do not tell how long 1 of the videos are" in caplog.text
    assert "anet.json does, by name: v_te00" in caplog.text


@pytest.mark.parametrize("model", ["bmn", "bsn_tem", "bsn"])
def test_features_of_another_length_are_refused_before_the_first_step(
    model: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    names = [path.stem for path in (world / "features").glob("*.npy")]
    folder = write_features(tmp_path / "f", world, 4.0, *names)
    config = write_config(tmp_path, world, model, data={"features": str(folder)})

    assert cli.main(["train", "--config", config, "--save-dir", str(tmp_path / "r")]) == 1

    assert re.search(r"32 of 36|36 of 36", error := capsys.readouterr().err), error
    assert "40 s annotated, 4 s by its features, 10 times" in error
    assert "are the annotations in frames" in error


def test_segments_in_frames_are_refused_in_training_and_evaluation(
    bmn_run: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    content = json.loads((world / "anet.json").read_text())
    for video in content["database"].values():
        for one in video["annotations"]:
            one["segment"] = [25 * time for time in one["segment"]]
    annotations = tmp_path / "frames.json"
    annotations.write_text(json.dumps(content))
    config = write_config(tmp_path, world, "bmn", data={"annotations": str(annotations)})
    sets = ["--set", f"data.annotations={annotations}"]

    for line in (
        ["train", "--config", config, "--save-dir", str(tmp_path / "r")],
        ["eval", "--weights", str(bmn_run), *sets],
    ):
        assert cli.main(line) == 1
        assert "are they in frames?" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["training", "validation"])
def test_nothing_to_learn_from_or_to_check_with_is_told_before_the_first_step(
    part: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    content = json.loads((world / "anet.json").read_text())
    for video in content["database"].values():
        if video["subset"] == part:
            video["annotations"] = []
    (tmp_path / "a.json").write_text(json.dumps(content))
    config = write_config(tmp_path, world, "bmn", data={"annotations": str(tmp_path / "a.json")})

    assert cli.main(["train", "--config", config, "--save-dir", str(tmp_path / "r")]) == 1

    what = "to learn from" if part == "training" else "to check with"
    assert f"{what} has an annotated segment" in capsys.readouterr().err
    assert not list((tmp_path / "r").glob("*.safetensors"))


def test_evaluation_is_on_the_part_of_validation_and_training_videos_are_told(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """As in THUMOS14, where `validation` is what one learns from."""
    parts = {"train_subset": "validation", "val_subset": "training"}
    config = write_config(tmp_path, world, "bmn", data=parts, epochs=1)
    run = tmp_path / "run"
    assert cli.main(["train", "--config", config, "--save-dir", str(run)]) == 0

    facts = evaluated(run, tmp_path / "e")

    assert (facts["videos"], facts["videos_learnt_from"]) == (24, 0)
    assert "WARNING" not in capsys.readouterr().err
    facts = evaluated(run, tmp_path / "f", "--set", "data.test_subset=validation")
    assert (facts["videos"], facts["videos_learnt_from"]) == (8, 8)
    said = capsys.readouterr().err
    assert "WARNING: evaluation is on videos to learn from: 8 of 8" in said
    words = ["--set", "data.val_subset=validation", "--save-dir", str(tmp_path / "again")]
    assert cli.main(["train", "--config", config, *words]) == 0
    assert "WARNING: validation is on videos to learn from: 8 of 8" in capsys.readouterr().err


def test_the_report_says_where_equal_scores_decide(tmp_path: Path):
    """As in the official sample of ActivityNet, all of whose scores are equal."""
    segments = {f"v{number}": [(0.0, 10.0)] for number in range(4)}
    truth = Truth(segments, dict.fromkeys(segments, 20.0), dict.fromkeys(segments, np.array([0])))
    found = np.array([[0.0, 0.5], [0.6, 0.9], [0.55, 0.95]])

    def measured(scores: list[float]) -> list[dict[str, Any]]:
        candidates = Candidates(found, np.array(scores), np.zeros(3, np.int64))
        answers = LocalisationResults(
            MeanLosses(), {n: VideoProposals(f"v{n}", 20.0, candidates, {}) for n in range(4)}
        )
        views = SequenceEval()
        _, _, ties = measure_detections(truth, answers, views, ["dig"])
        return ties + measure_proposals(truth, answers, views).ties

    ties = measured([1.0, 1.0, 1.0])

    assert [(tie["metric"], tie["tied"]) for tie in ties] == [("map", 12), ("auc", 12)]
    assert all(tie["in_opposite_order"] < tie["value"] for tie in ties)
    assert "equal scores decide: 12 segments share theirs" in tie_line(ties[0])
    assert measured([0.9, 0.8, 0.8]) == []  # equal, but nothing depends on them


def test_the_picture_of_segments_shows_the_five_best(
    bmn_run: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    drawn: list[Timeline] = []

    def drawing(timeline: Timeline) -> Image.Image:
        drawn.append(timeline)
        return timeline_picture(timeline)

    monkeypatch.setattr(prediction, "timeline_picture", drawing)
    monkeypatch.setattr(prediction, "_FAINT", 0.0)
    what = str(world / "features" / "v_te00.npy")
    line = ["predict", "--weights", str(bmn_run), "--save-dir", str(tmp_path), "--explain", what]

    assert cli.main(line) == 0

    spans = drawn[0].rows[-1]
    assert isinstance(spans, SpanRow)
    assert spans.name == "best 5 of 100"
    assert [span.text[:2] for span in spans.spans] == ["1.", "2.", "3.", "4.", "5."]


@pytest.mark.parametrize("content", [{"x": {"subset": "training"}}, [{"id": 1, "video": "x.mp4"}]])
def test_prediction_does_without_annotations_that_tell_no_lengths(
    content: Any, bmn_run: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "a.json").write_text(json.dumps(content))
    words = ["--set", f"data.annotations={tmp_path / 'a.json'}", "--save-dir", str(tmp_path)]
    what = str(world / "features" / "v_te00.npy")

    assert cli.main(["predict", "--weights", str(bmn_run), *words, what]) == 0

    assert "lengths of some videos are not known" in capsys.readouterr().err
