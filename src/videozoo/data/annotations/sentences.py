"""What people say happens when: sentences with a start and an end.

Captions and moments are the same data, read in opposite directions. Forms of file, told apart by
their content:

* ActivityNet Captions: JSON, `{VIDEO: {duration, timestamps: [[s, e]], sentences: [..]}}`;
* TACoS as JSON: the same with `fps` and `num_frames`, times in frames;
* QVHighlights: a JSON object a line, `{vid, query, duration, relevant_windows: [[s, e]]}`;
* Charades-STA: `VIDEO START END##sentence` a line;
* 2019 lists of ETS: `VIDEO<tab>START<tab>END<tab>sentence` a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from videozoo.data.lengths import Stretch, check_ends, check_lengths
from videozoo.data.text import finite_number, json_of, object_of, text_of
from videozoo.errors import DataError, few
from videozoo.safe_json import parse_json

_CHARADES = re.compile(r"(\S+)\s+(\S+)\s+(\S+?)\s*##(.*)")
_WORD = re.compile(r"\w")
_CUT = "What reaches beyond a video is not used; correct the times."


@dataclass(frozen=True, kw_only=True)
class TimedSentence:
    """What happens from one moment of a video to another."""

    video: str
    start_seconds: float
    end_seconds: float
    """May lie beyond the video, or before the start: that is for those to judge who know it."""
    sentence: str
    """Without blanks around it; empty only where it was allowed to be."""
    where: str
    """File and place, for messages."""
    tokenised: bool = False
    """The file gives words with blanks between them, to be taken as they are."""
    has_times: bool = True
    """Without them start and end mean nothing; only where that was allowed."""

    def __str__(self) -> str:
        return f"{self.where}: {self.video} {self.start_seconds:g} to {self.end_seconds:g} s"


@dataclass(frozen=True)
class TimedSentences:
    """All of a file, in its order."""

    path: Path
    sentences: tuple[TimedSentence, ...]
    durations: dict[str, float]
    """Seconds of the videos for which the file tells."""
    notes: tuple[str, ...] = ()
    """What a person should know of how the file was read."""

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def videos(self) -> tuple[str, ...]:
        """Their names, in the order of the file."""
        return tuple(dict.fromkeys(one.video for one in self.sentences))


@dataclass
class _Reading:
    """A file while it is read."""

    path: Path
    need_text: bool
    need_times: bool
    durations: dict[str, float] = field(default_factory=dict[str, float])
    problems: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])

    def is_sentence(self, said: object, place: str, *, tokenised: bool = False) -> bool:
        """Whether a text can be used; what is wrong with it becomes a problem."""
        wrong: str | None = None
        if not isinstance(said, str):
            wrong = f"expected a sentence, got {said!r}"
        elif any("\ud800" <= letter <= "\udfff" for letter in said):
            wrong = "the sentence is not UTF-8; store the file as UTF-8"
        elif self.need_text and not said.strip():
            wrong = "the sentence is empty; write what happens, or remove it"
        elif self.need_text and not tokenised and not _WORD.search(said):
            wrong = f"the sentence {said.strip()!r} has no word; write what happens, or remove it"
        if wrong is not None:
            self.problems.append(f"{place}: {wrong}")
        return wrong is None


def read_timed_sentences(
    path: Path, *, need_text: bool = True, need_times: bool = True
) -> TimedSentences:
    """Read a file of any of the forms above.

    Args:
        path: The file.
        need_text: Refuse empty sentences; without it a line or an entry may lack them.
        need_times: Refuse sentences without times, as the test part of QVHighlights has them.

    Raises:
        DataError: The file cannot be read, is none of these, or has mistakes; each is listed with
            its place.
    """
    text = text_of(path)
    reading = _Reading(path, need_text, need_times)
    if text.lstrip()[:1] in ("{", "["):
        found = list(_from_json(text, reading))
    else:
        found = list(_from_lines(text, reading))
    problems = reading.problems
    if problems:
        raise DataError(f"{path}: {few(problems, between='; ')}")
    if not found:
        raise DataError(
            f"{path}: no sentences with times; expected ActivityNet Captions or TACoS as JSON, "
            "QVHighlights as JSON lines, lines `VIDEO START END##sentence`, or lines of four "
            "fields with tabs between them"
        )
    return TimedSentences(path, tuple(found), reading.durations, tuple(reading.notes))


def check_times(
    found: TimedSentences,
    seconds: Mapping[str, float],
    *,
    features: Path,
    slack_seconds: float = 0.0,
    advice: str = "",
) -> None:
    """Compare lengths of videos and times of sentences with how long videos really are.

    What differs by more than a few percent is said in a warning, which names the worst.

    Args:
        found: A file.
        seconds: Of the videos that were looked at.
        features: Where these come from.
        slack_seconds: How far off they may be by nature.
        advice: What to do, where more can be said.

    Raises:
        DataError: Most lengths or times do not fit at all.
    """
    said = found.durations
    both = {video: (said[video], s) for video, s in seconds.items() if said.get(video, 0) > 0}
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


def _from_json(text: str, reading: _Reading) -> Iterator[TimedSentence]:
    path = reading.path
    content = _parsed(text, path)
    if isinstance(content, list):
        return _from_records(cast("list[tuple[str, Any]]", content), reading)
    by_video = object_of(content, path)
    if "query" in by_video:
        return _from_records([("line 1", by_video)], reading)
    if isinstance(by_video.get("database"), dict):
        raise DataError(
            f"{path}: segments with labels (`database`), as BMN and C-TCN learn from; expected "
            "sentences: `{VIDEO: {timestamps, sentences}}`"
        )
    return _from_videos(by_video, reading)


def _parsed(text: str, path: Path) -> Any:
    """JSON; of a list, and of JSON lines, (place, value) each."""
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(lines) > 1 and _is_json(lines[0][1]):
        return [(f"line {n}", json_of(path, line, line=n)) for n, line in lines]
    content = json_of(path, text)
    if isinstance(content, list):
        return [(f"entry {n}", one) for n, one in enumerate(cast("list[Any]", content))]
    return content


def _is_json(line: str) -> bool:
    try:
        parse_json(line)
    except ValueError:
        return False
    return True


def _from_videos(content: Mapping[str, Any], reading: _Reading) -> Iterator[TimedSentence]:
    """ActivityNet Captions, and TACoS whose times are frames."""
    problems = reading.problems
    for video, entry in content.items():
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
            problems.append(f"{video}: {len(stamps)} timestamps for {len(texts)} sentences")
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
        for number, (stamp, said) in enumerate(zip(stamps, texts, strict=True)):
            place = f"{video}: sentence {number}"
            times = _times(stamp)
            if times is None:
                problems.append(f"{place}: expected [start, end], got {stamp!r}")
            elif reading.is_sentence(said, place):
                yield TimedSentence(
                    video=video,
                    start_seconds=times[0] / rate,
                    end_seconds=times[1] / rate,
                    sentence=" ".join(said.split()),
                    where=f"{reading.path}: {place}",
                )


def _from_records(records: Iterable[tuple[str, Any]], reading: _Reading) -> Iterator[TimedSentence]:
    """QVHighlights: an object a sentence; each of its moments becomes a sentence of its own."""
    problems = reading.problems
    repeated = 0
    for where, record in records:
        if not isinstance(record, dict) or not {"vid", "query"} <= record.keys():
            held = ", ".join(cast("dict[str, Any]", record)) if isinstance(record, dict) else record
            problems.append(
                f"{where}: expected an object with `vid`, `query` and `relevant_windows`, as "
                f"QVHighlights has them, got {held}"
            )
            continue
        record = cast("dict[str, Any]", record)
        video, said = str(record["vid"]), record["query"]
        place = f"{where}: {video}"
        windows: Any = record.get("relevant_windows") or []
        times = [_times(one) for one in windows] if isinstance(windows, list) else [None]
        if None in times:
            problems.append(f"{place}: expected relevant_windows [[start, end]], got {windows!r}")
            continue
        if not times and reading.need_times:
            problems.append(
                f"{place}: no `relevant_windows`: the sentence has no times to learn from or to "
                "compare with; prediction does without"
            )
            continue
        if not reading.is_sentence(said, place):
            continue
        if (length := finite_number(record.get("duration"))) is not None:
            reading.durations[video] = length
        repeated += len(times) > 1
        for start, end in [one for one in times if one is not None] or [(0.0, 0.0)]:
            yield TimedSentence(
                video=video,
                start_seconds=start,
                end_seconds=end,
                sentence=" ".join(said.split()),
                where=f"{reading.path}: {place}",
                has_times=bool(times),
            )
    if repeated:
        reading.notes.append(
            f"{reading.path}: {repeated} sentences happen more than once; each of their moments "
            "counts as a sentence of its own"
        )


def _times(value: object) -> tuple[float, float] | None:
    """Start and end; None where they are not two numbers."""
    if not isinstance(value, list):
        return None
    times = [finite_number(one) for one in cast("list[Any]", value)]
    if len(times) != 2 or times[0] is None or times[1] is None:
        return None
    return times[0], times[1]


# --- lines -----------------------------------------------------------------------------------


def _from_lines(text: str, reading: _Reading) -> Iterator[TimedSentence]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        found = _CHARADES.fullmatch(line.strip())
        fields: Sequence[str]
        if found is not None:
            fields = found.groups()
        else:
            fields = [field.strip() for field in line.strip().split("\t")]
            if len(fields) == 3 and not reading.need_text:
                fields = [*fields, ""]
        place = f"line {number}"
        if len(fields) != 4:
            reading.problems.append(
                f"{place}: expected `VIDEO START END##sentence`, or video, start, end and sentence "
                f"with tabs between them, got {line.strip()[:60]!r}"
            )
            continue
        video, start, end, said = fields
        times = finite_number(start), finite_number(end)
        if times[0] is None or times[1] is None:
            reading.problems.append(f"{place}: expected seconds, got {start!r} and {end!r}")
        elif reading.is_sentence(said, place, tokenised=found is None):
            yield TimedSentence(
                video=video,
                start_seconds=times[0],
                end_seconds=times[1],
                sentence=" ".join(said.split()),
                where=f"{reading.path}: {place}",
                tokenised=found is None,
            )
