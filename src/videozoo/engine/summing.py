"""How the processes of a run sum their gradients: equally, wherever a gradient lies in memory."""

# No `from __future__ import annotations`: DDP looks at the annotation of its hook, not at a text.
from typing import Any

import torch
from torch import Tensor, nn
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

_EXACT_ANYWAY = 2  # a + b is b + a


def sum_in_order_of_ranks(wrapped: nn.Module, device: torch.device) -> None:
    """Let three and more processes on CPUs add up each gradient in the order of their ranks.

    gloo adds up the pieces of a buffer each in an order of its own, so that the last digits of a
    sum depend on where in the buffer a gradient lies. DDP packs gradients into buffers anew after
    its first step. So the first step after a resume would round otherwise than the same step of a
    run that never stopped. This costs memory for the gradients of all processes, and twice the
    traffic for four of them.

    NCCL is left to itself: what it does depends on the GPUs and how they are connected.

    Args:
        wrapped: What `Accelerator.prepare` made of a module, before its first step.
        device: Of this process.
    """
    if not isinstance(wrapped, DistributedDataParallel) or device.type != "cpu":
        return
    processes = torch.distributed.get_world_size()
    if processes <= _EXACT_ANYWAY:
        return
    from torch.distributed import (
        GradBucket,  # pyright: ignore[reportPrivateImportUsage]  # not in every build of torch
    )

    def mean(_state: None, bucket: GradBucket) -> Future[Tensor]:
        own = bucket.buffer()
        parts = [torch.empty_like(own) for _ in range(processes)]
        gathering: Any = torch.distributed.all_gather(parts, own, async_op=True)

        def of_parts(_done: Any) -> Tensor:
            for part in parts[1:]:
                parts[0] += part
            return parts[0].div_(processes)

        return gathering.get_future().then(of_parts)

    wrapped.register_comm_hook(None, mean)
