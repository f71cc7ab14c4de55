"""Lists of videos as people have them: which are read, as what, and what the others are told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from videozoo import cli
from videozoo.data import clips
from videozoo.data.annotations.class_names import first_class_number, read_class_names
from videozoo.errors import DataError
from videozoo.settings.clips import ClipData

SHARED = Path(__file__).parents[3] / "shared"
CASES = SHARED / "cases" / "lists"
VIDEOS = SHARED / "data" / "fight_surveillance"
pytestmark = pytest.mark.skipif(
    not (CASES.is_dir() and VIDEOS.is_dir()), reason=f"the cases and videos are not at {SHARED}"
)

TINY = """
model: {name: tsm, num_classes: 2, depth: 18, width: 0.125, num_segments: 2}
data: {short_side: 40, crop_size: 32, num_workers: 0}
train: {epochs: 1, batch_size: 4, learning_rate: 0.01}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of clips that the lists name, and the lists."""
    root = tmp_path_factory.mktemp("cases")

    def link(path: str, number: int, kind: str) -> None:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        name = "fi" if kind == "fight" else "nofi"
        target.symlink_to(VIDEOS / kind / f"{name}{number:03d}.mp4")

    for kind, short in (("fight", "fi"), ("noFight", "nofi")):
        for number in range(1, 9):
            link(f"base/{kind}/{short}{number:03d}.mp4", number, kind)
        for number in range(1, 5):
            frames = root / "base" / kind / f"{short}{number:03d}"
            frames.mkdir()
            for frame in range(20):
                Image.new("RGB", (64, 48), (frame, 0, 0)).save(frames / f"{frame:03d}.jpg")
            head = f"-ab_cd{number}EFgh" if kind == "fight" else f"xy{number}zzzzzzzz"
            link(f"kinetics/{head}_{number:06d}_{number + 10:06d}.mp4", number, kind)
    link(os.fsdecode(b"base/fight/caf\xe9.mp4"), 9, "fight")
    for number in range(31, 35):
        link(f"spaces/drinking water/drinking ({number}).mp4", number, "fight")
        link(f"spaces/lecture, long/lecture ({number}).mp4", number, "noFight")
    for case in CASES.iterdir():
        (root / "base" / case.name).write_bytes(
            case.read_bytes().replace(b"ROOT", os.fsencode(root))
        )
    (root / "base" / "tiny.yaml").write_text(TINY)
    return root / "base"


READ = {
    (8, 8): "abs cr_only crlf_bom start1 frames3 backslash comment tab.tsv labels_names comma.csv "
    "header_csv.csv",
    (9, 8): "latin1",
    (5, 5): "trainlist01",
    (4, 4): "list3 space_in_path space_in_path_tab train.csv train_bom.csv nosplit.csv idx.csv "
    "ssv.csv",
}
"""Videos of the two classes, and the lists that have so many; .txt where nothing is said."""


@pytest.mark.parametrize(
    ("name", "counts"), [(name, counts) for counts, names in READ.items() for name in names.split()]
)
def test_these_are_read(
    base: Path, name: str, counts: tuple[int, int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(base)
    path = Path(name if "." in name else f"{name}.txt")
    root = Path("../kinetics") if "youtube" in path.read_text("latin-1") else None
    data = ClipData(train=path, root=root)

    entries = clips.load_entries(data, "train", num_classes=2)

    labels = [entry.label for entry in entries]
    assert (labels.count(0), labels.count(1)) == counts
    assert all(entry.path.exists() for entry in entries)
    fights = [e.label for e in entries if e.path.resolve().parent.name == "fight"]
    assert set(fights) == {0}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("float.txt", r"float\.txt:1: label '0\.0', expected a whole number"),
        ("nolabel.txt", r"nolabel\.txt:1: no class: expected 'PATH LABEL', got 'fight/fi001\.mp4'"),
        ("mixed.txt", r"mixed\.txt:9: expected 'PATH LABEL', .* put a blank, not a comma"),
    ],
)
def test_these_are_refused_with_their_line(
    base: Path,
    name: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
):
    monkeypatch.chdir(base)
    with pytest.raises(DataError, match=message):
        clips.load_entries(ClipData(train=Path(name)), "train", num_classes=2)

    line = ["--config", "tiny.yaml", "--save-dir", str(tmp_path / "run")]
    assert cli.main(["train", *line, f"--set=data.train={name}"]) == 1
    assert capsys.readouterr().err.startswith(f"videozoo: {name}")


def test_several_classes_after_the_frames_are_told_from_views(
    base: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(base)
    data = ClipData(train=Path("multilabel4.txt"))

    entries = clips.load_entries(data, "train", num_classes=2, several="as listed")

    assert {entry.labels for entry in entries} == {(0, 1)}
    assert all(entry.label is None and entry.clip_index is None for entry in entries)
    assert "16 of 16 videos have several classes" in clips.lists_several(data, 2)
    with pytest.raises(DataError, match=r"multilabel4\.txt:1: 2 classes \(0, 1\), and one class"):
        clips.load_entries(data, "train", num_classes=2)
    with pytest.raises(DataError, match=r"multilabel4\.txt:1: .* has 53 frames, and the number"):
        clips.load_entries(data, "train", several="as listed")  # 60 may be a class


def test_names_of_ucf101_have_no_numbers(base: Path):
    path = base / "classInd.txt"

    assert read_class_names(path) == ["fight", "noFight"]
    assert first_class_number(path) == 1


def test_numbers_from_1_never_shift_in_silence(
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
):
    monkeypatch.chdir(base)
    train = ["train", "--config", "tiny.yaml", "--save-dir", str(tmp_path / "run")]
    more = ["--set", "model.num_classes=3", "--set", "data.train=trainlist01.txt"]
    assert cli.main([*train, *more]) == 1
    assert "--set data.first_label=1, or =0" in capsys.readouterr().err

    lists = ["--set", "data.train=trainlist01.txt", "--set", "data.class_names=classInd.txt"]
    assert cli.main([*train, *lists, "--set", "data.val=nolabel.txt"]) == 0
    told = capsys.readouterr().err
    assert "labels run from 1 to 2, taken to start at 1" in told
    assert "16 to check with" in told


def test_one_class_is_nothing_to_learn(
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
):
    monkeypatch.chdir(base)
    line = ["train", "--config", "tiny.yaml", "--save-dir", str(tmp_path / "run")]
    assert cli.main([*line, "--set", "data.train=one.txt"]) == 1
    assert "one.txt: all videos to learn from (5) are of one class" in capsys.readouterr().err
