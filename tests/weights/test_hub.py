"""`hf://` names, against a server that answers as the hub does."""

import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save_file

from tests.weights.server import FileServer, Reply, serve
from videozoo.errors import WeightsError
from videozoo.weights import hub
from videozoo.weights.sources import fetch_named

COMMIT = "0123456789012345678901234567890123456789"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    save_file({"w": torch.ones(3)}, tmp_path / "best.safetensors")
    monkeypatch.delenv("VIDEOZOO_OFFLINE")
    with serve((tmp_path / "best.safetensors").read_bytes()) as running:
        running.always = Reply(headers={"X-Repo-Commit": COMMIT})
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield running


def failure(name: str) -> str:
    with pytest.raises(WeightsError) as caught:
        fetch_named(name)
    return str(caught.value)


def test_a_file_of_the_hub_is_fetched(server: FileServer):
    path = fetch_named("hf://me/nets/tsm/best.safetensors@v2")

    assert path.name == "best.safetensors"
    assert path.read_bytes() == server.content
    assert server.paths[1] == "/me/nets/resolve/v2/tsm/best.safetensors"


def test_what_was_fetched_is_there_without_a_network(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
):
    path = fetch_named("hf://me/nets/best.safetensors")
    monkeypatch.setenv("VIDEOZOO_OFFLINE", "1")
    server.paths.clear()

    assert fetch_named("hf://me/nets/best.safetensors") == path
    assert "not in the cache, and downloads are switched off" in failure("hf://me/nets/b.pth")
    assert server.paths == []


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("EntryNotFound", "me/nets has no file a.pth"),
        ("RevisionNotFound", "me/nets has no revision v9"),
        ("RepoNotFound", "no repository me/nets, or it is private"),
    ],
)
def test_what_the_hub_does_not_have_is_named(server: FileServer, code: str, says: str):
    server.always = Reply(status=404, headers={"X-Error-Code": code})

    assert says in failure("hf://me/nets/a.pth@v9")


def test_an_unreachable_hub_is_said(server: FileServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()

    assert "not in the cache, and no answer from http://127.0.0.1:9" in failure(
        "hf://me/nets/a.pth"
    )
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("name", ["hf://", "hf://me", "hf://me/nets", "hf://me/nets/../a.pth"])
def test_an_incomplete_name_says_what_is_expected(name: str):
    with pytest.raises(WeightsError, match="expected hf://OWNER/REPOSITORY/PATH/TO/FILE"):
        hub.parse(name)


@pytest.mark.parametrize("file", ["a.bin", "a.pkl", "a.ckpt", "model", "a.safetensors.index.json"])
def test_other_kinds_of_files_are_not_fetched(server: FileServer, file: str):
    assert "only .safetensors, .pth, .pdparams are fetched" in failure(f"hf://me/nets/{file}")
    assert server.paths == []


def test_addresses_are_answered_with_what_can_be_named():
    with pytest.raises(WeightsError, match=r"addresses are not taken.*hf://OWNER"):
        fetch_named("https://example.org/a.pth")


def test_a_model_is_pinned_to_the_commit_of_its_first_file(server: FileServer):
    model = hub.HubModel("hf://me/nets@v2")

    assert (model.repository, model.commit) == ("me/nets", COMMIT)
    found = model.find("model.safetensors")
    assert found is not None
    assert found.read_bytes() == server.content
    assert server.paths[-1] == f"/me/nets/resolve/{COMMIT}/model.safetensors"
    server.always = Reply(status=404, headers={"X-Error-Code": "EntryNotFound"})
    assert model.find("video_preprocessor_config.json") is None
    server.always = Reply(status=403, headers={"X-Error-Code": "GatedRepo"})
    with pytest.raises(
        WeightsError, match=r"hf://me/nets@v2: a.json cannot be fetched: its owners"
    ):
        model.find("a.json")


def test_a_model_that_the_hub_does_not_have_is_named(server: FileServer):
    server.always = Reply(status=404, headers={"X-Error-Code": "RepoNotFound"})
    with pytest.raises(WeightsError, match="no repository me/nets, or it is private"):
        hub.HubModel("hf://me/nets")
    server.always = Reply(status=404, headers={"X-Error-Code": "EntryNotFound"})
    with pytest.raises(WeightsError, match=r"me/nets has no file config.json"):
        hub.HubModel("hf://me/nets")


def test_a_token_is_hidden_before_a_text_is_cut():
    assert hub.in_one_line("x" * 195 + "hf_secret", "hf_secret") == "x" * 195 + "***"
