"""Networks: outputs, losses, gradients, running statistics and optimiser steps.

The weights are made by the set's rule, renamed through `paddle_names` and run through the code
that users run: the model, the optimiser's groups and the schedule. Tolerances are what float32 on
another machine needs, rounded up; the sentences at each say why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.rnn import pad_sequence

from tools.parity import golden
from tools.parity.golden import Arrays
from tools.parity.rows import Row
from videozoo.config_v1 import translate
from videozoo.engine.optimizer import build_optimizer
from videozoo.engine.schedule import LearningRate, make_schedule, steps_per_epoch
from videozoo.engine.settings import TrainSettings
from videozoo.models import model_spec
from videozoo.ops import FrameBatchNorm, dequantize
from videozoo.ops.frames import multi_label_loss
from videozoo.types import ModelSpec, PaddleName, Settings, Tagging


@dataclass(frozen=True)
class Limits:
    """Tolerances of a training run. Errors of arrays are of the largest value in each array."""

    prob: float
    """Logits and scores of the first forward."""
    loss: float
    """Of the first forward, relative."""
    late: float
    """Gradients, their norms, and changes after one step: res5 and what follows."""
    early: float
    """The same, before: the further from the loss, the more relus and max pools lie in between
    that decide otherwise on float32 noise."""
    later_loss: float
    """After an update, relative: the noise of the gradients is now in the weights."""
    later_norms: float
    """L2 norm of every parameter after a later step, of itself."""
    updates: float | None = None
    """Changes after one step, where they may differ more than gradients do: Adam and RMSprop make
    as large a step of a tiny gradient as of a large one, and so of its noise."""


OUTPUTS, LOSS = 1e-5, 1e-5
"""In evaluation, of the largest one: two orders of summation differ by 2e-6."""
CALM = Limits(prob=1e-4, loss=1e-5, late=1e-3, early=3e-2, later_loss=2e-2, later_norms=1e-2)
"""2D networks, and 3D ones without batch norms. Seen: 1e-5, 2e-6, 5e-5, 1.5e-2, 5e-3, 2e-3."""
EXACT = Limits(
    prob=1e-4, loss=1e-5, late=1e-3, early=1e-3, later_loss=1e-4, later_norms=1e-3, updates=5e-2
)
"""Networks over features, which are shallow. Seen: 4e-6, 1e-6, 3e-5, 3e-5, 1e-6, 1e-4, 4e-2."""
CHAOTIC = Limits(prob=1e-3, loss=1e-4, late=2e-2, early=2e-1, later_loss=2e-1, later_norms=1e-1)
"""Non-local with batch norms. Here float64 is as far from what was recorded as float32 is, and our
own numbers move by 2e-4, 2e-5, 1.6e-2, 1.9e-1, 1.6e-1, 6e-2 when each weight moves by half its last
bit. Seen: 2e-4, 5e-5, 1.8e-2, 1.9e-1, 1.6e-1, 5e-2."""
STATISTICS = 1e-4
"""Running mean and variance after a forward, of the largest one: 9e-6 was seen."""
ZERO = 5e-7
"""Gradients this small, of the largest, are zero in exact arithmetic and noise as recorded: a batch
norm removes whatever an offset before it adds, a softmax what is added to all its inputs. Noise
goes up to 4e-8, the smallest real gradient is 7e-6."""
LATER_UPDATES = 1e-1
"""Changes since the start after two or three steps (8e-2 was seen), where the rate falls at each
step so that the first one dominates. Elsewhere the second step starts from noisy weights, which
says little: up to half a change was seen, so nothing is compared."""
FIRST_NORMS = 1e-4
"""L2 norm of every parameter after the first step, of itself: 8e-5 was seen."""
RATE = 1e-6
"""Relative; recorded as float32."""
TWINS, TWIN_FACTOR = 3, 5.0
"""Where a training quantity misses its tolerance, twins of our run whose weights are moved by half
their last bit are run too. Their largest distance from our run, times this, is then the tolerance
if it is more; the row's note says so."""


def covers(name: str) -> bool:
    """Tell whether a folder of this name holds a recorded network."""
    plain = name.split("_")[0] in {"tsn", "tsm", "stnet", "nextvlad"}
    return plain or name.startswith(("nonlocal_arc", "attention_cluster", "attention_lstm"))


def check(folder: Path) -> Iterator[Row]:
    """Compare one recorded network, quantity by quantity."""
    recorded = _read(folder)
    weights = golden.weights(folder)
    yield from _evaluation(recorded, weights)
    if recorded.dropout is not None:
        yield from _one_dropout(recorded, weights, recorded.dropout)
    yield from _training(recorded, weights)


# ---- what was recorded, in one form for both families of sets -----------------------------------


@dataclass(frozen=True)
class Forward:
    """A batch, and what the original made of it."""

    inputs: tuple[Any, ...]
    """What the module takes: clips (N, T, C, H, W), or streams and lengths."""
    labels: NDArray[Any] | None = None
    """Of one class, or a row of zeros and ones."""
    loss: float | None = None
    prob: NDArray[np.float32] | None = None
    logits: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Training:
    """What one training run gave, the original's or ours. Arrays by PaddlePaddle name."""

    logits: NDArray[np.float32] | None
    prob: NDArray[np.float32]
    gradients: Arrays
    """Of the first step, without weight decay; whole, or the first elements."""
    gradient_norms: Mapping[str, float]
    statistics: Arrays
    """Running mean and variance after the first forward."""
    losses: list[float]
    """Before each step."""
    rates: list[float]
    parameters: list[Arrays]
    """After each step; whole, or the first elements."""
    parameter_norms: list[Mapping[str, float]]


@dataclass(frozen=True)
class Dropout:
    """A training forward with known masks."""

    forward: Forward
    masks: list[NDArray[np.uint8]]
    """In the order in which the layers drop."""


@dataclass(frozen=True)
class Recorded:
    """A set."""

    spec: ModelSpec
    settings: Settings
    train: TrainSettings
    evaluation: Mapping[str, tuple[Settings, Forward]]
    trainable: frozenset[str]
    training: Training
    batches: list[Forward]
    """What each step was fed."""
    dropout: Dropout | None = None
    loss_factor: float = 1.0
    """By which the recorded loss exceeds ours: 2019 counted devices in."""


def _read(folder: Path) -> Recorded:
    description = golden.meta(folder)
    inputs, outputs = golden.arrays(folder, "inputs"), golden.arrays(folder, "outputs")
    train = golden.arrays(folder, "train")
    sections = translate(description["config"], source=folder.name).sections
    spec = model_spec(str(sections["model"].pop("name")))
    settings = spec.settings(**sections["model"])
    common: dict[str, Any] = {
        "spec": spec,
        "settings": settings,
        "train": TrainSettings(**{k: v for k, v in sections["train"].items() if k != "num_gpus"}),
        "trainable": frozenset(n for n, p in description["params"].items() if p["trainable"]),
    }
    if spec.title == "Non-local":
        return _read_nonlocal(common, description, inputs, outputs, train)
    if isinstance(spec.task, Tagging):
        return _read_features(common, description, inputs, outputs, train, folder)
    return _read_segments(common, description, inputs, outputs, train, folder)


def _read_segments(
    common: dict[str, Any],
    description: Mapping[str, Any],
    inputs: Arrays,
    outputs: Arrays,
    train: Arrays,
    folder: Path,
) -> Recorded:
    """TSN, TSM, StNet."""

    def taken(arrays: Arrays, prefix: str = "") -> tuple[Tensor]:
        return (torch.from_numpy(arrays.get(f"{prefix}image", inputs["image"])),)

    return _read_common(common, description, outputs, train, folder, inputs, taken)


def _read_features(
    common: dict[str, Any],
    description: Mapping[str, Any],
    inputs: Arrays,
    outputs: Arrays,
    train: Arrays,
    folder: Path,
) -> Recorded:
    """Attention Cluster, Attention LSTM, NeXtVLAD: frames of all videos lie one after another."""
    shape = common["spec"].task.feature_shape(common["settings"])

    def taken(arrays: Arrays, prefix: str = "") -> tuple[list[Tensor], Tensor]:
        def find(name: str) -> NDArray[Any] | None:
            return arrays.get(prefix + name, inputs.get(name))

        lengths, streams = find("lengths"), list[Tensor]()
        for stream in shape.streams:
            array = find(stream.name)
            assert array is not None, stream.name
            frames = dequantize(torch.from_numpy(array), half_step=stream.half_step)
            if lengths is not None:
                frames = pad_sequence(list(frames.split(lengths.tolist())), batch_first=True)
            streams.append(frames)
        if lengths is None:
            lengths = np.full(len(streams[0]), streams[0].shape[1])
        return streams, torch.from_numpy(lengths)

    recorded = _read_common(common, description, outputs, train, folder, inputs, taken)
    if common["spec"].task.loss_over_batch == "mean":
        return recorded
    return replace(recorded, loss_factor=float(description["config"]["TRAIN"]["num_gpus"]))


def _read_common(
    common: dict[str, Any],
    description: Mapping[str, Any],
    outputs: Arrays,
    train: Arrays,
    folder: Path,
    inputs: Arrays,
    taken: Callable[..., tuple[Any, ...]],
) -> Recorded:
    settings = common["settings"]

    def batch(number: int) -> tuple[tuple[Any, ...], NDArray[Any]]:
        return taken(train, f"batch{number}/"), train[f"batch{number}/label"]

    numbers = range(1, len(train["lr"]) + 1)
    fed = len({key.split("/")[0] for key in train if key.startswith("batch")})
    training = Training(
        logits=train["logits"],
        prob=train["prob"],
        gradients=_under("grad/", train),
        gradient_norms=description["grad_l2_norms"],
        statistics=_under("bn_after_forward/", train),
        losses=[float(train[f"step{k}/loss"].ravel()[0]) for k in numbers],
        rates=train["lr"].tolist(),
        parameters=[_under(f"step{k}/param/", train) for k in numbers],
        parameter_norms=[description["param_l2_norm_after_step"][str(k)] for k in numbers],
    )
    evaluation = {"infer": Forward(taken(inputs), None, None, *_both(outputs, ""))}
    if "test_loss" in outputs:
        loss = float(outputs["test_loss"].ravel()[0])
        evaluation["test"] = Forward(
            taken(inputs, "test/"), inputs["test/label"], loss, *_both(outputs, "test_")
        )
    dropped = golden.arrays(folder, "dropout")
    return Recorded(
        **common,
        evaluation={name: (settings, forward) for name, forward in evaluation.items()},
        training=training,
        batches=[Forward(*batch((k - 1) % fed + 1)) for k in numbers],  # 1, 2, 1, ...
        dropout=Dropout(
            Forward(*batch(1), float(dropped["loss"].ravel()[0]), dropped["prob"]),
            [dropped[f"mask{i}"] for i in range(sum(k.startswith("mask") for k in dropped))],
        )
        if dropped
        else None,
    )


def _read_nonlocal(
    common: dict[str, Any],
    description: Mapping[str, Any],
    inputs: Arrays,
    outputs: Arrays,
    train: Arrays,
) -> Recorded:
    config = description["config"]

    def clips(name: str, section: str) -> tuple[Tensor]:
        clip = golden.coarse_clip(inputs[name], config[section]["crop_size"])
        return (torch.from_numpy(np.ascontiguousarray(clip.swapaxes(1, 2))),)  # frames first

    def batch(number: int) -> tuple[tuple[Tensor], NDArray[np.int64]]:
        return clips(f"train_coarse_{number}", "TRAIN"), inputs[f"train_label_{number}"]

    names, numbers = sorted(description["params"]), range(1, len(train["step_loss"]) + 1)
    parameters = [_under(f"step{k}/", train) for k in numbers]
    training = Training(
        logits=None,
        prob=train["fetch_1"],
        gradients=_under("grad/", train),
        gradient_norms=dict(
            zip(description["trainable_sorted"], train["grad_l2_all"].tolist(), strict=True)
        ),
        statistics={n: a for n, a in parameters[0].items() if n not in common["trainable"]},
        losses=train["step_loss"].tolist(),
        rates=train["lr"].tolist(),
        parameters=parameters,
        parameter_norms=[
            dict(zip(names, train[f"param_l2_step{k}"].tolist(), strict=True)) for k in numbers
        ],
    )
    section = description["infer_mode"].upper()
    infer = Forward(clips("infer_coarse", section), None, None, outputs["out_0"], outputs["out_1"])
    frames = config[section]["video_length"]
    return Recorded(
        **common,
        evaluation={"infer": (_with(common["settings"], num_frames=frames), infer)},
        training=training,
        batches=[Forward(*batch(k - 1)) for k in numbers],
    )


def _under(prefix: str, arrays: Arrays) -> Arrays:
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}


def _both(outputs: Arrays, prefix: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return outputs[f"{prefix}prob"], outputs[f"{prefix}logits"]


def _with(settings: Settings, **changes: Any) -> Settings:
    return type(settings)(**(settings.model_dump() | changes))


# ---- comparisons --------------------------------------------------------------------------------


def _evaluation(recorded: Recorded, weights: Arrays) -> Iterator[Row]:
    for mode, (settings, forward) in recorded.evaluation.items():
        module = _network(recorded.spec, settings, weights).eval()
        with torch.inference_mode():
            logits = module(*forward.inputs)
            if forward.logits is not None and forward.logits.ndim == 5:
                ours = getattr(module, "position_logits")(*forward.inputs)  # noqa: B009
                yield Row(f"{mode} logits by position", _of_largest(ours, forward.logits), OUTPUTS)
            yield from _compare_forward(recorded.spec, mode, logits, forward, OUTPUTS, LOSS)


def _one_dropout(recorded: Recorded, weights: Arrays, dropout: Dropout) -> Iterator[Row]:
    module = _network(recorded.spec, recorded.settings, weights).train()
    module.register_module("dropout", _Masked(dropout))
    with torch.no_grad():
        logits = module(*dropout.forward.inputs)
    forward = dropout.forward
    if forward.loss is not None:
        forward = replace(forward, loss=forward.loss / recorded.loss_factor)
    yield from _compare_forward(
        recorded.spec, "train, recorded dropout:", logits, forward, CALM.prob, CALM.loss
    )


def _training(recorded: Recorded, weights: Arrays) -> Iterator[Row]:
    ours = _run(recorded, weights)
    rows = list(_compare(ours, recorded.training, recorded, weights))
    if all(row.ok for row in rows):
        yield from rows
        return
    spread = dict[str, float]()
    for seed in range(TWINS):
        moved = _moved_by_rounding(weights, seed)
        for row in _compare(_run(recorded, moved), ours, recorded, weights):
            spread[row.quantity] = max(spread.get(row.quantity, 0.0), row.error)
    for row in rows:
        own = spread.get(row.quantity, 0.0)
        if row.ok or row.quantity == "learning rates":
            yield row
        else:
            limit = max(row.tolerance, TWIN_FACTOR * own)
            note = f"table {row.tolerance:.0e}, but rounding of weights makes {own:.1e}"
            yield replace(row, tolerance=limit, note=note)


def _moved_by_rounding(weights: Arrays, seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    half_bit = 2.0**-24
    return {
        name: (array * (1 + half_bit * rng.standard_normal(array.shape))).astype(np.float32)
        for name, array in weights.items()
    }


def _run(recorded: Recorded, weights: Arrays) -> Training:
    """Train as recorded; the first step gives gradients and statistics as well."""
    spec, settings = recorded.spec, _with(recorded.settings, **_no_dropout(recorded.settings))
    theirs = recorded.training
    module = _network(spec, settings, weights).train()
    running = _BiasedVariance(module)
    tensors = _Tensors(module, names_of_2019(spec, settings))
    optimizer = build_optimizer(module, spec.parameter_rules(module), recorded.train)
    rate = LearningRate(optimizer, make_schedule(recorded.train, _steps_in_epoch(recorded.train)))
    ours = Training(None, theirs.prob, {}, {}, {}, [], [], [], [])
    for number, batch in enumerate(recorded.batches):
        ours.rates.append(rate.set(number))
        logits = module(*batch.inputs)
        loss = _loss(spec, logits, batch.labels) * recorded.loss_factor
        optimizer.zero_grad()
        loss.backward()
        running.correct()
        ours.losses.append(loss.item())
        if number == 0:
            ours = replace(
                ours,
                logits=logits.detach().numpy(),
                prob=_scores(spec, logits.detach()).numpy(),
                gradients=_parts(theirs.gradients, tensors.gradient),
                gradient_norms={n: _norm(tensors.gradient(n)) for n in theirs.gradient_norms},
                statistics=_parts(theirs.statistics, tensors.value),
            )
        _paddle_epsilon(optimizer, number + 1)
        optimizer.step()
        ours.parameters.append(_parts(theirs.parameters[number], tensors.value))
        norms = theirs.parameter_norms[number]
        ours.parameter_norms.append({n: _norm(tensors.value(n)) for n in norms})
    return ours


def _parts(like: Arrays, whole: Callable[[str], NDArray[Any]]) -> Arrays:
    """Copy as many elements of each array as `like` has."""
    return {name: whole(name).ravel()[: a.size].reshape(a.shape).copy() for name, a in like.items()}


def _limits(recorded: Recorded) -> Limits:
    if isinstance(recorded.spec.task, Tagging):
        return EXACT
    is_3d = recorded.spec.title == "Non-local"
    return CHAOTIC if is_3d and not getattr(recorded.settings, "use_affine", False) else CALM


def _compare(ours: Training, theirs: Training, recorded: Recorded, start: Arrays) -> Iterator[Row]:
    limits = _limits(recorded)
    if ours.logits is not None and theirs.logits is not None:
        yield Row("train logits", _of_largest(ours.logits, theirs.logits), limits.prob)
    yield Row("train prob", _of_largest(ours.prob, theirs.prob), limits.prob)
    zero = _zero_gradients(theirs)
    yield from _compare_gradients(ours, theirs, zero, limits)
    yield Row("running statistics", _worst(ours.statistics, theirs.statistics), STATISTICS)
    falls = all(b < a for a, b in zip(theirs.rates, theirs.rates[1:], strict=False))
    for i, (our_loss, their_loss) in enumerate(zip(ours.losses, theirs.losses, strict=True)):
        step = f"step {i + 1}"
        loss = abs(our_loss / their_loss - 1)
        yield Row(f"{step} loss", loss, limits.later_loss if i else limits.loss)
        moved = {n: v for n, v in theirs.parameter_norms[i].items() if n not in zero}
        norms = _relative(ours.parameter_norms[i], moved)
        yield Row(f"{step} parameter norms", norms, limits.later_norms if i else FIRST_NORMS)
        if i == 0 or falls:
            for where, wanted in LAYERS:
                chosen = [
                    name
                    for name in theirs.parameters[i]
                    if name in recorded.trainable and name not in zero and wanted(name)
                ]
                errors = [
                    _update_error(ours.parameters[i][n], theirs.parameters[i][n], start[n])
                    for n in chosen
                ]
                limit = LATER_UPDATES if i else limits.updates or getattr(limits, where)
                yield Row(f"{step} updates, {where} layers", max(errors, default=0.0), limit)
    rates = np.array(ours.rates) / np.array(theirs.rates) - 1
    yield Row("learning rates", float(np.abs(rates).max()), RATE)


def _compare_forward(
    spec: ModelSpec, mode: str, logits: Tensor, forward: Forward, outputs: float, loss: float
) -> Iterator[Row]:
    if forward.logits is not None and forward.logits.ndim == 2:
        yield Row(f"{mode} logits", _of_largest(logits, forward.logits), outputs)
    if forward.prob is not None:
        yield Row(f"{mode} prob", _of_largest(_scores(spec, logits), forward.prob), outputs)
    if forward.loss is not None and forward.labels is not None:
        error = abs(_loss(spec, logits, forward.labels).item() / forward.loss - 1)
        yield Row(f"{mode} loss", error, loss)


def _compare_gradients(
    ours: Training, theirs: Training, zero: frozenset[str], limits: Limits
) -> Iterator[Row]:
    for where, wanted in LAYERS:
        limit = getattr(limits, where)
        arrays = {n: a for n, a in theirs.gradients.items() if wanted(n) and n not in zero}
        error = _worst(ours.gradients, arrays)
        yield Row(f"gradients, {where} layers", error, limit, f"{len(arrays)} arrays")
        norms = {n: v for n, v in theirs.gradient_norms.items() if wanted(n) and n not in zero}
        error = _relative(ours.gradient_norms, norms)
        yield Row(f"gradient norms, {where} layers", error, limit, f"{len(norms)} norms")
    if zero:
        largest = max(theirs.gradient_norms.values())
        error = max(ours.gradient_norms[name] for name in zero) / largest
        yield Row("gradients that are zero", error, ZERO, f"{len(zero)} norms")


def _zero_gradients(training: Training) -> frozenset[str]:
    norms = training.gradient_norms
    return frozenset(name for name, norm in norms.items() if norm < ZERO * max(norms.values()))


def _update_error(ours: NDArray[Any], after: NDArray[Any], start: NDArray[Any]) -> float:
    """Difference of two changes, of the largest change.

    A parameter near 1 is stored to 6e-8, so that much of each change is rounding: not counted.
    """
    begin = start.ravel()[: after.size].astype(np.float64)
    change = after.ravel() - begin
    difference = np.abs(ours.ravel()[: after.size] - begin - change)
    rounding = 2 * np.spacing(np.abs(after.ravel()).astype(np.float32))
    return float(np.maximum(difference - rounding, 0).max() / np.abs(change).max())


def _is_late(name: str) -> bool:
    return name.startswith(("res5", "bn5", "fc_", "xception", "pred"))


def _is_early(name: str) -> bool:
    return not _is_late(name)


LAYERS = (("late", _is_late), ("early", _is_early))


def _worst(ours: Arrays, theirs: Arrays) -> float:
    """Largest error over arrays, each of its own largest value."""
    return max((_of_largest(ours[name], array) for name, array in theirs.items()), default=0.0)


def _relative(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    return max((abs(ours[n] / value - 1) for n, value in theirs.items() if value), default=0.0)


def _of_largest(ours: Tensor | NDArray[Any], theirs: NDArray[Any]) -> float:
    ours = ours.detach().numpy() if isinstance(ours, Tensor) else ours
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def _norm(array: NDArray[Any]) -> float:
    return float(np.linalg.norm(array.astype(np.float64)))


def _scores(spec: ModelSpec, logits: Tensor) -> Tensor:
    return logits.sigmoid() if isinstance(spec.task, Tagging) else logits.softmax(dim=1)


def _loss(spec: ModelSpec, logits: Tensor, labels: NDArray[Any] | None) -> Tensor:
    """Mean cross entropy; label -1 adds nothing, and the mean still counts it. Or that of tags."""
    assert labels is not None
    if isinstance(spec.task, Tagging):
        losses = multi_label_loss(logits, torch.from_numpy(labels))
        return losses.mean() if spec.task.loss_over_batch == "mean" else losses.sum()
    target = torch.from_numpy(labels).flatten()
    return F.cross_entropy(logits, target, ignore_index=-1, reduction="sum") / len(target)


# ---- our side -----------------------------------------------------------------------------------


def _network(spec: ModelSpec, settings: Settings, weights: Arrays) -> nn.Module:
    """Build the model and fill it; every recorded array has its place and every place an array."""
    module = spec.build(settings)
    state = module.state_dict()
    names = names_of_2019(spec, settings)
    if {place.name for place in names.values()} != set(weights):
        wrong = sorted({place.name for place in names.values()} ^ set(weights))
        raise ValueError(f"names on one side only: {wrong[:5]}")
    for key, place in names.items():
        array = weights[place.name].T if place.transpose else weights[place.name]
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        state[key].copy_(tensor.view_as(state[key]) if place.reshape else tensor)
    return module


def names_of_2019(spec: ModelSpec, settings: Settings) -> Mapping[str, PaddleName]:
    """Where each tensor stood in 2019."""
    assert spec.paddle is not None
    return spec.paddle.names(settings)


class _Tensors:
    """A module's tensors by PaddlePaddle name, in PaddlePaddle's layout."""

    def __init__(self, module: nn.Module, names: Mapping[str, PaddleName]) -> None:
        tensors = dict(module.named_parameters()) | dict(module.named_buffers())
        self._places = {place.name: (tensors[key], place) for key, place in names.items()}

    def value(self, name: str) -> NDArray[Any]:
        tensor, place = self._places[name]
        array = tensor.detach().numpy()
        return array.T if place.transpose else array

    def gradient(self, name: str) -> NDArray[Any]:
        tensor, place = self._places[name]
        assert tensor.grad is not None, name
        array = tensor.grad.numpy()
        return array.T if place.transpose else array


class _BiasedVariance:
    """Keeps running variances as the original did: from sums divided by n, where torch has n - 1.

    Training does not read them, so they can be put right after each forward.
    """

    def __init__(self, module: nn.Module) -> None:
        self._before = dict[_BatchNorm, Tensor]()
        self._counts = dict[_BatchNorm, int]()
        for layer in module.modules():
            if isinstance(layer, _BatchNorm):
                layer.register_forward_pre_hook(self._remember)

    def _remember(self, layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, _BatchNorm)
        assert layer.running_var is not None
        self._before[layer] = layer.running_var.clone()
        if isinstance(layer, FrameBatchNorm):
            self._counts[layer] = int(args[1].sum())
        else:
            self._counts[layer] = args[0].numel() // args[0].shape[1]

    def correct(self) -> None:
        for layer, before in self._before.items():
            assert layer.running_var is not None
            assert layer.momentum is not None
            kept, n = (1 - layer.momentum) * before, self._counts[layer]
            layer.running_var.copy_(kept + (layer.running_var - kept) * ((n - 1) / n))


class _Masked(nn.Module):
    """Dropout that drops what the original dropped, call by call."""

    def __init__(self, dropout: Dropout) -> None:
        super().__init__()
        self._masks = [torch.from_numpy(mask.astype(np.float32)) for mask in dropout.masks]
        *_, self._last = dropout.forward.inputs
        """Lengths, where frames were recorded one video after another."""

    def forward(self, x: Tensor) -> Tensor:
        mask = self._masks.pop(0)
        if x.dim() == 3:
            parts = list(mask.split(self._last.tolist()))
            return x * pad_sequence(parts, batch_first=True)
        return x * mask.flatten(1)


def _paddle_epsilon(optimizer: torch.optim.Optimizer, step: int) -> None:
    """PaddlePaddle's Adam adds its epsilon to a root that is not corrected for its start yet."""
    if isinstance(optimizer, torch.optim.Adam):
        for group in optimizer.param_groups:
            group["eps"] = 1e-8 / (1 - group["betas"][1] ** step) ** 0.5


def _no_dropout(settings: Settings) -> dict[str, float]:
    """Gradients and steps were recorded with dropout off."""
    return {"dropout": 0.0} if "dropout" in type(settings).model_fields else {}


def _steps_in_epoch(train: TrainSettings) -> int:
    if train.videos_per_epoch is None:  # boundaries are in steps
        return 1
    return steps_per_epoch(0, train.batch_size, videos_per_epoch=train.videos_per_epoch)
