"""Run a tagging model over segments of videos, and rank the segments of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from videozoo.config import RunConfig
from videozoo.data.features.rated_segments import segment_name
from videozoo.data.features.records import RecordSet
from videozoo.data.label_index import RatedIndex
from videozoo.data.loader import EvalLoader
from videozoo.data.tag_segments import SegmentedVideos, check_rate
from videozoo.data.tags import FeatureBatch
from videozoo.data.text import integer, lines_of, raise_all
from videozoo.errors import ConfigError, DataError
from videozoo.metrics.tagging import RatedCounter
from videozoo.ops.windows import neighbours
from videozoo.results import Segment, VideoSegments
from videozoo.settings.tags import FeatureEval, FeaturePredict
from videozoo.tasks.inference import InferenceResults, eval_loader, run
from videozoo.tasks.tagging.scoring import (
    TaggingModel,
    feature_shape,
    label_loss,
    model_inputs,
    one_class_each,
)
from videozoo.types import Stream


@dataclass(frozen=True)
class SegmentTags:
    """The tags of the segments of one video."""

    name: str
    """Of the video."""
    spans: NDArray[np.int64]
    """(S, 2): first frame of each segment, and the frame after its last: with one frame per second
    also seconds."""
    classes: NDArray[np.int32]
    """(S, k): the best classes of each segment, the best first."""
    scores: NDArray[np.float32]
    """(S, k): their scores, in [0, 1]."""


_COUNTED = SegmentTags(
    "", np.zeros((0, 2), np.int64), np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32)
)
"""In place of the tags of a video whose ratings were counted."""


def check_segments_fit(config: RunConfig) -> None:
    """Refuse models of one class per video: people rate each class of a segment by itself.

    Raises:
        ConfigError: The model is of that kind.
    """
    if one_class_each(config):
        raise ConfigError(
            "data.segments: each class of a segment is rated by itself, and this model tells one "
            "class per video (train.loss=softmax); train one with --set train.loss=sigmoid"
        )


@dataclass
class SegmentInference:
    """A tagging model, and the segments to run it over."""

    module: TaggingModel
    """The network in evaluation mode, on the device of the accelerator, or an exported graph."""
    batches: EvalLoader[FeatureBatch]
    accelerator: Accelerator
    streams: Sequence[Stream]
    counter: RatedCounter
    num_tags: int = 0
    """Classes to return per segment."""
    wanted: NDArray[np.bool_] | None = None
    """(C,): classes that may be returned; None: all."""

    def forward(self, batch: FeatureBatch) -> Tensor:
        """Logits of segments (N, C)."""
        inputs = model_inputs(batch.to(self.accelerator.device), self.streams)
        return self.module(*inputs).float()

    def results(self, batch: FeatureBatch, logits: Tensor) -> Mapping[int, SegmentTags]:
        """Return the best tags of the segments of each video, or count ratings."""
        scores = logits.sigmoid().cpu().numpy()
        videos, places = np.unique(batch.videos.numpy(), return_index=True)
        if batch.labels is not None and batch.rated is not None:
            labels, rated = (each.to(logits.device) for each in (batch.labels, batch.rated))
            loss = label_loss(logits, labels, one_class=False, rated=rated)
            self.counter.update(scores, batch.labels, batch.rated, loss=loss.cpu().numpy())
            return dict.fromkeys(videos.tolist(), _COUNTED)
        assert batch.spans is not None
        spans = batch.spans.numpy()
        kept = np.arange(scores.shape[1]) if self.wanted is None else np.flatnonzero(self.wanted)
        order = np.argsort(-scores[:, kept], axis=1, kind="stable")[:, : self.num_tags]
        classes = kept[order].astype(np.int32)
        best = np.take_along_axis(scores, classes.astype(np.int64), 1)
        found: dict[int, SegmentTags] = {}
        for number, first in zip(videos.tolist(), places.tolist(), strict=True):
            own = batch.videos.numpy() == number
            found[number] = SegmentTags(batch.names[first], spans[own], classes[own], best[own])
        return found


def score_segments(
    module: TaggingModel,
    config: RunConfig,
    views: FeatureEval | FeaturePredict,
    records: RecordSet,
    accelerator: Accelerator,
    *,
    index: RatedIndex | None = None,
    skip_bad: bool = False,
    show: bool = False,
) -> InferenceResults[SegmentTags, RatedCounter]:
    """Run a model over segments of records.

    Args:
        module: In evaluation mode, on the accelerator's device.
        config: Of the model and its data.
        views: How many records at once, how many tags of each segment.
        records: All of them.
        accelerator: The processes.
        index: Of these records: measure against the ratings, and return no tags. None: return the
            tags of all segments.
        skip_bad: Go on without records that cannot be read.
        show: Show how far it is.

    Raises:
        ConfigError: The model tells one class per video.
        DataError: A record cannot be used, or has another rate than one frame per second.
    """
    check_segments_fit(config)
    check_rate(records)
    shape, classes = feature_shape(config), config.model.num_classes
    labels = None if index is None else classes
    data = SegmentedVideos(records, shape, config.data, index=index, num_classes=labels)
    file: Path | None = getattr(views, "segment_classes", None)
    inference = SegmentInference(
        module,
        eval_loader(data, config.data, accelerator, batch_size=views.batch_size, skip_bad=skip_bad),
        accelerator,
        shape.streams,
        RatedCounter(classes),
        num_tags=views.top_k,
        wanted=None if file is None or index is not None else read_segment_classes(file, classes),
    )
    progress = (len(data), "videos") if show else None
    return run(inference, accelerator, keep=index is None, progress=progress)


def read_segment_classes(path: Path, num_classes: int) -> NDArray[np.bool_]:
    """Read which classes segments are rated for: a number per line, below a heading if any.

    Args:
        path: `segment_label_ids.csv` of the challenge, or the same for other classes.
        num_classes: Of the model.

    Returns:
        (num_classes,): whether each class is named.

    Raises:
        DataError: The file is missing, or a line is no class of the model.
    """
    found = np.zeros(num_classes, np.bool_)
    problems: list[str] = []
    for place, (number, line) in enumerate(lines_of(path)):
        label = integer(line)
        if label is None and place == 0:  # a heading: Index
            continue
        if label is None or not 0 <= label < num_classes:
            problems.append(
                f"{path}:{number}: {line[:40]!r}, expected a class from 0 to {num_classes - 1}"
            )
        else:
            found[label] = True
    raise_all(path, problems)
    if not found.any():
        raise DataError(f"{path}: names no class, expected a number per line")
    return found


def rankings_of(found: Sequence[SegmentTags]) -> dict[int, list[str]]:
    """Number of the class -> names of the segments that have it among their best, the best first.

    Of equal scores the segment that came first is better; of two segments of one name, the better
    one is kept.
    """
    names = [segment_name(one.name, start) for one in found for start in one.spans[:, 0].tolist()]
    if not names:
        return {}
    classes = np.concatenate([one.classes.ravel() for one in found])
    scores = np.concatenate([one.scores.ravel() for one in found])
    sizes = np.concatenate([np.full(len(one.spans), one.classes.shape[1]) for one in found])
    places = np.repeat(np.arange(len(names)), sizes)
    order = np.lexsort((places, -scores, classes))
    labels, firsts = np.unique(classes[order], return_index=True)
    groups = np.split(places[order], firsts[1:])
    return {
        label: list(dict.fromkeys(names[place] for place in group.tolist()))
        for label, group in zip(labels.tolist(), groups, strict=True)
    }


def segments_of(found: SegmentTags, names: Sequence[str], *, least_score: float) -> VideoSegments:
    """What happens when in a video: neighbouring segments with a class are joined, the best first.

    Args:
        found: The tags of its segments.
        names: Of the classes.
        least_score: A segment shows a class that scores this much; a joined one has the mean score.

    >>> spans, classes = np.array([[0, 5], [5, 10]]), np.zeros((2, 1), np.int32)
    >>> tags = SegmentTags("a", spans, classes, np.array([[0.75], [0.5]], np.float32))
    >>> segments_of(tags, ["run"], least_score=0.5).segments
    (Segment(0.0 to 10.0 s, 'run', 0.625),)
    """
    segments: list[Segment] = []
    is_shown = found.scores >= least_score
    for label in map(int, np.unique(found.classes[is_shown])):
        own = (found.classes == label) & is_shown
        scores = (found.scores * own).sum(axis=1)
        for run_ in neighbours(own.any(axis=1)):
            start, end = float(found.spans[run_[0], 0]), float(found.spans[run_[-1], 1])
            segments.append(Segment(start, end, float(scores[run_].mean()), names[label]))
    segments.sort(key=lambda each: (-each.score, each.start))
    length = float(found.spans[:, 1].max(initial=0))
    return VideoSegments(video=found.name, duration_seconds=length, segments=tuple(segments))


def row_of(result: VideoSegments) -> dict[str, Any]:
    """A row of `predictions.json`."""
    return {
        "video": result.video,
        "path": result.video,
        "duration_seconds": result.duration_seconds,
        "segments": [
            {
                "start_seconds": each.start,
                "end_seconds": each.end,
                "score": round(each.score, 6),
                "label": each.name,
            }
            for each in result.segments
        ],
    }
