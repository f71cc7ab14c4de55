"""What a run computes with: versions, processes, threads; they decide its last digits."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from typing import Any, cast

import av
import numpy as np
import torch
from accelerate import Accelerator

from videozoo import __version__
from videozoo.errors import brief

_VERSIONS = ("videozoo", "torch", "numpy", "av", "ffmpeg", "python")


def circumstances(accelerator: Accelerator) -> dict[str, Any]:
    """Tell all that the bits of a run depend on besides its configuration and data; JSON values."""
    device = accelerator.device
    codec: tuple[int, ...] = av.library_versions.get("libavcodec", ())
    found: dict[str, Any] = {
        "videozoo": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "av": av.__version__,
        "ffmpeg": "libavcodec " + ".".join(map(str, codec)),
        "platform": f"{platform.system()} {platform.machine()}",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "device": device.type,
    }
    if device.type == "cuda":
        found |= {
            "gpu": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found


def changed_circumstances(before: object, now: Mapping[str, Any]) -> Iterator[str]:
    """Compare what a run computed with at its start and now; one line per change, and advice.

    Args:
        before: As `circumstances` gave it then; anything else, as of older versions, tells nothing.
        now: As it gives it now.
    """
    if not isinstance(before, dict):
        return
    then = cast("dict[str, Any]", before)
    on_gpu = now["device"] != "cpu"  # whose results the threads of the CPU do not reach
    changed = [
        key
        for key in now
        if key in then and then[key] != now[key] and not (key == "threads" and on_gpu)
    ]
    for key in changed:
        was = brief(then[key]).strip("'")
        yield f"{key}: {was} -> {now[key]}{_advice(key, was)}"
    if changed:
        yield "so the run does not go on bit for bit as it would have"


def _advice(key: str, then: str) -> str:
    """How to have it as it was."""
    if key == "threads":
        asked = os.environ.get("OMP_NUM_THREADS")
        why = f"OMP_NUM_THREADS is {asked}" if asked else "data.num_workers leaves these"
        return f" ({why}; as before: OMP_NUM_THREADS={then})"
    if key == "processes":
        return f" (as before: torchrun --nproc_per_node={then})"
    return f" (as before: install {key} {then})" if key in _VERSIONS[1:4] else ""
