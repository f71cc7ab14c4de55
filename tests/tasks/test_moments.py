"""Finding moments by sentences: train, evaluate and predict, with both command lines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import videozoo
from videozoo import cli, cli_v1
from videozoo.config import load_config
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.records import FeatureRecord
from videozoo.tasks.moments import MomentRetriever
from videozoo.tasks.moments.submissions import score_submission
from videozoo.weights.files import read_weights

GOLDEN = Path(__file__).parents[1] / "golden" / "tall_pipeline"
DIM = 8
SENTENCES = ["a man runs", "the dog sleeps", "a cat jumps", "someone sits down"]


def make_data(folder: Path, *, videos: int = 16) -> dict[str, Any]:
    """Videos in which four things happen for four seconds each, a vector a second."""
    marks = np.eye(DIM, dtype=np.float32)[: len(SENTENCES)] * 3
    rng = np.random.default_rng(3)
    lines: dict[str, list[str]] = {"train": [], "val": []}
    with PackWriter(folder / "pack", extractor={"model": "tsn", "rate": 1}) as pack:
        for number in range(videos):
            kinds = rng.permutation(len(SENTENCES))
            rows = np.repeat(marks[kinds], 4, axis=0) + rng.normal(0, 0.2, (16, DIM))
            pack.write(FeatureRecord(f"V{number}", {"rgb": rows.astype(np.float32)}, None))
            lines["val" if number % 4 == 0 else "train"] += [
                f"V{number} {4 * place} {4 * place + 4}##{SENTENCES[kind]}."
                for place, kind in enumerate(kinds)
            ]
    for part, listed in lines.items():
        (folder / f"{part}.txt").write_text("\n".join(listed))
    return {
        **{part: str(folder / f"{part}.txt") for part in lines},
        "features": str(folder / "pack"),
        "windows": {"seconds": [4, 8], "overlap": 0.75, "context_seconds": 2},
    }


def write_config(folder: Path, data: dict[str, Any], **train: Any) -> str:
    config = {
        "model": {
            "name": "tall",
            "visual_dim": 3 * DIM,
            "sentence_dim": 64,
            "semantic_size": 32,
            "hidden_size": 32,
        },
        "data": {**data, "num_workers": 0},
        "train": {
            "epochs": 15,
            "batch_size": 8,
            "optimizer": "adam",
            "learning_rate": 0.01,
            "weight_decay": 0.0,
            "clip_gradient_norm": 5.0,
            **train,
        },
        "eval": {"batch_size": 3},
    }
    path = folder / "tall.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("moments")
    data = make_data(folder)
    words = ["train", "--config", write_config(folder, data), "--save-dir", str(folder / "run")]
    assert cli.main(words) == 0
    return folder / "run", data


def test_a_model_learns_to_find_moments(trained: tuple[Path, dict[str, Any]], tmp_path: Path):
    run, _ = trained

    assert cli.main(["eval", "--weights", str(run), "--save-dir", str(tmp_path)]) == 0

    facts = json.loads((tmp_path / "eval.json").read_text())
    assert (facts["videos"], facts["sentences"]) == (4, 16)
    found = {(row["n"], row["tiou"]): row["share"] for row in facts["recall"]}
    assert found[1, 0.5] > 0.8  # a guess finds a quarter
    assert facts["mean_tiou"] > 0.6
    assert len(facts["recall_2019"]) == 12
    features = read_weights(run / "best.safetensors")[1]["features"]
    assert features == {
        "visual": {"model": "tsn", "rate": 1},
        "sentences": {"encoder": "hashed-1", "dim": 64},
    }


def test_sentences_are_looked_for_in_every_video(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
):
    run, data = trained
    (tmp_path / "asked.txt").write_text("the dog sleeps\n\na cat jumps\n")
    words = ["predict", "--weights", str(run), "--save-dir", str(tmp_path), "--explain"]

    sentences = ["--sentence", "a man runs", "--sentences", str(tmp_path / "asked.txt")]
    shown = ["--page", "--subtitles", "--csv"]
    assert cli.main([*words, *sentences, "--top-k", "3", data["features"], *shown]) == 0

    found = json.loads((tmp_path / "predictions.json").read_text())["predictions"]
    assert len(found) == 16 * 3
    best = min(row["top"][0]["start"] for row in found if row["sentence"] == "a man runs")
    assert f'data-start="{best:.3f}"' in (tmp_path / "page.html").read_text()
    assert "a man runs" in (tmp_path / f"{found[0]['video']}.vtt").read_text()
    rows = (tmp_path / "predictions.csv").read_text().splitlines()
    assert len(rows) == 1 + sum(len(row["top"]) for row in found)
    assert [row["sentence"] for row in found[:3]] == ["a man runs", "the dog sleeps", "a cat jumps"]
    for row in found:
        assert 1 <= len(row["top"]) <= 3
        assert row["truth"] is None
        assert all(0 <= one["start"] <= one["end"] <= 16 for one in row["top"])
    with Image.open(tmp_path / found[0]["explained"]) as picture:
        assert picture.height > 3 * 24
    finder = videozoo.load(run)
    assert isinstance(finder, MomentRetriever)
    result = finder.predict(data["features"], "a man runs")[0]
    best = found[0]["top"][0]
    assert result.moments[0].start == pytest.approx(best["start"], abs=1e-6)


def test_a_file_of_sentences_is_answered_with_its_truth(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
):
    run, data = trained

    words = ["predict", "--weights", str(run), "--save-dir", str(tmp_path), "--explain"]
    assert cli.main([*words, data["val"]]) == 0

    found = json.loads((tmp_path / "predictions.json").read_text())["predictions"]
    assert [row["truth"] for row in found[:4]] == [[0, 4], [4, 8], [8, 12], [12, 16]]


def test_a_resumed_run_ends_as_one_that_never_stopped(tmp_path: Path):
    config = write_config(tmp_path, make_data(tmp_path, videos=5), epochs=4)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert cli.main(["train", "--config", config, "--save-dir", str(whole)]) == 0

    words = ["train", "--config", config, "--save-dir", str(parts)]
    assert cli.main([*words, "--epochs", "2"]) == 0
    assert cli.main([*words, "--resume"]) == 0

    one, other = (
        read_weights(run / "weights" / "epoch_4.safetensors")[0] for run in (whole, parts)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_does_not_fit_is_one_line(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, data = trained
    with PackWriter(tmp_path / "other", extractor={"model": "tsm", "rate": 1}) as pack:
        pack.write(FeatureRecord("V0", {"rgb": np.ones((16, DIM), np.float32)}, None))
    np.savez(tmp_path / "v.npz", sentences=np.array(["a man"]), vectors=np.ones((1, 64)))
    (tmp_path / "outside.txt").write_text("V0 30 40##a man runs\nV0 1 2##a man runs")
    given = ["data.sentences.encoder=given", f"data.sentences.file={tmp_path / 'v.npz'}"]
    asked = ["--sentence", "a man"]

    def fails(words: list[str], message: str) -> None:
        capsys.readouterr()
        save = ["--save-dir", str(tmp_path / "out")]
        assert cli.main([*words, "--weights", str(run), *save]) != 0
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error

    fails(["predict", str(tmp_path / "other"), *asked], "mixed features")
    sets = [word for line in given for word in ("--set", line)]
    fails(
        ["predict", data["features"], *asked, *sets],
        "sentence vectors by 'given' of 64 numbers, but",
    )
    fails(["predict", data["features"], "--sentence", " "], "is empty: it has no word")
    fails(["predict", str(tmp_path / "outside.txt")], "lies outside the video V0")
    fails(["predict", data["features"]], "what is to be found in it? --sentence")
    fails(["predict"], "nothing to look for")
    fails(["predict", "--sentences", str(tmp_path / "none.txt")], "none.txt: cannot be read")
    (tmp_path / "a.json").write_text('{"a": 1}')
    fails(["predict", "--sentences", str(tmp_path / "a.json")], "expected a text with one sentence")
    capsys.readouterr()
    assert cli.main(["export", "--weights", str(run), "--format", "torch-export"]) == 2
    assert "TALL is exported as onnx only" in capsys.readouterr().err


def test_the_2019_lines_give_the_files_of_2019(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for path in GOLDEN.iterdir():
        if path.is_dir():
            shutil.copytree(path, tmp_path / path.name)
        else:
            shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    words = ["--model_name=TALL", "--config=./tall.yaml", "--use_gpu=False"]
    weights = "--weights=TALL_start.pdparams"

    assert cli_v1.evaluate([*words, weights]) == 0
    assert cli_v1.predict([*words, weights, "--filelist=infer"]) == 0
    assert cli_v1.train([*words, "--pretrain=TALL_start.pdparams", "--save_dir=run"]) == 0

    ours = json.loads(Path("data/evaluate_results/TALL_test_res_.json").read_text())
    assert ours == json.loads((GOLDEN / "eval_out/TALL_test_res_.json").read_text())
    ours = json.loads(Path("data/predict_results/TALL_infer_res_.json").read_text())
    theirs = json.loads((GOLDEN / "predict_out/TALL_infer_res_.json").read_text())
    for movie, rows in theirs["results"].items():
        assert np.allclose(ours["results"][movie], rows, atol=1e-3)
    lines = Path("run/TALL/metrics.jsonl").read_text().splitlines()
    losses = [row["loss"] for row in map(json.loads, lines) if row["kind"] == "epoch"]
    assert losses == pytest.approx([0.4875, 0.4856, 0.4837], abs=6e-5)
    assert cli_v1.evaluate([*words, "--weights=run/TALL", "--batch_size=2"]) == 0


def test_a_2019_file_keeps_its_meaning():
    config = load_config(GOLDEN / "tall.yaml")

    assert config.data.sentences.dims == 20
    assert config.train.weight_decay == 0
    assert (config.data.train.name, config.data.test.name) == (
        "train_clip-sentvec.pkl",
        "test_clip-sentvec.pkl",
    )
    assert not [note for note in config.notes if "no effect" in note]


def test_times_that_do_not_fit_are_said_or_refused_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    data = make_data(tmp_path, videos=4)
    train = Path(data["train"])
    good = train.read_text()

    def trains(text: str, *sets: str) -> tuple[int, str]:
        train.write_text(text)
        run = ["--save-dir", str(tmp_path / "run"), "--overwrite", "--epochs", "1"]
        words = ["train", "--config", write_config(tmp_path, data), *run]
        caplog.clear()
        capsys.readouterr()
        status = cli.main([*words, *(word for each in sets for word in ("--set", each))])
        return status, capsys.readouterr().err + caplog.text

    status, said = trains(good)
    assert (status, "12 sentences to learn from, 4 to check with" in said) == (0, True)
    assert "reach beyond" not in said
    status, said = trains(f"{good}\nV1 1 99##a man runs.")
    assert (status, "line 13: 1 to 99 in a video of 16 s; are they in frames?" in said) == (0, True)
    frames = [
        f"{video} {25 * int(start)} {25 * int(end)}##{rest}"
        for line in good.splitlines()
        for times, rest in [line.split("##")]
        for video, start, end in [times.split()]
    ]
    status, said = trains("\n".join(frames))
    assert (status, "12 of 12 sentences reach beyond their video" in said) == (1, True)
    content = {
        f"V{n}": {"duration": 160, "timestamps": [[0, 4]], "sentences": ["a man runs"]}
        for n in (1, 2, 3)
    }
    status, said = trains(json.dumps(content))
    assert (status, "160 s annotated, 16 s by its features" in said) == (1, True)
    assert not (tmp_path / "run" / "weights" / "epoch_2.safetensors").exists()
    status, said = trains(good, "data.rate=5")
    assert (status, "data.rate is 5, with which every time would be wrong" in said) == (1, True)


def test_an_unknown_rate_is_said_and_compared_with_the_lengths_of_the_videos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data = make_data(tmp_path, videos=4)
    (tmp_path / "foreign").mkdir()
    for number in range(4):
        rows = np.random.default_rng(number).normal(size=(16, DIM)).astype(np.float32)
        np.save(tmp_path / "foreign" / f"V{number}.npy", rows)
    data["features"] = str(tmp_path / "foreign")
    words = ["train", "--config", write_config(tmp_path, data), "--epochs", "1"]
    run = ["--save-dir", str(tmp_path / "run")]
    Path(data["train"]).write_text("V1 0 3##a man runs\nV2 0 3##a man sits")
    Path(data["val"]).write_text("V0 0 3##a man runs")

    assert cli.main([*words, *run]) == 0
    said = capsys.readouterr().err
    assert said.count("do not say how many vectors per second they have; 5 is assumed") == 1

    entry = {"duration": 16, "timestamps": [[0, 3]], "sentences": ["a man runs"]}
    Path(data["train"]).write_text(json.dumps({"V1": entry, "V2": entry}))
    assert cli.main([*words, *run, "--overwrite"]) == 1
    assert "5 is assumed, but by the lengths in that file it is about 1: --set data.rate" in (
        capsys.readouterr().err
    )


def test_a_query_without_a_moment_is_looked_for_and_qvhighlights_is_learnt_from(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, _ = trained
    rows = [
        {"qid": 0, "query": "A man runs.", "vid": "V0", "duration": 16},
        {"qid": 1, "query": "The dog sleeps.", "vid": "V1", "duration": 16},
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    save = ["--weights", str(run), "--save-dir", str(tmp_path)]

    assert cli.main(["predict", *save, str(tmp_path / "test.jsonl")]) == 0
    found = json.loads((tmp_path / "predictions.json").read_text())["predictions"]
    assert [(row["video"], row["truth"]) for row in found] == [("V0", None), ("V1", None)]

    rows = [{**row, "relevant_windows": [[0, 4], [8, 12]]} for row in rows]
    (tmp_path / "val.jsonl").write_text("\n".join(map(json.dumps, rows)))
    capsys.readouterr()
    assert cli.main(["eval", *save, "--set", f"data.test={tmp_path / 'val.jsonl'}"]) == 0
    assert "2 sentences with several moments" in capsys.readouterr().err
    facts = json.loads((tmp_path / "eval.json").read_text())
    assert facts["sentences"] == 2
    found = score_submission(tmp_path / "moments.jsonl", tmp_path / "val.jsonl")
    assert found.notes == ()
    known = {name: each for name, each in found.scores.published.items() if each == each}
    assert known == pytest.approx({name: 100 * each for name, each in facts["metrics"].items()})


def test_highlights_are_scored_by_the_best_moment_over_each_clip(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, data = trained
    listed = [line.split("##") for line in Path(data["val"]).read_text().splitlines()[:4]]
    rows: list[dict[str, Any]] = []
    for number, (times, sentence) in enumerate(listed):
        video, start, _ = times.split()
        first = int(start) // 2
        rows.append(
            {
                "qid": number,
                "query": sentence,
                "vid": video,
                "duration": 16,
                "relevant_windows": [[int(start), int(start) + 4]],
                "relevant_clip_ids": [first, first + 1],
                "saliency_scores": [[4, 4, 4], [4, 4, 4]],
            }
        )
    (tmp_path / "val.jsonl").write_text("\n".join(map(json.dumps, rows)))
    save = ["--weights", str(run), "--save-dir", str(tmp_path)]

    assert cli.main(["eval", *save, "--set", f"data.test={tmp_path / 'val.jsonl'}"]) == 0

    facts = json.loads((tmp_path / "eval.json").read_text())
    assert facts["metrics"]["HL-min-VeryGood-Hit1"] > 0.7  # a guess is right in a quarter
    assert "highlights (very good): mAP" in capsys.readouterr().out
    assert cli.main(["predict", *save, str(tmp_path / "val.jsonl")]) == 0
    found = score_submission(tmp_path / "moments.jsonl", tmp_path / "val.jsonl")
    assert found.scores.published["HL-min-VeryGood-Hit1"] == pytest.approx(
        100 * facts["metrics"]["HL-min-VeryGood-Hit1"]
    )
    predicted = json.loads((tmp_path / "predictions.json").read_text())["predictions"]
    assert predicted[0]["truths"] == [[float(end) for end in rows[0]["relevant_windows"][0]]]


def test_a_mistake_in_json_names_the_video(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, _ = trained
    entry = {"duration": 16, "timestamps": [[5, 2]], "sentences": ["a man runs"]}
    (tmp_path / "negative.json").write_text(json.dumps({"V0": entry}))

    assert cli.main(["predict", "--weights", str(run), str(tmp_path / "negative.json")]) == 1
    assert "V0: sentence 0: ends at 2, not after its start at 5" in capsys.readouterr().err


def test_features_are_not_taken_for_denser_ones_than_were_learnt_from(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, _ = trained
    rows = np.random.default_rng(0).normal(size=(16, DIM)).astype(np.float32)
    np.save(tmp_path / "V0.npy", rows)
    save = ["--weights", str(run), "--save-dir", str(tmp_path / "out")]
    words = ["predict", *save, str(tmp_path / "V0.npy"), "--sentence", "a man runs"]

    assert cli.main(words) == 1
    said = capsys.readouterr().err
    assert "do not say how many vectors per second they have; 5 is assumed" in said
    assert "learnt from 1; every time would be wrong" in said
    assert cli.main([*words, "--set", "data.rate=1"]) == 0


def test_sentences_by_a_text_tower_are_learnt_from_and_another_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("transformers")
    from tests.encoders.tiny_models import build, save, word_tokenizer

    clip = word_tokenizer(save(build("clip"), tmp_path / "clip"), first="<start>", last="<end>")
    data = make_data(tmp_path, videos=4)
    config = write_config(tmp_path, {**data, "sentences": {"encoder": str(clip)}}, epochs=1)
    words = ["train", "--config", config, "--save-dir", str(tmp_path / "run")]

    assert cli.main(words) == 1
    assert "20 numbers, expected model.sentence_dim=64" in capsys.readouterr().err
    assert cli.main([*words, "--set", "model.sentence_dim=20"]) == 0

    run = ["--weights", str(tmp_path / "run"), "--save-dir", str(tmp_path / "out")]
    stored = read_weights(tmp_path / "run" / "best.safetensors")[1]["features"]["sentences"]
    assert stored["dim"] == 20
    assert stored["encoder"].startswith("clip_text_model-")
    assert stored["facts"]["reference"] == str(clip.resolve())
    asked = ["predict", *run, data["features"], "--sentence", "a dog runs"]
    assert cli.main(asked) == 0
    finder = videozoo.load(tmp_path / "run")
    assert isinstance(finder, MomentRetriever)
    assert finder.predict(data["features"], "a dog runs")[0].moments
    capsys.readouterr()
    shutil.rmtree(clip)
    word_tokenizer(save(build("clip"), clip), first="<start>", last="</s>")
    assert cli.main(asked) == 1
    error = capsys.readouterr().err
    assert f"which was {clip.resolve()}; use that encoder" in error
