"""ONNX files that turn windows of frames into vectors: run on arrays, checked against what they are
said to take and give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from videozoo.errors import WeightsError
from videozoo.weights.onnx_graphs import OnnxGraph, Port, ports_in_words

Layout = Literal["NCHW", "NHWC", "NTCHW", "NCTHW", "NTHWC"]
Pooling = Literal["none", "mean", "first"]
Colours = Literal["RGB", "BGR"]

_ORDERS: dict[Layout, tuple[int, ...]] = {
    "NCHW": (0, 2, 3, 4),
    "NHWC": (0, 3, 4, 2),
    "NTCHW": (0, 1, 2, 3, 4),
    "NCTHW": (0, 2, 1, 3, 4),
    "NTHWC": (0, 1, 3, 4, 2),
}
"""Places of the sizes in windows (N, T, C, H, W); images leave out T."""


@dataclass(frozen=True, kw_only=True)
class WindowPorts:
    """What goes into the file, and what comes out."""

    input: str
    layout: Layout
    output: str
    pooling: Pooling
    """How the output becomes one vector; see `encoders.onnx.OnnxDescription`."""
    dim: int
    """Length of a vector."""
    shape: tuple[int, int, int, int]
    """Of a prepared window: (T, C, H, W)."""
    colours: Colours
    scale: tuple[Sequence[float], Sequence[float]] | None
    """Mean and deviation per colour, in that order of colours, for pixels in 0..1; None: the input
    takes grey levels as they are, uint8."""


class WindowGraph:
    """An open file; `vectors` runs it."""

    def __init__(self, path: Path, graph: OnnxGraph, about: WindowPorts) -> None:
        """Check the file against its description.

        Raises:
            WeightsError: It takes or gives other things than described.
        """
        self._path, self._graph, self._about = path, graph, about
        self._input = self._checked_input()
        self._at_once = self._input.shape[0]

    def vectors(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn windows, uint8 (N, T, C, H, W), into vectors, (N, dim).

        Raises:
            WeightsError: The graph cannot be computed, or gives other vectors than described.
        """
        given: NDArray[Any] = windows
        if self._about.colours == "BGR":
            count, steps, channels, height, width = given.shape
            given = given.reshape(count, steps, channels // 3, 3, height, width)[:, :, :, ::-1]
            given = given.reshape(count, steps, channels, height, width)
        if self._about.scale is not None:
            assert self._input.dtype is not None  # as it was checked
            given = _normalized(given, *self._about.scale).astype(self._input.dtype, copy=False)
        order = _ORDERS[self._about.layout]
        given = (given[:, 0] if len(order) == 4 else given).transpose(_places(order))
        batch = self._at_once or max(1, len(given))
        parts = [self._of(given[n : n + batch]) for n in range(0, max(1, len(given)), batch)]
        return np.concatenate(parts)

    def _of(self, given: NDArray[Any]) -> NDArray[np.float32]:
        count = len(given)
        if self._at_once is not None and count < self._at_once:
            given = np.concatenate([given, np.repeat(given[:1], self._at_once - count, axis=0)])
        [answer] = self._graph.run_arrays({self._input.name: given}, [self._about.output])
        vectors = self._pooled(answer)[:count].astype(np.float32, copy=False)
        if vectors.shape != (count, self._about.dim):
            raise WeightsError(
                f"{self._path}: {self._about.output} has shape {tuple(answer.shape)} for a batch "
                f"of {len(given)}, {tuple(vectors.shape)} with pooling {self._about.pooling}, but "
                f"its description says dim {self._about.dim}"
            )
        return vectors

    def _pooled(self, answer: NDArray[Any]) -> NDArray[Any]:
        pooling = self._about.pooling
        if pooling == "mean" and answer.ndim == 3:
            return answer.astype(np.float32, copy=False).mean(axis=1)
        if pooling == "mean" and answer.ndim > 3:
            flat = answer.astype(np.float32, copy=False).reshape(*answer.shape[:2], -1)
            return flat.mean(axis=2)
        return answer[:, 0] if pooling == "first" and answer.ndim == 3 else answer

    def _checked_input(self) -> Port:
        """The input that windows go into, checked against the description.

        Raises:
            WeightsError: It is not as described, or not the only one.
        """
        graph, about = self._graph, self._about
        names = [port.name for port in graph.inputs]
        if names != [about.input]:
            raise WeightsError(
                f"{self._path}: takes {ports_in_words(graph.inputs)}, but its description says "
                f"the only input is {about.input!r}"
            )
        if about.output not in [port.name for port in graph.outputs]:
            raise WeightsError(
                f"{self._path}: gives {ports_in_words(graph.outputs)}, but its description "
                f"says output {about.output!r}"
            )
        port = graph.inputs[0]
        if port.dtype is None:
            raise WeightsError(f"{self._path}: takes {port}; expected uint8 or floating point")
        if (port.dtype == np.uint8) != (about.scale is None):
            raise WeightsError(
                f"{self._path}: takes {port}, "
                + (
                    "grey levels as they are, but its description says mean and std; leave them out"
                    if port.dtype == np.uint8
                    else "but its description says no mean and std; if the graph normalises by "
                    "itself, write mean [0, 0, 0], std [1, 1, 1] and pixel_scale (1: values 0..255)"
                )
            )
        order = _ORDERS[about.layout]
        expected = tuple((0, *about.shape)[place] for place in order)[1:]
        found = port.shape[1:]
        fits = len(found) == len(expected) and all(
            size in (None, wanted) for size, wanted in zip(found, expected, strict=True)
        )
        if not fits:
            sizes = dict(zip(about.layout[1:], expected, strict=True))
            raise WeightsError(
                f"{self._path}: takes {port}, but its description ({about.layout}, frames, crop or "
                f"size) says {', '.join(f'{name} {size}' for name, size in sizes.items())}"
            )
        return port


def _normalized(
    pixels: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float32]:
    """(x / 255 - mean) / std per colour, as `ops.pixels.normalize`; (N, T, C, H, W)."""
    frames = pixels.shape[2] // len(mean)
    centre, spread = (
        np.array(list(each) * frames, np.float32)[:, None, None] for each in (mean, std)
    )
    values = pixels.astype(np.float32)
    values /= np.float32(255)
    values -= centre
    values /= spread
    return values


def _places(order: Sequence[int]) -> list[int]:
    """Places of the sizes that are left of (N, T, C, H, W)."""
    left = sorted(order)
    return [left.index(place) for place in order]
