"""Write results as one HTML file to send to a colleague.

The file needs no network, no script and no other file: it contains pictures and style, and it
forbids the browser to load anything else. Every text is escaped, so class names and file names may
be anything.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from videozoo import __version__
from videozoo.errors import counted
from videozoo.report.charts import (
    Confusion,
    Panel,
    Reliability,
    confusion_svg,
    curve_svg,
    reliability_svg,
    worst_pairs,
)
from videozoo.report.files import write_text
from videozoo.report.tables import percent

_MOST_FRAMES = 16
_FRAME_HEIGHT = 96  # pixels; enough for a strip, small enough to mail dozens


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One number at the top of the page."""

    label: str
    value: str
    """As shown: "94.5 %"."""
    note: str = ""
    share: float | None = None
    """In [0, 1]: also drawn as a bar."""
    is_main: bool = False
    """The main number of the report."""


@dataclass(frozen=True, kw_only=True)
class PredictionCard:
    """One video and its prediction."""

    name: str
    frames: NDArray[np.uint8]
    """RGB (T, H, W, 3), as the model sees them. Of more than 16, 16 evenly spread ones are shown,
    96 pixels high."""
    top: Sequence[tuple[str, float]]
    """Class and score in [0, 1], best first; at least one."""
    truth: str | None = None
    """The true class, if known."""
    note: str = ""

    @property
    def is_right(self) -> bool | None:
        """None if the true class is not known."""
        return None if self.truth is None else self.top[0][0] == self.truth


Cell = str | int | float


@dataclass(frozen=True, kw_only=True)
class Table:
    """A section with a table. Text is left, whole numbers are right; a float is a share in [0, 1],
    drawn as percent with a bar, or as a dash if it is nan."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    """Each as long as `columns`."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The content of the page, from top to bottom. Empty parts are left out."""

    title: str
    summary: str
    """One paragraph: what was done, and the result."""
    headlines: Sequence[Headline] = ()
    explanation: Sequence[str] = ()
    """Paragraphs under "What this shows"."""
    panels: Sequence[Panel] = ()
    """Training curves."""
    results: Sequence[Panel] = ()
    """Curves of the results."""
    confusions: Sequence[Confusion] = ()
    tables: Sequence[Table] = ()
    reliability: Reliability | None = None
    predictions: Sequence[PredictionCard] = ()
    errors: Sequence[PredictionCard] = ()
    """The worst ones first."""
    skipped: Sequence[str] = ()
    """What was skipped, and why."""
    details: Sequence[tuple[str, str]] = ()
    """Heading and text, such as the configuration; shown as they are, in folded sections."""
    made: str = ""
    """Date and command, for the last line."""


def write_report(path: Path, report: Report) -> Path:
    """Write a report as one HTML file; an older one is replaced only by a complete one.

    Returns:
        `path`.

    Raises:
        RunError: The file cannot be written, or matplotlib, which draws the charts, is missing.
        ValueError: The arrays of a chart or a card do not fit together.
    """
    return write_text(path, render(report))


def render(report: Report) -> str:
    """The page as text."""
    parts = [
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="lead">{escape(report.summary)}</p>',
        _headlines(report.headlines),
        _section("What this shows", [f"<p>{escape(text)}</p>" for text in report.explanation]),
        _section("Results", [_charts(report.results)]),
        _section("Training", [_charts(report.panels)]),
        *map(_confusion_section, report.confusions),
        *map(_table_section, report.tables),
        _reliability_section(report.reliability),
        _section("Predictions", [_gallery(report.predictions)]),
        _section("Worst errors", [_gallery(report.errors)]),
        _section("Left out", [_list(report.skipped)]),
        _section("Details of the run", [_detail(*detail) for detail in report.details]),
        _footer(report.made),
    ]
    style = resources.files("videozoo.report").joinpath("page.css").read_text("utf-8")
    body = "\n".join(part for part in parts if part)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(report.title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _footer(made: str) -> str:
    version = f"videozoo {__version__}"
    return f"<footer>{escape(f'{made} · {version}' if made else version)}</footer>"


def _section(title: str, parts: Sequence[str]) -> str:
    inner = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{inner}\n</section>" if inner else ""


def _headlines(headlines: Sequence[Headline]) -> str:
    if not headlines:
        return ""
    cards: list[str] = []
    for each in headlines:
        bar = "" if each.share is None else _bar(each.share)
        note = f'<div class="note">{escape(each.note)}</div>' if each.note else ""
        cards.append(
            f'<div class="card number{" main" if each.is_main else ""}">'
            f'<div class="label">{escape(each.label)}</div>'
            f'<div class="value">{escape(each.value)}</div>{bar}{note}</div>'
        )
    return '<div class="grid numbers">\n' + "\n".join(cards) + "\n</div>"


def _bar(share: float) -> str:
    """A bar beside a number that is also written as text."""
    width = 100 * min(max(share, 0.0), 1.0) if share == share else 0.0
    return f'<div class="bar" aria-hidden="true"><i style="width:{width:.1f}%"></i></div>'


def _charts(panels: Sequence[Panel]) -> str:
    figures = [
        f'<figure class="card"><h3>{escape(panel.title)}</h3>{curve_svg(panel)}</figure>'
        for panel in panels
        if panel.curves
    ]
    return '<div class="grid charts">\n' + "\n".join(figures) + "\n</div>" if figures else ""


def _confusion_section(confusion: Confusion) -> str:
    pairs = worst_pairs(confusion, 8) if confusion.pairs is None else confusion.pairs
    listed = (
        _table(("true class", "answered", "times"), pairs)
        if pairs
        else '<p class="hint">There are none.</p>'
    )
    note = f'<p class="hint">{escape(confusion.note)}</p>' if confusion.note else ""
    return _section(
        confusion.title,
        [
            '<p class="hint">A row is a true class, a column the answer; on the diagonal the '
            "answer is right. The deeper the colour, the larger the share of the row.</p>",
            note,
            '<div class="grid matrix">',
            f'<figure class="card">{confusion_svg(confusion)}</figure>',
            f'<div class="card tall"><h3>Commonest errors</h3>{listed}</div>',
            "</div>",
        ],
    )


def _table_section(table: Table) -> str:
    note = f'<p class="hint">{escape(table.note)}</p>' if table.note else ""
    inner = _table(table.columns, table.rows) if table.rows else ""
    return _section(table.title, [note, f'<div class="card tall">{inner}</div>' if inner else ""])


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Numbers and their headings are aligned to the right."""
    first = rows[0] if rows else [""] * len(columns)
    heads = "".join(
        f'<th scope="col"{_align(cell)}>{escape(name)}</th>'
        for name, cell in zip(columns, first, strict=True)
    )
    lines = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{heads}</tr></thead>\n<tbody>\n{lines}\n</tbody></table>"


def _cell(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"<td{_align(cell)}>{_bar(cell)}<span>{percent(cell)}</span></td>"
    return f"<td{_align(cell)}>{escape(str(cell))}</td>"


def _align(cell: Cell) -> str:
    if isinstance(cell, float):
        return ' class="share"'
    return ' class="count"' if isinstance(cell, int) else ""


def _reliability_section(reliability: Reliability | None) -> str:
    if reliability is None or not any(each.total for each in reliability.bins):
        return ""
    return _section(
        reliability.title,
        [
            '<p class="hint">Where a bar ends at the dotted line, the model is right as often as '
            "it says; below it, it is too sure. The dot stands at the mean of the bar's scores; "
            "the number over a bar counts its videos.</p>",
            f'<p class="hint">{escape(reliability.note)}</p>' if reliability.note else "",
            f'<figure class="card narrow">{reliability_svg(reliability)}</figure>',
        ],
    )


def _list(lines: Sequence[str]) -> str:
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<div class="card tall"><ul>\n{items}\n</ul></div>' if items else ""


def _gallery(cards: Sequence[PredictionCard]) -> str:
    if not cards:
        return ""
    return '<div class="grid videos">\n' + "\n".join(map(_card, cards)) + "\n</div>"


def _card(card: PredictionCard) -> str:
    if not card.top:
        raise ValueError(f"video {card.name!r}: a card needs at least one class with its score")
    picture, count, aspect = _strip(card)
    scores = "\n".join(
        _score(card, place, name, score) for place, (name, score) in enumerate(card.top)
    )
    note = f'<p class="hint">{escape(card.note)}</p>' if card.note else ""
    alt = escape(f"{counted(count, 'frame')} of {card.name}, in order from left to right")
    return (
        f'<article class="card video" style="--count:{count};--aspect:{aspect:.4f};'
        f'--frames:url({picture})">'
        f"<header><h3>{escape(card.name)}</h3>{_mark(card)}</header>"
        '<div class="look"><div class="player" aria-hidden="true"></div>'
        f'<dl class="scores">\n{scores}\n</dl></div>'
        f'<div class="strip" role="img" aria-label="{alt}"></div>{note}</article>'
    )


def _mark(card: PredictionCard) -> str:
    """Right or wrong as a sign and a word, not by colour alone."""
    if card.is_right is None:
        return ""
    if card.is_right:
        return '<span class="mark right">\N{CHECK MARK} right</span>'
    return f'<span class="mark wrong">\N{MULTIPLICATION X} truth: {escape(card.truth or "")}</span>'


def _score(card: PredictionCard, place: int, name: str, score: float) -> str:
    classes = ["best"] if place == 0 else []
    if name == card.truth:
        classes.append("true")
    return (
        f'<dt class="{" ".join(classes)}" title="{escape(name)}">{escape(name)}</dt>'
        f'<dd>{_bar(score)}</dd><dd class="value">{score:.3f}</dd>'
    )


def _strip(card: PredictionCard) -> tuple[str, int, float]:
    """All shown frames side by side as a JPEG data URI, their number, and width / height."""
    frames = card.frames
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise ValueError(
            f"video {card.name!r}: frames of shape {frames.shape} and type {frames.dtype}, "
            "expected (T, H, W, 3) uint8"
        )
    if len(frames) > _MOST_FRAMES:
        frames = frames[np.linspace(0, len(frames) - 1, _MOST_FRAMES).round().astype(int)]
    height, width = frames.shape[1:3]
    if height > _FRAME_HEIGHT:
        size = (max(1, round(width * _FRAME_HEIGHT / height)), _FRAME_HEIGHT)
        frames = np.stack([np.asarray(Image.fromarray(frame).resize(size)) for frame in frames])
    side_by_side = np.concatenate(list(frames), axis=1)
    buffer = io.BytesIO()
    Image.fromarray(side_by_side).save(buffer, "JPEG", quality=82)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/jpeg;base64,{data}", len(frames), width / height


def _detail(title: str, text: str) -> str:
    return (
        f'<details class="card"><summary>{escape(title)}</summary>'
        f"<pre>{escape(text)}</pre></details>"
    )
