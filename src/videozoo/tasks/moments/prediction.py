"""Find moments of videos by sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group

from videozoo.config import RunConfig
from videozoo.data.moments import (
    JoinedWindows,
    MomentSet,
    WindowSource,
    ask,
    load_windows,
    open_windows,
    read_moments,
)
from videozoo.errors import DataError, UsageError, counted
from videozoo.report.annotate import picture_names, write_picture
from videozoo.report.answers import VideoAnswer
from videozoo.report.tables import moment_table, ranked_table
from videozoo.report.timeline import Span, SpanRow, Timeline, timeline_picture
from videozoo.results import Moment, VideoMoments, ranked_moments
from videozoo.runtime.rows import row_of_moments
from videozoo.tasks.moments.presence import least_score_of, presence_note
from videozoo.tasks.moments.scoring import (
    MomentResults,
    QueryMoments,
    all_found,
    check_origin,
    moment_model,
    results_file,
    search,
    sentence_maker,
    shortfall,
)
from videozoo.tasks.moments.submissions import submission_file
from videozoo.tasks.predict import Pictures, Predicted, Prediction, PredictJob, picture_per_row

_MOST_DRAWN = 20  # sentences per picture


def _predicted(job: PredictJob) -> Predicted[QueryMoments]:
    config, request = job.config, job.request
    moments = moments_of(request.inputs, request.sentences, config, strict=request.strict)
    job.note(moments.notes)
    check_origin(moments, job.trained, config.model.sentence_dim, job.say)
    searched = search(
        job.model(moment_model),
        config.data,
        moments,
        job.accelerator,
        batch_size=config.predict.batch_size,
        skip_bad=job.skip_bad,
        show=True,
    )
    least = least_score_of(config.predict.least_score, job.trained.measured)
    results = [result_of(one, config, least) for one in all_found(searched)]
    rows = [
        row_of_moments(result, one.number, truth=one.truth, truths=one.truths)
        for one, result in zip(all_found(searched), results, strict=True)
    ]
    ranked = ranked_moments(results) if request.sentences and len(moments.videos) > 1 else []
    remark = presence_note(config.predict.least_score, job.trained.measured)
    short = shortfall(searched, moments)

    def draw(folder: Path) -> Pictures:
        pictures = _draw(searched, config, folder)
        return picture_per_row(rows, [pictures[row["video"]] for row in rows], folder)

    return Predicted(
        results=all_found(searched),
        facts={
            "unit": moments.unit,
            "least_score": least,
            "predictions": rows,
            **({"ranked": [one.to_dict() for one in ranked]} if ranked else {}),
            "skipped": [*short.left_out, *short.failed],
        },
        shortfall=short,
        table=lambda: Group(moment_table(rows), *(ranked_table(one.to_dict()) for one in ranked)),
        notes=[] if remark is None else [remark],
        file=results_file(
            job, config.predict.results_name, lambda: _results_2019(searched, config)
        ),
        submission=submission_file(
            job,
            config.predict.submission_name,
            lambda: all_found(searched),
            limit=config.predict.nms_limit,
            unit=moments.unit,
        ),
        draw=draw if request.explain else None,
        answers=lambda: [
            VideoAnswer(
                result=result,
                duration_seconds=one.length if one.unit == "seconds" else None,
                truths=one.truths,
            )
            for one, result in zip(all_found(searched), results, strict=True)
        ],
    )


predict = Prediction(run=_predicted)


def moments_of(
    inputs: Sequence[str],
    sentences: Sequence[str | NDArray[np.float32]],
    config: RunConfig,
    *,
    strict: bool = True,
) -> MomentSet:
    """Find the sentences to search for, and the videos.

    With sentences, inputs are features or folders of clips, or nothing for all of `data`. Without,
    they are files of sentences, each with its video.
    """
    data, visual_dim = config.data, config.model.visual_dim
    sentence_dim: int = config.model.sentence_dim
    paths = [Path(text) for text in inputs]
    if not paths and config.predict.inputs is not None and not sentences:
        paths = [config.predict.inputs]
    if len(paths) > 1 and not sentences:
        raise UsageError(
            f"{counted(len(paths), 'input')}; name one file of sentences, or videos or features "
            "with --sentence TEXT"
        )
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
    in_clips = (data.test_clips or data.clips) is not None
    if sentences:
        if not paths:
            source = _default_windows(config)
        else:
            opened = [
                open_windows(path, data, visual_dim=visual_dim, clips=in_clips)
                for path in dict.fromkeys(paths)
            ]
            source = opened[0] if len(opened) == 1 else JoinedWindows(opened)
        return ask(
            sentences,
            source,
            data,
            sentence_dim=sentence_dim,
            strict=strict,
            make=sentence_maker(config),
        )
    if not paths:
        raise DataError(
            "nothing to look for: name a file of sentences, or --sentence TEXT with features, or "
            "set predict.inputs"
        )
    if paths[0].is_dir() or paths[0].suffix in (".npz", ".npy", ".h5"):
        kind = "a folder" if paths[0].is_dir() else "features"
        raise DataError(
            f"{paths[0]}: {kind}; what is to be found in it? --sentence TEXT, once or more"
        )
    return read_moments(
        paths[0],
        _default_windows(config),
        data,
        sentence_dim=sentence_dim,
        need_times=False,
        strict=strict,
        make=sentence_maker(config),
    )


def _default_windows(config: RunConfig) -> WindowSource:
    visual_dim = config.model.visual_dim
    if config.predict.clips is not None:
        return open_windows(config.predict.clips, config.data, visual_dim=visual_dim, clips=True)
    return load_windows(config.data, "test", visual_dim=visual_dim)


def result_of(one: QueryMoments, config: RunConfig, least_score: float | None) -> VideoMoments:
    """The best moments of a sentence in a video."""
    settings = config.predict
    best = one.top(settings.top_k, limit=settings.nms_limit)
    return VideoMoments(
        video=one.video,
        sentence=one.query.sentence,
        moments=tuple(Moment(each.start, each.end, each.score) for each in best),
        unit=one.unit,
        least_score=least_score,
    )


def _results_2019(searched: MomentResults, config: RunConfig) -> dict[str, Any]:
    results: dict[str, list[list[float]]] = {}
    for one in all_found(searched):
        for best in one.top(1, limit=config.predict.nms_limit):
            results.setdefault(one.video, []).append([one.number, best.start, best.end])
    return {"version": "VERSION 1.0", "results": results, "external_data": {}}


def _draw(searched: MomentResults, config: RunConfig, folder: Path) -> dict[str, Path]:
    """Draw a picture per video: its sentences, the moments found, and the true moments if known."""
    settings = config.predict
    videos = [found for found in searched.by_number.values() if found]
    files = picture_names([Path(found[0].video) for found in videos])
    written: dict[str, Path] = {}
    for found, name in zip(videos, files, strict=True):
        first = found[0]
        last = max(float(one.search.moments[:, 1].max(initial=1.0)) for one in found)
        rows: list[SpanRow] = []
        drawn = found[:_MOST_DRAWN]
        often = Counter(one.query.sentence for one in drawn)
        for one in drawn:
            text = one.query.sentence or f"sentence {one.number}"
            if often[one.query.sentence] > 1 and one.query.sentence:
                text = f"{one.number}: {text}"
            best = one.top(settings.top_k, limit=settings.nms_limit)
            low = min((moment.score for moment in best), default=0.0)
            width = max((moment.score - low for moment in best), default=0.0) or 1.0
            spans = [
                Span(
                    start=moment.start,
                    end=moment.end,
                    text=f"{rank}. {moment.start:.1f} to {moment.end:.1f}",
                    score=(moment.score - low) / width,
                )
                for rank, moment in enumerate(best, 1)
            ]
            rows.append(SpanRow(name=text, spans=spans))
            if one.truths:
                truths = [
                    Span(start=start, end=end, text=f"{start:.1f} to {end:.1f}")
                    for start, end in one.truths
                ]
                rows.append(SpanRow(name="truth", spans=truths, kind="truth"))
        more = len(found) > len(drawn)
        timeline = Timeline(
            title=first.video + (f", first {len(drawn)} of {len(found)} sentences" * more),
            length=first.length or max(last, 1e-3),
            unit="s" if first.unit == "seconds" else "frames",
            rows=rows,
        )
        path = folder / f"{name}_moments.png"
        written[first.video] = write_picture(path, timeline_picture(timeline))
    return written
