"""Clip models of bundles: views of a video in, classes out, of the whole video or along it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.data.frames.video import VideoReader, open_video
from videozoo.data.frames.views import ViewPlan, centre_rule, eval_views
from videozoo.data.frames.windows import WindowPlan, clip_windows
from videozoo.errors import DataError, VideoError, WeightsError
from videozoo.metrics.multicrop import VideoScores
from videozoo.results import Label, VideoLabels
from videozoo.runtime.along import score_along, segments_of
from videozoo.runtime.answer import Answer
from videozoo.runtime.bundle import Bundle
from videozoo.runtime.description import Section
from videozoo.runtime.rows import row_along, row_of_classes
from videozoo.weights.onnx_graphs import ports_in_words
from videozoo.weights.port_names import CLASS_SCORES, CLIPS

_MOST_SIDE = 1 << 13

Scores = NDArray[np.floating[Any]]


def labels_of(
    name: str,
    scores: Scores,
    names: Sequence[str],
    top_k: int | None = None,
    *,
    least_score: float | None = None,
) -> VideoLabels:
    """The classes of a video, the best first.

    Args:
        name: Of the video.
        scores: (num_classes,).
        names: Of all classes.
        top_k: How many classes; None: all.
        least_score: Where a video may have several classes: those with this score are said to be
            there, and listed, however many they are.
    """
    if top_k is not None and least_score is not None:
        top_k = max(top_k, int((scores >= least_score).sum()))
    order: list[int] = np.argsort(-scores, kind="stable").tolist()[:top_k]
    labels = tuple(Label(names[number], float(scores[number]), number) for number in order)
    return VideoLabels(video=name, labels=labels, scores=scores, least_score=least_score)


class ClipModel:
    """A clip model of a bundle."""

    def __init__(self, bundle: Bundle, about: Section, names: Sequence[str]) -> None:
        """Open the graph.

        Args:
            bundle: Holds it.
            about: The section `clips`.
            names: Of the classes.

        Raises:
            WeightsError: The graph is damaged, or other than described.
        """
        self._names = names
        self._plan = _plan(about.section("views"))
        self._top_k = about.whole("top_k", 1)
        self._several = about.flag("several")
        self._least_score = about.number("least_score", 0, 1)
        self._batch_size = about.whole("batch_size", 1, 4096)
        self._along = _Along.of(about.section("along"), self._plan) if about.has("along") else None
        self._graph = bundle.graph(about.text("file"))
        view = self._plan
        about.refuse_huge(
            *(self._batch_size, view.num_steps, 3 * view.frames_per_step),
            *(view.crop_size, view.crop_size),
        )
        expected = (view.num_steps, 3 * view.frames_per_step, view.crop_size, view.crop_size)
        ports = [(port.name, port.shape[1:]) for port in self._graph.inputs]
        if ports != [(CLIPS, expected)]:
            raise WeightsError(
                f"{self._graph.path}: takes {ports_in_words(self._graph.inputs)}, "
                f"but its description says {CLIPS} uint8 (?, {', '.join(map(str, expected))})"
            )

    def __call__(self, path: Path, name: str) -> Answer:
        """Classify a video, or what happens along it.

        Raises:
            VideoError: It cannot be read.
        """
        with open_video(path) as reader:
            if self._along is not None:
                return self._segments(reader, path, name, self._along)
            return self._classes(reader, path, name)

    def _segments(self, reader: VideoReader, path: Path, name: str, how: _Along) -> Answer:
        found = score_along(
            *(reader, str(path), how.plan, self._scores),
            every_seconds=how.every_seconds,
            batch_size=self._batch_size,
        )
        result = segments_of(
            *(replace(found, video=name), self._names),
            smooth_windows=how.smooth_windows,
            least_score=self._least_score,
            several=self._several,
        )
        row = row_along(
            *(result, found.path),
            every_seconds=how.every_seconds,
            window_seconds=how.plan.window_seconds,
        )
        return Answer([result], [row], found.damage)

    def _classes(self, reader: VideoReader, path: Path, name: str) -> Answer:
        plan = self._plan
        clips = [None] if plan.num_clips == 1 else range(plan.num_clips)
        pooled = VideoScores(plan.num_clips * plan.num_crops)
        mean: Scores | None = None
        rule = centre_rule(reader)
        for clip in clips:
            try:
                views = eval_views(reader, plan, clip=clip, centre=rule)
            except VideoError:
                raise
            except DataError as error:
                raise VideoError(f"{path}: {error}") from None
            for start in range(0, len(views), self._batch_size):
                for row in self._scores(np.stack(views[start : start + self._batch_size])):
                    mean = pooled.add(0, row)
        assert mean is not None
        least = self._least_score if self._several else None
        result = labels_of(name, mean, self._names, least_score=least)
        row = row_of_classes(result, str(path), self._top_k)
        return Answer([result], [row], str(getattr(reader, "damage", "")))

    def _scores(self, views: NDArray[np.uint8]) -> Scores:
        """uint8 (N, T, H, W, C) -> (N, num_classes)."""
        given = {CLIPS: views.transpose(0, 1, 4, 2, 3)}
        [scores] = self._graph.run_arrays(given, [CLASS_SCORES])
        if scores.shape != (len(views), len(self._names)):
            raise WeightsError(
                f"{self._graph.path}: gives {tuple(scores.shape)} for {len(views)} views and "
                f"{len(self._names)} names of classes; export it again"
            )
        return scores


@dataclass(frozen=True)
class _Along:
    """How to look along a video."""

    plan: WindowPlan
    every_seconds: float
    smooth_windows: int

    @classmethod
    def of(cls, about: Section, view: ViewPlan) -> _Along:
        every = about.number("every_seconds", 1e-3, 1e6)
        window = about.number("window_seconds", 1e-6, 1e6) if about.has("window_seconds") else None
        single = replace(view, num_clips=1, num_crops=1)
        plan = clip_windows(single, rate=1 / every, window_seconds=window)
        return cls(plan, every, about.whole("smooth_windows", 1, 1 << 20))


def _plan(about: Section) -> ViewPlan:
    crops: Any = about.whole("num_crops", 1, 6)
    if crops not in (1, 3, 6):
        raise WeightsError(f"{about}: num_crops is {crops}, expected 1, 3 or 6; export it again")
    made = ViewPlan(
        sampling=about.choice("sampling", "segments", "dense"),
        num_steps=about.whole("num_steps", 1, 4096),
        frames_per_step=about.whole("frames_per_step", 1, 64),
        frame_stride=about.whole("frame_stride", 1, 1 << 20),
        num_clips=about.whole("num_clips", 1, 10_000),
        num_crops=crops,
        short_side=about.whole("short_side", 1, _MOST_SIDE),
        crop_size=about.whole("crop_size", 1, _MOST_SIDE),
        resize=about.choice("resize", "keep_aspect", "fixed_4_3"),
        resize_with=about.choice("resize_with", "torch", "pillow", "plain"),
    )
    if made.crop_size > made.short_side:
        raise WeightsError(f"{about}: a crop larger than the frame; export it again")
    return made
