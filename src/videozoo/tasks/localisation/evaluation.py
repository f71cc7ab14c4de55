"""Score a trained localiser on annotated videos."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from accelerate import Accelerator
from rich.console import RenderableType

from videozoo.config import RunConfig
from videozoo.data.coverage import training_videos
from videozoo.errors import counted
from videozoo.report.tables import bucket_table, error_table, summary_table
from videozoo.settings.segments import SequenceEval, SequenceViews
from videozoo.tasks.evaluate import EvalJob, Evaluated, Evaluation
from videozoo.tasks.features import check_features
from videozoo.tasks.jobs import Shortfall
from videozoo.tasks.loading import Trained
from videozoo.tasks.localisation.exported import localiser_model
from videozoo.tasks.localisation.fitting import say_seen, seen_in_training
from videozoo.tasks.localisation.lengths import other_windows_notes
from videozoo.tasks.localisation.measures import (
    Measured,
    Truth,
    measure_detections,
    measure_proposals,
    videos_of,
)
from videozoo.tasks.localisation.naming import Names, named
from videozoo.tasks.localisation.pages import evaluation_page, tie_line
from videozoo.tasks.localisation.results import files_of, result_file
from videozoo.tasks.localisation.score_files import ScoreFiles
from videozoo.tasks.localisation.scoring import (
    LocalisationInference,
    LocalisationResults,
    VideoSource,
)
from videozoo.tasks.localisation.sources import (
    FeatureSource,
    agreed_classes,
    find_videos,
    localiser_of,
    num_classes,
    with_class_numbers,
)
from videozoo.types import Localisation

SourceOf = Callable[[RunConfig, Trained], VideoSource]
"""(configuration, weights) -> the videos to evaluate on."""


def _test_videos(config: RunConfig, trained: Trained) -> VideoSource:
    videos = find_videos(config, "test")
    if num_classes(config) is not None:
        names = trained.class_names or videos.annotations.class_names
        annotations = with_class_numbers(videos.annotations, agreed_classes(config, names))
        videos = replace(videos, annotations=annotations)
    with_loss = localiser_of(config).decides == "loss" and config.exported is None
    return FeatureSource(config, config.eval, videos, with_loss=with_loss)


def evaluated(job: EvalJob, source_of: SourceOf) -> Evaluated:
    """Evaluate a localiser; `source_of` finds its videos, whatever its inputs are."""
    config = job.config
    source = source_of(config, job.trained)
    views: SequenceEval = config.eval
    labels = None if views.labels is None else Names.open(views.labels, job.accelerator)
    if labels is not None and num_classes(config) is not None:
        job.say(f"note: --labels is not used: {config.spec.title} names its segments itself")
    if labels is not None and num_classes(config) is None:
        job.note(labels.remarks(source.annotations.class_names))
    check_features(source.extractor, job.trained, job.say)
    job.note(other_windows_notes(job.trained, config))
    task = config.spec.task
    if config.exported is not None and isinstance(task, Localisation) and task.decides == "loss":
        job.say("note: no loss, which an exported file does not hold; the weights give it")
    module = job.model(localiser_model)
    total = len(source.present) + len(source.missing)
    job.say(f"{config.spec.title}: {len(source.present):,} of {counted(total, 'video')}")
    num_seen = seen_in_training(source.present, training_videos(config.data))
    say_seen(job.say, "evaluation", num_seen, len(source.present), "test_subset")
    started = time.monotonic()
    files = score_files(config, views)
    inference = LocalisationInference(
        module, source, job.accelerator, skip_bad=job.skip_bad, files=files
    )
    results = job.run(inference, len(source.present))
    names = source.annotations.class_names
    measured, results = _measured(source, results, views, labels, job.accelerator)
    facts: dict[str, Any] = {
        "videos": len(results.by_number),
        "videos_annotated": total,
        "videos_learnt_from": num_seen,
        "missing": list(source.missing),
        "skipped": list(results.skipped.values()),
        "seconds": round(time.monotonic() - started, 3),
        "metrics": measured.metrics,
        "curve": measured.curve,
        "by_length": measured.by_length,
        "by_coverage": measured.by_coverage,
        "detections": measured.detections,
        "ties": measured.ties,
        "config": config.as_dict(),
    }
    failed = [*(f"{name}: no features" for name in source.missing), *results.skipped.values()]
    classes = names if labels is not None or num_classes(config) is not None else None
    found = list(results.by_number.values())
    return Evaluated(
        measure=lambda: facts,
        shortfall=Shortfall(failed=failed, total=total),
        tables=tables,
        file=result_file(
            views,
            found,
            classes,
            job.files_folder,
            files=files_of([source.video_files]),
            say=job.say,
        ),
        notes=lambda facts: map(tie_line, facts["ties"]),
        page=lambda facts: evaluation_page(facts, config),
    )


evaluate = Evaluation(run=partial(evaluated, source_of=_test_videos), has_page=True)


def score_files(config: RunConfig, views: SequenceViews) -> ScoreFiles | None:
    """The writer of files of single videos; None if no such files are requested."""
    if not (views.score_files or views.proposal_files or views.feature_files):
        return None
    task = config.spec.task
    generation = task.proposals if isinstance(task, Localisation) else None
    return ScoreFiles(views, None if generation is None else generation(config.model))


def _measured(
    source: VideoSource,
    results: LocalisationResults,
    views: SequenceEval,
    labels: Names | None,
    accelerator: Accelerator,
) -> tuple[Measured, LocalisationResults]:
    names = source.annotations.class_names
    truth = Truth.of(source.annotations, videos_of(source, results))
    measured = measure_proposals(truth, results, views)
    if labels is not None and num_classes(source.config) is None:
        results = named(results, source, labels, names, views, accelerator)
        truth = Truth.of(source.annotations, videos_of(source, results))
    elif num_classes(source.config) is None:
        return measured, results
    found, measured.detections, ties = measure_detections(truth, results, views, names)
    measured.metrics = found | measured.metrics
    measured.ties = ties + measured.ties
    return measured, results


def tables(facts: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Tables for the terminal, from the metrics of segments."""
    detections, metrics = facts["detections"], facts["metrics"]
    yield summary_table(metrics, used=facts["videos"], total=facts["videos_annotated"])
    yield bucket_table(
        "Average recall by annotated segment",
        {"seconds": facts["by_length"], "share of the video": facts["by_coverage"]},
    )
    if detections is not None:
        yield error_table(detections["best"], detections["best_10"], detections["gains"])
        yield bucket_table(
            f"Missed at tIoU {detections['tiou']:g}: {100 * detections['missed']:.1f} %",
            {
                "seconds": detections["missed_by_length"],
                "share of the video": detections["missed_by_coverage"],
                "segments of the class": detections["missed_by_instances"],
            },
        )
