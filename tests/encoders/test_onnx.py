"""ONNX files as encoders. The graphs are a few nodes, made by hand."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from videozoo.encoders import open_known
from videozoo.encoders.onnx import OnnxDescription, open_onnx_encoder
from videozoo.errors import UsageError, WeightsError
from videozoo.weights.exported import ENCODER_KEY

onnx: Any = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FRAMES, SIDE = 4, 6
WEIGHTS = np.random.RandomState(0).rand(1, FRAMES, 3, SIDE, SIDE).astype(np.float32)
"""A position of a clip (N, T, C, H, W) counts this much, so that swapped sizes show."""
ORDERS = {
    "NCHW": (0, 2, 3, 4),
    "NHWC": (0, 3, 4, 2),
    "NTCHW": (0, 1, 2, 3, 4),
    "NCTHW": (0, 2, 1, 3, 4),
    "NTHWC": (0, 1, 3, 4, 2),
}
ABOUT: dict[str, Any] = {
    "videozoo_encoder": 1,
    "title": "Weighted sums",
    "input": "pixels",
    "output": "features",
    "dim": 3,
    "size": [SIDE, SIDE],
    "mean": [0.1, 0.2, 0.3],
    "std": [0.5, 0.6, 0.7],
}


def write_graph(
    path: Path,
    layout: str = "NTCHW",
    *,
    batch: int | str = "N",
    kind: str = "FLOAT",
    keep: Sequence[int] = (2,),
    about: dict[str, Any] | None = None,
) -> Path:
    """A graph that sums weighted pixels over all places of `layout` but `keep` (and the batch)."""
    helper, kinds = onnx.helper, onnx.TensorProto
    order = ORDERS[layout]
    weights = WEIGHTS.transpose(*ORDERS["NTCHW"])
    if "T" not in layout:
        weights = weights[:, 0].transpose(*[(0, 2, 3, 4).index(place) for place in order])
    else:
        weights = weights.transpose(*order)
    axes = [place for place in range(1, len(order)) if order[place] not in keep]
    sizes = [batch, *weights.shape[1:]]
    made = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Cast", ["pixels"], ["numbers"], to=kinds.FLOAT),
                helper.make_node("Mul", ["numbers", "weights"], ["products"]),
                helper.make_node("ReduceSum", ["products", "axes"], ["features"], keepdims=0),
                helper.make_node("Identity", ["features"], ["unused"]),
            ],
            "g",
            [helper.make_tensor_value_info("pixels", getattr(kinds, kind), sizes)],
            [
                helper.make_tensor_value_info(
                    "features", kinds.FLOAT, [batch, *(sizes[order.index(one)] for one in keep)]
                ),
                helper.make_tensor_value_info("unused", kinds.FLOAT, None),
            ],
            [
                onnx.numpy_helper.from_array(np.ascontiguousarray(weights), "weights"),
                helper.make_tensor("axes", kinds.INT64, [len(axes)], axes),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    if about is not None:
        made.metadata_props.add(key=ENCODER_KEY, value=json.dumps(about))
    path.write_bytes(made.SerializeToString())
    return path


def described(path: Path, **more: Any) -> Path:
    about = {key: value for key, value in (ABOUT | more).items() if value is not None}
    path.with_suffix(".json").write_text(json.dumps(about))
    return path


def windows(count: int, frames: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    shape = (count, frames, 3, SIDE, SIDE)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def values(pixels: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(ABOUT[key]).view(3, 1, 1) for key in ("mean", "std"))
    return (pixels / 255 - mean) / std


@pytest.mark.parametrize("layout", ORDERS)
@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_windows_go_in_as_the_layout_says(tmp_path: Path, layout: str, batch: int | str):
    frames = FRAMES if "T" in layout else 1
    path = described(write_graph(tmp_path / "a.onnx", layout, batch=batch), layout=layout)
    if frames > 1:
        described(path, layout=layout, frames=frames)
    encoder = open_onnx_encoder(str(path))
    pixels = windows(5, frames)

    vectors = encoder.encode(pixels)

    weights = torch.from_numpy(WEIGHTS)[:, :frames]
    expected = (values(pixels) * weights).sum(dim=(1, 3, 4))
    torch.testing.assert_close(vectors, expected, atol=1e-4, rtol=1e-5)
    assert (encoder.dim, encoder.window.num_frames) == (3, frames)


def test_frames_are_prepared_as_described(tmp_path: Path):
    about = {"layout": "NCHW", "size": None, "short_side": 8, "crop": [SIDE, SIDE]}
    path = described(write_graph(tmp_path / "a.onnx", "NCHW"), **about)
    encoder = open_onnx_encoder(str(path))

    frames = np.zeros((2, 20, 31, 3), np.uint8)

    assert encoder.prepare(frames).shape == (2, SIDE, SIDE, 3)
    assert encoder.facts["preparation"]["short_side"] == 8


def test_grey_levels_go_in_as_they_are(tmp_path: Path):
    path = write_graph(tmp_path / "a.onnx", "NCHW", kind="UINT8")
    described(path, layout="NCHW", mean=None, std=None)
    pixels = windows(2, 1)

    vectors = open_onnx_encoder(str(path)).encode(pixels)

    expected = (pixels * torch.from_numpy(WEIGHTS)[:, :1]).sum(dim=(1, 3, 4))
    torch.testing.assert_close(vectors, expected)


def test_colours_can_be_swapped(tmp_path: Path):
    path = described(write_graph(tmp_path / "a.onnx", "NCHW"), layout="NCHW", colours="BGR")
    pixels = windows(2, 1)

    vectors = open_onnx_encoder(str(path)).encode(pixels)

    swapped = pixels[:, :, [2, 1, 0]]
    expected = (values(swapped) * torch.from_numpy(WEIGHTS)[:, :1]).sum(dim=(1, 3, 4))
    torch.testing.assert_close(vectors, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ("keep", "pooling", "dim"), [((1, 2), "mean", 3), ((1, 2), "first", 3), ((2, 3, 4), "mean", 3)]
)
def test_outputs_are_pooled(tmp_path: Path, keep: tuple[int, ...], pooling: str, dim: int):
    path = write_graph(tmp_path / "a.onnx", keep=keep)
    described(path, layout="NTCHW", frames=FRAMES, pooling=pooling, dim=dim)
    pixels = windows(2, FRAMES)

    vectors = open_onnx_encoder(str(path)).encode(pixels)

    products = values(pixels) * torch.from_numpy(WEIGHTS)
    over_places = products.sum(dim=(3, 4))
    expected = {"mean": over_places.mean(dim=1), "first": over_places[:, 0]}[pooling]
    if len(keep) == 3:
        expected = products.sum(dim=1).mean(dim=(2, 3))
    torch.testing.assert_close(vectors, expected, atol=1e-4, rtol=1e-5)


def test_a_description_inside_the_file_is_enough(tmp_path: Path):
    about = ABOUT | {"layout": "NCHW"}
    path = write_graph(tmp_path / "a.onnx", "NCHW", about=about)

    encoder = open_onnx_encoder(str(path))

    assert encoder.files == (path,)
    assert encoder.encode(windows(2, 1)).shape == (2, 3)
    described(path, layout="NCHW")  # the same beside it
    assert open_onnx_encoder(str(path)).facts == encoder.facts
    described(path, layout="NCHW", mean=[0.0, 0.0, 0.0])
    with pytest.raises(WeightsError, match=r"a\.json: differs .* inside a\.onnx; remove one"):
        open_onnx_encoder(str(path))


def test_a_file_that_was_exported_from_an_encoder_has_its_facts(tmp_path: Path):
    facts = {"model": "tsn", "weights_sha256": "abc"}
    about = ABOUT | {"layout": "NCHW", "exported_from": facts}

    encoder = open_onnx_encoder(str(write_graph(tmp_path / "a.onnx", "NCHW", about=about)))

    assert encoder.facts == facts


def test_a_file_beside_that_is_about_something_else_does_not_matter(tmp_path: Path):
    path = write_graph(tmp_path / "a.onnx", "NCHW", about=ABOUT | {"layout": "NCHW"})
    path.with_suffix(".json").write_text('{"loss": 0.5}')

    assert open_onnx_encoder(str(path)).dim == 3


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NTCHW", "NTHWC"])
def test_without_a_description_the_error_shows_one_that_works(tmp_path: Path, layout: str):
    path = write_graph(tmp_path / "my_net.onnx", layout)

    with pytest.raises(WeightsError, match=r"has no description .* write .*my_net\.json") as caught:
        open_onnx_encoder(str(path))

    proposal = str(caught.value).partition("\n")[2]
    assert json.loads(proposal)["layout"] == layout
    path.with_suffix(".json").write_text(proposal)
    assert open_onnx_encoder(str(path)).dim == 3


def test_every_way_a_file_can_differ_from_its_description_is_told(tmp_path: Path):
    path = write_graph(tmp_path / "a.onnx", "NCHW")
    for change, says in [
        ({"dim": 4}, r"features has shape \(2, 3\) .* description says dim 4"),
        ({"output": "vectors"}, r"gives features float32 .* says output 'vectors'"),
        ({"input": "x"}, r"takes pixels float32 \(\?, 3, 6, 6\), .* only input is 'x'"),
        ({"size": [8, 8]}, r"takes pixels float32 \(\?, 3, 6, 6\), .* says C 3, H 8, W 8"),
        ({"layout": "NTCHW", "frames": 4}, r"takes pixels .* says T 4, C 3, H 6, W 6"),
        ({"mean": None, "std": None}, r"takes pixels float32.* says no mean and std"),
    ]:
        described(path, **({"layout": "NCHW"} | change))
        with pytest.raises(WeightsError, match=rf"a\.onnx: {says}"):
            open_onnx_encoder(str(path))
    write_graph(path, "NCHW", kind="UINT8")
    described(path, layout="NCHW")
    with pytest.raises(WeightsError, match="says mean and std; leave them out"):
        open_onnx_encoder(str(path))


def test_every_mistake_in_a_description_is_told_with_its_key(tmp_path: Path):
    path = write_graph(tmp_path / "a.onnx", "NCHW")
    for change, says in [
        ({"layout": "CHW"}, "layout: expected .*NCHW.* got 'CHW'"),
        ({"dims": 3}, "dims: unknown key; did you mean 'dim'"),
        ({"dim": None}, "dim: required"),
        ({"std": None}, "mean and std: write both"),
        ({"mean": [123.0, 117.0, 104.0]}, "for grey levels 0..255; write pixel_scale 1"),
        ({"frames": 8}, "layout NCHW has no T for 8 frames"),
        ({"size": None}, "as many sizes as videos; write crop or size"),
        ({"short_side": 8}, "short_side 8 and size .*expected one"),
        ({"videozoo_encoder": 2}, "newer; update videozoo"),
        ({"exported_from": {"model": "tsn"}}, "known only inside the file"),
    ]:
        described(path, **({"layout": "NCHW"} | change))
        with pytest.raises(WeightsError, match=rf"(?s)a\.json.*{says}"):
            open_onnx_encoder(str(path))
    for text, says in [("{", "is no JSON"), ("[1]", "expected keys and values")]:
        path.with_suffix(".json").write_text(text)
        with pytest.raises(WeightsError, match=rf"a\.json: .*{says}"):
            open_onnx_encoder(str(path))


def test_weights_in_another_file_are_refused(tmp_path: Path):
    path = described(write_graph(tmp_path / "a.onnx", "NCHW"), layout="NCHW")
    made = onnx.load(path)
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    path.write_bytes(made.SerializeToString())

    with pytest.raises(WeightsError, match=r"a\.onnx: refused: .*another file .*weights inside"):
        open_onnx_encoder(str(path))


def test_files_that_are_none_are_told(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"b\.onnx: no such file"):
        open_onnx_encoder(str(tmp_path / "b.onnx"))
    (tmp_path / "b.onnx").write_text("<html>")
    with pytest.raises(WeightsError, match=r"b\.onnx: not a whole ONNX file"):
        open_onnx_encoder(str(tmp_path / "b.onnx"))


def test_it_is_found_by_its_name(tmp_path: Path):
    path = described(write_graph(tmp_path / "a.onnx", "NCHW"), layout="NCHW")

    encoder = open_known(str(path), {})

    assert encoder is not None
    assert encoder.reference == str(path)
    with pytest.raises(UsageError, match="ONNX encoders take no pooling"):
        open_known(str(path), {"pooling": "mean"})


def test_its_precision_is_its_own(tmp_path: Path):
    path = described(write_graph(tmp_path / "a.onnx", "NCHW"), layout="NCHW")
    encoder = open_onnx_encoder(str(path))

    encoder.to(torch.device("cpu"), "fp32")

    with pytest.raises(UsageError, match="precision it was written in"):
        encoder.to(torch.device("cpu"), "bf16")


def test_a_description_without_defaults_says_the_same():
    about = OnnxDescription.model_validate(ABOUT | {"layout": "NCHW"})

    assert OnnxDescription.model_validate(about.as_json()) == about
    assert set(about.as_json()) == {*ABOUT, "layout"}
