"""What people say happens when: sentences with a start and an end.

Captions and moments are the same data, read in opposite directions. Forms of file, told apart by
their content:

* ActivityNet Captions: JSON, `{VIDEO: {duration, timestamps: [[s, e]], sentences: [..]}}`;
* TACoS as JSON: the same with `fps` and `num_frames`, times in frames;
* Charades-STA: `VIDEO START END##sentence` a line;
* 2019 lists of ETS: `VIDEO<tab>START<tab>END<tab>sentence` a line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from videozoo.data import kinetics
from videozoo.data._video_features import object_of
from videozoo.errors import DataError
from videozoo.safe_json import parse_json

_CHARADES = re.compile(r"(\S+)\s+(\S+)\s+(\S+?)\s*##(.*)")
_MOST_SHOWN = 5  # mistakes of a file


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

    def __str__(self) -> str:
        return f"{self.where}: {self.video} {self.start_seconds:g} to {self.end_seconds:g} s"


@dataclass(frozen=True)
class TimedSentences:
    """All of a file, in its order."""

    path: Path
    sentences: tuple[TimedSentence, ...]
    durations: dict[str, float]
    """Seconds of the videos for which the file tells."""

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def videos(self) -> tuple[str, ...]:
        """Their names, in the order of the file."""
        return tuple(dict.fromkeys(one.video for one in self.sentences))


def read_timed_sentences(path: Path, *, need_text: bool = True) -> TimedSentences:
    """Read a file of any of the forms above.

    Args:
        path: The file.
        need_text: Refuse empty sentences; without it a line or an entry may lack them.

    Raises:
        DataError: The file cannot be read, is none of these, or has mistakes; each is listed with
            its place.
    """
    text = kinetics.text_of(path)
    problems: list[str] = []
    durations: dict[str, float] = {}
    if text.lstrip()[:1] == "{":
        found = list(_from_json(path, text, durations, problems, need_text))
    else:
        found = list(_from_lines(path, text, problems, need_text))
    if problems:
        more = len(problems) - _MOST_SHOWN
        shown = problems[:_MOST_SHOWN] + ([f"and {more} more"] if more > 0 else [])
        raise DataError(f"{path}: {'; '.join(shown)}")
    if not found:
        raise DataError(
            f"{path}: no sentences with times; expected ActivityNet Captions or TACoS as JSON, "
            "lines `VIDEO START END##sentence`, or lines of four fields with tabs between them"
        )
    return TimedSentences(path, tuple(found), durations)


def _from_json(
    path: Path, text: str, durations: dict[str, float], problems: list[str], need_text: bool
) -> Iterator[TimedSentence]:
    try:
        content: Any = parse_json(text)
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from None
    for video, entry in object_of(content, path).items():
        if not isinstance(entry, dict) or "timestamps" not in entry:
            problems.append(f"{video}: expected `timestamps` and `sentences`")
            continue
        entry = cast("dict[str, Any]", entry)
        stamps = cast("Sequence[Any]", entry["timestamps"])
        texts = cast("Sequence[Any]", entry.get("sentences", ()))
        if not need_text and not texts:
            texts = [""] * len(stamps)
        if len(stamps) != len(texts):
            problems.append(f"{video}: {len(stamps)} timestamps for {len(texts)} sentences")
            continue
        rate = _number(entry.get("fps", 1))
        if rate is None or rate <= 0:
            problems.append(f"{video}: fps is {entry['fps']!r}")
            continue
        length = _number(entry.get("duration"))
        frames = _number(entry.get("num_frames"))
        if length is None and frames is not None:
            length = frames / rate
        if length is not None:
            durations[str(video)] = length
        for number, (stamp, said) in enumerate(zip(stamps, texts, strict=True)):
            place = f"{video}: sentence {number}"
            ends = cast("Sequence[Any]", stamp) if isinstance(stamp, list) else ()
            times = [_number(value) for value in ends]
            if len(times) != 2 or times[0] is None or times[1] is None:
                problems.append(f"{place}: expected [start, end], got {stamp!r}")
            elif not isinstance(said, str) or (need_text and not said.strip()):
                problems.append(f"{place}: {_EMPTY}")
            else:
                yield TimedSentence(
                    video=str(video),
                    start_seconds=times[0] / rate,
                    end_seconds=times[1] / rate,
                    sentence=" ".join(said.split()),
                    where=f"{path}: sentence {number}",
                )


_EMPTY = "the sentence is empty; write what happens, or remove it"


def _from_lines(
    path: Path, text: str, problems: list[str], need_text: bool
) -> Iterator[TimedSentence]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        found = _CHARADES.fullmatch(line.strip())
        fields: Sequence[str]
        if found is not None:
            fields = found.groups()
        else:
            fields = [field.strip() for field in line.strip().split("\t")]
            if len(fields) == 3 and not need_text:
                fields = [*fields, ""]
        place = f"line {number}"
        if len(fields) != 4:
            problems.append(
                f"{place}: expected `VIDEO START END##sentence`, or video, start, end and sentence "
                f"with tabs between them, got {line.strip()[:60]!r}"
            )
            continue
        video, start, end, said = fields
        times = _number(start), _number(end)
        if times[0] is None or times[1] is None:
            problems.append(f"{place}: expected seconds, got {start!r} and {end!r}")
        elif need_text and not said.strip():
            problems.append(f"{place}: {_EMPTY}")
        else:
            yield TimedSentence(
                video=video,
                start_seconds=times[0],
                end_seconds=times[1],
                sentence=" ".join(said.split()),
                where=f"{path}: line {number}",
                tokenised=found is None,
            )


def _number(value: object) -> float | None:
    """A finite number, written as one or as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
