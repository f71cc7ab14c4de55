"""Classes of unequal size: weights of classes in the loss, and what balanced sampling does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from videozoo.config import RunConfig
from videozoo.data.annotations.class_weights import balanced_weights, read_class_weights
from videozoo.errors import counted

Classes = Sequence[Sequence[int]]
"""The classes of each training video."""


def class_weights(
    config: RunConfig, counts: Callable[[], Sequence[int]], names: Sequence[str] | None
) -> list[float] | None:
    """The weight of each class in the loss; None where all are 1.

    Args:
        config: `train.class_weights` is `balanced`, a file, or not set.
        counts: Labels of each class in the training data; called where they are needed.
        names: Of the classes, where they are known.

    Raises:
        DataError: The file cannot be used, or the classes of the videos are not known yet.
    """
    asked: Any = config.train.class_weights  # pyright: ignore[reportAttributeAccessIssue]
    if asked is None:
        return None
    if asked != "balanced":
        return read_class_weights(asked, config.model.num_classes, names)
    return balanced_weights(counts())


def weights_line(weights: Sequence[float], names: Sequence[str] | None) -> str:
    """The smallest and the largest weight, in words."""
    order = sorted(range(len(weights)), key=weights.__getitem__)
    low, high = (
        f"{weights[label]:.3g} ({label if names is None else repr(names[label])})"
        for label in (order[0], order[-1])
    )
    return f"from {low} to {high}; the loss of a validation has none"


def balance_notes(
    config: RunConfig, classes: Classes, names: Sequence[str] | None, *, item: str, each: str
) -> Iterator[str]:
    """What balanced sampling does to the classes with most and fewest videos.

    Args:
        config: `data.balance` is set.
        classes: Of each video.
        names: Of the classes, where they are known.
        item: What an epoch consists of, such as clips.
        each: What has the classes, such as videos.
    """
    counts = Counter(label for own in classes for label in own)
    groups = len(counts) + any(not own for own in classes)
    share = len(classes) / groups
    if counts:
        (often, most), (rarely, fewest) = counts.most_common()[0], counts.most_common()[-1]
        words = [str(label) if names is None else repr(names[label]) for label in (often, rarely)]
        yield (
            f"each class has about {share:.0f} of the {counted(len(classes), item)} of an epoch "
            f"(data.balance): {words[0]} has {counted(most, each)}, "
            f"{words[1]} {counted(fewest, each)}, each about {share / fewest:.1f} times"
        )
    if config.train.class_weights == "balanced":  # pyright: ignore[reportAttributeAccessIssue]
        yield (
            "data.balance and train.class_weights=balanced both make up for rare classes, which "
            "then count more than others; one of them is enough"
        )
