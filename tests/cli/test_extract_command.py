"""The extract command: its flags, what it says, and that its advice works."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from videozoo import cli
from videozoo.config import from_layers
from videozoo.data.synthetic.world import World, make_world
from videozoo.tasks import extraction
from videozoo.tasks.loading import save_trained
from videozoo.tasks.requests import ConfigSource, ExtractRequest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = {"name": "tsn", "num_classes": 3, "depth": 18, "width": 0.125, "num_segments": 2}
    config = from_layers([("", {"model": model, "data": {"short_side": 34, "crop_size": 32}})])
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_trained(path, config.spec.build(config.model), config, None, {})
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    return make_world(
        folder,
        num_train=4,
        num_val=0,
        num_test=0,
        seed=0,
        size=36,
        frames_per_second=6,
        min_seconds=8,
        max_seconds=9,
    )


def test_the_next_command_that_it_shows_works(
    weights: Path,
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(ROOT)
    out, labels = tmp_path / "out", world.folder / "tags_train.json"
    line = ["extract", "--weights", weights, world.folder, "--output", out, "--labels", labels]

    assert cli.main([str(word) for word in line]) == 0

    shown = capsys.readouterr().out
    assert re.search(r"TSN: 4 videos, \d+ vectors of 64, 2 per second; 3\d s of video in", shown)
    assert re.search(rf"written: {out} \(4 videos, pack, fingerprint \w{{16}}\)", shown)
    following = next(text for text in shown.splitlines() if text.startswith("next: "))
    name, *words = shlex.split(following.removeprefix("next: "))
    small = ["--epochs=1", "--batch-size=2", "--save-dir", str(tmp_path / "run")]
    small += [
        "--set=model.hidden_sizes=[8,8]",
        "--set=model.lstm_size=8",
        "--set=model.embedding_size=8",
        "--set=data.num_workers=0",
    ]
    assert Path(name).name == "videozoo"
    assert cli.main([*words, *small]) == 0

    assert cli.main([str(word) for word in line]) == 0
    assert "4 done before, 0 skipped" in capsys.readouterr().out


def test_without_labels_it_says_what_features_are_for(
    weights: Path, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    line = ["extract", "--weights", weights, world.videos[0].path, "--format", "csv"]

    assert cli.main([str(word) for word in [*line, "--output", tmp_path / "out"]]) == 0

    assert "models learn from such features" in capsys.readouterr().out
    assert (tmp_path / "out" / "train_00000.csv").exists()


def test_flags_say_what_to_extract(weights: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[ExtractRequest] = []
    monkeypatch.setattr(extraction, "extract_all", asked.append)
    words = ["a.mp4", "--weights", str(weights), "--output", "out", "--rate", "4", "b.mp4"]
    words += ["--window-seconds=2", "--format=npz", "--labels=l.txt", "--device=cpu"]

    assert cli.main(["extract", *words, "--overwrite", "--skip-bad", "--batch-size=3"]) == 0

    expected = ExtractRequest(
        source=ConfigSource(),
        batch_size=3,
        output=Path("out"),
        weights=str(weights),
        inputs=("a.mp4", "b.mp4"),
        rate=4,
        window_seconds=2,
        format="npz",
        labels=Path("l.txt"),
        device="cpu",
        overwrite=True,
        skip_bad=True,
    )
    assert asked == [expected]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["a.mp4"], 2, "required: --output"),
        (["--output", "out"], 2, "required: VIDEO"),
        (["a.mp4", "--output", "out", "--format", "pak"], 2, "did you mean pack?"),
        (["a.mp4", "--output", "out", "--rates", "2"], 2, "did you mean --rate?"),
        (["a.mp4", "--output", "out", "--rate", "0"], 2, "--rate 0: expected vectors per second"),
        (["a.mp4", "--output", "out", "--batch-size", "0"], 2, "--batch-size 0: expected"),
        (["a.mp4", "--output", "out"], 1, "a.mp4: no such file or folder"),
        (["EMPTY", "--output", "out"], 1, "no videos in this folder"),
    ],
)
def test_wrong_command_lines_are_told_in_a_line(
    words: list[str],
    status: int,
    said: str,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").mkdir()

    assert cli.main(["extract", *words, "--weights", str(weights)]) == status

    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
