"""Naming no weights, or naming them by what they are: published files, from a local server."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.weights.image_nets import trained_image_net
from tests.weights.server import FileServer, Reply, serve
from videozoo import cli, cli_v1
from videozoo.config import RunConfig, from_layers
from videozoo.errors import UsageError, WeightsError
from videozoo.tasks.loading import config_for_weights, paddle_names, resolve_weights
from videozoo.tasks.requests import ConfigSource, TrainRequest
from videozoo.tasks.starting import start
from videozoo.weights import download
from videozoo.weights.fit import as_paddle
from videozoo.weights.paddle import write_pdparams

TSM = """
model: {name: tsm, num_classes: 4, depth: 18, width: 0.125, num_segments: 2}
data: {train: no.list, val: no.list}
"""
ROOT = Path(__file__).parents[2]


class _Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return vars(os)["system"], ("touch hacked",)


def tiny_tsm() -> tuple[RunConfig, nn.Module]:
    values = {"name": "tsm", "num_classes": 4, "depth": 18, "width": 0.125, "num_segments": 2}
    config = from_layers([("test", {"model": values})])
    torch.manual_seed(0)
    return config, config.spec.build(config.model)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A mirror with a tiny TSM under every name."""
    config, module = tiny_tsm()
    arrays = as_paddle(module.state_dict(), paddle_names(config, "test"))
    write_pdparams(tmp_path / "TSM.pdparams", arrays)
    monkeypatch.delenv("VIDEOZOO_OFFLINE")
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    # in this process: starting another for each file takes seconds
    monkeypatch.setattr(download, "check_apart", download._check_content)
    with serve((tmp_path / "TSM.pdparams").read_bytes()) as running:
        monkeypatch.setenv("VIDEOZOO_WEIGHTS_URL", running.url)
        yield running


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    (tmp_path / "tsm.yaml").write_text(TSM)
    return tmp_path / "tsm.yaml"


def ask(pretrain: str | None, *, resume: bool = False, or_fresh: bool = False) -> TrainRequest:
    return TrainRequest(
        source=ConfigSource(),
        save_dir=Path("run"),
        pretrain=pretrain,
        pretrain_or_fresh=or_fresh,
        resume=resume,
    )


def test_a_name_is_downloaded_once(server: FileServer, tmp_path: Path):
    first = resolve_weights("tsm-kinetics400-2019")
    second = resolve_weights("TSM-Kinetics400-2019")

    assert first == second == tmp_path / "cache" / "weights" / "TSM.pdparams"
    assert server.paths == ["/video_classification/TSM.pdparams"]


def test_a_file_of_that_name_comes_first(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tsm-kinetics400-2019").write_bytes(server.content)

    assert resolve_weights("tsm-kinetics400-2019") == Path("tsm-kinetics400-2019")
    assert server.paths == []


def test_what_2019_downloaded_is_used(server: FileServer, tmp_path: Path):
    old = tmp_path / "home" / ".paddle" / "weights" / "TSM.pdparams"
    old.parent.mkdir(parents=True)
    old.write_bytes(server.content)

    assert resolve_weights("tsm-kinetics400-2019") == old
    assert server.paths == []


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(WeightsError, match=r"did you mean tsm-kinetics400-2019\?"):
        resolve_weights("tsm-kinetics-2019")


def test_without_weights_the_published_ones_of_the_configuration_are_meant(
    server: FileServer, config_file: Path
):
    trained = config_for_weights(ConfigSource(path=config_file), None)

    assert (trained.config.name, trained.path.name) == ("tsm", "TSM.pdparams")
    with pytest.raises(UsageError, match="no weights: pass --weights"):
        config_for_weights(ConfigSource(), None)


def test_the_command_lines_take_them(
    server: FileServer,
    config_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    """As far as the missing list of videos, which comes after the weights."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "checkpoints" / "TSM").mkdir(parents=True)

    assert cli.main(["eval", "--config", str(config_file)]) == 1
    said = capsys.readouterr().err
    assert f"downloading {server.url}/video_classification/TSM.pdparams" in said
    assert cli_v1.evaluate(["--model_name=TSM", f"--config={config_file}", "--use_gpu=False"]) == 1
    assert "your own run: --weights=data/checkpoints/TSM" in capsys.readouterr().err.replace(
        "\\", "/"
    )
    assert len(server.paths) == 1


def test_offline_the_message_says_what_to_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    config = str(ROOT / "configs" / "tsm.yaml")

    assert cli.main(["predict", "a.mp4", "--config", config]) == 1

    said = capsys.readouterr().err
    assert "https://paddlemodels.bj.bcebos.com/video_classification/TSM.pdparams" in said
    assert f"put it at {tmp_path / 'weights' / 'TSM.pdparams'}" in said


def test_neither_weights_nor_configuration_is_a_mistake_of_the_command_line(
    capsys: pytest.CaptureFixture[str],
):
    assert cli.main(["predict", "a.mp4"]) == 2
    assert "--config NAME for the published weights" in capsys.readouterr().err


def test_default_starts_from_what_was_published(server: FileServer, tmp_path: Path):
    """The archive of an image network, as 2019 had it; here one of another depth."""
    config, module = tiny_tsm()
    image_net = trained_image_net(18).state_dict()
    torch.save(image_net, tmp_path / "net.pth")
    server.content = (tmp_path / "net.pth").read_bytes()  # any kind of weights will do
    said: list[str] = []

    start(module, config, ask("default"), say=said.append)

    assert server.paths == ["/video_classification/ResNet50_pretrained.tar.gz"]
    assert said[0].startswith("starting from ")
    stem = module.state_dict()["backbone.stem.conv.weight"]
    assert torch.equal(stem, image_net["conv1.weight"])


@pytest.mark.parametrize(
    "request_", [ask(None), ask("none"), ask("default", resume=True, or_fresh=True)]
)
def test_fresh_and_resumed_trainings_ask_nobody(server: FileServer, request_: TrainRequest):
    config, module = tiny_tsm()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    said: list[str] = []

    start(module, config, request_, say=said.append)

    assert (said, server.paths) == ([], [])
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def full_size_tsm() -> RunConfig:
    return from_layers([("test", {"model": {"name": "tsm"}})])


def test_2019_lines_go_on_from_fresh_weights_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    said: list[str] = []

    start(nn.Identity(), full_size_tsm(), ask("default", or_fresh=True), say=said.append)

    assert len(said) == 1
    assert said[0].startswith("WARNING: ResNet50_pretrained.tar.gz: not downloaded yet")
    assert "the 2019 library started this training from them; this one starts from FRESH" in said[0]
    assert "--pretrain=FILE, or --pretrain=none" in said[0]
    with pytest.raises(WeightsError, match="not downloaded yet"):
        start(nn.Identity(), full_size_tsm(), ask("default"), say=said.append)


def test_2019_lines_with_a_dead_server_go_on_too(server: FileServer):
    server.always = Reply(status=404)
    said: list[str] = []

    start(nn.Identity(), full_size_tsm(), ask("default", or_fresh=True), say=said.append)

    assert "the server says 404" in said[0]


def test_2019_lines_of_another_depth_ask_nobody(server: FileServer):
    config, module = tiny_tsm()
    said: list[str] = []

    start(module, config, ask("default", or_fresh=True), say=said.append)

    assert said == [
        "note: pretrained weights were published for depth 50 only, this is 18 x 0.125; "
        "starting from fresh weights"
    ]
    assert server.paths == []


@pytest.mark.parametrize(
    ("given", "pretrain", "or_fresh"),
    [([], "default", True), (["--pretrain=none"], "none", False), (["--pretrain=a"], "a", False)],
)
def test_the_2019_line_asks_for_the_default_unless_told_otherwise(
    config_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
    pretrain: str,
    or_fresh: bool,
):
    seen: list[TrainRequest] = []
    monkeypatch.chdir(config_file.parent)
    monkeypatch.setattr("videozoo.tasks.run.train", seen.append)

    assert cli_v1.train(["--model_name=TSM", "--config=tsm.yaml", *given]) == 0
    assert cli.main(["train", "--config=tsm.yaml", *given]) == 0

    assert (seen[0].pretrain, seen[0].pretrain_or_fresh) == (pretrain, or_fresh)
    assert (seen[1].pretrain, seen[1].pretrain_or_fresh) == (pretrain if given else None, False)


@pytest.mark.parametrize("suffix", [".pth", ".pdparams"])
def test_hostile_weights_are_refused_by_every_command(
    suffix: str,
    tmp_path: Path,
    config_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    bad = f"bad{suffix}"
    if suffix == ".pth":
        torch.save({"w": _Hostile()}, bad)
    else:
        Path(bad).write_bytes(pickle.dumps({"w": _Hostile()}, protocol=2))
    config = ["--config", str(config_file)]
    for line in (
        ["weights", "show", bad],
        ["weights", "convert", bad, "out.safetensors", *config],
        ["weights", "convert", bad, "out.safetensors", "--model", "tsm"],
    ):
        assert cli.main(line) == 1, line
        said = capsys.readouterr().err
        assert f"{bad}: refused: this pickle asks to run" in said, line
    module_config, module = tiny_tsm()
    with pytest.raises(WeightsError, match="refused: this pickle asks to run"):
        start(module, module_config, ask(bad), say=print)

    assert not (tmp_path / "hacked").exists()
    assert not (tmp_path / "out.safetensors").exists()
