"""What a model costs: parameters, multiplications, memory, time."""

from __future__ import annotations

import statistics
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic_core import PydanticUndefined
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from videozoo.config import RunConfig, from_layers, load_config, override_layers
from videozoo.errors import ConfigError, RunError, counted
from videozoo.models import model_name, model_summary, own_fault
from videozoo.report.tables import percent, plain
from videozoo.tasks.building import build, outline
from videozoo.tasks.requests import Device
from videozoo.types import (
    Captioning,
    Classification,
    Localisation,
    MomentRetrieval,
    ProposalScoring,
    Settings,
    Tagging,
)
from videozoo.weights.registry import PUBLISHED, Published

_SHARE_TO_OPEN = 0.3  # a part with a larger share of the parameters is shown as its own parts
_EVENT, _WORDS = 50, 12  # ten seconds at 5 vectors per second, and a sentence about them


@dataclass(frozen=True)
class Part:
    """One part of a network."""

    name: str
    parameters: int
    macs: int
    """Multiplications with an addition (MACs) for one clip."""


@dataclass(frozen=True)
class Timing:
    """How long one clip takes on this machine."""

    milliseconds: float
    """Median."""
    quartiles: tuple[float, float]
    runs: int
    device: str


@dataclass(frozen=True)
class Cost:
    """The cost of one forward pass for one clip, or for the features of one video, in 32 bit."""

    config: RunConfig
    subject: str
    """The input, in words."""
    steps: int
    """Steps of the input along time."""
    clip: tuple[int, ...]
    """(T, C, H, W); empty for models that take features."""
    parts: tuple[Part, ...]
    parameters: int
    weights_bytes: int
    """Size of a weights file: parameters and running statistics."""
    macs: int
    inference_bytes: int
    """Peak of the activations for one clip without gradients; with the input, without weights."""
    training_bytes: int
    """Activations of one clip that are kept for the backward pass."""
    timing: Timing | None = None

    @property
    def flops(self) -> int:
        """Multiplications and additions counted apart."""
        return 2 * self.macs


@dataclass(frozen=True)
class Setting:
    """One key of the `model:` section."""

    key: str
    default: str
    value: str
    """The configured value."""
    help: str


def configured(
    name: str,
    *,
    path: Path | None = None,
    overrides: Sequence[str] = (),
    clip: tuple[int, int, int] | None = None,
) -> RunConfig:
    """The configuration of a model: its defaults, or a file's; then `overrides`, then `clip`.

    Args:
        name: The name of the model, in any spelling.
        path: The YAML file of a run.
        overrides: `section.key=value`.
        clip: Frames (or steps), height and width of the input; height = width.

    Raises:
        ConfigError: The model or a setting is not known, or does not fit.
    """
    named = model_name(name)
    if path is not None:
        config = load_config(path, model=named, overrides=overrides)
    else:
        layers, origins = override_layers(overrides, {})
        config = from_layers([("", {"model": {"name": named}}), *layers], origins=origins)
    if clip is None:
        return config
    if not isinstance(config.spec.task, Classification):
        raise ConfigError(f"--input is for models that take clips, which {named} does not")
    steps, height, width = clip
    if height != width:
        raise ConfigError(f"--input {steps}x{height}x{width}: clips are squares, height = width")
    key = next(
        (key for key in ("num_segments", "num_frames") if key in type(config.model).model_fields),
        None,
    )
    values: dict[str, Any] = {"data.crop_size": height}
    values["data.short_side"] = max(height, config.data.short_side)
    views = ("eval.crop_size", "eval.short_side", "predict.crop_size", "predict.short_side")
    values |= dict.fromkeys(views)  # nothing is evaluated here
    return config.replace("--input", values | ({f"model.{key}": steps} if key else {}))


def model_cost(config: RunConfig) -> Cost:
    """Count what a model costs without computing: only shapes pass through it.

    Multiplications are those of convolutions, linear layers and attention; norms, pooling and
    activations are not counted, as is the custom. Memory follows every buffer of a forward pass;
    what the convolution library takes for itself is not in it.

    Raises:
        ConfigError: The model does not take input of this size.
    """
    sample = _Sample.of(config)
    # models of sequences need real numbers as lengths; they are cheap to run
    device = torch.device("cpu" if sample.dims or sample.told else "meta")
    try:
        return _counted(config, sample, device)
    except ConfigError:
        if not sample.sequence:
            raise
    except RunError:  # of a model from outside: perhaps the values that it reads are not there
        pass
    return _counted(config, sample, torch.device("cpu"))  # some branch on input values


def _counted(config: RunConfig, sample: _Sample, device: torch.device) -> Cost:
    outline(config)
    with device:
        module = config.spec.build(config.model).eval()
    trained = [each for each in module.parameters() if each.requires_grad]
    try:
        inputs = sample.inputs(1, device)
        module.requires_grad_(False)  # the counter fails on parameters that are passed to parts
        with (
            torch.no_grad(),
            FlopCounterMode(display=False) as counter,
            PeakBytes(module) as memory,
        ):
            for tensor in tree_leaves(inputs):
                memory.hold(tensor)
            module(*inputs)
        for parameter in trained:
            parameter.requires_grad_(True)
        kept = _kept_bytes(module, sample.inputs(2, device)) // 2
    except (RuntimeError, TypeError, ValueError) as error:
        if fault := own_fault(error):
            raise RunError(fault) from error
        raise ConfigError(f"{config.spec.title} does not take {sample.subject}: {error}") from None
    counts = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    root = type(module).__name__
    state = module.state_dict().values()
    return Cost(
        config=config,
        subject=sample.subject,
        steps=sample.steps,
        clip=sample.clip,
        parts=tuple(
            Part(name, _num_parameters(part), _flops(f"{root}.{name}", part, counts) // 2)
            for name, part in _parts(module)
        ),
        parameters=_num_parameters(module),
        weights_bytes=sum(each.numel() * each.element_size() for each in state),
        macs=counter.get_total_flops() // 2,
        inference_bytes=memory.peak,
        training_bytes=kept,
    )


@dataclass(frozen=True)
class _Sample:
    """Made-up input of the size a model is configured for."""

    subject: str
    steps: int
    clip: tuple[int, ...] = ()
    dims: tuple[int, ...] = ()
    """Dimensions of the feature streams."""
    sequence: tuple[int, ...] = ()
    """Shape of the input of models of whole videos, or of proposals."""
    told: tuple[tuple[int, ...], ...] = ()
    """Shapes of the inputs of models of sentences: the features, the sentence."""

    @classmethod
    def of(cls, config: RunConfig) -> _Sample:
        task, model = config.spec.task, config.model
        match task:
            case Classification():
                shape = task.clip_shape(model)
                side = int(config.data.crop_size)
                clip = (shape.num_steps, 3 * shape.frames_per_step, side, side)
                size = "x".join(map(str, clip))
                subject = f"one clip of {size} (frames, channels, height, width)"
                return cls(subject, shape.num_steps, clip=clip)
            case Tagging():
                shape = task.feature_shape(model)
                steps = shape.num_frames or config.data.max_frames or 300
                dims = tuple(stream.dim for stream in shape.streams)
                named = ", ".join(f"{stream.name} {stream.dim}" for stream in shape.streams)
                return cls(f"{counted(steps, 'frame')} of features ({named})", steps, dims=dims)
            case Localisation():
                shape = task.sequence_shape(model)
                size = shape.feature_dim, shape.num_steps
                subject = f"a video of {size[1]} steps of features ({size[0]} numbers each)"
                return cls(subject, shape.num_steps, sequence=size)
            case ProposalScoring():
                size = config.data.max_proposals, model.feature_dim
                subject = f"{size[0]} proposals of a video ({size[1]} numbers each)"
                return cls(subject, size[0], sequence=size)
            case Captioning():
                dim = model.feature_dim
                subject = f"an event of {_EVENT} vectors ({dim} numbers each), {_WORDS} words"
                return cls(subject, _EVENT, told=((_EVENT, dim), (_WORDS,)))
            case MomentRetrieval():
                dims = model.visual_dim, model.sentence_dim
                subject = f"one clip ({dims[0]} numbers) and one sentence ({dims[1]})"
                return cls(subject, 1, told=((dims[0],), (dims[1],)))

    def inputs(self, count: int, device: torch.device) -> tuple[Any, ...]:
        if self.told:
            seen = torch.zeros(count, *self.told[0], device=device)
            if len(self.told[0]) == 1:
                return seen, torch.zeros(count, *self.told[1], device=device)
            words = torch.zeros(count, *self.told[1], dtype=torch.int64, device=device)
            return seen, torch.full((count,), self.steps, device=device), words
        if self.clip:
            return (torch.zeros(count, *self.clip, device=device),)
        if self.sequence:
            return (torch.zeros(count, *self.sequence, device=device),)
        streams = [torch.zeros(count, self.steps, dim, device=device) for dim in self.dims]
        return streams, torch.full((count,), self.steps, device=device)


def _num_parameters(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def _parts(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The parts of a network that hold parameters; large parts are divided again."""
    total = _num_parameters(module)

    def opened(name: str, part: nn.Module) -> list[tuple[str, nn.Module]]:
        is_large = _num_parameters(part) > _SHARE_TO_OPEN * total
        inner = list(part.named_children())
        if not is_large or not inner or isinstance(part, nn.Sequential):
            return [(name, part)]
        return [each for key, below in inner for each in opened(f"{name}.{key}", below)]

    found = [each for key, part in module.named_children() for each in opened(key, part)]
    return [(name, part) for name, part in found if _num_parameters(part)]


def _flops(name: str, part: nn.Module, counts: Mapping[str, int]) -> int:
    """The MACs counted under the name of a part; module lists are never called and have none."""
    if name in counts:
        return counts[name]
    return sum(_flops(f"{name}.{key}", below, counts) for key, below in part.named_children())


class PeakBytes(TorchDispatchMode):
    """Follows the buffers of all tensors made while active: the most bytes alive at once.

    Args:
        module: Its parameters and buffers are not counted.
    """

    def __init__(self, module: nn.Module | None = None) -> None:
        super().__init__()
        own = module.state_dict(keep_vars=True).values() if module is not None else ()
        self._own = {each.untyped_storage()._cdata for each in own}
        self.peak = 0
        self._now = 0
        self._known: set[int] = set()

    def hold(self, tensor: Tensor) -> None:
        """Count the buffer of a tensor while it is alive."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known or key in self._own:
            return
        self._known.add(key)
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._let_go, key, size)

    def _let_go(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.hold(leaf)
        return out


def _kept_bytes(module: nn.Module, inputs: tuple[Any, ...]) -> int:
    """Bytes that a training step keeps between forward and backward; parameters not counted."""
    own = {each.untyped_storage()._cdata for each in module.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage  # kept alive, so that its id stays unique
        return tensor

    module.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = module(*inputs)
    module.eval()
    del logits
    return sum(storage.nbytes() for storage in kept.values())


def time_model(config: RunConfig, *, device: Device = "auto") -> Timing:
    """Measure a forward pass: the median over about two seconds of passes.

    Args:
        config: The model, and the size of its input.
        device: The device to measure on.

    Raises:
        RunError: The device does not exist.
    """
    from videozoo.engine.devices import make_accelerator, use_channels_last  # slow to import

    place = make_accelerator(device=device, precision="fp32").device
    module = build(config).to(place).eval()
    use_channels_last(module)
    inputs = _Sample.of(config).inputs(1, place)
    times: list[float] = []
    with torch.inference_mode():
        module(*inputs)  # the first pass also sets things up
        while len(times) < 5 or (sum(times) < 2 and len(times) < 50):
            _wait(place)
            started = time.perf_counter()
            module(*inputs)
            _wait(place)
            times.append(time.perf_counter() - started)
    low, middle, high = (1000 * each for each in statistics.quantiles(times, n=4))
    threads = f", {torch.get_num_threads()} threads" if place.type == "cpu" else ""
    return Timing(middle, (low, high), len(times), f"{place}{threads}")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def settings_of(config: RunConfig) -> list[Setting]:
    """The keys of the `model:` section, with their meaning."""
    kind: type[Settings] = type(config.model)
    found: list[Setting] = []
    for key, field in kind.model_fields.items():
        default = "" if field.default is PydanticUndefined else str(field.default)
        text = " ".join((field.description or "").split())
        found.append(Setting(key, default, str(getattr(config.model, key)), text))
    return found


def published_weights(name: str) -> list[Published]:
    """The published files that a model can use."""
    return [each for each in PUBLISHED if name in each.models]


# --- for the terminal ----------------------------------------------------------------------------


def show(cost: Cost, console: Console) -> None:
    """Print everything about a model."""
    config = cost.config
    console.print(plain(model_summary(config.name)), style="bold", soft_wrap=True)
    console.print(plain(f"{cost.subject}, 32 bit"), soft_wrap=True)
    console.print()
    console.print(_cost_table(cost))
    console.print(_part_table(cost))
    console.print(_setting_table(config))
    published = published_weights(config.name)
    for each in published:
        what = "trained" if each.kind == "weights" else "to start from"
        facts = ", ".join(part for part in (what, each.score, each.note) if part)
        console.print(plain(f"published: {each.name} ({facts})"), soft_wrap=True)
    if not published:
        console.print("published weights: none")


def _cost_table(cost: Cost) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    steps = f"{counted(cost.steps, 'step')} of {cost.macs / cost.steps / 1e9:.3g}"
    rows = [
        ("parameters", f"{cost.parameters / 1e6:.2f} M"),
        ("weights file", f"about {_megabytes(cost.weights_bytes)}"),
        ("multiplications", f"{cost.macs / 1e9:.2f} GMAC ({steps})"),
        ("the same as FLOPs", f"{cost.flops / 1e9:.2f} GFLOP (product and sum count apart)"),
        ("memory to predict", f"{_megabytes(cost.inference_bytes)} and the weights"),
        (
            "memory to train",
            f"{_megabytes(cost.training_bytes)} per video, kept for the backward pass",
        ),
    ]
    if cost.timing is not None:
        low, high = cost.timing.quartiles
        rows.append(
            (
                "time here",
                f"{cost.timing.milliseconds:.1f} ms (quartiles {low:.1f} to {high:.1f}, "
                f"{cost.timing.runs} runs, {cost.timing.device})",
            )
        )
    for name, value in rows:
        table.add_row(name, value)
    table.caption = (
        "Memory is computed from the buffers of a forward pass; libraries take some more."
    )
    table.caption_justify = "left"
    return table


def _part_table(cost: Cost) -> Table:
    table = Table(title="Parts", title_justify="left")
    table.add_column("part", overflow="fold")
    for name in ("parameters", "GMAC", "share"):
        table.add_column(name, justify="right")
    for part in cost.parts:
        share = percent(part.macs / cost.macs) if cost.macs else "-"
        table.add_row(part.name, f"{part.parameters:,}", f"{part.macs / 1e9:.3f}", share)
    return table


def _setting_table(config: RunConfig) -> Table:
    table = Table(
        title="Settings: model.KEY in a file, --set model.KEY=VALUE", title_justify="left"
    )
    table.add_column("key", style="bold", no_wrap=True)
    table.add_column("value", overflow="fold", max_width=36)
    table.add_column("what it is")
    for each in settings_of(config):
        value = each.value if each.value == each.default else f"{each.value} (not {each.default})"
        table.add_row(each.key, plain(value), plain(each.help))
    return table


def _megabytes(count: int) -> str:
    """Bytes as people read them.

    >>> _megabytes(94_000_000), _megabytes(12_000)
    ('94 MB', '0.012 MB')
    """
    return f"{count / 1e6:.0f} MB" if count >= 10_000_000 else f"{count / 1e6:.2g} MB"
