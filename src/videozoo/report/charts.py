"""Draw results as pictures for an HTML page.

Every picture is an `<svg>` element. Text, axes and lines take their colours from the page (CSS
variables), so one picture fits a light and a dark page; text takes the page's font.
"""

from __future__ import annotations

import io
import math
import re
import zlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from videozoo.errors import RunError, counted
from videozoo.metrics.calibration import ConfidenceBin, expected_calibration_error
from videozoo.safe_names import NAMES, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One quantity of one run over time."""

    name: str
    """The run, or what else differs from the other curves of the panel."""
    x: Sequence[float]
    """Epochs as a rule, counted from 1."""
    y: Sequence[float]
    """As long as `x`; nan leaves a gap."""
    group: str = ""
    """Curves of one group share a colour, such as training and validation of one run."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Curves that share their axes."""

    title: str
    curves: Sequence[Curve]
    x_label: str = "epoch"
    is_share: bool = False
    """Values are in [0, 1] and written in percent."""
    level: tuple[str, float] | None = None
    """A named value to compare with, such as chance, as a dotted line."""


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Confusion matrix."""

    title: str
    counts: NDArray[np.int64]
    """(R, C): row the true class, column the predicted class. R = C as a rule; with fewer rows,
    they are the first R classes, and the others are only predicted."""
    class_names: Sequence[str]
    """Of the C columns."""
    pairs: Sequence[tuple[str, str, int]] | None = None
    """The most frequent errors (true class, predicted class, count), if `counts` shows only a
    part."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How often the model is right, by its confidence."""

    title: str
    bins: Sequence[ConfidenceBin]
    note: str = ""


# Matplotlib knows no CSS: these colours are replaced by the page's in its output.
_INK, _GRID, _FAINT = "#010203", "#010204", "#010205"
_LINES = ("#010211", "#010212", "#010213", "#010214", "#010215", "#010216")
_OF_PAGE = {
    _INK: "var(--ink)",
    _GRID: "var(--grid)",
    _FAINT: "var(--faint)",
    **{colour: f"var(--line{number})" for number, colour in enumerate(_LINES)},
}
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.5)), (0, (6, 2, 1.2, 2)))
_HEAT = (0x2B, 0x6C, 0xD4)
_FEW_CLASSES = 32  # as many as can be labelled and read


def curve_svg(panel: Panel) -> str:
    """Curves over epochs. They differ by dashes and marks too, not only by colour.

    Args:
        panel: At least one curve.

    Returns:
        An `<svg>` element, whose text for screen readers gives the last values.

    Raises:
        RunError: Matplotlib is not installed.
        ValueError: A curve's x and y differ in length.
    """
    with _page_style():
        from matplotlib.ticker import MaxNLocator

        figure, axes = _new_figure(5.0, 3.0)
        most = 0.0
        for curve, (colour, dashes) in zip(panel.curves, _styles(panel.curves), strict=True):
            if len(curve.x) != len(curve.y):
                raise ValueError(f"curve {curve.name!r}: {len(curve.x)} x for {len(curve.y)} y")
            y = np.asarray(curve.y, np.float64)
            most = max(most, float(np.max(y[np.isfinite(y)], initial=0.0)))
            axes.plot(
                np.asarray(curve.x, np.float64),
                np.where(np.isfinite(y), y, np.nan),
                color=_LINES[colour % len(_LINES)],
                linestyle=_DASHES[dashes % len(_DASHES)],
                linewidth=1.8,
                marker="o" if len(y) == 1 else None,
                label=_plain(curve.name),
            )
        if panel.level is not None:
            name, value = panel.level
            axes.axhline(value, color=_FAINT, linewidth=1.2, linestyle=":", label=_plain(name))
        axes.set_xlabel(_plain(panel.x_label))
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        if panel.is_share:
            axes.set_ylim(0, 1.03)
            axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        elif most > 0:
            axes.set_ylim(0, most * 1.05)
            if most < 0.01:
                axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        if len(panel.curves) + (panel.level is not None) > 1:
            axes.legend(loc="best", frameon=False)
        return _svg(figure, _spoken(panel))


def _styles(curves: Sequence[Curve]) -> list[tuple[int, int]]:
    """Colour and dashes per curve: by group and place in the group, or both by place."""
    if not any(curve.group for curve in curves):
        return [(number, number) for number in range(len(curves))]
    members: dict[str, int] = {}
    styles: list[tuple[int, int]] = []
    for curve in curves:
        group = curve.group or curve.name
        place = members.setdefault(group, 0)
        members[group] += 1
        styles.append((list(members).index(group), place))
    return styles


def _spoken(panel: Panel) -> str:
    """The curves in words, for screen readers."""
    ends: list[str] = []
    for curve in panel.curves:
        values = [value for value in curve.y if math.isfinite(value)]
        if values:
            first, last = (_number(panel, value) for value in (values[0], values[-1]))
            ends.append(f"{curve.name} goes from {first} to {last}")
    return f"{panel.title} by {panel.x_label}. " + "; ".join(ends)


def _number(panel: Panel, value: float) -> str:
    return f"{100 * value:.1f} %" if panel.is_share else f"{value:.3g}"


def confusion_svg(confusion: Confusion) -> str:
    """Confusion matrix as a heat map; the colour is the share of the row.

    Up to 32 classes, cells show their counts and the axes the names; above, only the colours are
    shown.

    Raises:
        RunError: Matplotlib is not installed.
        ValueError: There are more rows than columns, or the number of names differs from the
            columns.
    """
    counts = np.asarray(confusion.counts)
    classes = len(confusion.class_names)
    rows = len(counts)
    if counts.shape != (rows, classes) or not 0 < rows <= classes:
        raise ValueError(f"confusion of shape {counts.shape} for {classes} class names")
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    few = classes <= _FEW_CLASSES
    side = min(7.2, 2.6 + 0.42 * classes) if few else 6.0
    total = int(counts.sum())
    right = int(np.trace(counts))
    spoken = f"{confusion.title}. {right} of {total} right. {_worst_pairs(confusion)}"
    with _page_style():
        figure, axes = _new_figure(side, side * (rows + 6) / (classes + 6))

        # the share of a row is the opacity: fits every page
        heat = np.empty((*counts.shape, 4))
        heat[..., :3] = np.array(_HEAT) / 255
        heat[..., 3] = shares**0.7  # makes rare errors visible
        axes.imshow(heat, interpolation="nearest", aspect="equal")
        axes.set_xlabel("answered")
        axes.set_ylabel("true class")
        axes.tick_params(length=0)
        if few:
            names = [_plain(_short(name)) for name in confusion.class_names]
            slanted: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
            dense = classes > 16
            turn: dict[str, Any] = {"rotation": 90} if dense else slanted
            axes.set_xticks(range(classes), names, minor=False, **turn)
            axes.tick_params(labelsize=8 if dense else 10)
            axes.set_yticks(range(rows), names[:rows])
            across, down = np.arange(classes + 1) - 0.5, np.arange(rows + 1) - 0.5
            axes.hlines(down, -0.5, classes - 0.5, color=_GRID, linewidth=0.6)
            axes.vlines(across, -0.5, rows - 0.5, color=_GRID, linewidth=0.6)
            for row, column in np.argwhere(counts > 0):
                colour = "white" if shares[row, column] > 0.45 else _INK
                text = f"{counts[row, column]}"
                axes.text(
                    column,
                    row,
                    text,
                    color=colour,
                    ha="center",
                    va="center",
                    fontsize=_size(classes),
                )
        for spine in axes.spines.values():
            spine.set_visible(not few)
            spine.set_color(_GRID)
        return _svg(figure, spoken)


def _size(classes: int) -> float:
    return 10.0 if classes <= 12 else 7.5 if classes <= 24 else 6.5


def reliability_svg(reliability: Reliability) -> str:
    """Bars: accuracy per range of confidence, against the line where both are equal.

    Raises:
        RunError: Matplotlib is not installed.
    """
    seen = [each for each in reliability.bins if each.total]
    total = sum(each.total for each in seen)
    error = expected_calibration_error(reliability.bins)
    said = "; ".join(
        f"{100 * each.confidence:.0f} % sure, {100 * each.accuracy:.0f} % right "
        f"({counted(each.total, 'video')})"
        for each in seen
    )
    with _page_style():
        figure, axes = _new_figure(5.0, 3.6)
        width = reliability.bins[0].high - reliability.bins[0].low if reliability.bins else 0.1
        for each in seen:
            middle = (each.low + each.high) / 2
            axes.bar(middle, each.accuracy, width * 0.9, color=_LINES[0], alpha=0.75)
            axes.text(
                middle,
                each.accuracy + 0.015,
                f"{each.total}",
                ha="center",
                va="bottom",
                fontsize=8,
                color=_FAINT,
            )
            axes.plot(each.confidence, each.accuracy, "o", color=_INK, markersize=4)
        axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=1.2, linestyle=":")
        ticks, labels = [0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"]
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.1)
        axes.set_xticks(ticks, labels)
        axes.set_yticks(ticks, labels)
        axes.set_xlabel("how sure it is (best score)")
        axes.set_ylabel("how often it is right")
        axes.grid(axis="y")
        spoken = f"{reliability.title}, {total} videos. Mean gap {100 * error:.1f} %. {said}"
        return _svg(figure, spoken)


def worst_pairs(confusion: Confusion, most: int = 5) -> list[tuple[str, str, int]]:
    """The most frequent errors: (true class, predicted class, count).

    >>> table = np.array([[5, 2], [0, 3]])
    >>> worst_pairs(Confusion(title="", counts=table, class_names=["cat", "dog"]))
    [('cat', 'dog', 2)]
    """
    errors = np.array(confusion.counts)
    np.fill_diagonal(errors, 0)  # a matrix that is not square has fewer rows
    order = np.argsort(-errors, axis=None, kind="stable")[:most]
    names = list(confusion.class_names)
    return [
        (names[row], names[column], int(errors[row, column]))
        for row, column in (divmod(int(place), len(names)) for place in order)
        if errors[row, column]
    ]


def _worst_pairs(confusion: Confusion) -> str:
    pairs = worst_pairs(confusion, 3)
    said = "; ".join(f"{truth} taken for {guess} {count} times" for truth, guess, count in pairs)
    return f"Commonest errors: {said}." if said else "No errors."


@contextmanager
def _page_style() -> Generator[None]:
    """Within the block, matplotlib draws with the colours that are replaced by the page's."""
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise RunError(
            "drawing charts needs matplotlib, which is not installed; "
            "get it with: pip install 'videozoo[report]'"
        ) from error
    with rc_context(_STYLE):
        yield


def _new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure outside matplotlib's list of open figures; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "videozoo",  # equal numbers give equal pages
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": _INK,
    "text.parse_math": False,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _FAINT,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": _FAINT,
    "ytick.labelcolor": _FAINT,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "legend.fontsize": 9.5,
    "legend.labelcolor": _INK,
}


def _svg(figure: Figure, spoken: str) -> str:
    """The figure as an `<svg>` element whose ids and styles do not clash with the page."""
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=nothing, bbox_inches="tight", pad_inches=0.03)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for unwanted in (r"<metadata>.*?</metadata>", r"<style[^>]*>.*?</style>", r"<!--.*?-->"):
        text = re.sub(unwanted, "", text, flags=re.DOTALL)
    # several pictures share one page: their ids must differ
    prefix = f"chart-{zlib.crc32((text + spoken).encode(errors=NAMES)):08x}-"

    def fit_in(tag: re.Match[str]) -> str:
        fitted = re.sub(r'\bid="', f'id="{prefix}', tag[0])
        fitted = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}", fitted)
        for stand_in, of_page in _OF_PAGE.items():
            fitted = fitted.replace(stand_in, of_page)
        return fitted

    text = re.sub(r"<[^>]*>", fit_in, text)
    start = text.index(">")
    size = re.search(r'viewBox="0 0 ([\d.]+) [\d.]+"', text)
    assert size is not None, "matplotlib wrote no viewBox"
    width = float(size[1]) * 96 / 72  # points to CSS pixels
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{size[0]} role="img" aria-label="{escape(spoken)}" style="max-width:{width:.0f}px"'
    )
    return head + text[start:].strip()


def _plain(text: str) -> str:
    """Text for matplotlib: no control characters; a leading `_` would hide a name."""
    name = shown(text)
    return f"\N{ZERO WIDTH SPACE}{name}" if name.startswith("_") else name


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
