"""The segments found in each video, and the result file in the format of ActivityNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videozoo.data.annotations.segment_results import write_results
from videozoo.errors import RunError
from videozoo.ops.proposal_generation import result_entries
from videozoo.settings.segments import SequenceViews
from videozoo.tasks.jobs import ResultFile
from videozoo.types import Candidates


@dataclass(frozen=True)
class VideoProposals:
    """The segments found in one video: proposals, or detections if they have classes."""

    video: str
    duration_seconds: float
    """Length of the video; nan if unknown."""
    found: Candidates
    """Segments as shares of the video, best first, duplicates removed."""
    curves: Mapping[str, NDArray[np.float32]]
    """Name -> scores of the steps; empty unless requested."""

    @property
    def seconds(self) -> float:
        """The length of the video; 1 if unknown, so that times are shares of the video."""
        return self.duration_seconds if self.duration_seconds > 0 else 1.0


def result_file(
    views: SequenceViews,
    videos: Sequence[VideoProposals],
    classes: Sequence[str] | None,
    folder: Path,
) -> ResultFile:
    """The file with the segments of all videos, in the format of ActivityNet.

    Times in a video of unknown length are shares of the video.

    Args:
        views: Says the format and the file; a bare file name is one in `folder`.
        videos: The segments of each video.
        classes: Class names, for segments with classes.
        folder: The folder of the results.
    """

    def write(path: Path) -> None:
        results = {
            each.video: result_entries(each.found, each.seconds, classes=classes) for each in videos
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_results(path, results, form=views.result_form)
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror}") from None

    path = views.result_file
    return ResultFile(folder / path if path.parent == Path() else path, write)
