"""`videozoo push` and `card`: what is sent, what is refused, and what others get of it."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import huggingface_hub.constants
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from tests.tasks.tiny_runs import MODELS, answering, make_world, training, write_config
from tests.untrained import untrained_tsm
from tests.weights.hub_server import TOKEN, StubHub, StubRepository, serve_hub
from videozoo import cli
from videozoo.config import from_layers
from videozoo.errors import VideozooError, WeightsError
from videozoo.network import named_in
from videozoo.tasks.kept_encoder import open_encoder
from videozoo.tasks.loading import config_for_weights, resolve_weights, save_trained
from videozoo.tasks.requests import ConfigSource
from videozoo.weights.files import copy_described, read_metadata
from videozoo.weights.hub_runs import pinned, read_manifest, reference_of

Capture = pytest.CaptureFixture[str]
NAME = "hf://me/tsm"
SENT = {
    *("README.md", "SHA256SUMS", "best.safetensors", "class_names.json", "config.yaml"),
    "videozoo.json",
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubHub]:
    for name in ("VIDEOZOO_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)
    with serve_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setattr(constants, "ENDPOINT", running.url)  # as if it were set from the start
        yield running


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with all that a training leaves, and files that nobody else may see."""
    monkeypatch.chdir(tmp_path)
    return make_run(tmp_path / "home-of-mary" / "tsm")


def make_run(path: Path, *, epochs: int = 30) -> Path:
    weights = untrained_tsm(path, bias=9.0)
    about = read_metadata(weights)
    about["config"]["data"] |= {"train": "/data/patients/train.list", "root": "/data/patients"}
    about["config"]["train"] |= {"epochs": 30}
    about["facts"] = {"epoch": 2, "step": 9, "top1": 0.75}
    copy_described(weights, weights, about)
    (path / "config.yaml").write_text(yaml.safe_dump(about["config"]))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    (path / "SHA256SUMS").write_text(f"{digest}  best.safetensors\n")
    names = about["class_names"]
    rows = [{"class": name, "videos": 4, "right": place % 5} for place, name in enumerate(names)]
    facts = {"metrics": {"top1": 0.5, "loss": 1.25}, "videos": 32, "classes": rows, "data": []}
    write_evaluation(path, facts)
    start = {"num_train": 40, "num_held_out": 8, "config": about["config"]}
    (path / "start.json").write_text(json.dumps(start))
    lines = [json.dumps({"kind": "epoch", "epoch": n + 1, "step": n}) for n in range(epochs)]
    (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (path / "last").mkdir()
    (path / "last" / "optimizer.safetensors").write_bytes(b"of the training")
    (path / "log.txt").write_text("mary@example.org")
    (path / "videos").mkdir()
    (path / "videos" / "mary.mp4").write_bytes(b"a video")
    return path


def write_evaluation(run: Path, facts: dict[str, Any]) -> None:
    digest = hashlib.sha256((run / "best.safetensors").read_bytes()).hexdigest()
    (run / "eval").mkdir(exist_ok=True)
    about = {"weights_sha256": digest, **facts}
    (run / "eval" / "eval.json").write_text(json.dumps(about))


def push(run: Path, target: str | Path, *words: str) -> int:
    return cli.main(["push", str(run), str(target), *words])


def files_in(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def hub_files(hub: StubHub, name: str = "me/tsm") -> dict[str, bytes]:
    return hub.repositories[name].files


# --- what leaves the machine -----------------------------------------------------------------


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_folder_gets_the_model_and_no_path_of_this_machine(
    run: Path, tmp_path: Path, capsys: Capture, form: str
):
    target = tmp_path / "out" / "tsm"

    assert push(run, form.format(target), "--licence", "MIT") == 0

    sent, said = files_in(target), capsys.readouterr().out
    assert set(sent) == SENT
    for name, content in sent.items():
        assert f"  {name} " in said
        for secret in (b"mary", b"patients", str(tmp_path).encode()):
            assert secret not in content, (name, secret)
    assert "paths of this machine are left out: data.train, data.val, data.root" in said
    ours, theirs = load_file(run / "best.safetensors"), load_file(target / "best.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    before, after = (config_for_weights(ConfigSource(), str(each)) for each in (run, target))
    assert after.class_names == before.class_names
    assert after.config.model == before.config.model
    assert after.config.data.train is None
    assert after.config.data.short_side == 32


def test_a_dry_run_lists_and_writes_nothing(
    run: Path, hub: StubHub, tmp_path: Path, capsys: Capture
):
    assert push(run, NAME, "--dry-run") == 0
    assert push(run, tmp_path / "out", "--dry-run") == 0

    said = capsys.readouterr().out
    assert "best.safetensors" in said
    assert "licence: not stated" in said
    assert "you alone" in said
    assert "nothing was sent" in said
    assert hub.asked == []
    assert not (tmp_path / "out").exists()


def test_the_hub_gets_a_private_repository_and_gives_the_run_back(
    run: Path, hub: StubHub, monkeypatch: pytest.MonkeyPatch, capsys: Capture
):
    assert push(run, NAME) == 0

    repository = hub.repositories["me/tsm"]
    assert repository.private
    assert set(repository.files) == {*SENT, ".gitattributes"}
    weights = resolve_weights(NAME)
    trained = config_for_weights(ConfigSource(), NAME)
    commit = repository.commits[-1][0]
    assert reference_of(weights) == f"{NAME}@{commit}"
    assert weights.read_bytes() == repository.files["best.safetensors"]
    assert trained.class_names is not None
    assert not trained.config.is_of_run  # it may not name code
    elsewhere = [token for line, token in zip(hub.asked, hub.tokens, strict=True) if "else" in line]
    assert set(elsewhere) == {""}  # another host is not told the token
    assert TOKEN not in "".join(capsys.readouterr())

    hub.asked.clear()
    assert resolve_weights(f"{NAME}@{commit}") == weights
    assert hub.asked == []  # a commit never changes
    monkeypatch.setenv("VIDEOZOO_OFFLINE", "1")
    assert resolve_weights(NAME) == weights
    with pytest.raises(WeightsError, match="not on this machine, and downloads are switched off"):
        resolve_weights("hf://me/other")
    assert push(run, NAME) == 1
    assert "the network is switched off" in capsys.readouterr().err
    assert hub.asked == []


def test_public_is_said(run: Path, hub: StubHub, capsys: Capture):
    assert push(run, NAME, "--public") == 0

    assert not hub.repositories["me/tsm"].private
    assert push(run, NAME) == 0
    assert f"{NAME} is public and stays so" in capsys.readouterr().out


def test_a_later_push_replaces_the_model_and_keeps_a_changed_card(
    run: Path, hub: StubHub, tmp_path: Path, capsys: Capture
):
    assert push(run, NAME, "--licence", "mit") == 0
    repository = hub.repositories["me/tsm"]
    repository.add({**repository.files, "README.md": b"my own words"})

    assert push(run, NAME) == 2
    assert "was shared under mit before; state it again" in capsys.readouterr().err
    assert push(run, NAME, "--licence", "mit") == 0
    assert "README.md was changed on the hub and stays" in capsys.readouterr().out
    assert hub_files(hub)["README.md"] == b"my own words"
    assert push(run, NAME, "--licence", "mit", "--overwrite") == 0
    assert b"# tsm" in hub_files(hub)["README.md"]

    folder = tmp_path / "out"
    assert push(run, folder) == 0
    (folder / "README.md").write_text("my own words")
    (folder / "notes.txt").write_text("mine")
    assert push(run, folder) == 0
    assert (folder / "README.md").read_text() == "my own words"
    assert (folder / "notes.txt").read_text() == "mine"


def test_files_that_a_new_version_does_not_have_go(run: Path, hub: StubHub):
    assert push(run, NAME) == 0
    repository = hub.repositories["me/tsm"]
    about = json.loads(repository.files["videozoo.json"])
    about["files"].append({"path": "encoder/encoder.json", "size": 2, "sha256": "0" * 64})
    old = {"videozoo.json": json.dumps(about).encode(), "encoder/encoder.json": b"{}"}
    repository.add({**repository.files, **old, "pictures/a.png": b"theirs"})

    assert push(run, NAME) == 0
    assert "encoder/encoder.json" not in hub_files(hub)
    assert hub_files(hub)["pictures/a.png"] == b"theirs"


# --- what is refused -------------------------------------------------------------------------


def test_a_path_in_words_stops_the_sharing(run: Path, tmp_path: Path, capsys: Capture):
    about = read_metadata(run / "best.safetensors")
    about["facts"]["remark"] = f"made of {run}/videos"
    copy_described(run / "best.safetensors", run / "best.safetensors", about)
    (run / "SHA256SUMS").unlink()

    assert push(run, tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "not shared: best.safetensors would hold the path" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        ("GET /api/models/me/tsm", 401, "the hub does not accept the token of this machine"),
        ("POST /api/repos/create", 403, "your token may not write there"),
        ("POST /api/repos/create", 404, "the hub knows no me"),
        ("POST /api/repos/create", 409, "it is there already, or is being changed"),
        ("POST /api/models/me/tsm/commit", 412, "it was changed while this was sent"),
        ("POST /api/models/me/tsm/preupload", 403, "your token may not write there"),
        ("POST /me/tsm.git/info/lfs", 413, "the hub takes no more from you"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(
    run: Path, hub: StubHub, capsys: Capture, request_: str, status: int, says: str
):
    hub.refuse[request_] = (status, f"no, {TOKEN}")

    assert push(run, NAME) == 1

    said = capsys.readouterr().err
    assert said.startswith(f"videozoo: {NAME}: not sent: ")
    assert says in said
    assert said.count("\n") == 1
    assert TOKEN not in said


def test_without_token_or_network_nothing_is_tried(
    run: Path, hub: StubHub, monkeypatch: pytest.MonkeyPatch, capsys: Capture
):
    monkeypatch.delenv("HF_TOKEN")
    assert push(run, NAME) == 1
    assert "no token of the hub on this machine (hf auth login" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert push(run, NAME) == 1
    assert "no answer from http://127.0.0.1:9" in capsys.readouterr().err
    assert push(run, f"{NAME}@v2") == 1
    assert "runs are sent to the branch main" in capsys.readouterr().err
    for target in ("https://huggingface.co/me/tsm", "", run, run / "shared"):
        assert push(run, target, "--overwrite") == 2
    assert not (run / "README.md").exists()
    assert hub.asked == []


def test_what_holds_another_model_is_left_alone(
    run: Path, hub: StubHub, staged: dict[str, bytes], tmp_path: Path, capsys: Capture
):
    hub.repositories["me/tsm"] = StubRepository(private=True)
    hub.repositories["me/tsm"].add({"config.json": b"{}", "model.safetensors": b"x"})
    assert push(run, NAME) == 1
    assert "holds other files (config.json, model.safetensors)" in capsys.readouterr().err

    other = json.loads(staged["videozoo.json"])
    other |= {"model": "bmn", "title": "BMN"}
    hub.repositories["me/tsm"].add({"videozoo.json": json.dumps(other).encode()})
    assert push(run, NAME) == 1
    assert "holds another model (BMN); choose another name" in capsys.readouterr().err
    assert len(hub.repositories["me/tsm"].commits) == 2
    assert push(run, NAME, "--overwrite") == 0

    other_run = tmp_path / "training"
    other_run.mkdir()
    (other_run / "config.yaml").write_text("model: {name: tsm}")
    assert push(run, other_run, "--overwrite") == 1
    assert "holds a run that was not shared" in capsys.readouterr().err
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    assert push(run, tmp_path / "notes") == 1
    assert "holds other files" in capsys.readouterr().err


def test_a_run_that_is_not_finished_is_refused(tmp_path: Path, capsys: Capture):
    run = make_run(tmp_path / "tsm", epochs=3)
    target = tmp_path / "out"

    assert push(run, target) == 1
    assert "not finished: 3 of 30 epochs; finish it (" in capsys.readouterr().err
    assert push(run, target, "--unfinished") == 0
    assert "- 3 epochs of 30 that were planned" in (target / "README.md").read_text()

    assert push(tmp_path / "nowhere", target) == 1
    assert push(tmp_path, target) == 1
    said = capsys.readouterr().err
    assert "there is no such folder" in said
    assert "holds no run" in said
    (run / "best.safetensors").unlink()
    assert push(run, target) == 1
    assert "has not finished an epoch yet" in capsys.readouterr().err


def test_a_run_that_is_being_trained_is_refused(run: Path, tmp_path: Path, capsys: Capture):
    line = "import sys; from pathlib import Path; from videozoo.engine.run_lock import hold; "
    line += "hold(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", line, str(run)]
    with subprocess.Popen(words, stdin=PIPE, stdout=PIPE) as training_:
        assert training_.stdout is not None
        training_.stdout.readline()
        status = push(run, tmp_path / "out")
        training_.communicate()
    assert status == 1
    assert "is training it; wait for its end" in capsys.readouterr().err


def test_damaged_weights_are_not_sent(run: Path, tmp_path: Path, capsys: Capture):
    content = bytearray((run / "best.safetensors").read_bytes())
    content[-1] ^= 1
    (run / "best.safetensors").write_bytes(content)

    assert push(run, tmp_path / "out") == 1
    assert "is not the file that was written there" in capsys.readouterr().err


# --- what others send ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a run, as they are shared."""
    folder = tmp_path_factory.mktemp("staged")
    assert push(make_run(folder / "tsm"), folder / "out") == 0
    return files_in(folder / "out")


@pytest.fixture
def shared(hub: StubHub, staged: dict[str, bytes]) -> StubRepository:
    hub.repositories["me/tsm"] = StubRepository(private=True)
    hub.repositories["me/tsm"].add(dict(staged))
    return hub.repositories["me/tsm"]


def failure(text: str = NAME) -> str:
    with pytest.raises(VideozooError) as caught:
        resolve_weights(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"path": "best.pth"}, "only settings, names and safetensors are fetched"),
        ({"path": "../best.safetensors"}, "only settings, names and safetensors"),
        ({"path": "/etc/a.safetensors"}, "only settings, names and safetensors"),
        ({"path": "model.py"}, "only settings, names and safetensors"),
        ({"size": 1 << 60}, "is not fetched"),
        ({"size": True}, "is not fetched"),
        ({"size": 12}, "the file has 12"),
        ({"sha256": "0" * 64}, "what the server sent is not the file: sha256"),
        ({"sha256": "x"}, "is no sha256"),
    ],
)
def test_files_that_are_not_as_listed_are_refused(
    shared: StubRepository, tmp_path: Path, change: dict[str, Any], says: str
):
    about = json.loads(shared.files["videozoo.json"])
    about["files"][0] |= change
    shared.add({**shared.files, "videozoo.json": json.dumps(about).encode()})

    assert says in failure()
    commit = shared.commits[-1][0]
    assert not (tmp_path / "cache" / "hub" / "me--tsm" / commit).exists()


def test_a_pickle_by_another_name_is_refused(shared: StubRepository, tmp_path: Path):
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pth")
    content = (tmp_path / "a.pth").read_bytes()
    about = json.loads(shared.files["videozoo.json"])
    about["files"][0] |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    files = {"best.safetensors": content, "videozoo.json": json.dumps(about).encode()}
    shared.add({**shared.files, **files})

    assert "best.safetensors: no safetensors file; other kinds are not taken" in failure()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"format": "videozoo-run", "version": 2}', b"[" * 10**5]
)
def test_a_damaged_list_is_refused(content: bytes):
    with pytest.raises(WeightsError, match=r"videozoo\.json"):
        read_manifest(content, NAME)


def test_what_is_no_run_is_told(hub: StubHub):
    hub.repositories["me/clip"] = StubRepository(private=False)
    hub.repositories["me/clip"].add({"config.json": b"{}"})

    assert "hf://me/clip: holds no run of videozoo (no videozoo.json)" in failure("hf://me/clip")
    assert "no repository me/nothing, or it is private" in failure("hf://me/nothing")
    assert "no revision v9" in failure("hf://me/clip@v9")


def test_a_run_that_only_a_file_names_is_not_fetched(shared: StubRepository, hub: StubHub):
    hub.asked.clear()
    with named_in("w.safetensors", instead="--encoder"):
        assert "only w.safetensors names it" in failure()
    assert hub.asked == []


def test_a_clip_model_of_the_hub_is_an_encoder(shared: StubRepository):
    encoder = open_encoder(NAME)

    assert pinned(NAME) == encoder.reference
    assert encoder.reference == f"{NAME}@{shared.commits[-1][0]}"


# --- the card --------------------------------------------------------------------------------


def test_the_card_tells_what_was_measured(run: Path, capsys: Capture):
    assert cli.main(["card", str(run), "--for", NAME, "--licence", "MIT"]) == 0

    text = capsys.readouterr().out
    about = ModelCard(text).data.to_dict()
    assert about["license"] == "mit"
    assert about["library_name"] == "videozoo"
    assert about["pipeline_tag"] == "video-classification"
    assert {"videozoo", "tsm"} <= set(about["tags"])
    [result] = about["model-index"][0]["results"]
    assert result["dataset"]["name"] == "data not named (32 videos)"
    assert [(each["type"], each["value"]) for each in result["metrics"]] == [("accuracy", 0.5)]
    for line in (
        "- learnt from 40 videos",
        "| top-1 accuracy | 50.00 % |",
        "95 % interval 33.6 to 66.4 %",
        "On the 8 videos by which the epoch was chosen",
        "Licence: **MIT**",
        f"videozoo predict --weights {NAME} video.mp4",
        "\\<moves left\\>, ",  # names are text and no HTML
        "shorter side scaled to 32 pixels, then the middle 32 x 32",
    ):
        assert line in text
    assert "mary" not in text


def test_figures_of_other_weights_are_not_told(run: Path, capsys: Capture):
    about = json.loads((run / "eval" / "eval.json").read_text())
    (run / "eval" / "eval.json").write_text(json.dumps(about | {"weights_sha256": "0"}))

    assert cli.main(["card", str(run)]) == 0
    text = capsys.readouterr().out
    assert "These weights were not evaluated" in text
    assert "model-index" not in text
    assert "Licence: **not stated**" in text
    assert "license" not in text.split("---")[1]


def test_an_own_licence_and_data_are_named(run: Path, tmp_path: Path, capsys: Capture):
    words = ["--licence", "House rules 2", "--data-name", "Our [kitchen] films"]
    out = tmp_path / "card" / "README.md"
    assert cli.main(["card", str(run), "--out", str(out), *words]) == 0

    front = yaml.safe_load(out.read_text().split("---")[1])
    assert (front["license"], front["license_name"]) == ("other", "house-rules-2")
    assert "Our \\[kitchen\\] films" in out.read_text()
    assert cli.main(["card", str(run), "--out", str(out)]) == 1
    assert "exists; pass --overwrite" in capsys.readouterr().err
    assert cli.main(["card", str(run), "--licence", " "]) == 2
    assert "--licence ' ': expected a name" in capsys.readouterr().err
    assert cli.main(["card", str(run), "--for", "me/tsm"]) == 1
    assert "me/tsm: expected hf://OWNER/NAME" in capsys.readouterr().err


# --- encoders --------------------------------------------------------------------------------


def test_our_encoder_is_sent_and_others_are_named(run: Path, tmp_path: Path, capsys: Capture):
    tagger = tmp_path / "tagger"
    (tagger / "encoder" / "0").mkdir(parents=True)
    (tagger / "encoder" / "2").mkdir()
    (tagger / "encoder" / "0" / "tsm.safetensors").write_bytes(
        (run / "best.safetensors").read_bytes()
    )
    (tagger / "encoder" / "2" / "theirs.onnx").write_bytes(b"an encoder of others")
    entries = [
        {"encoder": str(run / "best.safetensors"), "title": "TSM", "file": "0/tsm.safetensors"},
        {"encoder": "hf://me/clip@v1", "title": "CLIP", "config": "/home/mary/c.yaml"},
        {"encoder": "/home/mary/theirs.onnx", "title": "Theirs", "file": "2/theirs.onnx"},
    ]
    about = {"format": "videozoo-encoder", "version": 1, "encoders": entries}
    (tagger / "encoder" / "encoder.json").write_text(json.dumps(about))
    model = {"name": "probe", "num_classes": 2, "streams": [{"name": "rgb", "dim": 4}]}
    config = from_layers([("", {"model": model})])
    features = {"title": "all", "rate": 2.0, "source": {"video": "/home/mary/a.mp4"}}
    module = config.spec.build(config.model)
    save_trained(tagger / "best.safetensors", module, config, ["a", "b"], {}, features)
    (tagger / "config.yaml").write_text(config.to_yaml())
    out = tmp_path / "out"

    assert push(tagger, out) == 0

    said, sent = capsys.readouterr().out, files_in(out)
    assert [name for name in sent if name.startswith("encoder/")] == [
        name for name in sent if name in ("encoder/encoder.json", "encoder/0/best.safetensors")
    ]
    assert json.loads(sent["encoder/encoder.json"])["encoders"] == [
        {"encoder": "best.safetensors", "title": "TSM", "file": "0/best.safetensors"},
        entries[1] | {"config": "c.yaml"},
        {"encoder": "theirs.onnx", "title": "Theirs"},
    ]
    assert "the encoder Theirs is not written by videozoo and stays here" in said
    assert all(b"mary" not in content for content in sent.values())
    card = sent["README.md"].decode()
    assert "- TSM is part of this, in `encoder/`" in card
    assert "it is `hf://me/clip@v1`, from the hub, under a licence of its own" in card
    assert "Theirs is not part of this, and no address of it is known" in card
    assert f"predict --weights .{3 * ' --encoder ENCODER'} video.mp4" in card  # they replace all


def test_the_file_of_a_model_from_outside_stays_here(tmp_path: Path):
    own = tmp_path / "home-of-mary" / "my_net.py"
    own.parent.mkdir()
    own.write_bytes((Path(__file__).parents[1] / "outside" / "mean_frames.py").read_bytes())
    config = from_layers([("", {"model": {"name": str(own), "num_classes": 2}})])
    run, out = tmp_path / "run", tmp_path / "out"
    module = config.spec.build(config.model)
    save_trained(run / "best.safetensors", module, config, ["a", "b"], {})
    (run / "config.yaml").write_text(config.to_yaml())

    assert push(run, out) == 0

    sent = files_in(out)
    assert set(sent) == SENT
    assert all(b"mary" not in content for content in sent.values())
    assert "predict --weights . --model my_net.py video.mp4" in sent["README.md"].decode()
    trained = config_for_weights(ConfigSource(model=str(own)), str(out))
    assert trained.class_names == ("a", "b")


@pytest.mark.parametrize(
    ("sentences", "flag"),
    [
        ({}, ""),
        ({"encoder": "hf://me/clip"}, " --set data.sentences.encoder=hf://me/clip"),
        ({"encoder": "given", "file": "/data/v.npz"}, " --set data.sentences.file=VECTORS"),
    ],
)
def test_what_makes_vectors_of_sentences_is_named(
    tmp_path: Path, capsys: Capture, sentences: dict[str, str], flag: str
):
    sizes = {"visual_dim": 12, "sentence_dim": 8, "semantic_size": 4, "hidden_size": 4}
    sections = {"model": {"name": "tall", **sizes}, "data": {"sentences": sentences}}
    config = from_layers([("", sections)])
    module = config.spec.build(config.model)
    save_trained(tmp_path / "best.safetensors", module, config, None, {})
    (tmp_path / "config.yaml").write_text(config.to_yaml())

    assert cli.main(["card", str(tmp_path)]) == 0
    line = f'predict --weights .{flag} --sentence "a person opens a door" FEATURES'
    assert line in capsys.readouterr().out


# --- all twelve ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_model_answers_from_the_hub_as_from_its_run(
    model: str, tmp_path: Path, hub: StubHub, capsys: Capture
):
    world = tmp_path / "world"
    world.mkdir()
    make_world(world)
    run = tmp_path / "runs" / model
    assert cli.main(training(write_config(tmp_path, world, model), run)) == 0
    assert push(run, f"hf://me/{model}") == 0
    data = yaml.safe_load((run / "config.yaml").read_text())["data"]
    paths = [key for key in ("annotations", "features") if data.get(key)]
    words = [word for key in paths for word in ("--set", f"data.{key}={data[key]}")]  # not sent
    ours = answering(world, run, model, tmp_path / "ours", *words)[1]
    theirs = answering(world, Path("runs"), model, tmp_path / "theirs", *words)[1]
    theirs = [f"hf://me/{model}" if word == "runs" else word for word in theirs]

    assert cli.main(ours) == 0
    assert cli.main(theirs) == 0

    one, other = (
        json.loads((tmp_path / each / "predict" / "predictions.json").read_text())
        for each in ("ours", "theirs")
    )
    assert one["predictions"] == other["predictions"]
    assert other["weights"].startswith(f"hf://me/{model}@")
    ModelCard(hub_files(hub, f"me/{model}")["README.md"].decode())
