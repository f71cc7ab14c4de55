"""How long a command takes to begin: CPU time above that of a Python that does nothing.

Commands that need no neural network must not import torch or numpy; that is looked at in
`sys.modules`, a check without noise.
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.harness import ROOT, Options, Outcome, Target, UnequalError, main

try:
    import resource
except ImportError:  # Windows
    resource = None

COMMANDS: dict[str, tuple[list[str], float | None]] = {
    # arguments of Python; most milliseconds above nothing
    "python -c pass": (["-c", "pass"], None),
    "videozoo --help": (["-m", "videozoo", "--help"], 60),
    "videozoo train --bogus": (["-m", "videozoo", "train", "--bogus"], 60),
    "videozoo models": (["-m", "videozoo", "models"], 60),
    "import videozoo": (["-c", "import videozoo"], 100),
    "import torch": (["-c", "import torch"], None),
}
LIGHT = """
import runpy, sys
sys.argv = {argv!r}
try:
    runpy.run_module("videozoo", run_name="__main__")
except SystemExit:
    pass
print([name for name in ("torch", "numpy") if name in sys.modules])
"""


def run(options: Options) -> Outcome:
    rounds = 1 if options.quick else 15 if options.full else 7
    clock = _cpu_ms if resource is not None else _wall_ms
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(rounds + 1):
        for name, (arguments, _) in COMMANDS.items():
            if options.quick and name == "import torch":
                continue
            spent = clock(arguments)
            if turn or options.quick:  # the first turn compiles and fills caches
                taken[name].append(spent)
    # other work on the machine only adds, so the least is nearest to the truth
    least = {name: round(min(times), 1) for name, times in taken.items() if times}
    nothing = least["python -c pass"]
    targets = [
        Target(
            name=f"{name}: CPU time above a bare Python",
            limit=limit,
            figure=max(0.0, least[name] - nothing) if name in least else None,
            is_least=False,
            unit="ms",
            why_not="" if name in least else "left out when quick",
        )
        for name, (_, limit) in COMMANDS.items()
        if name != "python -c pass"
    ]
    for arguments in (["--help"], ["train", "--bogus"], ["models"]):
        if heavy := _heavy_modules(arguments):
            raise UnequalError(f"videozoo {' '.join(arguments)} imports {heavy}")
    return Outcome("startup", targets, {"least_cpu_ms": least, "rounds": rounds}, ("torch",))


def _heavy_modules(arguments: list[str]) -> str:
    code = LIGHT.format(argv=["videozoo", *arguments])
    done = _python(["-c", code])
    found = done.stdout.strip().splitlines()[-1]
    return "" if found == "[]" else found


def _cpu_ms(arguments: list[str]) -> float:
    assert resource is not None
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _python(arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def _wall_ms(arguments: list[str]) -> float:
    begin = time.perf_counter()
    _python(arguments)
    return 1000 * (time.perf_counter() - begin)


def _python(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    main(run)
