import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from videozoo.models.bmn import BMN, SPEC, BMNOutput, BMNSettings, losses
from videozoo.ops.boundary_matching import BoundaryMatching

SMALL: dict[str, Any] = {
    "feature_dim": 8,
    "num_steps": 9,
    "num_durations": 7,
    "num_samples": 4,
    "samples_per_bin": 2,
}


def made(**changes: Any) -> tuple[BMN, Tensor]:
    torch.manual_seed(0)
    settings = BMNSettings(**(SMALL | changes))
    module = BMN(settings).double()
    for layer in (module.matched, module.map_1, module.map_2, module.map_3, module.head):
        assert layer.bias is not None
        nn.init.uniform_(layer.bias, -0.5, 0.5)  # cells that are no proposals are then not zeros
    return module, torch.randn(2, 8, settings.num_steps, dtype=torch.float64)


def sampled(matching: BoundaryMatching, x: Tensor) -> Tensor:
    """Every proposal's samples: (N, C, S, D, T)."""
    size = matching.num_durations * matching.num_steps
    matrix = x.new_zeros(matching.num_steps * matching.num_samples, size)
    matrix[matching.columns.long(), matching.cells[matching.rows]] = matching.weights.to(x.dtype)
    matrix = matrix.view(matching.num_steps, -1)
    shape = matching.num_samples, matching.num_durations, matching.num_steps
    return (x @ matrix).unflatten(2, shape)


def as_drawn(m: BMN, features: Tensor) -> BMNOutput:
    """The network as the paper draws it, every cell computed."""
    x = torch.relu(m.base_2(torch.relu(m.base_1(features))))
    start = torch.sigmoid(m.start_2(torch.relu(m.start_1(x))))
    end = torch.sigmoid(m.end_2(torch.relu(m.end_1(x))))
    maps = torch.relu(m.matched(sampled(m.matching, torch.relu(m.narrow(x))))).squeeze(2)
    for layer in (m.map_1, m.map_2, m.map_3):
        maps = torch.relu(layer(maps))
    return BMNOutput(torch.sigmoid(m.head(maps)), start.squeeze(1), end.squeeze(1))


def gradients(m: nn.Module, outputs: BMNOutput) -> list[Tensor]:
    m.zero_grad()
    loss = sum((out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum() for out in outputs)
    assert isinstance(loss, Tensor)
    loss.backward()
    return [p.grad for p in m.parameters() if p.grad is not None]


@pytest.mark.parametrize("sizes", [(9, 7), (7, 9), (12, 12), (2, 1)])
def test_equals_the_network_with_every_cell_computed(sizes: tuple[int, int]):
    module, features = made(num_steps=sizes[0], num_durations=sizes[1])

    ours, drawn = module(features), as_drawn(module, features)

    torch.testing.assert_close(ours, drawn)
    slopes = gradients(module, ours), gradients(module, drawn)
    assert len(slopes[0]) == len(list(module.parameters()))
    torch.testing.assert_close(*slopes)


def test_shapes_are_durations_by_starts():
    module, features = made()

    outputs = module(features)

    assert [tuple(out.shape) for out in outputs] == [(2, 2, 7, 9), (2, 9), (2, 9)]
    assert all(((out > 0) & (out < 1)).all() for out in outputs)


def test_an_exported_program_says_the_same():
    module, features = made()
    videos = torch.export.Dim("videos")

    program = torch.export.export(module, (features,), dynamic_shapes=({0: videos},)).module()

    for given in (features, features[:1].repeat(3, 1, 1)):
        torch.testing.assert_close(tuple(program(given)), tuple(module(given)))


@pytest.mark.slow
def test_an_onnx_graph_says_the_same(tmp_path: Path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    module, features = made()
    module.float().eval()
    path = tmp_path / "bmn.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(module, (features.float(),), path, dynamo=True, verbose=False)

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: features.float().numpy()})

    for ours, graph in zip(module(features.float()), found, strict=True):
        np.testing.assert_allclose(graph, ours.detach().numpy(), atol=1e-6)


def test_low_precision_is_near():
    module, features = made()
    module, features = module.float(), features.float()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = module(features).maps
    maps.float().sum().backward()

    torch.testing.assert_close(maps.float(), module(features).maps, atol=2e-2, rtol=0)


def batch(*, tiou: float = 1.0, share: float = 0.3) -> tuple[BMNOutput, dict[str, Tensor], Any]:
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    outputs = BMNOutput(uniform(2, 2, 6, 8), uniform(2, 8), uniform(2, 8))
    targets = {
        "maps": tiou * uniform(2, 6, 8),
        "start": (uniform(2, 8) < share).double(),
        "end": (uniform(2, 8) < share).double(),
    }
    for out in outputs:
        out.requires_grad_()
    return outputs, targets, (uniform(6, 8), uniform(6, 8))


def of_2019(outputs: BMNOutput, targets: dict[str, Tensor], draws: Any) -> list[Tensor]:
    mask = (torch.arange(6)[:, None] + torch.arange(8) < 8).double()
    tem = torch.zeros((), dtype=torch.float64)
    for p, gt in ((outputs.start, targets["start"]), (outputs.end, targets["end"])):
        m = (gt > 0.5).double()
        r = m.numel() / m.sum()
        terms = 0.5 * r * m * (p + 1e-6).log() + 0.5 * r / (r - 1) * (1 - m) * (1 - p + 1e-6).log()
        tem = tem - terms.mean()
    reg, cls = outputs.maps.unbind(1)
    gm = targets["maps"] * mask
    h, m, low = (gm > 0.7).double(), (gm <= 0.7) & (gm > 0.3), (gm <= 0.3) * mask
    w = h + (m * draws[0] > 1 - h.sum() / m.sum()) + (low * draws[1] > 1 - h.sum() / low.sum())
    regression = 0.5 * (w * (reg - gm) ** 2).sum() / w.sum()
    pos, neg = (gm > 0.9).double(), (gm <= 0.9) * mask
    n = pos.sum() + neg.sum()
    r = n / pos.sum()
    terms = 0.5 * r * (pos * (cls + 1e-6).log()).sum()
    terms = terms + 0.5 * r / (r - 1) * (neg * (1 - cls + 1e-6).log()).sum()
    classification = -terms / n
    return [tem + 10 * regression + classification, tem, regression, classification]


@pytest.mark.parametrize("tiou", [1.0, 2.5])  # the second: more high proposals than others
def test_losses_are_the_formula_of_2019(tiou: float):
    outputs, targets, draws = batch(tiou=tiou)

    found = losses(outputs, targets, draws=draws)

    assert list(found) == ["loss", "tem", "pem_regression", "pem_classification"]
    torch.testing.assert_close(list(found.values()), of_2019(outputs, targets, draws))


@pytest.mark.parametrize(("tiou", "share"), [(0.2, 0.0), (0.8, 0.3), (1.0, 0.0), (0.0, 1.0)])
def test_without_positives_losses_stay_finite(tiou: float, share: float):
    outputs, targets, draws = batch(tiou=tiou, share=share)

    found = losses(outputs, targets, draws=draws)
    found["loss"].backward()

    assert all(loss.isfinite() for loss in found.values())
    assert all(out.grad is not None and out.grad.isfinite().all() for out in outputs)
    if tiou <= 0.7:
        assert found["pem_regression"] == 0


def test_draws_follow_the_generator():
    outputs, targets, _ = batch()

    first, again, other = (
        losses(outputs, targets, generator=torch.Generator().manual_seed(seed))["loss"]
        for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other


def test_the_matrix_of_checkpoints_is_left_behind():
    assert SPEC.paddle is not None
    names = {place.name for place in SPEC.paddle.names(BMNSettings(**SMALL)).values()}

    assert "sample_mask" in SPEC.paddle.ignored
    assert "sample_mask" not in names


def test_features_that_cannot_be_cut_into_groups_are_refused():
    with pytest.raises(ValidationError, match="multiple of 4"):
        BMNSettings(feature_dim=6)


def test_weights_start_as_they_did_in_2019():
    torch.manual_seed(0)
    module = BMN(BMNSettings(feature_dim=8, num_steps=4, num_durations=4))

    bounds = {
        "base_1": 1200**-0.5,  # as if features had 400 values
        "base_2": 768**-0.5,
        "start_1": 768**-0.5,
        "start_2": 256**-0.5,
        "narrow": 768**-0.5,
    }
    for name, bound in bounds.items():
        layer = module.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        assert 0.9 * bound < layer.weight.abs().max() <= bound
        assert layer.bias is not None
        assert layer.bias.abs().max() <= bound
    assert module.map_2.bias is not None
    assert not module.map_2.bias.any()
    assert F.mse_loss(module.map_2.weight.std(), torch.tensor((2 / 1152) ** 0.5)) < 1e-5
