"""Eight frames of a 300-frame clip: our sparse reading beside decoding in order and beside peers.

Clips are made on the spot (340x256, 30 a second, x264 medium crf 25). Every reader's frames are
compared with those of a plain decode before anything is timed; a reader that differs says by how
much and is timed all the same. One thread each. One JSON line a case.

    python benchmarks/bench_decode.py [--rounds 5] [--append results.jsonl]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.data.make_clips import moving_frames, write_clip

from videozoo.data.video import VideoFile, open_video

Frames = NDArray[np.uint8]
Read = Callable[[Path, Sequence[int]], Frames]

NUM_FRAMES = 300
CENTRES = [int((segment + 0.5) * NUM_FRAMES / 8) for segment in range(8)]


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


def decord_reader() -> Read:
    decord = importlib.import_module("decord")

    def read(path: Path, indices: Sequence[int]) -> Frames:
        return decord.VideoReader(str(path), num_threads=1).get_batch(list(indices)).asnumpy()

    return read


def torchcodec_reader() -> Read:
    decoders = importlib.import_module("torchcodec.decoders")

    def read(path: Path, indices: Sequence[int]) -> Frames:
        decoder = decoders.VideoDecoder(
            str(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact"
        )
        return decoder.get_frames_at(list(indices)).data.numpy()

    return read


def opencv_reader() -> Read:
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(1)

    def read(path: Path, indices: Sequence[int]) -> Frames:
        wanted = set(indices)
        frames: dict[int, Any] = {}
        capture = cv2.VideoCapture(str(path))
        for number in range(max(indices) + 1):
            capture.grab()
            if number in wanted:
                frames[number] = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
        capture.release()
        return np.stack([frames[index] for index in indices])

    return read


PEERS: dict[str, Callable[[], Read]] = {
    "decord": decord_reader,
    "torchcodec": torchcodec_reader,
    "opencv": opencv_reader,
}


def readers() -> tuple[dict[str, Read], dict[str, str]]:
    """What can be run here, and the versions of it."""
    found: dict[str, Read] = {"videozoo": read_sparsely, "pyav in order": read_in_order}
    versions = {"av": av.__version__, "numpy": np.__version__}
    for name, make in PEERS.items():
        try:
            found[name] = make()
        except Exception as error:  # a peer may fail to import in any way
            print(f"{name}: not here ({type(error).__name__})", file=sys.stderr)
        else:
            module = importlib.import_module("cv2" if name == "opencv" else name)
            versions[name] = str(getattr(module, "__version__", "?"))
    return found, versions


def times_ms(read: Read, path: Path) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    read(path, CENTRES)
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


def packets_sent(path: Path) -> int:
    with VideoFile(path) as reader:
        reader.read(CENTRES)
        return reader.packets_sent


def cases(folder: Path, *, rounds: int) -> list[dict[str, Any]]:
    found, versions = readers()
    lines: list[dict[str, Any]] = []
    for gop in (12, 250):
        for seed in (0, 1):
            path = write_clip(
                folder / f"gop{gop}_{seed}.mp4",
                moving_frames(NUM_FRAMES, height=256, width=340, seed=seed),
                options={"preset": "medium", "crf": "25", "g": str(gop)},
            )
            expected = read_in_order(path, CENTRES).astype(int)
            differences = {
                name: int(np.abs(read(path, CENTRES) - expected).max())
                for name, read in found.items()
            }
            assert differences["videozoo"] == 0
            taken: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
            for _ in range(rounds):  # in turn, so that load on the machine falls on all alike
                for name, read in found.items():
                    taken[name].append(times_ms(read, path))
            for name, pairs in taken.items():
                wall, cpu = ([pair[place] for pair in pairs] for place in (0, 1))
                quartiles = statistics.quantiles(wall, n=4, method="inclusive")
                lines.append(
                    {
                        "benchmark": "decode",
                        "reader": name,
                        "clip": f"x264 medium crf 25, 340x256, {NUM_FRAMES} frames",
                        "gop": gop,
                        "seed": seed,
                        "frames_read": len(CENTRES),
                        "wall_ms": [round(value, 2) for value in quartiles],
                        "cpu_ms_median": round(statistics.median(cpu), 2),
                        "packets_sent": packets_sent(path) if name == "videozoo" else None,
                        "largest_difference": differences[name],
                        "rounds": rounds,
                        "versions": versions,
                        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                        "python": platform.python_version(),
                    }
                )
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=cast(str, __doc__).partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="timings a case (default 5)")
    parser.add_argument("--append", type=Path, help="also append the lines to this file")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        lines = [json.dumps(line) for line in cases(Path(folder), rounds=max(2, arguments.rounds))]
    print("\n".join(lines))
    if arguments.append:
        with arguments.append.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
