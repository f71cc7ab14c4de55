"""Read pickles of plain data: numbers, text, bytes, containers and numpy arrays. Nothing runs.

A pickle can call any function it names. PaddlePaddle's `.pdparams` and the 2019 data files are
pickles, so they are read with an unpickler that knows only the few names such data needs.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Literal

from videozoo.errors import DataError

_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("collections", "OrderedDict"),
}


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _encode_latin1
        if (module, name) not in _ALLOWED:
            raise _ForbiddenError(f"{module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _encode_latin1(text: str, encoding: str) -> bytes:
    """Undo how Python 3 writes bytes in protocol 2; other codecs could inflate a small file."""
    if encoding != "latin1":
        raise _ForbiddenError(f"_codecs.encode(..., {encoding!r})")
    return text.encode("latin1")


class _ForbiddenError(Exception):
    pass


def load_pickle(path: Path, *, encoding: Literal["ASCII", "latin1", "bytes"] = "bytes") -> Any:
    """Return the plain data in a pickle file.

    Args:
        path: The file.
        encoding: How 8-bit strings written by Python 2 are decoded; `latin1` for arrays,
            `bytes` to keep them as bytes.

    Raises:
        DataError: The file is missing, is not a pickle, ends early, or names code to run.
    """
    try:
        with path.open("rb") as file:
            return _DataUnpickler(file, encoding=encoding).load()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except _ForbiddenError as error:
        raise DataError(
            f"{path}: refused: this pickle asks to run {error}, "
            "and a data file holds only numbers, text, lists and arrays"
        ) from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise DataError(
            f"{path}: not a readable pickle ({type(error).__name__}: {error}); is it complete?"
        ) from None
