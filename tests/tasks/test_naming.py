"""Names for proposals from a classifier that looks at each of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import videozoo
from tests.tasks.test_along import COLOURS, film, frames_of
from tests.tasks.test_along import save as save_colours
from videozoo import cli
from videozoo.config import from_layers
from videozoo.data.annotations.videos import ClipEntry
from videozoo.data.clips import ViewDataset
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.records import FeatureRecord
from videozoo.data.frames.video import FrameArray
from videozoo.errors import DataError, UsageError
from videozoo.tasks.classification import Classifier, clip_shape
from videozoo.tasks.loading import save_trained

STEPS, DIM = 12, 4
PARTS = (("red", 4.0), ("green", 4.0), ("blue", 4.0))


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_colours(tmp_path_factory.mktemp("colours") / "run")


@pytest.fixture(scope="module")
def bmn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that propose something or other."""
    path = tmp_path_factory.mktemp("bmn") / "bmn.safetensors"
    sizes = {"feature_dim": DIM, "num_steps": STEPS, "num_durations": STEPS}
    samples = {"num_samples": 4, "samples_per_bin": 2}
    config = from_layers([("", {"model": {"name": "bmn", **sizes, **samples}})])
    torch.manual_seed(0)
    save_trained(path, config.spec.build(config.model), config, None, {})
    return path


class World:
    """Two videos and their features, which say what they were made of."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pack, self.videos = folder, folder / "pack", folder / "videos"
        self.videos.mkdir()
        rng = np.random.default_rng(0)
        with PackWriter(self.pack, extractor={"model": "tsn", "rate": 1}) as pack:
            for name, parts in (("a", PARTS), ("b", PARTS[::-1])):
                path = film(self.videos / f"{name}.mp4", *parts)
                rows = rng.normal(0, 1, (STEPS, DIM)).astype(np.float32)
                facts = {"path": str(path), "bytes": path.stat().st_size}
                pack.write(
                    FeatureRecord(name, {"rgb": rows}, None, duration_seconds=12.0, facts=facts)
                )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def predict(bmn: Path, world: World, *words: str | Path) -> list[dict[str, Any]]:
    out = world.folder / "out"
    command = ["predict", "--weights", bmn, "--save-dir", out, world.pack, *words]
    assert cli.main(list(map(str, command))) == 0
    return json.loads((out / "predictions.json").read_text())["predictions"]


def test_each_proposal_gets_the_class_of_its_own_stretch(bmn: Path, colours: Path, world: World):
    without = predict(bmn, world)
    rows = predict(bmn, world, "--labels", colours, "--set", "predict.classes_per_video=1")
    classifier = videozoo.load(colours, task="classification")

    for row, bare in zip(rows, without, strict=True):
        path = world.videos / f"{row['video']}.mp4"
        scored = {(s["start_seconds"], s["end_seconds"]): s["score"] for s in bare["segments"]}
        assert len(row["segments"]) == len(scored) > 5
        spans = [(each["start_seconds"], each["end_seconds"]) for each in row["segments"]]
        expected = classifier.score_parts(path, spans)
        for each, span, scores in zip(row["segments"], spans, expected, strict=True):
            assert each["label"] == COLOURS[int(scores.argmax())]
            assert each["score"] == pytest.approx(scored[span] * scores.max(), abs=2e-3)
        assert {each["label"] for each in row["segments"]} == set(COLOURS)
        order = [each["score"] for each in row["segments"]]
        assert order == sorted(order, reverse=True)


def test_python_names_proposals_too(bmn: Path, colours: Path, world: World):
    rows = predict(bmn, world, "--labels", colours)
    finder = videozoo.load(bmn, task="localisation")

    results = finder.predict(world.pack, labels=colours)

    loaded = videozoo.load(colours, task="classification")
    assert finder.predict(world.pack, labels=loaded) == results
    assert [one.name for one in results[0].segments] == [s["label"] for s in rows[0]["segments"]]
    assert {one.name for one in finder.predict(world.pack)[0].segments} == {None}


def test_evaluation_takes_the_names_that_are_annotated(
    bmn: Path, colours: Path, world: World, capsys: pytest.CaptureFixture[str]
):
    annotations = world.folder / "anet.json"

    def evaluate(*names: str) -> int:
        database = {
            video: {
                "duration": 12.0,
                "subset": "validation",
                "annotations": [
                    {"segment": [4.0 * place, 4.0 * place + 4], "label": name}
                    for place, name in enumerate(names)
                ],
            }
            for video in "ab"
        }
        annotations.write_text(json.dumps({"database": database}))
        command = ["eval", "--weights", bmn, "--labels", colours, "--no-report"]
        data = [f"data.annotations={annotations}", f"data.features={world.pack}"]
        for setting in (*data, "data.num_workers=0"):
            command += ["--set", setting]
        return cli.main(list(map(str, [*command, "--save-dir", world.folder / "eval"])))

    assert evaluate("red", "green") == 0
    facts = json.loads((world.folder / "eval" / "eval.json").read_text())
    assert [each["class"] for each in facts["detections"]["classes"]] == ["green", "red"]
    assert "1 of the 3 classes" in capsys.readouterr().err
    assert evaluate("run", "jump") == 1
    assert "none of the annotated ones" in capsys.readouterr().err


def test_videos_that_are_elsewhere_are_named(
    bmn: Path, colours: Path, world: World, capsys: pytest.CaptureFixture[str]
):
    rows = predict(bmn, world, "--labels", colours)
    elsewhere = world.folder / "elsewhere"
    shutil.move(world.videos, elsewhere)
    command = ["predict", "--weights", str(bmn), str(world.pack), "--labels", str(colours)]

    assert cli.main(command) == 1
    error = capsys.readouterr().err
    assert "2 of 2 are not found (a, b)" in error
    assert "--videos DIR" in error
    assert predict(bmn, world, "--labels", colours, "--videos", elsewhere) == rows
    world.videos.mkdir()
    film(world.videos / "a.mp4", ("red", 2))
    assert cli.main(command) == 1
    assert "the right videos" in capsys.readouterr().err


def test_a_video_that_cannot_be_read_is_left_out_and_said(
    bmn: Path, colours: Path, world: World, capsys: pytest.CaptureFixture[str]
):
    path = world.videos / "b.mp4"
    path.write_bytes(b"x" * path.stat().st_size)
    command = ["predict", "--weights", bmn, "--labels", colours, world.pack]

    assert cli.main(list(map(str, [*command, "--save-dir", world.folder / "out"]))) == 1

    assert "b: no names" in capsys.readouterr().err
    facts = json.loads((world.folder / "out" / "predictions.json").read_text())
    assert [row["video"] for row in facts["predictions"]] == ["a"]


def test_a_run_of_another_kind_is_refused(bmn: Path, world: World):
    with pytest.raises(UsageError, match="does not classify clips"):
        videozoo.load(bmn, task="localisation").predict(world.pack, labels=bmn)


# --- parts of a video ----------------------------------------------------------------------------


def test_a_part_is_seen_as_evaluation_sees_a_clip_of_a_list(colours: Path, world: World):
    classifier = videozoo.load(colours, task="classification")
    assert isinstance(classifier, Classifier)
    path = world.videos / "a.mp4"
    parts = [(2.5, 6.0), (0.0, 12.0), (11.9, 99.0), (5.0, 5.0)]

    scores = classifier.score_parts(path, parts)

    config = classifier.config
    entries = [ClipEntry(path, None, "a", start_seconds=s, end_seconds=e) for s, e in parts[:2]]
    dataset = ViewDataset(entries, clip_shape(config), config.data)
    views = dataset.collate([dataset.read(number, None) for number in range(2)])
    logits = classifier.module(views.clips.float() / 255)
    np.testing.assert_allclose(scores[:2], logits.softmax(1).detach(), atol=1e-4)
    assert scores[2].argmax() == 2  # the very end
    assert scores[3].argmax() == 1  # one frame, where it would start
    shares = np.array(parts[:2]) / 12
    np.testing.assert_allclose(classifier.score_parts(path, shares, shares=True), scores[:2])


def test_parts_within_parts_are_read_in_one_pass(colours: Path):
    class Counted(FrameArray):
        passes = 0

        def frames_at(self, indices: Any) -> Any:
            Counted.passes += 1
            return super().frames_at(indices)

    video = Counted(frames_of(*PARTS), frames_per_second=8)
    rng = np.random.default_rng(0)
    parts = np.sort(rng.uniform(0, 12, (40, 2)), axis=1)
    classifier = videozoo.load(colours, task="classification")

    together = classifier.score_parts(video, parts)

    assert Counted.passes == 1
    for part, scores in zip(parts[:5], together, strict=False):
        np.testing.assert_allclose(classifier.score_parts(video, [part])[0], scores, atol=1e-6)


def test_parts_that_make_no_sense_are_refused(colours: Path):
    classifier = videozoo.load(colours, task="classification")
    video = FrameArray(frames_of(*PARTS), frames_per_second=8)

    with pytest.raises(DataError, match="ends before it starts"):
        classifier.score_parts(video, [(3, 2)])
    with pytest.raises(DataError, match=r"expected finite numbers \(N, 2\)"):
        classifier.score_parts(video, [1, 2, 3])
    assert classifier.score_parts(video, np.empty((0, 2))).shape == (0, 3)
