"""Exported models: the description in an `.onnx` or `.pt2` file, and running it.

The file of a clip model computes scores from pixels, including normalisation; that of a model that
reads features holds its network. A description in JSON is stored with it: the configuration, the
class names or words, the clips it takes or what made the features. A model that writes word by word
has a second file, for the step from one word to the next.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from videozoo.errors import WeightsError
from videozoo.ops.segment_decoders import decoded
from videozoo.safe_json import parse_json
from videozoo.types import (
    Candidates,
    Captioning,
    Classification,
    ClipShape,
    FeatureShape,
    Localisation,
    ModelSpec,
    MomentRetrieval,
    ProposalGeneration,
    ProposalScoring,
    SegmentDecoding,
    SequenceShape,
    Settings,
    Stage,
    Stream,
    Tagging,
    Task,
    TwoStageLocalisation,
)
from videozoo.weights import pt2
from videozoo.weights.files import sha256_of
from videozoo.weights.onnx_graphs import MOST_METADATA, check_onnx, onnx_metadata, open_onnx
from videozoo.weights.port_names import CLASS_SCORES, CLIPS

Kind = Literal["onnx", "torch-export"]
GraphScorer = Callable[[Tensor], NDArray[np.float32]]
"""From uint8 clips (N, T, C, H, W) to scores (N, num_classes)."""
GraphRunner = Callable[[Mapping[str, Tensor]], list[Tensor]]
"""From inputs by name to outputs in order; on the CPU."""

SUFFIXES: dict[Kind, str] = {"onnx": ".onnx", "torch-export": ".pt2"}
INPUT, OUTPUT = CLIPS, CLASS_SCORES
ONNX_KEY = "videozoo"
ENCODER_KEY = "videozoo.encoder"
"""Of the description of an encoder; see `videozoo.encoders.onnx`."""
PT2_KEY = "videozoo.json"
FORMAT = 1
"""Version of the description. Files of a later version are refused."""


class ExportedClips(BaseModel):
    """The clips a graph takes: uint8 (N, T, C, H, W), RGB, any N."""

    model_config = ConfigDict(frozen=True)

    num_steps: int = Field(ge=1)
    """T."""
    frames_per_step: int = Field(ge=1)
    """Neighbouring frames side by side as channels: C = 3 * frames_per_step."""
    crop_size: int = Field(ge=1)
    """H and W, pixels."""
    sampling: Literal["segments", "dense"]
    """See `ClipShape`."""
    frame_stride: int
    """Between the frames of dense clips."""
    short_side: int
    """Of a frame before the crop, pixels."""
    resize: str
    """The rule of `data.resize`."""
    resize_with: str
    """The method of `data.resize_with`."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W)."""
        return (self.num_steps, 3 * self.frames_per_step, self.crop_size, self.crop_size)


class ExportedTags(BaseModel):
    """The features of whole videos that a graph reads, and what it gives beside the logits."""

    model_config = ConfigDict(frozen=True)

    streams: tuple[Stream, ...] = Field(min_length=1)
    """One input (N, T, dim) per stream, by its name, any N and T."""
    num_frames: int | None = None
    """Frames drawn from each video; None: all frames."""
    explains: bool
    """It also gives the weight of each frame, (N, T) per stream."""


class ExportedSegments(BaseModel):
    """The features of whole videos that the graph of a localiser reads, and what it gives."""

    model_config = ConfigDict(frozen=True)

    feature_dim: int = Field(ge=1)
    """The input is (N, feature_dim, decoding.num_steps), any N."""
    outputs: tuple[str, ...] = Field(min_length=1)
    """Their names; of two stages, those of the first."""
    curves: tuple[str, ...] = ()
    """Those that are scores of steps."""
    decoding: SegmentDecoding
    """How the outputs become candidates."""
    decides: Literal["auc", "map", "loss"]
    """See `Localisation`."""
    background: bool = False
    """See `Localisation`."""
    proposals: ProposalGeneration | None = None
    """See `Localisation`."""
    second: str = ""
    """Of two stages: what the second is called, as `pem`; its file is named after it."""

    @model_validator(mode="after")
    def _known(self) -> ExportedSegments:
        unknown = set(self.curves) - set(self.outputs)
        if unknown or (not self.second.replace("_", "").isalnum() and self.second):
            raise ValueError("curves that are no outputs, or a second stage without a name")
        return self


class Description(BaseModel):
    """The description in an exported file."""

    model_config = ConfigDict(frozen=True)

    format: int
    videozoo: str
    """Version that wrote the file."""
    torch: str
    """Version that traced the graph."""
    model: str
    """Our name, e.g. "tsm"."""
    title: str
    """As the paper writes it."""
    task: str
    config: dict[str, Any]
    """The whole configuration, as `RunConfig.as_dict` gives it."""
    class_names: list[str] | None = None
    vocabulary: list[str] | None = None
    """The words of a model that writes. Files of earlier versions have them in `class_names`."""
    source: dict[str, str]
    """File name and SHA-256 of the weights."""
    clips: ExportedClips | None = None
    """Of clip models."""
    tags: ExportedTags | None = None
    """Of models that tag videos by their features."""
    segments: ExportedSegments | None = None
    """Of localisers."""
    features: dict[str, Any] | None = None
    """What made the training features, if the model reads features and that is known."""
    measured: dict[str, Any] = Field(default_factory=dict)
    """What the training measured besides; see `tasks.loading.Trained`."""
    part: Literal["whole", "first", "step", "second"] = "whole"
    """Of a model in two files: what is run first, and the step from one word to the next or the
    second stage."""
    step_sha256: str | None = None
    """In the first file: of the other, see `second_file`."""
    first_sha256: str | None = None
    """In the file of a second stage: of the graph of the first, see `graph_sha256`."""
    opset: int | None
    """ONNX operator set."""
    check: dict[str, Any] | None
    """Largest difference from the original's scores; None if it was not checked."""
    int8: dict[str, Any] | None = None
    """Of a file with weights of 8 bits: its metric on a data set, and how much that has lost."""

    @model_validator(mode="after")
    def _whole(self) -> Description:
        if self.task == "classification" and self.clips is None:
            raise ValueError("a model of clips that does not say which")
        if self.task == "tagging" and self.tags is None:
            raise ValueError("a model of features that does not say which")
        finds = self.task in ("localisation", "two_stage_localisation") and self.part != "second"
        if finds and self.segments is None:
            raise ValueError("a model of segments that does not say what it reads")
        if self.task == "two_stage_localisation" and self.segments and not self.segments.second:
            raise ValueError("a model of two stages that does not name the second")
        return self


class ExportedModel(Settings):
    """The `model:` section of an exported file. It is in the graph and cannot change."""

    model_config = ConfigDict(extra="allow")

    num_classes: int = Field(ge=1)
    """Number of classes."""


class ExportedFinder(Settings):
    """The same for a model that finds moments."""

    model_config = ConfigDict(extra="allow")

    visual_dim: int = Field(ge=1)
    """Length of a clip's features."""
    sentence_dim: int = Field(ge=1)
    """Length of a sentence's vector."""


class ExportedWriter(Settings):
    """The same for a model that describes events."""

    model_config = ConfigDict(extra="allow")

    vocabulary_size: int = Field(ge=1)
    """Words it knows."""
    feature_dim: int = Field(ge=1)
    """Length of a frame's features."""


class ExportedLocaliser(Settings):
    """The same for a model that finds segments."""

    model_config = ConfigDict(extra="allow")

    num_classes: int | None = Field(default=None, ge=1)
    """Number of classes, of a model that names what it finds."""


class ExportedScorer(Settings):
    """The same for a model that scores proposals."""

    model_config = ConfigDict(extra="allow")

    feature_dim: int = Field(ge=1)
    """Numbers that describe a proposal."""


_SETTINGS: dict[str, type[Settings]] = {
    "classification": ExportedModel,
    "tagging": ExportedModel,
    "localisation": ExportedLocaliser,
    "two_stage_localisation": ExportedLocaliser,
    "proposal_scoring": ExportedScorer,
    "moments": ExportedFinder,
    "captioning": ExportedWriter,
}


@dataclass(frozen=True, kw_only=True)
class ExportedSpec(ModelSpec):
    """`ModelSpec` of an exported file, in place of the model's file."""

    description: Description

    def __reduce__(self) -> tuple[Any, ...]:
        return spec_of, (self.description,)


@dataclass(frozen=True)
class _Graph:
    """An open graph; a pickle of it opens the file again."""

    run: Callable[[Any], Any]
    opened_by: Callable[[], Any]

    def __call__(self, given: Any) -> Any:
        return self.run(given)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.opened_by, ()


def exported_kind(path: Path) -> Kind | None:
    """Kind of an exported file by its suffix; None for weights.

    >>> exported_kind(Path("runs/tsm.onnx")), exported_kind(Path("best.safetensors"))
    ('onnx', None)
    """
    suffix = path.suffix.lower()
    return next((kind for kind, known in SUFFIXES.items() if known == suffix), None)


def second_path(path: Path, name: str) -> Path:
    """Path of the second file of an export, beside the first.

    Args:
        path: The first file.
        name: What the second is: `step`, or the part of a network of two stages.

    >>> second_path(Path("runs/ets.onnx"), "step").as_posix()
    'runs/ets.step.onnx'
    """
    return path.with_name(f"{path.stem}.{name}{path.suffix}")


def step_file(path: Path) -> Path:
    """Path of the file for the step from one word to the next.

    >>> step_file(Path("runs/ets.onnx")).as_posix()
    'runs/ets.step.onnx'
    """
    return second_path(path, "step")


def second_file(path: Path, name: str, sha256: str | None) -> Path:
    """Find the second file of an export beside the first.

    Args:
        path: The first file.
        name: See `second_path`.
        sha256: The hash of the second file, from the description of the first.

    Raises:
        WeightsError: The file is missing, or from another export.
    """
    second = second_path(path, name)
    if not second.is_file():
        raise WeightsError(
            f"{path}: one of two files; {second.name}, which was written with it, is not beside it"
        )
    if sha256_of(second) != sha256:
        raise WeightsError(
            f"{second}: not the file that was written with {path.name}; copy both, or export again"
        )
    return second


def read_description(path: Path, kind: Kind | None = None) -> Description:
    """Read the description of an exported file; the graph is not loaded.

    Args:
        path: The file.
        kind: Where the suffix does not tell.

    Raises:
        WeightsError: The file is missing, damaged, from another program, or from a later version.
    """
    kind = kind or exported_kind(path)
    try:
        text = _onnx_text(path) if kind == "onnx" else _pt2_text(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        content = parse_json(text)
        written = int(content["format"])
    except (ValueError, KeyError, TypeError, OverflowError):  # the last for `Infinity`
        raise WeightsError(f"{path}: its description is damaged; export it again") from None
    if written > FORMAT:
        by = content.get("videozoo", "?")
        raise WeightsError(f"{path}: written by videozoo {by}, which is newer; update videozoo")
    try:
        return Description.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise WeightsError(
            f"{path}: its description is damaged ({where}: {first['msg']})"
        ) from None


def spec_of(description: Description) -> ExportedSpec:
    """The `ModelSpec` of an exported file.

    Raises:
        WeightsError: Exported files of this task are not supported.
    """
    if description.task not in _SETTINGS:
        raise WeightsError(
            f"an exported {description.title} for {description.task!r}, which is not known; "
            "update videozoo"
        )

    def absent(*_: object) -> NoReturn:
        raise WeightsError(
            f"an exported {description.title} is a fixed graph; name the weights it was made from"
        )

    return ExportedSpec(
        title=description.title,
        task=_task_of(description, absent),
        settings=_SETTINGS[description.task],
        build=absent,
        parameter_rules=absent,
        description=description,
    )


def _task_of(description: Description, absent: Callable[..., NoReturn]) -> Task:
    if description.task == "moments":
        return MomentRetrieval(losses=absent)
    clips, tags = description.clips, description.tags
    if description.task == "proposal_scoring":
        return ProposalScoring(losses=absent)
    if description.segments is not None:
        return _localisation(description.segments, absent)
    if tags is not None:
        features = FeatureShape(streams=tags.streams, num_frames=tags.num_frames)
        return Tagging(feature_shape=lambda _settings: features, explains=tags.explains)
    if clips is None:
        return Captioning(explains=True)  # the graph gives its attention
    shape = ClipShape(
        sampling=clips.sampling,
        num_steps=clips.num_steps,
        frames_per_step=clips.frames_per_step,
    )
    return Classification(clip_shape=lambda _settings: shape)


def _localisation(segments: ExportedSegments, absent: Callable[..., NoReturn]) -> Localisation:
    shape = SequenceShape(feature_dim=segments.feature_dim, num_steps=segments.decoding.num_steps)
    generation = segments.proposals

    def constant(value: object) -> Callable[[object], object]:
        return lambda _settings: value

    def candidates(_settings: object, outputs: Any, score_threshold: float) -> list[Candidates]:
        try:
            return decoded(outputs, segments.decoding, score_threshold)
        except (KeyError, ValueError, IndexError) as error:
            raise WeightsError(
                f"an exported graph gives no {segments.decoding.form} ({error}); export it again"
            ) from None

    def curves(outputs: Any) -> Mapping[str, Tensor]:
        return {name: outputs[name] for name in segments.curves}

    given: dict[str, Any] = {
        "sequence_shape": constant(shape),
        "targets": absent,
        "losses": absent,
        "curves": curves,
        "candidates": candidates,
        "decides": segments.decides,
        "background": segments.background,
        "proposals": None if generation is None else constant(generation),
    }
    if not segments.second:
        return Localisation(**given)
    stages = Stage(model="", part="first"), Stage(model="", part=segments.second)
    return TwoStageLocalisation(first=stages[0], second=stages[1], **given)


def open_exported(
    path: Path,
    *,
    kind: Kind | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    device_index: int = 0,
) -> GraphScorer:
    """Load an exported graph, ready to score.

    ONNX files run in onnxruntime, with as many threads as PyTorch has; `.pt2` files in PyTorch.

    Args:
        path: The file.
        kind: Where the suffix does not tell.
        device: Where it runs.
        device_index: Which GPU.

    Raises:
        WeightsError: The file is damaged, or holds what no export wrote.
        RunError: onnxruntime is missing, or has no support for the device.
    """
    kind = kind or exported_kind(path)
    opens = _open_onnx if kind == "onnx" else _open_pt2
    again = partial(open_exported, path, kind=kind, device=device, device_index=device_index)
    return _Graph(opens(path, device, device_index), again)


def _open_onnx(path: Path, device: str, device_index: int) -> GraphScorer:
    run = open_graph(
        path, inputs=(INPUT,), outputs=(OUTPUT,), device=device, device_index=device_index
    )
    return lambda clips: run({INPUT: clips})[0].numpy()


def open_graph(
    path: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    device: str = "cpu",
    device_index: int = 0,
) -> GraphRunner:
    """Load an ONNX file into onnxruntime, with as many threads as PyTorch has.

    Args:
        path: The file.
        inputs: Names that it must have.
        outputs: The same of what it gives.
        device: "cpu" or "cuda".
        device_index: Which GPU.

    Raises:
        WeightsError: The file is damaged, or takes or gives something else.
        RunError: onnxruntime is missing, or has no support for the device.
    """
    graph = open_onnx(path, device=device, device_index=device_index)
    names = [[port.name for port in ports] for ports in (graph.inputs, graph.outputs)]
    if names != [list(inputs), list(outputs)]:
        raise WeightsError(
            f"{path}: takes {names[0]} and gives {names[1]}, "
            f"expected {list(inputs)} and {list(outputs)}; export it again"
        )
    return partial(graph.run, outputs=outputs)


def _open_pt2(path: Path, device: str, device_index: int) -> GraphScorer:
    program = pt2.load_program(path)
    place = torch.device(device, device_index) if device == "cuda" else torch.device("cpu")
    if place.type != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, place)
    module = program.module()

    def score(clips: Tensor) -> NDArray[np.float32]:
        with torch.inference_mode():
            return module(clips.to(place, non_blocking=True)).float().cpu().numpy()

    return score


def _pt2_text(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.filename.endswith(f"/extra/{PT2_KEY}"):
                    continue
                if info.compress_type != zipfile.ZIP_STORED or info.file_size > MOST_METADATA:
                    raise ValueError("its description is packed, or too long")
                return archive.read(info).decode()
    except OSError:
        raise
    except Exception as error:  # a damaged archive can raise almost anything
        raise _damaged(path, error) from None
    raise _foreign(path)


def _onnx_text(path: Path) -> str:
    found = onnx_metadata(path)
    if ENCODER_KEY in found:
        raise WeightsError(
            f"{path}: an encoder, which gives features and no scores; name it with --encoder"
        )
    if ONNX_KEY not in found:
        raise _foreign(path)
    check_onnx(path)
    return found[ONNX_KEY]


def _damaged(path: Path, error: Exception) -> WeightsError:
    reason = " ".join(str(error).split())[:200]
    return WeightsError(f"{path}: not a whole .pt2 file ({reason}); was it cut short?")


def _foreign(path: Path) -> WeightsError:
    return WeightsError(
        f"{path}: has no description by videozoo, so its classes and the clips it takes are not "
        "known; expected a file that `videozoo export` wrote"
    )


def describe(description: Description) -> Mapping[str, Any]:
    """Return the description as plain JSON values."""
    return description.model_dump(mode="json")
