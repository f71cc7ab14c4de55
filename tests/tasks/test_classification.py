"""Videos in, answers out: the whole way through the command lines, on tiny made-up clips."""

import json
import pickle
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import videozoo
from videozoo import cli, cli_v1
from videozoo.data.frames.video import VideoReader, open_video
from videozoo.data.synthetic.clips import CLASS_NAMES, SyntheticClips, make_clips
from videozoo.tasks.classification import Classifier

ROOT = Path(__file__).parents[2]

TINY = """
model: {name: MODEL, num_classes: 8, depth: 18, width: 0.125 EXTRA}
data:
  train: CLIPS/train.list
  val: CLIPS/val.list
  class_names: CLIPS/class_names.json
  short_side: 40
  crop_size: 32
  flip: 0
  num_workers: 0
  frame_stride: 2
train: {epochs: 2, batch_size: 4, learning_rate: 0.05}
"""


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> SyntheticClips:
    folder = tmp_path_factory.mktemp("clips")
    return make_clips(folder, num_train=16, num_val=8, num_test=8, seed=0, size=40)


@pytest.fixture
def config(clips: SyntheticClips, tmp_path: Path) -> Path:
    return write_config(tmp_path / "tiny.yaml", clips, "tsm", ", num_segments: 4")


def write_config(path: Path, clips: SyntheticClips, model: str, extra: str) -> Path:
    text = TINY.replace("MODEL", model).replace("EXTRA", extra).replace("CLIPS", str(clips.folder))
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def trained(clips: SyntheticClips, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a tiny TSM."""
    folder = tmp_path_factory.mktemp("trained")
    config = write_config(folder / "tiny.yaml", clips, "tsm", ", num_segments: 4")
    run = folder / "run"
    assert cli.main(["train", "--config", str(config), "--save-dir", str(run)]) == 0
    return run


def lines_of(listed: Path) -> list[str]:
    """Lines of a list, with paths that hold from anywhere."""
    return [f"{listed.parent / line}" for line in listed.read_text().splitlines()]


def failure(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The message of a command that must fail on the user's input."""
    capsys.readouterr()
    assert cli.main([str(word) for word in arguments]) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def weights_in(run: Path) -> dict[str, torch.Tensor]:
    """The best weights of a run, as its model holds them."""
    classifier = videozoo.load(run)
    assert isinstance(classifier, Classifier)
    return classifier.module.state_dict()


@pytest.mark.parametrize(
    ("model", "extra"),
    [
        ("tsn", ", num_segments: 3"),
        ("tsm", ", num_segments: 4"),
        ("stnet", ", num_segments: 3, frames_per_segment: 2"),
        ("nonlocal", ", num_frames: 4, temporal_convs: true"),
    ],
)
def test_every_clip_model_trains_evaluates_and_predicts(
    model: str,
    extra: str,
    clips: SyntheticClips,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    config = write_config(tmp_path / "run.yaml", clips, model, extra)
    run, out = tmp_path / "run", tmp_path / "out"

    assert cli.main(["train", "--config", str(config), "--save-dir", str(run)]) == 0
    assert (run / "best.safetensors").exists()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines if line["kind"] == "epoch"] == [1, 2]

    views = ["--set", "eval.num_clips=2", "--set", "eval.num_crops=3"]
    assert cli.main(["eval", "--weights", str(run), "--save-dir", str(out), *views]) == 0
    facts = json.loads((out / "eval.json").read_text())
    assert (facts["videos"], facts["views"]) == (8, 48)
    assert 0 <= facts["metrics"]["top1"] <= facts["metrics"]["top5"] <= 1
    assert len(facts["classes"]) == 8

    video = clips.unseen[0]
    capsys.readouterr()
    assert cli.main(["predict", "--weights", str(run), str(video), "--save-dir", str(out)]) == 0
    shown = capsys.readouterr().out
    best = json.loads((out / "predictions.json").read_text())["predictions"][0]["top"][0]
    assert best["class"] in CLASS_NAMES
    assert best["class"].split()[0] in shown  # long names may be wrapped


def test_the_2019_lines_run_on_lists_of_mp4(
    clips: SyntheticClips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_config(
        tmp_path / "stnet.yaml", clips, "stnet", ", num_segments: 2, frames_per_segment: 2"
    )
    monkeypatch.chdir(tmp_path)
    common = ["--model_name=STNET", "--config=./stnet.yaml", "--use_gpu=False"]

    status = cli_v1.train(
        [
            *common,
            "--log_interval=10",
            "--valid_interval=1",
            "--save_dir=./data/checkpoints",
            "--fix_random_seed=False",
            "--epoch=1",
            "--batch_size=8",
        ]
    )

    assert status == 0
    for weights in ("STNET", "STNET/best.safetensors", "STNET_epoch0", "STNET.pdparams"):
        assert cli_v1.evaluate([*common, f"--weights=./data/checkpoints/{weights}"]) == 0
    weights = "--weights=data/checkpoints/STNET"
    assert cli_v1.predict([*common, weights, f"--video_path={clips.unseen[0]}"]) == 0
    assert (tmp_path / "data/evaluate_results/STNET/eval.json").exists()
    assert (tmp_path / "data/predict_results/STNET/predictions.json").exists()


def test_a_2019_file_trains_on_pickles_and_videos(
    clips: SyntheticClips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "tsn.yaml").write_text(
        f"""
MODEL: {{name: TSN, format: mp4, num_classes: 8, seg_num: 2, seglen: 1, num_layers: 50, topk: 2,
  image_mean: [0.485, 0.456, 0.406], image_std: [0.229, 0.224, 0.225]}}
TRAIN: {{epoch: 1, short_size: 34, target_size: 32, num_reader_threads: 1, batch_size: 4,
  use_gpu: True, filelist: {clips.val_list}, learning_rate: 1e-2, learning_rate_decay: 0.1,
  l2_weight_decay: 1e-4, momentum: 0.9, total_videos: 8}}
VALID: {{short_size: 34, target_size: 32, batch_size: 4, filelist: {clips.val_list}}}
TEST: {{seg_num: 3, short_size: 34, target_size: 32, batch_size: 4, filelist: {clips.val_list}}}
INFER: {{short_size: 34, target_size: 32, batch_size: 1, filelist: {clips.val_list}}}
"""
    )
    monkeypatch.chdir(tmp_path)
    common = ["--model_name=TSN", "--config=tsn.yaml", "--use_gpu=False", "--set=model.width=0.125"]

    assert cli_v1.train(common) == 0
    assert cli_v1.evaluate([*common, "--weights=data/checkpoints/TSN"]) == 0
    assert cli_v1.predict([*common, "--weights=data/checkpoints/TSN"]) == 0


def test_the_2019_lines_run_on_pickles_without_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for number in range(4):
        jpegs: list[bytes] = []
        for _ in range(5):
            stream = BytesIO()
            Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(stream, "jpeg")
            jpegs.append(stream.getvalue())
        content = pickle.dumps((f"./id{number}", number % 2, jpegs), protocol=2)
        (tmp_path / f"id{number}_000010_000020").write_bytes(content)
    names = [f"id{number}_000010_000020\n" for number in range(4)]
    Path("train.list").write_text("".join(names))
    sizes = "short_size: 34, target_size: 32, batch_size: 2, filelist: train.list"
    Path("tsn.yaml").write_text(
        "MODEL: {name: TSN, format: pkl, num_classes: 2, seg_num: 2, seglen: 1, topk: 2}\n"
        f"TRAIN: {{epoch: 1, {sizes}, num_reader_threads: 1, learning_rate: 1e-2}}\n"
        + "".join(f"{section}: {{{sizes}}}\n" for section in ("VALID", "TEST", "INFER"))
    )
    common = ["--model_name=TSN", "--config=tsn.yaml", "--use_gpu=False"]
    small = ["--set=model.depth=18", "--set=model.width=0.125"]

    assert cli_v1.train([*common, *small, "--pretrain=none"]) == 0
    weights = "--weights=data/checkpoints/TSN"
    assert cli_v1.evaluate([*common, *small, weights]) == 0
    assert cli_v1.predict([*common, *small, weights]) == 0

    facts = json.loads(Path("data/evaluate_results/TSN/eval.json").read_text())
    assert np.sum(facts["confusion"]) == 4
    found = json.loads(Path("data/predict_results/TSN/predictions.json").read_text())["predictions"]
    assert len(found) == 4
    assert cli.main(["check-data", "train.list"]) == 0
    assert "no class" not in capsys.readouterr().out


def test_a_folder_per_class_needs_no_list(clips: SyntheticClips, tmp_path: Path):
    folder = tmp_path / "videos"
    for number, line in enumerate(lines_of(clips.train_list)):
        path, label = line.rsplit(" ", 1)
        target = folder / f"class {int(label) % 2}" / f"{number}.MP4"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    config = write_config(tmp_path / "run.yaml", clips, "tsm", ", num_segments: 4")
    run = tmp_path / "run"

    arguments = ["--config", str(config), "--data", str(folder), "--save-dir", str(run)]
    assert cli.main(["train", *arguments, "--epochs=1"]) == 0
    assert cli.main(["eval", "--weights", str(run)]) == 0

    classifier = videozoo.load(run)
    assert isinstance(classifier, Classifier)
    assert classifier.class_names == ["class 0", "class 1"]
    result = classifier.predict(folder)[0]
    assert result.scores is not None
    assert result.scores.sum() == pytest.approx(1, abs=1e-5)
    assert [number for number, _ in result.top(2)] == list(np.argsort(-result.scores))


def test_a_folder_of_some_classes_is_judged_by_the_classes_learnt(
    clips: SyntheticClips, tmp_path: Path
):
    learnt, other = tmp_path / "learnt", tmp_path / "other"
    for number, line in enumerate(lines_of(clips.train_list)):
        name = "abc"[number % 3]
        (learnt / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(line.rsplit(" ", 1)[0], learnt / name)
    config = write_config(tmp_path / "run.yaml", clips, "tsm", ", num_segments: 4")
    run, out = tmp_path / "run", tmp_path / "out"
    line = ["train", "--config", str(config), "--data", str(learnt), "--save-dir", str(run)]
    assert cli.main([*line, "--epochs=1"]) == 0
    other.mkdir()
    (learnt / "b").rename(other / "b")
    (learnt / "c").rename(other / "c")
    shutil.rmtree(learnt)  # trained elsewhere, as it were

    line = ["eval", "--weights", str(run), "--data", str(other), "--save-dir", str(out)]
    assert cli.main(line) == 0

    facts = json.loads((out / "eval.json").read_text())
    assert [row["videos"] > 0 for row in facts["classes"]] == [False, True, True]
    assert {Path(row["video"]).parent.name: row["label"] for row in facts["results"]} == {
        "b": 1,
        "c": 2,
    }


def test_going_on_with_another_model_changes_nothing(
    clips: SyntheticClips, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    before = (trained / "config.yaml").read_bytes()
    other = write_config(tmp_path / "other.yaml", clips, "tsn", ", num_segments: 4")
    wider = other.read_text().replace("width: 0.125", "width: 0.25")
    other.write_text(wider)

    failure(capsys, "train", "--config", other, "--save-dir", trained, "--resume")

    assert (trained / "config.yaml").read_bytes() == before


def test_the_schedule_counts_the_steps_that_are_taken(config: Path, tmp_path: Path):
    """16 clips as 5 batches of 3, two batches a step: 3 steps, the last one smaller."""
    run = tmp_path / "run"
    line = ["train", "--config", str(config), "--save-dir", str(run), "--log-interval=1"]
    sizes = ["--epochs=2", "--batch-size=6", "--set=train.gradient_accumulation=2"]
    decay = ["--set=train.schedule=steps", "--set=train.decay_at=[1]"]

    assert cli.main([*line, *sizes, *decay]) == 0

    lines = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    rates = [(row["epoch"], row["learning_rate"]) for row in lines if row["kind"] == "train"]
    assert [epoch for epoch, _ in rates] == [1, 1, 1, 2, 2, 2]
    assert [rate for _, rate in rates] == pytest.approx([0.05] * 3 + [0.005] * 3)


def test_a_label_outside_the_classes_is_named_in_prediction_too(
    clips: SyntheticClips, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    listed = tmp_path / "videos.list"
    listed.write_text(f"{clips.unseen[0]} 8\n")

    error = failure(capsys, "predict", "--weights", trained, listed)
    assert f"{listed}:1: label 8" in error


def test_the_same_seed_gives_the_same_weights_with_any_number_of_workers(
    config: Path, tmp_path: Path
):
    states: list[dict[str, torch.Tensor]] = []
    for workers in (0, 2):
        run = tmp_path / f"run{workers}"
        workers_flag = f"data.num_workers={workers}"
        line = ["--config", str(config), "--save-dir", str(run), "--set", workers_flag]
        assert cli.main(["train", *line, "--epochs=1"]) == 0
        states.append(weights_in(run))

    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


def test_a_resumed_run_ends_as_one_that_never_stopped(config: Path, tmp_path: Path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    line = ["train", "--config", str(config)]

    assert cli.main([*line, "--save-dir", str(whole)]) == 0
    assert cli.main([*line, "--save-dir", str(parts), "--epochs=1"]) == 0
    assert cli.main([*line, "--save-dir", str(parts), "--resume"]) == 0

    one, other = (weights_in(run) for run in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_folder_that_holds_a_run_is_not_touched(
    config: Path, trained: Path, capsys: pytest.CaptureFixture[str]
):
    before = (trained / "best.safetensors").read_bytes()

    error = failure(capsys, "train", "--config", config, "--save-dir", trained)

    assert "--resume" in error
    assert "--overwrite" in error
    assert (trained / "best.safetensors").read_bytes() == before


def test_missing_data_is_named(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    common = ["train", "--config", config, "--save-dir", tmp_path / "run"]

    assert "no.list" in failure(capsys, *common, "--set", "data.train=no.list")
    assert not (tmp_path / "run").exists()

    bad = tmp_path / "bad.list"
    bad.write_text("a.mp4 0\nb.mp4\n")
    assert f"{bad}:2" in failure(capsys, *common, "--set", f"data.train={bad}")
    bad.write_text("a.mp4 8\n")
    assert f"{bad}:1: label 8" in failure(capsys, *common, "--set", f"data.train={bad}")
    bad.write_text("")
    assert "empty" in failure(capsys, *common, "--set", f"data.train={bad}")


def test_class_names_that_are_not_there_are_only_missed(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config.write_text(config.read_text().replace("class_names.json", "gone.json"))
    line = ["train", "--config", str(config), "--epochs=1"]

    assert cli.main([*line, "--save-dir", str(tmp_path / "run")]) == 0
    assert "classes go by their numbers" in capsys.readouterr().err
    asked = ["--save-dir", tmp_path / "other", "--set", "data.class_names=gone.json"]
    assert "gone.json" in failure(capsys, *line, *asked)


def test_evaluation_goes_on_without_a_broken_video_and_says_so(
    clips: SyntheticClips, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"this is not a video")
    mixed = tmp_path / "mixed.list"
    mixed.write_text("\n".join([*lines_of(clips.val_list), f"{broken} 0\n"]))
    line = ["eval", "--weights", trained, "--data", mixed]

    out = ["--save-dir", tmp_path / "out"]

    assert "broken.mp4" in failure(capsys, *line, *out, "--strict")
    assert not (tmp_path / "out").exists()

    assert cli.main([str(word) for word in (*line, *out)]) == 1
    shown = capsys.readouterr()
    assert "8 of 9" in shown.out
    assert "1 of 9 videos could not be used; the others are done:\n  " in shown.err
    assert "broken.mp4" in shown.err
    assert json.loads((tmp_path / "out" / "eval.json").read_text())["videos"] == 8

    assert cli.main([str(word) for word in (*line, *out, "--skip-bad")]) == 0
    assert "note: 1 of 9 videos could not be used" in capsys.readouterr().err


def test_a_video_that_a_list_names_again_is_decoded_once_and_counts_each_time(
    clips: SyntheticClips,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"this is not a video")
    first, second = lines_of(clips.val_list)[:2]
    of_another_class = f"{second.split()[0]} {(int(second.split()[1]) + 1) % 8}"
    lines = [first, f"{broken} 0", second, first, of_another_class, f"{broken} 0", first]
    opened: list[str] = []

    def counted(path: Path) -> VideoReader:
        opened.append(path.name)
        return open_video(path)

    monkeypatch.setattr("videozoo.data.clips.open_video", counted)
    found: dict[str, list[str]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for name, listed in (("all", lines), ("once", list(dict.fromkeys(lines)))):
        path = tmp_path / f"{name}.list"
        path.write_text("\n".join(listed))
        opened.clear()
        for verb, words in (("eval", ["--data"]), ("predict", [])):
            line = [verb, "--weights", trained, "--skip-bad", *words, path]
            out = ["--save-dir", tmp_path / name / verb]
            assert cli.main([str(word) for word in (*line, *out)]) == 0
        found[name] = sorted(opened)
        facts[name] = json.loads((tmp_path / name / "eval" / "eval.json").read_text())
    rows = json.loads((tmp_path / "all" / "predict" / "predictions.json").read_text())

    assert found["all"] == found["once"]
    assert (facts["all"]["videos"], facts["once"]["videos"]) == (5, 3)
    assert len(rows["skipped"]) == 2
    assert "2 of 7 videos could not be used" in capsys.readouterr().err
    tops = [each["top"] for each in rows["predictions"]]
    names = [Path(each["path"]).name for each in rows["predictions"]]
    assert names == [Path(line.split()[0]).name for line in lines if "broken" not in line]
    assert tops[0] == tops[2] == tops[4]
    assert tops[1] == tops[3]
    right = [
        each["top"][0]["label"] == int(line.split()[1])
        for each, line in zip(
            rows["predictions"], [line for line in lines if "broken" not in line], strict=True
        )
    ]
    assert facts["all"]["metrics"]["top1"] == pytest.approx(sum(right) / 5)


def test_broken_training_videos_are_replaced_up_to_a_share(
    clips: SyntheticClips, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"this is not a video")
    mixed = tmp_path / "mixed.list"
    mixed.write_text("\n".join([*lines_of(clips.train_list), f"{broken} 0\n"]))
    common = ["train", "--config", str(config), "--set", f"data.train={mixed}", "--epochs=1"]

    error = failure(capsys, *common, "--save-dir", tmp_path / "a", "--set=data.bad_video_share=0")
    assert "broken.mp4" in error

    allowed = ["--set", "data.bad_video_share=0.1", "--save-dir", str(tmp_path / "b")]
    assert cli.main([*common, *allowed]) == 0
    assert "1 video could not be read and was replaced" in capsys.readouterr().err


def test_weights_of_another_number_of_classes_start_a_training(
    config: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Training leaves the classifier fresh by itself; evaluation has to be told."""
    other = ["--config", config, "--set", "model.num_classes=9", "--set", "data.class_names=null"]

    error = failure(capsys, "eval", "--weights", trained, *other)
    assert "head.weight" in error
    assert "--drop head" in error

    line = ["train", *other, "--save-dir", tmp_path / "run", "--epochs=1", "--pretrain", trained]
    assert cli.main([str(word) for word in line]) == 0
    said = capsys.readouterr().err
    assert "its 8 classes are not this run's 9, so head starts fresh" in said


def test_wrong_weights_are_named(
    config: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert "no such weights file" in failure(capsys, "eval", "--weights", tmp_path / "nothing")
    other = tmp_path / "other.yaml"
    other.write_text(config.read_text().replace("tsm", "tsn"))
    error = failure(capsys, "eval", "--weights", trained, "--config", other)
    assert "made for model 'tsm'" in error


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that is not there")
def test_a_gpu_that_is_not_there_is_said_at_once(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    line = ["--model_name=TSM", f"--config={config}", f"--save_dir={tmp_path}", "--use_gpu=True"]

    assert cli_v1.train(line) == 1
    assert "--use_gpu=False" in capsys.readouterr().err


def test_inputs_of_prediction_that_are_not_there(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert "nothing matches" in failure(capsys, "predict", "--weights", trained, "no/*.mp4")
    assert "no such file" in failure(capsys, "predict", "--weights", trained, "gone.mp4")
    (tmp_path / "empty").mkdir()
    assert "no videos" in failure(capsys, "predict", "--weights", trained, tmp_path / "empty")


def test_real_surveillance_videos_train_evaluate_and_predict(tmp_path: Path):
    real = ROOT.parent / "shared" / "data" / "fight_surveillance"
    if not real.is_dir():
        pytest.skip("the real CCTV clips are not beside this checkout")
    some = tmp_path / "videos"
    for name in ("fight", "noFight"):
        (some / name).mkdir(parents=True)
        for video in sorted((real / name).glob("*.mp4"))[:6]:
            shutil.copy(video, some / name)
    run = tmp_path / "run"
    config = ROOT / "configs" / "demo" / "folder.yaml"
    small = ["--set", "model.width=0.125", "--set", "data.crop_size=56", "--set"]
    small += ["data.short_side=64", "--set", "data.num_workers=0", "--epochs=1", "--batch-size=4"]

    line = ["train", "--config", str(config), "--data", str(some), "--save-dir", str(run), *small]
    assert cli.main(line) == 0
    assert cli.main(["eval", "--weights", str(run)]) == 0
    assert cli.main(["predict", "--weights", str(run), str(some / "fight")]) == 0
