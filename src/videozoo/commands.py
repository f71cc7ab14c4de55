"""Commands and flags for messages, spelt so that the user can paste them."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_IN_2019 = {
    "--device cpu": "--use_gpu=False",
    "--device cuda": "--use_gpu=True",
}
"""Flags of `videozoo` to those of the 2019 command lines, where more than underscores differ."""

_flags_of_2019: ContextVar[bool] = ContextVar("flags_of_2019", default=False)


def command(*words: str | Path) -> str:
    """A shell command that calls this installation of videozoo from the current folder.

    Args:
        words: The command, its flags and their values; quoted where a shell needs it.
    """
    return " ".join([_program(), *map(quoted, words)])


def quoted(word: str | Path) -> str:
    r"""A word as a shell reads it; paths below the current folder are shortened.

    >>> quoted("two words"), quoted("caf\udce9.mp4")
    ("'two words'", "$'caf\\xe9.mp4'")
    """
    text = _near(word) if isinstance(word, Path) else word
    if isinstance(word, Path) and text.startswith("-"):  # or it would be taken for a flag
        text = os.path.join(os.curdir, text)  # noqa: PTH118 - Path drops the dot
    if not any("\udc80" <= character <= "\udcff" for character in text):
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{''.join(_escaped(character) for character in escaped)}'"


def flag(today: str, run: Path | None = None) -> str:
    """Spell a flag, perhaps with its value, as the command line in use spells it.

    Args:
        today: As the `videozoo` command spells it.
        run: For `--resume`, which named the run in the 2019 library.
    """
    if run is not None and _flags_of_2019.get():
        return f"{today}={quoted(run)}"
    if not _flags_of_2019.get():
        return today
    return _IN_2019.get(today) or f"--{today.removeprefix('--').replace('-', '_')}"


@contextmanager
def flags_of_2019() -> Generator[None]:
    """Within the block, spell flags as the 2019 command lines do."""
    token = _flags_of_2019.set(True)
    try:
        yield
    finally:
        _flags_of_2019.reset(token)


def _program() -> str:
    started, on_path = Path(sys.argv[0]), shutil.which("videozoo")
    folder = Path(sys.executable).parent
    names = (started, folder / "videozoo", folder / "videozoo.exe")
    ours = [path for path in names if path.stem == "videozoo" and path.is_file()]
    if on_path is not None and any(path.samefile(on_path) for path in ours):
        return "videozoo"
    if ours:
        return quoted(ours[0])
    python = shutil.which("python")
    is_ours = python is not None and Path(python).samefile(sys.executable)
    return f"{'python' if is_ours else quoted(Path(sys.executable))} -m videozoo"


def _near(path: Path) -> str:
    here = Path.cwd()
    return os.path.relpath(path, here) if path.is_relative_to(here) else str(path)


def _escaped(character: str) -> str:
    is_odd = "\udc80" <= character <= "\udcff"
    return f"\\x{ord(character) - 0xDC00:02x}" if is_odd else character
