"""A process that leaves in many ways while loaders of every kind have workers: FOLDER CLIPS SHARDS.

Each way is taken by a fork of this process, so that torch is imported once. A line is printed for
each: the way, how it ended, and how many workers outlived it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tests.data.test_tags import BOTH, CLASSES
from videozoo.data import clips
from videozoo.data.loader import Batch, EvalLoader, Reading, TrainLoader, VideoDataset
from videozoo.data.tags import FeatureDataset, load_records
from videozoo.settings.tags import FeatureData
from videozoo.types import ClipShape

WAYS = ("kept", "error", "notebook", "sys.exit", "Ctrl-C", "SIGTERM", "child process")
LIMIT_SECONDS = 40
LOADERS: list[Any] = []


@dataclass(frozen=True)
class Numbers(Batch):
    """The least that a batch can hold."""

    numbers: tuple[int, ...]
    on_device: ClassVar = ()


class Counting(VideoDataset[int, Numbers]):
    """Numbers in place of videos."""

    def __len__(self) -> int:
        return 40

    def read(self, number: int, epoch: int | None) -> int:
        return number

    def collate(self, items: Sequence[int]) -> Numbers:
        return Numbers(tuple(items))


def loaders(clip_list: Path, shards: Path) -> list[Any]:
    """A training and an evaluation of each kind, none of them started."""
    shape = ClipShape(sampling="segments", num_steps=2)
    data = clips.ClipData(train=clip_list, num_workers=1, short_side=40, crop_size=32)
    entries = clips.load_entries(data, "train")
    features = FeatureData(train=shards, val=shards, num_workers=1)
    tags = FeatureDataset(load_records(features, "train"), BOTH, features, num_classes=CLASSES)
    one = Reading(num_workers=1, prefetch_batches=1)
    return [
        TrainLoader(clips.ClipDataset(entries, shape, data), data, batch_size=1),
        TrainLoader(tags, features, batch_size=1),
        TrainLoader(Counting(), one, batch_size=1),
        EvalLoader(clips.ViewDataset(entries, shape, data), data, batch_size=1),
        EvalLoader(tags, features, batch_size=1),
        EvalLoader(Counting(), one, batch_size=1),
    ]


def start(clip_list: Path, shards: Path) -> list[Any]:
    """All of them in the middle of a pass, which they stay in for as long as they are held."""
    found = loaders(clip_list, shards)
    passes = [iter(one.epoch(0) if hasattr(one, "epoch") else one) for one in found]
    for one in passes:
        next(one)
    return [*found, *passes]


def use_and_leave(way: str, link: int, clip_list: Path, shards: Path) -> None:
    held = start(clip_list, shards)
    LOADERS.extend(held)
    pids = " ".join(str(process.pid) for process in multiprocessing.active_children())
    os.write(link, f"{pids}\n".encode())
    if way == "error":
        raise ValueError("as a loss that is not finite")
    if way == "sys.exit":
        sys.exit(3)
    if way == "notebook":
        try:
            raise ValueError("in a cell")
        except ValueError as error:
            sys.last_value = error
        sys.exit()
    if way == "Ctrl-C":
        os.kill(os.getpid(), signal.SIGINT)
    if way == "SIGTERM":
        os.kill(os.getpid(), signal.SIGTERM)


def take(way: str, link: int, clip_list: Path, shards: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if way == "child process":
        context = multiprocessing.get_context("fork")
        arguments = ("kept", link, clip_list, shards)
        process = context.Process(target=use_and_leave, args=arguments, daemon=False)
        process.start()
        process.join()
    else:
        use_and_leave(way, link, clip_list, shards)


def watch(way: str, pid: int, link: int) -> str:
    """Wait for the end of a process and of its workers; kill what does not end."""
    started = time.monotonic()
    status: int | None = None
    while status is None and time.monotonic() < started + LIMIT_SECONDS:
        done, code = os.waitpid(pid, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if done else None
        time.sleep(0.02)
    if status is None:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    workers = [int(word) for word in os.read(link, 1000).split()]
    while any(map(is_running, workers)) and time.monotonic() < started + LIMIT_SECONDS:
        time.sleep(0.02)
    left = sum(map(is_running, workers))
    ended = "never ended" if status is None else f"status {status}"
    return f"{way}: {ended}, {left} of {len(workers)} workers left"


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    PLACES = [Path(word) for word in sys.argv[1:]]
    begun: list[tuple[str, int, int]] = []
    for each in WAYS:
        reading, writing = os.pipe()
        sys.stdout.flush()
        fork = os.fork()
        if fork == 0:
            os.setpgrp()
            os.close(reading)
            take(each, writing, *PLACES)
            break  # and out at the end of the file, as scripts do
        os.close(writing)
        begun.append((each, fork, reading))
    else:
        for one in begun:
            print(watch(*one))
