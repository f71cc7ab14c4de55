"""Encoders: from windows of frames to vectors. Each file holds one kind.

`KINDS` lists them; a new kind is one file and one row. Clip models are encoders too; because they
need a run's configuration, `videozoo.tasks.clip_encoder` opens them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from videozoo.encoders.base import Encoder
from videozoo.encoders.efficientnet_lite import NAME as LITE0
from videozoo.encoders.efficientnet_lite import is_efficientnet_lite, open_efficientnet_lite0
from videozoo.encoders.hugging_face import is_hugging_face, open_hugging_face
from videozoo.encoders.onnx import is_onnx, open_onnx_encoder
from videozoo.errors import UsageError, few


@dataclass(frozen=True)
class EncoderKind:
    """One kind of encoders."""

    title: str
    """What they are, in the plural, for messages."""
    is_one: Callable[[str], bool]
    """Whether a text names an encoder of this kind. The first kind that says yes is used."""
    open: Callable[..., Encoder]
    """Opens it: the text, then `options` by name."""
    example: str
    """What the user may type."""
    options: tuple[str, ...] = ()
    """Options that it takes, among `layer`, `pooling` and `precision`."""


KINDS: tuple[EncoderKind, ...] = (
    EncoderKind("built-in encoders", is_efficientnet_lite, open_efficientnet_lite0, example=LITE0),
    EncoderKind(
        "encoders of Hugging Face",
        is_hugging_face,
        open_hugging_face,
        example="hf://facebook/dinov2-small",
        options=("layer", "pooling", "precision"),
    ),
    EncoderKind("ONNX encoders", is_onnx, open_onnx_encoder, example="encoder.onnx"),
)


def open_known(text: str, options: Mapping[str, Any]) -> Encoder | None:
    """Open an encoder of one of `KINDS`; None if the text names none.

    Args:
        text: A name, a path, or `hf://OWNER/NAME[@REVISION]`.
        options: `layer`, `pooling`, `precision`, where they are not left to the encoder.

    Raises:
        UsageError: This kind has no such option.
        WeightsError: The encoder cannot be loaded.
    """
    kind = next((kind for kind in KINDS if kind.is_one(text)), None)
    if kind is None:
        return None
    for key in options:
        if key not in kind.options:
            others = [one.title for one in KINDS if key in one.options]
            raise UsageError(
                f"{text}: {kind.title} take no {key}" + (f"; {few(others)} do" if others else "")
            )
    return kind.open(text, **options)
