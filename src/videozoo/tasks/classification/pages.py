"""Parts of reports on clip models, and the report page of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from videozoo.config import RunConfig
from videozoo.data.annotations.videos import ClipEntry, views_by_video
from videozoo.engine.run_folder import RunFolder
from videozoo.errors import DataError, counted
from videozoo.metrics.calibration import confidence_bins, expected_calibration_error
from videozoo.report.charts import Curve, Panel, Reliability
from videozoo.report.html import Headline, PredictionCard, Report, Table
from videozoo.report.tables import percent, title_of
from videozoo.settings.clips import ClipViews
from videozoo.tasks.classification.pictures import seen_frames
from videozoo.tasks.classification.scoring import ClipResults, truth_of
from videozoo.tasks.pages import confusion_of, details_of, made_by_eval, run_of

_MOST_CLASSES = 32  # rows of a table in the order of the classes
_MOST_ERRORS = 8


def evaluation_page(
    facts: Mapping[str, Any],
    scored: ClipResults,
    entries: Sequence[ClipEntry],
    config: RunConfig,
    views: ClipViews,
    names: Sequence[str],
) -> Report:
    """All results of one evaluation, as a page.

    Args:
        facts: The content of `eval.json`.
        scored: The results of every video.
        entries: The whole list of videos.
        config: The configuration for these views.
        views: The `eval:` section.
        names: Names of all classes.
    """
    labelled = [result for result in scored.by_number.values() if result.label is not None]
    sure = [float(result.scores.max()) for result in labelled]
    right = [result.top(1)[0][0] == result.label for result in labelled]
    bins = confidence_bins(sure, right)
    error = expected_calibration_error(bins)
    run = run_of(Path(facts["weights"]))
    total, num_skipped = int(facts["videos"]), len(facts["skipped"])
    top1 = float(facts["metrics"]["top1"])
    looks = (
        f"{facts['views'] // max(1, total)} views each" if facts["views"] > total else "one view"
    )
    summary = (
        f"{config.spec.title} is right on {sum(right)} of {counted(total, 'video')}, "
        f"{percent(top1)}; guessing one of {counted(len(names), 'class')} would give "
        f"{percent(1 / len(names))}."
    )
    if num_skipped:
        more = "One more video" if num_skipped == 1 else f"{num_skipped} more videos"
        summary += f" {more} could not be read and did not count."
    return Report(
        title=f"{config.spec.title}: evaluation",
        summary=summary,
        headlines=_headlines(facts, error, looks),
        panels=curves({config.spec.title: run}, chance=1 / len(names)) if run else (),
        confusions=[confusion_of(scored.counter.accuracy.confusion, names)] if total else (),
        tables=[_class_table(scored, names)] if total else (),
        reliability=_reliability(bins, error),
        errors=worst_errors(facts["results"], entries, config, views, names),
        skipped=facts["skipped"],
        details=details_of(config, facts),
        made=made_by_eval(facts),
    )


def evaluation_page_of_several(
    facts: Mapping[str, Any],
    scored: ClipResults,
    entries: Sequence[ClipEntry],
    config: RunConfig,
    views: ClipViews,
    names: Sequence[str],
) -> Report:
    """As `evaluation_page`, where a video may have several classes."""
    metrics: Mapping[str, float] = facts["metrics"]
    run = run_of(Path(facts["weights"]))
    total, rows = int(facts["videos"]), facts["classes"]
    seen = [row for row in rows if row["ap"] is not None]
    chance = sum(row["videos"] for row in seen) / max(1, len(seen) * total)
    summary = (
        f"{config.spec.title} on {counted(total, 'video')}: MAP {percent(metrics['map'])}, the "
        f"mean average precision of {counted(len(seen), 'class')}; scores by chance would give "
        f"about {percent(chance)}."
    )
    if len(seen) < len(rows):
        summary += f" {counted(len(rows) - len(seen), 'class')} without a video here did not count."
    if facts["skipped"]:
        summary += f" {counted(len(facts['skipped']), 'video')} could not be read."
    return Report(
        title=f"{config.spec.title}: evaluation",
        summary=summary,
        headlines=[
            Headline(
                label="MAP",
                value=percent(metrics["map"]),
                note="mean over the classes of the precision at the rank of each right video",
                share=metrics["map"],
                is_main=True,
            ),
            Headline(
                label="Hit@1",
                value=percent(metrics["hit_at_one"]),
                note="videos whose best class is one of theirs",
                share=metrics["hit_at_one"],
            ),
        ],
        panels=curves({config.spec.title: run}, chance=chance, metric="map") if run else (),
        tables=[_precision_table(seen)] if seen else (),
        errors=worst_errors(facts["results"], entries, config, views, names),
        skipped=facts["skipped"],
        details=details_of(config, facts),
        made=made_by_eval(facts),
    )


def _precision_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Average precision per class: in order, or the worst first if there are many."""
    is_long = len(rows) > _MOST_CLASSES
    order = sorted(rows, key=lambda row: row["ap"]) if is_long else rows
    return Table(
        title="Classes",
        columns=("class", "videos", "average precision"),
        rows=[(row["class"], row["videos"], row["ap"]) for row in order],
        note="Worst first." if is_long else "",
    )


def _headlines(facts: Mapping[str, Any], error: float, looks: str) -> list[Headline]:
    metrics = facts["metrics"]
    total, num_skipped = int(facts["videos"]), len(facts["skipped"])
    of_all = f"of {total + num_skipped} videos, " if num_skipped else "videos, "
    headlines = [
        Headline(
            label="top-1 accuracy",
            value=percent(metrics["top1"]),
            note=f"{total} {of_all}{looks}",
            share=metrics["top1"],
            is_main=True,
        )
    ]
    if "top5" in metrics:
        headlines.append(
            Headline(
                label="top-5 accuracy",
                value=percent(metrics["top5"]),
                note="the true class is among the best 5",
                share=metrics["top5"],
            )
        )
    headlines += [
        Headline(
            label="mean of the classes",
            value=percent(metrics["mean_class"]),
            note="every class has the same weight",
            share=metrics["mean_class"],
        ),
        Headline(
            label="calibration error",
            value=percent(error),
            note="mean gap between score and accuracy; 0 is best",
        ),
    ]
    return headlines


def _class_table(scored: ClipResults, names: Sequence[str]) -> Table:
    """All classes that have videos: in order, or the worst first if there are many."""
    seen = [row for row in scored.counter.accuracy.per_class() if row.total]
    note = (
        f"{len(names) - len(seen)} classes have no videos here." if len(seen) < len(names) else ""
    )
    if len(seen) > _MOST_CLASSES:
        seen.sort(key=lambda row: (row.accuracy, -row.total))
        note = f"Worst first. {note}"
    return Table(
        title="Classes",
        columns=("class", "videos", "right", "accuracy"),
        rows=[(names[row.label], row.total, row.hits, row.accuracy) for row in seen],
        note=note,
    )


def _reliability(bins: Sequence[Any], error: float) -> Reliability:
    return Reliability(
        title="Calibration: score and accuracy",
        bins=bins,
        note=f"Expected calibration error: {percent(error)}, over ten bins of the best score.",
    )


# --- parts that other pages share ----------------------------------------------------------------


def curves(runs: Mapping[str, RunFolder], *, chance: float, metric: str = "top1") -> list[Panel]:
    """Loss, top-1 accuracy and learning rate by epoch, for one run or several.

    Args:
        runs: Name in the legend -> run.
        chance: Accuracy of random guessing.
        metric: What is shown in place of top-1 accuracy.
    """
    loss: list[Curve] = []
    top1: list[Curve] = []
    rate: list[Curve] = []
    for name, run in runs.items():
        lines = run.read_metrics()
        epochs = [line for line in lines if line["kind"] == "epoch"]
        steps = [line for line in lines if line["kind"] == "train"]
        for part, prefix in (("training", ""), ("validation", "valid_")):
            for curve_list, key in ((loss, "loss"), (top1, metric)):
                found = [line for line in epochs if line.get(prefix + key) is not None]
                if found:
                    x, y = _column(found, "epoch"), _column(found, prefix + key)
                    curve_list.append(Curve(name=f"{name} {part}", group=name, x=x, y=y))
        if steps:
            x, y = _column(steps, "step"), _column(steps, "learning_rate")
            rate.append(Curve(name=name, x=x, y=y))
    title = "Top-1 accuracy" if metric == "top1" else title_of(metric)
    return [
        Panel(title="Loss", curves=loss),
        Panel(title=title, curves=top1, is_share=True, level=("chance", chance)),
        Panel(title="Learning rate", curves=rate, x_label="step"),
    ]


def _column(lines: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    return [float("nan") if line.get(key) is None else float(line[key]) for line in lines]


def card(
    views_of_video: Sequence[ClipEntry],
    top: Sequence[tuple[int, float]],
    truth: Sequence[int] | None,
    config: RunConfig,
    views: ClipViews,
    names: Sequence[str],
) -> PredictionCard:
    """One video: its input frames and the predicted classes.

    Args:
        views_of_video: From `views_by_video`.
        top: Classes with their scores, best first.
        truth: The true classes; None if unknown.
        config: The configuration for these views.
        views: The section with the views.
        names: Names of all classes.

    Raises:
        VideoError: The video cannot be read.
    """
    return PredictionCard(
        name=views_of_video[0].name,
        frames=seen_frames(views_of_video, config, views).seen.pictures,
        top=[(names[number], score) for number, score in top[:3]],
        truth=truth_of(truth, top, names),
    )


def worst_errors(
    results: Sequence[Mapping[str, Any]],
    entries: Sequence[ClipEntry],
    config: RunConfig,
    views: ClipViews,
    names: Sequence[str],
    *,
    most: int = _MOST_ERRORS,
) -> list[PredictionCard]:
    """The wrong predictions with the highest scores, highest first; see `card`.

    Args:
        results: As in `eval.json`: `video`, `label` or `labels`, `top`.
        entries: The whole list of videos.
        config: The configuration for these views.
        views: The section with the views.
        names: Names of all classes.
        most: The largest number of videos.
    """
    truths = [
        row.get("labels", None if row.get("label") is None else [row["label"]]) for row in results
    ]
    wrong = [
        (row, truth)
        for row, truth in zip(results, truths, strict=True)
        if truth is not None and row["top"][0][0] not in truth
    ]
    wrong.sort(key=lambda each: -each[0]["top"][0][1])
    groups = {group[0].name: group for group in views_by_video(entries)}
    cards: list[PredictionCard] = []
    for row, truth in wrong[:most]:
        group, top = groups[row["video"]], [(number, score) for number, score in row["top"]]
        try:
            cards.append(card(group, top, truth, config, views, names))
        except DataError:  # the file was readable before; its results stay valid
            continue
    return cards
