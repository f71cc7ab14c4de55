"""A clip model as an encoder: its vector is what its classifier reads, or the class scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from videozoo.config import RunConfig, from_layers
from videozoo.data.frames.preparation import Preparation
from videozoo.data.frames.views import ViewPlan, eval_plan
from videozoo.data.frames.windows import prepared
from videozoo.encoders.base import Encoder, EncoderGraph, Window
from videozoo.engine.devices import use_channels_last
from videozoo.engine.settings import Precision
from videozoo.errors import ConfigError, UsageError, WeightsError
from videozoo.ops.folding import fold_batch_norms
from videozoo.ops.pixels import normalize
from videozoo.tasks.building import build
from videozoo.tasks.clip_views import clip_shape, with_views
from videozoo.tasks.loading import (
    Trained,
    build_trained,
    config_for_weights,
    resolve_weights,
    save_trained,
)
from videozoo.tasks.requests import ConfigSource, Layer
from videozoo.tasks.starting import initialise
from videozoo.types import Classification
from videozoo.weights.exported import exported_kind
from videozoo.weights.files import read_metadata, read_weights
from videozoo.weights.hub_runs import reference_of
from videozoo.weights.kinds import sniff
from videozoo.weights.torchvision import recognise

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class ClipModel(Protocol):
    """The methods that an encoder needs of a clip model; see `TSN.features`."""

    @property
    def feature_dim(self) -> int:
        """Length of a vector."""
        ...

    def features(self, clips: Tensor) -> Tensor:
        """(N, T, C, H, W) to (N, feature_dim)."""
        ...


class ClipEncoder(Encoder):
    """A trained clip model; windows are prepared as in its evaluation."""

    def __init__(
        self, trained: Trained, *, layer: Layer = "features", source: ConfigSource | None = None
    ) -> None:
        """Load the weights.

        Args:
            trained: From `config_for_weights`. For TSN also a torchvision ResNet.
            layer: `features`: the input of the classifier. `scores`: its output, a share per class.
            source: Where the configuration came from, if not from the weights alone.

        Raises:
            ConfigError: The model does not read videos.
            WeightsError: The weights do not fit, or are an exported graph, which gives scores only.
        """
        config = clip_config(trained, layer)
        views = config.predict
        config = with_views(config, views)
        view = replace(eval_plan(clip_shape(config), config.data, views), num_clips=1, num_crops=1)
        is_dense = view.sampling == "dense"
        self.config, self._view = config, view
        self.layer: Layer = layer
        self.title = config.spec.title
        self.batch_size = views.batch_size
        self.precision = config.train.precision
        self.window = Window(
            num_steps=view.num_steps,
            frames_per_step=view.frames_per_step,
            frame_stride=view.frame_stride if is_dense else None,
        )
        self._module = _built(trained, config, layer)
        self._facts = _facts(config, view, self._module, layer)
        self.dim: int = self._facts["dim"]
        self.reference = reference_of(trained.path) or str(trained.path.absolute())
        self.notes = trained.config.notes
        options: dict[str, Any] = {} if layer == "features" else {"layer": layer}
        if source is not None and source.path is not None:
            is_file = source.path.is_file()
            options["config"] = str(source.path.absolute() if is_file else source.path)
        if source is not None and source.overrides:
            options["set"] = list(source.overrides)
        self.options = options
        self._trained = trained
        self._is_stored_so = _stored(trained.path) == trained.config.absolute().as_dict()
        self.files = (trained.path,) if self._is_stored_so else ()
        self._context: Any = nullcontext

    @property
    def facts(self) -> dict[str, Any]:
        """All that a vector depends on; see `Encoder.facts`."""
        return dict(self._facts)

    def keep(self, folder: Path) -> str | None:
        """Write weights that hold their configuration; see `Encoder.keep`."""
        if self._is_stored_so:
            return super().keep(folder)
        name = f"{self.config.name}.safetensors"
        module = _built(self._trained, self.config, self.layer)  # the own one has folded norms
        names = self._trained.class_names
        save_trained(folder / name, module, self.config, names, {})
        return name

    def prepare(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Scale frames and take their centre."""
        return prepared(frames, self._view)

    def encode(self, windows: Tensor) -> Tensor:
        """Turn windows into vectors; see `Encoder.encode`."""
        data = self.config.data
        with torch.inference_mode(), self._context():
            clips = normalize(windows, data.mean, data.std)
            if self.layer == "scores":
                return self._module(clips).float().softmax(dim=1)
            return cast(ClipModel, self._module).features(clips).float()

    def graph(self) -> EncoderGraph:
        """See `Encoder.graph`."""
        view, data = self._view, self.config.data
        preparation = Preparation(
            short_side=view.short_side,
            long_side="round" if view.resize == "keep_aspect" else "fixed_4_3",
            crop=(view.crop_size, view.crop_size),
            crop_offset="even" if view.sampling == "segments" else "down",
            resize_with=view.resize_with,
            mean=data.mean,
            std=data.std,
        )
        return EncoderGraph(_Graph(self._module, preparation, self.layer).eval(), preparation)

    def to(self, device: torch.device, precision: Precision) -> None:
        """Move to a device; see `Encoder.to`."""
        module = self._module.to(device).eval()
        fold_batch_norms(module)  # this module is never saved
        use_channels_last(module)
        dtype = _DTYPES[precision]
        if precision != "fp32":
            self._context = lambda: torch.autocast(device.type, dtype)


class _Graph(nn.Module):
    """From windows (N, T, C, H, W) to vectors."""

    def __init__(self, module: nn.Module, preparation: Preparation, layer: Layer) -> None:
        super().__init__()
        self.module, self.preparation, self.layer = module, preparation, layer

    def forward(self, windows: Tensor) -> Tensor:
        clips = self.preparation.normalize(windows)
        if self.layer == "scores":
            return self.module(clips).softmax(dim=1)
        return cast(ClipModel, self.module).features(clips)


def open_clip_encoder(text: str, options: Mapping[str, Any]) -> ClipEncoder:
    """Open the encoder that the user names by its weights.

    Args:
        text: A run folder or weights of a clip model; or a ResNet of torchvision or timm, which
            sees single frames.
        options: `layer`; for weights that hold no configuration `config`, a path or a packaged
            name, and `set`, values that override it.

    Raises:
        VideozooError: There are no such weights, or they are of another kind.
    """
    path = resolve_weights(text)
    layer: Layer = options.get("layer", "features")
    if layer not in ("features", "scores") or "pooling" in options:
        raise UsageError(
            f"{text}: a clip model has no choice of pooling, and its layers are `features` and "
            "`scores`"
        )
    if "precision" in options:
        raise UsageError(
            f"{text}: a clip model computes as in its training; --encoder-precision is for "
            "encoders of Hugging Face"
        )
    config, overrides = options.get("config"), tuple(options.get("set", ()))
    if config is None and exported_kind(path) is None and _stored(path) is None:
        return ClipEncoder(_image_net(path), layer=layer)
    source = ConfigSource(path=None if config is None else Path(config), overrides=overrides)
    return ClipEncoder(config_for_weights(source, text), layer=layer, source=source)


def _image_net(path: Path) -> Trained:
    """A ResNet that learnt from images, as a TSN of single frames."""
    net = None if sniff(path).startswith("paddle") else recognise(read_weights(path)[0])
    if net is None:
        raise ConfigError(
            f"{path}: holds no configuration and is no ResNet with torchvision's names, so it does "
            "not say what it is; as an encoder take weights that videozoo wrote (`videozoo weights "
            "convert --config NAME` makes them)"
        )
    model = {"name": "tsn", "depth": net.depth, "num_segments": 1}
    return Trained(from_layers([(str(path), {"model": model})]), path)


def _stored(path: Path) -> dict[str, Any] | None:
    """The configuration that weights hold; None if they hold none."""
    if exported_kind(path) is not None or sniff(path).startswith("paddle"):
        return None
    return read_metadata(path).get("config")


def clip_config(trained: Trained, layer: Layer) -> RunConfig:
    """The configuration of a clip model that gives this layer.

    Raises:
        ConfigError: The model reads no videos, or does not give features.
        WeightsError: It is an exported graph.
    """
    config = trained.config
    if exported_kind(trained.path) is not None:
        raise WeightsError(
            f"{trained.path}: an exported graph gives scores and no features; pass the weights it "
            "was made from (a run folder or a .safetensors file)"
        )
    task = config.spec.task
    if not isinstance(task, Classification):
        raise ConfigError(
            f"{trained.path}: {config.spec.title} reads features itself; features are extracted "
            "with a model that looks at videos (tsn, tsm, stnet, nonlocal)"
        )
    if layer == "features" and not task.features:
        raise ConfigError(
            f"{trained.path}: {config.spec.title} does not give features (its model file says "
            "nothing of `features`); extract its scores (--layer scores), or use another model"
        )
    return config


def _built(trained: Trained, config: RunConfig, layer: Layer) -> nn.Module:
    path = trained.path
    net = None if sniff(path).startswith("paddle") else recognise(read_weights(path)[0])
    if net is None:
        return build_trained(trained, config)
    if layer == "scores":
        raise WeightsError(
            f"{path}: a torchvision {net.title}, whose classifier knows images; extract its "
            "features, or scores with trained weights"
        )
    task = config.spec.task
    if not (isinstance(task, Classification) and task.features_of_images):
        raise WeightsError(
            f"{path}: a torchvision {net.title}, which knows nothing of what {config.spec.title} "
            "does along time; extract with it as a TSN (--config tsn), or train first"
        )
    module = build(config)
    initialise(module, config, str(path))  # all but the classifier, which features do not need
    return module


def _facts(config: RunConfig, view: ViewPlan, module: nn.Module, layer: Layer) -> dict[str, Any]:
    has_scores = layer == "scores"
    facts = {
        "model": config.name,
        "title": config.spec.title,
        "settings": config.model.model_dump(
            mode="json", exclude_defaults=True, exclude={"num_classes", "dropout"}
        ),
        "weights_sha256": _weights_sha256(module, with_classifier=has_scores),
        "layer": "class scores" if has_scores else "classifier input",
        "dim": config.model.num_classes if has_scores else cast(ClipModel, module).feature_dim,
        "short_side": view.short_side,
        "crop_size": view.crop_size,
        "resize": view.resize,
        "resize_with": view.resize_with,
        "mean": config.data.mean,
        "std": config.data.std,
    }
    return json.loads(json.dumps(facts))  # tuples and lists are one


def _weights_sha256(module: nn.Module, *, with_classifier: bool) -> str:
    """Hash of all tensors that the vectors depend on, the same for every file format.

    Leaves out the classifier, which comes after the features, and counters of batches.
    """
    digest = hashlib.sha256()
    for name, values in sorted(module.state_dict().items()):
        is_after = name.startswith("head.") and not with_classifier
        if is_after or name.endswith("num_batches_tracked"):
            continue
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        flat = values.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
