"""Describing events: train, evaluate and predict, with both command lines."""

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
from videozoo.tasks.captioning import Captioner, evaluation
from videozoo.tasks.loading import config_for_weights
from videozoo.tasks.requests import ConfigSource
from videozoo.weights.files import read_weights, save_weights

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "ets_pipeline"
DIM = 8
SENTENCES = ["a man runs", "the dog sleeps", "a cat jumps over the dog", "the man sits down"]


def make_data(folder: Path, *, videos: int = 12, rate: int = 2) -> dict[str, str]:
    """Videos in which one of four things happens at a time, each with features of its own."""
    marks = np.eye(DIM, dtype=np.float32)[: len(SENTENCES)] * 3
    rng = np.random.default_rng(3)
    parts: dict[str, dict[str, Any]] = {"train": {}, "val": {}}
    with PackWriter(folder / "pack", extractor={"model": "tsn", "rate": rate}) as pack:
        for number in range(videos):
            kinds = rng.permutation(len(SENTENCES))
            rows = np.repeat(marks[kinds], 6, axis=0) + rng.normal(0, 0.2, (24, DIM))
            name = f"v_{number:02d}"
            pack.write(FeatureRecord(name, {"rgb": rows.astype(np.float32)}, None))
            times = [[6 * place / rate, 6 * (place + 1) / rate] for place in range(len(kinds))]
            parts["val" if number % 3 == 0 else "train"][name] = {
                "duration": 24 / rate,
                "timestamps": times,
                "sentences": [f"{SENTENCES[kind].capitalize()}." for kind in kinds],
            }
    for part, content in parts.items():
        (folder / f"{part}.json").write_text(json.dumps(content))
    return {part: str(folder / f"{part}.json") for part in parts} | {
        "features": str(folder / "pack")
    }


def write_config(folder: Path, data: dict[str, str], **train: Any) -> str:
    config = {
        "model": {
            "name": "ets",
            "feature_dim": DIM,
            "embedding_size": 16,
            "gru_size": 16,
            "decoder_size": 16,
            "word_size": 16,
        },
        "data": {**data, "num_workers": 0, "min_word_count": 1},
        "train": {
            "epochs": 12,
            "batch_size": 6,
            "optimizer": "adam",
            "learning_rate": 0.02,
            "weight_decay": 0.0,
            "clip_gradient_norm": 5.0,
            **train,
        },
        "eval": {"meteor": False, "batch_size": 5, "max_length": 12},
        "predict": {"max_length": 12, "top_k": 2, "batch_size": 7},
    }
    path = folder / "ets.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("captions")
    data = make_data(folder)
    words = ["train", "--config", write_config(folder, data), "--save-dir", str(folder / "run")]
    assert cli.main(words) == 0
    return folder / "run", data


def test_a_model_learns_to_describe_and_every_event_counts(
    trained: tuple[Path, dict[str, str]], tmp_path: Path
):
    run, _ = trained

    assert cli.main(["eval", "--weights", str(run), "--save-dir", str(tmp_path)]) == 0

    facts = json.loads((tmp_path / "eval.json").read_text())
    assert facts["events"] == 16  # of batches of 5
    assert facts["metrics"]["bleu_4"] > 0.9
    assert facts["dense"]["recall"] == 1
    assert facts["unknown_words"]["unknown"] == 0
    listed = json.loads((tmp_path / "captions.json").read_text())["results"]
    assert sum(map(len, listed.values())) == 16
    metadata = read_weights(run / "best.safetensors")[1]
    assert metadata["vocabulary"][:3] == ["<s>", "<e>", "<unk>"]
    assert metadata["features"] == {"model": "tsn", "rate": 2}


def test_weights_of_earlier_versions_have_their_words_among_the_class_names(
    trained: tuple[Path, dict[str, str]], tmp_path: Path
):
    state, metadata = read_weights(trained[0] / "best.safetensors")
    words = metadata.pop("vocabulary")
    save_weights(tmp_path / "old.safetensors", state, {**metadata, "class_names": words})

    old = config_for_weights(ConfigSource(), str(tmp_path / "old.safetensors"))

    assert (old.vocabulary, old.class_names) == (tuple(words), None)


def test_several_people_may_have_described_the_videos_and_java_may_be_missing(
    trained: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run, data = trained
    monkeypatch.setattr(evaluation, "has_java", lambda: False)
    other = {
        "v_00": {"timestamps": [[0.0, 12.0]], "sentences": ["All of it."]},
        "unseen": {"timestamps": [[0.0, 1.0]], "sentences": ["Nothing."]},
    }
    (tmp_path / "other.json").write_text(json.dumps(other))
    words = ["eval", "--weights", str(run), "--save-dir", str(tmp_path)]
    sets = ["--set", "eval.meteor=true", "--set"]

    found = list[dict[str, Any]]()
    for references in ([data["val"]], [data["val"], str(tmp_path / "other.json")]):
        assert cli.main([*words, *sets, f"data.references={json.dumps(references)}"]) == 0
        found.append(json.loads((tmp_path / "eval.json").read_text()))

    assert "no METEOR: it needs Java" in found[0]["notes"][0]
    assert "meteor" not in found[0]["metrics"]
    assert found[1]["dense"]["recall"] == pytest.approx(0.8)  # nothing was said of one of five
    assert found[1]["metrics"] == found[0]["metrics"]


def test_events_are_described_with_pictures_of_attention(
    trained: tuple[Path, dict[str, str]], tmp_path: Path
):
    run, data = trained
    words = ["predict", "--weights", str(run), "--save-dir", str(tmp_path), "--explain"]

    assert cli.main([*words, data["val"], "--page", "--subtitles", "--csv"]) == 0

    found = json.loads((tmp_path / "predictions.json").read_text())["predictions"]
    truth = json.loads(Path(data["val"]).read_text())
    assert len(found) == 16
    assert found[0]["sentence"] in (tmp_path / "page.html").read_text()
    assert found[0]["sentence"] in (tmp_path / f"{found[0]['video']}.srt").read_text()
    assert found[0]["sentence"] in (tmp_path / "predictions.csv").read_text()
    assert found[0]["sentence"] == truth["v_00"]["sentences"][0].lower().rstrip(".")
    assert all(len(row["top"]) == 2 for row in found)
    with Image.open(tmp_path / found[0]["explained"]) as picture:
        assert picture.height > 4 * 34
    captioner = videozoo.load(run)
    assert isinstance(captioner, Captioner)
    result = captioner.predict(data["val"])[0]
    best = result.captions[0]
    assert best.text == found[0]["sentence"]
    assert [each.text for each in (best, *best.others)][:2] == [
        each["sentence"] for each in found[0]["top"]
    ]
    assert best.attention is not None
    assert best.attention.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert len(best.words) == len(best.attention)


def test_whole_videos_are_described_from_features_alone(
    trained: tuple[Path, dict[str, str]], tmp_path: Path
):
    run, data = trained

    words = ["predict", "--weights", str(run), "--save-dir", str(tmp_path), data["features"]]
    assert cli.main(words) == 0

    found = json.loads((tmp_path / "predictions.json").read_text())["predictions"]
    assert [row["end_seconds"] for row in found] == [12.0] * 12


def test_a_resumed_run_ends_as_one_that_never_stopped(tmp_path: Path):
    data = make_data(tmp_path, videos=6)
    noam = {"schedule": "noam", "noam_size": 16, "noam_warmup_steps": 20, "epochs": 4}
    config = write_config(tmp_path, data, **noam)
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
    trained: tuple[Path, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, data = trained
    with PackWriter(tmp_path / "other", extractor={"model": "tsm", "rate": 2}) as pack:
        pack.write(FeatureRecord("v_00", {"rgb": np.ones((24, DIM), np.float32)}, None))
    (tmp_path / "outside.txt").write_text("v_00 30 40##a man runs\nv_00 1 2##a man runs")
    save = ["--save-dir", str(tmp_path / "out")]

    def fails(words: list[str], message: str) -> None:
        capsys.readouterr()
        assert cli.main([*words, "--weights", str(run), *save]) != 0
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error

    fails(["predict", str(tmp_path / "other")], "mixed features")
    other = ["--set", f"data.features={tmp_path / 'other'}"]
    fails(["eval", "--skip-bad", *other], "mixed features")
    (tmp_path / "words.txt").write_text("<s>\n<e>\n<unk>\nbat\n")
    words = ["--set", f"data.vocabulary={tmp_path / 'words.txt'}"]
    fails(["predict", data["val"], *words], "words.txt: not the 14 words")
    fails(["predict", data["val"], "--set", "predict.beam_size=0"], "predict.beam_size")
    fails(["predict", data["val"], "--sentence", "a man"], "--sentence is for models that find")
    fails(["predict", str(tmp_path / "outside.txt")], "shows nothing of its video")
    fails(["predict"], "no events")
    fails(["predict", "--annotate", data["val"]], "--annotate needs a model")
    fails(["eval", "--report"], "--report is for models that classify clips")
    capsys.readouterr()
    assert cli.main(["export", "--weights", str(run), "--video", "a.mp4"]) == 2
    assert "--video: ETS reads features" in capsys.readouterr().err
    config = write_config(tmp_path, data)
    words = ["train", "--config", config, *save, "--set", "model.vocabulary_size=7"]
    assert cli.main(words) == 1
    assert "words, but model.vocabulary_size is 7" in capsys.readouterr().err


def test_the_2019_lines_give_the_files_of_2019(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("ets.yaml", "dict.txt", "train.list", "val.list", "infer.list"):
        shutil.copy(GOLDEN / name, tmp_path)
    shutil.copy(GOLDEN / "ETS_start.pdparams", tmp_path)
    shutil.copytree(GOLDEN / "data_dict", tmp_path / "data_dict")
    monkeypatch.chdir(tmp_path)
    words = ["--model_name=ETS", "--config=./ets.yaml", "--use_gpu=False"]
    weights = "--weights=ETS_start.pdparams"

    assert cli_v1.evaluate([*words, weights, "--set", "eval.meteor=false"]) == 0
    assert cli_v1.predict([*words, weights]) == 0
    assert cli_v1.train([*words, "--pretrain=ETS_start.pdparams", "--save_dir=ckpt"]) == 0

    for ours, theirs in (
        ("data/evaluate_results/ETS_test_res_.json", "eval_out/ETS_test_res_.json"),
        ("data/predict_results/ETS_infer_res_.json", "predict_out/ETS_infer_res_.json"),
    ):
        assert json.loads(Path(ours).read_text()) == json.loads((GOLDEN / theirs).read_text())
    lines = Path("ckpt/ETS/metrics.jsonl").read_text().splitlines()
    losses = [row["loss"] for row in map(json.loads, lines) if row["kind"] == "epoch"]
    assert losses == pytest.approx([6.03557158, 6.03478861], rel=1e-6)
    assert cli_v1.predict([*words, "--weights=ckpt/ETS", "--batch_size=3"]) == 0
    cut = [*words, weights, "--set", "predict.max_length=3"]
    lengths = list[int]()
    for drops in (True, False):
        drop = f"predict.drop_last_word_as_in_2019={drops}"
        assert cli_v1.predict([*cut, "--set", drop]) == 0
        found = json.loads(Path("data/predict_results/ETS/predictions.json").read_text())
        lengths.append(len(found["predictions"][1]["sentence"].split()))
    assert lengths == [2, 3]


def test_a_2019_file_keeps_its_meaning():
    config = load_config(GOLDEN / "ets.yaml")

    assert config.train.schedule == "noam"
    assert (config.train.noam_size, config.train.clip_gradient_norm) == (10, 5.0)
    assert config.predict.drop_last_word_as_in_2019
    assert not load_config(ROOT / "configs" / "ets.yaml").predict.drop_last_word_as_in_2019
    assert not [note for note in config.notes if "no effect" in note]


def test_times_that_do_not_fit_are_said_or_refused_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    data = make_data(tmp_path, videos=6)
    train = Path(data["train"])
    good = json.loads(train.read_text())

    def trains(content: dict[str, Any], *sets: str) -> tuple[int, str]:
        train.write_text(json.dumps(content))
        run = ["--save-dir", str(tmp_path / "run"), "--overwrite", "--epochs", "1"]
        words = ["train", "--config", write_config(tmp_path, data), *run]
        caplog.clear()
        capsys.readouterr()
        status = cli.main([*words, *(word for each in sets for word in ("--set", each))])
        return status, capsys.readouterr().err + caplog.text

    status, said = trains(good)
    assert (status, "16 sentences to learn from, 8 to check with" in said) == (0, True)
    assert "reach beyond" not in said
    one = {"timestamps": [[1.0, 60.0]], "sentences": ["A man runs."]}
    status, said = trains({**good, "v_00": one})
    assert (status, "v_00: sentence 0: 1 to 60 in a video of 12 s" in said) == (0, True)
    outside = {"timestamps": [[20.0, 60.0]], "sentences": ["A man runs."]}
    status, said = trains({**good, "v_00": outside})
    assert (status, "v_00 20 to 60 s shows nothing of its video" in said) == (1, True)
    status, said = trains({**good, "v_00": outside}, "data.outside=skip")
    assert (status, "left out: 1 sentence without a part of the video" in said) == (0, True)
    frames = {
        video: {**entry, "timestamps": [[25 * t for t in pair] for pair in entry["timestamps"]]}
        for video, entry in good.items()
    }
    status, said = trains(frames)
    assert (status, "16 of 16 sentences reach beyond" in said) == (1, True)
    status, said = trains(good, "data.rate=5")
    assert (status, "data.rate is 5, with which every time would be wrong" in said) == (1, True)


def test_a_vocabulary_without_a_word_of_the_sentences_teaches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["train", "--config", write_config(tmp_path, make_data(tmp_path, videos=4))]
    run = tmp_path / "run"

    assert cli.main([*words, "--save-dir", str(run), "--set", "data.min_word_count=99"]) == 1

    assert "none of its 32 words is in the vocabulary (data.min_word_count=99)" in (
        capsys.readouterr().err
    )
    assert not run.exists()


def test_references_and_rates_of_something_else_are_refused(
    trained: tuple[Path, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, _ = trained
    other = {"zz": {"timestamps": [[0, 4]], "sentences": ["a man runs"]}}
    (tmp_path / "other.json").write_text(json.dumps(other))
    rows = np.random.default_rng(0).normal(size=(24, DIM)).astype(np.float32)
    np.save(tmp_path / "v_00.npy", rows)
    save = ["--weights", str(run), "--save-dir", str(tmp_path / "out")]

    references = f"data.references=[{tmp_path / 'other.json'}]"
    assert cli.main(["eval", *save, "--set", references]) == 1
    assert "other.json: says nothing of the 4 videos" in capsys.readouterr().err
    assert cli.main(["predict", *save, str(tmp_path / "v_00.npy")]) == 1
    said = capsys.readouterr().err
    assert "do not say how many vectors per second they have; 5 is assumed" in said
    assert "learnt from 2; every time would be wrong" in said
    assert cli.main(["predict", *save, str(tmp_path / "v_00.npy"), "--set", "data.rate=2"]) == 0
