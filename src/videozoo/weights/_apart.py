"""Checks of files that may crash, hang or use all memory: they run in their own process."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

from videozoo.errors import WeightsError


def run_apart(module: str, path: Path, *, seconds: float) -> None:
    """Run `python -m module path`, which checks a file.

    Args:
        module: Must exit with status 0 if the file is right, else with 1 and a line that says why.
        path: The file.
        seconds: Time limit of the process.

    Raises:
        WeightsError: The file is wrong, or the process crashed or took too long.
    """
    package = str(Path(__file__).parents[2])
    search = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, str(path)],
            env=os.environ | {"PYTHONPATH": search, "PYTHONIOENCODING": "utf-8:backslashreplace"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise WeightsError(f"reading it did not end within {seconds:.0f} s") from None
    said = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode == 1 and said:
        raise WeightsError(said)
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"{done.returncode}: {last}"
        raise WeightsError(f"reading it ends the process that does ({how})")


def bound_memory(num_bytes: int) -> None:
    """Limit the further memory of this process (on Linux), and write no core file."""
    facts = Path("/proc/self/statm")
    if not facts.exists():
        return
    resource = importlib.import_module("resource")
    pages = int(facts.read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + num_bytes
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
