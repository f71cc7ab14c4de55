"""Bundles of trained runs, in an environment without PyTorch: the answers of `videozoo predict`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import videozoo
from videozoo import cli
from videozoo.config import from_layers
from videozoo.data.synthetic.world import World, make_world
from videozoo.errors import RunError, UsageError
from videozoo.tasks.bundling import export_bundle
from videozoo.tasks.loading import save_trained
from videozoo.tasks.requests import ConfigSource, ExportRequest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

NEEDED = ("numpy", "av", "PIL", "onnxruntime", "flatbuffers", "packaging", "google")
"""What the runtime and onnxruntime import."""
TYPED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "attention_lstm": ({"embedding_size": 8, "lstm_size": 8, "hidden_sizes": [8, 8]}, {}),
    "bmn": ({"num_steps": 16, "num_durations": 16, "num_samples": 4}, {}),
    "bsn": ({"tem": {"num_steps": 16, "hidden_size": 8}, "pem": {"hidden_size": 8}}, {}),
    "ctcn": ({"num_steps": 512, "width": 0.03125}, {}),
    "ets": (
        {"embedding_size": 8, "gru_size": 8, "decoder_size": 8, "word_size": 8},
        {"min_word_count": 1},
    ),
    "tall": ({"sentence_dim": 16, "semantic_size": 8, "hidden_size": 8}, {}),
}
"""Model -> its sizes, and settings of its data."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    counts = {"num_train": 4, "num_val": 2, "num_test": 1}
    sizes: dict[str, Any] = {"size": 36, "frames_per_second": 6}
    folder = tmp_path_factory.mktemp("world")
    return make_world(folder, **counts, seed=0, min_seconds=8, max_seconds=9, **sizes)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def clip_model(path: Path) -> Path:
    """Weights of a small TSN that was never trained."""
    model = {"name": "tsn", "num_classes": 3, "depth": 18, "width": 0.125, "num_segments": 2}
    data = {"short_side": 34, "crop_size": 32}
    config = from_layers([("", {"model": model, "data": data})])
    torch.manual_seed(0)
    save_trained(path, config.spec.build(config.model), config, ["a", "b", "<c>"], {})
    return path


def trained(name: str, world: World, encoder: Path) -> Path:
    """A run of one epoch that reads features of videos."""
    model, data = TYPED[name]
    sections = {
        "model": {"name": name, **model},
        "data": {"num_workers": 0, **data},
        "train": {"epochs": 1, "batch_size": 2},
    }
    Path(f"{name}.yaml").write_text(yaml.safe_dump(sections))
    videos = world.videos[0].path.parent
    told: dict[str, Path] = {"ets": world.folder / "captions_train.json"}
    told["tall"] = world.folder / "queries_train.txt"
    words = ["--videos", videos, "--annotations"]
    words += [told.get(name, world.folder / "annotations.json")]
    if name == "attention_lstm":
        for number, video in enumerate(world.videos):
            place = Path("classes", "even" if number % 2 else "odd")
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(video.path, place)
        words = ["--data", "classes"]
    run("train", "--config", f"{name}.yaml", *words, "--encoder", encoder, "--save-dir", name)
    return Path(name)


def run(*words: str | Path) -> None:
    assert cli.main([str(word) for word in words]) == 0


def bare_python(folder: Path) -> Path:
    """An environment with what the runtime needs, and without torch."""
    venv.create(folder, with_pip=False)
    ours = Path(sysconfig.get_paths()["purelib"])
    homes = [Path(each) for each in sys.path if each.endswith("site-packages")]
    theirs = next(folder.glob("[lL]ib/**/site-packages"))
    for home in dict.fromkeys((ours, *homes)):
        for each in home.iterdir() if home.is_dir() else ():
            is_needed = each.name.partition(".")[0] in NEEDED or each.name in (
                *(f"{name}.libs" for name in NEEDED),
                "pillow.libs",
            )
            if is_needed and not (theirs / each.name).exists():
                (theirs / each.name).symlink_to(each)
    source = Path(videozoo.__file__).parents[1]
    (theirs / "videozoo.pth").write_text(f"{source}\n")
    return next(folder.glob("bin/python"), folder / "Scripts" / "python.exe")


def same(ours: Any, theirs: Any, where: str = "") -> None:
    """Equal keys, names and order; numbers within rounding."""
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for key, value in theirs.items():
            same(ours[key], value, f"{where}.{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for number, value in enumerate(theirs):
            same(ours[number], value, f"{where}[{number}]")
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, abs=5e-5), where
    else:
        assert ours == theirs, where


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tsn", "along", *TYPED])
@pytest.mark.guarantee("A bundle answers without PyTorch as the run does")
def test_a_bundle_answers_without_torch_as_the_run_does(name: str, world: World, here: Path):
    weights = clip_model(here / "clip.safetensors")
    chosen: list[str] = []
    if name == "along":
        chosen = ["--set", "predict.every_seconds=1", "--set", "predict.least_score=0.2"]
    elif name != "tsn":
        weights = trained(name, world, weights)
    run("export", "--weights", weights, "--bundle", "--output", "bundle", *chosen)
    python = bare_python(here / "bare")
    videos = [str(video.path) for video in world.videos[-2:]]
    asked = ["--sentence", "a red ball", "--sentence", "it grows"] if name == "tall" else []
    (here / "bundle").rename(here / "elsewhere")  # nothing in it knows where it was
    code = "import importlib.util as u; print([n for n in ('torch', 'pydantic') if u.find_spec(n)])"
    empty = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert empty.stdout.strip() == "[]"
    done = subprocess.run(
        [python, "-m", "videozoo.runtime", "elsewhere", *videos, *asked],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    words: list[str | Path] = ["--weights", weights]
    if name == "bsn":  # roundings decide which steps of an untrained network are peaks
        words = ["--weights", "elsewhere/model.onnx", "--encoder", "elsewhere/encoder0.onnx"]
    run("predict", *words, *videos, *asked, *chosen, "--save-dir", "told")
    ours, theirs = json.loads(done.stdout), json.loads(Path("told/predictions.json").read_text())
    assert name == "bsn" or ours["weights_sha256"] == theirs["weights_sha256"]
    for facts in (ours, theirs):
        facts.pop("weights")
        facts.pop("weights_sha256")
        facts.pop("files")
    same(ours, theirs)


def request(weights: Path, **more: Any) -> ExportRequest:
    return ExportRequest(source=ConfigSource(), weights=str(weights), **more)


def test_what_a_bundle_cannot_be_is_told_in_a_sentence(here: Path):
    weights = clip_model(here / "clip.safetensors")
    with pytest.raises(UsageError, match="--format is for single files"):
        export_bundle(request(weights, format="onnx"))
    with pytest.raises(UsageError, match="TSN reads videos itself"):
        export_bundle(request(weights, encoder="efficientnet_lite0"))
    (here / "clip.bundle").mkdir()
    with pytest.raises(RunError, match="pass --overwrite to replace it"):
        export_bundle(request(weights))
    (here / "clip.bundle" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="is no bundle"):
        export_bundle(request(weights, overwrite=True))
    assert (here / "clip.bundle" / "mine.txt").read_text() == "mine"
