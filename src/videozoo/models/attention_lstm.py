"""Attention LSTM: read the frames both ways, then weigh them (PaddlePaddle, arXiv:1503.08909).

Ng et al. "Beyond Short Snippets: Deep Networks for Video Classification", CVPR 2015, made
bidirectional and with attention. Reference behaviour: PaddlePaddle/models release/1.8.

::

    a stream's frames (N, T, D) ── tanh layer ─┬─ LSTM, first to last ─┐
                                               └─ LSTM, last to first ─┴─ (N, T, 2H) ── dropout
                                                                                          │
                                         mean over T, weighted by softmax of a score a frame
    every stream's 2H values side by side ── 8192 relu ── 4096 tanh ── class scores

The LSTMs have peepholes: their gates see the cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from videozoo.ops import DowngradeDropout, frame_mask, peephole_lstm, softmax_over_frames
from videozoo.ops.frames import attended, linear
from videozoo.ops.peephole import reversed_in_time
from videozoo.types import (
    FeatureShape,
    ModelSpec,
    PaddleName,
    PaddleWeights,
    ParameterRule,
    Settings,
    Stream,
    Streams,
    Tagging,
)


class AttentionLSTMSettings(Settings):
    """Architecture of Attention LSTM."""

    num_classes: int = Field(default=3862, ge=1)
    """Number of tags; a video may have several."""
    streams: Streams[Stream] = (Stream(name="rgb", dim=1024), Stream(name="audio", dim=128))
    """Features of a video: name and dim."""
    embedding_size: int = Field(default=512, ge=1)
    """Units between a stream and its LSTMs."""
    lstm_size: int = Field(default=1024, ge=1)
    """Units of each LSTM."""
    hidden_sizes: tuple[PositiveInt, PositiveInt] = (8192, 4096)
    """Units of the two layers before the last."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of the LSTMs' outputs dropped in training; evaluation scales by 1 - dropout."""


class BothWays(nn.Module):
    """A stream's embedding and its two LSTMs: one reads forwards, one backwards."""

    def __init__(self, dim: int, embedding: int, size: int) -> None:
        super().__init__()
        self.embed = linear(dim, embedding, init="xavier")
        self.inputs = nn.ModuleList(linear(embedding, 4 * size, init="xavier") for _ in range(2))
        self.recurrent = nn.ParameterList(
            nn.init.xavier_uniform_(torch.empty(4 * size, size)) for _ in range(2)
        )
        self.bias = nn.ParameterList(torch.zeros(7 * size) for _ in range(2))
        """Of the gates (candidate, input, forget, output), then three peepholes."""

    def gates(self, frames: Tensor, lengths: Tensor) -> list[Tensor]:
        """(N, T, D) -> inputs of the two LSTMs, (N, T, 4H) each, in the order they read."""
        x = torch.tanh(self.embed(frames))
        forwards, backwards = self.inputs
        return [forwards(x), reversed_in_time(backwards(x), lengths)]


class AttentionLSTM(nn.Module):
    """Feature sequences in, tag logits out."""

    def __init__(self, settings: AttentionLSTMSettings) -> None:
        super().__init__()
        size = settings.lstm_size
        self.readers = nn.ModuleList(
            BothWays(s.dim, settings.embedding_size, size) for s in settings.streams
        )
        self.scores = nn.ModuleList(linear(2 * size, 1, init="xavier") for _ in settings.streams)
        self.dropout = DowngradeDropout(settings.dropout)
        first, second = settings.hidden_sizes
        self.hidden_1 = linear(2 * size * len(settings.streams), first, init="xavier")
        self.hidden_2 = linear(first, second, init="xavier")
        self.head = linear(second, settings.num_classes, init="xavier")

    def forward(self, streams: Sequence[Tensor], lengths: Tensor) -> Tensor:
        """Score each video.

        Args:
            streams: One (N, T, dim) per stream, padded at the end.
            lengths: int64 (N,), frames of each video, at least 1.

        Returns:
            Logits (N, num_classes); their sigmoids are the scores.
        """
        return self.classify(self._states(streams, lengths), lengths)

    def frame_weights(self, streams: Sequence[Tensor], lengths: Tensor) -> list[Tensor]:
        """Where each stream looks: (N, T), each row summing to 1."""
        return self.look(self._states(streams, lengths), lengths)

    def classify(self, states: Sequence[Tensor], lengths: Tensor) -> Tensor:
        """From the states of the LSTMs, (N, T, 2H) per stream, to logits (N, num_classes)."""
        states = [self.dropout(each) for each in states]
        means = [
            attended(weights[:, :, None], each).squeeze(1)
            for weights, each in zip(self._weights(states, lengths), states, strict=True)
        ]
        x = torch.relu(self.hidden_1(torch.cat(means, dim=1)))
        return self.head(torch.tanh(self.hidden_2(x)))

    def look(self, states: Sequence[Tensor], lengths: Tensor) -> list[Tensor]:
        """From the states of the LSTMs to where each stream looks: (N, T) per stream."""
        return self._weights([self.dropout(each) for each in states], lengths)

    def _weights(self, states: Sequence[Tensor], lengths: Tensor) -> list[Tensor]:
        mask = frame_mask(lengths, states[0].shape[1])
        return [
            softmax_over_frames(score(each).squeeze(2), mask)
            for score, each in zip(self.scores, states, strict=True)
        ]

    def _states(self, streams: Sequence[Tensor], lengths: Tensor) -> list[Tensor]:
        """Run the LSTMs of all streams side by side; (N, T, 2H) per stream."""
        gates, weights, biases = list[Tensor](), list[Tensor](), list[Tensor]()
        for reader, frames in zip(self.readers, streams, strict=True):
            assert isinstance(reader, BothWays)
            gates += reader.gates(frames, lengths)
            weights += reader.recurrent
            biases += reader.bias
        hidden = peephole_lstm(
            torch.stack(gates), torch.stack(weights), torch.stack(biases), lengths
        )
        pairs = zip(hidden[0::2], hidden[1::2], strict=True)
        return [
            torch.cat((forwards, reversed_in_time(backwards, lengths)), dim=2)
            for forwards, backwards in pairs
        ]


class Graph(nn.Module):
    """As `AttentionLSTM`, for an export: ONNX has an operator for LSTMs with peepholes.

    It orders the gates input, output, forget, candidate, and the peepholes input, output, forget.
    """

    def __init__(self, network: AttentionLSTM) -> None:
        super().__init__()
        self.network = network
        self.size = network.scores[0].get_parameter("weight").shape[1] // 2
        for number, reader in enumerate(network.readers):
            assert isinstance(reader, BothWays)
            weights = [layer.get_parameter("weight") for layer in reader.inputs]
            gates, peepholes = zip(*(self._parts(bias) for bias in reader.bias), strict=True)
            own = [layer.get_parameter("bias") for layer in reader.inputs]
            biases = [
                torch.cat((self._ordered(of_inputs), of_gates))
                for of_inputs, of_gates in zip(own, gates, strict=True)
            ]
            for name, values in {
                "weight": torch.stack([self._ordered(each) for each in weights]),
                "recurrent": torch.stack([self._ordered(each) for each in reader.recurrent]),
                "bias": torch.stack(biases),
                "peepholes": torch.stack(peepholes),
            }.items():
                self.register_buffer(f"{name}_{number}", values.detach())

    def _ordered(self, rows: Tensor) -> Tensor:
        """Rows of candidate, input, forget, output, in the order of ONNX."""
        candidate, given, forget, output = rows.split(self.size)
        return torch.cat((given, output, forget, candidate))

    def _parts(self, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The bias of the gates and the peepholes, each in the order of ONNX."""
        gates, given, forget, output = bias.split((4 * self.size, *(self.size,) * 3))
        return self._ordered(gates), torch.cat((given, output, forget))

    def forward(self, streams: Sequence[Tensor], lengths: Tensor) -> Tensor:
        """As `AttentionLSTM.forward`."""
        return self.network.classify(self._states(streams, lengths), lengths)

    def frame_weights(self, streams: Sequence[Tensor], lengths: Tensor) -> list[Tensor]:
        """As `AttentionLSTM.frame_weights`."""
        return self.network.look(self._states(streams, lengths), lengths)

    def _states(self, streams: Sequence[Tensor], lengths: Tensor) -> list[Tensor]:
        return [self._stream(number, frames, lengths) for number, frames in enumerate(streams)]

    def _stream(self, number: int, frames: Tensor, lengths: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, 2H)."""
        reader = self.network.readers[number]
        assert isinstance(reader, BothWays)
        x = torch.tanh(reader.embed(frames)).transpose(0, 1)
        weight, recurrent, bias, peepholes = (
            self.get_buffer(f"{name}_{number}")
            for name in ("weight", "recurrent", "bias", "peepholes")
        )
        start = x.new_zeros(2, x.shape[1], self.size)
        states = torch.onnx.ops.symbolic(
            "LSTM",
            (x, weight, recurrent, bias, lengths.to(torch.int32), start, start, peepholes),
            {"hidden_size": self.size, "direction": "bidirectional"},
            dtype=torch.float32,
            shape=(x.shape[0], 2, x.shape[1], self.size),
            version=14,
        )
        return states.permute(2, 0, 1, 3).flatten(2)


def paddle_names(settings: AttentionLSTMSettings) -> dict[str, PaddleName]:
    """Keys of the state_dict to their PaddlePaddle names, numbered in the order of creation."""
    names = dict[str, PaddleName]()
    for i in range(len(settings.streams)):
        ours = f"readers.{i}"
        names |= _fc(f"{ours}.embed", 4 * i)
        for way in range(2):
            names |= _fc(f"{ours}.inputs.{way}", 4 * i + 1 + way)
            lstm = f"lstm_{2 * i + way}"
            names[f"{ours}.recurrent.{way}"] = PaddleName(f"{lstm}.w_0", transpose=True)
            names[f"{ours}.bias.{way}"] = PaddleName(f"{lstm}.b_0", reshape=True)  # (1, 7H) there
        names |= _fc(f"scores.{i}", 4 * i + 3)
    last = 4 * len(settings.streams)
    for i, ours in enumerate(("hidden_1", "hidden_2", "head")):
        names |= _fc(ours, last + i)
    return names


def _fc(ours: str, number: int) -> dict[str, PaddleName]:
    return {
        f"{ours}.weight": PaddleName(f"fc_{number}.w_0", transpose=True),
        f"{ours}.bias": PaddleName(f"fc_{number}.b_0"),
    }


def parameter_rules(module: nn.Module) -> dict[str, ParameterRule]:
    """Biases of fully connected layers do not decay; those of the LSTMs do."""
    return {
        f"{name}.bias": ParameterRule(decay="none")
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear)
    }


def feature_shape(settings: AttentionLSTMSettings) -> FeatureShape:
    """Every frame."""
    return FeatureShape(streams=settings.streams)


SPEC = ModelSpec(
    title="Attention LSTM",
    task=Tagging(feature_shape=feature_shape, explains=True, exports=Graph, loss_over_batch="sum"),
    settings=AttentionLSTMSettings,
    build=AttentionLSTM,
    parameter_rules=parameter_rules,
    paddle=PaddleWeights(names=paddle_names),
)
