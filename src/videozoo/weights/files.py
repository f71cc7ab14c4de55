"""Weights files: ours (safetensors with a description in the header) and other formats."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from videozoo.errors import WeightsError, brief
from videozoo.safe_json import parse_json
from videozoo.safe_pickle import DamagedError, ForbiddenError, RefusedError
from videozoo.safe_tensors import READING_ERRORS
from videozoo.safe_torch import read_torch_file
from videozoo.weights.kinds import find_weights, sniff
from videozoo.weights.whole_files import written_aside

_KEY = "videozoo"
_WRAPPED = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
"""What wrappers add to names, at any place in them."""
_PARALLEL = "module."
_AVERAGED = "n_averaged"
"""The counter of `torch.optim.swa_utils.AveragedModel`."""
_WRAPPERS = ("state_dict", "model", "model_state_dict", "model_state")


def save_weights(
    path: Path, module_state: Mapping[str, Tensor], metadata: Mapping[str, Any]
) -> None:
    """Write a weights file; an older one is replaced only by a complete new one.

    Args:
        path: The file, NAME.safetensors by custom.
        module_state: From `module.state_dict()`, on any device.
        metadata: Description of the weights, JSON values. Stored in the header under "videozoo".

    Raises:
        WeightsError: The file cannot be written.
    """
    tensors = {
        # clones, because safetensors refuses tensors that share memory
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in module_state.items()
    }
    header = {"format": "pt", _KEY: json.dumps(metadata)}
    with written_aside(path) as aside:
        save_file(tensors, aside, metadata=header)


def copy_described(path: Path, target: Path, metadata: Mapping[str, Any]) -> None:
    """Copy a weights file of this library with another description; its tensors stay as they are.

    Args:
        path: A safetensors file.
        target: The copy; a file there is replaced.
        metadata: As for `save_weights`.

    Raises:
        WeightsError: The file is damaged, or the copy cannot be written.
    """
    read_metadata(path)  # refuses a damaged header
    with written_aside(target) as aside, path.open("rb") as source, aside.open("wb") as copy:
        size = int.from_bytes(source.read(8), "little")
        header = cast("dict[str, Any]", parse_json(source.read(size)))
        header["__metadata__"] = {"format": "pt", _KEY: json.dumps(metadata)}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
        copy.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(source, copy, 1 << 20)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a weights file of this library, another safetensors file, or a torch state dict.

    Nothing in the file is run. Wrappers such as {"state_dict": ...} are removed, and from the names
    what PyTorch's own wrappers add: see `plain_names`.

    Returns:
        Name to tensor, on the CPU, and the metadata of `save_weights` (empty for other files).

    Raises:
        WeightsError: The file is missing, damaged, refused, or of another kind.
    """
    path = find_weights(path)
    kind = sniff(path)
    if kind == "safetensors":
        tensors, metadata = _read_safetensors(path)
        return (tensors if metadata else plain_names(tensors)), metadata
    if kind == "torch":
        return plain_names(_read_torch(path)), {}
    raise WeightsError(
        f"{path}: holds PaddlePaddle parameters, which carry other names; "
        "expected safetensors or a torch state dict"
    )


def plain_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a module by its own names, whatever it was wrapped in when it was saved.

    `torch.compile` puts `_orig_mod.` before the names of what it compiled, which may be a part;
    FSDP and activation checkpoints do the same with names of theirs. `DataParallel`,
    `DistributedDataParallel` and `AveragedModel` put `module.` before all names.

    >>> sorted(plain_names({"module._orig_mod.head.weight": torch.ones(1)}))
    ['head.weight']
    """
    plain = {_WRAPPED.sub("", name): tensor for name, tensor in tensors.items()}
    counted = [name for name in plain if name != _AVERAGED]
    if counted and all(name.startswith(_PARALLEL) for name in counted):
        return {name.removeprefix(_PARALLEL): plain[name] for name in counted}
    return plain


def read_metadata(path: Path) -> dict[str, Any]:
    """Read only the description of a weights file; empty if it has none.

    Raises:
        WeightsError: The file is missing or damaged.
    """
    path = find_weights(path)
    if sniff(path) != "safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
    except READING_ERRORS as error:
        raise _damaged(path, error) from None
    return _decode(path, header)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, or of the names and contents of all files in a folder."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        if file != path:
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as content:
            while block := content.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
            tensors = {name: cast(Tensor, file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except READING_ERRORS as error:
        raise _damaged(path, error) from None
    return tensors, _decode(path, header)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in cast(list[Any], value))


_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "videozoo": (lambda value: isinstance(value, str), "a version"),
    "model": (lambda value: isinstance(value, str), "a model's name"),
    "config": (
        lambda value: (
            isinstance(value, dict)
            and all(isinstance(section, dict) for section in cast(dict[str, Any], value).values())
        ),
        "sections of keys and values",
    ),
    "class_names": (_is_names, "a list of names"),
    "vocabulary": (_is_names, "a list of words"),
    "facts": (lambda value: isinstance(value, dict), "keys and values"),
    "features": (lambda value: isinstance(value, dict), "keys and values"),
}
"""Parts of the description that `save_weights` stores; each may be null or missing."""


def _decode(path: Path, header: Mapping[str, str] | None) -> dict[str, Any]:
    try:
        metadata = parse_json((header or {}).get(_KEY, "{}"))
    except ValueError as error:
        raise WeightsError(f"{path}: its description is damaged: {error}") from None
    if not isinstance(metadata, dict):
        raise WeightsError(f"{path}: its description is not a mapping; is it a videozoo file?")
    metadata = cast(dict[str, Any], metadata)
    for key, (is_right, expected) in _FORMS.items():
        value = metadata.get(key)
        if value is not None and not is_right(value):
            raise WeightsError(
                f"{path}: its description is damaged: {key} is {brief(value)}, expected {expected}"
            )
    return metadata


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        content = read_torch_file(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    except ForbiddenError as error:
        raise WeightsError(
            f"{path}: refused: this pickle asks to run {error}, and a weights file holds only "
            "tensors; if it is a whole checkpoint, save its state dict by itself"
        ) from None
    except (RefusedError, DamagedError) as error:
        raise WeightsError(
            f"{path}: refused or damaged ({error}); "
            "expected a torch state dict, with nothing in it but tensors"
        ) from None
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, expected a state dict")
    tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
    if not tensors:
        keys = ", ".join(map(str, list(content)[:5]))
        raise WeightsError(f"{path}: holds no tensors (keys: {keys}); expected a state dict")
    return tensors


def _damaged(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{path}: not a whole safetensors file ({error}); was it cut short?")
