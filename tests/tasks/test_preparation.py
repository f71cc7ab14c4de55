"""Converting YouTube-8M between the forms that can be read."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from videozoo.cli import main
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.record_formats import find_records, write_shard
from videozoo.data.features.records import FeatureRecord
from videozoo.errors import DataError
from videozoo.tasks.preparation import PrepareRequest, prepare

QUIET = Console(quiet=True)


def make_records(count: int, seed: int = 0) -> list[FeatureRecord]:
    rng = np.random.default_rng(seed)
    return [
        FeatureRecord(
            f"video{seed}_{number}",
            {
                "rgb": rng.integers(0, 256, (number + 1, 8), np.uint8),
                "audio": rng.integers(0, 256, (number + 1, 3), np.uint8),
            },
            (number, number + 3862),
        )
        for number in range(count)
    ]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    for number in range(3):
        write_shard(folder / f"train{number}.tfrecord", make_records(4, seed=number))
    return folder


def assert_same(folder: Path, expected: list[FeatureRecord]) -> None:
    found = find_records(folder)
    assert len(found) == len(expected)
    for number, record in enumerate(expected):
        read = found.read(number)
        assert (read.name, read.labels) == (record.name, record.labels)
        for name, frames in record.streams.items():
            np.testing.assert_array_equal(read.streams[name], frames)


@pytest.mark.parametrize("way", [("pack",), ("pickle",), ("pack", "tfrecord"), ("pickle", "pack")])
def test_every_way_keeps_every_video(shards: Path, tmp_path: Path, way: tuple[str, ...]):
    source = shards
    for kind in way:
        target = tmp_path / kind
        done = prepare(
            PrepareRequest(inputs=[source], output=target, kind=kind, workers=1),  # type: ignore[arg-type]
            console=QUIET,
        )
        assert (done.files, done.videos) == (3, 12)
        source = target

    assert_same(source, [record for seed in range(3) for record in make_records(4, seed)])


def test_processes_write_the_same(shards: Path, tmp_path: Path):
    prepare(PrepareRequest(inputs=[shards], output=tmp_path / "one", workers=1), console=QUIET)
    prepare(PrepareRequest(inputs=[shards], output=tmp_path / "two", workers=2), console=QUIET)

    for path in sorted((tmp_path / "one").rglob("*.*")):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert other.read_bytes() == path.read_bytes()


def test_a_pickle_is_what_the_2019_reader_takes(shards: Path, tmp_path: Path):
    flags = ["--format", "pickle", "--num-classes", "3862", "--workers", "1"]
    main(["prepare", "youtube8m", str(shards), "--output", str(tmp_path / "p"), *flags])

    videos = pickle.loads((tmp_path / "p/train0.pkl").read_bytes(), encoding="bytes")

    assert [sorted(video) for video in videos] == [
        [b"audio", b"feature", b"label", b"nframes", b"video"]
    ] * 4
    assert videos[2][b"label"] == [2]
    assert videos[2][b"nframes"] == 3
    assert videos[2][b"video"] == b"video0_2"


def test_a_second_call_makes_only_what_is_missing(shards: Path, tmp_path: Path):
    request = PrepareRequest(inputs=[shards], output=tmp_path / "packs", workers=1)
    prepare(request, console=QUIET)
    write_shard(shards / "train9.tfrecord", make_records(2, seed=9))

    done = prepare(request, console=QUIET)

    assert (done.files, done.videos, done.already_there) == (1, 2, 3)


def test_a_shard_that_ends_early_is_named_and_the_others_are_made(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = shards / "train1.tfrecord"
    path.write_bytes(path.read_bytes()[:-7])

    status = main(["prepare", "youtube8m", str(shards), "--output", str(tmp_path / "out")])

    message = capsys.readouterr().err
    assert status == 1
    assert f"{path}: record 3 at byte" in message
    assert "1 of 3 files could not be converted" in message
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["train0", "train2"]


def test_a_damaged_record_can_be_left_out(shards: Path, tmp_path: Path):
    path = shards / "train1.tfrecord"
    data = bytearray(path.read_bytes())
    data[40] ^= 1  # inside the first record: its checksum no longer fits
    path.write_bytes(data)
    request = PrepareRequest(inputs=[path], output=tmp_path / "out", workers=1, skip_bad=True)

    done = prepare(request, console=QUIET)

    assert (done.videos, len(done.skipped)) == (3, 1)
    assert f"{path}: record 0" in done.skipped[0]


def test_what_made_the_features_stays_with_them(tmp_path: Path):
    with PackWriter(tmp_path / "a", extractor={"model": "tsn"}) as pack:
        pack.write(make_records(1)[0])

    prepare(
        PrepareRequest(inputs=[tmp_path / "a"], output=tmp_path / "out", workers=1), console=QUIET
    )

    assert find_records(tmp_path / "out").extractor == {"model": "tsn"}


def test_streams_without_a_place_in_a_pickle_are_refused(tmp_path: Path):
    record = FeatureRecord("a", {"flow": np.zeros((2, 4), np.uint8)}, None)
    write_shard(tmp_path / "a.tfrecord", [record])

    with pytest.raises(DataError, match=r"stream 'flow' has no place in a 2019 pickle"):
        prepare(
            PrepareRequest(
                inputs=[tmp_path / "a.tfrecord"], output=tmp_path / "out", kind="pickle", workers=1
            ),
            console=QUIET,
        )
    assert not (tmp_path / "out/a.pkl").exists()


def test_two_files_of_one_name_are_refused(tmp_path: Path):
    for folder in ("a", "b"):
        write_shard(tmp_path / folder / "x.tfrecord", make_records(1))

    with pytest.raises(DataError, match="would both become"):
        prepare(
            PrepareRequest(inputs=[tmp_path / "a", tmp_path / "b"], output=tmp_path / "out"),
            console=QUIET,
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kinetics", "x", "--output", "y"], "unknown dataset 'kinetics'"),
        (["youtube8m", "--output", "y"], "required: INPUT"),
        (["youtube8m", "x", "--output", "y", "--workers", "0"], "--workers 0: expected 1 or more"),
    ],
)
def test_a_wrong_command_line_says_so(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["prepare", *arguments]) == 2
    assert message in capsys.readouterr().err
