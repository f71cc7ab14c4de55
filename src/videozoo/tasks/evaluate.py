"""The steps of every evaluation; a task supplies what differs."""

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
    """The output of a model for labelled videos, with the functions that measure and show it."""

    measure: Callable[[], Mapping[str, Any]]
    """Compute the content of `eval.json`; called in the main process, after `file` is written."""
    shortfall: Shortfall
    tables: Callable[[Mapping[str, Any]], Iterable[RenderableType]]
    """Tables for the terminal, from the content of `eval.json`."""
    file: ResultFile | None = None
    """Another result file to write."""
    submission: ResultFile | None = None
    """And one in the form that a data set's own evaluation reads."""
    notes: Callable[[Mapping[str, Any]], Iterable[str]] = _none
    """Notes for the user, from the content of `eval.json`."""
    page: Callable[[Mapping[str, Any]], Report] | None = None
    """`report.html`, from the content of `eval.json`."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a task evaluates; call the object to evaluate."""

    run: Callable[[EvalJob], Evaluated]
    """Finds the videos, checks that they fit the model, and runs the model over them."""
    configured: Callable[[Trained], RunConfig] = usual_config
    """Returns the configuration for the evaluation."""
    has_page: bool = False
    """Whether the task can write `report.html`."""

    def __call__(
        self, trained: Trained, request: EvalRequest, *, console: Console | None = None
    ) -> dict[str, Any]:
        """Run a trained model on labelled videos; print tables, write `eval.json` and the page.

        Args:
            trained: The model.
            request: The options of the command.
            console: For tables; standard output when None.

        Returns:
            The content of `eval.json`; empty in processes other than the main one.

        Raises:
            VideozooError: The data, the weights or the machine do not fit.
        """
        if request.report and not self.has_page:
            raise UsageError(
                "--report is for models that classify clips or tag videos; eval.json has the "
                "numbers"
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
            files = job.write(found.file, found.submission)
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
    """Write the page, if it is wanted and can be drawn."""
    if found.page is None or job.request.report is False or not pages.can_draw():
        return None
    report = write_report(job.folder.path / "report.html", found.page(facts))
    job.folder.write(facts, [*files, report])
    return report
