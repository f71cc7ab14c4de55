import random

import numpy as np
import pytest
import torch
from torch import nn

from videozoo.engine.devices import (
    device_batch_size,
    keep_random_state,
    make_accelerator,
    seed_everything,
    share_cores,
    use_channels_last,
)
from videozoo.engine.settings import TrainSettings
from videozoo.errors import RunError


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return monkeypatch


@pytest.mark.usefixtures("no_gpu")
def test_gpu_that_is_not_there_is_an_error_with_a_way_out():
    with pytest.raises(RunError, match=r"--device cuda, but PyTorch \S+ sees no CUDA device"):
        make_accelerator(device="cuda")
    with pytest.raises(RunError, match="pass --device cpu"):
        make_accelerator(device="cuda")


@pytest.mark.usefixtures("no_gpu")
def test_auto_falls_back_to_the_cpu_and_asks_for_no_gpus():
    assert make_accelerator(device="auto", num_gpus=8).device.type == "cpu"


@pytest.mark.parametrize("device", ["CUDA", "gpu0", "tpu", "cuda:x", "cuda:", "mps", "", "cpu:1"])
def test_a_device_that_is_none_is_an_error_with_those_that_are(device: str):
    with pytest.raises(RunError, match=f"expected auto, cpu, cuda or cuda:N, got '{device}'"):
        make_accelerator(device=device)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("device", ["cuda:0", torch.device("cuda"), torch.device("cuda", 1)])
def test_a_gpu_named_as_pytorch_does_is_not_taken_for_the_cpu(device: str | torch.device):
    with pytest.raises(RunError, match="sees no CUDA device"):
        make_accelerator(device=device)


def test_a_gpu_is_named_by_its_number(a_gpu: pytest.MonkeyPatch):
    a_gpu.setattr("torch.cuda.device_count", lambda: 1)

    with pytest.raises(RunError, match="there is no cuda:1; PyTorch sees cuda:0 alone"):
        make_accelerator(device="cuda:1")
    a_gpu.setenv("WORLD_SIZE", "4")
    with pytest.raises(RunError, match=r"cuda:0 is for one process, but .* 4 processes"):
        make_accelerator(device="cuda:0")


def test_a_model_keeps_its_device():
    accelerator = make_accelerator(device=torch.device("cpu"))
    vars(accelerator.state)["device"] = torch.device("meta")  # as a later run in this process does

    assert accelerator.device == torch.device("cpu")


def test_one_process_may_make_runs_of_different_precision():
    for precision, expected in (("fp32", "no"), ("bf16", "bf16"), ("fp32", "no")):
        accelerator = make_accelerator(device="cpu", precision=precision)  # pyright: ignore[reportArgumentType]
        assert accelerator.mixed_precision == expected


def test_half_precision_needs_a_gpu():
    with pytest.raises(RunError, match="fp16 needs a GPU; on a CPU use fp32 or bf16"):
        make_accelerator(device="cpu", precision="fp16")


def test_visible_devices_must_agree_with_num_gpus(a_gpu: pytest.MonkeyPatch):
    a_gpu.setenv("CUDA_VISIBLE_DEVICES", "0,1")

    with pytest.raises(RunError, match="num_gpus is 4, but CUDA_VISIBLE_DEVICES='0,1' names 2"):
        make_accelerator(device="cuda", num_gpus=4)


@pytest.mark.usefixtures("a_gpu")
def test_more_gpus_than_processes_says_how_to_start():
    with pytest.raises(RunError, match="torchrun --nproc_per_node=4 -m videozoo train"):
        make_accelerator(device="cuda", num_gpus=4)


def test_fewer_gpus_than_processes_is_an_error(a_gpu: pytest.MonkeyPatch):
    a_gpu.setenv("WORLD_SIZE", "4")

    with pytest.raises(RunError, match="num_gpus is 2, but this run was started as 4 processes"):
        make_accelerator(device="cuda", num_gpus=2)


def test_batch_is_shared_evenly():
    settings = TrainSettings(batch_size=24, gradient_accumulation=3)

    assert device_batch_size(settings, 1) == 8
    assert device_batch_size(settings, 4) == 2


def test_batch_that_cannot_be_shared_names_those_that_can():
    with pytest.raises(RunError, match=r"batch_size 10 .* by 4 processes; .* that can: 8 or 12"):
        device_batch_size(TrainSettings(batch_size=10), 4)
    with pytest.raises(RunError, match=r"2 processes x 2 parts .* that can: 4$"):
        device_batch_size(TrainSettings(batch_size=2, gradient_accumulation=2), 2)


def test_channels_last_changes_the_layout_and_no_value():
    flat, solid = nn.Conv2d(2, 3, 3), nn.Conv3d(2, 3, 3)
    module = nn.Sequential(flat, solid, nn.Linear(2, 2))
    before = [p.detach().clone() for p in module.parameters()]

    use_channels_last(module)

    assert flat.weight.is_contiguous(memory_format=torch.channels_last)
    assert solid.weight.is_contiguous(memory_format=torch.channels_last_3d)
    for parameter, value in zip(module.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), value, rtol=0, atol=0, check_stride=False)


def draws() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


def test_seed_settles_every_global_generator():
    seed_everything(3)
    first = draws()
    seed_everything(3)

    assert draws() == first


def test_generators_are_put_back():
    seed_everything(3)
    expected = draws()
    seed_everything(3)

    with keep_random_state():
        np.random.randn()  # keeps half of a pair for later
        random.gauss()
        torch.randn(())
        seed_everything(9)

    assert draws() == expected


def test_decoding_processes_get_cores_of_their_own(monkeypatch: pytest.MonkeyPatch):
    chosen: list[int] = []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    monkeypatch.setattr("torch.set_num_threads", chosen.append)

    def eight_cores(process: int) -> set[int]:
        return set(range(8))

    monkeypatch.setattr("os.sched_getaffinity", eight_cores, raising=False)

    for workers in (0, 3, 20):
        share_cores(torch.device("cpu"), workers)
    share_cores(torch.device("cuda"), 3)
    assert chosen == [8, 5, 1]

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    share_cores(torch.device("cpu"), 3)
    assert chosen == [8, 5, 1]
