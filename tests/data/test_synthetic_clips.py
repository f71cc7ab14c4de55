from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from videozoo.data.annotations.videos import read_list
from videozoo.data.frames.video import open_video
from videozoo.data.synthetic import clips
from videozoo.data.synthetic.clips import (
    CLASS_NAMES,
    SyntheticClips,
    make_clip,
    make_clips,
    write_colour_lists,
    write_video,
)
from videozoo.data.synthetic.scene import COLOURS, SHAPES, Actor, Scene, draw, make_background
from videozoo.errors import DataError

LABELS = range(len(CLASS_NAMES))


def small(folder: Path, **changes: Any) -> SyntheticClips:
    arguments: dict[str, Any] = {
        "num_train": 9,
        "num_val": 3,
        "num_test": 2,
        "seed": 5,
        "size": 32,
        "num_frames": 8,
        "num_unseen": 2,
    }
    return make_clips(folder, **{**arguments, **changes})


class Calls(list[tuple[int, int]]):
    """Remember each progress report."""

    def __call__(self, done: int, total: int) -> None:
        self.append((done, total))


def decoded(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames).astype(np.uint8)


def scene_of(label: int, seed: int, *, size: int = 16, num_frames: int = 12) -> Scene:
    return clips._action_scene(label, np.random.default_rng(seed), size, size, num_frames)


# --- what is drawn


@pytest.mark.parametrize("label", range(0, len(CLASS_NAMES), 2))
@pytest.mark.parametrize("seed", range(5))
def test_reverse_actions_are_made_of_the_same_frames(label: int, seed: int):
    rng = np.random.default_rng(0)

    one, other = (
        draw(replace(scene_of(number, seed, size=48), noise=0.0), rng)
        for number in (label, label + 1)
    )

    np.testing.assert_array_equal(one, other[::-1])


def test_a_frame_at_random_looks_the_same_whatever_the_action():
    def seen(label: int) -> NDArray[np.float64]:
        """Place, size and angle of the actor in one frame of each of many clips."""
        rng = np.random.default_rng((99, label))
        rows: list[list[float]] = []
        for _ in range(600):
            tracks = clips._draw_tracks(label, rng, 12)
            at = rng.integers(12)
            rows.append([float(tracks[name][at]) for name in ("x", "y", "radius", "angle")])
        table = np.array(rows)
        table[:, 3] %= 2 * np.pi
        return np.sort(table, axis=0)

    samples = [seen(label) for label in LABELS]
    everyone = np.sort(np.concatenate(samples), axis=0)

    for sample in samples:
        for column in range(4):
            # Kolmogorov-Smirnov: equal distributions stay below 0.08 with 600 draws
            below = np.searchsorted(everyone[:, column], sample[:, column]) / len(everyone)
            assert np.abs(below - np.linspace(0, 1, len(below))).max() < 0.08


@pytest.mark.parametrize("label", LABELS)
def test_the_actor_does_what_the_class_is_called(label: int):
    rising = {
        "moves left": ("x", -1),
        "moves right": ("x", 1),
        "moves up": ("y", -1),
        "moves down": ("y", 1),
        "grows": ("radius", 1),
        "shrinks": ("radius", -1),
        "spins clockwise": ("angle", 1),
        "spins counter-clockwise": ("angle", -1),
    }
    # less than this is trembling
    least = {"x": 0.2, "y": 0.2, "radius": 0.04, "angle": 1.5}
    active, sign = rising[CLASS_NAMES[label]]

    for seed in range(20):
        actor = scene_of(label, seed).actors[-1]
        change = {name: float(getattr(actor, name)[-1] - getattr(actor, name)[0]) for name in least}
        assert sign * change.pop(active) > least[active]
        assert all(abs(value) < least[name] for name, value in change.items())


def test_a_growing_angle_turns_clockwise_as_seen():
    def second_tone_at(angle: float) -> tuple[float, float]:
        def one(value: float) -> NDArray[np.float32]:
            return np.full(1, value, np.float32)

        actor = Actor(
            shape="circle",
            colour=(0, 0, 0),
            second_colour=(255, 255, 255),
            x=one(1 / 2),
            y=one(1 / 2),
            radius=one(1 / 3),
            angle=one(angle),
        )
        background = np.zeros((32, 32, 3), np.float32)
        frame = draw(
            Scene(background=background, actors=(actor,), noise=0), np.random.default_rng(0)
        )
        rows, columns = np.nonzero(frame[0, ..., 0] > 128)
        return float(columns.mean() - 15.5), float(rows.mean() - 15.5)

    above, right = second_tone_at(0), second_tone_at(np.pi / 2)

    assert above[1] < -3
    assert abs(above[0]) < 0.5
    assert right[0] > 3
    assert abs(right[1]) < 0.5


def test_a_spinning_circle_does_not_look_like_one_that_rests():
    scene = replace(scene_of(CLASS_NAMES.index("spins clockwise"), 8, size=48), noise=0.0)
    circle = replace(scene.actors[-1], shape="circle")

    def change(actor: Actor) -> float:
        frames = draw(replace(scene, actors=(actor,)), np.random.default_rng(0)).astype(int)
        return float(np.abs(np.diff(frames, axis=0)).mean())

    assert change(circle) > 2 * change(replace(circle, angle=np.zeros_like(circle.angle)))


def test_a_scene_without_actors_is_one_frame_of_its_background():
    background = make_background(np.random.default_rng(0), height=20, width=24)

    frames = draw(Scene(background=background, actors=(), noise=0), np.random.default_rng(0))

    assert frames.shape == (1, 20, 24, 3)
    assert np.abs(frames[0] - background).max() <= 0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_fits_its_circle_and_can_be_seen(shape: str):
    along = np.linspace(-1.5, 1.5, 61, dtype=np.float32)
    u, v = np.meshgrid(along, along)

    inside = SHAPES[shape](u, v) < 0

    assert (np.hypot(u, v)[inside] <= 1.001).all()
    assert inside[30, 30]
    assert inside.sum() * 0.05**2 > 0.8  # of the unit circle's 3.14


def test_parts_of_a_long_scene_join_to_the_whole():
    scene = replace(scene_of(0, 3), noise=0.0)
    rng = np.random.default_rng(0)

    parts = [draw(scene, rng, start=start, stop=start + 5) for start in range(0, 12, 5)]

    np.testing.assert_array_equal(np.concatenate(parts), draw(scene, rng))


def test_an_actor_out_of_the_picture_is_simply_not_seen():
    actor = scene_of(0, 1).actors[-1]
    background = make_background(np.random.default_rng(0), height=20, width=24)
    away = replace(actor, x=actor.x + 5)

    frames = draw(Scene(background=background, actors=(away,), noise=0), np.random.default_rng(0))

    assert (frames == frames[0]).all()
    assert frames.shape == (12, 20, 24, 3)


def test_the_seed_decides_everything():
    one, same, other = (make_clip(3, np.random.default_rng(seed)) for seed in (1, 1, 2))

    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


# --- what is written


def test_lists_are_those_of_kinetics(tmp_path: Path):
    made = small(tmp_path / "set with a blank")

    entries = read_list(made.train_list, num_classes=8)

    assert [entry.name for entry in entries] == [f"videos/train_{i:05d}.mp4" for i in range(9)]
    assert all(entry.path.is_file() for entry in entries)
    assert len(read_list(made.val_list)) == 3
    assert len(read_list(made.test_list)) == 2
    assert json.loads(made.class_names.read_text()) == list(CLASS_NAMES)


def test_classes_are_even_and_in_no_fixed_order():
    labels = clips._labels(0, 0, 80)

    assert set(Counter(labels).values()) == {10}
    assert labels[:8] != labels[8:16]


def test_videos_show_what_was_drawn(tmp_path: Path):
    made = small(tmp_path)
    label = made.unseen_labels[1]

    frames = decoded(made.unseen[1])

    drawn = make_clip(label, np.random.default_rng((5, 3, 1, 1)), height=32, width=32, num_frames=8)
    assert frames.shape == drawn.shape
    assert np.abs(frames.astype(int) - drawn).mean() < 8  # chroma is stored at half the size


def test_a_larger_set_begins_with_the_smaller_one(tmp_path: Path):
    small(tmp_path / "a", num_train=2)
    small(tmp_path / "b", num_train=4)

    a, b = ((tmp_path / name / "train.list").read_text().splitlines() for name in "ab")
    assert a == b[:2]
    for video in ("videos/train_00001.mp4", "videos/val_00000.mp4"):
        assert (tmp_path / "a" / video).read_bytes() == (tmp_path / "b" / video).read_bytes()


def test_a_set_that_is_there_is_not_made_again(tmp_path: Path):
    first = small(tmp_path)
    calls = Calls()

    again = small(tmp_path, on_progress=calls)

    assert (first.reused, again.reused, calls) == (False, True, [])


def test_a_set_of_other_arguments_is_made_anew(tmp_path: Path):
    small(tmp_path)
    (tmp_path / "my notes.txt").write_text("keep me")

    made = small(tmp_path, num_train=3, seed=6)

    assert not made.reused
    assert len(list((tmp_path / "videos").iterdir())) == 3 + 3 + 2
    assert (tmp_path / "my notes.txt").read_text() == "keep me"


def test_a_half_made_set_is_made_anew(tmp_path: Path):
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small(tmp_path, on_progress=stop)

    assert not small(tmp_path).reused
    assert small(tmp_path).reused


def test_a_set_whose_end_was_not_reached_is_not_trusted_though_all_files_are_there(tmp_path: Path):
    small(tmp_path)
    manifest = tmp_path / "synthetic.json"
    manifest.write_text(manifest.read_text().replace("true", "false"))

    assert not small(tmp_path).reused


def test_a_set_with_a_video_missing_is_made_anew(tmp_path: Path):
    made = small(tmp_path)
    made.unseen[0].unlink()

    assert not small(tmp_path).reused
    assert made.unseen[0].is_file()


def test_files_of_others_are_not_touched(tmp_path: Path):
    (tmp_path / "train.list").write_text("a.mp4 0\n")

    with pytest.raises(DataError, match=r"already holds train\.list, which were not made here"):
        small(tmp_path)

    assert (tmp_path / "train.list").read_text() == "a.mp4 0\n"


def test_a_moved_set_still_reads(tmp_path: Path):
    small(tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")

    entries = read_list(tmp_path / "after" / "train.list")

    assert all(entry.path.is_relative_to(tmp_path / "after") for entry in entries)
    assert small(tmp_path / "after").reused


def test_progress_counts_every_video(tmp_path: Path):
    calls = Calls()

    small(tmp_path, on_progress=calls)

    assert calls == [(done, 16) for done in range(1, 17)]


def test_all_wrong_arguments_are_named_at_once(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        small(tmp_path, num_val=-1, size=(31, 40), num_frames=2)

    message = str(caught.value)
    assert "num_val is -1, expected 0 or more" in message
    assert "num_frames is 2, expected 8 or more" in message
    assert "31x40, expected even numbers" in message
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(DataError, match="cannot write the synthetic clips here"):
        small(tmp_path / "file" / "below")


def test_pictures_need_not_be_square(tmp_path: Path):
    made = small(tmp_path, size=(32, 48))

    assert decoded(made.unseen[0]).shape == (8, 32, 48, 3)


def test_without_an_h264_encoder_videos_are_mpeg4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    frames = make_clip(0, np.random.default_rng(0), height=32, width=32, num_frames=8)

    write_video(tmp_path / "a.mp4", frames)

    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert np.abs(decoded(tmp_path / "a.mp4").astype(int) - frames).mean() < 8


def test_lists_of_colours_name_the_shape_that_acts(tmp_path: Path):
    clips = make_clips(tmp_path, num_train=6, num_val=2, num_test=2, seed=3)

    folder, names = write_colour_lists(clips)

    colours = json.loads(names.read_text())
    assert colours == list(COLOURS)
    lines = (folder / "train.list").read_text().splitlines()
    assert len(lines) == 6
    for line in lines:
        path, label = line.rsplit(" ", 1)
        with open_video(folder / path) as video:
            frames = video.read(range(video.num_frames)).astype(int)
        shares = [(np.abs(frames - colour).max(axis=-1) < 40).mean() for colour in COLOURS.values()]
        assert np.argmax(shares) == int(label), line
