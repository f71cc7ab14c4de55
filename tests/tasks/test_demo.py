"""The first run: small enough here to be over in seconds, the same way from end to end."""

from pathlib import Path
from typing import Any

import pytest

from videozoo import cli
from videozoo.config import load_config
from videozoo.tasks import pages as shared
from videozoo.tasks.demos import clips as demo

ROOT = Path(__file__).parents[2]


def test_the_packaged_settings_are_used_on_a_folder_of_ones_own(tmp_path: Path):
    packaged = load_config(ROOT / "configs" / "demo" / "tsm.yaml")

    assert demo.demo_config("tsm", Path("demo")).as_dict() == packaged.as_dict()
    elsewhere = demo.demo_config("tsm", tmp_path).data
    assert elsewhere.train == tmp_path / "clips" / "train.list"
    assert elsewhere.class_names == tmp_path / "clips" / "class_names.json"


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch):
    """Seconds rather than minutes, and nothing learnt."""
    full = demo.demo_config

    def small(model: str, folder: Path) -> Any:
        sizes = {"model.width": 0.125, "train.epochs": 1, "data.num_workers": 0}
        return full(model, folder).replace("test", {**sizes, "data.crop_size": 32})

    monkeypatch.setattr(demo, "demo_config", small)
    for name, count in (("NUM_TRAIN", 16), ("NUM_VAL", 8), ("NUM_TEST", 8)):
        monkeypatch.setattr(demo, name, count)
    monkeypatch.setattr(demo, "MARGIN", -1.0)


@pytest.mark.usefixtures("_small")
def test_it_runs_and_a_second_call_takes_up_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    scores = demo.run("tsm", folder=tmp_path / "demo", device="cpu")

    page = (tmp_path / "demo" / "report.html").read_text()
    assert page.count("unseen_0000") >= 8
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "https://" not in page
    said = capsys.readouterr().out
    assert f"TSM top-1 {scores['tsm']:.3f}" in said
    assert f"TSN top-1 {scores['tsn']:.3f}" in said

    again = demo.run("tsm", folder=tmp_path / "demo", device="cpu")

    assert (again["tsm"], again["tsn"]) == (scores["tsm"], scores["tsn"])
    assert "All of it took" not in (tmp_path / "demo" / "report.html").read_text()


@pytest.mark.usefixtures("_small")
def test_the_quick_one_states_baseline_and_margin_and_holds_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)  # an empty folder

    assert cli.main(["demo", "--quick", "--device=cpu"]) == 0

    said = capsys.readouterr().out
    assert "chance    0.125" in said
    assert "margin" in said
    assert "unseen_0000" in said
    assert not (tmp_path / "demo" / "tsn").exists()

    monkeypatch.setattr(demo, "MARGIN", 0.875)
    assert cli.main(["demo", "--quick", "--device=cpu"]) == 1
    assert "less than 0.875 above chance" in capsys.readouterr().err


@pytest.mark.usefixtures("_small")
def test_without_matplotlib_only_the_report_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shared, "can_draw", lambda: False)

    assert cli.main(["demo", "--device=cpu"]) == 0

    captured = capsys.readouterr()
    assert "TSN top-1" in captured.out
    assert "pip install 'videozoo[report]'" in captured.err
    assert not (tmp_path / "demo" / "report.html").exists()


def test_only_the_first_demo_is_quick(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["demo", "bmn", "--quick"]) == 2
    assert "--quick" in capsys.readouterr().err
