"""An exported encoder is an encoder: the same features twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.tasks.test_extraction import MODELS
from videozoo import cli
from videozoo.config import from_layers
from videozoo.data.frames.preparation import Preparation
from videozoo.encoders.base import Encoder, EncoderGraph, Window
from videozoo.encoders.efficientnet_lite import open_efficientnet_lite0, weights_file
from videozoo.encoders.onnx import open_onnx_encoder
from videozoo.engine.settings import Precision
from videozoo.errors import RunError, UsageError, WeightsError
from videozoo.tasks import run
from videozoo.tasks.clip_encoder import ClipEncoder
from videozoo.tasks.encoder_export import export_encoder
from videozoo.tasks.loading import config_for_weights, save_trained
from videozoo.tasks.requests import ConfigSource, ExportRequest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SIDE = 8


class _Graph(nn.Module):
    def __init__(self, preparation: Preparation) -> None:
        super().__init__()
        self.preparation = preparation
        self.conv = nn.Conv2d(6, 5, 3)

    def forward(self, windows: Tensor) -> Tensor:
        pixels = self.preparation.normalize(windows)
        maps = torch.relu(self.conv(pixels.flatten(0, 1)))
        return maps.mean(dim=(2, 3)).unflatten(0, windows.shape[:2]).amax(dim=1)


class Tiny(Encoder):
    """Three steps of two frames."""

    title, dim, reference = "Tiny", 5, "tiny"
    window = Window(num_steps=3, frames_per_step=2, frame_stride=4)

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.preparation = Preparation(
            short_side=9,
            crop=(SIDE, SIDE),
            long_side="round",
            crop_offset="even",
            mean=(0.1, 0.2, 0.3),
            std=(0.5, 0.6, 0.7),
        )
        self.network = _Graph(self.preparation).eval()

    @property
    def facts(self) -> dict[str, Any]:
        return {"model": "tiny", "weights_sha256": "abc", "preparation": self.preparation.facts}

    def prepare(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return self.preparation.apply(frames)

    def encode(self, windows: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.network(windows)

    def graph(self) -> EncoderGraph | None:
        return EncoderGraph(self.network, self.preparation)

    def to(self, device: torch.device, precision: Precision) -> None:
        pass


def assert_the_same(encoder: Encoder, exported: Encoder, frames: NDArray[np.uint8]) -> None:
    """On frames of any size, through preparing and encoding; windows of all frames."""
    prepared = encoder.prepare(frames)
    np.testing.assert_array_equal(exported.prepare(frames), prepared)
    run = encoder.window.frames_per_step
    count, height, width, _ = prepared.shape
    windows = torch.from_numpy(np.ascontiguousarray(prepared)).view(-1, run, height, width, 3)
    windows = windows.permute(0, 1, 4, 2, 3).flatten(1, 2)
    windows = windows.unflatten(0, (-1, encoder.window.num_steps))
    expected = encoder.encode(windows)
    assert len(expected) == count // encoder.window.num_frames
    assert expected.std(dim=0).max() > 1e-3
    torch.testing.assert_close(exported.encode(windows), expected, atol=1e-4, rtol=1e-5)


def frames(count: int, height: int, width: int) -> NDArray[np.uint8]:
    shape = (count, height, width, 3)
    return np.random.RandomState(0).randint(0, 256, shape, dtype=np.uint8)


def test_an_exported_encoder_is_an_encoder(tmp_path: Path):
    encoder, said = Tiny(), list[str]()

    path = export_encoder(encoder, tmp_path / "tiny.onnx", say=said.append)

    exported = open_onnx_encoder(str(path))
    assert (exported.title, exported.dim, exported.window) == ("Tiny", 5, encoder.window)
    assert exported.facts == encoder.facts  # one may answer for the other
    assert_the_same(encoder, exported, frames(24, 20, 31))
    assert_the_same(encoder, exported, frames(12, 27, 13))
    assert any("largest difference of a value" in line for line in said)
    assert any("uint8 (N, 3, 6, 8, 8)" in line for line in said)
    assert any(f"extract --encoder {path}" in line for line in said)


def test_a_file_that_gives_other_vectors_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    encoder = Tiny()
    right = encoder.encode

    def wrong(windows: Tensor) -> Tensor:
        return right(windows) + 0.01

    monkeypatch.setattr(encoder, "encode", wrong)

    with pytest.raises(RunError, match=r"not written: its vectors differ .* --no-check"):
        export_encoder(encoder, tmp_path / "tiny.onnx")

    assert not list(tmp_path.iterdir())


def test_an_encoder_without_a_graph_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    encoder = Tiny()
    monkeypatch.setattr(encoder, "graph", lambda: None)

    with pytest.raises(RunError, match="Tiny: encoders of this kind cannot be exported"):
        export_encoder(encoder, tmp_path / "tiny.onnx")


def save(path: Path, model: str, **data: Any) -> Path:
    settings = {"name": model, "num_classes": 3, "depth": 18, "width": 0.125, **MODELS[model]}
    frames = {"short_side": 34, "crop_size": 32, "frame_stride": 2, **data}
    config = from_layers([("", {"model": settings, "data": frames})])
    torch.manual_seed(0)
    save_trained(path, config.spec.build(config.model), config, None, {})
    return path


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "data",
    [{}, {"resize": "fixed_4_3", "resize_with": "pillow", "short_side": 35}],
    ids=["default", "2019"],
)
def test_the_graph_of_a_clip_model_does_what_the_encoder_does(
    tmp_path: Path, model: str, data: dict[str, Any]
):
    path = save(tmp_path / "weights.safetensors", model, **data)
    encoder = ClipEncoder(config_for_weights(ConfigSource(), str(path)))
    encoder.to(torch.device("cpu"), "fp32")

    graph = encoder.graph()

    for height, width in [(50, 61), (45, 38), (34, 90)]:
        seen = frames(1, height, width)
        np.testing.assert_array_equal(graph.preparation.apply(seen), encoder.prepare(seen))
    window = encoder.window
    shape = (2, window.num_steps, 3 * window.frames_per_step, 32, 32)
    windows = torch.randint(256, shape, dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(graph.module(windows), encoder.encode(windows))


def test_what_does_not_go_together_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = save(tmp_path / "best.safetensors", "tsn")

    def ask(**more: Any) -> None:
        run.export(ExportRequest(source=ConfigSource(), **more))

    with pytest.raises(UsageError, match="names what is written; leave out --weights"):
        ask(encoder="efficientnet_lite0", weights=str(path))
    with pytest.raises(UsageError, match="ONNX only"):
        ask(weights=str(path), features=True, format="torch-export")
    with pytest.raises(UsageError, match=r"ends in \.onnx"):
        ask(weights=str(path), features=True, output=tmp_path / "a.pt2")
    with pytest.raises(UsageError, match="leave out --video"):
        ask(weights=str(path), features=True, video=tmp_path)
    (tmp_path / "best.features.onnx").write_text("mine")
    with pytest.raises(RunError, match=r"best\.features\.onnx: exists; pass --overwrite"):
        ask(weights=str(path), features=True)


@pytest.mark.slow
def test_a_tsn_exported_with_its_features_is_an_encoder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = save(tmp_path / "best.safetensors", "tsn")

    assert cli.main(["export", "--weights", str(path), "--features"]) == 0

    exported = tmp_path / "best.features.onnx"
    assert f"extract --encoder {exported}" in capsys.readouterr().out
    encoder = ClipEncoder(config_for_weights(ConfigSource(), str(path)))
    encoder.to(torch.device("cpu"), "fp32")
    assert_the_same(encoder, open_onnx_encoder(str(exported)), frames(6, 50, 61))
    with pytest.raises(WeightsError, match="an encoder, which gives features"):
        config_for_weights(ConfigSource(), str(exported))


@pytest.mark.slow
@pytest.mark.skipif(weights_file() is None, reason="needs videozoo[lite0]")
def test_efficientnet_lite0_by_name_and_exported_are_the_same_twice(tmp_path: Path):
    encoder = open_efficientnet_lite0()

    path = export_encoder(encoder, tmp_path / "lite0.onnx")

    assert_the_same(encoder, open_onnx_encoder(str(path)), frames(3, 300, 400))
