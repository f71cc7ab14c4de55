"""The demo of all models: one world, one encoder, twelve models, one table."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from videozoo import cli
from videozoo.errors import RunError
from videozoo.models import list_models
from videozoo.tasks.demos import (
    captioning,
    clips,
    everything,
    localisation,
    long_videos,
    moments,
    tagging,
)
from videozoo.tasks.demos.outcome import Outcome, outcome_table


def outcome(value: float, least_margin: float = 0.2) -> Outcome:
    return Outcome(
        title="TALL",
        metric="R@1",
        value=value,
        baselines={"at random": 0.1, "the middle": 0.25},
        least_margin=least_margin,
        tested_on="9 sentences",
        run=Path("demo/tall"),
    )


def test_the_margin_is_that_above_the_best_baseline():
    assert outcome(0.75).margin == 0.5
    outcome(0.75).check()
    with pytest.raises(RunError, match=r"R@1 0\.400 is less than 0\.2 above the middle, 0\.25"):
        outcome(0.4).check()
    said = outcome(0.75).text(90)
    assert "the middle R@1 0.250" in said
    assert "margin 0.500, expected at least 0.2" in said
    assert "on 9 sentences, after 1.5 minutes" in said


def test_the_table_has_a_row_per_model_and_marks_what_is_missed():
    out = Console(file=io.StringIO(), width=120)

    out.print(outcome_table({"a": (outcome(0.75), 90.0), "b": (outcome(0.3), 30.0)}))

    rows = [line for line in out.file.getvalue().splitlines() if "TALL" in line]  # pyright: ignore
    assert [row.count("TOO SMALL") for row in rows] == [0, 1]
    assert "1.5" in rows[0]


def test_every_model_has_its_place():
    there = {*everything.CLIP_MODELS, *everything.DEMOS}

    assert len(there) == 12
    stages = {"bsn_tem", "bsn_pem"}  # of bsn
    assert there == {*list_models()} - stages - {"probe"}  # which is for pretrained encoders


@pytest.mark.slow
def test_it_runs_from_mp4_to_the_table_and_one_page_and_holds_to_the_margins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    net, head = clips.demo_config, long_videos.demo_config

    def small_net(model: str, folder: Path) -> Any:
        sizes = {"model.width": 0.125, "train.epochs": 1, "data.num_workers": 0}
        return net(model, folder).replace("test", {**sizes, "data.crop_size": 32})

    def small_head(model: str, folder: Path) -> Any:
        sizes: dict[str, Any] = {"train.epochs": 1, "train.warmup_epochs": 0}
        if model == "bmn":
            sizes |= {"model.num_steps": 12, "model.num_durations": 6}
        if model == "bsn":
            sizes |= {"train.second_stage.epochs": 1}
        if model == "ets":
            sizes |= {"data.min_word_count": 1, "eval.meteor": False}
        return head(model, folder).replace("test", sizes)

    monkeypatch.setattr(clips, "demo_config", small_net)
    monkeypatch.setattr(long_videos, "demo_config", small_head)
    monkeypatch.setattr(clips, "_SHORT_EPOCHS", {"tsn": 1, "stnet": 1, "nonlocal": 1})
    for name, count in (("NUM_TRAIN", 16), ("NUM_VAL", 8), ("NUM_TEST", 8)):
        monkeypatch.setattr(clips, name, count)
    monkeypatch.setattr(long_videos, "NUM_VIDEOS", {"train": 6, "val": 2, "test": 3})
    monkeypatch.setattr(captioning, "has_java", lambda: False)
    for module in (clips, moments, tagging):
        monkeypatch.setattr(module, "MARGIN", -9.0)
    monkeypatch.setattr(clips, "SHORT_MARGIN", -9.0)
    monkeypatch.setattr(captioning, "MARGINS", {"meteor": -9.0, "cider": -9.0})
    monkeypatch.setattr(localisation, "MARGINS", {"bmn": -2.0, "bsn": -2.0, "ctcn": -2.0})
    monkeypatch.chdir(tmp_path)

    assert cli.main(["demo", "all", "--device=cpu"]) == 0

    said = capsys.readouterr().out
    for title in ("TSN", "TSM", "StNet", "Non-local", "NeXtVLAD", "BMN", "C-TCN", "ETS", "TALL"):
        assert f" {title} " in said
    assert "minutes for the rest: clips" in said
    page = Path("demo/answers/page.html").read_text(encoding="utf-8")
    assert all(title in page for title in ("Non-local", "Attention LSTM", "BSN", "TALL"))

    monkeypatch.setattr(moments, "MARGIN", 2.0)
    assert cli.main(["demo", "all", "--device=cpu"]) == 1
    assert "less above the baseline than expected: TALL" in capsys.readouterr().err
