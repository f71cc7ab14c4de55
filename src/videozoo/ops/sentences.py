"""Sentences as numbers, for models that describe videos in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from videozoo.ops.word_search import END as END
from videozoo.ops.word_search import START as START
from videozoo.ops.word_search import Hypothesis
from videozoo.ops.word_search import sentence_of as sentence_of

PADDING = -1
"""Marks places after the end of a sentence."""


@dataclass(frozen=True)
class Caption(Hypothesis):
    """One sentence for a video, with attention."""

    attention: Tensor
    """(words, T): attention of each token after the first; rows sum to 1."""


def with_attention(
    found: Sequence[Sequence[Hypothesis]], attention: Tensor, lengths: Tensor
) -> list[list[Caption]]:
    """Turn the sentences found for N videos into captions; all words have the same attention.

    Args:
        found: Sentences of each video.
        attention: (N, T).
        lengths: int64 (N,), frames of each video.
    """
    rows = [row[:length] for row, length in zip(attention.cpu(), lengths.tolist(), strict=True)]
    return [
        [Caption(s.tokens, s.scores, row.expand(len(s.tokens) - 1, -1)) for s in sentences]
        for sentences, row in zip(found, rows, strict=True)
    ]


def caption_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy, the mean over all words of a batch: a long sentence counts more.

    Args:
        logits: (N, L, V), of the next word after each.
        targets: int64 (N, L): the sentence, `END`, then `PADDING`.
    """
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=PADDING)
