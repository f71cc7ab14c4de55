"""Score a trained clip model on labelled videos."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from videozoo.config import RunConfig
from videozoo.data.clips import (
    load_entries,
)
from videozoo.errors import counted, few
from videozoo.report.tables import class_table, summary_table, tag_table
from videozoo.tasks.classification.labels import one_class_note
from videozoo.tasks.classification.pages import evaluation_page, evaluation_page_of_several
from videozoo.tasks.classification.scoring import ClipResults, run_views
from videozoo.tasks.clip_views import has_several_classes
from videozoo.tasks.common import names_of_classes
from videozoo.tasks.evaluate import EvalJob, Evaluated, Evaluation
from videozoo.tasks.jobs import Shortfall


def _evaluated(job: EvalJob) -> Evaluated:
    trained, config = job.trained, job.config
    several = has_several_classes(config)
    entries = load_entries(
        config.data,
        "test",
        num_classes=config.model.num_classes,
        names=trained.class_names,
        several="all" if several else "refused",
    )
    data = config.data
    for note in one_class_note(entries, data.test or data.val or data.train) if several else ():
        job.say(f"note: {note}")
    started = time.monotonic()
    scored, config = run_views(job, config.eval, entries)
    seconds = time.monotonic() - started
    names = names_of_classes(trained, config)
    accuracy, used = scored.counter.accuracy, scored.counter.total
    total = used + len(scored.skipped)
    return Evaluated(
        notes=lambda facts: list(_left_out(facts)),
        measure=lambda: _eval_facts(config, scored, names, seconds=seconds),
        shortfall=Shortfall(failed=list(scored.skipped.values()), total=total),
        tables=lambda facts: (
            summary_table(facts["metrics"], used=used, total=total),
            tag_table(facts["classes"], title="Classes")
            if several
            else class_table(accuracy.per_class(), names),
        ),
        page=lambda facts: (evaluation_page_of_several if several else evaluation_page)(
            facts, scored, entries, config, config.eval, names
        ),
    )


evaluate = Evaluation(run=_evaluated, has_page=True)


def _left_out(facts: Mapping[str, Any]) -> Iterator[str]:
    """Say which classes no video has, so that MAP is the mean over the others."""
    absent = [row["class"] for row in facts["classes"] if "ap" in row and row["ap"] is None]
    if absent:
        yield (
            f"MAP is the mean over {len(facts['classes']) - len(absent):,} of "
            f"{counted(len(facts['classes']), 'class')}; no video here has "
            f"{few(map(repr, absent))}"
        )


def _eval_facts(
    config: RunConfig, scored: ClipResults, names: Sequence[str], *, seconds: float
) -> dict[str, Any]:
    head = {
        "videos": scored.counter.total,
        "views": scored.counter.num_views,
        "seconds": round(seconds, 3),
        "metrics": scored.counter.summary(),
    }
    tail = {
        "skipped": list(scored.skipped.values()),
        "damaged": list(scored.damaged.values()),
    }
    tags = scored.counter.tags
    if tags is not None:
        precision, positives = tags.class_ap.tolist(), tags.class_positives.tolist()
        return {
            **head,
            "classes": [
                {"class": name, "videos": count, "ap": ap if count else None}
                for name, count, ap in zip(names, positives, precision, strict=True)
            ],
            **tail,
            "results": [
                {
                    "video": result.name,
                    "labels": None if result.labels is None else list(result.labels),
                    "top": [[number, score] for number, score in result.top(5)],
                }
                for result in scored.by_number.values()
            ],
            "config": config.as_dict(),
        }
    return {
        **head,
        "classes": [
            {"class": names[row.label], "videos": row.total, "right": row.hits}
            for row in scored.counter.accuracy.per_class()
        ],
        # C x C numbers: 160,000 for Kinetics, which the results below hold as well
        "confusion": scored.counter.accuracy.confusion.tolist() if len(names) <= 100 else None,
        **tail,
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
