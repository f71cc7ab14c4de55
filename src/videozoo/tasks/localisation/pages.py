"""The report page of an evaluation of a localiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from videozoo.config import RunConfig
from videozoo.report.charts import Curve, Panel
from videozoo.report.html import Cell, Headline, Report, Table
from videozoo.report.tables import bucket_name, percent, title_of
from videozoo.tasks.localisation.fitting import DECIDES
from videozoo.tasks.pages import details_of, made_by_eval, run_of
from videozoo.types import Localisation

_MOST_CLASSES = 30


def evaluation_page(facts: Mapping[str, Any], config: RunConfig) -> Report:
    """All results of one evaluation, as a page.

    Args:
        facts: The content of `eval.json`.
        config: The configuration of the run.
    """
    metrics: Mapping[str, float] = facts["metrics"]
    detections = facts["detections"]
    main = "map" if detections is not None else "auc"
    num_left_out = facts["videos_annotated"] - facts["videos"]
    summary = (
        f"{config.spec.title}: {title_of(main)} {percent(metrics[main])} on {facts['videos']} of "
        f"{facts['videos_annotated']} videos."
    )
    if num_left_out:
        summary += f" {num_left_out} have no features or could not be read, and did not count."
    if facts["videos_learnt_from"]:
        summary += (
            f" {facts['videos_learnt_from']} of them are also among the videos to learn from: the "
            "numbers say little about other videos."
        )
    summary = " ".join([summary, *(f"{tie_line(tie)}." for tie in facts["ties"])])
    return Report(
        title=f"{config.spec.title}: evaluation",
        summary=summary,
        headlines=[
            Headline(
                label=title_of(name),
                value=percent(value),
                share=value,
                is_main=name == main,
            )
            for name, value in metrics.items()
            if name in (main, "auc", "map@0.5") or name.startswith("ar@")
        ],
        panels=_training(Path(facts["weights"]), config),
        results=[_recall_panel(facts["curve"], config.spec.title)],
        tables=_tables(facts),
        skipped=[*facts["skipped"], *(f"{name}: no features" for name in facts["missing"])],
        details=details_of(config, facts),
        made=made_by_eval(facts),
    )


def tie_line(tie: Mapping[str, Any]) -> str:
    """Say how much a metric depends on the order of equal scores.

    >>> tie_line({"metric": "map", "tied": 3, "value": 0.5, "in_opposite_order": 0.25})
    'equal scores decide: 3 segments share theirs; in the opposite order MAP is 25.00 %'
    """
    return (
        f"equal scores decide: {tie['tied']} segments share theirs; in the opposite order "
        f"{title_of(tie['metric'])} is {percent(tie['in_opposite_order'])}"
    )


def _recall_panel(curve: Mapping[str, Sequence[float]], name: str) -> Panel:
    return Panel(
        title="Average recall",
        curves=[Curve(name=name, x=curve["average_number"], y=curve["average_recall"])],
        x_label="average number of proposals per video (AN)",
        is_share=True,
    )


def _training(weights: Path, config: RunConfig) -> list[Panel]:
    """Losses and the deciding metric by epoch; only for weights that lie in their run folder."""
    run = run_of(weights)
    if run is None:
        return []
    epochs = [line for line in run.read_metrics() if line["kind"] == "epoch"]
    task = config.spec.task
    best, title = DECIDES[task.decides if isinstance(task, Localisation) else "auc"]
    panels: list[Panel] = []
    for heading, keys in (
        ("Loss", {"training": "loss", "validation": "valid_loss"}),
        (title, {"validation": f"valid_{best.name}"}),
    ):
        curves = [
            Curve(
                name=name,
                x=[line["epoch"] for line in epochs if line.get(key) is not None],
                y=[line[key] for line in epochs if line.get(key) is not None],
            )
            for name, key in keys.items()
            if any(line.get(key) is not None for line in epochs)
        ]
        is_share = best.name != "loss" and heading == title
        if curves and (is_share or heading == "Loss"):
            panels.append(Panel(title=heading, curves=curves, is_share=is_share))
    return panels


def _tables(facts: Mapping[str, Any]) -> list[Table]:
    share = "average recall"
    tables = [
        _bucket_table("Recall by length", "seconds", facts["by_length"], share),
        _bucket_table("Recall by coverage", "share of the video", facts["by_coverage"], share),
    ]
    detections = facts["detections"]
    if detections is None:
        return tables
    at = f"tIoU {detections['tiou']:g}"
    rows: list[Sequence[Cell]] = [
        (name, detections["best"][name], detections["best_10"][name], gain)
        for name, gain in {"right": float("nan"), **detections["gains"]}.items()
    ]
    columns = ("", "of the best N", "of the best 10 N", "mAP gain without them")
    note = "N: as many detections per class as it has annotated segments."
    tables.append(Table(title=f"Kinds of detections, {at}", columns=columns, rows=rows, note=note))
    for title, name, key in (
        ("by length", "seconds", "missed_by_length"),
        ("by coverage", "share of the video", "missed_by_coverage"),
        ("by segments of the class in the video", "segments", "missed_by_instances"),
    ):
        tables.append(_bucket_table(f"Missed {title}, {at}", name, detections[key], "missed"))
    classes = sorted(detections["classes"], key=lambda row: row["ap"])
    tables.append(
        Table(
            title="Classes",
            columns=("class", "average precision", at),
            rows=[(row["class"], row["ap"], row["ap_at_tiou"]) for row in classes[:_MOST_CLASSES]],
            note=f"The worst {_MOST_CLASSES} of {len(classes)}."
            if len(classes) > _MOST_CLASSES
            else "",
        )
    )
    return tables


def _bucket_table(title: str, name: str, rows: Sequence[Mapping[str, Any]], share: str) -> Table:
    return Table(
        title=title,
        columns=(name, "segments", share),
        rows=[
            (
                bucket_name(row),
                row["segments"],
                float("nan") if row["share"] is None else row["share"],
            )
            for row in rows
        ],
    )
