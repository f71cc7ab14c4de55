"""Configurations by name, from anywhere, and new files to start from."""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from videozoo import cli
from videozoo.config import RunConfig, load_config
from videozoo.data.synthetic.clips import make_clips
from videozoo.packaged_configs import config_names
from videozoo.types import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


def test_a_configuration_is_found_by_its_name(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["config", "show", "demo/folder"]) == 0
    assert "short_side: 128" in capsys.readouterr().out
    assert cli.main(["models", "tsm", "--config", "demo/tsm"]) == 0
    small = capsys.readouterr().out
    assert cli.main(["models", "tsm", "--config", "tsm"]) == 0
    assert capsys.readouterr().out != small


def test_a_file_wins_over_a_name_and_a_folder_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "tsm").write_text("model: {name: tsm, num_classes: 77}\n")
    (tmp_path / "tsn").mkdir()

    assert cli.main(["config", "show", "tsm"]) == 0
    assert "num_classes: 77" in capsys.readouterr().out
    assert cli.main(["config", "show", "tsn"]) == 0
    assert "num_classes: 400" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("tms", "tsm"),
        ("TSM", "tsm"),
        ("demo/foldr", "demo/folder"),
        ("configs/stnet.yaml", "stnet"),
        ("mine.yml", "mine.yaml"),
    ],
)
@pytest.mark.parametrize("line", ["train --config", "models tsm --config", "config show"])
def test_what_is_neither_file_nor_name_gets_the_nearest(
    given: str, near: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "mine.yaml").write_text("model: {name: tsm}\n")

    assert cli.main([*line.split(), given]) == 1

    hint = capsys.readouterr().err.partition("did you mean ")[2]
    assert near in hint.rstrip("?\n").split(" or ")


def test_the_list_has_every_configuration(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["config", "list"]) == 0

    lines = capsys.readouterr().out.splitlines()
    files = (ROOT / "configs").rglob("*.yaml")
    shipped = {p.relative_to(ROOT / "configs").with_suffix("").as_posix() for p in files}
    assert {line.split()[0] for line in lines} == shipped
    assert all(len(line.split()) > 2 for line in lines)


@pytest.mark.parametrize("name", config_names())
def test_a_new_file_gives_the_same_run_and_says_what_every_key_means(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["config", "new", name]) == 0

    text = capsys.readouterr().out
    (tmp_path / "my.yaml").write_text(text)
    packaged, mine = load_config(Path(name)), load_config(tmp_path / "my.yaml")
    assert mine.as_dict() == packaged.as_dict()
    assert asked(mine) == asked(packaged)
    # the same again with every default switched on
    (tmp_path / "all.yaml").write_text(switched_on(text))
    assert load_config(tmp_path / "all.yaml").as_dict() == packaged.as_dict()
    written = yaml.safe_load(switched_on(text))
    for section in ("model", "data", "train", "eval", "predict"):
        assert set(written[section]) - {"name"} == set(type(getattr(mine, section)).model_fields)
    assert_each_key_has_its_meaning(text, mine)


def asked(config: RunConfig) -> set[str]:
    """Plain keys that the file sets; some runs depend on whether one is set at all."""
    keys = {tuple(key.split(".")[:2]) for key in config.origins}
    return {
        f"{section}.{key}"
        for section, key in keys
        if not isinstance(getattr(getattr(config, section), key, None), Settings)
    }


def switched_on(text: str) -> str:
    lines = text.splitlines()
    return "\n".join(
        line.replace("#", "", 1) if line.lstrip()[:1] == "#" and line.lstrip()[1:2] != " " else line
        for line in lines
    )


def assert_each_key_has_its_meaning(text: str, config: RunConfig) -> None:
    flat = " ".join(line.strip().removeprefix("# ") for line in text.splitlines())
    for meaning in meanings(config):
        assert meaning in flat


def meanings(config: RunConfig) -> Iterator[str]:
    for section in ("model", "data", "train", "eval", "predict"):
        for field in type(getattr(config, section)).model_fields.values():
            yield " ".join((field.description or "no meaning").split())


def test_a_new_file_may_start_from_one_of_2019(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    old = tmp_path / "old.yaml"
    old.write_text(
        "MODEL: {name: TSM, seg_num: 4, num_classes: 9}\nTRAIN: {epoch: 3, decay_epochs: [2]}\n"
    )

    assert cli.main(["config", "new", "old.yaml"]) == 0

    (tmp_path / "new.yaml").write_text(capsys.readouterr().out)
    assert load_config(tmp_path / "new.yaml").as_dict() == load_config(old).as_dict()


def test_a_small_clip_model_learns_from_a_folder_of_videos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    made = tmp_path / "made"
    make_clips(made, num_train=16, num_val=8, num_test=8, seed=0, num_frames=12)
    for number, line in enumerate((made / "train.list").read_text().splitlines()):
        path, label = line.split()
        folder = tmp_path / "mine" / ("left" if int(label) % 2 else "right")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(made / path, folder / f"{number}.mp4")
    small = ["--set=model.width=0.125", "--set=data.crop_size=32", "--set=data.short_side=40"]
    quick = ["--epochs=1", "--set=data.num_workers=0", "--batch-size=4", "--device=cpu"]

    line = ["train", "--config", "demo/folder", "--data", "mine", "--save-dir", "run"]
    assert cli.main([*line, *small, *quick]) == 0

    stored = load_config(tmp_path / "run" / "config.yaml")
    assert (stored.name, stored.model.num_classes, stored.model.depth) == ("tsm", 2, 18)
    assert "a network from fresh weights on" in capsys.readouterr().err


def test_without_configuration_or_data_nothing_is_trained(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["train"]) == 2
    assert "--config" in capsys.readouterr().err


def test_the_wheel_holds_the_configurations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    build = pytest.importorskip("hatchling.build", reason="hatchling is not installed")
    monkeypatch.chdir(ROOT)

    wheel = build.build_wheel(str(tmp_path))

    held = set(zipfile.ZipFile(tmp_path / wheel).namelist())
    assert {f"videozoo/configs/{name}.yaml" for name in config_names()} <= held
    assert "videozoo/cli/__init__.py" in held
    assert not {name for name in held if not name.startswith(("videozoo/", "videozoo-"))}
