"""Result files of single videos: scores of steps, proposals, and features of proposals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.data.annotations.segments import Annotation
from videozoo.data.proposals import Proposals, write_proposals, write_table
from videozoo.errors import DataError, RunError
from videozoo.ops.proposal_generation import (
    BoundaryProposals,
    best_overlaps,
    described_proposals,
)
from videozoo.ops.windows import Window, merged_candidates, merged_curves, merged_tables
from videozoo.safe_write import written_aside
from videozoo.settings.segments import SequenceViews
from videozoo.types import Candidates, ProposalGeneration


@dataclass(frozen=True)
class VideoPart:
    """The outputs of a network for a whole video, or for one window of it."""

    window: Window | None
    """None: the whole video, which is then the only part."""
    candidates: Candidates
    """Segments as fractions of the part."""
    curves: Mapping[str, NDArray[np.float32]]
    """Name -> scores of the steps of the part."""
    table: Mapping[str, NDArray[Any]]
    """Columns of a score file."""


def whole_candidates(parts: Sequence[VideoPart]) -> Candidates:
    """The candidates of a video; segments are fractions of it."""
    windows = [(each.window, each.candidates) for each in parts if each.window is not None]
    return merged_candidates(windows) if windows else parts[0].candidates


def whole_curves(parts: Sequence[VideoPart]) -> Mapping[str, NDArray[np.float32]]:
    """The scores of the steps of a video; windows are joined."""
    windows = [(each.window, each.curves) for each in parts if each.window is not None]
    return merged_curves(windows) if windows else parts[0].curves


def whole_table(parts: Sequence[VideoPart]) -> Mapping[str, NDArray[Any]]:
    """The columns of the score file of a video; windows are joined."""
    windows = [(each.window, each.table) for each in parts if each.window is not None]
    return merged_tables(windows) if windows else parts[0].table


class ScoreFiles:
    """Writes the requested files of single videos, also those between the stages of BSN."""

    def __init__(self, views: SequenceViews, generation: ProposalGeneration | None) -> None:
        """Make the folders.

        Args:
            views: Says which files, and where.
            generation: For the first of two stages: how its scores become proposals.

        Raises:
            RunError: A folder cannot be made.
            DataError: Proposals are requested, but the network makes none.
        """
        self._views = views
        self._generation = generation
        if generation is None and (views.proposal_files or views.feature_files):
            raise DataError(
                "proposal_files and feature_files are for BSN's first stage (bsn_tem); leave them "
                "out, or ask for score_files"
            )
        for folder in (views.score_files, views.proposal_files, views.feature_files):
            if folder is not None:
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise RunError(f"{folder}: cannot be made: {error.strerror}") from None

    def write(self, annotation: Annotation, parts: Sequence[VideoPart]) -> None:
        """Write the files of one video.

        Args:
            annotation: The video; its proposals are compared with its annotated segments.
            parts: The outputs for its parts.

        Raises:
            RunError: The disk refuses.
            DataError: The name of the video cannot be a file name.
        """
        name, views = annotation.video, self._views
        if Path(name).name != name:
            raise DataError(f"video {name!r}: not a name that a file can have")
        try:
            if views.score_files is not None:
                write_table(views.score_files / f"{name}.csv", whole_table(parts))
            if self._generation is not None and (views.proposal_files or views.feature_files):
                self._write_proposals(annotation, parts, self._generation)
        except OSError as error:
            raise RunError(f"files of {name}: cannot be written: {error.strerror}") from None

    def _write_proposals(
        self,
        annotation: Annotation,
        parts: Sequence[VideoPart],
        options: ProposalGeneration,
    ) -> None:
        proposals, numbers = whole_proposals(annotation, parts, options)
        if self._views.proposal_files is not None:
            write_proposals(self._views.proposal_files / f"{annotation.video}.csv", proposals)
        if self._views.feature_files is not None:
            with (
                written_aside(self._views.feature_files / f"{annotation.video}.npy") as aside,
                aside.open("wb") as file,
            ):
                np.save(file, numbers)


def proposals_of(
    annotation: Annotation,
    curves: Mapping[str, NDArray[np.float32]],
    options: ProposalGeneration,
) -> tuple[Proposals, NDArray[np.float64]]:
    """Make the proposals of one video, compare them with its segments, compute their features.

    Returns:
        The proposals (fewer for a training video), and their features (K, options.feature_dim).
    """
    found, numbers = _generated(annotation, curves, options)
    return _compared(annotation, found), numbers


def whole_proposals(
    annotation: Annotation, parts: Sequence[VideoPart], options: ProposalGeneration
) -> tuple[Proposals, NDArray[np.float64]]:
    """Make the proposals of one video out of its parts; see `proposals_of`.

    The proposals of windows are put together, the best first: up to as many per window as usually
    per video. Their features are those of their window.
    """
    if parts[0].window is None:
        return proposals_of(annotation, parts[0].curves, options)
    segments: list[NDArray[np.float64]] = []
    scores: list[NDArray[np.float64]] = []
    features: list[NDArray[np.float64]] = []
    for part in parts:
        assert part.window is not None
        found, numbers = _generated(annotation, part.curves, options)
        inside, kept = part.window.outside(found.segments)
        segments.append(inside)
        scores.append(np.stack([found.start_scores[kept], found.end_scores[kept]], axis=1))
        features.append(numbers[kept])
    ends = np.concatenate(scores)
    order = np.argsort(-ends.prod(axis=1), kind="stable")
    made = BoundaryProposals(np.concatenate(segments)[order], *ends[order].T)
    return _compared(annotation, made), np.concatenate(features)[order]


def _generated(
    annotation: Annotation,
    curves: Mapping[str, NDArray[np.float32]],
    options: ProposalGeneration,
) -> tuple[BoundaryProposals, NDArray[np.float64]]:
    learnt = annotation.subset in ("train", "training")
    most = options.most_in_training if learnt else options.most
    return described_proposals(
        curves["start"], curves["end"], curves["action"], options=options, most=most
    )


def _compared(annotation: Annotation, found: BoundaryProposals) -> Proposals:
    """Proposals with what they share with the annotated segments."""
    seconds = [(one.start_seconds, one.end_seconds) for one in annotation.instances]
    shares = np.array(seconds, np.float64).reshape(-1, 2) / annotation.duration_seconds
    tious, overlaps = best_overlaps(found.segments, shares)
    return Proposals(found.segments, found.start_scores, found.end_scores, tious, overlaps)
