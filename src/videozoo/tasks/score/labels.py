"""Score classes of whole videos: accuracy, or the metrics of tagging."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videozoo.data.annotations.class_names import first_class_number, read_class_names
from videozoo.data.annotations.list_formats import list_rows
from videozoo.data.annotations.result_formats import LabelResults
from videozoo.data.annotations.sentences import FORMATS as SENTENCE_FORMATS
from videozoo.data.annotations.video_labels import FORMATS as LABEL_FORMATS
from videozoo.data.features.record_formats import find_records
from videozoo.data.formats import TextFile, format_of
from videozoo.data.text import integer, raise_all
from videozoo.errors import DataError, brief, counted, few
from videozoo.metrics.accuracy import AccuracyCounter
from videozoo.metrics.detection import DetectionCounter
from videozoo.metrics.tagging import TaggingCounter
from videozoo.report.tables import class_table, summary_table, tag_table
from videozoo.tasks.score.request import Scored, ScoreRequest, paired, pairing_notes
from videozoo.tasks.score.segments import part_of, read_truth
from videozoo.tasks.tagging.evaluation import classes_of
from videozoo.tasks.tagging.solving import certainty, figure

_TOP_K = 20  # classes per video in GAP, as YouTube-8M counts them
_CHUNK = 256  # videos at once: a table of scores has one column per class
_NO_LABELS = ("Charades-STA", "QVHighlights")  # text that a list of videos is told from
_RECORDS = (".tfrecord", ".tfrecords", ".pkl", ".pickle", ".npz")


@dataclass(frozen=True)
class _Truth:
    """True classes of videos."""

    name: str
    labels: Mapping[str, tuple[str, ...]]
    """Video -> its classes: names, or the digits of numbers."""
    is_tagging: bool = False
    """The format is of data sets whose videos have any number of classes each."""
    is_activitynet: bool = False
    """The classes are those of the segments of a video."""


def score_labels(results: LabelResults, request: ScoreRequest) -> Scored:
    """Measure classes of videos.

    Where each video has one true class: top-1, top-5, the mean over classes. Else GAP, Hit@1, PERR
    and MAP; against annotated segments, mAP and Hit@1 as in ActivityNet's code.

    Raises:
        DataError: The truth cannot be read, or the two files do not fit.
    """
    notes: list[str] = []
    truth = _truth(results, request, notes)
    pairs = paired(results.by_video, truth.labels, request)
    outside = "as wrong as other classes of a video" if truth.is_activitynet else "left out"
    notes += pairing_notes(pairs, outside=outside)
    if pairs.missing and not truth.is_activitynet:
        notes.append("only videos with results count")
    own, true, names = _same_names(results, truth, request, notes)
    rows = {video: _renamed(scores, own) for video, scores in pairs.by_video.items()}
    if truth.is_activitynet:
        rows |= {video: {} for video in pairs.missing}
    labels = {video: [true[label] for label in truth.labels[video]] for video in rows}
    places = {name: place for place, name in enumerate(names)}
    table = _Table(rows, {v: [places[one] for one in many] for v, many in labels.items()}, names)
    single = all(len(set(many)) == 1 for many in labels.values())
    used, total = len(pairs.by_video), len(truth.labels)
    facts: dict[str, Any] = {"kind": "classes", "videos": used, "videos_labelled": total}
    facts |= {"videos_outside": list(pairs.outside), "missing": list(pairs.missing)}
    title = f"{truth.name} ({counted(total, 'video')})"
    if truth.is_activitynet:
        beyond = {name: _renamed(scores, own) for name, scores in pairs.outside.items()}
        found = _as_activitynet(table, beyond)
        shown = [summary_table(found["metrics"], used=used, total=total)]
        notes.append("mAP as in ActivityNet's eval_classification.py, videos without results too")
    elif single and not (truth.is_tagging or results.is_tagging):
        found, shown = _accuracy(table, notes, total)
    else:
        found = _tagging(table)
        shown = [summary_table(found["metrics"], used=used, total=total)]
        shown.append(tag_table(found["classes"]))
    return Scored(truth=title, facts={**facts, **found}, tables=shown, notes=notes)


# --- the metrics -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """Scores and true classes of the same videos."""

    rows: Mapping[str, Mapping[str, float]]
    labels: Mapping[str, list[int]]
    names: Sequence[str]

    def chunks(self) -> Iterable[tuple[np.ndarray, list[list[int]]]]:
        """Scores (N, C), minus infinity where a file has none, and the true classes."""
        places = {name: place for place, name in enumerate(self.names)}
        videos = list(self.rows)
        for start in range(0, len(videos), _CHUNK):
            part = videos[start : start + _CHUNK]
            scores = np.full((len(part), len(places)), -np.inf)
            for row, video in zip(scores, part, strict=True):
                for name, score in self.rows[video].items():
                    row[places[name]] = score
            yield scores, [self.labels[video] for video in part]


def _accuracy(table: _Table, notes: list[str], total: int) -> tuple[dict[str, Any], list[Any]]:
    counter = AccuracyCounter(len(table.names), with_confusion=False)
    for scores, labels in table.chunks():
        counter.update(scores, [many[0] for many in labels])
    metrics = counter.summary()
    least = min(map(len, table.rows.values()))
    if "top5" in metrics and least < 5:
        del metrics["top5"]
        notes.append(f"no top-5: the results list only {counted(least, 'class')} of some videos")
    counts = {one.label: one.total for one in counter.per_class()}
    sure = certainty(metrics, counts)
    if sure:
        text = figure(metrics["top1"], sure["interval"], sure["chance"], sure["videos"])
        notes.append(f"top-1 {text}")
    facts = {
        "metrics": metrics,
        **({"certainty": sure} if sure else {}),
        "classes": [
            {"class": table.names[row.label], "videos": row.total, "right": row.hits}
            for row in counter.per_class()
        ],
    }
    summary = summary_table(metrics, used=counter.total, total=total)
    return facts, [summary, class_table(counter.per_class(), table.names)]


def _tagging(table: _Table) -> dict[str, Any]:
    counter = _counted(table)
    return {"metrics": counter.summary(), "classes": classes_of(counter, list(table.names))}


def _counted(table: _Table) -> TaggingCounter:
    counter = TaggingCounter(len(table.names), _TOP_K)
    for scores, labels in table.chunks():
        counter.update(scores, labels)
    return counter


def _as_activitynet(table: _Table, beyond: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """A class of a video is a detection of the whole video: then mAP is that of detections.

    Args:
        table: Videos of the truth.
        beyond: Results of other videos, which are wrong.
    """
    whole = {video: [(0.0, 1.0)] * len(many) for video, many in table.labels.items()}
    counter = DetectionCounter(whole, table.labels, tious=[0.5])
    places = {name: place for place, name in enumerate(table.names)}
    for video, row in {**beyond, **table.rows}.items():
        spans = np.tile([0.0, 1.0], (len(row), 1))
        counter.update(video, spans, list(row.values()), [places[name] for name in row])
    result = counter.result()
    metrics = {"map": result.mean_ap, "hit_at_one": _counted(table).hit_at_one}
    classes = zip(result.classes.tolist(), result.ap[0].tolist(), strict=True)
    return {
        "metrics": metrics,
        "classes": [{"class": table.names[number], "ap": ap} for number, ap in classes],
    }


# --- the truth -------------------------------------------------------------------------------


def _truth(results: LabelResults, request: ScoreRequest, notes: list[str]) -> _Truth:
    """Read true classes: records, annotated segments, CSV of YouTube-8M, JSON, or lists."""
    path = request.one_truth
    if path.is_dir() or path.suffix.lower() in _RECORDS or "*" in path.name:
        request.check_reading_unused()
        return _from_records(path)
    file = TextFile(path)
    content = file.content
    if isinstance(content, dict) and "database" in content:
        every, _ = read_truth(path, request, [])
        chosen, name = part_of(every, results.by_video, request, notes)
        labels = {
            one.video: tuple(dict.fromkeys(each.label for each in one.instances))
            for one in chosen.videos
        }
        used = {video: many for video, many in labels.items() if many}
        return _Truth(name.rpartition(" (")[0], used, is_activitynet=True)
    request.check_reading_unused()
    if request.subset is not None:
        raise DataError(f"--subset {request.subset}: {path} has no subsets")
    if file.heading.replace(" ", "").lower().startswith("videoid,"):
        return _from_yt8m(file)
    if isinstance(content, dict) and content:
        return _from_json(file)
    said = format_of(file, SENTENCE_FORMATS)
    if said is not None and said.name in _NO_LABELS:
        raise DataError(
            f"{path}: {said.name}, which has no classes of videos, but {request.results} has "
            "scores of classes; name a list of videos with their classes"
        )
    return _from_list(path)


def _from_json(file: TextFile) -> _Truth:
    found: dict[str, tuple[str, ...]] = {}
    for row in LABEL_FORMATS[0].read(file):
        if any(isinstance(one, bool) or not isinstance(one, int | str) for one in row.labels):
            raise DataError(
                f"{row.where}: {brief(row.text)}, expected the classes of the video: names or "
                "numbers"
            )
        found[row.video] = tuple(map(str, row.labels))
    return _Truth("JSON of labels", found)


def _from_records(path: Path) -> _Truth:
    records = find_records(path)
    found: dict[str, tuple[str, ...]] = {}
    for number in range(len(records)):
        record = records.read(number)
        if record.labels is None:
            raise DataError(f"{records.where_named(number, record.name)}: has no labels")
        found[record.name] = tuple(map(str, record.labels))
    records.close()
    return _Truth("records of features", found, is_tagging=True)


def _from_yt8m(file: TextFile) -> _Truth:
    """Rows VIDEO,LABEL LABEL ...; or the form of predictions, whose scores are left out."""
    has_scores = "confidence" in file.heading.lower()
    found: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    for number, line in file.lines[1:]:
        video, _, rest = line.partition(",")
        labels = rest.replace('"', "").split()
        labels = labels[::2] if has_scores else labels
        if not video or any(integer(one) is None for one in labels):
            problems.append(
                f"{file.path}:{number}: expected VIDEO,LABEL LABEL ..., got {line[:80]!r}"
            )
        found[video] = tuple(labels)
    raise_all(file.path, problems)
    return _Truth("CSV of YouTube-8M", found, is_tagging=True)


def _from_list(path: Path) -> _Truth:
    found: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    for row in list_rows(path, None):
        labels = row.every_label
        where = f"{path}:{row.number}"
        if row.problem or not row.path or not labels:
            problems.append(f"{where}: {row.problem or 'expected a video and its class'}")
        elif found.setdefault(row.path, labels) != labels:
            problems.append(f"{where}: {row.path} has other labels before")
    raise_all(path, problems)
    if not found:
        raise DataError(f"{path}: names no video with its class")
    return _Truth("list of videos", found)


# --- one set of names for the classes --------------------------------------------------------


def _same_names(
    results: LabelResults, truth: _Truth, request: ScoreRequest, notes: list[str]
) -> tuple[Mapping[str, str], Mapping[str, str], list[str]]:
    """Bring the classes of both files to one set of names.

    Returns:
        Class of the results -> its name; class of the truth -> its name; all names, in order.
    """
    ours = dict.fromkeys(name for row in results.by_video.values() for name in row)
    theirs = Counter(name for many in truth.labels.values() for name in many)
    numbered_ours = all(integer(name) is not None for name in ours)
    numbered_theirs = all(integer(name) is not None for name in theirs)
    own, true = {name: name for name in ours}, {name: name for name in theirs}
    if numbered_theirs:
        true = {name: str(int(name) - request.first_label) for name in theirs}
        low = next((name for name, to in true.items() if int(to) < 0), None)
        if low is not None:
            raise DataError(
                f"{request.truth[0]}: class {low}, below --first-label {request.first_label}"
            )
    if numbered_ours and not numbered_theirs:
        names = _names(request, "the results have numbers and the truth has names")
        own = {name: names.get(name, name) for name in ours}
    elif numbered_theirs and not numbered_ours:
        if request.class_names is not None or not results.numbers:
            names = _names(request, "the truth has numbers and the results have names")
        else:
            names = {str(number): name for name, number in results.numbers.items()}
        true = {name: names.get(to, to) for name, to in true.items()}
    known, wanted = set(own.values()), set(true.values())
    _compare(known, wanted, theirs, true, results, request, notes)
    both = numbered_theirs and numbered_ours and not request.first_label
    if both and "0" in known and "0" not in wanted:
        notes.append("no video of the truth has class 0; if its first class is 1: --first-label 1")
    every = known | wanted
    if all(integer(name) is not None for name in every):
        highest = max(map(int, every))
        names_in_order = [str(number) for number in range(highest + 1)]
    else:
        names_in_order = sorted(every)
    return own, true, names_in_order


def _names(request: ScoreRequest, why: str) -> dict[str, str]:
    if request.class_names is None:
        raise DataError(
            f"{request.results} and {request.truth[0]}: {why}; name the classes: --class-names FILE"
        )
    names = read_class_names(request.class_names)
    first = first_class_number(request.class_names) or 0
    return {str(first + number): name for number, name in enumerate(names)}


def _compare(
    known: set[str],
    wanted: set[str],
    counts: Mapping[str, int],
    true: Mapping[str, str],
    results: LabelResults,
    request: ScoreRequest,
    notes: list[str],
) -> None:
    """Refuse classes that do not fit, and note what only one of the files has."""
    lost = sorted(wanted - known)
    lengths = {len(row) for row in results.by_video.values()}
    is_full = lengths == {len(known)} and len(results.by_video) > 1
    lists_all = results.numbered or (is_full and not results.is_tagging)
    missed = sum(count for name, count in counts.items() if true[name] in lost)
    if lost and (lists_all or 2 * missed > sum(counts.values())):
        shift = ""
        if all(integer(name) is not None for name in known | wanted) and "0" not in wanted:
            shift = "; if the first class of the truth is 1: --first-label 1"
        raise DataError(
            f"{request.truth[0]}: {counted(len(lost), 'class')} that {request.results} does not "
            f"have: {few(map(repr, lost))}; there it has {few(map(repr, sorted(known)))}{shift}"
        )
    if lost:
        notes.append(
            f"{counted(len(lost), 'class')} of the truth not in the results, never found: "
            f"{few(map(repr, lost))}"
        )
    extra = sorted(known - wanted)
    if extra:
        notes.append(
            f"{counted(len(extra), 'class')} of the results not in the truth: "
            f"{few(map(repr, extra))}"
        )


def _renamed(scores: Mapping[str, float], names: Mapping[str, str]) -> dict[str, float]:
    return {names[name]: score for name, score in scores.items()}
