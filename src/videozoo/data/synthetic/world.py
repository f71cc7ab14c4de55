"""Synthetic long videos with several actions, one after another.

Each video has two or three coloured shapes. One of them acts (one of the eight actions of
`synthetic.clips`), then all rest for a while, then one acts again. Actor, action, start and end are
known, so one set of videos serves every task: tags of a whole video, actions in time, captions, and
moments that match a sentence. The files have the formats of public data sets:

::

    videos/NAME.mp4
    train.list, val.list, test.list    one path per line
    annotations.json                   ActivityNet: duration, subset, segments with actions
    captions_SPLIT.json                ActivityNet Captions: duration, timestamps, sentences
    queries_SPLIT.txt                  Charades-STA: NAME START END##sentence.
    tags_SPLIT.json, tags.csv          from path to numbers of tags; names of tags
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from videozoo.data.synthetic.clips import (
    CLASS_NAMES,
    draw_look,
    read_manifest,
    write_manifest,
    write_video,
)
from videozoo.data.synthetic.scene import (
    COLOURS,
    SHAPES,
    Actor,
    ByteArray,
    FloatArray,
    Scene,
    draw,
    make_background,
)
from videozoo.errors import DataError

TAGS = (*CLASS_NAMES, *COLOURS, *SHAPES)
"""Tags of a video: its actions, and the colours and shapes of the actors."""

_SUBSETS = {"train": "training", "val": "validation", "test": "testing"}
_RECIPE = 1  # raise it when the same arguments make other videos
_MADE_BY = "videozoo.data.synthetic.world"
_FILES = ("annotations.json", "tags.csv", "videos")
_PLACES = {"x": (0.2, 0.8), "y": (0.2, 0.8), "radius": (0.11, 0.24)}
"""Lowest and highest value of each attribute that actions change."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One action of one actor."""

    actor: int
    label: int
    """Index in `CLASS_NAMES`."""
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, kw_only=True)
class WorldVideo:
    """One video and its events."""

    name: str
    path: Path
    split: str
    duration_seconds: float
    looks: tuple[tuple[str, str], ...]
    """Names of the colour and the shape of each actor."""
    events: tuple[Event, ...]
    """Sorted by start; they do not overlap."""

    def sentence(self, event: Event) -> str:
        """A sentence that describes an event."""
        colour, shape = self.looks[event.actor]
        article = "an" if colour[0] in "aeiou" else "a"
        return f"{article} {colour} {shape} {CLASS_NAMES[event.label]}"

    def tags(self) -> list[int]:
        """Numbers in `TAGS`, in order."""
        found: set[int] = set()
        for event in self.events:
            found |= {event.label, *(TAGS.index(word) for word in self.looks[event.actor])}
        return sorted(found)


@dataclass(frozen=True)
class World:
    """The videos that `make_world` wrote."""

    folder: Path
    videos: tuple[WorldVideo, ...]
    reused: bool
    """True if the folder already held the whole world."""

    def split(self, name: str) -> list[WorldVideo]:
        """The videos of `train`, `val` or `test`."""
        return [video for video in self.videos if video.split == name]


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    """Everything that the videos depend on; stored in the folder to recognise the world."""

    num_train: int
    num_val: int
    num_test: int
    seed: int
    size: int
    frames_per_second: int
    min_seconds: float
    max_seconds: float
    version: int = _RECIPE


def make_world(
    folder: Path,
    *,
    num_train: int,
    num_val: int,
    num_test: int,
    seed: int,
    size: int = 64,
    frames_per_second: int = 12,
    min_seconds: float = 16.0,
    max_seconds: float = 32.0,
    on_progress: Callable[[int, int], None] | None = None,
) -> World:
    """Write long videos with annotations for every task, unless they are there already.

    A video depends only on the seed, its split and its number in the split. Call this in one
    process at a time.

    Args:
        folder: Created if missing. Other files in it are left alone.
        num_train, num_val, num_test: Videos in each split.
        seed: The same seed gives the same videos.
        size: Height and width in pixels, even.
        frames_per_second: Written into the video files.
        min_seconds, max_seconds: Shortest and longest video.
        on_progress: Called with (videos made, videos in all) after each one.

    Raises:
        DataError: An argument is out of range, the folder holds files of the same names that this
            function did not make, or it cannot be written.
    """
    recipe = _Recipe(
        num_train=num_train,
        num_val=num_val,
        num_test=num_test,
        seed=seed,
        size=size,
        frames_per_second=frames_per_second,
        min_seconds=min_seconds,
        max_seconds=max_seconds,
    )
    _check(recipe)
    folder = Path(folder)
    counts = {"train": num_train, "val": num_val, "test": num_test}
    places = [(split, number) for split, count in counts.items() for number in range(count)]
    videos = tuple(_plan(folder, recipe, split, number) for split, number in places)
    try:
        if _is_complete(folder, recipe, videos):
            return World(folder, videos, reused=True)
        _refuse_others(folder)
        manifest = {"made by": _MADE_BY, **asdict(recipe)}
        write_manifest(folder, manifest, complete=False)
        (folder / "videos").mkdir(exist_ok=True)
        for done, (video, (split, number)) in enumerate(zip(videos, places, strict=True), 1):
            frames = _paint(video, recipe, _rng(recipe, split, number, part=1))
            write_video(video.path, frames, frames_per_second=frames_per_second)
            if on_progress is not None:
                on_progress(done, len(videos))
        _write_annotations(folder, videos)
        write_manifest(folder, manifest, complete=True)
    except (OSError, FFmpegError) as error:
        raise DataError(f"{folder}: cannot write the synthetic videos here: {error}") from error
    return World(folder, videos, reused=False)


def _rng(recipe: _Recipe, split: str, number: int, *, part: int) -> np.random.Generator:
    return np.random.default_rng((recipe.seed, 7, list(_SUBSETS).index(split), number, part))


# --- what happens --------------------------------------------------------------------------------


def _plan(folder: Path, recipe: _Recipe, split: str, number: int) -> WorldVideo:
    """Draw the actors of a video and its events."""
    rng = _rng(recipe, split, number, part=0)
    num_frames = round(
        rng.uniform(recipe.min_seconds, recipe.max_seconds) * recipe.frames_per_second
    )
    duration = num_frames / recipe.frames_per_second
    num_actors = int(rng.integers(2, 4))
    colours = rng.choice(list(COLOURS), num_actors, replace=False)
    shapes = rng.choice(list(SHAPES), num_actors, replace=False)
    events: list[Event] = []
    time = rng.uniform(0.5, 4.0)
    while (length := rng.uniform(2.5, 6.0)) + time < duration - 0.3:
        actor = int(rng.integers(num_actors))
        label = int(rng.integers(len(CLASS_NAMES)))
        events.append(
            Event(
                actor=actor,
                label=label,
                start_seconds=round(time, 2),
                end_seconds=round(time + length, 2),
            )
        )
        time += length + rng.uniform(1.0, 5.0)
    name = f"{split}_{number:05d}"
    return WorldVideo(
        name=name,
        path=folder / "videos" / f"{name}.mp4",
        split=split,
        duration_seconds=duration,
        looks=tuple((str(c), str(s)) for c, s in zip(colours, shapes, strict=True)),
        events=tuple(events),
    )


def _paint(video: WorldVideo, recipe: _Recipe, rng: np.random.Generator) -> ByteArray:
    num_frames = round(video.duration_seconds * recipe.frames_per_second)
    actors = [
        _actor(video, number, num_frames, recipe.frames_per_second, rng)
        for number in range(len(video.looks))
    ]
    scene = Scene(
        background=make_background(rng, height=recipe.size, width=recipe.size),
        actors=tuple(actors),
        noise=float(rng.uniform(1, 4)),
    )
    return draw(scene, rng)


def _actor(
    video: WorldVideo, number: int, num_frames: int, rate: int, rng: np.random.Generator
) -> Actor:
    """Tracks of one actor through the video; it rests except in its own events."""
    colour, shape = video.looks[number]
    mine = [event for event in video.events if event.actor == number]
    tracks = {
        name: _track(name, mine, num_frames, rate, rng) for name in ("x", "y", "radius", "angle")
    }
    tremble = {"x": 0.004, "y": 0.004, "radius": 0.002, "angle": 0.03}
    for name, track in tracks.items():
        track += np.float32(tremble[name]) * rng.standard_normal(num_frames, dtype=np.float32)
    look: dict[str, Any] = {**draw_look(rng, colour), "shape": shape}
    return Actor(
        **look, x=tracks["x"], y=tracks["y"], radius=tracks["radius"], angle=tracks["angle"]
    )


def _track(
    name: str, events: Sequence[Event], num_frames: int, rate: int, rng: np.random.Generator
) -> FloatArray:
    """One attribute of an actor, frame by frame."""
    names = ("x", "y", "radius", "angle")
    mine = [event for event in events if names[event.label // 2] == name]
    times, values = [0.0], list[float]()
    if name == "angle":
        values.append(float(rng.uniform(0, 2 * np.pi)))
        for event in mine:
            turn = rng.uniform(1.2, 2.0) * np.pi * (1 if event.label % 2 == 0 else -1)
            times += [event.start_seconds, event.end_seconds]
            values += [values[-1], values[-1] + turn]
    else:
        low, high = _PLACES[name]
        values.append(float(rng.uniform(low, high)))
        for event in mine:
            rises = CLASS_NAMES[event.label] in ("moves right", "moves down", "grows")
            reach = (high - low) * rng.uniform(0.55, 0.8)
            start, end = (low, low + reach) if rises else (high, high - reach)
            times += [event.start_seconds, event.end_seconds]
            values += [start, end]
    when = np.arange(num_frames) / rate
    return _with_jumps(when, times, values)


def _with_jumps(
    when: NDArray[np.float64], times: Sequence[float], values: Sequence[float]
) -> FloatArray:
    """Values of an attribute per frame, on straight lines within events.

    Between two events the attribute stays the same, except for one jump in the middle, to the value
    at which the next event starts. A jump takes one frame, so it does not look like a movement.
    """
    track = np.full(len(when), values[0], np.float32)
    for i in range(1, len(times), 2):
        start, end = times[i], times[i + 1]
        before = (times[i - 1] + start) / 2
        track[when >= before] = values[i]
        share = np.clip((when - start) / (end - start), 0, 1)
        inside = when >= start
        track[inside] = values[i] + (values[i + 1] - values[i]) * share[inside]
    return track


# --- what is written about it --------------------------------------------------------------------


def _write_annotations(folder: Path, videos: Sequence[WorldVideo]) -> None:
    database = {
        video.name: {
            "duration": round(video.duration_seconds, 3),
            "subset": _SUBSETS[video.split],
            "annotations": [
                {
                    "segment": [event.start_seconds, event.end_seconds],
                    "label": CLASS_NAMES[event.label],
                }
                for event in video.events
            ],
        }
        for video in videos
    }
    _write_json(folder / "annotations.json", {"version": "synthetic", "database": database})
    with (folder / "tags.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("Index", "Name"))
        rows.writerows(enumerate(TAGS))
    for split in _SUBSETS:
        chosen = [video for video in videos if video.split == split]
        lines = [f"{video.path.relative_to(folder).as_posix()}\n" for video in chosen]
        (folder / f"{split}.list").write_text("".join(lines), encoding="utf-8")
        tags = {video.path.relative_to(folder).as_posix(): video.tags() for video in chosen}
        _write_json(folder / f"tags_{split}.json", tags)
        captions = {
            video.name: {
                "duration": round(video.duration_seconds, 3),
                "timestamps": [[e.start_seconds, e.end_seconds] for e in video.events],
                "sentences": [video.sentence(event).capitalize() + "." for event in video.events],
            }
            for video in chosen
        }
        _write_json(folder / f"captions_{split}.json", captions)
        queries = [
            f"{video.name} {event.start_seconds} {event.end_seconds}##{video.sentence(event)}.\n"
            for video in chosen
            for event in video.events
        ]
        (folder / f"queries_{split}.txt").write_text("".join(queries), encoding="utf-8")


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


# --- the folder ----------------------------------------------------------------------------------


def _check(recipe: _Recipe) -> None:
    """Raise one DataError that names every bad argument."""
    wrong = [
        f"{name} is {value}, expected {least} or more"
        for name, least in (
            ("num_train", 0),
            ("num_val", 0),
            ("num_test", 0),
            ("seed", 0),
            ("size", 16),
            ("frames_per_second", 4),
            ("min_seconds", 8),
        )
        if (value := getattr(recipe, name)) < least
    ]
    if recipe.size % 2:
        wrong.append(f"size is {recipe.size}, expected an even number (mp4)")
    if recipe.max_seconds < recipe.min_seconds:
        wrong.append(f"max_seconds {recipe.max_seconds} is below min_seconds {recipe.min_seconds}")
    if wrong:
        raise DataError("synthetic videos: " + "; ".join(wrong))


def _is_complete(folder: Path, recipe: _Recipe, videos: Sequence[WorldVideo]) -> bool:
    """Whether the folder holds exactly this world, with all its videos."""
    content = read_manifest(folder)
    if content is None or content.get("complete") is not True:
        return False
    wanted = {"made by": _MADE_BY, **asdict(recipe)}
    if any(content.get(key) != value for key, value in wanted.items()):
        return False
    return all(video.path.is_file() for video in videos)


def _refuse_others(folder: Path) -> None:
    found = [name for name in _FILES if (folder / name).exists()]
    content = read_manifest(folder)
    if found and (content is None or content.get("made by") != _MADE_BY):
        raise DataError(
            f"{folder}: already holds {', '.join(found)}, which were not made here; "
            "name another folder"
        )
