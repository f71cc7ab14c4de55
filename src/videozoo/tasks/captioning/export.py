"""Write a trained model that describes events as two ONNX files: the encoder, and a word's step.

The search for the likeliest sentence goes on around them: it is `beam_search`, as for the weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from videozoo.commands import command
from videozoo.errors import RunError
from videozoo.models.ets import ETS
from videozoo.ops.gated_recurrence import recurrent_weights
from videozoo.tasks.captioning.exported import (
    ENCODER_OUTPUTS,
    STEP_INPUTS,
    ExportedETS,
)
from videozoo.tasks.captioning.scoring import network_of, sized, trained_vocabulary
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
    quiet_exporters,
    refuse_existing,
    sha256_of,
    summary,
    write_onnx,
)
from videozoo.tasks.loading import Trained, build_trained
from videozoo.tasks.next_steps import a_file_of
from videozoo.tasks.requests import ExportRequest
from videozoo.weights._files import written_aside
from videozoo.weights.exported import step_file

_LENGTHS = ((1,), (4,), (3, 1), (2, 7, 5), (40, 23))
"""Frames of the videos of each batch that is compared."""
_WORDS, _SENTENCES = 4, 3
"""How many words are compared, and in how many sentences a video."""


class EncoderGraph(nn.Module):
    """From frames to what the decoder needs to know of a video.

    ONNX has an operator for the GRUs that read the frames. There the update gate weighs the old
    state and not the new candidate, so its numbers get the other sign: 1 - sigmoid(x) is
    sigmoid(-x).
    """

    weight: Tensor
    recurrent: Tensor
    bias: Tensor

    def __init__(self, network: ETS) -> None:
        super().__init__()
        self.network = network
        size = network.bias[0].shape[1] // 3
        sign = torch.ones(3 * size)
        sign[:size] = -1
        gates, candidate = recurrent_weights(torch.stack(tuple(network.recurrent)))
        recurrent = torch.cat((gates, candidate), dim=2).transpose(1, 2)
        bias = torch.cat(tuple(network.bias)) * sign
        weight = torch.stack([layer.get_parameter("weight") for layer in network.inputs])
        self.size = size
        self.register_buffer("weight", weight * sign[:, None])
        self.register_buffer("recurrent", recurrent * sign[:, None])
        self.register_buffer("bias", torch.cat((bias, torch.zeros_like(bias)), dim=1))

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `ENCODER_INPUTS` and `ENCODER_OUTPUTS`."""
        x = torch.tanh(self.network.embed(features)).transpose(0, 1)
        states = torch.onnx.ops.symbolic(
            "GRU",
            (x, self.weight, self.recurrent, self.bias, lengths.to(torch.int32)),
            {"hidden_size": self.size, "direction": "bidirectional", "linear_before_reset": 0},
            dtype=torch.float32,
            shape=(x.shape[0], 2, x.shape[1], self.size),
            version=14,
        )
        encoded = self.network.look(states.permute(2, 0, 1, 3).flatten(2), lengths)
        return self.network.context_inputs(encoded.context), encoded.start, encoded.attention


class StepGraph(nn.Module):
    """From the last words to the next."""

    def __init__(self, network: ETS) -> None:
        super().__init__()
        self.network = network

    def forward(self, context: Tensor, words: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """See `STEP_INPUTS` and `STEP_OUTPUTS`."""
        return self.network.step_from(context, words, states)


def export(trained: Trained, request: ExportRequest, *, console: Console | None = None) -> Path:
    """Write a trained model as two ONNX files, compared with the model first.

    Returns:
        The encoder's file, which names the model; that of the step lies beside it.

    Raises:
        WeightsError: The weights do not fit, or are exported already.
        RunError: A package is missing or too old, a file exists, or the answers differ.
        UsageError: A format or a flag is for other models.
        DataError: Nothing tells the model's words.
    """
    path = onnx_target(trained, request)
    if not hasattr(torch.onnx, "ops"):
        raise RunError(
            f"torch {torch.__version__} cannot write the operator that reads frames; "
            "run: pip install 'torch>=2.8'"
        )
    step_path = step_file(path)
    refuse_existing(step_path, request)
    say = speaker(console or Console(), one_process())
    vocabulary = trained_vocabulary(trained)
    config = sized(trained.config, vocabulary, str(trained.config.data.vocabulary or trained.path))
    for note in config.notes:
        say(f"note: {note}")
    features = None if trained.features is None else dict(trained.features)
    about = description(trained, config, vocabulary.words, features=features, opset=OPSET)
    network = network_of(build_trained(trained, config).eval().requires_grad_(False))
    encoder = onnx_model(
        trace_encoder(network),
        {"features": ("N", "T"), "lengths": ("N",)},
        {"context": ("N",), "start": ("N",), "attention": ("N", "T")},
    )
    step = onnx_model(
        trace_step(network),
        {"context": ("N",), "words": ("N", "K"), "states": ("N", "K")},
        {"log_probs": ("N", "K"), "next_states": ("N", "K")},
    )
    with written_aside(step_path) as step_aside, written_aside(path) as aside:
        write_onnx(encoder, aside, about)
        write_onnx(step, step_aside, about.model_copy(update={"part": "step"}))
        if request.check:
            found = _largest_difference(ExportedETS(aside, step_aside), network)
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


def trace_encoder(network: ETS) -> ExportedProgram:
    """Turn the encoder of a network in evaluation mode into a graph."""
    videos, frames = (Dim(name, min=1, max=MOST_ROWS) for name in ("N", "T"))
    given = torch.zeros(2, 3, network.embed.in_features), torch.ones(2, dtype=torch.int64)
    with quiet_exporters():
        program = torch.export.export(
            EncoderGraph(network).eval(),
            given,
            dynamic_shapes={"features": {0: videos, 1: frames}, "lengths": {0: videos}},
        )
    return forget_traces(program)


def trace_step(network: ETS) -> ExportedProgram:
    """Turn the step of a network in evaluation mode into a graph."""
    videos, sentences = (Dim(name, min=1, max=MOST_ROWS) for name in ("N", "K"))
    size = network.head.in_features
    given = (
        torch.zeros(2, 3 * size),
        torch.zeros(2, 3, dtype=torch.int64),
        torch.zeros(2, 3, size),
    )
    with quiet_exporters():
        program = torch.export.export(
            StepGraph(network).eval(),
            given,
            dynamic_shapes={
                "context": {0: videos},
                "words": {0: videos, 1: sentences},
                "states": {0: videos, 1: sentences},
            },
        )
    return forget_traces(program)


@torch.no_grad()
def _largest_difference(graph: ExportedETS, network: ETS) -> float:
    """Over what the encoder gives, and a few words of random sentences from there on."""
    generator = torch.Generator().manual_seed(0)
    found: list[float] = []
    for frames in _LENGTHS:
        lengths = torch.tensor(frames)
        shape = len(frames), max(frames), network.embed.in_features
        features = torch.randn(shape, generator=generator)
        context, start, attention = graph.encode(features, lengths)
        encoded = network.encode(features, lengths)
        found.append(difference(context, network.context_inputs(encoded.context)))
        found.append(difference(start, encoded.start))
        found.append(difference(attention, encoded.attention))
        states = ours = encoded.start[:, None].repeat(1, _SENTENCES, 1)
        for _ in range(_WORDS):
            words = torch.randint(
                network.head.out_features, (len(frames), _SENTENCES), generator=generator
            )
            log_probs, states = graph.step(context, words, states)
            expected, ours, _ = network.step(encoded, words, ours)
            found += [difference(log_probs, expected), difference(states, ours)]
    return max(found)
