"""Names for proposals: from class scores of whole videos, or from a classifier that looks at each.

Either way a proposal gets its `classes_per_video` likeliest classes, once each, and its score is
multiplied by the score of the class. Class scores of a video are the same for all its proposals; a
classifier (`labels` names its run) sees the frames of each proposal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray

from videozoo.data.annotations.videos import find_videos
from videozoo.data.text import of_video
from videozoo.data.video_names import names_apart
from videozoo.errors import DataError, UsageError, few
from videozoo.settings.segments import SequenceViews
from videozoo.tasks.common import progress_bar
from videozoo.tasks.loading import config_for_weights
from videozoo.tasks.localisation.measures import ClassScores, joined, read_labels
from videozoo.tasks.localisation.results import VideoProposals
from videozoo.tasks.localisation.scoring import LocalisationResults, VideoSource
from videozoo.tasks.requests import ConfigSource
from videozoo.tasks.run import task_module
from videozoo.types import Candidates, Classification

_WEIGHTS = (".safetensors", ".onnx", ".pt2", ".pdparams")


class PartScorer(Protocol):
    """What is asked of a classifier; see `classification.Classifier`."""

    @property
    def class_names(self) -> Sequence[str]:
        """The classes, in the order of the scores."""
        ...

    def score_parts(
        self, video: Any, parts: NDArray[np.float64], *, shares: bool = False
    ) -> NDArray[np.float32]:
        """(N, num_classes) of the parts (N, 2) of a video."""
        ...


@dataclass(frozen=True)
class Names:
    """Where the names of proposals come from: one of the two."""

    path: Path | None = None
    """None: a loaded classifier was given."""
    of_videos: ClassScores | None = None
    classifier: PartScorer | None = None

    @classmethod
    def open(cls, path: Path, accelerator: Accelerator) -> Names:
        """Read class scores, or load a classifier.

        Raises:
            DataError: `path` holds neither.
            UsageError: It is a run of a model that does not look at videos.
            WeightsError: The weights cannot be loaded.
        """
        if not is_weights(path):
            return cls(path, of_videos=read_labels(path))
        trained = config_for_weights(ConfigSource(), str(path))
        spec = trained.config.spec
        if not isinstance(spec.task, Classification):
            raise UsageError(
                f"labels: {path}: {spec.title} does not classify clips of videos; name a run of a "
                "model that does (tsn, tsm, stnet, nonlocal), or class scores that `predict` wrote"
            )
        room = task_module("classification")
        return cls(path, classifier=room.Classifier(trained, accelerator=accelerator))

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes: of the classifier in its order, else sorted."""
        if self.classifier is not None:
            return tuple(self.classifier.class_names)
        return tuple(sorted({name for row in (self.of_videos or {}).values() for name in row}))

    def remarks(self, classes: Sequence[str]) -> list[str]:
        """What to know where `classes` are those of annotations.

        Raises:
            DataError: The classifier knows none of them.
        """
        if self.classifier is None:
            return []
        known = self.classifier.class_names
        unknown = [name for name in known if name not in set(classes)]
        if len(unknown) == len(known):
            raise DataError(
                f"labels: {self.path}: its classes ({few(map(repr, known))}) are none of the "
                f"annotated ones ({few(map(repr, classes))})"
            )
        return (
            [
                f"labels: {len(unknown):,} of the {len(known):,} classes of {self.path} are not "
                f"annotated and are left out: {few(unknown)}"
            ]
            if unknown
            else []
        )


def is_weights(path: Path) -> bool:
    """Whether `labels` names a run or weights, and no file of class scores."""
    return (path / "config.yaml").is_file() or path.suffix.lower() in _WEIGHTS


def named(
    results: LocalisationResults,
    source: VideoSource,
    names: Names,
    classes: Sequence[str],
    views: SequenceViews,
    accelerator: Accelerator,
) -> LocalisationResults:
    """Give every proposal its likeliest classes; scores are multiplied.

    Videos that the classifier cannot read move to `skipped`.

    Args:
        results: Proposals without classes.
        source: Their videos.
        names: Where names come from.
        classes: All class names, in order.
        views: How many classes, and where videos are.
        accelerator: The processes, which share the videos.

    Raises:
        DataError: A class is unknown, or it is not known where videos are.
    """
    if names.classifier is None:
        return joined(results, names.of_videos or {}, classes, views)
    paths = video_paths(source, [each.video for each in results.by_number.values()], views)
    numbers = {name: number for number, name in enumerate(classes)}
    columns = [(n, numbers[c]) for n, c in enumerate(names.classifier.class_names) if c in numbers]
    mine = list(results.by_number.items())
    mine = mine[accelerator.process_index :: accelerator.num_processes]
    done: dict[int, VideoProposals | str] = {}
    with progress_bar(len(results.by_number), accelerator, "names") as advance:
        for count, (number, each) in enumerate(mine, 1):
            shares = np.clip(each.found.segments.astype(np.float64), 0.0, 1.0)
            try:
                scores = names.classifier.score_parts(paths[each.video], shares, shares=True)
                done[number] = _with_classes(each, scores, columns, views.classes_per_video)
            except DataError as error:
                done[number] = f"{each.video}: no names: {error}"
            advance(count)
    if accelerator.num_processes > 1:
        gathered: list[dict[int, VideoProposals | str]] = gather_object([done])
        done = {number: one for part in gathered for number, one in part.items()}
    changed = LocalisationResults(results.counter, skipped=dict(results.skipped))
    for number in results.by_number:
        one = done[number]
        if isinstance(one, str):
            changed.skipped[number] = one
        else:
            changed.by_number[number] = one
    return changed


def _with_classes(
    video: VideoProposals,
    scores: NDArray[np.float32],
    columns: Sequence[tuple[int, int]],
    most: int,
) -> VideoProposals:
    """Proposals with their best classes, best first.

    Args:
        video: Its proposals.
        scores: (N, classes of the classifier).
        columns: (column, class number) of each class that is used.
        most: Classes per proposal.
    """
    table = scores[:, [column for column, _ in columns]].astype(np.float64)
    numbers = np.array([number for _, number in columns], np.int64)
    best = np.argsort(-table, axis=1, kind="stable")[:, :most]
    found = video.found
    made = (np.take_along_axis(table, best, axis=1) * found.scores[:, None]).T.ravel()
    labels = numbers[best].T.ravel()
    segments = np.tile(found.segments, (best.shape[1], 1))
    order = np.argsort(-made, kind="stable")
    candidates = Candidates(segments[order].reshape(-1, 2), made[order], labels[order])
    return VideoProposals(video.video, video.duration_seconds, candidates, video.curves)


# --- where videos are ------------------------------------------------------------------------


def video_paths(
    source: VideoSource, videos: Sequence[str], views: SequenceViews
) -> dict[str, Path]:
    """The file of each video: in the folder that is named, or as stored with its features.

    Raises:
        DataError: A video is nowhere, has changed since, or is there twice.
    """
    inside = {} if views.videos is None else _in_folder(views.videos)
    found: dict[str, Path] = {}
    lost: list[str] = []
    for video in videos:
        path = of_video(video, inside)
        if path is None:
            path = _as_stored(source, video)
        if path is None:
            lost.append(video)
        else:
            found[video] = path
    if lost:
        where = (
            f"none of these names in {views.videos}"
            if views.videos is not None
            else "their features do not say where they are, or they are no longer there"
        )
        raise DataError(
            f"labels: a classifier needs the videos themselves, and {len(lost):,} of "
            f"{len(videos):,} are not found ({few(lost)}): {where}; name their folder: --videos DIR"
        )
    return found


def _as_stored(source: VideoSource, video: str) -> Path | None:
    stored = of_video(video, source.video_files)
    if stored is None or not stored.path.exists():
        return None
    size = stored.path.stat().st_size if stored.path.is_file() else None
    if stored.num_bytes is not None and size != stored.num_bytes:
        raise DataError(
            f"labels: {stored.path}: has {size} bytes, but the features of {video} were made of a "
            f"file of {stored.num_bytes}; name the folder of the right videos: --videos DIR"
        )
    return stored.path


def _in_folder(folder: Path) -> Mapping[str, Path]:
    paths = [entry.path for entry in find_videos(folder)]
    return dict(zip(names_apart(paths, root=folder), paths, strict=True))
