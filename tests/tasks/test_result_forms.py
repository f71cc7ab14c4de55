"""Segments that were found, written as annotation tools read them."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.data.make_clips import moving_frames, write_clip
from videozoo.data.annotations.segment_results import read_results
from videozoo.settings.segments import SegmentForm, SequencePredict
from videozoo.tasks.localisation.results import VideoProposals, result_file
from videozoo.types import Candidates

FOUND = Candidates(np.array([[0.1, 0.5], [0.5, 0.6]]), np.array([0.9, 0.2]), np.array([1, 0]))


def write(
    folder: Path, *forms: SegmentForm, seconds: float = 2.0, files: dict[str, Path]
) -> list[str]:
    views = SequencePredict(result_forms=forms)
    said: list[str] = []
    video = VideoProposals("a", seconds, FOUND, {})
    file = result_file(views, [video], ["run", "jump"], folder, files=files, say=said.append)

    file.write(file.path)

    (segment, _) = read_results(folder / "results.json")["a"]
    assert (segment.label, segment.score) == ("jump", 0.9)
    return said


@pytest.fixture
def film(tmp_path: Path) -> dict[str, Path]:
    path = tmp_path / "films" / "a.mp4"
    path.parent.mkdir()
    return {"a": write_clip(path, moving_frames(20, height=32, width=32), rate=10)}


def test_segments_are_also_written_for_tools(tmp_path: Path, film: dict[str, Path]):
    said = write(tmp_path, "labelstudio", "csv", files=film)

    (task,) = json.loads((tmp_path / "results_tasks.json").read_text())
    regions = [one["value"] for one in task["predictions"][0]["result"]]
    assert task["data"]["video"] == str(film["a"])
    assert regions == [
        {"ranges": [{"start": 3, "end": 10}], "timelinelabels": ["jump"]},
        {"ranges": [{"start": 11, "end": 12}], "timelinelabels": ["run"]},
    ]
    assert (tmp_path / "results_segments.csv").read_text().splitlines()[1:] == [
        f"{film['a']},0.2,1.0,jump,0.9,2.0",
        f"{film['a']},1.0,1.2,run,0.2,2.0",
    ]
    assert [line for line in said if line.startswith("written")] == [
        f"written: {tmp_path / 'results_tasks.json'}",
        f"written: {tmp_path / 'results_segments.csv'}",
    ]


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (2.0, "not written: a: Label Studio counts frames, and its frame rate is not known"),
        (float("nan"), "not written: the lengths of videos are not known: a"),
    ],
)
def test_what_is_missing_is_said_and_the_results_are_there(
    tmp_path: Path, seconds: float, message: str
):
    (note,) = write(tmp_path, "labelstudio", seconds=seconds, files={})

    assert message in note
    assert not (tmp_path / "results_tasks.json").exists()
