"""What `videozoo score` asks for and finds, and how the names of two files are paired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Generic, TypeVar

from rich.console import RenderableType

from videozoo.data.annotations.segment_types import Reading, video_of
from videozoo.data.text import spellings
from videozoo.errors import DataError, UsageError, counted, few

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """The options of `videozoo score`."""

    results: Path
    truth: Sequence[Path]
    """At least one file."""
    subset: str | None = None
    """Part of the truth."""
    tious: tuple[float, ...] = ()
    """Thresholds of segments and moments; by default those of the data set."""
    class_names: Path | None = None
    """Names of classes, where one of the files has numbers."""
    durations: Path | None = None
    """Lengths of videos, where the truth has none."""
    first_label: int = 0
    """Number of the first class in the truth."""
    label_from: str | None = None
    """Which of several texts of a true segment is its class."""
    spot_seconds: float | None = None
    """Length of the segments that points in time of the truth become."""
    frames_per_second: float | None = None
    """Frame rate of the videos, where the truth counts in frames."""
    json_path: Path | None = None

    @property
    def reading(self) -> Reading:
        """How true segments are read."""
        return Reading(self.label_from, self.spot_seconds)

    def check_reading_unused(self) -> None:
        """Where the truth is no annotations of segments.

        Raises:
            UsageError: A flag says how such annotations are read.
        """
        for flag, value in (
            ("label-from", self.label_from),
            ("spot-seconds", self.spot_seconds),
            ("frames-per-second", self.frames_per_second),
        ):
            if value is not None:
                raise UsageError(
                    f"--{flag} is for annotations of segments, and {self.truth[0]} holds none"
                )

    @property
    def one_truth(self) -> Path:
        """The file of the truth, where there can be only one.

        Raises:
            UsageError: There are several.
        """
        if len(self.truth) > 1:
            raise UsageError(
                f"--truth names {counted(len(self.truth), 'file')}; several are for sentences, "
                "one file per person"
            )
        return next(iter(self.truth))


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a comparison found."""

    truth: str
    """The format of the truth, and which part of it."""
    facts: Mapping[str, Any]
    """Content of the JSON file: `metrics`, and what `eval` writes beside them."""
    tables: Sequence[RenderableType]
    notes: Sequence[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Paired(Generic[T]):
    """Results by the names of videos in the truth."""

    by_video: Mapping[str, T]
    """Results of videos that the truth has, by the name there."""
    outside: Mapping[str, T]
    """Results of other videos."""
    missing: Sequence[str]
    """Videos of the truth without results."""


def paired(
    results: Mapping[str, T], truth: Iterable[str], request: ScoreRequest, *, what: str = "video"
) -> Paired[T]:
    """Bring the names of two files together.

    A name fits with or without `v_` in front, and with or without the folder and the ending of the
    file.

    Raises:
        DataError: No name fits, or two results are of one video.
    """
    known = list(truth)
    exact = {name: name for name in known}
    by_stem: dict[str, str | None] = {}
    for name in known:
        for spelt in {*spellings(name), *spellings(video_of(name))}:
            by_stem[spelt] = name if by_stem.get(spelt, name) == name else None
    found: dict[str, T] = {}
    origin: dict[str, str] = {}
    outside: dict[str, T] = {}
    for name, one in results.items():
        own = exact.get(name) or _found(name, by_stem, known)
        if own is None:
            outside[name] = one
        elif own in found:
            raise DataError(
                f"{request.results}: {origin[own]!r} and {name!r} are both {own!r} of "
                f"{request.truth[0]}; keep one of them"
            )
        else:
            found[own], origin[own] = one, name
    if not found:
        raise DataError(
            f"{request.results}: none of its {counted(len(results), what)} is in "
            f"{request.truth[0]}: {few(map(repr, results), 3)} there, {few(map(repr, known), 3)} "
            "in the truth; are they of one data set, and of one part of it (--subset)?"
        )
    return Paired(found, outside, [name for name in known if name not in found])


def _found(name: str, by_stem: Mapping[str, str | None], known: Sequence[str]) -> str | None:
    for spelt in (*spellings(name), *spellings(video_of(name))):
        own = by_stem.get(spelt)
        if own is not None:
            return own
        if spelt in by_stem:  # several videos of one name: the folder tells
            parts = PurePosixPath(name.replace("\\", "/")).parts
            fits = [one for one in known if _same_end(PurePosixPath(one).parts, parts)]
            return fits[0] if len(fits) == 1 else None
    return None


def _same_end(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two paths end alike, in their folder too."""
    shared = min(len(one), len(other))
    if shared < 2:
        return False
    ends = [[*parts[-shared:-1], video_of(parts[-1])] for parts in (one, other)]
    return ends[0] == ends[1]


def pairing_notes(pairs: Paired[Any], *, outside: str, what: str = "video") -> list[str]:
    """Notes on what is in one of the two files only.

    Args:
        pairs: From `paired`.
        outside: What happens to results of videos that the truth lacks.
        what: What the names are.
    """
    notes: list[str] = []
    if pairs.outside:
        notes.append(
            f"{counted(len(pairs.outside), what)} of the results not in the truth, {outside}: "
            f"{few(pairs.outside)}"
        )
    if pairs.missing:
        notes.append(
            f"{counted(len(pairs.missing), what)} of the truth without results: "
            f"{few(pairs.missing)}"
        )
    return notes
