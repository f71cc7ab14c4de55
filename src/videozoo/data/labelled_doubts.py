"""What is doubtful about videos with classes: said before anything is made of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from videozoo.data.frames.check import content_hashes
from videozoo.data.labelled_videos import (
    LabelledVideo,
    class_names,
    has_part,
    is_drawn,
    labelled_videos,
)
from videozoo.errors import DataError, counted, few
from videozoo.settings.tags import FeatureData


def doubts(data: FeatureData) -> Iterator[str]:
    """What a training on class folders or lists should know, a line each.

    Raises:
        DataError: The videos cannot be used, or all are of one class.
    """
    learnt = labelled_videos(data, "train")
    held_out = labelled_videos(data, "val") if has_part(data, "val") else []
    names = class_names(data) or []

    def named(label: int) -> str:
        return repr(names[label]) if label < len(names) else str(label)

    known = [*learnt, *held_out] if is_drawn(data) else learnt
    counts = Counter(label for one in known for label in one.labels)
    if data.labels is None and len(counts) == 1:
        raise DataError(
            f"all {counted(len(known), 'video')} to learn from are of one class, "
            f"{named(next(iter(counts)))}; a classifier tells two or more apart: add videos of "
            "another class"
        )
    alone = sorted(label for label, count in counts.items() if count == 1)
    if alone:
        yield (
            f"{counted(len(alone), 'class')} with one video ({few(map(named, alone))}): no figure "
            "can judge how well it is known; add videos"
        )
    yield from _same_files([*learnt, *held_out])


def _same_files(videos: Sequence[LabelledVideo]) -> Iterator[str]:
    """Files of equal content, with equal and with different classes."""
    by_path = {one.path: one for one in videos}
    groups: dict[str, list[LabelledVideo]] = defaultdict(list)
    for path, digest in content_hashes(list(by_path)).items():
        groups[digest].append(by_path[path])
    copies = [group for group in groups.values() if len(group) > 1]
    torn = [group for group in copies if len({one.labels for one in group}) > 1]
    kept = [group for group in copies if group not in torn]
    if torn:
        yield (
            f"{counted(len(torn), 'video')} in folders or lines of different classes, with the "
            f"same content: {_shown(torn)}; keep one of each"
        )
    if kept:
        yield (
            f"{counted(len(kept), 'video')} there more than once, so that figures look better than "
            f"they are: {_shown(kept)}; keep one of each"
        )


def _shown(groups: Sequence[Sequence[LabelledVideo]]) -> str:
    return few(" = ".join(one.name for one in group) for group in groups)
