"""ONNX files in onnxruntime: checked before they are opened, run on arrays or tensors."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from videozoo.commands import flag
from videozoo.errors import RunError, WeightsError
from videozoo.weights import _onnx

if TYPE_CHECKING:
    from torch import Tensor

_GRAPH, _METADATA_PROPS = 7, 14  # fields of ONNX's ModelProto
MOST_METADATA = 64 * 2**20
"""Bytes of one entry of the metadata; class names and a configuration need thousands."""
_TYPES = {
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
}


@dataclass(frozen=True)
class Port:
    """An input or output of a graph."""

    name: str
    dtype: np.dtype[Any] | None
    """None: numbers that no image or vector is made of."""
    shape: tuple[int | None, ...]
    """None for sizes that are not fixed."""

    def __str__(self) -> str:
        kind = "?" if self.dtype is None else self.dtype.name
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name} {kind} ({sizes})"


def ports_in_words(ports: Sequence[Port]) -> str:
    """Inputs or outputs for a message."""
    return ", ".join(map(str, ports)) or "nothing"


class OnnxGraph:
    """An open ONNX file; a pickle of it opens the file again."""

    def __init__(self, path: Path, session: Any, opened_by: Any, *, ours: bool) -> None:
        """Take an open session; see `open_onnx`."""
        self.path = path
        self.inputs = tuple(map(_port, session.get_inputs()))
        self.outputs = tuple(map(_port, session.get_outputs()))
        self._session, self._opened_by = session, opened_by
        self._advice = "; export it again" if ours else ""

    def run(self, given: Mapping[str, Tensor], outputs: Sequence[str]) -> list[Tensor]:
        """Compute some outputs.

        Args:
            given: Every input by its name, on any device.
            outputs: Names.

        Returns:
            The outputs, on the CPU.

        Raises:
            WeightsError: The graph cannot be computed.
        """
        import torch  # here: graphs run on arrays without it

        arrays = {port.name: given[port.name].cpu().numpy() for port in self.inputs}
        return [torch.from_numpy(array) for array in self.run_arrays(arrays, outputs)]

    def run_arrays(
        self, given: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> list[NDArray[Any]]:
        """The same with arrays."""
        arrays = {port.name: np.ascontiguousarray(given[port.name]) for port in self.inputs}
        try:
            return self._session.run(list(outputs), arrays)
        except Exception as error:  # onnxruntime has an own class per status
            reason = " ".join(str(error).split())[:200]
            raise WeightsError(f"{self.path}: cannot be run ({reason}){self._advice}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return self._opened_by, ()


def _port(node: Any) -> Port:
    sizes = tuple(size if isinstance(size, int) else None for size in node.shape)
    return Port(node.name, _TYPES.get(node.type), sizes)


def need_packages(*names: str) -> None:
    """Check that optional packages are installed.

    Raises:
        RunError: With the line that installs them.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise RunError(
            f"{' and '.join(missing)} not installed, needed for ONNX files; "
            "run: pip install 'videozoo[export]'"
        )


def open_onnx(
    path: Path, *, device: str = "cpu", device_index: int = 0, ours: bool = True
) -> OnnxGraph:
    """Load an ONNX file into onnxruntime, with as many threads as PyTorch has.

    Args:
        path: The file.
        device: "cpu" or "cuda".
        device_index: Which GPU.
        ours: Written by `videozoo export`, for messages.

    Raises:
        WeightsError: The file is damaged, or holds what is never run.
        RunError: onnxruntime is missing, or has no support for the device.
    """
    need_packages("onnxruntime")
    check_onnx(path, ours=ours)
    ort: Any = import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = _num_threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads sleep
    options.log_severity_level = 3  # errors, which are raised as well
    again = partial(open_onnx, path, device=device, device_index=device_index, ours=ours)
    try:
        providers = _providers(ort, device, device_index)
        session = ort.InferenceSession(str(path), options, providers=providers)
        return OnnxGraph(path, session, again, ours=ours)
    except RunError:
        raise
    except Exception as error:
        raise damaged_onnx(path, error) from None


def _num_threads() -> int:
    """As many as PyTorch has; without it, one per processor that this process may use."""
    if (torch := sys.modules.get("torch")) is not None:
        return torch.get_num_threads()
    may_use = getattr(os, "sched_getaffinity", None)
    return len(may_use(0)) if may_use is not None else os.cpu_count() or 1


def _providers(ort: Any, device: str, device_index: int) -> list[Any]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    there = ort.get_available_providers()
    if "CUDAExecutionProvider" not in there:
        raise RunError(
            f"{flag('--device cuda')}: onnxruntime {ort.__version__} has no CUDA provider here "
            f"(it has {', '.join(there)}); install onnxruntime-gpu, or pass {flag('--device cpu')}"
        )
    return [("CUDAExecutionProvider", {"device_id": device_index}), "CPUExecutionProvider"]


def check_onnx(path: Path, *, ours: bool = True) -> None:
    """Check an ONNX file before it is opened.

    Raises:
        WeightsError: The graph holds what is never run here, or the file is damaged.
    """
    try:
        with path.open("rb") as file:
            _onnx.check_model(file, path.stat().st_size)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    except _onnx.RefusedError as error:
        why = (
            "which an export by videozoo never does"
            if ours
            else "and only one file with its weights inside and plain operations is run"
        )
        raise WeightsError(f"{path}: refused: it holds {error}, {why}") from None
    except (ValueError, EOFError, IndexError) as error:
        raise damaged_onnx(path, error) from None


def onnx_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of an ONNX file; the graph is skipped, and not checked.

    Raises:
        OSError: The file cannot be read.
        WeightsError: It is damaged.

    Source: protobuf's encoding, and ModelProto and StringStringEntryProto of onnx.proto.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        try:
            return _entries(file, size)
        except (ValueError, EOFError) as error:
            raise damaged_onnx(path, error) from None


def graph_sha256(path: Path) -> str:
    """The sha256 of the graph of an ONNX file, with its weights and without its metadata.

    Raises:
        OSError: The file cannot be read.
        WeightsError: It is damaged.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        try:
            for number, end in _onnx.fields(file, size):
                while number == _GRAPH and (left := end - file.tell()):
                    digest.update(file.read(min(left, 2**20)))
        except (ValueError, EOFError) as error:
            raise damaged_onnx(path, error) from None
    return digest.hexdigest()


def _entries(file: IO[bytes], size: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, end in _onnx.fields(file, size):
        if number != _METADATA_PROPS:
            continue
        if end - file.tell() > MOST_METADATA:
            raise ValueError(f"{end - file.tell()} bytes of metadata")
        pair = {1: "", 2: ""}
        for part, below in _onnx.fields(file, end):
            pair[part] = file.read(below - file.tell()).decode()
        found[pair[1]] = pair[2]
    return found


def damaged_onnx(path: Path, error: Exception) -> WeightsError:
    """The error of a file that is cut short or of another kind."""
    reason = " ".join(str(error).split())[:200]
    return WeightsError(f"{path}: not a whole ONNX file ({reason}); was it cut short?")
