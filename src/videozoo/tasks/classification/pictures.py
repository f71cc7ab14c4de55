"""The input frames of a clip model, and pictures of its predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import nn

from videozoo.commands import flag
from videozoo.config import RunConfig
from videozoo.data.annotations.videos import ClipEntry, views_by_video
from videozoo.data.clips import entry_span
from videozoo.data.frames.video import VideoReader, open_video
from videozoo.data.frames.views import ViewPlan, centre_rule, eval_frames, eval_plan, eval_views
from videozoo.errors import DataError, RunError
from videozoo.report.annotate import (
    Answer,
    SeenFrames,
    annotate_video,
    contact_sheet,
    explained_sheet,
    picture_names,
    write_picture,
)
from videozoo.settings.clips import ClipViews
from videozoo.tasks.classification.explain import explain
from videozoo.tasks.classification.scoring import VideoResult, truth_of
from videozoo.tasks.clip_views import clip_shape
from videozoo.tasks.common import progress_bar
from videozoo.tasks.requests import PredictRequest


def seen_frames(views_of_video: Sequence[ClipEntry], config: RunConfig, views: ClipViews) -> Look:
    """The input frames of a model for a video: the centre crop of every clip.

    Args:
        views_of_video: From `views_by_video`.
        config: The configuration for these views (`with_views`).
        views: The `eval:` or `predict:` section.

    Raises:
        VideoError: The video cannot be read.
    """
    plan = replace(eval_plan(clip_shape(config), config.data, views), num_crops=1)
    with open_video(views_of_video[0].path) as reader:
        clips = _clips_of(views_of_video, plan)
        parts = [look_at(reader, entry, plan, clip) for entry, clip in clips]
        rate = reader.info.frames_per_second
    numbers = [number for part in parts for number in part.numbers]
    return Look(
        SeenFrames(numbers=numbers, pictures=np.concatenate([p.pictures for p in parts])), rate
    )


@dataclass(frozen=True)
class Look:
    """Input frames of a model, and their rate in the video."""

    seen: SeenFrames
    frames_per_second: float | None


def _clips_of(
    views_of_video: Sequence[ClipEntry], plan: ViewPlan
) -> list[tuple[ClipEntry, int | None]]:
    """Entry and number of each clip; views that differ only in their crop count once."""
    first = views_of_video[0]
    if first.crop_index is not None:  # a list of the 2019 library, which names the views
        listed = {entry.clip_index: entry for entry in views_of_video}
        return [(entry, clip) for clip, entry in listed.items()]
    if plan.num_clips == 1:
        return [(first, None)]
    return [(first, clip) for clip in range(plan.num_clips)]


def look_at(
    reader: VideoReader, entry: ClipEntry, plan: ViewPlan, clip: int | None = None
) -> SeenFrames:
    """One clip of a video, frame by frame, in its first crop."""
    rule, span = centre_rule(reader), entry_span(entry, reader)
    numbers = eval_frames(reader, plan, clip=clip, centre=rule, span=span)
    view = eval_views(reader, plan, clip=clip, centre=rule, span=span)[0]
    return SeenFrames(numbers=numbers, pictures=one_by_one(view))


def one_by_one(view: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Stacked frames (T, H, W, 3 * run) as (T * run, H, W, 3)."""
    steps, height, width, channels = view.shape
    frames = view.reshape(steps, height, width, channels // 3, 3)
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2, 4)).reshape(-1, height, width, 3)


# --- pictures of predictions ---------------------------------------------------------------------


def check_outputs(entries: Sequence[ClipEntry], request: PredictRequest) -> list[str]:
    """Choose the names of the pictures of each video, before any work is done.

    Raises:
        RunError: A picture or video would overwrite an input.
    """
    assert request.save_dir is not None, "as the task has chosen it"
    paths = [views[0].path for views in views_by_video(entries)]
    names = picture_names(paths)
    inputs = {path.resolve() for path in paths}
    for name in names:
        outputs = [request.save_dir / f"{name}{end}" for end in ("_annotated.mp4", ".png")]
        taken = next((each for each in outputs if each.resolve() in inputs), None)
        if taken is not None or request.save_dir.resolve() in inputs:
            raise RunError(
                f"{taken or request.save_dir}: is itself one of the videos to predict on, and "
                f"would be written over; pass another {flag('--save-dir')}"
            )
    return names


class Drawn(NamedTuple):
    """The pictures of one video."""

    facts: dict[str, Any]
    """For `predictions.json`."""
    files: list[Path]
    problem: str | None
    """Why some could not be drawn."""
    notes: list[str]
    """What the user should know about them."""


def draw_predictions(
    entries: Sequence[ClipEntry],
    results: dict[int, VideoResult],
    config: RunConfig,
    request: PredictRequest,
    accelerator: Accelerator,
    *,
    class_names: Sequence[str],
    module: nn.Module | None,
) -> dict[int, Drawn]:
    """Write annotated videos, contact sheets and explanations; all processes share the work.

    Args:
        entries: The whole list of videos.
        results: Place of the video -> its result.
        config: The configuration for the views of prediction.
        request: Says what to write, and where.
        accelerator: The processes.
        class_names: Names of all classes.
        module: The network to explain; None: write no explanations.

    Returns:
        Place of the video -> its pictures, in every process.

    Raises:
        VideoError: A video cannot be read, and `request.strict` is set.
        RunError: A file cannot be written.
    """
    groups = views_by_video(entries)
    names = check_outputs(entries, request)
    mine = list(results)[accelerator.process_index :: accelerator.num_processes]
    written: dict[int, Drawn] = {}
    with progress_bar(len(results), accelerator, "pictures") as advance:
        for done, place in enumerate(mine, start=1):
            answer = _answer(results[place], class_names, config.predict.top_k)
            job = _Job(groups[place], names[place], answer, config, request)
            written[place] = drawn = Drawn({}, [], None, [])
            try:
                if request.annotate:
                    job.annotate(drawn)
                if module is not None:
                    label, score = results[place].top(1)[0]
                    job.explain(drawn, module, label, class_names[label], score)
            except DataError as error:  # the video was readable enough to be classified
                if request.strict:
                    raise
                written[place] = drawn._replace(problem=f"not drawn: {error}")
            advance(done)
    if accelerator.num_processes > 1:
        parts: list[dict[int, Drawn]] = gather_object([written])
        written = {place: drawn for part in parts for place, drawn in part.items()}
    return written


def _answer(result: VideoResult, names: Sequence[str], k: int) -> Answer:
    return Answer(
        name=Path(result.path).name,
        top=[(names[number], score) for number, score in result.top(k)],
        truth=truth_of(result.truth, result.top(1), names),
    )


@dataclass(frozen=True)
class _Job:
    """The pictures to write for one video."""

    views: Sequence[ClipEntry]
    name: str
    answer: Answer
    config: RunConfig
    request: PredictRequest

    def _path(self, end: str) -> Path:
        folder = self.request.save_dir
        assert folder is not None, "as the task has chosen it"
        return folder / f"{self.name}{end}"

    def annotate(self, drawn: Drawn) -> None:
        """The mp4 and the contact sheet."""
        look = seen_frames(self.views, self.config, self.config.predict)
        film, sheet = self._path("_annotated.mp4"), self._path(".png")
        with open_video(self.views[0].path) as reader:
            annotate_video(reader, film, self.answer, look.seen.numbers, say=drawn.notes.append)
        drawn.files.append(film)
        rate = look.frames_per_second
        write_picture(sheet, contact_sheet(look.seen, self.answer, frames_per_second=rate))
        drawn.files.append(sheet)
        drawn.facts["annotated"], drawn.facts["picture"] = film.name, sheet.name
        drawn.facts["seen_frames"] = sorted(set(look.seen.numbers))

    def explain(
        self, drawn: Drawn, module: nn.Module, label: int, class_name: str, score: float
    ) -> None:
        """Write the picture of where the network looked, with the share of each frame."""
        found = explain(module, self.views[0], self.config, label)
        path = self._path("_explained.png")
        sheet = explained_sheet(
            found.seen,
            found.heat,
            found.shares,
            title=f"Evidence for: {class_name} ({100 * score:.1f} %)",
            name=self.answer.name,
            frames_per_second=found.frames_per_second,
        )
        drawn.files.append(write_picture(path, sheet))
        drawn.facts["explained"] = {
            "picture": path.name,
            "class": class_name,
            "frames": [
                {"frame": number, "share": round(share, 6)}
                for number, share in zip(found.seen.numbers, found.shares, strict=True)
            ],
        }
