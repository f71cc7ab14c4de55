from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.engine.test_loop import OFTEN, SETTINGS, _Killed, assert_same, stop_at, weights_of
from tests.engine.toy import toy_loss, toy_module, train_toy
from videozoo.engine.averaging import AveragedWeights
from videozoo.engine.devices import make_accelerator
from videozoo.engine.loop import Best
from videozoo.engine.run_folder import RunFolder
from videozoo.errors import RunError

AVERAGED = SETTINGS.model_copy(update={"ema_decay": 0.9})


def watched_weights(path: Path, **run: Any) -> tuple[list[dict[str, Tensor]], Any]:
    """Train; return the weights after each step, and the result."""
    module, steps = toy_module(), list[dict[str, Tensor]]()

    def on_event(name: str, facts: Any) -> None:
        if name == "log":
            steps.append(weights_of(module))

    torch.manual_seed(0)
    module.load_state_dict(toy_module().state_dict())
    _, result = train_toy(path, AVERAGED, module=module, options=OFTEN, on_event=on_event, **run)
    return steps, result


def test_the_average_is_that_of_the_weights_after_each_step(tmp_path: Path):
    torch.manual_seed(0)
    start = weights_of(toy_module())

    steps, result = watched_weights(tmp_path / "run")

    expected = {name: value.double() for name, value in start.items()}
    for n, weights in enumerate(steps):
        keep = min(0.9, (1 + n) / (10 + n))
        for name, value in weights.items():
            if value.is_floating_point():
                expected[name] = keep * expected[name] + (1 - keep) * value.double()
            else:
                expected[name] = value
    saved = load_file(result.weights)
    for name, value in saved.items():
        torch.testing.assert_close(value.double(), expected[name].double(), rtol=1e-5, atol=1e-7)
    assert not torch.equal(saved["0.weight"], steps[-1]["0.weight"])


def test_averaging_does_not_change_the_training(tmp_path: Path):
    plain, _ = train_toy(tmp_path / "a", SETTINGS)
    averaged, _ = train_toy(tmp_path / "b", AVERAGED, validate=lambda epoch: {"top1": 0.5})

    assert_same(weights_of(plain), weights_of(averaged))


def test_what_is_validated_is_what_is_saved(tmp_path: Path):
    module = toy_module()
    seen: list[dict[str, Tensor]] = []

    def validate(epoch: int) -> dict[str, float]:
        seen.append(weights_of(module))
        return {"top1": [0.1, 0.5, 0.2][epoch]}

    path = tmp_path / "run"
    train_toy(path, AVERAGED, module=module, validate=validate, best=Best(name="top1"))

    assert_same(load_file(path / "best.safetensors"), seen[1])
    for epoch, weights in enumerate(seen):
        assert_same(load_file(path / "weights" / f"epoch_{epoch + 1}.safetensors"), weights)


@pytest.mark.parametrize("step", [4, 6, 8])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_average_goes_on_bit_for_bit(tmp_path: Path, step: int, precision: Any):
    def train(path: Path, **run: Any) -> Any:
        accelerator = make_accelerator(device="cpu", precision=precision)
        settings = AVERAGED.model_copy(update={"precision": precision})
        return train_toy(path, settings, accelerator=accelerator, options=OFTEN, **run)

    train(tmp_path / "whole")
    with pytest.raises(_Killed):
        train(tmp_path / "run", on_event=stop_at(step))

    train(tmp_path / "run", resume=True)

    for file in ("last/average.safetensors", "weights/epoch_2.safetensors"):
        whole = load_file(tmp_path / "whole" / file)
        assert {value.dtype for value in whole.values()} <= {torch.float32, torch.int64}
        assert_same(load_file(tmp_path / "run" / file), whole)


def test_an_average_asked_for_later_starts_from_the_weights_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(_Killed):
        train_toy(tmp_path / "run", SETTINGS, options=OFTEN, on_event=stop_at(6))
    before = load_file(tmp_path / "run" / "last" / "module.safetensors")

    with pytest.raises(_Killed):
        train_toy(
            tmp_path / "run",
            AVERAGED.model_copy(update={"learning_rate": 1e-9, "epochs": 3}),
            resume=True,
            options=OFTEN,
            on_event=stop_at(8),
            console=Console(),
        )

    assert "holds no averaged weights: they start here" in capsys.readouterr().out
    last = RunFolder(tmp_path / "run").last()
    assert last is not None
    average = load_file(last / "average.safetensors")
    torch.testing.assert_close(average["0.weight"], before["0.weight"])


def test_the_module_gets_its_own_weights_back_whatever_happens():
    module = toy_module()
    average = AveragedWeights(module, 0.9)
    with torch.no_grad():
        for value in module.parameters():
            value += 1
    own = weights_of(module)

    def fails_inside() -> None:
        with average.in_place():
            assert not torch.equal(module.state_dict()["0.weight"], own["0.weight"])
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fails_inside()

    assert_same(weights_of(module), own)


def test_frozen_weights_stay_exactly_as_they_are():
    module = nn.Linear(7, 5)
    average = AveragedWeights(module, 0.999)
    for _ in range(100):
        average.update()

    assert_same(average.tensors, weights_of(module))


def test_an_average_that_does_not_fit_is_named(tmp_path: Path):
    train_toy(tmp_path / "run", AVERAGED.model_copy(update={"epochs": 1}))
    last = RunFolder(tmp_path / "run").last()
    assert last is not None
    (last / "average.safetensors").unlink()

    with pytest.raises(RunError, match=r"cannot be read .*average\.safetensors"):
        train_toy(tmp_path / "run", AVERAGED, resume=True, loss_of=toy_loss)
