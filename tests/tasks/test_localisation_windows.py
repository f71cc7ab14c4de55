"""Localisers on windows of long videos, with both stages of BSN, files between them, and Python."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

import videozoo
from videozoo import cli
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.records import FeatureRecord
from videozoo.results import VideoSegments

RATE, DIM, STEPS = 2.0, 8, 20
CLASSES = ("dig", "swim")
MODELS: dict[str, dict[str, Any]] = {
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
        "pem": {"hidden_size": 16},
    },
    "ctcn": {"feature_dim": DIM, "num_steps": 512, "num_classes": 3, "width": 0.0625},
}


def long_video(
    rng: np.random.Generator, seconds: float, longest: int = 6
) -> tuple[NDArray[np.float32], list[dict[str, Any]]]:
    """Noise, with marks where short actions start, go on and end, one after another."""
    count = round(seconds * RATE)
    features = rng.normal(0, 0.3, (count, DIM)).astype(np.float32)
    segments: list[dict[str, Any]] = []
    first = int(rng.integers(2, 6))
    while first + (length := int(rng.integers(3, longest + 1))) < count - 2:
        label = int(rng.integers(0, 2))
        features[first, 0] += 3
        features[first : first + length, 1 + label] += 2
        features[first + length - 1, -1] += 3
        # boundaries just between two steps belong to neither
        ends = [first / RATE + 0.15, (first + length) / RATE - 0.15]
        segments.append({"segment": ends, "label": CLASSES[label]})
        first += length + int(rng.integers(3, 9))
    return features, segments


def make_world(
    folder: Path, counts: dict[str, int], seconds: tuple[float, float], longest: int = 6
) -> Path:
    """A pack of features at two vectors per second, with annotations."""
    rng = np.random.default_rng(0)
    database: dict[str, Any] = {}
    with PackWriter(folder / "features", extractor={"rate": RATE}) as pack:
        for subset, count in counts.items():
            for number in range(count):
                features, segments = long_video(rng, float(rng.uniform(*seconds)), longest)
                name = f"{subset[:2]}{number:02d}"
                pack.write(FeatureRecord(name, {"rgb": features}))
                length = len(features) / RATE
                database[name] = {"duration": length, "subset": subset, "annotations": segments}
    (folder / "anet.json").write_text(json.dumps({"database": database}))
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    return make_world(folder, {"training": 4, "validation": 2}, (30.0, 45.0))


def write_config(
    folder: Path, world: Path, model: str, *, data: dict[str, Any] | None = None, **train: Any
) -> str:
    config = {
        "model": {"name": model, **MODELS[model]},
        "data": {
            "annotations": str(world / "anet.json"),
            "features": str(world / "features"),
            "num_workers": 0,
            "window_seconds": 10.0,
            **(data or {}),
        },
        "train": {
            "epochs": 4,
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


def trained(folder: Path, world: Path, model: str, **more: Any) -> Path:
    config = write_config(folder, world, model, **more)
    assert cli.main(["train", "--config", config, "--save-dir", str(folder / "run")]) == 0
    return folder / "run"


def evaluated(run: Path, folder: Path, *words: str) -> dict[str, Any]:
    line = ["eval", "--weights", str(run), "--save-dir", str(folder), "--no-report"]
    assert cli.main([*line, *words]) == 0
    return json.loads((folder / "eval.json").read_text())


@pytest.fixture(scope="module")
def bmn_run(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("bmn"), world, "bmn", epochs=5, batch_size=4)


def test_short_actions_of_long_videos_are_found(bmn_run: Path, world: Path, tmp_path: Path):
    facts = evaluated(bmn_run, tmp_path, "--set", f"eval.score_files={tmp_path}/scores")

    assert facts["metrics"]["ar@100"] > 0.4
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    truth = json.loads((world / "anet.json").read_text())["database"]
    for name, rows in results.items():
        length = truth[name]["duration"]
        times = np.array([row["segment"] for row in rows])
        assert times.min() >= 0
        assert length - 12 < times.max() <= length + 1e-6  # the last window ends with the video
        assert len(rows) == 100
    with (tmp_path / "scores" / "va00.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 100
    assert min(float(row["xmin"]) for row in rows) >= 0
    assert 0.9 < max(float(row["xmax"]) for row in rows) <= 1


def test_python_and_the_command_line_find_the_same(
    bmn_run: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    line = ["predict", "--weights", str(bmn_run), "--save-dir", str(tmp_path), "--explain"]
    assert cli.main([*line, str(world / "features")]) == 0
    rows = json.loads((tmp_path / "predictions.json").read_text())["predictions"]
    model = videozoo.load(str(bmn_run))
    rng = np.random.default_rng(0)
    features = [long_video(rng, float(rng.uniform(30.0, 45.0)))[0] for _ in range(2)]

    found = model.predict({"tr00": features[0], "tr01": features[1]})

    assert (tmp_path / "tr00_segments.png").is_file()
    shown = {row["video"]: row for row in rows}
    for one in found:
        assert isinstance(one, VideoSegments)
        wanted = shown[one.name]
        assert one.duration_seconds == pytest.approx(wanted["duration_seconds"])
        ends = [(each["start_seconds"], each["end_seconds"]) for each in wanted["segments"]]
        np.testing.assert_allclose([(s.start, s.end) for s in one.segments], ends, atol=1e-5)


def test_other_windows_than_in_training_are_told(
    bmn_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    evaluated(bmn_run, tmp_path / "a")
    same = capsys.readouterr().err
    evaluated(bmn_run, tmp_path / "b", "--set=data.window_seconds=null")
    other = " ".join(capsys.readouterr().err.split())

    assert "learnt from" not in same
    assert "learnt from windows of 10 s and sees whole videos here" in other
    assert "--set data.window_seconds=10" in other


def test_batches_of_windows_change_no_result(bmn_run: Path, tmp_path: Path):
    one, other = (
        evaluated(bmn_run, tmp_path / size, "--set", f"eval.batch_size={size}")["metrics"]
        for size in ("3", "64")
    )

    assert one == pytest.approx(other, abs=1e-6)


def test_bsn_learns_both_stages_from_windows(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    second = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01}

    run = trained(tmp_path, world, "bsn", epochs=15, learning_rate=0.01, second_stage=second)

    said = capsys.readouterr().err
    assert said.count("windows to learn from, 2 to check with") == 2
    assert evaluated(run, tmp_path / "e")["metrics"]["ar@100"] > 0.5


def test_the_second_stage_reads_files_of_proposals_of_windows(world: Path, tmp_path: Path):
    run = trained(tmp_path, world, "bsn_tem", epochs=15, learning_rate=0.01)
    names = ("proposal_files", "feature_files", "score_files")
    words = [f"--set=eval.{name}={tmp_path / name}" for name in names]
    evaluated(run, tmp_path / "e", *words, "--set=data.test_subset=train_val")

    with (tmp_path / "proposal_files" / "va00.csv").open() as file:
        rows = list(csv.DictReader(file))
    numbers = np.load(tmp_path / "feature_files" / "va00.npy")
    scores = [float(row["score"]) for row in rows]
    with (tmp_path / "score_files" / "va00.csv").open() as file:
        steps = list(csv.DictReader(file))

    assert len(rows) == len(numbers)
    assert scores == sorted(scores, reverse=True)
    assert max(float(row["match_iou"]) for row in rows) > 0.7  # with the whole video's actions
    assert 0.9 < max(float(row["xmax"]) for row in rows) <= 1
    assert 60 <= len(steps) <= 90  # half a second each, of 30 to 45 s

    config = {
        "model": {"name": "bsn_pem", "hidden_size": 8},
        "data": {
            "annotations": str(world / "anet.json"),
            "proposals": str(tmp_path / "proposal_files"),
            "proposal_features": str(tmp_path / "feature_files"),
            "num_workers": 0,
        },
        "train": {"epochs": 2, "batch_size": 4, "optimizer": "adam", "learning_rate": 0.01},
    }
    path = tmp_path / "pem.yaml"
    path.write_text(yaml.safe_dump(config))
    assert cli.main(["train", "--config", str(path), "--save-dir", str(tmp_path / "pem")]) == 0
    assert evaluated(tmp_path / "pem", tmp_path / "pe")["metrics"]["ar@100"] > 0.3


def test_detections_of_windows_are_merged_by_class(world: Path, tmp_path: Path):
    run = trained(
        tmp_path, world, "ctcn", epochs=1, data={"stride_seconds": 8.0, "background_windows": 0.2}
    )

    facts = evaluated(run, tmp_path / "e", "--set", "eval.class_nms.score_threshold=0.0001")

    results = json.loads((tmp_path / "e" / "results.json").read_text())["results"]
    assert facts["metrics"]["map"] >= 0
    assert {row["label"] for rows in results.values() for row in rows} <= set(CLASSES)
    late = max(row["segment"][0] for rows in results.values() for row in rows)
    assert late > 20  # seconds of the video, not of the window


def test_actions_shorter_than_a_step_are_told_with_a_window_that_fits(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    trained(tmp_path, world, "bmn", epochs=1, data={"window_seconds": None})

    said = " ".join(capsys.readouterr().err.split())
    assert "note: a step of the model is 1.9 s here, and" in said
    assert "actions are shorter: set data.window_seconds=10" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.stride_seconds=20"], "stride_seconds is 20, longer than window_seconds 10"),
        (["data.window_seconds=0.2"], "shorter than one step of the features of"),
        (["data.window_seconds=2", "data.least_inside=1"], "of 27 actions are not learnt"),
        (["data.window_seconds=1"], "no window of 1 s holds 90% of an action"),
        (["data.window_seconds=4"], "a window holds about 8 feature vectors"),
    ],
)
def test_windows_that_do_not_fit_are_told(
    world: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
):
    config = write_config(tmp_path, world, "bsn_tem", epochs=1)
    line = ["train", "--config", config, "--save-dir", str(tmp_path / "run")]

    cli.main([*line, *(f"--set={word}" for word in words)])

    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_windows_find_what_steps_of_a_whole_video_are_too_long_for(tmp_path: Path):
    """The same network, trained for as many steps, once on whole videos and once on windows."""
    counts = {"training": 16, "validation": 8}
    long = make_world(tmp_path, counts, (200.0, 240.0), longest=12)
    second = {"epochs": 5, "batch_size": 8, "learning_rate": 0.01}
    found: dict[str, float] = {}
    for name, seconds, epochs in (("whole", None, 120), ("windows", 20.0, 6)):
        folder = tmp_path / name
        folder.mkdir()
        config = write_config(
            folder,
            long,
            "bsn",
            data={"window_seconds": seconds},
            epochs=epochs,
            learning_rate=0.01,
            second_stage=second | {"epochs": epochs // 6},
        )
        line = ["train", "--config", config, "--save-dir", str(folder / "run")]
        line += ["--set=model.tem.num_steps=80", f"--valid-interval={epochs // 6}"]
        assert cli.main(line) == 0  # 240 steps of the first stage each
        found[name] = evaluated(folder / "run", folder / "e")["metrics"]["ar@100"]

    assert found["windows"] > found["whole"] + 0.4
