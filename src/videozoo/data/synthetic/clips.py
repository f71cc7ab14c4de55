"""Synthetic short videos whose class cannot be seen in a single frame.

A coloured shape moves, grows, shrinks or spins on a grainy background with blotches, often beside a
shape that stays still. There are eight actions in four pairs; the two actions of a pair are each
other's reverse in time. Everything else (shape, colour, size, speed, place, angle, background) is
drawn independently of the action. A shape that does not move rests somewhere on the path that it
could have taken; a shape that does not grow has one of the sizes that it could have had. So a
random frame looks the same for every action: a model that ignores the order of frames cannot
tell the two actions of a pair apart, and a model that follows motion can be perfect. Left and right
are different classes: never train on this data with mirrored frames.

The files are those of Kinetics: mp4 videos, lists with a path and a class number per line, and a
JSON list of class names.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.error import FFmpegError
from av.video.stream import VideoStream

from videozoo.data.synthetic.scene import (
    COLOURS,
    SHAPES,
    Actor,
    ByteArray,
    Colour,
    FloatArray,
    Scene,
    draw,
    make_background,
)
from videozoo.errors import DataError
from videozoo.safe_json import parse_json

CLASS_NAMES = (
    "moves left",
    "moves right",
    "moves up",
    "moves down",
    "grows",
    "shrinks",
    "spins clockwise",
    "spins counter-clockwise",
)
"""Each even class is the next odd class played backwards."""

_ACTIVE_TRACK = ("x", "y", "radius", "angle")
_RUNS_FORWARD = (False, True, False, True, True, False, True, False)
_MANIFEST = "synthetic.json"
_RECIPE = 2  # raise it when the same arguments make other frames: old folders are then remade


@dataclass(frozen=True)
class SyntheticClips:
    """The files that `make_clips` wrote."""

    folder: Path
    train_list: Path
    val_list: Path
    test_list: Path
    class_names: Path
    """JSON list; the class number is the index in it."""
    unseen: tuple[Path, ...]
    """Videos in no list, to predict on."""
    unseen_labels: tuple[int, ...]
    """Classes of the unseen videos."""
    reused: bool
    """True if the folder already held the whole set."""


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    """Everything that the frames depend on; stored in the folder to recognise the set."""

    num_train: int
    num_val: int
    num_test: int
    num_unseen: int
    seed: int
    height: int
    width: int
    num_frames: int
    frames_per_second: int
    version: int = _RECIPE


def make_clips(
    folder: Path,
    *,
    num_train: int,
    num_val: int,
    num_test: int,
    seed: int,
    size: int | tuple[int, int] = 64,
    num_frames: int = 24,
    frames_per_second: int = 12,
    num_unseen: int = 8,
    on_progress: Callable[[int, int], None] | None = None,
) -> SyntheticClips:
    """Write a small data set of actions, unless it is there already.

    Classes are as balanced as the numbers allow. A clip depends only on the seed, its split and its
    number in the split, so a larger set begins with the clips of a smaller one. A set that was only
    partly made is made again. Call this in one process at a time.

    Args:
        folder: Created if missing. Other files in it are left alone.
        num_train, num_val, num_test: Videos in each list.
        seed: The same seed gives the same frames.
        size: Height and width in pixels, both even; one number for a square.
        num_frames: Frames in each video; at least 8, so that the motion is seen in steps.
        frames_per_second: Written into the video files.
        num_unseen: Videos in `unseen/`, which are in no list.
        on_progress: Called with (videos made, videos in all) after each one.

    Returns:
        The lists, names and unseen videos.

    Raises:
        DataError: An argument is out of range, the folder holds files of the same names that
            this function did not make, or it cannot be written.
    """
    height, width = (size, size) if isinstance(size, int) else size
    recipe = _Recipe(
        num_train=num_train,
        num_val=num_val,
        num_test=num_test,
        num_unseen=num_unseen,
        seed=seed,
        height=height,
        width=width,
        num_frames=num_frames,
        frames_per_second=frames_per_second,
    )
    _check(recipe)
    folder = Path(folder)
    try:
        if _is_complete(folder, recipe):
            return _result(folder, recipe, reused=True)
        _clear(folder)
        manifest = {"made by": "videozoo.data.synthetic.clips", **asdict(recipe)}
        write_manifest(folder, manifest, complete=False)
        _write_all(folder, recipe, on_progress)
        write_manifest(folder, manifest, complete=True)
    except (OSError, FFmpegError) as error:
        raise DataError(f"{folder}: cannot write the synthetic clips here: {error}") from error
    return _result(folder, recipe, reused=False)


def write_colour_lists(clips: SyntheticClips) -> tuple[Path, Path]:
    """Write lists of the same videos whose class is the colour of the shape that acts.

    A single frame shows it, unlike the action: there the acting shape is the larger one, mostly.

    Args:
        clips: From `make_clips`.

    Returns:
        The folder with `train.list`, `val.list` and `test.list`; the JSON list of colours.

    Raises:
        DataError: The folder cannot be written, or its set is not whole.
    """
    facts = read_manifest(clips.folder) or {}
    try:
        recipe = _Recipe(**{each.name: facts[each.name] for each in fields(_Recipe)})
        folder = clips.folder / "colours"
        folder.mkdir(exist_ok=True)
        for number, (split, videos) in enumerate(_video_paths(clips.folder, recipe).items()):
            if split == "unseen":
                continue
            colours: list[int] = []
            for i, label in enumerate(_labels(recipe.seed, number, len(videos))):
                rng = np.random.default_rng((recipe.seed, number, 1, i))
                _draw_tracks(label, rng, recipe.num_frames)  # comes first in a clip, too
                colours.append(list(COLOURS).index(_draw_colours(rng)[0]))
            _write_list(folder / f"{split}.list", videos, colours)
        names = folder / "class_names.json"
        names.write_text(json.dumps(list(COLOURS), indent=1) + "\n", "utf-8")
    except (OSError, KeyError) as error:
        raise DataError(f"{clips.folder}: cannot write lists of colours here: {error}") from error
    return folder, names


def make_clip(
    label: int,
    rng: np.random.Generator,
    *,
    height: int = 64,
    width: int = 64,
    num_frames: int = 24,
) -> ByteArray:
    """Frames of one action, RGB (T, H, W, 3).

    The reverse action with the same state of `rng` gives the same scene played backwards (except
    for the grain).

    Args:
        label: Index in `CLASS_NAMES`.
        rng: Draws everything but the action.
        height, width, num_frames: Size of the result.
    """
    return draw(_action_scene(label, rng, height, width, num_frames), rng)


def _action_scene(
    label: int, rng: np.random.Generator, height: int, width: int, num_frames: int
) -> Scene:
    """One actor that acts, often in front of a second one that rests."""
    track = _draw_tracks(label, rng, num_frames)
    colour, other = _draw_colours(rng)
    actor = Actor(
        **draw_look(rng, colour),
        x=track["x"],
        y=track["y"],
        radius=track["radius"],
        angle=track["angle"],
    )
    actors = (actor,)
    if rng.uniform() < 0.7:
        actors = (_draw_bystander(rng, other, num_frames), actor)
    return Scene(
        background=make_background(rng, height=height, width=width),
        actors=actors,
        noise=float(rng.uniform(1, 4)),
    )


def _draw_colours(rng: np.random.Generator) -> tuple[str, str]:
    """Names of the colours of the acting actor and of the one that rests."""
    names = list(COLOURS)
    first, other = rng.choice(len(names), 2, replace=False)
    return names[first], names[other]


def _draw_tracks(label: int, rng: np.random.Generator, num_frames: int) -> dict[str, FloatArray]:
    """Place, size and angle of the acting actor, frame by frame."""
    # Every attribute gets a path. The action decides which attribute follows its path; the others
    # rest somewhere on theirs. So a random frame has the same distribution for every action.
    ease = rng.uniform(-0.5, 0.5)
    progress = (np.arange(num_frames) + 0.5) / num_frames
    track: dict[str, FloatArray] = {}
    for name, (low, high) in _draw_paths(rng).items():
        rest = rng.uniform(0, 1)
        is_active = name == _ACTIVE_TRACK[label // 2]
        place = progress if is_active else np.full(num_frames, rest)
        # monotone, and symmetric in time
        place = place + ease * np.sin(2 * np.pi * place) / (2 * np.pi)
        track[name] = (low + (high - low) * place).astype(np.float32)
    track["radius"] = np.exp(track["radius"])
    # all attributes tremble a little, so that nothing is perfectly still
    track["x"] += 0.004 * rng.standard_normal(num_frames, dtype=np.float32)
    track["y"] += 0.004 * rng.standard_normal(num_frames, dtype=np.float32)
    track["radius"] *= 1 + 0.015 * rng.standard_normal(num_frames, dtype=np.float32)
    track["angle"] += 0.03 * rng.standard_normal(num_frames, dtype=np.float32)
    if _RUNS_FORWARD[label]:
        return track
    return {name: values[::-1].copy() for name, values in track.items()}


def _draw_paths(rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Start and end of the path of each attribute (of the logarithm, for the radius)."""
    paths: dict[str, tuple[float, float]] = {}
    for name in ("x", "y"):
        middle, length = rng.uniform(0.42, 0.58), rng.uniform(0.36, 0.54)
        paths[name] = (middle - length / 2, middle + length / 2)
    middle, ratio = np.log(rng.uniform(0.22, 0.28)), np.log(rng.uniform(1.7, 2.2))
    # large, because a small network learns slowly in which direction small shapes spin
    paths["radius"] = (middle - ratio / 2, middle + ratio / 2)
    turn = rng.uniform(0, 2 * np.pi)
    paths["angle"] = (turn, turn + rng.uniform(1.2, 2.0) * np.pi)
    return paths


def _draw_bystander(rng: np.random.Generator, colour: str, num_frames: int) -> Actor:
    """An actor that rests at a random place."""

    def still(low: float, high: float) -> FloatArray:
        return np.full(num_frames, rng.uniform(low, high), np.float32)

    return Actor(
        **draw_look(rng, colour),
        x=still(0.1, 0.9),
        y=still(0.1, 0.9),
        radius=still(0.1, 0.2),
        angle=still(0, 2 * np.pi),
    )


def draw_look(rng: np.random.Generator, colour: str) -> dict[str, Any]:
    """Shape and the two tones of an actor of a named colour."""
    tone = np.clip(np.asarray(COLOURS[colour]) + rng.uniform(-12, 12, 3), 0, 255)
    return {
        "shape": list(SHAPES)[rng.integers(len(SHAPES))],
        "colour": cast(Colour, tuple(tone)),
        "second_colour": cast(Colour, tuple(0.1 * tone)),
    }


def write_video(path: Path, frames: ByteArray, *, frames_per_second: int = 12) -> None:
    """Write RGB frames (T, H, W, 3) as mp4: H.264, or MPEG-4 where FFmpeg has no encoder for it.

    H and W must be even. One thread, so that the same frames make the same bytes.
    """
    codec, options = _encoder()
    with av.open(path, "w", format="mp4") as container:
        rate = Fraction(frames_per_second)
        stream = cast(VideoStream, container.add_stream(codec, rate=rate, options=options))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = 12
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _encoder() -> tuple[str, dict[str, str]]:
    # good quality: otherwise compression leaves traces that show where a shape came from
    if "libx264" in av.codecs_available:
        return "libx264", {"preset": "ultrafast", "crf": "20"}
    return "mpeg4", {"qmin": "2", "qmax": "3"}


def _check(recipe: _Recipe) -> None:
    """Raise one DataError that names every bad argument."""
    wrong = [
        f"{name} is {value}, expected {least} or more"
        for name, least in (
            ("num_train", 0),
            ("num_val", 0),
            ("num_test", 0),
            ("num_unseen", 0),
            ("seed", 0),
            ("height", 16),
            ("width", 16),
            ("num_frames", 8),
            ("frames_per_second", 1),
        )
        if (value := getattr(recipe, name)) < least
    ]
    if recipe.height % 2 or recipe.width % 2:
        wrong.append(f"size is {recipe.height}x{recipe.width}, expected even numbers (mp4)")
    if wrong:
        raise DataError("synthetic clips: " + "; ".join(wrong))


def _splits(recipe: _Recipe) -> list[tuple[str, str, int]]:
    """Name, folder of the videos and number of videos of each split."""
    return [
        ("train", "videos", recipe.num_train),
        ("val", "videos", recipe.num_val),
        ("test", "videos", recipe.num_test),
        ("unseen", "unseen", recipe.num_unseen),
    ]


_OURS = ("videos", "unseen", "train.list", "val.list", "test.list", "class_names.json")


def _labels(seed: int, split: int, count: int) -> list[int]:
    """Labels in blocks of eight: every class once per block, in random order."""
    blocks = range(-(-count // len(CLASS_NAMES)))
    orders = (
        np.random.default_rng((seed, split, 0, block)).permutation(len(CLASS_NAMES))
        for block in blocks
    )
    return [int(label) for order in orders for label in order][:count]


def _video_paths(folder: Path, recipe: _Recipe) -> dict[str, list[Path]]:
    """Paths of the videos of each split. The names do not tell the class."""
    return {
        split: [folder / place / f"{split}_{i:05d}.mp4" for i in range(count)]
        for split, place, count in _splits(recipe)
    }


def _write_all(
    folder: Path, recipe: _Recipe, on_progress: Callable[[int, int], None] | None
) -> None:
    paths = _video_paths(folder, recipe)
    total, done = sum(map(len, paths.values())), 0
    for place in ("videos", "unseen"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    for number, (split, videos) in enumerate(paths.items()):
        labels = _labels(recipe.seed, number, len(videos))
        for i, (path, label) in enumerate(zip(videos, labels, strict=True)):
            frames = make_clip(
                label,
                np.random.default_rng((recipe.seed, number, 1, i)),
                height=recipe.height,
                width=recipe.width,
                num_frames=recipe.num_frames,
            )
            write_video(path, frames, frames_per_second=recipe.frames_per_second)
            done += 1
            if on_progress is not None:
                on_progress(done, total)
        if split != "unseen":
            _write_list(folder / f"{split}.list", videos, labels)
    (folder / "class_names.json").write_text(json.dumps(CLASS_NAMES, indent=1) + "\n", "utf-8")


def _write_list(path: Path, videos: Sequence[Path], labels: Sequence[int]) -> None:
    # paths relative to the list, so that a set may be moved or copied
    lines = [
        f"{Path(os.path.relpath(video, path.parent)).as_posix()} {label}\n"
        for video, label in zip(videos, labels, strict=True)
    ]
    path.write_text("".join(lines), "utf-8")


def write_manifest(folder: Path, facts: Mapping[str, Any], *, complete: bool) -> None:
    """Write what was made in a folder; the file is replaced at once, never half written."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{_MANIFEST}.partial"
    content = {**facts, "complete": complete}
    with aside.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(folder / _MANIFEST)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read what `write_manifest` wrote in a folder; None if it did not."""
    try:
        content = parse_json((folder / _MANIFEST).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return cast(dict[str, Any], content) if isinstance(content, dict) else None


def _is_complete(folder: Path, recipe: _Recipe) -> bool:
    """Whether the folder holds exactly this set, with all its files."""
    content = read_manifest(folder)
    if content is None or content.get("complete") is not True:
        return False
    if any(content.get(key) != value for key, value in asdict(recipe).items()):
        return False
    videos = [path for paths in _video_paths(folder, recipe).values() for path in paths]
    return all(path.is_file() for path in (*videos, *(folder / name for name in _OURS[2:])))


def _clear(folder: Path) -> None:
    """Remove an older or incomplete set, and no other file."""
    found = [name for name in _OURS if (folder / name).exists()]
    if found and read_manifest(folder) is None:
        raise DataError(
            f"{folder}: already holds {', '.join(found)}, which were not made here "
            f"(no {_MANIFEST}); name another folder"
        )
    for name in found:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _result(folder: Path, recipe: _Recipe, *, reused: bool) -> SyntheticClips:
    unseen = _video_paths(folder, recipe)["unseen"]
    return SyntheticClips(
        folder=folder,
        train_list=folder / "train.list",
        val_list=folder / "val.list",
        test_list=folder / "test.list",
        class_names=folder / "class_names.json",
        unseen=tuple(unseen),
        unseen_labels=tuple(_labels(recipe.seed, 3, len(unseen))),
        reused=reused,
    )
