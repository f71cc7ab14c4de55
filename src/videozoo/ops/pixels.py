"""From the bytes of frames to normalised values."""

from collections.abc import Sequence

import torch
from torch import Tensor


def normalize(clips_uint8: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Normalise pixels from 0..255: (x / 255 - mean) / std.

    Runs on the tensor's device, so that only bytes are copied to it.

    Args:
        clips_uint8: (..., C, H, W) uint8. C may hold several frames: RGB RGB ...
        mean, std: One value per colour, for pixels in 0..1; repeated if C = 3 * k.

    Returns:
        (..., C, H, W) float32, device and memory layout of `clips_uint8` (channels-last stays).

    Raises:
        ValueError: Another dtype (normalised already?), or C is not a multiple of the colours.

    >>> white = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
    >>> normalize(white, mean=(0.5, 0.5, 0.0), std=(0.5, 0.25, 1.0)).flatten().tolist()
    [1.0, 2.0, 1.0]
    """
    if clips_uint8.dtype != torch.uint8:
        raise ValueError(f"normalize: expected uint8 pixels, got {clips_uint8.dtype}")
    channels, colours = clips_uint8.shape[-3], len(mean)
    if channels % colours or len(std) != colours:
        raise ValueError(
            f"normalize: {channels} channels with {len(mean)} means and {len(std)} deviations; "
            "expected as many means as deviations and channels a multiple of them"
        )
    frames = channels // colours
    shape = (channels, 1, 1)
    pixels = clips_uint8.to(torch.float32)  # a new buffer, so the rest can be in place
    centre = pixels.new_tensor(list(mean) * frames).view(shape)
    spread = pixels.new_tensor(list(std) * frames).view(shape)
    return pixels.div_(255).sub_(centre).div_(spread)
