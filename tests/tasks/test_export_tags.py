"""Exported models that tag features give the model's own answers; others are not kept."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import videozoo
from videozoo import cli
from videozoo.config import from_layers
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.records import FeatureRecord
from videozoo.errors import ConfigError, RunError, UsageError, VideozooError, WeightsError
from videozoo.tasks import run
from videozoo.tasks.loading import config_for_weights, save_trained
from videozoo.tasks.requests import ConfigSource, ExportRequest, TrainRequest
from videozoo.tasks.tagging import Tagger
from videozoo.tasks.tagging.exported import ExportedTagger
from videozoo.weights.exported import read_description

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

CLASSES = ["run", "jump", "swim", "sing"]
STREAMS = {"rgb": 8, "audio": 4}
EXTRACTOR = {"model": "tsn", "rate": 1}
MODELS: dict[str, dict[str, Any]] = {
    "probe": {"pooling": ["mean", "std"]},
    "attention_cluster": {"num_frames": 6, "hidden_sizes": [12, 10]},
    "attention_lstm": {"embedding_size": 7, "lstm_size": 5, "hidden_sizes": [12, 10]},
    "nextvlad": {"cluster_size": 3, "groups": 2, "hidden_size": 16},
}
"""The probe is traced fastest; tracing takes seconds of each test."""
EVERY = ["probe", *(pytest.param(name, marks=pytest.mark.slow) for name in list(MODELS)[1:])]
LENGTHS = ((1,), (12,), (5, 1, 9))

Exported = Callable[[str], Path]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Makes the weights of a small model and its export, once; features of videos lie beside."""
    folder = tmp_path_factory.mktemp("tags")
    rng = np.random.default_rng(3)
    with PackWriter(folder / "pack", extractor=EXTRACTOR) as pack:
        for number, length in enumerate((1, 9, 4, 30, 7)):
            rows = rng.normal(number % 2, 2, (length, 12)).astype(np.float32)
            streams = {"rgb": rows[:, :8], "audio": rows[:, 8:]}
            pack.write(FeatureRecord(f"v{number}", streams, (number % 2, 2)))

    @cache
    def made(name: str) -> Path:
        extra = {"clusters": 3} if name == "attention_cluster" else {}
        streams = [{"name": key, "dim": dim, **extra} for key, dim in STREAMS.items()]
        model = {"name": name, "num_classes": len(CLASSES), "streams": streams, **MODELS[name]}
        data = {"test": str(folder / "pack"), "num_workers": 0}
        config = from_layers([("", {"model": model, "data": data})])
        torch.manual_seed(5)
        module = config.spec.build(config.model)
        with torch.no_grad():
            for value in module.parameters():  # some are zero in a fresh network
                value.add_(0.5 * torch.randn_like(value))
        path = folder / f"{name}.safetensors"
        save_trained(path, module, config, CLASSES, {}, EXTRACTOR)
        return run.export(ExportRequest(source=ConfigSource(), weights=str(path)))

    return made


@pytest.mark.parametrize("name", EVERY)
def test_the_graph_gives_the_same_numbers_for_any_videos(name: str, exported: Exported):
    path = exported(name)
    about = read_description(path)
    assert about.tags is not None
    graph = ExportedTagger(path, about.tags)
    network: Any = loaded(path.with_suffix(".safetensors")).module

    for lengths in LENGTHS:
        streams = [3 * torch.randn(len(lengths), max(lengths), dim) for dim in STREAMS.values()]
        given = streams, torch.tensor(lengths)
        with torch.no_grad():
            assert torch.allclose(graph(*given), network(*given), atol=1e-4, rtol=1e-5)
            if about.tags.explains:
                pairs = zip(graph.frame_weights(*given), network.frame_weights(*given), strict=True)
                assert all(torch.allclose(*pair, atol=1e-5) for pair in pairs)


def loaded(path: Path) -> Tagger:
    made = videozoo.load(path, device="cpu")
    assert isinstance(made, Tagger)
    return made


@pytest.mark.parametrize("name", EVERY)
def test_predict_eval_and_load_give_the_answers_of_the_weights(
    name: str, exported: Exported, tmp_path: Path
):
    path = exported(name)
    pack = path.with_name("pack")
    about = read_description(path)
    assert about.tags is not None
    rows: list[Any] = []
    metrics: list[Any] = []
    for weights in (path.with_suffix(".safetensors"), path):
        words = ["--weights", str(weights), "--save-dir", str(tmp_path / weights.name)]
        words += ["--device", "cpu"]
        explained = ["--explain"] if about.tags.explains else []
        assert cli.main(["predict", *words, *explained, str(pack)]) == 0
        file = tmp_path / weights.name / "predictions.json"
        rows.append(json.loads(file.read_text())["predictions"])
        assert cli.main(["eval", *words, "--no-report"]) == 0
        facts = json.loads((tmp_path / weights.name / "eval.json").read_text())
        metrics.append(facts["metrics"])

    assert [row["video"] for row in rows[1]] == ["v0", "v1", "v2", "v3", "v4"]
    for ours, theirs in zip(rows[1], rows[0], strict=True):
        assert [each["class"] for each in ours["top"]] == [each["class"] for each in theirs["top"]]
        scores = [each["score"] for each in theirs["top"]]
        assert [each["score"] for each in ours["top"]] == pytest.approx(scores, abs=1e-4)
    assert metrics[1] == pytest.approx(metrics[0], abs=1e-4)
    ours, theirs = loaded(path), loaded(path.with_suffix(".safetensors"))
    assert ours.class_names == CLASSES
    one = {"rgb": np.ones((6, 8), np.float32), "audio": np.ones((6, 4), np.float32)}
    assert [each.scores for each in ours.predict(one, str(pack))] == [
        pytest.approx(each.scores, abs=1e-4) for each in theirs.predict(one, str(pack))
    ]
    with pytest.raises(AttributeError, match="is an exported graph and has no module"):
        _ = ours.module


def test_the_file_tells_what_it_reads_and_where_it_came_from(exported: Exported):
    path = exported("probe")
    about = read_description(path)

    assert about.tags is not None
    assert {stream.name: stream.dim for stream in about.tags.streams} == STREAMS
    assert (about.model, about.class_names, about.features) == ("probe", CLASSES, EXTRACTOR)
    assert about.check is not None
    assert about.check["largest_difference"] <= about.check["allowed"]
    assert about.check["inputs"] == "5 random videos and v0, v1, v2"
    assert str(Path(videozoo.__file__).parent).encode() not in path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attention_lstm"])
def test_tagging_with_onnx_imports_no_model_file(name: str, exported: Exported):
    code = (
        "import sys, videozoo\n"
        "assert len(videozoo.load(sys.argv[1]).predict(sys.argv[2])) == 5\n"
        "own = [m for m in sys.modules if m.startswith('videozoo.models.')]\n"
        "models = [m for m in own if not m.endswith(('._declared', '._outside'))]\n"
        "assert not models, models\n"
        "assert 'onnxruntime' in sys.modules and 'onnx' not in sys.modules\n"
    )
    path = exported(name)
    arguments = [sys.executable, "-c", code, str(path), str(path.with_name("pack"))]

    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("off_by", [1e-2, float("nan")])
def test_graphs_with_other_answers_are_not_kept(
    off_by: float, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of a graph that was written before; tracing takes its time."""
    import onnx

    exporting = import_module("videozoo.tasks.tagging.export")
    path = exported("probe")
    monkeypatch.setattr(exporting, "trace", lambda *_: None)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    monkeypatch.setattr(exporting, "onnx_model", lambda *_: onnx.load(path))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    before = ExportedTagger.__call__

    def changed(self: ExportedTagger, *given: Any) -> Any:
        return before(self, *given) + off_by

    monkeypatch.setattr(ExportedTagger, "__call__", changed)
    wanted = ExportRequest(
        source=ConfigSource(),
        weights=str(path.with_suffix(".safetensors")),
        output=tmp_path / "new.onnx",
    )

    with pytest.raises(RunError, match="not written: its answers differ from the model's by"):
        run.export(wanted)

    assert not list(tmp_path.iterdir())


def test_what_an_exported_file_cannot_do_is_one_line(exported: Exported, tmp_path: Path):
    path = exported("probe")
    weights = str(path.with_suffix(".safetensors"))
    source = ConfigSource()

    def refused(kind: type[VideozooError], text: str, **more: Any) -> None:
        with pytest.raises(kind, match=text):
            run.export(ExportRequest(source=source, weights=weights, **more))

    refused(UsageError, "Probe is exported as onnx only", output=tmp_path / "new.pt2")
    refused(
        UsageError,
        "Probe reads features; leave it out",
        output=tmp_path / "new.onnx",
        video=tmp_path,
    )
    refused(RunError, "exists; pass --overwrite")
    with pytest.raises(WeightsError, match="exported already"):
        run.export(ExportRequest(source=source, weights=str(path)))
    with pytest.raises(ConfigError, match="in this exported graph and cannot be"):
        config_for_weights(ConfigSource(overrides=("model.num_classes=5",)), str(path))
    words = ["predict", "--weights", str(path), "--drop", "head", str(path.with_name("pack"))]
    assert cli.main(words) == 1
    other = path.with_name("other")
    with PackWriter(other) as pack:
        pack.write(FeatureRecord("a", {"rgb": np.ones((2, 8), np.float32)}, None))
    assert cli.main(["predict", "--weights", str(path), str(other)]) == 1
    config = tmp_path / "probe.yaml"
    streams = [{"name": key, "dim": dim} for key, dim in STREAMS.items()]
    model = {"name": "nextvlad", "num_classes": 4, "streams": streams, **MODELS["nextvlad"]}
    data = {"train": str(path.with_name("pack"))}
    config.write_text(json.dumps({"model": model, "data": data}))
    with pytest.raises(WeightsError, match="an exported graph answers and cannot learn"):
        run.train(
            TrainRequest(
                source=ConfigSource(path=config), save_dir=tmp_path / "run", pretrain=str(path)
            )
        )
