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

from videozoo import cli
from videozoo.config import from_layers
from videozoo.data.synthetic import make_clips
from videozoo.tasks.loading import save_trained

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
        assert sorted(json.loads(line)["path"] for line in lines) == expected


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
        f"sys.exit(max(main(words) for words in {COMMANDS[:2]!r}))"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr.decode("ascii", "replace")
    assert b"\\u017c\\u00f3\\u0142w" in done.stdout
    assert b"caf\\xe9.mp4" in done.stdout
