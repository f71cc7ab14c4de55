"""Commands of `videozoo` in processes of their own that do not import PyTorch again.

Importing takes more processor time than a tiny training. One process imports once, and forks for
every command. What it forks is like `python -m videozoo`: a process group of its own, and it ends
as Python ends. Tests of the very start of a process start Python itself.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_IMPORTED = ("torch._dynamo", "videozoo.cli", "videozoo.tasks.run", "videozoo.tasks.classification")
_RUN_ITSELF = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")  # read when torch is imported


class Forks:
    """Starts commands; its end is the end of all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory()
        self._count = 0
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.forked"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End every process that was started."""
        self._parent.communicate()
        self._folder.cleanup()

    def start(self, *words: object, env: Mapping[str, str] | None = None) -> Fork:
        """Start `videozoo WORDS...`, with more variables of the environment."""
        return self.start_all([words], env=env)

    def start_all(
        self, commands: Sequence[Sequence[object]], *, env: Mapping[str, str] | None = None
    ) -> Fork:
        """Start one process that runs commands one after the other, up to one that fails."""
        with self._lock:
            self._count += 1
            errors = Path(self._folder.name) / f"{self._count}.txt"
        lines = [[str(word) for word in words] for words in commands]
        asked = {"commands": lines, "env": env or {}, "errors": str(errors)}
        return Fork(self, self.ask({"start": asked}), errors)

    def start_ranks(
        self,
        count: int,
        commands: Sequence[Sequence[object]],
        *,
        of_last: Sequence[object] = (),
    ) -> list[Fork]:
        """Start so many processes of one run, with the environment that torchrun gives them.

        Args:
            count: How many.
            commands: What each runs, one after the other.
            of_last: More words for the last of them.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        shared |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
        last = [[*words, *of_last] for words in commands]
        return [
            self.start_all(
                commands if rank < count - 1 else last,
                env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(count)
        ]

    def ask(self, question: Mapping[str, Any]) -> Any:
        """The answer of the process that forks."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        with self._lock:
            print(json.dumps(question), file=self._parent.stdin, flush=True)
            return json.loads(self._parent.stdout.readline())


class Fork:
    """One command; it has what the tests need of `subprocess.Popen`."""

    def __init__(self, forks: Forks, pid: int, errors: Path) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._forks = forks
        self._errors = errors

    def poll(self) -> int | None:
        """The exit status, as `Popen` gives it; None while it runs."""
        if self.returncode is None:
            self.returncode = self._forks.ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait for the end."""
        limit = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > limit:
                raise subprocess.TimeoutExpired("videozoo", timeout)
            time.sleep(0.01)
        return status

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for the end; nothing, and what it wrote to standard error."""
        self.wait(timeout)
        return "", self.errors()

    def errors(self) -> str:
        """What it has written to standard error so far."""
        return self._errors.read_text(encoding="utf-8")

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL to it, and not to what it has started."""
        self.send_signal(signal.SIGKILL)


def main() -> int:
    """Answer questions until there are no more; a forked child returns its exit status."""
    for name in _IMPORTED:
        import_module(name)
    assert len(list(Path("/proc/self/task").glob("*"))) <= 1, "a fork would lose threads"
    statuses: dict[int, int | None] = {}
    for line in sys.stdin:
        question = json.loads(line)
        if "poll" in question:
            answer = statuses[question["poll"]] = _status(question["poll"], statuses)
        else:
            answer = os.fork()
            if answer == 0:
                return _run(**question["start"])
            os.setpgid(answer, answer)
            statuses[answer] = None
        print(json.dumps(answer), flush=True)
    for pid in [pid for pid in statuses if _status(pid, statuses) is None]:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return 0


def _status(pid: int, known: Mapping[int, int | None]) -> int | None:
    if known[pid] is not None:
        return known[pid]
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _run(commands: list[list[str]], env: Mapping[str, str], errors: str) -> int:
    os.setpgid(0, 0)
    handle = os.open(errors, os.O_WRONLY | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDWR)
    for mine, there in ((nothing, 0), (nothing, 1), (handle, 2)):
        os.dup2(mine, there)
    assert not os.environ.keys() & env.keys() & set(_RUN_ITSELF)
    os.environ.update(env)
    from videozoo import cli

    for words in commands:
        sys.argv = ["videozoo", *words]
        if status := cli.main(words):
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
