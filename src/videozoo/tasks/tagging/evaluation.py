"""Score a trained tagging model on labelled videos."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from videozoo.data.tags import load_records
from videozoo.errors import counted
from videozoo.metrics.tagging import TaggingCounter
from videozoo.report.tables import summary_table, tag_table
from videozoo.tasks.common import names_of_classes
from videozoo.tasks.evaluate import EvalJob, Evaluated, Evaluation
from videozoo.tasks.features import check_features
from videozoo.tasks.jobs import Shortfall
from videozoo.tasks.tagging import segments
from videozoo.tasks.tagging.labels import check_labels
from videozoo.tasks.tagging.pages import evaluation_page
from videozoo.tasks.tagging.scoring import (
    feature_shape,
    one_class_each,
    score_records,
    tagging_model,
)
from videozoo.tasks.tagging.solving import certainty, figure


def _evaluated(job: EvalJob) -> Evaluated:
    config = job.config
    records = load_records(
        config.data, "test", strict=not job.skip_bad, names=job.trained.class_names
    )
    check_features(records.extractor, job.trained, job.say)
    if config.data.segments:
        return segments.evaluated(job, records)
    check_labels(
        records,
        "data.test",
        job.say,
        num_classes=config.model.num_classes,
        shape=feature_shape(config),
        most_frames=config.data.max_frames,
        one_class=one_class_each(config),
    )
    module = job.model(tagging_model)
    names = names_of_classes(job.trained, config)
    job.say(f"{config.spec.title}: {counted(len(records), 'video')}")
    started = time.monotonic()
    scored = score_records(
        module,
        config,
        config.eval,
        records,
        job.accelerator,
        labelled=True,
        skip_bad=job.skip_bad,
        show=True,
    )
    seconds = time.monotonic() - started
    counter = scored.counter.metrics
    skipped = [*records.damaged, *scored.skipped.values()]
    total = counter.videos + len(skipped)
    sure = certainty(scored.counter.summary(), dict(enumerate(counter.class_positives.tolist())))

    def verdict(facts: Mapping[str, Any]) -> str:
        if not sure:
            return ""
        return figure(facts["metrics"]["top1"], sure["interval"], sure["chance"], sure["videos"])

    return Evaluated(
        notes=lambda facts: [f"top-1 {verdict(facts)}"] if sure else [],
        page=lambda facts: evaluation_page(
            facts, config, names, scored.counter.accuracy, verdict(facts)
        ),
        measure=lambda: {
            "videos": counter.videos,
            "seconds": round(seconds, 3),
            "metrics": scored.counter.summary(with_2019=config.eval.hit_at_one_2019),
            **({"certainty": sure} if sure else {}),
            "classes": classes_of(counter, names),
            "skipped": skipped,
            "config": config.as_dict(),
        },
        shortfall=Shortfall(failed=skipped, total=total),
        tables=lambda facts: (
            summary_table(facts["metrics"], used=counter.videos, total=total),
            tag_table(facts["classes"]),
        ),
    )


evaluate = Evaluation(run=_evaluated, has_page=True)


def classes_of(counter: TaggingCounter, names: list[str]) -> list[dict[str, Any]]:
    """Average precision of each class that at least one video has."""
    positives, precision = counter.class_positives, counter.class_ap
    return [
        {
            "class": names[number],
            "videos": int(positives[number]),
            "ap": None if math.isnan(precision[number]) else round(float(precision[number]), 6),
        }
        for number in np.flatnonzero(positives).tolist()
    ]
