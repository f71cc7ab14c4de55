"""Classes of unequal size: weights of classes in the loss, and what balanced sampling does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from videozoo.config import RunConfig
from videozoo.data.annotations.class_weights import balanced_weights, read_class_weights
from videozoo.data.annotations.videos import ClipEntry
from videozoo.errors import DataError, counted


def class_weights(
    config: RunConfig, entries: Sequence[ClipEntry], names: Sequence[str] | None
) -> list[float] | None:
    """The weight of each class in the loss; None where all are 1.

    Args:
        config: `train.class_weights` is `balanced`, a file, or not set.
        entries: The training videos.
        names: Of the classes, where they are known.

    Raises:
        DataError: The file cannot be used, or the classes of the videos are not known yet.
    """
    asked: Any = config.train.class_weights  # pyright: ignore[reportAttributeAccessIssue]
    if asked is None:
        return None
    classes: int = config.model.num_classes
    if asked != "balanced":
        return read_class_weights(asked, classes, names)
    unknown = next((entry for entry in entries if entry.classes is None), None)
    if unknown is not None:
        raise DataError(
            f"{unknown.name}: its class is not in the list but in the file, so that classes cannot "
            "be counted before; name the weights in a file (train.class_weights=FILE)"
        )
    counts = _counts(entries)
    return balanced_weights([counts[label] for label in range(classes)])


def weights_line(weights: Sequence[float], names: Sequence[str] | None) -> str:
    """The smallest and the largest weight, in words."""
    order = sorted(range(len(weights)), key=weights.__getitem__)
    low, high = (
        f"{weights[label]:.3g} ({label if names is None else repr(names[label])})"
        for label in (order[0], order[-1])
    )
    return f"from {low} to {high}; the loss of a validation has none"


def balance_notes(
    config: RunConfig, entries: Sequence[ClipEntry], names: Sequence[str] | None
) -> Iterator[str]:
    """What balanced sampling does to the classes with most and fewest videos."""
    if not config.data.balance:
        return
    counts = _counts(entries)
    groups = len(counts) + any(entry.classes == () for entry in entries)
    share = len(entries) / groups
    (often, most), (rarely, fewest) = counts.most_common()[0], counts.most_common()[-1]
    words = [str(label) if names is None else repr(names[label]) for label in (often, rarely)]
    yield (
        f"each class has about {share:.0f} of the {counted(len(entries), 'clip')} of an epoch "
        f"(data.balance): {words[0]} has {counted(most, 'video')}, "
        f"{words[1]} {counted(fewest, 'video')}, each about {share / fewest:.1f} times"
    )
    if config.train.class_weights == "balanced":  # pyright: ignore[reportAttributeAccessIssue]
        yield (
            "data.balance and train.class_weights=balanced both make up for rare classes, which "
            "then count more than others; one of them is enough"
        )


def _counts(entries: Sequence[ClipEntry]) -> Counter[int]:
    return Counter(label for entry in entries for label in entry.classes or ())
