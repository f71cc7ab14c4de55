"""Every command that is shown as the next one works as it stands, and files that cannot be read."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import videozoo
from videozoo import cli, cli_v1
from videozoo.commands import command, flag, flags_of_2019, quoted
from videozoo.config import from_layers
from videozoo.data.synthetic.world import World, make_world
from videozoo.errors import DataError
from videozoo.tasks.loading import save_trained

DIM = 64
Capture = pytest.CaptureFixture[str]


def run(*words: str | Path) -> None:
    assert cli.main([str(word) for word in words]) == 0, words


def shown_commands(text: str) -> list[list[str]]:
    """Words of the commands after `next:`, without the program."""
    lines = text.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("next: "))
    found = [shlex.split(lines[first].removeprefix("next: "))]
    for line in lines[first + 1 :]:
        if not line.startswith("      "):
            break
        found.append(shlex.split(line))
    return [words[3:] if words[1:2] == ["-m"] else words[1:] for words in found]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(
        tmp_path_factory.mktemp("a world"),
        num_train=4,
        num_val=2,
        num_test=0,
        seed=0,
        size=36,
        frames_per_second=6,
        min_seconds=8,
        max_seconds=9,
    )


@pytest.fixture(scope="module")
def extracted(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the world, by a tiny TSN and with settings that are not the default ones."""
    model = {"name": "tsn", "num_classes": 3, "depth": 18, "width": 0.125, "num_segments": 2}
    data = {"short_side": 34, "crop_size": 32, "num_workers": 0}
    config = from_layers([("", {"model": model, "data": data})])
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("made")
    save_trained(folder / "tsn.safetensors", config.spec.build(config.model), config, None, {})
    settings = ("--rate", "2.5", "--window-seconds", "0.5", "--set", "predict.crop_size=28")
    words = ("--weights", folder / "tsn.safetensors", *settings)
    for split in ("train", "val"):
        videos = [video.path for video in world.split(split)]
        labels = ("--labels", world.folder / f"tags_{split}.json")
        run("extract", *words, *labels, "--output", folder / split, *videos)
    run("extract", *words, "--output", folder / "all", *(video.path for video in world.videos))
    return folder


def config_for(model: str, world: World, features: Path) -> dict[str, object]:
    """A small configuration that learns from the features."""
    small = {"num_workers": 0}
    if model == "attention_lstm":
        return {
            "model": {
                "name": model,
                "num_classes": 32,
                "streams": [{"name": "rgb", "dim": DIM}],
                "embedding_size": 8,
                "lstm_size": 8,
                "hidden_sizes": [8, 8],
            },
            "data": {"train": str(features / "train"), "val": str(features / "val"), **small},
        }
    if model == "bsn":
        return {
            "model": {
                "name": model,
                "tem": {"feature_dim": DIM, "num_steps": 16, "hidden_size": 8},
                "pem": {"hidden_size": 8},
            },
            "data": {
                "annotations": str(world.folder / "annotations.json"),
                "features": str(features / "all"),
                **small,
            },
        }
    kind = "captions_{}.json" if model == "ets" else "queries_{}.txt"
    parts = {split: str(world.folder / kind.format(split)) for split in ("train", "val")}
    sizes: dict[str, object] = {"feature_dim": DIM, "embedding_size": 8, "gru_size": 8}
    sizes |= {"decoder_size": 8, "word_size": 8}
    if model == "tall":
        sizes = {"visual_dim": 3 * DIM, "sentence_dim": 300, "semantic_size": 8, "hidden_size": 8}
        small |= {"windows": {"seconds": [3.0], "context_seconds": 1.0}}
    data = {**parts, "features": str(features / "all"), **small}
    return {"model": {"name": model, **sizes}, "data": data}


@pytest.mark.parametrize("model", ["attention_lstm", "bsn", "ets", "tall"])
def test_a_training_on_features_ends_with_commands_from_a_video_to_an_answer(
    model: str,
    world: World,
    extracted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
):
    monkeypatch.chdir(tmp_path)
    sections = config_for(model, world, extracted) | {"train": {"epochs": 1, "batch_size": 2}}
    if model == "ets":
        sections["eval"] = {"meteor": False}  # starts Java
    Path("it.yaml").write_text(yaml.safe_dump(sections))
    capsys.readouterr()

    run("train", "--config", "it.yaml", "--save-dir", "a run")

    error = capsys.readouterr().err
    assert error.count("next: ") == 1
    commands = shown_commands(error)
    assert [words[0] for words in commands] == ["eval", "predict"]
    assert commands[1][-1] == str(world.videos[0].path)
    for words in commands:
        run(*words)
    assert Path("a run/eval/eval.json").is_file()
    assert Path(f"a run/predict/{world.videos[0].name}/predictions.json").is_file()


@pytest.mark.parametrize("model", ["bsn", "ets"])
def test_a_validation_tells_what_it_could_not_read(
    model: str,
    world: World,
    extracted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
):
    monkeypatch.chdir(tmp_path)
    words = ("--weights", extracted / "tsn.safetensors", "--rate", "2.5", "--window-seconds", "0.5")
    words += ("--set", "predict.crop_size=28", "--format", "npz", "--output", "f/all")
    run("extract", *words, *(video.path for video in world.videos))
    damaged = Path("f/all/val_00000.npz")
    damaged.write_bytes(b"damaged")
    sections = config_for(model, world, Path("f")) | {"train": {"epochs": 1, "batch_size": 2}}
    Path("it.yaml").write_text(yaml.safe_dump(sections))

    run("train", "--config", "it.yaml", "--save-dir", "run")

    said = " ".join(capsys.readouterr().err.split())
    assert "WARNING: this validation is without 1 item that could not be read: " in said
    assert damaged.name in said


@pytest.mark.parametrize("model", ["attention_lstm", "bsn", "ets", "tall"])
def test_one_damaged_file_of_features_does_not_end_the_others(
    model: str,
    world: World,
    extracted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
):
    monkeypatch.chdir(tmp_path)
    sections = config_for(model, world, extracted) | {"train": {"epochs": 1, "batch_size": 2}}
    if model == "ets":
        sections["eval"] = {"meteor": False}
    Path("it.yaml").write_text(yaml.safe_dump(sections))
    run("train", "--config", "it.yaml", "--save-dir", "run", "--valid-interval", "0")
    labels = ["--labels", world.folder / "tags_val.json"] if model == "attention_lstm" else []
    words = ("--weights", extracted / "tsn.safetensors", "--rate", "2.5", "--window-seconds", "0.5")
    words += ("--set", "predict.crop_size=28", "--format", "npz")
    run("extract", *words, *labels, "--output", "f", *(v.path for v in world.split("val")))
    Path("f/val_00000.npz").write_bytes(b"damaged")
    evaluation = ["--data", "f"] if labels else ["--set", "data.features=f"]
    sentence = ["--sentence", "a red circle"] if model == "tall" else []

    for line in (["eval", *evaluation], ["predict", *sentence, "f"]):
        capsys.readouterr()
        line += ["--weights", "run", "--save-dir", "out"]
        assert cli.main(line) == 1
        error = capsys.readouterr().err
        assert "1 of 2 " in error
        assert "could not be used; the others are done:\n  f/val_00000.npz: " in error
        name = "eval.json" if line[0] == "eval" else "predictions.json"
        facts = json.loads(Path("out", name).read_text())
        assert len(facts["skipped"]) == 1
        assert len(facts.get("predictions", [1])) == 1

        shutil.rmtree("out")
        assert cli.main([*line, "--strict"]) == 1
        assert "val_00000" in capsys.readouterr().err
        assert not Path("out").exists()
        assert cli.main([*line, "--skip-bad"]) == 0

    loaded: Any = videozoo.load("run")
    with pytest.raises(DataError, match="val_00000"):
        loaded.predict("f", *sentence[1:])
    with pytest.warns(UserWarning, match="val_00000"):
        assert len(loaded.predict("f", *sentence[1:], strict=False)) == 1


def test_an_extraction_with_labels_ends_with_a_training(
    world: World,
    extracted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
):
    monkeypatch.chdir(tmp_path)
    videos = [video.path for video in world.split("train")]
    labels = world.folder / "tags_train.json"
    weights = extracted / "tsn.safetensors"
    capsys.readouterr()

    run("extract", "--weights", weights, "--labels", labels, "--output", "two words", *videos)

    (words,) = shown_commands(capsys.readouterr().out)
    small = ["--epochs=1", "--set=model.lstm_size=8", "--set=model.embedding_size=8"]
    run(*words, *small, "--set=model.hidden_sizes=[8,8]", "--set=data.num_workers=0")
    commands = shown_commands(capsys.readouterr().err)
    assert [words[0] for words in commands] == ["predict"]  # nothing was held out
    for words in commands:
        run(*words)


def test_a_training_on_videos_ends_with_commands_that_work(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
):
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        lines = [f"{v.path} {n % 2}\n" for n, v in enumerate(world.split(split))]
        Path(f"{split}.list").write_text("".join(lines))
    model = {"name": "tsn", "num_classes": 2, "depth": 18, "width": 0.125, "num_segments": 2}
    data = {"train": "train.list", "val": "val.list", "num_workers": 0}
    data |= {"short_side": 34, "crop_size": 32}
    settings = {"model": model, "data": data, "train": {"epochs": 1, "batch_size": 2}}
    Path("it.yaml").write_text(yaml.safe_dump(settings))
    capsys.readouterr()

    run("train", "--config", "it.yaml", "--save-dir", "run")

    commands = shown_commands(capsys.readouterr().err)
    assert [words[0] for words in commands] == ["eval", "predict"]
    for words in commands:
        run(*words)


def test_words_are_quoted_as_a_shell_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    assert quoted(tmp_path / "a b" / "c") == "'a b/c'"
    assert quoted("caf\udce9's") == "$'caf\\xe9\\'s'"
    words = shlex.split(command("eval", "--weights", Path("my run")))
    assert words[-3:] == ["eval", "--weights", "my run"]


def test_flags_are_those_of_the_command_line_in_use(tmp_path: Path, capsys: Capture):
    with flags_of_2019():
        assert flag("--save-dir") == "--save_dir"
        assert flag("--resume", Path("a run")) == "--resume='a run'"
    assert flag("--save-dir") == "--save-dir"
    if torch.cuda.is_available():
        pytest.skip("asks for a GPU that is not there")
    settings = "model: {name: tsn, num_classes: 2}\ndata: {train: nothing.list}\n"
    (tmp_path / "it.yaml").write_text(settings)
    config = f"--config={tmp_path / 'it.yaml'}"

    assert cli.main(["train", config, "--device=cuda", f"--save-dir={tmp_path}"]) == 1
    error = capsys.readouterr().err
    assert "--device cuda, but" in error
    assert "pass --device cpu" in error
    assert cli_v1.train(["--model_name=TSN", config, "--use_gpu=True"]) == 1
    assert "pass --use_gpu=False" in capsys.readouterr().err
