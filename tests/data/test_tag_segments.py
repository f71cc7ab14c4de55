"""Segments of videos that people rated: which there are, their order, and what a model is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from videozoo.data import label_index
from videozoo.data.features.record_formats import find_records, open_records, write_shard
from videozoo.data.features.records import (
    FeatureRecord,
    RecordArrays,
    RecordSet,
    SegmentRating,
)
from videozoo.data.label_index import rated_index
from videozoo.data.loader import EvalLoader, TrainLoader
from videozoo.data.tag_segments import RatedSegments, SegmentedVideos, check_rate
from videozoo.errors import DataError, MisfitError
from videozoo.settings.tags import FeatureData
from videozoo.types import FeatureShape, Stream

SHAPE = FeatureShape(streams=[Stream(name="rgb", dim=3)])
DATA = FeatureData(segments=True, num_workers=0)
Rating = tuple[int, int, bool] | tuple[int, int, bool, int]


def video(name: str, frames: int, ratings: Sequence[Rating] | None) -> FeatureRecord:
    """Its frames are their numbers; ratings are (start, class, present[, end])."""
    rgb = np.repeat(np.arange(frames, dtype=np.uint8)[:, None], 3, axis=1)
    rated = None
    if ratings is not None:
        rated = tuple(
            SegmentRating(start, end[0] if end else start + 5, label, is_there)
            for start, label, is_there, *end in ratings
        )
    return FeatureRecord(
        name, {"rgb": rgb}, (0,), has_segment_labels=rated is not None, ratings=rated
    )


VIDEOS = [
    video("a", 22, [(5, 1, True), (5, 2, False), (15, 0, True)]),
    video("b", 12, None),
    video("c", 12, [(10, 3, False), (0, 1, True)]),
]


def in_memory(*videos: FeatureRecord) -> RecordSet:
    return RecordSet([RecordArrays(videos)])


def test_ratings_survive_writing_and_reading(tmp_path: Path):
    write_shard(tmp_path / "a.tfrecord", VIDEOS)

    shard = open_records(tmp_path / "a.tfrecord")

    assert [shard.read(number).ratings for number in range(3)] == [one.ratings for one in VIDEOS]


def test_a_model_is_given_the_frames_of_a_segment_and_only_what_is_rated(tmp_path: Path):
    records = in_memory(*VIDEOS)
    index = rated_index(records, segment_frames=5)
    dataset = RatedSegments(records, index, SHAPE, DATA, num_classes=4)

    batch = dataset.collate([dataset.read(number, 0) for number in range(len(dataset))])

    assert batch.names == ("a", "a", "c", "c")
    assert batch.streams[0][0, :, 0].tolist() == [5, 6, 7, 8, 9]
    assert batch.streams[0][3, :, 0].tolist() == [10, 11, 0, 0, 0]  # the video ends
    assert batch.lengths.tolist() == [5, 5, 5, 2]
    assert batch.labels is not None
    assert batch.rated is not None
    assert batch.labels.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert batch.rated.tolist() == [[0, 1, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]


def test_evaluation_sees_all_rated_segments_of_a_video_and_prediction_all_of_it():
    records = in_memory(*VIDEOS)
    index = rated_index(records, segment_frames=5)

    rated = list(
        EvalLoader(SegmentedVideos(records, SHAPE, DATA, index=index, num_classes=4), batch_size=1)
    )
    every = list(EvalLoader(SegmentedVideos(records, SHAPE, DATA), batch_size=2))

    assert [batch.videos.tolist() for batch in rated] == [[0, 0], [2, 2]]
    assert [batch.spans.tolist() for batch in rated if batch.spans is not None] == [
        [[5, 10], [15, 20]],
        [[0, 5], [10, 12]],
    ]
    assert every[0].videos.tolist() == [0] * 5 + [1] * 3
    assert every[0].spans is not None
    assert every[0].spans[:5].tolist() == [[0, 5], [5, 10], [10, 15], [15, 20], [20, 22]]
    assert every[0].rated is None


@pytest.mark.parametrize("balance", [False, True])
def test_an_epoch_goes_on_where_it_was_left(tmp_path: Path, balance: bool):
    videos = [video(f"v{n}", 20, [(0, n % 4, True), (10, 3, False)]) for n in range(9)]
    for part in range(3):
        write_shard(tmp_path / f"{part}.tfrecord", videos[part::3])
    records = find_records(tmp_path)
    index = rated_index(records, segment_frames=5)
    data = DATA.model_copy(update={"shuffle_records": 4, "balance": balance})
    dataset = RatedSegments(records, index, SHAPE, data, num_classes=4, seed=2)
    loader = TrainLoader(dataset, data, batch_size=2)

    whole, rest = list(loader.epoch(1)), list(loader.epoch(1, skip_batches=5))

    assert len(whole) == 9
    for ours, theirs in zip(whole[5:], rest, strict=True):
        assert ours.names == theirs.names
        assert torch.equal(ours.streams[0], theirs.streams[0])
    orders = [dataset.order(epoch) % len(dataset) for epoch in (0, 1)]
    assert not np.array_equal(orders[0], orders[1])
    if balance:
        labels = torch.cat([batch.rated for batch in whole if batch.rated is not None])
        assert labels.sum(0).max() - labels.sum(0).min() <= 1
    else:
        assert sorted(orders[0].tolist()) == list(range(18))


def test_the_index_is_found_again_without_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_shard(tmp_path / "a.tfrecord", VIDEOS)
    first = rated_index(find_records(tmp_path), segment_frames=5)
    monkeypatch.setattr(label_index, "rated_segments", None)

    again = rated_index(find_records(tmp_path), segment_frames=5)

    assert (again.segments, again.records.tolist()) == (first.segments, first.records.tolist())
    assert first.counts(4) == [1, 2, 0, 0]
    assert first.counts(4, present=False) == [0, 0, 1, 1]
    assert first.ratings == 5


def test_a_damaged_index_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path / "cache"))
    write_shard(tmp_path / "a.tfrecord", VIDEOS)
    first = rated_index(find_records(tmp_path), segment_frames=5)
    kept = list((tmp_path / "cache").rglob("*.npy"))

    for path in kept:
        numbers = np.load(path)
        for place in range(3, len(numbers)):
            changed = numbers.copy()
            changed[place] ^= 1
            np.save(path, changed)
            again = rated_index(find_records(tmp_path), segment_frames=5)
            assert again.segments == first.segments
            assert again.records.tolist() == first.records.tolist()
            assert np.array_equal(np.load(path), numbers)

    assert len(kept) == 2  # positions and ratings


def test_segments_after_the_last_frame_are_left_out_and_told():
    records = in_memory(video("a", 12, [(0, 1, True), (10, 1, True), (15, 1, True)]))

    every = rated_index(records, segment_frames=5)
    first = rated_index(records, segment_frames=5, most_frames=10)

    assert (len(every), len(every.outside)) == (2, 1)
    assert every.outside[0] == "a: from frame 15, and 12 of 12 frames are used"
    assert (len(first), len(first.outside)) == (1, 2)
    assert every.cut == ("a: frames 10 to 14, and 12 of 12 are used",)
    assert first.cut == ()


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        ([(0, 1, True), (0, 1, False)], "class 1 is rated present and absent in the segment from"),
        ([(0, 1, True), (0, 2, True, 7)], "two segments start at frame 0, and end at frames 5 and"),
    ],
)
def test_ratings_that_contradict_are_problems_of_their_record(ratings: list[Rating], message: str):
    records = in_memory(VIDEOS[0], video("odd", 12, ratings))

    index = rated_index(records, segment_frames=5)

    assert list(index.problems) == [1]
    assert message in index.problems[1]
    assert set(index.records.tolist()) == {0}


def test_other_lengths_labels_and_rates_are_refused():
    records = in_memory(*VIDEOS)
    with pytest.raises(MisfitError, match=r"from frame 5 to 10, expected 3 frames"):
        rated_index(records, segment_frames=3)
    with pytest.raises(MisfitError, match=r"label 3, expected 0 to 1; set model.num_classes=4"):
        rated_index(records, segment_frames=5).counts(2, present=False)
    with pytest.raises(DataError, match=r"2 frames per second, and data.segments is for one"):
        check_rate(RecordSet([RecordArrays(VIDEOS, {"model": "tsm", "rate": 2})]))
    with pytest.raises(ValueError, match="videos themselves have none"):
        FeatureData(segments=True, videos=Path("videos"), encoder=("e",))
