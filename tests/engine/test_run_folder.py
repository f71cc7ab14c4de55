import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videozoo.engine.run_folder import RunFolder
from videozoo.errors import RunError, WeightsError


class _Killed(BaseException):
    """Stands for a process that is gone: no handler of ours may catch it by accident."""


def state(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "state.json").write_text(text)

    return write


def weights(text: str) -> Callable[[Path], None]:
    def write(to: Path) -> None:
        to.write_text(text)

    return write


def saved_state(folder: RunFolder) -> str:
    last = folder.last()
    assert last is not None
    return (last / "state.json").read_text()


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder.create(tmp_path / "run", config="model: tsm\n")
    folder.log({"step": 1})
    folder.save_epoch(1, weights("one"), is_best=True)
    folder.save_last(state("one"))
    return folder


FIRST: list[Callable[[RunFolder], Any]] = [
    lambda folder: folder.begin(),
    lambda folder: folder.log({"step": 1}),
    lambda folder: folder.save_epoch(1, weights("one"), is_best=True),
    lambda folder: folder.save_last(state("one")),
]


@pytest.mark.parametrize("write", FIRST)
def test_new_folder_is_made_with_its_parents_by_what_is_first_written(
    tmp_path: Path, write: Callable[[RunFolder], Any]
):
    outer = RunFolder.create(tmp_path / "a", config="model: bsn\n", is_whole=False)
    folder = RunFolder.create(
        tmp_path / "a" / "b", config="model: tsm\n", start={"names": ["é"]}, outer=outer
    )
    assert not (tmp_path / "a").exists()

    write(folder)

    assert (tmp_path / "a" / "b" / "config.yaml").read_text() == "model: tsm\n"
    assert (tmp_path / "a" / "config.yaml").read_text() == "model: bsn\n"
    assert folder.read_start() == {"names": ["é"]}
    assert folder.top == tmp_path / "a"


def test_a_run_that_began_meanwhile_is_not_written_over(tmp_path: Path):
    one, other = (RunFolder.create(tmp_path / "run", config=text) for text in ("one", "other"))
    one.begin()

    with pytest.raises(RunError, match=r"by now holds a run .*; choose another --save-dir"):
        other.begin()

    assert one.config.read_text() == "one"


def test_a_run_that_saved_nothing_is_not_said_to_go_on(tmp_path: Path):
    RunFolder.create(tmp_path / "run", config="").begin()

    with pytest.raises(RunError, match="already holds a run") as caught:
        RunFolder.create(tmp_path / "run")

    assert "--resume" not in str(caught.value)


def test_folder_with_other_things_in_it_may_be_used(tmp_path: Path):
    (tmp_path / "notes.txt").touch()

    RunFolder.create(tmp_path)


def test_a_run_is_not_written_over_by_accident(run: RunFolder):
    with pytest.raises(RunError) as caught:
        RunFolder.create(run.path)

    assert str(caught.value) == (
        f"{run.path}: already holds a run (1 saved epoch; config.yaml, metrics.jsonl, weights, "
        "best.safetensors, last)\n"
        "  go on with it:        --resume\n"
        "  keep it, start anew:  --save-dir ANOTHER_FOLDER\n"
        f"  set it aside:         --overwrite (moves it to {run.path}.old-1)"
    )


def test_overwrite_sets_the_old_run_aside_whole(run: RunFolder):
    for _ in range(2):
        RunFolder.create(run.path, overwrite=True, config="model: tsn\n").begin()

    assert run.config.read_text() == "model: tsn\n"
    first, second = (run.path.with_name(f"run.old-{number}") for number in (1, 2))
    assert RunFolder(first).config.read_text() == "model: tsm\n"
    assert saved_state(RunFolder(first)) == "one"
    assert RunFolder(second).config.read_text() == "model: tsn\n"


def test_resume_opens_the_run(run: RunFolder):
    assert saved_state(RunFolder.create(run.path, resume=True)) == "one"


def test_resume_needs_a_run(tmp_path: Path):
    with pytest.raises(RunError, match="holds no run; start a new run there without --resume"):
        RunFolder.create(tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_resume_needs_a_saved_state(tmp_path: Path):
    RunFolder.create(tmp_path, config="").begin()
    for _ in ("no state", "one that is not complete"):
        with pytest.raises(RunError, match=r"holds a run .*, but no state to go on from; .*--over"):
            RunFolder.create(tmp_path, resume=True)
        (tmp_path / "last").mkdir(exist_ok=True)
        (tmp_path / "last" / "state.json").touch()


def test_resume_and_overwrite_exclude_each_other(run: RunFolder):
    with pytest.raises(RunError, match="exclude each other"):
        RunFolder.create(run.path, resume=True, overwrite=True)


def test_a_file_is_no_folder(tmp_path: Path):
    (tmp_path / "run").touch()

    with pytest.raises(RunError, match="is a file"):
        RunFolder.create(tmp_path / "run")


def test_folder_that_cannot_be_made_says_why(tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(RunError, match="cannot be written: Not a directory"):
        RunFolder.create(tmp_path / "file" / "run")


def test_metrics_can_be_read_while_they_are_written(run: RunFolder):
    run.log({"step": 2, "loss": float("nan"), "top1": 0.5})

    assert [json.loads(line) for line in run.metrics.read_text().splitlines()] == [
        {"step": 1},
        {"step": 2, "loss": None, "top1": 0.5},
    ]


def test_line_cut_by_a_kill_is_left_out(run: RunFolder):
    with run.metrics.open("a") as file:
        file.write('{"step": 2, "lo')

    assert run.read_metrics() == [{"step": 1}]


def test_rewinding_drops_what_comes_again(run: RunFolder):
    run.log({"step": 2})
    run.log({"step": 3})

    run.rewind_metrics(lambda line: line["step"] <= 2)

    assert run.read_metrics() == [{"step": 1}, {"step": 2}]


def test_best_is_a_copy_of_its_epoch(run: RunFolder):
    run.save_epoch(2, weights("two"), is_best=False)

    assert run.best.read_text() == "one"
    assert run.epoch_weights(2).read_text() == "two"


def test_only_the_newest_epochs_are_kept_when_asked(tmp_path: Path):
    run = RunFolder.create(tmp_path, keep_epochs=2)

    for epoch in range(1, 12):
        run.save_epoch(epoch, weights("w"), is_best=epoch == 1)

    assert sorted(p.name for p in (tmp_path / "weights").iterdir()) == [
        "epoch_10.safetensors",
        "epoch_11.safetensors",
    ]
    assert run.best.exists()


def test_epoch_that_cannot_be_written_leaves_the_old_file(run: RunFolder):
    def write(to: Path) -> None:
        to.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="No space left on device; what was saved before is untouch"):
        run.save_epoch(1, write, is_best=True)

    assert run.epoch_weights(1).read_text() == run.best.read_text() == "one"
    assert [p.name for p in (run.path / "weights").iterdir()] == ["epoch_1.safetensors"]


def test_weights_that_cannot_be_written_are_told_as_the_files_of_a_run(run: RunFolder):
    def write(to: Path) -> None:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise WeightsError(f"{to}: cannot be written: {error.strerror}") from error

    with pytest.raises(RunError) as caught:
        run.save_epoch(1, write, is_best=True)

    assert str(caught.value) == (
        f"{run.epoch_weights(1)}: cannot be written: No space left on device; what was saved "
        "before is untouched"
    )


def test_state_that_cannot_be_written_leaves_the_old_one(run: RunFolder):
    def write(folder: Path) -> None:
        (folder / "state.json").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="No space left"):
        run.save_last(write)

    assert saved_state(run) == "one"
    run.save_last(state("two"))
    assert saved_state(run) == "two"


@pytest.mark.parametrize("moment", range(12))
def test_kill_at_any_moment_leaves_a_whole_state(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, moment: int
):
    """Stops at the Nth call that touches the disk, then looks what is there."""
    calls = 0

    def count_down() -> None:
        nonlocal calls
        calls += 1
        if calls > moment:
            raise _Killed

    def guarded(function: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            count_down()
            return function(*args, **options)

        return call

    def no_sync(path: Path) -> None:
        pass

    with monkeypatch.context() as patch:
        for name in ("rename", "mkdir", "touch", "write_text"):
            patch.setattr(Path, name, guarded(getattr(Path, name)))
        patch.setattr("videozoo.engine.run_folder.shutil.rmtree", guarded(shutil.rmtree))
        patch.setattr("videozoo.engine.run_folder.sync", guarded(no_sync))
        try:
            run.save_last(state("two"))
        except _Killed:
            assert calls <= 12
        else:
            assert moment >= 8  # a save takes that many

    fresh = RunFolder.create(run.path, resume=True)
    assert saved_state(fresh) in ("one", "two")
    fresh.save_last(state("three"))
    assert saved_state(fresh) == "three"
    assert not list(run.path.glob("last.*"))


def test_what_a_kill_left_half_written_is_gone_after_going_on(tmp_path: Path):
    folder = RunFolder.create(tmp_path / "run")
    folder.save_last(lambda path: (path / "state.json").touch())
    weights = tmp_path / "run" / "weights"
    half = tmp_path / "run" / "last.new"
    for made in (weights, half):
        made.mkdir()
    left = [
        tmp_path / "run" / "best.safetensors.new",
        tmp_path / "run" / "metrics.jsonl.new",
        weights / "epoch_3.safetensors.new",
        weights / "epoch_3.safetensors.new.new",
        half / "module.safetensors",
    ]
    kept = [tmp_path / "run" / "mine.new", weights / "epoch_2.safetensors"]
    for file in (*left, *kept):
        file.write_text("half")

    RunFolder.create(tmp_path / "run", resume=True)

    assert [file for file in left if file.exists()] == []
    assert not half.exists()
    assert [file for file in kept if not file.exists()] == []
    assert folder.last() == tmp_path / "run" / "last"
