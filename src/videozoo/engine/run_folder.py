"""The folder of a training run; a kill at any moment loses little.

config.yaml                   the whole configuration, as used
start.json                    what the run began with, to repeat it; compared when it is resumed
metrics.jsonl                 one line per logged step, per epoch and per resume
weights/epoch_N.safetensors   after epoch N, counted from 1
best.safetensors              the best of them, by the validation metric
last/                         the state to resume from
SHA256SUMS                    sums of the weights, as `sha256sum -c` reads them; last/ has its own
.run.lock, .run.owner         who writes, see `run_lock`
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError

from videozoo import safe_sums
from videozoo.commands import flag
from videozoo.engine.run_lock import hold, refuse_live, release
from videozoo.errors import RunError, WeightsError, counted
from videozoo.safe_json import parse_json
from videozoo.safe_write import allow, make_anew, sync, written_aside

_CONFIG, _METRICS, _WEIGHTS, _BEST = "config.yaml", "metrics.jsonl", "weights", "best.safetensors"
_START = "start.json"
_LAST, _NEW, _OLD = "last", "last.new", "last.old"
_MARK = "complete"  # the last file written into a saved state


class RunFolder:
    """Reads and writes one run folder. Only the main process of a run writes.

    The folder of a new run is made at the first write, so that a failed start leaves nothing.
    """

    def __init__(self, path: Path, *, keep_epochs: int | None = None):
        """
        Args:
            path: An existing folder; use `create` for a new one.
            keep_epochs: Number of newest files to keep in `weights/`; None keeps all.
        """
        self.path = path
        self._keep_epochs = keep_epochs
        self._outer: RunFolder | None = None
        self._config: str | None = None
        self._start: Mapping[str, Any] | None = None
        self._overwrites = False
        self._more: Callable[[Path], None] | None = None
        self._has_begun = True

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        resume: bool = False,
        overwrite: bool = False,
        keep_epochs: int | None = None,
        accelerator: Accelerator | None = None,
        config: str | None = None,
        start: Mapping[str, Any] | None = None,
        outer: RunFolder | None = None,
        is_whole: bool = True,
        more: Callable[[Path], None] | None = None,
    ) -> RunFolder:
        """Choose the folder of a new run, or open that of an earlier one.

        Args:
            path: The folder; `begin` makes it with its parents.
            resume: Resume the run in `path`.
            overwrite: Move an existing run to NAME.old-1 (or -2, ...) and start a new one.
            keep_epochs: Number of newest epoch weights to keep; None keeps all.
            accelerator: For runs of several processes, of which only one writes.
            config: Becomes `config.yaml`.
            start: Becomes `start.json`; JSON values.
            outer: The folder of the whole run, if this is a part of it; both are made together.
            is_whole: The run has its own state to resume from, not only its parts.
            more: Puts further files into the folder of the whole run, when a new one is made.

        Raises:
            RunError: The folder holds a run and neither was asked for; or it holds none to resume;
                or another run writes there; or it cannot be written. Raised in every process.
        """
        if outer is not None and outer._overwrites and not outer._has_begun:
            overwrite = True  # what is held here goes aside with the whole run

        def check() -> None:
            with _held_if_there(path, resume or overwrite):
                _check(path, resume=resume, overwrite=overwrite, is_whole=is_whole)

        _raised_everywhere(path, check, accelerator)
        folder = cls(path, keep_epochs=keep_epochs)
        folder._config, folder._start, folder._outer = config, start, outer
        folder._overwrites, folder._has_begun, folder._more = overwrite, resume, more
        return folder

    @staticmethod
    def refuse_live(path: Path, accelerator: Accelerator | None = None) -> None:
        """Raise RunError, in every process, if another run writes into this folder.

        For what takes long before `create`, such as making features.
        """
        _raised_everywhere(path, lambda: refuse_live(path), accelerator)

    def begin(self) -> None:
        """Make the folder of a new run with its configuration, if it does not exist yet.

        Raises:
            RunError: It cannot be written, or another run has started there meanwhile.
        """
        if self._has_begun:
            return
        if self._outer is not None:
            self._outer.begin()
        with _disk_errors(self.path):
            if held := _what_is_held(self.path):
                if not self._overwrites:
                    raise RunError(f"{self.path}: by now holds {held}; choose another --save-dir")
                release(self.path)
                self.path.rename(_free_name(self.path))
            self.path.mkdir(parents=True, exist_ok=True)
            hold(self.path)
        self._has_begun = True
        if self._start is not None:
            text = json.dumps(self._start, ensure_ascii=False)
            self._write(self.path / _START, f"{text}\n")
        self.go_on()
        if self._more is not None:
            self._more(self.top)

    def go_on(self) -> None:
        """Write the configuration that the resumed run uses."""
        if self._config is not None:
            self._write(self.config, self._config)
        if self._outer is not None:
            self._outer.go_on()

    @property
    def top(self) -> Path:
        """The folder of the whole run; another one if this is a part of it."""
        return self.path if self._outer is None else self._outer.top

    @property
    def config(self) -> Path:
        """The configuration as it was used."""
        return self.path / _CONFIG

    @property
    def metrics(self) -> Path:
        """One JSON object per line, see `log`."""
        return self.path / _METRICS

    @property
    def best(self) -> Path:
        """Where the weights with the best validation metric are, once there are any."""
        return self.path / _BEST

    def epoch_weights(self, epoch: int) -> Path:
        """Where the weights after an epoch are; the first epoch is number 1."""
        return self.path / _WEIGHTS / f"epoch_{epoch}.safetensors"

    def read_start(self) -> dict[str, Any] | None:
        """Return `start.json`; None if it is missing or unreadable."""
        try:
            read: Any = parse_json((self.path / _START).read_bytes())
        except (OSError, ValueError):
            return None
        return cast(dict[str, Any], read) if isinstance(read, dict) else None

    def newest_weights(self) -> Path | None:
        """The weights of the latest saved epoch."""
        numbers = [number for number, _ in self._epochs()]
        return self.epoch_weights(max(numbers)) if numbers else None

    def log(self, line: Mapping[str, Any]) -> None:
        """Append one line to `metrics.jsonl`; others can read it at once.

        Numbers that JSON cannot hold (nan, infinity) become null.
        """
        self.begin()
        text = json.dumps({name: _plain(value) for name, value in line.items()})
        with _disk_errors(self.metrics), self.metrics.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of `metrics.jsonl`; one cut short by a kill, or damaged, is left out."""
        if not self.metrics.exists():
            return []
        lines: list[dict[str, Any]] = []
        for text in self.metrics.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line: Any = parse_json(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                lines.append(cast("dict[str, Any]", line))
        return lines

    def rewind_metrics(self, is_before: Callable[[Mapping[str, Any]], bool]) -> None:
        """Remove the lines that a resumed run will write again."""
        lines = [line for line in self.read_metrics() if is_before(line)]
        with _disk_errors(self.metrics), written_aside(self.metrics) as aside:
            aside.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def save_epoch(self, epoch: int, write: Callable[[Path], None], *, is_best: bool) -> Path:
        """Save the weights after an epoch.

        Args:
            epoch: From 1.
            write: Writes a file at the path it is given.
            is_best: Copy them to `best.safetensors` too.

        Returns:
            The file in `weights/`.
        """
        self.begin()
        path = self.epoch_weights(epoch)
        digest = self._replace(path, write)
        if is_best:
            self._replace(self.best, lambda aside: shutil.copyfile(path, aside), digest)
        self._drop_old_epochs(epoch)
        return path

    def save_best(self, write: Callable[[Path], None]) -> None:
        """Save the best weights of a run that has none per epoch; see `save_epoch`."""
        self.begin()
        self._replace(self.best, write)

    def _replace(
        self, path: Path, write: Callable[[Path], object], digest: str | None = None
    ) -> str:
        """Write a file that replaces another at once, and keep its sum; the sum is returned."""
        with _disk_errors(path):
            with written_aside(path) as aside:
                write(aside)
                digest = digest or safe_sums.sum_of(aside)
                safe_sums.announce(self.path, path, digest)
            safe_sums.settle(self.path, path, digest)
        return digest

    def save_last(self, write: Callable[[Path], None]) -> None:
        """Replace `last/` by the files that `write` writes into a given folder.

        At every moment `last` finds a complete state.
        """
        self.begin()
        last, new, old = self.path / _LAST, self.path / _NEW, self.path / _OLD
        with _disk_errors(last):
            self.last()  # finishes a swap that a kill cut short
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            write(new)
            mode = make_anew(new / _MARK)
            (new / _MARK).unlink()
            for file in new.iterdir():
                allow(file, mode)
                sync(file)
            safe_sums.keep(new, sorted(new.iterdir()))
            (new / _MARK).touch()
            sync(new)
            if last.exists():
                last.rename(old)
            new.rename(last)
            sync(self.path)
            shutil.rmtree(old, ignore_errors=True)

    def last(self) -> Path | None:
        """The newest complete state to resume from; None if there is none."""
        last, new, old = self.path / _LAST, self.path / _NEW, self.path / _OLD
        if not last.exists():
            for candidate in (new, old):
                if (candidate / _MARK).exists():
                    candidate.rename(last)
                    break
        if last.exists():
            shutil.rmtree(old, ignore_errors=True)
        return last if (last / _MARK).exists() else None

    def last_whole(self) -> Path | None:
        """As `last`, for whoever reads it: a state that was damaged since is refused.

        Raises:
            RunError: A file is not as its kept sum says; the message names weights that are.
        """
        last = self.last()
        try:
            faults = [] if last is None else safe_sums.faults_in(last)
        except OSError as error:
            raise RunError(f"{last}: cannot be read: {error.strerror}") from None
        if not faults:
            return last
        raise RunError(
            "\n  ".join(["the state to go on from is damaged:", *faults])
            + f"\n{self.what_is_whole(flag('--pretrain'))}"
        )

    def what_is_whole(self, use: str) -> str:
        """A line that names the newest weights of the run that are as they were written.

        Args:
            use: The flag that takes them.
        """
        numbers = sorted((number for number, _ in self._epochs()), reverse=True)
        for path in (*map(self.epoch_weights, numbers), self.best):
            try:
                if path.is_file() and not safe_sums.fault_of(path):
                    return f"the newest weights here that are whole: {use} {path}"
            except OSError:
                continue
        return "no other weights of this run are whole; copy it again from where it came"

    def _drop_old_epochs(self, newest: int) -> None:
        if self._keep_epochs is None:
            return
        for number, file in self._epochs():
            if number <= newest - self._keep_epochs:
                with _disk_errors(self.path):
                    safe_sums.settle(self.path, file, None)
                file.unlink()

    def _epochs(self) -> list[tuple[int, Path]]:
        """The saved epochs and their files."""
        named = [
            (file.stem.removeprefix("epoch_"), file)
            for file in (self.path / _WEIGHTS).glob("epoch_*.safetensors")
        ]
        return [(int(number), file) for number, file in named if number.isdecimal()]

    def _write(self, path: Path, text: str) -> None:
        with _disk_errors(path), written_aside(path) as aside:
            aside.write_text(text, encoding="utf-8")


def _raised_everywhere(
    path: Path, check: Callable[[], None], accelerator: Accelerator | None
) -> None:
    """Check something in the main process; what it finds is raised in every process."""
    problem: list[str | None] = [None]
    if accelerator is None or accelerator.is_main_process:
        try:
            check()
        except OSError as error:
            problem = [f"{path}: cannot be written: {error.strerror}"]
        except RunError as error:
            problem = [str(error)]
    if accelerator is not None and accelerator.num_processes > 1:
        broadcast_object_list(problem)
    if problem[0] is not None:
        raise RunError(problem[0])


@contextmanager
def _held_if_there(path: Path, writes: bool) -> Generator[None]:
    """Take the lock of a folder with a run before it is looked at, if this run will write there."""
    if not (path.is_dir() and _what_is_held(path)):
        yield
        return
    if not writes:
        refuse_live(path)
        yield
        return
    hold(path)
    try:
        yield
    except BaseException:
        release(path)
        raise


def _check(path: Path, *, resume: bool, overwrite: bool, is_whole: bool) -> None:
    """Raise RunError if a run can neither start nor continue in this folder."""
    if path.exists() and not path.is_dir():
        raise RunError(f"{path}: is a file; {flag('--save-dir')} needs a folder")
    held = _what_is_held(path)
    can_go_on = RunFolder(path).last() is not None if is_whole else bool(held)
    if resume and overwrite:
        raise RunError("--resume and --overwrite exclude each other")
    if resume and not can_go_on:
        holds = f"holds {held}, but no state to go on from" if held else "holds no run"
        raise RunError(f"{path}: {holds}; start a new run there without --resume{_over(held)}")
    if held and not resume and not overwrite:
        going_on = f"  go on with it:        {flag('--resume', path)}\n" if can_go_on else ""
        raise RunError(
            f"{path}: already holds {held}\n"
            f"{going_on}"
            f"  keep it, start anew:  {flag('--save-dir')} ANOTHER_FOLDER\n"
            f"  set it aside:         --overwrite (moves it to {_free_name(path)})"
        )
    if resume:
        _drop_leftovers(path)
    _check_writable(path)


def _check_writable(path: Path) -> None:
    """Raise OSError if the folder cannot be made or written."""
    nearest = path.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _drop_leftovers(path: Path) -> None:
    """Remove files that a kill left half written; no saved state needs them."""
    shutil.rmtree(path / _NEW, ignore_errors=True)
    whole = {_CONFIG, _START, _METRICS, _BEST, safe_sums.NAME}
    for file in [*path.glob("*.new"), *(path / _WEIGHTS).glob("epoch_*.new")]:
        name = file.name.removesuffix(".new").removesuffix(".new")
        if name in whole or name.startswith("epoch_"):
            file.unlink()


def _over(held: str) -> str:
    return ", with --overwrite to set the old one aside" if held else ""


def _what_is_held(path: Path) -> str:
    """A few words on the run in a folder; empty if there is none."""
    found = [
        name
        for name in (_CONFIG, _START, _METRICS, _WEIGHTS, _BEST, _LAST, _NEW, _OLD)
        if (path / name).exists()
    ]
    if not found:
        return ""
    epochs = len(list(path.rglob(f"{_WEIGHTS}/epoch_*.safetensors")))  # of both stages, too
    return f"a run ({counted(epochs, 'saved epoch')}; {', '.join(found)})"


def _free_name(path: Path) -> Path:
    path = path.resolve()
    number = 1
    while (free := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    return free


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextmanager
def _disk_errors(path: Path) -> Generator[None]:
    try:
        yield
    except (OSError, SafetensorError, WeightsError) as error:
        cause = error.__cause__ if isinstance(error, WeightsError) else error
        if not isinstance(cause, OSError | SafetensorError):
            raise
        reason = cause.strerror if isinstance(cause, OSError) else cause
        raise RunError(
            f"{path}: cannot be written: {reason}; what was saved before is untouched"
        ) from error
