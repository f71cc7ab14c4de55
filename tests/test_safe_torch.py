"""Files of `torch.save` are read without torch's unpickler, and give the same tensors."""

import io
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from videozoo.errors import WeightsError
from videozoo.safe_torch import read_torch_file
from videozoo.weights.files import read_weights


def contents() -> dict[str, Any]:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    tied = torch.arange(12.0).reshape(3, 4)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net(torch.ones(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    named = nn.Parameter(torch.ones(2))
    named.group = "bias"  # pyright: ignore[reportAttributeAccessIssue]
    return {
        "state dict": net.state_dict(),
        "parameters": dict(net.named_parameters()),
        "with attributes": {"w": named},
        "views": {"a": tied, "b": tied, "c": tied.T, "d": tied[1:, ::2], "e": tied[2, 3]},
        "expanded": {"a": torch.ones(3, 1).expand(3, 5)},
        "empty": {"a": torch.empty(0), "b": torch.empty(0, 5), "c": torch.tensor(7)},
        "types": {
            str(dtype): torch.tensor([0, 1, 1, 0]).to(dtype)
            for dtype in (
                *(torch.float64, torch.float16, torch.bfloat16, torch.bool, torch.uint8),
                *(torch.int8, torch.int16, torch.int32, torch.int64, torch.complex64),
                *(torch.uint16, torch.float8_e4m3fn),
            )
        },
        "checkpoint": {
            "model": OrderedDict(w=torch.ones(2)),
            "optimizer": optimizer.state_dict(),
            "scheduler": {"milestones": Counter({30: 1}), "base": [0.1]},
            "epoch": 3,
            "about": ("tsn", None, True, torch.Size([1, 2])),
        },
    }


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, Tensor):
        assert isinstance(found, Tensor)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.numel() == 0 or found.stride() == expected.stride()
        assert bytes(found.contiguous().flatten().view(torch.uint8).tolist()) == bytes(
            expected.detach().contiguous().flatten().view(torch.uint8).tolist()
        )
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("name", contents())
def test_tensors_are_those_of_torch(tmp_path: Path, name: str, new_format: bool):
    content = contents()[name]
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=new_format)

    assert_same(read_torch_file(tmp_path / "a.pth"), content)


def test_tensors_that_share_memory_still_do(tmp_path: Path):
    whole = torch.zeros(4)
    torch.save({"a": whole, "b": whole[2:]}, tmp_path / "a.pth")

    found = read_torch_file(tmp_path / "a.pth")
    found["b"][0] = 5

    assert found["a"].tolist() == [0, 0, 5, 0]


class Called:
    """Written as a call of a function that need not exist."""

    def __init__(self, function: str, *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments


class Named:
    """Written as a name."""

    def __init__(self, name: str) -> None:
        self.name = name


class Stored:
    """Written as a reference to a storage."""

    def __init__(self, count: Any, kind: str = "FloatStorage", key: Any = "0") -> None:
        self.reference = ("storage", Named(f"torch.{kind}"), key, "cpu", count)


_Pickler: Any = pickle._Pickler  # the one in C lets nobody write what does not exist


class _FilePickler(_Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.reference if isinstance(obj, Stored) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> Any:
        if isinstance(obj, Named):
            module, _, name = obj.name.rpartition(".")
            return self.write(f"c{module}\n{name}\n".encode())
        if isinstance(obj, Called):
            self.save(Named(obj.function))
            self.save(obj.arguments)
            return self.write(b"R")
        return super().save(obj, save_persistent_id)


def tensor(offset: Any, size: Any, stride: Any, stored: Any = None) -> Called:
    stored = Stored(4) if stored is None else stored
    return Called("torch._utils._rebuild_tensor_v2", stored, offset, size, stride, False, None)


def written(
    path: Path, content: Any, more: dict[str, bytes] | None = None, *, packing: int = 0
) -> Path:
    stream = io.BytesIO()
    _FilePickler(stream, 2).dump(content)
    files = {
        "data.pkl": stream.getvalue(),
        "data/0": b"\1\2\3\4" * 4,
        "version": b"3\n",
        **(more or {}),
    }
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, held in files.items():
            archive.writestr(f"archive/{name}", held)
    return path


INDICES = tensor(0, (1, 1), (1, 1), Stored(2, "LongStorage"))

HOSTILE = {
    "offset outside": (tensor(4, (1,), (1,)), "ends at value 5 of 4"),
    "stride outside": (tensor(0, (2,), (4,)), "ends at value 5 of 4"),
    "size outside": (tensor(0, (2**40,), (1,)), "ends at value"),
    "negative stride": (tensor(3, (2,), (-1,)), "whole numbers"),
    "negative offset": (tensor(-1, (1,), (1,)), "whole numbers"),
    "shape of texts": (tensor(0, ("1",), (1,)), "whole numbers"),
    "many zero strides": (tensor(0, (2**40,), (0,)), "memory"),
    "empty and endless in all": (tensor(0, (0, *[2**20] * 4), (1,) * 5), "an empty tensor"),
    "empty and endless": (tensor(0, (0, 2**40), (1, 1)), "an empty tensor"),
    "storage too large": (tensor(0, (1,), (1,), Stored(2**40)), "bytes, not"),
    "negative storage": (tensor(0, (1,), (1,), Stored(-4)), "bytes, not"),
    "no such storage": (tensor(0, (1,), (1,), Stored(4, key="9")), "data/9 is missing"),
    "outside the archive": (tensor(0, (1,), (1,), Stored(4, key="../version")), "missing"),
    "unknown storage": (tensor(0, (1,), (1,), Stored(4, "QInt8Storage")), "asks to run"),
    "no storage": (tensor(0, (1,), (1,), torch.Size([1])), "unknown kind"),
    "booleans": (tensor(0, (4,), (1,), Stored(16, "BoolStorage")), "neither 0 nor 1"),
    "conjugate": (
        Called(
            *("torch._utils._rebuild_tensor_v2", Stored(4), 0, (4,), (1,), False, None),
            {"neg": True},
        ),
        "unknown kind",
    ),
    "sparse": (
        Called(
            "torch._utils._rebuild_sparse_tensor",
            Named("torch.sparse_coo"),
            (INDICES, tensor(0, (1,), (1,)), (1,)),
        ),
        "asks to run torch._utils._rebuild_sparse_tensor",
    ),
    "a wrapper": (
        Called(
            "torch._tensor._rebuild_from_type_v2",
            *(Named("torch._utils._rebuild_parameter"), Named("collections.OrderedDict"), (), {}),
        ),
        "a kind of its own",
    ),
    "called by itself": (Called("torch.FloatStorage", 4), "asks to run torch.FloatStorage"),
    "a device": (Called("torch.device", "cuda:0"), "expected a state dict"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_tensor_that_does_not_fit_its_bytes_is_refused(tmp_path: Path, name: str):
    content, says = HOSTILE[name]
    path = written(tmp_path / "a.pth", {"w": content} if name != "a device" else content)

    with pytest.raises(WeightsError, match=says) as caught:
        read_weights(path)

    assert "\n" not in str(caught.value)


def test_packed_members_are_refused(tmp_path: Path):
    path = written(tmp_path / "a.pth", {"w": tensor(0, (4,), (1,))}, packing=zipfile.ZIP_DEFLATED)

    with pytest.raises(WeightsError, match="is packed"):
        read_weights(path)


def test_another_byte_order_and_programs_are_refused(tmp_path: Path):
    content = {"w": tensor(0, (4,), (1,))}

    with pytest.raises(WeightsError, match="another byte order"):
        read_weights(written(tmp_path / "a.pth", content, {"byteorder": b"big"}))
    with pytest.raises(WeightsError, match="a TorchScript program"):
        read_weights(written(tmp_path / "b.pth", content, {"constants.pkl": b""}))


def test_storages_of_an_old_file_are_those_that_it_lists(tmp_path: Path):
    path = tmp_path / "a.pth"
    torch.save({"w": torch.arange(5.0)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    count = struct.pack("<q", 5)
    assert whole.count(count) == 1
    keys = whole.index(count)

    for damaged in (
        whole.replace(count, struct.pack("<q", 6)),
        whole[: whole.rindex(b"\x80\x02]", 0, keys)] + b"\x80\x02]]a." + whole[keys:],
        whole[: whole.rindex(b"\x80\x02]", 0, keys)] + b"\x80\x02].",
    ):
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match="refused or damaged"):
            read_weights(path)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_damaged_file_is_an_error_or_tensors(tmp_path: Path, new_format: bool):
    path = tmp_path / "a.pth"
    torch.save({"w": torch.arange(5.0)}, path, _use_new_zipfile_serialization=new_format)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
        with suppress(WeightsError):
            found, _ = read_weights(path)
            assert all(isinstance(one, Tensor) for one in found.values())
