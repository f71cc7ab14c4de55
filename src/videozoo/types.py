"""The few types that cross rooms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from torch import nn

FloatArray = NDArray[np.float32]


class Settings(BaseModel):
    """One section of a run's configuration: closed keys, frozen, documented field by field.

    The docstring under a field is its help text.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=()
    )


@dataclass(frozen=True)
class PaddleName:
    """Where one of our tensors stands in a PaddlePaddle 1.8 checkpoint."""

    name: str
    transpose: bool = False
    """True for fully connected weights: (in, out) there, (out, in) here."""
    reshape: bool = False
    """True where only the shape differs and the element order is the same."""


@dataclass(frozen=True, kw_only=True)
class ParameterRule:
    """How one parameter is optimised differently from the rest."""

    learning_rate_factor: float = 1.0
    decay: Literal["weights", "norms", "none"] = "weights"
    """Which of `train.weight_decay` and `train.weight_decay_norms` applies."""


@dataclass(frozen=True, kw_only=True)
class ClipShape:
    """Which frames of a video a clip model sees at once.

    The model's input is (N, num_steps, 3 * frames_per_step, H, W), RGB, normalised.
    """

    sampling: Literal["segments", "dense"]
    """`segments`: the video is cut into `num_steps` equal slices with `frames_per_step`
    neighbouring frames from each. `dense`: `num_steps` frames at a fixed stride."""
    num_steps: int
    frames_per_step: int = 1


class Stream(Settings):
    """One sequence of features of a video, a vector a frame."""

    name: str
    """As the records call it: rgb, audio."""
    dim: int = Field(ge=1)
    """Length of a vector."""
    half_step: bool = True
    """For features stored as bytes: a byte means the middle of its step, else its lower end."""


@dataclass(frozen=True, kw_only=True)
class FeatureShape:
    """Which features of a video a model reads.

    The model's input is one (N, T, dim) tensor a stream and the lengths (N,).
    """

    streams: Sequence[Stream]
    num_frames: int | None = None
    """So many frames drawn from each video; None: all of them."""


@dataclass(frozen=True, kw_only=True)
class SequenceShape:
    """Features of a whole video, brought to one length, that a localiser reads.

    The model's input is (N, feature_dim, num_steps).
    """

    feature_dim: int
    num_steps: int


@dataclass(frozen=True)
class Candidates:
    """Segments of one video that may hold an action, before duplicates are removed."""

    segments: NDArray[np.float64]
    """(P, 2): start and end as shares of the video's length; may lie beyond it."""
    scores: NDArray[np.float64]
    """(P,), higher is better."""
    labels: NDArray[np.int64] | None = None
    """(P,): classes from 0, for detectors."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What the rest of the library needs to know about one model file."""

    title: str
    """As the paper writes it, e.g. "TSM"."""
    task: str
    """Which file in `videozoo.tasks` runs it, e.g. "classification"."""
    settings: type[Settings]
    """The architecture; its fields are the YAML keys under `model:` (beside `name`)."""
    build: Callable[[Any], nn.Module]
    """From a `settings` instance to a module with fresh weights."""
    paddle_names: Callable[[Any], Mapping[str, PaddleName]]
    """From a `settings` instance: each state_dict key to its place in a PaddlePaddle checkpoint."""
    adapt_pretrained: Callable[[Any, Mapping[str, FloatArray]], dict[str, FloatArray]]
    """From `settings` and the arrays of a 2D ResNet (PaddlePaddle names) to those this model
    starts from: heads dropped, first convolution or kernels inflated."""
    parameter_rules: Callable[[nn.Module], Mapping[str, ParameterRule]]
    """Exceptions to the common rule, by parameter name. May be empty."""
    clip_shape: Callable[[Any], ClipShape] | None = None
    """For models that eat frames: the clip they were built for."""
    feature_shape: Callable[[Any], FeatureShape] | None = None
    """For models that eat features: which."""
    sequence_shape: Callable[[Any], SequenceShape] | None = None
    """For models that localise: which features of a video they read."""
    loss_over_batch: Literal["mean", "sum"] = "mean"
    """How the losses of a batch's videos become one number. `sum` is over all devices."""
