"""The display of a training run: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column

_HIDDEN = {"kind", "epoch", "step", "total", "eta_seconds"}


class RunProgress(AbstractContextManager["RunProgress"]):
    """Shows the progress of one run, if `shown`."""

    def __init__(self, *, epochs: int, shown: bool, console: Console | None = None):
        self._epochs = epochs
        self._shown = shown
        self._console = console or Console(stderr=True)
        self.broken: BaseException | None = None
        """Why nothing can be shown any more: the output is full, or its reader has gone."""
        self._task: TaskID | None = None
        self._bar: Progress | None = None
        if shown and self._console.is_terminal:
            rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # cut where it is narrow
            self._bar = Progress(
                TextColumn(
                    "{task.description}", table_column=Column(min_width=len(f"{epochs}") * 2 + 7)
                ),
                BarColumn(bar_width=12, table_column=Column(min_width=12)),
                MofNCompleteColumn(table_column=Column(no_wrap=True)),
                TextColumn("{task.fields[status]}", table_column=rest),
                console=self._console,
                transient=True,
                expand=True,
            )

    def __enter__(self) -> RunProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            with self._noting():
                self._bar.stop()

    @contextmanager
    def _noting(self) -> Generator[None]:
        """Note that the output is broken, so that the run can save and then say so."""
        try:
            yield
        except SystemExit as stop:  # rich ends the program so where it meets a broken pipe
            if not isinstance(stop.__context__, BrokenPipeError):
                raise
            self.broken = stop.__context__
        except (OSError, ValueError) as error:  # ValueError: the file is closed
            self.broken = error
        if self.broken is not None:
            self._shown, self._bar = False, None

    def begin_epoch(self, epoch: int, *, done: int, total: int | None) -> None:
        """Start an epoch (from 1) of `total` steps, of which `done` are finished."""
        if self._bar is None:
            return
        if self._task is not None:
            self._bar.remove_task(self._task)
        name = f"epoch {epoch}/{self._epochs}"
        with self._noting():
            self._task = self._bar.add_task(name, completed=done, total=total, status="")

    @contextmanager
    def checking(self) -> Generator[None]:
        """Within the block, a terminal shows that the validation runs."""
        if self._bar is None or self._task is None:
            yield
            return
        bar, before = self._bar, self._bar.tasks[-1].fields["status"]
        with self._noting():
            bar.update(self._task, status="checking", refresh=True)
        try:
            yield
        finally:
            with self._noting():
                bar.update(self._task, status=before)

    def step(self) -> None:
        """Count one finished step."""
        if self._bar is not None and self._task is not None:
            with self._noting():
                self._bar.advance(self._task)

    def log(self, line: Mapping[str, Any], *, done: int, total: int | None) -> None:
        """Show a line of `metrics.jsonl` about the steps since the last one."""
        if self._bar is not None and self._task is not None:
            with self._noting():
                self._bar.update(self._task, status=escape(describe(line, eta_first=True)))
        else:
            of = f"/{total}" if total else ""
            self.say(f"epoch {line['epoch']}/{self._epochs} step {done}{of}: {describe(line)}")

    def say(self, text: str) -> None:
        """Print one line, above the bar if there is one."""
        if self._shown:
            with self._noting():
                self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def describe(line: Mapping[str, Any], *, eta_first: bool = False) -> str:
    """A line of `metrics.jsonl` as text, with the remaining time last or first.

    >>> describe({"loss": 1.5, "top1": 0.25, "learning_rate": 0.01, "data_seconds": 0.002,
    ...           "compute_seconds": 0.1, "examples_per_second": 80.0, "eta_seconds": 3661})
    'loss 1.5 top1 25.00 % lr 0.01 data 2 ms (2 %) compute 100 ms 80 clips/s ETA 1:01:01'
    """
    words: list[str] = []
    for name, value in line.items():
        if name in _HIDDEN or value is None:
            continue
        if name == "learning_rate":
            words.append(f"lr {value:.4g}")
        elif name.endswith("_seconds"):
            words.append(f"{name.removesuffix('_seconds')} {1000 * value:.0f} ms")
            if name == "data_seconds":
                words.append(f"({_share_of_waiting(line)})")
        elif name == "examples_per_second":
            words.append(f"{value:.{0 if value >= 10 else 2}f} clips/s")
        else:
            words.append(f"{name} {metric(name, value)}")
    if line.get("eta_seconds") is not None:
        words.insert(
            0 if eta_first else len(words), f"ETA {timedelta(seconds=round(line['eta_seconds']))}"
        )
    return " ".join(words)


def metric(name: str, value: float) -> str:
    """A metric as text, as in the tables of results: losses as they are, shares in percent.

    >>> metric("valid_loss", 1.23456), metric("top1", 0.25)
    ('1.235', '25.00 %')
    """
    return f"{value:.4g}" if "loss" in name else f"{100 * value:.2f} %"


def _share_of_waiting(line: Mapping[str, Any]) -> str:
    """Share of a step spent on waiting for its data."""
    seconds = line["data_seconds"] + line["compute_seconds"]
    return f"{100 * line['data_seconds'] / max(seconds, 1e-9):.0f} %"
