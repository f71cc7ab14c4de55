"""Score a trained tagging model on labelled videos."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from rich.console import Console

from videozoo.data.tags import FeatureDataset, load_records
from videozoo.engine.devices import make_accelerator
from videozoo.errors import UsageError
from videozoo.metrics.tagging import TaggingCounter
from videozoo.report.tables import summary_table, tag_table
from videozoo.tasks.common import (
    say_if_learnt_from,
    speaker,
    with_test_data,
    without_absent_names,
)
from videozoo.tasks.features import check_features
from videozoo.tasks.inference import eval_loader, run
from videozoo.tasks.loading import Trained, build_trained
from videozoo.tasks.requests import EvalRequest
from videozoo.tasks.results import ResultFolder, conclude
from videozoo.tasks.tagging.labels import check_labels
from videozoo.tasks.tagging.scoring import (
    TagCounts,
    TaggingInference,
    feature_shape,
    names_of_classes,
)


def evaluate(
    trained: Trained, request: EvalRequest, *, console: Console | None = None
) -> dict[str, Any]:
    """Score a trained model on labelled videos; print tables, write `eval.json`.

    Returns:
        What the JSON file holds.

    Raises:
        VideozooError: The data, the weights or the machine do not fit.
    """
    if request.report:
        raise UsageError("--report is for models that classify clips; eval.json has the numbers")
    out = console or Console()
    config = without_absent_names(trained.config)
    config = with_test_data(config, request.data)
    accelerator = make_accelerator(device=request.device, precision=config.train.precision)
    say = speaker(Console(stderr=True), accelerator)
    for note in config.notes:
        say(f"note: {note}")
    say_if_learnt_from(say, config.data, "test")
    folder = ResultFolder.choose(trained, request, accelerator, say)
    shape, classes = feature_shape(config), int(config.model.num_classes)
    records = load_records(config.data, "test", strict=request.strict)
    batches = eval_loader(
        FeatureDataset(records, shape, config.data, num_classes=classes),
        config.data,
        accelerator,
        batch_size=config.eval.batch_size,
        skip_bad=not request.strict,
    )
    check_features(records.extractor, trained, say)
    check_labels(
        records,
        "data.test",
        say,
        num_classes=classes,
        shape=shape,
        most_frames=config.data.max_frames,
    )
    names = names_of_classes(trained, config)
    module = build_trained(trained, config, drop=request.drop).to(accelerator.device).eval()
    say(f"{config.spec.title}: {len(records)} videos")
    started = time.monotonic()
    scored = run(
        TaggingInference(
            module,
            batches,
            accelerator,
            shape.streams,
            TagCounts(TaggingCounter(classes, config.eval.top_k)),
        ),
        accelerator,
        keep=False,
        progress=(len(records), "videos"),
    )
    counter = scored.counter.metrics
    metrics = scored.counter.summary(with_2019=config.eval.hit_at_one_2019)
    facts: dict[str, Any] = {
        **folder.facts,
        "videos": counter.videos,
        "seconds": round(time.monotonic() - started, 3),
        "metrics": metrics,
        "classes": _classes(counter, names),
        "skipped": [*records.damaged, *scored.skipped.values()],
        "config": config.as_dict(),
    }
    total = counter.videos + len(facts["skipped"])
    if accelerator.is_main_process:
        folder.make_room(say)
        written = folder.write(facts)
        out.print(summary_table(metrics, used=counter.videos, total=total))
        out.print(tag_table(facts["classes"]))
        say(f"written: {written}")
    conclude(accelerator, request, facts["skipped"], say, total=total)
    return facts


def _classes(counter: TaggingCounter, names: list[str]) -> list[dict[str, Any]]:
    """Average precision of each class that some video has."""
    positives, precision = counter.class_positives, counter.class_ap
    return [
        {
            "class": names[number],
            "videos": int(positives[number]),
            "ap": None if math.isnan(precision[number]) else round(float(precision[number]), 6),
        }
        for number in np.flatnonzero(positives).tolist()
    ]
