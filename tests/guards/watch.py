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
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]  # a guard against it may be out
    if hard == resource.RLIM_INFINITY or hard > _MOST_BYTES:
        resource.setrlimit(resource.RLIMIT_DATA, (_MOST_BYTES, hard))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        _counts[report.outcome] += 1
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        _said.append(str(report.longrepr)[-500:] if crash is None else crash.message)


def pytest_sessionfinish() -> None:
    content = _counts | {"said": _said[0] if _said else ""}
    Path(os.environ["GUARDS_REPORT"]).write_text(json.dumps(content), encoding="utf-8")
