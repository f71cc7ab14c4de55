"""BMN beside the plain way of matching boundaries: forward, training step, peak memory.

The plain side has the same layers and weights. It samples every proposal with one product by the
dense matrix of T x (S * D * T) weights, convolves the samples in 3D, and reduces the map of 512
channels with a 1x1 convolution, as the paper draws it. Outputs and every gradient are compared
before anything is timed. A step is forward, loss and backward; the optimiser would be the same.

    python -m benchmarks bmn
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from tests.peak_memory import peak_bytes
from torch import Tensor, nn

from benchmarks.harness import (
    ROOT,
    Options,
    Outcome,
    Side,
    Target,
    UnequalError,
    as_figures,
    main,
    measure,
    one_thread,
    ratio,
)
from videozoo.models.bmn import BMN, BMNOutput, BMNSettings, losses
from videozoo.ops.boundary_matching import BoundaryMatching

MOST = 1e-2
"""Of a gradient in float32: a relu may decide otherwise, and for all cells of one kind at once."""
MEMORY = "from benchmarks.bench_bmn import peak_gigabytes; print(peak_gigabytes(quick={quick}))"


class PlainBMN(nn.Module):
    """The layers of `BMN` with the matching as a dense product."""

    def __init__(self, module: BMN) -> None:
        super().__init__()
        self.module = module
        self.matrix = dense_matrix(module.matching)
        """(T, S * D * T)."""

    def forward(self, features: Tensor) -> BMNOutput:
        m = self.module
        x = torch.relu(m.base_1(features))
        x = torch.relu(m.base_2(x))
        start = torch.sigmoid(m.start_2(torch.relu(m.start_1(x))))
        end = torch.sigmoid(m.end_2(torch.relu(m.end_1(x))))
        size = m.matching.num_samples, m.matching.num_durations, m.matching.num_steps
        samples = (torch.relu(m.narrow(x)) @ self.matrix).unflatten(2, size)
        maps = torch.relu(m.matched(samples)).squeeze(2)
        for layer in (m.map_1, m.map_2, m.map_3):
            maps = torch.relu(layer(maps))
        return BMNOutput(torch.sigmoid(m.head(maps)), start.squeeze(1), end.squeeze(1))


def dense_matrix(matching: BoundaryMatching) -> Tensor:
    cells = matching.num_durations * matching.num_steps
    matrix = matching.weights.new_zeros(matching.num_steps, matching.num_samples, cells)
    columns = matching.columns.long()
    step, sample = columns // matching.num_samples, columns % matching.num_samples
    matrix[step, sample, matching.cells[matching.rows]] = matching.weights
    return matrix.flatten(1)


def made(*, quick: bool) -> tuple[BMN, Tensor, dict[str, Tensor]]:
    """A network, features of a batch, and what it should say of them."""
    torch.manual_seed(0)
    steps, videos = (20, 2) if quick else (100, 8)
    module = BMN(BMNSettings(num_steps=steps, num_durations=steps))
    targets = {
        "maps": torch.rand(videos, steps, steps),
        "start": torch.rand(videos, steps),
        "end": torch.rand(videos, steps),
    }
    return module, torch.randn(videos, 400, steps), targets


def forward(net: nn.Module, features: Tensor) -> BMNOutput:
    with torch.inference_mode():
        return net(features)


def step(net: nn.Module, features: Tensor, targets: dict[str, Tensor]) -> Tensor:
    net.zero_grad()
    generator = torch.Generator().manual_seed(0)
    loss = losses(net(features), targets, generator=generator)["loss"]
    loss.backward()
    return loss.detach()


def check_same(
    nets: Mapping[str, nn.Module], features: Tensor, targets: dict[str, Tensor], *, most: float
) -> float:
    """Largest difference of outputs, loss and gradients: its length, relative."""
    found: dict[str, list[Tensor]] = {}
    for side, net in nets.items():
        outputs = [*forward(net, features)]
        loss = step(net, features, targets)
        slopes = [weight.grad for weight in net.parameters()]
        found[side] = [*outputs, loss, *(slope.clone() for slope in slopes if slope is not None)]
    pairs = zip(found["videozoo"], found["plain"], strict=True)
    worst = max(float((ours - plain).norm() / plain.norm()) for ours, plain in pairs)
    if not worst <= most:
        raise UnequalError(f"bmn: differs by {worst:g}, allowed is {most:g}")
    return worst


def check_same_in_float64() -> float:
    """The same of a small network, where rounding hides nothing."""
    module, features, targets = made(quick=True)
    nets = {"videozoo": module.double(), "plain": PlainBMN(module)}
    targets = {name: target.double() for name, target in targets.items()}
    return check_same(nets, features.double(), targets, most=1e-9)


def peak_gigabytes(*, quick: bool) -> float:
    """Most memory of this process, which has done our training step and nothing else."""
    one_thread()
    module, features, targets = made(quick=quick)
    for _ in range(2):
        step(module, features, targets)
    return peak_bytes() / 1e9


def measured_apart(*, quick: bool) -> float:
    """The same, of a process of its own."""
    code = MEMORY.format(quick=quick)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def run(options: Options) -> Outcome:
    one_thread()
    memory = measured_apart(quick=options.quick)
    module, features, targets = made(quick=options.quick)
    nets: dict[str, nn.Module] = {"videozoo": module, "plain": PlainBMN(module)}
    exact = check_same_in_float64()
    difference = check_same(nets, features, targets, most=MOST)
    cases: dict[str, dict[str, Side]] = {
        "forward": {side: partial(forward, net, features) for side, net in nets.items()},
        "training step": {
            side: partial(step, net, features, targets) for side, net in nets.items()
        },
    }
    figures: dict[str, Any] = {
        "videos": len(features),
        "largest_difference": difference,
        "largest_difference_in_float64": exact,
    }
    targets_held: list[Target] = []
    for case, sides in cases.items():
        timings = measure(sides, rounds=2 if options.quick else 3)
        figures[case] = as_figures(timings)
        targets_held.append(
            Target(
                name=f"BMN, {case}: as fast as the dense form",
                limit=5,
                figure=ratio(timings, "plain", "videozoo"),
            )
        )
    targets_held.append(
        Target(
            name="BMN, training step: peak memory of the process",
            limit=1.5,
            figure=memory,
            is_least=False,
            unit="GB",
        )
    )
    return Outcome("bmn", targets_held, figures, packages=("torch",))


if __name__ == "__main__":
    main(run)
