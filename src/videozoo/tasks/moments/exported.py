"""A moment model from an ONNX file, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from videozoo.weights.exported import open_graph
from videozoo.weights.port_names import MOMENTS, SENTENCES, VISUAL

_MOST_PAIRS = 512  # at once, because the features of each pair are copied


class ExportedPairs:
    """Compares clips with sentences as the model did.

    Args:
        path: The file.
        device: `cuda` asks onnxruntime for its CUDA provider.
        device_index: Which GPU.
    """

    def __init__(self, path: Path, device: str = "cpu", device_index: int = 0) -> None:
        place = "cuda" if device == "cuda" else "cpu"
        self._run = open_graph(
            path,
            inputs=(VISUAL, SENTENCES),
            outputs=(MOMENTS,),
            device=place,
            device_index=device_index,
        )

    def pairs(self, visual: Tensor, sentences: Tensor) -> Tensor:
        """(P, visual_dim), (P, sentence_dim) -> (P, 3)."""
        return self._run({VISUAL: visual, SENTENCES: sentences})[0]

    def __call__(self, visual: Tensor, sentences: Tensor) -> Tensor:
        """Compare C clips with S sentences: (C, visual_dim), (S, sentence_dim) -> (3, S, C)."""
        size = len(sentences), len(visual)
        rows, columns = (
            part.flatten()
            for part in torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
        )
        parts = [
            self.pairs(visual[clips], sentences[texts])
            for texts, clips in zip(
                rows.split(_MOST_PAIRS), columns.split(_MOST_PAIRS), strict=True
            )
        ]
        return torch.cat(parts).view(*size, 3).permute(2, 0, 1)
