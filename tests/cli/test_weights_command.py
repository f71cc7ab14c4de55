"""videozoo weights list | show | convert | fetch."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.weights.image_nets import ImageResNet
from tests.weights.server import serve
from tests.weights.test_archive import pack
from tests.weights.test_paddle import record
from torch import nn

from videozoo import cli
from videozoo.config import RunConfig, from_layers
from videozoo.models import list_models, model_spec
from videozoo.tasks.loading import paddle_names, save_trained
from videozoo.tasks.weights import guess_models
from videozoo.weights.files import read_metadata, read_weights
from videozoo.weights.fit import as_paddle
from videozoo.weights.paddle import read_paddle, write_pdparams

GOLDEN = Path(__file__).parents[1] / "golden" / "param_formats"


def tiny(model: str, num_classes: int = 4) -> tuple[RunConfig, nn.Module]:
    values = {"name": model, "num_classes": num_classes, "depth": 18, "width": 0.125}
    config = from_layers([("test", {"model": values})])
    torch.manual_seed(0)
    return config, config.spec.build(config.model)


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    config, module = tiny("tsm")
    save_trained(tmp_path / "best.safetensors", module, config, list("abcd"), {"epoch": 3})
    return tmp_path / "best.safetensors"


def shown(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    capsys.readouterr()
    assert cli.main(["weights", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def failure(capsys: pytest.CaptureFixture[str], *arguments: str | Path, status: int = 1) -> str:
    capsys.readouterr()
    assert cli.main(["weights", *map(str, arguments)]) == status
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def test_the_list_names_each_file_and_whether_it_is_here(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "TSM.pdparams").touch()

    rows = {line.split()[0]: line for line in shown(capsys, "list").splitlines()}

    assert len(rows) == 16
    assert rows["tsm-kinetics400-2019"].split()[1:] == ["tsm", "weights", "top-1", "0.70", "yes"]
    assert "-" in rows["bmn-activitynet-2019"].split()
    only = shown(capsys, "list", "--model", "TSM").splitlines()
    assert [line.split()[0] for line in only[1:]] == [
        "tsm-kinetics400-2019",
        "resnet50-imagenet-2019",
    ]
    assert "nothing was published for a model 'tms'" in failure(capsys, "list", "--model=tms")


def test_our_files_say_what_they_are_of(capsys: pytest.CaptureFixture[str], ours: Path):
    text = shown(capsys, "show", ours)

    assert "safetensors, written by videozoo" in text
    assert "model    tsm, 4 classes: a, b, c, d" in text
    assert "num_segments: 8" in text
    assert "facts    {'epoch': 3}" in text
    assert f"sha256   {hashlib.sha256(ours.read_bytes()).hexdigest()}" in text
    assert "backbone.stem.conv.weight" in text
    assert "more (--all)" in text
    assert shown(capsys, "show", ours, "--all").count("\n") > text.count("\n") + 50


def test_files_of_others_say_what_they_look_like(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    torch.save(ImageResNet(50, num_classes=1000).state_dict(), tmp_path / "net.pth")
    text = shown(capsys, "show", tmp_path / "net.pth")
    assert "PyTorch state dict" in text
    assert "torchvision ResNet-50, 8 channels in the stem, 1,000 classes (for --pretrain)" in text

    config, module = tiny("stnet")
    arrays = as_paddle(module.state_dict(), paddle_names(config, "test"))
    write_pdparams(tmp_path / "STNET.pdparams", arrays)
    text = shown(capsys, "show", tmp_path / "STNET.pdparams")
    assert "PaddlePaddle parameters (.pdparams)" in text
    assert "the tensors of stnet, depth 18" in text
    assert "conv1_weights" in text

    save_file({"evil\x1b[2Jname": torch.ones(2)}, tmp_path / "odd.safetensors")
    text = shown(capsys, "show", tmp_path / "odd.safetensors")
    assert "of no model that videozoo knows" in text
    assert "\x1b" not in text


def test_every_container_of_paddle_is_shown(capsys: pytest.CaptureFixture[str]):
    pickled = shown(capsys, "show", GOLDEN / "weights.pdparams")
    folder = shown(capsys, "show", GOLDEN / "one_file_per_param")
    combined = shown(capsys, "show", next(p for p in (GOLDEN / "combined").iterdir()))

    sizes = {
        line for text in (pickled, folder, combined) for line in text.split("\n") if "size " in line
    }
    assert len(sizes) == 1
    assert "a folder with one file each" in folder
    assert "number 1" in combined


@pytest.mark.parametrize("model", ["tsn", "tsm", "stnet", "nonlocal"])
def test_weights_go_to_2019_and_back_unchanged(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: str
):
    config, module = tiny(model)
    save_trained(tmp_path / "a.safetensors", module, config, list("abcd"), {"epoch": 3})
    (tmp_path / "run.yaml").write_text(config.to_yaml())

    said = shown(capsys, "convert", tmp_path / "a.safetensors", tmp_path / "b.pdparams")
    assert f"{model}, 4 classes" in said
    assert "bit for bit the same" in said
    with (tmp_path / "b.pdparams").open("rb") as file:
        assert set(pickle.load(file)) == {
            place.name for place in paddle_names(config, "test").values()
        }
    line = ["convert", tmp_path / "b.pdparams", tmp_path / "c.safetensors"]
    shown(capsys, *line, "--config", tmp_path / "run.yaml")

    first, _ = read_weights(tmp_path / "a.safetensors")
    last, metadata = read_weights(tmp_path / "c.safetensors")
    for name, tensor in last.items():
        assert torch.equal(tensor, first[name]), name
    assert metadata["model"] == model
    assert metadata["config"] == read_metadata(tmp_path / "a.safetensors")["config"]
    assert metadata["facts"]["converted_from"] == "b.pdparams"


def test_every_container_is_converted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path / "cache"))
    config, module = tiny("tsn")
    (tmp_path / "run.yaml").write_text(config.to_yaml())
    arrays = as_paddle(module.state_dict(), paddle_names(config, "test"))
    records = {name: record(array) for name, array in sorted(arrays.items())}
    write_pdparams(tmp_path / "pickle", arrays)
    torch.save({"state_dict": module.state_dict()}, tmp_path / "state")
    (tmp_path / "combined").write_bytes(b"".join(records.values()))
    pack(tmp_path / "net.tar.gz", {f"net/{name}": content for name, content in records.items()})
    (tmp_path / "folder").mkdir()
    for name, content in records.items():
        (tmp_path / "folder" / name).write_bytes(content)

    for source in ("pickle", "state", "combined", "net.tar.gz", "folder"):
        out = tmp_path / "out" / f"{source}.safetensors"
        shown(capsys, "convert", tmp_path / source, out, "--config", tmp_path / "run.yaml")

        converted, _ = read_weights(out)
        for name, tensor in module.state_dict().items():
            assert torch.equal(converted[name], tensor), (source, name)


def test_a_models_name_will_do_where_its_sizes_can_be_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    """Classes and depth are read off the tensors; what is not told so can be set."""
    config, module = tiny("tsm", num_classes=7)
    arrays = as_paddle(module.state_dict(), paddle_names(config, "test"))
    write_pdparams(tmp_path / "TSM.pdparams", arrays)
    line = ["convert", tmp_path / "TSM.pdparams", tmp_path / "tsm.safetensors"]

    assert "which model it is of (the tensors of tsm, depth 18 or tsn" in failure(capsys, *line)
    assert "tsm, 7 classes" in shown(capsys, *line, "--model=TSM", "--set=model.width=0.125")

    stored = read_metadata(tmp_path / "tsm.safetensors")["config"]["model"]
    assert (stored["depth"], stored["num_classes"], stored["width"]) == (18, 7, 0.125)


def test_nothing_is_overwritten_unasked(
    capsys: pytest.CaptureFixture[str], ours: Path, tmp_path: Path
):
    out = tmp_path / "b.pdparams"
    out.write_bytes(b"precious")

    assert "is there already" in failure(capsys, "convert", ours, out)
    assert "is there already" in failure(capsys, "convert", ours, ours, "--overwrite")
    assert out.read_bytes() == b"precious"
    shown(capsys, "convert", ours, out, "--overwrite")
    assert len(read_paddle(out)) > 50


def test_a_failed_conversion_leaves_what_was_there(
    capsys: pytest.CaptureFixture[str],
    ours: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    out = tmp_path / "b.pdparams"
    out.write_bytes(b"precious")

    def wrong(state: object, names: object) -> dict[str, np.ndarray]:
        arrays = as_paddle(state, names)  # pyright: ignore[reportArgumentType]
        arrays["conv1_weights"] = arrays["conv1_weights"] + np.float32(1e-6)
        return arrays

    monkeypatch.setattr("videozoo.tasks.weights.as_paddle", wrong)

    assert "was not read back as it was" in failure(capsys, "convert", ours, out, "--overwrite")
    assert out.read_bytes() == b"precious"
    assert {p.name for p in tmp_path.iterdir()} == {"best.safetensors", "b.pdparams"}


def test_what_cannot_be_converted_says_why(
    capsys: pytest.CaptureFixture[str], ours: Path, tmp_path: Path
):
    torch.save(ImageResNet(18).state_dict(), tmp_path / "net.pth")

    out = tmp_path / "out.safetensors"
    said = failure(capsys, "convert", tmp_path / "net.pth", out, "--model", "tsn")
    assert "knows images" in said
    said = failure(capsys, "convert", ours, tmp_path / "out.onnx", status=2)
    assert "expected NAME.safetensors or NAME.pdparams" in said
    assert "no such weights file" in failure(capsys, "convert", tmp_path / "gone", out)
    assert not out.exists()


def test_names_are_fetched_into_the_cache(
    capsys: pytest.CaptureFixture[str],
    ours: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("VIDEOZOO_OFFLINE")
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    with serve(ours.read_bytes()) as server:
        monkeypatch.setenv("VIDEOZOO_WEIGHTS_URL", server.url)
        names = ["bmn-activitynet-2019", "ets-activitynet-2019"]
        assert "did you mean bmn-activitynet-2019?" in failure(
            capsys, "fetch", names[1], "bmn-activitynt-2019"
        )
        assert server.paths == []  # all names are looked at first

        lines = shown(capsys, "fetch", *names).splitlines()

        assert lines == [
            str(tmp_path / "cache" / "weights" / n) for n in ("BMN.pdparams", "ETS.pdparams")
        ]
        assert server.paths == ["/video_detection/BMN.pdparams", "/video_caption/ETS.pdparams"]


@pytest.mark.parametrize("model", [name for name in list_models() if model_spec(name).paddle])
def test_every_model_is_known_by_its_tensors(model: str):
    config = from_layers([("test", {"model": {"name": model}})])
    places = paddle_names(config, "test")

    assert model in [name for name, _ in guess_models(list(places))]
    assert model in [name for name, _ in guess_models([p.name for p in places.values()])]
