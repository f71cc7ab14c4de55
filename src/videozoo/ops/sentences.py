"""Sentences as numbers, for models that describe videos in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from videozoo.ops.beam_search import Hypothesis

START, END = 0, 1
"""Words of every vocabulary that begin and end a sentence."""
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
