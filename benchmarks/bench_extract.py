"""Features along a video: ours beside a plain loop, ResNet-50 at two vectors per second.

The plain loop is what people write first: PyAV decodes every frame in order, every second half a
frame is scaled, cropped and normalised, and batches of 16 go through an eager NCHW ResNet-50 in
evaluation mode. Features are compared first. The clip is made on the spot (340x256, 30 a second,
x264 medium crf 25, a key frame every 250); one thread each. Peak memory is that of processes that
encode one minute and ten minutes of it, with a narrow network.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from tests.data.make_clips import moving_frames, write_clip
from tests.peak_memory import peak_bytes
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.harness import (
    Options,
    Outcome,
    Target,
    as_figures,
    check_close,
    main,
    measure,
    one_thread,
    ratio,
)
from benchmarks.plain import PlainClipModel, plain_copy
from videozoo.config import RunConfig, from_layers
from videozoo.tasks.extractor import Extractor
from videozoo.tasks.kept_encoder import open_encoder
from videozoo.tasks.loading import save_trained

RATE = 2.0
FRAMES_PER_SECOND = 30
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MOST_GROWTH_MB = 100.0
"""Packets of up to 64 MiB are kept in memory; no frames."""


@dataclass(frozen=True)
class Size:
    """Of everything measured."""

    seconds: int = 20
    width: float = 1.0
    rounds: int = 3
    minutes: tuple[int, int] = (1, 10)
    """Videos whose peak memory is compared."""


def run(options: Options) -> Outcome:
    one_thread()
    size = Size()
    if options.quick:
        size = Size(seconds=2, width=0.125, rounds=1, minutes=(1, 2))
    if options.full:
        size = Size(seconds=60, rounds=5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = write_clip(
            folder / "clip.mp4",
            moving_frames(size.seconds * FRAMES_PER_SECOND, height=256, width=340),
            options={"preset": "medium", "crf": "25", "g": "250"},
        )
        weights, module = _saved(folder / "tsn.safetensors", size.width)
        net = plain_copy(module.eval(), 2, None).eval()
        net.add_module("fc", nn.Identity())
        ours = Extractor([open_encoder(str(weights))], rate=RATE, device="cpu")
        expected = plain_features(video, net)
        found = ours.extract(video).streams["rgb"]
        scale = float(np.abs(expected).max())
        most = check_close("features", found / scale, expected / scale, most=1e-4)
        sides = {
            "videozoo": partial(ours.extract, video),
            "plain": partial(plain_features, video, net),
        }
        timings = measure(sides, rounds=size.rounds)
        peaks = [_peak_mb(folder, video, minutes) for minutes in size.minutes]
    speed = size.seconds / (timings["videozoo"].cpu_ms / 1000 / 60)
    short, long = size.minutes
    targets = [
        Target(
            name="extract, TSN-R50 at 2 vectors/s: times as fast as a plain loop",
            limit=1.3,
            figure=ratio(timings, "plain", "videozoo"),
        ),
        Target(
            name="extract, TSN-R50 at 2 vectors/s: video per minute on one core",
            figure=speed,
            unit="s",
        ),
        Target(
            name=f"extract, peak memory of {long} minutes above that of {short}",
            limit=MOST_GROWTH_MB,
            figure=max(0.0, peaks[1] - peaks[0]),
            is_least=False,
            unit="MB",
        ),
    ]
    figures = {
        "video_seconds": size.seconds,
        "largest_difference": most,
        "peak_mb": dict(zip(map(str, size.minutes), peaks, strict=True)),
        **as_figures(timings),
    }
    return Outcome("extract", targets, figures, ("torch", "av", "numpy"))


def plain_features(video: Path, net: PlainClipModel) -> NDArray[np.float32]:
    """The features of the frame in the middle of every half second."""
    rows: list[Tensor] = []
    batch: list[Tensor] = []
    with torch.inference_mode():
        for frame in _frames(video):
            batch.append(_pixels(frame))
            if len(batch) == 16:
                rows.append(net(torch.stack(batch)[:, None]))
                batch = []
        if batch:
            rows.append(net(torch.stack(batch)[:, None]))
    return torch.cat(rows).numpy()


def _frames(video: Path) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(video)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        following = 0.5 / RATE
        for number, frame in enumerate(container.decode(video=0)):
            if (number + 1) / FRAMES_PER_SECOND > following + 1e-3:  # is shown at that moment
                following += 1 / RATE
                yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def _pixels(frame: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) to (3, 224, 224): shorter side 256, centre, normalised."""
    image = torch.from_numpy(frame).permute(2, 0, 1)[None]
    height, width = image.shape[2:]
    side = min(height, width)
    if side != 256:
        shape = (round(height * 256 / side), round(width * 256 / side))
        image = F.interpolate(image, shape, mode="bilinear", antialias=True)
    top, left = ((length - 224) // 2 for length in image.shape[2:])
    image = image[0, :, top : top + 224, left : left + 224].float() / 255
    return (image - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def _saved(path: Path, width: float) -> tuple[Path, nn.Module]:
    """A TSN of random weights that sees one frame per vector."""
    config = _config(width)
    torch.manual_seed(0)
    module = config.spec.build(config.model)
    save_trained(path, module, config, None, {})
    return path, module


def _config(width: float) -> RunConfig:
    model = {"name": "tsn", "num_classes": 2, "depth": 50, "width": width, "num_segments": 1}
    return from_layers([("", {"model": model})])


# --- memory --------------------------------------------------------------------------------------


def _peak_mb(folder: Path, clip: Path, minutes: int) -> float:
    """Peak memory of a process that encodes this many minutes."""
    video = _repeated(clip, folder / f"{minutes}.mp4", minutes)
    weights, _ = _saved(folder / "narrow.safetensors", 0.0625)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            __name__ if __name__ != "__main__" else "benchmarks.bench_extract",
            "--peak-of",
            str(video),
            str(weights),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout.strip().splitlines()[-1])


def _repeated(clip: Path, to: Path, minutes: int) -> Path:
    """The same packets again and again."""
    with av.open(str(clip)) as source, av.open(str(to), "w") as target:
        stream = source.streams.video[0]
        copy: Any = target.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.size]
        assert stream.time_base is not None
        length = round(len(packets) / FRAMES_PER_SECOND / stream.time_base)
        times = [(packet.pts or 0, packet.dts or 0) for packet in packets]
        rounds = round(minutes * 60 * FRAMES_PER_SECOND / len(packets))
        for number in range(rounds):
            for packet, (pts, dts) in zip(packets, times, strict=True):
                packet.pts, packet.dts = pts + number * length, dts + number * length
                packet.time_base = stream.time_base
                packet.stream = copy
                target.mux(packet)
    return to


def _say_peak(video: str, weights: str) -> None:
    one_thread()
    Extractor([open_encoder(weights)], rate=RATE, device="cpu").extract(video)
    print(peak_bytes() / 1e6)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak-of"]:
        _say_peak(*sys.argv[2:])
    else:
        main(run)
