"""A clip model along whole videos; see `runtime.along` for how scores become segments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray

from videozoo.config import RunConfig
from videozoo.data.annotations.inputs import NamedVideos
from videozoo.data.annotations.videos import ClipEntry, videos_of
from videozoo.data.frames.video import VideoReader, open_video
from videozoo.data.frames.views import eval_plan
from videozoo.data.frames.windows import clip_windows
from videozoo.errors import DataError, counted
from videozoo.report.annotate import picture_names, write_picture
from videozoo.report.answers import VideoAnswer
from videozoo.report.tables import segment_table
from videozoo.report.timeline import HeatRow, Span, SpanRow, Timeline, timeline_picture
from videozoo.results import VideoSegments
from videozoo.runtime.along import Along, score_along, segments_of, smoothed
from videozoo.runtime.rows import row_along
from videozoo.settings.clips import ClipPredict
from videozoo.tasks.classification.lengths import CLIPS
from videozoo.tasks.classification.scoring import ClipScorer, Scores, scorer_of, with_views
from videozoo.tasks.clip_views import clip_shape, has_several_classes
from videozoo.tasks.common import names_of_classes, progress_bar
from videozoo.tasks.jobs import Shortfall
from videozoo.tasks.loading import Trained
from videozoo.tasks.measured import Lengths, length
from videozoo.tasks.predict import Predicted, PredictJob, picture_per_row
from videozoo.tasks.results import say_damaged

_MOST_LISTED = 20  # segments per video in the table
_MOST_DRAWN = 12  # segments per picture
_MOST_HEAT = 4  # classes per picture with their scores over time
_MOST_EMPTY = 2.0  # every_seconds over window_seconds: above it, most of a video is not seen


class AlongScorer:
    """A clip model that scores windows along videos.

    Attributes:
        window_seconds: Length of a window; None: frames at the stride of training.
    """

    def __init__(self, score: ClipScorer, config: RunConfig, window_seconds: float | None) -> None:
        """Plan the windows.

        Args:
            score: The model, from `scorer_of`.
            config: Says how frames are scaled and cropped, and how far windows are apart.
            window_seconds: See `window_seconds_of`.
        """
        views: ClipPredict = config.predict
        assert views.every_seconds is not None, "only then is a video looked at along its time"
        view = replace(eval_plan(clip_shape(config), config.data, views), num_clips=1, num_crops=1)
        self.every_seconds, self.window_seconds = views.every_seconds, window_seconds
        self._plan = clip_windows(view, rate=1 / self.every_seconds, window_seconds=window_seconds)
        self._score, self._batch_size = score, views.batch_size

    def __call__(
        self, reader: VideoReader, name: str, *, on_windows: Callable[[float], None] | None = None
    ) -> Along:
        """Score a video from its start to its end; it is decoded once, in order.

        Only the memory for the scores grows with its length.

        Args:
            reader: The video.
            name: How results and errors call it.
            on_windows: Called with the share that is done after each batch.

        Raises:
            VideoError: It cannot be read, or does not tell its frame rate.
        """

        def scored(windows: NDArray[np.uint8]) -> Scores:
            return self._score(torch.from_numpy(windows).permute(0, 1, 4, 2, 3))

        return score_along(
            reader,
            name,
            self._plan,
            scored,
            every_seconds=self.every_seconds,
            batch_size=self._batch_size,
            on_windows=on_windows,
        )


def result_of(found: Along, names: Sequence[str], config: RunConfig) -> VideoSegments:
    """The segments of a video, with the scores of its windows."""
    views: ClipPredict = config.predict
    return segments_of(
        found,
        names,
        smooth_windows=views.smooth_windows,
        least_score=views.least_score,
        several=has_several_classes(config),
    )


# --- the command ---------------------------------------------------------------------------------


def predicted(job: PredictJob, named: NamedVideos) -> Predicted[VideoSegments]:
    """Score windows along videos, and join them into segments."""
    config, request = job.config, job.request
    views: ClipPredict = config.predict
    entries = whole_videos(named.entries)
    total = len(entries) + len(named.absent)
    config = with_views(config, views)
    score = replace(job, config=config).model(scorer_of)
    scorer, names = open_scorer(job.trained, config, score), names_of_classes(job.trained, config)
    job.note(_remarks(scorer, views, job.trained))
    job.say(f"{config.spec.title}: {counted(len(entries), 'video')}, {_plan_line(scorer)}")
    found, failed = _all_along(
        scorer,
        entries,
        job.accelerator,
        stops=request.strict or (total == 1 and not request.skip_bad),
    )
    failed = [*named.absent, *failed]
    damaged = [f"{each.path}: {each.damage}" for each in found if each.damage]
    say_damaged(job.say, damaged)
    results = [result_of(each, names, config) for each in found]
    pairs = list(zip(found, results, strict=True))
    rows = [
        row_along(
            *(result, one.path),
            every_seconds=scorer.every_seconds,
            window_seconds=scorer.window_seconds,
        )
        for one, result in pairs
    ]
    cut = [each.video for each in results if len(each.segments) > _MOST_LISTED]
    notes = [
        f"{counted(len(cut), 'video')} with more than {_MOST_LISTED} segments: the best are listed"
    ]
    return Predicted(
        results=results,
        facts={"predictions": rows, "skipped": failed, "damaged": damaged},
        shortfall=Shortfall(failed=failed, total=total),
        table=lambda: segment_table([_in_order(row) for row in rows], most=_MOST_LISTED),
        notes=notes if cut else (),
        draw=(lambda folder: picture_per_row(rows, _draw(pairs, views, folder), folder))
        if request.explain
        else None,
        answers=lambda: [
            VideoAnswer(result=result, path=Path(one.path), duration_seconds=one.duration_seconds)
            for one, result in pairs
        ],
    )


def window_seconds_of(trained: Trained, config: RunConfig) -> float | None:
    """Length of a window along a video; None: frames at the stride of training.

    Where `predict.window_seconds` does not say it: the median of the training clips, or where that
    is not known `predict.every_seconds`; for models of dense clips None.
    """
    views: ClipPredict = config.predict
    if views.window_seconds is not None or clip_shape(config).sampling != "segments":
        return views.window_seconds
    clips = Lengths.stored(trained.measured, CLIPS)
    return views.every_seconds if clips is None else clips.median_seconds


def open_scorer(trained: Trained, config: RunConfig, score: ClipScorer) -> AlongScorer:
    """The windows that the `predict:` section asks for, scored with a model from `scorer_of`."""
    return AlongScorer(score, config, window_seconds_of(trained, config))


def whole_videos(entries: Sequence[ClipEntry]) -> list[ClipEntry]:
    """One entry per video.

    Raises:
        DataError: An entry is about a part of its video.
    """
    parts = next(
        (one for one in entries if one.start_seconds or one.end_seconds or one.frame_span), None
    )
    if parts is not None:
        raise DataError(
            f"{parts.path}: the list names a part of it, and predict.every_seconds is for whole "
            "videos; name the videos themselves, or leave --every out"
        )
    return videos_of(entries)


def _remarks(scorer: AlongScorer, views: ClipPredict, trained: Trained) -> list[str]:
    remarks: list[str] = []
    if views.num_clips * views.num_crops > 1:
        remarks.append(
            "each window is seen once, its centre crop: predict.num_clips and predict.num_crops "
            "have no effect here"
        )
    every, window = scorer.every_seconds, scorer.window_seconds
    if window is not None and every > _MOST_EMPTY * window:
        remarks.append(
            f"one window of {length(window)} per {length(every)}: what happens between windows is "
            "not seen; pass a smaller number of seconds"
        )
    if window is not None and views.window_seconds is None and CLIPS not in trained.measured:
        remarks.append(
            "the weights do not say how long the clips were that they learnt from; windows of "
            f"{length(window)} are as long as the way from one to the next "
            "(predict.window_seconds: another length)"
        )
    return remarks


def _plan_line(scorer: AlongScorer) -> str:
    line = f"one window per {length(scorer.every_seconds)}"
    return line + ("" if scorer.window_seconds is None else f" of {length(scorer.window_seconds)}")


def _all_along(
    scorer: AlongScorer, entries: Sequence[ClipEntry], accelerator: Accelerator, *, stops: bool
) -> tuple[list[Along], list[str]]:
    """Score all videos; each process takes every n-th, and all get all results.

    Args:
        scorer: The model.
        entries: One per video.
        accelerator: The processes.
        stops: Raise at the first video that cannot be read.

    Returns:
        The results in order, and a line per video without one.
    """
    mine = list(enumerate(entries))[accelerator.process_index :: accelerator.num_processes]
    found: dict[int, Along | str] = {}
    with progress_bar(len(entries), accelerator) as advance:
        for done, (place, entry) in enumerate(mine):
            try:
                with open_video(entry.path) as reader:
                    one = scorer(reader, str(entry.path), on_windows=_part_of(advance, done))
                found[place] = replace(one, video=entry.name)
            except DataError as error:
                if stops:
                    raise
                found[place] = str(error)
    if accelerator.num_processes > 1:
        parts: list[dict[int, Along | str]] = gather_object([found])
        found = {place: one for part in parts for place, one in part.items()}
    ordered = [found[place] for place in sorted(found)]
    return (
        [one for one in ordered if isinstance(one, Along)],
        [one for one in ordered if isinstance(one, str)],
    )


def _part_of(advance: Callable[[float], None], done: int) -> Callable[[float], None]:
    return lambda share: advance(done + share)


def _in_order(row: dict[str, Any]) -> dict[str, Any]:
    """The best segments of a video in the order of their times."""
    best = row["segments"][:_MOST_LISTED]
    return row | {"segments": sorted(best, key=lambda each: each["start_seconds"])}


def _draw(
    pairs: Sequence[tuple[Along, VideoSegments]], views: ClipPredict, folder: Path
) -> list[Path]:
    """Write one picture per video: scores of its classes over time, and the segments."""
    files = picture_names([Path(one.path) for one, _ in pairs])
    written: list[Path] = []
    for (one, result), file in zip(pairs, files, strict=True):
        assert result.windows is not None
        names = result.windows.class_names
        means = smoothed(one.scores, views.smooth_windows)
        peaks = means.max(axis=0)
        there = {each.name for each in result.segments}
        order = np.argsort(-peaks, kind="stable").tolist()
        shown = [n for n in order if names[n] in there][:_MOST_HEAT] or order[:1]
        rows: list[HeatRow | SpanRow] = [
            HeatRow(
                name=f"{names[number]} (up to {peaks[number]:.2f})",
                values=_over_time(one, means[:, number]),
            )
            for number in shown
        ]
        best = result.segments[:_MOST_DRAWN]
        spans = [
            Span(start=s.start, end=s.end, text=f"{s.name} {s.score:.2f}", score=s.score)
            for s in best
        ]
        rows.append(SpanRow(name=f"best {len(best)} of {len(result.segments)}", spans=spans))
        timeline = Timeline(title=one.video, length=one.duration_seconds or 1e-3, rows=rows)
        written.append(write_picture(folder / f"{file}_segments.png", timeline_picture(timeline)))
    return written


def _over_time(found: Along, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of windows at even steps over the whole video, which a picture needs."""
    seconds = (np.arange(2000) + 0.5) / 2000 * found.duration_seconds
    return values[np.searchsorted(found.times[1:, 0], seconds, side="right")]
