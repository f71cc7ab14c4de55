"""From stored feature bytes to floating-point features."""

import torch
from torch import Tensor


def dequantize(features: Tensor, *, half_step: bool = True) -> Tensor:
    """Turn YouTube-8M's bytes into features from -2 to 2; other features stay unchanged.

    Runs on the tensor's device, so that only bytes are copied to it.

    Args:
        features: Any shape. uint8 as published, or floats, which stay unchanged.
        half_step: A byte stands for a step of width 4/256; take the middle of it. NeXtVLAD in the
            2019 library took the lower end for rgb and the middle for audio.

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
