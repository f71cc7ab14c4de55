"""What is computed is kept: any terminal, any file name, bad files among good ones, other runs."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import videozoo
from videozoo import cli, cli_v1
from videozoo.config import from_layers
from videozoo.data.synthetic.clips import make_clips
from videozoo.errors import VideoError
from videozoo.tasks.classification import Classifier
from videozoo.tasks.loading import save_trained
from videozoo.tasks.results import ResultFolder

LATIN = os.fsdecode(b"caf\xe9.mp4")
"""A name that is not UTF-8."""
CLASSES = ["żółw", "b ✓", "c"]


def save_small(path: Path, *, seed: int = 0) -> Path:
    """Weights of a tiny TSN, for clips of three classes."""
    model = {"name": "tsn", "num_classes": 3, "depth": 18, "width": 0.125, "num_segments": 2}
    data = {"short_side": 34, "crop_size": 32, "num_workers": 0}
    config = from_layers([("", {"model": model, "data": data})])
    torch.manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_trained(path, config.spec.build(config.model), config, CLASSES, {})
    return path


def make_run(folder: Path, *, seed: int = 0) -> Path:
    """What a training leaves, as far as evaluation and prediction look at it."""
    save_small(folder / "best.safetensors", seed=seed)
    (folder / "config.yaml").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    made = make_clips(folder, num_train=1, num_val=1, num_test=1, seed=0, size=40)
    return made.unseen[0]


@pytest.fixture
def here(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a run, and a list of two videos, one with an odd name."""
    monkeypatch.chdir(tmp_path)
    make_run(Path("run"))
    Path("v").mkdir()
    shutil.copy(clip, "v/żółw.mp4")
    try:
        shutil.copy(clip, Path("v", LATIN))
    except OSError:
        pytest.skip("this file system wants UTF-8 names")
    lines = [f"{path} {n}\n" for n, path in enumerate(sorted(Path("v").iterdir()))]
    Path("all.list").write_bytes("".join(lines).encode("utf-8", "surrogateescape"))
    return tmp_path


COMMANDS = (
    ["eval", "--weights=run", "--data=all.list", "--save-dir=e"],
    ["predict", "--weights=run", "--save-dir=p", "--annotate", "v"],
    ["extract", "--weights=run", "--output=f", "v"],
    ["extract", "--weights=run", "--output=t", "--format=tfrecord", "v"],
)


PAGE = ["predict", "--weights=run", "--save-dir=q", "--page", "--csv", "--subtitles", "v"]


def check_outputs(folder: Path) -> None:
    """Every file tells the very names that the videos have."""
    expected = sorted(str(path) for path in Path("v").iterdir())
    rows = json.loads((folder / "p" / "predictions.json").read_text("utf-8"))["predictions"]
    assert sorted(row["path"] for row in rows) == expected
    assert sum((folder / "p" / row["annotated"]).stat().st_size > 0 for row in rows) == 2
    results = json.loads((folder / "e" / "eval.json").read_text("utf-8"))["results"]
    assert sorted(Path(row["video"]).name for row in results) == sorted(
        path.name for path in Path("v").iterdir()
    )
    assert "caf\\xe9" in (folder / "e" / "report.html").read_text("utf-8")
    for made in ("f", "t"):
        lines = (folder / made / "videos.jsonl").read_text("utf-8").splitlines()
        held = sorted(json.loads(line)["path"] for line in lines)
        assert held == [os.path.abspath(path) for path in expected]  # noqa: PTH100


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_any_name_goes_to_any_terminal_and_into_every_file(
    encoding: str, here: Path, monkeypatch: pytest.MonkeyPatch
):
    shown = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", shown[0])
    monkeypatch.setattr(sys, "stderr", shown[1])

    statuses = [cli.main(words) for words in COMMANDS]

    text = ""
    for stream in shown:
        stream.flush()
        assert isinstance(stream.buffer, io.BytesIO)
        text += stream.buffer.getvalue().decode(encoding)
    assert statuses == [0, 0, 0, 0], text
    assert "caf\\xe9.mp4" in text
    check_outputs(here)


def test_the_c_locale_without_utf_8_is_enough(here: Path):
    script = (
        "import sys\nfrom videozoo.cli import main\n"
        f"sys.exit(max(main(words) for words in {(*COMMANDS[:2], PAGE)!r}))"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr.decode("ascii", "replace")
    assert b"\\u017c\\u00f3\\u0142w" in done.stdout
    assert b"caf\\xe9.mp4" in done.stdout


# --- bad files among good ones -------------------------------------------------------------------


def test_one_bad_video_does_not_end_the_others(
    here: Path, clip: Path, capsys: pytest.CaptureFixture[str]
):
    Path("w").mkdir()
    shutil.copy(clip, "w/good.mp4")
    Path("w/bad.mp4").write_bytes(b"this is not a video")

    for words, result in (
        (["predict", "w", "--save-dir=out", "--explain"], "out/predictions.json"),
        (["extract", "w", "--output=out"], "out/videos.jsonl"),
    ):
        line = [*words, "--weights=run"]
        capsys.readouterr()
        assert cli.main([*line, "--strict"]) == 1
        assert "w/bad.mp4" in capsys.readouterr().err
        assert cli.main(line) == 1
        error = capsys.readouterr().err
        assert "1 of 2 videos could not be used; the others are done:\n  w/bad.mp4" in error
        assert "good" in Path(result).read_text()
        assert cli.main([*line, "--skip-bad"]) == 0
        assert cli.main([*line, "--skip-bad", "--strict"]) == 2
        shutil.rmtree("out")

    Path("w.list").write_text("w/good.mp4 0\nw/bad.mp4 1\n")
    line = ["--weights=run", "--data=w.list", "--save-dir=out", "--no-report"]
    assert cli.main(["eval", *line]) == 1
    facts = json.loads(Path("out/eval.json").read_text())
    assert (facts["videos"], len(facts["skipped"])) == (1, 1)
    assert cli.main(["predict", "--weights=run", "w/bad.mp4"]) == 1
    assert "none of" not in capsys.readouterr().err.splitlines()[-1]
    loaded = videozoo.load("run")
    assert isinstance(loaded, Classifier)
    with pytest.raises(VideoError, match=r"bad\.mp4"):
        loaded.predict("w/bad.mp4")
    with pytest.raises(VideoError, match=r"bad\.mp4"):
        loaded.predict("w")
    with pytest.warns(UserWarning, match=r"bad\.mp4"):
        assert [one.name for one in loaded.predict("w", strict=False)] == ["w/good.mp4"]


def test_damaged_videos_are_named_and_links_to_nothing_do_not_end_the_others(
    here: Path, clip: Path, capsys: pytest.CaptureFixture[str]
):
    content = bytearray(clip.read_bytes())
    place = len(content) // 3
    content[place : place + 400] = bytes(n * 37 % 256 for n in range(400))
    Path("w").mkdir()
    Path("w/damaged.mp4").write_bytes(content)
    Path("w/nothing.mp4").symlink_to("nowhere.mp4")
    capsys.readouterr()

    assert cli.main(["predict", "--weights=run", "w/*.mp4", "--save-dir=out"]) == 1

    error = capsys.readouterr().err
    assert "damaged: w/damaged.mp4: " in error
    assert "1 of 2 videos could not be used; the others are done:\n  w/nothing.mp4" in error
    facts = json.loads(Path("out/predictions.json").read_text())
    assert [one["video"] for one in facts["predictions"]] == ["w/damaged.mp4"]
    assert facts["damaged"][0].startswith("w/damaged.mp4: ")
    Path("w.list").write_text("w/damaged.mp4 0\n")
    line = ["eval", "--weights=run", "--data=w.list", "--save-dir=out", "--no-report"]
    assert cli.main(line) == 0
    assert json.loads(Path("out/eval.json").read_text())["damaged"] == facts["damaged"]
    loaded = videozoo.load("run")
    assert isinstance(loaded, Classifier)
    with pytest.warns(UserWarning, match=r"damaged: w/damaged\.mp4"):
        loaded.predict("w/damaged.mp4")


# --- other runs ----------------------------------------------------------------------------------


def test_results_lie_beside_their_run(here: Path, clip: Path):
    shutil.copy(clip, "one.mp4")
    make_run(Path("other"), seed=1)
    (Path("other") / "weights").mkdir()
    shutil.copy("other/best.safetensors", "other/weights/epoch_3.safetensors")
    shutil.copy("other/best.safetensors", "alone.safetensors")

    for weights in ("run", "other", "other/weights/epoch_3.safetensors", "alone.safetensors"):
        line = [f"--weights={weights}"]
        assert cli.main(["eval", *line, "--data=all.list", "--no-report"]) == 0
        assert cli.main(["predict", *line, "one.mp4"]) == 0
        assert cli.main(["predict", *line, "one.mp4", "v"]) == 0

    for folder in ("run/eval", "other/eval", "other/eval/epoch_3", "runs/alone/eval"):
        assert Path(folder, "eval.json").is_file()
    for folder in ("run", "other", "runs/alone"):
        names = {path.name for path in Path(folder, "predict").iterdir()}
        assert "one" in names
        assert any(name.startswith("20") for name in names)  # the time, for several inputs


def test_results_of_other_weights_are_kept(here: Path, capsys: pytest.CaptureFixture[str]):
    make_run(Path("other"), seed=1)
    words = ["eval", "--data=all.list", "--save-dir=out"]

    assert cli.main([*words, "--weights=run"]) == 0
    first = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    assert set(first) == {"eval.json", "report.html"}
    assert cli.main([*words, "--weights=run"]) == 0  # the same again takes its own place
    assert {path.name for path in Path("out").iterdir()} == set(first)
    capsys.readouterr()
    assert cli.main([*words, "--weights=other"]) == 0

    assert "out/old-1" in capsys.readouterr().err
    kept = json.loads(Path("out/old-1/eval.json").read_text())
    assert kept["weights"] == "run/best.safetensors"
    assert Path("out/old-1/report.html").is_file()
    assert json.loads(Path("out/eval.json").read_text())["weights"] == "other/best.safetensors"


def test_lines_of_2019_give_each_model_reports_of_its_own(here: Path, clip: Path):
    shutil.copy(clip, "one.mp4")
    common = {"short_side": 34, "crop_size": 32, "num_workers": 0}
    for name, seed in (("TSN", 0), ("TSM", 1)):
        model = {"name": name.lower(), "num_classes": 3, "depth": 18, "width": 0.125}
        sections = {"model": {**model, "num_segments": 2}, "data": common}
        config = from_layers([("", sections)])
        torch.manual_seed(seed)
        module = config.spec.build(config.model)
        save_trained(Path(f"{name}.safetensors"), module, config, CLASSES, {})
        Path(f"{name}.yaml").write_text(config.to_yaml())
        line = [f"--model_name={name}", f"--config={name}.yaml", f"--weights={name}.safetensors"]
        assert cli_v1.evaluate([*line, "--set", "data.test=all.list"]) == 0
        assert cli_v1.predict([*line, "--video_path=one.mp4"]) == 0

    for name in ("TSN", "TSM"):
        for path in ("evaluate_results/{}/eval.json", "predict_results/{}/predictions.json"):
            assert json.loads(Path("data", path.format(name)).read_text())["model"] == name.lower()


def test_a_file_that_models_of_2019_share_is_handed_back_to_the_other_model(tmp_path: Path):
    (tmp_path / "BMN").mkdir()
    shared, record = tmp_path / "results.json", tmp_path / "BMN" / "predictions.json"
    shared.write_text("of BMN")
    record.write_text(json.dumps({"weights": "b", "files": ["../results.json", "a.png"]}))
    said: list[str] = []

    ResultFolder(tmp_path / "BSN", "predictions.json", {}).make_room(said.append, shared)

    assert not shared.exists()
    assert (tmp_path / "BMN" / "results.json").read_text() == "of BMN"
    assert json.loads(record.read_text())["files"] == ["results.json", "a.png"]
    assert said == [f"note: {shared} was of b; it is now {tmp_path / 'BMN' / 'results.json'}"]


def test_weights_that_know_their_configuration_need_none_in_lines_of_2019(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    line = ["--weights=run/best.safetensors", "--video_path=v", "--use_gpu=False"]

    assert cli_v1.predict(["--model_name=TSN", *line]) == 0
    assert cli_v1.predict(["--model_name=TSM", *line]) == 1
    assert "made for model 'tsn', not for 'TSM'" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to_is_said_before_the_work(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    Path("file").write_text("")

    assert cli.main(["predict", "--weights=run", "v", "--save-dir=file/out"]) == 1
    assert "file/out: cannot be written to" in capsys.readouterr().err
