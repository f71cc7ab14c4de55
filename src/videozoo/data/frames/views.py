"""Views of a video: which frames and which pixels of them a clip model sees.

What training draws comes from two generators, in the order of the 2019 readers.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray

from videozoo.data.frames import sampling, transforms
from videozoo.data.frames.transforms import Frames
from videozoo.data.frames.video import JpegPickle, VideoReader
from videozoo.errors import ConfigError

if TYPE_CHECKING:
    from videozoo.settings.clips import ClipData, ClipViews, ResizeRule, ResizeWith
    from videozoo.types import ClipShape


@dataclass(frozen=True, kw_only=True)
class ViewPlan:
    """All settings that decide which pixels of a video a network sees."""

    sampling: Literal["segments", "dense"] = "segments"
    num_steps: int = 8
    frames_per_step: int = 1
    frame_stride: int = 1
    """Between frames of dense clips."""
    num_clips: int = 1
    num_crops: Literal[1, 3, 6] = 1
    short_side: int = 256
    crop_size: int = 224
    resize: ResizeRule = "keep_aspect"
    resize_with: ResizeWith = "torch"
    short_side_jitter: tuple[int, int] | None = None
    """Only in training, like the two below."""
    crops: Literal["random", "multi_scale"] = "random"
    flip: float = 0.5


def train_plan(shape: ClipShape, data: ClipData) -> ViewPlan:
    """How training cuts a video.

    >>> from videozoo.settings.clips import ClipData
    >>> from videozoo.types import ClipShape
    >>> train_plan(ClipShape(sampling="segments", num_steps=8), ClipData(crop_size=112)).crop_size
    112
    """
    return ViewPlan(
        sampling=shape.sampling,
        num_steps=shape.num_steps,
        frames_per_step=shape.frames_per_step,
        frame_stride=data.frame_stride,
        short_side=data.short_side,
        crop_size=data.crop_size,
        resize=data.resize,
        resize_with=data.resize_with,
        short_side_jitter=data.short_side_jitter,
        crops=data.crops,
        flip=data.flip,
    )


def eval_plan(shape: ClipShape, data: ClipData, views: ClipViews | None = None) -> ViewPlan:
    """How evaluation cuts a video: by `views`, else by `data`.

    Raises:
        ConfigError: The crop does not fit into the frame.

    >>> from videozoo.settings.clips import ClipData, ClipViews
    >>> from videozoo.types import ClipShape
    >>> shape = ClipShape(sampling="segments", num_steps=3)
    >>> eval_plan(shape, ClipData(), ClipViews(num_segments=7)).num_steps
    7
    """
    from videozoo.settings.clips import ClipViews, frame_of  # here: plans need no settings

    views = views or ClipViews()
    try:
        short_side, crop_size = frame_of(data, views)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return replace(
        train_plan(shape, data),
        num_steps=views.num_segments or shape.num_steps,
        num_clips=views.num_clips,
        num_crops=views.num_crops,
        short_side=short_side,
        crop_size=crop_size,
        short_side_jitter=None,
    )


@dataclass(frozen=True)
class Draws:
    """The two random generators of one clip; the 2019 readers used one each."""

    python: random.Random
    numpy: np.random.RandomState

    @classmethod
    def of(cls, *key: int) -> Self:
        """Generators that depend on `key` alone, the same on every machine."""
        digest = hashlib.sha256(repr(key).encode()).digest()
        return cls(
            random.Random(int.from_bytes(digest[:8], "big")),
            np.random.RandomState(int.from_bytes(digest[8:12], "big")),
        )


def train_view(
    reader: VideoReader, plan: ViewPlan, draws: Draws, span: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Cut one training clip: drawn frames, resized, a drawn crop, perhaps mirrored.

    Clips of segments draw from `draws.python` (only the short side from `draws.numpy`): frames,
    rectangle, crop, mirror. Dense clips draw the frames from `draws.python`, the rest from
    `draws.numpy`. With the same states as in 2019 these are the same pixels.

    Args:
        reader: The video.
        plan: From `train_plan`.
        draws: Used up in this order.
        span: First frame and the one after the last that may be used; None: all.

    Returns:
        (num_steps, crop_size, crop_size, 3 * frames_per_step), contiguous.
    """
    first, last = span or (0, reader.num_frames)
    if plan.sampling == "segments":
        numbers = sampling.segment_frames_random(
            last - first, num_segments=plan.num_steps, run=plan.frames_per_step, rng=draws.python
        )
    else:
        numbers = sampling.dense_frames_random(
            last - first,
            length=plan.num_steps * plan.frames_per_step,
            stride=plan.frame_stride,
            rng=draws.python,
        )
    frames = reader.read([first + number for number in numbers])
    low, high = plan.short_side_jitter or (plan.short_side, plan.short_side)
    side = transforms.jittered_short_side(low, high, draws.numpy)
    frames = _resized(frames, side, plan)
    if plan.crops == "multi_scale":
        frames = transforms.multi_scale_crop(
            frames, plan.short_side, draws.python, backend=plan.resize_with
        )
    if plan.sampling == "segments":
        frames = transforms.random_crop(frames, plan.crop_size, draws.python)
        mirrored = draws.python.random() < plan.flip
    else:
        frames = transforms.random_crop_exclusive(frames, plan.crop_size, draws.numpy)
        mirrored = draws.numpy.rand() > 1 - plan.flip
    if mirrored:
        frames = transforms.mirror(frames)
    return transforms.side_by_side(frames, plan.frames_per_step)


def eval_views(
    reader: VideoReader,
    plan: ViewPlan,
    *,
    clip: int | None = None,
    crop: int | None = None,
    centre: sampling.CentreRule = "first",
    span: tuple[int, int] | None = None,
) -> list[NDArray[np.uint8]]:
    """Cut the crops of one evaluation clip. Nothing is drawn.

    Args:
        reader: The video.
        plan: From `eval_plan`.
        clip: Which of `plan.num_clips`; None: the one in the middle.
        crop: Only this crop, as `positioned_crop` numbers them; None: `plan.num_crops`.
        centre: See `segment_frames`.
        span: First frame and the one after the last that may be used; None: all.

    Returns:
        Views of (num_steps, crop_size, crop_size, 3 * frames_per_step), contiguous.
    """
    numbers = eval_frames(reader, plan, clip=clip, centre=centre, span=span)
    frames = _resized(reader.read(numbers), plan.short_side, plan)
    if crop is not None:
        cuts = [transforms.positioned_crop(frames, plan.crop_size, crop)]
    elif plan.num_crops > 1:
        cuts = [
            transforms.positioned_crop(frames, plan.crop_size, position)
            for position in range(plan.num_crops)
        ]
    elif plan.sampling == "dense":  # its 2019 reader rounded the other way
        top, left = ((size - plan.crop_size) // 2 for size in frames.shape[1:3])
        side = plan.crop_size
        cuts = [transforms.crop(frames, top=top, left=left, height=side, width=side)]
    else:
        cuts = [transforms.centre_crop(frames, plan.crop_size)]
    return [transforms.side_by_side(cut, plan.frames_per_step) for cut in cuts]


def eval_frames(
    reader: VideoReader,
    plan: ViewPlan,
    *,
    clip: int | None = None,
    centre: sampling.CentreRule = "first",
    span: tuple[int, int] | None = None,
) -> list[int]:
    """Numbers of the frames that one evaluation clip is made of; arguments as of `eval_views`."""
    first, last = span or (0, reader.num_frames)
    if plan.sampling == "segments":
        numbers = sampling.segment_frames(
            last - first,
            num_segments=plan.num_steps,
            run=plan.frames_per_step,
            centre=centre,
            clip=clip or 0,
            num_clips=plan.num_clips if clip is not None else 1,
        )
    else:
        numbers = sampling.dense_frames(
            last - first,
            length=plan.num_steps * plan.frames_per_step,
            stride=plan.frame_stride,
            clip=clip,
            num_clips=plan.num_clips,
        )
    return [first + number for number in numbers]


def _resized(frames: Frames, short_side: int, plan: ViewPlan) -> Frames:
    return transforms.resize_short_side(
        frames, short_side, rule=plan.resize, backend=plan.resize_with
    )


def centre_rule(reader: VideoReader) -> sampling.CentreRule:
    """What the 2019 readers centred in a segment; it depended on the kind of file."""
    return "run" if isinstance(reader, JpegPickle) else "first"
