"""Types that the `data:` sections share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

Part = Literal["train", "val", "test"]
"""The parts of a `data:` section."""

Share = Annotated[float, Field(ge=0, le=1)]

NumWorkers = Annotated[
    int,
    Field(
        ge=0,
        description="Processes that read and decode, per training process; never more than the "
        "machine has cores. 0 reads in the training process itself.",
    ),
]
PrefetchBatches = Annotated[
    int, Field(ge=1, description="Batches that each worker prepares ahead.")
]
MissingFeaturesShare = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="Training leaves out what has no features and replaces damaged videos by "
        "others. It stops when both together are more than this share of the training data.",
    ),
]


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} stands there twice, and would be joined to itself")
    return names


StreamNames = Annotated[tuple[str, ...], AfterValidator(_different)]
Streams = Annotated[
    StreamNames,
    Field(
        description="Arrays of a video to join, in this order. By default the only array, or "
        "`rgb` and `flow`.",
    ),
]
