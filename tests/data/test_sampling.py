import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoo.data.frames import sampling

GOLDEN = Path(__file__).parents[1] / "golden" / "reader_kinetics"

counts = st.integers(1, 400)
small = st.integers(1, 12)
seeds = st.integers(0, 2**31)


def test_segment_frames_are_those_of_2019():
    table = json.loads((GOLDEN / "index_table.json").read_text())

    for key, recorded in table.items():
        n, segments, run = map(int, key.split(",")[:3])
        for source, numbers in recorded.items():
            if key.endswith("train"):
                rng = random.Random(n * 1000 + segments * 10 + run)
                ours = sampling.segment_frames_random(n, num_segments=segments, run=run, rng=rng)
            else:
                centre = "run" if source == "pkl" else "first"
                ours = sampling.segment_frames(n, num_segments=segments, run=run, centre=centre)
            assert ours == numbers, (key, source)


@given(n=counts, segments=small, run=small, seed=seeds)
def test_every_frame_number_exists(n: int, segments: int, run: int, seed: int):
    rng = random.Random(seed)
    clips = [
        sampling.segment_frames_random(n, num_segments=segments, run=run, rng=rng),
        sampling.segment_frames(n, num_segments=segments, run=run),
        sampling.segment_frames(n, num_segments=segments, run=run, centre="first"),
        sampling.dense_frames_random(n, length=segments * run, stride=run, rng=rng),
        sampling.dense_frames(n, length=segments * run, stride=run),
        sampling.dense_frames(n, length=segments * run, stride=run, clip=1, num_clips=3),
    ]

    assert all(len(clip) == segments * run for clip in clips)
    assert all(0 <= number < n for clip in clips for number in clip)


@given(segments=small, run=small, spare=st.integers(0, 30), seed=seeds, clips=st.integers(1, 5))
def test_a_run_stays_within_its_segment(segments: int, run: int, spare: int, seed: int, clips: int):
    length = run + spare
    rng = random.Random(seed)
    drawn = sampling.segment_frames_random(
        segments * length, num_segments=segments, run=run, rng=rng
    )
    fixed = [
        sampling.segment_frames(
            segments * length, num_segments=segments, run=run, clip=k, num_clips=clips
        )
        for k in range(clips)
    ]

    for clip in (drawn, *fixed):
        for segment in range(segments):
            taken = clip[segment * run : (segment + 1) * run]
            assert taken == list(range(taken[0], taken[0] + run))
            assert segment * length <= taken[0]
            assert taken[-1] < (segment + 1) * length


@given(n=st.integers(40, 400), clips=st.integers(2, 5))
def test_later_clips_look_later(n: int, clips: int):
    segments = [
        sampling.segment_frames(n, num_segments=2, clip=k, num_clips=clips) for k in range(clips)
    ]
    dense = [
        sampling.dense_frames(n, length=2, stride=2, clip=k, num_clips=clips) for k in range(clips)
    ]

    assert segments == sorted(segments)
    assert len({tuple(clip) for clip in segments}) == clips
    assert [clip[0] for clip in dense] == sorted(clip[0] for clip in dense)


@given(n=counts, length=small, stride=small)
def test_the_middle_clip_leaves_as_much_before_as_behind(n: int, length: int, stride: int):
    start = sampling.dense_frames(n, length=length, stride=stride)[0]
    behind = n - length * stride - start

    assert start == 0 if n < length * stride else behind - start in (0, 1)


def test_drawn_clips_reach_both_ends():
    rng = random.Random(0)
    firsts = {sampling.dense_frames_random(12, length=4, stride=2, rng=rng)[0] for _ in range(200)}
    starts = {
        sampling.segment_frames_random(10, num_segments=2, run=2, rng=rng)[0] for _ in range(200)
    }

    assert firsts == {0, 1, 2, 3, 4}
    assert starts == {0, 1, 2, 3}


def test_a_short_video_draws_nothing():
    rng = random.Random(5)
    state = rng.getstate()

    sampling.segment_frames_random(5, num_segments=4, run=2, rng=rng)
    sampling.dense_frames_random(8, length=4, stride=2, rng=rng)

    assert rng.getstate() == state


@pytest.mark.parametrize("counts", [(0, 1, 1), (5, 0, 1), (5, 1, 0)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int]):
    n, segments, run = counts
    with pytest.raises(ValueError, match="must be 1 or more, got 0"):
        sampling.segment_frames(n, num_segments=segments, run=run)
    with pytest.raises(ValueError, match="must be 1 or more, got 0"):
        sampling.dense_frames(n, length=segments, stride=run)


def test_clips_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="clip 2 of 2"):
        sampling.segment_frames(9, num_segments=3, clip=2, num_clips=2)
    with pytest.raises(ValueError, match="0 or more, got -1"):
        sampling.dense_frames(9, length=3, stride=1, clip=-1)
