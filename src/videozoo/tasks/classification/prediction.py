"""Classify videos with a trained clip model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from videozoo.config import RunConfig
from videozoo.data.annotations.inputs import NamedVideos, named_videos
from videozoo.data.annotations.videos import ClipEntry, read_list, videos_of, views_by_video
from videozoo.data.frames.video import count_frames
from videozoo.data.frames.views import eval_plan
from videozoo.errors import DataError, WeightsError, counted
from videozoo.report.answers import VideoAnswer, video_seconds
from videozoo.report.tables import prediction_table, several_table
from videozoo.runtime.clips import labels_of
from videozoo.runtime.rows import row_of_classes
from videozoo.tasks.classification import along
from videozoo.tasks.classification.lengths import CLIPS, too_long
from videozoo.tasks.classification.pictures import check_outputs, draw_predictions
from videozoo.tasks.classification.scoring import (
    VideoResult,
    run_views,
)
from videozoo.tasks.clip_views import clip_shape, has_several_classes
from videozoo.tasks.common import names_of_classes
from videozoo.tasks.jobs import Shortfall
from videozoo.tasks.measured import Lengths
from videozoo.tasks.predict import Pictures, Predicted, Prediction, PredictJob
from videozoo.tasks.requests import PredictRequest
from videozoo.weights.exported import exported_kind


def _predicted(job: PredictJob) -> Predicted[Any]:
    trained, request = job.trained, replace(job.request, save_dir=job.folder.path)
    named = input_entries(
        request.inputs, job.config, trained.class_names, strict=job.request.strict
    )
    request.unread.tell(named.absent, job.say)
    if job.config.predict.every_seconds is not None:
        return along.predicted(job, named)
    return _of_whole_videos(job, request, named)


def _of_whole_videos(
    job: PredictJob, request: PredictRequest, named: NamedVideos
) -> Predicted[VideoResult]:
    trained, entries = job.trained, named.entries
    is_drawn = request.annotate or request.explain
    if is_drawn:
        check_outputs(entries, request)
    if request.explain and exported_kind(trained.path) is not None:
        raise WeightsError(
            f"{trained.path}: an exported graph gives no gradients to explain it by; "
            "pass the weights it was made from (a run folder or a .safetensors file)"
        )
    scored, config = run_views(job, job.config.predict, entries)
    _say_too_long(job, entries)
    names = names_of_classes(trained, config)
    several = has_several_classes(config)
    least = config.predict.least_score if several else None
    rows = {
        place: row_of_classes(
            labels_of(result.name, result.scores, names, least_score=least),
            result.path,
            config.predict.top_k,
            truth=None if result.truth is None else [names[each] for each in result.truth],
        )
        for place, result in scored.by_number.items()
    }
    many = sum(len(entry.classes or ()) > 1 for entry in entries)
    if many and not several:
        job.say(
            f"note: {counted(many, 'video')} of the list with several classes, and this model "
            "tells one class per video: they are not compared"
        )
    failed = [*named.absent, *scored.skipped.values()]
    groups = views_by_video(entries)

    def draw(_folder: Path) -> Pictures:
        drawn = draw_predictions(
            entries,
            scored.by_number,
            config,
            request,
            job.accelerator,
            class_names=names,
            module=replace(job, config=config).module() if request.explain else None,
        )
        for place, each in drawn.items():
            rows[place] |= each.facts
            failed.extend([] if each.problem is None else [each.problem])
        files = [path for each in drawn.values() for path in each.files]
        notes = [note for each in drawn.values() for note in each.notes]
        return Pictures(files, _what_was_drawn(request, len(rows)), notes)

    return Predicted(
        results=list(scored.by_number.values()),
        facts={
            "predictions": list(rows.values()),
            "skipped": failed,
            "damaged": list(scored.damaged.values()),
        },
        shortfall=Shortfall(
            failed=failed, total=len(rows) + len(scored.skipped) + len(named.absent)
        ),
        table=lambda: (
            prediction_table(list(rows.values()))
            if least is None
            else several_table(list(rows.values()), least_score=least)
        ),
        draw=draw if is_drawn else None,
        all_draw=True,
        draws_films=True,
        answers=lambda: [
            VideoAnswer(
                result=labels_of(
                    result.name, result.scores, names, config.predict.top_k, least_score=least
                ),
                path=Path(result.path),
                part_seconds=_part_of(groups[place][0]),
            )
            for place, result in scored.by_number.items()
        ],
    )


def _part_of(entry: ClipEntry) -> tuple[float, float] | None:
    """The part of its video that an entry is about; None for all of it."""
    if entry.start_seconds is None and entry.end_seconds is None:
        return None
    if entry.end_seconds is None:
        length = video_seconds(entry.path)
        return None if length is None else (entry.start_seconds or 0.0, length)
    return entry.start_seconds or 0.0, entry.end_seconds


def _say_too_long(job: PredictJob, entries: Sequence[ClipEntry]) -> None:
    """Warn about videos that are far longer than what the model learnt from."""
    known = Lengths.stored(job.trained.measured, CLIPS)
    if job.is_main:
        for line in too_long(videos_of(entries), known, frames_seen(job.config)):
            job.say(f"{'note' if known is None else 'WARNING'}: {line}")


def frames_seen(config: RunConfig) -> int:
    """Frames of a video that its answer comes from."""
    plan = eval_plan(clip_shape(config), config.data, config.predict)
    return plan.num_clips * plan.num_steps * plan.frames_per_step


predict = Prediction(run=_predicted, can_annotate=True)


def _what_was_drawn(request: PredictRequest, count: int) -> str:
    kinds: list[str] = []
    if request.annotate:
        kinds.append("NAME_annotated.mp4 and NAME.png")
    if request.explain:
        kinds.append("NAME_explained.png")
    return f"{', '.join(kinds)} for {counted(count, 'video')} in {request.save_dir}"


def input_entries(
    inputs: Sequence[str],
    config: RunConfig,
    class_names: Sequence[str] | None = None,
    *,
    strict: bool = False,
) -> NamedVideos:
    """Videos to predict on: files, folders, patterns (`clips/*.mp4`) and lists, in any mixture.

    Without inputs, `predict.inputs` of the configuration is used. `class_names` are those of the
    model, for lists that name classes.

    Raises:
        DataError: No input is there; with `strict`, any is missing; or a list is malformed.
    """
    if not inputs:
        listed: Path | None = config.predict.inputs
        if listed is None:
            raise DataError("no videos: name files, folders or lists, or set predict.inputs")
        inputs = (str(listed),)

    def read(path: Path, missing: Callable[[str], None]) -> list[ClipEntry]:
        return read_list(
            path,
            count_frames=count_frames,
            root=config.data.root,
            labels="optional",
            missing=missing,
            num_classes=config.model.num_classes,
            class_names=class_names,
            first_label=config.data.first_label or 0,
            several="all" if has_several_classes(config) else "as listed",
            may_be_parts=True,
        )

    return named_videos(inputs, read, strict=strict)
