"""Checksums of the files of a run: kept through kills, checked before a file is used."""

import json
import logging
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from videozoo import cli, safe_sums, safe_write
from videozoo.config import from_layers
from videozoo.engine.run_folder import RunFolder
from videozoo.errors import RunError, WeightsError
from videozoo.safe_sums import NAME, announce, fault_of, faults_in, read_sums, settle, sum_of
from videozoo.safe_write import written_aside
from videozoo.tasks import kept_encoder
from videozoo.tasks.doctor import _weights as weights_finding
from videozoo.tasks.loading import Trained, resolve_weights, save_trained
from videozoo.weights.files import save_weights

Capture = pytest.CaptureFixture[str]


class _Killed(BaseException):
    """Stands for a process that is gone."""


def tensors(value: float) -> Callable[[Path], None]:
    """Writes a weights file as safetensors itself does: for its owner alone."""

    def write(to: Path) -> None:
        save_file({"w": torch.full((8,), value)}, to)

    return write


def state(value: float) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        save_file({"w": torch.full((8,), value)}, folder / "module.safetensors")
        (folder / "state.json").write_text("{}")

    return write


def flip(path: Path) -> None:
    """Turn one bit, as a disk may: size and times stay."""
    facts = path.stat()
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    safe_sums._seen.clear()  # as a new process has it


@pytest.fixture(autouse=True)
def new_process() -> Iterator[None]:
    yield
    safe_sums._seen.clear()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = RunFolder.create(tmp_path / "run", config="model: {name: tsm}\n")
    for epoch in (1, 2, 3):
        folder.save_epoch(epoch, tensors(epoch), is_best=epoch == 2)
        folder.save_last(state(epoch))
    return tmp_path / "run"


def test_every_file_of_weights_has_its_sum_and_sha256sum_reads_it(run: Path):
    names = [f"weights/epoch_{number}.safetensors" for number in (1, 2, 3)]
    assert sorted(read_sums(run)) == ["best.safetensors", *names]
    assert sorted(read_sums(run / "last")) == ["module.safetensors", "state.json"]
    for folder in (run, run / "last"):
        done = subprocess.run(["sha256sum", "-c", NAME], cwd=folder, check=False)
        assert done.returncode == 0
        assert faults_in(folder) == []


@pytest.mark.parametrize(
    ("damaged", "whole"),
    [
        (["best.safetensors"], "weights/epoch_3.safetensors"),
        (["best.safetensors", "weights/epoch_3.safetensors"], "weights/epoch_2.safetensors"),
        (["weights/epoch_1.safetensors"], "weights/epoch_3.safetensors"),
    ],
    ids=["best", "best and the newest", "an epoch"],
)
def test_one_flipped_bit_is_refused_and_weights_that_are_whole_are_named(
    run: Path, damaged: list[str], whole: str
):
    for name in damaged:
        flip(run / name)

    with pytest.raises(WeightsError) as caught:
        resolve_weights(str(run / damaged[0] if "weights" in damaged[0] else run))

    assert f"{run / damaged[0]}: is not the file that was written there: its sha256" in str(
        caught.value
    )
    assert f"the newest weights here that are whole: --weights {run / whole}" in str(caught.value)
    assert resolve_weights(str(run / whole)) == run / whole


def test_a_damaged_state_is_not_resumed_and_the_weights_before_it_are_named(run: Path):
    assert RunFolder(run).last_whole() == run / "last"
    flip(run / "last" / "module.safetensors")
    flip(run / "weights" / "epoch_3.safetensors")

    with pytest.raises(RunError, match="the state to go on from is damaged") as caught:
        RunFolder(run).last_whole()

    assert str(run / "last" / "module.safetensors") in str(caught.value)
    assert f"--pretrain {run / 'weights' / 'epoch_2.safetensors'}" in str(caught.value)


def test_older_runs_without_sums_still_load_and_only_debug_and_doctor_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: Capture
):
    model = {"name": "probe", "num_classes": 2, "streams": [{"name": "rgb", "dim": 4}]}
    config = from_layers([("", {"model": model})])
    folder = RunFolder.create(tmp_path / "run", config=config.to_yaml())
    module = config.spec.build(config.model)
    folder.save_epoch(1, lambda to: save_trained(to, module, config, None, {}), is_best=True)
    folder.save_last(state(1))
    kept = weights_finding(str(tmp_path / "run"))
    (tmp_path / "run" / NAME).unlink()
    (tmp_path / "run" / "last" / NAME).unlink()

    with caplog.at_level(logging.DEBUG, logger="videozoo.safe_sums"):
        assert resolve_weights(str(tmp_path / "run")) == tmp_path / "run" / "best.safetensors"
    assert RunFolder(tmp_path / "run").last_whole() == tmp_path / "run" / "last"
    bare = weights_finding(str(tmp_path / "run"))

    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert "as they were written, by their checksum" in kept.value
    assert "no checksum is kept" in bare.value
    assert [kept.mark, bare.mark] == ["ok", "ok"]
    assert capsys.readouterr().err == ""


class _Killer:
    """Ends what runs at the n-th of the moments at which the disk changes."""

    def __init__(self, moment: int, patch: pytest.MonkeyPatch) -> None:
        self.left = moment
        for owner, name in (
            (Path, "replace"),
            (safe_write, "sync"),
            (safe_sums, "announce"),
            (safe_sums, "settle"),
        ):
            patch.setattr(owner, name, self._around(getattr(owner, name)))

    def _around(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def around(*given: Any) -> Any:
            self._step()
            done = real(*given)
            self._step()
            return done

        return around

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise _Killed


def test_a_kill_at_any_moment_leaves_no_right_file_with_a_wrong_sum(run: Path):
    moments, ended = 0, False
    while not ended:
        with pytest.MonkeyPatch.context() as patch:
            _Killer(moments, patch)
            try:
                written = tensors(10.0 + moments)
                RunFolder(run, keep_epochs=2).save_epoch(4, written, is_best=True)
                ended = True
            except _Killed:
                pass
        safe_sums._seen.clear()
        for file in run.rglob("*.safetensors"):
            assert fault_of(file) == "", f"after a kill at moment {moments}"
        moments += 1
    assert moments > 20
    assert all((run / name).is_file() for name in read_sums(run))


def test_a_line_that_a_kill_cut_short_spoils_no_other(tmp_path: Path):
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    announce(tmp_path, tmp_path / "a", sum_of(tmp_path / "a"))
    with (tmp_path / NAME).open("a") as sums:
        sums.write("0123456789")
    announce(tmp_path, tmp_path / "b", sum_of(tmp_path / "b"))

    assert fault_of(tmp_path / "a") == fault_of(tmp_path / "b") == ""
    assert sorted(read_sums(tmp_path)) == ["a", "b"]
    settle(tmp_path, tmp_path / "a", "0" * 64)
    assert "is not the file" in fault_of(tmp_path / "a")
    settle(tmp_path, tmp_path / "a", None)
    assert fault_of(tmp_path / "a") == ""


def test_what_is_put_into_a_run_later_has_its_sum_too(run: Path, tmp_path: Path):
    save_weights(run / "best.onnx", {"w": torch.ones(2)}, {})  # as exports are written
    assert "best.onnx" in read_sums(run)
    flip(run / "best.onnx")
    with pytest.raises(WeightsError, match="is not the file that was written there"):
        resolve_weights(str(run / "best.onnx"))
    save_weights(run / "best.onnx", {"w": torch.zeros(2)}, {})
    resolve_weights(str(run / "best.onnx"))
    save_weights(tmp_path / "elsewhere.safetensors", {"w": torch.ones(2)}, {})
    assert not (tmp_path / NAME).exists()


def test_the_encoder_of_a_run_is_checked_before_it_is_opened(run: Path, tmp_path: Path):
    inside = run / "encoder" / "0"
    inside.mkdir(parents=True)
    tensors(1)(inside / "e.safetensors")
    about = {"encoder": "e", "title": "E", "file": "0/e.safetensors"}
    about = {"format": "videozoo-encoder", "version": 1, "encoders": [about]}
    (run / "encoder" / "encoder.json").write_text(json.dumps(about))
    safe_sums.keep(run, [inside / "e.safetensors", run / "encoder" / "encoder.json"])
    trained = Trained(config=from_layers([("", {"model": {"name": "tsn"}})]), path=run / "best")

    found = kept_encoder._kept_entries(trained.path)
    assert found is not None
    flip(inside / "e.safetensors")
    with pytest.raises(WeightsError, match=r"e\.safetensors: is not the file"):
        kept_encoder._kept_entries(trained.path)
    (inside / "config.json").touch()
    save_weights(run / "best.onnx", {"w": torch.ones(2)}, {})
    flip(run / "best.onnx")
    for named in (inside, run / "best.onnx"):  # by the user
        with pytest.raises(WeightsError, match="is not the file that was written there"):
            kept_encoder.open_encoder(str(named))


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002], ids=oct)
def test_all_files_of_a_run_have_the_permissions_of_any_new_file(tmp_path: Path, mask: int):
    before = os.umask(mask)
    try:
        folder = RunFolder.create(tmp_path / "run", config="model: {name: tsm}\n")
        folder.save_epoch(1, tensors(1), is_best=True)
        folder.save_last(state(1))
        folder.log({"step": 1})
    finally:
        os.umask(before)

    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(files) > 8
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~mask}


def test_a_link_under_the_name_of_a_temporary_file_is_not_followed(tmp_path: Path):
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "out.json.new").symlink_to(tmp_path / "mine")

    with written_aside(tmp_path / "out.json") as aside:
        aside.write_text("new")

    assert (tmp_path / "mine").read_text() == "precious"
    assert (tmp_path / "out.json").read_text() == "new"
    assert not (tmp_path / "out.json").is_symlink()


def test_a_sums_file_that_names_files_elsewhere_is_not_followed(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "run" / NAME).write_text(f"{'0' * 64}  ../secret\n{'0' * 64}  /etc/passwd\n")

    assert faults_in(tmp_path / "run") == []


def test_damage_is_one_error_of_the_command(run: Path, capsys: Capture):
    flip(run / "best.safetensors")

    assert cli.main(["weights", "show", str(run)]) == 1

    assert "best.safetensors: is not the file that was written there" in capsys.readouterr().err
