"""Which device a run uses, and how its processes share the work."""

from __future__ import annotations

import atexit
import os
import random
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import InitProcessGroupKwargs
from torch import nn

from videozoo.commands import flag
from videozoo.engine.ranks import register
from videozoo.engine.settings import Precision, TrainSettings
from videozoo.errors import RunError, brief, counted

Device = Literal["auto", "cpu", "cuda"] | str | torch.device
"""`cuda:N` is one GPU of several."""
_PATIENCE = timedelta(hours=2)  # of processes that wait while one validates or writes
_PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
_MOST_BYTES = 64 * 2**30  # if the system does not tell its memory


def make_accelerator(
    *,
    device: Device = "auto",
    precision: Precision = "fp32",
    num_gpus: int | None = None,
) -> Accelerator:
    """Join the processes of this run, one per device, and pick this process's device.

    `fit` cuts batches for gradient accumulation itself, so the accelerator knows nothing of it.

    Args:
        device: `auto` takes a GPU where PyTorch sees one; `cuda:N` or a `torch.device` names one.
        precision: Number format of the computation.
        num_gpus: GPUs that the run is meant for, over all processes. Ignored on a CPU.

    Raises:
        RunError: The device is missing or does not support the precision, or the number of
            processes is not `num_gpus`.
    """
    asked, index = split_device(device)
    kind = _device_kind(asked)
    if index is not None:
        _check_gpu(index)
    if kind == "cuda" and num_gpus is not None:
        _check_num_gpus(num_gpus)
    if kind == "cpu" and precision == "fp16":
        raise RunError("precision: fp16 needs a GPU; on a CPU use fp32 or bf16")
    if kind == "cuda" and precision == "bf16" and not torch.cuda.is_bf16_supported():
        name = torch.cuda.get_device_name()
        raise RunError(f"precision: bf16 is not supported by {name}; use fp32 or fp16")
    if kind == "cpu" and _world_size() > 1:
        # Accelerate would choose a number of threads by itself, with a warning
        os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    # a 1x1 convolution has two strides for one layout, and DDP warns about it
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    # one process may make several runs, each with its own device and precision
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    accelerator = _Accelerator(
        cpu=kind == "cpu",
        mixed_precision=_PRECISIONS[precision],
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )
    register(accelerator)
    accelerator.place = accelerator.device if index is None else torch.device("cuda", index)
    accelerator.precision = precision
    return accelerator


def _made_again(device: str, precision: Precision) -> Accelerator:
    return make_accelerator(device=device, precision=precision)


class _Accelerator(Accelerator):
    """Keeps its device when a later one in this process has another."""

    place: torch.device | None = None
    precision: Precision = "fp32"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle how it was made: another process has a state of its own."""
        return _made_again, (str(self.device), self.precision)

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.state.device if self.place is None else self.place


def split_device(device: Device) -> tuple[Literal["auto", "cpu", "cuda"], int | None]:
    """What a user asks for as its kind and, if one GPU is named, its number.

    Raises:
        RunError: It is nothing that a run can use.

    >>> split_device("auto"), split_device("cuda:1"), split_device(torch.device("cpu"))
    (('auto', None), ('cuda', 1), ('cpu', None))
    """
    name, _, index = str(device).partition(":")
    if name == "cpu" and index in ("", "0"):
        return "cpu", None
    if name == "cuda" and index.isdecimal():
        return "cuda", int(index)
    if str(device) == "auto":
        return "auto", None
    if str(device) == "cuda":
        return "cuda", None
    raise RunError(f"device: expected auto, cpu, cuda or cuda:N, got {brief(str(device))}")


def finish(accelerator: Accelerator) -> None:
    """End the run together with the other processes.

    A process that leaves while another is in its last collective would abort it. The processes stay
    connected until they end: torchrun's store keeps the addresses of the first connection, and a
    second one would wait for them forever.
    """
    accelerator.wait_for_everyone()
    atexit.register(_disconnect)


def _disconnect() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def device_batch_size(settings: TrainSettings, num_processes: int) -> int:
    """Examples per forward pass on one device.

    Raises:
        RunError: The batch cannot be shared evenly.

    >>> device_batch_size(TrainSettings(batch_size=64, gradient_accumulation=2), 4)
    8
    """
    parts = num_processes * settings.gradient_accumulation
    share, rest = divmod(settings.batch_size, parts)
    if rest:
        by = counted(num_processes, "process")
        if settings.gradient_accumulation > 1:
            by += f" x {settings.gradient_accumulation} parts (gradient_accumulation)"
        lower = settings.batch_size - rest
        nearest = f"{lower} or {lower + parts}" if lower else str(parts)
        raise RunError(
            f"batch_size {settings.batch_size} is for all devices together and cannot be shared "
            f"evenly by {by}; the nearest that can: {nearest}"
        )
    return share


def share_cores(device: torch.device, num_workers: int) -> None:
    """Leave one core to each worker process when the network runs on the CPU.

    More threads than cores only wait for each other. OMP_NUM_THREADS decides, if it is set.
    """
    if device.type != "cpu" or "OMP_NUM_THREADS" in os.environ:
        return
    torch.set_num_threads(min(torch.get_num_threads(), max(1, usable_cores() - num_workers)))


@contextmanager
def kept_settings(*, deterministic: bool = False) -> Generator[None]:
    """Within the block a run may change how PyTorch computes; what follows it computes as before.

    Otherwise a run with workers would leave fewer threads to the next run of the same program.

    Args:
        deterministic: Only use algorithms that repeat their results, where PyTorch has them; it
            warns of others. On a CPU ours do so anyway.
    """
    threads = torch.get_num_threads()
    was_on = torch.are_deterministic_algorithms_enabled()
    was_warning = torch.is_deterministic_algorithms_warn_only_enabled()
    if deterministic:
        # what cuBLAS needs for it; read when a GPU multiplies matrices for the first time
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(was_on, warn_only=was_warning)


def usable_cores() -> int:
    """Count the cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """Memory of this machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return _MOST_BYTES


def use_channels_last(module: nn.Module) -> None:
    """Lay out the weights of 2D and 3D convolutions with channels last. Values stay the same."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in module.parameters():
        if parameter.dim() in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.dim()])


def seed_everything(seed: int) -> None:
    """Seed the global random generators of Python, NumPy and PyTorch on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def keep_random_state() -> Generator[None]:
    """Restore the state of the global random generators at the end of the block."""
    before = random_state()
    try:
        yield
    finally:
        set_random_state(before)


def random_state() -> dict[str, Any]:
    """Return the state of the global random generators as plain JSON values."""
    name, keys, *rest = np.random.get_state(legacy=True)
    version, internal, gauss = random.getstate()
    state: dict[str, Any] = {
        "python": [version, list(internal), gauss],
        "numpy": [name, np.asarray(keys).tolist(), *rest],
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state().numpy().tobytes().hex()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what `random_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.asarray(keys, np.uint32), *rest))
    torch.set_rng_state(_bytes(state["torch"]))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(_bytes(state["cuda"]))


def _bytes(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


def _device_kind(device: Literal["auto", "cpu", "cuda"]) -> Literal["cpu", "cuda", "mps"]:
    if device == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise RunError(
            f"{flag('--device cuda')}, but PyTorch {torch.__version__} sees no CUDA device"
            f"{_why_no_cuda()}; pass {flag('--device cpu')} to run on the CPU"
        )
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _check_gpu(index: int) -> None:
    count = torch.cuda.device_count()
    if index >= count:
        there = "cuda:0 alone" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise RunError(f"device: there is no cuda:{index}; PyTorch sees {there}")
    if _world_size() > 1:
        raise RunError(
            f"device: cuda:{index} is for one process, but this run was started as "
            f"{_processes(_world_size())}, each of which takes its own GPU; use cuda"
        )


def _why_no_cuda() -> str:
    if torch.version.cuda is None:
        return " (it was built without CUDA)"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible!r})"


def _check_num_gpus(num_gpus: int) -> None:
    world, local = _world_size(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and world == local:  # on one machine
        named = len([name for name in visible.split(",") if name.strip()])
        if named != num_gpus:
            raise RunError(
                f"num_gpus is {num_gpus}, but CUDA_VISIBLE_DEVICES={visible!r} names {named}; "
                "make them agree"
            )
    if num_gpus > world:
        raise RunError(
            f"num_gpus is {num_gpus}, but this run was started as {_processes(world)}, and each "
            f"takes one GPU; start it with `torchrun --nproc_per_node={num_gpus} -m videozoo "
            "train ...`, or set num_gpus to 1"
        )
    if num_gpus < world:
        raise RunError(
            f"num_gpus is {num_gpus}, but this run was started as {_processes(world)}, and each "
            "takes one GPU; make them agree"
        )


def _world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _processes(count: int) -> str:
    return counted(count, "process")
