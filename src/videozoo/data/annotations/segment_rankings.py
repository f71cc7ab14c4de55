"""Write the segments that show each class, the best first, as the YouTube-8M challenge of 2019."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from videozoo.errors import DataError
from videozoo.safe_write import written_aside

RANKINGS_HEADING = "Class,Segments"
MOST_SEGMENTS = 100_000
"""Segments per class that count in the challenge."""


def write_rankings(path: Path, by_class: Mapping[int, Sequence[str]]) -> None:
    """Write a submission; the file appears when it is complete.

    Args:
        path: The CSV file.
        by_class: Number of the class -> names of segments, VIDEO:START, the best first. Those after
            the first `MOST_SEGMENTS` are left out.

    Raises:
        DataError: A name has blanks, which stand between segments, or a comma.

    Source: google/youtube-8m, inference.py.
    """
    with written_aside(path) as aside, aside.open("w", encoding="utf-8") as file:
        file.write(f"{RANKINGS_HEADING}\n")
        for label, segments in sorted(by_class.items()):
            listed = segments[:MOST_SEGMENTS]
            odd = next((one for one in listed if len(one.split()) != 1 or "," in one), None)
            if odd is not None:
                raise DataError(
                    f"{path}: cannot name the segment {odd!r}: blanks stand between segments there"
                )
            file.write(f"{label},{' '.join(listed)}\n")
