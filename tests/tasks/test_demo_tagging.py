"""The demos of the tagging models: from mp4 to tags, here with few and short videos."""

from pathlib import Path
from typing import Any

import pytest

from videozoo.config import load_config
from videozoo.data.synthetic.world import Event, WorldVideo
from videozoo.errors import RunError
from videozoo.tasks import demos
from videozoo.tasks.demos import clips, long_videos, tagging

CONFIGS = Path(__file__).parents[2] / "configs" / "demo"


@pytest.mark.parametrize("model", ["attention_cluster", "attention_lstm", "nextvlad"])
def test_the_packaged_settings_say_what_the_demo_does(model: str):
    path = CONFIGS / f"{model}.yaml"

    assert [stream.dim for stream in load_config(path).model.streams] == [long_videos.DIM]
    assert f"at least {tagging.MARGIN:g} above" in path.read_text()


def videos(*actions: tuple[int, ...]) -> list[WorldVideo]:
    return [
        WorldVideo(
            name=f"v{number}",
            path=Path(f"v{number}.mp4"),
            split="train",
            duration_seconds=20.0,
            looks=(("red", "circle"),),
            events=tuple(
                Event(actor=0, label=label, start_seconds=3 * at + 1, end_seconds=3 * at + 3)
                for at, label in enumerate(labels)
            ),
        )
        for number, labels in enumerate(actions)
    ]


def test_the_prior_ranks_tags_by_how_common_they_are():
    train = videos((0,), (0, 1), (0, 1, 1), (0, 2))

    assert tagging.prior_gap(train, videos((0,), (0,))) == 1.0
    # of 2 x 8 answers the two on class 2 are the fifth and sixth
    assert tagging.prior_gap(train, videos((2,), (2,))) == pytest.approx((1 / 5 + 2 / 6) / 2)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    full = clips.demo_config

    def little(model: str, folder: Path) -> Any:
        sizes = {"model.width": 0.125, "train.epochs": 1, "data.num_workers": 0}
        return full(model, folder).replace("test", {**sizes, "data.crop_size": 32})

    monkeypatch.setattr(clips, "demo_config", little)
    for name, count in (("NUM_TRAIN", 16), ("NUM_VAL", 8), ("NUM_TEST", 8)):
        monkeypatch.setattr(clips, name, count)
    monkeypatch.setattr(long_videos, "NUM_VIDEOS", {"train": 4, "val": 2, "test": 3})
    wide = long_videos.demo_config

    def short(model: str, folder: Path) -> Any:
        return wide(model, folder).replace("test", {"train.epochs": 2})

    monkeypatch.setattr(long_videos, "demo_config", short)


@pytest.mark.usefixtures("small")
def test_it_runs_from_mp4_to_pictures_and_fails_without_its_margin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "demo"
    monkeypatch.setattr(tagging, "MARGIN", 2.0)  # out of reach
    with pytest.raises(RunError, match="less than 2 above prior only"):
        demos.run("attention_lstm", folder=folder, device="cpu")
    monkeypatch.setattr(tagging, "MARGIN", -2.0)
    run = folder / "attention_lstm"
    trained = (run / "weights/epoch_2.safetensors").stat().st_mtime_ns

    scores = demos.run("attention_lstm", folder=folder, device="cpu")

    said = capsys.readouterr().out
    assert f"Attention LSTM GAP {scores['value']:.3f}" in said
    assert f"prior only GAP {scores['baseline']:.3f}" in said
    assert len(list(Path(scores["pictures"]).glob("*_attention.png"))) == 3
    assert (run / "weights/epoch_2.safetensors").stat().st_mtime_ns == trained
    assert (run / "encoder/encoder.json").is_file()
