"""A training that is killed with SIGKILL, at any moment, and resumed ends as if it never was.

Everything runs in processes of its own. In the slow tests these are as a user starts them:
`python -m videozoo train`.
"""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
from safetensors.torch import load_file

from tests.forked import Forks
from videozoo.data.clips import ClipDataset, load_entries
from videozoo.data.loader import TrainLoader
from videozoo.data.synthetic.clips import SyntheticClips, make_clips
from videozoo.engine.run_folder import RunFolder
from videozoo.settings.clips import ClipData
from videozoo.types import ClipShape

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
CONFIG = """
model: {name: tsm, num_classes: 8, depth: 18, width: 0.125, num_segments: 2}
data:
  train: CLIPS/train.list
  val: CLIPS/val.list
  short_side: 40
  crop_size: 32
  crops: random
  flip: 0
  num_workers: WORKERS
train:
  epochs: EPOCHS
  batch_size: 4
  learning_rate: 0.05
  gradient_accumulation: 2
  clip_gradient_norm: 5
  schedule: cosine
  warmup_epochs: 1
  ema_decay: 0.9
  mixup_alpha: 0.4
  label_smoothing: 0.1
"""
SLOWEST_SECONDS = 200


class Process(Protocol):
    """What these tests need of `subprocess.Popen`."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float) -> int: ...
    def kill(self) -> None: ...
    def communicate(self, *, timeout: float) -> tuple[str, str]: ...


Kill = Callable[[Process, Path], None]
Start = Callable[..., Process]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> SyntheticClips:
    folder = tmp_path_factory.mktemp("clips")
    return make_clips(folder, num_train=24, num_val=8, num_test=8, seed=0, size=40, num_frames=8)


@pytest.fixture(scope="module", params=[(2, 3)])
def config(clips: SyntheticClips, tmp_path_factory: pytest.TempPathFactory, request: Any) -> Path:
    """A run by numbers of workers and epochs."""
    workers, epochs = request.param
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    text = CONFIG.replace("CLIPS", str(clips.folder)).replace("WORKERS", str(workers))
    path.write_text(text.replace("EPOCHS", str(epochs)))
    return path


@pytest.fixture(scope="module")
def undisturbed(config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The run folder of a whole training, and how many seconds it took."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    started = time.monotonic()
    assert finish(start(config, run)) == ""
    return run, time.monotonic() - started


def words_of(config: Path, run: Path, *flags: str) -> list[str]:
    words = ["train", "--config", str(config), "--save-dir", str(run)]
    return [*words, "--save-every", "2", "--log-interval", "1", *flags]


def start(config: Path, run: Path, *flags: str) -> Process:
    """Start Python."""
    return subprocess.Popen(
        [sys.executable, "-m", "videozoo", *words_of(config, run, *flags)],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: Process) -> str:
    """Wait for the end; return the complaint of a run that failed, else nothing."""
    _, errors = process.communicate(timeout=SLOWEST_SECONDS)
    assert "Traceback" not in errors, errors
    return "" if process.returncode == 0 else errors


def kill_and_resume(config: Path, run: Path, kill: Kill, start: Start = start) -> None:
    """Start a training, kill it, and go on with it as its messages say."""
    process = start(config, run)
    kill(process, run)
    process.communicate(timeout=SLOWEST_SECONDS)
    complaint = finish(start(config, run, "--resume"))
    if complaint:  # killed before it had saved anything
        assert not (run / "last").exists()
        assert "start a new run there without --resume" in complaint
        complaint = finish(start(config, run, "--overwrite"))
    assert complaint == ""


def after(seconds: float) -> Kill:
    """Kill the processes of a run all at once, so long after its start."""

    def kill(process: Process, run: Path) -> None:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)

    return kill


def while_saving(number: int) -> Kill:
    """Kill a run within its save of that number, as soon as there is a sign of it."""

    def kill(process: Process, run: Path) -> None:
        seen, was_there = 0, False
        while process.poll() is None:
            is_there = (run / "last.new").exists()
            seen += is_there and not was_there
            if seen == number:
                os.killpg(process.pid, signal.SIGKILL)
                return
            was_there = is_there
            time.sleep(0.001)  # a save takes far longer; the cores are for the runs

    return kill


def only_the_parent(step: int) -> Kill:
    """Kill a run after a step, but not its workers: they must notice."""

    def kill(process: Process, run: Path) -> None:
        wait_for_step(process, run, step)
        children = children_of(process.pid)
        assert len(children) == 2
        process.kill()
        wait_for_the_end_of(children)
        assert not [
            name for name in shared_memory() if name.split("_")[1] in {str(c) for c in children}
        ]

    return kill


def wait_for_step(process: Process, run: Path, step: int) -> None:
    folder = RunFolder(run)
    while process.poll() is None and all(
        line.get("step", 0) < step for line in folder.read_metrics()
    ):
        time.sleep(0.002)


def children_of(pid: int) -> list[int]:
    """The DataLoader's workers."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [
        int(word)
        for word in text.split()
        if b"resource_tracker" not in Path(f"/proc/{word}/cmdline").read_bytes()
    ]


def wait_for_the_end_of(pids: list[int]) -> None:
    limit = time.monotonic() + 60
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < limit, "workers outlive their parent"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def shared_memory() -> list[str]:
    """What PyTorch has left in memory shared by processes: torch_PID_..."""
    return [path.name for path in Path("/dev/shm").glob("torch_*_*")]


def assert_same_run(run: Path, expected: Path) -> None:
    """Weights of every epoch and the best ones, bit by bit, and the lines of the epochs."""
    files = [path.relative_to(expected) for path in sorted(expected.rglob("*.safetensors"))]
    assert len(files) == len(epochs(expected)) + 4  # the best, and three of `last`
    for file in files:
        ours, theirs = load_file(run / file), load_file(expected / file)
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert torch.equal(ours[name], value), f"{file}: {name}"
    assert epochs(run) == epochs(expected)
    assert [path.name for path in run.rglob("*.new*")] == []
    assert not (run / "last.old").exists()


def epochs(run: Path) -> list[dict[str, Any]]:
    return [line for line in RunFolder(run).read_metrics() if line["kind"] == "epoch"]


@pytest.mark.guarantee(
    "A training killed with SIGKILL at any moment, resumed, ends bit for bit as if it never was"
)
@pytest.mark.parametrize("config", [(2, 2)], indirect=True)
def test_killed_run_goes_on_bit_for_bit(config: Path, tmp_path: Path, forks: Forks):
    def start(config: Path, run: Path, *flags: str) -> Process:
        return forks.start(*words_of(config, run, *flags))

    kills = {"saving": while_saving(3)}
    if Path("/proc/self/stat").exists():
        kills["parent"] = only_the_parent(5)
    with ThreadPoolExecutor(2) as pool:  # one core would wait for the other's disk
        whole = pool.submit(lambda: finish(start(config, tmp_path / "whole")))
        killed = [
            pool.submit(kill_and_resume, config, tmp_path / name, kill, start)
            for name, kill in kills.items()
        ]
    assert whole.result() == ""
    for name, end in zip(kills, killed, strict=True):
        end.result()
        assert_same_run(tmp_path / name, tmp_path / "whole")


def test_a_worker_leaves_the_first_sigterm_to_the_main_process(clips: SyntheticClips):
    """Schedulers send it to every process of a run, of which one wants to save."""
    data = ClipData(train=clips.train_list, num_workers=1, short_side=40, crop_size=32)
    shape = ClipShape(sampling="segments", num_steps=2)
    dataset = ClipDataset(load_entries(data, "train"), shape, data)
    batches = TrainLoader(dataset, data, batch_size=4)
    seen = 0

    for _ in batches.epoch(0):
        for worker in multiprocessing.active_children() if seen == 0 else ():
            os.kill(worker.pid or 0, signal.SIGTERM)
        seen += 1

    assert seen == 6


@pytest.mark.guarantee(
    "A training killed with SIGKILL at any moment, resumed, ends bit for bit as if it never was"
)
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("config", [(1, 3), (2, 3)], indirect=True)
def test_killed_at_ten_random_moments_a_run_goes_on_bit_for_bit(
    config: Path, undisturbed: tuple[Path, float], tmp_path: Path
):
    """From the first moment to the last, half of them within a save; five with each loader."""
    expected, seconds = undisturbed
    chance = random.Random(1)
    kills = [after((n + chance.random()) / 3 * seconds) for n in range(3)]
    kills += [while_saving(chance.randint(1, 9)) for _ in range(2)]
    for number, kill in enumerate(kills):
        run = tmp_path / f"run{number}"

        kill_and_resume(config, run, kill)

        assert_same_run(run, expected)


@pytest.mark.guarantee(
    "A training killed with SIGKILL at any moment, resumed, ends bit for bit as if it never was"
)
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_again_and_again_a_run_goes_on_bit_for_bit(
    config: Path, undisturbed: tuple[Path, float], tmp_path: Path
):
    expected, _ = undisturbed
    run = tmp_path / "run"
    for number in (2, 1, 2, 1, 3):
        process = start(config, run, *(["--resume"] if (run / "last").exists() else []))
        while_saving(number)(process, run)
        process.communicate(timeout=SLOWEST_SECONDS)

    assert finish(start(config, run, "--resume")) == ""

    assert_same_run(run, expected)
