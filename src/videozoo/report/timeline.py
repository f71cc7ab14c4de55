"""What happens when: rows over the time of one video, as a picture.

A row is either heat (how much a model attends to each moment) or spans (actions, proposals,
captions, moments), which are stacked where they overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from videozoo.report import drawing
from videozoo.report.drawing import ACCENT, FAINT, GOOD, INK, PAPER, TRACK, Colour

_MARGIN, _NAMES, _PLOT = 20, 170, 700
_LANE, _HEAT_HEIGHT, _GAP = 24, 34, 14
_MOST_LANES = 12
_STEPS = (1, 2, 5)  # ticks of an axis: these times a power of ten


@dataclass(frozen=True, kw_only=True)
class HeatRow:
    """How much something weighs from moment to moment."""

    name: str
    values: NDArray[np.floating]
    """(T,): not negative, evenly over the whole time; the largest is drawn brightest."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Something with a start and an end."""

    start: float
    end: float
    text: str = ""
    score: float | None = None
    """In [0, 1]: how strongly it is drawn. None: fully."""


@dataclass(frozen=True, kw_only=True)
class SpanRow:
    """Spans of one kind."""

    name: str
    spans: Sequence[Span]
    kind: Literal["truth", "answer"] = "answer"


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Rows over one axis."""

    title: str
    length: float
    """Of the axis, in `unit`; more than 0."""
    unit: Literal["s", "frames", "vectors"] = "s"
    rows: Sequence[HeatRow | SpanRow] = field(default_factory=tuple)
    bars: Sequence[tuple[str, float]] = ()
    """Names with shares in [0, 1], such as the best classes with their scores; above the rows."""


def timeline_picture(timeline: Timeline) -> Image.Image:
    """Draw a timeline; the picture grows with its rows, to 12 lanes of spans each.

    >>> row = SpanRow(name="truth", spans=[Span(start=1, end=3, text="jumps")])
    >>> timeline_picture(Timeline(title="a.mp4", length=10, rows=[row])).width
    910
    """
    lanes = {i: _lanes(row) for i, row in enumerate(timeline.rows) if isinstance(row, SpanRow)}
    heights = [
        _HEAT_HEIGHT if isinstance(row, HeatRow) else _LANE * max(1, len(lanes[i]))
        for i, row in enumerate(timeline.rows)
    ]
    head = 40 + 26 * len(timeline.bars) + (8 if timeline.bars else 0)
    body = sum(heights) + _GAP * len(heights)
    width = 2 * _MARGIN + _NAMES + _PLOT
    sheet = Image.new("RGB", (width, 2 * _MARGIN + head + body + 24), PAPER)
    canvas = ImageDraw.Draw(sheet)
    drawing.write(
        canvas, (_MARGIN, _MARGIN + 8), timeline.title, size=17, width=width - 2 * _MARGIN
    )
    for place, (name, share) in enumerate(timeline.bars):
        _draw_bar(canvas, _MARGIN + 40 + 26 * place, name, share, is_best=not place)
    top = _MARGIN + head
    _draw_axis(canvas, timeline, top, top + body)
    for number, (row, height) in enumerate(zip(timeline.rows, heights, strict=True)):
        drawing.write(canvas, (_MARGIN, top + height / 2), row.name, size=14, width=_NAMES - 12)
        if isinstance(row, HeatRow):
            _draw_heat(sheet, row, top, height)
        else:
            _draw_spans(canvas, row, lanes[number], timeline.length, top)
        top += height + _GAP
    return sheet


def _draw_bar(
    canvas: ImageDraw.ImageDraw, middle: int, name: str, share: float, *, is_best: bool
) -> None:
    colour = INK if is_best else FAINT
    drawing.write(canvas, (_MARGIN, middle), name, size=14, width=_NAMES - 12, colour=colour)
    left = _MARGIN + _NAMES
    right = left + _PLOT - 80
    drawing.bar(canvas, (left, middle - 5, right, middle + 5), share, ACCENT if is_best else FAINT)
    number = f"{100 * share:.1f} %"
    drawing.write(canvas, (left + _PLOT, middle), number, size=14, width=74, anchor="rm")


def _draw_axis(canvas: ImageDraw.ImageDraw, timeline: Timeline, top: int, bottom: int) -> None:
    """Thin lines with numbers, at round values."""
    for value in _ticks(timeline.length):
        x = _x(value, timeline.length)
        canvas.line((x, top - 4, x, bottom), fill=TRACK)
        unit = {"s": " s"}.get(timeline.unit, "")
        drawing.write(
            canvas,
            (x, bottom + 12),
            f"{value:g}{unit}",
            size=12,
            width=80,
            colour=FAINT,
            anchor="mm",
        )
    if timeline.unit != "s":
        right = _MARGIN + _NAMES + _PLOT
        drawing.write(
            canvas, (_MARGIN, bottom + 12), timeline.unit, size=12, width=right, colour=FAINT
        )


def _ticks(length: float, most: int = 8) -> list[float]:
    """Round values from 0 on, at most about `most` of them.

    >>> _ticks(30), _ticks(0.9)
    ([0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0], [0.0, 0.2, 0.4, 0.6, 0.8])
    """
    power = 10.0 ** np.floor(np.log10(length / most))
    step = next(s * power for s in (*_STEPS, 10) if length / (s * power) <= most)
    return [round(float(i * step), 9) for i in range(int(length / step + 1e-9) + 1)]


def _x(value: float, length: float) -> float:
    return _MARGIN + _NAMES + _PLOT * min(max(value / length, 0.0), 1.0)


def _draw_heat(sheet: Image.Image, row: HeatRow, top: int, height: int) -> None:
    values = np.asarray(row.values, np.float64)
    largest = float(values.max(initial=0.0))
    shares = values / largest if largest > 0 else values
    columns = (np.arange(_PLOT) * len(values)) // _PLOT
    if len(values) > _PLOT:  # a peak must not fall between two columns
        edges = np.linspace(0, len(values), _PLOT + 1).astype(int)
        line = np.maximum.reduceat(shares, edges[:-1])
    else:
        line = shares[columns] if len(values) else np.zeros(_PLOT)
    heat = np.broadcast_to(line.astype(np.float32), (height, _PLOT))
    sheet.paste(Image.fromarray(drawing.heat_colours(heat)), (_MARGIN + _NAMES, top))


def _lanes(row: SpanRow) -> list[list[Span]]:
    """Spans on as few lanes as keep them apart, the first ones (the best) on top."""
    lanes: list[list[Span]] = []
    for span in row.spans:
        free = (
            lane
            for lane in lanes
            if all(span.end <= other.start or span.start >= other.end for other in lane)
        )
        lane = next(free, None)
        if lane is None:
            if len(lanes) == _MOST_LANES:
                continue
            lane = []
            lanes.append(lane)
        lane.append(span)
    return lanes


def _draw_spans(
    canvas: ImageDraw.ImageDraw, row: SpanRow, lanes: list[list[Span]], length: float, top: int
) -> None:
    for number, lane in enumerate(lanes):
        upper = top + number * _LANE
        for span in lane:
            left, right = _x(span.start, length), _x(span.end, length)
            right = max(right, left + 2)
            strength = 1.0 if span.score is None else 0.25 + 0.75 * min(max(span.score, 0.0), 1.0)
            base = GOOD if row.kind == "truth" else ACCENT
            fill = _mixed(base, PAPER, strength)
            canvas.rectangle((left, upper + 2, right - 1, upper + _LANE - 3), fill=fill)
            if right - left > 24 and span.text:
                colour = PAPER if strength > 0.55 else INK
                drawing.write(
                    canvas, (left + 5, upper + _LANE / 2), span.text,
                    size=12, width=right - left - 8, colour=colour,
                )  # fmt: skip


def _mixed(colour: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (
        round(a * share + b * (1 - share)) for a, b in zip(colour, other, strict=True)
    )
    return red, green, blue
