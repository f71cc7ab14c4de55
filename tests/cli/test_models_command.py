"""videozoo models NAME."""

from pathlib import Path

import pytest

from videozoo import cli

ROOT = Path(__file__).parents[2]


def test_a_model_is_told_whole(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["models", "TSM"]) == 0

    said = capsys.readouterr().out
    assert said.startswith("TSM: shift a few channels")
    for words in ("arXiv:1811.08383", "24.33 M", "32.70 GMAC", "65.40 GFLOP", "98 MB", "a clip"):
        assert words in said
    for setting in ("num_segments", "shift_div", "dropout", "Number of classes."):
        assert setting in said
    assert "tsm-kinetics400-2019" in said


def test_files_values_and_sizes_count(capsys: pytest.CaptureFixture[str]):
    config = str(ROOT / "configs" / "demo" / "tsm.yaml")
    line = ["models", "tsm", "--config", config, "--set", "model.width=0.5", "--input", "4x64x64"]

    assert cli.main([*line, "--time", "--device", "cpu"]) == 0

    said = capsys.readouterr().out
    assert "4x3x64x64" in said
    assert "0.5 (not 1.0)" in said
    assert " ms (quartiles" in said


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["tsmm"], 1, "unknown model 'tsmm'; did you mean 'tsm'?"),
        (["tsm", "--input", "8x224"], 2, "8x224x224"),
        (["tsm", "--config", "no.yaml"], 1, "no.yaml"),
        (["--time"], 2, "name the model"),
        (["tsm", "--set", "model.width=-1"], 1, "model.width"),
    ],
)
def test_mistakes_are_named(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["models", *arguments]) == status

    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
