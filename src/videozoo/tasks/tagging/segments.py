"""Evaluate and predict on segments of videos, as the YouTube-8M challenge of 2019 did."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Any

import numpy as np

from videozoo.data.annotations.segment_rankings import write_rankings
from videozoo.data.features.records import RecordSet
from videozoo.data.record_survey import survey
from videozoo.data.tag_segments import frame_limit
from videozoo.errors import UsageError, counted, few
from videozoo.metrics.tagging import RatedCounter
from videozoo.report.answers import VideoAnswer
from videozoo.report.tables import segment_table, summary_table, tag_table
from videozoo.results import VideoSegments
from videozoo.tasks.common import names_of_classes
from videozoo.tasks.evaluate import EvalJob, Evaluated
from videozoo.tasks.jobs import ResultFile, Shortfall
from videozoo.tasks.predict import Predicted, PredictJob
from videozoo.tasks.tagging.labels import check_ratings
from videozoo.tasks.tagging.pages import evaluation_page
from videozoo.tasks.tagging.scoring import feature_shape, tagging_model
from videozoo.tasks.tagging.segment_scoring import (
    check_segments_fit,
    rankings_of,
    row_of,
    score_segments,
    segments_of,
)

_MOST_LISTED = 20  # segments per video in the table
_MOST_LOOKED_AT = 200  # records, to note unused frames


def evaluated(job: EvalJob, records: RecordSet) -> Evaluated:
    """Measure a model against the ratings of segments: MAP@N of the challenge, and GAP."""
    config = job.config
    check_segments_fit(config)
    index = check_ratings(
        records,
        "data.test",
        job.say,
        num_classes=config.model.num_classes,
        shape=feature_shape(config),
        data=config.data,
        skip_bad=job.skip_bad,
    )
    module = job.model(tagging_model)
    names = names_of_classes(job.trained, config)
    job.say(f"{config.spec.title}: {counted(len(index), 'segment')}")
    started = time.monotonic()
    scored = score_segments(
        module,
        config,
        config.eval,
        records,
        job.accelerator,
        index=index,
        skip_bad=job.skip_bad,
        show=True,
    )
    seconds = time.monotonic() - started
    counter = scored.counter
    skipped = [*records.damaged, *index.problems.values(), *scored.skipped.values()]
    videos = len(np.unique(index.records))
    total = videos + len(records.damaged) + len(index.problems)
    return Evaluated(
        page=lambda facts: evaluation_page(facts, config, names, None, ""),
        measure=lambda: {
            "videos": total - len(skipped),
            "segments": counter.segments,
            "ratings": counter.ratings,
            "seconds": round(seconds, 3),
            "metrics": counter.summary(),
            "classes": _classes_of(counter, names),
            "skipped": skipped,
            "config": config.as_dict(),
        },
        shortfall=Shortfall(failed=skipped, total=total),
        tables=lambda facts: (
            summary_table(
                facts["metrics"],
                title="Rated segments",
                used=counter.segments,
                total=len(index),
                what="segments",
            ),
            tag_table(facts["classes"], what="segments"),
        ),
        notes=lambda _facts: [
            f"MAP as MAP@N of the YouTube-8M challenge of 2019: over {counter.ratings:,} ratings "
            f"of {counted(counter.segments, 'segment')}; classes without a rating do not count"
        ],
    )


def _classes_of(counter: RatedCounter, names: list[str]) -> list[dict[str, Any]]:
    """Average precision of each class that is rated in some segment."""
    shown, rated, precision = counter.class_positives, counter.class_ratings, counter.class_ap
    return [
        {
            "class": names[number],
            "segments": int(shown[number]),
            "rated": int(rated[number]),
            "ap": None if math.isnan(precision[number]) else round(float(precision[number]), 6),
        }
        for number in np.flatnonzero(rated).tolist()
    ]


def predicted(job: PredictJob, records: RecordSet) -> Predicted[VideoSegments]:
    """Tag all segments of videos, and rank the segments of each class.

    Raises:
        UsageError: Pictures were asked for.
    """
    config, views = job.config, job.config.predict
    if job.request.explain:
        raise UsageError(
            "--explain draws where a model looks in a whole video; with data.segments the table "
            "tells which segments show what: leave --explain out"
        )
    longest, most = survey(records, most=_MOST_LOOKED_AT).longest, frame_limit(records, config.data)
    if most is not None and longest > most:
        job.note(
            [
                f"records have up to {counted(longest, 'frame')}; segments beyond data.max_frames="
                f"{most} are not read (null reads all)"
            ]
        )
    module = job.model(tagging_model)
    names = names_of_classes(job.trained, config)
    scored = score_segments(
        module,
        config,
        views,
        records,
        job.accelerator,
        skip_bad=job.skip_bad,
        show=True,
    )
    found = list(scored.by_number.values())
    results = [segments_of(one, names, least_score=views.least_score) for one in found]
    rows = [row_of(one) for one in results]
    skipped = [*records.damaged, *scored.skipped.values()]
    submission = None
    if views.submission_name is not None:
        submission = ResultFile(
            job.files_folder / views.submission_name,
            lambda path: write_rankings(path, rankings_of(found)),
        )
    twice = [name for name, count in Counter(one.name for one in found).items() if count > 1]
    notes = [
        f"{counted(len(twice), 'name')} of several videos, of whose segments the submission has "
        f"the better ones: {few(twice)}"
    ]
    return Predicted(
        results=results,
        facts={"predictions": rows, "skipped": skipped},
        shortfall=Shortfall(failed=skipped, total=len(rows) + len(skipped)),
        table=lambda: segment_table(rows, most=_MOST_LISTED),
        submission=submission,
        notes=notes if twice else (),
        answers=lambda: [
            VideoAnswer(result=one, duration_seconds=one.duration_seconds) for one in results
        ],
    )
