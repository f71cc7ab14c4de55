"""A picture of what happens when: rows over the time of one video.

A row is heat (how much the model attends to each time) or spans (actions, proposals, captions,
moments), which are stacked if they overlap. A legend below explains them.
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
_AXIS, _LEGEND, _SWATCH = 24, 28, 56
_PALEST = 0.25  # opacity of a span of score 0
_TITLE_SIZE, _NAME_SIZE = 17, 14
_MOST_LINES = 8  # of a title or a name
_MOST_LANES = 12
_STEPS = (1, 2, 5)  # ticks of an axis: these times a power of ten


@dataclass(frozen=True, kw_only=True)
class HeatRow:
    """A weight over time."""

    name: str
    values: NDArray[np.floating]
    """(T,), 0 or more, evenly over the whole time; the largest is drawn brightest."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Something with a start and an end."""

    start: float
    end: float
    text: str = ""
    score: float | None = None
    """In [0, 1]: opacity. None: opaque."""


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
    """Length of the axis in `unit`; above 0."""
    unit: Literal["s", "frames", "vectors"] = "s"
    rows: Sequence[HeatRow | SpanRow] = field(default_factory=tuple)
    bars: Sequence[tuple[str, float]] = ()
    """Names with shares in [0, 1], such as the best classes and their scores; drawn above the
    rows."""


def timeline_picture(timeline: Timeline) -> Image.Image:
    """Draw a timeline. The height grows with the rows, which have up to 12 lanes of spans each.

    >>> row = SpanRow(name="truth", spans=[Span(start=1, end=3, text="jumps")])
    >>> timeline_picture(Timeline(title="a.mp4", length=10, rows=[row])).width
    910
    """
    lanes = {
        i: _lanes(row, timeline.length)
        for i, row in enumerate(timeline.rows)
        if isinstance(row, SpanRow)
    }
    width = 2 * _MARGIN + _NAMES + _PLOT
    title = drawing.wrapped(timeline.title, _TITLE_SIZE, width - 2 * _MARGIN, most=_MOST_LINES)
    names = [
        drawing.wrapped(row.name, _NAME_SIZE, _NAMES - 12, most=_MOST_LINES)
        for row in timeline.rows
    ]
    heights = [
        max(
            _HEAT_HEIGHT if isinstance(row, HeatRow) else _LANE * max(1, len(lanes[i])),
            drawing.line_height(_NAME_SIZE) * len(names[i]),
        )
        for i, row in enumerate(timeline.rows)
    ]
    more_title = drawing.line_height(_TITLE_SIZE) * (len(title) - 1)
    bars_top = 40 + more_title
    head = bars_top + 26 * len(timeline.bars) + (8 if timeline.bars else 0)
    body = sum(heights) + _GAP * len(heights)
    height = 2 * _MARGIN + head + body + _AXIS + _LEGEND
    sheet = Image.new("RGB", (width, height), PAPER)
    canvas = ImageDraw.Draw(sheet)
    drawing.write_lines(canvas, (_MARGIN, _MARGIN + 8 + more_title / 2), title, size=_TITLE_SIZE)
    for place, (name, share) in enumerate(timeline.bars):
        _draw_bar(canvas, _MARGIN + bars_top + 26 * place, name, share, is_best=not place)
    top = _MARGIN + head
    _draw_axis(canvas, timeline, top, top + body)
    for number, (row, height) in enumerate(zip(timeline.rows, heights, strict=True)):
        drawing.write_lines(canvas, (_MARGIN, top + height / 2), names[number], size=_NAME_SIZE)
        if isinstance(row, HeatRow):
            _draw_heat(sheet, row, top, height)
        else:
            _draw_spans(canvas, row, lanes[number], top)
        top += height + _GAP
    _draw_legend(sheet, timeline, top + _AXIS + _LEGEND / 2)
    return sheet


def _draw_legend(sheet: Image.Image, timeline: Timeline, middle: float) -> None:
    """One entry per kind of row."""
    heat = drawing.heat_colours(np.linspace(0, 1, _SWATCH, dtype=np.float32)[None])
    shades = np.linspace(_PALEST, 1, _SWATCH)[None, :, None]
    spans = [row for row in timeline.rows if isinstance(row, SpanRow)]
    answers = [row for row in spans if row.kind == "answer"]
    scored = any(span.score is not None for row in answers for span in row.spans)
    pale = np.array(PAPER) + (np.array(ACCENT) - PAPER) * (shades if scored else 1.0)
    entries: list[tuple[NDArray[np.uint8], str]] = []
    if any(isinstance(row, HeatRow) for row in timeline.rows):
        entries.append((heat, "none to most of the row"))
    if answers:
        entries.append((pale.round().astype(np.uint8), "low to high score" if scored else "found"))
    if len(answers) < len(spans):
        entries.append((np.array([[GOOD]], np.uint8), "annotated"))
    canvas, left = ImageDraw.Draw(sheet), _MARGIN + _NAMES
    for swatch, text in entries:
        picture = np.broadcast_to(swatch, (12, _SWATCH, 3))
        sheet.paste(Image.fromarray(np.ascontiguousarray(picture)), (left, round(middle) - 6))
        left += _SWATCH + 8
        drawing.write(canvas, (left, middle), text, size=12, width=_PLOT, colour=FAINT)
        left += round(drawing.font_for(text, 12).getlength(text)) + 28


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
    if len(values) > _PLOT:  # keep the peaks
        edges = np.linspace(0, len(values), _PLOT + 1).astype(int)
        line = np.maximum.reduceat(shares, edges[:-1])
    else:
        line = shares[columns] if len(values) else np.zeros(_PLOT)
    heat = np.broadcast_to(line.astype(np.float32), (height, _PLOT))
    sheet.paste(Image.fromarray(drawing.heat_colours(heat)), (_MARGIN + _NAMES, top))


@dataclass(frozen=True)
class _Placed:
    """Where a span and its text are drawn, in pixels from the left."""

    span: Span
    left: float
    right: float
    text_at: Literal["inside", "after", "before"]
    text_width: float

    @property
    def taken(self) -> tuple[float, float]:
        """From the left to the right end of bar and text."""
        beside = 4 + self.text_width + 8
        return (
            self.left - (beside if self.text_at == "before" else 0),
            self.right + (beside if self.text_at == "after" else 0),
        )

    def is_apart(self, other: _Placed) -> bool:
        """Whether neither the times nor the drawings overlap."""
        (left, right), (others_left, others_right) = self.taken, other.taken
        return (self.span.end <= other.span.start or self.span.start >= other.span.end) and (
            right <= others_left or left >= others_right
        )


def _placed(span: Span, length: float) -> _Placed:
    """A text wider than its bar is drawn beside it, if there is room."""
    left = _x(span.start, length)
    right = max(_x(span.end, length), left + 2)
    text = drawing.printable(span.text)
    wanted = drawing.font_for(text, 12).getlength(text) if text else 0.0
    at = "inside"
    if wanted > right - left - 8:
        if right + 4 + wanted <= _MARGIN + _NAMES + _PLOT + _MARGIN:
            at = "after"
        elif left - 4 - wanted >= _MARGIN + _NAMES:
            at = "before"
    return _Placed(span, left, right, at, wanted)


def _lanes(row: SpanRow, length: float) -> list[list[_Placed]]:
    """Spans on as few lanes as possible without overlap, the first (best) ones on top."""
    lanes: list[list[_Placed]] = []
    for span in row.spans:
        one = _placed(span, length)
        free = (lane for lane in lanes if all(one.is_apart(other) for other in lane))
        lane = next(free, None)
        if lane is None:
            if len(lanes) == _MOST_LANES:
                continue
            lane = []
            lanes.append(lane)
        lane.append(one)
    return lanes


def _draw_spans(
    canvas: ImageDraw.ImageDraw, row: SpanRow, lanes: list[list[_Placed]], top: int
) -> None:
    for number, lane in enumerate(lanes):
        upper = top + number * _LANE
        for one in lane:
            score = one.span.score
            share = 1.0 if score is None else min(max(score, 0.0), 1.0)
            strength = _PALEST + (1 - _PALEST) * share
            base = GOOD if row.kind == "truth" else ACCENT
            fill = _mixed(base, PAPER, strength)
            canvas.rectangle((one.left, upper + 2, one.right - 1, upper + _LANE - 3), fill=fill)
            colour = PAPER if one.text_at == "inside" and strength > 0.55 else INK
            width = one.text_width if one.text_at != "inside" else one.right - one.left - 8
            x = {"inside": one.left + 5, "after": one.right + 4, "before": one.left - 4}
            if one.span.text and width > 16:
                drawing.write(
                    canvas, (x[one.text_at], upper + _LANE / 2), one.span.text, size=12,
                    width=width, colour=colour, anchor="rm" if one.text_at == "before" else "lm",
                )  # fmt: skip


def _mixed(colour: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (
        round(a * share + b * (1 - share)) for a, b in zip(colour, other, strict=True)
    )
    return red, green, blue
