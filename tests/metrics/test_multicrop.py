from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoo.metrics.multicrop import MultiCropCounter, VideoScores, top_classes


def counter_of(clips: list[int], *, videos: int, most: int, seed: int = 0) -> MultiCropCounter:
    scores = np.random.default_rng(seed).random((len(clips), 6)).astype(np.float32)
    counter = MultiCropCounter([v % 6 for v in range(videos)], num_classes=6, clips_per_video=most)
    counter.update(clips, scores)
    return counter


def test_a_video_is_judged_by_the_sum_of_its_clips_not_by_their_votes():
    counter = MultiCropCounter([0], num_classes=2, clips_per_video=3)
    counter.update([0, 0, 0], [[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])

    result = counter.result()

    assert result.top1 == 1.0
    assert result.clip_accuracy == pytest.approx(1 / 3)
    assert result.clip1_accuracy == 1.0


def test_clips_beyond_the_planned_number_are_skipped_in_order_of_arrival():
    counter = MultiCropCounter([0], num_classes=2, clips_per_video=1)
    counter.update([0, 0], [[0.6, 0.4], [0.0, 1.0]])

    assert counter.result().top1 == 1.0
    assert counter.result().clips == 1


def test_videos_without_clips_count_as_wrong():
    # with no clips all sums are equal, and class 0 would be the guess
    counter = MultiCropCounter([0, 0], num_classes=2, clips_per_video=1)
    counter.update([1], [[0.9, 0.1]])

    result = counter.result()

    assert (result.top1, result.top5, result.empty) == (0.5, 0.5, 1)
    assert result.incomplete.tolist() == [0]
    assert "Num of empty videos: 1" in result.log_lines()


def test_no_clips_at_all_is_no_crash():
    result = MultiCropCounter([1, 0], num_classes=2, clips_per_video=2).result()

    assert result.top1 == 0.0
    assert np.isnan(result.clip_accuracy)


@given(st.lists(st.integers(0, 3), max_size=20), st.integers(1, 4), st.data())
def test_batches_do_not_matter(clips: list[int], most: int, data: st.DataObject):
    cut = data.draw(st.integers(0, len(clips)))
    scores = np.random.default_rng(0).random((len(clips), 6)).astype(np.float32)
    parts = MultiCropCounter([0, 1, 2, 3], num_classes=6, clips_per_video=most)
    parts.update(clips[:cut], scores[:cut])
    parts.update(clips[cut:], scores[cut:])

    whole = counter_of(clips, videos=4, most=most)

    assert parts.result().log_lines() == whole.result().log_lines()
    np.testing.assert_array_equal(parts.sums, whole.sums)


def test_processes_that_saw_different_videos_add_up():
    clips = [0, 1, 2, 3, 0, 1, 2, 3]
    scores = np.random.default_rng(0).random((8, 6)).astype(np.float32)
    even, odd = (MultiCropCounter([0, 1, 2, 3], num_classes=6, clips_per_video=2) for _ in range(2))
    for counter, place in ((even, slice(0, None, 2)), (odd, slice(1, None, 2))):
        counter.update(clips[place], scores[place])

    even.merge(odd.state())

    assert even.result().log_lines() == counter_of(clips, videos=4, most=2).result().log_lines()


def test_a_video_seen_by_two_processes_is_refused():
    first = counter_of([0], videos=2, most=2)

    with pytest.raises(ValueError, match="video 0 was seen by both"):
        first.merge(counter_of([0], videos=2, most=2))


@pytest.mark.parametrize("video", [-1, 2])
def test_a_video_outside_the_list_is_refused(video: int):
    with pytest.raises(ValueError, match=r"expected 0\.\.1"):
        counter_of([video], videos=2, most=1)


@given(st.permutations([0, 0, 0, 1, 1, 2, 2, 2, 2]))
def test_a_video_is_averaged_once_all_its_views_came_and_then_forgotten(order: list[int]):
    expected = {0: 3, 1: 2, 2: 4}
    views = np.random.default_rng(1).random((len(order), 5))
    scores = VideoScores(expected.__getitem__)
    done: dict[int, np.ndarray] = {}

    for number, (video, view) in enumerate(zip(order, views, strict=True), start=1):
        mean = scores.add(video, view)
        if mean is not None:
            done[video] = mean
        assert len(scores) == len(set(order[:number]) - set(done))

    assert len(scores) == 0
    for video, mean in done.items():
        mine = views[[number for number, other in enumerate(order) if other == video]]
        np.testing.assert_allclose(mean, mine.mean(0))


def test_videos_that_still_wait_can_be_asked_for():
    scores = VideoScores(3)
    scores.add(4, [0.2, 0.8])
    scores.add(4, [0.4, 0.6])

    mean, views = scores.unfinished[4]

    assert views == 2
    np.testing.assert_allclose(mean, [0.3, 0.7])


def test_the_callers_array_is_not_changed():
    row = np.array([0.5, 0.5])
    scores = VideoScores(2)
    scores.add(0, row)
    scores.add(0, row)

    assert row.tolist() == [0.5, 0.5]


def test_more_classes_than_there_are_gives_all():
    assert top_classes([0.1, 0.9], 20) == [(1, 0.9), (0, 0.1)]


def test_means_that_are_kept_lie_together_and_stay_as_they_are():
    scores = VideoScores(1)
    rows = np.random.default_rng(0).random((3000, 50))

    kept = [scores.add(video, row) for video, row in enumerate(rows)]

    assert all(mean is not None for mean in kept)
    assert np.array_equal(np.array(kept), rows)
    assert len({id(mean.base) for mean in kept if mean is not None}) == 2
