"""The one flow of an evaluation; a task supplies what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from videozoo.config import RunConfig
from videozoo.errors import RunError, UsageError
from videozoo.report.html import Report, write_report
from videozoo.settings.segments import AnnotatedData
from videozoo.tasks import pages
from videozoo.tasks.common import say_if_learnt_from, with_test_data
from videozoo.tasks.jobs import Job, ResultFile, Shortfall, usual_config
from videozoo.tasks.loading import Trained
from videozoo.tasks.requests import EvalRequest

EvalJob = Job[EvalRequest]


def _none(_facts: Mapping[str, Any], /) -> Iterable[str]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What a model gives for labelled videos, and how it is measured and shown."""

    measure: Callable[[], Mapping[str, Any]]
    """Compute what `eval.json` holds; called by the main process, once `file` is on the disk."""
    shortfall: Shortfall
    tables: Callable[[Mapping[str, Any]], Iterable[RenderableType]]
    """Shown to people; takes what `eval.json` holds."""
    file: ResultFile | None = None
    """Also written."""
    notes: Callable[[Mapping[str, Any]], Iterable[str]] = _none
    """What a person should know; takes what `eval.json` holds."""
    page: Callable[[Mapping[str, Any]], Report] | None = None
    """`report.html`; takes what `eval.json` holds."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a task evaluates; call it to do so."""

    run: Callable[[EvalJob], Evaluated]
    """Finds the videos, checks that they suit the model, and runs it over them."""
    configured: Callable[[Trained], RunConfig] = usual_config
    """Gives the configuration to evaluate with."""
    has_page: bool = False
    """Whether there is a page."""

    def __call__(
        self, trained: Trained, request: EvalRequest, *, console: Console | None = None
    ) -> dict[str, Any]:
        """Run a trained model on labelled videos; print tables, write `eval.json` and the page.

        Args:
            trained: The model.
            request: What was asked for.
            console: For tables; standard output when None.

        Returns:
            What the JSON file holds; nothing in processes other than the main one.

        Raises:
            VideozooError: The data, the weights or the machine do not fit.
        """
        if request.report and not self.has_page:
            raise UsageError(
                "--report is for models that classify clips; eval.json has the numbers"
            )
        if request.report and not pages.can_draw():
            raise RunError(pages.CHARTS_HINT)
        config = self.configured(trained)
        is_annotated = isinstance(config.data, AnnotatedData)  # then its parts are named subsets
        if is_annotated and request.data is not None:
            raise UsageError("--data is for videos; localisers take --set data.features=DIR")
        config = with_test_data(config, request.data)
        job = Job.open(trained, request, config, console)
        if not is_annotated:
            say_if_learnt_from(job.say, config.data, "test")
        found = self.run(job)
        facts: dict[str, Any] = {}
        if job.is_main:
            files = job.write(found.file)
            facts = {**job.folder.facts, **found.measure()}
            written = job.folder.write(facts, files)
            report = _report(job, found, facts, files)
            for table in found.tables(facts):
                job.console.print(table)
            for line in found.shortfall.left_out:
                job.say(f"left out: {line}")
            job.note(found.notes(facts))
            job.say(f"written: {', '.join(map(str, [written, *files]))}")
            if report is not None:
                job.say(f"report: {report}")
            elif self.has_page and request.report is None:
                job.note([pages.CHARTS_HINT])
        job.close(found.shortfall)
        return facts


def _report(
    job: EvalJob, found: Evaluated, facts: Mapping[str, Any], files: list[Path]
) -> Path | None:
    """Write the page, where it is wanted and can be drawn."""
    if found.page is None or job.request.report is False or not pages.can_draw():
        return None
    report = write_report(job.folder.path / "report.html", found.page(facts))
    job.folder.write(facts, [*files, report])
    return report
