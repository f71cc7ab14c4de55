"""Operations on padded sequences that ignore the padding."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def frame_mask(lengths: Tensor, num_frames: int) -> Tensor:
    """Mark the real frames of padded sequences.

    Args:
        lengths: int64 (N,).
        num_frames: T, the padded length.

    Returns:
        bool (N, T), on the device of `lengths`.

    >>> frame_mask(torch.tensor([1, 3]), 3).int().tolist()
    [[1, 0, 0], [1, 1, 1]]
    """
    return torch.arange(num_frames, device=lengths.device) < lengths[:, None]


def softmax_over_frames(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax along the real frames; padding gets exactly 0.

    Args:
        scores: (N, T, ...).
        mask: bool (N, T), at least one frame per row.

    >>> softmax_over_frames(torch.zeros(1, 3), torch.tensor([[True, True, False]])).tolist()
    [[0.5, 0.5, 0.0]]
    """
    mask = mask.view(*mask.shape, *(1,) * (scores.dim() - 2))
    return scores.masked_fill(~mask, float("-inf")).softmax(dim=1)


def l2_normalize(x: Tensor, dim: int) -> Tensor:
    """Scale to length 1: x / sqrt(sum x^2 + 1e-12).

    Source: fluid.layers.l2_normalize. `F.normalize` clamps the length instead.

    >>> l2_normalize(torch.tensor([3.0, 4.0]), dim=0).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    squares = x.square().sum(dim=dim, keepdim=True)
    if torch.compiler.is_exporting():  # pyright: ignore[reportPrivateImportUsage]
        return x * (1e6 * torch.rsqrt(1e12 * squares + 1))  # exporters take + 1e-12 for nothing
    return x * torch.rsqrt(squares + 1e-12)


class FrameBatchNorm(nn.BatchNorm1d):
    """Batch norm over the real frames of a batch; padding does not enter the statistics.

    Values in the padding are undefined but finite.
    """

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, T, C) and bool (N, T) -> (N, T, C)."""
        if mask is None or not self.training:
            return super().forward(input.flatten(0, 1)).view_as(input)
        return torch.zeros_like(input).masked_scatter(
            mask[:, :, None], super().forward(input[mask])
        )


def attended(weights: Tensor, frames: Tensor) -> Tensor:
    """Weighted sums of frames: (N, T, K), (N, T, D) -> (N, K, D)."""
    return torch.bmm(weights.transpose(1, 2), frames)


def gate(x: Tensor) -> Tensor:
    """Sigmoid whose small values are as exact as large ones, also in an exported graph.

    onnxruntime's own sigmoid is off by up to 1e-7: much, where the ratios of small values count.
    """
    if torch.compiler.is_exporting():  # pyright: ignore[reportPrivateImportUsage]
        return 1 / (1 + torch.exp(-x))
    return torch.sigmoid(x)


def linear(c_in: int, c_out: int, *, init: str, bias: bool = True) -> nn.Linear:
    """Make a fully connected layer with one of PaddlePaddle's initialisations, bias 0.

    Args:
        c_in: Inputs.
        c_out: Outputs.
        init: "xavier": uniform in +-sqrt(6 / (in + out)); "msra": normal, std sqrt(2 / in).
        bias: Whether the layer has a bias.
    """
    layer = nn.Linear(c_in, c_out, bias=bias)
    if init == "xavier":
        nn.init.xavier_uniform_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=(2 / c_in) ** 0.5)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def multi_label_loss(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of every class, summed over classes: (N, C), (N, C) -> (N,).

    Args:
        logits: (N, C).
        labels: (N, C), in [0, 1].
        weights: Factors on the terms, (C,) or (N, C): 0 leaves out a class of which nothing is
            known.

    >>> labels, known = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    >>> multi_label_loss(torch.zeros(1, 2), labels, known)
    tensor([0.6931])
    """
    losses = F.binary_cross_entropy_with_logits(logits, labels, weight=weights, reduction="none")
    return losses.sum(dim=1)
