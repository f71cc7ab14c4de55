"""Grad-CAM, Selvaraju et al., ICCV 2017, arXiv:1610.02391: where and when a network looked."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Evidence(NamedTuple):
    """The evidence for one class in each clip."""

    heat: Tensor
    """(N, T', h, w) in [0, 1], the largest value of a clip 1 (or all 0): the last feature map's
    steps and places."""
    shares: Tensor
    """(N, T'): share of each step in the heat of its clip; they sum to 1, or are all 0."""


def grad_cam(module: nn.Module, clips: Tensor, classes: Tensor) -> Evidence:
    """Find the places and times in clips that are evidence for a class.

    Each channel of the last convolutional feature map is weighted by the gradient of the class's
    logit, averaged over the places of a step: heat = relu(sum over channels of mean(gradient) *
    map). The map is found by running the network once: it is the last output with places, (B, C,
    h, w) or (N, C, T', h, w), of any part that holds a 2D or 3D convolution.

    Parameters, gradients, buffers and hooks of `module` stay unchanged.

    Args:
        module: Clips to logits (N, num_classes), in evaluation mode.
        clips: (N, T, C, H, W), normalised, on the module's device.
        classes: int64 (N,), the class to explain per clip.

    Returns:
        Both on the CPU. T' is T for networks that see frames one by one, and less if they pool over
        time.

    Raises:
        ValueError: The module is in training mode (its batch norms would change), or no part of it
            returns a feature map.

    >>> class Net(nn.Module):  # class 0: how much red there is
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.conv = nn.Conv2d(3, 2, 1, bias=False)
    ...         _ = self.conv.weight.data.zero_()
    ...         self.conv.weight.data[0, 0] = 1
    ...     def forward(self, clips):
    ...         maps = self.conv(clips.flatten(0, 1))
    ...         return maps.mean((2, 3)).unflatten(0, clips.shape[:2]).mean(1)
    >>> clips = torch.zeros(1, 2, 3, 2, 2)
    >>> clips[0, 1, 0, 0, 1] = 5.0  # one red pixel, in the second frame
    >>> heat, shares = grad_cam(Net().eval(), clips, torch.tensor([0]))
    >>> heat[0, 1].tolist(), shares.tolist()
    ([[0.0, 1.0], [0.0, 0.0]], [[0.0, 1.0]])
    """
    if module.training:
        raise ValueError("grad_cam: the module is in training mode; call .eval() first")
    with torch.inference_mode(False), torch.enable_grad():
        clips, classes = clips.detach().clone(), classes.clone()  # they may be inference tensors
        frozen = {name: each.detach() for name, each in module.named_parameters()}
        layer = _last_map(module, frozen, clips)
        leaves: list[Tensor] = []

        def cut(_: nn.Module, __: Any, output: Tensor) -> Tensor:
            """Start the autograd graph here, so that the layers before it keep nothing."""
            leaves[:] = [output.detach().requires_grad_()]
            return leaves[0]

        hook = layer.register_forward_hook(cut)
        try:
            logits = functional_call(module, frozen, (clips,))
        finally:
            hook.remove()
        chosen = logits.gather(1, classes[:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, leaves)
    maps, slopes = (_by_clip(each.detach().float(), len(clips)) for each in (leaves[0], gradient))
    heat = (maps * slopes.mean(dim=(3, 4), keepdim=True)).sum(dim=2).relu().cpu()  # (N, T', h, w)
    return Evidence(_scaled(heat, heat.amax(dim=(1, 2, 3))), _shares(heat))


def _last_map(module: nn.Module, frozen: dict[str, Tensor], clips: Tensor) -> nn.Module:
    """The part whose output is the last convolutional feature map."""
    found: list[nn.Module] = []

    def note(part: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim in (4, 5):
            found[:] = [part]

    hooks = [
        part.register_forward_hook(note)
        for part in module.modules()
        if any(isinstance(each, nn.Conv2d | nn.Conv3d) for each in part.modules())
    ]
    try:
        with torch.no_grad():
            functional_call(module, frozen, (clips,))
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise ValueError(
            "grad_cam: no 2D or 3D convolution of this module gives a feature map to look at"
        )
    return found[0]


def _by_clip(maps: Tensor, num_clips: int) -> Tensor:
    """(N*T', C, h, w) or (N, C, T', h, w) -> (N, T', C, h, w)."""
    if maps.ndim == 5:
        return maps.transpose(1, 2)
    return maps.unflatten(0, (num_clips, -1))


def _shares(heat: Tensor) -> Tensor:
    steps = heat.double().sum(dim=(2, 3))
    return _scaled(steps, steps.sum(dim=1))


def _scaled(values: Tensor, by: Tensor) -> Tensor:
    """Divide each clip's values; clips of zeros stay so."""
    # in float64, because the smallest heat loses its digits in float32
    values, by = values.double(), by.double().view(-1, *[1] * (values.ndim - 1))
    return torch.where(by > 0, values / by.clamp_min(torch.finfo(by.dtype).tiny), 0.0).float()
