"""From the bytes of a stored feature to the numbers a network eats."""

import torch
from torch import Tensor


def dequantize(features: Tensor, *, half_step: bool = True) -> Tensor:
    """Turn YouTube-8M's bytes back into features of -2 to 2; other features stay as they are.

    Done on the tensor's own device, so that bytes travel to it and not four times as many.

    Args:
        features: Any shape. uint8 as published, or floats that need nothing.
        half_step: A byte stands for a step of width 4/256; take the middle of it. 2019's NeXtVLAD
            took the lower end for pictures and the middle for sound.

    Returns:
        float32 of the same shape.

    Source: PaddlePaddle/models release/1.8, feature_reader and NeXtVLAD; q * 4/255 - 2 (+ 4/512).

    >>> dequantize(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
    [-1.9921875, 2.0078125]
    """
    if features.dtype != torch.uint8:
        return features.to(torch.float32)
    offset = 4 / 512 - 2 if half_step else -2.0
    return features.to(torch.float32).mul_(4 / 255).add_(offset)
