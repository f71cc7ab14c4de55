"""Export a trained moment model as one ONNX file: pairs in, three numbers per pair out."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from videozoo.commands import command
from videozoo.tasks.common import speaker
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
from videozoo.tasks.moments.exported import ExportedPairs
from videozoo.tasks.next_steps import a_file_of
from videozoo.tasks.requests import ExportRequest
from videozoo.weights.port_names import MOMENTS, SENTENCES, VISUAL

_NUMBERS_OF_PAIRS = (1, 2, 3, 17)  # batches to compare; the graph is traced with 2


class PairGraph(nn.Module):
    """The exported part of the network: from pairs to three numbers each."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, visual: Tensor, sentences: Tensor) -> Tensor:
        """(P, visual_dim), (P, sentence_dim) -> (P, 3)."""
        return self.network.pairs(visual, sentences)  # pyright: ignore[reportCallIssue]


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
    config = trained.config
    for note in config.notes:
        say(f"note: {note}")
    about = description(trained, config, None, opset=OPSET)
    network = build_trained(trained, config).eval().requires_grad_(False)
    sizes: tuple[int, int] = config.model.visual_dim, config.model.sentence_dim
    proto = onnx_model(
        trace(network, sizes), {VISUAL: ("P",), SENTENCES: ("P",)}, {MOMENTS: ("P",)}
    )

    def compare(file: Path) -> tuple[float, str]:
        found = _largest_difference(ExportedPairs(file), PairGraph(network), sizes)
        return found, f"{sum(_NUMBERS_OF_PAIRS)} random pairs"

    about = write_compared(proto, path, about, compare if request.check else None)
    for line in summary(about, path):
        say(line)
    say(
        f"in: {VISUAL} float32 (P, {sizes[0]}), {SENTENCES} float32 (P, {sizes[1]}); "
        f"out: {MOMENTS} (P, 3): similarity, start and end offset"
    )
    words = ("predict", "--weights", path, a_file_of(config.data) or "SENTENCES")
    say(f"use it: {command(*words)}")
    return path


def trace(network: nn.Module, sizes: tuple[int, int]) -> ExportedProgram:
    """Turn a network in evaluation mode into a graph for any number of pairs.

    Args:
        network: Has a method `pairs`.
        sizes: Lengths of a feature vector and of a sentence vector.
    """
    pairs = Dim("P", min=1, max=MOST_ROWS)
    with tracing():
        program = torch.export.export(
            PairGraph(network).eval(),
            tuple(torch.zeros(2, size) for size in sizes),
            dynamic_shapes={VISUAL: {0: pairs}, SENTENCES: {0: pairs}},
        )
    return forget_traces(program)


def _largest_difference(graph: ExportedPairs, model: nn.Module, sizes: tuple[int, int]) -> float:
    generator = torch.Generator().manual_seed(0)
    found: list[float] = []
    for number in _NUMBERS_OF_PAIRS:
        visual, sentences = (torch.randn(number, size, generator=generator) for size in sizes)
        found.append(difference(graph.pairs(visual, sentences), model(visual, sentences)))
    return max(found)
