"""Result files of single videos: scores of steps, proposals, and features of proposals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.data.annotations.segments import Annotation
from videozoo.data.proposals import Proposals, write_proposals, write_table
from videozoo.errors import DataError, RunError
from videozoo.ops.proposal_generation import best_overlaps, described_proposals
from videozoo.safe_write import written_aside
from videozoo.settings.segments import SequenceViews
from videozoo.types import ProposalGeneration


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

    def write(
        self,
        annotation: Annotation,
        table: Mapping[str, NDArray[Any]],
        curves: Mapping[str, NDArray[np.float32]],
    ) -> None:
        """Write the files of one video.

        Args:
            annotation: The video; its proposals are compared with its annotated segments.
            table: For `score_files`.
            curves: Name -> scores of its steps.

        Raises:
            RunError: The disk refuses.
            DataError: The name of the video cannot be a file name.
        """
        name, views = annotation.video, self._views
        if Path(name).name != name:
            raise DataError(f"video {name!r}: not a name that a file can have")
        try:
            if views.score_files is not None:
                write_table(views.score_files / f"{name}.csv", table)
            if self._generation is not None and (views.proposal_files or views.feature_files):
                self._write_proposals(annotation, curves, self._generation)
        except OSError as error:
            raise RunError(f"files of {name}: cannot be written: {error.strerror}") from None

    def _write_proposals(
        self,
        annotation: Annotation,
        curves: Mapping[str, NDArray[np.float32]],
        options: ProposalGeneration,
    ) -> None:
        proposals, numbers = proposals_of(annotation, curves, options)
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
    learnt = annotation.subset in ("train", "training")
    most = options.most_in_training if learnt else options.most
    found, numbers = described_proposals(
        curves["start"], curves["end"], curves["action"], options=options, most=most
    )
    seconds = [(one.start_seconds, one.end_seconds) for one in annotation.instances]
    shares = np.array(seconds, np.float64).reshape(-1, 2) / annotation.duration_seconds
    tious, overlaps = best_overlaps(found.segments, shares)
    made = Proposals(found.segments, found.start_scores, found.end_scores, tious, overlaps)
    return made, numbers
