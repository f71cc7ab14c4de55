"""File names as text that every output can show.

A file name is bytes. If they are not in the system's encoding, Python keeps each odd byte as a
surrogate character, which no terminal, page or picture can show and no UTF-8 file can hold. Names
are written in the same way everywhere:

* for people, `shown`: odd bytes as ``\\xNN``, control characters as ``?``;
* in JSON, `json_bytes`: odd bytes as ``\\udcNN``, from which Python reads the very name again;
* on a stream of any encoding, the error handler `NAMES`: unsupported characters become ASCII.
"""

from __future__ import annotations

import codecs
import io
import json
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

NAMES = "videozoo-names"
"""For `errors=` of `open` and the like."""
_WORDS_PER_PIECE = 10_000

_IN_ASCII = {
    "\N{FULL BLOCK}": "#",
    "\N{BOX DRAWINGS LIGHT HORIZONTAL}": "-",
    "\N{HORIZONTAL ELLIPSIS}": "~",
    "\N{CHECK MARK}": "+",
    "\N{MULTIPLICATION X}": "x",
}
"""Characters that tables are drawn with, and their ASCII replacements."""


def shown(text: object) -> str:
    r"""Text for people, without characters that a terminal would obey or cannot show.

    >>> shown("a\x1b[2J"), shown("caf\udce9.mp4")
    ('a?[2J', 'caf\\xe9.mp4')
    """
    whole = _whole(str(text))
    return "".join(each if each.isprintable() else _odd(each) or "?" for each in whole)


def listed_path(path: Path) -> Path:
    """The file named by UTF-8 text, also if the system has another encoding."""
    return Path(os.fsdecode(str(path).encode("utf-8", "surrogateescape")))


def json_bytes(value: Any, *, indent: int | None = None) -> bytes:
    r"""JSON in UTF-8, from which every name can be read back unchanged.

    >>> json_bytes("caf\udce9"), json.loads(json_bytes("caf\udce9")) == "caf\udce9"
    (b'"caf\\udce9"', True)
    """
    return b"".join(json_pieces(value, indent=indent))


def json_pieces(value: Any, *, indent: int | None = None) -> Iterator[bytes]:
    """What `json_bytes` gives, in pieces: results of very many videos take their text once less."""
    words: list[str] = []
    for word in json.JSONEncoder(indent=indent, ensure_ascii=False).iterencode(value):
        words.append(word)
        if len(words) == _WORDS_PER_PIECE:
            yield _encoded(words)
            words.clear()
    yield _encoded(words)


def _encoded(words: Iterable[str]) -> bytes:
    return _whole("".join(words)).encode("utf-8", "backslashreplace")


@contextmanager
def any_encoding(*streams: TextIO) -> Generator[None]:
    """Within the block, these streams take any text, in any encoding."""
    with ExitStack() as stack:
        for stream in streams:
            if isinstance(stream, io.TextIOWrapper):
                stack.callback(_set_errors, stream, stream.errors or "strict")
                _set_errors(stream, NAMES)
        yield


def _set_errors(stream: io.TextIOWrapper, errors: str) -> None:
    if not stream.closed:
        stream.reconfigure(errors=errors)


def _whole(text: str) -> str:
    """Join bytes of a UTF-8 character that the system's encoding kept as odd bytes."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair
        return text


def _odd(character: str) -> str | None:
    """An odd byte, or half of a surrogate pair, as readable text; None for other characters."""
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return f"\\u{number:04x}" if 0xD800 <= number <= 0xDFFF else None


def _in_encoding(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    piece = _whole(error.object[error.start : error.end])
    text = "".join(_replaced(piece, error.encoding))
    # the encoder of UTF-8 takes only ASCII text from here, but any bytes
    return text.encode(error.encoding), error.end


def _replaced(text: str, encoding: str) -> Iterable[str]:
    for character in text:
        stand_in = _odd(character) or _IN_ASCII.get(character)
        if stand_in is None:
            try:
                character.encode(encoding)
                stand_in = character
            except UnicodeEncodeError:
                number = ord(character)
                stand_in = f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
        yield stand_in


codecs.register_error(NAMES, _in_encoding)
