"""Dividing videos so that those of one source, and neighbours by name, stay together.

Clips with neighbouring names often show one person or one scene; several may be cut from one video.
Where some of them are learnt from and others judge, a classifier that knows the scene again seems
to know the class.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from pathlib import PurePosixPath

from videozoo.data.text import natural_key


def places(names: Sequence[str], labels: Sequence[int] | None = None) -> list[float]:
    """The place of each video among those of its class, by name: above 0, below 1.

    Videos of one source have one place. Cutting all classes at the same places keeps a person or a
    day together, where these come in one order in all classes.

    Args:
        names: Paths of the videos below their folder, with `/`.
        labels: The class of each video; None: all are of one.

    >>> places(["a/9.mp4", "a/10.mp4"])
    [0.25, 0.75]
    >>> places(["v_run_g01_c01", "v_run_g02_c01", "v_run_g01_c02", "v_run_g02_c02"])
    [0.25, 0.75, 0.25, 0.75]
    """
    place = [0.0] * len(names)
    members: dict[int, list[int]] = defaultdict(list)
    for number in sorted(range(len(names)), key=lambda number: natural_key(names[number])):
        members[0 if labels is None else labels[number]].append(number)
    for own in members.values():
        before = 0
        for together in _together(own, names):
            for number in together:
                place[number] = (before + len(together) / 2) / len(own)
            before += len(together)
    return place


def source_of(name: str) -> str:
    """What the names of clips of one source have in common: all but their last number.

    >>> source_of("run/v_run_g01_c02.avi"), source_of("run/person03_run_d1.avi")
    ('run/v_run_g01_c', 'run/person03_run_d')
    """
    path = PurePosixPath(name)
    stem = re.sub(r"[0-9]+([^0-9]*)$", r"\1", path.stem)
    return (path.parent / stem).as_posix()


def _together(own: Sequence[int], names: Sequence[str]) -> list[list[int]]:
    """The videos of a class, in order, by source."""
    found: list[list[int]] = []
    for _, group in groupby(own, key=lambda number: source_of(names[number])):
        members = list(group)
        if 2 * len(members) > len(own):  # names that are counted through say nothing of sources
            found += [[number] for number in members]
        else:
            found.append(members)
    return found
