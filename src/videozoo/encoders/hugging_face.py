"""Encoders in the form of Hugging Face transformers: a folder, or `hf://OWNER/NAME[@REVISION]`.

    encoder = open_hugging_face("hf://facebook/dinov2-small")
    encoder = open_hugging_face("models/videomae", pooling="mean", layer=-2)

Tried, each with random weights against the network called by hand: ViT, DINOv2 (with and without
registers), DINOv3 (ViT and ConvNeXt), CLIP, SigLIP, ResNet, ConvNeXt and ConvNeXt V2, which see
frames; VideoMAE, V-JEPA 2, TimeSformer and ViViT, which see windows of frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from videozoo.data.frames.preparation import Preparation
from videozoo.encoders._families import FAMILIES, Family, Pooling
from videozoo.encoders._processors import read_preparation
from videozoo.encoders._transformers import (
    check_tokens,
    import_transformers,
    load_network,
    make_config,
    model_type,
    need_transformers,
    used_tensors,
    whole_number,
)
from videozoo.encoders.base import Encoder, Window
from videozoo.engine.devices import use_channels_last
from videozoo.engine.settings import Precision
from videozoo.errors import UsageError, WeightsError, brief
from videozoo.weights.model_folder import CONFIG, ModelFolder, is_model_folder, tensors_sha256

_FRAMES_IN_BATCH = 512
_FRAMES_AT_ONCE = 128
"""Frames per pass through a network, so that long windows do not need more memory than images."""


def is_hugging_face(text: str) -> bool:
    """Whether a text names a model in the form of transformers: a folder with a `config.json`, or
    `hf://OWNER/NAME`."""
    return is_model_folder(text)


def open_hugging_face(
    text: str,
    *,
    pooling: str | None = None,
    layer: int | None = None,
    precision: Precision = "fp32",
) -> HuggingFaceEncoder:
    """Open an encoder of Hugging Face transformers.

    Args:
        text: A folder with `config.json`, `model.safetensors` (or shards with their index) and the
            JSON file of the preprocessor, or that `config.json`; or `hf://OWNER/NAME[@REVISION]`,
            which is fetched once.
        pooling: See `Pooling`; None: what suits the family.
        layer: None: the output of the network. Else the hidden state after so many blocks (stages,
            for convolutional networks), before the last norm: 0 is the embedding, -1 the last.
        precision: In which it computes. `bf16` is several times as fast on recent GPUs, and changes
            the vectors a little.

    Raises:
        ConfigError: The package transformers is not installed.
        WeightsError: There is no such model, it is of another kind or damaged, holds no
            safetensors, needs code of its own, or prepares frames in a way that is not known.
        UsageError: The model has no such pooling or layer.
    """
    if precision not in get_args(Precision):
        raise UsageError(
            f"{text}: precision {precision}: expected {' or '.join(get_args(Precision))}"
        )
    need_transformers(text)
    encoder = HuggingFaceEncoder(ModelFolder(text), pooling=pooling, layer=layer)
    if precision != "fp32":
        encoder.precision = precision
        encoder.options = {**encoder.options, "precision": precision}
    return encoder


class HuggingFaceEncoder(Encoder):
    """A network of transformers; see `open_hugging_face`."""

    def __init__(self, folder: ModelFolder, *, pooling: str | None, layer: int | None) -> None:
        """Load the network."""
        content = folder.json(CONFIG) or {}
        kind = model_type(folder, content, FAMILIES)
        family = FAMILIES[kind]
        transformers = import_transformers(folder.text)
        config, settings = make_config(
            transformers,
            family.config,
            _part_of(content, family, folder),
            folder,
            more=family.more,
        )
        if getattr(config, family.channels) != 3:
            raise WeightsError(
                f"{folder.text}: reads frames of {getattr(config, family.channels)} channels; "
                "expected 3, red, green and blue"
            )
        frames = 1 if family.frames is None else whole_number(config, family.frames, folder)
        preparation = read_preparation(
            folder, family=family.preprocessor, is_video=family.frames is not None
        )
        _check_sizes(config, family, preparation, frames, folder)
        # from here on the large files are needed
        names = [name for name in folder.tensors() if not _is_skipped(name, family)]
        self._family = family
        self._layer = _layer(layer, config, family, folder)
        self._pooling = _pooling(pooling, names, family, folder, has_layer=layer is not None)
        self._preparation = preparation
        self._first = family.classes + int(getattr(config, "num_register_tokens", 0))
        arguments = {}
        if family.needs and family.network in ("ViTModel", "VivitModel"):
            arguments["add_pooling_layer"] = self._pooling == "pooler"
        class_name = (family.networks or {}).get(self._pooling, family.network)
        if self._layer is not None:
            class_name = family.network
        network = load_network(
            transformers, class_name, config, folder, names, may_miss=family.may_miss, **arguments
        )
        _cut_off(network)
        self._network = network
        self._pixels: str = cast(Any, network).main_input_name
        self.title = family.title
        self.dim = _dim(config, family, self._pooling, self._layer)
        self.window = Window(
            num_steps=frames, seconds=family.seconds and round(family.seconds(frames), 2)
        )
        self.batch_size = max(1, min(16, _FRAMES_IN_BATCH // frames))
        self.reference = folder.reference
        self.files: Sequence[Path] = tuple(folder.files) if folder.is_local else ()
        chosen = {"pooling": pooling, "layer": layer}
        self.options = {key: value for key, value in chosen.items() if value is not None}
        self._computes: Precision = self.precision
        self._facts: dict[str, Any] = {
            "model": kind,
            "title": self.title,
            "settings": settings,
            "weights_sha256": tensors_sha256(used_tensors(network)),
            "layer": "output" if self._layer is None else f"hidden state {self._layer}",
            "pooling": self._pooling,
            "dim": self.dim,
            "frames_per_window": frames,
            "preparation": preparation.facts,
        }

    @property
    def facts(self) -> dict[str, Any]:
        """See `Encoder`."""
        return dict(self._facts)

    def prepare(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Encoder`."""
        return self._preparation.apply(frames)

    def encode(self, windows: Tensor) -> Tensor:
        """See `Encoder`.

        Raises:
            ValueError: The windows are not of the encoder's shape.
            WeightsError: The network gives vectors of another length than it says.
        """
        shape = (self.window.num_steps, 3, *cast("tuple[int, int]", self._preparation.shape))
        if tuple(windows.shape[1:]) != shape:
            raise ValueError(f"windows of {tuple(windows.shape[1:])}, expected {shape}")
        size = max(1, _FRAMES_AT_ONCE // self.window.num_steps)
        low = torch.bfloat16 if self._computes == "bf16" else torch.float16
        autocast = torch.autocast(windows.device.type, low, enabled=self._computes != "fp32")
        with torch.inference_mode(), autocast:
            parts = [self._vectors(part) for part in windows.split(size)]
        vectors = torch.cat(parts)
        if vectors.shape != (len(windows), self.dim):
            raise WeightsError(
                f"{self.reference}: gives vectors {tuple(vectors.shape)} for {len(windows)} "
                f"windows; expected {(len(windows), self.dim)}, as its config.json says"
            )
        return vectors

    def to(self, device: torch.device, precision: Precision) -> None:
        """See `Encoder`."""
        self._computes = precision
        self._network.to(device)
        if self._family.is_convolutional:
            use_channels_last(self._network)

    def _vectors(self, windows: Tensor) -> Tensor:
        pixels = self._preparation.normalize(windows)
        if self._family.frames is None:
            pixels = pixels.squeeze(1)
        if self._family.is_convolutional:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        arguments: dict[str, Any] = {self._pixels: pixels, **(self._family.arguments or {})}
        if self._pooling == "classifier":
            arguments.pop("skip_predictor", None)  # its class knows
        if self._layer is not None:
            arguments["output_hidden_states"] = True
        outputs = self._network(**arguments)
        return self._pooled(outputs).float()

    def _pooled(self, outputs: Any) -> Tensor:
        match self._pooling if self._layer is None else None:
            case "projection":
                return outputs.image_embeds
            case "pooler":
                return outputs.pooler_output.flatten(1)
            case "classifier":
                return outputs.logits  # of a network without its classifier
            case _:
                pass
        states = outputs.last_hidden_state
        if self._layer is not None:
            states = outputs.hidden_states[self._layer]
        if states.dim() == 4:
            return states.mean(dim=(2, 3))
        if self._pooling == "class":
            return states[:, 0]
        return states[:, self._first :].mean(dim=1)


def _part_of(content: Mapping[str, Any], family: Family, folder: ModelFolder) -> dict[str, Any]:
    """The configuration of the network that sees frames."""
    if family.part is None or family.part not in content:
        return dict(content)
    part = content[family.part]
    if not isinstance(part, dict):
        raise WeightsError(f"{folder.text}: config.json has no table {family.part}")
    part = cast("dict[str, Any]", part)
    if "projection_dim" in content:  # the outer one counts
        part = {**part, "projection_dim": content["projection_dim"]}
    return part


def _is_skipped(name: str, family: Family) -> bool:
    return name.startswith(family.skip) or name.endswith("mask_token")


def _check_sizes(
    config: Any, family: Family, preparation: Preparation, frames: int, folder: ModelFolder
) -> None:
    """Compare what the preprocessor makes with what the network takes, and bound both."""
    shape = cast("tuple[int, int]", preparation.shape)
    if family.fixed_size is not None:
        wanted = _pair(getattr(config, family.fixed_size), folder)
        if wanted != shape:
            raise WeightsError(
                f"{folder.text}: its preprocessor makes frames of {shape[1]}x{shape[0]}, but its "
                f"network sees {wanted[1]}x{wanted[0]}; are the files of one model?"
            )
    if family.is_convolutional:
        return
    tubelet = getattr(config, "tubelet_size", 1)
    if isinstance(tubelet, list | tuple):  # ViViT: frames, height, width
        length, *sides = cast("Sequence[Any]", tubelet)
        patch = _pair(sides, folder)
    else:
        length, patch = tubelet, _pair(config.patch_size, folder)
    length, _ = _pair(length, folder)
    places = frames * prod(shape[axis] // patch[axis] for axis in (0, 1)) // length
    check_tokens(places, whole_number(config, "hidden_size", folder), folder)


def _pair(value: Any, folder: ModelFolder) -> tuple[int, int]:
    """Height and width, from one number or two."""
    sides = list(cast("Sequence[Any]", value)) if isinstance(value, list | tuple) else [value]
    if len(sides) not in (1, 2) or not all(isinstance(one, int) and one > 0 for one in sides):
        raise WeightsError(
            f"{folder.text}: config.json has a size of {brief(value)}; expected whole numbers "
            "above 0"
        )
    return sides[0], sides[-1]


def _depth(config: Any, family: Family) -> int:
    if family.is_convolutional:
        return len(config.hidden_sizes)
    return int(config.num_hidden_layers)


def _layer(layer: int | None, config: Any, family: Family, folder: ModelFolder) -> int | None:
    if layer is None:
        return None
    depth, first = _depth(config, family), family.first_layer
    place = layer if layer >= 0 else layer + depth + 1
    if not first <= place <= depth:
        raise UsageError(
            f"{folder.text}: layer {layer}: expected {first} (the first) to {depth} (the last), or "
            f"-1 (the last) to {first - depth - 1}"
        )
    return place


def _pooling(
    wanted: str | None,
    names: Sequence[str],
    family: Family,
    folder: ModelFolder,
    *,
    has_layer: bool,
) -> Pooling:
    """The pooling that the user names, or the first that there is."""
    needs = family.needs or {}
    there: list[Pooling] = [
        each
        for each in family.poolings
        if (end := needs.get(each)) is None or any(name.endswith(end) for name in names)
    ]
    if has_layer:
        has_class = family.classes and not family.is_convolutional
        there = ["class", "mean"] if has_class else ["mean"]
    for each in there:
        if wanted in (None, each):
            return each
    raise UsageError(
        f"{folder.text}: pooling {wanted}: expected {' or '.join(there)}"
        + (" of a hidden state" if has_layer else "")
    )


def _cut_off(network: nn.Module) -> None:
    """Remove what comes after the vectors, and what only training needs."""
    for name in ("classifier", "predictor"):
        for owner in (network, getattr(network, "vjepa2", None)):
            if owner is not None and isinstance(getattr(owner, name, None), nn.Module):
                setattr(owner, name, nn.Identity())


def _dim(config: Any, family: Family, pooling: Pooling, layer: int | None) -> int:
    if family.is_convolutional:
        widths = list(config.hidden_sizes)
        first = int(getattr(config, "embedding_size", widths[0]))
        return int([first, *widths][-1 if layer is None else layer])
    if pooling == "projection":
        return int(config.projection_dim)
    if pooling == "pooler" and getattr(config, "pooler_output_size", None):
        return int(config.pooler_output_size)
    return int(config.hidden_size)
