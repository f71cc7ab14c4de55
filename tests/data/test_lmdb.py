"""LMDB files of features, read without LMDB."""

import base64
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from videozoo.data.features.by_name import FeatureFiles, holds_features
from videozoo.errors import DataError, MisfitError

VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)
WRITTEN = zlib.decompress(
    base64.b64decode(
        "eNrtnb9v20YUx0+U5KNoWXTSoDXQDBqCSAUchSIdxy0MRAWKDlZjGAYCKEAAVpboH7Us6Sg5jdEW0NAmDdCtHTx0"
        "8Nihf0CHogg8dejYIUMQeMwgIBkyZEtIk5EoJIYdmAn0nO8H/pISKZJfebh37yjeY+wl8v7y4b3H/0RYkPHeSmb9"
        "PYOf6b9XBrZKve3R3haPiwNX7R8nMQAAAAAAAAAAAIRN5I3y/8N57nNY/q/565i/5q/4AQAAAAAAAAAAQFhIgVfT"
        "7Dyf4bd4iZ/nXXWbd1P/ps6lOmMPkjPJ30afKF8pfyRiia/lv/mt2P9RLfqL9CjyxVtO2Lf9UYKbpm78On/t6sL1"
        "CLvJvstUrVbFznyWzswuT2Um05nlht22y3WzYVctd/uX5VrLcra3VstNy3mfNSbT+ieT6R/SBzPhj1TY5W+9i3eu"
        "OIuC8+eo42inwJ585I5RRNnS2krct1gIeNTftsdDUA4yHvCYJ+BRG36P+U8JeJwh4PEyAY/TBDxeIuBxioDH18QZ"
        "L8jJzDTXra2WaV4wvbFwlS1oeXPZLm9YZj73TXPFO3XnSvrV/dPefveyrODvHw8e758g/bmrCd/PSqNuHcEzgfZS"
        "I9BeagTaS41Ae6kRaC81Au2lRqC91AwCHgn0yzUC/XJtaOPMUXK37v6OUdZcq6zXrGquuV7rSJX65kZzK2dWGraV"
        "29istdfKtl3eUkzbqjTqrba9WWkrgnkfU+pVb6+IFNlPQqo4h1WtSkux6u4LRURLbldhScRKI866Vm6v1fMifluM"
        "LAp+R8iLIpEtRorRonRbKP4pq+2tpnPkaMlNxZenRPLuz3fE2KJIZYve2WaFOj8/P+feVd9fFFlbjC/dXY2WPu6l"
        "ybvBr7vrft/dnYI4tepc+vSi+KAtzizlXpe79u7Lu/m/zs7Gb6h/pc6kmmP/JbPJH0f3lFllO/FUXpD/5DKvjtyL"
        "n41jzAQAcPLpxz2DQO5iEMhdDAK5i0EgdzEI5C4GgdzFIJC7GARyF4NA7mIQGCPTCcQZnUCc0QnEGZ1AnNEJxBmd"
        "QJzRhzbOxHq93Qj7kO2pz9Q9taui7w8AAAAAAAAAAFCC98Yg8vloYDzi5e/++7fzY/vPAhxrnOLyJe2YIxWKNzYB"
        "QRAEQRAEQRAEQRAEQRAEQdDxBAAAAID38/cBLhLLsgX58Of/g3P/7eAfyAbmKMT8f5j/D/P/Yf4/zP93oub/GzqP"
        "FOIMYiFiIWIhYiFiIWLhex4L80MbZ/o1/Qaf/0f+j/wffR70edDnQZ8HfR70eZD/IxYiFiIWIhYiFiIW0sn/D3r+"
        "P+HnronA/f8pNsdv8N/593yOd9WDq/+59f+Q9QMAADjJHL3+37uvEYj6f6F7RP2/cDyi/l84HlH/LxyPqP8XjkfU"
        "/zth9f+UQP5/mt1X76P+HwAAoP5f+B5R/y8cj6j/F45H1P8LxyPq/4XzWw/U/wvHI+r/heMR9f/C8fjO48yEfzdC"
        "6mX3zHcz+P4FRWN5oQ=="
    )
)
"""What LMDB 0.9.36 wrote: 40 videos `v_NN` as .npy, `big` on pages of its own, `raw`, a pickle,
three frames of `P01` (1, 6, 11), `__keys__`; a value was taken out again."""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    folder = tmp_path / "features"
    folder.mkdir()
    (folder / "data.mdb").write_bytes(WRITTEN)
    return folder


@pytest.mark.parametrize(("key", "other"), [(b"frame_6", b"frame_7"), (b"frame_11", b"frame_01")])
def test_frames_that_are_missing_or_there_twice_are_refused(
    database: Path, key: bytes, other: bytes
):
    (database / "data.mdb").write_bytes(WRITTEN.replace(key, other))

    with pytest.raises(DataError, match="P01: its frames are not equally far apart"):
        FeatureFiles(database)


def test_all_values_are_read_by_the_names_of_their_videos(database: Path):
    files = FeatureFiles(database)

    assert holds_features(database)
    assert sorted(files) == ["P01", "big", "pickled", "raw", *(f"v_{n:02d}" for n in range(40))]
    for name in ("v_00", "v_39", "07", "pickled", "raw"):
        np.testing.assert_array_equal(files.read(name, feature_dim=2), VALUES)
    assert files.read("big").shape == (750, 2)
    np.testing.assert_array_equal(files.read("P01"), [[1, 1], [2, 2], [10, 10]])
    assert [one.name for one in database.iterdir()] == ["data.mdb"]  # no lock


def test_a_file_alone_is_a_database_too(tmp_path: Path):
    (tmp_path / "all.lmdb").write_bytes(WRITTEN)

    assert len(FeatureFiles(tmp_path / "all.lmdb")) == 44


def test_numbers_without_a_shape_need_the_length_of_a_step(database: Path):
    files = FeatureFiles(database)

    with pytest.raises(DataError, match=r"raw: 6 numbers without a shape: only .*feature_dim"):
        files.read("raw")
    with pytest.raises(MisfitError, match=r"raw: 6 numbers .* no steps of model.feature_dim=4"):
        files.read("raw", feature_dim=4)


def changed(offset: int, form: str, value: int) -> bytes:
    content = bytearray(WRITTEN)
    struct.pack_into(form, content, offset, value)
    return bytes(content)


def newest_root() -> int:
    """Where the number of the root lies in the newer of the two first pages."""
    newer = max((0, 4096), key=lambda page: struct.unpack_from("<Q", WRITTEN, page + 144)[0])
    return newer + 128


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it ends too early"),
        (WRITTEN[:20_000], "is it whole"),
        (bytes(45_056), "it does not begin as one"),
        (changed(20, "<I", 2), "version 2 of the format"),
        (changed(40, "<I", 3), "pages of 3 bytes"),
        (changed(newest_root(), "<Q", 2**64 - 1), "it is empty"),
        (changed(newest_root(), "<Q", 0), "page 0 is damaged"),
        (changed(newest_root(), "<Q", 2**60), "it ends too early"),
    ],
)
def test_a_damaged_database_is_one_error(tmp_path: Path, content: bytes, reason: str):
    (tmp_path / "data.mdb").write_bytes(content)

    with pytest.raises(DataError, match=rf"an LMDB database .*{reason}.*one \.npy or \.npz file"):
        FeatureFiles(tmp_path)


def test_a_page_below_itself_ends(tmp_path: Path):
    (root,) = struct.unpack_from("<Q", WRITTEN, newest_root())
    (node,) = struct.unpack_from("<H", WRITTEN, root * 4096 + 16)
    (tmp_path / "data.mdb").write_bytes(changed(root * 4096 + node, "<H", root))

    with pytest.raises(DataError, match=f"page {root} is there twice"):
        FeatureFiles(tmp_path)


def test_no_damage_ends_in_anything_but_an_error(tmp_path: Path):
    draw = random.Random(0)
    path = tmp_path / "all.mdb"
    for _ in range(60):
        content = bytearray(WRITTEN)
        for _ in range(draw.choice((1, 2, 8))):
            place = draw.randrange(11) * 4096 + draw.choice(
                (draw.randrange(64), draw.randrange(4096))
            )
            content[place] = draw.choice((0, 255, draw.randrange(256)))
        path.write_bytes(content)
        try:
            files = FeatureFiles(path)
        except DataError:
            continue
        for name in files:
            try:
                files.read(name, feature_dim=2)
            except (DataError, MisfitError):
                continue
