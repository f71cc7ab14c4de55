"""Trainings of seconds, one per kind of model, that draw at random wherever a training can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.tasks import test_captioning, test_localisation, test_moments, test_tagging
from videozoo.data.features.record_formats import write_shard
from videozoo.data.synthetic.clips import make_clips


def _clips(folder: Path, model: str) -> dict[str, Any]:
    clips = make_clips(folder, num_train=24, num_val=8, num_test=8, seed=0, size=40, num_frames=8)
    return {
        "model": {
            "name": model,
            "num_classes": 8,
            "depth": 18,
            "width": 0.125,
            "num_segments": 2,
        },
        "data": {
            "train": str(clips.train_list),
            "val": str(clips.val_list),
            "short_side": 40,
            "crop_size": 32,
            "crops": "random",
            "flip": 0.5,
        },
        "train": {
            "epochs": 3,
            "batch_size": 4,
            "gradient_accumulation": 2,
            "mixup_alpha": 0.4,
            "label_smoothing": 0.1,
        },
    }


def _tags(folder: Path, model: str) -> dict[str, Any]:
    for part, count, seed in (("train", 96, 1), ("val", 24, 2), ("test", 16, 3)):
        (folder / part).mkdir()
        write_shard(folder / part / "0.tfrecord", test_tagging.make_videos(count, seed))
    config = _read(test_tagging.write_config(folder, folder, model, epochs=3))
    config["model"]["dropout"] = 0.5
    return config


def _segments(folder: Path, model: str) -> dict[str, Any]:
    test_localisation.write_world(folder)
    return _read(test_localisation.write_config(folder, folder, model, epochs=4, batch_size=4))


def _captions(folder: Path, model: str) -> dict[str, Any]:
    data = test_captioning.make_data(folder)
    return _read(test_captioning.write_config(folder, data, epochs=4, batch_size=4))


def _moments(folder: Path, model: str) -> dict[str, Any]:
    data = test_moments.make_data(folder)
    return _read(test_moments.write_config(folder, data, epochs=3))


def _read(path: str | Path) -> dict[str, Any]:
    return yaml.safe_load(Path(path).read_text())


_MAKERS: dict[str, Callable[[Path, str], dict[str, Any]]] = {
    "tsm": _clips,
    "nextvlad": _tags,
    "bmn": _segments,
    "bsn": _segments,
    "ets": _captions,
    "tall": _moments,
}
MODELS = tuple(_MAKERS)
"""One of every task, and the one whose two parts are trained one after the other."""


def make_training(folder: Path, model: str, *, num_workers: int) -> Path:
    """Make data of a model in a folder, and the configuration to train it on them; its path."""
    config = _MAKERS[model](folder, model)
    config["data"]["num_workers"] = num_workers
    config["train"] |= {
        "learning_rate": 0.01,
        "schedule": "cosine",
        "warmup_epochs": 1,
        "clip_gradient_norm": 5.0,
        "ema_decay": 0.9,
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return path
