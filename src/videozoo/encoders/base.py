"""What every encoder offers: windows of frames in, vectors out."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, device, nn

from videozoo.data.frames.preparation import Preparation
from videozoo.engine.settings import Precision


@dataclass(frozen=True, kw_only=True)
class Window:
    """The frames that an encoder sees at once."""

    num_steps: int = 1
    """Frames, or runs of neighbouring frames: 1 for encoders of images."""
    frames_per_step: int = 1
    """Neighbouring frames of a step, whose channels are stacked."""
    seconds: float | None = None
    """Stretch of video that the steps are spread over, unless the user names another; None: one
    over the rate of the vectors."""
    frame_stride: int | None = None
    """In place of `seconds`: steps are this many frames apart at any frame rate, as clip models of
    dense clips are trained."""

    @property
    def num_frames(self) -> int:
        """Frames in a window."""
        return self.num_steps * self.frames_per_step


@dataclass(frozen=True)
class EncoderGraph:
    """An encoder as parts that a file can hold."""

    module: nn.Module
    """On the CPU, in evaluation mode: from windows, as `Encoder.encode` takes them, to vectors."""
    preparation: Preparation
    """What `Encoder.prepare` does."""


class Encoder(ABC):
    """A network that turns windows of frames into vectors; `encoders.KINDS` lists the kinds.

    The caller decodes frames, passes each through `prepare` once, stacks them into windows and
    passes batches of windows to `encode`.
    """

    title: str
    """What people call it, e.g. "EfficientNet-Lite0"."""
    dim: int
    """Length of a vector."""
    window: Window
    reference: str
    """What the user types after `--encoder` for it: a name, a path or `hf://NAME@REVISION`."""
    options: Mapping[str, Any] = {}
    """What else is needed to open it again: choices that were not left to their defaults, such as
    `pooling`, as plain JSON data."""
    files: Sequence[Path] = ()
    """Files that a run folder keeps; none where the name alone is enough. The first one is what
    opens the encoder."""
    notes: Sequence[str] = ()
    """Remarks for the user, one line each."""
    batch_size: int = 16
    """Windows per forward pass."""
    precision: Precision = "fp32"
    """Precision in which it computes unless the caller asks for another."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """All that a vector depends on beside the window's place, as plain JSON data.

        Among them `model`, `title`, `weights_sha256`, `layer`, `dim`, and what `prepare` does. Two
        encoders with equal facts give equal vectors.
        """

    def keep(self, folder: Path) -> str | None:
        """Put `files` into a folder, as hard links where that is possible.

        Returns:
            The name there of the file that opens the encoder; None: `reference` opens it.

        Raises:
            OSError: The folder cannot be written.
        """
        for path in self.files:
            target = folder / path.name
            target.unlink(missing_ok=True)
            try:
                target.hardlink_to(path)
            except OSError:  # another disk, or a file system without links
                shutil.copyfile(path, target)
        return self.files[0].name if self.files else None

    @abstractmethod
    def prepare(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Scale and crop decoded frames, (T, H, W, 3) RGB to (T, height, width, 3)."""

    @abstractmethod
    def encode(self, windows: Tensor) -> Tensor:
        """Turn windows into vectors.

        Args:
            windows: uint8 (N, num_steps, 3 * frames_per_step, height, width) on the encoder's
                device, from `prepare`, in any memory layout.

        Returns:
            float32 (N, dim), on the same device; on a GPU perhaps still being computed.
        """

    def graph(self) -> EncoderGraph | None:
        """What `videozoo export` writes as a file; None: this encoder cannot be exported."""
        return None

    @abstractmethod
    def to(self, device: device, precision: Precision) -> None:
        """Move to a device, and compute in this precision. Called once, before `encode`."""
