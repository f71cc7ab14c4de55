"""The report page of an evaluation of a tagger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from videozoo.config import RunConfig
from videozoo.errors import counted
from videozoo.metrics.accuracy import AccuracyCounter
from videozoo.report.html import Headline, Report, Table
from videozoo.report.tables import percent, title_of
from videozoo.tasks.pages import confusion_of, details_of, made_by_eval

_MOST_CLASSES = 100  # rows of the table


def evaluation_page(
    facts: Mapping[str, Any],
    config: RunConfig,
    names: Sequence[str],
    accuracy: AccuracyCounter | None,
    verdict: str,
) -> Report:
    """All results of one evaluation, as a page.

    Args:
        facts: The content of `eval.json`.
        config: The configuration of the evaluation.
        names: Names of all classes.
        accuracy: Counts of right and wrong answers; None where a video has several classes.
        verdict: How sure the accuracy is; empty where that is not known.
    """
    metrics: Mapping[str, float] = facts["metrics"]
    what = "segments" if "segments" in facts else "videos"
    main = "top1" if accuracy is not None else "gap" if what == "videos" else "map"
    shown = [key for key in metrics if "loss" not in key]
    return Report(
        title=f"{config.spec.title}: evaluation",
        summary=f"{config.spec.title} on {counted(int(facts[what]), what[:-1])} of "
        f"{counted(len(names), 'class')}: {title_of(main)} {percent(metrics[main])}."
        if main in metrics
        else f"{config.spec.title}: no video could be used.",
        headlines=[
            Headline(
                label=title_of(key),
                value=percent(metrics[key]),
                note=verdict if key == "top1" else "",
                share=metrics[key],
                is_main=key == main,
            )
            for key in shown
        ],
        confusions=[]
        if accuracy is None or not accuracy.total
        else [confusion_of(accuracy.confusion, names)],
        tables=[_classes(facts["classes"], what)] if facts["classes"] else (),
        skipped=facts["skipped"],
        details=details_of(config, facts),
        made=made_by_eval(facts),
    )


def _classes(rows: Sequence[Mapping[str, Any]], what: str) -> Table:
    """The classes that videos have, the most frequent first if there are many."""
    order = sorted(rows, key=lambda row: -row[what]) if len(rows) > _MOST_CLASSES else rows
    return Table(
        title="Classes",
        columns=("class", what, "average precision"),
        rows=[
            (row["class"], row[what], row["ap"] if row["ap"] is not None else "")
            for row in order[:_MOST_CLASSES]
        ],
        note=f"The {_MOST_CLASSES} most frequent of {len(rows)}."
        if len(rows) > _MOST_CLASSES
        else "",
    )
