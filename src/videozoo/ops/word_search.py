"""Beam search for the most likely sentences, word by word, on arrays; needs no torch.

A decoder says which words may come next and holds the states; here only the scores of the best
words and their numbers are looked at, a few per video.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from videozoo.errors import ConfigError

START, END = 0, 1
"""Words of every vocabulary that begin and end a sentence."""

Numbers = NDArray[np.int64]
Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Hypothesis:
    """One sentence found by the search."""

    tokens: tuple[int, ...]
    """From the start token on; the end token is last, unless the length limit came first."""
    scores: tuple[float, ...]
    """Log-probability of the sentence up to each token. The first is 0."""


class Decoder(Protocol):
    """Says which words may come next. It holds a state per sentence, (M, K), of M videos."""

    def next(self, videos: Numbers, words: Numbers) -> tuple[Scores, Numbers]:
        """Advance by one word.

        Args:
            videos: (M,), numbers of the videos still searched.
            words: (M, K), the last word of each of their sentences.

        Returns:
            The log-probabilities of the best next words of each sentence, (M, K, J), best first,
            and these words.
        """
        ...

    def follow(self, parents: Numbers) -> None:
        """Sentences (M, K) go on from those at these places among the K."""
        ...

    def keep(self, places: Numbers) -> None:
        """Only the videos at these places among the M are still searched."""
        ...


def search_words(
    decoder: Decoder,
    num_videos: int,
    *,
    beam_size: int,
    max_length: int,
    start: int = START,
    end: int = END,
) -> list[list[Hypothesis]]:
    """Search the best K sentences per video.

    A finished sentence keeps its score and competes with longer ones. A video is done when all its
    K best sentences are finished; its result does not depend on other videos. Scores are sums,
    which favours short sentences.

    Args:
        decoder: Before the first word.
        num_videos: N.
        beam_size: K, sentences kept per video; 1 decodes greedily.
        max_length: Words after the start token, the end token included.
        start: Token every sentence begins with.
        end: Token after which a sentence is over.

    Returns:
        Up to K sentences per video, the best first.

    Raises:
        ConfigError: `beam_size` or `max_length` is below 1.

    Source: `fluid.layers.beam_search` and `beam_search_decode` of PaddlePaddle 1.8.
    """
    for name, value in (("beam_size", beam_size), ("max_length", max_length)):
        if value < 1:
            hint = "; 1 decodes greedily" if name == "beam_size" else ""
            raise ConfigError(f"beam search: {name} is {value}, expected 1 or more{hint}")
    videos = np.arange(num_videos)
    shape = num_videos, beam_size
    words = np.full(shape, start, np.int64)
    scores: Scores = np.full(shape, -np.inf, np.float32)
    scores[:, 0] = 0  # the other places are still empty
    trace = _Trace(scores, end)
    ended = np.isneginf(scores)
    for _ in range(max_length):
        if not len(videos):
            break
        log_probs, candidates = decoder.next(videos, words)
        scores, words, parents = _best(log_probs, candidates, scores, ended, end)
        trace.add(videos, parents, words, scores)
        decoder.follow(parents)
        absent = np.isneginf(scores)
        goes_on = ~(np.take_along_axis(ended, parents, 1) | absent).all(1)
        ended = (words == end) | absent
        if not goes_on.all():
            decoder.keep(np.flatnonzero(goes_on))
            videos, ended = videos[goes_on], ended[goes_on]
            words, scores = words[goes_on], scores[goes_on]
    return trace.sentences(start)


def best_words(log_probs: Scores, count: int) -> tuple[Scores, Numbers]:
    """The best words of each sentence, best first: (..., V) -> (..., J) and their numbers."""
    order = _best_first(log_probs, count)
    return np.take_along_axis(log_probs, order, -1), order


def _best_first(values: Scores, count: int) -> Numbers:
    """Places of the largest values along the last axis; nan is the largest, as for PyTorch."""
    keys = -np.where(np.isnan(values), np.inf, values)
    return np.argsort(keys, axis=-1, kind="stable")[..., :count]


def _best(
    log_probs: Scores, candidates: Numbers, scores: Scores, ended: NDArray[np.bool_], end: int
) -> tuple[Scores, Numbers, Numbers]:
    """Scores, words and parents (M, K) of the best candidates of each video, best first."""
    totals = scores[:, :, None] + log_probs
    # a finished sentence has one candidate: itself
    totals = np.where(ended[:, :, None], -np.inf, totals).astype(totals.dtype)
    totals[:, :, 0] = np.where(ended, scores, totals[:, :, 0])
    candidates = np.where(ended[:, :, None], end, candidates)
    flat = totals.reshape(len(totals), -1)
    places = _best_first(flat, scores.shape[1])
    words = np.take_along_axis(candidates.reshape(len(totals), -1), places, 1)
    return np.take_along_axis(flat, places, 1), words, places // totals.shape[2]


class _Trace:
    """Words and their predecessors of all videos, step by step; (N, K) each."""

    def __init__(self, scores: Scores, end: int) -> None:
        self._end = end
        self._latest = scores
        self._same = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
        self._steps: list[tuple[Numbers, Numbers, Scores]] = []

    def add(self, videos: Numbers, parents: Numbers, words: Numbers, scores: Scores) -> None:
        """Add a step of some videos; the others stay unchanged."""
        self._latest = self._latest.copy()
        self._latest[videos] = scores
        every_parent, every_word = self._same.copy(), np.full_like(self._same, self._end)
        every_parent[videos], every_word[videos] = parents, words
        self._steps.append((every_parent, every_word, self._latest))

    def sentences(self, start: int) -> list[list[Hypothesis]]:
        """Read from the last step back to the first."""
        if not len(self._latest) or not self._steps:
            return [[] for _ in range(len(self._latest))]
        places = self._same
        words, scores = list[Numbers](), list[Scores]()
        for parents, some_words, some_scores in reversed(self._steps):
            words.append(np.take_along_axis(some_words, places, 1))
            scores.append(np.take_along_axis(some_scores, places, 1))
            places = np.take_along_axis(parents, places, 1)
        tables = (np.stack(columns[::-1], axis=2).tolist() for columns in (words, scores))
        return [
            [
                self._sentence(start, *pair)
                for pair in zip(*video, strict=True)
                if pair[1][-1] > float("-inf")
            ]
            for video in zip(*tables, strict=True)
        ]

    def _sentence(self, start: int, words: list[int], scores: list[float]) -> Hypothesis:
        stop = words.index(self._end) + 1 if self._end in words else len(words)
        return Hypothesis((start, *words[:stop]), (0.0, *scores[:stop]))


def sentence_of(
    tokens: Sequence[int], vocabulary: Sequence[str], *, drop_last_word_as_in_2019: bool = False
) -> str:
    """Turn the tokens of a caption into text.

    Args:
        tokens: From `START` on.
        vocabulary: All words, in their order.
        drop_last_word_as_in_2019: Always remove the last token. It is `END`, except for captions
            cut at the length limit, which lose a word.

    >>> words = ["<s>", "<e>", "a", "man", "runs"]
    >>> sentence_of([0, 2, 3, 4, 1], words), sentence_of([0, 2, 3, 4], words)
    ('a man runs', 'a man runs')
    >>> sentence_of([0, 2, 3, 4], words, drop_last_word_as_in_2019=True)
    'a man'
    """
    ended = len(tokens) > 1 and tokens[-1] == END
    stop = len(tokens) - 1 if ended or drop_last_word_as_in_2019 else len(tokens)
    return " ".join(vocabulary[token] for token in tokens[1:stop])
