"""The export command and the 2019 inference_model.py."""

from pathlib import Path

import pytest
import torch

from videozoo import cli, cli_v1
from videozoo.commands import command
from videozoo.config import from_layers
from videozoo.tasks import run
from videozoo.tasks.loading import save_trained
from videozoo.tasks.requests import ConfigSource, ExportRequest
from videozoo.weights.exported import read_description

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = {"name": "tsn", "num_classes": 3, "depth": 18, "width": 0.125, "num_segments": 2}
    config = from_layers([("", {"model": model, "data": {"short_side": 32, "crop_size": 32}})])
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_trained(path, config.spec.build(config.model), config, ["a", "b", "c"], {})
    path.with_name("small.yaml").write_text(config.to_yaml())
    return path


def test_the_command_says_what_it_wrote_and_how_to_use_it(
    weights: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["export", "--weights", str(weights), "--format", "torch-export"]

    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    exported = weights.with_suffix(".pt2")
    assert f"written: {exported} (" in shown
    assert "largest difference of a score: " in shown
    assert "in: clips uint8 (N, 2, 3, 32, 32) RGB; out: scores (N, 3)" in shown
    assert f"use it: {command('predict', '--weights', exported, 'VIDEO')}" in shown

    assert cli.main(arguments) == 1
    assert "exists; pass --overwrite" in capsys.readouterr().err


def test_flags_say_what_to_export(weights: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[ExportRequest] = []
    monkeypatch.setattr(run, "export", asked.append)
    arguments = ["--weights", str(weights), "--output", "a.onnx", "--video", "a.mp4"]

    assert cli.main(["export", *arguments, "--overwrite", "--no-check"]) == 0

    expected = ExportRequest(
        source=ConfigSource(),
        weights=str(weights),
        output=Path("a.onnx"),
        video=Path("a.mp4"),
        overwrite=True,
        check=False,
    )
    assert asked == [expected]


@pytest.mark.slow
def test_the_2019_line_writes_name_model_onnx(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    arguments = [
        "--model_name=TSN",
        f"--config={weights.with_name('small.yaml')}",
        "--use_gpu=False",
        f"--weights={weights}",
        "--batch_size=1",
        "--save_dir=./data/inference_model",
    ]

    written = Path("data/inference_model/TSN_model.onnx")
    written.parent.mkdir(parents=True)
    written.write_bytes(b"an earlier file, which 2019 replaced unasked as well")

    assert cli_v1.inference(arguments) == 0

    assert read_description(written).class_names == ["a", "b", "c"]
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def test_the_2019_flags_mean_an_onnx_file(monkeypatch: pytest.MonkeyPatch):
    asked: list[ExportRequest] = []
    monkeypatch.setattr(run, "export", asked.append)
    line = "--model_name=TSM --config=configs/tsm.yaml --weights=tsm.pdparams --save_dir=out"

    assert cli_v1.inference([*line.split(), "--use_gpu=True", "--batch_size=4"]) == 0

    assert asked[0].output == Path("out/TSM_model.onnx")
    assert asked[0].weights == "tsm.pdparams"
    assert (asked[0].overwrite, asked[0].check) == (True, True)
    assert cli_v1.inference([*line.split(), "--drop=head"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "x", "--format", "onxn"], "unknown value of --format 'onxn'"),
        (["--weights", "x", "--out", "y"], "unknown flag --out; did you mean --output?"),
    ],
)
def test_a_wrong_flag_says_what_is_near(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["export", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_file_is_one_message(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["export", "--weights", "no/such.safetensors"]) == 1
    error = capsys.readouterr().err
    assert "no/such.safetensors" in error
    assert "Traceback" not in error


def test_there_is_a_script_for_the_2019_line():
    text = (ROOT / "inference_model.py").read_text()

    assert "from videozoo.cli_v1 import inference" in text
