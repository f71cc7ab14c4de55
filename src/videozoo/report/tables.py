"""Results as tables for the terminal. Each function takes data and gives a `rich` table.

Names come from users' files: they are shown as they are, never read as markup, and characters that
a terminal would obey are replaced.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from videozoo.metrics.accuracy import ClassAccuracy

_NAME_WIDTH = 40
_TITLES = {
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "mean_class": "mean of the classes",
    "gap": "GAP",
    "hit_at_one": "Hit@1",
    "perr": "PERR",
    "map": "MAP",
    "loss": "loss",
}


def summary_table(metrics: Mapping[str, float], *, title: str = "Results") -> Table:
    """Headline numbers, one a line.

    Args:
        metrics: Shares in [0, 1] (`top1`, `top5`, `mean_class`, or any other name) and `loss`.
            With `view_` before the name they are of single views and stand in a column of their
            own, which is left out where it would repeat the first.
        title: Over the table.

    >>> table = summary_table({"top1": 0.875, "view_top1": 0.5})
    >>> [column.header for column in table.columns]
    ['', 'video', 'single view']
    """
    whole = {key: value for key, value in metrics.items() if not key.startswith("view_")}
    views = {key.removeprefix("view_"): v for key, v in metrics.items() if key.startswith("view_")}
    with_views = any(value != whole.get(key) and value == value for key, value in views.items())
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("video" if with_views else "", justify="right", style="bold")
    if with_views:
        table.add_column("single view", justify="right")
    for key in dict.fromkeys((*whole, *views)):
        cells = [_value(key, whole.get(key))]
        if with_views:
            cells.append(_value(key, views.get(key)))
        table.add_row(plain(_TITLES.get(key, key)), *cells)
    return table


def _value(key: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if "loss" in key else percent(value)


def class_table(classes: Sequence[ClassAccuracy], names: Sequence[str], *, most: int = 20) -> Table:
    """How each class fared; the worst ones only where there are many.

    Args:
        classes: As `AccuracyCounter.per_class` gives them.
        names: Of all classes.
        most: With more classes than this, the worst `most` are shown, worst first. Otherwise all,
            in their own order. Classes without videos are left out.
    """
    seen = [row for row in classes if row.total]
    shown = seen
    title = "Accuracy by class"
    if len(seen) > most:
        # of equally bad ones, those with more videos: that is surer knowledge
        shown = sorted(seen, key=lambda row: (row.accuracy, -row.total))[:most]
        title = f"The {most} worst of {len(seen)} classes"
    table = Table(title=title, title_justify="left")
    table.add_column("class", max_width=_NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column("videos", justify="right")
    table.add_column("right", justify="right")
    table.add_column("accuracy", justify="right")
    table.add_column("", width=10, no_wrap=True)
    for row in shown:
        table.add_row(
            plain(names[row.label]),
            str(row.total),
            str(row.hits),
            percent(row.accuracy),
            _bar(row.accuracy, 10),
        )
    if len(seen) < len(classes):
        missing = len(classes) - len(seen)
        table.caption = f"{missing} of {len(classes)} classes have no videos here"
        table.caption_justify = "left"
    return table


def tag_table(classes: Sequence[Mapping[str, Any]], *, most: int = 20) -> Table:
    """Average precision of the commonest tags.

    Args:
        classes: Rows with `class`, `videos` and `ap` (in [0, 1]).
        most: Rows shown.
    """
    table = Table(title="Tags", title_justify="left")
    table.add_column("tag")
    table.add_column("videos", justify="right")
    table.add_column("average precision", justify="right")
    rows = sorted(classes, key=lambda row: -row["videos"])
    for row in rows[:most]:
        precision = row["ap"]
        table.add_row(
            plain(_short(row["class"])),
            f"{row['videos']:,}",
            "-" if precision is None else f"{precision:.3f}",
        )
    if len(rows) > most:
        table.caption = f"the {most} commonest of {len(rows)}"
    return table


def prediction_table(predictions: Sequence[Mapping[str, Any]], *, others: int = 2) -> Table:
    """What a model says of some videos, one a line.

    Args:
        predictions: Each with `video` (its name), `top` (a list of {`class`, `score`}, best
            first) and, where it is known, `label` (the name of the true class).
        others: How many classes after the best are shown.
    """
    with_truth = any(row.get("label") is not None for row in predictions)
    table = Table(title="Predictions", title_justify="left")
    table.add_column("video", max_width=_NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column("best", max_width=_NAME_WIDTH, overflow="ellipsis", style="bold")
    table.add_column("score", justify="right")
    if with_truth:
        table.add_column("truth", max_width=_NAME_WIDTH, overflow="ellipsis")
    if others:
        table.add_column("then", style="dim", overflow="ellipsis")
    for row in predictions:
        best, *rest = row["top"]
        cells: list[str | Text] = [plain(_end_of(row["video"])), plain(best["class"])]
        cells.append(f"{best['score']:.3f}")
        if with_truth:
            cells.append(_verdict(row.get("label"), best["class"]))
        if others:
            then = (f"{_short(each['class'])} {each['score']:.3f}" for each in rest[:others])
            cells.append(plain(", ".join(then)))
        table.add_row(*cells)
    return table


_COUNT_MEANINGS = {
    "readable": "frames come out",
    "damaged": "of these, some frames lost or doubtful",
    "unreadable": "should be a video, but none comes out",
    "empty": "no bytes in it",
    "hung": "took too long",
    "crashed": "ended the process that read it",
    "missing": "named, but not there",
    "unlisted": "a folder that cannot be looked into",
    "not a video": "and not named like one; left alone",
}


def check_counts_table(counts: Mapping[str, int]) -> Table:
    """How many files turned out how; what there is none of is left out.

    >>> check_counts_table({"readable": 3, "empty": 0, "hung": 1}).row_count
    2
    """
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column("status")
    table.add_column("files", justify="right")
    table.add_column("", style="dim")
    for status, meaning in _COUNT_MEANINGS.items():
        if counts.get(status):
            style = "" if status in ("readable", "not a video") else "yellow"
            table.add_row(Text(status, style=style), f"{counts[status]:,}", meaning)
    return table


def check_spread_table(spreads: Mapping[str, tuple[float, float, float]]) -> Table:
    """Smallest, middle and largest of each quantity.

    Args:
        spreads: Name to (smallest, median, largest).
    """
    table = Table(box=None, padding=(0, 2))
    for header in ("", "least", "median", "most"):
        table.add_column(header, justify="right" if header else "left")
    for name, values in spreads.items():
        table.add_row(name, *(_brief(value) for value in values))
    return table


def check_parts_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """How videos spread over classes, one part a line.

    Args:
        rows: Each with `part`, `videos`, `classes`, `median`, and `least` and `most`: (name of
            the class, its videos), or None.
    """
    table = Table(box=None, padding=(0, 2))
    for header in ("part", "videos", "classes", "fewest", "median", "most"):
        is_text = header in ("part", "fewest", "most")
        table.add_column(header, justify="left" if is_text else "right", no_wrap=True)
    for row in rows:
        least, most = (
            plain(f"{end[1]:,} {_short(end[0], 18)}" if end else "")
            for end in (row["least"], row["most"])
        )
        table.add_row(
            plain(row["part"]),
            f"{row['videos']:,}",
            f"{row['classes']:,}",
            least,
            _brief(row["median"]),
            most,
        )
    return table


_MARKS = {"ok": "green", "note": "yellow", "problem": "bold red"}


def doctor_table(findings: Sequence[Mapping[str, Any]]) -> Table:
    """What an examination found, one thing a line.

    Args:
        findings: Each with `group`, `name`, `mark` ("ok", "note" or "problem") and `value`.
    """
    table = Table(box=None, show_header=False, padding=(0, 1))
    for _ in range(3):
        table.add_column("", overflow="fold")
    group = None
    for finding in findings:
        if group not in (None, finding["group"]):
            table.add_row()
        group = finding["group"]
        mark = Text(finding["mark"], style=_MARKS[finding["mark"]])
        table.add_row(mark, plain(finding["name"]), plain(finding["value"]))
    return table


def _brief(value: float) -> str:
    """A number in few digits.

    >>> [_brief(value) for value in (12345, 29.97, 0.0123, 8.0)]
    ['12,345', '29.97', '0.0123', '8']
    """
    if value >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 1 else f"{value:.2f}"


def _verdict(truth: str | None, guess: str) -> Text:
    """The true class, marked as told right or wrong by more than colour."""
    if truth is None:
        return Text("unknown", style="dim")
    if truth == guess:
        return Text("\N{CHECK MARK} ", style="green").append(plain(truth))
    return Text("\N{MULTIPLICATION X} ", style="red").append(plain(truth))


def _end_of(path: str, most: int = _NAME_WIDTH) -> str:
    """The end of a long path: there the names differ.

    >>> _end_of("/a/very/long/way/to/clip_7.mp4", 14)
    '\u2026to/clip_7.mp4'
    """
    return path if len(path) <= most else f"\N{HORIZONTAL ELLIPSIS}{path[-most + 1 :]}"


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def percent(share: float) -> str:
    """A share in [0, 1] as people read it.

    >>> percent(0.9375), percent(float("nan"))
    ('93.75 %', '-')
    """
    return "-" if math.isnan(share) else f"{100 * share:.2f} %"


def plain(text: object) -> Text:
    """Text without markup, whose control characters cannot reach the terminal.

    >>> plain("a[red]b\\x1b[2J").plain
    'a[red]b?[2J'
    """
    return Text("".join(c if c.isprintable() else "?" for c in str(text)))


def _bar(share: float, width: int) -> Text:
    filled = round(share * width)
    rest = "\N{BOX DRAWINGS LIGHT HORIZONTAL}" * (width - filled)
    return Text("\N{FULL BLOCK}" * filled, style="cyan").append(rest, style="dim")
