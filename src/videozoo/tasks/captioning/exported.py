"""A captioning model from two ONNX files, run by onnxruntime with our beam search around them."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from videozoo.ops.beam_search import beam_search
from videozoo.ops.sentences import END, START, Caption, with_attention
from videozoo.weights.exported import GraphRunner, open_graph
from videozoo.weights.port_names import (
    ENCODER_INPUTS,
    ENCODER_OUTPUTS,
    STEP_INPUTS,
    STEP_OUTPUTS,
)


class ExportedCaptioner:
    """Describes videos as the model did.

    Args:
        encoder: The first file.
        step: The second.
        device: `cuda` asks onnxruntime for its CUDA provider.
        device_index: Which GPU.
    """

    def __init__(
        self, encoder: Path, step: Path, device: str = "cpu", device_index: int = 0
    ) -> None:
        place = "cuda" if device == "cuda" else "cpu"

        def opened(path: Path, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> GraphRunner:
            return open_graph(
                path, inputs=inputs, outputs=outputs, device=place, device_index=device_index
            )

        self._encoder = opened(encoder, ENCODER_INPUTS, ENCODER_OUTPUTS)
        self._step = opened(step, STEP_INPUTS, STEP_OUTPUTS)

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode videos: features (N, T, feature_dim) and lengths (N,) -> `ENCODER_OUTPUTS`."""
        context, start, attention = self._encoder({"features": features, "lengths": lengths})
        return context, start, attention

    def step(self, context: Tensor, words: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """Advance by one word: `STEP_INPUTS` -> `STEP_OUTPUTS`."""
        found = self._step({"context": context, "words": words, "states": states})
        return found[0], found[1]

    def caption(
        self, features: Tensor, lengths: Tensor, *, beam_size: int, max_length: int
    ) -> list[list[Caption]]:
        """Describe videos; see `Captioning`."""
        context, start, attention = self.encode(features, lengths)
        found = beam_search(
            lambda videos, words, states: self.step(context[videos], words, states),
            start,
            beam_size=beam_size,
            max_length=max_length,
            start=START,
            end=END,
        )
        return with_attention(found, attention, lengths)
