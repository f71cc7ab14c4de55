"""Results as tables for the terminal. Each function returns a `rich` table.

Names come from users' files: they are never read as markup, and control characters are replaced.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from videozoo.errors import counted
from videozoo.safe_names import shown

if TYPE_CHECKING:
    from videozoo.metrics.accuracy import ClassAccuracy

_NAME_WIDTH = 40
_MOST_ROWS = 1000
"""Of predictions: a table of very many takes minutes and memory, and nobody reads it."""
_TITLES = {
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "mean_class": "mean of the classes",
    "gap": "GAP",
    "hit_at_one": "Hit@1",
    "perr": "PERR",
    "map": "MAP",
    **{f"bleu_{n}": f"BLEU-{n}" for n in range(1, 5)},
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "meteor": "METEOR",
    "loss": "loss",
    "auc": "AUC",
}
_METRICS = {"ar": "AR", "map": "mAP"}
"""Parts of titles such as AR@100."""


def summary_table(
    metrics: Mapping[str, float],
    *,
    title: str = "Results",
    used: int | None = None,
    total: int | None = None,
    what: str = "videos",
) -> Table:
    """Headline numbers, one per line.

    Args:
        metrics: Shares in [0, 1] (`top1`, `top5`, `mean_class`, or any other name) and `loss`.
            Names that start with `view_` are of single views and get their own column, which is
            left out if it would repeat the first.
        title: Over the table.
        used: Number of videos behind the figures; shown if it is not `total`.
        total: Number of all videos.
        what: What is counted, such as videos.

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
    if used != total:
        table.add_row(what, f"{used:,} of {total:,}")
    for key in dict.fromkeys((*whole, *views)):
        cells = [_value(key, whole.get(key))]
        if with_views:
            cells.append(_value(key, views.get(key)))
        table.add_row(plain(title_of(key)), *cells)
    return table


def title_of(metric: str) -> str:
    """Title of a metric.

    >>> title_of("top1"), title_of("ar@100"), title_of("map@0.5"), title_of("other")
    ('top-1 accuracy', 'AR@100', 'mAP@0.5', 'other')
    """
    name, at, number = metric.partition("@")
    if at and name in _METRICS:
        return f"{_METRICS[name]}@{number}"
    return _TITLES.get(metric, metric)


def _value(key: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if "loss" in key else percent(value)


def class_table(classes: Sequence[ClassAccuracy], names: Sequence[str], *, most: int = 20) -> Table:
    """Accuracy per class; only the worst classes if there are many.

    Args:
        classes: From `AccuracyCounter.per_class`.
        names: Of all classes.
        most: With more classes than this, only the worst `most` are shown, worst first. Classes
            without videos are left out.
    """
    seen = [row for row in classes if row.total]
    shown = seen
    title = "Accuracy by class"
    if len(seen) > most:
        # of equally bad classes, those with more videos first: they are surer
        shown = sorted(seen, key=lambda row: (row.accuracy, -row.total))[:most]
        title = f"The {most} worst of {counted(len(seen), 'class')}"
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
        table.caption = f"{missing} of {counted(len(classes), 'class')} have no videos here"
        table.caption_justify = "left"
    return table


def tag_table(
    classes: Sequence[Mapping[str, Any]],
    *,
    title: str = "Tags",
    most: int = 20,
    what: str = "videos",
) -> Table:
    """Average precision of the most frequent tags.

    Args:
        classes: Rows with `class`, `videos` and `ap` (in [0, 1]).
        title: Over the table.
        most: Rows shown.
        what: What is counted in place of `videos`.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("tag" if title == "Tags" else "class")
    table.add_column(what, justify="right")
    table.add_column("average precision", justify="right")
    rows = sorted(classes, key=lambda row: -row[what])
    for row in rows[:most]:
        precision = row["ap"]
        table.add_row(
            plain(_short(row["class"])),
            f"{row[what]:,}",
            "-" if precision is None else f"{precision:.3f}",
        )
    if len(rows) > most:
        table.caption = f"the {most} commonest of {len(rows)}"
    return table


def prediction_table(predictions: Sequence[Mapping[str, Any]], *, others: int = 2) -> Table:
    """Predictions, one video per line.

    Args:
        predictions: Each with `video` (its name), `top` (a list of {`class`, `score`}, best
            first) and, if known, `label` (the name of the true class).
        others: Number of classes shown after the best.
    """
    with_truth = any(row.get("label") is not None for row in predictions)
    table = Table(title=_title("Predictions", predictions), title_justify="left")
    table.add_column("video", max_width=_NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column("best", max_width=_NAME_WIDTH, overflow="ellipsis", style="bold")
    table.add_column("score", justify="right")
    if with_truth:
        table.add_column("truth", max_width=_NAME_WIDTH, overflow="ellipsis")
    if others:
        table.add_column("then", style="dim", overflow="ellipsis")
    for row in predictions[:_MOST_ROWS]:
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


def _title(what: str, rows: Sequence[object]) -> str:
    if len(rows) <= _MOST_ROWS:
        return what
    return f"{what}: the first {_MOST_ROWS:,} of {len(rows):,}; the file named below has all"


def several_table(predictions: Sequence[Mapping[str, Any]], *, least_score: float) -> Table:
    """Predictions of several classes per video, one video per line.

    Args:
        predictions: Each with `video`, `top` and `classes` (lists of {`class`, `score`}, best
            first; `classes`: those with `least_score` or more) and, if known, `labels` (names of
            the true classes).
        least_score: For the heading.
    """
    with_truth = any(row.get("labels") is not None for row in predictions)
    table = Table(title=_title("Predictions", predictions), title_justify="left")
    table.add_column("video", max_width=_NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column(f"classes from {least_score:g}", overflow="fold", style="bold")
    table.add_column("best below", style="dim", overflow="ellipsis")
    if with_truth:
        table.add_column("truth", overflow="fold")
    for row in predictions[:_MOST_ROWS]:
        there = row["classes"]
        below = [each for each in row["top"] if each not in there][:1]
        cells = [_end_of(row["video"]), _scored(there) or "none", _scored(below)]
        if with_truth:
            known = row.get("labels")
            cells.append("" if known is None else ", ".join(known) or "none")
        table.add_row(*map(plain, cells))
    return table


def _scored(classes: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{_short(each['class'])} {each['score']:.3f}" for each in classes)


def bucket_name(row: Mapping[str, Any]) -> str:
    """Name of one row of a breakdown.

    >>> bucket_name({"above": 0.0, "up_to": 30.0}), bucket_name({"above": 180.0, "up_to": None})
    ('to 30', 'above 180')
    """
    if row["up_to"] is None:
        return f"above {row['above']:g}"
    return f"{row['above']:g} to {row['up_to']:g}" if row["above"] else f"to {row['up_to']:g}"


def bucket_table(title: str, parts: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """A share by a property, such as recall by the length of the segment.

    Args:
        title: Over the table.
        parts: Property to rows with `above` and `up_to` (None: no end), `segments` and `share` (in
            [0, 1], None without segments).
    """
    table = Table(title=title, title_justify="left")
    for header in ("by", "", "segments", "share"):
        table.add_column(header, justify="right" if header in ("segments", "share") else "left")
    table.add_column("", width=10, no_wrap=True)
    for name, rows in parts.items():
        for place, row in enumerate(rows):
            share = row["share"]
            table.add_row(
                plain("" if place else name),
                bucket_name(row),
                f"{row['segments']:,}",
                "-" if share is None else percent(share),
                _bar(share or 0.0, 10),
                end_section=place == len(rows) - 1,
            )
    return table


def error_table(
    best: Mapping[str, float], best_10: Mapping[str, float], gains: Mapping[str, float]
) -> Table:
    """Detections by kind of error.

    Args:
        best: Shares of `right` and of each kind of error among as many of the best detections as
            there are annotated segments.
        best_10: The same among ten times as many.
        gains: Kind of error to the rise of mAP without these errors.
    """
    table = Table(title="What detections are", title_justify="left")
    table.add_column("")
    for header in ("best", "best, 10 times as many", "mAP without them"):
        table.add_column(header, justify="right")
    for name, share in best.items():
        gain = f"+{percent(gains[name])}" if name in gains else ""
        table.add_row(plain(name), percent(share), percent(best_10[name]), gain)
    table.caption = "best: of each class as many as it has annotated segments"
    table.caption_justify = "left"
    return table


def segment_table(predictions: Sequence[Mapping[str, Any]], *, most: int = 5) -> Table:
    """Segments found in videos, one per line.

    Args:
        predictions: Each with `video`, its name, and `segments`, best first: `start_seconds` and
            `end_seconds`, or `start` and `end` as fractions if the video's length is unknown;
            `score`; perhaps `label`.
        most: Segments shown per video.
    """
    with_label = any("label" in one for row in predictions for one in row["segments"])
    table = Table(title=_title("Segments", predictions), title_justify="left")
    table.add_column("video", max_width=_NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column("from", justify="right")
    table.add_column("to", justify="right")
    if with_label:
        table.add_column("what", max_width=_NAME_WIDTH, overflow="ellipsis", style="bold")
    table.add_column("score", justify="right")
    for row in predictions[:_MOST_ROWS]:
        shown = row["segments"][:most]
        if not shown:
            table.add_row(plain(_end_of(row["video"])), "nothing found")
        for place, one in enumerate(shown):
            cells: list[str | Text] = [
                plain("" if place else _end_of(row["video"])),
                _moment(one, "start"),
                _moment(one, "end"),
            ]
            if with_label:
                cells.append(plain(one.get("label", "")))
            table.add_row(*cells, f"{one['score']:.3f}", end_section=place == len(shown) - 1)
    return table


def _moment(segment: Mapping[str, Any], end: str) -> str:
    seconds = segment.get(f"{end}_seconds")
    return f"{seconds:.1f} s" if seconds is not None else percent(segment[end])


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
    """Number of files per status; a status without files is left out.

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
    """Minimum, median and maximum of each quantity.

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
    """Videos per class, one part of the data per line.

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
    """Findings of `videozoo doctor`, one per line.

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
    """A number with few digits.

    >>> [_brief(value) for value in (12345, 29.97, 0.0123, 8.0)]
    ['12,345', '29.97', '0.0123', '8']
    """
    if value >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 1 else f"{value:.2f}"


def _verdict(truth: str | None, guess: str) -> Text:
    """The true class, marked right or wrong by a sign and a colour."""
    if truth is None:
        return Text("unknown", style="dim")
    if truth == guess:
        return Text("\N{CHECK MARK} ", style="green").append(plain(truth))
    return Text("\N{MULTIPLICATION X} ", style="red").append(plain(truth))


def _end_of(path: str, most: int = _NAME_WIDTH) -> str:
    """The end of a long path, where names differ.

    >>> _end_of("/a/very/long/way/to/clip_7.mp4", 14)
    '\u2026to/clip_7.mp4'
    """
    return path if len(path) <= most else f"\N{HORIZONTAL ELLIPSIS}{path[-most + 1 :]}"


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def percent(share: float) -> str:
    """A share in [0, 1] in percent.

    >>> percent(0.9375), percent(float("nan"))
    ('93.75 %', '-')
    """
    return "-" if math.isnan(share) else f"{100 * share:.2f} %"


def plain(text: object) -> Text:
    """Text without markup and without control characters.

    >>> plain("a[red]b\\x1b[2J").plain
    'a[red]b?[2J'
    """
    return Text(shown(text))


def _bar(share: float, width: int) -> Text:
    filled = round(share * width)
    rest = "\N{BOX DRAWINGS LIGHT HORIZONTAL}" * (width - filled)
    return Text("\N{FULL BLOCK}" * filled, style="cyan").append(rest, style="dim")


def caption_table(captions: Sequence[Mapping[str, Any]]) -> Table:
    """Sentences for events, one per line.

    Args:
        captions: Each with `video`, `start_seconds`, `end_seconds`, `sentence` and, if known,
            `truth` (the sentence of a person).
    """
    with_truth = any(row.get("truth") for row in captions)
    table = Table(title=_title("Captions", captions), title_justify="left")
    table.add_column("video", max_width=_NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("caption", overflow="fold", style="bold")
    if with_truth:
        table.add_column("a person says", overflow="fold")
    for row in captions[:_MOST_ROWS]:
        times = f"{row['start_seconds']:.1f} - {row['end_seconds']:.1f}"
        cells: list[str | Text] = [plain(_end_of(row["video"])), times, plain(row["sentence"])]
        if with_truth:
            cells.append(plain(row.get("truth") or ""))
        table.add_row(*cells)
    return table


_NOT_THERE = "probably not there"


def moment_table(found: Sequence[Mapping[str, Any]]) -> Table:
    """Moments found for sentences, the best one of each on the first line.

    Args:
        found: Each with `video`, `number` and `sentence` (None: known by its number only), `unit`,
            `top` (a list of {`start`, `end`, `score`}, best first), `truths` (the [start, end] of
            each true moment, or None) and perhaps `is_likely` (False: probably not in this video).
    """
    marked = any(row.get("is_likely") is False for row in found)
    with_truth = any(row["truths"] for row in found)
    table = Table(title=_title("Moments", found), title_justify="left")
    table.add_column("video", max_width=_NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column("sentence", overflow="fold")
    table.add_column(found[0]["unit"] if found else "", justify="right", style="bold")
    table.add_column("score", justify="right")
    if with_truth:
        table.add_column("truth", justify="right")
    if marked:
        table.add_column("")
    for row in found[:_MOST_ROWS]:
        for rank, moment in enumerate(row["top"]):
            name = row["sentence"] or f"sentence {row['number']}"
            cells: list[str | Text] = [
                plain("" if rank else _end_of(row["video"])),
                plain("" if rank else name),
                f"{moment['start']:.1f} - {moment['end']:.1f}",
                f"{moment['score']:.3f}",
            ]
            if with_truth:
                truths = () if rank else row["truths"] or ()
                cells.append("\n".join(f"{start:.1f} - {end:.1f}" for start, end in truths))
            if marked:
                unlikely = row.get("is_likely") is False and not rank
                cells.append(_NOT_THERE if unlikely else "")
            table.add_row(*cells)
    return table


def ranked_table(ranked: Mapping[str, Any], *, most: int = 10) -> Table:
    """The best moments for a sentence over many videos, one per line.

    Args:
        ranked: `sentence`, `unit` and `moments`, best first: `video`, `start`, `end`, `score`, and
            `is_likely` (None: unknown).
        most: Moments shown.
    """
    moments = ranked["moments"]
    table = Table(title=plain(f"In all videos: {ranked['sentence']}"), title_justify="left")
    table.add_column("", justify="right")
    table.add_column("video", max_width=_NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column(ranked["unit"], justify="right", style="bold")
    table.add_column("score", justify="right")
    marked = any(each["is_likely"] is False for each in moments[:most])
    if marked:
        table.add_column("")
    for rank, each in enumerate(moments[:most], 1):
        cells: list[str | Text] = [
            str(rank),
            plain(_end_of(each["video"])),
            f"{each['start']:.1f} - {each['end']:.1f}",
            f"{each['score']:.3f}",
        ]
        if marked:
            cells.append(_NOT_THERE if each["is_likely"] is False else "")
        table.add_row(*cells)
    if len(moments) > most:
        table.caption = f"the best {most} of {len(moments)} moments"
        table.caption_justify = "left"
    return table


def recall_table(recalls: Sequence[Mapping[str, float]], *, title: str) -> Table:
    """R@N, one tIoU threshold per line.

    Args:
        recalls: Each with `n`, `tiou` and `share`.
        title: Over the table.
    """
    counts = list(dict.fromkeys(int(row["n"]) for row in recalls))
    shares = {(row["tiou"], int(row["n"])): row["share"] for row in recalls}
    table = Table(title=title, title_justify="left")
    table.add_column("tIoU", justify="right")
    for n in counts:
        table.add_column(f"R@{n}", justify="right", style="bold")
    for tiou in dict.fromkeys(row["tiou"] for row in recalls):
        table.add_row(f"{tiou:g}", *(percent(shares[tiou, n]) for n in counts))
    return table
