"""Exported models of moments and captions give the model's own answers; others are not kept."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import videozoo
from videozoo import cli, cli_v1
from videozoo.config import from_layers
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.records import FeatureRecord
from videozoo.errors import ConfigError, RunError, UsageError, WeightsError
from videozoo.models.ets import ETS
from videozoo.models.tall import TALL
from videozoo.tasks import run
from videozoo.tasks.captioning import Captioner
from videozoo.tasks.captioning.exported import ExportedCaptioner
from videozoo.tasks.loading import config_for_weights, save_trained
from videozoo.tasks.moments import MomentRetriever
from videozoo.tasks.moments.exported import ExportedPairs
from videozoo.tasks.requests import ConfigSource, ExportRequest
from videozoo.weights import onnx_graphs
from videozoo.weights.exported import read_description, step_file

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

GOLDEN = Path(__file__).parents[1] / "golden"
DIM = 6
WORDS = ["<s>", "<e>", "<unk>", "a", "man", "dog", "runs", "sleeps"]
SENTENCES = {"encoder": "hashed-1", "dim": 16}
EXTRACTOR = {"model": "tsn", "rate": 1}
MODELS: dict[str, dict[str, Any]] = {
    "tall": {"visual_dim": 3 * DIM, "sentence_dim": 16, "semantic_size": 8, "hidden_size": 7},
    "ets": {
        "vocabulary_size": len(WORDS),
        "feature_dim": DIM,
        "embedding_size": 9,
        "gru_size": 5,
        "decoder_size": 7,
        "word_size": 4,
    },
}


def request(path: Path, **more: Any) -> ExportRequest:
    return ExportRequest(source=ConfigSource(), weights=str(path), **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of four videos, questions about them, weights of small models, and exports."""
    folder = tmp_path_factory.mktemp("language")
    rng = np.random.default_rng(3)
    events: dict[str, Any] = {}
    lines: list[str] = []
    with PackWriter(folder / "pack", extractor=EXTRACTOR) as pack:
        for number in range(4):
            rows = rng.normal(0, 2, (9 + 5 * number, DIM)).astype(np.float32)
            pack.write(FeatureRecord(f"v{number}", {"rgb": rows}, None))
            events[f"v{number}"] = {
                "duration": len(rows),
                "timestamps": [[0, 4], [2, 3 + number]],
                "sentences": ["A man runs.", "A dog sleeps."],
            }
            lines += [f"v{number} 0 4##A man runs.", f"v{number} 2 {3 + number}##A dog sleeps."]
    (folder / "events.json").write_text(json.dumps(events))
    (folder / "lines.txt").write_text("\n".join(lines))
    features = str(folder / "pack")
    windows = {"seconds": [4, 6], "overlap": 0.5, "context_seconds": 1}
    datas: dict[str, dict[str, Any]] = {
        "ets": {"features": features, "test": str(folder / "events.json")},
        "tall": {"features": features, "test": str(folder / "lines.txt"), "windows": windows},
    }
    facts: dict[str, tuple[list[str] | None, dict[str, Any]]] = {
        "ets": (WORDS, EXTRACTOR),
        "tall": (None, {"visual": EXTRACTOR, "sentences": SENTENCES}),
    }
    for name, (words, origin) in facts.items():
        model = {"name": name, **MODELS[name]}
        settings = {"eval": {"meteor": False}} if name == "ets" else {}
        data = {**datas[name], "num_workers": 0}
        config = from_layers([("", {"model": model, "data": data, **settings})])
        torch.manual_seed(5)
        module = config.spec.build(config.model)
        with torch.no_grad():
            for value in module.parameters():  # biases are zero in a fresh network
                value.add_(0.5 * torch.randn_like(value))
        save_trained(folder / f"{name}.safetensors", module, config, words, {}, origin)
        run.export(request(folder / f"{name}.safetensors"))
    return folder


def test_tall_gives_the_same_numbers_for_any_pairs(folder: Path):
    graph = ExportedPairs(folder / "tall.onnx")
    network = loaded(folder / "tall.safetensors", MomentRetriever)
    assert isinstance(network, TALL)

    for clips, sentences in ((1, 1), (2, 5), (60, 11), (0, 3)):
        visual = torch.randn(clips, MODELS["tall"]["visual_dim"])
        vectors = torch.randn(sentences, MODELS["tall"]["sentence_dim"])
        with torch.no_grad():
            expected = network.grid(visual, vectors)
        assert torch.allclose(graph(visual, vectors), expected, atol=1e-5)
        number = min(clips, sentences)
        found = graph.pairs(visual[:number], vectors[:number])
        assert torch.allclose(found, expected.diagonal(dim1=1, dim2=2).T, atol=1e-5)


def test_ets_gives_the_same_captions_for_any_videos(folder: Path):
    graph = ExportedCaptioner(folder / "ets.onnx", folder / "ets.step.onnx")
    network = loaded(folder / "ets.safetensors", Captioner)
    assert isinstance(network, ETS)
    generator = torch.Generator().manual_seed(4)
    said: set[tuple[int, ...]] = set()

    for lengths in ((1,), (30,), (4, 1, 9), (2,) * 7):
        features = 2 * torch.randn(len(lengths), max(lengths), DIM, generator=generator)
        for beam in (1, 3):
            given = features, torch.tensor(lengths)
            found = graph.caption(*given, beam_size=beam, max_length=6)
            expected = network.caption(*given, beam_size=beam, max_length=6)
            assert [[one.tokens for one in video] for video in found] == [
                [one.tokens for one in video] for video in expected
            ]
            for ours, theirs in zip(chain(*found), chain(*expected), strict=True):
                assert ours.scores == pytest.approx(theirs.scores, abs=1e-4)
                assert torch.allclose(ours.attention, theirs.attention, atol=1e-5)
                said.add(ours.tokens)
    assert len(said) > 5  # one sentence for all would agree with anything


def loaded(path: Path, kind: type[MomentRetriever] | type[Captioner]) -> object:
    made = videozoo.load(path, device="cpu")
    assert isinstance(made, kind)
    return made.module


@pytest.mark.parametrize(
    ("name", "asked"),
    [("tall", ["--sentence", "a man runs", "pack"]), ("tall", ["lines.txt"]), ("ets", ["pack"])],
)
def test_predict_gives_the_answers_of_the_weights(
    name: str, asked: list[str], folder: Path, tmp_path: Path
):
    *flags, inputs = asked
    rows: list[list[dict[str, Any]]] = []
    for suffix in (".safetensors", ".onnx"):
        save = ["--save-dir", str(tmp_path / suffix), "--device", "cpu"]
        weights = ["--weights", str(folder / f"{name}{suffix}")]
        assert cli.main(["predict", *weights, *flags, *save, str(folder / inputs)]) == 0
        file = tmp_path / suffix / "predictions.json"
        rows.append(json.loads(file.read_text())["predictions"])

    assert len(rows[0]) >= 4
    for one, other in zip(*rows, strict=True):
        for ours, theirs in zip(one.pop("top"), other.pop("top"), strict=True):
            assert ours == {
                key: pytest.approx(value, abs=1e-4) if isinstance(value, float) else value
                for key, value in theirs.items()
            }
        assert one == other


@pytest.mark.parametrize(("name", "key"), [("tall", "mean_tiou"), ("ets", "metrics")])
def test_eval_works_on_exported_files(name: str, key: str, folder: Path, tmp_path: Path):
    facts: list[dict[str, Any]] = []
    for suffix in (".safetensors", ".onnx"):
        weights = ["--weights", str(folder / f"{name}{suffix}")]
        assert cli.main(["eval", *weights, "--save-dir", str(tmp_path), "--device", "cpu"]) == 0
        facts.append(json.loads((tmp_path / "eval.json").read_text()))

    assert facts[0][key] == pytest.approx(facts[1][key], abs=1e-4)


def test_finding_with_onnx_imports_no_model_file(folder: Path):
    code = (
        "import sys, videozoo\n"
        "found = videozoo.load(sys.argv[1]).predict(sys.argv[2], 'a man runs')\n"
        "assert len(found) == 4\n"
        "own = [m for m in sys.modules if m.startswith('videozoo.models.')]\n"
        "models = [m for m in own if not m.endswith(('._declared', '._outside'))]\n"
        "# (these find and check files)\n"
        "assert not models, models\n"
        "assert 'onnxruntime' in sys.modules and 'onnx' not in sys.modules\n"
    )
    arguments = [sys.executable, "-c", code, str(folder / "tall.onnx"), str(folder / "pack")]

    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr


def test_the_files_tell_where_they_came_from(folder: Path):
    for name, words in (("tall", None), ("ets", WORDS)):
        about = read_description(folder / f"{name}.onnx")
        weights = folder / f"{name}.safetensors"
        trained = config_for_weights(ConfigSource(), str(weights))

        assert (about.model, about.vocabulary, about.clips) == (name, words, None)
        assert about.features == trained.features
        assert about.source["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
        assert about.config["model"] == {"name": name, **MODELS[name]}
        assert (about.torch, about.videozoo) == (torch.__version__, videozoo.__version__)
        assert about.check is not None
        assert about.check["largest_difference"] <= 1e-4
    step = read_description(folder / "ets.step.onnx")
    assert (step.part, step.vocabulary) == ("step", WORDS)
    source = str(Path(videozoo.__file__).parent).encode()
    assert not any(source in path.read_bytes() for path in folder.glob("*.onnx"))


@pytest.mark.parametrize(
    ("name", "network", "method"),
    [("tall", ExportedPairs, "pairs"), ("ets", ExportedCaptioner, "step")],
)
@pytest.mark.parametrize("off_by", [1e-2, float("nan")])
def test_graphs_with_other_answers_are_not_kept(
    name: str,
    network: type[Any],
    method: str,
    off_by: float,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Of a graph that was written before; tracing takes its time."""
    instead_of_tracing(name, folder, monkeypatch)
    before: Callable[..., Any] = getattr(network, method)

    def changed(self: Any, *arguments: Any) -> Any:
        found = before(self, *arguments)
        return (found[0] + off_by, *found[1:]) if isinstance(found, tuple) else found + off_by

    monkeypatch.setattr(network, method, changed)
    earlier = tmp_path / "kept.onnx"
    earlier.write_bytes(b"an earlier export")

    for output in (tmp_path / "new.onnx", earlier):
        with pytest.raises(RunError, match="not written: its answers differ from the model's by"):
            run.export(request(folder / f"{name}.safetensors", output=output, overwrite=True))

    assert earlier.read_bytes() == b"an earlier export"
    assert list(tmp_path.iterdir()) == [earlier]
    made = run.export(
        request(folder / f"{name}.safetensors", output=tmp_path / "new.onnx", check=False)
    )
    assert read_description(made).check is None


def instead_of_tracing(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the graphs of `folder`."""
    import onnx

    task = {"tall": "moments", "ets": "captioning"}[name]
    exporting = import_module(f"videozoo.tasks.{task}.export")

    def nothing(*arguments: Any) -> None:
        return None

    def made(_: object, inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
        path = folder / f"{name}.onnx"
        return onnx.load(step_file(path) if "words" in inputs else path)

    for traced in {"trace", "trace_encoder", "trace_step"} & set(vars(exporting)):
        monkeypatch.setattr(exporting, traced, nothing)
    monkeypatch.setattr(exporting, "onnx_model", made)


def test_what_cannot_be_exported_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch):
    tall, ets = folder / "tall.safetensors", folder / "ets.safetensors"

    with pytest.raises(UsageError, match="ETS is exported as onnx only, not as torch-export"):
        run.export(request(ets, format="torch-export"))
    with pytest.raises(UsageError, match="TALL is exported as onnx only, not as torch-export"):
        run.export(request(tall, output=folder / "tall.pt2"))
    with pytest.raises(UsageError, match="TALL reads features; leave it out"):
        run.export(request(tall, output=folder / "new.onnx", video=folder))
    with pytest.raises(RunError, match=r"tall.onnx: exists; pass --overwrite"):
        run.export(request(tall))
    (folder / "half.step.onnx").write_bytes(b"")
    with pytest.raises(RunError, match=r"half.step.onnx: exists; pass --overwrite"):
        run.export(request(ets, output=folder / "half.onnx"))
    with pytest.raises(WeightsError, match="exported already"):
        run.export(request(folder / "ets.onnx"))
    with pytest.raises(WeightsError, match=r"none.safetensors"):
        run.export(request(folder / "none.safetensors"))
    monkeypatch.setattr(onnx_graphs, "find_spec", lambda name: None)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    with pytest.raises(RunError, match=r"pip install 'videozoo\[export\]'"):
        run.export(request(tall, output=folder / "new.onnx"))
    with pytest.raises(RunError, match=r"pip install 'videozoo\[export\]'"):
        videozoo.load(folder / "ets.onnx")


def test_files_that_do_not_belong_are_one_line(folder: Path, tmp_path: Path):
    shutil.copy(folder / "ets.onnx", tmp_path / "ets.onnx")

    with pytest.raises(WeightsError, match=r"ets.step.onnx, which was written with it, is not"):
        videozoo.load(tmp_path / "ets.onnx")
    shutil.copy(folder / "tall.onnx", tmp_path / "ets.step.onnx")
    with pytest.raises(WeightsError, match=r"not the file that was written with ets.onnx"):
        videozoo.load(tmp_path / "ets.onnx")
    with pytest.raises(WeightsError, match=r"the step from one word to the next, one half"):
        videozoo.load(folder / "ets.step.onnx")
    with pytest.raises(ConfigError, match=r"model.hidden_size is 7 in this exported graph"):
        config_for_weights(
            ConfigSource(overrides=("model.hidden_size=9",)), str(folder / "tall.onnx")
        )
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(b"")
    with pytest.raises(WeightsError, match=r"has no description by videozoo"):
        videozoo.load(foreign)
    weights = ["--weights", str(folder / "ets.onnx"), "--drop", "head"]
    assert cli.main(["predict", *weights, str(folder / "pack")]) == 1


def test_both_files_may_be_given_another_name(folder: Path, tmp_path: Path):
    for file, name in (("ets.onnx", "mine.onnx"), ("ets.step.onnx", "mine.step.onnx")):
        shutil.copy(folder / file, tmp_path / name)

    captioner = videozoo.load(tmp_path / "mine.onnx", device="cpu")

    assert isinstance(captioner, Captioner)
    assert len(captioner.predict(folder / "pack")) == 4


@pytest.mark.parametrize(
    ("name", "results"),
    [
        ("TALL", "TALL_infer_res_.json"),
        pytest.param("ETS", "ETS_infer_res_.json", marks=pytest.mark.slow),
    ],
)
def test_the_2019_line_writes_files_that_its_predict_runs(
    name: str, results: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    golden = GOLDEN / f"{name.lower()}_pipeline"
    shutil.copytree(golden, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    words = [f"--model_name={name}", f"--config=./{name.lower()}.yaml", "--use_gpu=False"]

    exported = [f"--weights={name}_start.pdparams", "--save_dir=inference"]
    assert cli_v1.inference([*words, *exported]) == 0
    assert cli_v1.predict([*words, f"--weights=inference/{name}_model.onnx"]) == 0

    ours = json.loads(Path("data/predict_results", results).read_text())["results"]
    theirs = json.loads((golden / "predict_out" / results).read_text())["results"]
    assert ours.keys() == theirs.keys()
    for video, rows in theirs.items():
        same = np.allclose(ours[video], rows, atol=1e-3) if name == "TALL" else ours[video] == rows
        assert same
