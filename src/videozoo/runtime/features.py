"""Encoders of bundles: from a video to vectors at a rate, as the run made them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.data.frames.preparation import Preparation
from videozoo.data.frames.video import open_video
from videozoo.data.frames.windows import WindowPlan, vectors_along
from videozoo.errors import DataError, WeightsError
from videozoo.runtime.bundle import Bundle
from videozoo.runtime.description import Section
from videozoo.runtime.window_graph import WindowGraph, WindowPorts

_MOST_SIDE = 1 << 13


@dataclass(frozen=True)
class Features:
    """What an encoder says of a video."""

    rows: NDArray[np.float32]
    """(T, dim); row k is centred on (k + 0.5) / rate seconds."""
    duration_seconds: float
    damage: str
    """What is wrong with the video, if it could be read all the same."""


class VideoEncoder:
    """Turns videos into vectors; those of several encoders are joined per moment."""

    def __init__(self, bundle: Bundle, about: Section) -> None:
        """Open the graphs.

        Args:
            bundle: Holds them.
            about: The section `features`.

        Raises:
            WeightsError: A graph is damaged, or other than described.
        """
        self.rate = about.number("rate", 1e-6, 1000)
        self._mirror = about.flag("mirror")
        self._batch_size = about.whole("batch_size", 1, 4096)
        self._plans: list[tuple[WindowPlan, int]] = []
        self._graphs: list[WindowGraph] = []
        titles: list[str] = []
        for one in about.sections("encoders"):
            preparation = _preparation(one.section("preparation"), one)
            ports = _ports(one, preparation)
            one.refuse_huge(self._batch_size, *ports.shape)
            self._plans.append((self._plan(one, preparation), ports.dim))
            name = one.text("file")
            self._graphs.append(WindowGraph(bundle.file(name), bundle.graph(name), ports))
            titles.append(one.text("title"))
        self.title = " + ".join(titles)
        self.dim = sum(dim for _, dim in self._plans)

    def __call__(self, path: Path) -> Features:
        """Turn a video into vectors.

        Raises:
            VideoError: It cannot be read, or does not tell its frame rate.
            DataError: An encoder gives values that are not finite.
        """
        with open_video(path) as reader:
            times, tables = vectors_along(
                *(reader, self._plans, self._encoded),
                batch_size=self._batch_size,
                name=str(path),
            )
            damage = str(getattr(reader, "damage", ""))
        rows = np.concatenate(tables, axis=1)
        if not np.isfinite(rows).all():
            row = int(np.argwhere(~np.isfinite(rows))[0][0])
            raise DataError(
                f"{path}: {self.title} gives values that are not finite, first at "
                f"{(row + 0.5) / self.rate:.1f} s; use other weights"
            )
        return Features(rows, round(times.duration_seconds, 6), damage)

    def _encoded(self, which: int, frames: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        windows = frames.transpose(0, 1, 4, 2, 3)
        vectors = self._graphs[which].vectors(windows)
        if self._mirror:
            vectors = (vectors + self._graphs[which].vectors(windows[..., ::-1])) / np.float32(2)
        return lambda: vectors

    def _plan(self, about: Section, preparation: Preparation) -> WindowPlan:
        return WindowPlan(
            rate=self.rate,
            num_steps=about.whole("num_steps", 1, 4096),
            frames_per_step=about.whole("frames_per_step", 1, 64),
            window_seconds=about.number("window_seconds", 1e-6, 1e6)
            if about.has("window_seconds")
            else None,
            frame_stride=about.whole("frame_stride", 1, 1 << 20),
            prepare=preparation.apply,
        )


def _preparation(about: Section, encoder: Section) -> Preparation:
    def size(key: str) -> tuple[int, int] | None:
        if not about.has(key):
            return None
        height, width = about.wholes(key, 2, 1, _MOST_SIDE)
        return height, width

    def colours(key: str) -> tuple[float, float, float]:
        red, green, blue = about.numbers(key, 3)
        return red, green, blue

    filters = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
    try:
        made = Preparation(
            short_side=about.whole("short_side", 1, _MOST_SIDE)
            if about.has("short_side")
            else None,
            long_side=about.choice("long_side", "floor", "round", "fixed_4_3"),
            size=size("size"),
            crop=size("crop"),
            crop_offset=about.choice("crop_offset", "down", "even"),
            interpolation=about.choice("interpolation", *filters),
            resize_with=about.choice("resize_with", "torch", "pillow", "plain"),
            pixel_scale=about.number("pixel_scale"),
            pixel_offset=about.number("pixel_offset"),
            mean=colours("mean"),
            std=colours("std"),
        )
    except ValueError as error:
        raise WeightsError(f"{encoder}: preparation: {error}; export it again") from None
    if made.shape is None:
        raise WeightsError(f"{encoder}: frames would have as many sizes as videos")
    return made


def _ports(about: Section, preparation: Preparation) -> WindowPorts:
    assert preparation.shape is not None
    steps, run = about.whole("num_steps", 1, 4096), about.whole("frames_per_step", 1, 64)
    layouts: Any = ("NCHW", "NHWC", "NTCHW", "NCTHW", "NTHWC")
    layout = about.choice("layout", *layouts)
    if "T" not in layout and steps > 1:
        raise WeightsError(f"{about}: layout {layout} has no T for {steps} frames")
    return WindowPorts(
        input=about.text("input"),
        layout=layout,
        output=about.text("output"),
        pooling=about.choice("pooling", "none", "mean", "first"),
        dim=about.whole("dim", 1, 1 << 20),
        shape=(steps, 3 * run, *preparation.shape),
        colours=about.choice("colours", "RGB", "BGR"),
        scale=preparation.whole_scale if about.flag("normalises") else None,
    )
