"""What the loader promises of any dataset; `test_recorded_batches.py` holds what each gives."""

import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from videozoo.data.loader import (
    Batch,
    EvalLoader,
    Missing,
    NothingToLearnError,
    Reading,
    TrainLoader,
    VideoDataset,
)
from videozoo.errors import DataError, MisfitError

COUNT = 10


@dataclass(frozen=True)
class Numbers(Batch):
    """Numbers of videos, and what was drawn for each."""

    videos: Tensor
    drawn: tuple[Tensor, ...]
    tags: Tensor | None = None
    on_device: ClassVar = ("drawn", "tags")

    def __len__(self) -> int:
        return len(self.videos)


class Counting(VideoDataset[tuple[int, int], Numbers]):
    """Numbers in place of videos; some of them are bad."""

    def __init__(self, bad: Sequence[int] = (), empty: Sequence[int] = (), misfit: int = -1):
        self.bad, self.empty, self.misfit = bad, empty, misfit
        self.seed = 3

    def __len__(self) -> int:
        return COUNT

    def read(self, number: int, epoch: int | None) -> tuple[int, int]:
        if number == self.misfit:
            raise MisfitError(f"{number} is of another kind")
        if number in self.empty:
            raise NothingToLearnError(f"{number} is empty")
        if number in self.bad:
            raise DataError(f"{number} is damaged")
        return number, -1 if epoch is None else 100 * epoch + number

    def collate(self, items: Sequence[tuple[int, int]]) -> Numbers:
        videos, drawn = torch.tensor(items).T
        return Numbers(videos, (drawn,))


def places(batches: Sequence[Numbers]) -> list[tuple[int | None, int]]:
    return [(batch.epoch, batch.place) for batch in batches]


def test_torchs_own_loader_reads_the_same_batches():
    dataset = Counting()
    ours = list(TrainLoader(dataset, batch_size=4).epoch(2))

    dataset.epoch = 2
    order = dataset.order(2).tolist()
    theirs = list(DataLoader(dataset, batch_size=4, sampler=order, collate_fn=dataset.collate))

    assert [batch.videos.tolist() for batch in ours] == [b.videos.tolist() for b in theirs[:2]]
    assert [batch.drawn[0].tolist() for batch in ours] == [b.drawn[0].tolist() for b in theirs[:2]]


def test_batches_know_their_place():
    loader = TrainLoader(Counting(), batch_size=2)

    assert places(list(loader.epoch(1))) == [(1, place) for place in range(5)]
    assert places(list(loader.epoch(1, skip_batches=3))) == [(1, 3), (1, 4)]
    assert places(list(EvalLoader(Counting(), batch_size=6))) == [(None, 0), (None, 1)]


def test_every_tensor_that_is_named_goes_to_the_device():
    (batch,) = EvalLoader(Counting(), batch_size=COUNT)

    moved = batch.to("meta")

    assert moved.drawn[0].device.type == "meta"
    assert moved.tags is None
    assert moved.videos is batch.videos


def test_a_folder_that_is_gone_is_told_in_place_of_its_files(tmp_path: Path):
    class Leaving(Counting):
        def read(self, number: int, epoch: int | None) -> tuple[int, int]:
            path = tmp_path / "gone: for ever" / f"{number}.npy"
            raise DataError(f"features of {number} cannot be read", absent=path)

    loader = TrainLoader(Leaving(), Reading(bad_video_share=0.2), batch_size=2)

    with pytest.raises(DataError, match="gone: for ever: the folder of the data is gone"):
        list(loader.epoch(0))


def test_bad_items_are_replaced_and_missing_ones_count_with_them():
    dataset = Counting(bad=[3])
    loader = TrainLoader(dataset, Reading(bad_video_share=0.1), batch_size=COUNT)
    (batch,) = loader.epoch(0)
    assert batch.replaced == 1
    assert loader.bad_videos == {3: "3 is damaged"}

    dataset.missing = Missing(("a", "b"), total=12, source=Path("features"), num_items=2)
    with pytest.raises(
        DataError, match=r"^features: 2 of 12 training videos have no features here"
    ):
        TrainLoader(dataset, Reading(bad_video_share=0.1), batch_size=COUNT)
    loader = TrainLoader(dataset, Reading(bad_video_share=0.2), batch_size=COUNT)
    expected = r"^3 of 12 training videos cannot be used, 2 of them for want of features, more than"
    with pytest.raises(DataError, match=expected):
        list(loader.epoch(0))


def test_items_with_nothing_to_learn_are_replaced_and_are_not_bad():
    loader = TrainLoader(Counting(empty=[0, 1, 2]), batch_size=COUNT)

    (batch,) = loader.epoch(0)

    assert batch.replaced == 3
    assert loader.bad_videos == {}
    with pytest.raises(DataError, match=r"no video could be used in 20 tries; .* nothing to learn"):
        list(TrainLoader(Counting(empty=range(COUNT)), batch_size=COUNT).epoch(0))


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux")
def test_workers_hold_no_connection_of_the_main_process():
    """Else the other side would not notice when the main process is killed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
        batches = iter(TrainLoader(Counting(), Reading(num_workers=1), batch_size=2).epoch(0))
        next(batches)

        ours.close()

        theirs.settimeout(20)
        assert theirs.recv(1) == b""
        assert sum(1 for _ in batches) == COUNT // 2 - 1
        theirs.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_evaluation_leaves_out_what_is_bad_or_stops(workers: int):
    reading = Reading(num_workers=workers)
    loader = EvalLoader(Counting(bad=[4], empty=[7]), reading, batch_size=3, skip_bad=True)

    assert [batch.videos.tolist() for batch in loader] == [[0, 1, 2], [3, 5], [6, 8], [9]]
    assert loader.skipped == {4: "4 is damaged"}
    with pytest.raises(DataError, match=r"^4 is damaged$"):
        list(EvalLoader(Counting(bad=[4]), reading, batch_size=3))
    with pytest.raises(DataError, match=r"^2 is of another kind$"):
        list(EvalLoader(Counting(misfit=2), reading, batch_size=3, skip_bad=True))
