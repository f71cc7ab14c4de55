"""The numbers of the 2019 library, set by set: the checks that `bash run.sh parity` runs."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import PIL
import pytest
from numpy.typing import NDArray
from tools.parity import golden
from tools.parity.__main__ import check, covered

from videozoo.safe_pickle import load_pickle

GOLDEN = Path(__file__).parent / "golden"
SETS = sorted(p.name for p in GOLDEN.iterdir() if (p / "meta.json").exists() or covered(p.name))
SLOW = {
    "nonlocal_arc2_affine",  # arc2 without the affine layers, which tests/models hold, is fast
    "nonlocal_arc3",  # 101 layers; those of 50 take the same code
    "nonlocal_arc4",
    "ctcn",
    "caption_metrics",  # METEOR takes half a minute to start
}
MARKED = [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in SETS]


@pytest.mark.parametrize("name", MARKED)
def test_recorded_numbers_hold(name: str):
    rows = list(check(GOLDEN / name))

    assert rows
    assert [row for row in rows if not row.ok] == []


# ---- other sets: copies of ours that were changed in what another set may have otherwise ---------


def copied(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / name, folder / name))


def arrays_of(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def store(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    np.savez(path, **cast(Any, arrays))


def missed(folder: Path) -> list[str]:
    return [row.quantity for row in check(folder) if not row.ok]


def test_the_pickle_of_python_3_may_equal_any_of_the_files(tmp_path: Path):
    folder = copied("reader_feature", tmp_path)
    videos = load_pickle(folder / "file0.pkl", encoding="bytes")
    (folder / "py3_bytes_keys.pkl").write_bytes(pickle.dumps(videos))

    assert missed(folder) == []

    videos[0][b"audio"] = videos[0][b"audio"] + np.uint8(1)
    (folder / "py3_bytes_keys.pkl").write_bytes(pickle.dumps(videos))
    assert missed(folder) == ["py3_bytes_keys.pkl, wrong videos"]


def test_clips_too_many_are_left_out_of_the_inference_log(tmp_path: Path):
    folder = copied("nonlocal_multicrop", tmp_path)
    data = arrays_of(folder / "data.npz")
    first = data["video_id"][:1]  # it heads the log, and has as many clips as it may
    data["video_id"] = np.concatenate([data["video_id"], first, first])
    data["pred"] = np.concatenate([data["pred"], data["pred"][-2:]])
    store(folder / "data.npz", data)

    assert missed(folder) == []


def test_scores_of_beams_are_compared_by_their_size(tmp_path: Path):
    folder = copied("ets", tmp_path)
    outputs = {n: a for n, a in arrays_of(folder / "outputs.npz").items() if "beam1/batch/" in n}
    scores = {name: array for name, array in outputs.items() if name.endswith("/scores")}
    assert min(float(array.min()) for array in scores.values()) < -20
    for share, expected in ((1e-5, False), (1e-4, True)):
        changed = {name: array * np.float32(1 + share) for name, array in scores.items()}
        store(folder / "outputs.npz", (outputs | changed))

        assert any(name.endswith(": scores") for name in missed(folder)) == expected


def test_an_old_pillow_rounds_otherwise_and_the_same_one_does_not(tmp_path: Path):
    folder = copied("reader_kinetics", tmp_path)
    assert max(row.error for row in check(folder) if "grey" in row.quantity) < 1e-3
    arrays = arrays_of(folder / "outputs.npz")
    piece = arrays["piece/scale_landscape"]
    piece[0, 0, 0, 0] ^= 1  # one grey level more or less
    store(folder / "outputs.npz", arrays)

    assert missed(folder) == []  # recorded with Pillow 9.5

    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    meta["versions"]["pillow"] = PIL.__version__
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    assert missed(folder) == ["scale_landscape, grey levels"]


def test_seeds_are_those_that_the_description_tells():
    assert golden.seeds({"seeds": "numpy.random.seed(5), python random.seed(4)"}) == (4, 5)
    with pytest.raises(ValueError, match="no seeds"):
        golden.seeds({"seeds": "none"})
