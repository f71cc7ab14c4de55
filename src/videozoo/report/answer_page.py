"""The page of answers: videos with everything that models say of them, on one axis of time.

One HTML file that opens from the disk. It needs no network; the only other files that it names are
the videos. With a film strip in place of the video it needs no other file and can be sent to
someone. Every text is escaped, and the page allows no script but its own.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from itertools import chain, count
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from PIL import Image

from videozoo import __version__
from videozoo.data.frames.video import open_video
from videozoo.data.frames.windows import FrameTimes
from videozoo.errors import VideoError, counted
from videozoo.report import drawing
from videozoo.report.answers import (
    Curve,
    ModelAnswers,
    Row,
    Unit,
    VideoRows,
    by_video,
    told_over_time,
)
from videozoo.report.files import write_text

_MOST_LABELS = 5  # classes of whole videos per model
_MOST_NAMES = 12  # rows of names per model
_MOST_SPANS = 20  # of one name or sentence
_LEAST_SHARE = 0.1  # of the best score of a model: what is below it is in the table only
_MOST_CAPTIONS = 400
_MOST_PACKED = 8  # rows of spans that overlap
_MOST_IN_TABLE = 200  # answers per video and model
_MOST_RANKED = 100
_MOST_MOMENTS = 5
_MOST_LOADED = 4  # videos that the browser opens before they are played
_COLOURS = 6  # --line0 to --line5 of the style
_STRIP_FRAMES = 24
_STRIP_HEIGHT = 108  # pixels
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_MOST_TICKS = 8
_HOUR = 3600.0
_TENTHS_BELOW = 600.0  # seconds; in shorter videos tables show tenths

Media = Literal["video", "frames"]


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a server adds to the page that it shows."""

    above: str
    """Markup above the answers; its maker escapes what is in it."""
    style: str
    """Address of a style sheet of the server."""
    script: str
    """Address of a script of the server."""
    video: str
    """Address of the video, if there is one only."""


def write_answer_page(
    path: Path,
    models: Sequence[ModelAnswers],
    *,
    media: Media = "video",
    title: str = "Answers",
    made: str = "",
) -> Path:
    """Write all answers as one HTML file; an older one is replaced only by a complete one.

    Args:
        path: The file to write.
        models: What each model says.
        media: `video`: link the video files; `frames`: put small pictures of them into the page.
        title: Heading of the page.
        made: Date and command, for the last line.

    Raises:
        RunError: The file cannot be written.
    """
    text = answer_page(by_video(models), folder=path.parent, media=media, title=title, made=made)
    return write_text(path, text)


def answer_page(
    videos: Sequence[VideoRows],
    *,
    folder: Path,
    media: Media = "video",
    title: str = "Answers",
    made: str = "",
    served: Served | None = None,
) -> str:
    """The page as text.

    Args:
        videos: From `by_video`.
        folder: Where the page will lie; links to videos start there.
        media: See `write_answer_page`.
        title: Heading of the page.
        made: Date and command, for the last line.
        served: What a server adds.
    """
    said = ((*video.rows, *video.curves) for video in videos)
    models = list(dict.fromkeys(each.model for video in said for each in video))
    colours = {model: f"--c:var(--line{n % _COLOURS})" for n, model in enumerate(models)}
    page = _Page(
        folder=folder,
        media=media,
        colours=colours,
        is_only=len(videos) <= _MOST_LOADED,
        address=served.video if served else None,
    )
    said_by = f"{_text(counted(len(models), 'model'))}: {_text(', '.join(models))}."
    if served:  # the one video is what the page is about
        lasts = "".join(_length(video) for video in videos)
        head = [served.above, f"<h1><bdi>{_text(title)}</bdi>{lasts}</h1>"]
    else:
        head = [f"<h1><bdi>{_text(title)}</bdi></h1>"]
        said_by = f"{_text(counted(len(videos), 'video'))}, {said_by}"
    parts = [
        *head,
        f'<p class="lead">{said_by}</p>',
        *([_index(videos), *_ranked(videos, colours)] if len(videos) > 1 else []),
        *(page.section(video, number) for number, video in enumerate(videos)),
        f"<footer>{f'{_text(made)} · ' if made else ''}videozoo {__version__}</footer>",
    ]
    body = "\n".join(part for part in parts if part)
    style, more, script = map(_resource, ("page.css", "answer_page.css", "answer_page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    links = own = connect = ""
    if served:
        links = (
            f'<link rel="stylesheet" href="{escape(served.style)}">\n'
            f'<script src="{escape(served.script)}" defer></script>\n'
        )
        own, connect = " 'self'", "; connect-src 'self'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; media-src 'self' file:; style-src 'unsafe-inline'{own};
 script-src 'sha256-{digest}'{own}; base-uri 'none'; form-action 'none'{connect}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(title)}</title>
<style>
{style}{more}</style>
{links}</head>
<body>
<main>
{body}
</main>
<script>{script}</script>
</body>
</html>
"""


def _length(video: VideoRows) -> str:
    seconds = video.duration_seconds
    return "" if seconds is None else f' <span class="length">{_clock_of(seconds)}</span>'


def _resource(name: str) -> str:
    return resources.files("videozoo.report").joinpath(name).read_text("utf-8")


def clock(seconds: float, *, tenths: bool = False, hours: bool = False) -> str:
    """A time as people write it: minutes and seconds, hours for long videos.

    Args:
        seconds: The time.
        tenths: Also show tenths of a second.
        hours: Show hours, even if there are none.

    >>> clock(63.96), clock(63.96, tenths=True), clock(3600), clock(59.96, tenths=True)
    ('01:03', '01:04.0', '1:00:00', '01:00.0')
    """
    ticks = round(10 * seconds) if tenths else 10 * math.floor(seconds + 1e-6)
    whole, tenth = divmod(max(0, ticks), 10)
    minutes, rest = divmod(whole, 60)
    end = f".{tenth}" if tenths else ""
    if hours or minutes >= 60:
        return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}{end}"
    return f"{minutes:02d}:{rest:02d}{end}"


def ticks_of(length: float) -> list[float]:
    """Round times for an axis of this length, from 0 on.

    >>> ticks_of(30), ticks_of(5400)
    ([0, 5, 10, 15, 20, 25, 30], [0, 900, 1800, 2700, 3600, 4500, 5400])
    """
    hours = (_HOUR * 2**n for n in count(1))
    step = next(each for each in chain(_STEPS, hours) if length / each <= _MOST_TICKS)
    return [round(n * step, 6) for n in range(int(length / step + 1e-9) + 1)]


def link_to(path: Path, folder: Path) -> str:
    """The address of a file, for a page in `folder`.

    It is relative where both lie in one tree, so that the tree can be moved.

    >>> link_to(Path("/home/me/runs/a/ü 1.mp4"), Path("/home/me/runs/page"))
    '../a/%C3%BC%201.mp4'
    """
    path, folder = path.absolute(), folder.absolute()
    try:
        common = Path(os.path.commonpath([path, folder]))
    except ValueError:  # two drives of Windows
        common = Path(path.anchor)
    if common == Path(path.anchor):
        return path.as_uri()
    relative = Path(os.path.relpath(path, folder)).as_posix()
    return quote(os.fsencode(relative))


# --- one video -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Page:
    """What is the same for all videos of a page."""

    folder: Path
    media: Media
    colours: Mapping[str, str]
    """Model -> its colour, as style."""
    is_only: bool
    """There are so few videos that the browser may open them all at once."""
    address: str | None = None
    """Where a server has the video."""

    def section(self, video: VideoRows, number: int) -> str:
        """Everything about one video."""
        notes = list(video.notes)
        stage = self._stage(video, notes)
        seconds = [row for row in video.rows if row.unit == "seconds"]
        last = max((each.seconds[1] for each in seconds if each.seconds is not None), default=0.0)
        length = max(video.duration_seconds or 0.0, last)
        has_any = bool(seconds or video.curves)
        blocks = [self._block(video, seconds, "seconds", length)] if has_any else []
        others: tuple[Unit, ...] = ("share", "frames")
        for unit in others:
            rows = [row for row in video.rows if row.unit == unit]
            if rows:
                blocks.append(self._block(video, rows, unit, max(row.end or 0.0 for row in rows)))
        hints = "".join(f'<p class="hint">Note: {_text(note)}.</p>' for note in notes)
        name = f"<bdi>{_text(video.name)}</bdi>"
        head = f"<h2>{name}{_length(video)}</h2>\n"
        if self.address is not None:  # the page has its name above
            head = '<h2 class="unseen">Answers</h2>\n'
        return (
            f'<section class="video" id="video{number}">\n{head}{hints}{stage}'
            f"{''.join(blocks)}{self._table(video, length)}</section>"
        )

    def _stage(self, video: VideoRows, notes: list[str]) -> str:
        """The video, or pictures of it."""
        now = '<p class="now"></p>'
        if video.path is None:
            notes.append("only features of this video were given, so there is no picture")
            return ""
        if self.media == "frames":
            try:
                frames = strip_frames(video.path)
            except VideoError as error:
                notes.append(f"no pictures: {error}")
                return ""
            return f'<div class="card stage"><div class="film">{_film(frames)}</div>{now}</div>'
        if self.address is None and not video.path.is_file():
            notes.append(
                "a browser plays video files only; predict --embed-frames shows pictures instead"
            )
            return ""
        link = escape(self.address or link_to(video.path, self.folder))
        advice = (
            "download it to see it in a player"
            if self.address
            else "<code>predict --embed-frames</code> puts pictures into the page"
        )
        loads = "metadata" if self.is_only else "none"
        return (
            f'<div class="card stage"><video controls playsinline preload="{loads}" src="{link}" '
            f'aria-label="{_text(video.name)}"></video>'
            '<p class="fault" hidden>This browser cannot play the file, or the file is no longer '
            f'where it was: <a href="{link}">{_text(video.name)}</a>. The answers below are '
            f"complete; {advice}.</p>"
            f"{now}</div>"
        )

    def _block(self, video: VideoRows, rows: Sequence[Row], unit: Unit, length: float) -> str:
        """Rows over one axis."""
        told = set(map(id, told_over_time(rows)))
        parts: list[str] = []
        if length > 0:
            parts.append(_axis(length, unit, video.name))
        for model, style in self.colours.items():
            own = [row for row in rows if row.model == model]
            curves = [each for each in video.curves if each.model == model and unit == "seconds"]
            if own or curves:
                lanes = "".join(_lanes(own, curves, length, told))
                parts.append(f'<div style="{style}"><h3>{_text(model)}</h3>{lanes}</div>')
        kind = "time" if unit == "seconds" and length > 0 else "time other"
        data = f' data-length="{length:.3f}"' if kind == "time" else ""
        head = '<div class="playhead"></div>' if kind == "time" else ""
        lines = "".join(
            f'<div class="line" style="left:{_percent(tick, length)}"></div>'
            for tick in (ticks_of(length) if length > 0 else ())
        )
        what = {"share": "shares of a video of unknown length", "frames": "numbers of frames"}
        hint = f'<p class="hint">Times are {what[unit]}.</p>' if unit != "seconds" else ""
        return (
            f'<div class="card">{hint}<div class="{kind}"{data}>{"".join(parts)}'
            f'<div class="over">{lines}{head}</div></div></div>\n'
        )

    def _table(self, video: VideoRows, length: float) -> str:
        """All answers, to sort."""
        kept: list[Row] = []
        more: list[str] = []
        for model in self.colours:
            own = [row for row in video.rows if row.model == model]
            kept += own[:_MOST_IN_TABLE]
            if len(own) > _MOST_IN_TABLE:
                more.append(f"{model}: the first {_MOST_IN_TABLE} of {len(own)} answers")
        if not kept:
            return '<p class="hint">No model says anything of this video.</p>'
        hours = length >= _HOUR
        tenths = length < _TENTHS_BELOW

        def cells(row: Row) -> str:
            return (
                f'<tr><td style="{self.colours[row.model]}"><span class="swatch"></span>'
                f"{_text(row.model)}</td>{_name_cell(row)}{_times_cells(row, tenths, hours)}"
                f'{_score_cell(row)}<td class="count less">{row.rank}</td></tr>'
            )

        table = _sorted_table(
            [("model", False), ("what", False), ("start", True), ("end", True), ("score", True),
             ("rank", True)],
            map(cells, kept),
            f"answers about {video.name}",
        )  # fmt: skip
        note = f'<p class="hint">{_text("; ".join(more))}.</p>' if more else ""
        return f"{table}{note}\n"


def _axis(length: float, unit: Unit, name: str) -> str:
    hours = length >= _HOUR
    times = ticks_of(length)
    fine = len(times) > 1 and times[1] < 1
    marks: list[str] = []
    for number, tick in enumerate(times):
        place = " first" if not number else " last" if tick > 0.96 * length else ""
        odd = " odd" if number % 2 else ""
        text = {
            "seconds": clock(tick, tenths=fine, hours=hours),
            "share": f"{100 * tick:.0f} %",
            "frames": f"{tick:g}",
        }[unit]
        marks.append(
            f'<span class="tick{place}{odd}" style="left:{_percent(tick, length)}">{text}</span>'
        )
    inner = "".join(marks)
    if unit != "seconds":
        return (
            f'<div class="lane axis"><div class="head"></div><div class="plot">{inner}</div></div>'
        )
    return (
        '<div class="lane axis"><div class="head"></div>'
        f'<div class="plot seconds" role="slider" tabindex="0" aria-label="time in {_text(name)}" '
        f'aria-valuemin="0" aria-valuemax="{length:.1f}" aria-valuenow="0" '
        f'aria-valuetext="{clock(0, hours=hours)}">{inner}</div></div>'
    )


def _lanes(
    rows: Sequence[Row], curves: Sequence[Curve], length: float, told: set[int]
) -> Iterable[str]:
    """The rows of one model: a lane per class or sentence, one for all captions.

    Scores along the time are drawn below the segments of their class.
    """
    best = max((row.score for row in rows if not math.isnan(row.score)), default=0.0)
    by_name = {curve.name: curve for curve in curves}
    groups: dict[tuple[str, str], list[Row]] = {}
    weak = 0
    for row in rows:
        if row.kind in ("segment", "label") and row.score < _LEAST_SHARE * best:
            weak += row.kind == "segment"  # of the classes of a video the best few are drawn anyway
        elif row.kind != "caption" or row.rank == 1:
            groups.setdefault((row.kind, "" if row.kind == "caption" else row.name), []).append(row)
    labels = 0
    for turn, ((kind, name), own) in enumerate(groups.items()):
        if kind == "label" and own[0].start is None:
            labels += 1
            if labels <= _MOST_LABELS:
                yield _lane(_text(name), _whole(own[0]), length, kind)
        elif turn >= _MOST_NAMES:
            left = len(groups) - turn
            yield _lane(f'<span class="more">{left} more in the table</span>', "", length, kind)
            break
        else:
            most = {"moment": _MOST_MOMENTS, "caption": _MOST_CAPTIONS}.get(kind, _MOST_SPANS)
            packed, drawn = _packed(own[:most], length, best, told)
            title = _text(name) if name else {"caption": "captions", "moment": "moments"}.get(
                kind, "segments"
            )  # fmt: skip
            if kind == "moment" and name:
                title = _quoted(name)
            if not own[0].is_likely:
                title += ' <span class="more">probably not there</span>'
            if drawn < len(own):
                title += f' <span class="more">{drawn} of {len(own)}</span>'
            more = _truths(own[0], length) + _curve(by_name.pop(name, None), length)
            yield _lane(title, packed + more, length, kind)
    for curve in by_name.values():
        peak = f' <span class="more">up to {curve.scores.max():.2f}</span>'
        yield _lane(_text(curve.name) + peak, _curve(curve, length), length, "curve")
    if weak:
        hint = f"{counted(weak, 'segment')} below {_LEAST_SHARE * best:.2f} only in the table"
        yield _lane(f'<span class="more">{hint}</span>', "", length, "segment")


def _curve(curve: Curve | None, length: float) -> str:
    """Scores along the time as steps, from 0 at the bottom to 1 at the top."""
    if curve is None or length <= 0:
        return ""
    points: list[str] = []
    start = 0.0
    for end, score in zip(curve.ends.tolist(), curve.scores.tolist(), strict=True):
        height = f"{100 * (1 - min(max(score, 0.0), 1.0)):.1f}"
        left, right = (f"{1000 * min(each / length, 1.0):.1f}" for each in (start, end))
        points.append(f"{left},{height} {right},{height}")
        start = end
    last = f"{1000 * min(start / length, 1.0):.1f}"
    peak = f"score of {curve.name} along the time, up to {curve.scores.max():.2f}"
    return (
        f'<svg class="curve" viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{_text(peak)}"><polygon points="0,100 {" ".join(points)} {last},100"/></svg>'
    )


def _lane(title: str, inner: str, length: float, kind: str) -> str:
    unit = " seconds" if kind != "label" or length > 0 else ""
    return (
        f'<div class="lane"><div class="head"><bdi>{title}</bdi></div>'
        f'<div class="plot{unit}">{inner}</div></div>'
    )


def _whole(row: Row) -> str:
    """A class of the whole video."""
    share = min(max(row.score, 0.0), 1.0) if row.score == row.score else 0.0
    return (
        f'<div class="packed"><span class="span whole" style="left:0;width:100%;--s:{share:.3f}" '
        f'title="{_text(row.name)}">{_score(row)} · whole video</span></div>'
    )


def _packed(rows: Sequence[Row], length: float, best: float, told: set[int]) -> tuple[str, int]:
    """Spans on as few lines as possible without overlap, and how many are drawn."""
    lines: list[list[Row]] = []
    for row in rows:
        free = (line for line in lines if all(_are_apart(row, other, length) for other in line))
        line = next(free, None)
        if line is None:
            if len(lines) == _MOST_PACKED:
                continue
            lines.append(line := [])
        line.append(row)
    html = "".join(
        f'<div class="packed">{"".join(_span(row, length, best, id(row) in told) for row in line)}'
        "</div>"
        for line in lines
    )
    return html, sum(map(len, lines))


def _truths(row: Row, length: float) -> str:
    """The true moments of a sentence, on a line of their own."""
    if not row.truths or length <= 0:
        return ""
    fine, hours = length < _TENTHS_BELOW, length >= _HOUR
    spans: list[str] = []
    for start, end in row.truths:
        times = " to ".join(_shown_time(each, row.unit, fine, hours) for each in (start, end))
        style = f"left:{_percent(start, length)};width:{_percent(end - start, length)}"
        spans.append(
            f'<span class="span true" style="{style}" title="{_text(f"true: {times}")}">true</span>'
        )
    return f'<div class="packed">{"".join(spans)}</div>'


def _are_apart(one: Row, other: Row, length: float) -> bool:
    gap = 0.002 * length
    (start, end), (others_start, others_end) = _span_of(one), _span_of(other)
    return end <= others_start + gap or others_end <= start + gap


def _span_of(row: Row) -> tuple[float, float]:
    """Start and end of an answer that has them, in its unit."""
    assert row.start is not None, "whole videos are drawn by `_whole`"
    assert row.end is not None
    return row.start, max(row.start, row.end)


def _span(row: Row, length: float, best: float, is_told: bool) -> str:
    start, end = _span_of(row)
    strength = 0.6
    if row.kind == "segment" and best > 0:
        strength = min(max(row.score / best, 0.0), 1.0)
    if row.kind == "moment":
        strength = 1.0 if row.rank == 1 and row.is_likely else 0.2
    text = _text(row.name) if row.kind == "caption" else _score(row)
    if row.kind == "moment":
        text = f"{row.rank}. {text}"
    fine = length < _TENTHS_BELOW
    times = " to ".join(_shown_time(each, row.unit, fine, length >= _HOUR) for each in (start, end))
    doubt = "" if row.is_likely else ", probably not there"
    full = _text(f"{row.name or 'segment'}, {times}, score {_score(row)}{doubt}")
    style = (
        f"left:{_percent(start, length)};width:{_percent(end - start, length)};--s:{strength:.3f}"
    )
    thin = " thin" if end - start < 0.06 * length and row.kind != "caption" else ""
    data = ""
    if row.unit == "seconds":
        data = f' data-start="{start:.3f}" data-end="{end:.3f}" data-seek="{start:.3f}"'
    if is_told:
        said = row.name or f"segment {_score(row)}"
        data += f' data-told="{_text(said)}"'
    return (
        f'<button type="button" class="span{thin}" style="{style}"{data} title="{full}" '
        f'aria-label="{full}">{"" if thin else f"<span>{text}</span>"}</button>'
    )


# --- a film strip --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class StripFrame:
    """One picture of a film strip."""

    seconds: float | None
    """When it is shown; None where the video does not tell."""
    number: int
    jpeg: bytes


def strip_frames(path: Path, most: int = _STRIP_FRAMES) -> list[StripFrame]:
    """Small pictures of a video at even distances.

    Raises:
        VideoError: The video cannot be read.
    """
    with open_video(path) as reader:
        count = reader.num_frames
        numbers = [int((n + 0.5) * count / min(most, count)) for n in range(min(most, count))]
        try:
            times = FrameTimes.of(reader, str(path)).start_seconds.tolist()
        except VideoError:
            times = None
        found: list[StripFrame] = []
        for number in numbers:
            height, width = reader.info.height, reader.info.width
            small = drawing.resized(
                reader.read([number])[0], max(1, round(width * min(1.0, _STRIP_HEIGHT / height)))
            )
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=80)
            seconds = None if times is None else times[min(number, len(times) - 1)]
            found.append(StripFrame(seconds=seconds, number=number, jpeg=buffer.getvalue()))
    return found


def _film(frames: Sequence[StripFrame]) -> str:
    last = max((each.seconds or 0.0 for each in frames), default=0.0)
    fine, hours = last < 60, last >= _HOUR
    parts: list[str] = []
    for each in frames:
        when = f"frame {each.number}"
        data = ""
        if each.seconds is not None:
            when = clock(each.seconds, tenths=fine, hours=hours)
            data = f' data-seek="{each.seconds:.3f}"'
        size = Image.open(io.BytesIO(each.jpeg)).size
        image = base64.b64encode(each.jpeg).decode("ascii")
        parts.append(
            f'<button type="button" class="frame"{data}><img alt="at {when}" width="{size[0]}" '
            f'height="{size[1]}" src="data:image/jpeg;base64,{image}">{when}</button>'
        )
    return "".join(parts)


# --- all videos ----------------------------------------------------------------------------------


def _index(videos: Sequence[VideoRows]) -> str:
    """A line per video, with the best answer of every model."""

    def cells(number: int, video: VideoRows) -> str:
        best: list[str] = []
        for model in dict.fromkeys(row.model for row in video.rows):
            first = next(row for row in video.rows if row.model == model)
            fine = (video.duration_seconds or 0.0) < _TENTHS_BELOW
            when = ""
            if first.start is not None and first.end is not None:
                when = " to ".join(
                    _shown_time(each, first.unit, fine, False) for each in (first.start, first.end)
                )
            said = ", ".join(filter(None, (first.name, when, _score(first))))
            best.append(f"{_text(model)}: <bdi>{_text(said)}</bdi>")
        length = video.duration_seconds
        shown = "" if length is None else _clock_of(length)
        value = "" if length is None else f"{length:.3f}"
        return (
            f'<tr><td><a href="#video{number}"><bdi>{_text(video.name)}</bdi></a></td>'
            f'<td class="count" data-value="{value}">{shown}</td><td>{"<br>".join(best)}</td></tr>'
        )

    table = _sorted_table(
        [("video", False), ("length", True), ("first answer of each model", False)],
        (cells(number, video) for number, video in enumerate(videos)),
        "videos",
    )
    return f"<section>\n<h2>Videos</h2>\n{table}</section>"


def _ranked(videos: Sequence[VideoRows], colours: Mapping[str, str]) -> Iterable[str]:
    """The best answers of each model over all videos; for moments, per sentence.

    Scores of different models mean different things, so models are not mixed. Captions are left
    out: their scores depend on how long a sentence is.
    """
    groups: dict[tuple[str, str], list[tuple[int, Row]]] = {}
    for number, video in enumerate(videos):
        for row in video.rows:
            if row.kind == "caption" or (row.kind == "label" and row.rank > _MOST_LABELS):
                continue
            question = row.name if row.kind == "moment" else ""
            groups.setdefault((row.model, question), []).append((number, row))
    parts = [
        f'<h3 style="{colours[model]}">{_text(model)}{_about_sentence(question)}</h3>'
        f"{_ranking(found, videos, model, is_of_one=bool(question))}"
        for (model, question), found in groups.items()
    ]
    if parts:
        inner = "\n".join(parts)
        yield f'<section class="ranked">\n<h2>Best over all videos</h2>\n{inner}</section>'


def _about_sentence(sentence: str) -> str:
    return f": <bdi>{_quoted(sentence)}</bdi>" if sentence else ""


def _ranking(
    found: Sequence[tuple[int, Row]], videos: Sequence[VideoRows], model: str, *, is_of_one: bool
) -> str:
    """The best answers of a model as a table.

    Args:
        found: Number of the video, and the answer.
        videos: All videos.
        model: The model.
        is_of_one: All answers are about one sentence, which need not be repeated.
    """

    def from_best(each: tuple[int, Row]) -> float:
        return math.inf if math.isnan(each[1].score) else -each[1].score

    best = sorted(found, key=from_best)[:_MOST_RANKED]
    is_timed = any(row.start is not None for _, row in best)
    lines: list[str] = []
    for place, (number, row) in enumerate(best, 1):
        length = videos[number].duration_seconds or 0.0
        times = ""
        if is_timed:
            fine = length < _TENTHS_BELOW
            times = _times_cells(row, fine, length >= _HOUR, is_link=False)
        seek = "" if row.seconds is None else f' data-seek="{row.seconds[0]:.3f}"'
        what = "" if is_of_one else _name_cell(row)
        lines.append(
            f'<tr><td class="count less">{place}</td><td><a href="#video{number}"{seek}><bdi>'
            f"{_text(row.video)}</bdi></a></td>{what}{times}{_score_cell(row)}</tr>"
        )
    heads = [("place", True), ("video", False)]
    heads += [] if is_of_one else [("what", False)]
    heads += [("start", True), ("end", True)] if is_timed else []
    heads += [("score", True)]
    more = ""
    if len(found) > len(best):
        more = f'<p class="hint">The best {len(best)} of {len(found)}.</p>'
    return more + _sorted_table(heads, lines, f"best answers of {model}")


# --- parts ---------------------------------------------------------------------------------------


def _sorted_table(heads: Sequence[tuple[str, bool]], rows: Iterable[str], name: str) -> str:
    """A table that the page's script sorts; `heads`: name, and whether it is a number.

    On narrow screens there is no room for `place`, `end` and `rank`.
    """
    cells = "".join(
        f'<th scope="col" class="{_classes(head, is_number)}">'
        f'<button type="button" disabled>{head}</button></th>'
        for head, is_number in heads
    )
    body = "\n".join(rows)
    return (
        f'<div class="card scroll" tabindex="0" role="region" aria-label="{_text(name)}">'
        f'<table class="sorted"><thead><tr>{cells}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'
        "</div>\n"
    )


def _classes(head: str, is_number: bool) -> str:
    return " ".join(["count"] * is_number + ["less"] * (head in ("end", "rank", "place")))


def _times_cells(row: Row, tenths: bool, hours: bool, *, is_link: bool = True) -> str:
    start, end = (_time_cell(each, row, tenths, hours, is_link) for each in (row.start, row.end))
    return start + end.replace('class="count"', 'class="count less"', 1)


def _time_cell(value: float | None, row: Row, tenths: bool, hours: bool, is_link: bool) -> str:
    if value is None:
        return '<td class="count" data-value=""></td>'
    shown = _shown_time(value, row.unit, tenths, hours)
    if row.unit == "seconds" and is_link:
        shown = f'<button type="button" data-seek="{value:.3f}">{shown}</button>'
    return f'<td class="count" data-value="{value:.6f}">{shown}</td>'


def _name_cell(row: Row) -> str:
    name = row.name or {"moment": "moment", "caption": ""}.get(row.kind, "segment")
    return f"<td><bdi>{_text(name)}</bdi></td>"


def _score_cell(row: Row) -> str:
    value = "" if math.isnan(row.score) else f"{row.score:.6g}"
    doubt = "" if row.is_likely else '<br><span class="more">probably not there</span>'
    return f'<td class="count" data-value="{value}">{_score(row)}{doubt}</td>'


def _shown_time(value: float, unit: Unit, tenths: bool, hours: bool) -> str:
    forms: dict[Unit, Callable[[], str]] = {
        "seconds": lambda: clock(value, tenths=tenths, hours=hours),
        "share": lambda: f"{100 * value:.1f} %",
        "frames": lambda: f"{value:.0f}",
    }
    return forms[unit]()


def _clock_of(length: float) -> str:
    return clock(length, tenths=length < _TENTHS_BELOW)


def _score(row: Row) -> str:
    if math.isnan(row.score):
        return "\N{EN DASH}"
    sign = "\N{MINUS SIGN}" if row.score < 0 else ""
    return f"{sign}{abs(row.score):.2f}"


def _percent(value: float, length: float) -> str:
    share = min(max(value / length, 0.0), 1.0) if length > 0 else 0.0
    return f"{100 * share:.3f}%"


def _text(text: str) -> str:
    """Any text on one line, escaped for elements and attributes."""
    return escape(drawing.printable(text))


def _quoted(text: str) -> str:
    left, right = "\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}"
    return f"{left}{_text(text)}{right}"
