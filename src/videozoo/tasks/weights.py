"""Show what is in weights files of every kind, and convert between kinds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
import yaml
from torch import Tensor

from videozoo.config import RunConfig, from_layers, override_layers
from videozoo.engine.devices import keep_random_state
from videozoo.errors import ConfigError, UsageError, WeightsError, counted, few
from videozoo.models import list_models, model_name, model_spec
from videozoo.safe_names import shown
from videozoo.tasks.building import outline
from videozoo.tasks.common import configured_class_names, without_absent_names
from videozoo.tasks.loading import (
    Trained,
    build_trained,
    config_for_weights,
    paddle_arrays,
    paddle_names,
    resolve_weights,
    save_trained,
)
from videozoo.tasks.requests import ConfigSource
from videozoo.tasks.starting import class_parameters
from videozoo.types import Classification
from videozoo.weights import registry
from videozoo.weights.exported import exported_kind, read_description
from videozoo.weights.files import read_metadata, read_weights, sha256_of
from videozoo.weights.fit import as_paddle
from videozoo.weights.kinds import sniff
from videozoo.weights.paddle import read_paddle, read_records, write_pdparams
from videozoo.weights.torchvision import recognise
from videozoo.weights.whole_files import written_aside

_KINDS = {
    "safetensors": "safetensors",
    "torch": "PyTorch state dict",
    "paddle-pickle": "PaddlePaddle parameters (.pdparams)",
    "paddle-folder": "PaddlePaddle parameters, a folder with one file each",
    "paddle-combined": "PaddlePaddle parameters in one file, without names",
}
_FIRST, _LAST = 8, 3
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class _Content:
    kind: str
    tensors: Mapping[str, tuple[tuple[int, ...], str]]
    """Name -> shape and element type."""
    looks_like: str = ""


def show(text: str, *, all_tensors: bool = False) -> str:
    """Describe weights: their model, their tensors, and what is stored with them.

    Args:
        text: As for --weights.
        all_tensors: List every tensor, not only the first and last few.

    Raises:
        WeightsError: The weights cannot be found or read.
    """
    path = resolve_weights(text)
    lines = [f"{path}"]
    if (graph := exported_kind(path)) is not None:
        about = read_description(path, graph)
        lines += [f"kind     exported graph ({graph})"]
        lines += _described(about.model_dump())
        return _printable([*lines, f"sha256   {sha256_of(path)}"])
    content = _content(path)
    metadata = _metadata_of(path)
    written = f", written by videozoo {metadata['videozoo']}" if "videozoo" in metadata else ""
    lines.append(f"kind     {content.kind}{written}")
    if metadata:
        lines += _described(metadata)
    elif content.looks_like:
        lines.append(f"content  {content.looks_like}")
    numbers = sum(int(np.prod(shape, dtype=np.int64)) for shape, _ in content.tensors.values())
    lines.append(f"size     {numbers / 1e6:.2f} M numbers in {len(content.tensors)} tensors")
    if path.is_file():
        lines.append(f"sha256   {sha256_of(path)}")
    return _printable([*lines, *_table(content.tensors, all_tensors)])


def convert(text: str, out: Path, *, source: ConfigSource, overwrite: bool = False) -> str:
    """Write weights of any kind as our `.safetensors`, or as `.pdparams` of the 2019 library.

    The file is read back and compared bit for bit before it gets its name.

    Args:
        text: As for --weights.
        out: NAME.safetensors or NAME.pdparams.
        source: The configuration, if the weights hold none: a file, or the name of a model.
        overwrite: Replace an existing file `out`.

    Returns:
        One line that says what was written.

    Raises:
        WeightsError: The weights cannot be read, do not fit, or `out` exists.
        ConfigError: It is not known which model the weights belong to.
        UsageError: `out` has another file ending.
    """
    if out.suffix not in (".safetensors", ".pdparams"):
        raise UsageError(f"{out}: expected NAME.safetensors or NAME.pdparams")
    path = resolve_weights(text)
    if out.exists() and (not overwrite or out.resolve() == path.resolve()):
        raise WeightsError(f"{out}: is there already; pass another name, or --overwrite")
    trained = _with_config(text, path, source)
    config = trained.config
    module = build_trained(trained)
    state = module.state_dict()
    names = paddle_names(config, out) if out.suffix == ".pdparams" else {}
    with written_aside(out) as aside:
        if out.suffix == ".pdparams":
            write_pdparams(aside, as_paddle(state, names))
        else:
            names_kept, origin = _names(trained), _origin(path)
            save_trained(aside, module, config, names_kept, origin, measured=trained.measured)
        again = build_trained(replace(trained, path=aside)).state_dict()
        _compare(out, state, again)
    classes = getattr(config.model, "num_classes", None)
    of = f"{config.name}, {counted(classes, 'class')}" if classes else config.name
    return f"{out}: {of}, {counted(len(state), 'tensor')}; read back, bit for bit the same"


def guess_models(names: Collection[str]) -> list[tuple[str, dict[str, Any]]]:
    """Find the models with exactly these tensors, by our names or PaddlePaddle's.

    Returns:
        Models, each with its settings (the depth).
    """
    wanted = {name for name in names if not name.endswith(_COUNTER)}
    found: list[tuple[str, dict[str, Any]]] = []
    for model in list_models():
        found += [(model, settings) for settings, *both in _variants(model) if wanted in both]
    return found


def _variants(model: str) -> Iterator[tuple[dict[str, Any], set[str], set[str]]]:
    """Tensor names for each depth of a model: ours, and those of the 2019 library if it has any."""
    spec = model_spec(model)
    field = spec.settings.model_fields.get("depth")
    depths = get_args(field.annotation) if field is not None else ()
    for changes in [{"depth": depth} for depth in depths] or [{}]:
        settings = spec.settings(**changes)
        if spec.paddle is None:
            with torch.device("meta"), keep_random_state():  # names only
                state = spec.build(settings).state_dict()
            yield changes, {name for name in state if not name.endswith(_COUNTER)}, set()
        else:
            places = spec.paddle.names(settings)
            yield changes, set(places), {place.name for place in places.values()}


def _content(path: Path) -> _Content:
    kind = sniff(path)
    if kind == "paddle-combined":
        records = read_records(path)
        tensors = {f"number {i + 1}": _shape(array) for i, array in enumerate(records)}
        return _Content(_KINDS[kind], tensors, "pass --config to `weights convert` for the names")
    if kind.startswith("paddle"):
        arrays = read_paddle(path)
        tensors = {name: _shape(array) for name, array in arrays.items()}
        return _Content(_KINDS[kind], tensors, _as_models(arrays))
    state, _ = read_weights(path)
    tensors = {name: _shape(tensor) for name, tensor in state.items()}
    if (net := recognise(state)) is not None:
        classes = f", {counted(net.num_classes, 'class')}" if net.num_classes else ", no classifier"
        return _Content(_KINDS[kind], tensors, f"torchvision {net.title}{classes} (for --pretrain)")
    return _Content(_KINDS[kind], tensors, _as_models(state))


def _as_models(names: Collection[str]) -> str:
    models = [
        f"{model}{''.join(f', {key} {value}' for key, value in settings.items())}"
        for model, settings in guess_models(names)
    ]
    return f"the tensors of {' or '.join(models)}" if models else "of no model that videozoo knows"


def _described(metadata: Mapping[str, Any]) -> Iterator[str]:
    """What is stored with the weights, one line per field."""
    model = metadata.get("model")
    config: Any = metadata.get("config") or {}
    classes = config.get("model", {}).get("num_classes") if isinstance(config, dict) else None
    named = metadata.get("class_names") or []
    some = f": {few(named)}" if named else ""
    if model:
        yield f"model    {model}" + (f", {counted(classes, 'class')}{some}" if classes else "")
    for section, values in config.items() if isinstance(config, dict) else ():
        shown = yaml.safe_dump(values, default_flow_style=True, width=10_000, sort_keys=False)
        yield f"{section:<8} {shown.strip()}"
    known = {"videozoo", "model", "config", "class_names", "vocabulary"}
    for key, value in metadata.items():
        if key not in known and value:
            yield f"{key:<8} {value}"


def _table(tensors: Mapping[str, tuple[tuple[int, ...], str]], everything: bool) -> list[str]:
    rows = [(name, kind, str(shape)) for name, (shape, kind) in tensors.items()]
    left_out = len(rows) - _FIRST - _LAST
    if not everything and left_out > 1:
        rows = [*rows[:_FIRST], (f"... {left_out} more (--all)", "", ""), *rows[-_LAST:]]
    width = max((len(name) for name, _, _ in rows), default=0)
    return [f"  {name:<{width}}  {kind:<8} {shape}".rstrip() for name, kind, shape in rows]


def _with_config(text: str, path: Path, source: ConfigSource) -> Trained:
    """The given configuration, else the stored one, else the model's defaults fitted to a file."""
    if exported_kind(path) is not None:
        raise WeightsError(f"{path}: an exported graph; convert the weights it was made from")
    if source.path is not None or _metadata_of(path).get("config"):
        return config_for_weights(source, str(path))
    published = registry.is_name(text)
    named = source.model or (registry.find(text).models[0] if published else None)
    if named is None:
        known = _content(path).looks_like
        raise ConfigError(
            f"{path}: nothing says which model it is of ({known}); pass --config FILE or "
            "--model NAME"
        )
    name = model_name(named)
    layers, origins = override_layers(source.overrides, source.flags)
    start = from_layers([("--model", {"model": {"name": name}}), *layers], origins=origins)
    fitted = {"model": {"name": name, **_found_settings(path, start)}}
    return Trained(config=from_layers([("--model", fitted), *layers], origins=origins), path=path)


def _metadata_of(path: Path) -> dict[str, Any]:
    """See `read_metadata`; empty for folders."""
    return read_metadata(path) if path.is_file() else {}


def _found_settings(path: Path, start: RunConfig) -> dict[str, Any]:
    """Depth and number of classes, as far as the tensors show them."""
    is_paddle = sniff(path).startswith("paddle")
    arrays: Mapping[str, Any] = paddle_arrays(path, start) if is_paddle else read_weights(path)[0]
    found: dict[str, Any] = {}
    for model, settings in guess_models(arrays):
        if model == start.name:
            found |= settings
    if "num_classes" in type(start.model).model_fields:
        shapes = {name: tensor.shape for name, tensor in outline(start).state_dict().items()}
        rows = class_parameters(start)
        places = paddle_names(start, path) if is_paddle else {}
        for name, count in rows.items():
            theirs = places[name].name if is_paddle else name
            if len(shapes[name]) == 1 and theirs in arrays:
                found["num_classes"] = int(np.prod(arrays[theirs].shape)) // count
    return found


def _names(trained: Trained) -> list[str] | None:
    names = trained.vocabulary or trained.class_names
    if names or not isinstance(trained.config.spec.task, Classification):
        return list(names) if names else None
    return configured_class_names(without_absent_names(trained.config))


def _origin(path: Path) -> dict[str, Any]:
    facts = dict(_metadata_of(path).get("facts") or {})
    facts["converted_from"] = path.name
    if path.is_file():
        facts["converted_from_sha256"] = sha256_of(path)
    return facts


def _compare(out: Path, state: Mapping[str, Tensor], again: Mapping[str, Tensor]) -> None:
    for name, tensor in state.items():
        if not name.endswith(_COUNTER) and not torch.equal(tensor, again[name]):
            raise WeightsError(f"{out}: {name} was not read back as it was; nothing is kept")


def _shape(array: Any) -> tuple[tuple[int, ...], str]:
    return tuple(array.shape), str(array.dtype).removeprefix("torch.")


def _printable(lines: list[str]) -> str:
    """Text without control characters for the terminal: names come from files of others."""
    return "\n".join(map(shown, lines))
