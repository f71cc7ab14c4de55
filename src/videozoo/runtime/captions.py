"""Models of bundles that describe: features of a video in, a sentence out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.errors import WeightsError
from videozoo.ops.word_search import (
    Hypothesis,
    Numbers,
    Scores,
    best_words,
    search_words,
    sentence_of,
)
from videozoo.results import Caption, VideoCaptions
from videozoo.runtime.answer import Answer
from videozoo.runtime.bundle import Bundle
from videozoo.runtime.description import Section
from videozoo.runtime.features import VideoEncoder
from videozoo.runtime.rows import row_of_caption
from videozoo.weights.onnx_graphs import OnnxGraph, ports_in_words
from videozoo.weights.port_names import (
    ENCODER_INPUTS,
    ENCODER_OUTPUTS,
    STEP_INPUTS,
    STEP_OUTPUTS,
)


class Describer:
    """A model of a bundle that describes videos as a whole."""

    def __init__(self, bundle: Bundle, about: Section, encoder: VideoEncoder) -> None:
        """Open the graphs.

        Args:
            bundle: Holds them.
            about: The section `captions`.
            encoder: Makes the features.

        Raises:
            WeightsError: A graph is damaged, or other than described.
        """
        self._encoder = encoder
        self._words = about.texts("vocabulary")
        self._beam_size = about.whole("beam_size", 1, 1000)
        self._max_length = about.whole("max_length", 1, 10_000)
        self._top_k = about.whole("top_k", 1)
        self._drops_last = about.flag("drop_last_word_as_in_2019")
        self._first = bundle.graph(about.text("file"))
        self._step = bundle.graph(about.text("step"))
        for graph, inputs, outputs in (
            (self._first, ENCODER_INPUTS, ENCODER_OUTPUTS),
            (self._step, STEP_INPUTS, STEP_OUTPUTS),
        ):
            given = {port.name for port in graph.inputs}
            if given != set(inputs) or [port.name for port in graph.outputs] != list(outputs):
                raise WeightsError(
                    f"{graph.path}: takes {ports_in_words(graph.inputs)} and gives "
                    f"{ports_in_words(graph.outputs)}, expected {', '.join(inputs)} and "
                    f"{', '.join(outputs)}; export it again"
                )
        shapes = {port.name: port.shape for port in self._first.inputs}
        if shapes[ENCODER_INPUTS[0]][2:] != (encoder.dim,):
            raise WeightsError(
                f"{self._first.path}: takes {ports_in_words(self._first.inputs)}, but its features "
                f"have {encoder.dim} values; export it again"
            )

    def __call__(self, path: Path, name: str) -> Answer:
        """Describe a video.

        Raises:
            VideoError: It cannot be read.
        """
        features = self._encoder(path)
        rows = features.rows
        given = dict(zip(ENCODER_INPUTS, (rows[None], np.array([len(rows)])), strict=True))
        context, start, attention = self._first.run_arrays(given, ENCODER_OUTPUTS)
        decoder = _Stepping(self._step, context, start, self._beam_size, len(self._words))
        [found] = search_words(decoder, 1, beam_size=self._beam_size, max_length=self._max_length)
        if not found:
            raise WeightsError(f"{self._step.path}: gives no probabilities; export it again")
        best, *others = (self._caption(one, features.duration_seconds, attention) for one in found)
        whole = Caption(
            best.start, best.end, best.text, best.score, best.words, best.attention, tuple(others)
        )
        result = VideoCaptions(video=name, captions=(whole,))
        return Answer([result], [row_of_caption(name, whole, self._top_k)], features.damage)

    def _caption(self, found: Hypothesis, seconds: float, attention: NDArray[Any]) -> Caption:
        words = tuple(self._words[token] for token in found.tokens[1:])
        text = sentence_of(found.tokens, self._words, drop_last_word_as_in_2019=self._drops_last)
        rows = np.repeat(attention[:1].astype(np.float32), len(words), axis=0)
        return Caption(0.0, seconds, text, found.scores[-1], words, rows)


class _Stepping:
    """The decoder of a bundle; see `ops.word_search.Decoder`."""

    def __init__(
        self,
        graph: OnnxGraph,
        context: NDArray[Any],
        start: NDArray[Any],
        beam_size: int,
        num_words: int,
    ) -> None:
        self._graph, self._context = graph, context
        self._states = np.repeat(start[:, None], beam_size, axis=1)
        self._count, self._num_words = beam_size, num_words

    def next(self, videos: Numbers, words: Numbers) -> tuple[Scores, Numbers]:
        given = dict(zip(STEP_INPUTS, (self._context[videos], words, self._states), strict=True))
        log_probs, self._states = self._graph.run_arrays(given, STEP_OUTPUTS)
        if log_probs.shape != (*words.shape, self._num_words):
            raise WeightsError(
                f"{self._graph.path}: gives {tuple(log_probs.shape)} for {self._num_words} words; "
                "export it again"
            )
        return best_words(log_probs, min(self._count, self._num_words))

    def follow(self, parents: Numbers) -> None:
        self._states = np.take_along_axis(self._states, parents[:, :, None], axis=1)

    def keep(self, places: Numbers) -> None:
        self._states = self._states[places]
