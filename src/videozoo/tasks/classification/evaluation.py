"""Score a trained clip model on labelled videos."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from videozoo import __version__
from videozoo.config import RunConfig
from videozoo.data.clips import (
    load_entries,
)
from videozoo.engine.devices import finish
from videozoo.errors import RunError
from videozoo.report.html import write_report
from videozoo.report.tables import class_table, summary_table
from videozoo.tasks.classification import pages
from videozoo.tasks.classification.common import names_of_classes
from videozoo.tasks.classification.scoring import Scored, run_views
from videozoo.tasks.common import (
    say_if_learnt_from,
    speaker,
    without_absent_names,
    write_json,
)
from videozoo.tasks.exporting import accelerator_for
from videozoo.tasks.loading import Trained
from videozoo.tasks.requests import EvalRequest


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
    if request.data is not None:
        config = config.replace("--data", {"data.test": request.data})
    accelerator = accelerator_for(trained, request.device)
    say = speaker(Console(stderr=True), accelerator)
    for note in config.notes:
        say(f"note: {note}")
    say_if_learnt_from(say, config.data, "test")
    with_report = pages.can_draw() if request.report is None else request.report
    if with_report and not pages.can_draw():
        raise RunError(pages.CHARTS_HINT)
    entries = load_entries(
        config.data, "test", num_classes=config.model.num_classes, names=trained.class_names
    )
    names = names_of_classes(trained, config)
    started = time.monotonic()
    scored, config = run_views(trained, config, config.eval, entries, request, accelerator)
    facts = _eval_facts(trained, config, scored, names, seconds=time.monotonic() - started)
    if accelerator.is_main_process:
        out.print(summary_table(facts["metrics"]))
        out.print(class_table(scored.counter.per_class(), names))
        if scored.skipped:
            num = len(scored.skipped)
            say(f"on {scored.counter.total} of {scored.counter.total + num} videos; not readable:")
            for problem in scored.skipped.values():
                say(f"  {problem}")
        if request.save_dir is not None:
            say(f"written: {write_json(request.save_dir / 'eval.json', facts)}")
            if with_report:
                page = pages.evaluation_page(facts, scored, entries, config, config.eval, names)
                say(f"report: {write_report(request.save_dir / 'report.html', page)}")
            elif request.report is None:
                say(f"note: {pages.CHARTS_HINT}")
    finish(accelerator)
    return facts


def _eval_facts(
    trained: Trained, config: RunConfig, scored: Scored, names: Sequence[str], *, seconds: float
) -> dict[str, Any]:
    return {
        "model": config.name,
        "weights": str(trained.path),
        "videozoo": __version__,
        "videos": scored.counter.total,
        "views": scored.num_views,
        "seconds": round(seconds, 3),
        "metrics": scored.counter.summary(),
        "classes": [
            {"class": names[row.label], "videos": row.total, "right": row.hits}
            for row in scored.counter.per_class()
        ],
        # C x C numbers: 160,000 for Kinetics, which the results below hold as well
        "confusion": scored.counter.confusion.tolist() if len(names) <= 100 else None,
        "skipped": list(scored.skipped.values()),
        "results": [
            {
                "video": result.name,
                "label": result.label,
                "top": [[number, score] for number, score in result.top(5)],
            }
            for result in scored.results.values()
        ],
        "config": config.as_dict(),
    }
