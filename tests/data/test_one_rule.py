"""Times in the wrong order, times below zero, classes of no network: one rule for all formats.

Segments that end before they start are refused, or left out and told; sentences are kept as they
are written, and judged where the length of the video is known; results are refused. A number of
2^31 or more is no class in any format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.data.test_formats import example
from videozoo.data.annotations import (
    list_formats,
    result_formats,
    segment_formats,
    sentences,
    video_labels,
)
from videozoo.data.annotations.result_formats import read_any_results
from videozoo.data.annotations.segment_types import Reading
from videozoo.data.annotations.segments import read_annotations
from videozoo.data.annotations.sentences import read_timed_sentences
from videozoo.data.annotations.video_labels import read_labels
from videozoo.data.annotations.videos import read_list
from videozoo.data.formats import Format
from videozoo.errors import DataError

SWAPPED = (
    ("1.000", "2.500"),
    ("01.00", "02.50"),
    ("1.0", "2.5"),
    ("[1, 2.5]", "[2.5, 1]"),
    ("[11, 25]", "[25, 11]"),
    ("[[10, 25]]", "[[25, 10]]"),
    ('"start": 11, "end": 25', '"start": 25, "end": 11'),
    ('"start time": 3, "end time": 12', '"start time": 12, "end time": 3'),
    ('frame="10"', 'frame="25"'),
    (" 10 25", " 25 10"),
    ("a,1,10", "a,10,1"),
    ("_33_46", "_46_33"),
)
"""What stands in the examples of formats, and what it changes places with."""
BELOW_ZERO = (
    ("1.000", "-1.000"),
    ("00:00:01.00", "-00:00:01.00"),
    ("1.0", "-1.0"),
    ('"start": 11', '"start": -11'),
    ("[11,", "[-11,"),
    ('"frame": 35', '"frame": -35'),
    ('frame="10"', 'frame="-10"'),
    (" 10 25", " -10 25"),
    ('"position": 1750', '"position": -1750'),
    ('"position": "1750"', '"position": "-1750"'),
)
WITHOUT_ENDS = ("SoccerNet", "OSL", "E2E-Spot", "CVAT")
"""Formats of moments without a length, or of states by frame."""
LARGE = [2**31, 2**63, 10**30]
CLASSES = {
    "lists": (
        ('"label": 0', '"label": N'),
        ('"0,3"', '"0,N"'),
        (" 20 0", " 20 N"),
        ("path,label\nrun/abc.mp4,run", "path,label\nrun/abc.mp4,N"),
        ("mp4 0 3\n", "mp4 0 N\n"),
        ("mp4 0\n", "mp4 N\n"),
    ),
    "labels": (("[0, 2]", "[0, N]"), ("0,2", "0,N")),
    "segments": (("2.5,0,9", "2.5,N,9"),),
}


def changed(folder: Path, one: Format[Any, Any], new: str) -> Path:
    path = example(folder, one)
    file = path if path.is_file() else next(each for each in path.rglob("*") if each.is_file())
    file.write_text(new)
    return path


def swapped(text: str) -> str | None:
    for first, second in SWAPPED:
        if first in text and second in text:
            return text.replace(first, "\0").replace(second, first).replace("\0", second)
        if first in text and len(second) > 5:
            return text.replace(first, second)
    return None


def with_below_zero(text: str) -> str | None:
    return next((text.replace(a, b, 1) for a, b in BELOW_ZERO if a in text), None)


def segments_of(path: Path, *, bad: Any) -> int:
    found = read_annotations(
        path,
        bad_segments=bad,
        reading=Reading(
            label_from="verb" if path.name.startswith("EPIC") else None, spot_seconds=2.0
        ),
        frames_per_second=25.0,
        durations={"a": 9.0, "video_validation_0000051": 9.0, "1": 9.0},
        quiet=True,
    )
    assert all(
        one.start_seconds < one.end_seconds for video in found.videos for one in video.instances
    )
    return len(found.left_out)


@pytest.mark.parametrize("one", segment_formats.FORMATS, ids=lambda one: one.name)
def test_segments_that_end_before_they_start_are_refused_or_told(
    tmp_path: Path, one: Format[Any, Any]
) -> None:
    new = swapped(one.example)
    if one.name.startswith(WITHOUT_ENDS):
        return
    assert new is not None, f"no times in {one.example!r}: add them to SWAPPED"
    path = changed(tmp_path, one, new)

    assert segments_of(path, bad="clip") == 1
    with pytest.raises(DataError, match="ends before it starts"):
        segments_of(path, bad="refuse")


@pytest.mark.parametrize("one", segment_formats.FORMATS, ids=lambda one: one.name)
def test_segments_below_zero_are_refused(tmp_path: Path, one: Format[Any, Any]) -> None:
    new = with_below_zero(one.example)
    assert new is not None, f"no times in {one.example!r}: add them to BELOW_ZERO"

    with pytest.raises(
        DataError, match=r"(beyond|outside) the video|expected|ends before it starts"
    ):
        segments_of(changed(tmp_path, one, new), bad="refuse")


@pytest.mark.parametrize("one", sentences.FORMATS, ids=lambda one: one.name)
def test_times_of_sentences_are_kept_as_they_are_written(
    tmp_path: Path, one: Format[Any, Any]
) -> None:
    new = swapped(one.example)
    if new is None:
        return
    (found,) = read_timed_sentences(changed(tmp_path, one, new), whole_videos=True).sentences

    assert found.is_whole or found.end_seconds < found.start_seconds


@pytest.mark.parametrize("one", result_formats.FORMATS, ids=lambda one: one.name)
def test_results_that_end_before_they_start_are_refused(
    tmp_path: Path, one: Format[Any, Any]
) -> None:
    new = swapped(one.example)
    if new is None:
        assert "2.5" not in one.example
        return
    with pytest.raises(DataError, match="ends before it starts"):
        read_any_results(changed(tmp_path, one, new))


def classes_of(kind: str, path: Path) -> None:
    if kind == "lists":
        read_list(path, labels="optional", several="as listed", may_be_parts=True)
    elif kind == "labels":
        read_labels(path, may_name=False)
    else:
        segments_of(path, bad="clip")


@pytest.mark.parametrize("number", LARGE)
@pytest.mark.parametrize("kind", CLASSES)
def test_a_number_of_no_class_is_refused(tmp_path: Path, kind: str, number: int) -> None:
    table: Any = {
        "lists": list_formats.FORMATS,
        "labels": video_labels.FORMATS,
        "segments": segment_formats.FORMATS,
    }[kind]
    for place, (old, new) in enumerate(CLASSES[kind]):
        (one,) = [each for each in table if old in each.example][:1]
        folder = tmp_path / str(place)
        (folder / "run").mkdir(parents=True)
        for name in ("abc.mp4", "run/abc.mp4"):
            (folder / name).write_bytes(b"x")
        path = changed(folder, one, one.example.replace(old, new.replace("N", str(number))))
        with pytest.raises(DataError, match=r"label|class number|number of \d+ digits"):
            classes_of(kind, path)
