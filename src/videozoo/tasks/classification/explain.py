"""Explain a prediction of a clip model: which places of which frames support it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from videozoo.config import RunConfig
from videozoo.data.annotations.videos import ClipEntry
from videozoo.data.clips import entry_span
from videozoo.data.frames.video import open_video
from videozoo.data.frames.views import centre_rule, eval_frames, eval_plan, eval_views
from videozoo.ops.grad_cam import grad_cam
from videozoo.ops.pixels import normalize
from videozoo.report.annotate import SeenFrames
from videozoo.tasks.clip_views import clip_shape


@dataclass(frozen=True)
class Explained:
    """Heat maps of one clip: the places that support a class."""

    seen: SeenFrames
    """One frame per step of the network's input; the middle one of stacked frames."""
    heat: NDArray[np.float32]
    """(T, h, w) in [0, 1], for each frame of `seen`."""
    shares: list[float]
    """Share of each frame in the heat; sums to 1, or is all 0 if nothing supports the class."""
    frames_per_second: float | None


def explain(module: nn.Module, entry: ClipEntry, config: RunConfig, label: int) -> Explained:
    """Find the places that support a class, in the centre crop of the middle clip of a video.

    If the network pools along time, the frames of one step share its heat.

    Args:
        module: The network in evaluation mode, on its device.
        entry: The video.
        config: The configuration for the views of prediction.
        label: Number of the class.

    Raises:
        VideoError: The video cannot be read.
    """
    shape = clip_shape(config)
    views = config.predict.model_copy(update={"num_clips": 1, "num_crops": 1})
    plan = replace(eval_plan(shape, config.data, views), num_clips=1)
    with open_video(entry.path) as reader:
        rule, span = centre_rule(reader), entry_span(entry, reader)
        numbers = eval_frames(reader, plan, centre=rule, span=span)
        view = eval_views(reader, plan, centre=rule, span=span)[0]  # (T, H, W, 3 * run)
        rate = reader.info.frames_per_second

    device = next(module.parameters()).device
    clip = torch.from_numpy(view).permute(0, 3, 1, 2)[None].to(device)
    pixels = normalize(clip, config.data.mean, config.data.std)
    heat, shares = (
        each[0].cpu().numpy()
        for each in grad_cam(module, pixels, torch.tensor([label], device=device))
    )

    steps = np.arange(len(view)) * len(heat) // len(view)  # the step of the map for each frame
    run = plan.frames_per_step
    middle = 3 * (run // 2)
    return Explained(
        seen=SeenFrames(
            numbers=numbers[run // 2 :: run],
            pictures=np.ascontiguousarray(view[..., middle : middle + 3]),
        ),
        heat=heat[steps],
        shares=(shares[steps] / np.bincount(steps)[steps]).tolist(),
        frames_per_second=rate,
    )
