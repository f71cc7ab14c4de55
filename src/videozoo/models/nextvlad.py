"""NeXtVLAD: what frames add to a few learnt centres, in groups (Lin et al., arXiv:1811.05014).

Lin et al. "NeXtVLAD: An Efficient Neural Network to Aggregate Frame-level Features for Large-scale
Video Classification", ECCV Workshops 2018. Reference behaviour: PaddlePaddle/models release/1.8.

::

    a stream's frames (N, T, D) ── wider: (N, T, E*S), cut into G groups of F values
                                     │                      │
                     sigmoid of a score a group     norm, softmax over K clusters a group
                                     └──────── * ───────────┘
                                               │ a(t, g, k): how much group g of frame t says of k
       vlad(k) = sum over t, g of a(t, g, k) (x(t, g) - centre(k))        (N, K, F)
                                               │ each of length 1, norm
    every stream's K * F values ── dropout ── hidden layer, norm ── * sigmoid gate ── class scores
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from videozoo.errors import DataError
from videozoo.ops import DowngradeDropout, FrameBatchNorm, frame_mask, l2_normalize
from videozoo.ops.frames import gate, linear
from videozoo.safe_npy import read_npy
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


class VladStream(Stream):
    """A stream and the size it is projected to."""

    size: int | None = Field(default=None, ge=1)
    """S: frames become vectors of expansion * S values; by default S = dim."""


class NeXtVLADSettings(Settings):
    """Architecture of NeXtVLAD."""

    num_classes: int = Field(default=3862, ge=1)
    """Number of tags; a video may have several."""
    streams: Streams[VladStream] = (
        VladStream(name="rgb", dim=1024, half_step=False),
        VladStream(name="audio", dim=128),
    )
    """Features of a video: name, dim, size."""
    cluster_size: int = Field(default=128, ge=1)
    """K, learnt centres."""
    groups: int = Field(default=8, ge=1)
    """G, parts of a frame's vector; each part is assigned to the centres by itself."""
    expansion: int = Field(default=2, ge=1)
    """E, factor by which a frame's vector is first made wider."""
    hidden_size: int = Field(default=2048, ge=1)
    """Units of the layer before the last."""
    gating_reduction: int = Field(default=8, ge=1)
    """The gate's own hidden layer has hidden_size / this units."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of the aggregated values dropped in training; evaluation scales by 1 - dropout."""
    eigen_file: Path | None = None
    """Eigenvalues of YouTube-8M's PCA (.npy), which undo its whitening of the first stream:
    features times sqrt(eigenvalue) + 1e-4. Stored with the weights, so only needed in training."""

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        for stream in self.streams:
            wide = (stream.size or stream.dim) * self.expansion
            if wide % self.groups:
                raise ValueError(
                    f"groups: {wide} values per frame of {stream.name!r} (expansion * size) cannot "
                    f"be cut into {self.groups} equal parts"
                )
        if self.hidden_size < self.gating_reduction:
            raise ValueError(
                f"gating_reduction: {self.gating_reduction} is more than the hidden_size "
                f"{self.hidden_size}"
            )
        return self


class Vlad(nn.Module):
    """A stream's frames gathered round K centres."""

    def __init__(self, stream: VladStream, settings: NeXtVLADSettings) -> None:
        super().__init__()
        wide = (stream.size or stream.dim) * settings.expansion
        self.groups, self.clusters = settings.groups, settings.cluster_size
        part = wide // self.groups
        self.expand = linear(stream.dim, wide, init="msra")
        self.group_attention = linear(wide, self.groups, init="msra")
        self.assign = linear(wide, self.groups * self.clusters, init="msra", bias=False)
        self.assign_bn = FrameBatchNorm(self.groups * self.clusters)
        self.centres = nn.Parameter(torch.randn(self.clusters, part) * (2 / self.clusters) ** 0.5)
        self.bn = nn.BatchNorm1d(part * self.clusters)
        self.num_features = part * self.clusters

    def assignment(self, wide: Tensor, mask: Tensor) -> Tensor:
        """Weight of each group of each frame for each centre.

        (N, T, E*S) -> (N, T, G, K); zeros in the padding.
        """
        say = gate(self.group_attention(wide)) * mask[:, :, None]  # (N, T, G)
        choice = self.assign_bn(self.assign(wide), mask)
        choice = choice.unflatten(2, (self.groups, self.clusters)).softmax(dim=3)
        return choice * say[:, :, :, None]

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(N, T, D) -> (N, F * K)."""
        wide = self.expand(frames)
        assigned = self.assignment(wide, mask).flatten(1, 2)  # (N, T*G, K)
        parts = wide.unflatten(2, (self.groups, -1)).flatten(1, 2)  # (N, T*G, F)
        # the sum over frames and groups is one matrix product: nothing of size T*G*K*F is made
        vlad = torch.bmm(parts.transpose(1, 2), assigned)  # (N, F, K)
        vlad = vlad - assigned.sum(dim=1)[:, None] * self.centres.t()
        return self.bn(l2_normalize(vlad, dim=1).flatten(1))


class NeXtVLAD(nn.Module):
    """Feature sequences in, tag logits out."""

    eigen_scale: Tensor

    def __init__(self, settings: NeXtVLADSettings) -> None:
        super().__init__()
        self.register_buffer("eigen_scale", torch.ones(settings.streams[0].dim))
        self.vlads = nn.ModuleList(Vlad(stream, settings) for stream in settings.streams)
        self.dropout = DowngradeDropout(settings.dropout)
        features = sum(vlad.num_features for vlad in self.vlads if isinstance(vlad, Vlad))
        hidden, inner = settings.hidden_size, settings.hidden_size // settings.gating_reduction
        self.hidden = linear(features, hidden, init="msra", bias=False)
        self.hidden_bn = nn.BatchNorm1d(hidden)
        self.gate_1 = linear(hidden, inner, init="msra", bias=False)
        self.gate_bn = nn.BatchNorm1d(inner)
        self.gate_2 = linear(inner, hidden, init="msra", bias=False)
        self.head = linear(hidden, settings.num_classes, init="msra")

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
            vlad(frames, mask)
            for vlad, frames in zip(self.vlads, self._scaled(streams), strict=True)
        ]
        x = self.hidden_bn(self.hidden(self.dropout(torch.cat(parts, dim=1))))
        gate = torch.sigmoid(self.gate_2(torch.relu(self.gate_bn(self.gate_1(x)))))
        return self.head(x * gate)

    def frame_weights(self, streams: Sequence[Tensor], lengths: Tensor) -> list[Tensor]:
        """Weight of each frame of each stream: (N, T), each row summing to 1."""
        mask = frame_mask(lengths, streams[0].shape[1])
        weights: list[Tensor] = []
        for vlad, frames in zip(self.vlads, self._scaled(streams), strict=True):
            assert isinstance(vlad, Vlad)
            said = gate(vlad.group_attention(vlad.expand(frames))).sum(dim=2) * mask
            weights.append(said / said.sum(dim=1, keepdim=True))
        return weights

    def _scaled(self, streams: Sequence[Tensor]) -> list[Tensor]:
        first, *others = streams
        return [first * self.eigen_scale, *others]


def paddle_names(settings: NeXtVLADSettings) -> dict[str, PaddleName]:
    """Keys of the state_dict to their PaddlePaddle names; norms are numbered as they were made."""
    names = {"eigen_scale": PaddleName("eigen_param")}
    for i, stream in enumerate(settings.streams):
        ours, theirs = f"vlads.{i}", "video" if i == 0 else stream.name
        names |= {
            f"{ours}.expand.weight": PaddleName(f"{theirs}_fc_expansion_w", transpose=True),
            f"{ours}.expand.bias": PaddleName(f"{theirs}_fc_expansion_b"),
            f"{ours}.group_attention.weight": PaddleName(
                f"{theirs}_fc_group_attention_w", transpose=True
            ),
            f"{ours}.group_attention.bias": PaddleName(f"{theirs}_fc_group_attention_b"),
            f"{ours}.assign.weight": PaddleName(f"{theirs}_cluster_weights", transpose=True),
            f"{ours}.centres": PaddleName(f"{theirs}_cluster_weights2"),
        }
        names |= _norm(f"{ours}.assign_bn", 2 * i) | _norm(f"{ours}.bn", 2 * i + 1)
    last = 2 * len(settings.streams)
    return names | {
        "hidden.weight": PaddleName("hidden1_fc_weights", transpose=True),
        **_norm("hidden_bn", last),
        "gate_1.weight": PaddleName("gating_fc1_weights", transpose=True),
        **_norm("gate_bn", last + 1),
        "gate_2.weight": PaddleName("gating_fc2_weights", transpose=True),
        "head.weight": PaddleName("logits_clf_weights", transpose=True),
        "head.bias": PaddleName("logits_clf_bias"),
    }


def _norm(ours: str, number: int) -> dict[str, PaddleName]:
    keys = ("weight", "w_0"), ("bias", "b_0"), ("running_mean", "w_1"), ("running_var", "w_2")
    return {f"{ours}.{key}": PaddleName(f"batch_norm_{number}.{part}") for key, part in keys}


def parameter_rules(module: nn.Module) -> dict[str, ParameterRule]:
    """Only the classifier decays."""
    return {
        name: ParameterRule(decay="weights" if name.startswith("head.") else "none")
        for name, _ in module.named_parameters()
    }


def feature_shape(settings: NeXtVLADSettings) -> FeatureShape:
    """Every frame."""
    return FeatureShape(streams=settings.streams)


def constants(settings: NeXtVLADSettings) -> dict[str, NDArray[np.float64]]:
    """The scale of the first stream from `eigen_file`: sqrt(eigenvalue) + 1e-4.

    Raises:
        DataError: The file is not there, or does not hold so many eigenvalues.
    """
    path, size = settings.eigen_file, settings.streams[0].dim
    if path is None:
        return {}
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; model.eigen_file is eigenvals.npy of YouTube-8M's PCA "
            "(yt8m_pca.tgz of the data set's site). Features that were not whitened by it do "
            "without: --set model.eigen_file=null"
        )
    values = read_npy(path)
    if values.dtype.kind not in "fiu" or not values.ndim or not values.size:
        raise DataError(f"{path}: holds {values.dtype} {values.shape}, expected eigenvalues")
    values = np.asarray(values, np.float64).reshape(len(values), -1)[:size, 0]
    if len(values) != size or not (values >= 0).all():
        raise DataError(
            f"{path}: expected at least {size} eigenvalues of 0 or more, got {len(values)}"
        )
    return {"eigen_scale": np.sqrt(values) + 1e-4}


SPEC = ModelSpec(
    title="NeXtVLAD",
    task=Tagging(feature_shape=feature_shape, explains=True, exports=True),
    settings=NeXtVLADSettings,
    build=NeXtVLAD,
    parameter_rules=parameter_rules,
    constants=constants,
    paddle=PaddleWeights(names=paddle_names),
)
