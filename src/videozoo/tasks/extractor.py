"""From videos to vectors, evenly spaced in time: encoders and a rate.

    extractor = Extractor([encoder], rate=2)
    record = extractor.extract("match.mp4")  # record.streams["rgb"]: (T, dim), 2 rows per second

`fill` does that for many videos, into a folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from videozoo.data.features.records import FeatureRecord, fingerprint
from videozoo.data.features.writer import STREAM, FeatureFolder
from videozoo.data.files import absolute
from videozoo.data.frames.video import VideoReader, open_video
from videozoo.data.frames.windows import WindowPlan, vectors_along
from videozoo.data.video_names import video_name
from videozoo.encoders.base import Encoder
from videozoo.engine.devices import make_accelerator
from videozoo.errors import DataError, UsageError, counted
from videozoo.tasks.requests import Device

MOST_VECTORS_A_SECOND = 1000.0
_SAY_EVERY_SECONDS = 30.0
_SLOW = "frames_per_second"
"""Fact of the features of a video that has fewer frames than vectors per second."""
_FRAMES = "frames"
"""Fact of the features of a video of one frame."""
MIRROR = "mirror"
"""Fact of features that are means of what is seen as it is and in a mirror."""
_MORE = 1.01  # a rate of 30 is not above 29.97 frames per second


class Extractor:
    """Turns videos into sequences of vectors. Those of several encoders are joined per moment.

    Attributes:
        facts: All that the vectors depend on, as plain data: equal facts mean equal vectors.
        dim: Length of a vector.
        rate: Vectors per second.
        plans: Which frames each encoder sees.
        batch_size: Windows per forward pass.
    """

    def __init__(
        self,
        encoders: Sequence[Encoder],
        *,
        rate: float = 2.0,
        window_seconds: float | None = None,
        mirror: bool = False,
        batch_size: int | None = None,
        device: Device = "auto",
        accelerator: Accelerator | None = None,
    ) -> None:
        """Move the encoders to a device.

        Args:
            encoders: One, or several whose vectors are joined in this order.
            rate: Vectors per second of video.
            window_seconds: Seconds of video per vector. None: as each encoder was made for; if it
                does not say, 1 / rate.
            mirror: Each vector is the mean of those of a window and of its mirror image.
            batch_size: Windows per forward pass; None: as each encoder says.
            device: Where to compute.
            accelerator: In place of `device`, if several processes share the work.

        Raises:
            UsageError: `rate` or `window_seconds` is out of range.
        """
        check_rate(rate, window_seconds)
        self.encoders, self.rate = list(encoders), rate
        self.plans = [_plan(encoder, rate, window_seconds) for encoder in encoders]
        parts = [_facts(encoder, plan) for encoder, plan in zip(encoders, self.plans, strict=True)]
        self.facts = parts[0] if len(parts) == 1 else _joined(parts)
        self._mirror = mirror
        if mirror:  # without it, facts are those of earlier versions
            self.facts[MIRROR] = True
        self.dim = sum(encoder.dim for encoder in encoders)
        self.batch_size = batch_size or max(encoder.batch_size for encoder in encoders)
        accelerator = accelerator or make_accelerator(device=device)
        self._device: torch.device = accelerator.device
        for encoder in encoders:
            encoder.to(self._device, encoder.precision)

    @property
    def title(self) -> str:
        """The encoders, for messages."""
        return " + ".join(encoder.title for encoder in self.encoders)

    @property
    def fingerprint(self) -> str:
        """Hash of `facts`: two extractors share it only if their vectors are equal."""
        return fingerprint(self.facts)

    def extract(
        self,
        video: str | Path | VideoReader,
        *,
        name: str | None = None,
        on_windows: Callable[[int, int], None] | None = None,
    ) -> FeatureRecord:
        """Turn one video into vectors.

        The video is decoded once, in order; only the memory for the vectors grows with its length.

        Args:
            video: A video file, or an open video.
            name: Name of the record; by default that of the file.
            on_windows: Called with (windows done, windows in all) after each batch.

        Returns:
            `streams["rgb"]` is float32 (T, dim); row k is centred on (k + 0.5) / rate seconds.
            `duration_seconds` is that of the video; `facts` hold its path, its `identity` and any
            damage found.

        Raises:
            VideoError: The video cannot be read, or does not tell its frame rate.
            DataError: The encoder gives values that are not finite.
        """
        if not isinstance(video, str | Path):
            name = name or "video"
            return self._record(video, name, {}, on_windows, where=name)
        path = Path(video)
        facts: dict[str, Any] = {"path": absolute(path), **identity(path)}
        with open_video(path) as reader:
            named = name or video_name(path)
            return self._record(reader, named, facts, on_windows, where=str(path))

    def _record(
        self,
        reader: VideoReader,
        name: str,
        facts: dict[str, Any],
        on_windows: Callable[[int, int], None] | None,
        *,
        where: str,
    ) -> FeatureRecord:
        plans = [(p, each.dim) for p, each in zip(self.plans, self.encoders, strict=True)]
        times, tables = vectors_along(
            reader,
            plans,
            self._begun,
            batch_size=self.batch_size,
            name=where,
            on_windows=on_windows,
        )
        rows = tables[0] if len(tables) == 1 else np.concatenate(tables, axis=1)
        if not np.isfinite(rows).all():
            row = int(np.argwhere(~np.isfinite(rows))[0][0])
            raise DataError(
                f"{where}: {self.title} gives values that are not finite, first at "
                f"{(row + 0.5) / self.rate:.1f} s; compute in fp32, or use other weights"
            )
        damage = str(getattr(reader, "damage", ""))
        if damage:
            facts["damage"] = damage
        if len(times.start_seconds) == 1:
            facts[_FRAMES] = 1
        elif self.rate * times.duration_seconds > _MORE * len(times.start_seconds):
            facts[_SLOW] = round(len(times.start_seconds) / times.duration_seconds, 3)
        return FeatureRecord(
            name, {STREAM: rows}, duration_seconds=round(times.duration_seconds, 6), facts=facts
        )

    def _begun(self, which: int, frames: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        """Begin to encode windows; what is returned waits for the vectors."""
        vectors = self._encoded(which, frames)
        return lambda: vectors.cpu().numpy()

    def _encoded(self, which: int, frames: NDArray[np.uint8]) -> Tensor:
        """(N, T, H, W, C) pixels -> (N, dim) on the device, perhaps still being computed."""
        pixels = torch.from_numpy(frames)
        if self._device.type == "cuda":
            pixels = pixels.pin_memory()
        windows = pixels.to(self._device, non_blocking=True).permute(0, 1, 4, 2, 3)
        vectors = self.encoders[which].encode(windows)
        if self._mirror:
            vectors = (vectors + self.encoders[which].encode(windows.flip(-1))) / 2
        if vectors.shape != (len(frames), self.encoders[which].dim):
            raise DataError(
                f"{self.encoders[which].title} gives {tuple(vectors.shape)} for {len(frames)} "
                f"windows, expected ({len(frames)}, {self.encoders[which].dim}) as it says itself"
            )
        return vectors


def identity(path: Path) -> dict[str, Any]:
    """What tells a file from a later one of the same name."""
    if not path.is_file():
        return {"bytes": None, "modified_ns": None}
    status = path.stat()
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def check_rate(rate: float, window_seconds: float | None) -> None:
    """Raise UsageError for a rate or a window length that makes no sense."""
    if not 0 < rate <= MOST_VECTORS_A_SECOND:
        raise UsageError(
            f"--rate {rate:g}: expected vectors per second, more than 0 and at most "
            f"{MOST_VECTORS_A_SECOND:g}"
        )
    if window_seconds is not None and not 0 < window_seconds < float("inf"):
        raise UsageError(f"--window-seconds {window_seconds:g}: expected more than 0 seconds")


def _plan(encoder: Encoder, rate: float, window_seconds: float | None) -> WindowPlan:
    window = encoder.window
    seconds = window_seconds or window.seconds
    if seconds is None and window.frame_stride is None:
        seconds = 1 / rate
    return WindowPlan(
        rate=rate,
        num_steps=window.num_steps,
        frames_per_step=window.frames_per_step,
        window_seconds=seconds,
        frame_stride=window.frame_stride or 1,
        prepare=encoder.prepare,
    )


def _facts(encoder: Encoder, plan: WindowPlan) -> dict[str, Any]:
    facts = {
        **encoder.facts,
        "rate": plan.rate,
        "window_seconds": plan.window_seconds,
        "frame_stride": plan.frame_stride if plan.window_seconds is None else None,
        "frames_per_window": encoder.window.num_frames,
        "precision": encoder.precision,
    }
    return json.loads(json.dumps(facts))  # tuples and lists are one


def _joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    windows = {part["window_seconds"] for part in parts}
    return {
        "model": "+".join(str(part["model"]) for part in parts),
        "title": " + ".join(str(part["title"]) for part in parts),
        "layer": " + ".join(str(part["layer"]) for part in parts),
        "dim": sum(int(part["dim"]) for part in parts),
        "rate": parts[0]["rate"],
        "window_seconds": windows.pop() if len(windows) == 1 else None,
        "encoders": list(parts),
    }


# --- many videos ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class NamedVideo:
    """A video, and what its features are called."""

    path: Path
    name: str
    labels: tuple[int, ...] | None = None


@dataclass
class Extraction:
    """What `fill` did, over all processes."""

    videos: int = 0
    """Videos turned into features by this call."""
    kept: int = 0
    """Videos done by an earlier call."""
    vectors: int = 0
    """Vectors of the videos done by this call."""
    video_seconds: float = 0.0
    """Total length of the videos done by this call."""
    wall_seconds: float = 0.0
    """Time of the extraction, without loading the weights."""
    skipped: list[str] = field(default_factory=list[str])
    """A line per unreadable video, with the reason."""
    damaged: list[str] = field(default_factory=list[str])
    """A line per damaged video, with what is wrong; read as far as it decodes."""
    slow: list[str] = field(default_factory=list[str])
    """A line per video with fewer frames per second than vectors."""
    still: list[str] = field(default_factory=list[str])
    """Videos of one frame."""


def fill(
    extractor: Extractor,
    folder: FeatureFolder,
    videos: Sequence[NamedVideo],
    accelerator: Accelerator,
    *,
    strict: bool,
    say: Callable[[str], None] = lambda _line: None,
) -> Extraction:
    """Extract videos into a prepared folder; each process takes its share.

    What is finished is kept, also if this is stopped.

    Args:
        extractor: What makes the vectors.
        folder: `prepare` and `read` were called.
        videos: Those that the folder does not hold yet.
        accelerator: The processes.
        strict: Stop at the first video that cannot be read.
        say: Told now and then how far it is, where no progress bar is shown.

    Raises:
        DataError: With `strict`, a video cannot be read.
        RunError: The folder cannot be written.
    """
    try:
        done = _mine(extractor, folder, videos, accelerator, strict, say)
    except BaseException:
        if accelerator.num_processes == 1:
            folder.merge()
        raise
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        folder.merge()
    accelerator.wait_for_everyone()
    return done


def _mine(
    extractor: Extractor,
    folder: FeatureFolder,
    videos: Sequence[NamedVideo],
    accelerator: Accelerator,
    strict: bool,
    say: Callable[[str], None],
) -> Extraction:
    """Extract the videos of this process, then gather the results of all processes."""
    mine = videos[accelerator.process_index :: accelerator.num_processes]
    done = Extraction()
    started = time.perf_counter()
    writer = folder.writer(accelerator.process_index)
    try:
        with _progress(len(mine), accelerator, say) as advance:
            for number, video in enumerate(mine):
                try:
                    record = extractor.extract(
                        video.path, name=video.name, on_windows=_part_of(advance, number)
                    )
                except DataError as error:
                    if strict:
                        raise
                    done.skipped.append(str(error))
                    continue
                writer.add(replace(record, labels=video.labels))
                done.videos += 1
                done.vectors += len(record.streams[STREAM])
                done.video_seconds += record.duration_seconds or 0.0
                if "damage" in record.facts:
                    done.damaged.append(f"{video.path}: {record.facts['damage']}")
                slow = slow_line(video, record.facts)
                done.slow += slow
                done.still += still_video(video, record.facts)
                if slow and len(done.slow) == 1:  # long before the end of many videos
                    say(f"note: {slow[0]}, fewer than {extractor.rate:g} vectors per second")
    finally:
        writer.close_part()
    done.wall_seconds = time.perf_counter() - started
    return _merged(done, accelerator)


def _merged(mine: Extraction, accelerator: Accelerator) -> Extraction:
    if accelerator.num_processes == 1:
        return mine
    parts: list[Extraction] = gather_object([mine])
    return Extraction(
        videos=sum(part.videos for part in parts),
        vectors=sum(part.vectors for part in parts),
        video_seconds=sum(part.video_seconds for part in parts),
        wall_seconds=max(part.wall_seconds for part in parts),
        skipped=[problem for part in parts for problem in part.skipped],
        damaged=[problem for part in parts for problem in part.damaged],
        slow=[line for part in parts for line in part.slow],
        still=[video for part in parts for video in part.still],
    )


def slow_line(video: NamedVideo, facts: Mapping[str, Any]) -> list[str]:
    """A line about a video with fewer frames per second than vectors; none about others."""
    return [f"{video.path} has {facts[_SLOW]:g} frames per second"] if _SLOW in facts else []


def still_video(video: NamedVideo, facts: Mapping[str, Any]) -> list[str]:
    """The path of a video of one frame; none of others."""
    return [str(video.path)] if facts.get(_FRAMES) == 1 else []


@contextmanager
def _progress(
    total: int, accelerator: Accelerator, say: Callable[[str], None]
) -> Generator[Callable[[float], None]]:
    """Show how far the videos of this process are: a bar that also moves within long videos, or in
    a log a line now and then."""
    console = Console(stderr=True)
    shown = accelerator.is_main_process and console.is_terminal
    started = said = time.monotonic()
    with Progress(
        TextColumn("videos"),
        BarColumn(),
        TextColumn("{task.completed:.1f}/{task.total:.0f}"),
        TimeRemainingColumn(),
        console=console,
        disable=not shown,
        transient=True,
    ) as progress:
        bar = progress.add_task("videos", total=total)

        def advance(done: float) -> None:
            nonlocal said
            progress.update(bar, completed=done)
            now = time.monotonic()
            if shown or not done or now - said < _SAY_EVERY_SECONDS:
                return
            said = now
            left = (now - started) * (total - done) / done / 60
            say(f"features: {done:.1f} of {counted(total, 'video')}, about {left:.0f} min left")

        yield advance


def _part_of(advance: Callable[[float], None], number: int) -> Callable[[int, int], None]:
    return lambda done, total: advance(number + done / total)
