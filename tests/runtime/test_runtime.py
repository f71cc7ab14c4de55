"""Bundles in the runtime: no torch, nothing of others believed, answers as `predict` gives them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.data.test_clips import make_video
from tests.runtime import bundles
from videozoo import runtime, safe_sums
from videozoo.errors import DataError, RunError, UsageError, WeightsError
from videozoo.ops.byte_resize import resize_bytes
from videozoo.results import VideoLabels
from videozoo.runtime import __main__ as command
from videozoo.tasks import bundling

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

_ONLY = """
import importlib.abc, sys
ALLOWED = {"videozoo", "numpy", "av", "PIL", "onnxruntime", "flatbuffers", "google", "packaging"}
class Only(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        head = name.partition(".")[0]
        if head not in ALLOWED and head not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Only())
"""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "a.mp4"
    make_video(path, frames=6, width=32, height=24)
    return path


def test_the_runtime_needs_numpy_pyav_pillow_and_onnxruntime_alone(tmp_path: Path, video: Path):
    bundle = bundles.classifier(tmp_path / "b")
    code = f"""{_ONLY}
import json
from videozoo.runtime import load
from videozoo.runtime.__main__ import main
found = load({str(bundle)!r}).predict({str(video)!r})
assert "torch" not in sys.modules and "pydantic" not in sys.modules
print(json.dumps(found.to_dict()))
sys.exit(main([{str(bundle)!r}, {str(video)!r}, "--output", {str(tmp_path / "out.json")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    here = runtime.load(bundle).predict(video)
    assert isinstance(here, VideoLabels)
    assert [one["name"] for one in found["labels"]] == [one.name for one in here.labels]
    np.testing.assert_allclose(
        [one["score"] for one in found["labels"]], [one.score for one in here.labels], atol=1e-6
    )
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["predictions"][0]["top"][0]["class"] == here.labels[0].name
    assert written["weights_sha256"] == "0" * 64


def test_frames_are_scaled_without_torch_to_the_same_bytes():
    rng = np.random.RandomState(0)
    shapes = [(24, 32, 10, 13), (7, 5, 20, 9), (1, 9, 4, 4), (64, 48, 48, 48), (50, 60, 3, 60)]
    for height, width, new_height, new_width in shapes:
        frames = rng.randint(0, 256, (2, height, width, 3)).astype(np.uint8)
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
        for name in ("bilinear", "bicubic"):
            for antialias in (True, False):
                options: dict[str, Any] = {"mode": name, "antialias": antialias}
                size = (new_height, new_width)
                theirs = functional.interpolate(pixels, size=size, align_corners=False, **options)
                ours = resize_bytes(frames, *size, interpolation=name, antialias=antialias)
                np.testing.assert_array_equal(ours, theirs.permute(0, 2, 3, 1).numpy())


def test_several_videos_without_one_that_cannot_be_read(
    tmp_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
):
    bundle = bundles.classifier(tmp_path / "b")
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    assert command.main([str(bundle), str(video), str(bad), str(tmp_path / "gone.mp4")]) == 1
    told = capsys.readouterr()
    facts = json.loads(told.out)
    assert [row["video"] for row in facts["predictions"]] == [str(video)]
    assert len(facts["skipped"]) == 2
    assert "gone.mp4" in facts["skipped"][0]
    assert "failed: " in told.err
    with pytest.raises(DataError, match=r"gone\.mp4: no such file"):
        runtime.load(bundle).predict([video, tmp_path / "gone.mp4"])
    with pytest.warns(UserWarning, match=r"bad\.mp4"):
        assert len(runtime.load(bundle).predict([video, bad], strict=False)) == 1


def test_a_folder_stands_for_the_videos_in_it(tmp_path: Path, video: Path):
    model = runtime.load(bundles.classifier(tmp_path / "b"))
    single = model.predict(video)
    (of_folder,) = model.predict(video.parent)
    assert of_folder == single
    with pytest.raises(UsageError, match="not for Means"):
        model.predict(video, sentences="a red ball")


def test_a_bundle_that_was_damaged_or_changed_is_refused(tmp_path: Path, video: Path):
    def refused(name: str, match: str) -> None:
        with pytest.raises(WeightsError, match=match):
            runtime.load(tmp_path / name)

    graph = bundles.classifier(tmp_path / "flipped") / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[-30] ^= 1
    graph.write_bytes(content)
    refused("flipped", "is not the file that was written there")
    (bundles.classifier(tmp_path / "cut") / "model.onnx").unlink()
    refused("cut", "copy all of it")
    bundle = bundles.classifier(tmp_path / "text")
    text = (bundle / "bundle.json").read_text()
    (bundle / "bundle.json").write_text(text.replace("red", "rot"))
    refused("text", "is not the file that was written there")
    (bundles.classifier(tmp_path / "sums") / safe_sums.NAME).unlink()
    refused("sums", "has no sum of it")
    refused("none", "no bundle")
    (tmp_path / "sums" / "link.onnx").symlink_to(graph)
    bundles.write(tmp_path / "sums", bundles.DESCRIPTION | {"clips": _clips(file="link.onnx")})
    refused("sums", "outside its folder")


def _clips(**changes: Any) -> dict[str, Any]:
    return bundles.DESCRIPTION["clips"] | changes


_HUGE = {"num_steps": 4000, "short_side": 8000, "crop_size": 8000}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"version": 2}, "which is newer; update videozoo"),
        ({"format": "other"}, "format is 'other', expected videozoo-bundle"),
        ({"task": "cooking"}, "task is 'cooking', expected classification or"),
        ({"class_names": "red"}, "class_names is 'red', expected a list of texts"),
        ({"clips": {"file": "../b/model.onnx"}}, "no sum of it|outside its folder"),
        ({"clips": {"file": "/etc/hostname"}}, "outside its folder"),
        ({"clips": {"top_k": 0}}, "top_k is 0, expected a whole number from 1"),
        ({"clips": {"top_k": True}}, "top_k is True, expected a whole number"),
        ({"clips": {"least_score": float("nan")}}, "least_score is nan, expected a number"),
        ({"clips": {"views": {}}}, "clips: views: num_crops is not there, expected a whole"),
        ({"clips": {"views": _clips()["views"] | {"num_clips": 10**9}}}, "num_clips is 1000000000"),
        ({"clips": {"views": _clips()["views"] | _HUGE}}, "asks for 4 x 4000 x 3 x 8000 x 8000"),
        ({"clips": {"views": _clips()["views"] | {"num_steps": 4}}}, "but its description says"),
    ],
)
def test_a_description_that_cannot_be_is_refused(
    tmp_path: Path, changes: dict[str, Any], match: str
):
    bundle = bundles.classifier(tmp_path / "b", **changes)
    with pytest.raises(WeightsError, match=match):
        runtime.load(bundle)


def test_names_are_as_many_as_the_graph_has_classes(tmp_path: Path, video: Path):
    model = runtime.load(bundles.classifier(tmp_path / "b", class_names=["red", "green"]))
    with pytest.raises(WeightsError, match=r"\(1, 3\) for 1 views and 2 names"):
        model.predict(video)


def test_the_command_tells_what_is_wrong_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert command.main([str(tmp_path), "a.mp4"]) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: no bundle: there is no bundle.json in it; "
        "`videozoo export --bundle` writes one\n"
    )
    with pytest.raises(SystemExit, match="2"):
        command.main([str(tmp_path)])


def test_a_bundle_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    old = tmp_path / "tsm.bundle"
    old.mkdir()
    (old / "bundle.json").write_text("{}")
    rename = Path.rename

    def fails(path: Path, target: Path) -> Path:
        if path.parent.name.startswith(".tsm.bundle") and path.name == old.name:
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(RunError, match="No space left"), bundling.folder_written_aside(old) as new:
        (new / "bundle.json").write_text("new")

    assert [each.name for each in tmp_path.iterdir()] == ["tsm.bundle"]
    assert (old / "bundle.json").read_text() == "{}"
