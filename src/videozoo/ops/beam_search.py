"""Beam search for the most likely sentences, word by word, for many videos at once."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from videozoo.errors import ConfigError

Step = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""From videos (M,), last words (M, K) and states (M, K, H) to log-probabilities of the next words
(M, K, V) and new states (M, K, H). `videos` are the numbers of the videos still searched."""


@dataclass(frozen=True)
class Hypothesis:
    """One sentence found by the search."""

    tokens: tuple[int, ...]
    """From the start token on; the end token is last, unless the length limit came first."""
    scores: tuple[float, ...]
    """Log-probability of the sentence up to each token. The first is 0."""


@torch.no_grad()
def beam_search(
    step: Step, states: Tensor, *, beam_size: int, max_length: int, start: int = 0, end: int = 1
) -> list[list[Hypothesis]]:
    """Search the best K sentences per video.

    A finished sentence keeps its score and competes with longer ones. A video is done when all its
    K best sentences are finished; its result does not depend on other videos. Scores are sums,
    which favours short sentences.

    Args:
        step: The decoder.
        states: (N, H), before the first word.
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
    if not len(states):
        return []
    videos = torch.arange(len(states), device=states.device)
    shape = len(states), beam_size
    words = torch.full(shape, start, device=states.device)
    scores = torch.full(shape, float("-inf"), device=states.device)
    scores[:, 0] = 0  # the other places are still empty
    trace = _Trace(scores, end)
    ended = scores.isneginf()
    states = states[:, None].expand(-1, beam_size, -1)
    for _ in range(max_length):
        if not len(videos):
            break
        log_probs, states = step(videos, words, states)
        scores, words, parents = _best(log_probs, scores, ended, end)
        trace.add(videos, parents, words, scores)
        states = states.gather(1, parents[:, :, None].expand(-1, -1, states.shape[2]))
        absent = scores.isneginf()
        goes_on = ~(ended.gather(1, parents) | absent).all(1)
        ended = (words == end) | absent
        if not goes_on.all():
            videos, states, ended = videos[goes_on], states[goes_on], ended[goes_on]
            words, scores = words[goes_on], scores[goes_on]
    return trace.sentences(start)


def _best(
    log_probs: Tensor, scores: Tensor, ended: Tensor, end: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, words and parents (M, K) of the best candidates of each video, best first."""
    beam_size = scores.shape[1]
    values, words = log_probs.topk(min(beam_size, log_probs.shape[2]), dim=2)
    totals = scores[:, :, None] + values
    # a finished sentence has one candidate: itself
    totals = totals.masked_fill(ended[:, :, None], float("-inf"))
    totals[:, :, 0] = torch.where(ended, scores, totals[:, :, 0])
    words = words.masked_fill(ended[:, :, None], end)
    scores, places = totals.flatten(1).topk(beam_size, dim=1)
    parents = places.div(totals.shape[2], rounding_mode="floor")
    return scores, words.flatten(1).gather(1, places), parents


class _Trace:
    """Words and their predecessors of all videos, step by step; (N, K) each."""

    def __init__(self, scores: Tensor, end: int) -> None:
        self._end = end
        self._latest = scores
        self._same = torch.arange(scores.shape[1], device=scores.device).expand_as(scores)
        self._steps: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, videos: Tensor, parents: Tensor, words: Tensor, scores: Tensor) -> None:
        """Add a step of some videos; the others stay unchanged."""
        self._latest = self._latest.index_copy(0, videos, scores.to(self._latest.dtype))
        self._steps.append(
            (
                self._same.index_copy(0, videos, parents),
                torch.full_like(self._same, self._end).index_copy(0, videos, words),
                self._latest,
            )
        )

    def sentences(self, start: int) -> list[list[Hypothesis]]:
        """Read from the last step back to the first."""
        places = self._same
        words, scores = list[Tensor](), list[Tensor]()
        for parents, some_words, some_scores in reversed(self._steps):
            words.append(some_words.gather(1, places))
            scores.append(some_scores.gather(1, places))
            places = parents.gather(1, places)
        tables = (torch.stack(columns[::-1], dim=2).tolist() for columns in (words, scores))
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
