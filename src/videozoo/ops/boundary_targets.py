"""Training targets of BSN and BMN: annotated segments on a grid of time.

A video is cut into T equal cells; times are fractions of its length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from videozoo.ops.tiou import as_segments, covered, tiou

FloatArray = NDArray[np.float64]


def boundary_targets(
    segments: ArrayLike, num_steps: int, *, width_steps: float, width_share: float = 0.0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Share of each cell that lies near a start, near an end, and inside an action.

    "Near" is a region around the boundary, half of it on each side. BSN's is as wide as a tenth
    of the action and at least one cell (`width_steps=1, width_share=0.1`), BMN's always three
    cells (`width_steps=3`).

    Args:
        segments: (G, 2) annotated starts and ends; parts outside [0, 1] are cut off.
        num_steps: T.
        width_steps: Least width of a region, in cells.
        width_share: Width of a region as a fraction of its segment, if that is wider.

    Returns:
        Start, end and action, each (T,) in [0, 1]; the largest share over all segments.
        All 0 without segments.

    Source:
        Lin et al., arXiv:1806.02964 and arXiv:1907.09702. Reference behaviour:
        PaddlePaddle/models release/1.8.

    >>> start, end, action = boundary_targets([[0.25, 0.75]], 4, width_steps=1)
    >>> start.tolist(), end.tolist(), action.tolist()
    ([0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5], [0.0, 1.0, 1.0, 0.0])
    """
    truth = np.clip(as_segments(segments), 0.0, 1.0)
    gap = 1.0 / num_steps
    width = np.maximum(width_steps * gap, width_share * (truth[:, 1] - truth[:, 0]))
    cells = np.stack((gap * np.arange(num_steps), gap * np.arange(1, num_steps + 1)), axis=1)
    regions = [np.stack((x - width / 2, x + width / 2), axis=1) for x in (truth[:, 0], truth[:, 1])]
    start, end, action = (
        covered(cells, each).max(axis=1, initial=0.0) for each in (*regions, truth)
    )
    return start, end, action


def window_overlaps(segments: ArrayLike, num_durations: int, num_steps: int) -> FloatArray:
    """The best tIoU of every window with an annotated segment: the target of BMN's map.

    Args:
        segments: (G, 2) annotated starts and ends; parts outside [0, 1] are cut off.
        num_durations: D.
        num_steps: T.

    Returns:
        (D, T) tIoU in [0, 1]; row d, column t is the window from t to t + d + 1 cells. Windows
        beyond the video have values too; the loss masks them. All 0 without segments.

    Source: Lin et al., arXiv:1907.09702. Reference behaviour: PaddlePaddle/models release/1.8.

    >>> window_overlaps([[0.0, 0.5]], 2, 2).tolist()
    [[1.0, 0.0], [0.5, 0.0]]
    """
    gap = 1.0 / num_steps
    starts = np.tile(gap * np.arange(num_steps), (num_durations, 1))
    ends = starts + gap * np.arange(1, num_durations + 1)[:, None]
    windows = np.stack((starts.ravel(), ends.ravel()), axis=1)
    best = tiou(windows, np.clip(as_segments(segments), 0.0, 1.0)).max(axis=1, initial=0.0)
    return best.reshape(num_durations, num_steps)
