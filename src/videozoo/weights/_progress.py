"""A progress bar for a download, in a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class Bar:
    """Drawn on standard error if that is a terminal.

    Args:
        target: The file that is downloaded; its name is shown before the bar.
        done: Bytes that have already arrived.
        total: Size in bytes; None if the server does not say.
    """

    def __init__(self, target: Path, *, done: int, total: int | None):
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task(target.name, completed=done, total=total)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, num_bytes: int) -> None:
        """Count bytes that have arrived."""
        self._progress.advance(self._task, num_bytes)
