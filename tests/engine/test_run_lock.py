"""One run writes into a folder at a time; what a killed one left behind stops nobody."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from videozoo.engine import run_lock
from videozoo.engine.run_folder import RunFolder
from videozoo.engine.run_lock import LOCK, OWNER, held_within, read_owner
from videozoo.errors import RunError

WRITER = """
import os, sys, time
from pathlib import Path
from videozoo.engine.run_lock import hold  # without torch
folder = Path(sys.argv[1])
(folder / "last").mkdir(parents=True)
hold(folder)
for name in ("config.yaml", "last/complete"):
    (folder / name).touch()
if sys.argv[2] == "child" and os.fork() == 0:
    time.sleep(3)
    os._exit(0)
print("ready", flush=True)
sys.stdin.read()
"""


def write_elsewhere(path: Path, how: str = "alone") -> subprocess.Popen[str]:
    """Another process that writes a run, until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, path, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.communicate()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A folder into which another process writes, and the number of the process."""
    path = tmp_path_factory.mktemp("live") / "run"
    process = write_elsewhere(path)
    yield path, process.pid
    end(process)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that has ended by itself."""
    path = tmp_path / "run"
    with held_within(path):
        RunFolder.create(path, config="").save_last(lambda _: None)
    return path


@pytest.mark.parametrize("flag", ["resume", "overwrite", ""])
def test_a_run_in_which_another_process_writes_is_refused(live: tuple[Path, int], flag: str):
    path, process = live
    before = sorted(path.rglob("*"))

    with pytest.raises(RunError) as caught:
        RunFolder.create(path, resume=flag == "resume", overwrite=flag == "overwrite")

    text = str(caught.value)
    assert text.startswith(f"{path}: process {process} on {os.uname().nodename} (since 2")
    assert f"stop it, it saves:    kill {process}\n" in text
    assert "--save-dir ANOTHER_FOLDER" in text
    assert sorted(path.rglob("*")) == before


def test_a_live_run_is_refused_before_features_are_made(live: tuple[Path, int]):
    with pytest.raises(RunError, match="is writing a run there"):
        RunFolder.refuse_live(live[0])


def test_a_run_that_began_meanwhile_is_refused_by_its_lock(tmp_path: Path):
    late = RunFolder.create(tmp_path / "run", config="late")
    process = write_elsewhere(tmp_path / "run")
    for file in ("config.yaml", "last/complete"):
        (tmp_path / "run" / file).unlink()
    (tmp_path / "run" / "last").rmdir()

    with pytest.raises(RunError, match="is writing a run there"):
        late.begin()

    end(process)


@pytest.mark.parametrize("how", ["alone", "child"])
def test_what_a_killed_run_left_stops_nobody(tmp_path: Path, how: str):
    """Also where something that it has forked still runs, as the workers of a loader do."""
    process = write_elsewhere(tmp_path / "run", how)
    process.kill()
    process.wait()
    left = read_owner(tmp_path / "run")
    assert left is not None
    assert left.process == process.pid
    assert not left.is_alive

    with held_within(tmp_path / "run"):
        RunFolder.create(tmp_path / "run", resume=True)
        now = read_owner(tmp_path / "run")

    assert now is not None
    assert now.process == os.getpid()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


def test_a_run_that_ends_leaves_no_note(run: Path):
    assert not (run / OWNER).exists()


def test_one_process_may_go_on_with_what_it_wrote(run: Path):
    with held_within(run):
        RunFolder.create(run, resume=True)
        RunFolder.create(run, resume=True)

    assert not (run / OWNER).exists()


def test_overwriting_takes_the_lock_of_the_new_folder(run: Path):
    with held_within(run):
        folder = RunFolder.create(run, overwrite=True, config="new")
        folder.begin()
        assert (run / OWNER).exists()
    old = run.with_name("run.old-1")
    assert (old / LOCK).exists()
    assert not (old / OWNER).exists()
    assert not (run / OWNER).exists()


def test_parts_are_given_up_with_the_whole(tmp_path: Path):
    with held_within(tmp_path / "run"):
        outer = RunFolder.create(tmp_path / "run", config="", is_whole=False)
        RunFolder.create(tmp_path / "run" / "first", config="", outer=outer).begin()
        assert {file.parent.name for file in tmp_path.rglob(OWNER)} == {"run", "first"}

    assert list(tmp_path.rglob(OWNER)) == []


def note(path: Path, **facts: object) -> None:
    """Leave the note of another process."""
    ours = vars(run_lock.Owner.here())
    (path / OWNER).write_text(json.dumps({**ours, **facts}))


@pytest.mark.parametrize(
    ("kind", "options", "is_refused"),
    [
        ("ext4", "rw", False),
        ("nfs4", "rw,local_lock=none", False),
        ("nfs4", "rw,local_lock=all", True),
        ("lustre", "rw,flock", False),
        ("lustre", "rw", True),
        ("fuse.sshfs", "rw", True),
    ],
)
def test_another_computer_is_believed_where_its_locks_are_not_seen(
    run: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: str, is_refused: bool
):
    note(run, host="gpu7", process=4711)

    def mounted(_: Path) -> tuple[str, list[str]]:
        return kind, options.split(",")

    monkeypatch.setattr(run_lock, "_mounted", mounted)

    with held_within(run):
        if not is_refused:
            RunFolder.create(run, resume=True)
            return
        with pytest.raises(RunError) as caught:
            RunFolder.create(run, resume=True)
        (run / OWNER).unlink()  # as the message says
        RunFolder.create(run, resume=True)

    text = str(caught.value)
    assert text.startswith(f"{run}: process 4711 on gpu7")
    assert f"`rm {run / OWNER}`" in text


@pytest.mark.parametrize("began", ["then", "later", "ended"])
def test_without_locks_the_process_is_looked_up(
    run: Path, monkeypatch: pytest.MonkeyPatch, began: str
):
    """Numbers of processes are used again: a later process is not the one that wrote."""
    is_alive = began == "then"

    def acquired(_lock: object, *, seconds: float) -> bool:
        return False

    monkeypatch.setattr(run_lock, "_acquired", acquired)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    since = run_lock.began_at(process.pid)
    note(run, process=process.pid, began=f"{since}0" if began == "later" else since)
    if began == "ended":
        process.send_signal(signal.SIGKILL)
        process.wait()

    with held_within(run):
        if is_alive:
            with pytest.raises(RunError, match=f"process {process.pid} on .* is writing a run"):
                RunFolder.create(run, resume=True)
        else:
            RunFolder.create(run, resume=True)

    process.kill()
    process.communicate()


def test_mounts_are_read():
    kind, options = run_lock._mounted(Path("/proc/self"))  # pyright: ignore[reportPrivateUsage]

    assert kind == "proc"
    assert "rw" in options or "ro" in options


def test_a_folder_that_cannot_hold_a_lock_is_an_error_of_the_disk(
    run: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_lock.json, "dumps", full)

    with pytest.raises(RunError, match="cannot be written: No space left on device"):
        RunFolder.create(run, resume=True)
