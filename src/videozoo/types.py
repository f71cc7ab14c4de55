"""The few types that cross rooms."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

FloatArray = NDArray[np.float32]


class Settings(BaseModel):
    """One section of a run's configuration: closed keys, finite numbers, frozen, documented.

    The docstring under a field is its help text.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
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


Targets = Callable[[NDArray[np.float64], NDArray[np.int64], int], Mapping[str, NDArray[Any]] | None]
"""What a model is to give for a video: from segments (G, 2) as shares of the video, their classes
(G,) and the number of steps to arrays of the same shapes for all videos. None: there is nothing to
learn from this video."""


class ProposalGeneration(Settings):
    """From curves of starts, ends and actions to proposals with features (BSN)."""

    threshold: float = Field(default=0.5, ge=0, le=1)
    """Steps may be a boundary from this share of the highest score on."""
    most: int = Field(default=1000, ge=1)
    """Proposals kept of a video, the best first."""
    most_in_training: int = Field(default=500, ge=1)
    """The same of videos to learn from."""
    num_action: int = Field(default=16, ge=2)
    """Numbers that describe the inside of a proposal."""
    num_start: int = Field(default=8, ge=2)
    """Numbers that describe the surroundings of its start."""
    num_end: int = Field(default=8, ge=2)
    """Numbers that describe the surroundings of its end."""
    samples_per_bin: int = Field(default=3, ge=1)
    """Each number is the mean of so many samples, and one more."""
    boundary_ratio: float = Field(default=0.25, ge=0)
    """Half the width of the surroundings, in lengths of the proposal."""

    @property
    def feature_dim(self) -> int:
        """Numbers that describe a proposal."""
        return self.num_action + self.num_start + self.num_end


@dataclass(frozen=True, kw_only=True)
class Localiser:
    """How a model that finds segments learns, and how its answer is read."""

    targets: Callable[[Any], Targets]
    """From a `settings` instance."""
    losses: Callable[[Any, Mapping[str, Tensor], Generator], Mapping[str, Tensor]]
    """From outputs, targets and what random numbers are drawn from to `loss`, the mean over the
    batch, and its parts."""
    curves: Callable[[Any], Mapping[str, Tensor]] = lambda _outputs: {}
    """From outputs to scores in [0, 1] of each step, (N, T) each, by name."""
    candidates: Callable[[Any, Any, float], list[Candidates]]
    """From a `settings` instance, outputs as float32 on the CPU and a score to the candidates of
    each video. Of those with classes, only what scores higher need be there."""
    decides: Literal["auc", "map", "loss"]
    """Which validation metric decides between epochs. `map` is for candidates with classes."""
    background: bool = False
    """`num_classes` counts the background, as the first class."""
    proposals: Callable[[Any], ProposalGeneration] | None = None
    """For the first stage of two: how its curves become what the second one scores."""


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
    paddle_ignored: Collection[str] = ()
    """What else such a checkpoint holds: arrays that are computed here."""
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
    localiser: Localiser | None = None
    """For models that localise: how they learn and answer."""
    proposal_dim: Callable[[Any], int] | None = None
    """For models that score proposals: by how many numbers each is described."""
    loss_over_batch: Literal["mean", "sum"] = "mean"
    """How the losses of a batch's videos become one number. `sum` is over all devices."""
