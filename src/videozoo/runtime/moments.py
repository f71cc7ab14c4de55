"""Models of bundles that find moments: features of a video and sentences in, moments out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.data.annotations.hashed_sentences import HashedEncoder
from videozoo.errors import WeightsError
from videozoo.metrics.moments import Search
from videozoo.ops.moment_windows import refined, sliding_windows, vectors_in_context
from videozoo.results import Moment, VideoMoments
from videozoo.runtime.answer import Answer
from videozoo.runtime.bundle import Bundle
from videozoo.runtime.description import Section
from videozoo.runtime.features import VideoEncoder
from videozoo.runtime.rows import row_of_moments
from videozoo.weights.onnx_graphs import ports_in_words
from videozoo.weights.port_names import MOMENTS, SENTENCES, VISUAL

HASHED = "hashed"
_MOST_PAIRS = 512  # at once, because the features of each pair are copied


@dataclass(frozen=True)
class _Windows:
    seconds: Sequence[float]
    overlap: float


class Finder:
    """A model of a bundle that finds moments by sentences.

    Attributes:
        least_score: What the best moment of a sentence scores at least, where it is in the video;
            None: unknown.
    """

    def __init__(self, bundle: Bundle, about: Section, encoder: VideoEncoder) -> None:
        """Open the graph.

        Args:
            bundle: Holds it.
            about: The section `moments`.
            encoder: Makes the features.

        Raises:
            WeightsError: The graph is damaged, or other than described.
        """
        self._encoder = encoder
        windows = about.section("windows")
        self._windows = _Windows(
            windows.positive_numbers("seconds"), windows.number("overlap", 0, 1 - 1e-9)
        )
        self._context_seconds = windows.number("context_seconds", 1e-6, 1e6)
        about.choice("sentences", HASHED)
        self._dim = about.whole("sentence_dim", 1, 1 << 20)
        self._sentences = HashedEncoder(self._dim)
        self._top_k = about.whole("top_k", 1)
        self._limit = about.number("nms_limit", 0, 1) if about.has("nms_limit") else None
        self.least_score = about.number("least_score") if about.has("least_score") else None
        self._graph = bundle.graph(about.text("file"))
        expected = {VISUAL: (3 * encoder.dim,), SENTENCES: (self._dim,)}
        if {port.name: port.shape[1:] for port in self._graph.inputs} != expected:
            raise WeightsError(
                f"{self._graph.path}: takes {ports_in_words(self._graph.inputs)}, but its "
                f"description says {VISUAL} (?, {3 * encoder.dim}) and {SENTENCES} (?, {self._dim})"
            )

    def encoded(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of sentences, (S, sentence_dim).

        Raises:
            DataError: One is empty.
        """
        return self._sentences.encode(sentences)

    def __call__(
        self, path: Path, name: str, sentences: Sequence[str], vectors: NDArray[np.float32]
    ) -> Answer:
        """Find each sentence in a video; `vectors` are from `encoded`.

        Raises:
            VideoError: It cannot be read.
        """
        features, rate = self._encoder(path), self._encoder.rate
        windows = sliding_windows(len(features.rows), rate, self._windows)
        visual = vectors_in_context(
            *(features.rows, windows, rate), context_seconds=self._context_seconds
        )
        grid = self._compared(visual, vectors)
        scores, moments = refined(windows, grid, features.duration_seconds)
        results: list[VideoMoments] = []
        for sentence, own_moments, own_scores in zip(sentences, moments, scores, strict=True):
            search = Search(own_moments, own_scores, np.zeros((0, 2)))
            best = search.best(self._top_k, limit=self._limit)
            results.append(
                VideoMoments(
                    video=name,
                    sentence=sentence,
                    moments=tuple(Moment(*each) for each in best),
                    least_score=self.least_score,
                )
            )
        rows = [row_of_moments(one, number) for number, one in enumerate(results)]
        return Answer(results, rows, features.damage)

    def _compared(
        self, visual: NDArray[np.float32], vectors: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Compare W windows with S sentences: (3, S, W)."""
        size = len(vectors), len(visual)
        rows, columns = (each.ravel() for each in np.indices(size))
        parts: list[NDArray[Any]] = []
        for first in range(0, len(rows), _MOST_PAIRS):
            texts, clips = rows[first : first + _MOST_PAIRS], columns[first : first + _MOST_PAIRS]
            given = {VISUAL: visual[clips], SENTENCES: vectors[texts]}
            [found] = self._graph.run_arrays(given, [MOMENTS])
            if found.shape != (len(texts), 3):
                raise WeightsError(
                    f"{self._graph.path}: gives {tuple(found.shape)} for {len(texts)} pairs, "
                    f"expected ({len(texts)}, 3); export it again"
                )
            parts.append(found)
        return np.concatenate(parts).reshape(*size, 3).transpose(2, 0, 1)
