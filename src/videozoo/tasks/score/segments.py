"""Score segments: proposals and detections, as ActivityNet's evaluation does."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from videozoo.data.annotations.class_names import first_class_number, read_class_names
from videozoo.data.annotations.result_formats import SegmentResults
from videozoo.data.annotations.segment_formats import FORMATS, raw_videos
from videozoo.data.annotations.segment_results import Detection
from videozoo.data.annotations.segment_types import video_of
from videozoo.data.annotations.segments import (
    AMBIGUOUS,
    Annotation,
    Annotations,
    read_annotations,
    read_durations,
)
from videozoo.data.formats import TextFile, format_of
from videozoo.data.lengths import Stretch, check_ends
from videozoo.data.text import integer, of_video, spellings
from videozoo.errors import DataError, UsageError, counted, few
from videozoo.metrics.detection import THUMOS_TIOUS, DetectionCounter
from videozoo.metrics.proposals import ACTIVITYNET_TIOUS, ProposalCounter
from videozoo.settings.segments import SequenceEval
from videozoo.tasks.localisation.evaluation import tables
from videozoo.tasks.localisation.measures import (
    Truth,
    detections_measured,
    proposals_measured,
)
from videozoo.tasks.localisation.pages import tie_line
from videozoo.tasks.score.request import Paired, Scored, ScoreRequest, paired, pairing_notes

_SECONDS = "Times of results must be in seconds."
_FAR = 3.0  # times the last annotated end, where the length of the video is not known

THUMOS_CLASSES: Mapping[int, str] = {
    7: "BaseballPitch",
    9: "BasketballDunk",
    12: "Billiards",
    21: "CleanAndJerk",
    22: "CliffDiving",
    23: "CricketBowling",
    24: "CricketShot",
    26: "Diving",
    31: "FrisbeeCatch",
    33: "GolfSwing",
    36: "HammerThrow",
    40: "HighJump",
    45: "JavelinThrow",
    51: "LongJump",
    68: "PoleVault",
    79: "Shotput",
    85: "SoccerPenalty",
    92: "TennisSwing",
    93: "ThrowDiscus",
    97: "VolleyballSpiking",
}
"""Numbers of the classes of THUMOS14 in result files: their places in UCF101, from 1."""


def score_segments(results: SegmentResults, request: ScoreRequest) -> Scored:
    """Measure segments: AR@AN and AUC, and with labels also mAP and what is wrong.

    Raises:
        DataError: The truth cannot be read, or the two files do not fit.
    """
    notes: list[str] = []
    path = request.one_truth
    labels = _labels_of(results, request)
    truth, has_lengths = read_truth(path, request, notes)
    whole = [one.video for one in truth.videos]
    truth, part = part_of(truth, results.by_video, request, notes)
    by_name = {one.video: one for one in truth.videos}
    pairs = paired(results.by_video, by_name, request)
    if pairs.outside and len(whole) > len(by_name):
        pairs = _without_other_parts(pairs, whole, notes)
    notes += pairing_notes(
        pairs, outside="as wrong as any other segment that fits nothing, as in ActivityNet's code"
    )
    _check_times(pairs, by_name, request, has_lengths, notes)
    known = Truth.of(truth, truth.videos)
    durations = known.durations if has_lengths else None
    is_thumos = part.startswith(("THUMOS", "MultiTHUMOS")) or not (
        set(truth.class_names) - set(THUMOS_CLASSES.values())
    )
    tious = request.tious or (THUMOS_TIOUS if is_thumos and labels else ACTIVITYNET_TIOUS)
    views = SequenceEval(tious=tious)
    counter = ProposalCounter(known.segments, durations_seconds=durations, tious=views.tious)
    for video, found in _all(pairs):
        counter.update(video, _segments(found), [one.score for one in found])
    measured = proposals_measured(counter, views, by_coverage=has_lengths)
    if labels:
        numbers = _numbers(labels, truth, request, notes)
        detector = DetectionCounter(
            known.segments, known.labels, durations_seconds=durations, tious=views.tious
        )
        for video, found in _all(pairs):
            own = [numbers[str(one.label)] for one in found]
            detector.update(video, _segments(found), [one.score for one in found], own)
        metrics, measured.detections, ties = detections_measured(
            detector, truth.class_names, by_coverage=has_lengths
        )
        measured.metrics, measured.ties = metrics | measured.metrics, ties + measured.ties
        if not request.tious:
            notes.append(f"mAP at tIoU {_named(tious)}; others with --tious")
    facts = {
        "kind": "detections" if labels else "proposals",
        "videos": len(pairs.by_video),
        "videos_annotated": len(by_name),
        "videos_outside": list(pairs.outside),
        "missing": list(pairs.missing),
        "tious": list(views.tious),
        "metrics": measured.metrics,
        "curve": measured.curve,
        "by_length": measured.by_length,
        "by_coverage": measured.by_coverage,
        "detections": measured.detections,
        "ties": measured.ties,
    }
    notes += map(tie_line, measured.ties)
    return Scored(truth=part, facts=facts, tables=list(tables(facts)), notes=notes)


def _named(tious: Sequence[float]) -> str:
    return f"{tious[0]:g}, {tious[1]:g} ... {tious[-1]:g}" if len(tious) > 2 else f"{tious}"


def _all(
    pairs: Paired[Sequence[Detection]],
) -> Iterable[tuple[str, Sequence[Detection]]]:
    yield from pairs.by_video.items()
    yield from pairs.outside.items()


def _segments(found: Sequence[Detection]) -> np.ndarray:
    times = [(one.start_seconds, one.end_seconds) for one in found]
    return np.array(times, np.float64).reshape(-1, 2)


# --- the truth -------------------------------------------------------------------------------


def read_truth(path: Path, request: ScoreRequest, notes: list[str]) -> tuple[Annotations, bool]:
    """The annotations, and whether the lengths of all videos are known."""
    given = {} if request.durations is None else read_durations(request.durations)
    videos = raw_videos(path, request.reading)
    without = [
        one.name
        for one in videos
        if one.duration is None and of_video(one.name, given) is None and one.num_frames is None
    ]
    given_labels = [each.label for one in videos for each in one.instances]
    labels = {label for label in given_labels if isinstance(label, str | int)}  # others are refused
    ignored = [name for name in (AMBIGUOUS,) if {name, -1} & labels]
    names = None
    if request.class_names is not None and all(isinstance(label, int) for label in labels):
        names = read_class_names(request.class_names)
    if ignored:
        notes.append(f"segments labelled {AMBIGUOUS!r} in the truth are left out")
    unknown = dict.fromkeys(without, math.inf)
    try:
        found = read_annotations(
            path,
            bad_segments="clip",
            durations={**given, **unknown},
            class_names=names,
            ignored_classes=ignored,
            frames_per_second=request.frames_per_second,
            reading=request.reading,
        )
    except DataError as error:
        text = str(error).replace("name a file of durations", "name a file of them: --durations")
        raise DataError(text) from None
    if without:
        notes.append(
            f"the truth has no length of {counted(len(without), 'video')}: nothing by the share of "
            "the video, and times of results are checked roughly (--durations FILE)"
        )
    return found, not without


def part_of(
    truth: Annotations, results: Mapping[str, object], request: ScoreRequest, notes: list[str]
) -> tuple[Annotations, str]:
    """The part of the truth that results are of, by their videos, and what it is called."""
    file = TextFile(truth.path)
    form = format_of(file, FORMATS)
    name = "annotations" if form is None else form.name
    counts = Counter(one.subset for one in truth.videos)
    if request.subset is not None:
        if set(counts) == {None}:
            raise UsageError(f"--subset {request.subset}: {truth.path} has no subsets")
        chosen = truth.of_subset(request.subset)
        return chosen, f"{name}, {request.subset} ({counted(len(chosen), 'video')})"
    if len(counts) == 1:
        return truth, f"{name} ({counted(len(truth), 'video')})"
    pairs = paired(results, [one.video for one in truth.videos], request)
    used = Counter(one.subset for one in truth.videos if one.video in pairs.by_video)
    held = ", ".join(f"{subset} ({count:,})" for subset, count in counts.items())
    if len(used) > 1 or None in used:
        mixed = ", ".join(f"{count:,} of {subset}" for subset, count in used.items())
        raise DataError(
            f"{truth.path}: has several subsets: {held}; the results are of {mixed}; choose what "
            "to score: --subset NAME"
        )
    subset = next(iter(used))
    notes.append(
        f"the truth has the subsets {held}; all results are of {subset}, and only it counts "
        "(--subset NAME)"
    )
    videos = tuple(one for one in truth.videos if one.subset == subset)
    chosen = replace(truth, videos=videos)
    return chosen, f"{name}, {subset} ({counted(len(chosen), 'video')})"


def _without_other_parts(
    pairs: Paired[Sequence[Detection]],
    whole: Sequence[str],
    notes: list[str],
) -> Paired[Sequence[Detection]]:
    """Leave out results of videos that are in other subsets of the truth."""
    known = {name for one in whole for name in spellings(one)}
    left_out = [name for name in pairs.outside if name in known or video_of(name) in known]
    if left_out:
        notes.append(
            f"results of {counted(len(left_out), 'video')} of other subsets are left out: "
            f"{few(left_out)}"
        )
    outside = {name: found for name, found in pairs.outside.items() if name not in left_out}
    return replace(pairs, outside=outside)


# --- labels ----------------------------------------------------------------------------------


def _labels_of(results: SegmentResults, request: ScoreRequest) -> Counter[str]:
    """How often each label is used; empty for proposals.

    Raises:
        DataError: Only some of the segments have a label.
    """
    every = [one.label for found in results.by_video.values() for one in found]
    unnamed = sum(label is None for label in every)
    if unnamed and unnamed < len(every):
        raise DataError(
            f"{request.results}: {unnamed:,} of {counted(len(every), 'segment')} have no label, "
            "unlike the others; detections have a label each, proposals have none"
        )
    return Counter(label for label in every if label is not None)


def _numbers(
    labels: Mapping[str, int], truth: Annotations, request: ScoreRequest, notes: list[str]
) -> dict[str, int]:
    """Label of results -> number of the class in the truth, or a number beyond all of them."""
    numbers = {name: number for number, name in enumerate(truth.class_names)}
    names = _names_of_numbers(labels, numbers, request, notes)
    found = {label: numbers.get(names.get(label, label)) for label in labels}
    unknown = [label for label, number in found.items() if number is None]
    lost = sum(labels[label] for label in unknown)
    if unknown and 2 * lost > sum(labels.values()):
        raise DataError(
            f"{request.results}: {lost:,} of {sum(labels.values()):,} segments have a label that "
            f"{truth.path} does not have: {few(map(repr, unknown))}; there it has "
            f"{few(map(repr, truth.class_names))}; if one of the two files has numbers, name the "
            "classes: --class-names FILE"
        )
    if unknown:
        notes.append(
            f"{counted(len(unknown), 'label')} of the results not in the truth, with "
            f"{counted(lost, 'segment')} that count in no class: {few(map(repr, unknown))}"
        )
    used = {number for number in found.values() if number is not None}
    annotated = {one.label for video in truth.videos for one in video.instances}
    without = [
        name for name in truth.class_names if name in annotated and numbers[name] not in used
    ]
    if without:
        notes.append(
            f"{counted(len(without), 'class')} of the truth without a segment in the results, "
            f"each with an average precision of 0: {few(map(repr, without))}"
        )
    beyond = len(numbers)  # a class without truth, which counts in no mean
    return {label: beyond if number is None else number for label, number in found.items()}


def _names_of_numbers(
    labels: Mapping[str, int],
    known: Mapping[str, int],
    request: ScoreRequest,
    notes: list[str],
) -> dict[str, str]:
    """Digits -> name of the class, where results have numbers and the truth has names."""
    if all(label in known for label in labels):
        return {}
    if any(integer(label) is None for label in labels):
        return {}
    in_thumos = {str(number): name for number, name in THUMOS_CLASSES.items()}
    is_thumos = sum(name in known for name in in_thumos.values()) > len(known) // 2
    if is_thumos and all(label in in_thumos for label in labels):
        notes.append("numbers of classes in the results are read as those of THUMOS14 (7 to 97)")
        return in_thumos
    if request.class_names is not None:
        names = read_class_names(request.class_names)
        first = first_class_number(request.class_names) or 0
        return {str(first + number): name for number, name in enumerate(names)}
    return {}


# --- times -----------------------------------------------------------------------------------


def _check_times(
    pairs: Paired[Sequence[Detection]],
    truth: Mapping[str, Annotation],
    request: ScoreRequest,
    has_lengths: bool,
    notes: list[str],
) -> None:
    """Refuse results in frames or in shares of the video."""
    ends = [one.end_seconds for found in pairs.by_video.values() for one in found]
    if not ends:
        raise DataError(f"{request.results}: no segments of any video of the truth")
    annotated = [one.end_seconds for video in pairs.by_video for one in truth[video].instances]
    longest = max(annotated, default=0.0)
    if max(ends) <= 1 + 1e-6 and annotated and np.median(annotated) > 2:
        raise DataError(
            f"{request.results}: all segments end within the first second, and those of the truth "
            f"as late as {longest:g} s; are they shares of the video? {_SECONDS}"
        )
    if has_lengths:
        stretches = [
            Stretch(
                f"{video}: result {number}",
                one.start_seconds,
                one.end_seconds,
                truth[video].duration_seconds,
            )
            for video, found in pairs.by_video.items()
            for number, one in enumerate(found)
        ]
        check_ends(stretches, source=request.results, advice=_SECONDS, warn=notes.append)
    else:
        late = sum(
            one.end_seconds > _FAR * max(each.end_seconds for each in truth[video].instances)
            for video, found in pairs.by_video.items()
            if truth[video].instances
            for one in found
        )
        if 2 * late > len(ends):
            raise DataError(
                f"{request.results}: {late:,} of {counted(len(ends), 'segment')} end later than "
                f"{_FAR:g} times the last annotated end of their video; are they in frames? "
                f"{_SECONDS}"
            )
    backwards = sum(
        one.end_seconds <= one.start_seconds for found in pairs.by_video.values() for one in found
    )
    if backwards:
        notes.append(
            f"{counted(backwards, 'segment')} of the results end before they start, and fit nothing"
        )
