from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tests.engine.test_loop import (
    OFTEN,
    SETTINGS,
    _Killed,
    assert_same,
    stop_at,
    tenths,
    weights_of,
)
from tests.engine.toy import toy_loss, train_toy
from videozoo.engine.freezing import Freeze, FrozenBatchNorms
from videozoo.models import model_spec

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
AFFINE = ("weight", "bias")


def two_norms() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


def changed(before: Any, module: nn.Module) -> set[str]:
    return {n for n, v in module.state_dict().items() if not torch.equal(v, before[n])}


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        ("none", set[str]()),
        ("statistics", {f"{layer}.{name}" for layer in "14" for name in STATISTICS}),
        ("all", {f"{layer}.{name}" for layer in "14" for name in (*STATISTICS, *AFFINE)}),
        ("all_but_first", {f"4.{name}" for name in (*STATISTICS, *AFFINE)}),
    ],
)
def test_frozen_norms_survive_epochs_and_validation(tmp_path: Path, how: Freeze, kept: set[str]):
    module = two_norms()
    before = weights_of(module)
    settings = SETTINGS.model_copy(update={"freeze_batch_norm": how, "ema_decay": 0.5})

    train_toy(tmp_path / "run", settings, module=module, validate=lambda epoch: {"top1": 0.5})

    assert changed(before, module) == before.keys() - kept


def test_frozen_norms_use_their_running_statistics(tmp_path: Path):
    module = two_norms()
    modes: list[Any] = []

    def loss_of(model: nn.Module, batch: Any) -> Any:
        modes.append(tuple(model.get_submodule(name).training for name in "014"))
        return toy_loss(model, batch)

    settings = SETTINGS.model_copy(update={"freeze_batch_norm": "all_but_first"})
    train_toy(tmp_path / "run", settings, module=module, loss_of=loss_of, validate=tenths)

    assert set(modes) == {(True, True, False)}


def test_a_run_with_frozen_norms_goes_on_bit_for_bit(tmp_path: Path):
    settings = SETTINGS.model_copy(update={"freeze_batch_norm": "all_but_first"})

    def train(path: Path, **run: Any) -> nn.Module:
        torch.manual_seed(0)
        return train_toy(path, settings, module=two_norms(), options=OFTEN, **run)[0]

    whole = train(tmp_path / "whole")
    with pytest.raises(_Killed):
        train(tmp_path / "run", on_event=stop_at(8))

    assert_same(weights_of(train(tmp_path / "run", resume=True)), weights_of(whole))


def test_other_layers_are_left_alone():
    module = nn.Sequential(nn.LayerNorm(3), nn.InstanceNorm1d(3, affine=True), nn.BatchNorm1d(3))

    frozen = FrozenBatchNorms(module.train(), "all")
    frozen.hold()

    assert len(frozen) == 1
    assert [layer.training for layer in module] == [True, True, False]
    assert [p.requires_grad for p in module.parameters()] == [True] * 4 + [False] * 2


def test_weights_are_otherwise_those_of_a_model_in_evaluation_mode():
    """With everything frozen, a training pass equals an evaluation pass."""
    module = two_norms()
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, _BatchNorm):
                assert layer.running_mean is not None
                layer.running_mean.uniform_()
    clips = torch.rand(4, 2, 5, 5)
    expected = module.eval()(clips)

    frozen = FrozenBatchNorms(module, "statistics")
    module.train()
    frozen.hold()

    assert_same({"logits": module(clips)}, {"logits": expected})


@pytest.mark.parametrize("name", ["tsn", "tsm", "stnet", "nonlocal"])
def test_the_first_norm_of_a_model_is_that_of_its_stem(name: str):
    spec = model_spec(name)
    module = spec.build(
        spec.settings.model_validate({"num_classes": 3, "depth": 50, "width": 0.125})
    ).train()

    frozen = FrozenBatchNorms(module, "all_but_first")
    frozen.hold()

    norms = {n: layer for n, layer in module.named_modules() if isinstance(layer, _BatchNorm)}
    learning = [n for n, layer in norms.items() if layer.training]
    assert len(learning) == 1
    assert "stem" in learning[0]
    assert len(frozen) == len(norms) - 1 >= 52
    trained = {n for n, p in module.named_parameters() if p.requires_grad}
    assert {f"{learning[0]}.{part}" for part in AFFINE} <= trained
    assert not {f"{n}.weight" for n in norms.keys() - set(learning)} & trained
