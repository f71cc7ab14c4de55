"""All twelve models by the 2019 command `inference_model.py`, and as files of 8 bits."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.tasks import tiny_runs
from videozoo import cli, cli_v1, safe_sums
from videozoo.config_v1 import SPELLINGS
from videozoo.weights.exported import read_description

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NARROW = {"ctcn": ("--set", "model.width=0.02")}
"""Without it, C-TCN has 27 million parameters."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    tiny_runs.make_world(folder)
    return folder


def metrics_of(target: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((target / "eval" / "eval.json").read_text())
    found = {**facts["metrics"], "mean_tiou": facts.get("mean_tiou")}
    return {key: value for key, value in found.items() if value is not None and "loss" not in key}


@pytest.mark.parametrize("model", tiny_runs.MODELS)
def test_the_file_of_the_2019_command_gives_the_answers_of_the_weights(
    model: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, theirs = tmp_path / "run", SPELLINGS.get(model, model.upper())
    config = tiny_runs.write_config(tmp_path, world, model, epochs=1)
    tiny_runs.train(config, run, *NARROW.get(model, ()))
    words = [f"--model_name={theirs}", f"--weights={run}", "--use_gpu=False"]

    assert cli_v1.inference([*words, f"--save_dir={tmp_path / 'inference'}"]) == 0

    file = tmp_path / "inference" / f"{theirs}_model.onnx"
    about = read_description(file)
    assert about.check is not None
    assert about.check["largest_difference"] <= about.check["allowed"]
    for weights, target in ((run, "ours"), (file, "exported")):
        tiny_runs.answer(world, weights, model, tmp_path / target, "--device", "cpu")
    ours, exported = (metrics_of(tmp_path / target) for target in ("ours", "exported"))
    assert exported == pytest.approx(ours, abs=1e-3) != {}
    ours, exported = (
        json.loads((tmp_path / target / "predict" / "predictions.json").read_text())["predictions"]
        for target in ("ours", "exported")
    )
    assert len(ours) == len(exported) > 0
    small = tmp_path / "inference" / "small.onnx"
    words = ["export", "--weights", str(run), "--int8", "--int8-loss", "0.99"]
    capsys.readouterr()
    status = cli.main([*words, "--output", str(small)])
    error = capsys.readouterr().err
    assert safe_sums.faults_in(run) == []
    if status:  # a model that learnt nothing in one epoch
        assert "so that a loss cannot be told" in error or "not written" in error
        assert not small.exists()
        return
    facts = read_description(small).int8
    assert facts is not None
    assert not math.isnan(facts["loss"])
    tiny_runs.answer(world, small, model, tmp_path / "int8", "--device", "cpu")
    assert facts["int8"] in [pytest.approx(each) for each in metrics_of(tmp_path / "int8").values()]
