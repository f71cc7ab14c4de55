"""Score a trained localiser on annotated videos."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console

from videozoo.config import RunConfig
from videozoo.data.coverage import videos_learnt_from
from videozoo.engine.devices import make_accelerator
from videozoo.errors import RunError, UsageError
from videozoo.report.html import write_report
from videozoo.report.tables import bucket_table, error_table, summary_table
from videozoo.settings.segments import SequenceEval, SequenceViews
from videozoo.tasks.classification.pages import CHARTS_HINT, can_draw
from videozoo.tasks.common import speaker, without_absent_names
from videozoo.tasks.features import check_features
from videozoo.tasks.inference import run
from videozoo.tasks.loading import Trained, build_trained
from videozoo.tasks.localisation.fitting import say_seen, seen_in_training
from videozoo.tasks.localisation.measures import (
    Measured,
    Truth,
    answered,
    joined,
    measure_detections,
    measure_proposals,
    read_labels,
)
from videozoo.tasks.localisation.pages import evaluation_page, tie_line
from videozoo.tasks.localisation.results import result_path, write_result_file
from videozoo.tasks.localisation.score_files import ScoreFiles
from videozoo.tasks.localisation.scoring import LocalisationInference, LocalisationResults, Source
from videozoo.tasks.localisation.sources import (
    FeatureSource,
    agreed_classes,
    find_videos,
    localiser_of,
    num_classes,
    with_class_numbers,
)
from videozoo.tasks.requests import EvalRequest
from videozoo.tasks.results import ResultFolder, conclude
from videozoo.types import Localisation

SourceOf = Callable[[RunConfig, Trained], Source]
"""From a configuration and weights to the videos to evaluate on."""


def evaluate(
    trained: Trained, request: EvalRequest, *, console: Console | None = None
) -> dict[str, Any]:
    """Score a trained model on annotated videos; print tables, write `eval.json` and segments.

    Returns:
        What the JSON file holds.

    Raises:
        VideozooError: The data, the weights or the machine do not fit.
    """
    return evaluate_source(trained, request, _test_videos, console=console)


def _test_videos(config: RunConfig, trained: Trained) -> Source:
    videos = find_videos(config, "test")
    if num_classes(config) is not None:
        names = trained.class_names or videos.annotations.class_names
        annotations = with_class_numbers(videos.annotations, agreed_classes(config, names))
        videos = replace(videos, annotations=annotations)
    with_loss = localiser_of(config).decides == "loss"
    return FeatureSource(config, config.eval, videos, with_loss=with_loss)


def evaluate_source(
    trained: Trained,
    request: EvalRequest,
    source_of: SourceOf,
    *,
    console: Console | None = None,
) -> dict[str, Any]:
    """As `evaluate`, whatever the model reads."""
    if request.data is not None:
        raise UsageError("--data is for videos; localisers take --set data.features=DIR")
    with_report = can_draw() if request.report is None else request.report
    if with_report and not can_draw():
        raise RunError(CHARTS_HINT)
    out = console or Console()
    config = without_absent_names(trained.config)
    accelerator = make_accelerator(device=request.device, precision=config.train.precision)
    say = speaker(Console(stderr=True), accelerator)
    for note in config.notes:
        say(f"note: {note}")
    folder = ResultFolder.choose(trained, request, accelerator, say)
    views: SequenceEval = config.eval
    labels = None if views.labels is None else read_labels(views.labels)
    source = source_of(config, trained)
    check_features(source.extractor, trained, say)
    module = build_trained(trained, config, drop=request.drop).to(accelerator.device).eval()
    total = len(source.present) + len(source.missing)
    say(f"{config.spec.title}: {len(source.present)} of {total} videos")
    num_seen = seen_in_training(source.present, videos_learnt_from(config.data))
    say_seen(say, "evaluation", num_seen, len(source.present), "test_subset")
    started = time.monotonic()
    answers = run(
        LocalisationInference(
            module,
            source,
            accelerator,
            skip_bad=not request.strict,
            files=score_files(config, views),
        ),
        accelerator,
        progress=(len(source.present), "videos"),
    )
    names = source.annotations.class_names
    measured, answers = _measured(source, answers, views, labels, names)
    facts: dict[str, Any] = {
        **folder.facts,
        "videos": len(answers.by_number),
        "videos_annotated": total,
        "videos_learnt_from": num_seen,
        "missing": list(source.missing),
        "skipped": list(answers.skipped.values()),
        "seconds": round(time.monotonic() - started, 3),
        "metrics": measured.metrics,
        "curve": measured.curve,
        "by_length": measured.by_length,
        "by_coverage": measured.by_coverage,
        "detections": measured.detections,
        "ties": measured.ties,
        "config": config.as_dict(),
    }
    failed = [*(f"{name}: no features" for name in source.missing), *answers.skipped.values()]
    if accelerator.is_main_process:
        path = result_path(views, request.files_dir or folder.path)
        folder.make_room(say, path)
        has_classes = labels is not None or num_classes(config) is not None
        write_result_file(
            views,
            answers.by_number.values(),
            classes=names if has_classes else None,
            path=path,
        )
        written = folder.write(facts, [path])
        report = folder.path / "report.html"
        if with_report:
            folder.write(facts, [path, write_report(report, evaluation_page(facts, config))])
        _show(facts, out)
        for tie in facts["ties"]:
            say(f"note: {tie_line(tie)}")
        say(f"written: {written}, {path}")
        if with_report:
            say(f"report: {report}")
        elif request.report is None:
            say(f"note: {CHARTS_HINT}")
    conclude(accelerator, request, failed, say, total=total)
    return facts


def score_files(config: RunConfig, views: SequenceViews) -> ScoreFiles | None:
    """What is written of single videos; None where nothing was asked for."""
    if not (views.score_files or views.proposal_files or views.feature_files):
        return None
    task = config.spec.task
    generation = task.proposals if isinstance(task, Localisation) else None
    return ScoreFiles(views, None if generation is None else generation(config.model))


def _measured(
    source: Source,
    answers: LocalisationResults,
    views: SequenceEval,
    labels: Any,
    names: Sequence[str],
) -> tuple[Measured, LocalisationResults]:
    truth = Truth.of(source.annotations, answered(source, answers))
    measured = measure_proposals(truth, answers, views)
    if labels is not None and num_classes(source.config) is None:
        answers = joined(answers, labels, names, views)
    elif num_classes(source.config) is None:
        return measured, answers
    found, measured.detections, ties = measure_detections(truth, answers, views, names)
    measured.metrics = found | measured.metrics
    measured.ties = ties + measured.ties
    return measured, answers


def _show(facts: dict[str, Any], out: Console) -> None:
    detections, metrics = facts["detections"], facts["metrics"]
    out.print(summary_table(metrics, used=facts["videos"], total=facts["videos_annotated"]))
    out.print(
        bucket_table(
            "Average recall by annotated segment",
            {
                "seconds": facts["by_length"],
                "share of the video": facts["by_coverage"],
            },
        )
    )
    if detections is not None:
        out.print(error_table(detections["best"], detections["best_10"], detections["gains"]))
        out.print(
            bucket_table(
                f"Missed at tIoU {detections['tiou']:g}: {100 * detections['missed']:.1f} %",
                {
                    "seconds": detections["missed_by_length"],
                    "share of the video": detections["missed_by_coverage"],
                    "segments of the class": detections["missed_by_instances"],
                },
            )
        )
