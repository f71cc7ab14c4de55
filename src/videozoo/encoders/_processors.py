"""Preprocessors of transformers, read from their JSON files as our `Preparation`.

The files leave out what is the default of the class that they name, so the defaults of the known
classes are listed here. What changes pixels and is not known is refused by name.

Pixels are those of the processors of transformers that use Pillow. Those that use torchvision
scale otherwise and differ by a grey level or two; DINOv3's rounds only at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from videozoo.data.frames.preparation import IMAGENET_MEAN, IMAGENET_STD, Preparation
from videozoo.data.frames.transforms import Interpolation
from videozoo.errors import WeightsError, brief
from videozoo.settings.clips import Colour
from videozoo.weights.model_folder import ModelFolder

IMAGES, VIDEOS, BOTH = (
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
)
_HALF: Colour = (0.5, 0.5, 0.5)
_CLIP_MEAN: Colour = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD: Colour = (0.26862954, 0.26130258, 0.27577711)
_MOST_SIDE = 2048
_CONVNEXT_WHOLE = 384  # from this size on, ConvNeXt's preprocessor does not crop


@dataclass(frozen=True)
class _Kind:
    """The defaults of one class of preprocessors."""

    size: Mapping[str, int]
    crop: int | None = None
    resample: int = 2
    mean: Colour = _HALF
    std: Colour = _HALF
    scale: float = 1 / 255
    is_square: bool = False
    """What one number as `size` means: both sides, or the shorter one."""
    offset: bool = False
    crop_share: float | None = None
    short_side_of_crop: float | None = None
    """The short side is this many times the crop, whatever the file says."""


_KINDS: dict[str, _Kind] = {
    "ViT": _Kind({"height": 224, "width": 224}, is_square=True),
    "DINOv3ViT": _Kind(
        {"height": 224, "width": 224}, is_square=True, mean=IMAGENET_MEAN, std=IMAGENET_STD
    ),
    "Bit": _Kind({"shortest_edge": 224}, 224, 3, _CLIP_MEAN, _CLIP_STD),
    "CLIP": _Kind({"shortest_edge": 224}, 224, 3, _CLIP_MEAN, _CLIP_STD),
    "Siglip": _Kind({"height": 224, "width": 224}, None, 3),
    "ConvNext": _Kind({"shortest_edge": 384}, None, 3, crop_share=224 / 256),
    "VideoMAE": _Kind({"shortest_edge": 224}, 224),
    "Timesformer": _Kind({"shortest_edge": 224}, 224, mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "Vivit": _Kind({"shortest_edge": 256}, 224, scale=1 / 127.5, offset=True),
    "VJEPA2": _Kind(
        {"shortest_edge": 292},
        256,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        short_side_of_crop=256 / 224,
    ),
}
_CLASS = re.compile(r"(\w+?)(?:ImageProcessor|VideoProcessor|FeatureExtractor)(?:Fast|Pil)?")
_FILTERS: dict[Any, Interpolation] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
    4: "box",
    5: "hamming",
}
_READ = {
    *("do_resize", "size", "default_to_square", "resample", "crop_pct"),
    *("do_center_crop", "crop_size", "do_rescale", "rescale_factor", "offset"),
    *("do_normalize", "image_mean", "image_std"),
}
_HARMLESS = {
    *("image_processor_type", "video_processor_type", "feature_extractor_type", "processor_class"),
    *("_valid_processor_keys", "model_input_names", "data_format", "input_data_format"),
    *("return_tensors", "return_metadata", "disable_grouping", "device", "do_convert_rgb"),
    # frames are chosen by rate and window, which the user sets
    *("do_sample_frames", "fps", "num_frames", "video_metadata", "transformers_version"),
}


def read_preparation(folder: ModelFolder, *, family: str, is_video: bool) -> Preparation:
    """Read how the frames of a model are prepared.

    Args:
        folder: Files of the model.
        family: Preprocessor where the file does not name its class.
        is_video: Prefer the file of the video preprocessor.

    Raises:
        WeightsError: There is no such file, or it asks for what is not known.
    """
    file, given = _find(folder, is_video=is_video)
    return _Reader(f"{folder.text}: {file}", given, family).preparation()


def _find(folder: ModelFolder, *, is_video: bool) -> tuple[str, Mapping[str, Any]]:
    """The description of the preprocessor, in the order in which transformers looks for it."""
    both = folder.json(BOTH) or {}
    parts = ["video_processor", "image_processor"] if is_video else ["image_processor"]
    for part in parts:
        if isinstance(both.get(part), dict):
            return f"{BOTH}, {part}", both[part]
        file = VIDEOS if part == "video_processor" else IMAGES
        if (given := folder.json(file)) is not None:
            return file, given
    missing = f"{VIDEOS} and no {IMAGES}" if is_video else IMAGES
    raise WeightsError(
        f"{folder.text}: holds no {missing}, so it does not tell how its frames are scaled and "
        "normalised; copy the file of the model it was made from"
    )


class _Reader:
    def __init__(self, where: str, given: Mapping[str, Any], family: str) -> None:
        self._where = where
        self._given = {key: value for key, value in given.items() if value is not None}
        self._name = self._class_name() or family
        if self._name not in _KINDS:
            raise WeightsError(
                f"{where}: a preprocessor of type {self._name}; known are "
                f"{', '.join(sorted(_KINDS))}"
            )
        self._kind = _KINDS[self._name]
        for key, value in self._given.items():
            if key == "auto_map":
                raise WeightsError(f"{where}: needs code from its repository, which is never run")
            is_read = key in _READ
            if (key == "crop_pct" and self._kind.crop_share is None) or (
                key == "offset" and not self._kind.offset
            ):
                is_read = False
            if not is_read and key not in _HARMLESS and value is not False:
                raise WeightsError(
                    f"{where}: {key}={brief(value)} may change pixels in a way that is not known "
                    "here; take out the key if it does not"
                )

    def _class_name(self) -> str | None:
        for key in ("video_processor_type", "image_processor_type", "feature_extractor_type"):
            name = self._given.get(key)
            if isinstance(name, str):
                match = _CLASS.fullmatch(name)
                return match[1] if match else name
        return None

    def preparation(self) -> Preparation:
        """Put everything together."""
        kind = self._kind
        short_side, size = self._resize()
        crop = self._crop()
        if kind.short_side_of_crop is not None and crop and (short_side or size):
            short_side, size = int(crop[0] * kind.short_side_of_crop), None
        if kind.crop_share is not None and short_side is not None:
            short_side, size, crop = self._convnext(short_side, crop)
        has_scale, has_norm = self._switch("do_rescale", True), self._switch("do_normalize", True)
        try:
            made = Preparation(
                short_side=short_side,
                size=size,
                crop=crop,
                interpolation=self._filter(),
                pixel_scale=self._number("rescale_factor", kind.scale) if has_scale else 1.0,
                pixel_offset=-1.0 if has_scale and self._switch("offset", kind.offset) else 0.0,
                mean=self._colour("image_mean", kind.mean) if has_norm else (0.0, 0.0, 0.0),
                std=self._colour("image_std", kind.std) if has_norm else (1.0, 1.0, 1.0),
            )
        except ValueError as error:
            raise WeightsError(f"{self._where}: {error}") from None
        if made.shape is None:
            raise WeightsError(
                f"{self._where}: neither crops frames nor scales them to one size, so that they "
                "would have as many shapes as videos; set do_center_crop and crop_size in it"
            )
        return made

    def _resize(self) -> tuple[int | None, tuple[int, int] | None]:
        """Short side, or height and width."""
        if not self._switch("do_resize", True):
            return None, None
        given = self._given.get("size", self._kind.size)
        if isinstance(given, int) and not isinstance(given, bool):
            square = self._switch("default_to_square", self._kind.is_square)
            return (
                (None, self._sides("size", given)) if square else (self._side("size", given), None)
            )
        if isinstance(given, Mapping):
            table = cast("Mapping[str, Any]", given)
            keys = {key for key, value in table.items() if value is not None}
            if keys == {"shortest_edge"}:
                return self._side("size", table["shortest_edge"]), None
        return None, self._sides("size", given)

    def _crop(self) -> tuple[int, int] | None:
        if not self._switch("do_center_crop", self._kind.crop is not None):
            return None
        given = self._given.get("crop_size", self._kind.crop)
        if given is None:
            raise WeightsError(f"{self._where}: do_center_crop without crop_size")
        return self._sides("crop_size", given)

    def _convnext(
        self, side: int, crop: tuple[int, int] | None
    ) -> tuple[int | None, tuple[int, int] | None, tuple[int, int] | None]:
        """ConvNeXt scales to more than `size` and crops to it, or scales large sizes to squares."""
        if crop is not None:
            raise WeightsError(f"{self._where}: do_center_crop is not known for {self._name}")
        if side >= _CONVNEXT_WHOLE:
            return None, (side, side), None
        share = self._number("crop_pct", self._kind.crop_share or 1.0)
        if not 0.1 <= share <= 1:
            raise self._wrong("crop_pct", share, "a share from 0.1 to 1")
        return int(side / share), None, (side, side)

    def _switch(self, key: str, default: bool) -> bool:
        value = self._given.get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def _number(self, key: str, default: float) -> float:
        value = self._given.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, value, "a number")
        return float(value)

    def _side(self, key: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_SIDE:
            raise self._wrong(key, value, f"a side of 1 to {_MOST_SIDE} pixels")
        return value

    def _sides(self, key: str, given: Any) -> tuple[int, int]:
        """Height and width, from one number, two numbers, or a table of the two."""
        if isinstance(given, int):
            return self._side(key, given), self._side(key, given)
        if isinstance(given, list) and len(cast("list[Any]", given)) == 2:
            return self._side(key, given[0]), self._side(key, given[1])
        if isinstance(given, Mapping):
            table = cast("Mapping[str, Any]", given)
            keys = {name for name, value in table.items() if value is not None}
            if keys == {"height", "width"}:
                return self._side(key, table["height"]), self._side(key, table["width"])
        raise self._wrong(key, given, "a side, height and width, or shortest_edge")

    def _filter(self) -> Interpolation:
        given = self._given.get("resample", self._kind.resample)
        if isinstance(given, str) and given.lower() in _FILTERS.values():
            return cast(Interpolation, given.lower())
        if isinstance(given, bool) or not isinstance(given, int) or given not in _FILTERS:
            raise self._wrong("resample", given, "a filter of Pillow, 0 to 5")
        return _FILTERS[given]

    def _colour(self, key: str, default: Colour) -> Colour:
        given = self._given.get(key, default)
        if isinstance(given, int | float) and not isinstance(given, bool):
            given = [given] * 3
        if not isinstance(given, list | tuple) or len(cast("list[Any]", given)) != 3:
            raise self._wrong(key, given, "three numbers, for red, green and blue")
        red, green, blue = cast("list[Any]", given)
        for one in (red, green, blue):
            if isinstance(one, bool) or not isinstance(one, int | float):
                raise self._wrong(key, given, "three numbers, for red, green and blue")
        return float(red), float(green), float(blue)

    def _wrong(self, key: str, value: Any, expected: str) -> WeightsError:
        return WeightsError(f"{self._where}: {key}={brief(value)}; expected {expected}")
