"""The folder a training run leaves behind, laid out so that a kill at any moment costs little.

config.yaml                   the whole configuration, as used
metrics.jsonl                 one line per logged step and per epoch
weights/epoch_N.safetensors   after epoch N, counted from 1
best.safetensors              the best of them by the validation metric
last/                         all it takes to go on
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError

from videozoo.errors import RunError
from videozoo.safe_json import parse_json
from videozoo.safe_write import sync, written_aside

_CONFIG, _METRICS, _WEIGHTS, _BEST = "config.yaml", "metrics.jsonl", "weights", "best.safetensors"
_LAST, _NEW, _OLD = "last", "last.new", "last.old"
_MARK = "complete"  # the last file written into a saved state


class RunFolder:
    """Reads and writes one run folder. Only the main process of a run writes."""

    def __init__(self, path: Path, *, keep_epochs: int | None = None):
        """
        Args:
            path: The folder; use `create` to make one.
            keep_epochs: Keep only the newest so many files in `weights/`; None keeps all.
        """
        self.path = path
        self._keep_epochs = keep_epochs

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        resume: bool = False,
        overwrite: bool = False,
        keep_epochs: int | None = None,
        accelerator: Accelerator | None = None,
    ) -> RunFolder:
        """Make the folder of a new run, or open that of an earlier one.

        Args:
            path: Where; made with its parents when missing.
            resume: Go on with the run that is there.
            overwrite: Move a run that is there to NAME.old-1 (or -2, ...) and start a new one.
            keep_epochs: Keep only the newest so many weights of epochs; None keeps all.
            accelerator: Given in runs of several processes, of which one touches the disk.

        Raises:
            RunError: The folder holds a run and neither was asked for; or it holds none to go
                on with; or it cannot be written. In every process alike.
        """
        problem: list[str | None] = [None]
        if accelerator is None or accelerator.is_main_process:
            try:
                _prepare(path, resume=resume, overwrite=overwrite)
            except OSError as error:
                problem = [f"{path}: cannot be written: {error.strerror}"]
            except RunError as error:
                problem = [str(error)]
        if accelerator is not None and accelerator.num_processes > 1:
            broadcast_object_list(problem)
        if problem[0] is not None:
            raise RunError(problem[0])
        return cls(path, keep_epochs=keep_epochs)

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

    def write_config(self, text: str) -> None:
        """Write `config.yaml`."""
        with _disk_errors(self.config), written_aside(self.config) as aside:
            aside.write_text(text, encoding="utf-8")

    def log(self, line: Mapping[str, Any]) -> None:
        """Append one line to `metrics.jsonl`, where it is at once for others to read.

        Numbers that JSON cannot hold (nan, infinity) become null.
        """
        text = json.dumps({name: _plain(value) for name, value in line.items()})
        with _disk_errors(self.metrics), self.metrics.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of `metrics.jsonl`; one cut short by a kill is left out."""
        if not self.metrics.exists():
            return []
        lines: list[dict[str, Any]] = []
        for text in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(parse_json(text))
            except ValueError:
                continue
        return lines

    def rewind_metrics(self, is_before: Callable[[Mapping[str, Any]], bool]) -> None:
        """Drop lines that a resumed run is about to write again."""
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
        path = self.epoch_weights(epoch)
        with _disk_errors(path), written_aside(path) as aside:
            write(aside)
        if is_best:
            with _disk_errors(self.best), written_aside(self.best) as aside:
                shutil.copyfile(path, aside)
        self._drop_old_epochs(epoch)
        return path

    def save_last(self, write: Callable[[Path], None]) -> None:
        """Replace `last/` by what `write` puts into the folder it is given.

        At every moment there is a whole state that `last` finds.
        """
        last, new, old = self.path / _LAST, self.path / _NEW, self.path / _OLD
        with _disk_errors(last):
            self.last()  # finishes a swap that a kill cut short
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            write(new)
            for file in new.iterdir():
                sync(file)
            (new / _MARK).touch()
            sync(new)
            if last.exists():
                last.rename(old)
            new.rename(last)
            sync(self.path)
            shutil.rmtree(old, ignore_errors=True)

    def last(self) -> Path | None:
        """Find the newest whole state to go on from; None when there is none."""
        last, new, old = self.path / _LAST, self.path / _NEW, self.path / _OLD
        if not last.exists():
            for candidate in (new, old):
                if (candidate / _MARK).exists():
                    candidate.rename(last)
                    break
        if last.exists():
            shutil.rmtree(old, ignore_errors=True)
        return last if (last / _MARK).exists() else None

    def _drop_old_epochs(self, newest: int) -> None:
        if self._keep_epochs is None:
            return
        for file in (self.path / _WEIGHTS).glob("epoch_*.safetensors"):
            number = file.stem.removeprefix("epoch_")
            if number.isdecimal() and int(number) <= newest - self._keep_epochs:
                file.unlink()


def _prepare(path: Path, *, resume: bool, overwrite: bool) -> None:
    if path.exists() and not path.is_dir():
        raise RunError(f"{path}: is a file; --save-dir needs a folder")
    held = _what_is_held(path)
    if resume and overwrite:
        raise RunError("--resume and --overwrite exclude each other")
    if resume and RunFolder(path).last() is None:
        holds = f"holds {held}, but no state to go on from" if held else "holds no run"
        raise RunError(f"{path}: {holds}; start a new run there without --resume{_over(held)}")
    if held and not resume and not overwrite:
        raise RunError(
            f"{path}: already holds {held}\n"
            "  go on with it:        --resume\n"
            "  keep it, start anew:  --save-dir ANOTHER_FOLDER\n"
            f"  set it aside:         --overwrite (moves it to {_free_name(path)})"
        )
    if resume:
        _drop_leftovers(path)
    if held and overwrite:
        path.rename(_free_name(path))
    path.mkdir(parents=True, exist_ok=True)


def _drop_leftovers(path: Path) -> None:
    """Remove what a kill left half written; the state to go on from does without it."""
    shutil.rmtree(path / _NEW, ignore_errors=True)
    whole = {_CONFIG, _METRICS, _BEST}
    for file in [*path.glob("*.new"), *(path / _WEIGHTS).glob("epoch_*.new")]:
        name = file.name.removesuffix(".new").removesuffix(".new")
        if name in whole or name.startswith("epoch_"):
            file.unlink()


def _over(held: str) -> str:
    return ", with --overwrite to set the old one aside" if held else ""


def _what_is_held(path: Path) -> str:
    """Describe the run in a folder in a few words; empty when there is none."""
    found = [
        name
        for name in (_CONFIG, _METRICS, _WEIGHTS, _BEST, _LAST, _NEW, _OLD)
        if (path / name).exists()
    ]
    if not found:
        return ""
    epochs = len(list((path / _WEIGHTS).glob("epoch_*.safetensors")))
    plural = "s" if epochs != 1 else ""
    return f"a run ({epochs} saved epoch{plural}; {', '.join(found)})"


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
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunError(
            f"{path}: cannot be written: {reason}; what was saved before is untouched"
        ) from error
