"""HDF5 files give the datasets that lie in them, or one plain error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videozoo.data.features._hdf5 import read_datasets
from videozoo.data.features.by_name import FeatureFiles
from videozoo.errors import DataError

h5py = pytest.importorskip("h5py")

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)


def external_storage(file: Any, folder: Path) -> None:
    (folder / "secret").write_bytes(VALUES.tobytes())
    file.create_dataset("v", (3, 4), "f4", external=[(str(folder / "secret"), 0, 48)])


def external_link(file: Any, folder: Path) -> None:
    with h5py.File(folder / "other", "w") as other:
        other["v"] = VALUES
    file["v"] = h5py.ExternalLink(str(folder / "other"), "/v")


def soft_link(file: Any, folder: Path) -> None:
    external_link(file, folder)
    file["more"] = h5py.SoftLink("/v")
    del file["v"]


def virtual(file: Any, folder: Path) -> None:
    with h5py.File(folder / "other", "w") as other:
        other["v"] = VALUES
    layout = h5py.VirtualLayout((3, 4), "f4")
    layout[:] = h5py.VirtualSource(folder / "other", "v", (3, 4))
    file.create_virtual_dataset("v", layout)


def never_written(file: Any, folder: Path) -> None:
    del folder
    file.create_dataset("v", (500_000, 1000), "f4")


def never_written_in_chunks(file: Any, folder: Path) -> None:
    del folder
    file.create_dataset("v", (500_000, 1000), "f4", chunks=(100, 1000))


def packed_bomb(file: Any, folder: Path) -> None:
    del folder
    data = file.create_dataset("v", (20_000, 1000), "f4", chunks=(1000, 1000), compression="gzip")
    for first in range(0, len(data), 1000):  # whole chunks: older h5py packs each row anew
        data[first : first + 1000] = 0


def chunk_bomb(file: Any, folder: Path) -> None:
    del folder
    chunks = {"chunks": (30_000_000,), "maxshape": (None,), "compression": "gzip"}
    data = file.create_dataset("v", (1,), "f4", **chunks)
    data.id.write_direct_chunk((0,), b"few bytes")


def objects(file: Any, folder: Path) -> None:
    del folder
    file.create_dataset("v", data=["a", "b"], dtype=h5py.string_dtype())


def records(file: Any, folder: Path) -> None:
    del folder
    file.create_dataset("v", data=np.zeros(3, [("a", "f4")]))


def nothing(file: Any, folder: Path) -> None:
    del folder
    file["v"] = h5py.Empty("f4")


def groups(file: Any, folder: Path) -> None:
    del folder
    file["v/a/b"] = VALUES


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (external_storage, "'v' lie in another file"),
        (external_link, "'v' is a link to elsewhere"),
        (soft_link, "'more' is a link to elsewhere"),
        (virtual, "'v' lie in another file"),
        (never_written, "2,000,000,000 bytes, but 0 are stored"),
        (never_written_in_chunks, "0 bytes that say they hold 2,000,000,000"),
        (chunk_bomb, "9 bytes that say they hold 120,000,000"),
        (packed_bomb, "bytes that say they hold 80,000,000"),
        (objects, "'v' holds object, expected numbers"),
        (records, "'v' holds .*, expected numbers"),
        (nothing, "'v' holds float32, expected numbers"),
        (groups, "'a' is a group, expected a dataset"),
    ],
)
@pytest.mark.parametrize("of_many_videos", [True, False])
def test_a_hostile_file_is_one_error(
    tmp_path: Path,
    make: Callable[[Any, Path], None],
    problem: str,
    of_many_videos: bool,
) -> None:
    folder = tmp_path / "features"
    folder.mkdir()
    path = folder / "hostile.h5"
    with h5py.File(path, "w") as file:
        make(file, tmp_path)
    found = FeatureFiles(path if of_many_videos else folder)
    problem = problem if of_many_videos else problem.replace("'a' is", "'v' is")
    with pytest.raises(DataError, match=rf"hostile\.h5: not a readable HDF5 file: .*{problem}"):
        found.read(next(iter(found)))


def test_datasets_are_together_no_larger_than_their_file_can_mean(tmp_path: Path) -> None:
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        for name in "abc":
            file.create_dataset(name, (10_000_000,), "f4", chunks=(1000,))
    with pytest.raises(DataError, match=r"many\.h5: .* bytes that say they hold 120,000,000"):
        read_datasets(path, None)
    assert list(read_datasets(path, "a")) == [""]


def test_damaged_and_missing_files_are_one_error(tmp_path: Path) -> None:
    path = tmp_path / "hostile.h5"
    with h5py.File(path, "w") as file:
        file["v"] = VALUES
    whole = path.read_bytes()
    for place in range(0, len(whole), 41):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            found = FeatureFiles(path)
            for name in found:
                found.read(name)
        except DataError as error:
            assert "hostile.h5" in str(error)  # noqa: PT017
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"hostile\.h5: not a readable HDF5 file"):
        FeatureFiles(path)


def test_good_files_read_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "good.hdf5"
    with h5py.File(path, "w") as file:
        file["v_a"] = VALUES
        file["v_b/c3d"] = VALUES
        file.create_dataset("v_c", data=VALUES, chunks=(1, 4), maxshape=(None, 4))
        file.create_dataset("v_d", data=VALUES, compression="gzip")
    found = FeatureFiles(path)
    assert list(found) == ["v_a", "v_b", "v_c", "v_d"]
    for name in found:
        np.testing.assert_array_equal(found.read(name), VALUES)


def test_a_group_of_features_that_is_a_link_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["a"], other["b"] = VALUES, VALUES
    with h5py.File(tmp_path / "hostile.h5", "w") as file:
        file["features"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/")

    with pytest.raises(DataError, match="'features' is a link to elsewhere"):
        FeatureFiles(tmp_path / "hostile.h5")
