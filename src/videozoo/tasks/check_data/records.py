"""Check feature files of tagging models: every record, its values and its labels."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console

from videozoo.config import RunConfig
from videozoo.data.features.rated_segments import rated_segments
from videozoo.data.features.record_formats import find_records
from videozoo.data.features.records import FeatureRecord, RecordSet
from videozoo.data.record_survey import SEGMENTS_IGNORED, Survey, survey
from videozoo.data.tags import load_records
from videozoo.errors import DataError, counted, few
from videozoo.tasks.check_data.feature_survey import Values
from videozoo.tasks.check_data.findings import (
    MOST_STRANGE,
    STRANGE,
    Findings,
    refuse_write_good,
    report,
    spread_of,
)
from videozoo.tasks.check_data.parts import CheckRequest
from videozoo.types import FeatureShape, Tagging


@dataclass(frozen=True, kw_only=True)
class _Needs:
    """What a model requires of records."""

    num_classes: int | None = None
    shape: FeatureShape | None = None
    segments: bool = False
    """Segments are read in place of whole videos."""


@dataclass(kw_only=True)
class _Seen:
    """What was seen of all records."""

    values: dict[str, Values] = field(default_factory=dict[str, Values])
    """By stream."""
    frames: dict[str, int] = field(default_factory=dict[str, int])
    """Frames of each record, by its place."""
    labels: dict[str, int] = field(default_factory=dict[str, int])
    """Number of labels of each record, by its place."""
    rated: Counter[int] = field(default_factory=Counter[int])
    """Rated segments of records: ratings by class."""
    present: int = 0
    """Ratings that say that the class is there."""
    segments: int = 0
    """Rated segments."""
    outside: list[str] = field(default_factory=list[str])
    """Rated segments that start after the last frame of their record."""
    cut: list[str] = field(default_factory=list[str])
    """Rated segments that start in their record and end after it."""
    problems: list[str] = field(default_factory=list[str])
    """Ratings that cannot be used."""

    def look(self, where: str, record: FeatureRecord) -> None:
        """Look at one record."""
        place = f"{where} ({record.name})"
        self._look_at_ratings(place, record)
        self.frames[place] = max(map(len, record.streams.values()), default=0)
        self.labels[place] = len(record.labels or ())
        for stream, values in record.streams.items():
            if values.ndim == 2 and np.isfinite(values).all():
                self.values.setdefault(stream, Values()).look(place, values)

    def _look_at_ratings(self, place: str, record: FeatureRecord) -> None:
        try:
            segments = rated_segments(record, place)
        except DataError as error:
            self.problems.append(str(error))
            return
        frames = max(map(len, record.streams.values()), default=0)
        self.segments += len(segments)
        for one in segments:
            self.rated.update(one.labels)
            self.present += sum(one.present)
            if one.start >= frames:
                self.outside.append(f"{place}: from frame {one.start} of {frames}")
            elif one.end > frames:
                self.cut.append(f"{place}: frames {one.start} to {one.end - 1} of {frames}")


def run_records(request: CheckRequest, config: RunConfig | None, out: Console) -> None:
    """Read every record of the request, print a summary, write the requested file.

    Raises:
        DataError: Some record cannot be used.
        VideozooError: There is nothing to check, or the result cannot be written.
    """
    refuse_write_good(request)
    parts, needs = _parts(request, config)
    before: dict[str, set[str]] = {}
    found: list[Findings] = []
    for name, records in parts:
        seen = _Seen()
        surveyed = survey(
            records,
            num_classes=needs.num_classes,
            shape=needs.shape,
            most=None,
            on_record=seen.look,
        )
        found.append(_findings(name, records, surveyed, seen, needs, before))
        before[name] = set(surveyed.names)
    report(found, request, out, kind="records", what="the records")


def _parts(
    request: CheckRequest, config: RunConfig | None
) -> tuple[list[tuple[str, RecordSet]], _Needs]:
    path = request.path
    if config is None:
        assert path is not None
        return [(str(path), find_records(path))], _Needs()
    task, data = config.spec.task, config.data
    assert isinstance(task, Tagging)
    needs = _Needs(
        num_classes=config.model.num_classes,
        shape=task.feature_shape(config.model),
        segments=data.segments,
    )
    if path is not None:
        return [(str(path), find_records(path, root=data.root, kind=data.format))], needs
    parts = [
        (f"data.{part}", load_records(data, part))
        for part in ("train", "val", "test")
        if getattr(data, part) is not None
    ]
    if not parts:
        raise DataError(
            "this configuration names no features; name a file or folder of them, or "
            "--set data.train=PATH"
        )
    return parts, needs


def _findings(
    name: str,
    records: RecordSet,
    seen: Survey,
    values: _Seen,
    needs: _Needs,
    before: Mapping[str, set[str]],
) -> Findings:
    found = Findings(kind="records", name=name)
    files = counted(len(records.files), "file")
    found.lines.append(
        f"{counted(len(records), 'record')} in {files}; {seen.looked_at:,} can be used"
    )
    streams = ", ".join(f"{stream} ({n:,})" for stream, n in seen.streams.items())
    if streams:
        found.lines.append(f"streams, values per frame, numbers (records): {streams}")
    if values.frames:
        found.lines.append(f"frames: {spread_of(list(values.frames.values()))}")
    if seen.counts:
        low, high = min(seen.counts), max(seen.counts)
        each = spread_of(list(seen.counts.values()))
        found.lines.append(
            f"labels: {len(seen.counts):,} different ones from {low} to {high}, on {each} records"
        )
    if values.segments:
        ratings = values.rated.total()
        found.lines.append(
            f"rated segments: {values.segments:,} of {counted(seen.segment_rated, 'record')}, "
            f"{counted(ratings, 'rating')} of {counted(len(values.rated), 'class')}: "
            f"{values.present:,} present, {ratings - values.present:,} absent"
        )
    found.problems = [*seen.problems.values(), *_wrong_labels(seen, needs)]
    found.notes = [*_notes(seen, needs), *_shared(seen, before)]
    wrong_ratings = [*values.problems, *_wrong_ratings(values, needs)]
    if needs.segments:
        found.problems += wrong_ratings
    elif wrong_ratings:  # labels of whole videos can be used all the same
        found.notes.append(f"with data.segments: {few(wrong_ratings, between='; ')}")
    if values.outside:
        found.notes.append(
            f"{counted(len(values.outside), 'rated segment')} after the last frame of the record: "
            f"{few(values.outside)}"
        )
    if values.cut:
        found.notes.append(
            f"{counted(len(values.cut), 'rated segment')} beyond the end of the record, of which "
            f"only the frames that are there can be read: {few(values.cut)}"
        )
    for stream, looked in values.values.items():
        found.notes += [f"{stream}: {note}" for note in looked.notes()]
    found.strangest = list(_strange(values))[:MOST_STRANGE]
    found.facts = {
        "files": [str(file.path) for file in records.files],
        "records": len(records),
        "usable": seen.looked_at,
        "labelled": seen.labelled,
        "segment_rated": seen.segment_rated,
        "rated_segments": values.segments,
        "ratings": values.rated.total(),
        "ratings_present": values.present,
        "streams": {str(stream): n for stream, n in seen.streams.items()},
        "classes": {str(label): n for label, n in sorted(seen.counts.items())},
    }
    return found


def _strange(seen: _Seen) -> Iterator[str]:
    for what, counts in (("frame", seen.frames), ("label", seen.labels)):
        if len(set(counts.values())) < 2:
            continue
        usual = statistics.median(counts.values())
        for word, pick in (("most", max), ("fewest", min)):
            place = pick(counts, key=lambda place: counts[place])
            if max(counts[place], usual) > STRANGE * min(counts[place], usual):
                yield f"{word} {what}s: {place}, {counts[place]:,}, where the median is {usual:g}"
    for stream, values in seen.values.items():
        if len(values.largest) > 1:
            place = max(values.largest, key=lambda place: values.largest[place])
            usual = statistics.median(values.largest.values())
            if values.largest[place] > STRANGE * usual:
                yield (
                    f"largest value of {stream}: {place}, {values.largest[place]:.4g}, where the "
                    f"usual largest is {usual:.4g}"
                )


def _wrong_labels(seen: Survey, needs: _Needs) -> list[str]:
    if seen.too_large is None:
        return []
    where, label = seen.too_large
    most = "a class" if needs.num_classes is None else f"0 to {needs.num_classes - 1}"
    return [f"{where}: label {label}, expected {most}; the largest is {max(seen.counts)}"]


def _wrong_ratings(seen: _Seen, needs: _Needs) -> list[str]:
    wrong = [
        label
        for label in sorted(seen.rated)
        if label < 0 or (needs.num_classes is not None and label >= needs.num_classes)
    ]
    if not wrong:
        return []
    most = "a class" if needs.num_classes is None else f"0 to {needs.num_classes - 1}"
    return [f"ratings of segments: label {few(wrong)}, expected {most}"]


def _notes(seen: Survey, needs: _Needs) -> list[str]:
    notes: list[str] = []
    if seen.segment_rated and not needs.segments:
        notes.append(f"{seen.segment_rated:,} of {seen.looked_at:,} records: {SEGMENTS_IGNORED}")
    unlabelled = seen.looked_at - seen.labelled
    if unlabelled:
        notes.append(f"{unlabelled:,} of {counted(seen.looked_at, 'record')} have no label")
    never = sum(not seen.counts[label] for label in range(needs.num_classes or 0))
    if never and seen.labelled:
        notes.append(f"{never:,} of {counted(needs.num_classes or 0, 'class')} are on no record")
    if len(seen.counts) == 1:
        notes.append(f"all labels are of one class, {next(iter(seen.counts))}")
    if len(seen.streams) > 1 and any(n != seen.looked_at for n in seen.streams.values()):
        notes.append("not all records have the same streams")
    return notes


def _shared(seen: Survey, before: Mapping[str, set[str]]) -> list[str]:
    """Notes about videos that stand twice in a part, or also in another part."""
    lines: list[str] = []
    if repeated := [name for name, count in seen.names.items() if count > 1]:
        lines.append(f"{counted(len(repeated), 'name')} more than once, e.g. {repeated[0]}")
    for other, names in before.items():
        if shared := [name for name in seen.names if name in names]:
            lines.append(f"leak: {counted(len(shared), 'name')} also in {other}, e.g. {shared[0]}")
    return lines
