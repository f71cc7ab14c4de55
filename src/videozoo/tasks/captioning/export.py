"""Export a trained captioning model as two ONNX files: the encoder, and the step for one word.

The search for the best sentence is not exported: `beam_search` calls the graphs.
"""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from torch import nn
from torch.export import Dim, ExportedProgram

from videozoo.commands import command
from videozoo.config import RunConfig
from videozoo.errors import RunError
from videozoo.tasks.captioning.exported import ExportedCaptioner
from videozoo.tasks.captioning.scoring import sized, trained_vocabulary
from videozoo.tasks.common import speaker
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
    write_onnx,
)
from videozoo.tasks.loading import Trained, build_trained
from videozoo.tasks.next_steps import a_file_of
from videozoo.tasks.requests import ExportRequest
from videozoo.types import CaptionGraphs, Captioning
from videozoo.weights.exported import step_file
from videozoo.weights.files import sha256_of
from videozoo.weights.port_names import ENCODER_OUTPUTS, STEP_INPUTS
from videozoo.weights.whole_files import written_aside

_LENGTHS = ((1,), (4,), (3, 1), (2, 7, 5), (40, 23))
"""Frames of the videos in each compared batch."""
_WORDS, _SENTENCES = 4, 3
"""Number of compared words, and of sentences per video."""


def export(trained: Trained, request: ExportRequest, *, console: Console | None = None) -> Path:
    """Write a trained model as two ONNX files, compared with the model first.

    Returns:
        The encoder file, which names the model; the step file lies beside it.

    Raises:
        WeightsError: The weights do not fit, or are exported already.
        RunError: A package is missing, a file exists, or the answers differ.
        UsageError: A format or a flag is only for other models.
        DataError: The words of the model are unknown.
    """
    path = onnx_target(trained, request)
    graphs = _graphs_of(trained.config)
    step_path = step_file(path)
    refuse_existing(step_path, request)
    say = speaker(console or Console(), one_process())
    vocabulary = trained_vocabulary(trained)
    config = sized(trained.config, vocabulary, str(trained.config.data.vocabulary or trained.path))
    for note in config.notes:
        say(f"note: {note}")
    about = description(trained, config, vocabulary.words, opset=OPSET)
    network = build_trained(trained, config).eval().requires_grad_(False)
    reference = graphs.reference(network).eval()
    step_of_model = graphs.step(network).eval()
    encoder = onnx_model(
        trace_encoder(graphs.encoder(network).eval(), config.model.feature_dim),
        {"features": ("N", "T"), "lengths": ("N",)},
        {"context": ("N",), "start": ("N",), "attention": ("N", "T")},
    )
    step = onnx_model(
        trace_step(step_of_model, reference, config.model.feature_dim),
        {"context": ("N",), "words": ("N", "K"), "states": ("N", "K")},
        {"log_probs": ("N", "K"), "next_states": ("N", "K")},
    )
    with written_aside(step_path) as step_aside, written_aside(path) as aside:
        write_onnx(encoder, aside, about)
        write_onnx(step, step_aside, about.model_copy(update={"part": "step"}))
        if request.check:
            found = _largest_difference(
                ExportedCaptioner(aside, step_aside), reference, step_of_model, config
            )
            inputs = f"{sum(map(len, _LENGTHS))} random videos"
            about = about.model_copy(update={"check": check_facts(found, inputs, path)})
            write_onnx(step, step_aside, about.model_copy(update={"part": "step"}))
        first = {"part": "first", "step_sha256": sha256_of(step_aside)}
        write_onnx(encoder, aside, about.model_copy(update=first))
    for line in summary(about, path, step_path):
        say(line)
    model = config.model
    say(
        f"in: features float32 (N, T, {model.feature_dim}), lengths int64 (N,); "
        f"out: {', '.join(ENCODER_OUTPUTS)}"
    )
    say(
        f"a word: {', '.join(STEP_INPUTS)}; "
        f"out: log_probs (N, K, {model.vocabulary_size}), next_states"
    )
    words = ("predict", "--weights", path, a_file_of(config.data) or "EVENTS")
    say(f"use it: {command(*words)}")
    return path


def _graphs_of(config: RunConfig) -> CaptionGraphs:
    task = config.spec.task
    if not isinstance(task, Captioning) or task.exports is None:
        raise RunError(f"{config.spec.title} cannot be exported: its model file has no graphs")
    return task.exports


def trace_encoder(encoder: nn.Module, feature_dim: int) -> ExportedProgram:
    """Turn an encoder (see `CaptionGraphs`) into a graph."""
    videos, frames = (Dim(name, min=1, max=MOST_ROWS) for name in ("N", "T"))
    given = torch.zeros(2, 3, feature_dim), torch.ones(2, dtype=torch.int64)
    with tracing():
        program = torch.export.export(
            encoder,
            given,
            dynamic_shapes={"features": {0: videos, 1: frames}, "lengths": {0: videos}},
        )
    return forget_traces(program)


def trace_step(step: nn.Module, encoder: nn.Module, feature_dim: int) -> ExportedProgram:
    """Turn a step (see `CaptionGraphs`) into a graph; the encoder gives the sizes between them."""
    videos, sentences = (Dim(name, min=1, max=MOST_ROWS) for name in ("N", "K"))
    with torch.no_grad():
        context, start, _ = encoder(torch.zeros(2, 3, feature_dim), torch.ones(2).long())
    given = (
        torch.zeros_like(context),
        torch.zeros(2, 3, dtype=torch.int64),
        torch.zeros(2, 3, start.shape[1]),
    )
    with tracing():
        program = torch.export.export(
            step,
            given,
            dynamic_shapes={
                "context": {0: videos},
                "words": {0: videos, 1: sentences},
                "states": {0: videos, 1: sentences},
            },
        )
    return forget_traces(program)


@torch.no_grad()
def _largest_difference(
    graph: ExportedCaptioner, encoder: nn.Module, step: nn.Module, config: RunConfig
) -> float:
    """The largest difference over the encoder outputs and a few words of random sentences."""
    generator = torch.Generator().manual_seed(0)
    found: list[float] = []
    for frames in _LENGTHS:
        lengths = torch.tensor(frames)
        shape = len(frames), max(frames), config.model.feature_dim
        features = torch.randn(shape, generator=generator)
        got, expected = graph.encode(features, lengths), encoder(features, lengths)
        found += [difference(*pair) for pair in zip(got, expected, strict=True)]
        states = got[1][:, None].repeat(1, _SENTENCES, 1)
        ours = expected[1][:, None].repeat(1, _SENTENCES, 1)
        for _ in range(_WORDS):
            size = len(frames), _SENTENCES
            words = torch.randint(config.model.vocabulary_size, size, generator=generator)
            log_probs, states = graph.step(got[0], words, states)
            wanted, ours = step(expected[0], words, ours)
            found += [difference(log_probs, wanted), difference(states, ours)]
    return max(found)
