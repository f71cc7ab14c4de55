"""The built-in encoder of sentences: vectors by the hashes of words and their pieces.

The built-in encoder knows no language. Every word, pair of neighbouring words and piece of a word
has a fixed direction, drawn by its hash; a sentence is their sum. So sentences that share words are
near each other, and a network can tell words apart. It needs no download and gives the same numbers
on every machine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.errors import DataError

_WORD = re.compile(r"<\w+>|\w+(?:['.&/-]\w+)*")
_PIECES = (3, 4, 5)  # letters of a piece of a word
_PAIR_WEIGHT = _PIECES_WEIGHT = 0.5  # the weight of a whole word is 1


class HashedEncoder:
    """The built-in encoder: a sum over words, pairs and pieces of words, scaled to length 1."""

    name = "hashed-1"
    facts: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """See `SentenceEncoder`.

        >>> red, same, blue = HashedEncoder(512).encode(["A red ball.", "a red ball", "two dogs"])
        >>> round(float(red @ same), 3), abs(float(red @ blue)) < 0.3
        (1.0, True)
        """
        return np.stack([self._vector(sentence) for sentence in sentences]).astype(np.float32)

    def _vector(self, sentence: str) -> NDArray[np.float64]:
        words = _WORD.findall(sentence.lower())
        if not words:
            raise DataError(f"the sentence {sentence!r} is empty: it has no word to look for")
        total = np.zeros(self.dim)
        for word in words:
            total += _word_vector(word, self.dim)
        for pair in pairwise(words):
            total += _PAIR_WEIGHT * _direction(f"pair {' '.join(pair)}", self.dim)
        return total / max(float(np.linalg.norm(total)), 1e-12)


@lru_cache(maxsize=4000)
def _word_vector(word: str, dim: int) -> NDArray[np.float32]:
    """The direction of a word plus the directions of its pieces."""
    total = _direction(f"word {word}", dim).astype(np.float32)
    whole = f"^{word}$"
    pieces = [whole[i : i + n] for n in _PIECES for i in range(max(0, len(whole) - n + 1))]
    for piece in pieces:
        total += _PIECES_WEIGHT / len(pieces) ** 0.5 * _direction(f"piece {piece}", dim)
    return total


@lru_cache(maxsize=8000)
def _direction(text: str, dim: int) -> NDArray[np.int8]:
    """Signs drawn by the hash of a text: +1 or -1, (dim,)."""
    drawn = hashlib.shake_128(text.encode()).digest(-(-dim // 8))
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8))[:dim]
    return bits.astype(np.int8) * 2 - 1
