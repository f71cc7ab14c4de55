"""Beam search for networks in PyTorch; see `ops.word_search`."""

from collections.abc import Callable

import torch
from torch import Tensor

from videozoo.ops.word_search import Hypothesis as Hypothesis
from videozoo.ops.word_search import Numbers, Scores, search_words

Step = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""From videos (M,), last words (M, K) and states (M, K, H) to log-probabilities of the next words
(M, K, V) and new states (M, K, H). `videos` are the numbers of the videos still searched."""


@torch.no_grad()
def beam_search(
    step: Step, states: Tensor, *, beam_size: int, max_length: int, start: int = 0, end: int = 1
) -> list[list[Hypothesis]]:
    """Search the best K sentences per video.

    Args:
        step: The decoder.
        states: (N, H), before the first word.
        beam_size: K, sentences kept per video; 1 decodes greedily.
        max_length: Words after the start token, the end token included.
        start: Token every sentence begins with.
        end: Token after which a sentence is over.

    Returns:
        Up to K sentences per video, the best first; see `search_words`.

    Raises:
        ConfigError: `beam_size` or `max_length` is below 1.
    """
    return search_words(
        _Stepping(step, states, beam_size),
        len(states),
        beam_size=beam_size,
        max_length=max_length,
        start=start,
        end=end,
    )


class _Stepping:
    """A decoder whose states stay on their device; only the best words leave it."""

    def __init__(self, step: Step, states: Tensor, beam_size: int) -> None:
        self._step, self._count = step, beam_size
        self._states = states[:, None].expand(-1, max(beam_size, 1), -1)

    def next(self, videos: Numbers, words: Numbers) -> tuple[Scores, Numbers]:
        """See `Decoder`."""
        log_probs, self._states = self._step(self._there(videos), self._there(words), self._states)
        values, best = log_probs.topk(min(self._count, log_probs.shape[2]), dim=2)
        if values.dtype in (torch.float16, torch.bfloat16):
            values = values.float()
        return values.cpu().numpy(), best.cpu().numpy()

    def follow(self, parents: Numbers) -> None:
        """See `Decoder`."""
        places = self._there(parents)[:, :, None].expand(-1, -1, self._states.shape[2])
        self._states = self._states.gather(1, places)

    def keep(self, places: Numbers) -> None:
        """See `Decoder`."""
        self._states = self._states[self._there(places)]

    def _there(self, numbers: Numbers) -> Tensor:
        return torch.from_numpy(numbers).to(self._states.device)
