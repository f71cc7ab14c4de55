"""Sentences with a start and an end in a video, for captions and for moments.

The same files serve both tasks: captions go from times to a sentence, moments from a sentence to
times. `FORMATS` is the table of known formats.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from videozoo.data.formats import Format, TextFile, format_of, unknown
from videozoo.data.lengths import Stretch, check_ends, check_lengths
from videozoo.data.text import finite_number
from videozoo.errors import DataError, brief, counted, few

_CHARADES = re.compile(r"(\S+)\s+(\S+)\s+(\S+?)\s*##(.*)")
_WORD = re.compile(r"\w")
CLIP_SECONDS = 2.0
"""Length of the clips that QVHighlights labels."""
_LOOKED_AT = 10  # lines that are tried to find the format of a file
_CUT = "What reaches beyond a video is not used; correct the times."


@dataclass(frozen=True, kw_only=True)
class TimedSentence:
    """A sentence that describes a video from a start to an end."""

    video: str
    start_seconds: float
    end_seconds: float
    """Not checked: may lie beyond the end of the video, or before the start."""
    sentence: str
    """Without blanks around it; empty only if it was read with `need_text=False`."""
    where: str
    """File and place, for messages."""
    tokenised: bool = False
    """The words are separated by blanks and are used as they are."""
    has_times: bool = True
    """If not, start and end mean nothing; only if it was read with `need_times=False`."""
    query: int | str | None = None
    """Identifier of a sentence that may be here several times, once per moment that it means."""

    def __str__(self) -> str:
        return f"{self.where}: {self.video} {self.start_seconds:g} to {self.end_seconds:g} s"


@dataclass(frozen=True)
class TimedSentences:
    """All sentences of a file, in its order."""

    path: Path
    sentences: tuple[TimedSentence, ...]
    durations: dict[str, float]
    """Lengths of videos in seconds, as far as the file gives them."""
    notes: tuple[str, ...] = ()
    """What the user should know about how the file was read."""
    saliency: dict[int | str, NDArray[np.float64]] = field(
        default_factory=dict[int | str, NDArray[np.float64]], compare=False
    )
    """For a `query`, labels (C, A) of A people per clip of `CLIP_SECONDS` of its video, 0 to 4; 0
    outside its moments."""

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def videos(self) -> tuple[str, ...]:
        """Names of the videos, in the order of the file."""
        return tuple(dict.fromkeys(one.video for one in self.sentences))

    @property
    def num_several(self) -> int:
        """Number of queries with several moments."""
        counts = Counter(one.query for one in self.sentences if one.query is not None)
        return sum(count > 1 for count in counts.values())


@dataclass
class _ReadState:
    """What is known of a file while it is read."""

    path: Path
    need_text: bool
    need_times: bool
    durations: dict[str, float] = field(default_factory=dict[str, float])
    problems: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    saliency: dict[int | str, NDArray[np.float64]] = field(
        default_factory=dict[int | str, NDArray[np.float64]]
    )

    def is_sentence(self, text: object, place: str, *, tokenised: bool = False) -> bool:
        """Whether a text can be used as a sentence; if not, adds to `problems`."""
        wrong: str | None = None
        if not isinstance(text, str):
            wrong = f"expected a sentence, got {text!r}"
        elif any("\ud800" <= letter <= "\udfff" for letter in text):
            wrong = "the sentence is not UTF-8; store the file as UTF-8"
        elif self.need_text and not text.strip():
            wrong = "the sentence is empty; write what happens, or remove it"
        elif self.need_text and not tokenised and not _WORD.search(text):
            wrong = f"the sentence {text.strip()!r} has no word; write what happens, or remove it"
        if wrong is not None:
            self.problems.append(f"{place}: {wrong}")
        return wrong is None


def read_timed_sentences(
    path: Path, *, need_text: bool = True, need_times: bool = True
) -> TimedSentences:
    """Read a file in any of `FORMATS`.

    Args:
        path: The file.
        need_text: Refuse empty sentences, and lines or entries without a sentence.
        need_times: Refuse sentences without times (the test part of QVHighlights has none).

    Raises:
        DataError: The file cannot be read, has no known format, or has mistakes, which are listed
            with their places.
    """
    file, reading = TextFile(path), _ReadState(path, need_text, need_times)
    form = format_of(file, FORMATS)
    if form is None:
        segments = isinstance(file.content, dict) and "database" in file.content
        seen = "segments with labels, for BMN and C-TCN" if segments else file.seen
        raise unknown(f"{path}: no sentences with times: {seen}", FORMATS, path=path)
    found = list(form.read(file, reading))
    if reading.problems:
        raise DataError(f"{path}: {few(reading.problems, between='; ')}")
    if not found:
        raise DataError(f"{path}: holds no sentence")
    return TimedSentences(
        path, tuple(found), reading.durations, tuple(reading.notes), reading.saliency
    )


def check_times(
    found: TimedSentences,
    seconds: Mapping[str, float],
    *,
    features: Path,
    slack_seconds: float = 0.0,
    advice: str = "",
) -> None:
    """Compare lengths and times in a file with the lengths of the videos by their features.

    Differences of more than a few percent give one warning, which names the worst.

    Args:
        found: The file.
        seconds: Lengths of videos by their features.
        features: Path of the features, for messages.
        slack_seconds: By how much a length by features may be wrong.
        advice: What to do about a difference, if it is known.

    Raises:
        DataError: Most lengths or times do not fit at all.
    """
    given = found.durations
    both = {video: (given[video], s) for video, s in seconds.items() if given.get(video, 0) > 0}
    check_lengths(
        both, source=found.path, features=features, slack_seconds=slack_seconds, advice=advice
    )
    stretches: list[Stretch] = []
    for one in found.sentences:
        length = seconds.get(one.video)
        if length and one.has_times:
            end = one.end_seconds if one.end_seconds > length + slack_seconds else length
            stretches.append(Stretch(one.where, one.start_seconds, end, length))
    check_ends(stretches, source=found.path, what="sentences", advice=_CUT)


# --- JSON ------------------------------------------------------------------------------------


def _entries(file: TextFile) -> Iterator[dict[str, Any]]:
    """Entries of the videos in a JSON object, if they have `timestamps`."""
    content = file.content
    for entry in cast("dict[str, Any]", content).values() if isinstance(content, dict) else ():
        if isinstance(entry, dict) and "timestamps" in entry:
            yield entry


def _read_videos(file: TextFile, reading: _ReadState) -> Iterator[TimedSentence]:
    """If a video has `fps`, its times are in frames."""
    problems = reading.problems
    for video, entry in cast("dict[str, Any]", file.content).items():
        if not isinstance(entry, dict) or "timestamps" not in entry:
            problems.append(f"{video}: expected `timestamps` and `sentences`")
            continue
        entry = cast("dict[str, Any]", entry)
        stamps: Any = entry["timestamps"]
        texts: Any = entry.get("sentences", [])
        if not isinstance(stamps, list) or not isinstance(texts, list):
            problems.append(f"{video}: `timestamps` and `sentences` are not lists")
            continue
        if not reading.need_text and not texts:
            texts = [""] * len(cast("list[Any]", stamps))
        stamps, texts = cast("list[Any]", stamps), cast("list[Any]", texts)
        if len(stamps) != len(texts):
            problems.append(
                f"{video}: {counted(len(stamps), 'timestamp')} for "
                f"{counted(len(texts), 'sentence')}"
            )
            continue
        rate = finite_number(entry.get("fps", 1))
        if rate is None or rate <= 0:
            problems.append(f"{video}: fps is {entry['fps']!r}")
            continue
        length = finite_number(entry.get("duration"))
        frames = finite_number(entry.get("num_frames"))
        if length is None and frames is not None:
            length = frames / rate
        if length is not None:
            reading.durations[video] = length
        for number, (stamp, text) in enumerate(zip(stamps, texts, strict=True)):
            place = f"{video}: sentence {number}"
            times = _times(stamp)
            if times is None:
                problems.append(f"{place}: expected [start, end], got {stamp!r}")
            elif reading.is_sentence(text, place):
                yield TimedSentence(
                    video=video,
                    start_seconds=times[0] / rate,
                    end_seconds=times[1] / rate,
                    sentence=" ".join(text.split()),
                    where=f"{reading.path}: {place}",
                )


def _is_query(record: object) -> bool:
    return isinstance(record, dict) and {"vid", "query"} <= record.keys()


def _queries(file: TextFile) -> list[tuple[str, Any]]:
    return file.records or [("line 1", file.content)]


def _read_queries(file: TextFile, reading: _ReadState) -> Iterator[TimedSentence]:
    """A sentence with several moments is yielded once per moment.

    Source: jayleicn/moment_detr, data/README.md.
    """
    problems = reading.problems
    seen: dict[str, str] = {}
    for where, record in _queries(file):
        if not _is_query(record):
            held = ", ".join(cast("dict[str, Any]", record)) if isinstance(record, dict) else record
            problems.append(
                f"{where}: expected an object with `vid`, `query` and `relevant_windows`, as "
                f"QVHighlights has them, got {held}"
            )
            continue
        record = cast("dict[str, Any]", record)
        video, text = str(record["vid"]), record["query"]
        place = f"{where}: {video}"
        windows: Any = record.get("relevant_windows") or []
        times = [_times(one) for one in windows] if isinstance(windows, list) else [None]
        if None in times:
            problems.append(f"{place}: expected relevant_windows [[start, end]], got {windows!r}")
            continue
        if not times and reading.need_times:
            problems.append(
                f"{place}: no `relevant_windows`: training and evaluation need the times of "
                "sentences; prediction does not"
            )
            continue
        if not reading.is_sentence(text, place):
            continue
        length = finite_number(record.get("duration"))
        if length is not None:
            reading.durations[video] = length
        query = record.get("qid", where)
        if isinstance(query, bool) or not isinstance(query, int | str):
            problems.append(f"{place}: expected a number as `qid`, got {query!r}")
            continue
        if (first := seen.setdefault(str(query), where)) != where:
            problems.append(f"{place}: qid {query} is already that of {first}")
            continue
        if times and record.get("saliency_scores") is not None:
            labels = _saliency(record, length)
            if isinstance(labels, str):
                problems.append(f"{place}: {labels}")
                continue
            reading.saliency[query] = labels
        for start, end in [one for one in times if one is not None] or [(0.0, 0.0)]:
            yield TimedSentence(
                video=video,
                start_seconds=start,
                end_seconds=end,
                sentence=" ".join(text.split()),
                where=f"{reading.path}: {place}",
                has_times=bool(times),
                query=query,
            )


def _saliency(record: Mapping[str, Any], length: float | None) -> NDArray[np.float64] | str:
    """Labels of all clips of the video; or what is wrong with those of the file."""
    clips, given = record.get("relevant_clip_ids"), record["saliency_scores"]
    numbers = cast("list[Any]", clips if isinstance(clips, list) else [])
    rows = cast("list[Any]", given if isinstance(given, list) else [])
    labels = [
        [finite_number(one) for one in cast("list[Any]", row)] if isinstance(row, list) else []
        for row in rows
    ]
    widths = {len(row) for row in labels}
    if len(numbers) != len(rows) or len(widths) > 1 or any(None in row for row in labels):
        return (
            "expected `relevant_clip_ids` [number, ...] and for each of them labels of the same "
            "people in `saliency_scores` [[0 to 4, ...], ...], got "
            f"{brief(clips)} and {brief(given)}"
        )
    if length is None:
        return "`saliency_scores` without `duration`: the number of clips is not known"
    count = int(length / CLIP_SECONDS)
    table = np.zeros((max(count, 1), max(widths, default=1)))
    for number, row in zip(numbers, labels, strict=True):
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            return f"expected numbers of clips from 0 in `relevant_clip_ids`, got {number!r}"
        if number * CLIP_SECONDS >= length:
            return (
                f"clip {number} of {CLIP_SECONDS:g} s begins after the end of the video, at "
                f"{length:g} s"
            )
        if number < len(table):  # an incomplete last clip does not count in QVHighlights
            table[number] = row
    return table


def _times(value: object) -> tuple[float, float] | None:
    """Start and end; None if the value is not a list of two numbers."""
    if not isinstance(value, list):
        return None
    times = [finite_number(one) for one in cast("list[Any]", value)]
    if len(times) != 2 or times[0] is None or times[1] is None:
        return None
    return times[0], times[1]


# --- lines -----------------------------------------------------------------------------------


def _read_charades(file: TextFile, reading: _ReadState) -> Iterator[TimedSentence]:
    for number, line in file.lines:
        found = _CHARADES.fullmatch(line)
        if found is None:
            expected = "`VIDEO START END##sentence`"
            reading.problems.append(f"line {number}: expected {expected}, got {line[:60]!r}")
        else:
            yield from _sentence(reading, number, found.groups())


def _read_tabs(file: TextFile, reading: _ReadState) -> Iterator[TimedSentence]:
    """Words are separated by blanks; lines for prediction have no sentence."""
    for number, line in file.lines:
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) == 3 and not reading.need_text:
            fields = [*fields, ""]
        if len(fields) != 4:
            expected = "video, start, end and sentence with tabs between them"
            reading.problems.append(f"line {number}: expected {expected}, got {line[:60]!r}")
        else:
            yield from _sentence(reading, number, fields, tokenised=True)


def _sentence(
    reading: _ReadState, number: int, fields: Sequence[str], *, tokenised: bool = False
) -> Iterator[TimedSentence]:
    """The sentence of a line, if it can be used."""
    video, start, end, text = fields
    place = f"line {number}"
    times = finite_number(start), finite_number(end)
    if times[0] is None or times[1] is None:
        reading.problems.append(f"{place}: expected seconds, got {start!r} and {end!r}")
    elif reading.is_sentence(text, place, tokenised=tokenised):
        yield TimedSentence(
            video=video,
            start_seconds=times[0],
            end_seconds=times[1],
            sentence=" ".join(text.split()),
            where=f"{reading.path}: {place}",
            tokenised=tokenised,
        )


FORMATS: tuple[Format[TextFile, Callable[[TextFile, _ReadState], Iterator[TimedSentence]]], ...] = (
    Format(
        "QVHighlights",
        lambda file: any(_is_query(record) for _, record in _queries(file)),
        _read_queries,
        '{"qid": 1, "query": "A man runs.", "vid": "a", "duration": 9, "relevant_windows": '
        '[[1, 2.5]], "relevant_clip_ids": [0, 1], "saliency_scores": [[4, 1, 3], [2, 2, 4]]}\n',
        "highlight_train.jsonl",
    ),
    Format(
        "TACoS",
        lambda file: any("fps" in entry for entry in _entries(file)),
        _read_videos,
        '{"a": {"fps": 10, "num_frames": 90, "timestamps": [[10, 25]], '
        '"sentences": ["A man runs."]}}',
        "train.json",
    ),
    Format(
        "ActivityNet Captions",
        lambda file: any(_entries(file)),
        _read_videos,
        '{"a": {"duration": 9, "timestamps": [[1, 2.5]], "sentences": ["A man runs."]}}',
        "train.json",
    ),
    Format(
        "Charades-STA",
        lambda file: any(_CHARADES.fullmatch(line) for _, line in file.lines[:_LOOKED_AT]),
        _read_charades,
        "a 1.0 2.5##A man runs.\n",
        "charades_sta_train.txt",
    ),
    Format(
        "ETS list of the 2019 library, tabs between fields",
        lambda file: file.first_line.count("\t") > 1,
        _read_tabs,
        "a\t1.0\t2.5\tA man runs.\n",
        "train.list",
    ),
)
"""Formats of files of sentences with times."""
