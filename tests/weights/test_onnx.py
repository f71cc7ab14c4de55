"""What an ONNX file may not hold, whatever the runtime would do with it."""

import json
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.weights.test_exported import ABOUT
from videozoo.cli import main
from videozoo.errors import WeightsError
from videozoo.weights.exported import ONNX_KEY, describe, open_exported, read_description

onnx: Any = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def model() -> Any:
    """The mean of clips, and a weight added."""
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["clips"], ["f"], to=kinds.FLOAT),
            helper.make_node("ReduceMean", ["f", "axes"], ["m"], keepdims=0),
            helper.make_node("Slice", ["m", "zero", "two", "one"], ["s"]),
            helper.make_node("Add", ["s", "w"], ["scores"]),
        ],
        "g",
        [helper.make_tensor_value_info("clips", kinds.UINT8, ["N", 2, 3, 4, 4])],
        [helper.make_tensor_value_info("scores", kinds.FLOAT, ["N", 2])],
        [
            helper.make_tensor("axes", kinds.INT64, [3], [1, 3, 4]),
            helper.make_tensor("zero", kinds.INT64, [1], [0]),
            helper.make_tensor("two", kinds.INT64, [1], [2]),
            helper.make_tensor("one", kinds.INT64, [1], [1]),
            helper.make_tensor("w", kinds.FLOAT, [2], [1.0, 2.0]),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    made.metadata_props.add(key=ONNX_KEY, value=json.dumps(describe(ABOUT)))
    return made


def weight(made: Any) -> Any:
    return made.graph.initializer[-1]


def external(location: str, **more: str) -> Callable[[Any], None]:
    def change(made: Any) -> None:
        tensor = weight(made)
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": location, **more}.items():
            tensor.external_data.add(key=key, value=value)

    return change


def named_but_inside(made: Any) -> None:
    weight(made).external_data.add(key="location", value="/etc/passwd")


def huge(made: Any) -> None:
    weight(made).dims[:] = [2**60]


def negative(made: Any) -> None:
    weight(made).dims[:] = [-1]


def short(made: Any) -> None:
    tensor = weight(made)
    tensor.ClearField("float_data")
    tensor.raw_data = bytes(7)


def unknown_type(made: Any) -> None:
    weight(made).data_type = 99


def made_up(operation: str, raw: bool) -> Callable[[Any], None]:
    def change(made: Any) -> None:
        kind = onnx.TensorProto.INT64
        shape = (10**9).to_bytes(8, "little") if raw else [10**9]
        made.graph.initializer.append(onnx.helper.make_tensor("n", kind, [1], shape, raw=raw))
        inputs = {
            "Expand": ["w", "n"],
            "Range": ["zero", "n", "one"],
            "Resize": ["w", "", "", "n"],
        }.get(operation, ["n"])
        made.graph.node.insert(0, onnx.helper.make_node(operation, inputs, ["unused"]))

    return change


def made_up_from_a_constant(made: Any) -> None:
    value = onnx.helper.make_tensor("n", onnx.TensorProto.INT64, [2], [10**5, 10**5])
    made.graph.node.insert(0, onnx.helper.make_node("ConstantOfShape", ["n"], ["unused"]))
    made.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["n"], value=value))


def made_up_from_numbers(made: Any) -> None:
    made.graph.node.insert(0, onnx.helper.make_node("ConstantOfShape", ["n"], ["unused"]))
    made.graph.node.insert(
        0, onnx.helper.make_node("Constant", [], ["n"], value_ints=[10**5, 10**5])
    )


def resized(scales: list[float], *, raw: bool) -> Callable[[Any], None]:
    def change(made: Any) -> None:
        content = struct.pack("<4f", *scales) if raw else scales
        kind = onnx.TensorProto.FLOAT
        made.graph.initializer.append(onnx.helper.make_tensor("n", kind, [4], content, raw=raw))
        made.graph.node.insert(0, onnx.helper.make_node("Resize", ["w", "", "n"], ["unused"]))

    return change


def padded(made: Any) -> None:
    kind = onnx.TensorProto.INT64
    made.graph.initializer.append(onnx.helper.make_tensor("n", kind, [2], [0, 10**5]))
    made.graph.node.insert(0, onnx.helper.make_node("Pad", ["w", "n"], ["unused"]))


def padded_by_attribute(made: Any) -> None:
    made.graph.node.insert(0, onnx.helper.make_node("Pad", ["w"], ["unused"], pads=[0, 10**5]))


def operation(name: str, domain: str = "") -> Callable[[Any], None]:
    def change(made: Any) -> None:
        node = onnx.helper.make_node(name, ["w"], ["unused"], domain=domain)
        made.graph.node.insert(0, node)

    return change


def graph_inside(made: Any) -> None:
    node = onnx.helper.make_node("Relu", ["w"], ["unused"], body=model().graph)
    made.graph.node.insert(0, node)


def function(made: Any) -> None:
    made.functions.append(
        onnx.helper.make_function("d", "f", ["x"], ["y"], [], [onnx.helper.make_opsetid("", 18)])
    )


def sparse(made: Any) -> None:
    made.graph.sparse_initializer.add().dims.append(2)


HOSTILE: dict[str, tuple[Callable[[Any], None], str]] = {
    "a file outside": (external("../secret"), "another file"),
    "a path": (external("/etc/passwd", length="8"), "another file"),
    "a device": (external("/dev/zero"), "another file"),
    "a file beside": (external("inside.bin", offset="0", length="8"), "another file"),
    "a name although the data is there": (named_but_inside, "another file"),
    "a huge shape": (huge, "elements of which 8 bytes are stored"),
    "a negative shape": (negative, "elements of which 8 bytes are stored"),
    "too few bytes": (short, "elements of which 7 bytes are stored"),
    "an unknown type": (unknown_type, "a tensor of type 99"),
    "a shape made up": (made_up("ConstantOfShape", raw=True), "1,000,000,000 elements"),
    "a shape made up as numbers": (made_up("ConstantOfShape", raw=False), "1,000,000,000 el"),
    "an expansion": (made_up("Expand", raw=True), "1,000,000,000 elements"),
    "a range": (made_up("Range", raw=True), "1,000,000,000 elements"),
    "a shape of a constant": (made_up_from_a_constant, "10,000,000,000 elements"),
    "padding": (padded, "padding by 100,000 elements"),
    "padding as an attribute": (padded_by_attribute, "padding by 100,000 elements"),
    "a shape of numbers of a constant": (made_up_from_numbers, "10,000,000,000 elements"),
    "a resize": (resized([1.0, 1.0, 1e6, 1e6], raw=True), "made 1e.12 times as large"),
    "a resize as numbers": (resized([2.0, 2.0, 1e6, 1.0], raw=False), "made 4e.06 times as large"),
    "a resize to sizes": (made_up("Resize", raw=True), "1,000,000,000 elements"),
    "tiles": (operation("Tile"), "the operation Tile"),
    "a loop": (operation("Loop"), "the operation Loop"),
    "an operation of a runtime": (operation("EPContext", "com.microsoft"), "com.microsoft.EPC"),
    "a graph in a graph": (graph_inside, "graphs or tensors as attributes"),
    "a function": (function, "functions of its own"),
    "a sparse tensor": (sparse, "sparse tensors"),
}


@pytest.mark.parametrize(("change", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_graph_is_refused_before_it_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Any], None], problem: str
) -> None:
    made = model()
    change(made)
    path = tmp_path / "hostile.onnx"
    path.write_bytes(made.SerializeToString())
    (tmp_path / "inside.bin").write_bytes(bytes(8))
    for read in (read_description, open_exported):
        with pytest.raises(WeightsError, match=rf"hostile\.onnx: refused: .*{problem}"):
            read(path)
    assert main(["weights", "show", str(path)]) == 1
    assert "fault of videozoo" not in capsys.readouterr().err


def test_a_good_graph_is_run(tmp_path: Path) -> None:
    path = tmp_path / "good.onnx"
    path.write_bytes(model().SerializeToString())
    assert read_description(path) == ABOUT
    clips = torch.full((3, 2, 3, 4, 4), 7, dtype=torch.uint8)
    assert open_exported(path)(clips).tolist() == [[8.0, 9.0]] * 3


def test_a_damaged_file_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "hostile.onnx"
    whole = model().SerializeToString()
    numbers = random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[numbers.randrange(len(damaged))] = numbers.randrange(256)
        path.write_bytes(damaged[: numbers.randrange(len(damaged)) or 1])
        try:
            read_description(path)
        except WeightsError as error:
            assert "hostile.onnx" in str(error)  # noqa: PT017


def message(number: int, content: bytes) -> bytes:
    """A field of protobuf."""
    size, head = len(content), b""
    while size >= 128:
        head, size = head + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + head + bytes([size]) + content


NODE = message(1, message(4, b"Abs"))
WEIGHT = b"\x10\1" + message(9, bytes(4))
JOINED = {
    "two graphs": (message(7, NODE) + message(7, NODE), "two graphs"),
    "two tensors": (
        message(7, message(1, message(4, b"Constant") + message(5, 2 * message(5, WEIGHT)))),
        "two tensors",
    ),
    "many operations": (message(7, NODE * 101), "more than 100 parts"),
    "many empty operations": (message(7, message(1, b"") * 200_000), "the operation"),
    "many dimensions of an input": (
        message(7, message(11, message(1, b"a") + message(2, message(1, b"\n\0" * 5000)))),
        "a long description",
    ),
    "many attributes": (
        message(7, message(1, message(4, b"Abs") + message(5, b"") * 65)),
        "many attributes",
    ),
    "many sizes": (
        message(7, message(5, message(1, b"\1" * 10**6) + b"\x10\1" + message(9, bytes(4)))),
        "more than 16 dimensions",
    ),
}


@pytest.mark.parametrize("name", JOINED)
def test_what_a_runtime_would_join_or_grow_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setattr("videozoo.weights._onnx._MOST_PARTS", 100)
    content, says = JOINED[name]
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    start = time.process_time()

    with pytest.raises(WeightsError, match=says):
        open_exported(path)

    assert time.process_time() - start < 2
