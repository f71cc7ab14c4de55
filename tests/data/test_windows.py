"""Windows over long videos: which frames, and that they are decoded once."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from videozoo.data.frames.video import VideoInfo
from videozoo.data.frames.views import ViewPlan
from videozoo.data.frames.windows import (
    FrameTimes,
    WindowPlan,
    clip_windows,
    num_windows,
    read_windows,
    window_frames,
)
from videozoo.errors import VideoError

VIEW = ViewPlan(num_steps=3, short_side=8, crop_size=6)


class Numbered:
    """A video whose frame k is all k, modulo 251; counts what is decoded."""

    def __init__(self, num_frames: int, rate: float | None = 10.0, *, comes_out: int | None = None):
        self.num_frames = num_frames
        self.rate = rate
        self.comes_out = num_frames if comes_out is None else comes_out
        self.frame_seconds: list[float] | None = None
        self.passes = self.decoded = 0

    @property
    def info(self) -> VideoInfo:
        return VideoInfo(
            num_frames=self.num_frames,
            height=8,
            width=10,
            frames_per_second=self.rate,
            codec="",
            container="",
            rotation=0,
        )

    def frames_at(self, indices: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        self.passes += 1
        for number in sorted(set(indices)):
            if number < self.comes_out:
                self.decoded += 1
                yield number, np.full((8, 10, 3), number % 251, np.uint8)


def read(reader: Any, plan: WindowPlan, batch_size: int = 4) -> list[NDArray[np.uint8]]:
    numbers = window_frames(FrameTimes.of(reader, "x.mp4"), plan)
    found = read_windows(reader, [(numbers, plan)], batch_size=batch_size, name="x.mp4")
    return [windows for _, windows in found]


def steady(num_frames: int, rate: float) -> FrameTimes:
    return FrameTimes(np.arange(num_frames) / rate, num_frames / rate)


lengths = st.integers(1, 400)
frame_rates = st.sampled_from([5.0, 12.0, 23.976, 25.0, 30.0, 60.0])
rates = st.sampled_from([0.1, 0.5, 1.0, 2.0, 3.0, 25.0])


@given(frames=lengths, frame_rate=frame_rates, rate=rates)
def test_every_moment_is_within_half_a_cell_of_a_centre(
    frames: int, frame_rate: float, rate: float
):
    duration = frames / frame_rate
    count = num_windows(duration, rate)
    last_centre = (count - 0.5) / rate

    assert count == 1 or last_centre < duration
    assert duration - last_centre <= 1 / rate + 1e-5


@given(
    frames=lengths,
    frame_rate=frame_rates,
    rate=rates,
    steps=st.integers(1, 8),
    run=st.integers(1, 5),
    window=st.one_of(st.none(), st.floats(0.01, 20)),
)
def test_frames_exist_and_windows_move_on(
    frames: int, frame_rate: float, rate: float, steps: int, run: int, window: float | None
):
    view = replace(VIEW, num_steps=steps, frames_per_step=run, frame_stride=3)
    times = steady(frames, frame_rate)

    numbers = window_frames(times, clip_windows(view, rate=rate, window_seconds=window))

    assert numbers.shape == (num_windows(times.duration_seconds, rate), steps * run)
    assert numbers.min() >= 0
    assert numbers.max() < frames
    assert (np.diff(numbers, axis=0) >= 0).all()


@given(frames=st.integers(40, 200), frame_rate=frame_rates)
def test_a_step_is_the_frame_shown_in_the_middle_of_its_slice(frames: int, frame_rate: float):
    times = steady(frames, frame_rate)
    plan = clip_windows(VIEW, rate=2, window_seconds=0.5)

    numbers = window_frames(times, plan)

    for window, steps in enumerate(numbers.tolist()):
        for step, number in enumerate(steps):
            moment = window * 0.5 + (step + 0.5) * 0.5 / 3
            shown = min(int((moment + 1e-3) * frame_rate + 1e-9), frames - 1)
            assert number == shown


def test_runs_are_neighbouring_frames_around_the_middle():
    view = replace(VIEW, num_steps=2, frames_per_step=5)

    numbers = window_frames(steady(40, 10), clip_windows(view, rate=0.25, window_seconds=4))

    assert numbers.tolist() == [[8, 9, 10, 11, 12, 28, 29, 30, 31, 32]]


def test_dense_clips_keep_their_stride_whatever_the_frame_rate():
    view = replace(VIEW, sampling="dense", num_steps=4, frame_stride=2)

    for frame_rate, centre in ((10.0, 15), (20.0, 30)):  # of window 1, at 1.5 seconds
        numbers = window_frames(steady(40, frame_rate), clip_windows(view, rate=1))
        assert numbers[1].tolist() == [centre - 4, centre - 2, centre, centre + 2]


def test_frames_beyond_the_ends_repeat_the_edge():
    numbers = window_frames(steady(4, 4), clip_windows(VIEW, rate=1, window_seconds=6))

    assert numbers.tolist() == [[0, 2, 3]]


def test_time_stamps_count_and_not_the_average_rate():
    reader: Any = Numbered(4)
    reader.frame_seconds = [0.0, 3.0, 3.1, 3.2]
    times = FrameTimes.of(reader, "x.mp4")
    plan = clip_windows(replace(VIEW, num_steps=1), rate=1, window_seconds=1)

    assert times.duration_seconds == pytest.approx(3.2 + 3.2 / 3)
    assert window_frames(times, plan)[:, 0].tolist() == [0, 0, 0, 3]


def test_time_stamps_of_years_are_refused_before_their_windows_are_made():
    reader: Any = Numbered(2)
    reader.frame_seconds = [0.0, 2.0**62]
    plan = clip_windows(VIEW, rate=2, window_seconds=1)

    with pytest.raises(VideoError, match=r"^x\.mp4: by its time stamps it lasts .* 2 frames"):
        window_frames(FrameTimes.of(reader, "x.mp4"), plan, name="x.mp4")


def test_a_video_without_a_clock_is_refused():
    with pytest.raises(VideoError, match=r"x: does not say how many frames per second"):
        FrameTimes.of(Numbered(4, rate=None), "x")  # pyright: ignore[reportArgumentType]


@given(
    frames=st.integers(1, 120),
    rate=rates,
    window=st.sampled_from([0.05, 0.5, 3.0]),
    batch_size=st.integers(1, 7),
)
def test_windows_hold_their_frames_in_order_and_each_is_decoded_once(
    frames: int, rate: float, window: float, batch_size: int
):
    reader: Any = Numbered(frames)
    view = replace(VIEW, frames_per_step=2)
    plan = clip_windows(view, rate=rate, window_seconds=window)
    numbers = window_frames(FrameTimes.of(reader, "x.mp4"), plan)

    batches = read(reader, plan, batch_size)

    assert reader.passes == 1
    assert reader.decoded <= frames
    assert all(len(batch) == batch_size for batch in batches[:-1])
    clips = np.concatenate(batches)
    assert clips.shape == (len(numbers), 3, 6, 6, 6)
    seen = clips[:, :, 0, 0, [0, 3]].reshape(len(numbers), -1)  # both frames of each step
    np.testing.assert_array_equal(seen, numbers % 251)


def test_memory_does_not_grow_with_the_length():
    view = replace(VIEW, short_side=64, crop_size=64)
    plan = clip_windows(view, rate=5, window_seconds=2)
    peaks: list[int] = []
    for length in (150, 1200):
        reader: Any = Numbered(length)
        numbers = window_frames(FrameTimes.of(reader, "x"), plan)
        tracemalloc.start()
        for _ in read_windows(reader, [(numbers, plan)], batch_size=4, name="x"):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < 1.5 * peaks[0]


def test_a_video_that_ends_early_is_said_to_be_damaged():
    plan = clip_windows(VIEW, rate=2, window_seconds=0.5)

    with pytest.raises(VideoError, match=r"x.mp4: damaged: of 40 frames .* those after 24 did"):
        read(Numbered(40, comes_out=25), plan)


def test_frames_behind_the_last_window_need_not_come_out():
    plan = clip_windows(replace(VIEW, num_steps=1), rate=0.25, window_seconds=4)

    reader = Numbered(40, comes_out=25)

    assert len(read(reader, plan)[0]) == 1
    assert reader.decoded == 1  # the centre at two seconds
