"""The demos of the localisers: from mp4 to segments, here with few and short videos."""

from pathlib import Path
from typing import Any

import pytest

from videozoo.config import load_config
from videozoo.data.synthetic.world import Event, WorldVideo
from videozoo.tasks import demos
from videozoo.tasks.demos import clips, localisation, long_videos

CONFIGS = Path(__file__).parents[2] / "configs" / "demo"


@pytest.mark.parametrize("model", ["bmn", "bsn", "ctcn"])
def test_the_packaged_settings_say_what_the_demo_does(model: str):
    path = CONFIGS / f"{model}.yaml"

    data = load_config(path).data
    assert (data.rate, data.encoder_window_seconds) == (
        long_videos.RATE,
        long_videos.WINDOW_SECONDS,
    )
    assert data.encoder_layer == ("scores" if model == "ctcn" else "features")
    margin = f"at least {localisation.MARGINS[model]:g} above that of random segments"
    assert margin in " ".join(path.read_text().replace("#", " ").split())


def video(name: str, split: str, *events: tuple[float, float, int]) -> WorldVideo:
    return WorldVideo(
        name=name,
        path=Path(f"{name}.mp4"),
        split=split,
        duration_seconds=20.0,
        looks=(("red", "circle"),),
        events=tuple(
            Event(actor=0, label=label, start_seconds=start, end_seconds=end)
            for start, end, label in events
        ),
    )


def test_random_segments_find_what_fills_the_video_and_hardly_what_does_not():
    whole = [video(f"v{i}", "test", (0.0, 20.0, 1)) for i in range(20)]
    short = [video(f"v{i}", "test", (7.0, 7.2, 1)) for i in range(20)]

    assert localisation.random_auc(whole) > 0.3 > 0.02 > localisation.random_auc(short)
    assert localisation.random_map(short, short) < 0.01


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
        sizes: dict[str, Any] = {"train.epochs": 1}
        if model == "bmn":
            sizes |= {"model.num_steps": 12, "model.num_durations": 6}
        return wide(model, folder).replace("test", sizes)

    monkeypatch.setattr(long_videos, "demo_config", short)
    monkeypatch.setattr(localisation, "MARGINS", {"bmn": -2.0, "ctcn": -2.0})


@pytest.mark.usefixtures("small")
def test_it_runs_from_mp4_to_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "demo"

    scores = demos.run("bmn", folder=folder, device="cpu")

    said = capsys.readouterr().out
    assert f"BMN AUC {scores['value']:.3f}" in said
    assert f"random segments AUC {scores['baseline']:.3f}" in said
    assert len(list(Path(scores["pictures"]).glob("*.png"))) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_the_detector_runs_on_class_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    scores = demos.run("ctcn", folder=tmp_path / "demo", device="cpu")

    assert f"C-TCN mean AP {scores['value']:.3f}" in capsys.readouterr().out
    assert len(list(Path(scores["pictures"]).glob("*.png"))) == 3
