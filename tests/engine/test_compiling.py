from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.engine.test_loop import (
    OFTEN,
    SETTINGS,
    _Killed,
    assert_same,
    stop_at,
    tenths,
    weights_of,
)
from tests.engine.toy import toy_module, train_toy
from videozoo.engine.devices import make_accelerator
from videozoo.errors import RunError

COMPILED = SETTINGS.model_copy(update={"compile": True, "ema_decay": 0.9, "epochs": 2})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyTorch's own, about its own parts
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_training_is_the_same_training(tmp_path: Path, precision: str):
    def train(path: Path, *, compiled: bool, **run: object) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        settings = COMPILED.model_copy(update={"compile": compiled, "precision": precision})
        accelerator = make_accelerator(device="cpu", precision=precision)  # type: ignore[arg-type]
        module = toy_module(dropout=0)
        train_toy(path, settings, module=module, accelerator=accelerator, **run)  # type: ignore[arg-type]
        return weights_of(module)

    eager = train(tmp_path / "eager", compiled=False)
    fast = train(tmp_path / "fast", compiled=True, validate=tenths)

    rough = 1e-4 if precision == "fp32" else 3e-2
    torch.testing.assert_close(fast, eager, rtol=rough, atol=rough)
    saved = load_file(tmp_path / "fast" / "weights" / "epoch_2.safetensors")
    assert saved.keys() == eager.keys()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_training_with_dropout_goes_on_bit_for_bit(tmp_path: Path):
    whole, _ = train_toy(tmp_path / "whole", COMPILED, options=OFTEN)
    with pytest.raises(_Killed):
        train_toy(tmp_path / "run", COMPILED, options=OFTEN, on_event=stop_at(8))

    resumed, _ = train_toy(tmp_path / "run", COMPILED, options=OFTEN, resume=True)

    assert_same(weights_of(resumed), weights_of(whole))


def test_a_machine_that_cannot_compile_is_told_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def no_compiler(*_: object, **__: object) -> object:
        def fail(*_: object) -> None:
            raise RuntimeError("Compiler: c++ is not found.\nand much more")

        return fail

    monkeypatch.setattr(torch, "compile", no_compiler)

    with pytest.raises(RunError) as caught:
        train_toy(tmp_path / "run", COMPILED)

    assert str(caught.value) == (
        f"train.compile: PyTorch {torch.__version__} cannot compile on this machine: Compiler: "
        "c++ is not found.; it needs a C++ compiler such as g++; install that, or train without "
        "(--set train.compile=false)"
    )
