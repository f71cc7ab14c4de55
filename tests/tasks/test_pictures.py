"""Pictures of answers: annotated videos, explanations and the page of an evaluation."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from videozoo import cli
from videozoo.config import RunConfig, from_layers
from videozoo.data.annotations.videos import ClipEntry
from videozoo.data.clips import ViewDataset, load_entries
from videozoo.data.frames.video import open_video
from videozoo.data.frames.views import eval_plan
from videozoo.data.loader import EvalLoader
from videozoo.data.synthetic.clips import CLASS_NAMES, SyntheticClips, make_clips
from videozoo.engine.run_folder import RunFolder
from videozoo.tasks import pages as shared
from videozoo.tasks.classification import prediction
from videozoo.tasks.classification.pictures import seen_frames
from videozoo.tasks.clip_views import clip_shape
from videozoo.tasks.loading import save_trained

MODELS: dict[str, dict[str, Any]] = {
    "tsn": {"num_segments": 3},
    "tsm": {"num_segments": 4},
    "stnet": {"num_segments": 3, "frames_per_segment": 3},
    "nonlocal": {"num_frames": 4},
}
NAMES = [f"<{name}>" for name in CLASS_NAMES]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> SyntheticClips:
    folder = tmp_path_factory.mktemp("clips")
    return make_clips(folder, num_train=0, num_val=8, num_test=0, seed=0, size=(40, 56))


def config_of(model: str, clips: SyntheticClips) -> RunConfig:
    settings: dict[str, Any] = {
        "model": {"name": model, "num_classes": 8, "depth": 18, "width": 0.125, **MODELS[model]},
        "data": {
            "val": str(clips.val_list),
            "short_side": 40,
            "crop_size": 32,
            "frame_stride": 2,
            "num_workers": 0,
        },
    }
    return from_layers([("the test", settings)])


def run_of(model: str, clips: SyntheticClips, folder: Path) -> Path:
    """A run folder with weights that were never trained, and made-up curves."""
    torch.manual_seed(0)
    config = config_of(model, clips)
    module = config.spec.build(config.model)
    run = RunFolder.create(folder, config=config.to_yaml())
    for epoch in (1, 2):
        run.log({"kind": "train", "epoch": epoch, "step": epoch, "learning_rate": 0.1 / epoch})
        run.log({"kind": "epoch", "epoch": epoch, "loss": 2.0, "top1": 0.1, "valid_top1": None})
    save_trained(run.best, module, config, NAMES, {})
    return folder


@pytest.fixture(scope="module")
def run(clips: SyntheticClips, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of("tsm", clips, tmp_path_factory.mktemp("run"))


def videozoo(*words: str | Path) -> int:
    return cli.main([str(word) for word in words])


def answers(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "predictions.json").read_text("utf-8"))["predictions"]


# --- what the model saw


@pytest.mark.parametrize("model", MODELS)
def test_the_frames_shown_are_the_numbers_and_pixels_the_network_gets(
    model: str, clips: SyntheticClips
):
    config = config_of(model, clips)
    views = config.eval.model_copy(update={"num_clips": 2})
    entry = load_entries(config.data, "val")[0]

    look = seen_frames([entry], config, views)

    dataset = ViewDataset([entry], clip_shape(config), config.data, views)
    batches = EvalLoader(dataset, config.data, batch_size=views.batch_size)
    given = torch.cat([batch.clips for batch in batches])  # (clips, T, 3 * run, H, W)
    frames = given.unflatten(2, (-1, 3)).flatten(0, 2).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(look.seen.pictures, frames)
    assert len(look.seen.numbers) == len(frames)
    with open_video(entry.path) as video:
        whole = video.read(look.seen.numbers).astype(int)
    left = (whole.shape[2] - 32) // 2
    same = np.abs(whole[:, 4:36, left : left + 32] - look.seen.pictures)
    assert same.mean() < 3  # only cropped: the clips are 40 high


def test_crops_do_not_show_a_clip_twice(clips: SyntheticClips):
    config = config_of("tsm", clips)
    entry = ClipEntry(clips.unseen[0], None, "v")
    listed = [replace(entry, clip_index=c, crop_index=k) for c in (0, 1) for k in (0, 1, 2)]
    views = config.eval.model_copy(update={"num_clips": 2, "num_crops": 3})

    assert len(seen_frames([entry], config, views).seen.numbers) == 8
    assert len(seen_frames(listed, config, views).seen.numbers) == 8


# --- predict


def test_every_video_gets_an_annotated_film_a_picture_and_a_line_in_the_json(
    clips: SyntheticClips, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for number, folder in enumerate(("one", "two")):  # the same name twice
        (tmp_path / folder).mkdir()
        shutil.copy(clips.unseen[number], tmp_path / folder / "clip.mp4")
    out = tmp_path / "out"
    inputs = [tmp_path / "one", tmp_path / "two"]

    assert videozoo("predict", "--weights", run, *inputs, "--annotate", "--save-dir", out) == 0

    said = capsys.readouterr().err
    assert "NAME_annotated.mp4 and NAME.png for 2 videos" in said
    rows = answers(out)
    assert [row["annotated"] for row in rows] == [
        "one_clip_annotated.mp4",
        "two_clip_annotated.mp4",
    ]
    assert [row["picture"] for row in rows] == ["one_clip.png", "two_clip.png"]
    for row, source in zip(rows, clips.unseen, strict=False):
        assert row["seen_frames"] == [2, 8, 14, 20]
        with open_video(source) as before, open_video(out / row["annotated"]) as after:
            size = {"height": 8 * before.info.height, "width": 8 * before.info.width}
            assert after.info == replace(before.info, **size)  # enlarged, so that it can be read
        with Image.open(out / row["picture"]) as sheet:
            assert len(sheet.convert("RGB").getcolors(1 << 24) or []) > 100


def test_a_true_class_is_set_beside_the_answer(clips: SyntheticClips, run: Path, tmp_path: Path):
    films: list[np.ndarray] = []
    best = -1
    for label in ("", None, "best"):
        listed = tmp_path / "videos.list"
        word = "" if label == "" else str((best + 1) % 8 if label is None else best)
        listed.write_text(f"{clips.unseen[0]} {word}\n")
        line = ["predict", "--weights", run, listed, "--annotate", "--save-dir", tmp_path / "out"]
        assert videozoo(*line) == 0
        row = answers(tmp_path / "out")[0]
        best = row["top"][0]["label"]
        assert row["label"] == (NAMES[int(word)] if word else None)
        with open_video(tmp_path / "out" / row["annotated"]) as film:
            films.append(film.read([0]).astype(int))

    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(films[one] - films[other]).max() > 60


@pytest.mark.parametrize("model", MODELS)
def test_every_clip_model_explains_itself(model: str, clips: SyntheticClips, tmp_path: Path):
    run = run_of(model, clips, tmp_path / "run")
    out = tmp_path / "out"

    line = ["predict", "--weights", run, clips.unseen[0], "--explain", "--save-dir", out]
    assert videozoo(*line) == 0

    (row,) = answers(out)
    explained = row["explained"]
    assert explained["class"] == row["top"][0]["class"]
    steps = MODELS[model].get("num_segments") or MODELS[model]["num_frames"]
    assert len(explained["frames"]) == steps
    assert sum(each["share"] for each in explained["frames"]) == pytest.approx(1, abs=1e-4)
    numbers = [each["frame"] for each in explained["frames"]]
    if model == "stnet":  # of three stacked frames, the middle one
        plan = eval_plan(clip_shape(config_of(model, clips)), config_of(model, clips).data)
        assert plan.frames_per_step == 3
        assert numbers == [4, 12, 20]
    with Image.open(out / explained["picture"]) as picture:
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 100
    assert not (out / "unseen_00000_annotated.mp4").exists()


def test_an_exported_graph_cannot_be_explained_and_says_what_can(
    clips: SyntheticClips,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(prediction, "exported_kind", lambda path: "onnx")  # type: ignore[reportUnknownLambdaType]
    line = ["predict", "--weights", run, clips.unseen[0], "--explain", "--save-dir", tmp_path]

    assert videozoo(*line) == 1

    assert "pass the weights it was made from" in capsys.readouterr().err


def test_no_video_is_written_over(
    clips: SyntheticClips, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name in ("a", "a_annotated"):
        shutil.copy(clips.unseen[0], tmp_path / f"{name}.mp4")
    before = (tmp_path / "a_annotated.mp4").read_bytes()

    line = ["predict", "--weights", run, tmp_path, "--annotate", "--save-dir", tmp_path]
    assert videozoo(*line) == 1

    assert "pass another --save-dir" in capsys.readouterr().err
    assert (tmp_path / "a_annotated.mp4").read_bytes() == before
    assert not (tmp_path / "predictions.json").exists()


# --- the page of an evaluation


def test_an_evaluation_ends_in_a_page_that_shows_everything(
    clips: SyntheticClips, run: Path, tmp_path: Path
):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    listed = tmp_path / "videos.list"
    lines = [f"{clips.folder / line}" for line in clips.val_list.read_text().splitlines()]
    listed.write_text("\n".join([*lines, f"{broken} 0"]))
    out = tmp_path / "out"

    line = ["eval", "--weights", run, "--data", listed, "--skip-bad", "--save-dir", out]
    assert videozoo(*line) == 0

    page = (out / "report.html").read_text("utf-8")
    for title in (
        "Training",
        "Confusion matrix",
        "Classes",
        "Calibration",
        "Worst errors",
        "Left out",
    ):
        assert f"<h2>{title}" in page
    for title in ("Loss", "Learning rate", "Configuration", "Versions"):
        assert f">{title}<" in page
    assert "8 of 9 videos" in page
    assert "broken.mp4" in page
    assert "&lt;moves left&gt;" in page
    assert "<moves left>" not in page

    facts = json.loads((out / "eval.json").read_text("utf-8"))
    wrong = [row for row in facts["results"] if row["top"][0][0] != row["label"]]
    surest = max(wrong, key=lambda row: row["top"][0][1])
    assert page.count("article class") == min(len(wrong), 8)
    assert surest["video"] in page.split("<article")[1]


def test_a_page_is_written_where_it_can_be_and_not_where_it_is_not_wanted(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    line = ["eval", "--weights", run, "--save-dir", tmp_path]
    assert videozoo(*line, "--no-report") == 0
    assert "report" not in capsys.readouterr().err

    monkeypatch.setattr(shared, "can_draw", lambda: False)
    assert videozoo(*line) == 0
    assert "pip install 'videozoo[report]'" in capsys.readouterr().err
    assert videozoo(*line, "--report") == 1
    assert "pip install 'videozoo[report]'" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_of_many_classes_the_worst_are_shown_and_the_commonest_errors_of_all():
    rng = np.random.default_rng(0)
    counts = np.diag(rng.integers(20, 40, 200))
    names = [f"class {number}" for number in range(200)]
    for true, guess, times in ((5, 190, 9), (190, 5, 4), (77, 3, 12)):
        counts[true, guess] = times

    shown = shared.confusion_of(counts, names)

    assert shown.counts.shape == (30, 31)
    assert {"class 5", "class 77", "class 190"} < set(shown.class_names)
    assert shown.pairs is not None
    assert shown.pairs[0] == ("class 77", "class 3", 12)
    rows = [int(name.split()[1]) for name in shown.class_names[:-1]]
    assert np.array_equal(shown.counts.sum(1), counts[rows].sum(1))
    few = shared.confusion_of(counts[:9, :9], names[:9])
    assert few.counts.shape == (9, 9)
