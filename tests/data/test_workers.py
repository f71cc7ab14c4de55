"""Worker processes end with what they work for, in whatever way that ends."""

import gc
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.leaving import WAYS, loaders
from tests.data.test_tags import VIDEOS, write_shards
from videozoo.data.synthetic.clips import make_clips

ROOT = Path(__file__).parents[2]
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A list of clips, and shards of features."""
    folder = tmp_path_factory.mktemp("workers")
    clips = make_clips(
        folder / "clips", num_train=16, num_val=8, num_test=8, seed=0, size=40, num_frames=8
    )
    return clips.train_list, write_shards(folder / "shards", VIDEOS)


@needs_proc
def test_a_process_ends_in_whatever_way_it_leaves_its_loaders(places: tuple[Path, Path]):
    done = subprocess.run(
        [sys.executable, "-m", "tests.data.leaving", *places],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    status = {"error": 1, "sys.exit": 3, "Ctrl-C": -2, "SIGTERM": -15}
    assert done.stdout.splitlines() == [
        f"{way}: status {status.get(way, 0)}, 0 of 6 workers left" for way in WAYS
    ], done.stderr


def test_workers_end_with_their_loader_and_not_with_the_next_collection(
    places: tuple[Path, Path],
):
    found = loaders(*places)
    gc.collect()
    gc.disable()
    try:
        for one in reversed(found):
            reading = iter(one.epoch(0) if hasattr(one, "epoch") else one)
            next(reading)
            assert multiprocessing.active_children()
            found.remove(one)
            del one, reading
            assert multiprocessing.active_children() == []
    finally:
        gc.enable()


def test_workers_stay_from_epoch_to_epoch_and_end_with_one_that_is_given_up(
    places: tuple[Path, Path],
):
    train = loaders(*places)[0]
    whole = [batch.videos.tolist() for batch in train.epoch(0)]
    kept = multiprocessing.active_children()
    second = [batch.videos.tolist() for batch in train.epoch(1)]
    assert multiprocessing.active_children() == kept != []

    given_up, newer = iter(train.epoch(0)), iter(train.epoch(1))
    next(given_up)
    next(newer)
    del given_up
    assert [batch.videos.tolist() for batch in newer] == second[1:]
    given_up = iter(train.epoch(0))
    next(given_up)
    del given_up
    assert multiprocessing.active_children() == []
    assert [batch.videos.tolist() for batch in train.epoch(0)] == whole
