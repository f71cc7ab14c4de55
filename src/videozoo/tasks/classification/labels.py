"""Check the labels of videos before training: notes on what is odd, errors on what is useless."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from videozoo.data.annotations.class_folders import loose_videos, one_level_down
from videozoo.data.annotations.videos import ClipEntry
from videozoo.data.files import absolute
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
    found = {entry.classes for entry in entries}
    if len(found) > 1 or None in found:
        return
    several = next(iter(found)) or ()
    below = one_level_down(source) if source.is_dir() else None
    hint = "; add videos of another class"
    if below is not None:
        hint = f". Is the folder one level too high? --data {below} has several"
    elif source.is_dir():
        hint = ": expected FOLDER/CLASS/VIDEO.mp4 with two folders or more"
    raise DataError(
        f"{source}: all videos to learn from ({len(entries)}) are of "
        f"{'one class' if len(several) < 2 else 'the same classes'}: nothing to tell apart{hint}"
    )


def one_class_note(entries: Sequence[ClipEntry], source: object) -> Iterator[str]:
    """Say that each video of a list has one class, for a model of several classes per video."""
    if entries and all(entry.classes is not None and len(entry.classes) == 1 for entry in entries):
        yield (
            f"{source}: every video has one class, and the model gives each class a score of its "
            "own (train.loss is sigmoid); a video of one class has none of the others here"
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
    counts = Counter(label for entry in entries for label in entry.classes or ())
    if all(
        entry.classes is not None for entry in entries
    ):  # pickles of the 2019 library hold their labels inside
        absent = [label for label in range(num_classes) if not counts[label]]
        if absent:
            yield (
                f"{counted(len(absent), 'class')} of {num_classes} never "
                f"{'occurs' if len(absent) == 1 else 'occur'} in training: {_few(absent, names)}"
            )
        empty = sum(entry.classes == () for entry in entries)
        if empty:
            verb = "has" if empty == 1 else "have"
            yield f"{counted(empty, 'video')} to learn from {verb} no class"
        if max(counts.values(), default=0) == 1:
            yield "every class has only one training video; expect low accuracy"
        if held_out and all(entry.classes is not None for entry in held_out):
            checked = {label for entry in held_out for label in entry.classes or ()}
            unchecked = [
                label for label in range(num_classes) if counts[label] and label not in checked
            ]
            if unchecked:
                yield (
                    f"{counted(len(unchecked), 'class')} of {num_classes} "
                    f"{'has' if len(unchecked) == 1 else 'have'} no video to check with: "
                    f"{_few(unchecked, names)}"
                )
    labels: dict[object, set[tuple[int, ...] | None]] = defaultdict(set)
    twice: dict[object, str] = {}
    for entry in entries:
        file = _identity(entry.path), entry.frame_span
        labels[file].add(entry.classes)
        if len(labels[file]) > 1:
            twice.setdefault(file, entry.name)
    if twice:
        count = counted(len(twice), "video")
        several = any(entry.labels is not None for entry in entries)
        ways = "twice, with other classes" if several else "in two classes"
        yield f"{count} to learn from {ways}, such as {next(iter(twice.values()))}"
    shared = [entry for entry in held_out if (_identity(entry.path), entry.frame_span) in labels]
    if shared:
        yield (
            f"{len(shared):,} of {counted(len(held_out), 'video')} to check with are also learnt "
            f"from, such as {shared[0].name}: the figures will be too good"
        )


def _identity(path: Path) -> tuple[int, int] | str:
    """A key that is equal for all paths of a file, also through links."""
    try:
        found = path.stat()
    except OSError:
        return absolute(path)
    return found.st_dev, found.st_ino


def _few(labels: Sequence[int], names: Sequence[str] | None) -> str:
    return few(label if names is None else repr(names[label]) for label in labels)
