"""Runs whose processes die, whose disk is full or read-only, whose data go away.

Each ends in one error that names what happened, with status 1 and all that was saved; `--resume`
then ends as if nothing had been.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.figures import Figures
from tests.forked import Fork, Forks
from tests.tasks.tiny_runs import make_training
from videozoo.data.synthetic.clips import SyntheticClips, make_clips
from videozoo.engine.run_folder import RunFolder

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="processes are looked up as on Linux"
)

CONFIG = """
model: {name: tsm, num_classes: 8, depth: 18, width: 0.125, num_segments: 2}
data: {train: CLIPS/train.list, val: CLIPS/val.list, short_side: 40, crop_size: 32, flip: 0,
  num_workers: 1}
train: {epochs: 2, batch_size: 4, learning_rate: 0.002}
"""
SECONDS = 120
TOLD_SECONDS = 10
MODELS = ("tsm", "nextvlad", "bmn", "ets", "tall")
"""One of every task."""
DEAD_RANK = pytest.mark.guarantee("The death of a process of a run is told by the others in time")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> SyntheticClips:
    folder = tmp_path_factory.mktemp("clips")
    return make_clips(folder, num_train=24, num_val=4, num_test=1, seed=0, size=40, num_frames=8)


@pytest.fixture(scope="module")
def config(clips: SyntheticClips, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(CONFIG.replace("CLIPS", str(clips.folder)))
    return path


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Path:
    """A run that nothing has disturbed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    ended_well(forks.start(*train(config, run)))
    return run


def train(config: Path, run: Path, *flags: str) -> list[str]:
    words = ["train", "--config", str(config), "--save-dir", str(run)]
    return [*words, "--log-interval", "1", "--save-every", "1", *flags]


def endless(config: Path, run: Path, *flags: str) -> list[str]:
    return train(config, run, "--epochs", "1000", "--valid-interval", "0", *flags)


def wait_for_save(run: Path, processes: list[Fork]) -> None:
    limit = time.monotonic() + SECONDS
    while not (run / "last" / "complete").exists():
        assert all(process.poll() is None for process in processes), processes[0].errors()
        assert time.monotonic() < limit
        time.sleep(0.01)


def ended_well(process: Fork) -> None:
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors


def complaint_of(process: Fork, seconds: float = SECONDS) -> str:
    """The one error of a process that failed."""
    _, errors = process.communicate(timeout=seconds)
    assert process.returncode == 1, errors
    assert "Traceback" not in errors
    assert "fault of videozoo" not in errors
    assert errors.count("videozoo: ") == 1, errors
    return errors.partition("videozoo: ")[2]


def assert_same_weights(run: Path, expected: Path) -> None:
    for name in ("best.safetensors", "last/module.safetensors", "last/optimizer.safetensors"):
        ours, theirs = load_file(run / name), load_file(expected / name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), name


def children_of(process: Fork) -> list[int]:
    """The processes that read data."""
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [
        int(word)
        for word in text.split()
        if b"resource_tracker" not in Path(f"/proc/{word}/cmdline").read_bytes()
    ]


def told(ranks: list[Fork], figures: Figures) -> list[str]:
    """Wait until each of some processes has told an error, in time; then until they have ended."""
    began, seconds = time.monotonic(), dict[int, float]()
    while len(seconds) < len(ranks) and time.monotonic() < began + SECONDS:
        for rank in ranks:
            if rank.pid not in seconds and "videozoo: " in rank.errors():
                seconds[rank.pid] = time.monotonic() - began
        time.sleep(0.01)
    assert len(seconds) == len(ranks), [rank.errors() for rank in ranks]
    worst = max(seconds.values())
    figures.add(cases=len(ranks), failures=sum(each > TOLD_SECONDS for each in seconds.values()))
    figures.add(worst=worst, unit="s", limit=TOLD_SECONDS)
    assert worst <= TOLD_SECONDS
    return [complaint_of(rank) for rank in ranks]


def kill_the_last_rank(config: Path, run: Path, forks: Forks, figures: Figures, count: int) -> None:
    ranks = forks.start_ranks(count, [endless(config, run, "--batch-size", "8")])
    wait_for_save(run, ranks)
    dead = ranks[-1]

    dead.kill()

    for said in told(ranks[:-1], figures):
        assert said.startswith(
            f"rank {count - 1} (process {dead.pid} on {os.uname().nodename}) has ended, and the "
            "others cannot go on without: killed, perhaps for want of memory"
        )
        assert f"what was saved in {run} before is untouched" in said
        assert f"train --resume {run}" in said


@DEAD_RANK
def test_a_rank_that_is_killed_is_named_by_the_other(
    config: Path, tmp_path: Path, forks: Forks, figures: Figures
):
    kill_the_last_rank(config, tmp_path / "run", forks, figures, 2)


@DEAD_RANK
@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_a_rank_that_is_killed_is_named_by_all_others(
    config: Path, tmp_path: Path, forks: Forks, figures: Figures, count: int
):
    kill_the_last_rank(config, tmp_path / "run", forks, figures, count)


@pytest.mark.guarantee("Two and four processes go on bit for bit after the death of one")
@pytest.mark.slow
@pytest.mark.timeout(5 * SECONDS)
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("model", MODELS)
def test_ranks_go_on_after_the_death_of_one(tmp_path: Path, forks: Forks, model: str, count: int):
    (tmp_path / "data").mkdir()
    config = make_training(tmp_path / "data", model, num_workers=1)
    flags = ("--batch-size", "8")
    for rank in forks.start_ranks(count, [train(config, tmp_path / "whole", *flags)]):
        ended_well(rank)
    ranks = forks.start_ranks(count, [train(config, tmp_path / "run", *flags)])
    wait_for_save(tmp_path / "run", ranks)
    ranks[-1].kill()
    for rank in ranks[:-1]:
        complaint_of(rank)

    again = [train(config, tmp_path / "run", *flags, "--resume")]
    for rank in forks.start_ranks(count, again):
        ended_well(rank)

    assert_same_weights(tmp_path / "run", tmp_path / "whole")


@DEAD_RANK
@pytest.mark.slow
def test_a_rank_that_only_waits_is_ended_too(
    config: Path, tmp_path: Path, forks: Forks, figures: Figures
):
    """As on a GPU, where no error of the network comes: the other is stopped, then killed."""
    run = tmp_path / "run"
    first, last = forks.start_ranks(2, [endless(config, run, "--batch-size", "8")])
    wait_for_save(run, [first, last])
    last.send_signal(signal.SIGSTOP)
    time.sleep(2)  # by now the first waits for it
    first.send_signal(signal.SIGSTOP)
    last.kill()
    first.send_signal(signal.SIGCONT)

    (said,) = told([first], figures)

    assert said.startswith(f"rank 1 (process {last.pid} on ")


@DEAD_RANK
@pytest.mark.slow
def test_a_rank_with_an_error_of_its_own_says_it_and_the_other_names_the_rank(
    config: Path, tmp_path: Path, forks: Forks, figures: Figures
):
    line = endless(config, tmp_path / "run", "--batch-size", "8")
    first, last = forks.start_ranks(
        2, [line], of_last=["--set", "train.learning_rate=1e30", "--set", "train.warmup_epochs=0"]
    )

    assert complaint_of(last).startswith("the loss is nan at step")
    (said,) = told([first], figures)
    assert said.startswith(f"rank 1 (process {last.pid} on ")
    assert "unless an error of its own says why" in said


@DEAD_RANK
def test_a_reader_that_is_killed_is_the_machines_fault(
    config: Path, tmp_path: Path, whole: Path, forks: Forks, figures: Figures
):
    """As the system does where memory runs out."""
    run = tmp_path / "run"
    process = forks.start(*train(config, run))
    wait_for_save(run, [process])
    (reader,) = children_of(process)

    os.kill(reader, signal.SIGKILL)

    (said,) = told([process], figures)
    assert said.startswith(f"a process that reads data (process {reader}) was killed (Killed): ")
    assert "memory runs out" in said
    assert f"train --resume {run}" in said
    ended_well(forks.start(*train(config, run, "--resume")))
    assert_same_weights(run, whole)


@contextmanager
def small_disk(folder: Path, size: str) -> Generator[None]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a disk cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def folder_of(folder: Path) -> Generator[None]:
    """A folder of a file system that knows files that cannot be changed."""
    folder.mkdir()
    probe = subprocess.run(["chattr", "+i", str(folder)], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("a folder cannot be made read-only here")
    subprocess.run(["chattr", "-i", str(folder)], check=True)
    yield
    subprocess.run(["chattr", "-R", "-i", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Fill the disk of a folder to the last byte."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 12))
        except OSError:
            pass


@pytest.mark.guarantee("A disk that takes no more is one error, and the run goes on bit for bit")
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="mounts as on Linux")
@pytest.mark.parametrize("fault", ["full", "read-only"])
@pytest.mark.timeout(5 * SECONDS)
@pytest.mark.parametrize("model", MODELS)
def test_a_disk_that_takes_no_more_while_saving(
    tmp_path: Path, forks: Forks, model: str, fault: str
):
    (tmp_path / "data").mkdir()
    config = make_training(tmp_path / "data", model, num_workers=1)
    whole = tmp_path / "whole"
    ended_well(forks.start(*train(config, whole)))
    disk = tmp_path / "disk"
    with small_disk(disk, "100m") if fault == "full" else folder_of(disk):
        run = disk / "run"
        process = forks.start(*train(config, run))
        wait_for_save(run, [process])
        if fault == "full":
            fill(disk)
        else:
            subprocess.run(["chattr", "+i", str(run)], check=True)

        said = complaint_of(process)

        reason = {"full": "No space left on device", "read-only": "Operation not permitted"}[fault]
        assert "cannot be written" in said
        assert reason in said
        assert "what was saved before is untouched" in said
        assert (run / "last" / "complete").exists()
        if fault == "full":
            (disk / "filler").unlink()
        else:
            subprocess.run(["chattr", "-i", str(run)], check=True)
        ended_well(forks.start(*train(config, run, "--resume")))
        assert_same_weights(run, whole)


@pytest.mark.guarantee(
    "Data that go away in mid-run are one error, and the run goes on bit for bit"
)
@pytest.mark.slow
@pytest.mark.parametrize("moment", ["training", "validation"])
def test_a_data_folder_that_goes_away(
    config: Path, clips: SyntheticClips, tmp_path: Path, forks: Forks, moment: str
):
    data = tmp_path / "data"
    shutil.copytree(clips.folder, data)
    own = tmp_path / "own.yaml"
    own.write_text(CONFIG.replace("CLIPS", str(data)))
    ended_well(forks.start(*train(own, tmp_path / "whole")))
    run = tmp_path / "run"
    process = forks.start(*train(own, run))
    wait_for_save(run, [process])
    if moment == "validation":
        while not any("valid_top1" in line for line in RunFolder(run).read_metrics()):
            assert process.poll() is None
            time.sleep(0.01)

    data.rename(tmp_path / "unmounted")

    said = complaint_of(process)
    if moment == "training":  # in a validation, the first video is an error
        assert f"{data / 'videos'}: the folder of the data is gone" in said
    assert str(data / "videos") in said
    (tmp_path / "unmounted").rename(data)
    ended_well(forks.start(*train(own, run, "--resume")))
    assert_same_weights(run, tmp_path / "whole")


@pytest.mark.guarantee(
    "Data that go away in mid-run are one error, and the run goes on bit for bit"
)
@pytest.mark.slow
@pytest.mark.timeout(5 * SECONDS)
@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("nextvlad", "records/train"),
        ("bmn", "segments/features"),
        ("ets", "events/pack"),
        ("tall", "queries/pack"),
    ],
)
def test_features_that_go_away(tmp_path: Path, forks: Forks, model: str, part: str):
    """Files that are open can be read to the end; those of BMN are opened one by one."""
    data = tmp_path / "data"
    data.mkdir()
    config = make_training(data, model, num_workers=1)
    ended_well(forks.start(*train(config, tmp_path / "whole")))
    run = tmp_path / "run"
    process = forks.start(*train(config, run))
    wait_for_save(run, [process])

    (data / part).rename(tmp_path / "unmounted")

    is_noticed = process.wait(SECONDS) != 0
    if is_noticed:
        assert str(data / part) in complaint_of(process)
    assert is_noticed or model != "bmn"
    (tmp_path / "unmounted").rename(data / part)
    if is_noticed:
        ended_well(forks.start(*train(config, run, "--resume")))
    assert_same_weights(run, tmp_path / "whole")
