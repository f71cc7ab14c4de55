"""How many pixels a frame may have: told from the header, before memory is taken for them."""

from __future__ import annotations

import os
from pathlib import Path

from videozoo.errors import ConfigError, VideoError, brief

VARIABLE = "VIDEOZOO_MAX_PIXELS"
_USUAL = 1 << 25
"""8K video (7680x4320) is a little below. Decoders hold several frames of this size at once."""
_MOST = 1 << 30
_ALIGNED = 64
_DAMAGED_FRAMES = 8
"""Of the largest size; 129 of 1920x1080."""
_DAMAGED_PER_BYTE = 4096
"""1920x1080 in 506 bytes. Decoding so much takes 10 to 20 s per MB."""


def most_pixels() -> int:
    """Pixels that a frame of a video, or a picture, may have.

    2^25 unless the environment variable `VIDEOZOO_MAX_PIXELS` says otherwise.

    Raises:
        ConfigError: The variable is not a number from 1 to 2^30.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return _USUAL
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and 1 <= int(text) <= _MOST):
        raise ConfigError(
            f"{VARIABLE}={brief(text)}: expected a number of pixels per frame, 1 to {_MOST}"
        )
    return int(text)


def most_damaged_pixels(num_bytes: int) -> int:
    """Pixels of all damaged frames together that are decoded of a stream of so many bytes.

    A damaged frame of a few bytes may take as long as a whole one. Sound frames have no such limit:
    a picture that stands still takes few bytes, too.
    """
    return _DAMAGED_FRAMES * most_pixels() + _DAMAGED_PER_BYTE * num_bytes


def check_pixels(name: Path | str, height: int, width: int) -> None:
    """Refuse a frame that is too large.

    Args:
        name: What messages call it.
        height: As its header says; so is `width`.
        width: In pixels.

    Raises:
        VideoError: It has more than `most_pixels`.
    """
    most = most_pixels()
    if height * width > most:
        raise VideoError(
            f"{name}: {width}x{height} pixels, and at most {most:,} are decoded; if that is right, "
            f"set {VARIABLE}={height * width}"
        )


def decoder_pixels() -> str:
    """The same as FFmpeg's option `max_pixels`, which counts rows as long as they lie in memory."""
    return str(most_pixels() + (_ALIGNED << 16))
