"""ONNX files as encoders: an image or clip network and a description of what goes in and out.

The description is JSON beside the file (NAME.onnx, NAME.json), or inside it, where `videozoo export
--features` writes it. For a network of single images:

    {
      "videozoo_encoder": 1,
      "title": "My network",
      "input": "pixels", "layout": "NCHW",
      "output": "features", "pooling": "none", "dim": 512,
      "short_side": 256, "crop": [224, 224], "interpolation": "bicubic",
      "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]
    }

and for a network of clips also `"layout": "NTCHW", "frames": 8`. `OnnxDescription` has every key;
`videozoo encoders --onnx` prints them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from videozoo.data.frames.preparation import CropOffset, LongSide, Preparation
from videozoo.data.frames.transforms import Interpolation
from videozoo.encoders.base import Encoder, Window
from videozoo.engine.settings import Precision
from videozoo.errors import UsageError, WeightsError, brief
from videozoo.runtime.window_graph import Colours, Layout, Pooling, WindowGraph, WindowPorts
from videozoo.safe_json import parse_json
from videozoo.safe_text import read_text
from videozoo.settings.clips import Colour, ResizeWith
from videozoo.settings.mistakes import mistakes_of
from videozoo.types import Settings
from videozoo.weights.exported import ENCODER_KEY, ONNX_KEY
from videozoo.weights.files import sha256_of
from videozoo.weights.onnx_graphs import Port, onnx_metadata, open_onnx

FORMAT = 1
_MOST_SIDE = 1 << 13

Side = tuple[int, int]


class OnnxDescription(Settings):
    """What goes into an ONNX encoder and what comes out. Sizes are [height, width], in pixels."""

    videozoo_encoder: Literal[1]
    """Version of this description: 1."""
    title: str = Field(min_length=1, max_length=200)
    """What people call the network."""
    input: str
    """Name of the input."""
    layout: Layout
    """Order of its sizes, N windows, T frames, C colours, H height, W width: NCHW, NHWC, NTCHW,
    NCTHW or NTHWC."""
    output: str
    """Name of the output that is used."""
    pooling: Pooling = "none"
    """How the output becomes one vector: `none`, it is (N, dim); `mean` over the positions of
    (N, positions, dim) or (N, dim, H, W); `first` position of (N, positions, dim)."""
    dim: int = Field(ge=1, le=1 << 20)
    """Length of a vector."""
    frames: int = Field(default=1, ge=1, le=4096)
    """Steps of a window: frames, or runs of `frames_per_step` frames."""
    frames_per_step: int = Field(default=1, ge=1, le=64)
    """Neighbouring frames whose colours are stacked: C is 3 times this number."""
    window_seconds: float | None = Field(default=None, gt=0)
    """Stretch of video that the steps are spread over; null: as long as a cell of the features."""
    frame_stride: int | None = Field(default=None, ge=1)
    """In its place: distance between steps, in frames."""
    colours: Colours = "RGB"
    """Order of the colours, also in `mean` and `std`: RGB or BGR."""
    short_side: int | None = Field(default=None, ge=1, le=_MOST_SIDE)
    """Frames are scaled so that their shorter side has this many pixels."""
    long_side: LongSide = "floor"
    """The longer side: in proportion, rounded down (`floor`) or to the nearest (`round`), or
    `fixed_4_3` of the shorter."""
    size: Side | None = None
    """In place of `short_side`: frames are scaled to exactly this size."""
    crop: Side | None = None
    """Then the middle of this size is cut out."""
    crop_offset: CropOffset = "down"
    """Where half a pixel of the crop goes: `down`, up and to the left, or to the `even` offset."""
    interpolation: Interpolation = "bilinear"
    """Filter of the scaling: nearest, bilinear, bicubic, lanczos, box or hamming."""
    resize_with: ResizeWith = "pillow"
    """`pillow`: as most networks were trained. `torch`: faster, within 2 grey levels."""
    pixel_scale: float | None = Field(default=None, gt=0)
    """Grey levels 0..255 are multiplied by this; null: 1 / 255."""
    mean: Colour | None = None
    """Subtracted from the scaled values. null if the input takes grey levels, uint8."""
    std: Colour | None = None
    """Then the values are divided by this."""
    exported_from: dict[str, Any] | None = None
    """Written by `videozoo export`, inside the file: the facts of the encoder that the graph was
    compared with. Its features count as that encoder's."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if "T" not in self.layout and self.frames > 1:
            raise ValueError(
                f"layout {self.layout} has no T for {self.frames} frames; write NTCHW or NCTHW"
            )
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std: write both, or neither if the input takes uint8")
        if self.mean is None and self.pixel_scale is not None:
            raise ValueError("pixel_scale without mean and std; write both")
        if self.mean is not None and self.pixel_scale is None and max(self.mean) > 1:
            raise ValueError(
                f"mean {list(self.mean)} is for grey levels 0..255; write pixel_scale 1, or divide "
                "mean and std by 255"
            )
        if self.window_seconds is not None and self.frame_stride is not None:
            raise ValueError("window_seconds and frame_stride: write one")
        try:
            shape = self.preparation.shape
        except ValueError as error:
            raise ValueError(str(error)) from None
        if shape is None:
            raise ValueError("frames would have as many sizes as videos; write crop or size")
        return self

    @property
    def preparation(self) -> Preparation:
        """What happens to frames."""
        return Preparation(
            short_side=self.short_side,
            long_side=self.long_side,
            size=self.size,
            crop=self.crop,
            crop_offset=self.crop_offset,
            interpolation=self.interpolation,
            resize_with=self.resize_with,
            pixel_scale=self.pixel_scale or 1 / 255,
            mean=self.mean or (0.0, 0.0, 0.0),
            std=self.std or (1.0, 1.0, 1.0),
        )

    @property
    def ports(self) -> WindowPorts:
        """What goes into the file, and what comes out."""
        return WindowPorts(
            input=self.input,
            layout=self.layout,
            output=self.output,
            pooling=self.pooling,
            dim=self.dim,
            shape=self.shape,
            colours=self.colours,
            scale=None if self.mean is None else self.preparation.whole_scale,
        )

    @property
    def window(self) -> Window:
        """The frames that the network sees at once."""
        return Window(
            num_steps=self.frames,
            frames_per_step=self.frames_per_step,
            seconds=self.window_seconds,
            frame_stride=self.frame_stride,
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of one prepared window: (T, C, H, W)."""
        height, width = cast(Side, self.preparation.shape)
        return (self.frames, 3 * self.frames_per_step, height, width)

    def as_json(self) -> dict[str, Any]:
        """As plain JSON data, without what is as by default."""
        return self.model_dump(mode="json", exclude_defaults=True)


class OnnxEncoder(Encoder):
    """An ONNX file as an encoder; see `open_onnx_encoder`."""

    def __init__(self, path: Path, about: OnnxDescription, files: Sequence[Path]) -> None:
        """Open a file whose description is known.

        Raises:
            WeightsError: The file takes or gives other things than described.
        """
        self.about = about
        self.preparation = about.preparation
        self.title, self.dim, self.window = about.title, about.dim, about.window
        self.reference, self.files = str(path.absolute()), files
        self._path = path
        self._graph = WindowGraph(path, open_onnx(path, ours=False), about.ports)
        self._device = torch.device("cpu")
        self._facts = {
            "model": "onnx",
            "title": about.title,
            "weights_sha256": sha256_of(path),
            "layer": about.output,
            "pooling": about.pooling,
            "dim": about.dim,
            "layout": about.layout,
            "colours": about.colours,
            "preparation": self.preparation.facts,
        }
        self.encode(torch.zeros(2, *about.shape, dtype=torch.uint8))  # does it fit?

    @property
    def facts(self) -> dict[str, Any]:
        """See `Encoder.facts`; those of the original, if it was exported from an encoder."""
        return dict(self.about.exported_from or self._facts)

    def prepare(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Encoder.prepare`."""
        return self.preparation.apply(frames)

    def encode(self, windows: Tensor) -> Tensor:
        """See `Encoder.encode`.

        Raises:
            WeightsError: The graph cannot be computed, or gives other vectors than described.
        """
        vectors = self._graph.vectors(windows.cpu().numpy())
        return torch.from_numpy(vectors).to(windows.device)

    def to(self, device: torch.device, precision: Precision) -> None:
        """See `Encoder.to`; the graph keeps its own precision.

        Raises:
            UsageError: Another precision than fp32 is asked for.
            RunError: onnxruntime cannot use the device.
        """
        if precision != "fp32":
            raise UsageError(
                f"{self._path}: an ONNX file computes in the precision it was written in; "
                f"{precision} cannot be chosen"
            )
        if device.type == "cuda" and device != self._device:
            index = device.index or 0
            graph = open_onnx(self._path, device="cuda", device_index=index, ours=False)
            self._graph = WindowGraph(self._path, graph, self.about.ports)
        self._device = device


def description_keys() -> list[tuple[str, str, str]]:
    """Every key of a description: its name, its default ("required" without one), what it means."""
    keys = list[tuple[str, str, str]]()
    for name, field in OnnxDescription.model_fields.items():
        default = "required" if field.is_required() else json.dumps(field.default)
        keys.append((name, default, " ".join((field.description or "").split())))
    return keys


def is_onnx(text: str) -> bool:
    """Whether the user names an ONNX file."""
    return Path(text).suffix.lower() == ".onnx"


def open_onnx_encoder(text: str) -> OnnxEncoder:
    """Open an ONNX file as an encoder.

    Args:
        text: The file, NAME.onnx; its description is inside, or in NAME.json beside it.

    Raises:
        WeightsError: There is no such file, no description (the message shows one to fill in), or
            the file is not as described.
        RunError: onnxruntime is missing.
    """
    path = Path(text)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        metadata = onnx_metadata(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    beside = path.with_suffix(".json")
    if ENCODER_KEY in metadata:
        about = _parsed(metadata[ENCODER_KEY], f"{path}: its description")
        if beside.is_file() and _looks_meant(beside) and _beside(beside) != about:
            raise WeightsError(
                f"{beside}: differs from the description inside {path.name}; remove one of them"
            )
        return OnnxEncoder(path, about, (path,))
    if beside.is_file():
        about = _beside(beside)
        if about.exported_from is not None:
            raise WeightsError(
                f"{beside}: exported_from is known only inside the file that was exported; leave "
                "it out"
            )
        return OnnxEncoder(path, about, (path, beside))
    if ONNX_KEY in metadata:
        raise WeightsError(
            f"{path}: an exported model gives scores and no features; export its features: "
            "videozoo export --weights RUN --features"
        )
    raise WeightsError(
        f"{path}: has no description of what goes in and comes out; write {beside} like this, with "
        f"what is true for the network (videozoo encoders --onnx explains it):\n{_proposal(path)}"
    )


def _beside(path: Path) -> OnnxDescription:
    try:
        text = read_text(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WeightsError(f"{path}: is no text in UTF-8") from None
    return _parsed(text, str(path))


def _looks_meant(path: Path) -> bool:
    """Whether a JSON file is a description of an encoder, and not something else of that name."""
    try:
        return '"videozoo_encoder"' in read_text(path)
    except (OSError, UnicodeDecodeError):
        return False


def _parsed(text: str, where: str) -> OnnxDescription:
    try:
        content: Any = parse_json(text)
    except ValueError as error:
        raise WeightsError(f"{where}: is no JSON: {error}") from None
    if not isinstance(content, Mapping):
        raise WeightsError(f"{where}: holds {brief(content)}, expected keys and values")
    version = cast("Mapping[str, Any]", content).get("videozoo_encoder")
    if isinstance(version, int) and version > FORMAT:
        raise WeightsError(f"{where}: of version {version}, which is newer; update videozoo")
    try:
        return OnnxDescription.model_validate(content)
    except ValidationError as error:
        found = mistakes_of(OnnxDescription, error)
        lines = [
            f"{mistake.key}: {mistake.text}" if mistake.key else mistake.text for mistake in found
        ]
        raise WeightsError(f"{where} cannot be used:\n  " + "\n  ".join(lines)) from None


def _proposal(path: Path) -> str:
    """A description to fill in, as far as the graph tells."""
    graph = open_onnx(path, ours=False)
    given = next(iter(graph.inputs), Port("pixels", np.dtype(np.float32), ()))
    flat = [port for port in graph.outputs if len(port.shape) == 2]
    taken = next(iter(flat or graph.outputs), Port("features", np.dtype(np.float32), ()))
    layout = _guessed_layout(given.shape)
    sizes = dict(zip(layout, given.shape, strict=False))
    side = (sizes.get("H") or 224, sizes.get("W") or 224)
    about: dict[str, Any] = {
        "videozoo_encoder": FORMAT,
        "title": path.stem,
        "input": given.name,
        "layout": layout,
        "output": taken.name,
        "pooling": "none" if len(taken.shape) == 2 else "mean",
        "dim": taken.shape[1 if len(taken.shape) == 4 else -1] if taken.shape else 512,
        "frames": (sizes.get("T") or 8) if "T" in layout else 1,
        "short_side": round(min(side) / 0.875),
        "crop": list(side),
        "interpolation": "bicubic",
    }
    about["dim"] = about["dim"] or 512
    if given.dtype != np.uint8:
        about |= {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    return json.dumps(about, indent=2)


def _guessed_layout(shape: Sequence[int | None]) -> Layout:
    if len(shape) == 5:
        return "NCTHW" if shape[1] == 3 else "NTHWC" if shape[-1] == 3 else "NTCHW"
    return "NHWC" if len(shape) == 4 and shape[-1] == 3 else "NCHW"
