"""Features must be of the kind that a model learnt from: same extractor, layer, rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from videozoo.data.features.records import SOURCE, fingerprint
from videozoo.errors import DataError, few
from videozoo.tasks.loading import Trained


def check_features(
    extractor: Mapping[str, Any] | None, trained: Trained, say: Callable[[str], None]
) -> None:
    """Compare what made some features with what made those that a model learnt from.

    Where either is unknown, as for features of others, that is said and nothing is refused.

    Args:
        extractor: Of the features at hand.
        trained: The model.
        say: Told where nothing can be compared.

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
    """Refuse to take features of unknown origin for denser or thinner ones than were learnt from.

    Args:
        rate: Vectors a second, as they are taken; None: there is no such thing.
        extractor: What made the features; where that is known `check_features` compares.
        learnt: What made those that the model learnt from.
        trained: The model.

    Raises:
        DataError: The rates differ, so that every time would be wrong.
    """
    known = (learnt or {}).get("rate")
    if extractor is None and rate is not None and known is not None and known != rate:
        raise DataError(
            f"these features are taken to have {rate:g} vectors a second, but {trained.path} "
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
) -> None:
    """Raise DataError where both sides are known and differ; say it where one is not known."""
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
        f"{fingerprint(other)}: {few(different)}; extract them again with one extractor"
    )
