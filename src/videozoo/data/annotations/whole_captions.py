"""Captions of whole videos, which name no times: several per video, in the forms of data sets.

`sentences.FORMATS` holds the rows of `FORMATS` after those of sentences with times.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from videozoo.data.annotations.column_names import (
    SENTENCES,
    VIDEOS,
    Unit,
    column_of,
    time_columns,
    time_meaning,
)
from videozoo.data.annotations.segment_types import table_seconds
from videozoo.data.annotations.timed_sentences import ReadState, TimedSentence
from videozoo.data.formats import Format, TextFile
from videozoo.data.text import Table, delimiter_of, finite_number, integer, unused_times
from videozoo.errors import brief, counted, few

_LOOKED_AT = 10  # lines that tell captions from names of classes
_LETTER = re.compile(r"[^\W\d_]")
_LIKE_SENTENCE = re.compile(r"\S\s+\S|[.!?]\s*$")  # several words, or its end
_CLIP = re.compile(r"(\S{11}_\d+_\d+)\s+(\S.*)")  # of MSVD: name on YouTube, start, end
_MSVD = {"VideoID", "Start", "End", "Language", "Description"}
_VIDEO = ("video", "video_id", "image_id", "videoID")


def _whole(
    reading: ReadState, video: str, text: Any, place: str, *, subset: str | None = None
) -> Iterator[TimedSentence]:
    """The sentence, if it can be used."""
    if not video.strip():
        reading.problems.append(f"{place}: no name of a video")
    elif reading.is_sentence(text, place):
        yield TimedSentence(
            video=video.strip(),
            start_seconds=0.0,
            end_seconds=math.inf,
            sentence=" ".join(text.split()),
            where=f"{reading.path}: {place}",
            subset=subset,
            is_whole=True,
        )


def _object(file: TextFile) -> dict[str, Any]:
    return cast("dict[str, Any]", file.content) if isinstance(file.content, dict) else {}


def _entries(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


# --- JSON ------------------------------------------------------------------------------------


def _read_msrvtt(file: TextFile, reading: ReadState) -> Iterator[TimedSentence]:
    """Source: the data set's own readme (videodatainfo_2017.json)."""
    content = _object(file)
    subsets: dict[str, str | None] = {}
    for number, one in enumerate(_entries(content["videos"])):
        facts = cast("dict[str, Any]", one) if isinstance(one, dict) else {}
        name = facts.get("video_id")
        if name is None:
            reading.problems.append(f"video {number}: expected `video_id`, got {brief(one)}")
            continue
        split = facts.get("split")
        subsets[str(name)] = None if split is None else str(split)
        ends = finite_number(facts.get("start time")), finite_number(facts.get("end time"))
        if ends[0] is not None and ends[1] is not None and ends[1] > ends[0]:
            reading.durations[str(name)] = ends[1] - ends[0]  # the video is cut out of a longer one
    orphans: list[str] = []
    for number, one in enumerate(_entries(content["sentences"])):
        place = f"sentence {number}"
        facts = cast("dict[str, Any]", one) if isinstance(one, dict) else {}
        name = str(facts.get("video_id"))
        if name not in subsets:
            orphans.append(f"{place}: its video {name!r} is not among `videos`")
            continue
        yield from _whole(reading, name, facts.get("caption"), place, subset=subsets[name])
    _tell_orphans(reading, orphans, len(_entries(content["sentences"])))


def _is_vatex(record: Any) -> bool:
    return isinstance(record, dict) and {"videoID", "enCap"} <= record.keys()


def _read_vatex(file: TextFile, reading: ReadState) -> Iterator[TimedSentence]:
    """The Chinese captions are not read. Source: eric-xw.github.io/vatex-website."""
    chinese = 0
    for place, record in file.records:
        if not _is_vatex(record):
            reading.problems.append(f"{place}: expected `videoID` and `enCap`, got {brief(record)}")
            continue
        facts = cast("dict[str, Any]", record)
        chinese += len(_entries(facts.get("chCap")))
        for number, text in enumerate(_entries(facts["enCap"])):
            where = f"{place}: {facts['videoID']}: caption {number}"
            yield from _whole(reading, str(facts["videoID"]), text, where)
    if chinese:
        reading.notes.append(
            f"{reading.path}: {counted(chinese, 'caption')} in Chinese are not read, only English"
        )


def _read_coco(file: TextFile, reading: ReadState) -> Iterator[TimedSentence]:
    """A video is named by its `id`, as in results."""
    content = _object(file)
    names = {
        str(cast("dict[str, Any]", one).get("id")) if isinstance(one, dict) else ""
        for one in _entries(content["images"])
    }
    orphans: list[str] = []
    for number, one in enumerate(_entries(content["annotations"])):
        place = f"annotation {number}"
        facts = cast("dict[str, Any]", one) if isinstance(one, dict) else {}
        name = str(facts.get("image_id"))
        if name not in names:
            orphans.append(f"{place}: image_id {facts.get('image_id')!r} is not among `images`")
            continue
        yield from _whole(reading, name, facts.get("caption"), place)
    _tell_orphans(reading, orphans, len(_entries(content["annotations"])))


def _tell_orphans(reading: ReadState, orphans: Sequence[str], total: int) -> None:
    """Tell of sentences of videos that the file does not list: some are left out, most refused."""
    if not orphans:
        return
    text = f"{orphans[0]}; {len(orphans):,} of {counted(total, 'sentence')} are of such videos"
    if 2 * len(orphans) > total:
        reading.problems.append(text)
    else:
        reading.notes.append(f"{reading.path}: {text}; left out")


def _named(record: Any) -> str | None:
    """The name of the video of an entry of a list of captions; None if it is no such entry."""
    if not isinstance(record, dict) or "caption" not in record:
        return None
    facts = cast("dict[str, Any]", record)
    return next((str(facts[key]) for key in _VIDEO if facts.get(key) is not None), None)


def _read_list(file: TextFile, reading: ReadState) -> Iterator[TimedSentence]:
    """An entry may have one caption or a list of them."""
    for place, record in file.records:
        name = _named(record)
        if name is None:
            reading.problems.append(
                f"{place}: expected `image_id` or `video`, and `caption`, got {brief(record)}"
            )
            continue
        given: Any = cast("dict[str, Any]", record)["caption"]
        for text in given if isinstance(given, list) else [given]:
            yield from _whole(reading, name, text, f"{place}: {name}")


def _is_mapping(file: TextFile) -> bool:
    content = _object(file)
    listed = list(content.values())
    has_words = any(_LETTER.search(text) for value in listed for text in _texts(value))
    return has_words and all(_texts(value) or value == [] for value in listed)


def _texts(value: Any) -> list[str]:
    """One sentence or several; nothing for any other value."""
    listed = cast("list[Any]", value if isinstance(value, list) else [value])
    return cast("list[str]", listed) if all(isinstance(one, str) for one in listed) else []


def _read_mapping(file: TextFile, reading: ReadState) -> Iterator[TimedSentence]:
    for video, value in _object(file).items():
        for number, text in enumerate(_texts(value)):
            yield from _whole(reading, video, text, f"{video}: caption {number}")


# --- lines -----------------------------------------------------------------------------------


def _first_clip(file: TextFile) -> bool:
    first = next((line for _, line in file.lines if not line.startswith("#")), "")
    return "\t" not in first and _CLIP.fullmatch(first) is not None


def _read_msvd(file: TextFile, reading: ReadState) -> Iterator[TimedSentence]:
    """Lines of other captions; those that begin with `#` say something about the file.

    Source: cs.utexas.edu/users/ml/clamp/videoDescription, AllVideoDescriptions.txt.
    """
    for number, line in file.lines:
        if line.startswith("#"):
            continue
        found = _CLIP.fullmatch(line)
        if found is None:
            reading.problems.append(
                f"line {number}: expected `VIDEO_START_END caption`, got {line[:60]!r}"
            )
            continue
        yield from _whole(reading, found[1], found[2], f"line {number}")


def _is_pair(file: TextFile) -> bool:
    """Whether lines are a video and its caption; with a number or name they are of a clip list."""
    if file.is_json or file.first_line.count("\t") != 1:
        return False
    second = [line.partition("\t")[2] for _, line in file.lines[:_LOOKED_AT]]
    return integer(second[0].strip()) is None and any(map(_LIKE_SENTENCE.search, second))


def _read_pairs(file: TextFile, reading: ReadState) -> Iterator[TimedSentence]:
    for number, line in file.lines:
        fields = line.split("\t")
        if len(fields) != 2:
            reading.problems.append(
                f"line {number}: expected a video and its caption with a tab between them, got "
                f"{line[:60]!r}"
            )
            continue
        yield from _whole(reading, fields[0], fields[1], f"line {number}")


def _is_msvd_table(file: TextFile) -> bool:
    return file.columns >= _MSVD


def _read_msvd_table(file: TextFile, reading: ReadState) -> Iterator[TimedSentence]:
    """Each clip has its own file VideoID_Start_End; captions in other languages are not read."""
    others = 0
    rows = Table(file.path, file.text)
    for row in rows:
        if (row["Language"] or "").strip() != "English":
            others += 1
            continue
        name = "_".join((row[key] or "").strip() for key in ("VideoID", "Start", "End"))
        text = (row["Description"] or "").strip()
        if text:  # some rows of the data set have none
            yield from _whole(reading, name, text, f"line {rows.line_num}")
    if others:
        reading.notes.append(
            f"{reading.path}: {counted(others, 'caption')} not in English are not read"
        )


@dataclass(frozen=True)
class CaptionColumns:
    """The columns of a table of captions."""

    video: str
    caption: str
    subset: str | None
    times: tuple[Unit, str, str] | None
    """Unit, start and end; None for captions of whole videos."""
    lone: str | None
    """A start without an end, or an end without a start."""


def table_columns(heading: str) -> CaptionColumns | None:
    """The columns of a table of captions; None if it is no such table.

    >>> table_columns("video_id,caption").caption
    'caption'
    >>> table_columns("video,start,end,label")
    """
    try:
        rows = csv.reader([heading], delimiter=delimiter_of(heading), skipinitialspace=True)
        names = [name.strip() for name in next(rows, [])]
    except csv.Error:  # too long for a heading
        return None
    video, caption = column_of(names, (*VIDEOS, "image_id")), column_of(names, SENTENCES)
    if video is None or caption is None:
        return None
    times = time_columns(names)
    lone = next((name for name in names if times is None and time_meaning(name)), None)
    return CaptionColumns(video, caption, column_of(names, ("subset", "split")), times, lone)


def _read_table(file: TextFile, reading: ReadState) -> Iterator[TimedSentence]:
    """With columns of start and end the sentences have times: seconds, `mm:ss`, milliseconds."""
    columns = table_columns(file.heading)
    assert columns is not None
    rows = Table(file.path, file.text)
    if columns.lone is not None:
        reading.problems.append(
            f"line {rows.line_num}: a column {columns.lone!r} alone; expected `start` and `end`, "
            "or neither for captions of whole videos"
        )
        return
    unit, *ends = columns.times or ("seconds",)
    if unit == "frames":
        reading.problems.append(
            f"line {rows.line_num}: columns {few(map(repr, ends))} count frames, and the frame "
            "rate is not known; expected seconds"
        )
        return
    used = (columns.video, columns.caption, columns.subset, *ends)
    unused = [name for name in rows.fieldnames or () if name not in used]
    reading.notes += unused_times(file.path, unused, _times_of(ends))
    with_commas = delimiter_of(file.heading) != ","
    for row in rows:
        place = f"line {rows.line_num}"
        cells = {name: (row[name] or "").strip() for name in used if name is not None}
        video, caption = cells[columns.video], cells[columns.caption]
        subset = (cells[columns.subset] or None) if columns.subset else None
        if None in row:
            reading.problems.append(
                f"{place}: more fields than columns; a caption with a comma needs quotation marks"
            )
        elif not ends:
            yield from _whole(reading, video, caption, place, subset=subset)
        elif None in (times := [table_seconds(cells[n], unit, with_commas) for n in ends]):
            start, end = (cells[name] for name in ends)
            expected = "seconds or mm:ss" if unit == "seconds" else unit
            reading.problems.append(f"{place}: expected {expected}, got {start!r} and {end!r}")
        elif reading.is_sentence(caption, place):
            start, end = (time for time in times if time is not None)
            yield TimedSentence(
                video=video,
                start_seconds=start,
                end_seconds=end,
                sentence=" ".join(caption.split()),
                where=f"{reading.path}: {place}",
                subset=subset,
            )


def _times_of(ends: Sequence[str]) -> str:
    return " and ".join(ends) or (
        "columns such as start and end, start_s and end_s, start_ms and end_ms; without them the "
        "captions are of whole videos"
    )


FORMATS: tuple[Format[TextFile, Callable[[TextFile, ReadState], Iterator[TimedSentence]]], ...] = (
    Format(
        "MSR-VTT",
        lambda file: {"videos", "sentences"} <= _object(file).keys(),
        _read_msrvtt,
        '{"videos": [{"video_id": "a", "split": "train", "start time": 3, "end time": 12}], '
        '"sentences": [{"sen_id": 0, "video_id": "a", "caption": "A man runs."}]}',
        "videodatainfo_2017.json",
        about="captions of whole videos, with the split of each video",
        source="MSR-VTT, Xu et al., CVPR 2016: readme of the data set",
    ),
    Format(
        "VATEX",
        lambda file: any(_is_vatex(record) for _, record in file.records[:1]),
        _read_vatex,
        '[{"videoID": "a", "enCap": ["A man runs."]}]',
        "vatex_training_v1.0.json",
        about="captions of whole videos, a list per video; the English ones are read",
        source="https://eric-xw.github.io/vatex-website/download.html",
    ),
    Format(
        "COCO captions",
        lambda file: {"images", "annotations"} <= _object(file).keys(),
        _read_coco,
        '{"images": [{"id": "a"}], "annotations": [{"id": 0, "image_id": "a", '
        '"caption": "A man runs."}]}',
        "captions_val.json",
        about="captions of whole videos in the form of the COCO caption annotations",
        source="https://cocodataset.org/#format-data",
    ),
    Format(
        "list of captions, as COCO results",
        lambda file: any(_named(record) is not None for _, record in file.records[:1]),
        _read_list,
        '[{"image_id": "a", "caption": "A man runs."}]',
        "results.json",
        about="captions of whole videos; `video` or `video_id` may stand for `image_id`",
        source="https://cocodataset.org/#format-results",
    ),
    Format(
        "captions by video",
        _is_mapping,
        _read_mapping,
        '{"a": ["A man runs."]}',
        "captions.json",
        about="an object from video to its captions, or to its one caption",
    ),
    Format(
        "MSVD, its table",
        _is_msvd_table,
        _read_msvd_table,
        "VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description\n"
        "a,1,10,7,clean,30,English,A man runs.\n",
        "video_corpus.csv",
        about="captions of clips named VideoID_Start_End; the English ones are read",
        source="Microsoft Research Video Description Corpus: its CSV file",
    ),
    Format(
        "CSV of captions",
        lambda file: table_columns(file.heading) is not None,
        _read_table,
        "video,caption\na,A man runs.\n",
        "captions.csv",
        about="columns `video` and `caption`; with `start` and `end` in seconds or mm:ss, "
        "captions of events; `subset` or `split` if there are parts; commas, semicolons or tabs",
    ),
    Format(
        "MSVD",
        _first_clip,
        _read_msvd,
        "mv89psg6zh4_33_46 A man runs.\n",
        "AllVideoDescriptions.txt",
        about="lines of a clip, VIDEO_START_END, and its caption",
        source="https://www.cs.utexas.edu/users/ml/clamp/videoDescription/",
    ),
    Format(
        "captions with a tab after the video",
        _is_pair,
        _read_pairs,
        "a\tA man runs.\n",
        "sents_train_lc_nopunc.txt",
        about="lines of a video and its caption, as MSVD is given with S2VT",
        source="Venugopalan et al., ICCV 2015 (S2VT)",
    ),
)
"""Formats of captions of whole videos."""
