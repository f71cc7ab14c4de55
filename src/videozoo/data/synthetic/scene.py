"""Draw moving coloured shapes: the scene of every synthetic video.

A scene is a still background with actors in front of it, back to front. An actor is a shape whose
place, size and angle are given frame by frame, so one actor can do several things after another.
Each shape is shaded like the sweep of a radar: around its centre, its colour turns gradually into a
second tone and jumps back. Without it, a spinning circle would look like a still one; with it,
most of a spinning shape gets slowly darker, or slowly lighter.

Lengths are fractions of the picture, so that one scene can be drawn at any size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]
Colour = tuple[float, float, float]

COLOURS: dict[str, Colour] = {
    "red": (214, 48, 44),
    "orange": (240, 140, 30),
    "yellow": (236, 214, 52),
    "green": (58, 172, 72),
    "cyan": (52, 190, 206),
    "blue": (52, 92, 216),
    "purple": (148, 66, 198),
    "pink": (240, 120, 178),
}
"""Everyday names of colours, and their RGB in 0..255."""


@dataclass(frozen=True, kw_only=True)
class Actor:
    """One shape, and where it is in every frame. Each track has one value per frame."""

    shape: str
    """A key of `SHAPES`."""
    colour: Colour
    second_colour: Colour
    """The colour turns gradually into this one, clockwise from the x axis of the actor."""
    x: FloatArray
    """Centre, as a fraction of the width from the left."""
    y: FloatArray
    """Centre, as a fraction of the height from the top."""
    radius: FloatArray
    """Radius of the circle around the shape, as a fraction of the shorter side."""
    angle: FloatArray
    """Radians; growing means turning clockwise as seen."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All that `draw` needs."""

    background: FloatArray
    """(H, W, 3), 0..255."""
    actors: tuple[Actor, ...]
    """From back to front; all with the same number of frames."""
    noise: float
    """Standard deviation of the grain, in grey levels."""


def draw(
    scene: Scene, rng: np.random.Generator, *, start: int = 0, stop: int | None = None
) -> ByteArray:
    """Paint the frames from `start` up to `stop` (None: to the end).

    Args:
        scene: What to paint. Without actors it has one frame.
        rng: Draws the grain, frame by frame.
        start, stop: A part of the video, so that a long one need not be in memory at once.

    Returns:
        RGB (T, H, W, 3).
    """
    num_frames = len(scene.actors[0].x) if scene.actors else 1
    stop = num_frames if stop is None else min(stop, num_frames)
    height, width = scene.background.shape[:2]
    frames = np.empty((stop - start, height, width, 3), np.float32)
    frames[:] = scene.background
    for actor in scene.actors:
        _paint(frames, actor, slice(start, stop))
    if scene.noise > 0:
        grain = rng.standard_normal((stop - start, height, width, 1), dtype=np.float32)
        frames += grain * np.float32(scene.noise)
    frames += np.float32(0.5)
    np.clip(frames, 0, 255, out=frames)
    return frames.astype(np.uint8)


def _paint(frames: FloatArray, actor: Actor, when: slice) -> None:
    """Blend one actor into (T, H, W, 3) frames, inside the smallest window that holds its path."""
    height, width = frames.shape[1:3]
    centre_x = actor.x[when] * np.float32(width)
    centre_y = actor.y[when] * np.float32(height)
    radius = actor.radius[when] * np.float32(min(height, width))
    margin = float(radius.max()) + 1.5
    left, right = _window(centre_x, margin, width)
    top, bottom = _window(centre_y, margin, height)
    if left >= right or top >= bottom:
        return

    # pixel centres in the actor's own axes, one radius long: u along its angle, v across
    pixel_x = np.arange(left, right, dtype=np.float32) + np.float32(0.5)
    pixel_y = np.arange(top, bottom, dtype=np.float32) + np.float32(0.5)
    dx = ((pixel_x - centre_x[:, None]) / radius[:, None])[:, None, :]  # (T, 1, w)
    dy = ((pixel_y - centre_y[:, None]) / radius[:, None])[:, :, None]  # (T, h, 1)
    cos, sin = np.cos(actor.angle[when])[:, None, None], np.sin(actor.angle[when])[:, None, None]
    u = np.asarray(cos * dx + sin * dy, np.float32)  # (T, h, w)
    v = np.asarray(cos * dy - sin * dx, np.float32)

    # a distance in pixels, turned into the share of the pixel that is covered: smooth edges
    pixels = radius[:, None, None]
    cover = np.clip(0.5 - SHAPES[actor.shape](u, v) * pixels, 0, 1)[..., None]
    second = _shading(u, v, pixels)[..., None]
    tone = np.asarray(actor.colour, np.float32) * (1 - second)
    tone += np.asarray(actor.second_colour, np.float32) * second
    window = frames[:, top:bottom, left:right]
    window += cover * (tone - window)


def _shading(u: FloatArray, v: FloatArray, pixels: FloatArray) -> FloatArray:
    """Share of the second tone: from 0 to 1 once round the centre, with a smooth jump."""
    turns = np.arctan2(v, u) * np.float32(0.5 / np.pi)
    share = turns - np.floor(turns)
    beyond = v * pixels  # how far past the jump, in pixels
    np.copyto(share, 0.5 - beyond, where=(np.abs(beyond) < 0.5) & (u > 0))
    return share


def _window(centres: FloatArray, margin: float, length: int) -> tuple[int, int]:
    """First and one past the last pixel that the actor can reach along one axis."""
    return max(0, int(centres.min() - margin)), min(length, int(centres.max() + margin) + 1)


def make_background(rng: np.random.Generator, *, height: int, width: int) -> FloatArray:
    """A dull background with blotches, (H, W, 3) in 0..255; every actor stands out from it."""
    base = rng.uniform(60, 150) + rng.uniform(-18, 18, 3)
    picture = np.broadcast_to(base.astype(np.float32), (height, width, 3)).copy()
    for cells, strength in ((3, 22.0), (9, 10.0)):
        blotches = rng.standard_normal((cells, cells, 3), dtype=np.float32)
        # mostly light and dark, a little hue
        blotches += np.float32(1.5) * blotches[..., :1]
        blotches *= np.float32(0.4)
        picture += np.float32(strength) * _enlarge(blotches, height, width)
    return np.clip(picture, 20, 200)


def _enlarge(grid: FloatArray, height: int, width: int) -> FloatArray:
    """Bilinear enlargement of (a, b, C) to (height, width, C); the corners keep their values."""

    def weights(length: int, cells: int) -> FloatArray:
        place = np.linspace(0, cells - 1, length, dtype=np.float32)[:, None]
        return np.clip(1 - np.abs(place - np.arange(cells, dtype=np.float32)), 0, 1)

    rows = np.tensordot(weights(height, grid.shape[0]), grid, axes=1)  # (height, b, C)
    return weights(width, grid.shape[1]) @ rows  # (height, width, C)


# Signed distance from the edge in radii, negative inside, of a shape in the unit circle.


def _circle(u: FloatArray, v: FloatArray) -> FloatArray:
    return np.sqrt(u * u + v * v) - np.float32(0.9)


def _polygon(corners: int) -> Callable[[FloatArray, FloatArray], FloatArray]:
    directions = 2 * np.pi * (np.arange(corners) + 0.5) / corners
    sides = np.stack((np.cos(directions), np.sin(directions)), 1).astype(np.float32)
    reach = np.float32(np.cos(np.pi / corners))

    def distance(u: FloatArray, v: FloatArray) -> FloatArray:
        farthest = sides[0, 0] * u + sides[0, 1] * v
        for a, b in sides[1:]:
            np.maximum(farthest, a * u + b * v, out=farthest)
        return farthest - reach

    return distance


def _cross(u: FloatArray, v: FloatArray) -> FloatArray:
    long, thick = np.float32(0.95), np.float32(0.32)
    u, v = np.abs(u), np.abs(v)
    return np.minimum(np.maximum(u - long, v - thick), np.maximum(u - thick, v - long))


def _star(u: FloatArray, v: FloatArray) -> FloatArray:
    """A star with five points, by symmetry folded into half a point with one straight edge."""
    step = np.float32(2 * np.pi / 5)
    angle = np.arctan2(v, u)
    angle = np.abs(angle - step * np.round(angle / step))
    away = np.sqrt(u * u + v * v)
    inner = np.float32(0.5) * np.array([np.cos(np.pi / 5), np.sin(np.pi / 5)], np.float32)
    edge = inner - np.array([1, 0], np.float32)
    normal = np.array([edge[1], -edge[0]], np.float32) / np.float32(np.hypot(*edge))
    return (away * np.cos(angle) - 1) * normal[0] + away * np.sin(angle) * normal[1]


SHAPES: dict[str, Callable[[Any, Any], FloatArray]] = {
    "circle": _circle,
    "triangle": _polygon(3),
    "square": _polygon(4),
    "pentagon": _polygon(5),
    "star": _star,
    "cross": _cross,
}
"""From name to signed distance, in axes where the shape fills the unit circle."""
