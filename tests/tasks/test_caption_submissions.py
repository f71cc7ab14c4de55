"""Results of captioning: whole videos learnt from, described and scored; results of any model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from videozoo import cli
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.records import FeatureRecord
from videozoo.errors import DataError
from videozoo.tasks.captioning.submissions import score_captions

pytest.importorskip("pycocoevalcap", reason="pip install 'videozoo[captions]'")

PUBLISHED = Path(__file__).parents[3] / "shared/data/captions/nlg_eval"
DIM = 6
KINDS = [
    ["A man runs.", "Somebody runs fast.", "a man is running"],
    ["The dog sleeps.", "A dog lies down.", "a dog is sleeping"],
]


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def make_data(folder: Path) -> dict[str, str]:
    """Videos that show one of two things, in the form of MSR-VTT."""
    rng = np.random.default_rng(3)
    videos: list[dict[str, Any]] = []
    sentences: list[dict[str, Any]] = []
    with PackWriter(folder / "pack", extractor={"model": "tsn", "rate": 2}) as pack:
        for number in range(12):
            kind = number % 2
            rows = 3 * np.eye(DIM)[kind] + rng.normal(0, 0.2, (8 + number, DIM))
            name = f"video{number}"
            pack.write(FeatureRecord(name, {"rgb": rows.astype(np.float32)}, None))
            split = "train" if number < 8 else "validate"
            times = {"start time": 5, "end time": 5 + (8 + number) / 2}
            videos.append({"video_id": name, "split": split, **times})
            sentences += [{"video_id": name, "caption": text} for text in KINDS[kind]]
    path = write(folder / "videodatainfo.json", {"videos": videos, "sentences": sentences})
    return {"train": str(path), "val": str(path), "features": str(folder / "pack")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("whole")
    data = make_data(folder)
    sizes = {"embedding_size": 16, "gru_size": 16, "decoder_size": 16, "word_size": 16}
    config = {
        "model": {"name": "ets", "feature_dim": DIM, **sizes},
        "data": {**data, "num_workers": 0, "min_word_count": 1},
        "train": {"epochs": 6, "batch_size": 6, "optimizer": "adam", "learning_rate": 0.02},
        "eval": {"meteor": False, "max_length": 12},
        "predict": {"max_length": 12},
    }
    (folder / "ets.yaml").write_text(yaml.safe_dump(config))
    words = ["train", "--config", str(folder / "ets.yaml"), "--save-dir", str(folder / "run")]
    assert cli.main(words) == 0
    return folder / "run", data


def test_whole_videos_are_learnt_from_and_compared_with_all_their_captions(
    trained: tuple[Path, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, data = trained

    assert cli.main(["eval", "--weights", str(run), "--save-dir", str(tmp_path)]) == 0

    shown = capsys.readouterr()
    assert "12 sentences of 4 videos of the subset 'validate'" in shown.err
    assert "data.val is data.train" not in shown.err
    assert "against all that people say" in " ".join(shown.out.split())
    facts = json.loads((tmp_path / "eval.json").read_text())
    assert (facts["events"], facts["references"]) == (4, 12)
    assert facts["dense"] == {}
    listed = json.loads((tmp_path / "captions.json").read_text())["results"]
    assert [one["timestamp"] for one in listed["video11"]] == [[0, 9.5]]
    found = score_captions(tmp_path / "captions.json", [Path(data["train"])], meteor=False)
    assert found.metrics == pytest.approx(facts["metrics"])
    assert (found.compared, found.references, found.dense) == (4, 12, {})
    assert "'validate' is scored" in found.notes[0]


def test_each_video_of_a_file_of_captions_is_described_once(
    trained: tuple[Path, dict[str, str]], tmp_path: Path
):
    run, _ = trained
    (tmp_path / "asked.csv").write_text("video,caption\nvideo0,\nvideo0,x\nvideo3,x\n")

    words = ["predict", "--weights", str(run), "--save-dir", str(tmp_path)]
    assert cli.main([*words, str(tmp_path / "asked.csv")]) == 0

    found = json.loads((tmp_path / "predictions.json").read_text())["predictions"]
    assert [(row["video"], row["end_seconds"]) for row in found] == [("video0", 4), ("video3", 5.5)]


def test_moments_cannot_be_learnt_from_captions_of_whole_videos(tmp_path: Path):
    (tmp_path / "pack").mkdir()
    data = make_data(tmp_path / "pack")
    config = {
        "model": {"name": "tall", "visual_dim": 3 * DIM, "sentence_dim": 16},
        "data": {**data, "num_workers": 0},
    }
    (tmp_path / "tall.yaml").write_text(yaml.safe_dump(config))
    words = ["train", "--config", str(tmp_path / "tall.yaml"), "--save-dir", str(tmp_path / "run")]

    assert cli.main(words) == 1


# --- results of any model --------------------------------------------------------------------


def test_published_scores_of_nlg_eval_come_out_of_files(tmp_path: Path):
    if not PUBLISHED.exists():
        pytest.skip("the published example is not here")
    ours, *people = (
        (PUBLISHED / name).read_text("utf-8").splitlines()
        for name in ("hyp.txt", "ref1.txt", "ref2.txt")
    )
    listed = [{"image_id": n, "caption": text} for n, text in enumerate(ours)]
    truths = [
        write(tmp_path / f"{k}.json", {str(n): text for n, text in enumerate(texts)})
        for k, texts in enumerate(people)
    ]

    found = score_captions(write(tmp_path / "ours.json", listed), truths, meteor=False)

    assert found.metrics["cider"] == pytest.approx(1.242192, abs=1e-6)
    assert found.metrics["bleu_4"] == pytest.approx(0.201143, abs=1e-6)
    assert found.metrics["rouge_l"] == pytest.approx(0.522104, abs=1e-6)
    assert found.compared == len(ours)
    assert found.references == 2 * len(ours)


EVENTS = {
    "v_a": {"duration": 9, "timestamps": [[0, 4], [4, 9]], "sentences": ["A man runs.", "He sits."]}
}


def results(**videos: list[tuple[float, float, str]]) -> dict[str, Any]:
    return {
        "version": "VERSION 1.0",
        "results": {
            video: [{"timestamp": [s, e], "sentence": text} for s, e, text in listed]
            for video, listed in videos.items()
        },
        "external_data": {},
    }


def test_events_are_scored_densely_and_one_by_one_where_they_are_the_true_ones(tmp_path: Path):
    truth = write(tmp_path / "val.json", EVENTS)
    same = results(a=[(0, 4, "a man runs"), (4, 9, "he sits")])
    other = results(v_a=[(0, 5, "a man runs")], v_b=[(0, 1, "x")])

    found = score_captions(write(tmp_path / "same.json", same), [truth], meteor=False)
    apart = score_captions(write(tmp_path / "other.json", other), [truth], meteor=False)

    assert found.metrics["rouge_l"] == pytest.approx(1)
    assert found.dense["recall"] == 1
    assert apart.metrics == {}
    assert apart.dense["recall"] < 1


def test_events_without_a_length_are_told(tmp_path: Path):
    truth = write(tmp_path / "val.json", EVENTS)
    ours = results(a=[(4, 4, "a man runs"), (4, 9, "he sits")])

    found = score_captions(write(tmp_path / "ours.json", ours), [truth], meteor=False)

    (note,) = [one for one in found.notes if "not after the start" in one]
    assert note.startswith("1 event with an end")
    assert "caption 0" in note


@pytest.mark.parametrize(
    ("ours", "message"),
    [
        (results(x=[(0, 1, "a man")]), "describes none of the 1 video of"),
        ({"results": {"a": [{"segment": [1, 2], "score": 1}]}}, "its results are no captions"),
        (
            {"results": {"a": [{"timestamp": [1], "sentence": "x"}]}},
            "a: caption 0: expected a",
        ),
        (results(a=[(4, 0, "a man runs")]), "a: caption 0: 4 to 0 s ends before it starts"),
        ({"v_a": "a man"}, "describes whole videos, but .* events"),
    ],
)
def test_results_that_cannot_be_scored_are_one_error(
    tmp_path: Path, ours: dict[str, Any], message: str
):
    truth = write(tmp_path / "val.json", EVENTS)

    with pytest.raises(DataError, match=message):
        score_captions(write(tmp_path / "ours.json", ours), [truth], meteor=False)


def test_what_results_of_whole_videos_lack_is_said(tmp_path: Path):
    truth = write(tmp_path / "val.json", {"a": ["A man runs."], "b": ["He sits.", "A man."]})
    ours = [{"video": name, "caption": "a man runs"} for name in ("a", "a", "c")]

    found = score_captions(write(tmp_path / "ours.json", ours), [truth], meteor=False)

    assert [note.split(":")[0] for note in found.notes[:3]] == [
        "1 of 2 videos without a caption",
        "1 video that the truth does not have",
        "1 video with several captions",
    ]
