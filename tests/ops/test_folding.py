import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from videozoo.models import list_models, model_spec
from videozoo.ops import fold_batch_norms
from videozoo.types import Classification, Settings

WANTED: dict[str, Any] = {
    "num_classes": 5,
    "width": 0.125,
    "num_segments": 2,
    "frames_per_segment": 2,
    "num_frames": 4,
}


def build(name: str, **changes: Any) -> tuple[nn.Module, Settings]:
    """A small model in evaluation mode whose batch norms have seen something."""
    spec = model_spec(name)
    wanted = {k: v for k, v in (WANTED | changes).items() if k in spec.settings.model_fields}
    settings = spec.settings(**wanted)
    torch.manual_seed(0)
    module = spec.build(settings)
    for norm in norms_of(module):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.2)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.normal_(std=0.2)
        norm.running_var.uniform_(0.5, 2.0)
    return module.eval(), settings


def norms_of(module: nn.Module) -> list[nn.BatchNorm2d]:
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return [layer for layer in module.modules() if isinstance(layer, kinds)]  # pyright: ignore[reportReturnType]


def clips_for(name: str, settings: Settings) -> Tensor:
    task = model_spec(name).task
    assert isinstance(task, Classification)
    shape = task.clip_shape(settings)
    return torch.randn(2, shape.num_steps, 3 * shape.frames_per_step, 64, 64)


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize(
    "name", [n for n in list_models() if isinstance(model_spec(n).task, Classification)]
)
@torch.inference_mode()
def test_scores_stay_the_same(name: str, depth: int):
    module, settings = build(name, depth=depth)
    clips = clips_for(name, settings)
    folded = copy.deepcopy(module)

    num_folded = fold_batch_norms(folded)

    # The norms left are StNet's: behind a relu or before a convolution, where nothing folds.
    left = len(norms_of(folded))
    assert (num_folded, left) == (len(norms_of(module)) - left, 5 if name == "stnet" else 0)
    scores = module(clips).softmax(1)
    torch.testing.assert_close(folded(clips).softmax(1), scores, rtol=0, atol=1e-5)
    torch.testing.assert_close(folded(clips), module(clips), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_biases_and_trained_scales_are_kept():
    module, settings = build("nonlocal", depth=18, nonlocal_affine=True, nonlocal_bias=True)
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d) and layer.bias is not None:
            nn.init.normal_(layer.bias)
        elif type(layer).__name__ == "Affine":
            nn.init.uniform_(layer.weight, 0.5, 1.5)  # pyright: ignore[reportArgumentType]
    clips = clips_for("nonlocal", settings)
    before = module(clips)

    fold_batch_norms(module)

    torch.testing.assert_close(module(clips), before, rtol=1e-4, atol=1e-4)


def test_a_network_without_batch_norms_is_left_alone():
    module, _ = build("nonlocal", depth=18, use_affine=True, num_frames=8, nonlocal_bn=False)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}

    assert fold_batch_norms(module) == 0

    after = module.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_memory_layout_and_precision_are_kept():
    module, _ = build("tsn", depth=18)
    module.to(memory_format=torch.channels_last).bfloat16()  # pyright: ignore[reportCallIssue]

    fold_batch_norms(module)

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.dtype == torch.bfloat16
            assert layer.weight.is_contiguous(memory_format=torch.channels_last)


def test_training_mode_is_refused():
    module, _ = build("tsn", depth=18)

    with pytest.raises(ValueError, match="training mode"):
        fold_batch_norms(module.train())
