"""Exported models give the model's own answers, and are not kept where they do not."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import videozoo
from videozoo.config import RunConfig, from_layers
from videozoo.data.synthetic.clips import SyntheticClips, make_clips
from videozoo.errors import ConfigError, RunError, UsageError, VideoError, WeightsError
from videozoo.ops.pixels import normalize
from videozoo.tasks import asking, run
from videozoo.tasks.classification import Classifier
from videozoo.tasks.loading import save_trained
from videozoo.tasks.requests import ConfigSource, EvalRequest, ExportRequest, PredictRequest
from videozoo.weights.exported import ExportedClips, open_exported, read_description

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

exporting = import_module("videozoo.tasks.classification.export")  # the package names a function so
REAL = Path(__file__).parents[2].parent / "shared" / "data" / "video_oddities" / "mmaction2"
SLOW = pytest.mark.slow
NAMES = [f"class {number}" for number in range(8)]
SETTINGS: dict[str, dict[str, Any]] = {
    "tsn": {"num_segments": 3},
    "tsm": {"num_segments": 4},
    "stnet": {"num_segments": 3, "frames_per_segment": 2},
    "nonlocal": {"num_frames": 4, "temporal_convs": True},
}
VARIANTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("tsm", {"num_segments": 3, "frames_per_segment": 2, "depth": 50}, {}),
    ("nonlocal", {"num_frames": 8, "use_affine": True, "depth": 50}, {}),
    # a crop that ends in several positions, whose softmax is averaged
    ("nonlocal", {"num_frames": 4}, {"short_side": 264, "crop_size": 260}),
]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> SyntheticClips:
    folder = tmp_path_factory.mktemp("clips")
    return make_clips(folder, num_train=8, num_val=8, num_test=8, seed=0, size=40)


def make_config(
    clips: SyntheticClips, name: str, model: dict[str, Any], predict: dict[str, Any]
) -> RunConfig:
    data = {
        "val": str(clips.val_list),
        "short_side": 40,
        "crop_size": 32,
        "frame_stride": 2,
        "num_workers": 0,
    }
    small = {"name": name, "num_classes": 8, "depth": 18, "width": 0.125}
    return from_layers([("", {"model": small | model, "data": data, "predict": predict})])


def decided(module: nn.Module) -> nn.Module:
    """Weights and statistics that are not those of a fresh network, and answers that differ."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                size = layer.running_mean.shape
                layer.running_mean.copy_(0.2 * torch.randn(size, generator=generator))
                layer.running_var.copy_(0.8 + 0.4 * torch.rand(size, generator=generator))
                layer.weight.copy_(0.8 + 0.4 * torch.rand(size, generator=generator))
                layer.bias.copy_(0.1 * torch.randn(size, generator=generator))
        head = module.get_submodule("head")
        assert isinstance(head, nn.Linear)
        head.weight.copy_(0.5 * torch.randn(head.weight.shape, generator=generator))
    return module.eval()


@pytest.fixture(scope="module")
def weights(clips: SyntheticClips, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a weights file of a small model."""

    def make(name: str, model: dict[str, Any], predict: dict[str, Any] | None = None) -> Path:
        config = make_config(clips, name, model, predict or {})
        torch.manual_seed(0)
        path = tmp_path_factory.mktemp(name) / "best.safetensors"
        save_trained(path, decided(config.spec.build(config.model)), config, NAMES, {})
        return path

    return make


@pytest.fixture(scope="module")
def tsm(weights: Callable[..., Path]) -> Path:
    """Weights of a small TSM; its ONNX and .pt2 files lie beside it."""
    path = weights("tsm", SETTINGS["tsm"])
    for form in ("onnx", "torch-export"):
        run.export(request(path, format=form))
    return path


@pytest.fixture
def traced_once(tsm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing takes seconds; tests that are about what comes after share one graph."""
    program = torch.export.load(tsm.with_suffix(".pt2"))

    def trace(network: nn.Module, config: RunConfig) -> Any:
        return program

    monkeypatch.setattr(exporting, "trace", trace)


def request(path: Path, *overrides: str, **more: Any) -> ExportRequest:
    return ExportRequest(source=ConfigSource(overrides=overrides), weights=str(path), **more)


def clips_of(path: Path) -> ExportedClips:
    clips = read_description(path).clips
    assert clips is not None
    return clips


def expected_scores(path: Path, clips: Tensor) -> NDArray[np.float32]:
    classifier = videozoo.load(path)
    assert isinstance(classifier, Classifier)
    data = classifier.config.data
    with torch.inference_mode():
        logits = classifier.module(normalize(clips, data.mean, data.std))
        return torch.softmax(logits, 1).numpy()


def assert_the_same_scores(path: Path, exported: Path) -> None:
    """At batch sizes that were traced or checked (1, 2, 3) and others."""
    shape = clips_of(exported).shape
    score = open_exported(exported)
    for size in (1, 2, 5, 7):
        # as the loader lays them out: channels last in memory
        generator = torch.Generator().manual_seed(size)
        frames, channels, height, width = shape
        stored = (size, frames, height, width, channels)
        noise = torch.randint(256, stored, generator=generator, dtype=torch.uint8)
        clips = noise.permute(0, 1, 4, 2, 3)
        scores = score(clips)
        assert scores.shape == (size, 8)
        np.testing.assert_allclose(scores, expected_scores(path, clips), atol=1e-4, rtol=0)
        assert scores.max() > 0.2  # an even guess would agree with anything


@pytest.mark.parametrize(
    "name", ["tsn", pytest.param("stnet", marks=SLOW), pytest.param("nonlocal", marks=SLOW)]
)
def test_onnx_gives_the_models_scores(name: str, weights: Callable[..., Path]):
    path = weights(name, SETTINGS[name])

    assert_the_same_scores(path, run.export(request(path)))


def test_onnx_and_pt2_files_of_tsm_give_the_models_scores(tsm: Path):
    for suffix in (".onnx", ".pt2"):
        assert_the_same_scores(tsm, tsm.with_suffix(suffix))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tsn", "stnet", "nonlocal"])
def test_pt2_gives_the_models_scores(name: str, weights: Callable[..., Path]):
    path = weights(name, SETTINGS[name])

    assert_the_same_scores(path, run.export(request(path, format="torch-export")))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "torch-export"])
@pytest.mark.parametrize(("name", "model", "predict"), VARIANTS)
def test_other_forms_of_the_models_export_too(
    name: str,
    model: dict[str, Any],
    predict: dict[str, Any],
    form: str,
    weights: Callable[..., Path],
):
    path = weights(name, model, predict)
    exported = run.export(request(path, format=form))

    score = open_exported(exported)
    shape = clips_of(exported).shape
    clips = torch.randint(256, (4, *shape), dtype=torch.uint8)
    np.testing.assert_allclose(score(clips), expected_scores(path, clips), atol=1e-4, rtol=0)


def videos(clips: SyntheticClips) -> list[Path]:
    real = [REAL / "demo.mp4", REAL / "test.mp4"]
    return [*clips.unseen[:2], *(path for path in real if path.exists())]


@pytest.mark.parametrize("suffix", [".onnx", pytest.param(".pt2", marks=SLOW)])
def test_predict_gives_the_same_top_5(suffix: str, tsm: Path, clips: SyntheticClips):
    exported, original = videozoo.load(tsm.with_suffix(suffix)), videozoo.load(tsm)

    assert isinstance(exported, Classifier)
    assert isinstance(original, Classifier)
    got = exported.predict(*videos(clips))
    expected = original.predict(*videos(clips))

    assert exported.class_names == original.class_names == NAMES
    for one, other in zip(got, expected, strict=True):
        assert [number for number, _ in one.top(5)] == [number for number, _ in other.top(5)]
        assert one.scores is not None
        assert other.scores is not None
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4, rtol=0)
    with pytest.raises(AttributeError, match="is an exported graph and has no module"):
        _ = exported.module


@pytest.mark.parametrize("suffix", [".onnx", pytest.param(".pt2", marks=SLOW)])
def test_eval_and_several_views_work_on_exported_files(
    suffix: str, tsm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    views = ("eval.num_clips=2", "eval.num_crops=3", "eval.batch_size=4")
    facts: list[dict[str, Any]] = []
    for path in (tsm.with_suffix(suffix), tsm):
        source = ConfigSource(overrides=views)
        run.evaluate(EvalRequest(source=source, weights=str(path), save_dir=tmp_path))
        facts.append(json.loads((tmp_path / "eval.json").read_text()))

    assert facts[0]["views"] == 48
    assert facts[0]["confusion"] == facts[1]["confusion"]
    for key, value in facts[1]["metrics"].items():
        assert facts[0]["metrics"][key] == pytest.approx(value, abs=1e-4)


def test_predicting_with_onnx_imports_no_model_file(tsm: Path, clips: SyntheticClips):
    code = (
        "import sys, videozoo\n"
        "classifier = videozoo.load(sys.argv[1])\n"
        "print(classifier.predict(sys.argv[2])[0].top(1))\n"
        "own = [m for m in sys.modules if m.startswith('videozoo.models.')]\n"
        "models = [m for m in own if not m.endswith(('._declared', '._outside'))]\n"
        "# (these find and check files)\n"
        "assert not models, models\n"
        "assert 'onnxruntime' in sys.modules and 'onnx' not in sys.modules\n"
    )
    arguments = [sys.executable, "-c", code, str(tsm.with_suffix(".onnx")), str(clips.unseen[0])]

    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr


def test_the_file_tells_where_it_came_from_and_how_it_was_checked(tsm: Path, clips: SyntheticClips):
    for suffix in (".onnx", ".pt2"):
        about = read_description(tsm.with_suffix(suffix))

        assert about.model == "tsm"
        assert about.class_names == NAMES
        assert clips_of(tsm.with_suffix(suffix)).shape == (4, 3, 32, 32)
        digest = hashlib.sha256(tsm.read_bytes()).hexdigest()
        assert about.source == {"file": "best.safetensors", "sha256": digest}
        assert about.config["data"]["short_side"] == 40
        assert about.check is not None
        assert about.check["largest_difference"] <= 1e-4
        assert about.check["random_clips"] == 6
        listed = [line.split()[0] for line in clips.val_list.read_text().splitlines()[:3]]
        assert about.check["videos"] == [Path(name).name for name in listed]


def test_nothing_of_this_machine_is_in_the_graph(tsm: Path):
    source = str(Path(videozoo.__file__).parent).encode()

    for suffix in (".onnx", ".pt2"):
        content = tsm.with_suffix(suffix).read_bytes()
        assert source not in content
        assert b"site-packages" not in content


@pytest.mark.usefixtures("traced_once")
def test_a_graph_with_other_scores_is_not_kept(
    tsm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    earlier = tmp_path / "kept.pt2"
    earlier.write_bytes(b"an earlier export")

    for output, off_by in ((tmp_path / "new.pt2", 2e-4), (earlier, float("nan"))):
        monkeypatch.setattr(exporting, "open_exported", off(off_by))
        with pytest.raises(RunError, match="not written: its scores differ from the model's by"):
            run.export(request(tsm, output=output, overwrite=True))

    assert earlier.read_bytes() == b"an earlier export"
    assert list(tmp_path.iterdir()) == [earlier]


def off(by: float) -> Callable[..., Callable[[Tensor], NDArray[np.float32]]]:
    def opened(*arguments: Any, **more: Any) -> Callable[[Tensor], NDArray[np.float32]]:
        score = open_exported(*arguments, **more)
        return lambda clips: score(clips) + np.float32(by)

    return opened


def test_an_operation_that_pt2_readers_would_refuse_is_not_written():
    class Odd(nn.Module):
        def forward(self, clips: Tensor) -> Tensor:
            return clips.float().erfinv()

    program = torch.export.export(Odd(), (torch.zeros(2, 3),))
    with pytest.raises(RunError, match=r"uses torch.ops.aten.erfinv.default, .* --format onnx"):
        exporting._refuse_unknown(program)


def test_export_does_not_write_over_a_file_unasked(tsm: Path):
    with pytest.raises(RunError, match=r"best.onnx: exists; pass --overwrite"):
        run.export(request(tsm))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"output": Path("a.pt2"), "format": "onnx"}, "format onnx ends in .onnx"),
        ({"output": Path("a.bin")}, "format onnx ends in .onnx"),
    ],
)
def test_a_suffix_must_agree_with_the_format(more: dict[str, Any], message: str, tsm: Path):
    with pytest.raises(UsageError, match=message):
        run.export(request(tsm, **more))


def test_an_exported_file_is_not_exported_again(tsm: Path):
    with pytest.raises(WeightsError, match="exported already"):
        run.export(request(tsm.with_suffix(".pt2"), format="onnx"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("predict.num_segments=8", "predict.num_segments is 8, but this graph was exported for 4"),
        ("predict.crop_size=40", "predict.crop_size is 40, but this graph was exported for 32"),
        ("data.crop_size=40", "predict.crop_size is 40, but this graph was exported for 32"),
        ("model.num_segments=8", "model.num_segments is 4 in this exported graph and cannot be 8"),
        ("data.mean=[0.5,0.5,0.5]", "data.mean is .* in this exported graph and cannot be"),
        ("model.dept=18", "model.dept is None in this exported graph"),
    ],
)
def test_what_is_fixed_in_the_graph_cannot_be_asked_otherwise(
    override: str, message: str, tsm: Path, clips: SyntheticClips
):
    predict = PredictRequest(
        source=ConfigSource(overrides=(override,)),
        weights=str(tsm.with_suffix(".onnx")),
        inputs=(str(clips.unseen[0]),),
    )
    with pytest.raises(ConfigError, match=message):
        asking.predict(predict)


def test_another_number_of_segments_can_be_exported(weights: Callable[..., Path]):
    path = weights("tsn", SETTINGS["tsn"])

    exported = run.export(
        request(path, "predict.num_segments=5", format="torch-export", check=False)
    )

    assert clips_of(exported).num_steps == 5
    assert videozoo.load(exported).config.model.num_segments == 5


def test_a_configuration_may_be_named_with_an_exported_file(
    tsm: Path, clips: SyntheticClips, tmp_path: Path
):
    config = make_config(clips, "tsm", SETTINGS["tsm"], {"top_k": 2})
    other = make_config(clips, "tsn", SETTINGS["tsn"], {})
    (tmp_path / "tsm.yaml").write_text(config.to_yaml())
    (tmp_path / "tsn.yaml").write_text(other.to_yaml())

    exported = tsm.with_suffix(".onnx")
    assert videozoo.load(exported, config=tmp_path / "tsm.yaml").config.predict.top_k == 2
    with pytest.raises(WeightsError, match="made for model 'tsm', not for 'tsn'"):
        videozoo.load(exported, config=tmp_path / "tsn.yaml")


@pytest.mark.usefixtures("traced_once")
def test_videos_for_the_check_can_be_named_and_must_be_readable(
    tsm: Path, clips: SyntheticClips, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output = tmp_path / "a.pt2"
    run.export(request(tsm, output=output, video=clips.unseen[0]))
    about = read_description(output)
    assert about.check is not None
    assert about.check["videos"] == [clips.unseen[0].name]

    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"not a video")
    with pytest.raises(VideoError, match=r"bad\.mp4"):
        run.export(request(tsm, output=tmp_path / "b.pt2", video=bad))

    config = make_config(clips, "tsm", SETTINGS["tsm"], {}).replace("", {"data.val": "no.list"})
    assert exporting._real_clips(config, None, print) is None
    assert "compared on random clips only" in capsys.readouterr().out
