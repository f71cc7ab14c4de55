"""Configurations and weights of absurd sizes are refused before memory is asked for."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import videozoo
from videozoo.cli import main
from videozoo.config import from_layers
from videozoo.errors import ConfigError, VideozooError, WeightsError
from videozoo.models import list_models
from videozoo.tasks.building import build, outline
from videozoo.weights.files import read_metadata, save_weights

LARGE = 10**9


def large_models() -> list[tuple[str, str]]:
    sizes = ("num_classes", "feature_dim", "hidden_size", "vocabulary_size", "num_durations")
    return [
        *[(model, "num_classes") for model in ("tsn", "tsm", "stnet", "nonlocal", "nextvlad")],
        *[("ets", size) for size in sizes[1:4:2]],
        *[("bsn_pem", size) for size in sizes[1:3]],
        ("bsn_tem", "hidden_size"),
        ("tall", "hidden_size"),
        ("attention_lstm", "num_classes"),
        ("attention_cluster", "num_classes"),
        ("ctcn", "num_classes"),
        ("bmn", "num_durations"),
        ("bmn", "num_samples"),
    ]


@pytest.mark.parametrize(("model", "size"), large_models())
def test_a_size_of_a_billion_is_refused(
    capsys: pytest.CaptureFixture[str], model: str, size: str
) -> None:
    with pytest.raises(ConfigError, match=rf"{size}.*{LARGE}"):
        outline(from_layers([("x.yaml", {"model": {"name": model, size: LARGE}})]))
    assert main(["models", model, "--set", f"model.{size}={LARGE}"]) == 1
    assert size in capsys.readouterr().err


@pytest.mark.parametrize("model", list_models())
def test_an_outline_has_the_shapes_of_the_model_and_draws_no_numbers(model: str) -> None:
    small = {"tsn": {"depth": 18}, "tsm": {"depth": 18}}.get(model, {})
    if model == "ctcn":
        pytest.skip("its default is 1.3 GB")
    config = from_layers([("", {"model": {"name": model, **small}})])
    before = torch.get_rng_state()
    sketch = outline(config).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    made = build(config).state_dict()
    assert {name: one.shape for name, one in sketch.items()} == {
        name: one.shape for name, one in made.items()
    }


def test_outlines_do_not_wait_for_the_compiler_of_pytorch() -> None:
    code = """
import sys
from videozoo.config import from_layers
from videozoo.models import list_models
from videozoo.tasks.building import outline
for name in list_models():
    outline(from_layers([("", {"model": {"name": name}})]))
    assert "torch._dynamo" not in sys.modules, name
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("classes", [10**6, LARGE])
def test_weights_whose_configuration_is_absurd_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], classes: int
) -> None:
    path = tmp_path / "hostile.safetensors"
    config = {"model": {"name": "tsn", "num_classes": classes}}
    save_weights(path, {"a": torch.zeros(1)}, {"model": "tsn", "config": config})
    for command in (
        ["weights", "convert", str(path), str(tmp_path / "out.safetensors")],
        ["predict", "--weights", str(path), str(path)],
    ):
        assert main(command) == 1
        said = capsys.readouterr().err
        assert "fault of videozoo" not in said
        assert "hostile.safetensors" in said or f"num_classes={LARGE}" in said
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("model", ["tsn", "attention_lstm"])
def test_class_numbers_are_named_only_after_the_weights_prove_that_there_are_so_many(
    tmp_path: Path, model: str
) -> None:
    path = tmp_path / "hostile.safetensors"
    config = {"model": {"name": model, "num_classes": LARGE}}
    save_weights(path, {"a": torch.zeros(1)}, {"model": model, "config": config})

    started = time.process_time()
    with pytest.raises(VideozooError, match=r"hostile.safetensors|num_classes"):
        videozoo.load(path)
    assert time.process_time() - started < 10


DESCRIPTIONS: dict[str, tuple[str, str]] = {
    "names that are a number": ('{"class_names": 5}', "class_names is 5, expected a list of names"),
    "names that are numbers": ('{"class_names": [1]}', "class_names is .1., expected"),
    "a model that is a number": ('{"model": NaN}', "model is nan, expected a model's name"),
    "a configuration that is text": ('{"config": "x"}', "config is 'x', expected sections"),
    "a section that is a number": ('{"config": {"model": NaN}}', "config is .*expected sections"),
    "facts that are a list": ('{"facts": [1]}', "facts is .1., expected keys and values"),
    "features that are text": ('{"features": "x"}', "features is 'x', expected keys and values"),
    "a huge number": ('{"facts": {"a": ' + "9" * 100_000 + "}}", "a number of 100000 digits"),
    "lists in lists": ("[" * 100_000, "nested too deep"),
    "a list": ("[1]", "not a mapping"),
}


@pytest.mark.parametrize(("text", "problem"), DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_a_description_of_another_form_is_one_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, problem: str
) -> None:
    path = tmp_path / "hostile.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"videozoo": text})
    with pytest.raises(WeightsError, match=rf"hostile\.safetensors: its description.*{problem}"):
        read_metadata(path)
    assert main(["weights", "show", str(path)]) == 1
    assert main(["predict", "--weights", str(path), str(path)]) == 1
    assert "fault of videozoo" not in capsys.readouterr().err


def header(content: str, more: int = 0) -> bytes:
    return (len(content) + more).to_bytes(8, "little", signed=False) + content.encode() + bytes(4)


def tensor(name: str = "a", shape: Any = "[1]", offsets: str = "[0, 4]") -> str:
    return f'"{name}": {{"dtype": "F32", "shape": {shape}, "data_offsets": {offsets}}}'


FILES: dict[str, bytes] = {
    "a header of 2^63 bytes": (2**63).to_bytes(8, "little") + b"{}",
    "a header beyond the file": header(f"{{{tensor()}}}", 100),
    "a huge shape": header(f"{{{tensor(shape=f'[{2**60}]')}}}"),
    "a shape that overflows": header(f"{{{tensor(shape=f'[{2**33}, {2**33}]')}}}"),
    "a negative shape": header(f"{{{tensor(shape='[-1]')}}}"),
    "offsets beyond the file": header(f"{{{tensor(offsets='[0, 400]', shape='[100]')}}}"),
    "offsets that overlap": header(f"{{{tensor()}, {tensor('b')}}}"),
    "offsets the wrong way": header(f"{{{tensor(offsets='[4, 0]')}}}"),
    "an unknown type": header(f"{{{tensor().replace('F32', 'X9')}}}"),
    "lists in lists": header("{" + '"a":[' * 10_000),
    "a description that is no text": header(f'{{"__metadata__": {{"videozoo": 1}}, {tensor()}}}'),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_a_safetensors_file_that_cannot_be_is_one_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(content)
    assert main(["weights", "show", str(path)]) == 1
    said = capsys.readouterr().err
    assert "hostile.safetensors" in said
    assert "fault of videozoo" not in said
