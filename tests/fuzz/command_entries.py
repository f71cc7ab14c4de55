"""Entries that are whole commands: a file of a user in one place of a command line.

What else such a command needs lies beside the file: one clip, small configurations, small weights.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

import videozoo
from tests.data.make_clips import moving_frames, write_clip
from tests.data.test_formats import FEATURES, RECORD
from tests.fuzz.data_entries import command, made, run_main
from tests.fuzz.harness import Entry, Seed
from videozoo import cli_v1, safe_sums
from videozoo.config import load_config
from videozoo.data.features.packs import PackWriter
from videozoo.tasks.building import build
from videozoo.weights.files import save_weights

_CONFIGS = {
    "clips": """
model: {name: tsn, num_classes: 2, depth: 18, width: 0.125, num_segments: 2}
data: {train: good.list, val: good.list, short_side: 32, crop_size: 28, num_workers: 0}
train: {epochs: 1, batch_size: 2}
""",
    "tags": """
model: {name: nextvlad, num_classes: 3, streams: [{name: rgb, dim: 2, half_step: false}],
        cluster_size: 2, groups: 2, expansion: 2, hidden_size: 4, gating_reduction: 2}
""",
    "segments": """
model: {name: bsn_tem, feature_dim: 2, num_steps: 8, hidden_size: 4}
""",
    "moments": """
model: {name: tall, visual_dim: 12, sentence_dim: 2, semantic_size: 4, hidden_size: 4}
""",
}


_TRUTH = """{"database": {"features": {"duration": 9, "subset": "validation",
"annotations": [{"segment": [1.0, 2.5], "label": "run"}]}}}"""


@cache
def _beside() -> dict[str, bytes]:
    """What lies beside the file: a clip, features, configurations, and weights of their models."""

    def make(folder: Path) -> None:
        folder.mkdir()
        write_clip(folder / "clip.mp4", frames=moving_frames(8, height=32, width=48))
        (folder / "good.list").write_text("clip.mp4 0\nclip.mp4 1\n")
        (folder / "clip.list").write_text("clip.mp4 0\n")
        (folder / "truth.json").write_text(_TRUTH)
        (folder / "words.txt").write_text("a man\na dog\n")
        (folder / "times.txt").write_text("windows 1.0 2.0##a man runs.\n")
        vectors = np.ones((1, 2), np.float32)
        np.savez(folder / "vectors.npz", sentences=np.array(["a man"]), vectors=vectors)
        np.save(folder / "features.npy", FEATURES)
        np.save(folder / "windows.npy", np.zeros((20, 4), np.float32))
        for config, content in _CONFIGS.items():
            path = folder / f"{config}.yaml"
            path.write_text(content)
            held = load_config(path)
            about = {"videozoo": "1", "model": held.name, "config": held.as_dict()}
            save_weights(path.with_suffix(".safetensors"), build(held).state_dict(), about)

    return {name.removeprefix("all/"): held for name, held in made("all", make).files.items()}


def _with(*names: str) -> Callable[[], list[Seed]]:
    """Seeds: each of these is given, and the others lie beside it."""

    def seeds() -> list[Seed]:
        found = _beside()
        return [Seed(name, {name: found[name]}, found) for name in names]

    return seeds


def _records() -> list[Seed]:
    def pack(path: Path) -> None:
        with PackWriter(path, extractor=None) as writer:
            writer.write(RECORD)

    given = made("pack", pack)
    return [Seed("pack", given.files, _beside())]


def _sums(path: Path) -> None:
    if path.is_dir():
        return
    folder = path.parent / "run"
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / safe_sums.NAME)
    shutil.copy(path, folder / "best.safetensors")
    safe_sums.fault_of(folder / "best.safetensors")
    safe_sums.faults_in(folder)


def _load(path: Path) -> None:
    videozoo.load(path)


def _2019(path: Path) -> None:
    words = (f"--config={path}", f"--save_dir={path.parent}/out", "--use_gpu=False")
    with contextlib.chdir(path.parent):
        run_main(cli_v1.train, ["--model_name=TSN", *words])


def _row(
    name: str,
    seeds: Callable[[], list[Seed]],
    *words: str,
    read: Callable[[Path], None] | None = None,
) -> Entry:
    return Entry(name, seeds, read or command(*words), share=1)


_OUT = ("--save-dir", "HERE/out")
_EXTRACT = ("extract", "--output", "HERE/out")
_TRAIN = ("train", "--save-dir", "HERE/run", "--config")
_WEIGHTS = _with("clips.safetensors")
_CLIP = "HERE/clip.mp4"

ENTRIES: tuple[Entry, ...] = (
    _row("weights-show", _WEIGHTS, "weights", "show", "FILE"),
    _row("weights-convert", _WEIGHTS, "weights", "convert", "FILE", "HERE/out.safetensors"),
    _row(
        "weights-convert-config",
        _WEIGHTS,
        *("weights", "convert", "FILE", "HERE/out.pdparams", "--config", "HERE/clips.yaml"),
    ),
    _row("load", _WEIGHTS, read=_load),
    _row("predict-weights", _WEIGHTS, "predict", "--weights", "FILE", _CLIP, *_OUT),
    _row(
        "predict-config-weights",
        _WEIGHTS,
        *("predict", "--config", "HERE/clips.yaml", "--weights", "FILE", _CLIP, *_OUT),
    ),
    _row(
        "eval-weights",
        _WEIGHTS,
        *("eval", "--weights", "FILE", "--set", "data.val=HERE/good.list", *_OUT),
    ),
    _row(
        "export-weights",
        _WEIGHTS,
        *("export", "--weights", "FILE", "--output", "HERE/out.onnx", "--no-check"),
    ),
    _row("extract-weights", _WEIGHTS, *_EXTRACT, "--weights", "FILE", _CLIP),
    _row("extract-encoder", _WEIGHTS, *_EXTRACT, "--encoder", "FILE", _CLIP),
    _row("train-pretrain", _WEIGHTS, *_TRAIN, "HERE/clips.yaml", "--pretrain", "FILE"),
    _row("train-config", _with("clips.yaml"), *_TRAIN, "FILE"),
    _row(
        "train-list",
        _with("good.list"),
        *_TRAIN,
        *("HERE/clips.yaml", "--set", "data.train=FILE"),
    ),
    _row(
        "eval-list",
        _with("good.list"),
        *("eval", "--weights", "HERE/clips.safetensors", "--set", "data.val=FILE", *_OUT),
    ),
    _row(
        "predict-clips",
        _with("clip.mp4", "good.list"),
        *("predict", "--weights", "HERE/clips.safetensors", "FILE", *_OUT),
    ),
    _row(
        "predict-segments",
        _with("features.npy"),
        *("predict", "--weights", "HERE/segments.safetensors", "FILE", *_OUT),
    ),
    _row("predict-tags", _records, "predict", "--weights", "HERE/tags.safetensors", "FILE", *_OUT),
    _row(
        "predict-sentences",
        _with("words.txt"),
        *("predict", "--weights", "HERE/moments.safetensors", "HERE/windows.npy", *_OUT),
        *("--sentences", "FILE"),
    ),
    _row(
        "predict-vectors",
        _with("vectors.npz"),
        *("predict", "--weights", "HERE/moments.safetensors", "HERE/windows.npy", *_OUT),
        *("--sentence", "a man", "--set", "data.sentences.encoder=given"),
        *("--set", "data.sentences.file=FILE"),
    ),
    _row(
        "extract-videos",
        _with("clip.mp4"),
        *_EXTRACT,
        *("--weights", "HERE/clips.safetensors", "FILE"),
    ),
    _row(
        "extract-labels",
        _with("clip.list"),
        *_EXTRACT,
        *("--weights", "HERE/clips.safetensors", _CLIP, "--labels", "FILE"),
    ),
    _row(
        "prepare",
        _records,
        *("prepare", "youtube8m", "FILE", "--output", "HERE/out", "--workers", "1"),
    ),
    _row("check-records", _records, "check-data", "--kind", "records", "FILE", "--no-cache"),
    _row(
        "check-features",
        _with("features.npy"),
        *("check-data", "--kind", "features", "FILE", "--no-cache"),
    ),
    _row(
        "check-segments",
        _with("truth.json"),
        *("check-data", "--kind", "segments", "FILE", "--no-cache"),
    ),
    _row(
        "check-sentences",
        _with("times.txt"),
        *("check-data", "--kind", "sentences", "FILE", "--no-cache"),
    ),
    _row("sums", _with("good.list"), read=_sums),
    _row("train-2019", _with("clips.yaml"), read=_2019),
)
"""Commands; each takes up to a second, so that they are no part of the default tests."""
