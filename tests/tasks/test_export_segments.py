"""Exported localisers give the model's own segments; files of two exports are not mixed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import videozoo
from videozoo import cli, cli_v1, safe_sums
from videozoo.config import from_layers
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.records import FeatureRecord
from videozoo.errors import RunError, UsageError, VideozooError, WeightsError
from videozoo.results import VideoSegments
from videozoo.tasks import int8, run
from videozoo.tasks.loading import save_trained
from videozoo.tasks.localisation import SegmentPredictor
from videozoo.tasks.requests import ConfigSource, ExportRequest
from videozoo.weights.exported import read_description

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

DIM = 8
EXTRACTOR = {"model": "tsn", "rate": 1}
PROPOSALS = {"most": 30, "num_action": 4, "num_start": 2, "num_end": 2}
TEM = {"feature_dim": DIM, "num_steps": 16, "hidden_size": 12}
PEM = {"feature_dim": 8, "hidden_size": 5}
MODELS: dict[str, dict[str, Any]] = {
    "bsn": {"tem": {**TEM, "proposals": PROPOSALS}, "pem": PEM},
    "bsn_tem": {**TEM, "proposals": PROPOSALS},
    "bsn_pem": PEM,
    "bmn": {"feature_dim": DIM, "num_steps": 12, "num_durations": 10, "num_samples": 4},
    "ctcn": {"feature_dim": DIM, "num_steps": 512, "num_classes": 3, "width": 0.02},
}
"""BSN is traced fastest; tracing takes seconds of each test."""
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in list(MODELS)[1:]]

Exported = Callable[[str], Path]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Makes the weights of a small model and its export, once; features of videos lie beside."""
    folder = tmp_path_factory.mktemp("segments")
    rng = np.random.default_rng(3)
    database: dict[str, Any] = {}
    with PackWriter(folder / "pack", extractor=EXTRACTOR) as pack:
        for number, length in enumerate((5, 9, 40, 30)):
            rows = rng.normal(0, 2, (length, DIM)).astype(np.float32)
            pack.write(FeatureRecord(f"v{number}", {"rgb": rows}, None, duration_seconds=length))
            label = ("dig", "swim")[number % 2]
            actions = [{"segment": [0, length / 2], "label": label}]
            database[f"v{number}"] = {
                "duration": length,
                "subset": "validation",
                "annotations": actions,
            }
    (folder / "anet.json").write_text(json.dumps({"database": database}))
    for name in ("proposals", "numbers"):
        (folder / name).mkdir()
    for number in range(4):
        table = ["xmin,xmax,xmin_score,xmax_score", "0.1,0.5,0.8,0.9", "0.2,0.9,0.5,0.5"]
        (folder / "proposals" / f"v{number}.csv").write_text("\n".join(table))
        np.save(folder / "numbers" / f"v{number}.npy", rng.random((2, 8), np.float32))

    @cache
    def made(name: str) -> Path:
        data: dict[str, Any] = {"annotations": str(folder / "anet.json"), "num_workers": 0}
        if name == "bsn_pem":
            for key, place in (("proposals", "proposals"), ("proposal_features", "numbers")):
                data[key] = str(folder / place)
        else:
            data["features"] = str(folder / "pack")
        model = {"name": name, **MODELS[name]}
        config = from_layers([("", {"model": model, "data": data})])
        torch.manual_seed(5)
        module = config.spec.build(config.model)
        with torch.no_grad():
            for value in module.parameters():
                value.add_((0.01 if name == "ctcn" else 0.3) * torch.randn_like(value))
        path = folder / f"{name}.safetensors"
        names = ["dig", "swim"] if name == "ctcn" else None
        save_trained(path, module, config, names, {}, None if name == "bsn_pem" else EXTRACTOR)
        return run.export(ExportRequest(source=ConfigSource(), weights=str(path)))

    return made


def loaded(path: Path) -> SegmentPredictor:
    made = videozoo.load(path, device="cpu")
    assert isinstance(made, SegmentPredictor)
    return made


def same(ours: VideoSegments, theirs: VideoSegments) -> bool:
    def rows(found: VideoSegments) -> list[tuple[float, float, float]]:
        return sorted((each.score, each.start, each.end) for each in found.segments)

    names = [sorted(str(each.name) for each in one.segments) for one in (ours, theirs)]
    return names[0] == names[1] and np.allclose(rows(ours), rows(theirs), atol=1e-4)


def _noise(length: int) -> Any:
    """Features that differ: where steps are equal, rounding decides which of them is a boundary."""
    return np.random.default_rng(8).normal(0, 2, (length, DIM)).astype(np.float32)


@pytest.mark.parametrize("name", ["bsn", *SLOW])
def test_predict_eval_and_load_give_the_answers_of_the_weights(
    name: str, exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = exported(name)
    weights = path.with_suffix(".safetensors")
    inputs = [] if name == "bsn_pem" else [str(path.with_name("pack"))]
    metrics: list[dict[str, float]] = []
    rows: list[Any] = []
    for file in (weights, path):
        words = ["--weights", str(file), "--save-dir", str(tmp_path / file.name)]
        words += ["--device", "cpu"]
        assert cli.main(["predict", *words, "--explain", *inputs]) == 0
        found = json.loads((tmp_path / file.name / "predictions.json").read_text())
        rows.append(found["predictions"])
        assert cli.main(["eval", *words, "--no-report"]) == 0
        facts = json.loads((tmp_path / file.name / "eval.json").read_text())
        metrics.append(facts["metrics"])

    capsys.readouterr()
    assert len(rows[0]) == 4
    assert [len(row["segments"]) for row in rows[1]] == [len(row["segments"]) for row in rows[0]]
    wanted = {key: value for key, value in metrics[0].items() if "loss" not in key}
    assert {key: metrics[1][key] for key in wanted} == pytest.approx(wanted, abs=1e-4)
    assert (wanted == metrics[0]) == (name != "bsn_tem")
    ours, theirs = loaded(path), loaded(weights)
    asked: list[Any] = [[]] if name == "bsn_pem" else [inputs[0], _noise(9)]
    for one in asked:
        pairs = zip(ours.predict(one), theirs.predict(one), strict=True)
        assert all(same(*pair) for pair in pairs)
    assert list(ours.class_names) == (["dig", "swim"] if name == "ctcn" else [])
    about = read_description(path)
    assert about.check is not None
    assert about.check["largest_difference"] <= about.check["allowed"]
    assert about.check["inputs"].endswith("v0, v1, v2")
    with pytest.raises(AttributeError, match="is an exported graph and has no module"):
        _ = ours.module


def test_two_stages_are_two_files_that_stay_together(exported: Exported, tmp_path: Path):
    path = exported("bsn")
    first, second = tmp_path / "mine.onnx", tmp_path / "mine.pem.onnx"
    shutil.copy(path, first)

    with pytest.raises(WeightsError, match=r"mine.pem.onnx, which was written with it, is not"):
        videozoo.load(first)
    shutil.copy(path.with_name("bsn.pem.onnx"), second)
    assert len(loaded(first).predict(str(path.with_name("pack")))) == 4
    with pytest.raises(WeightsError, match=r"the second stage, one half of .* without `.pem`"):
        videozoo.load(second)
    content = second.read_bytes()
    second.write_bytes(content.replace(b"videozoo", b"videozog", 1))
    with pytest.raises(WeightsError, match=r"mine.pem.onnx: not the file that was written with"):
        videozoo.load(first)
    second.write_bytes(content)
    other = bytearray(first.read_bytes())
    other[_weight_byte(other)] ^= 1
    first.write_bytes(bytes(other))
    with pytest.raises(WeightsError, match=r"mine.onnx: not the file that mine.pem.onnx was"):
        videozoo.load(first)
    weights = str(path.with_suffix(".safetensors"))
    with pytest.raises(RunError, match=r"bsn.onnx: exists; pass --overwrite"):
        run.export(ExportRequest(source=ConfigSource(), weights=weights))


def _weight_byte(content: bytes | bytearray) -> int:
    """The place of a byte within the weights of a graph."""
    import onnx

    graph = onnx.load_from_string(bytes(content)).graph
    largest = max((each.raw_data for each in graph.initializer), key=len)
    return bytes(content).index(largest) + 1


def test_what_cannot_be_exported_so_is_one_line(exported: Exported, tmp_path: Path):
    weights = str(exported("bsn").with_suffix(".safetensors"))
    (tmp_path / "half.pem.onnx").write_bytes(b"")

    def refused(error: type[VideozooError], text: str, **more: Any) -> None:
        with pytest.raises(error, match=text):
            run.export(ExportRequest(source=ConfigSource(), weights=weights, **more))

    half = tmp_path / "half.onnx"
    refused(UsageError, "BSN is exported as onnx only", format="torch-export")
    refused(UsageError, "BSN reads features; leave it out", output=half, video=tmp_path)
    refused(RunError, "half.pem.onnx: exists", output=half)


def test_int8_files_say_what_they_lost_and_stay_together(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    weights = str(exported("bsn").with_suffix(".safetensors"))
    home = Path(weights).parent
    safe_sums.keep(home, [Path(weights)])  # as a run does
    path = tmp_path / "small.onnx"
    words = ["export", "--weights", weights, "--int8", "--output", str(path)]

    assert cli.main([*words, "--int8-loss", "0.9"]) == 0

    out = " ".join(capsys.readouterr().out.split())
    for words_of_it in ("float", "int8", "AUC", "on 4 videos"):
        assert words_of_it in out
    assert sorted(each.name for each in tmp_path.iterdir()) == ["small.onnx", "small.pem.onnx"]
    assert not list(home.glob(".bsn-*"))
    assert list(safe_sums.read_sums(home)) == ["bsn.safetensors"]
    for file in tmp_path.iterdir():
        about = read_description(file)
        assert about.int8 is not None
        assert about.check is None
        assert about.int8["loss"] <= about.int8["allowed"] == 0.9
        assert about.int8["float_check"]["largest_difference"] <= 1e-4
    assert len(loaded(path).predict(str(exported("bsn").with_name("pack")))) == 4
    assert cli.main(["weights", "show", str(path)]) == 0
    assert "int8     {'metric': 'AUC'" in capsys.readouterr().out
    (tmp_path / "small.pem.onnx").write_bytes(
        exported("bsn").with_name("bsn.pem.onnx").read_bytes()
    )
    with pytest.raises(WeightsError, match=r"small.pem.onnx: not the file that was written with"):
        videozoo.load(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ((0.5, 0.4), r"small.onnx: not written: with weights of 8 bits it loses 20 % of AUC on 4"),
        ((0.0, 0.0), r"AUC of the float file on 4 videos is 0, so that a loss cannot be told"),
        ((0.5, float("nan")), r"not written: with weights of 8 bits it loses nan %"),
    ],
)
def test_an_int8_file_that_loses_too_much_is_not_written(
    metric: tuple[float, float],
    text: str,
    exported: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    weights = str(exported("bsn").with_suffix(".safetensors"))
    values = iter(metric)

    def scored(_path: Path, _request: ExportRequest) -> tuple[int8._Score, list[str]]:
        return int8._Score("AUC", next(values), "4 videos"), []

    monkeypatch.setattr(int8, "_score", scored)

    with pytest.raises(RunError, match=text):
        int8.export_int8(
            ExportRequest(
                source=ConfigSource(), weights=weights, int8=True, output=tmp_path / "small.onnx"
            )
        )

    assert not list(tmp_path.iterdir())
    assert not list(exported("bsn").parent.glob(".bsn-*"))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--int8-loss", "0.1"], "--int8-loss is only for --int8"),
        (["--data", "x.list"], "--data is only for --int8"),
        (["--int8", "--int8-loss", "1"], "expected a share of the metric from 0 to below 1"),
        (["--int8", "--format", "torch-export"], "files of 8 bits are ONNX"),
        (["--int8", "--features"], "an encoder has no metric to compare"),
    ],
)
def test_flags_of_int8_that_do_not_fit_are_refused_at_once(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["export", "--weights", "none", *words]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("name", "theirs"), [("bsn_tem", "BsnTem"), ("bsn_pem", "BsnPem")])
def test_the_2019_line_writes_a_stage_that_its_predict_runs(
    name: str, theirs: str, exported: Exported, tmp_path: Path
):
    weights = exported(name).with_suffix(".safetensors")
    words = [f"--model_name={theirs}", "--use_gpu=False"]

    assert cli_v1.inference([*words, f"--weights={weights}", f"--save_dir={tmp_path}"]) == 0

    file = tmp_path / f"{theirs}_model.onnx"
    assert read_description(file).check is not None
    if name == "bsn_tem":  # the configuration of the second stage names its inputs
        words += ["--set", f"predict.inputs={weights.with_name('pack')}"]
    rows: list[Any] = []
    for path in (weights, file):
        target = tmp_path / path.stem
        assert cli_v1.predict([*words, f"--weights={path}", f"--save_dir={target}"]) == 0
        rows.append(json.loads((target / theirs / "predictions.json").read_text())["predictions"])
    assert [row["video"] for row in rows[0]] == [row["video"] for row in rows[1]] != []
