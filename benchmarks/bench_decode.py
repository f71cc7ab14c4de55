"""Eight frames of a 300-frame clip: our sparse reading beside decoding in order and beside peers.

Clips are made on the spot (340x256, 30 a second, x264 medium crf 25) with a key frame every 12 and
every 250 frames; the frames wanted are those of an evaluation clip. One thread each. Packets sent
to the decoder are counted: a figure without noise.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from tests.data.make_clips import moving_frames, write_clip

from benchmarks.harness import (
    Options,
    Outcome,
    Target,
    Timing,
    UnequalError,
    as_figures,
    main,
    measure,
    peer,
    ratio,
)
from videozoo.data.frames.sampling import segment_frames
from videozoo.data.frames.video import VideoFile, open_video

Frames = NDArray[np.uint8]
Read = Callable[[Path, Sequence[int]], Frames]


def read_sparsely(path: Path, indices: Sequence[int]) -> Frames:
    with open_video(path) as reader:
        return reader.read(indices)


def read_in_order(path: Path, indices: Sequence[int]) -> Frames:
    """PyAV, one thread: decode to the last wanted frame, convert only the wanted."""
    wanted, last = set(indices), max(indices)
    frames: dict[int, Any] = {}
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                frames[number] = frame.to_ndarray(format="rgb24")
            if number == last:
                break
    return np.stack([frames[index] for index in indices])


def decord_reader(decord: Any) -> Read:
    def read(path: Path, indices: Sequence[int]) -> Frames:
        return decord.VideoReader(str(path), num_threads=1).get_batch(list(indices)).asnumpy()

    return read


def torchcodec_reader(decoders: Any) -> Read:
    def read(path: Path, indices: Sequence[int]) -> Frames:
        decoder = decoders.VideoDecoder(
            str(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact"
        )
        return decoder.get_frames_at(list(indices)).data.numpy()

    return read


def opencv_reader(cv2: Any) -> Read:
    """As the 2019 readers did: every frame read and converted (here: up to the last wanted)."""
    cv2.setNumThreads(1)

    def read(path: Path, indices: Sequence[int]) -> Frames:
        wanted = set(indices)
        frames: dict[int, Any] = {}
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        for number in range(max(indices) + 1):
            frame = capture.read()[1]
            if number in wanted:
                frames[number] = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        capture.release()
        return np.stack([frames[index] for index in indices])

    return read


PEERS: dict[str, tuple[str, Callable[[Any], Read]]] = {
    "decord": ("decord", decord_reader),
    "torchcodec": ("torchcodec.decoders", torchcodec_reader),
    "opencv, every frame": ("cv2", opencv_reader),
}


def readers() -> tuple[dict[str, Read], dict[str, str]]:
    """What can be run here, and why the others cannot."""
    found: dict[str, Read] = {"videozoo": read_sparsely, "pyav in order": read_in_order}
    absent: dict[str, str] = {}
    for name, (module, make) in PEERS.items():
        library, why_not = peer(module)
        if library is None:
            absent[name] = why_not
        else:
            found[name] = make(library)
    return found, absent


def packets_sent(path: Path, indices: Sequence[int]) -> int:
    with VideoFile(path) as reader:
        reader.read(indices)
        return reader.packets_sent


def packets_needed(path: Path, indices: Sequence[int]) -> int:
    """The least that gives exact frames: those wanted, and before them the reference frames since
    the last key frame. Counted apart from our reader, from the marks that H.264 puts on packets."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    shown = sorted(range(len(packets)), key=lambda number: packets[number].pts or 0)
    wanted = {shown[index] for index in indices}
    needed = set(wanted)
    for packet in wanted:
        start = max(n for n in range(packet + 1) if packets[n].is_keyframe)
        needed |= {n for n in range(start, packet) if _is_reference(bytes(packets[n]))}
    return len(needed)


def _is_reference(data: bytes) -> bool:
    """True where the first slice of an mp4 packet says that other frames may lean on it."""
    place = 0
    while data[place + 4] & 31 not in {1, 5}:  # past parameter sets and notes
        place += 4 + int.from_bytes(data[place : place + 4])
    return data[place + 4] & 0x60 != 0


def run(options: Options) -> Outcome:
    num_frames, seeds, rounds = (60, (0,), 1) if options.quick else (300, (0, 1), 5)
    if options.full:
        seeds, rounds = (0, 1, 2, 3), 9
    wanted = segment_frames(num_frames, num_segments=8, centre="first")
    found, absent = readers()
    figures: dict[str, Any] = {"frames": wanted, "not here": absent}
    targets: list[Target] = []
    with tempfile.TemporaryDirectory() as folder:
        for gop in (12, 250):
            taken: list[dict[str, Timing]] = []
            packets: list[tuple[int, int]] = []
            for seed in seeds:
                path = write_clip(
                    Path(folder) / f"gop{gop}_{seed}.mp4",
                    moving_frames(num_frames, height=256, width=340, seed=seed),
                    options={"preset": "medium", "crf": "25", "g": str(gop)},
                )
                differences = _differences(found, path, wanted)
                packets.append((packets_sent(path, wanted), packets_needed(path, wanted)))
                sides = {name: partial(read, path, wanted) for name, read in found.items()}
                taken.append(measure(sides, rounds=rounds))
                figures[f"key frame every {gop}, clip {seed}"] = {
                    "packets_sent": packets[-1][0],
                    "packets_needed": packets[-1][1],
                    "largest_difference": differences,
                    **as_figures(taken[-1]),
                }
            targets += _targets(gop, taken, packets, absent)
    return Outcome(
        "decode",
        targets,
        figures,
        ("av", "numpy", "decord", "torchcodec", "opencv-python-headless", "torch"),
    )


def _differences(found: dict[str, Read], path: Path, wanted: Sequence[int]) -> dict[str, int]:
    """Largest difference to a plain decode, in grey levels; our own must be none."""
    expected = read_in_order(path, wanted).astype(int)
    differences = {
        name: int(np.abs(read(path, wanted) - expected).max()) for name, read in found.items()
    }
    if differences["videozoo"]:
        raise UnequalError(f"{path.name}: frames differ by {differences['videozoo']}")
    return differences


def _targets(
    gop: int, taken: list[dict[str, Timing]], packets: list[tuple[int, int]], absent: dict[str, str]
) -> list[Target]:
    """Ratios are medians over the clips."""
    worst = max(packets, key=lambda pair: (pair[0] - pair[1], pair[0]))
    limits = {"torchcodec": 1.3, "opencv, every frame": 1.8}
    targets = [
        Target(
            name=f"decode, key frame every {gop}: packets sent, beside those that must be",
            limit=worst[1],
            figure=worst[0],
            is_least=False,
            unit="packets",
        )
    ]
    for name in ("torchcodec", "opencv, every frame", "decord", "pyav in order"):
        figure = None
        if name not in absent:
            figure = statistics.median(ratio(timings, name, "videozoo") for timings in taken)
        targets.append(
            Target(
                name=f"decode, key frame every {gop}: times as fast as {name}",
                limit=limits.get(name),
                figure=figure,
                why_not=absent.get(name, ""),
            )
        )
    return targets


if __name__ == "__main__":
    main(run)
