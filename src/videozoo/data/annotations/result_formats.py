"""Formats of results of models, ours and those of other people: what a file says of its videos.

`FORMATS`, at the end, is the table of known formats. Nothing here knows what is true.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from videozoo.data.annotations.caption_results import is_caption_results, read_caption_results
from videozoo.data.annotations.column_names import PATHS, plain_name
from videozoo.data.annotations.moment_results import (
    MomentAnswer,
    is_submission,
    read_submission,
)
from videozoo.data.annotations.segment_rankings import RANKINGS_HEADING
from videozoo.data.annotations.segment_results import Detection, class_scores_in, detections_in
from videozoo.data.annotations.segment_tables import table_columns, table_videos
from videozoo.data.annotations.segment_types import Reading, SegmentFile
from videozoo.data.annotations.timed_sentences import TimedSentence, TimedSentences
from videozoo.data.annotations.whole_captions import FORMATS as WHOLE_CAPTIONS
from videozoo.data.formats import Format, TextFile, format_of, unknown
from videozoo.data.text import Table, delimiter_of, finite_number, table_number
from videozoo.errors import DataError, brief

_PREDICTIONS = "predictions.json"
_YT8M = "VideoId,LabelConfidencePairs"
_BARE_NUMBER = re.compile(r"-?\d+", re.ASCII)
_LOOKED_AT = 10  # lines that are tried to find the format of a file
_WORD = re.compile(r"[^\W\d_]{2}")
_RANKING = re.compile(r"\d{1,9},\s*(\S+:\d+(\s+\S+:\d+)*)?", re.ASCII)
_MOMENT = ("start", "end", "score")


@dataclass(frozen=True)
class SegmentResults:
    """Segments of videos: detections if they have labels, else proposals."""

    by_video: Mapping[str, Sequence[Detection]]


@dataclass(frozen=True)
class LabelResults:
    """Scores of classes of whole videos."""

    by_video: Mapping[str, Mapping[str, float]]
    """Video -> class -> score; a class is a name, or the digits of a number."""
    is_tagging: bool = False
    """The format is of a data set whose videos have any number of classes each."""
    numbers: Mapping[str, int] = field(default_factory=dict[str, int])
    """Class -> its number, where the file has both."""
    numbered: bool = False
    """The classes are the places of the scores in a list, from 0."""


@dataclass(frozen=True)
class CaptionResults:
    """Sentences of events or of whole videos."""

    sentences: TimedSentences
    in_lines: bool = False
    """The file is a text with one sentence per line, and the videos are the numbers of its lines,
    from 1."""


@dataclass(frozen=True)
class MomentResults:
    """Moments found for sentences."""

    answers: Sequence[MomentAnswer]


@dataclass(frozen=True)
class SegmentRankings:
    """Segments that show a class, per class, the best first."""

    by_class: Mapping[int, Sequence[str]]
    """Number of the class -> segments VIDEO:START."""


AnyResults = SegmentResults | LabelResults | CaptionResults | MomentResults | SegmentRankings


def read_any_results(path: Path) -> tuple[str, AnyResults]:
    """Read results in any of `FORMATS`.

    Args:
        path: The file, or the folder that `videozoo predict` wrote.

    Returns:
        Name of the format, and the results.

    Raises:
        DataError: The file is missing, damaged, of no known format, or holds no results.
    """
    if path.is_dir():
        if not (path / _PREDICTIONS).is_file():
            raise DataError(
                f"{path}: a folder without {_PREDICTIONS}; name the file of results, or a folder "
                "that `videozoo predict` wrote"
            )
        path = _exact_file(path)
    file = TextFile(path)
    found = format_of(file, FORMATS)
    if found is None:
        content = file.content
        advice = ""
        if isinstance(content, dict) and "database" in content:
            advice = "These are annotations: name them with --truth, and results first."
        raise unknown(f"{path}: not results of a known kind: {file.seen}", FORMATS, advice)
    return found.name, found.read(file)


def _exact_file(folder: Path) -> Path:
    """The file of results in a folder of predictions, which are rounded; else the predictions."""
    content = TextFile(folder / _PREDICTIONS).content
    listed: Any = content.get("files") if isinstance(content, dict) else None
    for name in cast("list[Any]", listed) if isinstance(listed, list) else ():
        path = folder / str(name)
        if path.parent != folder or not path.is_file():
            continue
        is_json = path.suffix in (".json", ".jsonl")
        if is_json and format_of(TextFile(path), FORMATS) is not None:
            return path
        if path.suffix == ".csv" and _is_rankings(TextFile(path)):
            return path
    return folder / _PREDICTIONS


# --- JSON with `results` ---------------------------------------------------------------------


def _results_of(file: TextFile) -> dict[str, Any] | None:
    """The object `results`, if the file is JSON with one."""
    content = file.content
    results: Any = content.get("results") if isinstance(content, dict) else None
    return cast("dict[str, Any]", results) if isinstance(results, dict) and results else None


def _first_result(file: TextFile) -> Any:
    """The first entry of the first video that has one; None without any."""
    for listed in (_results_of(file) or {}).values():
        if isinstance(listed, list) and listed:
            return cast("list[Any]", listed)[0]
        if isinstance(listed, dict):
            return cast("dict[str, Any]", listed)
    return None


def _has_keys(value: Any, *keys: str) -> bool:
    return isinstance(value, dict) and set(keys) <= set(cast("dict[str, Any]", value))


def _is_detections(file: TextFile) -> bool:
    results = _results_of(file)
    if results is None:
        return False
    first = _first_result(file)
    only_empty = first is None and all(isinstance(one, list) for one in results.values())
    return _has_keys(first, "segment") or only_empty


def _read_detections(file: TextFile) -> SegmentResults:
    return SegmentResults(detections_in(file.path, _results_of(file) or {}))


def _read_class_scores(file: TextFile) -> LabelResults:
    names = cast("dict[str, Any]", file.content).get("class", [])
    return LabelResults(class_scores_in(file.path, _results_of(file) or {}, names))


def _is_class_scores(file: TextFile) -> bool:
    first = _first_result(file)
    if isinstance(first, dict):
        held = cast("dict[str, Any]", first)
        return _has_keys(held, "label", "score") or all(map(_is_number, held.values()))
    return _is_number(first) and _has_keys(file.content, "class")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- predictions.json of videozoo ------------------------------------------------------------


def _predictions(file: TextFile) -> list[dict[str, Any]]:
    content = file.content
    listed: Any = content.get("predictions") if isinstance(content, dict) else None
    rows = cast("list[Any]", listed) if isinstance(listed, list) else []
    return [row for row in rows if isinstance(row, dict) and row.get("video")]


def _is_own(file: TextFile, *keys: str, top: Sequence[str] = ()) -> bool:
    rows = _predictions(file)
    if not rows or not _has_keys(rows[0], *keys):
        return False
    best: Any = rows[0].get("top")
    return not top or (isinstance(best, list) and (not best or _has_keys(best[0], *top)))


def _objects_in(file: TextFile, row: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The list of objects under a key of a prediction; DataError if it is none."""
    listed: Any = row.get(key)
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise DataError(
            f"{file.path}: {brief(row['video'])}: `{key}` is {brief(listed)}, expected a list of "
            "objects"
        )
    return cast("list[dict[str, Any]]", listed)


def _own_segments(file: TextFile) -> SegmentResults:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in _predictions(file):
        video, own = str(row["video"]), list[dict[str, Any]]()
        for one in _objects_in(file, row, "segments"):
            if "start_seconds" not in one and "start" in one:
                raise DataError(
                    f"{file.path}: {video}: its length was not known, so that its times are "
                    "shares of the video, and truth is in seconds; predict again from features "
                    "that store their rate, or score a file in seconds"
                )
            ends = [one.get("start_seconds"), one.get("end_seconds")]
            own.append({**one, "segment": ends})
        found[video] = own
    return SegmentResults(detections_in(file.path, found))


def _own_labels(file: TextFile) -> LabelResults:
    """Names of files are the names of the videos; equal names are told apart by their paths."""
    found: dict[str, dict[str, float]] = {}
    numbers: dict[str, int] = {}
    for row in _predictions(file):
        path = str(row.get("path") or row["video"])
        scores: dict[str, float] = {}
        for one in _objects_in(file, row, "top"):
            name, score, label = one.get("class"), finite_number(one.get("score")), one.get("label")
            is_number = label is None or (isinstance(label, int) and not isinstance(label, bool))
            if name is None or score is None or not is_number:
                raise DataError(f"{file.path}: {path}: {brief(one)}, expected a class and a score")
            if str(name) in scores:
                raise DataError(f"{file.path}: {path}: has the class {brief(name)} twice")
            scores[str(name)] = score
            numbers |= {} if label is None else {str(name): label}
        found[path] = scores
    return LabelResults(found, numbers=numbers)


def _own_moments(file: TextFile) -> MomentResults:
    found: list[MomentAnswer] = []
    for number, row in enumerate(_predictions(file)):
        where = f"{file.path}: prediction {number}"
        if row.get("unit") != "seconds":
            raise DataError(
                f"{where}: moments in {row.get('unit')}, and truth is in seconds; predict again "
                "with data.rate"
            )
        top = _objects_in(file, row, "top")
        numbers = [[finite_number(one.get(key)) for key in _MOMENT] for one in top]
        if any(None in one for one in numbers):
            raise DataError(f"{where}: expected start, end and score of each moment")
        for start, end, _ in cast("list[list[float]]", numbers):
            if end < start:
                raise DataError(
                    f"{where}: a moment of {start:g} to {end:g} s ends before it starts"
                )
        table = np.array(numbers, np.float64).reshape(-1, len(_MOMENT))
        found.append(
            MomentAnswer(
                query="",
                video=str(row["video"]),
                sentence=str(row.get("sentence") or ""),
                moments=table[:, :2],
                scores=table[:, 2],
                where=where,
            )
        )
    return MomentResults(found)


def _read_qvhighlights(file: TextFile) -> MomentResults:
    return MomentResults(read_submission(file.path))


def _own_captions(file: TextFile) -> CaptionResults:
    found: list[TimedSentence] = []
    for number, row in enumerate(_predictions(file)):
        where = f"{file.path}: prediction {number}"
        start, end = (finite_number(row.get(key)) for key in ("start_seconds", "end_seconds"))
        if start is None or end is None or not isinstance(row.get("sentence"), str):
            raise DataError(f"{where}: expected start_seconds, end_seconds and a sentence")
        if end < start:
            raise DataError(f"{where}: {start:g} to {end:g} s ends before it starts")
        found.append(
            TimedSentence(
                video=str(row["video"]),
                start_seconds=start,
                end_seconds=end,
                sentence=" ".join(row["sentence"].split()),
                where=where,
            )
        )
    return CaptionResults(TimedSentences(file.path, tuple(found), {}).with_names())


# --- other JSON ------------------------------------------------------------------------------


def _is_plain_scores(file: TextFile) -> bool:
    """`{VIDEO: {CLASS: SCORE}}` or `{VIDEO: [SCORE, ...]}`."""
    content = file.content
    if not isinstance(content, dict) or not content:
        return False
    first: Any = next(iter(cast("dict[str, Any]", content).values()))
    values = cast("Any", first.values() if isinstance(first, dict) else first)
    return isinstance(first, dict | list) and bool(first) and all(map(_is_number, values))


def _plain_scores(file: TextFile) -> LabelResults:
    content = cast("dict[str, Any]", file.content)
    lengths = {len(one) for one in content.values() if isinstance(one, list)}
    if len(lengths) > 1:
        raise DataError(
            f"{file.path}: lists of {min(lengths)} to {max(lengths)} scores, expected one score "
            "per class in every list"
        )
    names = [str(number) for number in range(max(lengths, default=0))]
    found = class_scores_in(file.path, content, names)
    return LabelResults(found, numbered=bool(lengths))


# --- tables and lines ------------------------------------------------------------------------


def _is_yt8m(file: TextFile) -> bool:
    return file.heading.replace(" ", "").replace('"', "").lower() == _YT8M.lower()


def _read_yt8m(file: TextFile) -> LabelResults:
    found: dict[str, dict[str, float]] = {}
    for number, line in file.lines[1:]:
        where = f"{file.path}:{number}"
        video, comma, pairs = line.partition(",")
        fields = pairs.replace('"', "").split()
        scores = [finite_number(one) for one in fields[1::2]]
        labels = fields[0::2]
        is_right = len(labels) == len(scores) and all(map(_BARE_NUMBER.fullmatch, labels))
        if not comma or not is_right or None in scores:
            raise DataError(
                f"{where}: {brief(line)}, expected VIDEO,LABEL SCORE LABEL SCORE ... with class "
                "numbers"
            )
        if video in found:
            raise DataError(f"{where}: {video} is there twice")
        row = dict(zip(labels, cast("list[float]", scores), strict=True))
        if len(row) < len(labels):
            raise DataError(f"{where}: {video} has a class twice")
        found[video] = row
    if not found:
        raise DataError(f"{file.path}: holds no results")
    return LabelResults(found, is_tagging=True)


def _is_rankings(file: TextFile) -> bool:
    heading = file.first_line.replace(" ", "").lower()
    return heading == RANKINGS_HEADING.lower() or _RANKING.fullmatch(file.first_line) is not None


def _read_rankings(file: TextFile) -> SegmentRankings:
    found: dict[int, list[str]] = {}
    for number, line in file.lines:
        label, _, listed = line.partition(",")
        where, segments = f"{file.path}:{number}", listed.split()
        if _RANKING.fullmatch(line) is None:
            if number == file.lines[0][0]:  # a heading
                continue
            raise DataError(f"{where}: {brief(line)}, expected CLASS,VIDEO:START VIDEO:START ...")
        if int(label) in found:
            raise DataError(f"{where}: class {label} is there twice")
        if len(set(segments)) < len(segments):
            raise DataError(f"{where}: class {label} names a segment twice")
        found[int(label)] = segments
    if not found:
        raise DataError(f"{file.path}: holds no results")
    return SegmentRankings(found)


def _is_segment_table(file: TextFile) -> bool:
    if file.is_json:
        return False
    columns = table_columns(file.heading)
    return columns is not None and columns.score is not None


def _read_segment_table(file: TextFile) -> SegmentResults:
    """Segments of a table; without a column of labels they are proposals."""
    found: dict[str, list[dict[str, Any]]] = {}
    for video in table_videos(SegmentFile(file.path, Reading(needs_labels=False))):
        if any(one.in_frames for one in video.instances):
            raise DataError(f"{file.path}: its times are frames; expected start and end in seconds")
        found[video.name] = [
            {"segment": [one.start, one.end], "score": one.score, "label": one.label}
            for one in video.instances
        ]
    return SegmentResults(detections_in(file.path, found))


def _is_score_table(file: TextFile) -> bool:
    """A heading with the name of a video and of classes; all other cells are numbers."""
    if file.is_json or len(file.lines) < 2 or delimiter_of(file.heading) not in file.heading:
        return False
    try:
        rows = Table(file.path, file.text)
        names, first = rows.fieldnames or (), next(rows, {})
    except DataError:  # a cell without end
        return False
    is_named = bool(names) and plain_name(names[0]) in PATHS
    mark = delimiter_of(file.heading)
    scores = [table_number(first.get(name), mark) for name in names[1:]]
    return is_named and len(names) > 2 and None not in scores


def _read_score_table(file: TextFile) -> LabelResults:
    rows, mark = Table(file.path, file.text), delimiter_of(file.heading)
    names = list(rows.fieldnames or ())
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        where = f"{file.path}:{rows.line_num}"
        video = (row[names[0]] or "").strip()
        scores = {name.strip(): table_number(row[name], mark) for name in names[1:]}
        if not video or None in scores.values() or None in row:
            raise DataError(f"{where}: expected a video and {len(names) - 1} scores")
        if len(scores) < len(names) - 1:
            raise DataError(f"{file.path}: a class is there twice in the heading")
        if video in found:
            raise DataError(f"{where}: {video} is there twice")
        found[video] = cast("dict[str, float]", scores)
    return LabelResults(found)


def _thumos_fields(line: str) -> tuple[str, float, float, str, float] | None:
    """VIDEO START END CLASS SCORE; None if the line is something else."""
    fields = line.split()
    if len(fields) != 5:
        return None
    video, label = fields[0], fields[3]
    start, end, score = (finite_number(fields[place]) for place in (1, 2, 4))
    if start is None or end is None or score is None:
        return None
    return video, start, end, label, score


def _is_thumos(file: TextFile) -> bool:
    return not file.is_json and _thumos_fields(file.first_line) is not None


def _read_thumos(file: TextFile) -> SegmentResults:
    found: dict[str, list[Detection]] = {}
    for number, line in file.lines:
        fields = _thumos_fields(line)
        if fields is None:
            raise DataError(
                f"{file.path}:{number}: {brief(line)}, expected 'VIDEO START END CLASS SCORE'"
            )
        video, start, end, label, score = fields
        if end < start:
            raise DataError(
                f"{file.path}:{number}: a segment of {start:g} to {end:g} s ends before it starts"
            )
        found.setdefault(video, []).append(Detection(start, end, score, label))
    return SegmentResults(found)


# --- sentences -------------------------------------------------------------------------------


def _read_captions(file: TextFile) -> CaptionResults:
    return CaptionResults(read_caption_results(file.path))


def _is_whole_captions(file: TextFile) -> bool:
    return not file.is_folder and format_of(file, WHOLE_CAPTIONS) is not None


def _is_sentences(file: TextFile) -> bool:
    lines = file.lines[:_LOOKED_AT] if not file.is_json and not file.is_folder else []
    is_text = file.path.suffix.lower() in ("", ".txt")
    return is_text and bool(lines) and all(len(_WORD.findall(line)) > 1 for _, line in lines)


def _read_lines(file: TextFile) -> CaptionResults:
    return CaptionResults(sentences_in_lines(file.path), in_lines=True)


def sentences_in_lines(path: Path) -> TimedSentences:
    """Read a text with one sentence per line; the videos are the numbers of the lines, from 1.

    Raises:
        DataError: The file cannot be read, or a line between others is empty.
    """
    found: list[TimedSentence] = []
    for number, line in enumerate(TextFile(path).text.rstrip().split("\n"), 1):
        if not line.strip():
            raise DataError(f"{path}:{number}: an empty line, expected one sentence per line")
        found.append(
            TimedSentence(
                video=str(number),
                start_seconds=0.0,
                end_seconds=math.inf,
                sentence=" ".join(line.split()),
                where=f"{path}:{number}",
                is_whole=True,
            )
        )
    return TimedSentences(path, tuple(found), {})


FORMATS: tuple[Format[TextFile, Callable[[TextFile], AnyResults]], ...] = (
    Format(
        "ActivityNet results",
        _is_detections,
        _read_detections,
        '{"results": {"a": [{"segment": [1.0, 2.5], "score": 0.9, "label": "run"}]}}',
        "results.json",
        about="segments with scores: detections with labels, proposals without",
        source="ActivityNet challenge, Evaluation/eval_detection.py and eval_proposal.py",
        written="videozoo predict",
    ),
    Format(
        "ActivityNet Captions results",
        is_caption_results,
        _read_captions,
        '{"results": {"a": [{"sentence": "A man runs.", "timestamp": [1.0, 2.5]}]}}',
        "captions.json",
        about="sentences with times, for dense captioning",
        source="github.com/ranjaykrishna/densevid_eval",
        written="videozoo predict",
    ),
    Format(
        "ActivityNet classification results",
        _is_class_scores,
        _read_class_scores,
        '{"results": {"a": [{"label": "run", "score": 0.9}, {"label": "jump", "score": 0.1}]}}',
        "classes.json",
        about="scores of classes of whole videos",
        source="ActivityNet challenge, Evaluation/eval_classification.py",
    ),
    Format(
        "segments of videozoo",
        lambda file: _is_own(file, "segments"),
        _own_segments,
        '{"predictions": [{"video": "a", "segments": [{"start_seconds": 1.0, "end_seconds": 2.5, '
        '"score": 0.9, "label": "run"}]}]}',
        _PREDICTIONS,
        about="segments that a localiser found",
        written="videozoo predict",
    ),
    Format(
        "moments of videozoo",
        lambda file: _is_own(file, "top", "unit", top=("start", "end")),
        _own_moments,
        '{"predictions": [{"video": "a", "sentence": "A man runs.", "unit": "seconds", '
        '"top": [{"start": 1.0, "end": 2.5, "score": 0.9}]}]}',
        _PREDICTIONS,
        about="moments that were found for sentences",
        written="videozoo predict",
    ),
    Format(
        "captions of videozoo",
        lambda file: _is_own(file, "sentence", "start_seconds"),
        _own_captions,
        '{"predictions": [{"video": "a", "start_seconds": 1.0, "end_seconds": 2.5, '
        '"sentence": "A man runs."}]}',
        _PREDICTIONS,
        about="sentences for events",
        written="videozoo predict",
    ),
    Format(
        "classes of videozoo",
        lambda file: _is_own(file, "top", top=("class", "score")),
        _own_labels,
        '{"predictions": [{"video": "a", "top": [{"class": "run", "score": 0.9}]}]}',
        _PREDICTIONS,
        about="the best classes or tags of videos",
        written="videozoo predict",
    ),
    Format(
        "QVHighlights results",
        is_submission,
        _read_qvhighlights,
        '{"qid": 1, "query": "A man runs.", "vid": "a", '
        '"pred_relevant_windows": [[1.0, 2.5, 0.9]]}\n',
        "hl_val_submission.jsonl",
        about="moments that were found for sentences",
        source="github.com/jayleicn/moment_detr, standalone_eval",
    ),
    Format(
        "JSON of class scores",
        _is_plain_scores,
        _plain_scores,
        '{"a": {"run": 0.9, "jump": 0.1}}',
        "scores.json",
        about="video -> class -> score, or video -> one score per class in order",
    ),
    Format(
        "captions of whole videos, as COCO results",
        _is_whole_captions,
        _read_captions,
        '[{"image_id": "a", "caption": "a man runs"}]',
        "captions_results.json",
        about="one sentence per video; any form of captions of whole videos",
        source="github.com/tylin/coco-caption",
    ),
    Format(
        "YouTube-8M CSV",
        _is_yt8m,
        _read_yt8m,
        f"{_YT8M}\na,1 0.9 0 0.1\n",
        "predictions.csv",
        about="the best class numbers of each video, with their scores",
        source="github.com/google/youtube-8m, inference.py",
    ),
    Format(
        "YouTube-8M 2019, segments per class",
        _is_rankings,
        _read_rankings,
        f"{RANKINGS_HEADING}\n3,a:0 a:5\n",
        "submission.csv",
        about="segments of 5 s that show a class, VIDEO:START, the best first; one class per line",
        written="videozoo predict, with data.segments",
        source="github.com/google/youtube-8m, inference.py and segment_eval_inference.py",
    ),
    Format(
        "CSV of segments with scores",
        _is_segment_table,
        _read_segment_table,
        "video,start,end,label,score\na,1.0,2.5,run,0.9\n",
        "segments.csv",
        about="one segment per row, in seconds; proposals without `label`",
    ),
    Format(
        "CSV of class scores",
        _is_score_table,
        _read_score_table,
        "video,run,jump\na,0.9,0.1\n",
        "scores.csv",
        about="one video per row, one class per column",
    ),
    Format(
        "THUMOS14 detections",
        _is_thumos,
        _read_thumos,
        "a 1.0 2.5 run 0.9\n",
        "detections.txt",
        about="lines VIDEO START END CLASS SCORE; the class is a name, or its number in THUMOS14",
        source="THUMOS Challenge 2014, evaluation of temporal action detection",
    ),
    Format(
        "text, one sentence per line",
        _is_sentences,
        _read_lines,
        "a man runs\n",
        "hyp.txt",
        about="one sentence per line, in the order of the truth",
        source="github.com/Maluuba/nlg-eval",
    ),
)
"""Formats of results."""
