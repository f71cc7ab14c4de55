"""What annotations are compared with: the videos themselves, and their features."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from videozoo.config import RunConfig
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.frames.check import FileReport
from videozoo.data.lengths import Measured, check_lengths
from videozoo.data.text import of_video, spelt_in
from videozoo.data.video_names import names_apart
from videozoo.errors import DataError, counted
from videozoo.tasks.check_data.feature_survey import (
    FeatureSurvey,
    feature_findings,
    survey_features,
)
from videozoo.tasks.check_data.findings import (
    Findings,
    missing_notes,
    refuse_write_good,
    report,
    spread_of,
)
from videozoo.tasks.check_data.parts import CheckRequest
from videozoo.tasks.check_data.videos import check


@dataclass(frozen=True)
class VideosBeside:
    """The videos of a folder, by name."""

    path: Path
    reports: Mapping[str, FileReport]
    findings: Findings

    @property
    def seconds(self) -> dict[str, float]:
        """Lengths of those that can be read."""
        return {name: one.seconds for name, one in self.reports.items() if one.seconds}

    @property
    def rates(self) -> dict[str, float]:
        """Frames per second of those that can be read."""
        reports = self.reports.items()
        return {name: one.frames_per_second for name, one in reports if one.frames_per_second}


@dataclass(kw_only=True)
class Beside:
    """What lies beside annotations."""

    videos: VideosBeside | None = None
    features: FeatureSurvey | None = None

    def lengths(self, annotated: Mapping[str, float]) -> dict[str, float]:
        """Lengths of videos in seconds: by the videos, stored with features, annotated, or by the
        number of vectors, the first that is known."""
        measured = None if self.features is None else _measured(self.features)
        known: dict[str, float] = {}
        if measured is not None:
            known |= measured.estimates
        for more in (
            annotated,
            measured.seconds if measured is not None else {},
            self.videos.seconds if self.videos is not None else {},
        ):
            for name, seconds in more.items():
                known[spelt_in(name, known) or name] = seconds
        return known

    def compare(
        self, found: Findings, path: Path, videos: Iterable[str], annotated: Mapping[str, float]
    ) -> None:
        """Add what differs between annotations and what lies beside them.

        Args:
            found: Where to add it.
            path: The annotations.
            videos: Names of their videos.
            annotated: Lengths of their videos in seconds, as far as the file gives them.
        """
        wanted = list(dict.fromkeys(videos))
        if self.videos is not None:
            found.notes += missing_notes(
                wanted,
                _as_in(wanted, self.videos.reports),
                what="video",
                of=str(path),
                place=self.videos.path,
            )
            pairs = {
                name: (seconds, other)
                for name, seconds in annotated.items()
                if seconds > 0 and (other := of_video(name, self.videos.seconds))
            }
            self._lengths_apart(found, path, pairs)
        if self.features is not None:
            files = self.features.files
            found.notes += missing_notes(
                wanted,
                _as_in(wanted, files),
                what="features",
                of=str(path),
                place=files.path,
            )
            try:
                _measured(self.features).check(annotated, source=path, warn=found.notes.append)
            except DataError as error:
                found.problems.append(str(error))

    def _lengths_apart(
        self, found: Findings, path: Path, pairs: Mapping[str, tuple[float, float]]
    ) -> None:
        assert self.videos is not None
        try:
            check_lengths(
                pairs,
                source=path,
                features=self.videos.path,
                measured_by="by the files",
                warn=found.notes.append,
            )
        except DataError as error:
            found.problems.append(str(error))

    def findings(
        self, annotated: Mapping[str, float], *, said: Collection[str] = ()
    ) -> list[Findings]:
        """What was found in the videos and the features themselves.

        Args:
            annotated: Lengths of videos in seconds, as annotated.
            said: Texts with problems that are told already, and are left out.
        """
        found: list[Findings] = []
        if self.videos is not None:
            found.append(self.videos.findings)
        if self.features is not None:
            one = feature_findings(self.features, self.lengths(annotated))
            one.is_beside = True
            found.append(one)
        for one in found:
            one.problems = [each for each in one.problems if not any(each in text for text in said)]
        return found


def run_beside(
    request: CheckRequest,
    config: RunConfig | None,
    out: Console,
    *,
    kind: str,
    holds: str,
    checked: Callable[[Path, Beside], tuple[Findings, Mapping[str, float]]],
    configured: Callable[[CheckRequest, RunConfig], list[Findings]],
) -> None:
    """Check a file of annotations with what lies beside it, or all that a configuration names.

    Args:
        request: The options of the command.
        config: The configuration, if one is named.
        out: Where the result is shown.
        kind: What is checked, in the plural.
        holds: What such files are, in the plural.
        checked: Checks a file; returns also the lengths of videos in it, in seconds.
        configured: Checks what a configuration names.

    Raises:
        DataError: Something cannot be used.
        VideozooError: There is nothing to check, or the result cannot be written.
    """
    refuse_write_good(request)
    if config is not None:
        found, what = configured(request, config), f"the features and {holds}"
    else:
        assert request.path is not None
        beside = look_beside(request, videos=request.videos, features=request.features)
        one, annotated = checked(request.path, beside)
        found, what = [one, *beside.findings(annotated)], f"the {holds}"
    report(found, request, out, kind=kind, what=what)


def look_beside(
    request: CheckRequest,
    *,
    videos: Path | None,
    features: Path | None,
    streams: tuple[str, ...] = (),
    feature_dim: int | None = None,
    rate: float | None = None,
) -> Beside:
    """Open the videos and the features that annotations belong to.

    Raises:
        DataError: There are none at the place that was named.
    """
    beside = Beside()
    if videos is not None:
        beside.videos = _videos_at(videos, request)
    if features is not None:
        files = FeatureFiles(features, streams=streams)
        beside.features = survey_features(files, feature_dim=feature_dim, rate=rate)
    return beside


def _videos_at(path: Path, request: CheckRequest) -> VideosBeside:
    result = check(
        CheckRequest(
            path=path,
            deep=request.deep,
            workers=request.workers,
            base_seconds=request.base_seconds,
            use_cache=request.use_cache,
        )
    )
    reports = {
        report.path: report
        for report in result.reports.values()
        if report.is_readable or report.is_bad
    }
    root = path if path.is_dir() else None
    names = dict(zip(names_apart(list(reports), root=root), reports.values(), strict=True))
    usable = [one for one in names.values() if one.is_readable]
    found = Findings(kind="videos", name=str(path), is_beside=True)
    found.lines.append(f"{counted(len(names), 'video')}, {len(usable):,} can be used")
    if seconds := [one.seconds for one in usable if one.seconds]:
        found.lines.append(f"lengths: {spread_of(seconds, 's')}")
    if rates := [one.frames_per_second for one in usable if one.frames_per_second]:
        found.lines.append(f"frames per second: {spread_of(rates)}")
    found.problems = [
        f"{one.path}: {one.reason or one.status}" for one in result.bad
    ] + result.problems
    found.notes = [f"{one.path}: {one.damage}" for one in usable if one.damage]
    found.facts = {"videos": len(names), "usable": len(usable)}
    return VideosBeside(path, names, found)


def _measured(survey: FeatureSurvey) -> Measured:
    """Lengths by features; with a configured rate also where the features do not tell theirs."""
    measured = survey.files.measured
    if survey.rate is None or survey.files.own_rate is not None:
        return measured
    by_rate = {name: steps / survey.rate for name, steps in survey.steps.items()}
    return Measured(survey.files.path, measured.seconds, by_rate, slack_seconds=1 / survey.rate)


def _as_in(wanted: Iterable[str], there: Iterable[str]) -> list[str]:
    """Names beside the annotations, spelt as these spell them."""
    known = set(wanted)
    return [spelt_in(name, known) or name for name in there]
