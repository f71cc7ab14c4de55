from __future__ import annotations

import contextlib
import os
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from videozoo.data.features import _tfrecord
from videozoo.data.features._example import WireError, _sized, _varint, encode, parse
from videozoo.data.features._index import cache_folder
from videozoo.data.features._tfrecord import TFRecordFile, checksum, write_tfrecord
from videozoo.errors import DataError

many = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
few = settings(many, max_examples=30)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def contents(path: Path) -> list[bytes]:
    file = TFRecordFile(path)
    try:
        return [file.read(number) for number in range(len(file))]
    finally:
        file.close()


def message_of(action: Callable[[], object]) -> str:
    with pytest.raises(DataError) as caught:
        action()
    return str(caught.value)


# --- the file --------------------------------------------------------------------------------


def test_the_checksum_is_that_of_the_published_example():
    # RFC 3720 B.4: 32 bytes of zeros have CRC-32C 0x8a9136aa
    crc = 0x8A9136AA
    assert checksum(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


@few
@given(records=st.lists(st.binary(max_size=40), min_size=1, max_size=6), data=st.data())
def test_records_come_back_in_any_order(tmp_path: Path, records: list[bytes], data: st.DataObject):
    path = tmp_path / "a.tfrecord"
    assert write_tfrecord(path, records) == len(records)

    file = TFRecordFile(path)
    order = data.draw(st.permutations(range(len(records))))

    assert len(file) == len(records)
    assert [file.read(number) for number in order] == [records[number] for number in order]
    file.close()


def test_a_changed_byte_never_gives_other_data(tmp_path: Path, cache: Path):
    cache.touch()  # so that nothing is remembered of the file before
    path, records = tmp_path / "a.tfrecord", [b"one", b"", b"the third record"]
    write_tfrecord(path, records)
    whole = path.read_bytes()

    for place in range(len(whole)):
        for change in (1, 128, 255):
            damaged = bytearray(whole)
            damaged[place] ^= change
            path.write_bytes(damaged)
            read, refused = read_all(path)
            assert all(records[number] == data for number, data in read.items())
            assert len(refused) == 1
            assert re.match(r".*a\.tfrecord: record \d at byte \d+: .*(damaged|early)", refused[0])


def read_all(path: Path) -> tuple[dict[int, bytes], list[str]]:
    """Records that can be read, and what is said of the others."""
    read: dict[int, bytes] = {}
    refused: list[str] = []
    try:
        file = TFRecordFile(path)
    except DataError as error:
        return read, [str(error)]
    for number in range(len(file)):
        try:
            read[number] = file.read(number)
        except DataError as error:
            refused.append(str(error))
    file.close()
    return read, refused


def test_a_file_that_ends_early_names_record_and_byte(tmp_path: Path):
    path, records = tmp_path / "a.tfrecord", [b"one", b"the second record"]
    write_tfrecord(path, records)
    whole = path.read_bytes()
    second = 8 + 4 + 3 + 4

    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        if size == second:  # between two records: nothing shows that there were more
            assert contents(path) == records[:1]
            continue
        at = (0, 0) if size < second else (1, second)
        message = message_of(lambda: TFRecordFile(path))
        assert message.startswith(f"{path}: record {at[0]} at byte {at[1]}: the file ends early")


def test_a_file_without_a_byte_is_refused(tmp_path: Path):
    path = tmp_path / "a.tfrecord"
    path.touch()

    assert "a.tfrecord: empty, expected TFRecords" in message_of(lambda: TFRecordFile(path))


def test_a_length_beyond_all_bounds_is_no_memory_error(tmp_path: Path):
    path = tmp_path / "a.tfrecord"
    length = struct.pack("<Q", 2**63 - 100)
    path.write_bytes(length + struct.pack("<I", checksum(length)) + b"x" * 20)

    assert "ends early" in message_of(lambda: TFRecordFile(path))


def test_a_file_that_is_cut_while_in_use_is_an_error(tmp_path: Path):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [b"one", b"two"])
    file = TFRecordFile(path)
    path.write_bytes(path.read_bytes()[:-6])

    assert file.read(0) == b"one"
    assert "became shorter" in message_of(lambda: file.read(1))
    file.close()


def test_an_interrupted_writer_leaves_nothing(tmp_path: Path):
    def records():
        yield b"one"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tfrecord(tmp_path / "a.tfrecord", records())

    assert list(tmp_path.iterdir()) == []


def test_another_process_can_take_over(tmp_path: Path):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [b"one", b"two"])
    file = TFRecordFile(path)
    file.read(0)
    other = pickle.loads(pickle.dumps(file))
    file.close()

    assert other.read(1) == b"two"
    other.close()


def test_a_forked_process_opens_the_file_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [b"one", b"two"])
    file = TFRecordFile(path)
    file.read(0)
    inherited = file._file

    monkeypatch.setattr(os, "getpid", lambda: -1)

    assert file.read(1) == b"two"
    assert file._file is not inherited  # else both would move one place in the file
    file.close()


# --- where records lie, remembered -----------------------------------------------------------


def count_walks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    walked: list[Path] = []
    walk = _tfrecord._record_starts

    def counted(path: Path):
        walked.append(path)
        return walk(path)

    monkeypatch.setattr(_tfrecord, "_record_starts", counted)
    return walked


def test_a_file_is_walked_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.tfrecord"
    walked = count_walks(monkeypatch)
    write_tfrecord(path, [b"one", b"two"])

    assert contents(path) == contents(path) == [b"one", b"two"]
    assert len(walked) == 1

    write_tfrecord(path, [b"onetw", b"o"])  # of the same size
    os.utime(path, ns=(0, 1))
    assert contents(path) == [b"onetw", b"o"]
    assert len(walked) == 2


@pytest.mark.parametrize("damage", [b"", b"no array", None])
def test_a_damaged_memory_is_made_again(tmp_path: Path, cache: Path, damage: bytes | None):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [b"one", b"two"])
    contents(path)
    (kept,) = (cache / "records").iterdir()
    if damage is None:
        found = np.load(kept)
        found[-1] += 1
        np.save(kept, found)
    else:
        kept.write_bytes(damage)

    assert contents(path) == [b"one", b"two"]


def test_reading_works_where_nothing_can_be_remembered(tmp_path: Path, cache: Path):
    cache.write_text("a file where the folder would be")
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [b"one"])

    assert contents(path) == [b"one"]


def test_memory_is_in_the_home_folder_by_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("VIDEOZOO_CACHE")

    assert cache_folder() == Path.home() / ".cache" / "videozoo"


# --- the messages ----------------------------------------------------------------------------

NAMES = st.text(max_size=8)
LABELS = st.none() | st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5)


def made(count: int, dim: int, dtype: str, seed: int) -> NDArray[Any]:
    return (np.random.RandomState(seed).random_sample((count, dim)) * 255).astype(dtype)


FRAMES = st.builds(
    made,
    count=st.integers(1, 6),
    dim=st.integers(1, 140),
    dtype=st.sampled_from(["uint8", "float32"]),
    seed=st.integers(0, 99),
)


@many
@given(name=NAMES, labels=LABELS, streams=st.dictionaries(NAMES, FRAMES, max_size=3))
def test_what_is_encoded_comes_back(name: str, labels: Any, streams: dict[str, Any]):
    example = parse(encode(name, labels, streams))

    assert example.context.get("id") == [name.encode()]
    assert example.context.get("labels") == labels
    assert example.frames.keys() == streams.keys()
    for stream, frames in streams.items():
        assert example.frames[stream].dtype == frames.dtype
        np.testing.assert_array_equal(example.frames[stream], frames)


@many
@given(data=st.binary(max_size=80))
def test_any_bytes_give_a_message_or_a_wire_error(data: bytes):
    with contextlib.suppress(WireError):
        parse(data)


@many
@given(data=st.data())
def test_a_damaged_message_gives_a_message_or_a_wire_error(data: st.DataObject):
    message = bytearray(
        encode("name", [1, 200], {"rgb": np.ones((3, 130), np.uint8), "x": np.ones((2, 3), "f4")})
    )
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):
        parse(bytes(message))


def frame(values: bytes, number: int = 1) -> bytes:
    return _sized(1, _sized(number, values))


def with_frames(name: str, *frames: bytes) -> bytes:
    return _sized(2, _sized(1, _sized(1, name.encode()) + _sized(2, b"".join(frames))))


def test_frames_that_are_encoded_unlike_are_read_one_by_one():
    long_head = b"\x0a\x87\x00" + b"\x0a\x05" + b"\x0a\x03" + b"cde"  # 7 in two bytes
    message = with_frames("rgb", frame(_sized(1, b"abc")), long_head)

    assert parse(message).frames["rgb"].tobytes() == b"abccde"


def test_floats_may_be_packed_or_not():
    one = np.array([1.5, -2.0], "<f4")
    loose = b"".join(b"\x0d" + value.tobytes() for value in one)
    message = with_frames("x", frame(_sized(1, one.tobytes()), 2), frame(loose, 2))

    assert parse(message).frames["x"].tolist() == [[1.5, -2.0], [1.5, -2.0]]


def test_labels_may_be_packed_or_not():
    def labels_of(values: bytes) -> object:
        feature = _sized(2, _sized(3, values))
        return parse(_sized(1, _sized(1, _sized(1, b"labels") + feature))).context["labels"]

    assert labels_of(_sized(1, _varint(7) + _varint(300))) == [7, 300]
    assert labels_of(b"\x08" + _varint(7) + b"\x08" + _varint(300)) == [7, 300]


def test_frames_of_different_sizes_are_named():
    message = with_frames("rgb", frame(_sized(1, b"abc")), frame(_sized(1, b"de")))

    with pytest.raises(WireError, match="2 values in frame 1 of 'rgb', but 3 in the first"):
        parse(message)


def test_lists_of_integers_are_no_features():
    message = with_frames("shots", frame(_sized(1, _varint(3)), 3))

    assert parse(message).frames == {}


def test_numbers_end():
    with pytest.raises(WireError, match="more than 10 bytes"):
        parse(b"\x08" + b"\x80" * 10 + b"\x01")


def test_a_message_that_is_cut_is_no_message():
    message = encode("a", None, {"rgb": np.ones((2, 3), np.uint8)})

    with pytest.raises(WireError, match="longer than the message around it"):
        parse(message[:-1])


def test_of_several_kinds_of_values_the_last_counts():
    values = _sized(2, _sized(1, b"1234")) + _sized(3, _sized(1, _varint(7)))
    message = _sized(1, _sized(1, _sized(1, b"labels") + _sized(2, values)))

    assert parse(message).context == {"labels": [7]}


def test_unknown_fields_are_skipped():
    unknown = b"\x38\x05" + b"\x3d1234" + b"\x3912345678" + _sized(9, b"later")
    message = encode("a", [1], {"rgb": np.zeros((1, 2), np.uint8)})

    assert parse(unknown + message).context == parse(message).context


# --- against other writers -------------------------------------------------------------------


@pytest.fixture(scope="module")
def package() -> Any:
    reason = "the tfrecord package, which this compares with, is not installed"
    return pytest.importorskip("tfrecord", reason=reason)


PB_VALUES = st.one_of(
    st.tuples(st.just("bytes_list"), st.lists(st.binary(max_size=200), max_size=3)),
    st.tuples(st.just("float_list"), st.lists(st.floats(width=32, allow_nan=False), max_size=3)),
    st.tuples(st.just("int64_list"), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3)),
)


@many
@given(
    context=st.dictionaries(NAMES, PB_VALUES, max_size=3),
    lists=st.dictionaries(NAMES, st.lists(PB_VALUES, max_size=4), max_size=2),
)
def test_messages_mean_what_protobuf_says(
    package: Any, context: dict[str, Any], lists: dict[str, Any]
):
    message = package.example_pb2.SequenceExample()
    for name, (kind, values) in context.items():
        getattr(message.context.feature[name], kind).value.extend(values)
    for name, features in lists.items():
        for kind, values in features:
            feature = message.feature_lists.feature_list[name].feature.add()
            getattr(feature, kind).value.extend(values)
    try:
        example = parse(message.SerializeToString())
    except WireError:
        assert any(is_ragged(features) for features in lists.values())
        return

    told = {name: values for name, (_, values) in context.items()}
    assert {name: list(values) for name, values in example.context.items()} == told
    for name, frames in example.frames.items():
        rows = [list(value[0]) if kind == "bytes_list" else value for kind, value in lists[name]]
        assert frames.tolist() == rows


def is_ragged(features: list[tuple[str, list[Any]]]) -> bool:
    """Whether frames differ in kind or size, or are not one bytes value each."""
    sizes = {(kind, len(v[0]) if kind == "bytes_list" and v else len(v)) for kind, v in features}
    odd = any(not v or (kind == "bytes_list" and len(v) != 1) for kind, v in features)
    return len(sizes) > 1 or odd


@many
@given(name=NAMES, labels=LABELS, streams=st.dictionaries(NAMES, FRAMES, max_size=2))
def test_protobuf_reads_what_is_encoded(
    package: Any, name: str, labels: Any, streams: dict[str, Any]
):
    message = package.example_pb2.SequenceExample.FromString(encode(name, labels, streams))

    assert message.context.feature["id"].bytes_list.value[0] == name.encode()
    assert list(message.context.feature["labels"].int64_list.value) == list(labels or [])
    for stream, frames in streams.items():
        features = message.feature_lists.feature_list[stream].feature
        if frames.dtype == np.uint8:
            rows = [list(feature.bytes_list.value[0]) for feature in features]
        else:
            rows = [list(feature.float_list.value) for feature in features]
        assert rows == frames.tolist()


def test_the_tfrecord_package_reads_our_files(package: Any, tmp_path: Path):
    path = tmp_path / "a.tfrecord"
    rgb = np.arange(24, dtype=np.uint8).reshape(3, 8)
    write_tfrecord(path, [encode("abcd", (3, 500), {"rgb": rgb})])

    ((context, lists),) = package.tfrecord_loader(
        str(path), None, {"id": "byte", "labels": "int"}, sequence_description={"rgb": "byte"}
    )

    assert bytes(context["id"]) == b"abcd"
    assert context["labels"].tolist() == [3, 500]
    assert b"".join(lists["rgb"]) == rgb.tobytes()
