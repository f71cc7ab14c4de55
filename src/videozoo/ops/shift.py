"""Temporal shift: Lin et al., TSM, ICCV 2019, arXiv:1811.08383."""

from typing import Any

import torch
from torch import Tensor


def temporal_shift(x: Tensor, num_segments: int, shift_div: int = 8) -> Tensor:
    """Mix neighbouring frames by moving a few channels one step along time.

    ::

        channels     0 .. c1    c1 .. c2   c2 .. C      c1 = C / shift_div, c2 = 2C / shift_div
        frame t      from t-1   from t+1   stays

    Args:
        x: Frame features (N*T, C, ...), usually (N*T, C, H, W); the T frames of a clip are
            adjacent.
        num_segments: T, frames per clip.
        shift_div: Each direction moves C / shift_div channels, rounded down.

    Returns:
        Shape, dtype, device and memory format of `x`. Frames from outside the clip are zeros.

    Raises:
        ValueError: The leading size is not a multiple of `num_segments`, or `shift_div` is below 2
            (there would be no channels for both directions).

    Source:
        arXiv:1811.08383 section 3, offline (bi-directional) form. Channel order as in
        PaddlePaddle 1.8: the first fold looks back (t-1), the second ahead (t+1). MMAction2
        orders them the other way round, so its weights need the two folds swapped.

    >>> x = torch.arange(1.0, 17.0).reshape(2, 8, 1, 1)  # N=1, T=2, C=8
    >>> temporal_shift(x, num_segments=2)[:, :3, 0, 0].tolist()
    [[0.0, 10.0, 3.0], [1.0, 0.0, 11.0]]
    """
    if x.shape[0] % num_segments:
        raise ValueError(
            f"temporal_shift: {x.shape[0]} frames do not divide into clips of {num_segments=}"
        )
    if shift_div < 2:
        raise ValueError(f"temporal_shift: {shift_div=}, expected at least 2")
    channels = x.shape[1]
    folds = (channels // shift_div, 2 * channels // shift_div)
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return _shift_traceable(x, num_segments, folds)  # compilers fuse these copies themselves
    return _Shift.apply(x, num_segments, folds, True)  # pyright: ignore[reportReturnType]


class _Shift(torch.autograd.Function):
    """One output buffer and a few slice copies per pass; autograd of slices would make many."""

    @staticmethod
    def forward(x: Tensor, num_segments: int, folds: tuple[int, int], first_looks_back: bool):
        """Fill a new buffer with the layout of `x`."""
        out = torch.empty_like(x)  # keeps channels_last
        source, target = (z.unflatten(0, (-1, num_segments)) for z in (x, out))  # (N, T, C, ...)
        back, ahead = slice(folds[0]), slice(*folds)
        if not first_looks_back:
            back, ahead = ahead, back
        target[:, 1:, back] = source[:, :-1, back]
        target[:, :1, back] = 0
        target[:, :-1, ahead] = source[:, 1:, ahead]
        target[:, -1:, ahead] = 0
        target[:, :, folds[1] :] = source[:, :, folds[1] :]
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the direction of the shift, not the tensors."""
        _, *ctx.move = inputs

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        """Shift the gradients back to the frames of their values."""
        num_segments, folds, first_looks_back = ctx.move
        mirrored = _Shift.apply(grad_outputs[0], num_segments, folds, not first_looks_back)
        return mirrored, None, None, None


def _shift_traceable(x: Tensor, num_segments: int, folds: tuple[int, int]) -> Tensor:
    """The same shift with operations that torch.compile, torch.export and ONNX support."""
    clips = x.unflatten(0, (-1, num_segments))  # (N, T, C, ...)
    start, end = folds
    past, future, still = clips[:, :, :start], clips[:, :, start:end], clips[:, :, end:]
    shifted = torch.cat(
        (
            torch.cat((torch.zeros_like(past[:, :1]), past[:, :-1]), dim=1),
            torch.cat((future[:, 1:], torch.zeros_like(future[:, :1])), dim=1),
            still,
        ),
        dim=2,
    )
    return shifted.flatten(0, 1)
