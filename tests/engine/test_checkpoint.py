import json
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.engine.toy import toy_module
from videozoo.engine.checkpoint import Position, load_state, save_state
from videozoo.engine.optimizer import build_optimizer
from videozoo.engine.settings import TrainSettings
from videozoo.errors import RunError


def stepped(module: nn.Module, settings: TrainSettings, steps: int) -> torch.optim.Optimizer:
    optimizer = build_optimizer(module, {}, settings)
    for _ in range(steps):
        loss = module(torch.rand(4, 2, 5, 5)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return optimizer


def save(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    folder.mkdir(exist_ok=True)
    position = Position(epoch=2, step_in_epoch=3, step=9, best=0.1 + 0.2, history=[{"loss": 1 / 3}])
    save_state(
        folder, module=module, optimizer=optimizer, position=position, processes=[{"random": 1}]
    )


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw", "rmsprop"])
def test_every_optimiser_goes_on_bit_for_bit(tmp_path: Path, kind: str):
    settings = TrainSettings.model_validate({"optimizer": kind, "learning_rate": 0.01})
    module = toy_module(dropout=0)
    optimizer = stepped(module, settings, 2)
    save(tmp_path, module, optimizer)
    copy = toy_module(dropout=0).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    copy_optimizer = build_optimizer(copy, {}, settings)

    restored = load_state(tmp_path, module=copy, optimizer=copy_optimizer)

    assert restored.position == Position(
        epoch=2, step_in_epoch=3, step=9, best=0.1 + 0.2, history=[{"loss": 1 / 3}]
    )
    for one, other in zip(module.parameters(), copy.parameters(), strict=True):
        kept = optimizer.state[one]
        assert kept.keys() == copy_optimizer.state[other].keys()
        for key, value in copy_optimizer.state[other].items():
            torch.testing.assert_close(value, kept[key], rtol=0, atol=0, check_stride=False)
            if value.dim():
                assert value.stride() == other.stride()
    for one, other in ((module, optimizer), (copy, copy_optimizer)):
        for index, parameter in enumerate(one.parameters()):
            parameter.grad = torch.full_like(parameter, 0.1 * (index + 1))
        other.step()
    for one, other in zip(module.parameters(), copy.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, check_stride=False)


def test_state_holds_nothing_that_can_run(tmp_path: Path):
    module = toy_module()
    save(tmp_path, module, stepped(module, TrainSettings(), 1))

    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "module.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]
    json.loads((tmp_path / "state.json").read_text())


def test_state_of_another_model_says_what_differs(tmp_path: Path):
    module = toy_module()
    save(tmp_path, module, stepped(module, TrainSettings(), 1))
    other = nn.Sequential(nn.Conv2d(2, 5, 3))

    with pytest.raises(RunError) as caught:
        load_state(tmp_path, module=other, optimizer=build_optimizer(other, {}, TrainSettings()))

    message = str(caught.value)
    assert "weights of another model; was the configuration changed?" in message
    assert "0.weight: shape (4, 2, 3, 3) there, (5, 2, 3, 3) here" in message
    assert "not in the model: 1.weight" in message


@pytest.mark.parametrize("name", ["module.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_damaged_state_names_the_folder(tmp_path: Path, name: str, content: bytes | None):
    module = toy_module()
    optimizer = stepped(module, TrainSettings(), 1)
    save(tmp_path, module, optimizer)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(RunError, match="cannot be read"):
        load_state(tmp_path, module=module, optimizer=optimizer)


def test_state_of_a_later_version_is_not_guessed_at(tmp_path: Path):
    module = toy_module()
    optimizer = stepped(module, TrainSettings(), 1)
    save(tmp_path, module, optimizer)
    state = json.loads((tmp_path / "state.json").read_text())
    (tmp_path / "state.json").write_text(json.dumps(state | {"format": 99}))

    with pytest.raises(RunError, match="written in format 99, this version reads 1"):
        load_state(tmp_path, module=module, optimizer=optimizer)
