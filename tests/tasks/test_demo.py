"""The first run: small enough here to be over in seconds, the same way from end to end."""

from pathlib import Path
from typing import Any

import pytest

from videozoo.config import load_config
from videozoo.tasks.demos import clips as demo

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("model", ["tsm", "tsn"])
def test_the_shipped_configs_are_those_of_the_demo(model: str):
    shipped = load_config(ROOT / "configs" / "demo" / f"{model}.yaml")

    assert shipped.as_dict() == demo.demo_config(model, Path("demo")).as_dict()


def test_it_runs_and_a_second_call_takes_up_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    full = demo.demo_config

    def small(model: str, folder: Path) -> Any:
        sizes = {"model.width": 0.125, "train.epochs": 1, "data.num_workers": 0}
        return full(model, folder).replace("test", {**sizes, "data.crop_size": 32})

    monkeypatch.setattr(demo, "demo_config", small)
    for name, count in (("NUM_TRAIN", 16), ("NUM_VAL", 8), ("NUM_TEST", 8)):
        monkeypatch.setattr(demo, name, count)

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
