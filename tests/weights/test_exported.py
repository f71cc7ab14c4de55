"""What exported files say of themselves, and what is not believed."""

import io
import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from videozoo.errors import RunError, WeightsError
from videozoo.types import Classification
from videozoo.weights import pt2
from videozoo.weights.exported import (
    Description,
    ExportedClips,
    describe,
    open_exported,
    read_description,
    spec_of,
)
from videozoo.weights.onnx_graphs import need_packages

ABOUT = Description(
    format=1,
    videozoo="0.1.0",
    torch=torch.__version__,
    model="tsm",
    title="TSM",
    task="classification",
    config={"model": {"name": "tsm", "num_classes": 2}},
    class_names=["jump", "Zähne putzen"],
    source={"file": "best.safetensors", "sha256": "00"},
    clips=ExportedClips(
        num_steps=2,
        frames_per_step=1,
        crop_size=4,
        sampling="segments",
        frame_stride=8,
        short_side=4,
        resize="keep_aspect",
        resize_with="torch",
    ),
    opset=None,
    check=None,
)


class _Mean(nn.Module):
    def forward(self, clips: Tensor) -> Tensor:
        return clips.to(torch.float32).mean(dim=(1, 3, 4))[:, :2]


class _Hostile:
    """Unpickled, it leaves a file behind."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.proof,)


@pytest.fixture(scope="module")
def program() -> bytes:
    """A `.pt2` file such as the export writes."""
    clips = torch.zeros(2, 2, 3, 4, 4, dtype=torch.uint8)
    batch = torch.export.Dim("N", min=1, max=64)
    made = torch.export.export(_Mean(), (clips,), dynamic_shapes={"clips": {0: batch}})
    made.example_inputs = None
    for node in made.graph.nodes:
        for key in ("stack_trace", "nn_module_stack", "torch_fn", "source_fn_stack", "from_node"):
            node.meta.pop(key, None)
    buffer = io.BytesIO()
    torch.export.save(made, buffer, extra_files={"videozoo.json": json.dumps(describe(ABOUT))})
    return buffer.getvalue()


def changed(content: bytes, change: Callable[[str, bytes], bytes], **more: bytes) -> bytes:
    """The same archive with members changed or added (`__` in a name stands for `/`)."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(buffer, "w") as new,
    ):
        for info in old.infolist():
            member = info.filename.partition("/")[2]
            new.writestr(info.filename, change(member, old.read(info)))
        for name, value in more.items():
            new.writestr(f"archive/{name.replace('__', '/')}", value)
    return buffer.getvalue()


def edited(content: bytes, *pairs: tuple[str, str]) -> bytes:
    """The same graph with pieces of its JSON replaced; each must be there."""

    def change(member: str, value: bytes) -> bytes:
        if member != pt2.MODEL:
            return value
        text = value.decode()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        return text.encode()

    return changed(content, change)


def same(_: str, value: bytes) -> bytes:
    return value


def onnx_file(path: Path, text: str | None) -> Path:
    """An ONNX file with one node: the clips as numbers, and perhaps a description."""
    import onnx
    from onnx import TensorProto, helper

    shape = ["N", 2, 3, 4, 4]
    graph = helper.make_graph(
        [helper.make_node("Cast", ["clips"], ["scores"], to=TensorProto.FLOAT)],
        "g",
        [helper.make_tensor_value_info("clips", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if text is not None:
        model.metadata_props.add(key="other", value="x")
        model.metadata_props.add(key="videozoo", value=text)
    onnx.save(model, str(path))
    return path


def test_the_description_comes_back_from_both_formats(tmp_path: Path, program: bytes):
    pt2 = tmp_path / "a.pt2"
    pt2.write_bytes(program)
    onnx = onnx_file(tmp_path / "a.onnx", json.dumps(describe(ABOUT)))

    assert read_description(pt2) == read_description(onnx) == ABOUT


def test_a_graph_runs_on_batches_of_any_size(tmp_path: Path, program: bytes):
    (tmp_path / "a.pt2").write_bytes(program)
    onnx = onnx_file(tmp_path / "a.onnx", json.dumps(describe(ABOUT)))

    for size in (1, 5):
        clips = torch.randint(256, (size, 2, 4, 4, 3), dtype=torch.uint8).permute(0, 1, 4, 2, 3)
        expected = _Mean()(clips).numpy()
        score = pickle.loads(pickle.dumps(open_exported(tmp_path / "a.pt2")))
        assert (score(clips) == expected).all()
        assert (open_exported(onnx)(clips) == clips.float().numpy()).all()


def test_a_foreign_onnx_file_is_told_from_ours(tmp_path: Path):
    foreign = onnx_file(tmp_path / "foreign.onnx", None)

    with pytest.raises(WeightsError, match="no description by videozoo"):
        read_description(foreign)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99])
def test_a_file_cut_short_is_an_error_that_names_it(tmp_path: Path, program: bytes, share: float):
    whole = onnx_file(tmp_path / "whole.onnx", json.dumps(describe(ABOUT))).read_bytes()
    for name, content in (("a.onnx", whole), ("a.pt2", program)):
        path = tmp_path / name
        path.write_bytes(content[: int(len(content) * share)])

        message = f"{name}: .*cut short" if share else name
        with pytest.raises(WeightsError, match=message):
            read_description(path)
        with pytest.raises(WeightsError, match=message):
            open_exported(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\xff" * 40, b"PK\x05\x06" + bytes(18)],
    ids=["empty", "text", "ones", "empty zip"],
)
def test_rubbish_is_an_error_that_names_it(tmp_path: Path, content: bytes):
    for name in ("a.onnx", "a.pt2"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=name):
            read_description(path)
        with pytest.raises(WeightsError, match=name):
            open_exported(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "description is damaged"),
        ('{"format": 99, "videozoo": "9.1"}', "written by videozoo 9.1, which is newer"),
        ('{"format": 1, "model": 3}', "description is damaged (videozoo: "),
    ],
)
def test_a_description_that_cannot_be_used_says_why(tmp_path: Path, text: str, message: str):
    path = onnx_file(tmp_path / "a.onnx", text)

    with pytest.raises(WeightsError) as raised:
        read_description(path)
    assert message in str(raised.value)


def test_graphs_with_other_inputs_are_refused(tmp_path: Path):
    import onnx

    path = onnx_file(tmp_path / "a.onnx", "{}")
    model = onnx.load(str(path))
    model.graph.input[0].name = model.graph.node[0].input[0] = "pixels"
    onnx.save(model, str(path))

    with pytest.raises(WeightsError, match=r"takes \['pixels'\]"):
        open_exported(path)


def test_nothing_in_a_pt2_file_is_unpickled(tmp_path: Path, program: bytes):
    proof = tmp_path / "hacked"
    hostile = pickle.dumps(_Hostile(proof))
    saved = io.BytesIO()
    torch.save(_Hostile(proof), saved)

    def example_inputs(member: str, value: bytes) -> bytes:
        return saved.getvalue() if member.startswith("data/sample_inputs") else value

    def pickled_constant(member: str, value: bytes) -> bytes:
        if member != "data/constants/model_constants_config.json":
            return value
        entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}
        return json.dumps({"config": {"c": entry | {"tensor_meta": None}}}).encode()

    archives = [
        changed(program, example_inputs),
        changed(program, pickled_constant, data__constants__opaque_obj_0=hostile),
        changed(program, pickled_constant),
        changed(program, same, data__weights__model=saved.getvalue()),
        changed(program, same, data__aotinductor__model__x=b"\x7fELF"),
    ]
    for number, content in enumerate(archives):
        path = tmp_path / f"{number}.pt2"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="refused"):
            open_exported(path)
    assert not proof.exists()

    # the same archives do run code in PyTorch's own reader, so the tests above test something
    with pytest.raises(Exception, match=r".*"):
        torch.export.load(io.BytesIO(archives[0]))
    assert proof.exists()


def test_text_of_a_graph_that_would_be_evaluated_is_refused(tmp_path: Path, program: bytes):
    proof = tmp_path / "hacked"
    call = f"__import__('pathlib').Path('{proof.as_posix()}').touch()"
    symbol = json.loads(member(program))["range_constraints"]
    name = next(iter(symbol))
    attacks = [
        (f"Symbol('{name}', positive=True, integer=True)", call),
        ('"guards_code": []', f'"guards_code": ["{call}"]'),
        ('"guards_code": []', '"guards_code": ["clips"]'),
        ('"name": "clips"', f'"name": "clips={call}"'),
        ("torch.ops.aten.mean.dim", "torch.ops.aten.from_file.default"),
        ("torch.ops.aten.mean.dim", "torch.load"),
        ("torch.ops.aten.mean.dim", "_operator.attrgetter"),
        ('"name": "clips"', '"name": "__class__"'),
        ("builtins.tuple", "os.system"),
        ('"name": "clips"', '"name": "class"'),
        ('"name": "clips"', '"name": "a-b"'),
        ('"name": "clips"', '"name": "a.b"'),
        ('"name": "clips"', '"name": "1"'),
    ]
    for number, attack in enumerate(attacks):
        path = tmp_path / f"{number}.pt2"
        path.write_bytes(edited(program, attack))
        with pytest.raises(WeightsError, match="refused"):
            open_exported(path)
    assert not proof.exists()


def test_a_graph_that_is_packed_is_refused_before_it_is_unpacked(tmp_path: Path, program: bytes):
    path = tmp_path / "a.pt2"
    with (
        zipfile.ZipFile(io.BytesIO(program)) as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for info in old.infolist():
            is_graph = info.filename.endswith(pt2.MODEL)
            new.writestr(info.filename, old.read(info) + b" " * (2**24 * is_graph))

    with pytest.raises(WeightsError, match="refused: it holds the packed member"):
        open_exported(path)
    with pytest.raises(WeightsError, match="packed, or too long"):
        read_description(path)


def member(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(f"archive/{pt2.MODEL}")


def test_two_members_of_one_name_are_refused(tmp_path: Path, program: bytes):
    path = tmp_path / "a.pt2"
    with pytest.warns(UserWarning, match="Duplicate name"):
        path.write_bytes(changed(program, same, archive_format=b"pt2"))

    with pytest.raises(WeightsError, match="refused: it holds two members of one name"):
        open_exported(path)


def test_a_missing_package_comes_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(
        RunError, match=r"onnxruntime not installed.*pip install 'videozoo\[export\]'"
    ):
        need_packages("json", "onnxruntime")


def test_a_gpu_that_onnxruntime_cannot_use_is_an_error(tmp_path: Path):
    ort = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this onnxruntime has a CUDA provider")
    path = onnx_file(tmp_path / "a.onnx", json.dumps(describe(ABOUT)))

    with pytest.raises(RunError, match=r"has no CUDA provider here.*--device cpu"):
        open_exported(path, device="cuda")


def test_a_graph_stands_in_for_the_model_but_cannot_be_built():
    spec = spec_of(ABOUT)

    assert spec.title == "TSM"
    assert isinstance(spec.task, Classification)
    assert spec.task.clip_shape(None).num_steps == 2
    with pytest.raises(WeightsError, match="name the weights it was made from"):
        spec.build(None)
