"""Probe: a linear classifier on the mean of a video's features, solved at once (arXiv:1610.01644).

Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016.

What to try first on features of a network that has seen a million images: few videos are enough,
and it takes seconds. It sees what is there, hardly how it moves.

::

    vectors (N, T, D) ── mean and deviation over T ── roots ── standardised ── class scores
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from videozoo.ops import frame_mask
from videozoo.types import FeatureShape, ModelSpec, Settings, Stream, Streams, Tagging

_FLAT = 1e-6  # a value that hardly differs between videos tells nothing


class ProbeSettings(Settings):
    """Architecture of the probe."""

    num_classes: int = Field(default=10, ge=1)
    """Number of classes."""
    streams: Streams[Stream] = (Stream(name="rgb", dim=1280),)
    """Features of a video: name and dim."""
    pooling: tuple[Literal["mean", "std"], ...] = ("mean",)
    """What is taken of the vectors of a video, side by side: their `mean`, and `std`, how much each
    value changes over time."""
    root: bool = False
    """Take square roots of what is pooled, where no value is below 0, as after a ReLU: a few large
    values then do not outweigh the rest (Hellinger's distance)."""

    @field_validator("pooling")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError("expected mean, std, or both, each once")
        return value


class Probe(nn.Module):
    """Feature sequences in, logits out."""

    mean: Tensor
    scale: Tensor
    rooted: Tensor | None

    def __init__(self, settings: ProbeSettings) -> None:
        super().__init__()
        self._pooling = settings.pooling
        size = sum(stream.dim for stream in settings.streams) * len(settings.pooling)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("rooted", torch.zeros(()) if settings.root else None)
        self.head = nn.Linear(size, settings.num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, streams: Sequence[Tensor], lengths: Tensor) -> Tensor:
        """Score each video.

        Args:
            streams: One (N, T, dim) per stream, padded at the end.
            lengths: int64 (N,), vectors of each video, at least 1.

        Returns:
            Logits (N, num_classes).
        """
        return self.head(self.standardised(self.pooled(streams, lengths)))

    def pooled(self, streams: Sequence[Tensor], lengths: Tensor) -> Tensor:
        """What the head reads of each video, before it is standardised: (N, size)."""
        parts: list[Tensor] = []
        for vectors in streams:
            mask = frame_mask(lengths, vectors.shape[1])[:, :, None]
            count = lengths[:, None].to(vectors.dtype)
            mean = vectors.masked_fill(~mask, 0).sum(dim=1) / count
            if "mean" in self._pooling:
                parts.append(mean)
            if "std" in self._pooling:
                away = (vectors - mean[:, None]).masked_fill(~mask, 0)
                parts.append((away.square().sum(dim=1) / count).sqrt())
        return torch.cat(parts, dim=1)

    def standardise(self, pooled: Tensor) -> None:
        """Take the statistics of training videos, (N, size)."""
        if self.rooted is not None:
            self.rooted.fill_(bool((pooled >= 0).all()))
        rows = self._rooted(pooled)
        deviation = rows.std(dim=0, unbiased=False)
        scale = torch.where(deviation > _FLAT, 1 / deviation.clamp(min=_FLAT), 0.0)
        self.mean.copy_(rows.mean(dim=0))
        self.scale.copy_(scale / max(1, int((scale > 0).sum())) ** 0.5)

    def standardised(self, pooled: Tensor) -> Tensor:
        """What the head is given: (N, size); rows have a length of about 1."""
        return (self._rooted(pooled) - self.mean) * self.scale

    def _rooted(self, pooled: Tensor) -> Tensor:
        if self.rooted is None:
            return pooled
        return torch.where(self.rooted > 0, pooled.clamp(min=0).sqrt(), pooled)


def feature_shape(settings: ProbeSettings) -> FeatureShape:
    """Every vector."""
    return FeatureShape(streams=settings.streams)


SPEC = ModelSpec(
    title="Probe",
    task=Tagging(feature_shape=feature_shape, is_solved=True, exports=True),
    settings=ProbeSettings,
    build=Probe,
)
