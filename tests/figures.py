"""What was promised, and how often and how well it held: a table at the end of a run of pytest.

A test of a guarantee names it, and may add figures:

    @pytest.mark.guarantee("a killed training ends bit for bit as if it never was")
    def test_many_kills(figures: Figures):
        figures.add(cases=50, failures=0)
        figures.add(worst=2.1, unit="s to be told", limit=10)

Tests that name the same guarantee share a row. A test that adds no cases is one case; a test that
fails is at least one failure, so add the figures before the assertions. `--figures FILE` writes the
table to a file, too, with the date, the machine and the command. It works in parallel runs.
"""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import pytest

HEAD = "| guarantee | cases | failures | worst figure | seconds |\n|---|---|---|---|---|"
_GUARANTEE, _FIGURE = "guarantee", "figure"


class Figures:
    """Takes the figures of one test."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self._properties = properties

    def add(
        self,
        *,
        cases: int = 0,
        failures: int = 0,
        worst: float | None = None,
        unit: str = "",
        limit: float | None = None,
    ) -> None:
        """Add to the row of the test's guarantee.

        Args:
            cases: How many more were tried.
            failures: How many of them broke the guarantee.
            worst: A figure of which the largest of its unit is shown.
            unit: What it counts, such as "s" or "MB".
            limit: The most that is allowed.
        """
        figure = {"cases": cases, "failures": failures, "worst": worst, "unit": unit}
        self._properties.append((_FIGURE, {**figure, "limit": limit}))


@dataclass
class Row:
    """What the tests of one guarantee found."""

    guarantee: str
    cases: int = 0
    failures: int = 0
    seconds: float = 0.0
    skipped: list[str] = field(default_factory=list[str])
    """Why tests did not run."""
    worst: dict[str, tuple[float, float | None]] = field(
        default_factory=dict[str, tuple[float, float | None]]
    )
    """By unit: the largest figure, and the most that is allowed."""

    def add(
        self, outcome: str, seconds: float, figures: Iterable[Mapping[str, Any]], reason: str = ""
    ) -> None:
        """Count a test."""
        if outcome == "skipped":
            self.skipped.append(reason)
            return
        cases = failures = 0
        for figure in figures:
            cases, failures = cases + figure["cases"], failures + figure["failures"]
            if figure["worst"] is not None:
                before = self.worst.get(figure["unit"], (figure["worst"], None))[0]
                self.worst[figure["unit"]] = max(before, figure["worst"]), figure["limit"]
        self.cases += max(cases, 1)
        self.failures += max(failures, outcome == "failed")
        self.seconds += seconds

    def __str__(self) -> str:
        worst = ", ".join(
            f"{_short(value)} {unit}".rstrip()
            + ("" if limit is None else f" (limit {_short(limit)})")
            for unit, (value, limit) in self.worst.items()
        )
        name = self.guarantee
        if self.skipped:
            why = "; ".join(dict.fromkeys(self.skipped))
            name += f" (not tried: {len(self.skipped)}, {why})"
        return f"| {name} | {self.cases:,} | {self.failures:,} | {worst} | {self.seconds:,.0f} |"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def rows_of(reports: Iterable[pytest.TestReport]) -> list[Row]:
    """The rows of the guarantees that reports name, in the order of their names."""
    rows: dict[str, Row] = {}
    for report in reports:
        # A test that runs has three reports; what it found is in the one of its call.
        if report.when != "call" and report.outcome == "passed":
            continue
        found = report.user_properties
        figures = [cast("dict[str, Any]", value) for name, value in found if name == _FIGURE]
        reason = str(report.longrepr[-1]) if isinstance(report.longrepr, tuple) else ""
        for guarantee in (str(value) for name, value in found if name == _GUARANTEE):
            row = rows.setdefault(guarantee, Row(guarantee))
            row.add(
                report.outcome,
                report.duration,
                figures if report.when == "call" else [],  # else they were counted before
                reason.removeprefix("Skipped: "),
            )
    return sorted(rows.values(), key=lambda row: row.guarantee)


def described(rows: Iterable[Row]) -> str:
    """The table."""
    return "\n".join([HEAD, *map(str, rows)])


def machine() -> str:
    """This machine in words."""
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = f"{size / 2**30:.0f} GiB of memory, "
    return (
        f"{os.cpu_count()} cores, {memory}{platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, PyTorch {version('torch')}"
    )


# --- what pytest calls


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--figures", metavar="FILE", help="write the table of guarantees to this file, too"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "guarantee(text): what the test proves; a row of the table at the end"
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    for mark in item.iter_markers("guarantee"):
        item.user_properties.append((_GUARANTEE, mark.args[0]))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Takes the figures of a test for the table at the end."""
    assert request.node.get_closest_marker("guarantee"), "the test names no guarantee"
    return Figures(request.node.user_properties)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    reports = [
        report
        for kind in ("passed", "failed", "error", "skipped")
        for report in terminalreporter.getreports(kind)
        if isinstance(report, pytest.TestReport)
    ]
    rows = rows_of(reports)
    if not rows:
        return
    terminalreporter.section("guarantees")
    terminalreporter.write_line(described(rows))
    if path := config.getoption("--figures"):
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        command = shlex.join(["pytest", *map(str, config.invocation_params.args)])
        text = f"{now}; {machine()}\n\n`{command}`\n\n{described(rows)}\n"
        Path(path).write_text(text, encoding="utf-8")
