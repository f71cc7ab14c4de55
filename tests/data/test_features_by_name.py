"""Features as other tools leave them: axes of length 1, files of several arrays, tensors."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.features.record_formats import find_records
from videozoo.data.features.records import FeatureRecord, RecordArrays, RecordSet
from videozoo.errors import DataError, MisfitError

VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.mark.parametrize("shape", [(4, 1, 3), (1, 4, 3), (4, 3, 1), (4, 3, 1, 1), (4, 1, 1, 1, 3)])
def test_axes_of_length_one_are_left_out(tmp_path: Path, shape: tuple[int, ...]):
    np.save(tmp_path / "a.npy", VALUES.reshape(shape))
    np.savez(tmp_path / "b.npz", rgb=VALUES.reshape(shape))

    files = FeatureFiles(tmp_path)

    np.testing.assert_array_equal(files.read("a", feature_dim=3), VALUES)
    np.testing.assert_array_equal(files.read("b"), VALUES)
    assert files.length("a") == 4
    np.testing.assert_array_equal(find_records(tmp_path / "b.npz").read(0).streams["rgb"], VALUES)


def test_one_step_is_found_by_the_number_of_values(tmp_path: Path):
    np.save(tmp_path / "a.npy", VALUES[:1].reshape(1, 3, 1, 1))

    assert FeatureFiles(tmp_path).read("a", feature_dim=3).shape == (1, 3)
    with pytest.raises(DataError, match=r"\(1, 3, 1, 1\), expected \(steps, values\)"):
        FeatureFiles(tmp_path).read("a")


@pytest.mark.parametrize("shape", [(4, 1, 1), (2, 2, 3)])
def test_axes_that_may_mean_two_things_are_refused(tmp_path: Path, shape: tuple[int, ...]):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))

    with pytest.raises(DataError, match="only axes of length 1 can be left out"):
        FeatureFiles(tmp_path).read("a")


def test_one_of_several_arrays_is_chosen_by_its_name(tmp_path: Path):
    np.savez(tmp_path / "a.npz", features=VALUES[:, None], mask=np.ones(4), fps=np.array(25))

    with pytest.raises(MisfitError, match=r"features \(4, 1, 3\), mask \(4,\), fps \(\)"):
        FeatureFiles(tmp_path).read("a")
    np.testing.assert_array_equal(
        FeatureFiles(tmp_path, streams=("features",)).read("a", feature_dim=3), VALUES
    )


def test_tensors_of_torch(tmp_path: Path):
    torch.save(torch.from_numpy(VALUES)[:, None].to(torch.bfloat16), tmp_path / "a.pt")
    torch.save({"feats": torch.from_numpy(VALUES), "fps": 25}, tmp_path / "b.pth")

    files = FeatureFiles(tmp_path)

    np.testing.assert_array_equal(files.read("a"), VALUES)
    np.testing.assert_array_equal(files.read("b"), VALUES)


def test_files_of_torch_that_cannot_be_features_are_refused(tmp_path: Path):
    torch.save({"fps": 25}, tmp_path / "a.pt")
    torch.save(torch.zeros(1, 1).expand(10**6, 10**4), tmp_path / "b.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "c.pt")
    (tmp_path / "d.pt").write_bytes(b"PK\3\4")
    two = {"rgb": torch.zeros(2, 3), "audio": torch.zeros(2, 1)}
    torch.save(two, tmp_path / "e.pt")
    files = FeatureFiles(tmp_path)

    for name, text in {
        "a": "holds a dict without tensors",
        "b": "far more memory than the file has bytes",
        "c": "not tensors that torch.save wrote",
        "d": "not tensors that torch.save wrote",
        "e": r"several arrays \(rgb, audio\); choose data.streams, such as --set 'data.st",
    }.items():
        with pytest.raises((DataError, MisfitError), match=text):
            files.read(name)


def test_groups_of_hdf5_hold_one_array_each(tmp_path: Path):
    with pytest.importorskip("h5py").File(tmp_path / "c3d.hdf5", "w") as file:
        file["v_a/c3d_features"] = VALUES
        file["v_b/c3d_features"] = VALUES[:2, None]

    files = FeatureFiles(tmp_path / "c3d.hdf5")

    assert [files.read(name).shape for name in ("a", "v_b")] == [(4, 3), (2, 3)]


@pytest.mark.parametrize("name", ["feature", "features", "c3d_features", "resnet", "any name"])
def test_the_only_array_of_a_video_may_have_any_name(tmp_path: Path, name: str):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for video in ("a", "b"):
            file[f"{video}/{name}"] = VALUES
            file[f"{video}/title"] = "a text"
    with h5py.File(tmp_path / "inner.h5", "w") as file:
        file[f"features/a/{name}"], file["features/b"] = VALUES, VALUES
    folder = tmp_path / "each"
    folder.mkdir()
    with h5py.File(folder / "a.h5", "w") as file:
        file[name] = VALUES
    np.savez(folder / "b.npz", **{name: VALUES})  # pyright: ignore[reportArgumentType]

    for path in (tmp_path / "all.h5", tmp_path / "inner.h5", folder):
        files = FeatureFiles(path)
        assert list(files) == ["a", "b"]
        for video in files:
            np.testing.assert_array_equal(files.read(video), VALUES)


def test_several_arrays_of_a_video_are_one_question(tmp_path: Path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["a/fps"], file["a/resnet"], file["a/c3d"] = 25.0, VALUES, VALUES[:, :2]
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["features"] = VALUES

    with pytest.raises(MisfitError, match=r"several arrays .*--set 'data.streams=\[c3d\]'; their"):
        FeatureFiles(tmp_path / "all.h5").read("a")

    chosen = FeatureFiles(tmp_path / "all.h5", streams=("resnet",))
    np.testing.assert_array_equal(chosen.read("a"), VALUES)
    assert list(FeatureFiles(tmp_path / "one.h5")) == ["one"]


def test_hdf5_of_one_video_has_a_data_set_per_stream(tmp_path: Path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["rgb"], file["flow"] = VALUES, VALUES[:, :2]
    with h5py.File(tmp_path / "both.h5", "w") as file:
        file["rgb"], file["v_a"] = VALUES, VALUES[:, :2]
    with h5py.File(tmp_path / "turned.h5", "w") as file:
        file["rgb/a"], file["flow/a"] = VALUES, VALUES

    one = FeatureFiles(tmp_path / "one.h5")

    assert list(one) == ["one"]
    np.testing.assert_array_equal(one.read("one"), np.hstack([VALUES, VALUES[:, :2]]))
    chosen = FeatureFiles(tmp_path / "both.h5", streams=("rgb",))
    np.testing.assert_array_equal(chosen.read("both"), VALUES)
    with pytest.raises(DataError, match=r"'rgb', as one video .*, and 'v_a', as many videos"):
        FeatureFiles(tmp_path / "both.h5")
    with pytest.raises(DataError, match="store a group per video"):
        FeatureFiles(tmp_path / "turned.h5")


def test_lmdb_is_told_what_to_do(tmp_path: Path):
    (tmp_path / "data.mdb").write_bytes(b"\0")

    with pytest.raises(DataError, match=r"an LMDB database.*one \.npy or \.npz file per video"):
        FeatureFiles(tmp_path)


def test_a_length_is_that_of_the_streams_that_are_read():
    arrays = {name: np.ones((count, 2), np.float32) for name, count in (("rgb", 3), ("audio", 5))}
    records = RecordSet([RecordArrays([FeatureRecord("a", arrays)])])

    for streams, count in ((("rgb",), 3), (("audio",), 5), (("rgb", "audio"), 3)):
        files = FeatureFiles(records, streams=streams)

        assert files.length("a") == len(files.read("a")) == count


def test_a_length_that_is_told_and_another_that_is_there_are_refused(tmp_path: Path):
    facts = {"encoder": "a", "rate": 2.0}
    folder = {"format": "videozoo-feature-folder", "version": 1, "kind": "npy", "extractor": facts}
    (tmp_path / "extractor.json").write_text(json.dumps(folder))
    line = {"name": "a", "file": "a.npy", "length": 2, "duration_seconds": 1.0}
    (tmp_path / "videos.jsonl").write_text(json.dumps(line))
    np.save(tmp_path / "a.npy", np.ones((2, 3), np.float32))
    assert FeatureFiles(tmp_path).read("a").shape == (2, 3)
    np.save(tmp_path / "a.npy", np.ones((4, 3), np.float32))

    with pytest.raises(DataError, match="has 4 vectors, but 2 are told beside it"):
        FeatureFiles(tmp_path).read("a")
