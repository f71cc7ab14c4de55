"""Ctrl-C, SIGTERM and SIGHUP end a run after the current step, with its state saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from videozoo.errors import RunError

_NAMES = {signal.SIGINT: "Ctrl-C"}
_STOPPING = [signal.SIGINT, signal.SIGTERM]
if hasattr(signal, "SIGHUP"):  # a terminal that is closed, a connection that breaks
    _STOPPING.append(signal.SIGHUP)


class RunInterrupted(RunError):  # noqa: N818 - nothing went wrong
    """A run was stopped from outside; its state is saved."""

    exit_status = 130


class Interrupts:
    """Remembers a request to stop this process. A second Ctrl-C stops it at once."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._at_once = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in _STOPPING:
                if number != signal.SIGINT and signal.getsignal(number) is signal.SIG_IGN:
                    continue  # `nohup` wants a run to outlive its terminal
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def requested(self) -> bool:
        """Whether a stop was requested."""
        return self.signal is not None

    @property
    def name(self) -> str:
        """What requested the stop; in other processes of the run it is not known."""
        if self.signal is None:
            return "a signal to another process"
        return _NAMES.get(self.signal, self.signal.name)

    @contextmanager
    def at_once(self) -> Generator[None]:
        """Within the block, a signal raises KeyboardInterrupt, because stopping loses nothing."""
        if self.requested:
            raise KeyboardInterrupt
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        repeated = self.requested
        self.signal = signal.Signals(number)
        if repeated or self._at_once:
            raise KeyboardInterrupt
