"""Small videos for tests: made on the spot, the same every time."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray


def moving_frames(
    num_frames: int, *, height: int = 64, width: int = 96, seed: int = 0
) -> NDArray[np.uint8]:
    """A drifting texture with moving squares, noise and a cut in the middle: (T, H, W, 3)."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    speeds = random.uniform(-3, 3, (6, 2))
    starts = random.uniform(0, min(height, width), (6, 2))
    colours = random.integers(0, 256, (6, 3))
    size = max(4, height // 8)
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    for time in range(num_frames):
        phase = 40.0 if time >= num_frames // 2 else 0.0
        waves = [
            np.sin((rows + phase + speed * time) / 9.0 + channel)
            + np.cos((columns - time * speed) / 13.0 + phase)
            for channel, speed in enumerate((0.7, 1.1, 1.6))
        ]
        frame = 128 + 45 * np.stack(waves, axis=-1) + random.normal(0, 4, (height, width, 1))
        for start, speed, colour in zip(starts, speeds, colours, strict=True):
            top = int(start[0] + speed[0] * time) % max(1, height - size)
            left = int(start[1] + speed[1] * time) % max(1, width - size)
            frame[top : top + size, left : left + size] = colour
        frames[time] = np.clip(frame, 0, 255)
    return frames


def write_clip(
    path: Path,
    frames: NDArray[np.uint8],
    *,
    codec: str = "libx264",
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    rate: int = 30,
    pix_fmt: str = "yuv420p",
    times: Sequence[int] | None = None,
    rotation: int | None = None,
    full_range: bool = False,
) -> Path:
    """Encode frames (T, H, W, 3) into the container that `path`'s suffix names.

    Args:
        path: Where to write.
        frames: RGB.
        codec: FFmpeg's name of the encoder.
        options: Of the encoder.
        container_options: Of the container.
        rate: Frames per second; times are in 1/(100 rate) seconds.
        pix_fmt: FFmpeg's name of the stored pixel format.
        times: Presentation time of each frame; equally spaced if None.
        rotation: Degrees counterclockwise by which a player turns the frames.
        full_range: Mark and convert as full-range colour.

    Returns:
        `path`.
    """
    options_of_file = dict(container_options or {})
    with usual_priority(), av.open(str(path), "w", options=options_of_file) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=rate))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        stream.codec_context.options = dict(options or {})
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, rate if times is None else 100 * rate)
        if full_range:
            stream.codec_context.color_range = 2
        if rotation is not None:
            cast(Any, stream).set_display_rotation(rotation)
        for number, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            if full_range:
                frame = frame.reformat(format=pix_fmt, dst_color_range="JPEG")
            frame.time_base = stream.codec_context.time_base
            frame.pts = number if times is None else times[number]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@contextmanager
def usual_priority() -> Generator[None]:
    """Undo what SVT-AV1 does where root runs it: it makes the whole process a real-time one.

    Processes that such a one starts inherit that, and let no other have the cores.
    """
    try:
        yield
    finally:
        if hasattr(os, "sched_setscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def write_sound(path: Path, *, codec: str = "aac", seconds: float = 0.5) -> Path:
    """A file with a tone and no video."""
    with av.open(str(path), "w") as container:
        stream = cast(AudioStream, container.add_stream(codec, rate=16000, layout="mono"))
        samples = np.sin(np.arange(int(16000 * seconds)) / 10).astype(np.float32)[None] / 2
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def decode_all(path: Path) -> NDArray[np.uint8]:
    """Every frame as PyAV gives them one after the other: what any other reading must equal."""
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(cast("list[NDArray[np.uint8]]", frames))
