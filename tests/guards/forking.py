"""Runs pytest in forks of a process that has imported what takes seconds; the package is not in it.

It is given the names of what to import. Each line of its input is a request, each line of its
output the exit status that came of it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import Any


def main() -> None:
    for name in sys.argv[1:]:
        with suppress(ImportError):
            import_module(name)
    for line in sys.stdin:
        print(json.dumps(_status_of(json.loads(line))), flush=True)


def _status_of(request: dict[str, Any]) -> int | None:
    """Run pytest once; the status is negative for a signal, None if it does not end in time."""
    process = os.fork()
    if process == 0:
        _be(request)
    end = time.monotonic() + request["seconds"]
    status: int | None = None
    while status is None and time.monotonic() < end:
        done, code = os.waitpid(process, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if done else None
        time.sleep(0 if done else 0.02)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)  # also what the test has left running
    if status is None:
        os.waitpid(process, 0)
    return status


def _be(request: dict[str, Any]) -> None:
    code = 3
    try:
        os.setsid()
        for path, flags, numbers in (
            (os.devnull, os.O_RDONLY, [0]),
            (request["output"], os.O_WRONLY | os.O_CREAT, [1, 2]),
        ):
            handle = os.open(path, flags, 0o600)
            for number in numbers:
                os.dup2(handle, number)
        os.environ["GUARDS_REPORT"] = request["report"]
        os.environ["GUARDS_CPU_SECONDS"] = str(request["cpu_seconds"])
        code = int(import_module("pytest").main(request["arguments"]))
        sys.stdout.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
