"""Taggers of bundles: features of a video in, tags out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.data.features.transforms import bounds_of_parts, slice_frames
from videozoo.errors import WeightsError
from videozoo.runtime.answer import Answer
from videozoo.runtime.bundle import Bundle
from videozoo.runtime.clips import labels_of
from videozoo.runtime.description import Section
from videozoo.runtime.features import VideoEncoder
from videozoo.runtime.numbers import sigmoid, softmax
from videozoo.runtime.rows import row_of_tags
from videozoo.weights.onnx_graphs import ports_in_words
from videozoo.weights.port_names import LENGTHS, LOGITS

LEAST_SCORE = 1e-7
"""Mean scores this near to 0 and 1 are taken as such."""


class Tagger:
    """A tagger of a bundle."""

    def __init__(
        self, bundle: Bundle, about: Section, encoder: VideoEncoder, names: Sequence[str]
    ) -> None:
        """Open the graph.

        Args:
            bundle: Holds it.
            about: The section `tags`.
            encoder: Makes the features.
            names: Of the classes.

        Raises:
            WeightsError: The graph is damaged, or other than described.
        """
        self._encoder, self._names = encoder, names
        self._stream = about.text("stream")
        self._num_frames = (
            about.whole("num_frames", 1, 1 << 20) if about.has("num_frames") else None
        )
        self._max_frames = about.whole("max_frames", 1) if about.has("max_frames") else None
        self._one_class = about.flag("one_class")
        self._top_k = about.whole("top_k", 1)
        self._graph = bundle.graph(about.text("file"))
        ports = {port.name: port.shape for port in self._graph.inputs}
        if set(ports) != {self._stream, LENGTHS} or ports[self._stream][2:] != (encoder.dim,):
            raise WeightsError(
                f"{self._graph.path}: takes {ports_in_words(self._graph.inputs)}, "
                f"but its description says {self._stream} (?, ?, {encoder.dim}) and {LENGTHS}"
            )

    def __call__(self, path: Path, name: str) -> Answer:
        """Tag a video.

        Raises:
            VideoError: It cannot be read.
        """
        features = self._encoder(path)
        scores = self._scores(features.rows)
        result = labels_of(name, scores, self._names, self._top_k)
        return Answer([result], [row_of_tags(result)], features.damage)

    def _scores(self, rows: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        """(T, dim) -> (num_classes,); of a long video the mean over its parts, by their length."""
        if self._max_frames is None or len(rows) <= self._max_frames:
            return self._of(rows)
        bounds = bounds_of_parts(len(rows), self._max_frames)
        parts = [(end - start, self._of(rows[start:end])) for start, end in pairwise(bounds)]
        counts = [count if self._num_frames is None else self._num_frames for count, _ in parts]
        shares = [count / sum(counts) for count in counts]
        mean = np.sum([s * scores for s, (_, scores) in zip(shares, parts, strict=True)], axis=0)
        return mean if self._one_class else np.clip(mean, LEAST_SCORE, 1 - LEAST_SCORE)

    def _of(self, rows: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        if self._num_frames is not None:
            rows = rows[slice_frames(len(rows), self._num_frames)]
        given = {self._stream: rows[None], LENGTHS: np.array([len(rows)], np.int64)}
        [logits] = self._graph.run_arrays(given, [LOGITS])
        if logits.shape != (1, len(self._names)):
            raise WeightsError(
                f"{self._graph.path}: gives {tuple(logits.shape)} for 1 video and "
                f"{len(self._names)} names of classes; export it again"
            )
        return (softmax if self._one_class else sigmoid)(logits[0])
