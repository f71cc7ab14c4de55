"""Reading YouTube-8M's shards: ours beside the `tfrecord` package, records a second on one core.

One shard of made videos (up to 300 frames, rgb and audio) is read whole by both; ours verifies
every checksum, the other skips them. Every value is compared first.

    python -m benchmarks tagging_records
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import (
    Options,
    Outcome,
    Target,
    UnequalError,
    as_figures,
    main,
    measure,
    one_thread,
    ratio,
)
from videozoo.data.features.record_formats import open_records, write_shard
from videozoo.data.features.records import FeatureRecord

Frames = dict[str, NDArray[np.uint8]]
_TYPES = {"rgb": "byte", "audio": "byte"}


def made(count: int) -> Iterator[FeatureRecord]:
    rng = np.random.default_rng(0)
    for number in range(count):
        length = int(rng.integers(120, 301))
        yield FeatureRecord(
            f"v{number}",
            {
                "rgb": rng.integers(0, 256, (length, 1024), np.uint8),
                "audio": rng.integers(0, 256, (length, 128), np.uint8),
            },
            (number % 3862,),
        )


def ours(path: Path) -> Iterator[Frames]:
    file = open_records(path)
    for number in range(len(file)):
        yield {name: np.asarray(rows) for name, rows in file.read(number).streams.items()}


def theirs(path: Path) -> Iterator[Frames]:
    import tfrecord

    loader: Any = tfrecord.tfrecord_loader(
        str(path), None, {"id": "byte", "labels": "int"}, sequence_description=_TYPES
    )
    for _, streams in loader:
        yield {
            name: np.stack([np.frombuffer(row, np.uint8) for row in streams[name]])
            for name in _TYPES
        }


def read_all(side: Any, path: Path) -> int:
    return sum(len(frames["rgb"]) for frames in side(path))


def compared(options: Options) -> tuple[list[Target], dict[str, Any]]:
    count = 20 if options.quick else 500
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train0000.tfrecord"
        write_shard(path, made(count))
        pairs = zip(ours(path), theirs(path), strict=True)
        if not all(np.array_equal(a[n], b[n]) for a, b in pairs for n in _TYPES):
            raise UnequalError("the two readers give different frames")
        sides = {
            "videozoo": partial(read_all, ours, path),
            "plain": partial(read_all, theirs, path),
        }
        timings = measure(sides, rounds=2 if options.quick else 5)
    rates = {name: count / (timing.cpu_ms / 1000) for name, timing in timings.items()}
    targets = [
        Target(
            name="YouTube-8M records read, one core",
            limit=2000,
            figure=rates["videozoo"],
            unit="records/s",
        ),
        Target(
            name="records read: as fast as the tfrecord package",
            limit=5,
            figure=ratio(timings, "plain", "videozoo"),
        ),
    ]
    return targets, as_figures(timings) | {"records_per_second": rates, "records": count}


def run(options: Options) -> Outcome:
    one_thread()
    targets, figures = compared(options)
    return Outcome("tagging_records", targets, figures, packages=("tfrecord", "numpy"))


if __name__ == "__main__":
    main(run)
