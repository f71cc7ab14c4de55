"""A training step of each tagging model beside the same model written the plain way; GAP's time;
records read a second.

Both sides share weights and inputs: videos of different lengths, padded. The plain sides are what
one writes first from the papers' equations: weighted frames multiplied out and summed, residuals
cluster by cluster, an LSTM under autograd step by step. Losses and every gradient are compared
before anything is timed. A step is forward, loss and backward; the optimiser would be the same.

    python -m benchmarks tagging
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import bench_tagging_records
from benchmarks.bench_tagging_metrics import compared
from benchmarks.harness import (
    Options,
    Outcome,
    Target,
    UnequalError,
    as_figures,
    main,
    measure,
    one_thread,
    ratio,
)
from videozoo.models import build_model
from videozoo.ops.frames import multi_label_loss
from videozoo.ops.peephole import peephole_lstm

Streams = Sequence[Tensor]
Plain = Callable[[Any, Streams, Tensor], Tensor]
Run = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

MOST = 1e-4
"""Of the largest value of a gradient; float32 adds up in another order."""


def plain_attention_cluster(module: Any, streams: Streams, lengths: Tensor) -> Tensor:
    parts: list[Tensor] = []
    for attention, frames in zip(module.attentions, streams, strict=True):
        padding = torch.arange(frames.shape[1]) >= lengths[:, None]
        scores = attention.score(frames).masked_fill(padding[:, :, None], float("-inf"))
        weights = torch.softmax(scores, dim=1)
        means = (weights[:, :, :, None] * frames[:, :, None]).sum(1)  # (N, T, K, D) summed
        moved = means * attention.shift_weight[:, None] + attention.shift_bias[:, None]
        length = (moved.square().sum(2, keepdim=True) + 1e-12).sqrt()
        parts.append((moved / length / moved.shape[1] ** 0.5).flatten(1))
    x = torch.cat(parts, dim=1)
    return module.head(torch.tanh(module.hidden_2(torch.tanh(module.hidden_1(x)))))


def lstm_cell(x: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor) -> list[Tensor]:
    size = weight.shape[1]
    offset, p_i, p_f, p_o = bias.split([4 * size, size, size, size])
    g, i, f, o = (x + torch.nn.functional.linear(h, weight) + offset).chunk(4, dim=1)
    i = torch.sigmoid(i + p_i * c)
    f = torch.sigmoid(f + p_f * c)
    c = f * c + i * torch.tanh(g)
    o = torch.sigmoid(o + p_o * c)
    return [o * torch.tanh(c), c]


def lstm_loop(x: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor) -> Tensor:
    """(N, T, 4H) -> (N, T, H)."""
    h = torch.zeros(x.shape[0], weight.shape[1])
    c = h
    states: list[Tensor] = []
    for step, frame in enumerate(x.unbind(1)):
        runs = (step < lengths)[:, None]
        new_h, new_c = lstm_cell(frame, h, c, weight, bias)
        h, c = torch.where(runs, new_h, h), torch.where(runs, new_c, c)
        states.append(new_h * runs)
    return torch.stack(states, dim=1)


def turned_round(x: Tensor, lengths: Tensor) -> Tensor:
    rows = [
        torch.cat((row[:length].flip(0), row[length:]))
        for row, length in zip(x, lengths.tolist(), strict=True)
    ]
    return torch.stack(rows)


def plain_attention_lstm(module: Any, streams: Streams, lengths: Tensor) -> Tensor:
    parts: list[Tensor] = []
    for reader, score, frames in zip(module.readers, module.scores, streams, strict=True):
        padding = torch.arange(frames.shape[1]) >= lengths[:, None]
        x = torch.tanh(reader.embed(frames))
        forwards = lstm_loop(reader.inputs[0](x), reader.recurrent[0], reader.bias[0], lengths)
        x = turned_round(x, lengths)
        backwards = lstm_loop(reader.inputs[1](x), reader.recurrent[1], reader.bias[1], lengths)
        states = torch.cat((forwards, turned_round(backwards, lengths)), dim=2)
        weights = score(states).masked_fill(padding[:, :, None], float("-inf")).softmax(dim=1)
        parts.append((states * weights).sum(1))
    x = torch.relu(module.hidden_1(torch.cat(parts, dim=1)))
    return module.head(torch.tanh(module.hidden_2(x)))


def plain_nextvlad(module: Any, streams: Streams, lengths: Tensor) -> Tensor:
    parts: list[Tensor] = []
    for number, (vlad, frames) in enumerate(zip(module.vlads, streams, strict=True)):
        real = (torch.arange(frames.shape[1]) < lengths[:, None])[:, :, None]
        wide = vlad.expand(frames * module.eigen_scale if number == 0 else frames)
        say = torch.sigmoid(vlad.group_attention(wide))
        scores = torch.zeros(*frames.shape[:2], vlad.groups * vlad.clusters)
        normed = nn.functional.batch_norm(
            vlad.assign(wide[real[:, :, 0]]),
            None,
            None,
            vlad.assign_bn.weight,
            vlad.assign_bn.bias,
            training=True,
        )
        scores = scores.masked_scatter(real, normed)
        choice = scores.view(*frames.shape[:2], vlad.groups, vlad.clusters).softmax(dim=3)
        weights = choice * (say * real)[:, :, :, None]  # (N, T, G, K)
        groups = wide.view(*frames.shape[:2], vlad.groups, -1)  # (N, T, G, F)
        gathered = [
            ((groups - vlad.centres[k]) * weights[:, :, :, k, None]).sum((1, 2))
            for k in range(vlad.clusters)
        ]
        sums = torch.stack(gathered, dim=2)  # (N, F, K)
        sums = sums / (sums.square().sum(1, keepdim=True) + 1e-12).sqrt()
        parts.append(vlad.bn(sums.flatten(1)))
    x = module.hidden_bn(module.hidden(torch.cat(parts, dim=1)))
    gate = torch.sigmoid(module.gate_2(torch.relu(module.gate_bn(module.gate_1(x)))))
    return module.head(x * gate)


DIMS = {"rgb": 256, "audio": 64}
MODELS: dict[str, tuple[Plain, dict[str, Any]]] = {
    "attention_cluster": (plain_attention_cluster, {"hidden_sizes": (512, 1024)}),
    "attention_lstm": (
        plain_attention_lstm,
        {"embedding_size": 128, "lstm_size": 128, "hidden_sizes": (1024, 512)},
    ),
    "nextvlad": (plain_nextvlad, {"cluster_size": 64, "groups": 8, "hidden_size": 512}),
}
LIMITS = {"attention_cluster": 2.0, "attention_lstm": 1.3, "nextvlad": 3.0}


def made(name: str, options: Options) -> tuple[dict[str, Callable[[], Tensor]], list[nn.Parameter]]:
    """Steps of both sides, which give the loss, and the weights that both fill with gradients."""
    _, settings = MODELS[name]
    torch.manual_seed(0)
    sequences = [{"name": stream, "dim": dim} for stream, dim in DIMS.items()]
    module = build_model(name, num_classes=1000, streams=sequences, dropout=0.0, **settings)
    videos, frames = (4, 10) if options.quick else (32, 60)
    streams = [torch.randn(videos, frames, dim) for dim in DIMS.values()]
    lengths = torch.randint(frames // 2, frames + 1, (videos,))
    lengths[0] = frames
    labels = (torch.rand(videos, 1000) < 0.003).float()

    def step(answer: Callable[[Streams, Tensor], Tensor]) -> Tensor:
        module.zero_grad()
        loss = multi_label_loss(answer(streams, lengths), labels).mean()
        loss.backward()
        return loss.detach()

    plain = partial(MODELS[name][0], module)
    sides = {"videozoo": partial(step, module), "plain": partial(step, plain)}
    return sides, list(module.parameters())


def check_same(
    name: str, sides: dict[str, Callable[[], Tensor]], weights: Sequence[Tensor]
) -> float:
    """Largest difference of loss and gradients, each relative to its largest value."""
    found: dict[str, list[Tensor]] = {}
    for side, step in sides.items():
        loss = step()
        slopes = [weight.grad for weight in weights]
        found[side] = [loss, *(slope.clone() for slope in slopes if slope is not None)]
    # of some biases the gradient is zero but for rounding
    least = 1e-3 * max(float(slope.abs().max()) for slope in found["plain"][1:])
    worst = 0.0
    for side, values in found.items():
        for ours, theirs in zip(values, found["plain"], strict=True):
            scale = max(float(theirs.abs().max()), least)
            worst = max(worst, float((ours - theirs).abs().max()) / scale)
        if not worst <= MOST:
            raise UnequalError(f"{name}: {side} differs by {worst:g} of the largest value")
    return worst


def steps_of_models(options: Options) -> tuple[list[Target], dict[str, Any]]:
    targets: list[Target] = []
    figures: dict[str, Any] = {}
    for name in MODELS:
        sides, weights = made(name, options)
        difference = check_same(name, sides, weights)
        timings = measure(sides, rounds=2 if options.quick else 7)
        figures[name] = as_figures(timings) | {"largest_difference": difference}
        targets.append(
            Target(
                name=f"{name}, training step: as fast as the plain model",
                limit=LIMITS[name],
                figure=ratio(timings, "plain", "videozoo"),
            )
        )
    return targets, figures


def of_one(loop: Run, x: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor) -> Tensor:
    """A loop for one LSTM, called as ours is."""
    return loop(x[0], weight[0], bias[0], lengths)[None]


def lstm_step(run: Run, inputs: Sequence[Tensor], lengths: Tensor, by: Tensor) -> Tensor:
    for tensor in inputs:
        tensor.grad = None
    x, weight, bias = inputs
    loss = (run(x, weight, bias, lengths) * by).sum()
    loss.backward()
    return loss.detach()


def lstm_alone(options: Options) -> tuple[list[Target], dict[str, Any]]:
    """The recurrence and its way back, beside the loop under autograd, plain and scripted."""
    targets: list[Target] = []
    figures: dict[str, Any] = {}
    sizes = [(64, 100, 128), (32, 60, 1024)] if options.full else [(64, 100, 128)]
    for videos, frames, size in [(4, 10, 8)] if options.quick else sizes:
        torch.manual_seed(0)
        shapes = (1, videos, frames, 4 * size), (1, 4 * size, size), (1, 7 * size)
        inputs = [(torch.randn(shape) * size**-0.5).requires_grad_() for shape in shapes]
        lengths, arriving = torch.full((videos,), frames), torch.randn(1, videos, frames, size)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scripts are on their way out of PyTorch
            loop: Any = torch.jit.script(lstm_loop)
        runs: dict[str, Run] = {
            "videozoo": peephole_lstm,
            "plain": partial(of_one, lstm_loop),
            "scripted": partial(of_one, loop),
        }
        sides = {
            name: partial(lstm_step, run, inputs, lengths, arriving) for name, run in runs.items()
        }
        difference = check_same("peephole_lstm", sides, inputs)
        timings = measure(sides, rounds=2 if options.quick else 7, warmup=3)
        case = f"peephole LSTM, {videos} x {frames} frames, {size} units"
        figures[case] = as_figures(timings) | {"largest_difference": difference}
        for other, limit in (("plain", 1.3), ("scripted", 1.0)):
            figure = ratio(timings, other, "videozoo")
            targets.append(Target(name=f"{case}: as fast as {other}", limit=limit, figure=figure))
    return targets, figures


def run(options: Options) -> Outcome:
    one_thread()
    models, of_models = steps_of_models(options)
    lstms, of_lstms = lstm_alone(options)
    gap, of_gap = compared("gap", options)
    records, of_records = bench_tagging_records.compared(options)
    targets = [*models, *lstms, *gap, *records]
    figures = {**of_models, **of_lstms, "gap": of_gap, "records": of_records}
    return Outcome("tagging", targets, figures, packages=("torch", "numpy"))


if __name__ == "__main__":
    main(run)
