"""A tagging model from an ONNX file, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from videozoo.weights.exported import ExportedTags, open_graph
from videozoo.weights.port_names import LENGTHS, LOGITS


def attention_names(tags: ExportedTags) -> list[str]:
    """Names of the outputs with the weight of each frame, (N, T): one per stream, or none."""
    return [f"attention.{stream.name}" for stream in tags.streams] if tags.explains else []


class ExportedTagger:
    """Tags videos as the model did.

    Args:
        path: The file.
        tags: Its inputs and outputs, from its description.
        device: `cuda` asks onnxruntime for its CUDA provider.
        device_index: Which GPU.
    """

    def __init__(
        self, path: Path, tags: ExportedTags, device: str = "cpu", device_index: int = 0
    ) -> None:
        self._inputs = [*(stream.name for stream in tags.streams), LENGTHS]
        self._run = open_graph(
            path,
            inputs=self._inputs,
            outputs=(LOGITS, *attention_names(tags)),
            device="cuda" if device == "cuda" else "cpu",
            device_index=device_index,
        )

    def __call__(self, streams: Sequence[Tensor], lengths: Tensor) -> Tensor:
        """Score videos: (N, T, dim) per stream and int64 (N,) to logits (N, num_classes)."""
        return self._run(dict(zip(self._inputs, (*streams, lengths), strict=True)))[0]

    def frame_weights(self, streams: Sequence[Tensor], lengths: Tensor) -> list[Tensor]:
        """Where each stream looked: (N, T); see `Tagging`."""
        return self._run(dict(zip(self._inputs, (*streams, lengths), strict=True)))[1:]
