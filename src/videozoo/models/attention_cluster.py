"""Attention Cluster: a video as a few weighted means of its frames (Long et al., arXiv:1711.09550).

Long et al. "Attention Clusters: Purely Attention Based Local Feature Integration for Video
Classification", CVPR 2018. Reference behaviour: PaddlePaddle/models release/1.8.

::

    a stream's frames (N, T, D) ── K scores a frame ── softmax over T ── K weighted means (N, K, D)
                                                                              │ * w_k + b_k  "shift"
                                                                              │ length 1, / sqrt(K)
    every stream's K * D values side by side ── dropout ── 1024 tanh ── 4096 tanh ── class scores

The order of the frames does not matter: they are a set.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from videozoo.ops import DowngradeDropout, frame_mask, l2_normalize, softmax_over_frames
from videozoo.ops.frames import attended, linear
from videozoo.types import (
    FeatureShape,
    ModelSpec,
    PaddleName,
    PaddleWeights,
    Settings,
    Stream,
    Streams,
    Tagging,
)


class ClusterStream(Stream):
    """A stream and its number of clusters."""

    clusters: int = Field(default=32, ge=1)
    """Weighted means of its frames."""


class AttentionClusterSettings(Settings):
    """Architecture of Attention Cluster."""

    num_classes: int = Field(default=3862, ge=1)
    """Number of tags; a video may have several."""
    streams: Streams[ClusterStream] = (
        ClusterStream(name="rgb", dim=1024),
        ClusterStream(name="audio", dim=128),
    )
    """Features of a video: name, dim, clusters."""
    num_frames: int | None = Field(default=100, ge=1, le=100_000)
    """Frames drawn from each video, one per equal slice; null: all frames."""
    hidden_sizes: tuple[PositiveInt, PositiveInt] = (1024, 4096)
    """Units of the two layers before the last."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of the clusters' values dropped in training; evaluation scales by 1 - dropout."""


class ShiftingAttention(nn.Module):
    """K weighted means of a set of vectors, each moved and scaled, then of length 1 / sqrt(K)."""

    def __init__(self, stream: ClusterStream) -> None:
        super().__init__()
        clusters = stream.clusters
        self.score = linear(stream.dim, clusters, init="msra")
        nn.init.uniform_(self.score.bias, -((6 / clusters) ** 0.5), (6 / clusters) ** 0.5)
        self.shift_weight = nn.Parameter(torch.randn(clusters) * clusters**-0.25)
        self.shift_bias = nn.Parameter(torch.randn(clusters) * clusters**-0.25)

    def attention(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, K), each column summing to 1 over the real frames."""
        return softmax_over_frames(self.score(frames), mask)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(N, T, D) -> (N, K * D), cluster by cluster."""
        means = attended(self.attention(frames, mask), frames)  # (N, K, D)
        moved = means * self.shift_weight[:, None] + self.shift_bias[:, None]
        return (l2_normalize(moved, dim=2) * means.shape[1] ** -0.5).flatten(1)


class AttentionCluster(nn.Module):
    """Feature sequences in, tag logits out."""

    def __init__(self, settings: AttentionClusterSettings) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(ShiftingAttention(s) for s in settings.streams)
        self.dropout = DowngradeDropout(settings.dropout)
        first, second = settings.hidden_sizes
        features = sum(s.clusters * s.dim for s in settings.streams)
        self.hidden_1 = _hidden(features, first)
        self.hidden_2 = _hidden(first, second)
        self.head = linear(second, settings.num_classes, init="msra")
        nn.init.normal_(self.head.bias, std=(2 / settings.num_classes) ** 0.5)

    def forward(self, streams: Sequence[Tensor], lengths: Tensor) -> Tensor:
        """Score each video.

        Args:
            streams: One (N, T, dim) per stream, padded at the end.
            lengths: int64 (N,), frames of each video, at least 1.

        Returns:
            Logits (N, num_classes); their sigmoids are the scores.
        """
        mask = frame_mask(lengths, streams[0].shape[1])
        parts = [
            attention(frames, mask)
            for attention, frames in zip(self.attentions, streams, strict=True)
        ]
        x = self.dropout(torch.cat(parts, dim=1))
        x = torch.tanh(self.hidden_2(torch.tanh(self.hidden_1(x))))
        return self.head(x)

    def frame_weights(self, streams: Sequence[Tensor], lengths: Tensor) -> list[Tensor]:
        """Where each stream looks: (N, T), the mean over its clusters; each row sums to 1."""
        mask = frame_mask(lengths, streams[0].shape[1])
        weights: list[Tensor] = []
        for attention, frames in zip(self.attentions, streams, strict=True):
            assert isinstance(attention, ShiftingAttention)
            weights.append(attention.attention(frames, mask).mean(dim=2))
        return weights


def _hidden(c_in: int, c_out: int) -> nn.Linear:
    """Weights normal; the bias uniform in +-sqrt(6 / c_out): its own length is its fan-in."""
    layer = linear(c_in, c_out, init="msra")
    nn.init.uniform_(layer.bias, -((6 / c_out) ** 0.5), (6 / c_out) ** 0.5)
    return layer


def paddle_names(settings: AttentionClusterSettings) -> dict[str, PaddleName]:
    """Keys of the state_dict to their PaddlePaddle names."""
    names = dict[str, PaddleName]()
    for i in range(len(settings.streams)):
        ours, theirs = f"attentions.{i}", f"satt{i}"
        names |= {
            f"{ours}.score.weight": PaddleName(f"{theirs}.conv.weight", reshape=True),
            f"{ours}.score.bias": PaddleName(f"{theirs}.conv.bias"),
            f"{ours}.shift_weight": PaddleName(f"{theirs}.shift_w"),
            f"{ours}.shift_bias": PaddleName(f"{theirs}.shift_b"),
        }
    for ours, theirs in (("hidden_1", "fc1"), ("hidden_2", "fc2"), ("head", "logistic")):
        names[f"{ours}.weight"] = PaddleName(f"{theirs}.weights", transpose=True)
        names[f"{ours}.bias"] = PaddleName(f"{theirs}.bias")
    return names


def feature_shape(settings: AttentionClusterSettings) -> FeatureShape:
    """A fixed number of frames, drawn."""
    return FeatureShape(streams=settings.streams, num_frames=settings.num_frames)


SPEC = ModelSpec(
    title="Attention Cluster",
    task=Tagging(feature_shape=feature_shape, explains=True, exports=True),
    settings=AttentionClusterSettings,
    build=AttentionCluster,
    paddle=PaddleWeights(names=paddle_names),
)
