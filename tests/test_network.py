"""What may use the network: a file alone decides nothing, and offline means all libraries."""

import io
import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch

import videozoo
from tests.weights.server import FileServer, Reply, serve
from videozoo import cli, network
from videozoo.cli.parser import terminal_question
from videozoo.config import from_layers
from videozoo.data.annotations.sentence_vectors import make_encoder
from videozoo.errors import ConfigError, WeightsError
from videozoo.network import consent, named_in, refusal, without_questions
from videozoo.settings.moments import SentenceSettings
from videozoo.tasks.loading import config_for_weights, save_trained
from videozoo.tasks.requests import ConfigSource
from videozoo.weights.files import save_weights
from videozoo.weights.hub import HubModel
from videozoo.weights.sources import fetch_named

Capture = pytest.CaptureFixture[str]
COMMIT = "0123456789012345678901234567890123456789"
SOURCE = "hf://me/clip"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A hub that has no file; what counts is whether it is asked."""
    for name in ("VIDEOZOO_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    with serve(b"{}") as running:
        running.always = Reply(status=404, headers={"X-Error-Code": "RepoNotFound"})
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("VIDEOZOO_WEIGHTS_URL", running.url)
        yield running


def save(path: Path, name: str, model: dict[str, Any], features: Any, **sections: Any) -> Path:
    config = from_layers([("", {"model": {"name": name, **model}, **sections})])
    torch.manual_seed(0)
    save_trained(path, config.spec.build(config.model), config, None, {}, features)
    return path


@pytest.fixture
def tagger(tmp_path: Path) -> Path:
    """Weights that say that an encoder of the hub made their features."""
    model = {
        "num_classes": 2,
        "streams": [{"name": "rgb", "dim": 4}],
    }
    features = {
        "title": "CLIP",
        "rate": 2.0,
        "source": {"encoders": [{"encoder": SOURCE}], "video": None},
    }
    return save(tmp_path / "w.safetensors", "probe", model, features)


def predict(tmp_path: Path, weights: Path, *more: str) -> int:
    (tmp_path / "v.mp4").write_bytes(b"never opened")
    return cli.main(["predict", "--weights", str(weights), str(tmp_path / "v.mp4"), *more])


def test_an_encoder_that_only_the_weights_name_is_not_fetched(
    hub: FileServer, tagger: Path, tmp_path: Path, capsys: Capture
):
    assert predict(tmp_path, tagger) == 1

    said = " ".join(capsys.readouterr().err.split())
    assert f"{SOURCE}: cannot be fetched: not on this machine, and only {tagger} names it" in said
    assert f"a file alone decides no download; if you trust it: --encoder {SOURCE}" in said
    assert "--allow-downloads" in said
    assert hub.paths == []


@pytest.mark.parametrize("more", [("--encoder", SOURCE), ("--allow-downloads",)], ids=str)
def test_what_the_user_names_or_agrees_to_is_fetched(
    hub: FileServer, tagger: Path, tmp_path: Path, capsys: Capture, more: tuple[str, ...]
):
    assert predict(tmp_path, tagger, *more) == 1

    assert "no repository me/clip" in capsys.readouterr().err
    assert "/me/clip/resolve/main/config.json" in hub.paths


@pytest.mark.parametrize("by", ["a setting", "a configuration", "a run", "a relative run"])
def test_code_that_only_the_weights_name_is_not_run(
    hub: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, by: str
):
    """Whatever names a model file: settings of an encoder, a configuration, another run."""
    (tmp_path / "net.py").write_text("open('owned', 'w').close()\nSPEC = None\n")
    (tmp_path / "net.yaml").write_text("model: {name: net.py}\n")
    named = {"model": "/a/net.py", "config": {"model": {"name": "/a/net.py"}}}
    save_weights(tmp_path / "inner" / "best.safetensors", {"a": torch.zeros(1)}, named)
    (tmp_path / "inner" / "config.yaml").write_text("model: {name: ../net.py}\n")
    entry: dict[str, Any] = {"encoder": "outer/w.safetensors"}
    entry |= {
        "a setting": {"set": ["model.name=net.py"]},
        "a configuration": {"config": "net.yaml"},
        "a run": {"encoder": str(tmp_path / "inner")},
        "a relative run": {"encoder": "inner"},
    }[by]
    model = {"num_classes": 2, "streams": [{"name": "rgb", "dim": 4}]}
    features = {"title": "N", "rate": 2.0, "source": {"encoders": [entry], "video": None}}
    (tmp_path / "outer").mkdir()
    weights = save(tmp_path / "outer" / "w.safetensors", "probe", model, features)

    assert predict(tmp_path, weights, "--allow-downloads") == 1

    said = " ".join(capsys.readouterr().err.split())
    assert f"only {weights} names it, and code that only a file names is not run" in said
    assert "--encoder" in said
    assert not (tmp_path / "owned").exists()
    (tmp_path / "outer" / "config.yaml").write_text("model: {name: probe}\n")  # a run, named whole
    assert predict(tmp_path, weights) == 1
    assert (tmp_path / "owned").exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["y\n", "\n", "no\n"])
def test_a_terminal_is_asked_and_only_yes_is_yes(
    hub: FileServer, tagger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
):
    error = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", error)

    assert predict(tmp_path, tagger) == 1

    asked = f"names {SOURCE}, which is not on this machine. Download it? [y/N]"
    assert error.getvalue().count(asked) == 1
    assert bool(hub.paths) == (answer == "y\n")


def test_nobody_is_asked_without_a_terminal_or_in_one_of_several_processes(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert terminal_question() is None
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert terminal_question() is not None
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert terminal_question() is None


def test_sentence_encoders_that_only_the_weights_name_are_not_fetched(
    hub: FileServer, tmp_path: Path
):
    model = {"visual_dim": 6, "sentence_dim": 4, "hidden_size": 8, "semantic_size": 8}
    data = {"sentences": {"encoder": SOURCE}, "num_workers": 0}
    weights = save(tmp_path / "t.safetensors", "tall", model, None, data=data)
    np.savez(tmp_path / "v.npz", rgb=np.zeros((8, 2), np.float32), rate=2.0)

    retriever = videozoo.load(str(weights), device="cpu", task="moments")
    with pytest.raises(WeightsError, match=r"only .*t\.safetensors names it") as caught:
        retriever.predict([tmp_path / "v.npz"], "a man runs")
    assert f"the setting data.sentences.encoder={SOURCE}" in str(caught.value)
    assert hub.paths == []

    with network.consent(agreed=True), pytest.raises(WeightsError, match="no repository me/clip"):
        retriever.predict([tmp_path / "v.npz"], "a man runs")
    key = "data.sentences.encoder"
    typed = ConfigSource(overrides=(f"{key}={SOURCE}",))
    assert config_for_weights(typed, str(weights)).config.only_named_in(key) == ""
    stored = config_for_weights(ConfigSource(), str(weights)).config
    assert stored.only_named_in(key) == str(weights)
    assert stored.replace("--x", {"data.num_workers": 0}).only_named_in(key) == str(weights)


def test_published_weights_that_only_a_file_names_are_not_fetched(hub: FileServer):
    with (
        named_in("w.safetensors", instead="--encoder tsm-kinetics400-2019"),
        pytest.raises(WeightsError, match=r"only w.safetensors names it"),
    ):
        fetch_named("tsm-kinetics400-2019")
    assert hub.paths == []


def in_hub_cache(hub_folder: Path, **files: str) -> None:
    inside = hub_folder / "models--me--clip"
    (inside / "refs").mkdir(parents=True)
    (inside / "refs" / "main").write_text(COMMIT)
    (inside / "snapshots" / COMMIT).mkdir(parents=True)
    for name, content in files.items():
        (inside / "snapshots" / COMMIT / name.replace("_", ".")).write_text(content)


def test_what_is_in_the_cache_needs_no_consent(hub: FileServer, tmp_path: Path):
    in_hub_cache(tmp_path / "hub", config_json="{}", model_safetensors="tensors")
    with named_in("w.safetensors", instead="..."):
        model = HubModel(SOURCE, large=("model.safetensors", "index.json"))
        weights, index = model.find("model.safetensors"), model.find("index.json")

        assert weights is not None
        assert index is None
        assert model.find("preprocessor_config.json") is None
        with pytest.raises(WeightsError, match=r"only w\.safetensors names it"):
            model.find("shard-1.safetensors")
    assert hub.paths == []


def test_half_a_model_in_the_cache_is_asked_for_as_a_whole(hub: FileServer, tmp_path: Path):
    in_hub_cache(tmp_path / "hub", config_json="{}")
    with (
        named_in("w.safetensors", instead="..."),
        pytest.raises(WeightsError, match=r"only w\.safetensors names it"),
    ):
        HubModel(SOURCE, large=("model.safetensors", "index.json"))
    assert hub.paths == []


def test_a_question_is_put_once_per_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("VIDEOZOO_OFFLINE")
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return "hf://a" in question

    with consent(ask=ask), named_in("RUN", instead="--encoder NAME"):
        answers = [refusal(name) for name in ("hf://a", "hf://a", "hf://b", "hf://b")]
        with without_questions():
            assert refusal("hf://c") != ""
    assert [answer == "" for answer in answers] == [True, True, False, False]
    assert len(asked) == 2
    assert refusal("hf://a") == ""  # typed by the user
    with consent(agreed=True), without_questions(), named_in("RUN", instead=""):
        assert refusal("hf://c") == ""


def test_sentence_transformers_loads_from_its_cache_unless_the_user_names_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("VIDEOZOO_OFFLINE")
    loads: list[bool] = []

    class Model:
        def __init__(self, name: str, device: str, local_files_only: bool = False) -> None:
            loads.append(local_files_only)
            if local_files_only:
                raise OSError("not in the cache")

        def get_sentence_embedding_dimension(self) -> int:
            return 3

    package = types.ModuleType("sentence_transformers")
    vars(package)["SentenceTransformer"] = Model
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    settings = SentenceSettings(encoder="sentence-transformers:mini")

    make_encoder(settings, dim=3)
    assert loads == [False]
    with (
        named_in("RUN", instead="--set x"),
        pytest.raises(ConfigError, match="only RUN names it"),
    ):
        make_encoder(settings, dim=3)
    assert loads == [False, True]
    monkeypatch.setenv("VIDEOZOO_OFFLINE", "1")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        make_encoder(settings, dim=3)
    assert loads == [False, True, True]

    local = SentenceSettings(encoder=f"sentence-transformers:{tmp_path}")
    with (
        named_in("w.safetensors", instead="--set x"),
        consent(agreed=True),
        pytest.raises(ConfigError, match=r"may hold code, and only w\.safetensors names it"),
    ):
        make_encoder(local, dim=3)
    assert loads == [False, True, True]
    with (
        named_in("RUN", instead="--set x", may_be_code=True),
        pytest.raises(ConfigError, match="not in the cache"),
    ):
        make_encoder(local, dim=3)
    assert loads == [False, True, True, True]


CHILD = """
import json, os, socket, sys

def refuse(*arguments, **more):
    raise SystemExit(f"the network was used: {arguments}")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
late = sys.argv[1] == "late"
if late:
    import huggingface_hub.constants  # by another library, before videozoo
import videozoo
assert "huggingface_hub" not in sys.modules or late
from videozoo.errors import VideozooError
from videozoo.weights.hub import HubModel
from videozoo.weights.sources import fetch_named
from videozoo.data.annotations.sentence_vectors import make_encoder
from videozoo.settings.moments import SentenceSettings

def said(function, *arguments, **more):
    try:
        function(*arguments, **more)
    except VideozooError as error:
        return str(error)

lines = [
    said(HubModel, "hf://me/clip"),
    said(fetch_named, "hf://me/nets/best.safetensors"),
    said(fetch_named, "tsm-kinetics400-2019"),
    said(make_encoder, SentenceSettings(encoder="sentence-transformers:mini"), dim=3),
]
import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import OfflineModeIsEnabled
try:
    huggingface_hub.HfApi().model_info("me/clip")
except OfflineModeIsEnabled as error:
    lines.append("the hub's client refuses")
switches = [os.environ.get(name) for name in ("TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")]
print(json.dumps([lines, constants.HF_HUB_OFFLINE, switches]))
"""
FAKE = """
import os
from huggingface_hub import constants

class SentenceTransformer:
    def __init__(self, name, device, local_files_only=False):
        assert local_files_only and constants.HF_HUB_OFFLINE and os.environ["HF_HUB_OFFLINE"] == "1"
        raise OSError("not in the cache")
"""


@pytest.mark.parametrize("order", ["first", "late"])
def test_offline_holds_for_every_library_underneath(tmp_path: Path, order: str):
    (tmp_path / "sentence_transformers.py").write_text(FAKE)
    environment = {**os.environ, "VIDEOZOO_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        environment.pop(name, None)
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])

    done = subprocess.run(
        [sys.executable, "-c", CHILD, order],
        env=environment | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    lines, is_offline, switches = json.loads(done.stdout)
    assert "downloads are switched off" in lines[0]
    assert "downloads are switched off" in lines[1]
    assert "downloads are switched off" in lines[2]
    assert "not in the cache" in lines[3]
    assert lines[4:] == ["the hub's client refuses"]
    assert is_offline is True
    assert switches == ["1", "1"]


def test_an_encoder_that_only_a_resumed_run_names_is_not_fetched(
    hub: FileServer, tmp_path: Path, capsys: Capture
):
    for name in ("a/1.mp4", "a/2.mp4", "b/3.mp4", "b/4.mp4"):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clips" / name).write_bytes(b"never opened")
    data = {"videos": str(tmp_path / "clips"), "encoder": [SOURCE], "rate": 2.0}
    model = {"name": "probe", "num_classes": 2, "streams": [{"name": "rgb", "dim": 4}]}
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(json.dumps({"model": model, "data": data}))

    assert cli.main(["train", "--resume", str(run)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"only {run / 'config.yaml'} names it, and a file alone decides no download" in said
    assert hub.paths == []

    assert cli.main(["train", "--config", str(run / "config.yaml"), "--save-dir", "new"]) == 1
    assert "no repository me/clip" in capsys.readouterr().err
    assert hub.paths != []
