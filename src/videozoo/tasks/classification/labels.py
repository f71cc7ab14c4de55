"""Check the labels of videos before training: notes on what is odd, errors on what is useless."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from videozoo.data.annotations.class_folders import loose_videos, one_level_down
from videozoo.data.annotations.videos import ClipEntry
from videozoo.errors import DataError, counted, few


def check_learnable(entries: Sequence[ClipEntry], source: Path) -> None:
    """Refuse to train if all videos have the same class.

    Args:
        entries: Training videos. Pickles of the 2019 library are not judged: their classes are not
            read yet.
        source: The folder or list they come from.

    Raises:
        DataError: All videos are of one class.
    """
    labels = {entry.label for entry in entries}
    if len(labels) > 1 or None in labels:
        return
    below = one_level_down(source) if source.is_dir() else None
    hint = "; add videos of another class"
    if below is not None:
        hint = f". Is the folder one level too high? --data {below} has several"
    elif source.is_dir():
        hint = ": expected FOLDER/CLASS/VIDEO.mp4 with two folders or more"
    raise DataError(
        f"{source}: all videos to learn from ({len(entries)}) are of one class: nothing "
        f"to tell apart{hint}"
    )


def remarks(
    entries: Sequence[ClipEntry],
    held_out: Sequence[ClipEntry],
    source: Path,
    num_classes: int,
    names: Sequence[str] | None,
) -> Iterator[str]:
    """Notes for the user about the training videos.

    Args:
        entries: Training videos.
        held_out: Validation videos.
        source: The folder or list of the training videos.
        num_classes: Classes of the model.
        names: Class names.
    """
    loose = loose_videos(source) if source.is_dir() else []
    if loose:
        names_of = few((path.name for path in loose), 1)
        yield f"{source}: left out, for they lie beside the class folders: {names_of}"
    counts = Counter(entry.label for entry in entries)
    if None not in counts:  # pickles of the 2019 library hold their labels inside
        absent = [label for label in range(num_classes) if not counts[label]]
        if absent:
            yield (
                f"{counted(len(absent), 'class')} of {num_classes} never "
                f"{'occurs' if len(absent) == 1 else 'occur'} in training: {_few(absent, names)}"
            )
        if max(counts.values()) == 1:
            yield "every class has only one training video; expect low accuracy"
        if held_out and all(entry.label is not None for entry in held_out):
            checked = {entry.label for entry in held_out}
            unchecked = [
                label for label in range(num_classes) if counts[label] and label not in checked
            ]
            if unchecked:
                yield (
                    f"{counted(len(unchecked), 'class')} of {num_classes} "
                    f"{'has' if len(unchecked) == 1 else 'have'} no video to check with: "
                    f"{_few(unchecked, names)}"
                )
    labels: dict[tuple[int, int] | str, set[int | None]] = defaultdict(set)
    twice: dict[tuple[int, int] | str, str] = {}
    for entry in entries:
        file = _identity(entry.path)
        labels[file].add(entry.label)
        if len(labels[file]) > 1:
            twice.setdefault(file, entry.name)
    if twice:
        count = counted(len(twice), "video")
        yield f"{count} to learn from in two classes, such as {next(iter(twice.values()))}"
    shared = [entry for entry in held_out if _identity(entry.path) in labels]
    if shared:
        yield (
            f"{len(shared)} of {counted(len(held_out), 'video')} to check with are also learnt "
            f"from, such as {shared[0].name}: the figures will be too good"
        )


def _identity(path: Path) -> tuple[int, int] | str:
    """A key that is equal for all paths of a file, also through links."""
    try:
        found = path.stat()
    except OSError:
        return os.path.abspath(path)  # noqa: PTH100 - nothing is looked up
    return found.st_dev, found.st_ino


def _few(labels: Sequence[int], names: Sequence[str] | None) -> str:
    return few(label if names is None else repr(names[label]) for label in labels)
