"""Sentences as numbers: what models that describe videos in words share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from videozoo.ops.beam_search import Hypothesis

START, END = 0, 1
"""Words of every vocabulary: what a sentence begins and ends with."""
PADDING = -1
"""In place of a word, past the end of a sentence."""


@dataclass(frozen=True)
class Caption(Hypothesis):
    """One sentence for a video, by a model that tells where it looked."""

    attention: Tensor
    """(words, T): where each token after the first looked; rows sum to 1."""


def with_attention(
    found: Sequence[Sequence[Hypothesis]], attention: Tensor, lengths: Tensor
) -> list[list[Caption]]:
    """Turn what a search found for N videos into captions, all words of which looked alike.

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
        drop_last_word_as_in_2019: Take the last token off whatever it is. That is `END`, but for
            captions that were cut off at the length limit: those lose a word.

    >>> words = ["<s>", "<e>", "a", "man", "runs"]
    >>> sentence_of([0, 2, 3, 4, 1], words), sentence_of([0, 2, 3, 4], words)
    ('a man runs', 'a man runs')
    >>> sentence_of([0, 2, 3, 4], words, drop_last_word_as_in_2019=True)
    'a man'
    """
    ended = len(tokens) > 1 and tokens[-1] == END
    stop = len(tokens) - 1 if ended or drop_last_word_as_in_2019 else len(tokens)
    return " ".join(vocabulary[token] for token in tokens[1:stop])
