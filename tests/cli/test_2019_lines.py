"""What the 2019 command lines ask for; the tasks themselves are not run here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videozoo import cli_v1
from videozoo.config import load_config
from videozoo.tasks import asking, run

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    "train": cli_v1.train,
    "evaluate": cli_v1.evaluate,
    "predict": cli_v1.predict,
    "export": cli_v1.inference,
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Requests that reached a task, from an empty folder."""
    requests: list[Any] = []
    monkeypatch.chdir(tmp_path)
    for name in SCRIPTS:
        monkeypatch.setattr(asking if name == "predict" else run, name, requests.append)
    return requests


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize(
    ("flag", "model"),
    [
        ("--config=tsm", "tsm"),
        (f"--config={ROOT / 'configs' / 'bsn_pem.yaml'}", "bsn_pem"),
        ("--model_name=STNET", "stnet"),
        ("--model_name=BsnTem", "bsn_tem"),
        ("--model_name=AttentionCluster", "attention_cluster"),
    ],
)
def test_a_model_or_a_configuration_is_enough(
    script: Callable[[list[str]], int], flag: str, model: str, asked: list[Any]
):
    assert script([flag, "--use_gpu=False"]) == 0

    (request,) = asked
    found, packaged = request.source.load(), load_config(Path(model))
    assert (found.name, found.model, found.data) == (model, packaged.model, packaged.data)


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_neither_is_refused(
    script: Callable[[list[str]], int], asked: list[Any], capsys: pytest.CaptureFixture[str]
):
    assert script([]) == 2

    assert not asked
    assert "--model_name=NAME or --config=FILE" in capsys.readouterr().err


def test_what_is_written_has_the_name_of_2019(asked: list[Any], tmp_path: Path):
    old = tmp_path / "old.yaml"
    old.write_text("MODEL: {name: BsnTem}\n")

    assert cli_v1.train([f"--config={old}"]) == 0
    assert cli_v1.inference(["--config=attention_lstm", "--save_dir=out"]) == 0

    assert asked[0].save_dir == Path("data/checkpoints/BsnTem")
    assert asked[1].output == Path("out/AttentionLSTM_model.onnx")


@pytest.mark.parametrize("value", ["one.mp4", "None", ""])
def test_a_2019_file_may_name_one_video(value: str, tmp_path: Path):
    old = tmp_path / "old.yaml"
    old.write_text(f"MODEL: {{name: TSN}}\nINFER: {{filelist: some.list, video_path: '{value}'}}\n")

    config = load_config(old, overrides=["train.schedule=constant"])

    assert config.predict.inputs == Path("one.mp4" if value == "one.mp4" else "some.list")


def test_a_2019_file_for_dali_keeps_the_shape_of_the_picture(tmp_path: Path):
    old = tmp_path / "old.yaml"
    old.write_text("MODEL: {name: TSN}\nTRAIN: {use_dali: True}\nTEST: {use_dali: True}\n")

    config = load_config(old, overrides=["train.schedule=constant"])

    assert config.data.resize == "keep_aspect"
    assert not any("use_dali" in note for note in config.notes)


def test_the_files_of_attention_cluster_have_a_key_with_keys(tmp_path: Path):
    old = tmp_path / "old.yaml"
    old.write_text(
        "MODEL: {name: AttentionCluster, feature_num: 2, feature_names: ['rgb', 'audio'], "
        "feature_dims: [1024, 128], cluster_nums: [32, 32], UNIQUE: {good: 20, bad: 30}}\n"
    )

    assert load_config(old).name == "attention_cluster"
