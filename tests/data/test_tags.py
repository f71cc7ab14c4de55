from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from videozoo.data.annotations.class_names import read_class_names
from videozoo.data.features import records
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.record_formats import find_records, write_shard
from videozoo.data.features.records import FeatureRecord, RecordSet
from videozoo.data.label_index import label_index
from videozoo.data.loader import EvalLoader, TrainLoader
from videozoo.data.tags import (
    FeatureBatch,
    FeatureDataset,
    has_records,
    load_records,
    record_order,
    slice_frames,
)
from videozoo.errors import DataError
from videozoo.settings.tags import FeatureData
from videozoo.types import FeatureShape, Stream

BOTH = FeatureShape(streams=(Stream(name="audio", dim=4), Stream(name="rgb", dim=6)))
SLICES = replace(BOTH, num_frames=5)
CLASSES = 8
HERE = FeatureData(num_workers=0)
WORKERS = FeatureData(num_workers=2)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path_factory.mktemp("cache")))


def video(number: int, *, frames: int | None = None) -> FeatureRecord:
    rng = np.random.RandomState(number)
    count = number % 7 + 1 if frames is None else frames
    streams = {
        name: rng.randint(0, 256, (count, dim)).astype(np.uint8)
        for name, dim in (("rgb", 6), ("audio", 4))
    }
    return FeatureRecord(f"v{number}", streams, (number % CLASSES, (number + 3) % CLASSES))


VIDEOS = [video(number) for number in range(24)]


def write_shards(folder: Path, videos: Sequence[FeatureRecord], *, each: int = 5) -> Path:
    folder.mkdir()
    for start in range(0, len(videos), each):
        write_shard(folder / f"{start:04d}.tfrecord", videos[start : start + each])
    return folder


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return write_shards(tmp_path / "shards", VIDEOS)


@pytest.fixture
def held(shards: Path) -> RecordSet:
    return find_records(shards)


def train(
    held: RecordSet,
    data: FeatureData = HERE,
    *,
    shape: FeatureShape = BOTH,
    batch_size: int = 4,
    num_classes: int = CLASSES,
    seed: int = 0,
    **options: Any,
) -> TrainLoader[FeatureBatch]:
    dataset = FeatureDataset(held, shape, data, seed=seed, num_classes=num_classes)
    return TrainLoader(dataset, data, batch_size=batch_size, **options)


def evaluate(
    held: RecordSet,
    data: FeatureData = HERE,
    *,
    shape: FeatureShape = BOTH,
    batch_size: int = 4,
    num_classes: int | None = None,
    **options: Any,
) -> EvalLoader[FeatureBatch]:
    dataset = FeatureDataset(held, shape, data, num_classes=num_classes)
    return EvalLoader(dataset, data, batch_size=batch_size, **options)


def names_of(batches: Iterable[FeatureBatch]) -> list[str]:
    return [name for batch in batches for name in batch.names]


def same(ours: Sequence[FeatureBatch], theirs: Sequence[FeatureBatch]) -> bool:
    def equal(our: FeatureBatch, their: FeatureBatch) -> bool:
        assert our.labels is not None
        assert their.labels is not None
        return (
            our.names == their.names
            and torch.equal(our.videos, their.videos)
            and torch.equal(our.lengths, their.lengths)
            and torch.equal(our.labels, their.labels)
            and all(map(torch.equal, our.streams, their.streams))
        )

    return len(ours) == len(theirs) and all(map(equal, ours, theirs))


# --- a batch ---------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [HERE, WORKERS])
def test_a_batch_holds_the_videos_padded_with_zeros(held: RecordSet, data: FeatureData):
    batch = next(iter(evaluate(held, data, num_classes=CLASSES)))

    assert len(batch) == 4
    assert batch.names == ("v0", "v1", "v2", "v3")
    assert batch.videos.tolist() == [0, 1, 2, 3]
    assert batch.lengths.tolist() == [1, 2, 3, 4]
    assert [tuple(stream.shape) for stream in batch.streams] == [(4, 4, 4), (4, 4, 6)]
    for row, one in enumerate(VIDEOS[:4]):
        for stream, name in zip(batch.streams, ("audio", "rgb"), strict=True):
            assert stream.dtype == torch.uint8
            frames = one.streams[name]
            np.testing.assert_array_equal(stream[row, : len(frames)].numpy(), frames)
            assert not stream[row, len(frames) :].any()
    assert batch.labels is not None
    assert batch.labels.dtype == torch.float32
    assert batch.labels.nonzero().tolist() == [
        [row, label] for row in range(4) for label in sorted((row, row + 3))
    ]


def test_floats_stay_floats(tmp_path: Path):
    with PackWriter(tmp_path / "pack") as pack:
        pack.write(FeatureRecord("a", {"x": np.full((2, 3), 0.5, np.float16)}, (0,)))
    shape = FeatureShape(streams=(Stream(name="x", dim=3),))

    (batch,) = evaluate(find_records(tmp_path / "pack"), shape=shape)

    assert batch.streams[0].dtype == torch.float32
    assert batch.streams[0].eq(0.5).all()


def test_labels_are_left_out_where_not_asked_for(held: RecordSet):
    assert all(batch.labels is None for batch in evaluate(held))


def test_long_videos_are_cut(tmp_path: Path):
    held = find_records(write_shards(tmp_path / "long", [video(1, frames=310)]))

    for limit, length in ((300, 300), (7, 7), (None, 310)):
        (batch,) = evaluate(held, FeatureData(num_workers=0, max_frames=limit))
        assert batch.lengths.tolist() == [length]
        assert batch.streams[0].shape[1] == length

    (batch,) = evaluate(held, FeatureData(num_workers=0, max_frames=10), shape=SLICES)
    frames = video(1, frames=310).streams["audio"][[1, 3, 5, 7, 9]]
    np.testing.assert_array_equal(batch.streams[0][0].numpy(), frames)


def test_a_batch_moves_whole(held: RecordSet):
    batch = next(iter(evaluate(held, num_classes=CLASSES))).to("meta")

    assert batch.labels is not None
    tensors = [*batch.streams, batch.lengths, batch.labels, batch.videos]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


# --- which frames ----------------------------------------------------------------------------


@settings(deadline=None)
@given(count=st.integers(1, 400), wanted=st.integers(1, 120), seed=st.none() | st.integers(0, 99))
def test_one_frame_comes_from_each_slice(count: int, wanted: int, seed: int | None):
    rng = None if seed is None else np.random.RandomState(seed)
    frames = slice_frames(count, wanted, rng)

    assert len(frames) == wanted
    for number, frame in enumerate(frames.tolist()):
        assert number * count / wanted - 1 < frame < (number + 1) * count / wanted
        assert 0 <= frame < count


def test_drawn_frames_take_one_number_a_slice_in_order():
    rng = np.random.RandomState(11)  # as recorded from the 2019 reader
    assert rng.random_sample(2).tolist() == [0.1802696888767692, 0.019475241487624584]

    rng = np.random.RandomState(11)
    first = slice_frames(100, 2, rng)
    assert first.tolist() == [int(0.18026 * 50), int(1.01947 * 50)]
    assert rng.random_sample() == pytest.approx(0.46321853)


def test_all_streams_of_a_video_get_the_same_frames(tmp_path: Path):
    column = np.arange(50, dtype=np.uint8)[:, None]
    one = FeatureRecord("a", {"rgb": column.repeat(6, 1), "audio": column.repeat(4, 1)}, (0,))
    held = find_records(write_shards(tmp_path / "x", [one]))

    (batch,) = train(held, shape=SLICES, batch_size=1).epoch(0)

    audio, rgb = batch.streams
    assert torch.equal(audio[0, :, 0], rgb[0, :, 0])
    assert batch.lengths.tolist() == [5]


def test_training_draws_other_frames_each_epoch(tmp_path: Path):
    held = find_records(write_shards(tmp_path / "x", [video(1, frames=300)]))
    source = train(held, shape=SLICES, batch_size=1)

    drawn = [next(iter(source.epoch(epoch))).streams[0] for epoch in (0, 1, 0)]

    assert not torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


def test_evaluation_takes_middles_or_draws_that_never_change(tmp_path: Path):
    videos = [video(1, frames=300), replace(video(1, frames=300), name="again")]
    held = find_records(write_shards(tmp_path / "x", videos))

    (middle,) = evaluate(held, shape=SLICES)
    np.testing.assert_array_equal(
        middle.streams[0][0].numpy(), videos[0].streams["audio"][[30, 90, 150, 210, 270]]
    )

    data = FeatureData(num_workers=0, eval_frames="random")
    (drawn,), again = (
        evaluate(held, data, shape=SLICES),
        list(evaluate(held, data, shape=SLICES, batch_size=1)),
    )
    assert not torch.equal(drawn.streams[0][0], drawn.streams[0][1])
    assert torch.equal(drawn.streams[0], torch.cat([batch.streams[0] for batch in again]))


# --- order -----------------------------------------------------------------------------------


class Held:
    """A file of which only its size matters."""

    def __init__(self, name: str, count: int, loaded_bytes: int = 0) -> None:
        self.path = Path(name)
        self.extractor = None
        self.loaded_bytes = loaded_bytes
        self.count = count

    def __len__(self) -> int:
        return self.count

    def read(self, number: int) -> FeatureRecord:
        raise NotImplementedError

    def close(self) -> None: ...


def sizes(*counts: int, loaded_bytes: int = 0) -> RecordSet:
    return RecordSet([Held(f"{n}", count, loaded_bytes) for n, count in enumerate(counts)])


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(0, 3000), min_size=1, max_size=20),
    shuffle_records=st.integers(1, 4000),
    epoch=st.integers(0, 9),
    loaded_bytes=st.sampled_from([0, 1 << 20, 1 << 29, 1 << 33]),
)
def test_an_epoch_takes_every_record_once(
    counts: list[int], shuffle_records: int, epoch: int, loaded_bytes: int
):
    held = sizes(*counts, loaded_bytes=loaded_bytes)

    order = record_order(held, shuffle_records=shuffle_records, seed=0, epoch=epoch)

    np.testing.assert_array_equal(np.sort(order), np.arange(sum(counts)))


def test_the_order_depends_on_seed_and_epoch_alone():
    held = sizes(100, 70, 300)

    def order(seed: int, epoch: int) -> list[int]:
        return record_order(held, shuffle_records=200, seed=seed, epoch=epoch).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(*key)) for key in ((0, 0), (0, 1), (1, 0), (1, 1))}) == 4
    # the same numbers on every machine and with every version of numpy
    small = record_order(sizes(3, 2, 4), shuffle_records=5, seed=0, epoch=0)
    assert small.tolist() == [5, 8, 7, 6, 2, 4, 0, 1, 3]


def test_reading_stays_within_a_few_shards():
    held = sizes(*[100] * 50)
    order = record_order(held, shuffle_records=400, seed=0, epoch=0)

    for start in range(0, 4800, 400):
        shards = {number // 100 for number in order[start : start + 400].tolist()}
        assert len(shards) == 4
    first = order[:400] // 100
    assert (np.diff(first) != 0).sum() > 200  # and they are mixed


def test_a_huge_file_counts_as_many_shards():
    order = record_order(sizes(100_000), shuffle_records=8192, seed=0, epoch=0)

    near = order[:8192]
    assert len(set((near // 1024).tolist())) == 8
    assert near.max() - near.min() > 50_000


def test_files_that_are_read_whole_are_read_once_an_epoch():
    half = records.MOST_LOADED_BYTES // 4
    held = sizes(*[50] * 12, loaded_bytes=half)

    order = record_order(held, shuffle_records=10_000, seed=0, epoch=0)

    for start in range(0, 600, 100):  # two at a time fit
        assert len({number // 50 for number in order[start : start + 100].tolist()}) == 2


def test_a_thousand_shards_are_ordered_at_once():
    held = sizes(*[1000] * 1000)

    order = record_order(held, shuffle_records=8192, seed=0, epoch=0)

    assert len(order) == 1_000_000  # within the time limit of tests by far


# --- training --------------------------------------------------------------------------------


def test_two_processes_of_two_workers_take_every_video_once(tmp_path: Path):
    package = pytest.importorskip("tfrecord", reason="writes the files: the tfrecord package")
    folder = tmp_path / "shards"
    folder.mkdir()
    for start in range(0, 24, 5):
        writer = package.TFRecordWriter(str(folder / f"{start:02d}.tfrecord"))
        for one in VIDEOS[start : start + 5]:
            context = {"id": (one.name.encode(), "byte"), "labels": (list(one.labels or ()), "int")}
            lists = {
                name: ([row.tobytes() for row in frames], "byte")
                for name, frames in one.streams.items()
            }
            writer.write(context, lists)
        writer.close()
    held = find_records(folder)
    sources = [train(held, WORKERS, rank=rank, world=2, batch_size=3) for rank in (0, 1)]

    for epoch in (0, 1):
        batches = [list(source.epoch(epoch)) for source in sources]
        assert [len(part) for part in batches] == [4, 4]
        assert sorted(names_of(batches[0] + batches[1])) == sorted(one.name for one in VIDEOS)
        for batch in batches[0] + batches[1]:
            for row, name in enumerate(batch.names):
                one = VIDEOS[int(name[1:])]
                length = int(batch.lengths[row])
                assert length == len(one.streams["rgb"])
                audio, rgb = (stream[row, :length].numpy() for stream in batch.streams)
                np.testing.assert_array_equal(audio, one.streams["audio"])
                np.testing.assert_array_equal(rgb, one.streams["rgb"])
                assert batch.labels is not None
                assert batch.labels[row].nonzero().flatten().tolist() == sorted(one.labels or ())


@pytest.mark.parametrize("world", [1, 2, 3, 5, 7])
def test_processes_get_equally_many_batches(held: RecordSet, world: int):
    sources = [train(held, rank=rank, world=world, batch_size=2) for rank in range(world)]
    epochs = [list(source.epoch(0)) for source in sources]

    assert len({len(epoch) for epoch in epochs}) == 1
    assert all(len(batch) == 2 for epoch in epochs for batch in epoch)
    assert len(epochs[0]) == sources[0].batches_per_epoch == len(sources[0].epoch(0))
    taken = Counter(names_of(batch for epoch in epochs for batch in epoch))
    assert max(taken.values()) <= 2
    assert sum(count - 1 for count in taken.values()) <= world - 1


def test_fewer_videos_than_a_batch_make_one_batch(held: RecordSet):
    (batch,) = train(held, batch_size=100).epoch(0)

    assert sorted(batch.names) == sorted(one.name for one in VIDEOS)


@pytest.mark.parametrize("shape", [BOTH, SLICES])
def test_going_on_in_the_middle_gives_the_same_batches(held: RecordSet, shape: FeatureShape):
    whole = list(train(held, shape=shape).epoch(3))

    for skip in (0, 2, len(whole)):
        resumed = train(held, WORKERS, shape=shape).epoch(3, skip_batches=skip)
        assert len(resumed) == len(whole) - skip
        assert same(list(resumed), whole[skip:])


def test_what_is_skipped_is_not_read(held: RecordSet, monkeypatch: pytest.MonkeyPatch):
    read: list[int] = []
    reading = RecordSet.read

    def watched(self: RecordSet, number: int) -> FeatureRecord:
        read.append(number)
        return reading(self, number)

    monkeypatch.setattr(RecordSet, "read", watched)
    batches = list(train(held).epoch(0, skip_batches=4))

    assert len(batches) == 2
    assert read == [number for batch in batches for number in batch.videos.tolist()]


def test_training_does_not_depend_on_workers(held: RecordSet):
    here, there = train(held, shape=SLICES), train(held, WORKERS, shape=SLICES)

    for epoch in (0, 1):
        assert same(list(here.epoch(epoch)), list(there.epoch(epoch)))


def test_training_reads_no_random_numbers_of_others(held: RecordSet):
    states = torch.get_rng_state(), cast(Any, np.random.get_state())[1]
    list(train(held, WORKERS, shape=SLICES).epoch(0))

    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(cast(Any, np.random.get_state())[1], states[1])


# --- evaluation ------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [1, 2, 5])
@pytest.mark.parametrize("data", [HERE, WORKERS])
def test_evaluation_takes_every_video_once(held: RecordSet, world: int, data: FeatureData):
    names: list[str] = []
    for rank in range(world):
        part = evaluate(held, data, rank=rank, world=world, batch_size=5)
        batches = list(part)
        assert len(batches) == len(part)
        names += names_of(batches)

    assert names == [one.name for one in VIDEOS]


def test_a_process_without_videos_has_no_batch(tmp_path: Path):
    held = find_records(write_shards(tmp_path / "x", VIDEOS[:1]))

    assert names_of(evaluate(held, rank=0, world=2)) == []
    assert names_of(evaluate(held, rank=1, world=2)) == ["v0"]


# --- bad videos ------------------------------------------------------------------------------


def with_bad(tmp_path: Path, *bad: FeatureRecord) -> RecordSet:
    return find_records(write_shards(tmp_path / "bad", [*VIDEOS[:9], *bad, *VIDEOS[9:]], each=7))


EMPTY = video(99, frames=0)
UNEVEN = replace(video(98), streams={**video(98, frames=3).streams, "rgb": np.zeros((4, 6), "u1")})


@pytest.mark.parametrize("data", [HERE, WORKERS])
@pytest.mark.parametrize("shape", [BOTH, SLICES])
def test_training_replaces_empty_videos_and_counts_them(
    tmp_path: Path, data: FeatureData, shape: FeatureShape
):
    held = with_bad(tmp_path, EMPTY)
    source = train(
        held, data.model_copy(update={"bad_video_share": 0.1}), shape=shape, batch_size=5
    )

    batches = list(source.epoch(0))

    assert [len(batch) for batch in batches] == [5] * 5
    assert "v99" not in names_of(batches)
    assert sum(batch.replaced for batch in batches) == 1
    assert list(source.bad_videos) == [9]
    path = tmp_path / "bad" / "0007.tfrecord"
    assert source.bad_videos[9] == f"{path}: record 2 (v99): empty: it has no frames"


def test_training_stops_at_too_many_bad_videos(tmp_path: Path):
    held = with_bad(tmp_path, EMPTY)

    with pytest.raises(DataError, match=r"1 of 25 training videos cannot be used.*\n  .*v99"):
        list(train(held).epoch(0))


def test_a_set_of_bad_videos_ends_at_once(tmp_path: Path):
    held = find_records(write_shards(tmp_path / "x", [EMPTY]))
    data = FeatureData(num_workers=0, bad_video_share=1)

    with pytest.raises(DataError, match=r"no video could be used in 20 tries; the last: .*empty"):
        list(train(held, data).epoch(0))


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (EMPTY, r"record 2 \(v99\): empty: it has no frames"),
        (UNEVEN, r"record 2 \(v98\): streams of different lengths in frames: audio 3, rgb 4"),
    ],
)
def test_evaluation_refuses_or_skips_bad_videos(tmp_path: Path, bad: FeatureRecord, expected: str):
    held = with_bad(tmp_path, bad)
    with pytest.raises(DataError, match=expected):
        list(evaluate(held))

    for size in (1, 4):
        part = evaluate(held, batch_size=size, skip_bad=True)
        batches = list(part)
        assert names_of(batches) == [one.name for one in VIDEOS]
        assert list(part.skipped) == [9]
        assert [number for batch in batches for number in batch.skipped] == [9]


@pytest.mark.parametrize("place", [0, 12, 24])
def test_batches_tell_of_every_video_that_was_skipped(tmp_path: Path, place: int):
    videos = [*VIDEOS[:place], EMPTY, *VIDEOS[place:]]
    held = find_records(write_shards(tmp_path / "x", videos))

    batches = list(evaluate(held, batch_size=1, skip_bad=True))

    assert [number for batch in batches for number in batch.skipped] == [place]


def test_damage_within_a_shard_is_a_bad_video(tmp_path: Path):
    folder = write_shards(tmp_path / "x", VIDEOS)
    path = folder / "0005.tfrecord"
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    held = find_records(folder)

    with pytest.raises(DataError, match=r"0005.tfrecord: record 0 at byte 0: damaged"):
        list(evaluate(held, WORKERS))
    assert len(names_of(evaluate(held, WORKERS, skip_bad=True))) == 23


def test_only_bad_videos_are_an_error(tmp_path: Path):
    held = find_records(write_shards(tmp_path / "x", [EMPTY, EMPTY]))

    with pytest.raises(DataError, match="none of the videos can be used"):
        list(evaluate(held, skip_bad=True))


RGB = np.zeros((2, 6), np.uint8)
AUDIO = np.zeros((2, 4), np.uint8)


@pytest.mark.parametrize(
    ("streams", "labels", "expected"),
    [
        ({"rgb": RGB}, (1,), r"record 2 \(x\): has no stream 'audio', .* it has: rgb"),
        ({}, (1,), r"has no stream 'audio', which the model reads; it has: none"),
        ({"rgb": AUDIO, "audio": AUDIO}, (1,), r"rgb has 4 values per frame, expected 6"),
        ({"rgb": RGB, "audio": AUDIO}, (8,), r"record 2 \(x\): label 8, expected 0 to 7"),
        ({"rgb": RGB, "audio": AUDIO}, (-1,), r"label -1, expected 0 to 7"),
        ({"rgb": RGB, "audio": AUDIO}, None, r"has no labels, which training and evaluation need"),
        ({"rgb": RGB.astype("f4"), "audio": AUDIO}, (1,), "rgb holds float32, but that of .* byt"),
    ],
)
def test_data_that_does_not_fit_the_model_is_an_error(
    tmp_path: Path, streams: Any, labels: Any, expected: str
):
    held = with_bad(tmp_path, FeatureRecord("x", streams, labels))
    lenient = FeatureData(num_workers=0, bad_video_share=1)

    with pytest.raises(DataError, match=expected):
        list(train(held, lenient, batch_size=5).epoch(0))
    with pytest.raises(DataError, match=expected):
        list(evaluate(held, num_classes=CLASSES, skip_bad=True))


def test_a_misfit_that_a_worker_finds_ends_training_too(tmp_path: Path):
    held = with_bad(tmp_path, FeatureRecord("x", {"rgb": RGB}, (1,)))

    with pytest.raises(DataError, match="has no stream 'audio'"):
        list(train(held, WORKERS, batch_size=5).epoch(0))


def test_prediction_needs_no_labels_and_only_its_streams(tmp_path: Path):
    held = find_records(write_shards(tmp_path / "x", [FeatureRecord("x", {"rgb": RGB})]))

    (batch,) = evaluate(held, shape=FeatureShape(streams=(Stream(name="rgb", dim=6),)))

    assert (batch.names, len(batch.streams)) == (("x",), 1)


# --- the data section ------------------------------------------------------------------------


def test_the_section_says_where_the_parts_are(shards: Path, tmp_path: Path):
    data = FeatureData(train=shards, val=shards / "0000.tfrecord", num_workers=0)

    assert len(load_records(data, "train")) == 24
    assert len(load_records(data, "val")) == len(load_records(data, "test")) == 5
    assert len(load_records(data, "train")) == 24
    assert len(names_of(evaluate(load_records(data, "test"), data))) == 5
    assert not has_records(FeatureData(train=shards), "test")
    with pytest.raises(DataError, match=r"data.test is not set \(nor data.val\)"):
        load_records(FeatureData(train=shards), "test")


def test_a_format_is_insisted_on(shards: Path):
    with pytest.raises(DataError, match="not a readable pickle"):
        load_records(FeatureData(train=shards / "0000.tfrecord", format="pickle"), "train")


@pytest.mark.parametrize("values", [{"max_frames": 0}, {"format": "csv"}, {"shuffle_records": 0}])
def test_settings_are_checked(values: dict[str, Any]):
    with pytest.raises(ValidationError):
        FeatureData.model_validate(values)


def test_records_travel_to_spawned_workers(held: RecordSet):
    dataset = FeatureDataset(held, BOTH, HERE, num_classes=CLASSES)
    held.read(0)

    copy = pickle.loads(pickle.dumps(dataset))

    assert copy.collate([copy[3]]).names == ("v3",)


def test_names_come_from_the_vocabulary_of_youtube_8m(tmp_path: Path):
    (tmp_path / "vocabulary.csv").write_text(
        "Index,TrainVideoCount,KnowledgeGraphId,Name,WikiUrl,Vertical1,WikiDescription\n"
        '1,539945,/m/01jddz,"Concert, live",https://en,Arts,"A ""concert"""\n'
        "0,788288,/m/03bt1gh,Game,https://en,Games,text\n"
        "2,3,/m/0abc,,,,\n"
    )

    assert read_class_names(tmp_path / "vocabulary.csv") == ["Game", "Concert, live", "/m/0abc"]


def test_names_come_from_text_too(tmp_path: Path):
    (tmp_path / "names.txt").write_text("game\nlive concert\n")
    (tmp_path / "names.json").write_text('["game", "live concert"]')

    for name in ("names.txt", "names.json"):
        assert read_class_names(tmp_path / name) == ["game", "live concert"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("0,a\n2,b\n", "0, 1, 2, ... without gaps"),
        ("0,a\n0,b\n", ":3: Index '0', expected a new number"),
        ("x,a\n", ":2: Index 'x', expected a new number"),
        ("", "0, 1, 2, ... without gaps"),
    ],
)
def test_a_damaged_vocabulary_is_explained(tmp_path: Path, rows: str, expected: str):
    (tmp_path / "v.csv").write_text(f"Index,Name\n{rows}")

    with pytest.raises(DataError) as caught:
        read_class_names(tmp_path / "v.csv")
    assert expected in str(caught.value)


def test_balanced_records_come_from_the_labels_of_all_of_them(shards: Path):
    held = find_records(shards)
    labels = label_index(held).labels
    assert labels == tuple(one.labels for one in VIDEOS)
    assert label_index(find_records(shards)).counts(CLASSES) == [6] * CLASSES
    classes = [(0,)] * 20 + [(1,)] * 4
    dataset = FeatureDataset(held, SLICES, HERE, num_classes=CLASSES, classes=classes, seed=3)

    whole = list(TrainLoader(dataset, HERE, batch_size=4).epoch(1))
    rest = list(TrainLoader(dataset, HERE, batch_size=4).epoch(1, skip_batches=4))

    drawn = Counter(int(name[1:]) >= 20 for batch in whole for name in batch.names)
    assert drawn == {False: 12, True: 12}
    for ours, theirs in zip(whole[4:], rest, strict=True):
        assert ours.names == theirs.names
        assert all(map(torch.equal, ours.streams, theirs.streams))
