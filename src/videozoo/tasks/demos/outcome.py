"""What a demo found: the score of a model, and the score of what learnt nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from videozoo.errors import RunError


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The score of one model on videos that it did not learn from."""

    title: str
    """The model."""
    metric: str
    value: float
    baselines: Mapping[str, float]
    """What learnt nothing or did not look, and its score; the best one counts."""
    least_margin: float
    """The score must be above the baseline by at least this much."""
    tested_on: str
    """How many held-out videos, clips or sentences."""
    run: Path
    """The run folder."""

    @property
    def baseline(self) -> float:
        """The best score among the baselines."""
        return max(self.baselines.values())

    @property
    def margin(self) -> float:
        """How far the score is above the baseline."""
        return self.value - self.baseline

    @property
    def holds(self) -> bool:
        """Whether the margin is as large as it should be."""
        return self.margin >= self.least_margin

    def text(self, seconds: float) -> str:
        """The lines of the end of a demo that took so long."""
        lines = [f"{self.title} {self.metric} {self.value:.3f}"]
        lines += [f"{name} {self.metric} {value:.3f}" for name, value in self.baselines.items()]
        lines.append(f"margin {self.margin:.3f}, expected at least {self.least_margin:g}")
        lines.append(f"on {self.tested_on}, after {seconds / 60:.1f} minutes")
        return "\n".join(lines)

    def check(self) -> None:
        """Raise RunError if the margin is too small."""
        if not self.holds:
            name = max(self.baselines, key=lambda each: self.baselines[each])
            raise RunError(
                f"{self.title}: {self.metric} {self.value:.3f} is less than {self.least_margin:g} "
                f"above {name}, {self.baseline:.3f}; please report it with {self.run}"
            )


def outcome_table(outcomes: Mapping[str, tuple[Outcome, float]]) -> Table:
    """All models of a demo: outcome and seconds, by name."""
    table = Table(title="Twelve models, one world" if len(outcomes) == 12 else "Models")
    table.add_column("model", no_wrap=True)
    table.add_column("metric")
    for column in ("value", "baseline", "margin", "at least", "minutes"):
        table.add_column(column, justify="right", no_wrap=True)
    for outcome, seconds in outcomes.values():
        table.add_row(
            outcome.title,
            outcome.metric,
            f"{outcome.value:.3f}",
            f"{outcome.baseline:.3f}",
            f"{outcome.margin:.3f}" + ("" if outcome.holds else "  TOO SMALL"),
            f"{outcome.least_margin:g}",
            f"{seconds / 60:.1f}",
        )
    return table
