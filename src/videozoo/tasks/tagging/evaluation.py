"""Score a trained tagging model on labelled videos."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from videozoo.data.tags import FeatureDataset, load_records
from videozoo.metrics.tagging import TaggingCounter
from videozoo.report.tables import summary_table, tag_table
from videozoo.tasks.evaluate import EvalJob, Evaluated, Evaluation
from videozoo.tasks.features import check_features
from videozoo.tasks.inference import eval_loader
from videozoo.tasks.jobs import Shortfall
from videozoo.tasks.tagging.labels import check_labels
from videozoo.tasks.tagging.scoring import (
    TagCounts,
    TaggingInference,
    feature_shape,
    names_of_classes,
)


def _evaluated(job: EvalJob) -> Evaluated:
    config, accelerator = job.config, job.accelerator
    shape, classes = feature_shape(config), int(config.model.num_classes)
    records = load_records(config.data, "test", strict=not job.skip_bad)
    batches = eval_loader(
        FeatureDataset(records, shape, config.data, num_classes=classes),
        config.data,
        accelerator,
        batch_size=config.eval.batch_size,
        skip_bad=job.skip_bad,
    )
    check_features(records.extractor, job.trained, job.say)
    check_labels(
        records,
        "data.test",
        job.say,
        num_classes=classes,
        shape=shape,
        most_frames=config.data.max_frames,
    )
    names = names_of_classes(job.trained, config)
    module = job.module()
    job.say(f"{config.spec.title}: {len(records)} videos")
    started = time.monotonic()
    counts = TagCounts(TaggingCounter(classes, config.eval.top_k))
    inference = TaggingInference(module, batches, accelerator, shape.streams, counts)
    scored = job.run(inference, len(records), keep=False)
    seconds = time.monotonic() - started
    counter = scored.counter.metrics
    skipped = [*records.damaged, *scored.skipped.values()]
    total = counter.videos + len(skipped)
    return Evaluated(
        measure=lambda: {
            "videos": counter.videos,
            "seconds": round(seconds, 3),
            "metrics": scored.counter.summary(with_2019=config.eval.hit_at_one_2019),
            "classes": _classes(counter, names),
            "skipped": skipped,
            "config": config.as_dict(),
        },
        shortfall=Shortfall(failed=skipped, total=total),
        tables=lambda facts: (
            summary_table(facts["metrics"], used=counter.videos, total=total),
            tag_table(facts["classes"]),
        ),
    )


evaluate = Evaluation(run=_evaluated)


def _classes(counter: TaggingCounter, names: list[str]) -> list[dict[str, Any]]:
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
