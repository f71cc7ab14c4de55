"""Answers as subtitles: WebVTT for browsers, SRT for all other players.

Both files hold the same cues. Cues of a file never overlap, since players of SRT show overlapping
ones in any order or not at all: where two answers hold, one cue has both as lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from videozoo.report.answers import Row, told_over_time
from videozoo.report.drawing import printable
from videozoo.report.files import write_text

MOST_LINES = 3
"""Lines of a cue; more would cover the picture."""
_APART = "\N{ZERO WIDTH SPACE}"
"""Parts signs that SRT gives a meaning and no way to escape; it is not seen."""


@dataclass(frozen=True, kw_only=True)
class Cue:
    """What is shown from one time to another, in milliseconds from the start of the video."""

    start: int
    end: int
    lines: tuple[str, ...]


def cues_of(rows: Sequence[Row]) -> list[Cue]:
    """The cues of one video: sentences, names of segments, and sentences at their moments.

    Segments without a name are left out; see `told_over_time` for what else is. At any time the
    first three answers are shown, in the order of `rows`.

    >>> def caption(start, end, text):
    ...     return Row(video="v", model="m", kind="caption", name=text, score=-1.0, rank=1,
    ...                start=start, end=end)
    >>> for cue in cues_of([caption(0, 2, "a man runs"), caption(1.5, 3, "a dog barks")]):
    ...     print(cue.start, cue.end, cue.lines)
    0 1500 ('a man runs',)
    1500 2000 ('a man runs', 'a dog barks')
    2000 3000 ('a dog barks',)
    """
    told = [
        (max(0, round(1000 * times[0])), round(1000 * times[1]), text)
        for row in told_over_time(rows)
        if (times := row.seconds) is not None and (text := printable(row.name))
    ]
    told = [(start, max(end, start + 1), text) for start, end, text in told]
    edges = sorted({edge for start, end, _ in told for edge in (start, end)})
    starting: dict[int, list[int]] = {}
    for number, (start, _, _) in enumerate(told):
        starting.setdefault(start, []).append(number)
    cues: list[Cue] = []
    holding: list[int] = []
    for start, end in pairwise(edges):
        holding = sorted([n for n in holding if told[n][1] > start] + starting.get(start, []))
        lines = tuple(dict.fromkeys(told[number][2] for number in holding))[:MOST_LINES]
        if cues and cues[-1].lines == lines and cues[-1].end == start:
            cues[-1] = Cue(start=cues[-1].start, end=end, lines=lines)
        elif lines:
            cues.append(Cue(start=start, end=end, lines=lines))
    return cues


def webvtt(cues: Sequence[Cue]) -> str:
    """Cues as a WebVTT file.

    >>> print(webvtt([Cue(start=0, end=61_500, lines=("a --> b & <c>",))]), end="")
    WEBVTT
    <BLANKLINE>
    00:00:00.000 --> 00:01:01.500
    a --&gt; b &amp; &lt;c&gt;
    """
    blocks = ["WEBVTT\n"]
    for cue in cues:
        lines = "\n".join(map(_escaped, cue.lines))
        blocks.append(f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{lines}\n")
    return "\n".join(blocks)


def srt(cues: Sequence[Cue]) -> str:
    """Cues as a SubRip file.

    >>> print(srt([Cue(start=0, end=61_500, lines=("a man runs",))]), end="")
    1
    00:00:00,000 --> 00:01:01,500
    a man runs
    """
    blocks: list[str] = []
    for number, cue in enumerate(cues, 1):
        lines = "\n".join(map(_parted, cue.lines))
        times = f"{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}"
        blocks.append(f"{number}\n{times}\n{lines}\n")
    return "\n".join(blocks)


def write_subtitles(folder: Path, name: str, rows: Sequence[Row]) -> list[Path]:
    """Write `NAME.vtt` and `NAME.srt`.

    Args:
        folder: Where to.
        name: Of the files, without ending.
        rows: The answers about one video.

    Returns:
        The files; none if no answer has words and times.

    Raises:
        RunError: The disk refuses.
    """
    cues = cues_of(rows)
    if not cues:
        return []
    return [
        write_text(folder / f"{name}.{form}", webvtt(cues) if form == "vtt" else srt(cues))
        for form in _FORMS
    ]


_FORMS: tuple[Literal["vtt", "srt"], ...] = ("vtt", "srt")


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{rest:03d}"


def _escaped(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _parted(line: str) -> str:
    """Text that no player takes for a time, a tag or a command.

    >>> _parted("a --> <b> {\\\\an8}") == "a --\u200b> <\u200bb> {\u200b\\\\an8}"
    True
    """
    line = line.replace("-->", f"--{_APART}>").replace("{", f"{{{_APART}")
    return line.replace("<", f"<{_APART}")
