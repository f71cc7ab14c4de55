"""Neighbours by name, and clips of one source, are held out together."""

from __future__ import annotations

from pathlib import Path

import pytest

from videozoo.data.annotations.class_folders import drawn
from videozoo.data.annotations.neighbours import places

FOLDER = Path("clips/run")


def videos(*names: str) -> list[Path]:
    return [FOLDER / name for name in names]


def held_out(names: list[str], *, share: float = 0.2, seed: int = 0) -> list[str]:
    val, train = (
        drawn(FOLDER, videos(*names), "run", part, share, seed, together=True)
        for part in ("val", "train")
    )
    assert len(val) + len(train) == len(names)
    assert not set(val) & set(train)
    return [path.name for path in val]


def test_all_classes_are_cut_at_the_same_places():
    names = [f"{c}/{n}.mp4" for c in ("a", "b") for n in range(8, 14)] + ["c/8.mp4", "c/9.mp4"]

    found = places(names, [0] * 6 + [1] * 6 + [2] * 2)

    assert [int(3 * place) for place in found] == [0, 0, 1, 1, 2, 2] * 2 + [0, 2]


def test_clips_of_one_source_have_one_place_also_among_others():
    names = ["g02_c1", "g01_c1", "g02_c2", "g01_c2", "g03_c1", "g10_c1", "g10_c2"]

    found = dict(zip(names, places(names), strict=True))

    order = sorted(names, key=lambda name: (found[name], name))
    assert order == ["g01_c1", "g01_c2", "g02_c1", "g02_c2", "g03_c1", "g10_c1", "g10_c2"]
    assert len(set(found.values())) == 4


def test_names_that_only_count_are_no_sources():
    assert places(["fi1", "fi2", "fi10", "fi11"]) == [0.125, 0.375, 0.625, 0.875]


def test_the_last_share_by_name_is_held_out_and_another_seed_takes_another():
    names = [f"{number}.mp4" for number in range(1, 11)]

    assert held_out(names) == ["9.mp4", "10.mp4"]
    parts = [held_out(names, seed=seed) for seed in range(5)]
    assert {name for part in parts for name in part} == set(names)
    # what was learnt from is not held out when more is added behind it
    assert held_out([*names, "11.mp4", "12.mp4"]) == ["11.mp4", "12.mp4"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1", "2"], ["2"]),
        (["1"], []),
        (["g1_c1", "g1_c2", "g2_c1", "g2_c2"], ["g2_c1", "g2_c2"]),
        (["g1_c1", "g1_c2", "g1_c3", "g2_c1"], ["g2_c1"]),
    ],
)
def test_few_videos_of_a_class_are_in_both_parts_and_sources_in_one(
    names: list[str], expected: list[str]
):
    assert held_out([f"{name}.mp4" for name in names]) == [f"{name}.mp4" for name in expected]
