"""Pickles that mean harm, through every way into the library that reads one."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cases.pickle_entries import DATA_FILES, WEIGHTS, prepare
from tests.test_safe_pickle import HOSTILE
from tests.test_safe_torch import HOSTILE as HOSTILE_TENSORS
from tests.test_safe_torch import written
from videozoo import cli
from videozoo.errors import VideozooError

ROOT = Path(__file__).parents[2]
CASES = ROOT.parent / "shared" / "cases" / "hostile"
FORMS = ("np_*", "oob_*", "ndarray_*", "BUILD_*", "*memo*", "tuple_bomb*", "fuzz_*")
SOME = ("ndarray called", "fields of numbers", "endless keys", "a list in itself", "a long index")
MOST_SECONDS, MOST_MIB = 10, 500
EVERY_SIXTH = 6
"""Of the collected files, in the fast run; tests of fuzzing read all, by every reader."""


def own_files(folder: Path) -> list[Path]:
    made = [written(folder / "sparse.pth", {"w": HOSTILE_TENSORS["sparse"][0]})]
    for name in SOME:
        for suffix in (".pkl", ".pdparams"):
            path = folder / f"{name.replace(' ', '_')}{suffix}"
            path.write_bytes(b"\x80\x02" + HOSTILE[name][0] + b".")
            made.append(path)
    return made


def case_files() -> list[Path]:
    found = {path for form in FORMS for path in CASES.glob(form)}
    return sorted(path for path in found if path.suffix in (".pkl", ".pdparams", ".pth"))


def tried(folder: Path, files: list[Path]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of what was tried and what came of it; the last is the memory."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.cases.pickle_entries", str(folder), *map(str, files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (lines[-1:], done.stderr[-2000:])
    grown = lines.pop()["grown_mib"]
    assert grown < MOST_MIB
    return zip(lines[::2], lines[1::2], strict=True)


def assert_refused(folder: Path, files: list[Path]) -> None:
    count = 0
    for what, came in tried(folder, files):
        count += 1
        assert came["end"] == "error", (what, came)
        assert came["seconds"] < MOST_SECONDS, (what, came)
        said = [line for line in came["said"].splitlines() if "refused" in line or "not a" in line]
        assert len(said) == 1, (what, came)
        assert what["file"] in said[0] or "v_1" in said[0], (what, came)
        assert "Traceback" not in came["said"], (what, came)
        assert "fault of videozoo" not in came["said"], (what, came)
    data = sum(path.suffix == ".pkl" for path in files)
    assert count == data * len(DATA_FILES) + (len(files) - data) * len(WEIGHTS)


def assert_found_by_the_check(
    folder: Path, files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its processes take seconds to start, so all files are in one list."""
    videos = [path for path in files if path.suffix == ".pkl"]
    (folder / "all.list").write_text("".join(f"{path} 0\n" for path in videos))

    assert cli.main(["check-data", str(folder / "all.list"), "--no-cache", "--workers", "1"]) == 1

    said = capsys.readouterr().err
    assert f"{len(videos)} of {len(videos)} videos cannot be used" in said


@pytest.mark.parametrize("step", [EVERY_SIXTH, pytest.param(1, marks=pytest.mark.slow)])
def test_a_hostile_pickle_is_one_plain_error_wherever_it_comes_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], step: int
):
    # one process reads those made here and the collected ones: starting takes long
    collected = case_files()
    assert len(collected) > 20 or not CASES.is_dir()
    files = own_files(tmp_path) + collected[::step]

    assert_refused(tmp_path, files)
    assert_found_by_the_check(tmp_path, files, capsys)


TABLE = np.zeros((3, 4), np.float32)
ODD = {
    "frames in an array": ("open_video", (b"v", 0, TABLE), "the list of frames is a ndarray"),
    "a feature of one number": (
        "records",
        [{"feature": np.array(1), "label": [1]}],
        "rgb has shape ()",
    ),
    "labels in lists": ("records", [{"feature": TABLE, "label": [[1], [2, 3]]}], "labels are"),
    "frames in lists": ("records", [{"feature": TABLE, "nframes": [[1], [2, 3]]}], "nframes is"),
    "many labels": ("records", [{"feature": TABLE, "label": ["a" * 9999]}], "labels are"),
    "one vector of one number": ("moments", [["m_1_30", np.array(5)]], "expected a list of"),
    "no vectors": ("moments", [["m_1_30", None]], "expected a list of"),
    "an endless time": ("moments", [["m_1_" + "9" * 5000, [TABLE[0]]]], "is no name"),
    "weights of text": ("weights convert", {"w": np.array(["a"])}, "not an array of real numbers"),
    "weights of bytes": ("predict --weights", {"w": np.array([b"a"])}, "not an array of real"),
    "complex weights": ("videozoo.load", {"w": TABLE.astype(complex)}, "not an array of real"),
}


@pytest.mark.parametrize("name", ODD)
def test_plain_data_of_an_unexpected_form_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.chdir(tmp_path)
    prepare()
    entry, content, says = ODD[name]
    path = Path("odd.pdparams" if entry in WEIGHTS else "odd.pkl")
    path.write_bytes(pickle.dumps(content, 2))

    with pytest.raises(VideozooError, match=re.escape(says)) as error:
        {**WEIGHTS, **DATA_FILES}[entry](path)

    assert len(str(error.value)) < 500
