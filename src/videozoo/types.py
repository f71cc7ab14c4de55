"""The few types that cross rooms."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar, cast, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from videozoo.candidates import Candidates as Candidates
from videozoo.errors import ConfigError, brief

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

_S = TypeVar("_S", bound="Stream")
FloatArray = NDArray[np.float32]
_Sampling = Literal["segments", "dense"]


_MOST_WHOLE = 2**31 - 1


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

    @model_validator(mode="after")
    def _whole_numbers_are_of_a_size(self) -> Self:
        """No size or count comes near 2^31, from where on libraries take it for another number."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            each = cast(tuple[object, ...], value) if isinstance(value, tuple) else (value,)
            if not name.endswith("seed") and any(
                isinstance(one, int) and abs(one) > _MOST_WHOLE for one in each
            ):
                raise ValueError(f"{name} is {brief(value)}, expected at most {_MOST_WHOLE}")
        return self


@dataclass(frozen=True)
class PaddleName:
    """Where one of our tensors is in a PaddlePaddle 1.8 checkpoint."""

    name: str
    transpose: bool = False
    """True for fully connected weights: (in, out) there, (out, in) here."""
    reshape: bool = False
    """True if only the shape differs and the element order is the same."""


@dataclass(frozen=True, kw_only=True)
class ParameterRule:
    """How one parameter is optimised differently from the others."""

    learning_rate_factor: float = 1.0
    decay: Literal["weights", "norms", "none"] = "weights"
    """Which of `train.weight_decay` and `train.weight_decay_norms` applies."""


@dataclass(frozen=True, kw_only=True)
class ClipShape:
    """Which frames of a video a clip model sees at once.

    The model's input is (N, num_steps, 3 * frames_per_step, H, W), RGB, normalised.
    """

    sampling: _Sampling
    """`segments`: the video is cut into `num_steps` equal slices with `frames_per_step`
    neighbouring frames from each. `dense`: `num_steps` frames at a fixed stride."""
    num_steps: int
    frames_per_step: int = 1

    def __post_init__(self) -> None:
        """Refuse a misspelt `sampling`, which would cut other clips without a word.

        Raises:
            ConfigError: It is neither of the two.
        """
        if self.sampling not in get_args(_Sampling):
            raise ConfigError(
                f"ClipShape: sampling is {brief(self.sampling)}, expected 'segments' or 'dense'"
            )


class Stream(Settings):
    """One sequence of features of a video, one vector per frame."""

    name: str
    """Name in the records: rgb, audio."""
    dim: int = Field(ge=1)
    """Length of a vector."""
    half_step: bool = True
    """For features stored as bytes: a byte stands for the middle of its step; false: for its lower
    end."""


def _different_names(streams: tuple[_S, ...]) -> tuple[_S, ...]:
    names = [stream.name for stream in streams]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two streams have the name {twice!r}; each needs its own")
    return streams


Streams = Annotated[tuple[_S, ...], Field(min_length=1), AfterValidator(_different_names)]
"""The type of a setting with the streams of a model: at least one, with different names."""


@dataclass(frozen=True, kw_only=True)
class FeatureShape:
    """Which features of a video a model reads.

    The model's input is one (N, T, dim) tensor per stream and the lengths (N,).
    """

    streams: Sequence[Stream]
    num_frames: int | None = None
    """Frames drawn from each video; None: all frames."""

    def __post_init__(self) -> None:
        """Refuse streams of one name: both would be read from the same features.

        Raises:
            ConfigError: Two names are the same.
        """
        try:
            _different_names(tuple(self.streams))
        except ValueError as error:
            raise ConfigError(f"FeatureShape: {error}") from None


@dataclass(frozen=True, kw_only=True)
class SequenceShape:
    """Features of a whole video, or of a window of it, that a localiser reads at one length.

    The model's input is (N, feature_dim, num_steps).
    """

    feature_dim: int
    num_steps: int


Targets = Callable[[NDArray[np.float64], NDArray[np.int64], int], Mapping[str, NDArray[Any]] | None]
"""Training targets of a video: from segments (G, 2) as fractions of the video, their classes (G,)
and the number of steps to arrays, whose shapes are the same for all videos. None: the video teaches
nothing."""


class ProposalGeneration(Settings):
    """How BSN turns scores of starts, ends and actions into proposals with features."""

    threshold: float = Field(default=0.5, ge=0, le=1)
    """A step may be a boundary if its score is above this share of the highest one."""
    most: int = Field(default=1000, ge=1)
    """Best proposals kept per video."""
    most_in_training: int = Field(default=500, ge=1)
    """Best proposals kept per training video."""
    num_action: int = Field(default=16, ge=2, le=10_000)
    """Feature values for the inside of a proposal."""
    num_start: int = Field(default=8, ge=2, le=10_000)
    """Feature values for the region around its start."""
    num_end: int = Field(default=8, ge=2, le=10_000)
    """Feature values for the region around its end."""
    samples_per_bin: int = Field(default=3, ge=1, le=1000)
    """Each value is the mean of this many samples, plus one."""
    boundary_ratio: float = Field(default=0.25, ge=0, le=1000)
    """Half the width of these regions, in lengths of the proposal."""

    @property
    def feature_dim(self) -> int:
        """Number of feature values of a proposal."""
        return self.num_action + self.num_start + self.num_end


class SegmentDecoding(Settings):
    """How the outputs of a localiser become candidates; an exported file keeps it."""

    form: Literal["boundary_maps", "boundary_pairs", "scored_proposals", "anchors"]
    """What the outputs are, by name. `boundary_maps`: `maps` (N, 2, D, T), `start` and `end`
    (N, T), as of BMN. `boundary_pairs`: `start` and `end` (N, T), as of BSN's first stage.
    `scored_proposals`: what `ops.segment_decoders.ScoredProposals` says, of both stages. `anchors`:
    `offsets` (N, A, 2) and `logits` (N, A, C), as of C-TCN."""
    num_steps: int = Field(ge=1, le=2**16)
    """T."""
    strides: tuple[int, ...] = Field(default=(), max_length=32)
    """Of anchors: steps between the positions of each level."""
    proposals: ProposalGeneration = ProposalGeneration()
    """Of pairs and of two stages: which pairs become proposals, and what describes them."""


# ---- tasks: what a model does, and what it offers for that ---------------------------------------


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Tell which class a clip is of.

    The module takes clips as `ClipShape` says and returns logits (N, num_classes).
    """

    name: ClassVar = "classification"
    """The room of `videozoo.tasks` that runs it; every task has one."""
    needs: ClassVar = ("num_classes",)
    """Settings that such a model must have; every task lists them."""
    clip_shape: Callable[[Any], ClipShape]
    """From a `settings` instance: the clip that the model was built for."""
    features: bool = False
    """The module has `features(clips)`, what its layer `head` reads, (N, feature_dim), and
    `feature_dim`."""
    features_of_images: bool = False
    """The features are useful with the weights of an image network alone."""
    explains: bool = False
    """The logits come from a feature map with places, so Grad-CAM can show where it looked."""
    exports: bool = False
    """`torch.export` can trace the module."""


@dataclass(frozen=True, kw_only=True)
class Tagging:
    """Tell which classes a video is of, from features.

    The module takes what `FeatureShape` says and returns logits (N, num_classes). Their sigmoids
    are the scores; where each video is of one class, their softmax.
    """

    name: ClassVar = "tagging"
    needs: ClassVar = ("num_classes",)
    feature_shape: Callable[[Any], FeatureShape]
    """From a `settings` instance: the features that the model reads."""
    loss_over_batch: Literal["mean", "sum"] = "mean"
    """How the losses of a batch's videos become one number. `sum` is over all devices."""
    explains: bool = False
    """The module has `frame_weights(streams, lengths)`: per stream, where it looked, (N, T); rows
    sum to 1."""
    exports: bool | Callable[[Any], nn.Module] = False
    """`torch.export` can trace the module. Or a function: from the module to one that it can trace,
    which takes and returns the same, with `frame_weights` where the model explains."""
    is_solved: bool = False
    """Training solves a linear layer, in place of epochs. The module has `pooled(streams,
    lengths)`, (N, D); `standardise(pooled)`, which keeps the statistics of the training videos in
    its buffers; and `head`, which reads `standardised(pooled)`, (N, D)."""


@dataclass(frozen=True, kw_only=True)
class SegmentGraph:
    """What an export writes of a localiser that `torch.export` can trace; our decoding runs around.

    Of a `TwoStageLocalisation` it is said of the first stage; the second is a graph of its own.
    """

    outputs: Callable[[Any], Mapping[str, Tensor]]
    """From what the module returns to arrays by name, (N, ...) each: the outputs of the graph."""
    curves: Sequence[str] = ()
    """Those outputs that are scores in [0, 1] of each step, (N, T)."""
    decoding: Callable[[Any], SegmentDecoding]
    """From a `settings` instance: how the outputs become candidates."""


@dataclass(frozen=True, kw_only=True)
class Localisation:
    """Find the segments of a video in which something happens, from features.

    The module takes what `SequenceShape` says; only the functions here read what it returns.
    """

    name: ClassVar[str] = "localisation"
    needs: ClassVar = ()
    explains: ClassVar = True
    sequence_shape: Callable[[Any], SequenceShape]
    """From a `settings` instance: the features that the model reads."""
    targets: Callable[[Any], Targets]
    """From a `settings` instance."""
    losses: Callable[[Any, Mapping[str, Tensor], Generator], Mapping[str, Tensor]]
    """From outputs, targets and a random generator to `loss`, the mean over the batch, and its
    parts."""
    curves: Callable[[Any], Mapping[str, Tensor]] = lambda _outputs: {}
    """From outputs to scores in [0, 1] of each step, (N, T) each, by name."""
    candidates: Callable[[Any, Any, float], list[Candidates]]
    """From a `settings` instance, outputs as float32 on the CPU and a score to the candidates of
    each video. Candidates with classes may be left out if they score lower."""
    decides: Literal["auc", "map", "loss"]
    """The validation metric that selects the best epoch. `map` is for candidates with classes; then
    `settings` has `num_classes`."""
    background: bool = False
    """`num_classes` counts the background, as the first class."""
    proposals: Callable[[Any], ProposalGeneration] | None = None
    """For a first stage: how its curves become the proposals that the second stage scores."""
    exports: SegmentGraph | None = None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One of the two models of a `TwoStageLocalisation`."""

    model: str
    """Its name, as `videozoo models` lists it."""
    part: str
    """Which part of the module, and which of the settings, it is: `tem`."""


@dataclass(frozen=True, kw_only=True)
class TwoStageLocalisation(Localisation):
    """Localisation by two models that are trained one after the other."""

    name: ClassVar[str] = "two_stage_localisation"
    first: Stage
    """Makes proposals: a model of the task `Localisation` that has `proposals`."""
    second: Stage
    """Scores them: a model of the task `ProposalScoring`."""


@dataclass(frozen=True, kw_only=True)
class ProposalScoring:
    """Tell how well proposals that another model made fit an action.

    The module takes (N, K, feature_dim), K proposals per video, and returns scores (N, K) in
    [0, 1].
    """

    name: ClassVar = "proposal_scoring"
    needs: ClassVar = ("feature_dim",)
    explains: ClassVar = True
    losses: Callable[[Tensor, Tensor, Tensor, Generator], Mapping[str, Tensor]]
    """From scores, the tIoU of each proposal with the action it fits best, a mask that is False in
    rows of padding, (N, K) each, and a random generator to `loss` and its parts."""
    exports: bool = False
    """`torch.export` can trace the module."""


@dataclass(frozen=True, kw_only=True)
class CaptionGraphs:
    """The two halves of a captioning model that an export writes; our search runs around them."""

    encoder: Callable[[Any], nn.Module]
    """From the model to a module that `torch.export` can trace: features (N, T, feature_dim) and
    lengths (N,) to `context` (N, C), `start` (N, S) and `attention` (N, T)."""
    step: Callable[[Any], nn.Module]
    """The same for the step to the next word: context (N, C), words (N, K) and states (N, K, S) to
    log-probabilities (N, K, vocabulary_size) and the next states."""
    reference: Callable[[Any], nn.Module]
    """As `encoder`, in plain PyTorch: what the graph is compared with."""


@dataclass(frozen=True, kw_only=True)
class Captioning:
    """Describe events of videos in words, from features.

    The module takes features (N, T, feature_dim), lengths (N,) and the words so far (N, L) and
    returns the logits of the next words (N, L, vocabulary_size). It also has `caption(features,
    lengths, *, beam_size, max_length)`, which returns per event the best sentences as
    `videozoo.ops.beam_search.Hypothesis`. The numbers of words are explained in
    `videozoo.ops.sentences`.
    """

    name: ClassVar = "captioning"
    needs: ClassVar = ("vocabulary_size", "feature_dim")
    explains: bool = False
    """What `caption` returns are `videozoo.ops.sentences.Caption`, which tell where it looked."""
    exports: CaptionGraphs | None = None


@dataclass(frozen=True, kw_only=True)
class MomentRetrieval:
    """Find the moment of a video that a sentence describes, from features of both.

    The module takes clips (C, visual_dim) and sentences (S, sentence_dim) and returns, per pair,
    the similarity and what to add to the clip's start and end: (3, S, C).
    """

    name: ClassVar = "moments"
    needs: ClassVar = ("visual_dim", "sentence_dim")
    explains: ClassVar = True
    losses: Callable[[Tensor, Tensor], Mapping[str, Tensor]]
    """From the outputs of a batch in which every sentence has one clip, the one of the same number,
    (3, B, B), and the offsets of these pairs (B, 2) to `loss` and further values for the log."""
    exports: bool = False
    """The module has `pairs(visual, sentences)`, which compares P clips each with its own sentence,
    (P, 3), and `torch.export` can trace it."""


Task = (
    Classification
    | Tagging
    | Localisation
    | TwoStageLocalisation
    | ProposalScoring
    | Captioning
    | MomentRetrieval
)


# ---- models --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PaddleWeights:
    """How weights of the 2019 library hold a model's tensors."""

    names: Callable[[Any], Mapping[str, PaddleName]]
    """From a `settings` instance: each state_dict key to its place in a PaddlePaddle checkpoint."""
    ignored: Collection[str] = ()
    """Other arrays of such a checkpoint, which are computed here."""


@dataclass(frozen=True, kw_only=True)
class ResNetStart:
    """How a model starts from a 2D ResNet trained on images.

    The keys of that ResNet are those of `ResNet` in `videozoo/models/_resnet.py`:
    `stem.conv.weight`, `stages.0.0.branch.0.bn.bias`, ...
    """

    depth: Callable[[Any], int]
    """From a `settings` instance: layers of the ResNet inside."""
    width: Callable[[Any], float] = lambda _settings: 1.0
    """From a `settings` instance: factor on its channels; 1 where it is as published."""
    part: str = ""
    """Which part of the module it is, e.g. "backbone"; empty where it is the module itself."""
    adapt: Callable[[Any, Mapping[str, FloatArray]], dict[str, FloatArray]]
    """From a `settings` instance and arrays by the module's state_dict keys, shaped as in the image
    network, to those that the model starts from: heads dropped, first convolution or kernels
    inflated."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What the rest of the library needs to know about one model file.

    The first four fields say what the model is. The others say what more it can do; without them, a
    request for it is an error that says so.
    """

    title: str
    """As the paper writes it, e.g. "TSM"."""
    task: Task
    """What the model does, and how."""
    settings: type[Settings]
    """The architecture; its fields are the YAML keys under `model:` (beside `name`)."""
    build: Callable[[Any], nn.Module]
    """From a `settings` instance to a module with fresh weights."""
    parameter_rules: Callable[[nn.Module], Mapping[str, ParameterRule]] = lambda _module: {}
    """Exceptions to the common rule of the optimiser, by parameter name."""
    start_sizes: Collection[str] = ("num_classes", "vocabulary_size")
    """Settings that may differ in weights to start from: tensors whose shapes depend on them then
    start fresh."""
    constants: Callable[[Any], Mapping[str, NDArray[Any]]] = lambda _settings: {}
    """From a `settings` instance to arrays from files that it names, by state_dict key; read at the
    start of a training."""
    resnet: ResNetStart | None = None
    """Start from an image network (`--pretrain resnet50.pth`)."""
    paddle: PaddleWeights | None = None
    """Read and write weights of the 2019 library."""
