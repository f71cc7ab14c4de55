"""A sentence in many videos: in which of them, when, and whether it is there at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import videozoo
from videozoo import cli
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.records import FeatureRecord
from videozoo.errors import UsageError
from videozoo.metrics.moments import best_cut
from videozoo.results import Moment, VideoMoments, ranked_moments
from videozoo.tasks.moments.presence import Presence, least_score_of, presence_note
from videozoo.weights.files import read_metadata

DIM = 10
SENTENCES = (
    "a man runs", "the dog sleeps", "a cat jumps", "someone sits down", "a door opens",
    "two people dance",
)  # fmt: skip


class World:
    """Videos that each show three of six things, for four seconds each; one vector per second."""

    def __init__(self, folder: Path, *, videos: int = 24) -> None:
        rng = np.random.default_rng(5)
        marks = np.eye(DIM, dtype=np.float32)[: len(SENTENCES)] * 3
        self.kinds: dict[str, list[str]] = {}
        lines: dict[str, list[str]] = {"train": [], "val": []}
        self.pack, self.unseen = folder / "pack", folder / "unseen"
        facts = {"model": "tsn", "rate": 1}
        with (
            PackWriter(self.pack, extractor=facts) as pack,
            PackWriter(self.unseen, extractor=facts) as unseen,
        ):
            for number in range(videos + 8):
                kinds = rng.permutation(len(SENTENCES))[:3]
                rows = np.repeat(marks[kinds], 4, axis=0) + rng.normal(0, 0.2, (12, DIM))
                name = f"V{number}"
                self.kinds[name] = [SENTENCES[kind] for kind in kinds]
                record = FeatureRecord(name, {"rgb": rows.astype(np.float32)}, None)
                (pack if number < videos else unseen).write(record)
                if number < videos:
                    lines["val" if number % 3 == 0 else "train"] += [
                        f"{name} {4 * place} {4 * place + 4}##{SENTENCES[kind]}."
                        for place, kind in enumerate(kinds)
                    ]
        for part, listed in lines.items():
            (folder / f"{part}.txt").write_text("\n".join(listed))
        self.folder = folder

    def config(self, **train: Any) -> str:
        sections: dict[str, Any] = {
            "model": {
                "name": "tall", "visual_dim": 3 * DIM, "sentence_dim": 64, "semantic_size": 32,
                "hidden_size": 32,
            },
            "data": {
                "train": str(self.folder / "train.txt"), "val": str(self.folder / "val.txt"),
                "features": str(self.pack), "num_workers": 0,
                "windows": {"seconds": [4, 8], "overlap": 0.75, "context_seconds": 2},
            },
            "train": {
                "epochs": 12, "batch_size": 12, "optimizer": "adam", "learning_rate": 0.01,
                "weight_decay": 0.0, **train,
            },
        }  # fmt: skip
        path = self.folder / "tall.yaml"
        path.write_text(yaml.safe_dump(sections))
        return str(path)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def run(world: World) -> Path:
    path = world.folder / "run"
    assert cli.main(["train", "--config", world.config(), "--save-dir", str(path)]) == 0
    return path


def test_one_list_over_all_videos_says_in_which_and_when(
    run: Path, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["predict", "--weights", str(run), "--save-dir", str(tmp_path), str(world.unseen)]

    assert cli.main([*words, "--sentence", SENTENCES[0], "--sentence", SENTENCES[4]]) == 0

    printed = capsys.readouterr()
    facts = json.loads((tmp_path / "predictions.json").read_text())
    assert len(facts["predictions"]) == 16
    assert [one["sentence"] for one in facts["ranked"]] == [SENTENCES[0], SENTENCES[4]]
    for ranked in facts["ranked"]:
        scores = [each["score"] for each in ranked["moments"]]
        assert scores == sorted(scores, reverse=True)
        there = {name for name in world.kinds if ranked["sentence"] in world.kinds[name]}
        best = ranked["moments"][0]
        assert best["video"] in there
        start = 4 * world.kinds[best["video"]].index(ranked["sentence"])
        assert abs(best["start"] - start) <= 2
        assert best["is_likely"] is True
        assert {each["video"] for each in ranked["moments"]} == {f"V{n}" for n in range(24, 32)}
    assert f"In all videos: {SENTENCES[0]}" in printed.out
    assert "probably not there" in printed.out
    assert "right in" in printed.err


def test_what_is_not_there_is_mostly_marked(run: Path, world: World):
    finder = videozoo.load(run, task="moments")

    results = finder.predict(str(world.unseen), *SENTENCES)

    right = [one.is_likely == (one.sentence in world.kinds[one.video]) for one in results]
    assert len(right) == 48
    assert np.mean(right) > 0.85  # half of the sentences are there
    ranked = finder.rank(str(world.unseen), SENTENCES[1])
    assert [one.sentence for one in ranked] == [SENTENCES[1]]
    assert len(ranked[0].moments) == sum(
        len(one.moments) for one in results if one.sentence == SENTENCES[1]
    )
    assert ranked[0].moments[0].score == max(each.score for each in ranked[0].moments)


def test_the_score_is_kept_with_the_weights_and_can_be_set(
    run: Path, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    stored = Presence.stored(read_metadata(run / "best.safetensors")["measured"])
    words = ["predict", "--weights", str(run), "--sentence", SENTENCES[2], str(world.unseen)]
    words += ["--save-dir", str(tmp_path)]

    assert stored is not None
    assert (stored.present, stored.absent) == (24, 24)  # each val video lacks three sentences
    assert stored.balanced_accuracy > 0.85
    assert cli.main([*words, "--set", "predict.least_score=1000"]) == 0
    facts = json.loads((tmp_path / "predictions.json").read_text())
    assert facts["least_score"] == 1000
    assert not any(row["is_likely"] for row in facts["predictions"])
    assert "predict.least_score, 1000" in capsys.readouterr().err


def test_a_file_of_sentences_with_their_videos_has_no_ranked_list(
    run: Path, world: World, tmp_path: Path
):
    words = ["predict", "--weights", str(run), "--save-dir", str(tmp_path)]

    assert cli.main([*words, str(world.folder / "val.txt")]) == 0

    assert "ranked" not in json.loads((tmp_path / "predictions.json").read_text())


def test_evaluation_tries_the_score_on_its_data(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["eval", "--weights", str(run), "--save-dir", str(tmp_path)]) == 0

    facts = json.loads((tmp_path / "eval.json").read_text())
    assert facts["sentences"] == 24
    assert facts["presence"]["absent"] == 24
    assert facts["presence"]["balanced_accuracy"] > 0.85
    assert "is it in the video at all" in " ".join(capsys.readouterr().out.split())


def test_videos_may_be_in_several_places(
    run: Path, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["predict", "--weights", str(run), "--save-dir", str(tmp_path / "out")]
    words += ["--sentence", SENTENCES[0], str(world.unseen)]
    finder = videozoo.load(run, task="moments")

    assert cli.main([*words, str(world.pack)]) == 0

    facts = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(facts["predictions"]) == 32
    (alone,) = finder.rank(str(world.unseen), SENTENCES[0])
    (both,) = finder.rank([str(world.unseen), str(world.pack)], SENTENCES[0])
    assert {each.video for each in both.moments} == set(world.kinds)
    assert set(alone.moments) <= set(both.moments)
    other = tmp_path / "other"
    with PackWriter(other, extractor={"model": "tsn", "rate": 2}) as pack:
        pack.write(FeatureRecord("x", {"rgb": np.ones((12, DIM), np.float32)}, None))
    assert cli.main([*words, str(other)]) == 1
    assert "features of two kinds" in capsys.readouterr().err
    shutil.copytree(world.unseen, tmp_path / "copy")
    assert cli.main([*words, str(tmp_path / "copy")]) == 1
    assert "is there twice" in capsys.readouterr().err


def test_ranking_needs_a_sentence(run: Path, world: World):
    with pytest.raises(UsageError, match="no sentence"):
        videozoo.load(run, task="moments").rank(str(world.unseen))


def test_without_a_threshold_nothing_is_marked():
    found = [
        VideoMoments(video=name, sentence="a", moments=(Moment(0, 1, score),))
        for name, score in (("x", 0.1), ("y", 0.7))
    ]

    assert [one.is_likely for one in found] == [None, None]
    assert [each.video for each in ranked_moments(found)[0].moments] == ["y", "x"]
    assert ranked_moments(found)[0].moments[0].is_likely is None
    assert least_score_of(None, {}) is None
    assert presence_note(None, {}) is None
    assert ranked_moments([]) == []


def test_a_score_that_parts_nothing_is_not_used():
    weak = Presence(least_score=0.3, balanced_accuracy=0.55, present=20, absent=20)

    assert least_score_of(None, {"presence": weak.facts}) is None
    assert least_score_of(0.1, {"presence": weak.facts}) == 0.1
    assert "do not tell" in str(presence_note(None, {"presence": weak.facts}))


@pytest.mark.parametrize("held", [None, 3, {}, {"least_score": "x"}, {"least_score": float("nan")}])
def test_what_makes_no_sense_is_not_believed(held: Any):
    assert Presence.stored({"presence": held}) is None


def test_the_cut_balances_both_kinds_however_many_there_are():
    cut = best_cut([1.0, 1.1, 1.2], np.linspace(0, 1.05, 1000))

    assert 0.99 < cut.least <= 1.06
    assert cut.accuracy > 0.8
    assert best_cut([0.0], [0.0]).accuracy == 0.5
