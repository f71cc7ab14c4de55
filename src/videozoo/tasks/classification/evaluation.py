"""Score a trained clip model on labelled videos."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from videozoo.config import RunConfig
from videozoo.data.clips import (
    load_entries,
)
from videozoo.errors import RunError
from videozoo.report.html import write_report
from videozoo.report.tables import class_table, summary_table
from videozoo.tasks.classification import pages
from videozoo.tasks.classification.common import names_of_classes
from videozoo.tasks.classification.scoring import Scored, run_views
from videozoo.tasks.common import (
    say_if_learnt_from,
    speaker,
    with_test_data,
    without_absent_names,
)
from videozoo.tasks.exporting import accelerator_for
from videozoo.tasks.loading import Trained
from videozoo.tasks.requests import EvalRequest
from videozoo.tasks.results import ResultFolder, conclude


def evaluate(
    trained: Trained, request: EvalRequest, *, console: Console | None = None
) -> dict[str, Any]:
    """Score a trained model on labelled videos; print tables, write `eval.json`, `report.html`.

    Returns:
        What the JSON file holds.

    Raises:
        VideozooError: The data, the weights or the machine do not fit.
    """
    out = console or Console()
    config = without_absent_names(trained.config)
    config = with_test_data(config, request.data)
    accelerator = accelerator_for(trained, request.device)
    say = speaker(Console(stderr=True), accelerator)
    for note in config.notes:
        say(f"note: {note}")
    say_if_learnt_from(say, config.data, "test")
    with_report = pages.can_draw() if request.report is None else request.report
    if with_report and not pages.can_draw():
        raise RunError(pages.CHARTS_HINT)
    folder = ResultFolder.choose(trained, request, accelerator, say)
    entries = load_entries(
        config.data, "test", num_classes=config.model.num_classes, names=trained.class_names
    )
    names = names_of_classes(trained, config)
    started = time.monotonic()
    scored, config = run_views(trained, config, config.eval, entries, request, accelerator)
    seconds = time.monotonic() - started
    facts = {**folder.facts, **_eval_facts(config, scored, names, seconds=seconds)}
    total = scored.counter.accuracy.total + len(scored.skipped)
    if accelerator.is_main_process:
        folder.make_room(say)
        written = folder.write(facts)
        report = folder.path / "report.html"
        if with_report:
            page = pages.evaluation_page(facts, scored, entries, config, config.eval, names)
            folder.write(facts, [write_report(report, page)])
        out.print(summary_table(facts["metrics"], used=scored.counter.accuracy.total, total=total))
        out.print(class_table(scored.counter.accuracy.per_class(), names))
        say(f"written: {written}")
        if with_report:
            say(f"report: {report}")
        elif request.report is None:
            say(f"note: {pages.CHARTS_HINT}")
    conclude(accelerator, request, facts["skipped"], say, total=total)
    return facts


def _eval_facts(
    config: RunConfig, scored: Scored, names: Sequence[str], *, seconds: float
) -> dict[str, Any]:
    return {
        "videos": scored.counter.accuracy.total,
        "views": scored.counter.num_views,
        "seconds": round(seconds, 3),
        "metrics": scored.counter.accuracy.summary(),
        "classes": [
            {"class": names[row.label], "videos": row.total, "right": row.hits}
            for row in scored.counter.accuracy.per_class()
        ],
        # C x C numbers: 160,000 for Kinetics, which the results below hold as well
        "confusion": scored.counter.accuracy.confusion.tolist() if len(names) <= 100 else None,
        "skipped": list(scored.skipped.values()),
        "damaged": list(scored.damaged.values()),
        "results": [
            {
                "video": result.name,
                "label": result.label,
                "top": [[number, score] for number, score in result.top(5)],
            }
            for result in scored.by_number.values()
        ],
        "config": config.as_dict(),
    }
