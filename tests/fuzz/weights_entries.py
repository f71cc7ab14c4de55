"""Entries of weights: pickles, containers of PaddlePaddle and torch, exported graphs, archives."""

from __future__ import annotations

import gzip
import inspect
import io
import json
import pickle
import shutil
import struct
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from tests.fuzz import pickles
from tests.fuzz.harness import Entry, Seed
from tests.fuzz.mutators import mutate_bytes, mutate_json, mutate_tar, mutate_zip
from videozoo.safe_pickle import load_pickle
from videozoo.weights.archive import check_archive, unpack
from videozoo.weights.content import check_content
from videozoo.weights.exported import open_exported
from videozoo.weights.files import read_metadata, read_weights, save_weights
from videozoo.weights.hub_runs import Manifest, SharedFile, read_manifest
from videozoo.weights.onnx_graphs import open_onnx
from videozoo.weights.paddle import read_paddle, write_pdparams

TABLE = np.arange(6, dtype=np.float32).reshape(2, 3)


def seed(name: str, content: bytes) -> Seed:
    return Seed(name, {name: content})


# --- pickles ---------------------------------------------------------------------------------


def _pickle_seeds() -> list[Seed]:
    content: list[Any] = [
        {"a": TABLE, "b": [1, 2.5, None, True, "text", b"\0\xff", 2**40]},
        OrderedDict(a=np.float64(3), c=np.array(["ab", "c"])),
        np.array([[1], "b"], object),
        np.asfortranarray(TABLE),
    ]
    sets = [{1, 2}, frozenset("ab")]  # which older protocols call by name
    return [
        seed("a.pkl", pickle.dumps(content + sets * (protocol > 3), protocol))
        for protocol in range(6)
    ]


def _pickle(path: Path) -> None:
    """What is accepted must be what Python reads, where Python reads it at all."""
    found = load_pickle(path, encoding="latin1")
    try:
        expected = pickles.ordinary(path.read_bytes(), "latin1")
    except Exception:
        return
    if b"I-0\n" in path.read_bytes():
        return  # False or 0: Python's reader in C and that in Python disagree
    differ = pickles.differences(found, expected)
    assert differ is None, differ


# --- shared runs -----------------------------------------------------------------------------


def _shared_seeds() -> list[Seed]:
    files = (
        SharedFile("best.safetensors", 4096, "0" * 64),
        SharedFile("config.yaml", 100, "1" * 64),
        SharedFile("encoder/0/best.safetensors", 4096, "2" * 64),
        SharedFile("encoder/encoder.json", 100, "3" * 64),
    )
    made = Manifest(model="tsm", outputs="4" * 64, weights="best.safetensors", files=files)
    return [seed("videozoo.json", made.as_json().encode())]


def _shared(path: Path) -> None:
    """What is accepted names no place outside the folder of a run, and no other kinds of files."""
    content = path.read_bytes() if path.is_file() else b""  # it is an answer of the hub
    for each in read_manifest(content, "hf://me/run").files:
        assert ".." not in Path(each.path).parts
        assert not Path(each.path).is_absolute()
        assert Path(each.path).suffix in (".safetensors", ".json", ".yaml")


# --- PaddlePaddle ----------------------------------------------------------------------------


def _record(array: Any) -> bytes:
    dims = b"".join(b"\x10" + bytes([n]) for n in array.shape)
    about = b"\x08\x05" + dims
    return struct.pack("<IQIi", 0, 0, 0, len(about)) + about + array.tobytes()


def _paddle_seeds() -> list[Seed]:
    stream = _written("w.pdparams", lambda path: write_pdparams(path, {"a": TABLE, "b": TABLE[0]}))
    one, other = _record(TABLE), _record(TABLE[0])
    return [
        seed("w.pdparams", stream),
        seed("w.pdparams", pickle.dumps({"a": TABLE, "x@@": {"a": "b"}}, 4)),
        seed("all_params", one + other),
        Seed("folder", {"folder/a": one, "folder/b": other}),
    ]


def _paddle(path: Path) -> None:
    found = read_paddle(path, ["a", "b"])
    assert all(array.dtype.kind in "biuf" for array in found.values())
    if path.is_file():
        check_content(path)


def _written(name: str, write: Callable[[Path], object]) -> bytes:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        write(Path(folder, name))
        return Path(folder, name).read_bytes()


# --- torch and safetensors -------------------------------------------------------------------


def _torch_seeds() -> list[Seed]:
    made: list[Seed] = []
    for is_new in (True, False):
        stream = io.BytesIO()
        whole = torch.arange(12.0).reshape(3, 4)
        content = {"state_dict": {"a": whole, "b": whole.T, "c": torch.tensor([True, False])}}
        torch.save(content, stream, _use_new_zipfile_serialization=is_new)
        made.append(seed("a.pth" if is_new else "old.pt", stream.getvalue()))
    return made


def _mutate_torch(rng: Random, content: bytes) -> bytes:
    """Change the pickle in an archive, or the archive."""
    if not content.startswith(b"PK"):
        return pickles.mutate_pickle(rng, content)
    if rng.random() < 0.3:
        return mutate_zip(rng, content)
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        for info in old.infolist():
            held = old.read(info)
            if info.filename.endswith("data.pkl"):
                held = pickles.mutate_pickle(rng, held)
            new.writestr(info.filename, held)
    return stream.getvalue()


def _weights(path: Path) -> None:
    found, _ = read_weights(path)
    assert all(isinstance(one.double().sum().item(), float) for one in found.values())
    read_metadata(path)
    check_content(path)


def _safetensors_seeds() -> list[Seed]:
    about = {"videozoo": "1", "model": "tsn", "config": {"model": {"name": "tsn"}}}
    tensors = {"a": torch.from_numpy(TABLE), "b": torch.arange(3), "c": torch.ones(2).bfloat16()}
    content = _written("a.safetensors", lambda path: save_weights(path, tensors, about))
    return [seed("a.safetensors", content)]


def mutate_safetensors(rng: Random, content: bytes) -> bytes:
    """Change the JSON of the header, with its right length."""
    size = int.from_bytes(content[:8], "little")
    head = content[8 : 8 + size]
    if rng.random() < 0.3 and b'"videozoo"' in head:  # the description: JSON within JSON
        held = json.loads(head)
        inner = mutate_json(rng, held["__metadata__"]["videozoo"].encode())
        held["__metadata__"]["videozoo"] = inner.decode("utf-8", "replace")
        head = json.dumps(held).encode()
    else:
        head = mutate_json(rng, head)
    return len(head).to_bytes(8, "little") + head + content[8 + size :]


# --- exported graphs -------------------------------------------------------------------------


def _onnx_seeds() -> list[Seed]:
    from tests.weights.test_onnx import model

    return [seed("a.onnx", model().SerializeToString())]


def _mutate_onnx(rng: Random, content: bytes) -> bytes:
    """Change, repeat, drop or move fields of messages in messages."""
    path: list[tuple[int, int, int]] = []
    start, end = 0, len(content)
    for _ in range(rng.choice((1, 2, 3, 3, 4))):
        found = _fields(content, start, end)
        if not found:
            break
        path.append(rng.choice(found))
        _, start, end = path[-1]
    if not path:
        return mutate_bytes(rng, content)
    head, start, end = path.pop()
    field, value = content[head:end], content[start:end]
    match rng.randrange(6):
        case 0:
            changed = b""
        case 1:
            changed = field * rng.choice((2, 3, 200))
        case 2:
            changed = _field(field[0], b"")
        case 3:
            size = rng.choice((b"\0", b"\1", b"\xff" * 9 + b"\1", b"\x80\x80\x80\x80\x10"))
            changed = _field(field[0], size) if field[0] & 7 == 2 else field[:1] + size
        case 4:
            changed = _field(rng.choice((field[0], *range(10, 130, 8))), value)
        case _:
            changed = _field(field[0], mutate_bytes(rng, value)[:5000])
    for outer, inner_start, inner_end in reversed(path):
        inside = content[inner_start:head] + changed + content[end:inner_end]
        head, end, changed = outer, inner_end, _field(content[outer], inside)
    return content[:head] + changed + content[end:]


def _field(first: int, value: bytes) -> bytes:
    size, length = len(value), b""
    while size >= 128:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([first & 0x78 | 2]) + length + bytes([size]) + value


def _fields(content: bytes, at: int, end: int) -> list[tuple[int, int, int]]:
    """Start of each field, and of its value, and the end; none if it is no message."""
    found: list[tuple[int, int, int]] = []
    while at < end:
        head, wire = at, content[at] & 7
        at += 1
        if content[head] >= 128 or wire not in (0, 2, 5):
            return []
        size, shift = 0, 0
        start = at
        while wire != 5:
            if at >= end or shift > 63:
                return []
            size |= (content[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if content[at - 1] < 128:
                break
        if wire == 2:
            start, at = at, at + size
        elif wire == 5:
            at += 4
        if at > end:
            return []
        found.append((head, start, at))
    return found


def _pt2_seeds() -> list[Seed]:
    from tests.weights.test_exported import program

    make: Any = inspect.unwrap(program)
    return [seed("a.pt2", make())]


def _mutate_pt2(rng: Random, content: bytes) -> bytes:
    """Change the JSON of a member; nothing is packed."""
    if rng.random() < 0.2:
        return mutate_zip(rng, content)
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        names = [n for n in old.namelist() if n.endswith(".json") and "extra" not in n]
        chosen = rng.choice(names)
        for name in old.namelist():
            held = old.read(name)
            new.writestr(name, mutate_json(rng, held) if name == chosen else held)
    return stream.getvalue()


# --- archives --------------------------------------------------------------------------------


def _archive_seeds() -> list[Seed]:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("net/a", "net/" + "b" * 150):
            member = tarfile.TarInfo(name)
            held = _record(TABLE)
            member.size = len(held)
            archive.addfile(member, io.BytesIO(held))
    plain = stream.getvalue()
    return [seed("a.tar.gz", gzip.compress(plain)), seed("a.tar", plain)]


def _archive(path: Path) -> None:
    check_archive(path)
    into = path.parent / "unpacked"
    shutil.rmtree(into, ignore_errors=True)
    unpack(path, into)
    inside = {one.resolve() for one in into.rglob("*")}
    assert all(into.resolve() in one.parents for one in inside)


ENTRIES = (
    Entry("pickles", _pickle_seeds, _pickle, 40, {".pkl": pickles.mutate_pickle}),
    Entry("paddle", _paddle_seeds, _paddle, 25, {".pdparams": pickles.mutate_pickle}),
    Entry("torch", _torch_seeds, _weights, 25, {".pth": _mutate_torch, ".pt": _mutate_torch}),
    Entry("safetensors", _safetensors_seeds, _weights, 25, {".safetensors": mutate_safetensors}),
    Entry("onnx", _onnx_seeds, open_onnx, 20, {".onnx": _mutate_onnx}),
    Entry("pt2", _pt2_seeds, open_exported, 6, {".pt2": _mutate_pt2}),
    Entry("shared-runs", _shared_seeds, _shared, 10, {".json": mutate_json}),
    Entry("archives", _archive_seeds, _archive, 20, {".gz": mutate_tar, ".tar": mutate_tar}),
)
