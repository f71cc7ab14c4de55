"""A reader that breaks the law in every way, to test the harness."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from random import Random

import numpy as np

from tests.fuzz.harness import Entry, Seed
from videozoo.errors import DataError


def _broken(path: Path) -> None:
    """The file says how."""
    word = path.read_text()
    if "hang" in word:
        while True:
            pass
    if "crash" in word:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "raise" in word:
        raise ValueError(word)
    if "memory" in word:
        np.ones(450 * 2**20, np.uint8)
    if "address" in word:
        try:
            np.ones(2**40, np.uint8)
        except MemoryError as error:
            raise DataError(f"{path}: {error}") from None
    if "silent" in word:
        raise DataError("")


def _other_word(rng: Random, _content: bytes) -> bytes:
    return rng.choice((b"fine", b"raise", b"crash"))


BROKEN = Entry(
    "broken-reader",
    lambda: [Seed("x.txt", {"x.txt": b"fine"})],
    _broken,
    mutators={".txt": _other_word},
)
BY_NAME = {BROKEN.name: BROKEN}
