"""Score a trained clip model on labelled videos."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from videozoo.config import RunConfig
from videozoo.data.clips import (
    load_entries,
)
from videozoo.report.tables import class_table, summary_table
from videozoo.tasks.classification.pages import evaluation_page
from videozoo.tasks.classification.scoring import ClipResults, run_views
from videozoo.tasks.common import names_of_classes
from videozoo.tasks.evaluate import EvalJob, Evaluated, Evaluation
from videozoo.tasks.jobs import Shortfall


def _evaluated(job: EvalJob) -> Evaluated:
    trained, config = job.trained, job.config
    entries = load_entries(
        config.data, "test", num_classes=config.model.num_classes, names=trained.class_names
    )
    names = names_of_classes(trained, config)
    started = time.monotonic()
    scored, config = run_views(job, config.eval, entries)
    seconds = time.monotonic() - started
    accuracy = scored.counter.accuracy
    total = accuracy.total + len(scored.skipped)
    return Evaluated(
        measure=lambda: _eval_facts(config, scored, names, seconds=seconds),
        shortfall=Shortfall(failed=list(scored.skipped.values()), total=total),
        tables=lambda facts: (
            summary_table(facts["metrics"], used=accuracy.total, total=total),
            class_table(accuracy.per_class(), names),
        ),
        page=lambda facts: evaluation_page(facts, scored, entries, config, config.eval, names),
    )


evaluate = Evaluation(run=_evaluated, has_page=True)


def _eval_facts(
    config: RunConfig, scored: ClipResults, names: Sequence[str], *, seconds: float
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
