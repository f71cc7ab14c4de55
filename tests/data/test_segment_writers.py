"""What is written for tools is read again: to the same seconds, or to the same frames."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.make_clips import moving_frames, write_clip
from videozoo.data.annotations.segment_types import FrameTimes, Reading
from videozoo.data.annotations.segment_writers import WRITERS, write_segments
from videozoo.data.annotations.segments import read_annotations
from videozoo.data.annotations.timed_segments import TimedSegment, TimedVideo, timed_annotations
from videozoo.data.features.records import FeatureRecord
from videozoo.data.features.writer import FeatureFolder
from videozoo.data.segments import load_videos
from videozoo.errors import DataError
from videozoo.settings.segments import SequenceData

RATES = (24000 / 1001, 24.0, 25.0, 30000 / 1001, 50.0, 59.94)
PRINTABLE = st.characters(exclude_categories=["C", "Z"], include_characters=" ")
LABELS = st.text(PRINTABLE, min_size=1, max_size=12).filter(lambda text: text.strip() == text)


@st.composite
def videos(draw: st.DrawFn) -> list[TimedVideo]:
    """Videos of any frame rate, with segments of whole frames and any labels."""
    found: list[TimedVideo] = []
    for number in range(draw(st.integers(1, 3))):
        rate, count = draw(st.sampled_from(RATES)), draw(st.integers(2, 60))
        times = FrameTimes(rate, count)
        if draw(st.booleans()):
            gaps = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
            starts = [sum(gaps[:place]) / 1000 for place in range(count)]
            times = FrameTimes(count * 1000 / sum(gaps), count, starts)
        segments: list[TimedSegment] = []
        for _ in range(draw(st.integers(0, 4))):
            first = draw(st.integers(1, count))
            last = draw(st.integers(first, count))
            start, end = times.steady().span(first, last)
            label, score = draw(LABELS), draw(st.none() | st.floats(0, 1))
            segments.append(TimedSegment(start, end, label, score))
        subset = draw(st.none() | st.sampled_from(["training", "validation"]))
        name = f"v {number}"
        seconds = draw(st.none() | st.just(times.duration_seconds))
        found.append(TimedVideo(name, tuple(segments), f"x/{name}.mp4", seconds, subset, times))
    return found


def again(path: Path, found: Sequence[TimedVideo]) -> list[TimedVideo]:
    rates = {one.name: one.times for one in found}
    notes: list[str] = []
    return timed_annotations(
        path, Reading(), frames_per_second=None, look_up=rates.get, notes=notes
    )


def frames(one: TimedVideo, *, by_tool: bool = False) -> list[Any]:
    assert one.times is not None
    times = one.times.steady() if by_tool else one.times
    return [(times.frames(s.start_seconds, s.end_seconds), s.label) for s in one.segments]


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=15, deadline=None)
@given(found=videos())
def test_every_form_comes_back_to_the_frame(
    form: str, found: list[TimedVideo], tmp_path_factory: pytest.TempPathFactory
):
    path = tmp_path_factory.mktemp("w") / WRITERS[form].file

    write_segments(path, found, form, notes=[])

    back = again(path, found)
    assert [one.name for one in back] == [one.name for one in found]
    for one, before in zip(back, found, strict=True):
        assert frames(one, by_tool=True) == frames(before, by_tool=True)
        if form in ("csv", "activitynet"):
            assert one.segments == before.segments
        else:
            assert [s.score for s in one.segments] == [s.score for s in before.segments]
        if form != "fiftyone":
            assert (one.subset, one.address or one.name) in (
                (before.subset, before.address),
                (before.subset, before.name),
            )


@settings(max_examples=15, deadline=None)
@given(found=videos())
def test_a_table_to_activitynet_and_back_is_the_same_table(
    found: list[TimedVideo], tmp_path_factory: pytest.TempPathFactory
):
    folder = tmp_path_factory.mktemp("w")
    found = [replace(one, address="", times=None) for one in found]
    write_segments(folder / "a.csv", found, "csv", notes=[])
    write_segments(folder / "a.json", again(folder / "a.csv", found), "activitynet", notes=[])

    write_segments(folder / "b.csv", again(folder / "a.json", found), "csv", notes=[])

    assert (folder / "b.csv").read_text() == (folder / "a.csv").read_text()


def video(*segments: TimedSegment, **more: Any) -> TimedVideo:
    known: dict[str, Any] = {"address": "a.mp4", "times": FrameTimes(10, 90), **more}
    return TimedVideo("a", segments, **known)


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("label", ["two\nlines", "a\u2028b", "a\x0cb"])
def test_labels_of_several_lines_are_refused(tmp_path: Path, form: str, label: str):
    with pytest.raises(DataError, match="goes over several lines"):
        write_segments(tmp_path / "a", [video(TimedSegment(0, 1, label))], form, notes=[])
    assert not list(tmp_path.iterdir())


def test_labels_with_the_signs_of_tables(tmp_path: Path):
    labels = ['a,b;c\td"e"', "läuft 走る", "'", "#x", "1"]
    one = video(*(TimedSegment(place, place + 1, each) for place, each in enumerate(labels)))
    for form, writer in WRITERS.items():
        write_segments(tmp_path / writer.file, [one], form, notes=[])
        (found,) = again(tmp_path / writer.file, [one])
        assert [each.label for each in found.segments] == labels


def test_what_frames_change_is_counted(tmp_path: Path):
    one = video(
        TimedSegment(1.03, 2.5, "x"), TimedSegment(3.0, 3.01, "x"), TimedSegment(8, 12, "x")
    )
    notes: list[str] = []

    write_segments(tmp_path / "a.json", [one], "labelstudio", notes=notes)

    text = "\n".join(notes)
    assert "times are moved to the nearest one, by up to 0.03 s" in text
    assert "1 segment shorter than half a frame: one frame" in text
    assert "1 segment beyond the end of the video: cut there" in text
    (found,) = again(tmp_path / "a.json", [one])
    assert [(each.start_seconds, each.end_seconds) for each in found.segments] == [
        (1.0, 2.5), (3.0, 3.1), (8.0, 9.0),
    ]  # fmt: skip


def test_label_studio_gets_what_its_import_needs(tmp_path: Path):
    one = video(TimedSegment(1, 2.5, 'a & "b"', 0.75), subset="training", duration_seconds=9.0)
    notes: list[str] = []

    write_segments(tmp_path / "a.json", [one], "labelstudio", notes=notes)

    (task,) = json.loads((tmp_path / "a.json").read_text())
    assert task["data"] == {"video": "a.mp4", "fps": 10, "subset": "training", "duration": 9.0}
    (prediction,) = task["predictions"]
    (region,) = prediction["result"]
    assert region["value"] == {
        "ranges": [{"start": 11, "end": 25}], "timelinelabels": ['a & "b"'],
    }  # fmt: skip
    assert (region["score"], prediction["score"]) == (0.75, 0.75)
    assert (region["from_name"], region["to_name"]) == ("timelineLabels", "video")
    assert 'frameRate="$fps"' in notes[-1]
    assert '<Label value="a &amp; &quot;b&quot;"/>' in notes[-1]


def test_what_a_person_corrected_in_label_studio_comes_back_for_training(tmp_path: Path):
    write_segments(
        tmp_path / "a.json", [video(TimedSegment(1, 2.5, "x", 0.9))], "labelstudio", notes=[]
    )
    (task,) = json.loads((tmp_path / "a.json").read_text())
    result = task["predictions"][0]["result"]
    result[0]["value"]["ranges"] = [{"start": 21, "end": 30}]
    exported = {"id": 1, **task, "annotations": [{"result": result}]}
    (tmp_path / "export.json").write_text(json.dumps([exported]))

    (found,) = read_annotations(tmp_path / "export.json", durations={"a": 9.0}).videos

    (one,) = found.instances
    assert (one.start_seconds, one.end_seconds, one.label) == (2.0, 3.0, "x")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"times": None}, "its frame rate is not known; name the folder of the videos"),
        ({"address": ""}, "needs the file of the video, with its ending"),
    ],
)
def test_label_studio_needs_frame_rates_and_files(tmp_path: Path, more: Any, message: str):
    with pytest.raises(DataError, match=message):
        write_segments(
            tmp_path / "a", [video(TimedSegment(0, 1, "x"), **more)], "labelstudio", notes=[]
        )


@pytest.mark.parametrize(
    ("address", "name"),
    [("a.mp4", "a"), ("x/a.mp4", "x/a"), ("/films/a.mp4", "/films/a.mp4"), ("s3://x/a.mp4", "a")],
)
def test_fiftyone_finds_the_files(tmp_path: Path, address: str, name: str):
    one = video(TimedSegment(1, 2.5, "x"), address=address)

    write_segments(tmp_path / "a.json", [one], "fiftyone", notes=[])

    assert list(json.loads((tmp_path / "a.json").read_text())["labels"]) == [name]
    assert [found.name for found in again(tmp_path / "a.json", [one])] == ["a"]


def test_fiftyone_gets_seconds_where_the_rate_is_not_known(tmp_path: Path):
    notes: list[str] = []
    known, unknown = video(TimedSegment(1, 2.5, "x")), video(TimedSegment(1, 2.5, None), times=None)

    write_segments(
        tmp_path / "a.json", [known, replace(unknown, name="b")], "fiftyone", notes=notes
    )

    assert json.loads((tmp_path / "a.json").read_text()) == {
        "classes": ["segment", "x"],
        "labels": {
            "a": [{"label": "x", "support": [11, 25]}],
            "b": [{"label": "segment", "timestamps": [1, 2.5]}],
        },
    }
    assert "the frame rates of 1 video are not known" in "\n".join(notes)
    assert "1 segment without a label: written as 'segment'" in "\n".join(notes)


def test_training_asks_the_videos_that_the_features_were_made_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    film = write_clip(tmp_path / "a.mp4", moving_frames(20, height=32, width=32), rate=10)
    folder = FeatureFolder(tmp_path / "feat", "npz", {"model": "tsm", "rate": 2})
    folder.prepare(made_with="test")
    facts = {"path": str(film), "bytes": film.stat().st_size}
    record = FeatureRecord("a", {"rgb": np.zeros((4, 3), np.float32)}, None, 2.0, facts)
    folder.writer(0).add(record)
    folder.merge()
    value = {"ranges": [{"start": 3, "end": 10}], "timelinelabels": ["run"]}
    task = {"id": 1, "data": {"video": "a.mp4"}, "annotations": [{"result": [{"value": value}]}]}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    data = SequenceData(annotations=tmp_path / "export.json", features=folder.folder)

    (one,) = load_videos(data, "train").present

    (segment,) = one.instances
    assert (segment.start_seconds, segment.end_seconds) == pytest.approx((0.2, 1.0))
    assert "taken are the frame rates of the videos: 10" in caplog.text
    film.write_bytes(film.read_bytes() + b"changed")
    with pytest.raises(DataError, match="Label Studio counts in frames"):
        load_videos(data, "train")
