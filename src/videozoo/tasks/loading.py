"""From what the user names as weights to a model that carries them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from videozoo import __version__
from videozoo.config import RunConfig, from_layers, load_config, override_layers
from videozoo.errors import ConfigError, WeightsError
from videozoo.tasks.requests import ConfigSource
from videozoo.weights.files import (
    find_weights,
    read_metadata,
    read_weights,
    save_weights,
    sniff,
)
from videozoo.weights.fit import fit_paddle, load_state
from videozoo.weights.paddle import read_paddle

_V1_NAME = re.compile(r"(?P<model>.+?)(_epoch(?P<epoch>\d+))?(\.pdparams)?$")


@dataclass(frozen=True)
class Trained:
    """A configuration and the file with the weights to run it with."""

    config: RunConfig
    path: Path
    class_names: tuple[str, ...] | None = None
    """As stored with the weights."""


def resolve_weights(text: str) -> Path:
    """Find the file that the user means.

    A run folder means its best weights, or the newest where nothing was compared. The names that
    the 2019 scripts gave (`DIR/STNET`, `DIR/STNET_epoch3`, with or without `.pdparams`) mean the
    same weights of the run in `DIR/STNET`.

    Raises:
        WeightsError: There are none.
    """
    path = Path(text)
    if (found := _in_run_folder(path)) is not None:
        return found
    if not path.exists():
        named = _V1_NAME.match(path.name)
        run = path.with_name(named["model"]) if named else path
        epoch = named["epoch"] if named else None
        if epoch is not None:  # 2019 counts epochs from 0
            weights = run / "weights" / f"epoch_{int(epoch) + 1}.safetensors"
            if weights.exists():
                return weights
        elif (found := _in_run_folder(run)) is not None:
            return found
    return find_weights(path)


def _in_run_folder(path: Path) -> Path | None:
    if not (path / "config.yaml").is_file():
        return None
    best = path / "best.safetensors"
    if best.exists():
        return best
    epochs = [
        (int(file.stem.removeprefix("epoch_")), file)
        for file in (path / "weights").glob("epoch_*.safetensors")
    ]
    if not epochs:
        raise WeightsError(f"{path}: a run that has not finished an epoch yet; it has no weights")
    return max(epochs)[1]


def config_for_weights(source: ConfigSource, weights: str) -> Trained:
    """Read the weights' description, and the configuration: the one given, else the stored one.

    Raises:
        WeightsError: There are no such weights, or they belong to another model.
        ConfigError: No configuration is given, and none is stored.
    """
    path = resolve_weights(weights)
    metadata = read_metadata(path)
    if source.path is None:
        config = _stored_config(metadata, source, path)
    else:
        config = load_config(
            source.path, model=source.model, overrides=source.overrides, flags=source.flags
        )
        made_for = metadata.get("model")
        if made_for is not None and made_for != config.name:
            raise WeightsError(
                f"{path}: made for model {made_for!r}, but {source.path} describes "
                f"{config.name!r}; pass the configuration they were trained with, or none"
            )
    names = metadata.get("class_names")
    return Trained(config=config, path=path, class_names=tuple(names) if names else None)


def _stored_config(metadata: Mapping[str, Any], source: ConfigSource, path: Path) -> RunConfig:
    stored = metadata.get("config")
    if not isinstance(stored, dict):
        raise ConfigError(
            f"{path}: holds no configuration; pass --config FILE, e.g. configs/tsm.yaml"
        )
    layers, origins = override_layers(source.overrides, source.flags)
    config = from_layers([(str(path), stored), *layers], origins=origins)
    return replace(config, origins=origins)


def build_trained(
    trained: Trained, config: RunConfig | None = None, *, drop: Sequence[str] = ()
) -> nn.Module:
    """Build the model and load its weights, from any of the formats.

    Args:
        trained: From `config_for_weights`.
        config: In place of that of `trained`.
        drop: Leading parts of parameter names that keep their fresh values.

    Raises:
        WeightsError: The weights do not fit; every mismatch is listed.
    """
    config = config or trained.config
    module = config.spec.build(config.model)
    if sniff(trained.path).startswith("paddle"):
        names = config.spec.paddle_names(config.model)
        arrays = read_paddle(trained.path, {place.name for place in names.values()})
        state = fit_paddle(arrays, names, module.state_dict())
        load_state(module, state, drop=drop, source=trained.path, names=names)
    else:
        state, _ = read_weights(trained.path)
        load_state(module, state, drop=drop, source=trained.path)
    return module


def initialise(
    module: nn.Module, config: RunConfig, weights: str, *, drop: Sequence[str] = ()
) -> str:
    """Start a new training from weights that may be another model's.

    PaddlePaddle weights go through the model's own rule (`ModelSpec.adapt_pretrained`): heads are
    left fresh, first convolutions or kernels inflated. Others must fit but for what `drop` names.

    Returns:
        One line that says what was taken.

    Raises:
        WeightsError: The weights are missing, do not fit, or nothing in them has a place.
    """
    path = resolve_weights(weights)
    if not sniff(path).startswith("paddle"):
        state, metadata = read_weights(path)
        made_for = metadata.get("model", config.name)
        if made_for != config.name:
            raise WeightsError(f"{path}: made for model {made_for!r}, this is {config.name!r}")
        report = load_state(module, state, drop=drop, source=path)
        return f"starting from {path}: {report.describe()}"
    names = config.spec.paddle_names(config.model)
    arrays = read_paddle(path, {place.name for place in names.values()})
    floats = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    adapted = config.spec.adapt_pretrained(config.model, floats)
    wanted = {place.name for place in names.values()}
    state = fit_paddle(
        {name: array for name, array in adapted.items() if name in wanted},
        names,
        module.state_dict(),
    )
    if not state:
        some = ", ".join(list(arrays)[:4])
        raise WeightsError(
            f"{path}: none of its {len(arrays)} parameters ({some}, ...) has a place in "
            f"{config.name}; expected a ResNet of depth {getattr(config.model, 'depth', '?')}"
        )
    report = load_state(module, state, drop=drop, strict=False, source=path, names=names)
    return f"starting from {path}: {report.describe()}"


def save_trained(
    path: Path,
    module: nn.Module,
    config: RunConfig,
    class_names: Sequence[str] | None,
    facts: Mapping[str, Any],
) -> None:
    """Write the weights with everything that is needed to use them.

    Args:
        path: The `.safetensors` file.
        module: Not wrapped.
        config: Stored whole: model, preprocessing, views.
        class_names: In order of their numbers.
        facts: Epoch, step, metrics.
    """
    save_weights(
        path,
        module.state_dict(),
        {
            "videozoo": __version__,
            "model": config.name,
            "config": config.as_dict(),
            "class_names": list(class_names) if class_names else None,
            "facts": dict(facts),
        },
    )
