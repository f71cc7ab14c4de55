"""Check that features are like those of the training: same extractor, layer and rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from videozoo.data.features.records import SOURCE, fingerprint
from videozoo.errors import DataError, few
from videozoo.tasks.loading import Trained


def check_features(
    extractor: Mapping[str, Any] | None, trained: Trained, say: Callable[[str], None]
) -> None:
    """Compare the extractor of some features with the extractor of the training features.

    If either is unknown, as for features made elsewhere, a note says so and nothing is refused.

    Args:
        extractor: What made the features; None if unknown.
        trained: The model.
        say: Prints the note if nothing can be compared.

    Raises:
        DataError: They differ; the message names the facts.
    """
    if trained.features is None and extractor is None:
        return
    if trained.features is None or extractor is None:
        silent = "the weights" if trained.features is None else "the features"
        say(f"note: {silent} do not say what made the features; they must be of the same kind")
        return
    refuse_other_features(extractor, trained.features, "these features", str(trained.path))


def check_rate(
    rate: float | None,
    extractor: Mapping[str, Any] | None,
    learnt: Mapping[str, Any] | None,
    trained: Trained,
) -> None:
    """Refuse features of unknown origin that are read at another rate than in training.

    Args:
        rate: The assumed rate in vectors per second; None: the features have none.
        extractor: What made the features; if known, `check_features` compares it.
        learnt: What made the training features.
        trained: The model.

    Raises:
        DataError: The rates differ; every time in the result would be wrong.
    """
    known = (learnt or {}).get("rate")
    if extractor is None and rate is not None and known is not None and known != rate:
        raise DataError(
            f"these features are taken to have {rate:g} vectors per second, but {trained.path} "
            f"learnt from {known:g}; every time would be wrong: extract them as those were, then "
            f"--set data.rate={known:g}"
        )


def refuse_other_features(
    extractor: Mapping[str, Any] | None,
    other: Mapping[str, Any] | None,
    name: str,
    other_name: str,
    *,
    say: Callable[[str], None] | None = None,
    advice: str = "extract them again with one extractor",
) -> None:
    """Raise DataError if both sides are known and differ; print a note if one is unknown."""
    if (extractor is None) != (other is None) and say is not None:
        silent, known = (name, other_name) if extractor is None else (other_name, name)
        say(
            f"note: {silent} does not say what made its features, {known} does; they must be of "
            "the same kind"
        )
    if extractor is None or other is None or fingerprint(extractor) == fingerprint(other):
        return
    different = [
        f"{key} {extractor.get(key)!r} instead of {other.get(key)!r}"
        for key in sorted({*extractor, *other} - {SOURCE})
        if extractor.get(key) != other.get(key)
    ]
    raise DataError(
        f"mixed features: {name} have fingerprint {fingerprint(extractor)}, but {other_name} "
        f"{fingerprint(other)}: {few(different)}; {advice}"
    )
