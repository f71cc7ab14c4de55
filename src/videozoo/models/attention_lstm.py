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
from pydantic import Field
from torch import Tensor, nn

from videozoo.ops import DowngradeDropout, frame_mask, peephole_lstm, softmax_over_frames
from videozoo.ops.frames import attended, linear
from videozoo.ops.peephole_lstm import reversed_in_time
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
    hidden_sizes: tuple[int, int] = (8192, 4096)
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
        means = [
            attended(weights[:, :, None], states).squeeze(1)
            for weights, states in self._weighted(streams, lengths)
        ]
        x = torch.relu(self.hidden_1(torch.cat(means, dim=1)))
        return self.head(torch.tanh(self.hidden_2(x)))

    def frame_weights(self, streams: Sequence[Tensor], lengths: Tensor) -> list[Tensor]:
        """Where each stream looks: (N, T), each row summing to 1."""
        return [weights for weights, _ in self._weighted(streams, lengths)]

    def _weighted(self, streams: Sequence[Tensor], lengths: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Each stream's attention (N, T), and the states (N, T, 2H) it is over."""
        mask = frame_mask(lengths, streams[0].shape[1])
        weighted: list[tuple[Tensor, Tensor]] = []
        for score, states in zip(self.scores, self._states(streams, lengths), strict=True):
            states = self.dropout(states)
            weighted.append((softmax_over_frames(score(states).squeeze(2), mask), states))
        return weighted

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
    task=Tagging(feature_shape=feature_shape, explains=True, loss_over_batch="sum"),
    settings=AttentionLSTMSettings,
    build=AttentionLSTM,
    parameter_rules=parameter_rules,
    paddle=PaddleWeights(names=paddle_names),
)
