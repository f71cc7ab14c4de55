"""What is found in each video, and the file of all of it in ActivityNet's form."""

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
    """What a model finds in one video: proposals, or detections where they have classes."""

    video: str
    duration_seconds: float
    """nan where it is not known."""
    found: Candidates
    """Segments as shares of the video, best first, duplicates removed."""
    curves: Mapping[str, NDArray[np.float32]]
    """Scores of the steps by name; empty unless asked for."""

    @property
    def seconds(self) -> float:
        """The length of the video; 1 where it is not known, so that times are shares."""
        return self.duration_seconds if self.duration_seconds > 0 else 1.0


def result_file(
    views: SequenceViews,
    videos: Sequence[VideoProposals],
    classes: Sequence[str] | None,
    folder: Path,
) -> ResultFile:
    """The segments of all videos in ActivityNet's form.

    Of a video of unknown length, times are shares of it.

    Args:
        views: In which form, and where; a bare file name is one in `folder`.
        videos: What was found in each.
        classes: Names, for segments with classes.
        folder: For results.
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
