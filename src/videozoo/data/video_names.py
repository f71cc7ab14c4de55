"""Names of videos: that of the file, and where several share it, with folders before it."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from videozoo.data.files import absolute

_BETWEEN = "__"  # in names, which become names of files

Place = tuple[tuple[str, ...], str]
"""The folders of a video, and the name of its file without the ending."""


def video_name(path: Path) -> str:
    """Name of a video among its features: the name of its file without the ending."""
    return path.name if path.is_dir() else path.stem


def names_apart(
    paths: Sequence[Path], *, root: Path | None = None, kept: Mapping[Path, str] | None = None
) -> list[str]:
    """A name for each of several videos: `video_name`, with folders before it where it is shared.

    Videos of one name get the folders above them, as many as tell all of them apart, but none that
    all videos lie in. Those that differ in their endings only get the ending too. A file that is
    named twice has one name.

    Args:
        paths: The videos; they need not exist.
        root: No folder above this one gets into a name; by default the folder of all videos.
        kept: Names that some of the videos have already.

    >>> names_apart([Path("v/a.mp4"), Path("v/x/b.mp4"), Path("v/y/b.mp4"), Path("v/y/b.avi")])
    ['a', 'x__b', 'y__b.mp4', 'y__b.avi']
    """
    videos = [Path(absolute(path)) for path in paths]
    base = _shared(videos) if root is None else Path(absolute(root))
    places = {video: _place(video, base) for video in videos}
    names = dict(zip(places, told_apart(list(places.values())), strict=True))
    known = {Path(absolute(path)): name for path, name in (kept or {}).items()}
    names |= {video: name for video, name in known.items() if video in names}
    often = Counter(names.values())
    return [
        names[video] + ("" if often[names[video]] == 1 or video in known else video.suffix)
        for video in videos
    ]


def told_apart(places: Sequence[Place]) -> list[str]:
    """The names of videos at different places, as `names_apart` makes them, but without endings.

    Names are equal only where folders and names are.

    >>> told_apart([(("x",), "b"), (("y",), "b"), (("x",), "c"), ((), "b")])
    ['x__b', 'y__b', 'c', 'b']
    """
    alike: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for folders, stem in places:
        alike[stem].add(folders)
    counts = {stem: _folders_needed(list(folders)) for stem, folders in alike.items()}
    return [_joined(folders, counts[stem], stem) for folders, stem in places]


def longer_names(place: Place, name: str) -> Iterator[str]:
    """Names that a video may have beside others of its name, longer than the one it has here.

    >>> list(longer_names((("v", "x"), "b"), "b"))
    ['x__b', 'v__x__b']
    """
    folders, stem = place
    for count in range(1, len(folders) + 1):
        longer = _joined(folders, count, stem)
        if len(longer) > len(name):
            yield longer


def _folders_needed(alike: Sequence[tuple[str, ...]]) -> int:
    """How many of the last folders tell different places apart."""
    if len(alike) == 1:
        return 0
    most = max(map(len, alike))
    return next(n for n in range(1, most + 1) if len({each[-n:] for each in alike}) == len(alike))


def _joined(folders: tuple[str, ...], count: int, stem: str) -> str:
    return _BETWEEN.join((*(folders[-count:] if count else ()), stem))


def _shared(videos: Sequence[Path]) -> Path:
    """The deepest folder that holds all videos."""
    try:
        return Path(os.path.commonpath([video.parent for video in videos]))
    except ValueError:  # other drives, or no videos
        return Path()


def _place(video: Path, base: Path) -> Place:
    inside = video.relative_to(base).parts if video.is_relative_to(base) else video.parts[1:]
    return inside[:-1], video_name(video)
