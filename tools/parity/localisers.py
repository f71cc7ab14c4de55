"""Networks that localise: outputs, losses, gradients, running statistics and optimiser steps.

Weights come from the shipped checkpoint, read as a user's would be, or are made by the set's rule.
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

from tools.parity import golden
from tools.parity.golden import Arrays
from tools.parity.nets import (
    TWIN_FACTOR,
    TWINS,
    _BiasedVariance,
    _moved_by_rounding,
    _paddle_epsilon,
    _Tensors,
    names_of_2019,
)
from tools.parity.rows import Row
from videozoo.engine.optimizer import build_optimizer
from videozoo.engine.schedule import LearningRate, make_schedule
from videozoo.engine.settings import TrainSettings
from videozoo.models import bmn, bsn_pem, bsn_tem, ctcn
from videozoo.ops.boundary_matching import proposal_sampling
from videozoo.types import ModelSpec, Settings
from videozoo.weights.fit import fit_paddle, load_state
from videozoo.weights.paddle import read_paddle

Losses = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Net:
    """How one of them was recorded, in our terms."""

    spec: ModelSpec
    settings: Callable[[Mapping[str, Any]], Settings]
    """From the section MODEL."""
    features: Callable[[Arrays], Tensor]
    """From feeds to what the module takes."""
    outputs: Callable[[Any], list[Tensor]]
    """From what it gives to what was fetched."""
    losses: Callable[[Any, Arrays], Losses]
    """From what it gives and feeds, in the order of the fetches."""
    optimizer: str
    output: float
    """Tolerance of outputs, absolute."""
    gradient: float = 1e-3
    """Of gradients: length of the difference, relative."""
    gradient_norm: float = 1e-3
    """Of their lengths, relative."""
    update: float = 1e-2
    """Of what the first step changes: length of the difference, relative."""
    later_loss: float = 1e-5
    """Of the loss after a step, relative."""
    later_update: float = 1e-2
    """The same of what has changed since the start after later steps."""
    is_deep: bool = False
    """The noise of the first step's gradients is then most of what a second step of full length
    changes, so this is compared only where the learning rate has fallen in between."""


@dataclass(frozen=True)
class Run:
    """What training gave, the original's or ours. Arrays by PaddlePaddle name."""

    rates: list[float]
    first: dict[str, float]
    """Total loss of the first batch, and its parts."""
    losses: list[float]
    """Before each step."""
    gradients: Arrays
    """Of the first batch, without weight decay; whole, or the first elements."""
    gradient_norms: dict[str, float]
    parameters: list[Arrays]
    """After each step; whole, or the first elements."""
    parameter_norms: list[dict[str, float]]


LOSS = 1e-5
"""Relative; float32 sums in another order."""
STATISTICS, LATER_STATISTICS = 1e-4, 1e-3
"""Running mean and variance after the first step and after a later one: length of the difference,
relative."""
NORMS, LATER_NORMS = 1e-4, 1e-3
"""L2 norm of every parameter after the first step and after a later one, of itself."""
STEP = 1e-6
"""An element that is off by no more, or by rounding, has changed as recorded."""
RATE = 1e-6
"""Relative; recorded as float32."""
MASK = 1e-6
"""Absolute; float32 of float64 sums."""
CLEAR = 1e-2
"""Adam makes a step of full length of any gradient, so of those that are noise as well: elements
count whose first gradient is at least this share of the largest of their array."""
ZERO = 5e-7
"""Gradients this small, of the largest norm, are zero in exact arithmetic."""


def covers(name: str) -> bool:
    """Tell whether a folder of this name holds a recorded network that localises."""
    return _net_of(name) is not None


def check(folder: Path) -> Iterator[Row]:
    """Compare one recorded network."""
    net = _net_of(folder.name)
    assert net is not None
    description = golden.meta(folder)
    settings = net.settings(description["config"]["MODEL"])
    shipped = folder / "weights.pdparams"
    weights = read_paddle(shipped) if shipped.exists() else golden.weights(folder)
    if "sample_mask" in weights:
        yield _sample_mask(settings, weights.pop("sample_mask"))
    yield from _evaluation(net, settings, weights, folder)
    yield from _training(net, settings, weights, golden.arrays(folder, "train"), description)


def _net_of(name: str) -> Net | None:
    found = [key for key in NETS if name == key or name.startswith(f"{key}_")]
    return NETS[found[0]] if found and not name.endswith("_post") else None


def _module(net: Net, settings: Settings, weights: Arrays) -> nn.Module:
    """Build and fill it; a tensor too many or too few is an error."""
    module = net.spec.build(settings)
    state = fit_paddle(weights, names_of_2019(net.spec, settings), module.state_dict())
    load_state(module, state)
    return module


def _sample_mask(settings: Settings, recorded: NDArray[Any]) -> Row:
    """Ours against the parameter that is not trained."""
    assert isinstance(settings, bmn.BMNSettings)
    ours = proposal_sampling(
        settings.num_steps,
        settings.num_durations,
        num_samples=settings.num_samples,
        samples_per_bin=settings.samples_per_bin,
        boundary_ratio=settings.boundary_ratio,
    )
    shape = settings.num_steps, settings.num_samples, settings.num_durations * settings.num_steps
    dense, (step, sample) = np.zeros(shape), np.divmod(ours.columns, settings.num_samples)
    dense[step, sample, ours.cells[ours.rows]] = ours.weights
    return Row("sampling of proposals", float(np.abs(dense - recorded.reshape(shape)).max()), MASK)


def _evaluation(net: Net, settings: Settings, weights: Arrays, folder: Path) -> Iterator[Row]:
    module = _module(net, settings, weights).eval()
    with torch.inference_mode():
        outputs = net.outputs(module(net.features(golden.arrays(folder, "inputs"))))
    recorded = golden.arrays(folder, "outputs")
    for i, ours in enumerate(outputs):
        error = np.abs(ours.numpy() - recorded[f"out_{i}"]).max()
        yield Row(f"infer output {i}", float(error), net.output)


def _training(
    net: Net, settings: Settings, weights: Arrays, train: Arrays, description: Mapping[str, Any]
) -> Iterator[Row]:
    """Two steps, dropout off, as recorded.

    Where a quantity misses its tolerance, twins of our run whose weights are moved by half their
    last bit say how much of that is rounding, as for the other networks.
    """
    if "dropout" in type(settings).model_fields:
        settings = type(settings)(**(settings.model_dump() | {"dropout": 0.0}))
    theirs = _recorded(train, description)
    ours = _run(net, settings, weights, train, description)
    rows = list(_compare(net, ours, theirs, weights))
    if all(row.ok for row in rows):
        yield from rows
        return
    spread = dict[str, float]()
    for seed in range(TWINS):
        twin = _run(net, settings, _moved_by_rounding(weights, seed), train, description)
        for row in _compare(net, twin, ours, weights):
            spread[row.quantity] = max(spread.get(row.quantity, 0.0), row.error)
    for row in rows:
        own = spread[row.quantity]
        if row.ok:
            yield row
        else:
            note = f"table {row.tolerance:.0e}, but rounding of weights makes {own:.1e}"
            yield replace(row, tolerance=max(row.tolerance, TWIN_FACTOR * own), note=note)


def _recorded(train: Arrays, description: Mapping[str, Any]) -> Run:
    names, trainable = sorted(description["params"]), description["trainable_sorted"]
    steps = range(1, len(train["lr"]) + 1)
    return Run(
        rates=train["lr"].tolist(),
        first={str(i): train[f"fetch_{i}"].item() for i in range(_fetches(train))},
        losses=train["step_loss"].tolist(),
        gradients=_under("grad/", train),
        gradient_norms=dict(zip(trainable, train["grad_l2_all"].tolist(), strict=True)),
        parameters=[_under(f"step{k}/", train) for k in steps],
        parameter_norms=[
            dict(zip(names, train[f"param_l2_step{k}"].tolist(), strict=True)) for k in steps
        ],
    )


def _fetches(train: Arrays) -> int:
    return sum(name.startswith("fetch_") for name in train)


def _run(
    net: Net, settings: Settings, weights: Arrays, train: Arrays, description: Mapping[str, Any]
) -> Run:
    how = _train_settings(net, description["config"]["TRAIN"])
    module = _module(net, settings, weights).train()
    running = _BiasedVariance(module)
    tensors = _Tensors(module, names_of_2019(net.spec, settings))
    optimizer = build_optimizer(module, net.spec.parameter_rules(module), how)
    rate = LearningRate(optimizer, make_schedule(how, 1))
    run = Run([], {}, [], {}, {}, [], [])
    for number in range(len(train["lr"])):
        run.rates.append(rate.set(number))
        feeds = _under(f"batch{number}/", train)
        losses = net.losses(module(net.features(feeds)), feeds)
        total, *_ = losses.values()
        run.losses.append(total.item())
        optimizer.zero_grad()
        total.backward()
        running.correct()
        if number == 0:
            run.first.update({name: loss.item() for name, loss in losses.items()})
            slopes = {name: tensors.gradient(name) for name in description["trainable_sorted"]}
            run.gradient_norms.update({name: _norm(slope) for name, slope in slopes.items()})
            run.gradients.update(
                {n: _like(slopes[n], a).copy() for n, a in _under("grad/", train).items()}
            )
        _paddle_epsilon(optimizer, number + 1)
        optimizer.step()
        recorded = _under(f"step{number + 1}/", train)
        run.parameters.append({n: _like(tensors.value(n), a).copy() for n, a in recorded.items()})
        run.parameter_norms.append({name: _norm(tensors.value(name)) for name in weights})
    return run


def _compare(net: Net, ours: Run, theirs: Run, start: Arrays) -> Iterator[Row]:
    for (name, loss), other in zip(ours.first.items(), theirs.first.values(), strict=True):
        yield Row(f"train {name}", _relative(loss, other), LOSS)
    norms = theirs.gradient_norms
    real = {name for name, norm in norms.items() if norm >= ZERO * max(norms.values())}
    errors = [_apart(ours.gradients[n], a) for n, a in theirs.gradients.items() if n in real]
    yield Row("gradients", max(errors), net.gradient, f"{len(errors)} arrays")
    errors = [_relative(ours.gradient_norms[name], norms[name]) for name in real]
    yield Row("gradient norms", max(errors), net.gradient_norm, f"{len(errors)} norms")
    for i, parameters in enumerate(theirs.parameters):
        step = f"step {i + 1}"
        yield Row(f"{step} learning rate", _relative(ours.rates[i], theirs.rates[i]), RATE)
        yield Row(
            f"{step} loss",
            _relative(ours.losses[i], theirs.losses[i]),
            net.later_loss if i else LOSS,
        )
        is_statistic = {name: name.endswith((".w_1", ".w_2")) for name in parameters}
        errors = [
            _changed_otherwise(net, name, ours.parameters[i][name], after, start, theirs)
            for name, after in parameters.items()
            if not is_statistic[name]
        ]
        limit = net.later_update if i else net.update
        if not (net.is_deep and i and theirs.rates[i] == theirs.rates[0]):
            yield Row(f"{step} changes", max(errors), limit, f"{len(errors)} arrays")
        errors = [
            _apart(ours.parameters[i][name], after)
            for name, after in parameters.items()
            if is_statistic[name]
        ]
        if errors:
            limit = LATER_STATISTICS if i else STATISTICS
            yield Row(f"{step} running statistics", max(errors), limit, f"{len(errors)} arrays")
        errors = [
            _relative(norm, theirs.parameter_norms[i][name])
            for name, norm in ours.parameter_norms[i].items()
        ]
        limit = LATER_NORMS if i else NORMS
        yield Row(f"{step} parameter norms", max(errors), limit, f"{len(errors)} norms")


def _changed_otherwise(
    net: Net, name: str, ours: NDArray[Any], after: NDArray[Any], start: Arrays, theirs: Run
) -> float:
    """Length of the difference of two changes, of the recorded one."""
    change = after - _like(start[name], after).astype(np.float64)
    off = np.abs(ours.astype(np.float64) - after)
    off = np.where(off > np.maximum(STEP, 2 * np.spacing(np.abs(after))), off, 0)
    if net.optimizer == "adam" and name in theirs.gradients:
        slope = np.abs(theirs.gradients[name])
        clear = slope >= CLEAR * slope.max()
        off, change = off[clear], change[clear]
    length = float(np.linalg.norm(change))
    return float(np.linalg.norm(off)) / length if length else float(off.max())


def _train_settings(net: Net, train: Mapping[str, Any]) -> TrainSettings:
    return TrainSettings(
        optimizer=net.optimizer,  # pyright: ignore[reportArgumentType]
        learning_rate=train["learning_rate"],
        weight_decay=train["l2_weight_decay"],
        schedule="steps",
        decay_unit="steps",
        decay_at=(train["lr_decay_iter"],),
        decay_factor=train["learning_rate_decay"],
    )


# ---- the four -----------------------------------------------------------------------------------


def _tem_losses(outputs: Tensor, feeds: Arrays) -> Losses:
    names = ("start", "end", "action")
    return bsn_tem.losses(outputs, {n: torch.from_numpy(feeds[f"gt_{n}"]) for n in names})


def _pem_losses(scores: Tensor, feeds: Arrays) -> Losses:
    tious, *draws = (
        torch.from_numpy(feeds[name]).view_as(scores) for name in ("gt_iou", "rand_0", "rand_1")
    )
    return bsn_pem.losses(scores, tious, draws=(draws[0], draws[1]))


def _bmn_losses(outputs: bmn.BMNOutput, feeds: Arrays) -> Losses:
    feeds_of = {"maps": "gt_iou_map", "start": "gt_start", "end": "gt_end"}
    targets = {ours: torch.from_numpy(feeds[theirs]) for ours, theirs in feeds_of.items()}
    draws = torch.from_numpy(feeds["rand_0"]), torch.from_numpy(feeds["rand_1"])
    return bmn.losses(outputs, targets, draws=draws)


def _ctcn_losses(outputs: ctcn.CTCNOutput, feeds: Arrays) -> Losses:
    targets = {
        "offsets": torch.from_numpy(feeds["loc_targets"]),
        "labels": torch.from_numpy(feeds["cls_targets"]),
    }
    return ctcn.losses(outputs, targets)


def _feat(feeds: Arrays) -> Tensor:
    return torch.from_numpy(feeds["feat"])


NETS = {
    "bsn_tem": Net(
        spec=bsn_tem.SPEC,
        settings=lambda model: bsn_tem.BsnTemSettings(
            feature_dim=model["feat_dim"],
            num_steps=model["tscale"],
            hidden_size=model["hidden_dim"],
        ),
        features=_feat,
        outputs=lambda curves: [curves],
        losses=_tem_losses,
        optimizer="adam",
        output=1e-6,
    ),
    "bsn_pem": Net(
        spec=bsn_pem.SPEC,
        settings=lambda model: bsn_pem.BsnPemSettings(
            feature_dim=model["feat_dim"], hidden_size=model["hidden_dim"]
        ),
        features=_feat,
        outputs=lambda scores: [scores.view(-1, 1)],
        losses=_pem_losses,
        optimizer="adam",
        output=1e-6,
    ),
    "bmn": Net(
        spec=bmn.SPEC,
        settings=lambda model: bmn.BMNSettings(
            feature_dim=model["feat_dim"],
            num_steps=model["tscale"],
            num_durations=model["dscale"],
            num_samples=model["num_sample"],
            samples_per_bin=model["num_sample_perbin"],
            boundary_ratio=model["prop_boundary_ratio"],
        ),
        features=_feat,
        outputs=lambda outputs: list(outputs),
        losses=_bmn_losses,
        optimizer="adam",
        output=1e-6,
    ),
    "ctcn": Net(
        spec=ctcn.SPEC,
        settings=lambda model: ctcn.CTCNSettings(
            num_classes=model["num_classes"],
            feature_dim=model["concept_size"],
            num_steps=model["img_size"],
        ),
        features=lambda feeds: torch.from_numpy(feeds["image"]).squeeze(1).transpose(1, 2),
        outputs=lambda outputs: [outputs.offsets, outputs.logits.softmax(2)],
        losses=_ctcn_losses,
        optimizer="sgd",
        output=1e-4,
        gradient=3e-2,
        gradient_norm=1e-2,
        update=3e-2,
        later_loss=2e-2,
        later_update=1e-1,
        is_deep=True,
    ),
}


# ---- errors -------------------------------------------------------------------------------------


def _under(prefix: str, arrays: Arrays) -> Arrays:
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}


def _like(whole: NDArray[Any], part: NDArray[Any]) -> NDArray[Any]:
    """As many elements as were recorded."""
    return whole.ravel()[: part.size].reshape(part.shape)


def _apart(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Length of the difference, relative."""
    return _norm(ours.astype(np.float64) - theirs) / _norm(theirs)


def _relative(ours: float, theirs: float) -> float:
    return abs(ours / theirs - 1)


def _norm(array: NDArray[Any]) -> float:
    return float(np.linalg.norm(array.astype(np.float64)))
