"""Find segments of videos, from their features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from videozoo.config import RunConfig
from videozoo.data.annotations.class_names import read_class_names
from videozoo.data.annotations.segments import annotated_classes
from videozoo.data.coverage import reading_of
from videozoo.errors import DataError
from videozoo.report.annotate import picture_names, write_picture
from videozoo.report.answers import VideoAnswer
from videozoo.report.tables import segment_table
from videozoo.report.timeline import HeatRow, Span, SpanRow, Timeline, timeline_picture
from videozoo.results import VideoSegments
from videozoo.runtime.rows import row_of_segments
from videozoo.runtime.segments import segments_of
from videozoo.settings.segments import SequencePredict
from videozoo.tasks.features import check_features
from videozoo.tasks.jobs import Shortfall
from videozoo.tasks.loading import Trained
from videozoo.tasks.localisation.evaluation import score_files
from videozoo.tasks.localisation.exported import localiser_model
from videozoo.tasks.localisation.lengths import much_longer_notes, other_windows_notes
from videozoo.tasks.localisation.naming import Names, named
from videozoo.tasks.localisation.results import VideoProposals, files_of, result_file
from videozoo.tasks.localisation.scoring import LocalisationInference, VideoSource
from videozoo.tasks.localisation.sources import (
    FeatureSource,
    agreed_classes,
    input_videos,
    num_classes,
)
from videozoo.tasks.predict import Predicted, Prediction, PredictJob, picture_per_row

SourcesOf = Callable[[Sequence[str], RunConfig], Sequence[VideoSource]]
"""(inputs of the user, configuration) -> videos."""
_MOST_DRAWN = 5  # segments per picture
_FAINT = 0.05  # share of the best score below which a segment is not drawn


def feature_sources(inputs: Sequence[str], config: RunConfig) -> list[VideoSource]:
    """The videos whose features the user named."""
    videos = input_videos(inputs, config)
    return [FeatureSource(config, config.predict, each) for each in videos]


def predicted(job: PredictJob, sources_of: SourcesOf) -> Predicted[VideoSegments]:
    """Find segments; `sources_of` finds the videos, whatever the inputs of the model are."""
    config, request = job.config, job.request
    views: SequencePredict = config.predict
    labels = None if views.labels is None else Names.open(views.labels, job.accelerator)
    if labels is not None and num_classes(config) is not None:
        job.say(f"note: --labels is not used: {config.spec.title} names its segments itself")
    sources = sources_of(request.inputs, config)
    _refuse_twice(sources)
    names = class_names(job.trained, config, labels)
    job.note(other_windows_notes(job.trained, config))
    module = job.model(localiser_model)
    found: list[VideoProposals] = []
    failed: list[str] = []
    for source in sources:
        check_features(source.extractor, job.trained, job.say)
        inference = LocalisationInference(
            module,
            source,
            job.accelerator,
            skip_bad=job.skip_bad,
            keep_curves=request.explain,
            files=score_files(config, views),
        )
        localised = job.run(inference, len(source.present))
        if labels is not None and num_classes(config) is None:
            localised = named(localised, source, labels, names, views, job.accelerator)
        found += localised.by_number.values()
        failed += [f"{name}: no features" for name in source.missing]
        failed += localised.skipped.values()
    results = [segments_of(each.video, each.found, each.duration_seconds, names) for each in found]
    rows = [row_of_segments(each) for each in results]
    with_classes = any(each.found.labels is not None for each in found)
    notes = list(much_longer_notes(job.trained, config, results))
    if any(each.duration_seconds is None for each in results):
        notes.append("lengths of some videos are not known; their times are shares of the video")
    return Predicted(
        results=results,
        facts={"predictions": rows, "skipped": failed},
        shortfall=Shortfall(failed=failed, total=len(found) + len(failed)),
        table=lambda: segment_table(rows, most=views.top_k),
        file=result_file(
            views,
            found,
            names if with_classes else None,
            job.files_folder,
            files=files_of(source.video_files for source in sources),
            say=job.say,
        ),
        notes=notes,
        draw=(lambda folder: picture_per_row(rows, _draw(found, results, folder), folder))
        if request.explain
        else None,
        answers=lambda: [VideoAnswer(result=each) for each in results],
    )


predict = Prediction(run=partial(predicted, sources_of=feature_sources))


def class_names(trained: Trained, config: RunConfig, labels: Names | None) -> tuple[str, ...]:
    """Class names in order: of a detector, of what gives proposals names, or none."""
    if num_classes(config) is not None:
        names = trained.class_names
        if names is None:
            names = _configured_names(config)
        if names is None:
            return tuple(str(number) for number in range(num_classes(config) or 0))
        return agreed_classes(config, names)
    return () if labels is None else labels.classes


def _configured_names(config: RunConfig) -> tuple[str, ...] | None:
    """Class names from the `data:` section; None if it has none."""
    data = config.data
    if data.class_names is None and (data.annotations is None or not data.annotations.exists()):
        return None
    if data.class_names is not None:
        return tuple(read_class_names(data.class_names))
    return tuple(
        annotated_classes(
            data.annotations, ignored_classes=data.ignored_classes, reading=reading_of(data)
        )
    )


def _refuse_twice(sources: Sequence[VideoSource]) -> None:
    often = Counter(each.video for source in sources for each in source.present)
    twice = next((name for name, count in often.items() if count > 1), None)
    if twice is not None:
        raise DataError(f"video {twice!r} is there twice; name each video once")


def _draw(
    found: Sequence[VideoProposals], results: Sequence[VideoSegments], folder: Path
) -> list[Path]:
    """Write one picture per video: the scores of its steps, and the segments found."""
    files = picture_names([Path(result.name) for result in results])
    written: list[Path] = []
    for one, result, name in zip(found, results, files, strict=True):
        top = max((each.score for each in result.segments), default=0.0) or 1.0
        best = [each for each in result.segments if each.score > _FAINT * top][:_MOST_DRAWN]
        spans = [
            Span(
                start=each.start,
                end=each.end,
                text=" ".join(filter(None, (f"{rank}.", each.name, f"{each.score:.2f}"))),
                score=each.score / top,
            )
            for rank, each in enumerate(best, 1)
        ]
        heat = [HeatRow(name=key, values=values) for key, values in one.curves.items()]
        steps = max((len(row.values) for row in heat), default=1)
        seconds, length = result.duration_seconds, result.duration_seconds or float(steps)
        if seconds is None:
            spans = [
                Span(start=s.start * length, end=s.end * length, text=s.text, score=s.score)
                for s in spans
            ]
        timeline = Timeline(
            title=result.name,
            length=length,
            unit="vectors" if seconds is None else "s",
            rows=[*heat, SpanRow(name=f"best {len(best)} of {len(result.segments)}", spans=spans)],
        )
        written.append(write_picture(folder / f"{name}_segments.png", timeline_picture(timeline)))
    return written
