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
        "eNrtnb1v21YUxZ8oyY+iZdFJg8RAMmgoIhVwFIp0EjcwEAUoMlitYRgooAIBWFmiP2pZ0qPkJEZbQEM+GqBbMnjo4D"
        "FD/4AOQRB46tCxQ4ai8NhBQDN06NaSJiNRSAw7MBPoOucHX1EiRfLIwzvvPpLvMvYKee/1z+d/P4uwIOO9hcz6Wwa/"
        "0/+sDKyVeuujvTUeFwfO2t9PYgAAAAAAAAAAAAibyFvl/wfzn89B+b/mL2P+kr+mBwAAAAAAAAAAAGEhBd5dZuf5NL"
        "/DS/w876pbvJv6NfVxqjP2R3I6+Xj0pfK58iQRS3wtP+V3Yr9HteiP0l+Rz95xwr7ljxLcMnXj0dyXX8x/FWG32LeZ"
        "qtWq2Jmr6czM0lRmMp1Zathtu1w3G3bVctffKNdalrO+tVJuWs7nrDGZ1j+ZTH+f3p8Jf6TCLt/2Tt655rwUnD8nOk"
        "5sF9jLM+4YRZQtri7HfYmFgEb9XWs8AGU/4QGNeQIateHXmP+UgMZpAhqvENB4mYDGSwQ0ThHQ+Aaf8UxOZqa5Zm22"
        "TPOC6Y2Fq2xey5tLdnndMvO5b5rL3qE719Kvb9e97e5pWcHfPh7cX/O+kL7uxoSvZ7lRtw6hmUB7qRFoLzUC7aVGoL"
        "3UCLSXGoH2UiPQXmoGAY0E+uUagX65NrQ+c5jcrbu3YZQ1VytrNauaa67VOlKlvrHe3MyZlYZt5dY3au3Vsm2XNxXT"
        "tiqNeqttb1TaimDe15R61dsqIkV2T0gVZ7eqVWkpVt19o4hoye0qLIpYacRZ1srt1XpexO+LkQXBHwh5QSSyxUgxWp"
        "TuC8U/ZLW92XT2HC25qfjSlEg+/OGBGFsQqWzRO9qMUOfm5mbdq+p7L0XWFuOLD1eipbO9NHkn+HN33N+7s10QJ1ac"
        "U59cEB+1xanF3Jty1951eTf/19m5+E31l9SpVHPst2Q2eXd0V5lRthL/yPPyz1zm1ZHn8XNxjJkAAI4/fd8zCOQuBo"
        "HcxSCQuxgEcheDQO5iEMhdDAK5i0EgdzEI5C4GgTEynYDP6AR8RifgMzoBn9EJ+IxOwGf0ofWZWK+3G2Gn2a76r7qr"
        "dlX0/QEAAAAAAAAAAErw3hhEPh8NjEe8uu+/fzk/tvcswJHGKa5c0o44UqF4YxMIBAKBQCAQCAQCgUAgEAgEAoFAII"
        "4WAAAAAPgw7w9wkViWzcsHP/8fnPtvG/9ANjBHIeb/w/x/mP8P8/9h/r9jNf/f0Gmk4DPwQnghvBBeCC+EF37gXpgf"
        "Wp/p1/QbfP4f+T/yf/R50OdBnwd9HvR50OdB/g8vhBfCC+GF8EJ4IZ38f7/n/xN+7poIXP+fYrP8Jv+Jf8dneVfdv/"
        "qfW/8PWT8AAIDjzOHr/73/GoGo/xe6RtT/C0cj6v+FoxH1/8LRiPp/4WhE/b9jVv9PCeT/J9kL9QXq/wEAAOr/ha8R"
        "9f/C0Yj6f+FoRP2/cDSi/l8493qg/l84GlH/LxyNqP8Xjsb37jMT/tUIqZfdM1/N4Of/ASBQeZc="
    )
)
"""What LMDB 0.9.36 wrote: 40 videos `v_NN` as .npy, `big` on pages of its own, `raw`, a pickle,
three frames of `P01`, `__keys__`; a value was taken out again."""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    folder = tmp_path / "features"
    folder.mkdir()
    (folder / "data.mdb").write_bytes(WRITTEN)
    return folder


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
