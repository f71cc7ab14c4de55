"""A plugin of pytest: sees that the copy is what is tested, and writes what became of the tests."""

import json
import os
from pathlib import Path

import pytest

_MOST_BYTES = 4 * 2**30
_counts = {"passed": 0, "failed": 0, "skipped": 0}
_said: list[str] = []


def pytest_configure() -> None:
    import videozoo

    if not Path(videozoo.__file__).is_relative_to(os.environ["GUARDS_SOURCE"]):
        pytest.exit(f"the package of {videozoo.__file__} is tested, not the copy", 3)
    try:
        import resource
    except ImportError:  # Windows
        return
    for limit, most in (  # guards against either may be out
        (resource.RLIMIT_DATA, _MOST_BYTES),
        (resource.RLIMIT_CPU, int(os.environ["GUARDS_CPU_SECONDS"])),
    ):
        hard = resource.getrlimit(limit)[1]
        if hard == resource.RLIM_INFINITY or hard > most:
            resource.setrlimit(limit, (most, hard))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        _counts[report.outcome] += 1
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        _said.append(str(report.longrepr)[-500:] if crash is None else crash.message)


def pytest_keyboard_interrupt(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    _counts["failed"] += 1
    _said.append(excinfo.typename)


def pytest_sessionfinish() -> None:
    content = _counts | {"said": _said[0] if _said else ""}
    Path(os.environ["GUARDS_REPORT"]).write_text(json.dumps(content), encoding="utf-8")
