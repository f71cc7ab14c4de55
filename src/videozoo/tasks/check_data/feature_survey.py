"""Survey features of videos: shapes, rates, values that say nothing, the strangest."""

from __future__ import annotations

import hashlib
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.text import of_video
from videozoo.errors import DataError, counted, few
from videozoo.tasks.check_data.findings import MOST_STRANGE, STRANGE, Findings, spread_of
from videozoo.tasks.check_data.output import progress

_APART = 1.1
"""Vectors per second that differ by more than this factor belong to different rates."""


@dataclass(kw_only=True)
class Values:
    """What was seen of the values of features."""

    zero: list[str] = field(default_factory=list[str])
    """Videos whose features are all zero."""
    constant: list[str] = field(default_factory=list[str])
    """Videos whose vectors are all the same, and not zero."""
    zero_rows: dict[str, int] = field(default_factory=dict[str, int])
    """Number of vectors that are zero, in videos with others."""
    largest: dict[str, float] = field(default_factory=dict[str, float])
    """Largest absolute value of each video."""
    same: dict[bytes, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Videos by a hash of their features."""

    def look(self, name: str, values: NDArray[np.floating | np.integer]) -> None:
        """Look at the features of a video, (T, C), finite."""
        self.largest[name] = float(np.abs(values).max(initial=0))
        rows = ~values.any(axis=1)
        if rows.all():
            self.zero.append(name)
        elif len(values) > 1 and (values == values[0]).all():
            self.constant.append(name)
        elif rows.any():
            self.zero_rows[name] = int(rows.sum())
        digest = hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16).digest()
        self.same[digest].append(name)

    def notes(self) -> Iterator[str]:
        """Notes on values that say nothing."""
        if self.zero:
            yield f"{counted(len(self.zero), 'video')} with zeros only: {few(self.zero)}"
        if self.constant:
            yield (
                f"{counted(len(self.constant), 'video')} with the same vector from start to end: "
                f"{few(self.constant)}"
            )
        if self.zero_rows:
            worst = max(self.zero_rows, key=lambda name: self.zero_rows[name])
            total = sum(self.zero_rows.values())
            yield (
                f"{counted(total, 'vector')} of zeros in {counted(len(self.zero_rows), 'video')}, "
                f"most in {worst} ({self.zero_rows[worst]:,})"
            )
        silent = {*self.zero}
        copies = [
            names for names in self.same.values() if len(names) > 1 and names[0] not in silent
        ]
        if copies:
            yield (
                f"copies: {counted(len(copies), 'group')} of videos with equal features, e.g. "
                f"{few(copies[0], 3, between=' = ')}"
            )


@dataclass(kw_only=True)
class FeatureSurvey:
    """What was found in the features of all videos."""

    files: FeatureFiles
    rate: float | None
    """Vectors per second, as configured or as stored; None if nothing tells."""
    unusable: dict[str, str] = field(default_factory=dict[str, str])
    """Videos whose features cannot be used, and why."""
    steps: dict[str, int] = field(default_factory=dict[str, int])
    """Vectors of each video."""
    dims: dict[str, int] = field(default_factory=dict[str, int])
    """Values per vector of each video."""
    values: Values = field(default_factory=Values)


def survey_features(
    files: FeatureFiles, *, feature_dim: int | None = None, rate: float | None = None
) -> FeatureSurvey:
    """Read the features of every video.

    Args:
        files: The features.
        feature_dim: Values per vector that a model needs.
        rate: Vectors per second, as configured.
    """
    found = FeatureSurvey(files=files, rate=rate or files.own_rate)
    with progress(len(files), "features") as advance:
        for name in files:
            try:
                values = files.read(name, feature_dim=feature_dim)
            except DataError as error:
                found.unusable[name] = str(error)
            else:
                found.steps[name], found.dims[name] = values.shape
                found.values.look(name, values)
            advance()
    return found


def feature_findings(survey: FeatureSurvey, seconds: Mapping[str, float]) -> Findings:
    """Put in words what was found.

    Args:
        survey: The features.
        seconds: Lengths of videos, as far as they are known from elsewhere.
    """
    files = survey.files
    found = Findings(kind="features", name=str(files.path))
    found.lines.append(
        f"features of {counted(len(files), 'video')}, {len(survey.steps):,} can be used"
    )
    dims = Counter(survey.dims.values())
    if survey.steps:
        shown = ", ".join(f"{dim:,} ({count:,})" for dim, count in dims.most_common(3))
        found.lines.append(f"vectors: {spread_of(list(survey.steps.values()))}; values: {shown}")
    found.problems += survey.unusable.values()
    if len(dims) > 1:
        usual = dims.most_common(1)[0][0]
        others = [name for name, dim in survey.dims.items() if dim != usual]
        found.problems.append(
            f"{files.path}: vectors of different lengths, {few(sorted(dims))}: "
            f"{counted(len(others), 'video')} unlike the most ({usual:,}): {few(others)}"
        )
    _add_rate(found, survey, seconds)
    found.notes += survey.values.notes()
    found.strangest += list(_strange(survey))[:MOST_STRANGE]
    found.facts = {
        "videos": len(files),
        "usable": len(survey.steps),
        "vectors": sum(survey.steps.values()),
        "dims": {str(dim): count for dim, count in sorted(dims.items())},
        "rate": survey.rate,
        "zero": survey.values.zero,
        "constant": survey.values.constant,
    }
    return found


def _add_rate(found: Findings, survey: FeatureSurvey, seconds: Mapping[str, float]) -> None:
    """Compare the vectors per second with the lengths of the videos."""
    own = survey.files.durations
    lengths = {
        name: length
        for name in survey.steps
        if (length := of_video(name, own) or of_video(name, seconds))
    }
    rates = {name: survey.steps[name] / length for name, length in lengths.items()}
    if survey.rate is not None:
        found.lines.append(f"vectors per second, as stored or configured: {survey.rate:g}")
    if not rates:
        if survey.rate is None:
            found.notes.append(
                "nothing says how many vectors per second there are; set data.rate, or compare "
                "with the videos: --videos DIR"
            )
        return
    measured = list(rates.values())
    found.lines.append(f"vectors per second, by the lengths of the videos: {spread_of(measured)}")
    if len(survey.steps) > 1 and len(set(survey.steps.values())) == 1:
        found.notes.append(
            f"every video has {next(iter(survey.steps.values()))} vectors: they are resized, and "
            "have no common rate"
        )
        return
    usual = survey.rate or statistics.median(measured)
    apart = {
        name: rate
        for name, rate in rates.items()
        if abs(survey.steps[name] - usual * lengths[name]) > 2  # rounding at the ends
        if max(rate, usual) > _APART * min(rate, usual)
    }
    if apart:
        worst = max(apart, key=lambda name: max(apart[name] / usual, usual / apart[name]))
        found.notes.append(
            f"{counted(len(apart), 'video')} with another rate than {usual:.4g} vectors per "
            f"second; worst is {worst}: {survey.steps[worst]:,} vectors in "
            f"{lengths[worst]:.4g} s, {apart[worst]:.4g} per second"
        )


def _where(survey: FeatureSurvey, name: str) -> str:
    return survey.files.where(name).removeprefix(f"{survey.files.path}/")


def _strange(survey: FeatureSurvey) -> Iterator[str]:
    steps, largest = survey.steps, survey.values.largest
    if len(steps) < 2:
        return
    usual = statistics.median(steps.values())
    for word, pick in (("longest", max), ("shortest", min)):
        name = pick(steps, key=lambda name: steps[name])
        if max(steps[name], usual) > STRANGE * min(steps[name], usual):
            yield (
                f"{word}: {_where(survey, name)}, {counted(steps[name], 'vector')}, where the "
                f"median is {usual:g}"
            )
    name = max(largest, key=lambda name: largest[name])
    typical = statistics.median(largest.values())
    if largest[name] > STRANGE * typical:
        yield (
            f"largest value: {_where(survey, name)}, {largest[name]:.4g}, where the usual "
            f"largest is {typical:.4g}"
        )
    name = min(largest, key=lambda name: largest[name])
    if typical > STRANGE * largest[name]:
        yield (
            f"flattest: {_where(survey, name)}, no value above {largest[name]:.4g}, where the "
            f"usual largest is {typical:.4g}"
        )
    rows = survey.values.zero_rows
    if rows:
        name = max(rows, key=lambda name: rows[name] / steps[name])
        yield (
            f"most zeros: {_where(survey, name)}, {rows[name]:,} of "
            f"{counted(steps[name], 'vector')}"
        )
