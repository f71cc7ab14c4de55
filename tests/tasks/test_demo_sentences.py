"""The demos of ETS and TALL: from mp4 to sentences and to moments, here with few, short videos."""

import sys
from pathlib import Path
from typing import Any

import pytest

from videozoo import cli
from videozoo.config import RunConfig, load_config
from videozoo.data.synthetic.world import Event, WorldVideo
from videozoo.tasks import demos
from videozoo.tasks.demos import captioning, clips, long_videos, moments

CONFIGS = Path(__file__).parents[2] / "configs" / "demo"


def text_of(path: Path) -> str:
    return " ".join(path.read_text().replace("#", " ").split())


def test_the_packaged_settings_say_what_the_demos_do():
    ets, tall = CONFIGS / "ets.yaml", CONFIGS / "tall.yaml"

    assert load_config(ets).model.feature_dim == long_videos.DIM
    assert load_config(tall).model.visual_dim == 3 * long_videos.DIM
    assert load_config(tall).data.windows.seconds == moments._WINDOW_SECONDS
    assert f"at least {captioning.MARGINS['meteor']:g} (CIDEr" in text_of(ets)
    assert f"no Java: {captioning.MARGINS['cider']:g})" in text_of(ets)
    assert f"at least {moments.MARGIN:g} above" in text_of(tall)


def video(name: str, *events: tuple[float, float, int]) -> WorldVideo:
    return WorldVideo(
        name=name,
        path=Path(f"{name}.mp4"),
        split="test",
        duration_seconds=20.0,
        looks=(("red", "circle"),),
        events=tuple(
            Event(actor=0, label=label, start_seconds=start, end_seconds=end)
            for start, end, label in events
        ),
    )


def test_the_commonest_sentence_is_right_where_it_fits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(captioning, "has_java", lambda: False)
    monkeypatch.setattr("videozoo.metrics.captions.has_java", lambda: False)
    train = [video("a", (1, 4, 0), (6, 9, 0), (12, 15, 1))]

    said, scores = captioning.commonest_scores(train, [video("b", (1, 4, 0), (5, 9, 3))])

    assert said == "A red circle moves left."
    assert 0.5 < scores["rouge_l"] < 1


def test_the_middle_of_the_video_finds_what_lies_there():
    train = [video("a", (2, 6, 0))]

    assert moments.centre_recall(train, [video("b", (8, 12, 0), (0, 4, 0))]) == 0.5


def test_windows_at_random_find_what_fills_the_video_more_often():
    short, long = [video("a", (9.0, 9.5, 0))], [video("a", (2.0, 7.0, 0))]

    assert moments.random_recall(short) == 0 < moments.random_recall(long) < 0.5


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    full = clips.demo_config

    def little(model: str, folder: Path) -> RunConfig:
        sizes: dict[str, Any] = {"model.width": 0.125, "train.epochs": 1, "data.num_workers": 0}
        return full(model, folder).replace("test", {**sizes, "data.crop_size": 32})

    monkeypatch.setattr(clips, "demo_config", little)
    for name, count in (("NUM_TRAIN", 16), ("NUM_VAL", 8), ("NUM_TEST", 8)):
        monkeypatch.setattr(clips, name, count)
    monkeypatch.setattr(long_videos, "NUM_VIDEOS", {"train": 6, "val": 2, "test": 3})
    real = long_videos.demo_config

    def short(model: str, folder: Path) -> RunConfig:
        sizes = {"data.min_word_count": 1, "eval.meteor": False} if model == "ets" else {}
        return real(model, folder).replace("test", {"train.epochs": 1, **sizes})

    monkeypatch.setattr(long_videos, "demo_config", short)
    monkeypatch.setattr(captioning, "MARGINS", {"meteor": -9.0, "cider": -9.0})
    monkeypatch.setattr(moments, "MARGIN", -2.0)
    monkeypatch.setattr(captioning, "has_java", lambda: False)


@pytest.mark.usefixtures("small")
def test_both_run_from_mp4_to_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "demo"

    said = demos.run("ets", folder=folder, device="cpu")
    found = demos.run("tall", folder=folder, device="cpu")

    shown = capsys.readouterr().out
    assert f"ETS CIDEr {said['value']:.3f}" in shown
    assert f"TALL R@1 at tIoU 0.5 {found['value']:.3f}" in shown
    assert list(Path(said["pictures"]).glob("*.png"))
    assert len(list(Path(found["pictures"]).glob("*.png"))) == 3


def test_without_scorers_nothing_is_trained_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "pycocoevalcap.cider.cider", None)  # as if not installed
    monkeypatch.chdir(tmp_path)

    assert cli.main(["demo", "ets"]) == 1

    assert "pip install 'videozoo[captions]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
