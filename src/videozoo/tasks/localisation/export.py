"""Export a trained localiser as ONNX: features in, scores of steps, proposals or anchors out.

Decoding, soft-NMS and the proposals between two stages stay outside, the same code as for the
weights. A network of two stages becomes two files, each of which knows the other by its sha256.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from videozoo.commands import command
from videozoo.config import RunConfig
from videozoo.errors import DataError
from videozoo.ops.segment_candidates import CURVES
from videozoo.ops.segment_decoders import propose_and_score
from videozoo.tasks.common import speaker, without_absent_names
from videozoo.tasks.exporting import (
    MOST_ROWS,
    OPSET,
    check_facts,
    description,
    difference,
    forget_traces,
    one_process,
    onnx_model,
    onnx_target,
    refuse_existing,
    summary,
    tracing,
    write_compared,
    write_onnx,
)
from videozoo.tasks.loading import Trained, build_trained
from videozoo.tasks.localisation.exported import (
    ExportedLocaliser,
    ExportedScorer,
)
from videozoo.tasks.localisation.prediction import SourcesOf, class_names, feature_sources
from videozoo.tasks.localisation.sources import localiser_of, num_classes, sequence_shape
from videozoo.tasks.predictors import without_workers
from videozoo.tasks.requests import ExportRequest
from videozoo.types import Localisation, SegmentGraph, TwoStageLocalisation
from videozoo.weights.exported import Description, ExportedSegments, second_path
from videozoo.weights.files import sha256_of
from videozoo.weights.onnx_graphs import graph_sha256
from videozoo.weights.port_names import FEATURES, PROPOSALS, SCORES
from videozoo.weights.whole_files import written_aside

_BATCHES = (1, 3, 2)
"""Random videos to compare, batch by batch; a graph is traced with 2."""
_NUMBERS_OF_PROPOSALS = ((1, 1), (3, 17), (2, 5))
"""Random proposals to compare: videos, and proposals of each."""
_MOST_REAL = 3  # videos of the configured data compared


class SegmentModule(nn.Module):
    """The exported module of a localiser: what it returns, as a row of arrays."""

    def __init__(self, network: nn.Module, graph: SegmentGraph) -> None:
        super().__init__()
        self.network, self.graph = network, graph

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """(N, feature_dim, T) -> the outputs of `SegmentGraph`."""
        return tuple(self.graph.outputs(self.network(features)).values())


def export(trained: Trained, request: ExportRequest, *, console: Console | None = None) -> Path:
    """Write a trained localiser as an ONNX file, or as two, compared with the model first.

    Returns:
        The file; the first if there are two.

    Raises:
        WeightsError: The weights do not fit, or are exported already.
        RunError: A package is missing, a file exists, or the answers are not the model's.
        UsageError: A format or a flag is only for other models.
    """
    path = onnx_target(trained, request)
    config, task = without_absent_names(trained.config), localiser_of(trained.config)
    stages = task if isinstance(task, TwoStageLocalisation) else None
    second = None if stages is None else second_path(path, stages.second.part)
    if second is not None:
        refuse_existing(second, request)
    say = _said(config, console)
    network = build_trained(trained, config).eval().requires_grad_(False)
    first = network if stages is None else network.get_submodule(stages.first.part)
    segments = _segments_of(first, config, task)
    names = class_names(trained, config, None) if num_classes(config) is not None else None
    about = description(trained, config, names, segments=segments, opset=OPSET)
    module = SegmentModule(first, _graph_of(task)).eval()
    real = _Real.of(config, feature_sources, say) if request.check else None
    proto = onnx_model(
        trace(module, (segments.feature_dim, segments.decoding.num_steps)),
        {FEATURES: ("N",)},
        dict.fromkeys(segments.outputs, ("N",)),
    )
    if stages is None or second is None:

        def compare(file: Path) -> tuple[float, str]:
            return _largest_difference(ExportedLocaliser(file, segments), module, segments, real)

        about = write_compared(proto, path, about, compare if request.check else None)
        _say_all(say, about, [path], segments, config)
        return path
    scorer = network.get_submodule(stages.second.part)
    dim = segments.decoding.proposals.feature_dim
    second_proto = onnx_model(
        trace_scorer(scorer, dim), {PROPOSALS: ("N", "K")}, {SCORES: ("N", "K")}
    )
    with written_aside(second) as second_aside, written_aside(path) as aside:
        write_onnx(proto, aside, about.model_copy(update={"part": "first"}))
        own = {"part": "second", "first_sha256": graph_sha256(aside)}
        write_onnx(second_proto, second_aside, about.model_copy(update=own))
        if request.check:
            graph = ExportedLocaliser(aside, segments)
            found, inputs = _largest_difference(graph, module, segments, real)
            given = _random_proposals(dim) + _proposals_of(module, segments, real)
            found = max(found, _scores_differ(ExportedScorer(second_aside), scorer, given))
            about = about.model_copy(update={"check": check_facts(found, inputs, path)})
            write_onnx(second_proto, second_aside, about.model_copy(update=own))
        first_half = {"part": "first", "step_sha256": sha256_of(second_aside)}
        write_onnx(proto, aside, about.model_copy(update=first_half))
    _say_all(say, about, [path, second], segments, config)
    return path


def export_scorer(
    trained: Trained,
    request: ExportRequest,
    *,
    sources_of: SourcesOf,
    console: Console | None = None,
) -> Path:
    """Write a trained model that scores proposals as an ONNX file, compared with the model first.

    Args:
        trained: The model.
        request: The options of the command.
        sources_of: Finds proposals to compare on.
        console: For messages.

    Returns:
        The file.

    Raises:
        VideozooError: As `export`.
    """
    path = onnx_target(trained, request)
    config = without_absent_names(trained.config)
    say = _said(config, console)
    about = description(trained, config, None, opset=OPSET)
    network = build_trained(trained, config).eval().requires_grad_(False)
    dim = config.model.feature_dim
    proto = onnx_model(trace_scorer(network, dim), {PROPOSALS: ("N", "K")}, {SCORES: ("N", "K")})

    def compare(file: Path) -> tuple[float, str]:
        real = _Real.of(config, sources_of, say)
        given = _random_proposals(dim) + ([] if real is None else [real.features])
        videos = sum(videos for videos, _ in _NUMBERS_OF_PROPOSALS)
        found = _scores_differ(ExportedScorer(file), network, given)
        return found, f"proposals of {videos} random videos{_and(real)}"

    about = write_compared(proto, path, about, compare if request.check else None)
    for line in summary(about, path):
        say(line)
    say(f"in: {PROPOSALS} float32 (N, K, {dim}); out: {SCORES} (N, K)")
    say(f"use it: {command('predict', '--weights', path, 'PROPOSALS', 'PROPOSAL_FEATURES')}")
    return path


def _said(config: RunConfig, console: Console | None) -> Callable[[str], None]:
    say = speaker(console or Console(), one_process())
    for note in config.notes:
        say(f"note: {note}")
    return say


def _graph_of(task: Localisation) -> SegmentGraph:
    assert task.exports is not None  # as `run.export` has checked
    return task.exports


@torch.no_grad()
def _segments_of(first: nn.Module, config: RunConfig, task: Localisation) -> ExportedSegments:
    shape, graph = sequence_shape(config), _graph_of(task)
    outputs = graph.outputs(first(torch.zeros(1, shape.feature_dim, shape.num_steps)))
    return ExportedSegments(
        feature_dim=shape.feature_dim,
        outputs=tuple(outputs),
        curves=tuple(graph.curves),
        decoding=graph.decoding(config.model),
        decides=task.decides,
        background=task.background,
        proposals=None if task.proposals is None else task.proposals(config.model),
        second=task.second.part if isinstance(task, TwoStageLocalisation) else "",
    )


def trace(module: SegmentModule, size: tuple[int, int]) -> ExportedProgram:
    """Turn a localiser into a graph for any number of videos.

    Args:
        module: In evaluation mode.
        size: Length of a step's features, and number of steps.
    """
    with tracing():
        program = torch.export.export(
            module,
            (torch.zeros(2, *size),),
            dynamic_shapes={"features": {0: Dim("N", min=1, max=MOST_ROWS)}},
        )
    return forget_traces(program)


class _ScoringModule(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, proposals: Tensor) -> Tensor:
        return self.network(proposals)


def trace_scorer(network: nn.Module, feature_dim: int) -> ExportedProgram:
    """Turn a model that scores proposals into a graph for any number of videos and proposals."""
    videos, proposals = (Dim(name, min=1, max=MOST_ROWS) for name in ("N", "K"))
    with tracing():
        program = torch.export.export(
            _ScoringModule(network).eval(),
            (torch.zeros(2, 3, feature_dim),),
            dynamic_shapes={"proposals": {0: videos, 1: proposals}},
        )
    return forget_traces(program)


# --- the comparison --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Real:
    """The first videos of the configured data, as the model reads them."""

    features: Tensor
    names: tuple[str, ...]

    @classmethod
    def of(
        cls, config: RunConfig, sources_of: SourcesOf, say: Callable[[str], None]
    ) -> _Real | None:
        """Read them; None, and a note, where there are none."""
        why = "none of them can be used"
        try:
            features = getattr(config.data, "features", None)
            source = sources_of([] if features is None else [str(features)], config)[0]
            source.config = without_workers(source.config)
            batch = next(iter(source.batches(Accelerator(cpu=True), skip_bad=True)), None)
            if batch is not None:
                return cls(batch.features[:_MOST_REAL], tuple(batch.names[:_MOST_REAL]))
        except DataError as error:
            why = str(error).partition("\n")[0]
        say(f"note: compared on random input only, no videos at hand ({why})")
        return None


def _and(real: _Real | None) -> str:
    return "" if real is None else f" and of {', '.join(real.names)}"


@torch.no_grad()
def _largest_difference(
    graph: ExportedLocaliser, module: SegmentModule, segments: ExportedSegments, real: _Real | None
) -> tuple[float, str]:
    """The largest difference of an output; what was compared, in words."""
    generator = torch.Generator().manual_seed(0)
    size = segments.feature_dim, segments.decoding.num_steps
    given = [torch.randn(number, *size, generator=generator) for number in _BATCHES]
    given += [] if real is None else [real.features]
    found = [
        difference(got, expected)
        for features in given
        for got, expected in zip(graph(features).values(), module(features), strict=True)
    ]
    return max(found), f"features of {sum(_BATCHES)} random videos{_and(real)}"


def _random_proposals(feature_dim: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.rand(*numbers, feature_dim, generator=generator) for numbers in _NUMBERS_OF_PROPOSALS
    ]


@torch.no_grad()
def _proposals_of(
    module: SegmentModule, segments: ExportedSegments, real: _Real | None
) -> list[Tensor]:
    """What the first stage gives the second of real videos."""
    given: list[Tensor] = []

    def kept(proposals: Tensor) -> Tensor:
        given.append(proposals)
        return proposals[:, :, 0]

    if real is not None:
        outputs = dict(zip(segments.outputs, module(real.features), strict=True))
        curves = torch.stack([outputs[name] for name in CURVES], dim=1)
        propose_and_score(curves, segments.decoding.proposals, kept)
    return given


@torch.no_grad()
def _scores_differ(graph: ExportedScorer, network: nn.Module, given: Sequence[Tensor]) -> float:
    return max(difference(graph(each), network(each)) for each in given)


# --- messages for the user -------------------------------------------------------------------


def _say_all(
    say: Callable[[str], None],
    about: Description,
    paths: Sequence[Path],
    segments: ExportedSegments,
    config: RunConfig,
) -> None:
    for line in (*summary(about, *paths), *_ports(segments)):
        say(line)
    features: Path | None = config.data.features
    there = features if features is not None and features.exists() else "FEATURES"
    say(f"use it: {command('predict', '--weights', paths[0], there)}")


def _ports(segments: ExportedSegments) -> Iterator[str]:
    size = f"(N, {segments.feature_dim}, {segments.decoding.num_steps})"
    yield f"in: {FEATURES} float32 {size}; out: {', '.join(segments.outputs)}"
    if segments.second:
        yield (
            f"second stage, in: {PROPOSALS} float32 (N, K, "
            f"{segments.decoding.proposals.feature_dim}); out: {SCORES} (N, K)"
        )
