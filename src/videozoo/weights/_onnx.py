"""Check an ONNX file before a runtime opens it.

A graph can name other files for its weights, announce shapes without stored data, and ask for
arrays of any size. Our exports do none of these. Only the heads of fields are read.

Source: protobuf's encoding, and onnx.proto.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

OPERATIONS = frozenset(
    (
        *("Abs", "Add", "And", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip"),
        *("Concat", "Constant", "ConstantOfShape", "Conv", "ConvInteger", "Cos"),
        *("DequantizeLinear", "Div", "Dropout", "DynamicQuantizeLinear", "Elu"),
        *("Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "GRU", "Gather"),
        *("GatherElements", "GatherND", "Gelu", "Gemm", "GlobalAveragePool", "Greater"),
        *("GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization"),
        *("IsInf", "IsNaN", "LSTM", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual"),
        *("Log", "LogSoftmax", "MatMul", "MatMulInteger", "Max", "MaxPool", "Min", "Mod"),
        *("Mul", "Neg", "Not"),
        *("Or", "PRelu", "Pad", "Pow", "Range", "Reciprocal", "ReduceL1", "ReduceL2"),
        *("ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"),
        *(
            "ReduceSum",
            "ReduceSumSquare",
            "Relu",
            "Reshape",
            "Resize",
            "Round",
            "ScatterND",
            "Shape",
        ),
        *(
            "Sigmoid",
            "Sign",
            "Sin",
            "Size",
            "Slice",
            "Softmax",
            "Softplus",
            "Split",
            "Sqrt",
            "Squeeze",
        ),
        *("Sub", "Sum", "Tanh", "TopK", "Transpose", "Trilu", "Unsqueeze", "Where"),
    )
)
"""Allowed operations of ONNX: they compute, and hold no graphs."""
_MAKERS = (
    "ConstantOfShape",
    "Expand",
    "Range",
    "Resize",
)  # they make arrays as large as their inputs say
_MOST_MADE = 2**24  # elements, if the file itself holds the sizes
_MOST_PADDING = 2**12  # elements on one side
_MOST_SCALE = 2**10  # of all sizes together
_MOST_VALUES = 16
_MOST_PARTS = 50_000
"""Operations, initialisers, inputs, outputs and notes on values of one graph."""
_MOST_PORT_BYTES = 4096
"""Of the description of one input, output or value."""
_MOST_ATTRIBUTES = 64
_OPSETS, _PORTS = 8, (11, 12, 13, 14)
_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""Type of a tensor to the size of its elements."""
_FLOAT, _INT32, _INT64 = 1, 6, 7


class RefusedError(Exception):
    """The graph holds something that our exports never do."""


@dataclass
class _Tensor:
    name: str
    values: tuple[int, ...] = ()
    """Values of a short tensor of integers."""
    scales: tuple[float, ...] = ()
    """Values of a short tensor of floats."""


@dataclass
class _Node:
    operation: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list[str])
    outputs: list[str] = field(default_factory=list[str])
    values: tuple[int, ...] = ()
    """Values of a constant, or whole numbers among the attributes."""
    scales: tuple[float, ...] = ()
    """Floats of a constant."""


def check_model(file: IO[bytes], size: int) -> None:
    """Check a whole file.

    Raises:
        RefusedError: It uses data outside the file, unknown operations, or shapes without stored
            data. ValueError, EOFError: It is damaged.
    """
    file.seek(0)
    graphs = 0
    for number, end in fields(file, size):
        if number == 7:
            graphs += 1
            if graphs > 1:  # readers join them, and each was checked by itself
                raise RefusedError("two graphs")
            _check_graph(file, end)
        elif number == _OPSETS and end - file.tell() > _MOST_PORT_BYTES:
            raise RefusedError("a long set of operations")
        elif number in (20, 25):
            raise RefusedError("functions of its own")


def _check_graph(file: IO[bytes], end: int) -> None:
    values: dict[str, tuple[int, ...]] = {}
    scales: dict[str, tuple[float, ...]] = {}
    nodes: list[_Node] = []
    left = _MOST_PARTS
    for number, below in fields(file, end):
        if number in (*_PORTS, 1, 5):
            left -= 1
        if left < 0:
            raise RefusedError(f"more than {_MOST_PARTS:,} parts")
        if number == 1:
            node = _node(file, below)
            if node.domain not in ("", "ai.onnx") or node.operation not in OPERATIONS:
                name = f"{node.domain}.{node.operation}".strip(".")[:80]
                raise RefusedError(f"the operation {name}")
            nodes.append(node)
        elif number == 5:
            tensor = _tensor(file, below)
            values[tensor.name], scales[tensor.name] = tensor.values, tensor.scales
        elif number == 15:
            raise RefusedError("sparse tensors")
        elif number in _PORTS and below - file.tell() > _MOST_PORT_BYTES:
            raise RefusedError("a long description of an input or output")
    for node in nodes:
        if node.operation == "Constant":
            values |= dict.fromkeys(node.outputs, node.values)
            scales |= dict.fromkeys(node.outputs, node.scales)
    for node in nodes:
        told = [values.get(name, ()) for name in node.inputs if node.operation in _MAKERS]
        if any(abs(math.prod(numbers)) > _MOST_MADE for numbers in told):
            raise RefusedError(f"an array of {max(map(math.prod, told)):,} elements to be made up")
        if node.operation == "Resize":
            scale = max((abs(math.prod(scales.get(name, ()))) for name in node.inputs), default=1)
            if not scale <= _MOST_SCALE:
                raise RefusedError(f"an array made {scale:g} times as large")
        if node.operation == "Pad":
            pads = [*node.values, *(values.get(node.inputs[1], ()) if node.inputs[1:] else ())]
            if pads and max(map(abs, pads)) > _MOST_PADDING:
                raise RefusedError(f"padding by {max(map(abs, pads)):,} elements")


def _node(file: IO[bytes], end: int) -> _Node:
    node = _Node()
    attributes = 0
    for number, below in fields(file, end):
        if number == 1:
            node.inputs.append(_text(file, below))
        elif number == 2:
            node.outputs.append(_text(file, below))
        elif number == 4:
            node.operation = _text(file, below)
        elif number == 7:
            node.domain = _text(file, below)
        elif number == 5:
            attributes, tensors = attributes + 1, 0
            if attributes > _MOST_ATTRIBUTES:
                raise RefusedError("an operation of many attributes")
            for part, inner in fields(file, below):
                if part == 5:
                    tensors += 1
                    if tensors > 1:  # readers join them
                        raise RefusedError("two tensors in one attribute")
                    constant = _tensor(file, inner)
                    node.values, node.scales = constant.values, constant.scales
                elif part in (3, 8) and len(node.values) < _MOST_VALUES:
                    node.values += tuple(_numbers(file, inner, _MOST_VALUES))
                elif part in (6, 10, 11, 22, 23):
                    raise RefusedError("graphs or tensors as attributes")
    return node


def _tensor(file: IO[bytes], end: int) -> _Tensor:
    name, kind, raw, stored = "", 0, None, 0
    dims: list[int] = []
    numbers: list[int] = []
    floats = b""
    for number, below in fields(file, end):
        length = below - file.tell()
        if number == 1:
            dims += _numbers(file, below, _MOST_VALUES + 1)
            if len(dims) > _MOST_VALUES:
                raise RefusedError(f"a tensor of more than {_MOST_VALUES} dimensions")
        elif number == 2:
            kind = _numbers(file, below, 1)[0]
        elif number == 8:
            name = _text(file, below)
        elif number == 9:
            raw = length
            if length <= 8 * _MOST_VALUES:
                floats = file.read(length)
                numbers = _whole_numbers(floats, kind)
        elif number in (4, 5, 7, 10, 11):
            stored += length
            if number == 4 and len(floats) + length <= 4 * _MOST_VALUES:
                floats += file.read(length)
            elif number in (5, 7) and length <= 10 * _MOST_VALUES:
                numbers += _numbers(file, below)
        elif number == 13 or (number == 14 and _numbers(file, below, 2) != [0]):
            raise RefusedError(f"weights that lie in another file ({name or 'a tensor'})")
    if kind not in _BYTES or len(dims) > _MOST_VALUES:
        raise RefusedError(f"a tensor of type {kind} and {len(dims)} dimensions")
    count = math.prod(dims)
    known = raw == count * _BYTES[kind] if raw is not None else count <= stored
    if not known:
        there = stored if raw is None else raw
        raise RefusedError(f"a tensor of {count:,} elements of which {there:,} bytes are stored")
    return _Tensor(
        name,
        tuple(numbers) if kind in (_INT32, _INT64) else (),
        _floats(floats) if kind == _FLOAT else (),
    )


def _floats(raw: bytes) -> tuple[float, ...]:
    count = min(len(raw) // 4, _MOST_VALUES)
    return struct.unpack(f"<{count}f", raw[: 4 * count])


def _whole_numbers(raw: bytes, kind: int) -> list[int]:
    step = _BYTES.get(kind, 8)
    return [
        int.from_bytes(raw[place : place + step], "little", signed=True)
        for place in range(0, len(raw), step)
    ]


def _numbers(file: IO[bytes], end: int, most: int = 2**62) -> list[int]:
    """The numbers from here to the end, or the first of them."""
    found: list[int] = []
    while file.tell() < end and len(found) < most:
        found.append(_varint(file))
    if not found:
        raise EOFError("a number of no bytes")
    return found


def _text(file: IO[bytes], end: int) -> str:
    return file.read(end - file.tell()).decode()


def fields(file: IO[bytes], end: int) -> Iterator[tuple[int, int]]:
    """Number of each field of a message, and the end of its value; `file` is at its start.

    Raises:
        ValueError, EOFError: The message is damaged.
    """
    while file.tell() < end:
        number, length = _field(file, end)
        below = file.tell() + length
        yield number, below
        file.seek(below)


def _field(file: IO[bytes], end: int) -> tuple[int, int]:
    """Return the number of a field and the bytes that its value takes from here."""
    number, wire = divmod(_varint(file), 8)
    if wire == 0:
        start = file.tell()
        _varint(file)
        length = file.tell() - start
        file.seek(start)
    elif wire == 2:
        length = _varint(file)
    elif wire in (1, 5):
        length = 8 if wire == 1 else 4
    else:
        raise ValueError(f"a field of wire type {wire}")
    if number == 0 or file.tell() + length > end:
        raise EOFError("it ends within a field")
    return number, length


def _varint(file: IO[bytes]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError("it ends within a number")
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("a number of more than 10 bytes")
