"""Rows of `predictions.json`, of `videozoo predict` and of the runtime of bundles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from videozoo.results import Caption, Label, VideoLabels, VideoMoments, VideoSegments


def scored_labels(labels: Sequence[Label]) -> list[dict[str, Any]]:
    """Classes with their numbers and scores."""
    return [
        {"class": one.name, "label": one.number, "score": round(one.score, 6)} for one in labels
    ]


def row_of_tags(result: VideoLabels) -> dict[str, Any]:
    """What a tagger says of a video."""
    return {
        "video": result.video,
        "path": result.video,
        "label": None,
        "top": scored_labels(result.labels),
    }


def row_of_classes(
    result: VideoLabels, path: str, top_k: int, *, truth: Sequence[str] | None = None
) -> dict[str, Any]:
    """What a classifier says of a video.

    Args:
        result: All classes, or the best.
        path: Of the video.
        top_k: How many of them are the best.
        truth: Names of the true classes; None: not known.
    """
    row: dict[str, Any] = {"video": result.video, "path": path}
    top = scored_labels(result.labels[:top_k])
    if result.least_score is None:
        return {**row, "label": None if truth is None else truth[0], "top": top}
    return {
        **row,
        "labels": None if truth is None else list(truth),
        "least_score": result.least_score,
        "classes": scored_labels(result.there),
        "top": top,
    }


def row_of_segments(result: VideoSegments) -> dict[str, Any]:
    """What a localiser finds in a video."""
    unit = "" if result.duration_seconds is None else "_seconds"
    return {
        "video": result.video,
        "duration_seconds": result.duration_seconds,
        "segments": [
            {
                f"start{unit}": round(each.start, 6),
                f"end{unit}": round(each.end, 6),
                "score": round(each.score, 6),
                **({} if each.name is None else {"label": each.name}),
            }
            for each in result.segments
        ],
    }


def row_along(
    result: VideoSegments, path: str, *, every_seconds: float, window_seconds: float | None
) -> dict[str, Any]:
    """What a classifier says along a video, with the scores of its windows."""
    assert result.windows is not None
    names = result.windows.class_names
    if len(set(names)) < len(names):
        names = tuple(f"{number} {name}" for number, name in enumerate(names))
    segments = row_of_segments(result)
    return {
        "video": result.video,
        "path": path,
        "duration_seconds": result.duration_seconds,
        "segments": segments["segments"],
        "windows": {
            "every_seconds": every_seconds,
            "window_seconds": window_seconds,
            "start_seconds": np.round(result.windows.times[:, 0], 6).tolist(),
            "scores": {
                name: np.round(column.astype(np.float64), 5).tolist()
                for name, column in zip(names, result.windows.scores.T, strict=True)
            },
        },
    }


def row_of_caption(
    video: str, caption: Caption, top_k: int, *, truth: str | None = None
) -> dict[str, Any]:
    """What a model says in words of an event; `truth` is a sentence of a person."""
    return {
        "video": video,
        "start_seconds": caption.start,
        "end_seconds": caption.end,
        "sentence": caption.text,
        "truth": truth,
        "top": [
            {"sentence": one.text, "log_prob": round(one.score, 6)}
            for one in (caption, *caption.others)[:top_k]
        ],
    }


def row_of_moments(
    result: VideoMoments,
    number: int,
    *,
    truth: Sequence[float] | None = None,
    truths: Sequence[Sequence[float]] = (),
) -> dict[str, Any]:
    """Where a sentence is to be seen in a video.

    Args:
        result: What was found.
        number: Of the sentence among those of the video.
        truth: The true moment; of several that which the best one fits best.
        truths: All true moments.
    """
    return {
        "video": result.video,
        "number": number,
        "sentence": result.sentence or None,
        "unit": result.unit,
        "truth": None if truth is None else list(truth),
        "truths": [list(each) for each in truths] or None,
        "is_likely": result.is_likely,
        "top": [
            {"start": moment.start, "end": moment.end, "score": round(moment.score, 6)}
            for moment in result.moments
        ],
    }
