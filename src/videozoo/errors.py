"""Every exception this library raises on purpose.

VideozooError            exit status 1: the user's input is wrong
├── ConfigError          a configuration value is wrong; names file, key, value, what was expected
├── DataError            a list or a sample cannot be used; names the file and the line
│   ├── VideoError       one video cannot be read; names the file
│   ├── MisfitError      data does not fit the model, so that no other sample will do either
│   └── IncompleteError  some of many could not be used; the results of the others are written
├── WeightsError         weights do not fit the model; lists missing, extra, misshapen
├── RunError             a run folder, device or process set-up is not usable
└── UsageError           exit status 2: the command line is wrong

A message says what, where, got, expected and what to do next.
"""

from collections.abc import Iterable
from pathlib import Path

_MOST_SHOWN = 120
_MOST_CHARACTERS = 6000
_NO_MEMORY = (
    *("can't allocate memory", "Cannot allocate memory", "Failed to allocate memory"),
    *("out of memory", "not enough memory", "bad_alloc"),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is said of memory: by Python, PyTorch or onnxruntime.

    >>> is_out_of_memory(RuntimeError("CUDA out of memory. Tried ..."))
    True
    """
    return isinstance(error, MemoryError) or any(text in str(error) for text in _NO_MEMORY)


def brief(value: object) -> str:
    """A value from a file as a message shows it: one line, cut where it is long.

    >>> brief({"a": 1}), len(brief("x" * 1000))
    ("{'a': 1}", 120)
    """
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


def few(items: Iterable[object], most: int = 5, *, between: str = ", ") -> str:
    """The first few of many, and how many more there are, as a message shows them.

    >>> few(["ab", "cd", "ef"], 2), few(["ab"], between="; ")
    ('ab, cd, and 1 more', 'ab')
    """
    texts = [str(item) for item in items]
    rest = len(texts) - most
    return between.join([*texts[:most], *([f"and {rest:,} more"] if rest > 0 else [])])


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the plural where needed.

    >>> counted(1, "video"), counted(1200, "video"), counted(0, "class"), counted(2, "entry")
    ('1 video', '1,200 videos', '0 classes', '2 entries')
    >>> counted(2, "batch"), counted(2, "epoch")
    ('2 batches', '2 epochs')
    """
    if count == 1:
        return f"1 {noun}"
    if noun.endswith(("s", "x", "ch", "sh")) and not noun.endswith("epoch"):
        return f"{count:,} {noun}es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{count:,} {noun[:-1]}ies"
    return f"{count:,} {noun}s"


class VideozooError(Exception):
    """Base class, so that callers can catch everything we raise on purpose."""

    exit_status = 1

    def __init__(self, message: str = "") -> None:
        """Keep the message readable, even if it quotes long names and values."""
        if len(message) > _MOST_CHARACTERS:
            half = _MOST_CHARACTERS // 2
            message = f"{message[:half]} [...] {message[-half:]}"
        super().__init__(message)


class ConfigError(VideozooError):
    """A configuration does not describe a valid run."""


class DataError(VideozooError):
    """A list, an annotation or a sample on disk is missing or malformed."""

    def __init__(self, message: str = "", *, absent: Path | None = None) -> None:
        """Keep which file is not there, where that is the reason."""
        super().__init__(message)
        self.absent = absent


class VideoError(DataError):
    """One video cannot be read."""


class NoFeaturesError(DataError):
    """A file or a folder holds no features of videos in a form that is read here."""


class MisfitError(DataError):
    """Data that do not fit the model: no other sample will fit either."""


class IncompleteError(DataError):
    """Some videos could not be used; the results of the others are written."""


class WeightsError(VideozooError):
    """A weights file does not fit the model, or is not a weights file."""


class RunError(VideozooError):
    """A run cannot start or go on: its folder, its device or its processes."""


class UsageError(VideozooError):
    """The command line itself is wrong."""

    exit_status = 2
