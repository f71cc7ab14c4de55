"""Text, bars and heat on pictures, with Pillow. Sizes are pixels, colours (red, green, blue)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from videozoo.safe_names import shown

Frame = NDArray[np.uint8]
Colour = tuple[int, int, int]

PAPER: Colour = (255, 255, 255)
INK: Colour = (27, 36, 48)
FAINT: Colour = (91, 102, 117)
TRACK: Colour = (226, 231, 238)
ACCENT: Colour = (43, 108, 212)
GOOD: Colour = (23, 121, 74)
BAD: Colour = (179, 53, 43)

_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
# DejaVu (installed, or from matplotlib) has most alphabets; Chinese, Japanese and Korean need a #
# font of the system.
_FACES = (
    "DejaVuSans.ttf",
    "Arial Unicode.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "msyh.ttc",
    "msgothic.ttc",
    "malgun.ttf",
    "PingFang.ttc",
)
_HEAT = np.array(  # from none to most: dark to bright, readable without colour too
    [[20, 11, 53], [127, 30, 108], [229, 92, 48], [252, 255, 164]], np.float32
)


def printable(text: str) -> str:
    """Text without characters that cannot be drawn on one line.

    >>> printable("a\\nb\\x00")
    'a b?'
    """
    return shown(" ".join(text.split()))


def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """The first available font with every character of `text`, else the first one."""
    fonts = _fonts(size)
    return next((font for font in fonts if all(_has(font, each) for each in text)), fonts[0])


@lru_cache(maxsize=32)
def _fonts(size: int) -> tuple[ImageFont.FreeTypeFont, ...]:
    own = cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))
    found: list[ImageFont.FreeTypeFont] = []
    for name in _FACES:
        for place in (_of_matplotlib(name), name):
            try:
                found.append(ImageFont.truetype(place, size))
                break
            except OSError:
                continue
    return (*found, own)


def _of_matplotlib(name: str) -> str:
    """Path of a font of matplotlib, found without importing it."""
    package = importlib.util.find_spec("matplotlib")
    if package is None or package.origin is None:
        return name
    return str(Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / name)


@lru_cache(maxsize=4096)
def _has(font: ImageFont.FreeTypeFont, character: str) -> bool:
    """Whether a font has a character, and does not draw its box for unknown ones."""
    if character.isspace():
        return True
    drawn, unknown = (bytes(cast(Any, font.getmask(each))) for each in (character, "\U0010fffe"))
    return drawn != unknown


def fitted(text: str, size: int, width: float) -> str:
    """As much of `text` as fits into `width`, with an ellipsis if it is cut.

    >>> fitted("short", 12, 200)
    'short'
    >>> fitted("a name that is much too long", 12, 80).endswith("\u2026")
    True
    """
    shown = printable(text)
    font = font_for(shown, size)
    if font.getlength(shown) <= width:
        return shown
    kept = shown[: _fitting(shown, font, width, _ELLIPSIS)].rstrip()
    return kept + _ELLIPSIS if kept else ""


def _fitting(text: str, font: ImageFont.FreeTypeFont, width: float, tail: str = "") -> int:
    """Number of leading characters that fit together with `tail`; accents stay with their
    letter."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(text[:middle].rstrip() + tail) <= width:
            low = middle
        else:
            high = middle - 1
    return low


def wrapped(text: str, size: int, width: float, *, most: int) -> list[str]:
    """`text` in lines of at most `width`, broken at blanks, or within words that are wider.

    Args:
        text: What to write.
        size: Of the letters.
        width: Of a line.
        most: Largest number of lines; the last one is cut.

    >>> wrapped("a man runs and falls", 12, 80, most=3)
    ['a man runs', 'and falls']
    >>> [len(line) > 5 for line in wrapped("a" * 60, 12, 80, most=2)]
    [True, True]
    """
    rest = printable(text)
    font = font_for(rest, size)
    lines: list[str] = []
    while len(lines) < most - 1 and font.getlength(rest) > width:
        cut = max(1, _fitting(rest, font, width))
        blank = rest.rfind(" ", 0, cut + 1)
        cut = blank if blank > 0 else cut
        lines.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*lines, fitted(rest, size, width)]


def line_height(size: int) -> int:
    """Distance from one line of text to the next."""
    return round(1.3 * size)


def write(
    canvas: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    *,
    size: int,
    width: float,
    colour: Colour = INK,
    anchor: Literal["lm", "mm", "rm"] = "lm",
) -> None:
    """Write one line, cut to `width`; `place` is its middle height, left, middle or right."""
    shown = fitted(text, size, width)
    canvas.text(place, shown, fill=colour, font=font_for(shown, size), anchor=anchor)


def write_lines(
    canvas: ImageDraw.ImageDraw,
    place: tuple[float, float],
    lines: Sequence[str],
    *,
    size: int,
    colour: Colour = INK,
) -> None:
    """Write lines from `wrapped` below each other; `place` is left, and the middle of all."""
    left, middle = place
    font = font_for("".join(lines), size)
    for number, line in enumerate(lines):
        height = middle + (number - (len(lines) - 1) / 2) * line_height(size)
        canvas.text((left, height), line, fill=colour, font=font, anchor="lm")


def bar(
    canvas: ImageDraw.ImageDraw,
    box: tuple[float, float, float, float],
    share: float,
    colour: Colour = ACCENT,
) -> None:
    """Draw a share in [0, 1] as a bar in a track."""
    left, top, right, bottom = box
    canvas.rectangle((left, top, right - 1, bottom - 1), fill=TRACK)
    filled = left + (right - left) * min(max(share, 0.0), 1.0)
    if filled >= left + 1:
        canvas.rectangle((left, top, filled - 1, bottom - 1), fill=colour)


def resized(frame: Frame, width: int) -> Image.Image:
    """A frame at another width, with its aspect ratio."""
    height = max(1, round(frame.shape[0] * width / frame.shape[1]))
    return Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC)


def heat_colours(heat: NDArray[np.float32]) -> Frame:
    """Colours (H, W, 3) of heat (H, W) in [0, 1]."""
    stops = np.linspace(0, 1, len(_HEAT))
    channels = [np.interp(heat, stops, _HEAT[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def with_heat(frame: Frame, heat: NDArray[np.float32]) -> Frame:
    """Draw heat (h, w) in [0, 1] over a frame (H, W, 3), which is made grey and darker."""
    height, width = frame.shape[:2]
    map_ = Image.fromarray(np.ascontiguousarray(heat, np.float32))
    fine = np.asarray(map_.resize((width, height), Image.Resampling.BILINEAR)).clip(0, 1)
    grey = frame.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    under = 0.55 * grey[..., None] + 0.2 * frame
    opacity = 0.75 * fine[..., None] ** 0.8
    mixed = under * (1 - opacity) + heat_colours(fine) * opacity
    return mixed.round().clip(0, 255).astype(np.uint8)


def columns_for(cells: int) -> int:
    """Columns of a grid that is wider than high.

    >>> [columns_for(cells) for cells in (1, 3, 8, 24)]
    [1, 3, 4, 6]
    """
    return min(cells, max(3, int(np.ceil(np.sqrt(1.5 * cells)))))


def spread(count: int, most: int) -> Sequence[int]:
    """At most `most` of `count` places, evenly spread, with the first and the last.

    >>> list(spread(3, 5)), list(spread(9, 3))
    ([0, 1, 2], [0, 4, 8])
    """
    if count <= most:
        return range(count)
    return np.linspace(0, count - 1, most).round().astype(int).tolist()
