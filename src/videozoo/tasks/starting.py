"""What a training starts from: fresh weights, weights of the same model, or an image network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from videozoo import resnet_names
from videozoo.config import RunConfig
from videozoo.engine.devices import keep_random_state
from videozoo.errors import WeightsError, counted, few
from videozoo.models import same_model
from videozoo.tasks.loading import (
    default_weights,
    paddle_arrays,
    paddle_names,
    resolve_weights,
    stored_names,
)
from videozoo.tasks.requests import TrainRequest
from videozoo.types import FloatArray, PaddleName, ResNetStart
from videozoo.weights.exported import exported_kind
from videozoo.weights.files import read_weights
from videozoo.weights.fit import classifier_of_others, fit_paddle, load_state
from videozoo.weights.kinds import sniff
from videozoo.weights.paddle import read_paddle
from videozoo.weights.torchvision import ImageNet, recognise, to_our_names

_T = TypeVar("_T")
FRESH, DEFAULT = "none", "default"
"""Values of --pretrain that name no file: fresh weights; the start of the 2019 library."""


def start(
    module: nn.Module,
    config: RunConfig,
    request: TrainRequest,
    *,
    say: Callable[[str], None],
    names: Sequence[str] | None = None,
) -> None:
    """Give a new training the weights it was asked to start from; a resumed one has its own.

    Args:
        module: Changed in place.
        config: The configuration of the run.
        request: The options of the command.
        say: Prints what was loaded.
        names: Names of the classes (or words) of the run, if known.

    Raises:
        WeightsError: The weights cannot be found or do not fit, and the request requires them.
    """
    pretrain = request.pretrain
    if request.resume or pretrain in (None, FRESH):
        return
    if not request.pretrain_or_fresh:
        say(initialise(module, config, pretrain, drop=request.drop, names=names))
        return
    if misfit := _default_misfit(config):
        say(f"note: {misfit}; starting from fresh weights")
        return
    try:
        path = default_weights(config.name, "pretrain")
    except WeightsError as error:
        said = str(error).replace("\n", "\n  ")
        say(
            f"WARNING: {said}\n  the 2019 library started this training from them; this one starts "
            "from FRESH weights. Pass --pretrain=FILE, or --pretrain=none to start fresh on purpose"
        )
        return
    say(initialise(module, config, str(path), drop=request.drop))


def initialise(
    module: nn.Module,
    config: RunConfig,
    weights: str,
    *,
    drop: Sequence[str] = (),
    names: Sequence[str] | None = None,
) -> str:
    """Start a new training from weights that may be another model's.

    - weights of videozoo, same model: all of them. If the classes differ, the classifier takes the
      rows of classes whose names are known on both sides; without names, none.
    - a ResNet with torchvision's names, or PaddlePaddle parameters: by the model's own rule
      (`ResNetStart.adapt`): heads stay fresh, first convolutions or kernels are inflated.

    Args:
        module: Changed in place.
        config: The configuration of the run.
        weights: As the user named them; "default": the start of the 2019 library.
        drop: Leading parts of parameter names that keep their fresh values.
        names: Of the run's classes (or words), as far as they are known.

    Returns:
        One line that says what was loaded.

    Raises:
        WeightsError: The weights are missing or do not fit, or no tensor has a place in the model.
    """
    path = default_weights(config.name, "pretrain") if weights == DEFAULT else None
    path = path or resolve_weights(weights)
    if exported_kind(path) is not None:
        raise WeightsError(
            f"{path}: an exported graph answers and cannot learn; start from the weights that it "
            "was made from"
        )
    if sniff(path).startswith("paddle"):
        return _from_paddle(module, config, drop, path)
    state, metadata = read_weights(path)
    if (net := recognise(state)) is not None:
        return _from_image_net(module, config, state, net, drop, path)
    made_for = metadata.get("model", config.name)
    if not same_model(made_for, config.name):
        raise WeightsError(f"{path}: made for model {made_for!r}, this is {config.name!r}")
    theirs = stored_names(metadata, config)
    if names and theirs and theirs != list(names):
        by_name = _rows_by_name(module, config, state, theirs, names)
        if by_name is not None and not all(_starts_with(name, drop) for name in by_name.rows):
            report = load_state(module, {**state, **by_name.rows}, drop=drop, source=path)
            return _line(path, f"{report.describe()}; {by_name.describe()}")
    line = _from_same_model(module, state, drop, path)
    if bool(names) != bool(theirs) and "fresh" not in line:
        line += "; assuming the same classes in the same order: only one side names them"
    return line


@dataclass(frozen=True)
class _ByName:
    """Classes of the run that were found by name in a weights file."""

    rows: Mapping[str, Tensor]
    """The parameters that have one row (or block of rows) per class."""
    taken: Sequence[str]
    fresh: Sequence[str]

    def describe(self) -> str:
        fresh = f"; fresh: {few(self.fresh)}" if self.fresh else ""
        total = len(self.taken) + len(self.fresh)
        return f"classes by name: {len(self.taken)} of {total} taken{fresh}"


def _rows_by_name(
    module: nn.Module,
    config: RunConfig,
    state: Mapping[str, Tensor],
    theirs: Sequence[str],
    ours: Sequence[str],
) -> _ByName | None:
    """Copy the classifier rows of a file to the classes of the run with the same names.

    Rows before the first class, e.g. for the background, are copied unchanged.

    Returns:
        None if the parameters do not match the number of names.
    """
    fresh = module.state_dict()
    blocks = class_parameters(config)
    places = {name: place for place, name in reversed(list(enumerate(theirs)))}
    rows: dict[str, Tensor] = {}
    for name, count in blocks.items():
        if name not in state:
            return None
        there, here = (_in_blocks(of[name], count) for of in (state, fresh))
        leading = here.shape[1] - len(ours)
        shapes_fit = there.shape[0] == here.shape[0] and there.shape[2:] == here.shape[2:]
        if not shapes_fit or leading < 0 or there.shape[1] - len(theirs) != leading:
            return None
        mapped = here.clone()
        mapped[:, :leading] = there[:, :leading]
        for place, word in enumerate(ours):
            if word in places:
                mapped[:, leading + place] = there[:, leading + places[word]]
        rows[name] = mapped.flatten(0, 1)
    if not rows:
        return None
    taken = [name for name in ours if name in places]
    return _ByName(rows, taken, [name for name in ours if name not in places])


def class_parameters(config: RunConfig) -> dict[str, int]:
    """Parameters with rows for classes (or words) -> number of rows per class."""
    found = (_sized_by(config, field) for field in ("num_classes", "vocabulary_size"))
    sizes = next((each for each in found if each), {})
    return {name: large[0] - small[0] for name, (small, large) in sizes.items()}


def _sized_by(config: RunConfig, field: str) -> dict[str, tuple[torch.Size, torch.Size]]:
    """Tensors whose shape depends on a setting: their shape now, and with the setting plus one."""
    if field not in type(config.model).model_fields:
        return {}
    more = config.model.model_copy(update={field: getattr(config.model, field) + 1})
    with torch.device("meta"), keep_random_state():  # shapes only
        small, large = (config.spec.build(one).state_dict() for one in (config.model, more))
    return {
        name: (tensor.shape, large[name].shape)
        for name, tensor in small.items()
        if large[name].shape != tensor.shape
    }


def _in_blocks(tensor: Tensor, count: int) -> Tensor:
    """(count * classes, ...) -> (count, classes, ...)."""
    if tensor.shape[0] % count:
        return tensor[None]  # from another model; the comparison of shapes will report it
    return tensor.unflatten(0, (count, -1))


def _starts_with(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _from_same_model(
    module: nn.Module, state: Mapping[str, Tensor], drop: Sequence[str], path: Path
) -> str:
    classifier = classifier_of_others(module.state_dict(), state)
    if classifier is None or classifier in drop:
        return _line(path, load_state(module, state, drop=drop, source=path).describe())
    there, here = (
        next(values.shape[0] for name, values in of.items() if name.startswith(f"{classifier}."))
        for of in (state, module.state_dict())
    )
    report = load_state(module, state, drop=(*drop, classifier), source=path)
    reason = f"its {there} classes are not this run's {here}, so {classifier} starts fresh"
    return _line(path, f"{report.describe()}; {reason}")


def _from_image_net(
    module: nn.Module,
    config: RunConfig,
    state: Mapping[str, Tensor],
    net: ImageNet,
    drop: Sequence[str],
    path: Path,
) -> str:
    """Start from a ResNet with torchvision's names."""
    resnet = config.spec.resnet
    if resnet is None:
        raise WeightsError(
            f"{path}: a torchvision {net.title}, and {config.spec.title} has no ResNet inside"
        )
    wanted = resnet.depth(config.model)
    if wanted != net.depth:
        raise WeightsError(
            f"{path}: a torchvision {net.title}, of depth {net.depth}, and this run's model.depth "
            f"is {wanted}; pass a ResNet-{wanted}, or --set model.depth={net.depth}"
        )
    arrays = _within(resnet, to_our_names(state, net, source=path))
    names = _within(resnet, resnet_names.torchvision_names(net.depth))
    adapted = resnet.adapt(config.model, arrays)
    return _load(module, adapted, names, drop, path, f" (torchvision {net.title})")


def _from_paddle(module: nn.Module, config: RunConfig, drop: Sequence[str], path: Path) -> str:
    """Start from PaddlePaddle parameters: of the same model, of a similar one, or of a ResNet."""
    resnet, own = config.spec.resnet, dict[str, PaddleName]()
    places = dict[str, PaddleName]()
    if resnet is not None:
        places |= _within(resnet, resnet_names.paddle_names(resnet.depth(config.model)))
    if config.spec.paddle is not None or resnet is None:
        own = dict(paddle_names(config, path))
        places |= own
    arrays = paddle_arrays(path, config) if own else read_paddle(path)
    state = fit_paddle(arrays, places, module.state_dict())
    found = {key: np.asarray(state[key], np.float32) for key in places if key in state}
    adapted = _adapted(module, config, found)
    if own and _is_same_model(module, {key: state[key] for key in own if key in state}, own):
        last = list(own)[-1].rpartition(".")[0]  # then only its classifier has to go
        kept = {key for key in found if key in adapted or not _starts_with(key, (last,))}
        adapted = {key: found[key] for key in kept}
    if not adapted:
        some = ", ".join(list(arrays)[:4])
        expected = f"; expected a ResNet of depth {resnet.depth(config.model)}" if resnet else ""
        raise WeightsError(
            f"{path}: none of its {counted(len(arrays), 'parameter')} ({some}, ...) has a place in "
            f"{config.name}{expected}"
        )
    names = {ours: place.name for ours, place in places.items()}
    return _load(module, adapted, names, drop, path)


def _within(resnet: ResNetStart, of_resnet: Mapping[str, _T]) -> dict[str, _T]:
    """Rename tensors from keys of the inner ResNet to keys of the whole module."""
    return {f"{resnet.part}.{key}".lstrip("."): value for key, value in of_resnet.items()}


def _adapted(
    module: nn.Module, config: RunConfig, arrays: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """Arrays by our names, adapted as a start for the model."""
    if config.spec.resnet is not None:
        return config.spec.resnet.adapt(config.model, arrays)
    sized = set[str]().union(*(_sized_by(config, key) for key in config.spec.start_sizes))
    state = module.state_dict()
    return {
        key: array
        for key, array in arrays.items()
        if key not in sized or array.shape == tuple(state[key].shape)
    }


def _load(
    module: nn.Module,
    arrays: Mapping[str, FloatArray],
    names: Mapping[str, str],
    drop: Sequence[str],
    path: Path,
    kind: str = "",
) -> str:
    state = {
        key: torch.from_numpy(np.ascontiguousarray(arrays[key]))
        for key in module.state_dict()
        if key in arrays
    }
    report = load_state(module, state, drop=drop, strict=False, source=path, names=names)
    return _line(path, report.describe(), kind)


def _is_same_model(module: nn.Module, state: Mapping[str, Tensor], names: Collection[str]) -> bool:
    """Whether the file holds this whole model, except that its classifier has other classes."""
    if len(state) < len(names):
        return False
    ours = {key: value for key, value in module.state_dict().items() if key in names}
    misshapen = [name for name in ours if state[name].shape != ours[name].shape]
    return not misshapen or classifier_of_others(ours, state) is not None


def _default_misfit(config: RunConfig) -> str:
    """Why the start of the 2019 library cannot fit this architecture; empty if it can."""
    resnet = config.spec.resnet
    if resnet is None:
        return f"nothing to start {config.name} from was published"
    depth, width = resnet.depth(config.model), resnet.width(config.model)
    if (depth, width) != (50, 1.0):
        return f"pretrained weights were published for depth 50 only, this is {depth} x {width:g}"
    return ""


def _line(path: Path, said: str, kind: str = "") -> str:
    return f"starting from {path}{kind}: {said}"
