"""A tiny data set and a tiny run for every model: to compare runs bit by bit, to kill them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file

from tests.tasks import test_captioning, test_localisation, test_moments, test_tagging
from videozoo import cli
from videozoo.data.features.record_formats import write_shard
from videozoo.data.synthetic.clips import make_clips
from videozoo.engine.run_folder import RunFolder

TASKS = {
    "classification": ("tsm", "tsn", "stnet", "nonlocal"),
    "tagging": ("nextvlad", "attention_cluster", "attention_lstm"),
    "localisation": ("bmn", "bsn", "ctcn"),
    "captioning": ("ets",),
    "moments": ("tall",),
}
"""Task -> its models, the first one for the quick tests."""
MODELS = tuple(model for models in TASKS.values() for model in models)
CLIPS: dict[str, dict[str, Any]] = {
    "tsn": {"num_segments": 2},
    "tsm": {"num_segments": 2, "dropout": 0.5},
    "stnet": {"num_segments": 2, "frames_per_segment": 2},
    "nonlocal": {"num_frames": 4, "temporal_convs": True, "dropout": 0.5},
}
NOT_OF_RESULTS = ("seconds", "weights", "weights_sha256", "config", "data", "files")
"""Keys of files of results that tell of the time, the place or how data were read; weights files
hold the configuration, too."""


# --- data ------------------------------------------------------------------------------------


def make_world(folder: Path, *, tasks: Collection[str] = tuple(TASKS), times: int = 1) -> None:
    """Write data into a folder: clips, records, features with segments, events and sentences.

    Args:
        folder: Gets one folder per task.
        tasks: Those that need data.
        times: So many times as many items as the quickest tests need.
    """
    for task in tasks:
        part = folder / _FOLDERS[task]
        part.mkdir(parents=True)
        _MAKERS[task](part, times)


def _make_clips(folder: Path, times: int) -> None:
    train, others = 8 * times, 4 * times
    make_clips(
        folder, num_train=train, num_val=others, num_test=others, seed=0, size=32, num_frames=8
    )


def _make_records(folder: Path, times: int) -> None:
    for part, count, seed in (("train", 32, 1), ("val", 12, 2), ("test", 12, 3)):
        (folder / part).mkdir()
        videos = test_tagging.make_videos(count * times, seed)
        for shard in range(2):
            write_shard(folder / part / f"{part}{shard}.tfrecord", videos[shard::2])


def _make_segments(folder: Path, times: int) -> None:
    (folder / "features").mkdir()
    rng = np.random.default_rng(0)
    database: dict[str, Any] = {}
    for subset, count in (("training", 8), ("validation", 4), ("testing", 2)):
        for number in range(count * times):
            name = f"v_{subset[:2]}{number:02d}"
            features, segments = test_localisation.make_video(rng)
            np.save(folder / "features" / f"{name}.npy", features)
            shown = [] if subset == "testing" else segments
            database[name] = {"duration": 40.0, "subset": subset, "annotations": shown}
    (folder / "anet.json").write_text(json.dumps({"database": database}))


def _make_events(folder: Path, times: int) -> None:
    data = test_captioning.make_data(folder, videos=6 * times)
    (folder / "data.json").write_text(json.dumps(data))


def _make_queries(folder: Path, times: int) -> None:
    data = test_moments.make_data(folder, videos=6 * times)
    (folder / "data.json").write_text(json.dumps(data))


_FOLDERS = {
    "classification": "clips",
    "tagging": "records",
    "localisation": "segments",
    "captioning": "events",
    "moments": "queries",
}
_MAKERS: dict[str, Callable[[Path, int], None]] = {
    "classification": _make_clips,
    "tagging": _make_records,
    "localisation": _make_segments,
    "captioning": _make_events,
    "moments": _make_queries,
}


# --- configurations --------------------------------------------------------------------------


def write_config(folder: Path, world: Path, model: str, **train: Any) -> Path:
    """Write the configuration of a run that draws at random wherever its model can."""
    train = {"epochs": 2, **train}
    if model in CLIPS:
        return _clip_config(folder, world, model, train)
    if model in TASKS["tagging"]:
        path = test_tagging.write_config(folder, world / "records", model, **train)
        return _changed(path, {"model": {"dropout": 0.5}})
    if model in TASKS["localisation"]:
        train = {"batch_size": 4, **train}
        path = Path(test_localisation.write_config(folder, world / "segments", model, **train))
        if model != "ctcn":
            return path
        own = {"feature_dim": test_localisation.DIM, "dropout": 0.5}
        return _changed(path, {"model": own, "data": {"augment": {"random_move": True}}})
    name, made = ("events", test_captioning) if model == "ets" else ("queries", test_moments)
    data = json.loads((world / name / "data.json").read_text())
    return Path(made.write_config(folder, data, **train))


def _clip_config(folder: Path, world: Path, model: str, train: dict[str, Any]) -> Path:
    config = {
        "model": {"name": model, "num_classes": 8, "depth": 18, "width": 0.125, **CLIPS[model]},
        "data": {
            **{part: str(world / "clips" / f"{part}.list") for part in ("train", "val", "test")},
            "short_side": 40,
            "crop_size": 32,
            "crops": "random",
            "num_workers": 0,
        },
        "train": {
            "batch_size": 4,
            "learning_rate": 0.05,
            "clip_gradient_norm": 5.0,
            "ema_decay": 0.9,
            "mixup_alpha": 0.4,
            "label_smoothing": 0.1,
            **train,
        },
    }
    path = folder / f"{model}.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def _changed(path: Path, more: dict[str, dict[str, Any]]) -> Path:
    config = yaml.safe_load(path.read_text())
    for section, values in more.items():
        config[section] |= values
    path.write_text(yaml.safe_dump(config))
    return path


def make_training(folder: Path, model: str, *, num_workers: int) -> Path:
    """Write data of a model, and a training of seconds, long enough to be disturbed; its path."""
    task = next(task for task, models in TASKS.items() if model in models)
    make_world(folder, tasks=[task], times=3)
    path = write_config(
        folder,
        folder,
        model,
        epochs=3,
        learning_rate=0.01,
        schedule="cosine",
        warmup_epochs=1,
        clip_gradient_norm=5.0,
        ema_decay=0.9,
        **({"gradient_accumulation": 2} if model in CLIPS else {}),
    )
    return _changed(path, {"data": {"num_workers": num_workers}})


# --- runs ------------------------------------------------------------------------------------


def training(config: Path, run: Path, *words: str) -> list[str]:
    """The command that trains."""
    line = ["train", "--config", str(config), "--save-dir", str(run)]
    return [*line, "--log-interval", "1", *words]


def answering(
    world: Path, run: Path, model: str, target: Path, *words: str
) -> tuple[list[str], list[str]]:
    """The commands that evaluate the weights of a run, and predict with them."""
    common = ["--weights", str(run), *words, "--save-dir"]
    predict = ["predict", *common, str(target / "predict"), *_inputs(world, model)]
    return ["eval", "--no-report", *common, str(target / "eval")], predict


def train(config: Path, run: Path, *words: str) -> None:
    """Train from the command line."""
    assert cli.main(training(config, run, *words)) == 0


def answer(world: Path, run: Path, model: str, target: Path, *words: str) -> None:
    """Evaluate the weights of a run, and predict with them, from the command line."""
    for line in answering(world, run, model, target, *words):
        assert cli.main(line) == 0


def _inputs(world: Path, model: str) -> list[str]:
    """What each model answers: words of a command line."""
    if model in CLIPS:
        return [str(video) for video in sorted((world / "clips").rglob("unseen*.mp4"))[:3]]
    if model in TASKS["tagging"]:
        return [str(world / "records" / "test" / "test0.tfrecord")]
    if model in TASKS["localisation"]:
        return [str(world / "segments" / "features")]
    if model == "ets":
        return [str(world / "events" / "val.json")]
    return ["--sentence", "a cat jumps", str(world / "queries" / "pack")]


# --- what they gave --------------------------------------------------------------------------


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    """Every saved tensor of a run: weights of all epochs, the best, the state to go on from."""
    return {
        f"{path.relative_to(run)}: {name}": tensor
        for path in sorted(run.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def metrics_of(run: Path) -> list[dict[str, Any]]:
    """The lines of the metrics of a run, without their times and without resumes."""
    return [
        {key: value for key, value in line.items() if not key.endswith(("seconds", "second"))}
        for path in sorted(run.rglob("metrics.jsonl"))
        for line in RunFolder(path.parent).read_metrics()
        if line["kind"] != "resumed"
    ]


def answers_of(target: Path) -> dict[str, Any]:
    """The files of an evaluation and a prediction, without times and places."""
    return {
        str(path.relative_to(target)): _plain(json.loads(path.read_text()))
        for part in ("eval", "predict")
        for path in sorted((target / part).rglob("*.json"))
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if k not in NOT_OF_RESULTS}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def different(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> dict[str, float]:
    """The tensors of two runs that differ in a bit, and by how much at most."""
    assert ours.keys() == theirs.keys() != set()
    return {
        name: float((ours[name].double() - tensor.double()).abs().max())
        for name, tensor in theirs.items()
        if not torch.equal(ours[name], tensor)
    }
