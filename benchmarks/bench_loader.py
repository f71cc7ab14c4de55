"""Clips a second through the real loader, beside decoding alone, and how long a trainer waits.

A training list of made videos (340x256, x264, key frame every 12) is read as training reads it:
drawn frames, crop, mirror, batches; with 0, 1 and 2 workers. Decoding alone reads the frames of
the same clips in one process. Then a narrow TSM is trained on it, and the time it waits for
batches is counted.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tests.data.make_clips import moving_frames, write_clip
from torch.nn import functional as F

from benchmarks.harness import Options, Outcome, Target, main, one_thread
from videozoo.data.annotations.videos import ClipEntry
from videozoo.data.clips import ClipBatch, ClipDataset, load_entries
from videozoo.data.frames.sampling import segment_frames_random
from videozoo.data.frames.video import open_video
from videozoo.data.frames.views import Draws
from videozoo.data.loader import TrainLoader
from videozoo.engine.devices import use_channels_last
from videozoo.models import build_model
from videozoo.ops import normalize
from videozoo.settings.clips import ClipData
from videozoo.types import ClipShape

SHAPE = ClipShape(sampling="segments", num_steps=8)
BATCH_SIZE = 4


def run(options: Options) -> Outcome:
    one_thread()
    num_videos, num_frames, rounds = (4, 24, 1) if options.quick else (16, 150, 3)
    if options.full:
        num_videos, num_frames = 32, 300
    with tempfile.TemporaryDirectory() as name:
        size = (64, 96) if options.quick else (256, 340)
        data = _make_list(Path(name), num_videos, num_frames, size)
        entries = load_entries(data, "train")
        alone = [_decode_alone(entries, epoch) for epoch in range(rounds)]
        loaded: dict[int, list[dict[str, float]]] = {}
        for num_workers in (0, 1) if options.quick else (0, 1, 2):
            batches = _batches(entries, data, num_workers)
            loaded[num_workers] = [_load(batches, epoch) for epoch in range(rounds)]
            del batches
        waits = {
            num_workers: _training(entries, data, num_workers, epochs=1 if options.quick else 2)
            for num_workers in ((1,) if options.quick else (0, 1))
        }
    decode_ms = statistics.median(run["cpu_ms_a_clip"] for run in alone)
    in_process = statistics.median(run["cpu_ms_a_clip"] for run in loaded[0])
    targets = [
        Target(
            name="loader in the training process: CPU time over decoding alone",
            limit=1.25,
            figure=in_process / decode_ms,
            is_least=False,
        ),
        *(
            Target(
                name=f"loader, {num_workers} workers: clips a second",
                figure=statistics.median(run["clips_a_second"] for run in runs),
                unit="clips/s",
            )
            for num_workers, runs in loaded.items()
        ),
        *(
            Target(
                name=f"narrow TSM in training, {num_workers} workers: share of time waiting",
                figure=100 * found["waiting"],
                unit="%",
            )
            for num_workers, found in waits.items()
        ),
    ]
    figures = {
        "decode alone": alone,
        "loader": {f"{n} workers": runs for n, runs in loaded.items()},
        "training": {f"{n} workers": found for n, found in waits.items()},
        "videos": num_videos,
        "frames a video": num_frames,
        "batch_size": BATCH_SIZE,
    }
    return Outcome("loader", targets, figures, ("torch", "av", "numpy"))


def _make_list(folder: Path, num_videos: int, num_frames: int, size: tuple[int, int]) -> ClipData:
    lines: list[str] = []
    for number in range(num_videos):
        path = folder / f"{number}.mp4"
        if number < 4:
            write_clip(
                path,
                moving_frames(num_frames, height=size[0], width=size[1], seed=number),
                options={"preset": "veryfast", "crf": "25", "g": "12"},
            )
        else:  # the same four videos under other names
            path.write_bytes((folder / f"{number % 4}.mp4").read_bytes())
        lines.append(f"{path} {number % 2}\n")
    listed = folder / "train.txt"
    listed.write_text("".join(lines), encoding="utf-8")
    return ClipData(train=listed, format="list")


def _batches(entries: list[ClipEntry], data: ClipData, num_workers: int) -> TrainLoader[ClipBatch]:
    data = data.model_copy(update={"num_workers": num_workers})
    return TrainLoader(ClipDataset(entries, SHAPE, data), data, batch_size=BATCH_SIZE)


def _decode_alone(entries: list[ClipEntry], epoch: int) -> dict[str, float]:
    """Read the frames that the loader will read, and nothing else."""
    with _clock() as spent:
        for place, entry in enumerate(entries):
            with open_video(entry.path) as reader:
                draws = Draws.of(0, epoch, place)
                reader.read(
                    segment_frames_random(reader.num_frames, num_segments=8, rng=draws.python)
                )
    return _a_clip(spent, len(entries))


def _load(batches: TrainLoader[ClipBatch], epoch: int) -> dict[str, float]:
    num_clips = 0
    with _clock() as spent:
        for batch in batches.epoch(epoch):
            num_clips += len(batch)
    return _a_clip(spent, num_clips)


def _training(
    entries: list[ClipEntry], data: ClipData, num_workers: int, *, epochs: int
) -> dict[str, float]:
    """Share of the time of a training that goes by between a step and the next batch."""
    torch.manual_seed(0)
    module = build_model("tsm", num_classes=2, depth=18, width=0.25)
    use_channels_last(module)
    optimizer = torch.optim.SGD(module.parameters(), 0.01, momentum=0.9)
    batches = _batches(entries, data, num_workers)
    waiting = working = 0.0
    for epoch in range(epochs):
        last = time.perf_counter()
        for batch in batches.epoch(epoch):
            got = time.perf_counter()
            waiting += got - last
            logits = module(normalize(batch.clips, data.mean, data.std))
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(logits, batch.labels).backward()
            optimizer.step()
            last = time.perf_counter()
            working += last - got
    return {"waiting": waiting / (waiting + working), "seconds": waiting + working}


@contextmanager
def _clock() -> Generator[dict[str, float]]:
    spent: dict[str, float] = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield spent
    spent["wall"] = time.perf_counter() - wall
    spent["cpu"] = time.process_time() - cpu


def _a_clip(spent: dict[str, float], num_clips: int) -> dict[str, Any]:
    """CPU time is that of this process: without the workers', where there are any."""
    return {
        "clips": num_clips,
        "clips_a_second": round(num_clips / spent["wall"], 2),
        "cpu_ms_a_clip": round(1000 * spent["cpu"] / num_clips, 2),
    }


if __name__ == "__main__":
    main(run)
