"""Models from outside the package: a model file and a YAML file in a folder, for every task."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import videozoo
from tests.tasks.test_captioning import make_data as make_events
from tests.tasks.test_localisation import make_video
from tests.tasks.test_moments import make_data as make_queries
from tests.weights.image_nets import trained_image_net
from videozoo import cli
from videozoo.config import load_config
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.records import FeatureRecord
from videozoo.data.synthetic.clips import make_clips
from videozoo.errors import ConfigError, WeightsError
from videozoo.models import _outside, list_models, model_name, model_spec, model_summary
from videozoo.weights.files import read_metadata

MODELS = Path(__file__).parents[1] / "outside"
GUIDE = Path(__file__).parents[2] / "CONTRIBUTING.md"
TRAIN = {"epochs": 2, "batch_size": 4, "optimizer": "adam", "learning_rate": 0.01}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the model file, the YAML file and the data lie; commands are given there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_file(folder: Path, file: str, model: dict[str, Any], data: Any, **more: Any) -> str:
    """Put a model file and its YAML file into a folder."""
    shutil.copy(MODELS / file, folder)
    content = {"model": {"name": file, **model}, "data": {"num_workers": 0, **data}}
    content |= {"train": {**TRAIN, **more.pop("train", {})}, **more}
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(content))
    return "run.yaml"


def told(capsys: pytest.CaptureFixture[str], *words: str, status: int = 1) -> str:
    """What a command says that fails on the user's input."""
    capsys.readouterr()
    assert cli.main(list(words)) == status
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert "fault of videozoo" not in error
    return error


def trained_and_evaluated(folder: Path, config: str, *words: str) -> dict[str, Any]:
    assert cli.main(["train", "--config", config, "--save-dir", "run"]) == 0
    assert cli.main(["eval", "--weights", "run", "--save-dir", "e", "--no-report", *words]) == 0
    return json.loads((folder / "e" / "eval.json").read_text())


def predicted(folder: Path, *inputs: str) -> list[dict[str, Any]]:
    assert cli.main(["predict", "--weights", "run", "--save-dir", "p", *inputs]) == 0
    return json.loads((folder / "p" / "predictions.json").read_text())["predictions"]


def test_clips(folder: Path, capsys: pytest.CaptureFixture[str]):
    made = make_clips(folder / "clips", num_train=8, num_val=4, num_test=4, seed=0, size=40)
    listed = {part: f"clips/{part}.list" for part in ("train", "val", "test")}
    data = {**listed, "class_names": "clips/class_names.json", "short_side": 40, "crop_size": 32}
    config = run_file(folder, "mean_frames.py", {"num_classes": 8}, data)

    assert trained_and_evaluated(folder, config)["videos"] == 4
    assert len(predicted(folder, "clips/test.list")) == 4

    video = str(next(made.folder.rglob("*.mp4")))
    words = ["predict", "--weights", "run", "--explain", video]
    assert "Mean of frames does not tell where it looked" in told(capsys, *words, status=2)
    words = ["extract", "--weights", "run", "--output", "f", video]
    assert "Mean of frames does not give features" in told(capsys, *words)
    assert cli.main([*words, "--layer", "scores"]) == 0
    words = ["train", "--config", config, "--save-dir", "other", "--pretrain"]
    torch.save(trained_image_net(18).state_dict(), folder / "resnet.pth")
    assert "Mean of frames has no ResNet inside" in told(capsys, *words, "resnet.pth")
    assert "nothing to start training from was published" in told(capsys, *words, "default")
    words = ["weights", "convert", "run", "old.pdparams"]
    assert "of which Mean of frames has none" in told(capsys, *words)


def test_a_graph_of_clips_needs_no_model_file(folder: Path):
    pytest.importorskip("onnxruntime")
    make_clips(folder / "clips", num_train=8, num_val=4, num_test=4, seed=0, size=40)
    data = {"train": "clips/train.list", "short_side": 40, "crop_size": 32, "first_label": 0}
    config = run_file(folder, "mean_frames.py", {"num_classes": 8}, data)
    assert cli.main(["train", "--config", config, "--save-dir", "run"]) == 0

    assert cli.main(["export", "--weights", "run", "--output", "toy.onnx"]) == 0

    (folder / "mean_frames.py").unlink()
    assert cli.main(["predict", "--weights", "toy.onnx", "clips/test.list"]) == 0


def test_tags(folder: Path, capsys: pytest.CaptureFixture[str]):
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 4), ("test", 4)):
        with PackWriter(folder / part) as pack:
            for number in range(count):
                frames = rng.normal(number % 2, 0.1, (5, 8)).astype(np.float32)
                pack.write(FeatureRecord(f"{part}{number}", {"rgb": frames}, (number % 2,)))
    data = {part: part for part in ("train", "val", "test")}
    config = run_file(folder, "mean_tags.py", {"num_classes": 2}, data)

    assert trained_and_evaluated(folder, config)["videos"] == 4
    assert len(predicted(folder, "test")) == 4

    words = ["predict", "--weights", "run", "--explain", "test"]
    assert "Mean of features does not tell where it looked" in told(capsys, *words, status=2)
    words = ["export", "--weights", "run"]
    assert "its model file does not say that it can be exported" in told(capsys, *words)
    assert "reads features itself" in told(
        capsys, "extract", "--weights", "run", "--output", "f", "test"
    )


def test_segments_and_the_scores_of_their_proposals(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    rng, database = np.random.default_rng(0), dict[str, Any]()
    (folder / "features").mkdir()
    for number in range(12):
        features, segments = make_video(rng)
        np.save(folder / "features" / f"v_{number}.npy", features)
        subset = "training" if number < 8 else "validation"
        database[f"v_{number}"] = {"duration": 40.0, "subset": subset, "annotations": segments}
    (folder / "anet.json").write_text(json.dumps({"database": database}))
    data = {"annotations": "anet.json", "features": "features"}
    config = run_file(folder, "step_curves.py", {}, data, train={"epochs": 4})

    assert trained_and_evaluated(folder, config)["videos"] == 4
    assert len(predicted(folder, "features")) == 12
    words = ["export", "--weights", "run"]
    assert "its model file does not say that it can be exported" in told(capsys, *words)

    written = ["--set", "eval.proposal_files=proposals", "--set", "eval.feature_files=numbers"]
    for subset in ("training", "validation"):
        line = ["eval", "--weights", "run", "--save-dir", subset, "--no-report"]
        assert cli.main([*line, "--set", f"data.test_subset={subset}", *written]) == 0
    data = {"annotations": "anet.json", "proposals": "proposals", "proposal_features": "numbers"}
    shutil.move("run", "first")
    config = run_file(folder, "linear_scores.py", {}, data)

    assert trained_and_evaluated(folder, config)["videos"] == 4
    assert len(predicted(folder)) == 12


def test_captions(folder: Path, capsys: pytest.CaptureFixture[str]):
    events = make_events(folder, videos=6)
    data = {**events, "min_word_count": 1}
    views = {"eval": {"meteor": False}}
    config = run_file(folder, "mean_captions.py", {}, data, train={"epochs": 8}, **views)

    assert trained_and_evaluated(folder, config)["events"] == 8
    assert all(one["sentence"] for one in predicted(folder, events["val"]))

    words = ["predict", "--weights", "run", "--explain", events["val"]]
    assert "Mean to words does not tell where it looked" in told(capsys, *words, status=2)
    words = ["export", "--weights", "run"]
    assert "Mean to words: its model file does not say that it can be exported" in told(
        capsys, *words
    )


def test_moments(folder: Path):
    data = make_queries(folder, videos=8)
    config = run_file(folder, "product_moments.py", {}, data)

    assert trained_and_evaluated(folder, config)["sentences"] == 8
    assert predicted(folder, "--sentence", "a cat jumps", data["features"])

    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert cli.main(["export", "--weights", "run", "--output", "toy.onnx"]) == 0
    (folder / "product_moments.py").unlink()
    words = ["--weights", "toy.onnx", "--save-dir", "e2", "--no-report"]
    assert cli.main(["eval", *words]) == 0


# --- where a model file lies, and who may name it --------------------------------------------


@pytest.fixture
def run(folder: Path) -> Path:
    """A run with a model file beside its YAML file, which was not in the current folder."""
    (folder / "project").mkdir()
    make_clips(folder / "clips", num_train=8, num_val=4, num_test=4, seed=0, size=40)
    data = {"train": "clips/train.list", "short_side": 40, "crop_size": 32, "first_label": 0}
    run_file(folder / "project", "mean_frames.py", {"num_classes": 8}, data, train={"epochs": 1})
    words = ["train", "--config", "project/run.yaml", "--save-dir", "run"]
    assert cli.main(words) == 0
    return folder / "run"


def test_a_run_is_loaded_from_anywhere_and_says_where_a_moved_file_is_to_be_named(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder = run.parent
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    video = str(next((folder / "clips").rglob("*.mp4")))
    words = ["predict", "--weights", "../run", "--save-dir", "p", video]
    assert cli.main(words) == 0
    stored = load_config(run / "config.yaml").name
    assert stored == str(folder / "project" / "mean_frames.py")

    shutil.move(folder / "project" / "mean_frames.py", folder / "moved.py")

    assert "no such model file" in (error := told(capsys, *words))
    assert "--model PATH/mean_frames.py" in error
    assert cli.main([*words, "--model", "../moved.py"]) == 0
    line = ["train", "--resume", "../run", "--set", "train.epochs=2"]
    assert cli.main([*line, "--model", "../moved.py"]) == 0
    assert videozoo.load(run, model="../moved.py").module is not None


def test_a_pickled_predictor_of_a_model_file_opens_in_a_new_process(run: Path):
    predictor = videozoo.load(run, task="classification")
    video = next((run.parent / "clips").rglob("*.mp4"))
    (run.parent / "sent.pkl").write_bytes(pickle.dumps(predictor))
    opened = "import pickle, pathlib; sent = pickle.loads(pathlib.Path('sent.pkl').read_bytes())"
    code = f"{opened}; print(sent.predict({str(video)!r})[0].labels[0].score)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-2000:]
    (expected,) = predictor.predict(str(video))
    assert float(done.stdout) == pytest.approx(expected.labels[0].score, abs=1e-5)
    shutil.move(run.parent / "project" / "mean_frames.py", run.parent / "moved.py")
    done = subprocess.run([sys.executable, "-c", opened], capture_output=True, text=True)
    assert "ConfigError: a pickled Classifier of a model file, which is imported" in done.stderr


def test_a_file_that_only_weights_name_is_not_run(run: Path, capsys: pytest.CaptureFixture[str]):
    folder = run.parent
    alone = folder / "alone.safetensors"
    shutil.copy(run / "weights" / "epoch_1.safetensors", alone)
    evil = folder / "project" / "mean_frames.py"
    assert read_metadata(alone)["model"] == str(evil)
    evil.write_text("raise SystemExit('was run')")
    _outside._imported.clear()
    video = str(next((folder / "clips").rglob("*.mp4")))
    words = ["predict", "--weights", str(alone), "--save-dir", "p", video]

    error = told(capsys, *words)

    assert "a file that only weights name is not run" in error
    assert "--model mean_frames.py" in error
    with pytest.raises(WeightsError, match="only weights name"):
        videozoo.load(alone)
    shutil.copy(MODELS / "mean_frames.py", folder / "mine.py")
    assert cli.main([*words, "--model", "mine.py"]) == 0


@pytest.fixture
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with a model, as if it had been installed."""
    shutil.copy(MODELS / "mean_frames.py", folder / "outside_package.py")
    about = folder / "outside_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[videozoo.models]\nmean_frames = outside_package\n")
    monkeypatch.syspath_prepend(folder)
    _outside.installed.cache_clear()
    yield
    _outside.installed.cache_clear()
    sys.modules.pop("outside_package", None)


@pytest.mark.usefixtures("installed")
def test_models_of_installed_packages_are_listed_and_used(capsys: pytest.CaptureFixture[str]):
    assert "mean_frames" in list_models()
    assert model_name("Mean-Frames") == "mean_frames"
    assert "outside_package" not in sys.modules  # the list imports nothing

    assert cli.main(["models"]) == 0
    assert "Mean of frames: one convolution" in capsys.readouterr().out
    assert cli.main(["models", "mean_frames"]) == 0
    assert videozoo.create_model("mean_frames", num_classes=3)(torch.zeros(1, 4, 3, 32, 32)).shape


def test_a_model_file_is_described(folder: Path, capsys: pytest.CaptureFixture[str]):
    shutil.copy(MODELS / "mean_frames.py", folder)

    assert cli.main(["models", "mean_frames.py"]) == 0

    said = capsys.readouterr().out
    assert said.startswith("Mean of frames: one convolution")
    assert "Frames of a clip." in said
    assert "published weights: none" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def broken(", r"toy\.py:1: not Python"),
        ("x = 1\nimport no_such_package\n", r"toy\.py:2: the import fails: ModuleNotFoundError"),
        ("SPEC = 3\n", r"toy\.py: has a SPEC that is 3"),
        ("x = 1\n", r"toy\.py: has no SPEC"),
        (
            "from videozoo.types import ModelSpec\n\nSPEC = ModelSpec(title='x')\n",
            r"toy\.py:3: the import fails: TypeError: .*'task'",
        ),
        (
            (MODELS / "mean_frames.py").read_text().replace("num_classes", "classes"),
            "MeanFramesSettings has no num_classes, which models for Classification need",
        ),
    ],
)
def test_mistakes_in_model_files_are_one_clear_error(folder: Path, text: str, message: str):
    (folder / "toy.py").write_text(text)

    with pytest.raises(ConfigError, match=message):
        model_spec("toy.py")
    with pytest.raises(ConfigError, match="no such model file"):
        model_spec("other.py")


def test_a_model_that_never_saw_2019_starts_from_a_resnet(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    text = (MODELS / "mean_frames.py").read_text()
    text = text.replace("import torch\n", "from videozoo.models._resnet import ResNet\n")
    text = text.replace("self.conv = nn.Conv2d(3, 16, 7, stride=4)", "self.net = ResNet(18)")
    text = text.replace("nn.Linear(16,", "nn.Linear(512,")
    text = text.replace("torch.relu(self.conv(clips.mean(dim=1)))", "self.net(clips.mean(dim=1))")
    text = text.replace("x.mean(dim=(2, 3))", "x")
    text = text.replace("ModelSpec, Settings", "ModelSpec, ResNetStart, Settings")
    start = "ResNetStart(depth=lambda _: 18, part='net', adapt=lambda _, arrays: dict(arrays))"
    text = text.replace("    build=MeanFrames,\n", f"    build=MeanFrames,\n    resnet={start},\n")
    (folder / "toy.py").write_text(text)
    net = trained_image_net(18, width=64)
    torch.save(net.state_dict(), folder / "resnet.pth")

    module = videozoo.create_model("toy.py", num_classes=3, weights="resnet.pth").eval()

    frames = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            module.get_submodule("net")(frames), net.features(frames), rtol=1e-4, atol=1e-5
        )


def test_the_guide_shows_a_model_that_is_tested():
    source = (MODELS / "mean_frames.py").read_text()

    assert source.strip() in GUIDE.read_text()
    assert model_summary(str(MODELS / "mean_frames.py")).startswith("Mean of frames")
