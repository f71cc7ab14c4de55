"""Classes of unequal size: balanced sampling, and weights of classes."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videozoo.data.annotations.class_weights import balanced_weights, read_class_weights
from videozoo.data.annotations.videos import ClipEntry
from videozoo.data.balance import balanced_order
from videozoo.data.clips import ClipBatch, ClipDataset
from videozoo.data.loader import TrainLoader
from videozoo.data.synthetic.clips import SyntheticClips, make_clips
from videozoo.errors import DataError
from videozoo.settings.clips import ClipData
from videozoo.types import ClipShape

SHAPE = ClipShape(sampling="segments", num_steps=2)
HERE = ClipData(short_side=40, crop_size=32, num_workers=0)
BALANCED = HERE.model_copy(update={"balance": True})


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 3), st.integers(0, 5))
def test_every_class_has_its_share_of_an_epoch(labels: list[int], seed: int, epoch: int):
    order = balanced_order([[label] for label in labels], seed=seed, epoch=epoch)

    total = len(labels)
    assert len(order) == total == len(set(order))
    shares = Counter(labels[number % total] for number in order)
    low = total // len(set(labels))
    assert all(shares[label] in (low, low + 1) for label in set(labels))
    for label in set(labels):  # none is drawn once more before all are drawn
        times = Counter(number % total for number in order if labels[number % total] == label)
        counts = [times[video] for video in range(total) if labels[video] == label]
        assert max(counts) - min(counts) <= 1


def test_videos_of_several_classes_stand_for_each_and_those_of_none_for_themselves():
    classes = [[0, 1], [0], [0], [0], [0], [], [0], [0], [0]]

    order = balanced_order(classes, seed=0, epoch=0)

    videos = Counter(number % 9 for number in order)
    assert videos[5] == 3  # a third of the epoch each: class 0, class 1, no class
    assert videos[0] >= 3


def test_epochs_and_seeds_draw_otherwise():
    classes = [[0]] * 8 + [[1]] * 2

    orders = {
        tuple(balanced_order(classes, seed=seed, epoch=epoch))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(orders) == 4
    assert balanced_order(classes, seed=1, epoch=1) == balanced_order(classes, seed=1, epoch=1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> SyntheticClips:
    folder = tmp_path_factory.mktemp("balance")
    return make_clips(folder, num_train=8, num_val=8, num_test=8, seed=0, size=40)


def entries_of(clips: SyntheticClips, labels: list[int | None]) -> list[ClipEntry]:
    videos = sorted((clips.folder / "videos").glob("train*.mp4"))
    return [ClipEntry(video, n, video.name) for video, n in zip(videos, labels, strict=False)]


def batches_of(dataset: ClipDataset, **share: int) -> list[ClipBatch]:
    return list(TrainLoader(dataset, BALANCED, batch_size=2, **share).epoch(1))


def test_processes_and_resumed_runs_take_their_places_in_the_same_order(clips: SyntheticClips):
    entries = entries_of(clips, [0, 0, 0, 0, 0, 0, 0, 1])
    dataset = ClipDataset(entries, SHAPE, BALANCED, seed=3)

    whole = batches_of(dataset)

    labels = torch.cat([batch.labels for batch in whole]).tolist()
    assert sorted(labels) == [0, 0, 0, 0, 1, 1, 1, 1]
    twice = torch.cat([batch.clips for batch in whole])[[n for n, x in enumerate(labels) if x]]
    assert not torch.equal(twice[0], twice[1])  # another clip each time
    rest = list(TrainLoader(dataset, BALANCED, batch_size=2).epoch(1, skip_batches=2))
    assert all(
        torch.equal(ours.clips, theirs.clips) and torch.equal(ours.labels, theirs.labels)
        for ours, theirs in zip(whole[2:], rest, strict=True)
    )
    parts = [batches_of(dataset, rank=rank, world=2) for rank in (0, 1)]
    first, second = (torch.cat([batch.videos for batch in part]) for part in parts)
    together = torch.stack((first, second), dim=1).reshape(-1)
    assert torch.equal(together, torch.cat([batch.videos for batch in whole]))


def test_a_video_that_comes_often_is_bad_once(clips: SyntheticClips, tmp_path: Path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    entries = [*entries_of(clips, [0] * 7), ClipEntry(bad, 1, "bad.mp4")]
    loader = TrainLoader(
        ClipDataset(entries, SHAPE, BALANCED),
        BALANCED.model_copy(update={"bad_video_share": 0.2}),
        batch_size=2,
    )

    assert len(list(loader.epoch(0))) == 4
    assert list(loader.bad_videos) == [7]


def test_without_balance_the_order_is_as_before(clips: SyntheticClips):
    entries = entries_of(clips, [0] * 8)

    plain = ClipDataset(entries, SHAPE, HERE, seed=3).order(1)

    assert sorted(plain.tolist()) == list(range(8))
    assert not np.array_equal(plain, ClipDataset(entries, SHAPE, BALANCED, seed=3).order(1))


def test_classes_inside_files_cannot_be_balanced(clips: SyntheticClips):
    with pytest.raises(DataError, match=r"its class is not in the list but in the file"):
        ClipDataset(entries_of(clips, [0, None]), SHAPE, BALANCED)


# --- weights ---------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_balanced_weights_make_the_sum_of_each_class_equal(labels: list[int]):
    counts = [labels.count(label) for label in range(4)]

    weights = balanced_weights(counts)

    sums = [count * weight for count, weight in zip(counts, weights, strict=True) if count]
    assert np.allclose(sums, len(labels) / len(sums))
    assert all(weight == 1 for count, weight in zip(counts, weights, strict=True) if not count)


@pytest.mark.parametrize(
    "text",
    [
        "run 2\nlong jump 0.5\n",
        "class,weight\nlong jump,0.5\nrun,2\n",
        "0\t2\n1\t0.5\n",
        '{"run": 2, "long jump": 0.5}',
    ],
)
def test_files_of_weights_are_read(tmp_path: Path, text: str):
    path = tmp_path / "weights.txt"
    path.write_text(text)

    assert read_class_weights(path, 2, ["run", "long jump"]) == [2, 0.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run 2\n", r"no weight for 1 of 2 classes: 'hop'; every class needs one"),
        ("run 2\nhop 1\nhip 1\n", r"weights.txt:3: 'hip' is not one of the classes"),
        ("run 2\nhop -1\n", r"weights.txt:2: weight '-1', expected a number of 0 or more"),
        ("run 2\nhop nan\n", r"weights.txt:2: weight 'nan', expected a number of 0 or more"),
        ("run 2\nrun 1\nhop 1\n", r"weights.txt:2: 'run' has a weight already"),
        ("run 0\nhop 0\n", r"all weights are 0"),
        ("run\nhop\n", r"weights.txt:1: expected 'CLASS WEIGHT' per line"),
        ("", r"weights.txt: empty"),
        ("[1, 2]", r"weights.txt: a JSON list; expected"),
    ],
)
def test_bad_files_of_weights_are_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "weights.txt"
    path.write_text(text)

    with pytest.raises(DataError, match=message):
        read_class_weights(path, 2, ["run", "hop"])
