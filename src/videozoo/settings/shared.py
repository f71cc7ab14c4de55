"""Types that the `data:` sections share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from videozoo.types import Settings

Part = Literal["train", "val", "test"]
"""The parts of a `data:` section."""

MOST_RATE = 10_000.0
"""Feature vectors per second."""
MOST_IN_BATCH = 1_000_000
MOST_SIDE = 1 << 14
"""Pixels of a side that frames are scaled or cut to."""

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
    int, Field(ge=1, le=1000, description="Batches that each worker prepares ahead.")
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


class RawVideos(Settings):
    """Videos whose features are made before a model that reads features uses them."""

    videos: Path | None = None
    """Videos themselves: a folder, a file or a list. Their features are made with `encoder` first;
    a later run with the same encoder and videos finds them made."""
    encoder: tuple[str, ...] = ()
    """What makes the features of `videos`: a name of `videozoo encoders`, a run or weights of a
    clip model, a ResNet, a folder or `hf://OWNER/NAME` of Hugging Face, or an ONNX file. Vectors of
    several are joined."""
    encoder_layer: Literal["features", "scores"] | int = "features"
    """`features`: what the encoder is made to give. `scores`: the class scores of a clip model, as
    C-TCN of the 2019 library reads them. A number: that layer of a Hugging Face model."""
    encoder_pooling: str | None = None
    """For encoders of Hugging Face: how a vector is made of the outputs. By default as suits the
    model."""
    encoder_precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """For encoders of Hugging Face: number format in which they compute. `bf16` is several times as
    fast on recent GPUs, and changes the features a little."""
    encoder_window_seconds: float | None = Field(default=None, gt=0, le=1e6)
    """Seconds of video behind each vector. By default as the encoder was made for; if it does not
    say, one over the rate."""
    mirror: bool = False
    """Encode each picture of `videos` as it is and in a mirror, and take the mean of both vectors;
    making features takes up to twice as long. It may help a little where sides do not matter, and
    hides what differs by left and right: not for classes such as `turn left` and `turn right`."""
    rate: float | None = Field(default=None, gt=0, le=MOST_RATE)
    """Vectors per second: with `videos`, by default 2. Features that store their rate must agree
    with it."""

    @field_validator("encoder", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given
