"""Export a trained tagging model as one ONNX file: features and lengths in, logits out.

Sigmoids or softmax, the parts of long videos and segments stay outside: they are computed by the
code that computes them for the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from videozoo.commands import command
from videozoo.config import RunConfig
from videozoo.data.loader import EvalLoader
from videozoo.data.tags import FeatureBatch, FeatureDataset, has_records, load_records
from videozoo.errors import DataError, RunError
from videozoo.settings.shared import Part
from videozoo.tasks.common import configured_class_names, speaker, without_absent_names
from videozoo.tasks.exporting import (
    MOST_ROWS,
    OPSET,
    description,
    difference,
    forget_traces,
    one_process,
    onnx_model,
    onnx_target,
    summary,
    tracing,
    write_compared,
)
from videozoo.tasks.loading import Trained, build_trained
from videozoo.tasks.next_steps import a_file_of
from videozoo.tasks.requests import ExportRequest
from videozoo.tasks.tagging.exported import ExportedTagger, attention_names
from videozoo.tasks.tagging.scoring import (
    TaggingModel,
    feature_shape,
    model_inputs,
    one_class_each,
    tagging_of,
)
from videozoo.types import Stream
from videozoo.weights.exported import ExportedTags
from videozoo.weights.port_names import LENGTHS, LOGITS

_LENGTHS = ((1,), (7,), (5, 1, 3))
"""Frames of the random videos to compare, batch by batch."""
_PARTS: tuple[Part, ...] = ("test", "val", "train")
_MOST_REAL = 3  # videos of the configured data compared
_MOST_FRAMES = 300  # of each


class TaggingGraph(nn.Module):
    """The exported module: logits, and the weight of each frame where the model explains."""

    def __init__(self, network: nn.Module, *, explains: bool) -> None:
        super().__init__()
        self.network, self.explains = network, explains

    def forward(self, streams: Sequence[Tensor], lengths: Tensor) -> tuple[Tensor, ...]:
        """(N, T, dim) per stream, int64 (N,) -> logits (N, num_classes), (N, T) per stream."""
        logits = self.network(streams, lengths)
        if not self.explains:
            return (logits,)
        return logits, *self.network.frame_weights(streams, lengths)  # pyright: ignore[reportCallIssue]


def export(trained: Trained, request: ExportRequest, *, console: Console | None = None) -> Path:
    """Write a trained model as an ONNX file, compared with the model first.

    Returns:
        The file.

    Raises:
        WeightsError: The weights do not fit, or are exported already.
        RunError: A package is missing, the file exists, or its answers are not the model's.
        UsageError: A format or a flag is only for other models.
    """
    path = onnx_target(trained, request)
    say = speaker(console or Console(), one_process())
    config = without_absent_names(trained.config)
    for note in config.notes:
        say(f"note: {note}")
    tags = _tags_of(config)
    about = description(
        trained,
        config,
        trained.class_names or configured_class_names(config),
        tags=tags,
        opset=OPSET,
    )
    network = build_trained(trained, config).eval().requires_grad_(False)
    real = _real_videos(config, say) if request.check else None
    proto = onnx_model(
        trace(_traceable(network, config), tags),
        {**{stream.name: ("N", "T") for stream in tags.streams}, LENGTHS: ("N",)},
        {LOGITS: ("N",), **dict.fromkeys(attention_names(tags), ("N", "T"))},
    )

    def compare(file: Path) -> tuple[float, str]:
        return _largest_difference(ExportedTagger(file, tags), network, tags, real)

    about = write_compared(proto, path, about, compare if request.check else None)
    for line in summary(about, path):
        say(line)
    for line in _ports(tags, config):
        say(line)
    words = ("predict", "--weights", path, a_file_of(config.data) or "FEATURES")
    say(f"use it: {command(*words)}")
    return path


def _tags_of(config: RunConfig) -> ExportedTags:
    shape, explains = feature_shape(config), tagging_of(config).explains
    tags = ExportedTags(
        streams=tuple(Stream(name=s.name, dim=s.dim, half_step=s.half_step) for s in shape.streams),
        num_frames=shape.num_frames,
        explains=explains,
    )
    names = [stream.name for stream in tags.streams]
    for name in (LENGTHS, LOGITS, *attention_names(tags)):
        if name in names:
            raise RunError(
                f"model.streams: a stream has the name {name!r}, which the exported file gives to "
                "something else; name it differently in the configuration and in the features"
            )
    return tags


def _traceable(network: nn.Module, config: RunConfig) -> nn.Module:
    exports = tagging_of(config).exports
    return exports(network).eval().requires_grad_(False) if callable(exports) else network


def trace(network: nn.Module, tags: ExportedTags) -> ExportedProgram:
    """Turn a network in evaluation mode into a graph for any number of videos and frames.

    Args:
        network: What `Tagging.exports` says.
        tags: The inputs and outputs.
    """
    videos, frames = (Dim(name, min=1, max=MOST_ROWS) for name in ("N", "T"))
    given = [torch.zeros(2, 3, stream.dim) for stream in tags.streams]
    with tracing():
        program = torch.export.export(
            TaggingGraph(network, explains=tags.explains).eval(),
            (given, torch.ones(2, dtype=torch.int64)),
            dynamic_shapes={
                "streams": [{0: videos, 1: frames} for _ in given],
                "lengths": {0: videos},
            },
        )
    return forget_traces(program)


# --- the comparison --------------------------------------------------------------------------


@torch.no_grad()
def _largest_difference(
    graph: ExportedTagger, network: TaggingModel, tags: ExportedTags, real: FeatureBatch | None
) -> tuple[float, str]:
    """The largest difference of an output; what was compared, in words."""
    generator = torch.Generator().manual_seed(0)
    inputs = [
        (
            [torch.randn(len(each), max(each), s.dim, generator=generator) for s in tags.streams],
            torch.tensor(each),
        )
        for each in _LENGTHS
    ]
    words = f"{sum(map(len, _LENGTHS))} random videos"
    if real is not None:
        inputs.append(model_inputs(real, tags.streams))
        words += f" and {', '.join(real.names)}"
    found = [difference(graph(*given), network(*given)) for given in inputs]
    if tags.explains:
        model: Any = network
        for given in inputs:
            pairs = zip(graph.frame_weights(*given), model.frame_weights(*given), strict=True)
            found += [difference(*pair) for pair in pairs]
    return max(found), words


def _real_videos(config: RunConfig, say: Callable[[str], None]) -> FeatureBatch | None:
    """The first videos of the configured data, if they are there."""
    why = "the configuration names none"
    try:
        part: Part | None = next((each for each in _PARTS if has_records(config.data, each)), None)
        if part is not None:
            most = min(config.data.max_frames or _MOST_FRAMES, _MOST_FRAMES)
            data = config.data.model_copy(update={"max_frames": most})
            records = load_records(data, part, strict=False)
            dataset = FeatureDataset(records, feature_shape(config), data)
            return next(iter(EvalLoader(dataset, batch_size=_MOST_REAL, skip_bad=True)))
    except (DataError, StopIteration) as error:
        why = str(error).partition("\n")[0] or "none of them can be used"
    say(f"note: compared on random videos only, no features at hand ({why})")
    return None


# --- messages for the user -------------------------------------------------------------------


def _ports(tags: ExportedTags, config: RunConfig) -> Iterator[str]:
    inputs = [f"{stream.name} float32 (N, T, {stream.dim})" for stream in tags.streams]
    outputs = [f"{LOGITS} (N, {config.model.num_classes})"]
    outputs += [f"{name} (N, T)" for name in attention_names(tags)]
    scores = "softmax" if one_class_each(config) else "sigmoids"
    yield f"in: {', '.join(inputs)}, {LENGTHS} int64 (N,); out: {', '.join(outputs)}"
    yield f"the scores are the {scores} of the logits"
