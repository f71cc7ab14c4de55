import pickle
import random
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from videozoo.data import clips
from videozoo.data.annotations.videos import ClipEntry, read_list
from videozoo.data.clips import (
    ClipBatch,
    ClipDataset,
    ViewDataset,
    epoch_order,
    load_entries,
)
from videozoo.data.frames.video import open_video
from videozoo.data.frames.views import Draws, eval_plan, eval_views, train_plan, train_view
from videozoo.data.loader import Epoch, EvalLoader, TrainLoader
from videozoo.errors import ConfigError, DataError, VideoError
from videozoo.settings.clips import ClipData, ClipViews
from videozoo.types import ClipShape


def train_loader(
    entries: Sequence[ClipEntry],
    shape: ClipShape,
    data: ClipData,
    *,
    batch_size: int,
    **options: Any,
) -> TrainLoader[ClipBatch]:
    return TrainLoader(ClipDataset(entries, shape, data, **options), data, batch_size=batch_size)


def eval_loader(
    entries: Sequence[ClipEntry],
    shape: ClipShape,
    data: ClipData,
    views: ClipViews | None = None,
    *,
    batch_size: int | None = None,
    num_classes: int | None = None,
    **options: Any,
) -> EvalLoader[ClipBatch]:
    dataset = ViewDataset(entries, shape, data, views, num_classes=num_classes)
    size = batch_size or (views or ClipViews()).batch_size
    return EvalLoader(dataset, data, batch_size=size, **options)


def train_batches(
    entries: Sequence[ClipEntry],
    shape: ClipShape,
    data: ClipData,
    *,
    epoch: int = 0,
    skip_batches: int = 0,
    **options: Any,
) -> Epoch[ClipBatch]:
    """Batches of a single epoch."""
    return train_loader(entries, shape, data, **options).epoch(epoch, skip_batches=skip_batches)


SEGMENTS = ClipShape(sampling="segments", num_steps=3)
RUNS = ClipShape(sampling="segments", num_steps=2, frames_per_step=3)
DENSE = ClipShape(sampling="dense", num_steps=4)
HERE = ClipData(short_side=24, crop_size=20, num_workers=0, frame_stride=2, bad_video_share=0.5)
WORKERS = HERE.model_copy(update={"num_workers": 2})


def make_video(path: Path, *, frames: int, height: int = 48, width: int = 64) -> Path:
    """Frame k is grey 8 * k, brighter towards the right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.bit_rate = 4_000_000
        slope = np.linspace(0, 40, width, dtype=np.uint8)[None, :, None]
        for number in range(frames):
            picture = np.broadcast_to(slope + np.uint8(8 * number), (height, width, 3))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(7):
        make_video(folder / f"{number}.mp4", frames=9 + number)
    (folder / "bad.mp4").write_bytes(b"this is no video" * 9)
    return folder


@pytest.fixture
def entries(folder: Path) -> list[ClipEntry]:
    return [ClipEntry(folder / f"{n}.mp4", n % 3, f"{n}.mp4") for n in range(7)]


@pytest.fixture
def bad(folder: Path) -> ClipEntry:
    return ClipEntry(folder / "bad.mp4", 1, "bad.mp4")


def same(ours: Sequence[ClipBatch], theirs: Sequence[ClipBatch]) -> bool:
    return len(ours) == len(theirs) and all(
        torch.equal(our.clips, their.clips)
        and torch.equal(our.labels, their.labels)
        and torch.equal(our.videos, their.videos)
        for our, their in zip(ours, theirs, strict=True)
    )


# --- a batch ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "expected"),
    [(SEGMENTS, (2, 3, 3, 20, 20)), (RUNS, (2, 2, 9, 20, 20)), (DENSE, (2, 4, 3, 20, 20))],
)
def test_batches_are_bytes_channels_last(
    entries: list[ClipEntry], shape: ClipShape, expected: tuple[int, ...]
):
    for batch in (
        next(iter(train_batches(entries, shape, HERE, batch_size=2))),
        next(iter(eval_loader(entries, shape, HERE, batch_size=2))),
    ):
        assert tuple(batch.clips.shape) == expected
        assert batch.clips.dtype == torch.uint8
        assert batch.clips.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
        assert batch.labels.dtype == batch.videos.dtype == torch.int64
        assert batch.to("cpu").clips.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_frames_of_a_step_lie_side_by_side_on_the_channels(entries: list[ClipEntry]):
    batch = next(iter(eval_loader(entries[:1], RUNS, HERE)))
    grey = batch.clips.float().mean(dim=(3, 4))[0]  # (steps, 9)
    steps = grey.view(2, 3, 3).mean(dim=2)  # frame numbers 1 2 3 and 5 6 7, times 8

    assert torch.allclose(steps - steps[0, 0], torch.tensor([[0.0, 8, 16], [32, 40, 48]]), atol=2)


# --- training --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [SEGMENTS, DENSE])
def test_batches_do_not_depend_on_the_number_of_workers(entries: list[ClipEntry], shape: ClipShape):
    alone = list(train_batches(entries, shape, HERE, batch_size=2, seed=3, epoch=1))
    shared = list(train_batches(entries, shape, WORKERS, batch_size=2, seed=3, epoch=1))

    assert len(alone) == 3
    assert same(alone, shared)


def test_epochs_and_seeds_differ_and_repeat(entries: list[ClipEntry]):
    source = train_loader(entries, SEGMENTS, HERE, batch_size=7, seed=3)
    first, second, again = (list(source.epoch(number)) for number in (0, 1, 0))
    other = list(train_loader(entries, SEGMENTS, HERE, batch_size=7, seed=4).epoch(0))

    assert same(first, again)
    assert not same(first, second)
    assert not same(first, other)


def test_every_epoch_draws_anew_for_each_video(entries: list[ClipEntry]):
    (first,), (second,) = (
        train_batches(entries[6:], SEGMENTS, HERE, batch_size=1, epoch=epoch) for epoch in (0, 1)
    )

    assert not torch.equal(first.clips, second.clips)


def test_an_epoch_goes_on_where_it_stopped(entries: list[ClipEntry]):
    source = train_loader(entries, SEGMENTS, WORKERS, batch_size=2)
    for batch in source.epoch(4):  # interrupted: workers hold batches nobody wants any more
        assert len(batch) == 2
        break
    rest = source.epoch(4, skip_batches=1)
    whole = list(source.epoch(4))

    assert len(rest) == 2
    assert same(list(rest), whole[1:])
    assert list(source.epoch(4, skip_batches=3)) == []


def test_what_is_skipped_is_not_decoded(entries: list[ClipEntry], monkeypatch: pytest.MonkeyPatch):
    opened: list[Path] = []

    def watched(path: Path) -> Any:
        opened.append(path)
        return open_video(path)

    monkeypatch.setattr(clips, "open_video", watched)
    list(train_batches(entries, SEGMENTS, HERE, batch_size=2, skip_batches=2))

    assert len(opened) == 2


def test_the_global_random_states_are_left_alone(entries: list[ClipEntry]):
    torch.manual_seed(5)
    random.seed(5)
    expected = torch.rand(2), random.random()
    torch.manual_seed(5)
    random.seed(5)

    list(train_batches(entries, SEGMENTS, WORKERS, batch_size=2))
    list(eval_loader(entries, SEGMENTS, WORKERS))

    assert torch.equal(torch.rand(2), expected[0])
    assert random.random() == expected[1]


@given(count=st.integers(1, 40), world=st.integers(1, 5), seed=st.integers(0, 9))
def test_processes_share_an_epoch_evenly(count: int, world: int, seed: int):
    shares = [
        epoch_order(count, seed=seed, epoch=2, rank=rank, world=world) for rank in range(world)
    ]
    together = [place for turn in zip(*shares, strict=True) for place in turn]

    assert sorted(together[:count]) == list(range(count))
    assert together[count:] == together[: len(together) - count]


def test_the_last_incomplete_batch_is_dropped_unless_it_is_the_only_one(
    entries: list[ClipEntry],
):
    sizes = [
        [len(batch) for batch in train_batches(entries, SEGMENTS, HERE, batch_size=size)]
        for size in (3, 7, 50)
    ]

    assert sizes == [[3, 3], [7], [7]]


def test_a_bad_video_is_replaced_and_counted(entries: list[ClipEntry], bad: ClipEntry):
    source = train_loader([*entries, bad], SEGMENTS, WORKERS, batch_size=4)
    batches = list(source.epoch(0))

    assert [len(batch) for batch in batches] == [4, 4]
    assert sum(batch.replaced for batch in batches) == 1
    assert 7 not in torch.cat([batch.videos for batch in batches])
    assert list(source.bad_videos) == [7]
    assert "bad.mp4" in source.bad_videos[7]


@pytest.mark.parametrize("data", [HERE, WORKERS])
def test_too_many_bad_videos_stop_training_by_name(
    entries: list[ClipEntry], bad: ClipEntry, data: ClipData
):
    strict = data.model_copy(update={"bad_video_share": 0.1})

    with pytest.raises(DataError) as error:
        list(train_batches([*entries, bad], SEGMENTS, strict, batch_size=8))

    first, second = str(error.value).splitlines()
    assert first == (
        "1 of 8 training videos cannot be read, more than data.bad_video_share=0.1 allows; "
        "take them off the list, or allow more:"
    )
    assert "bad.mp4" in second


def test_a_list_of_bad_videos_comes_to_an_end(bad: ClipEntry):
    tolerant = HERE.model_copy(update={"bad_video_share": 1.0})

    with pytest.raises(
        DataError, match=r"no video could be read in 20 tries; the last: .*bad\.mp4"
    ):
        list(train_batches([bad], SEGMENTS, tolerant, batch_size=1))


@pytest.mark.parametrize("shape", [SEGMENTS, DENSE])
def test_mirroring_is_as_frequent_as_asked(entries: list[ClipEntry], shape: ClipShape):
    def falling(flip: float) -> int:
        data = HERE.model_copy(update={"flip": flip})
        source = train_loader(entries, shape, data, batch_size=7)
        found = torch.cat([batch.clips for n in range(4) for batch in source.epoch(n)]).float()
        return int((found[..., 0].mean(dim=(1, 2, 3)) > found[..., -1].mean(dim=(1, 2, 3))).sum())

    assert falling(0.0) == 0
    assert falling(1.0) == 28
    assert 4 < falling(0.5) < 24
    assert falling(0.1) < 12


@pytest.mark.parametrize("shape", [SEGMENTS, DENSE])
@pytest.mark.parametrize("crops", ["random", "multi_scale"])
def test_every_augmentation_gives_the_crop_size(
    entries: list[ClipEntry], shape: ClipShape, crops: str
):
    data = ClipData.model_validate(
        HERE.model_dump() | {"crops": crops, "short_side_jitter": [20, 31]}
    )
    (batch,) = train_batches(entries, shape, data, batch_size=7)

    assert tuple(batch.clips.shape[-2:]) == (20, 20)


def test_frames_smaller_than_the_crop_are_scaled_up(tmp_path: Path):
    path = make_video(tmp_path / "small.mp4", frames=4, height=16, width=16)
    data = ClipData(short_side=40, crop_size=40, num_workers=0)

    for shape in (SEGMENTS, DENSE):
        (batch,) = train_batches([ClipEntry(path, 0, "small")], shape, data, batch_size=1)
        assert tuple(batch.clips.shape[-2:]) == (40, 40)


def test_only_the_named_seconds_of_a_video_are_seen(tmp_path: Path):
    path = make_video(tmp_path / "long.mp4", frames=30)
    entry = ClipEntry(path, 0, "long", start_seconds=1.0, end_seconds=2.0)  # frames 10 to 19
    data = HERE.model_copy(update={"flip": 0.0})

    (found,) = eval_loader([entry], SEGMENTS, data)
    (whole,) = eval_loader([replace(entry, start_seconds=None, end_seconds=None)], DENSE, data)
    (drawn,) = train_batches([entry], SEGMENTS, data, batch_size=1)

    grey = found.clips.float().mean(dim=(2, 3, 4))[0]
    reference = whole.clips.float().mean(dim=(2, 3, 4))[0]  # frames 11 13 15 17
    assert torch.allclose(grey, torch.stack([reference[0], reference[1] + 8, reference[3]]), atol=3)
    seen = drawn.clips.float().mean(dim=(2, 3, 4))[0]
    assert reference[0] - 16 < seen.min()
    assert seen.max() < reference[3] + 24


# --- evaluation ------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [HERE, WORKERS])
@pytest.mark.parametrize("world", [1, 2, 3, 9])
def test_every_view_is_seen_once_whatever_the_number_of_processes(
    entries: list[ClipEntry], data: ClipData, world: int
):
    views = ClipViews(num_clips=2, num_crops=3, batch_size=7)
    seen: list[tuple[int, int, int]] = []
    for rank in range(world):
        batches = eval_loader(entries, SEGMENTS, data, views, rank=rank, world=world)
        videos: set[int] = set()
        for batch in batches:
            assert len(batch) <= 7
            videos.update(batch.videos.tolist())
            seen += zip(
                batch.videos.tolist(), batch.views.tolist(), batch.labels.tolist(), strict=True
            )
        assert videos == set(range(rank, 7, world))  # views of a video stay together

    assert sorted(seen) == [(video, view, video % 3) for video in range(7) for view in range(6)]


def test_evaluation_can_be_repeated(entries: list[ClipEntry]):
    batches = eval_loader(entries, DENSE, HERE, batch_size=3)

    assert len(batches) == 3
    assert same(list(batches), list(batches))


@pytest.mark.parametrize("data", [HERE, WORKERS])
def test_a_bad_video_stops_evaluation_with_its_own_message(
    entries: list[ClipEntry], bad: ClipEntry, data: ClipData
):
    with pytest.raises(VideoError) as error:
        list(eval_loader([*entries, bad], SEGMENTS, data))

    assert str(error.value).startswith(str(bad.path))
    assert "Traceback" not in str(error.value)
    assert "worker" not in str(error.value)


@pytest.mark.parametrize("size", [1, 2, 6, 50])
@pytest.mark.parametrize("place", [0, 3, 7])
def test_skipped_videos_are_reported(
    entries: list[ClipEntry], bad: ClipEntry, size: int, place: int
):
    listed = [*entries[:place], bad, *entries[place:]]
    views = ClipViews(num_clips=3)
    source = eval_loader(listed, SEGMENTS, HERE, views, batch_size=size, skip_bad=True)
    batches = list(source)

    assert [video for batch in batches for video in batch.skipped] == [place]
    assert list(source.skipped) == [place]
    assert all(len(batch) for batch in batches)
    assert sum(len(batch) for batch in batches) == 7 * 3
    assert place not in torch.cat([batch.videos for batch in batches])


def test_a_list_of_views_may_not_name_clips_that_are_not_cut(entries: list[ClipEntry]):
    listed = [replace(entries[0], clip_index=k, crop_index=0, video=0) for k in range(3)]

    assert len(ViewDataset(listed, SEGMENTS, HERE, ClipViews(num_clips=3))) == 3
    with pytest.raises(DataError, match=r"clip 2 .* sees 2 clips .*eval\.num_clips=3"):
        ViewDataset(listed, SEGMENTS, HERE, ClipViews(num_clips=2))


def test_a_video_that_breaks_midway_is_left_out_whole(
    entries: list[ClipEntry], monkeypatch: pytest.MonkeyPatch
):
    def breaking(path: Path) -> Any:
        reader = open_video(path)
        read = reader.read

        def read_beginning(indices: Sequence[int]) -> Any:
            if path.name == "2.mp4" and max(indices) > 6:
                raise VideoError(f"{path}: broken")
            return read(indices)

        monkeypatch.setattr(reader, "read", read_beginning)
        return reader

    monkeypatch.setattr(clips, "open_video", breaking)
    views = ClipViews(num_clips=2)
    batches = list(eval_loader(entries, SEGMENTS, HERE, views, batch_size=20, skip_bad=True))

    assert [batch.skipped for batch in batches] == [(2,)]
    assert batches[0].videos.tolist() == [0, 0, 1, 1, 3, 3, 4, 4, 5, 5, 6, 6]
    assert len(batches[0].clips) == len(batches[0].labels) == len(batches[0].views) == 12


def test_nothing_but_bad_videos_is_an_error_even_when_skipping(bad: ClipEntry):
    with pytest.raises(DataError, match=r"none of the videos can be read"):
        list(eval_loader([bad, bad], SEGMENTS, HERE, skip_bad=True))
    with pytest.raises(DataError, match="no videos to evaluate"):
        eval_loader([], SEGMENTS, HERE)
    with pytest.raises(DataError, match="no videos to train on"):
        train_loader([], SEGMENTS, HERE, batch_size=1)


def test_a_2019_test_list_gives_the_views_that_the_settings_would(
    entries: list[ClipEntry], tmp_path: Path
):
    views = ClipViews(num_clips=4, num_crops=3)
    lines = [
        f"{entry.path} {number} {clip} {crop}\n"
        for number, entry in enumerate(entries)
        for clip in range(4)
        for crop in range(3)
    ]
    (tmp_path / "testlist.txt").write_text("".join(lines))

    def found(listed: list[ClipEntry]) -> ClipBatch:
        (batch,) = eval_loader(listed, DENSE, HERE, views, batch_size=999)
        return batch

    ours, theirs = found(entries), found(read_list(tmp_path / "testlist.txt", labels="optional"))

    assert torch.equal(ours.clips, theirs.clips)
    assert torch.equal(ours.videos, theirs.videos)
    assert torch.equal(ours.views, theirs.views)
    assert theirs.labels.unique().tolist() == [-1]


def test_pickles_bring_their_label_and_centre_their_runs(tmp_path: Path):
    def jpeg(grey: int) -> bytes:
        file = BytesIO()
        Image.new("RGB", (32, 24), (grey, grey, grey)).save(file, "JPEG", quality=95)
        return file.getvalue()

    path = tmp_path / "v.pkl"
    path.write_bytes(pickle.dumps((b"v", 2, [jpeg(10 * n) for n in range(18)]), protocol=2))
    entry = ClipEntry(path, None, "v.pkl")

    (batch,) = eval_loader([entry], RUNS, HERE)
    steps = batch.clips[0].float().mean(dim=(2, 3)).view(2, 3, 3).mean(dim=2)
    plan = eval_plan(RUNS, HERE)
    with open_video(path) as reader:
        (other,) = eval_views(reader, plan, centre="first")

    assert batch.labels.tolist() == [2]
    assert torch.allclose(steps, torch.tensor([[30.0, 40, 50], [120, 130, 140]]), atol=1)
    assert abs(float(other[0, ..., 0].mean()) - 40) < 1
    for broken in (
        eval_loader([entry], RUNS, HERE, num_classes=2),
        train_loader([entry], RUNS, WORKERS, batch_size=1, num_classes=2).epoch(0),
    ):
        with pytest.raises(DataError, match=r"v\.pkl: holds label 2, expected 0 to 1$"):
            list(broken)


# --- one clip --------------------------------------------------------------------------------


def test_draws_depend_on_their_key_alone():
    first, again, other = Draws.of(1, 2, 3), Draws.of(1, 2, 3), Draws.of(1, 2, 4)

    assert first.python.random() == again.python.random() != other.python.random()
    assert first.numpy.rand() == again.numpy.rand() != other.numpy.rand()


@pytest.mark.parametrize("shape", [SEGMENTS, RUNS, DENSE])
def test_equal_states_give_equal_clips(entries: list[ClipEntry], shape: ClipShape):
    plan = train_plan(shape, HERE)
    with open_video(entries[0].path) as reader:
        first, again = (train_view(reader, plan, Draws.of(9)) for _ in range(2))

    np.testing.assert_array_equal(first, again)
    assert first.flags.c_contiguous


# --- settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"short_side": 200}, "crop_size 224 does not fit into frames with a short side of 200"),
        ({"short_side_jitter": (200, 300)}, "short side of 200"),
        ({"short_side_jitter": (320, 256)}, "320 is larger than 256"),
        ({"std": (0.2, 0.0, 0.2)}, "std: expected numbers above 0"),
        ({"flip": 1.5}, "less than or equal to 1"),
        ({"resize": "stretch"}, "keep_aspect"),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        ClipData(**values)


def test_evaluation_may_have_its_own_sizes():
    views = ClipViews(num_segments=25, short_side=300, crop_size=256)
    plan = eval_plan(RUNS, ClipData(short_side_jitter=(256, 320)), views)

    assert (plan.num_steps, plan.short_side, plan.crop_size) == (25, 300, 256)
    assert plan.short_side_jitter is None
    with pytest.raises(ConfigError, match="crop_size 300 does not fit"):
        eval_plan(RUNS, ClipData(), ClipViews(crop_size=300))


def test_a_folder_is_split_where_no_validation_is_named(folder: Path, tmp_path: Path):
    for name in ("jump", "run"):
        for number in range(5):
            path = tmp_path / "set" / name / f"{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((folder / "0.mp4").read_bytes())
    data = ClipData(train=tmp_path / "set")
    parts = {part: load_entries(data, part) for part in ("train", "val", "test")}

    assert len(parts["train"]) + len(parts["val"]) == 10
    assert parts["test"] == parts["val"]
    assert clips.class_names(data) == ["jump", "run"]
    assert len(load_entries(ClipData(test=tmp_path / "set"), "test")) == 10


def test_a_part_that_is_not_named_says_so(folder: Path, tmp_path: Path):
    path = tmp_path / "train.txt"
    path.write_text(f"{folder / '0.mp4'} 0\n")
    data = ClipData(train=path)

    assert len(load_entries(data, "train", num_classes=1)) == 1
    assert not clips.has_entries(data, "val")
    assert clips.class_names(data) is None
    with pytest.raises(DataError, match=r"data\.val is not set; name a list"):
        load_entries(data, "val")
    with pytest.raises(DataError, match=r"data\.test is not set \(nor data\.val\)"):
        load_entries(data, "test")


def test_the_centre_of_dense_clips_is_the_middle_of_three_crops(entries: list[ClipEntry]):
    plan = eval_plan(DENSE, HERE, ClipViews(short_side=23))  # half a pixel to round: 1.5
    with open_video(entries[0].path) as reader:
        (centre,) = eval_views(reader, plan)
        (middle,) = eval_views(reader, plan, crop=1)
        (rounded,) = eval_views(reader, replace(plan, sampling="segments", num_steps=4))

    np.testing.assert_array_equal(centre, middle)
    assert rounded.shape == centre.shape
