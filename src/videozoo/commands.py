"""Commands and flags for messages, spelt so that the user can paste them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from videozoo.errors import VideozooError

_IN_2019 = {
    "--device cpu": "--use_gpu=False",
    "--device cuda": "--use_gpu=True",
}
"""Flags of `videozoo` to those of the 2019 command lines, where more than underscores differ."""

_ARGUMENTS = {
    "config": "config",
    "data": "data",
    "device": "device",
    "format": "format",
    "model": "model",
    "output": "path",
    "pretrain": "weights",
    "save-dir": "save_dir",
    "sentence": "sentence",
    "video": "video",
    "weights": "weights",
}
"""Flags with a value to arguments of the Python functions."""
_SWITCHES = {
    "allow-downloads": "inside `with videozoo.network.consent(agreed=True):`",
    "no-check": "check=False",
    "overwrite": "overwrite=True",
    "resume": "resume=True",
    "strict": "strict=True",
}
"""Flags that are given or not, the same way."""
_SETTINGS = {
    "annotations": "data.annotations",
    "encoder": "data.encoder",
    "labels": "data.labels",
    "rate": "data.rate",
    "videos": "data.videos",
}
"""Flags with a value to settings, for functions that take these."""
_WORDS = ("cpu", "cuda", "none", "onnx", "torch-export", "tsm", "tsn", "stnet")
"""Values in messages that are no placeholders."""
_FLAG = re.compile(
    # a whole command, to its end
    r"(?P<command>videozoo(?:\.exe)?'? (?:train|eval|predict|extract|export|prepare|encoders"
    r"|weights|config|models|check-data|doctor|demo)\b[^`;\n]*)"
    r"|(?<![\w/.-])--(?P<flag>[a-z][a-z0-9-]*)"
    r"(?:(?<=--set)[ ](?P<key>\w+\.[\w.]*\w))?"
    rf"(?:(?P<gap>[ =])(?P<value>(?<==)[^\s,;:)]+|[A-Z][A-Z_|]+\b|(?:{'|'.join(_WORDS)})\b(?::\d+)?"
    r"|'[^']*'|\d[\d.]*|\w+\.(?:py|yaml)\b|[\w.-]*/[^\s,;)]+))?"
)
"""A flag in a message, with its value: what follows `=`, capitals, a path, or one of `_WORDS`."""

_ORIGIN = re.compile(r"(?:settings:|the setting) ([a-z_]+\.[\w.]+): \1\b")
"""A setting as the place of a mistake, before its key."""

_READING = re.compile(
    r"(?:--set )?data\.(frames_per_second|label_from|spot_seconds)(?:=([\w.]+|'[^']*'))?"
)
"""Settings of how annotations are read, which are flags where there is no configuration."""

_flags_of_2019: ContextVar[bool] = ContextVar("flags_of_2019", default=False)


def command(*words: str | Path) -> str:
    """A shell command that calls this installation of videozoo from the current folder.

    Args:
        words: The command, its flags and their values; quoted where a shell needs it.
    """
    return " ".join([_program(), *map(quoted, words)])


def reading_as_flags(text: str) -> str:
    """Settings of how annotations are read, as flags of `convert` and `score`.

    >>> reading_as_flags("--set data.label_from=verb, or data.spot_seconds")
    '--label-from verb, or --spot-seconds'
    >>> reading_as_flags("--set data.label_from='the act'")
    "--label-from 'the act'"
    """

    def flag(found: re.Match[str]) -> str:
        name = f"--{found[1].replace('_', '-')}"
        return name if found[2] is None else f"{name} {found[2]}"

    return _READING.sub(flag, text)


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


@contextmanager
def words_for_python(*, has_settings: bool = False) -> Generator[None]:
    """Within the block, errors name arguments of Python functions in place of flags.

    Messages are written for the command line; this is the one place where they are translated, at
    the doors of the Python interface. Also a decorator.

    Args:
        has_settings: The function takes `settings={"train.epochs": 3}`.
    """
    try:
        yield
    except VideozooError as error:
        error.args = (in_python(str(error), has_settings=has_settings),)
        raise


def in_python(message: str, *, has_settings: bool = False) -> str:
    """A message with the arguments of Python functions in place of flags.

    Whole commands stay, as they can be run all the same.

    >>> in_python("holds no configuration; pass --config FILE|NAME")
    'holds no configuration; pass config=FILE|NAME'
    >>> in_python("pass --set data.rate=2 or --overwrite", has_settings=True)
    'pass settings={"data.rate": 2} or overwrite=True'
    >>> in_python("no features; `videozoo extract --weights RUN` makes them")
    'no features; `videozoo extract --weights RUN` makes them'
    """
    others: list[str] = []

    def argument(found: re.Match[str]) -> str:
        if found["command"]:
            return found["command"]
        name, value = found["flag"], found["value"]
        if name == "set":
            return _setting(found["key"], value, has_settings)
        if has_settings and name in _SETTINGS:
            return _setting(_SETTINGS[name], value, has_settings)
        if name in _SWITCHES:
            return f"{_SWITCHES[name]}{found['gap'] + value if value and name != 'resume' else ''}"
        if name not in _ARGUMENTS:
            others.append(f"--{name}")
            return found[0]
        if value is None:
            return _ARGUMENTS[name]
        is_word = value in _WORDS or value.startswith("cuda:")
        value = {"none": "None"}.get(value, repr(value) if is_word else value)
        return f"{_ARGUMENTS[name]}={value}"

    text = _ORIGIN.sub(r"settings: \1", _FLAG.sub(argument, message))
    if not others:
        return text
    verb = "is a flag" if len(others) == 1 else "are flags"
    return f"{text} ({', '.join(dict.fromkeys(others))} {verb} of the `videozoo` command)"


def _setting(key: str | None, value: str | None, has_settings: bool) -> str:
    if key is None:
        return "settings" if has_settings else "the settings"
    if value is None:
        return f"settings: {key}" if has_settings else f"the setting {key}"
    value = {"null": "None", "true": "True", "false": "False"}.get(value, value)
    return f'settings={{"{key}": {value}}}' if has_settings else f"the setting {key}={value}"


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
