"""Windows, sentences that look for moments, and pairs to learn from."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videozoo.data.annotations.sentences import read_timed_sentences
from videozoo.data.loader import EvalLoader, TrainLoader
from videozoo.data.moments import (
    PairDataset,
    SearchDataset,
    ask,
    load_moments,
    load_windows,
    parse_clip_name,
    sliding_windows,
    training_pairs,
)
from videozoo.errors import ConfigError, DataError
from videozoo.settings.moments import MomentData, SentenceSettings, WindowSettings

DIM, WORDS = 3, 8
DIMS: dict[str, Any] = {"visual_dim": 3 * DIM, "sentence_dim": WORDS}
CLIPS = [(1, 129), (129, 257), (257, 385), (65, 193)]


class Attack:
    """A pickle of it would run code."""

    def __reduce__(self):
        return print, ("it ran",)


def clip(start: int) -> np.ndarray:
    return np.random.RandomState(start).rand(DIM).astype(np.float32)


@pytest.fixture
def old(tmp_path: Path) -> MomentData:
    """A movie with four clips and two sentences, as 2019 kept them."""
    (tmp_path / "clips").mkdir()
    for start, end in CLIPS:
        np.save(tmp_path / "clips" / f"s1-d2.avi_{start}_{end}.npy", clip(start))
    (tmp_path / "clips" / "readme.a.txt").write_text("not a clip")
    vectors = [np.full(WORDS + 2, value, np.float32) for value in (1, 2, 3)]
    entries = [[b"s1-d2.avi_10_130", vectors[:2]], [b"s1-d2.avi_250_390", vectors[2:]]]
    (tmp_path / "vectors.pkl").write_bytes(pickle.dumps(entries, protocol=2))
    (tmp_path / "lengths.pkl").write_bytes(pickle.dumps({b"s1-d2": [400, 29.4]}, protocol=2))
    return MomentData(
        train=tmp_path / "vectors.pkl",
        test=tmp_path / "vectors.pkl",
        clips=tmp_path / "clips",
        lengths=tmp_path / "lengths.pkl",
        sentences=SentenceSettings(encoder="given", dims=WORDS),
        num_workers=0,
    )


@pytest.fixture
def new(tmp_path: Path) -> MomentData:
    """Two videos of 20 s, a vector a second, and sentences as Charades-STA has them."""
    (tmp_path / "features").mkdir()
    for number in range(2):
        rows = np.random.RandomState(number).rand(20, DIM).astype(np.float32)
        np.save(tmp_path / "features" / f"V{number}.npy", rows)
    lines = ["V0 2.0 6.0##A man runs.", "V1 8 16.5##a dog sleeps", "V0 12 30##he sits down."]
    (tmp_path / "sta.txt").write_text("\n".join(lines))
    return MomentData(
        train=tmp_path / "sta.txt",
        test=tmp_path / "sta.txt",
        features=tmp_path / "features",
        rate=1,
        windows=WindowSettings(seconds=(4, 8), overlap=0.5, context_seconds=2),
        num_workers=0,
    )


def test_names_of_clips_are_understood():
    assert parse_clip_name("s13-d21.avi_1_129") == ("s13-d21.avi", 1, 129)
    assert parse_clip_name("a_b_1_2") == ("a_b", 1, 2)
    for name in ("readme", "a_1", "_1_2", "a_x_2", "a_1_-2"):
        assert parse_clip_name(name) is None


@given(
    vectors=st.integers(1, 200),
    rate=st.sampled_from([0.5, 1, 5, 29.4]),
    seconds=st.lists(st.floats(0.1, 60), min_size=1, max_size=3),
    overlap=st.floats(0, 0.95),
)
def test_windows_cover_a_video_and_stay_inside(
    vectors: int, rate: float, seconds: list[float], overlap: float
):
    settings = WindowSettings(seconds=tuple(seconds), overlap=overlap)

    windows = sliding_windows(vectors, rate, settings)

    places = np.rint(windows * rate).astype(int)
    assert len({tuple(row) for row in places.tolist()}) == len(places)
    assert (places[:, 0] < places[:, 1]).all()
    assert places.min() == 0
    assert places.max() == vectors
    covered = np.zeros(vectors, bool)
    for first, last in places.tolist():
        covered[first:last] = True
    assert covered.all()


def test_a_clip_stands_between_what_comes_before_and_after(old: MomentData):
    windows = load_windows(old, "test", visual_dim=9)
    two = load_windows(old.model_copy(update={"context_clips": 2}), "test", visual_dim=9)
    where = np.array([[129.0, 257.0]])

    assert windows.windows("s1-d2.avi").tolist() == [list(map(float, c)) for c in sorted(CLIPS)]
    first = windows.visual("s1-d2.avi", where)[0]
    assert np.array_equal(first, np.concatenate([clip(1), clip(129), clip(257)]))
    edge = windows.visual("s1-d2.avi", np.array([[1.0, 129.0]]))[0]
    assert np.array_equal(edge, np.concatenate([clip(1), clip(1), clip(129)]))
    # the second on either side is missing, so the first stands for it again
    assert np.allclose(two.visual("s1-d2.avi", where)[0], first)


def test_files_of_2019_become_pairs_and_searches(old: MomentData):
    moments = load_moments(old, "train", **DIMS)

    assert (moments.unit, moments.encoder, len(moments)) == ("frames", "given", 3)
    assert moments.videos[0].length == 400
    pairs = PairDataset(moments, old)
    batches = TrainLoader(pairs, old, batch_size=3)
    (batch,) = batches.epoch(0)
    assert sorted(batch.offsets.tolist()) == [[-7, 5], [9, 1], [9, 1]]
    assert {row[0] for row in batch.sentences.tolist()} == {1, 2, 3}
    (search,) = EvalLoader(SearchDataset(moments), old, batch_size=1)
    assert search.visual[0].shape == (4, 9)
    assert search.sentences[0].shape == (3, WORDS)


def test_vectors_of_another_length_are_refused(old: MomentData):
    longer = old.model_copy(update={"sentences": SentenceSettings(encoder="given")})

    with pytest.raises(DataError, match=r"entry 0: sentence vectors of 10 numbers, expected model"):
        load_moments(longer, "train", **DIMS)
    moments = load_moments(old, "train", visual_dim=12, sentence_dim=WORDS)
    with pytest.raises(DataError, match=r"3 numbers, expected 4, a third of model\.visual_dim"):
        list(EvalLoader(SearchDataset(moments), old, batch_size=1))
    with pytest.raises(ConfigError, match=r"expected three times .*: 30 for features of 10 values"):
        load_moments(old, "train", visual_dim=10, sentence_dim=WORDS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([[b"s1-d2.avi", []]], "'s1-d2.avi' is no name MOVIE_START_END"),
        ({}, "expected a list of"),
        ([[b"a_1_2"]], "entry 0: expected a list"),
        ([[b"a_1_2", ["x"]]], "expected vectors of numbers"),
        ([], "holds no sentence"),
        (Attack(), "refused: this pickle asks to run"),
    ],
)
def test_pickles_that_are_something_else_are_refused(
    old: MomentData, content: object, message: str
):
    assert old.train is not None
    old.train.write_bytes(pickle.dumps(content, protocol=2))

    with pytest.raises(DataError, match=message):
        load_moments(old, "train", **DIMS)


def test_windows_are_cut_out_of_whole_videos(new: MomentData):
    moments = load_moments(new, "train", **DIMS)

    assert (moments.unit, moments.encoder) == ("seconds", "hashed-1")
    video = moments.videos[0]
    assert [query.moments for query in video.queries] == [((2.0, 6.0),), ((12.0, 20.0),)]  # cut
    assert [4.0, 8.0] in video.windows.tolist()
    assert new.features is not None
    rows = np.load(new.features / "V0.npy")
    visual = moments.source.visual("V0", np.array([[4.0, 8.0]]))[0]
    parts = [rows[2:4].mean(0), rows[4:8].mean(0), rows[8:10].mean(0)]
    assert np.allclose(visual, np.concatenate(parts), atol=1e-6)
    pairs = training_pairs(moments, min_tiou=0.5, max_outside=0.15)
    shown = {
        (moments.videos[v].name, *moments.videos[v].windows[w].tolist())
        for v, _, w in pairs.table.tolist()
    }
    assert shown == {("V0", 2.0, 6.0), ("V0", 12.0, 20.0), ("V1", 8.0, 16.0)}
    assert pairs.offsets.tolist()[-1] == [0.0, 0.5]
    inside = training_pairs(moments, min_tiou=0.1, max_outside=0.15)
    assert len(inside.table) > len(pairs.table)
    assert inside.offsets[:, 0].max() <= 0 <= inside.offsets[:, 1].min()


def test_a_moment_outside_its_video_is_refused_or_left_out(new: MomentData):
    assert new.train is not None
    new.train.write_text("V0 2 6##a man runs\nV0 25 30##he sits\nV1 5 5##nothing")

    with pytest.raises(DataError, match=r"from 25 to 30 seconds lies outside the video V0, which"):
        load_moments(new, "train", **DIMS)
    moments = load_moments(new.model_copy(update={"outside": "skip"}), "train", **DIMS)
    assert len(moments) == 1
    assert len(moments.left_out) == 2


QVHIGHLIGHTS = (
    '{"qid": 7, "query": "A man runs.", "vid": "V0", "duration": 20, "relevant_windows": '
    '[[0, 4], [10, 18]], "relevant_clip_ids": [0, 1], "saliency_scores": [[4, 1], [2, 2]]}\n'
    '{"qid": 8, "query": "A dog sleeps.", "vid": "V0", "duration": 20, '
    '"relevant_windows": [[2, 10]]}\n'
)


def test_a_sentence_with_several_moments_is_one_query_that_learns_from_all(new: MomentData):
    assert new.train is not None
    new.train.write_text(QVHIGHLIGHTS)

    moments = load_moments(new, "train", **DIMS)
    pairs = training_pairs(moments, min_tiou=0.5, max_outside=0.15)

    (video,) = moments.videos
    first, second = video.queries
    assert (first.moments, first.identifier) == (((0, 4), (10, 18)), 7)
    assert first.saliency is not None
    assert first.saliency.table.tolist() == [[4, 1], [2, 2], *[[0, 0]] * 8]
    assert second.saliency is None
    shown = [
        (query, *video.windows[window].tolist(), *offsets)
        for (_, query, window), offsets in zip(
            pairs.table.tolist(), pairs.offsets.tolist(), strict=True
        )
    ]
    assert (0, 0.0, 4.0, 0.0, 0.0) in shown
    assert (0, 12.0, 20.0, -2.0, -2.0) not in shown  # too much of the window lies outside
    assert (0, 8.0, 16.0, 2.0, 2.0) not in shown
    assert {window[1:3] for window in shown if window[0] == 0} >= {(0.0, 4.0)}
    assert all(
        (start + first_offset, end + last_offset) in video.queries[query].moments
        for query, start, end, first_offset, last_offset in shown
    )
    assert any("1 sentence with several moments: all are learnt" in note for note in moments.notes)


DIDEMO = {"annotation_id": 3, "video": "V0.mp4", "description": "A man runs."}


@pytest.mark.parametrize(
    ("cells", "moments", "note"),
    [
        ([[1, 2], [0, 0], [1, 2]], [(5, 15)], "1 moment that only one person marked"),
        ([[1, 1], [0, 0]], [(5, 10), (0, 5)], "no two people agree on the moment of 1 sentence"),
        ([[3, 3]], [(15, 20)], ""),
    ],
)
def test_moments_of_didemo_are_those_that_people_agree_on(
    tmp_path: Path, cells: list[list[int]], moments: list[tuple[int, int]], note: str
):
    path = tmp_path / "train_data.json"
    path.write_text(json.dumps([DIDEMO | {"times": cells}]))

    found = read_timed_sentences(path)

    assert [(one.start_seconds, one.end_seconds) for one in found.sentences] == moments
    assert {(one.video, one.query) for one in found.sentences} == {("V0", 3)}
    assert note in "".join(found.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": [[2, 1]]}, r"entry 0: V0.mp4: expected `times` \[\[first cell, last cell\]"),
        ({"times": []}, "entry 0: V0.mp4: no `times`"),
        ({"times": [[0, 0]], "video": ""}, "expected an object with `video`, `description`"),
        ({"times": [[0, 0]], "description": ""}, "the sentence is empty"),
    ],
)
def test_entries_of_didemo_that_cannot_be_used(
    tmp_path: Path, change: dict[str, Any], message: str
):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([DIDEMO | change]))

    with pytest.raises(DataError, match=message):
        read_timed_sentences(path)


def test_of_several_moments_those_outside_the_video_are_left_out(new: MomentData):
    assert new.train is not None
    new.train.write_text(QVHIGHLIGHTS.replace("[10, 18]", "[25, 28]"))

    with pytest.raises(DataError, match=r"line 1: V0: from 25 to 28 seconds lies outside"):
        load_moments(new, "train", **DIMS)
    skipping = new.model_copy(update={"outside": "skip"})
    moments = load_moments(skipping, "train", **DIMS)
    assert moments.videos[0].queries[0].moments == ((0, 4),)
    assert len(moments.left_out) == 1


def test_the_subset_of_a_part_is_taken_for_moments_too(new: MomentData):
    assert new.train is not None
    new.train.write_text(
        "video,start,end,sentence,split\nV0,2,6,A man runs.,train\nV1,1,5,He sits.,val\n"
    )
    both = new.model_copy(update={"val": new.train, "test": None})

    names = [
        [video.name for video in load_moments(both, part, **DIMS).videos]
        for part in ("train", "val", "test")
    ]

    assert names == [["V0"], ["V1"], ["V1"]]


def test_frames_and_seconds_meet_where_the_rate_is_known(old: MomentData, tmp_path: Path):
    (tmp_path / "sta.txt").write_text("s1-d2.avi 1 4##a man cuts bread")
    texts = old.model_copy(update={"train": tmp_path / "sta.txt", "sentences": SentenceSettings()})

    (query,) = load_moments(texts, "train", **DIMS).videos[0].queries
    assert query.moments == (pytest.approx((29.4, 117.6)),)
    with pytest.raises(DataError, match="set the frames per second"):
        load_moments(texts.model_copy(update={"lengths": None}), "train", **DIMS)


def test_no_pair_at_all_is_said(new: MomentData):
    moments = load_moments(new, "train", **DIMS)

    with pytest.raises(DataError, match="no window overlaps a moment"):
        training_pairs(moments, min_tiou=1.0, max_outside=0.15)


def test_questions_are_asked_of_every_video(new: MomentData):
    source = load_windows(new, "test", visual_dim=9)

    moments = ask(["a man runs", "a dog"], source, new, sentence_dim=WORDS)

    assert [video.name for video in moments.videos] == ["V0", "V1"]
    assert len(moments) == 4
    with pytest.raises(DataError, match="is empty"):
        ask([" "], source, new, sentence_dim=WORDS)


def test_an_interrupted_epoch_goes_on_where_it_stopped(new: MomentData):
    pairs = PairDataset(load_moments(new, "train", **DIMS), new, seed=5)
    batches = TrainLoader(pairs, new, batch_size=1)

    whole, rest = list(batches.epoch(2)), list(batches.epoch(2, skip_batches=1))

    assert len(whole) == 3
    assert [int(b.pairs[0]) for b in whole[1:]] == [int(b.pairs[0]) for b in rest]
    assert torch.equal(whole[1].visual, rest[0].visual)
