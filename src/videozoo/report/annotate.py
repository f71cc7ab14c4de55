"""Draw predictions onto the video itself, and into one picture of it.

The mp4 shows the whole video, with its sound. A band holds the best classes of the video and what
else holds at that second: segments, sentences, moments. At the lower edge is a timeline with a tick
at every frame that the model saw, and a bar for every segment. Small videos are enlarged, so that
the band can be read.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.reformatter import Colorspace, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from videozoo.data.frames.sound import with_sound_of
from videozoo.data.frames.video import VideoReader
from videozoo.errors import RunError
from videozoo.report import drawing
from videozoo.report.drawing import BAD, FAINT, GOOD, INK, PAPER, Colour, Frame
from videozoo.safe_write import written_aside

_MOST_SHOWN = 24  # frames in a contact sheet
_STILLS_RATE = 25  # frames per second for folders and pickles, which do not store a rate
_TICKS = 90_000  # per second, for frames at uneven times
_MOST_NAME_BYTES = 180  # file systems allow 255, endings included
_SMALL = 200  # pixels of the shorter side; smaller videos are enlarged
_LEGIBLE = 320  # pixels of the shorter side that they then have at least
_MOST_TIMES_LARGER = 8
_MOST_TEXT_LINES = 3  # of one sentence in the band

_WHITE: Colour = (255, 255, 255)
_SEEN: Colour = (255, 205, 60)
_BEST: Colour = (43, 108, 212)
_OTHER: Colour = (96, 108, 124)
_LIGHT_BAD: Colour = (255, 150, 138)


@dataclass(frozen=True, kw_only=True)
class Timed:
    """What holds for a part of a video."""

    start_seconds: float
    end_seconds: float
    text: str
    score: float | None = None
    """In [0, 1]: drawn as a bar, and as percent. None: only the text is shown."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The prediction for one video."""

    name: str
    top: Sequence[tuple[str, float]] = ()
    """Class and score in [0, 1], best first; of the whole video."""
    truth: str | None = None
    """The true class, if known."""
    timed: Sequence[Timed] = ()
    """What is shown only while it holds, the most important first."""

    @property
    def is_right(self) -> bool | None:
        """None if the true class is not known."""
        return None if self.truth is None or not self.top else self.top[0][0] == self.truth


@dataclass(frozen=True, kw_only=True)
class SeenFrames:
    """The frames of a video that the model saw."""

    numbers: Sequence[int]
    """Numbers of the frames, in the order in which the model saw them."""
    pictures: NDArray[np.uint8]
    """RGB (len(numbers), H, W, 3), cropped and scaled as the model saw them."""


# --- the video -----------------------------------------------------------------------------------


def annotate_video(
    reader: VideoReader,
    path: Path,
    answer: Answer,
    seen: Sequence[int] = (),
    *,
    say: Callable[[str], None] | None = None,
) -> int:
    """Write the video upright with the prediction on it; one frame in memory at a time.

    Args:
        reader: The video.
        path: The mp4 to write: H.264 (MPEG-4 if FFmpeg has no encoder for it), with every frame at
            its time. It has the size of the video, made even; a video whose shorter side is below
            200 pixels is enlarged by a whole number. Sound of a video file is copied, or encoded as
            AAC if an mp4 cannot hold it.
        answer: Drawn in a band over the picture; as much as there is room for.
        seen: Numbers of the frames that the model saw, for the timeline.
        say: Told what became of sound that could not be copied.

    Returns:
        Frames written.

    Raises:
        VideoError: The video cannot be read.
        RunError: The file cannot be written.
    """
    info = reader.info
    rate = Fraction(info.frames_per_second or _STILLS_RATE).limit_denominator(100_000)
    stamps = reader.frame_seconds
    times = None if stamps is None or _are_even(stamps, rate) else stamps
    larger = _times_larger(info.height, info.width)
    height, width = larger * info.height, larger * info.width

    def seconds_of(number: int) -> float:
        return _tick(times, number, rate) / _TICKS if times else float(number / rate)

    band = Band((height, width), answer, seen, info.num_frames, seconds_of=seconds_of)
    count = 0
    try:
        with written_aside(path) as aside:
            with av.open(aside, "w", format="mp4") as container:
                stream = _video_stream(container, rate, height, width)
                if times is not None:
                    stream.codec_context.time_base = Fraction(1, _TICKS)
                frames = _encodable(band, _enlarged(reader.frames(), larger))
                for count, frame in enumerate(frames, start=1):
                    frame.pts = count - 1 if times is None else _tick(times, count - 1, rate)
                    frame.time_base = 1 / rate if times is None else Fraction(1, _TICKS)
                    container.mux(stream.encode(frame))
                container.mux(stream.encode())
            _add_sound(aside, reader, path, say)
    except (OSError, FFmpegError) as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None
    return count


def _add_sound(
    film: Path, reader: VideoReader, path: Path, say: Callable[[str], None] | None
) -> None:
    """Give a film without sound that of the video, if that is a file with sound."""
    source = getattr(reader, "path", None)
    if not isinstance(source, Path) or not source.is_file():
        return
    heard = film.with_name(f"{film.name}.sound")
    try:
        kept, reason = with_sound_of(source, film, heard)
        if heard.exists():
            heard.replace(film)
    finally:
        heard.unlink(missing_ok=True)
    if say is not None and kept == "lost":
        say(f"{path}: without sound, which could not be kept: {reason}")
    if say is not None and kept == "encoded again":
        say(f"{path}: its sound is encoded again, as AAC; an mp4 cannot hold it as it was")


def _times_larger(height: int, width: int) -> int:
    """How many times larger a small video is drawn.

    >>> [_times_larger(*size) for size in ((160, 284), (240, 320), (720, 1280), (8, 8))]
    [2, 1, 1, 8]
    """
    short = min(height, width)
    if short >= _SMALL:
        return 1
    return min(_MOST_TIMES_LARGER, -(-_LEGIBLE // max(1, short)))


def _enlarged(pictures: Iterator[Frame], times: int) -> Iterator[Frame]:
    for picture in pictures:
        if times == 1:
            yield picture
        else:
            size = times * picture.shape[1], times * picture.shape[0]
            yield np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def _encodable(band: Band, pictures: Iterator[Frame]) -> Iterator[av.VideoFrame]:
    convert = VideoReformatter()
    for number, picture in enumerate(pictures):
        drawn = band.draw(picture, number)
        height, width = drawn.shape[:2]
        even = np.pad(drawn, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        yield convert.reformat(
            av.VideoFrame.from_ndarray(even, format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            threads=1,
        )


def _video_stream(
    container: OutputContainer, rate: Fraction, height: int, width: int
) -> VideoStream:
    h264 = "libx264" in av.codecs_available
    options = {"preset": "veryfast", "crf": "20"} if h264 else {"qmin": "2", "qmax": "5"}
    codec = "libx264" if h264 else "mpeg4"
    stream = container.add_stream(codec, rate=rate, options=options)
    stream.height, stream.width = height + height % 2, width + width % 2
    stream.pix_fmt = "yuv420p"
    coder = stream.codec_context  # BT.709 always; without tags, players guess by the size
    coder.colorspace = coder.color_primaries = coder.color_trc = 1
    coder.color_range = 1
    return stream


def _are_even(times: Sequence[float], rate: Fraction) -> bool:
    """Whether frames follow each other at this rate."""
    step = float(1 / rate)
    slack = 0.1 * step + 0.001  # some containers round to milliseconds
    return all(abs(time - number * step) <= slack for number, time in enumerate(times))


def _tick(times: Sequence[float], number: int, rate: Fraction) -> int:
    """Tick at which frame `number` is shown; unexpected frames follow at the average rate."""
    extra = max(0, number - len(times) + 1)
    return round((times[number - extra] + extra / rate) * _TICKS)


class Band:
    """Draws what is said of one video, and the timeline, on its frames."""

    def __init__(
        self,
        size: tuple[int, int],
        answer: Answer,
        seen: Sequence[int],
        num_frames: int,
        *,
        seconds_of: Callable[[int], float] | None = None,
    ) -> None:
        """Draw what is the same on all frames.

        Args:
            size: Height and width of the frames; text scales with it.
            answer: What to write.
            seen: Frames to mark on the timeline.
            num_frames: Its length.
            seconds_of: When a frame is shown; by default one frame per second.
        """
        self._height, self._width = size
        short = min(size)
        self._text_size = round(max(short / 28, min(15, max(9, short / 12))))
        self._strip = max(3, round(0.5 * self._text_size))  # height of the timeline
        self._num_frames = max(1, num_frames)
        self._seen = frozenset(seen)
        self._answer = answer
        self._seconds_of = seconds_of or float
        self._timeline = self._drawn_timeline()
        self._last: tuple[tuple[Timed, ...], _Panel | None] = ((), self._drawn_panel(()))

    def draw(self, picture: Frame, number: int) -> Frame:
        """A copy of frame `number` with the band on it."""
        drawn = picture.copy()
        bottom = self._height - self._strip
        panel = self._panel_at(number)
        if panel is not None:
            height, width = panel.keep.shape[:2]
            under = drawn[bottom - height : bottom, :width]
            under[:] = (under * panel.keep + panel.add + 127) // 255
        drawn[bottom:] = self._timeline
        centre = self._column(number)
        half = max(1, self._width // 250)
        colour = _SEEN if number in self._seen else _WHITE
        drawn[bottom - half :, max(0, centre - half) : centre + half + 1] = colour
        return drawn

    def _panel_at(self, number: int) -> _Panel | None:
        """The band of a frame; drawn again only when something begins or ends."""
        if self._answer.timed:
            at = self._seconds_of(number) + 1e-6
            holding = tuple(
                each for each in self._answer.timed if each.start_seconds <= at < each.end_seconds
            )
            if holding != self._last[0]:
                self._last = holding, self._drawn_panel(holding)
        return self._last[1]

    def _column(self, number: float) -> int:
        return min(self._width - 1, int((number + 0.5) / self._num_frames * self._width))

    def _drawn_timeline(self) -> Frame:
        strip = np.full((self._strip, self._width, 3), 40, np.uint8)
        if self._answer.timed:
            times = [self._seconds_of(number) for number in range(self._num_frames)]
            for each in self._answer.timed:
                first, last = np.searchsorted(times, (each.start_seconds, each.end_seconds))
                left, right = (int(end / self._num_frames * self._width) for end in (first, last))
                strip[1:, left : max(right, left + 1)] = _BEST
        half = max(0, self._width // 500)
        for number in self._seen:
            centre = self._column(number)
            strip[1:, max(0, centre - half) : centre + half + 1] = _SEEN
        return strip

    def _drawn_panel(self, holding: Sequence[Timed]) -> _Panel | None:
        """The band with the classes and what holds; None if that is nothing."""
        size = self._text_size
        line = round(1.45 * size)
        width = min(self._width, 26 * size)
        left = round(0.4 * size)
        if any(drawing.font_for(each.text, size).getlength(each.text) > width - 5 * size
               for each in holding):  # fmt: skip
            width = self._width
        is_narrow = width < 12 * size
        rows = [
            row
            for each in holding
            for row in _timed_rows(each, size, width - 2 * left, is_narrow=is_narrow)
        ]
        rows += _rows(self._answer, is_narrow=is_narrow)
        rows = rows[: max(1, int(0.5 * self._height - self._strip) // line)]
        if not rows:
            return None
        height = min(line * len(rows), self._height - self._strip)
        panel = Image.new("RGBA", (width, height), (14, 18, 24, 176))
        canvas = ImageDraw.Draw(panel)
        gap = max(1, round(0.12 * size))
        for place, row in enumerate(rows):
            top, middle = place * line, place * line + line / 2
            filled = round(width * min(max(row.share, 0.0), 1.0))
            if filled:
                box = (0, top + gap, filled - 1, top + line - gap - 1)
                canvas.rectangle(box, fill=(*row.fill, 235))
            room = width - 2 * left
            if row.number:
                write = partial(drawing.write, canvas, size=size, width=width, colour=_WHITE)
                write((width - left, middle), row.number, anchor="rm")
                room -= drawing.font_for(row.number, size).getlength(row.number) + left
            drawing.write(
                canvas, (left, middle), row.text, size=size, width=room, colour=row.colour
            )
        pixels = np.asarray(panel)
        opacity = pixels[..., 3:].astype(np.uint16)
        return _Panel(255 - opacity, pixels[..., :3].astype(np.uint16) * opacity)


class _Panel(NamedTuple):
    """A drawn band, ready to be laid over pictures."""

    keep: NDArray[np.uint16]
    """(H, W, 1): how much of the picture stays, of 255."""
    add: NDArray[np.uint16]
    """(H, W, 3): colour times opacity."""


@dataclass(frozen=True)
class _Row:
    """One line of the band."""

    text: str
    number: str = ""
    """At the right end."""
    share: float = 0.0
    """Of the line that its bar fills."""
    fill: Colour = _OTHER
    colour: Colour = _WHITE


def _timed_rows(timed: Timed, size: int, width: int, *, is_narrow: bool) -> list[_Row]:
    """Lines for something that holds now; long sentences take several."""
    number = "" if timed.score is None or is_narrow else f"{100 * timed.score:.0f} %"
    room = width - (5 * size if number else 0)
    lines = drawing.wrapped(timed.text, size, room, most=_MOST_TEXT_LINES)
    first, *more = lines or [""]
    return [_Row(first, number, timed.score or 0.0, _BEST), *map(_Row, more)]


def _rows(answer: Answer, *, is_narrow: bool) -> list[_Row]:
    """Lines about the whole video, the most important first."""
    if not answer.top:
        return []
    (best, score), *others = answer.top
    sign, fill = {
        None: ("", _BEST),
        True: ("\N{CHECK MARK} ", GOOD),
        False: ("\N{MULTIPLICATION X} ", BAD),
    }[answer.is_right]
    percent = f"{100 * score:.0f} %"
    if is_narrow:  # no room for a number beside the name
        rows = [_Row(sign + best, "", score, fill), _Row(percent)]
    else:
        rows = [_Row(sign + best, percent, score, fill)]
    if answer.is_right is False:
        rows.append(_Row(f"truth: {answer.truth}", colour=_LIGHT_BAD))
    if is_narrow:
        return rows + [_Row(name, "", share) for name, share in others]
    return rows + [_Row(name, f"{100 * share:.0f} %", share) for name, share in others]


# --- pictures ------------------------------------------------------------------------------------


def contact_sheet(
    seen: SeenFrames, answer: Answer, *, frames_per_second: float | None = None
) -> Image.Image:
    """The frames that the model saw, beside its prediction.

    Args:
        seen: Of more than 24, 24 evenly spread ones are shown.
        answer: The classes.
        frames_per_second: To write seconds under the frames.
    """
    shown = drawing.spread(len(seen.numbers), _MOST_SHOWN)
    columns = drawing.columns_for(len(shown))
    cell = 168
    pictures = [drawing.resized(seen.pictures[place], cell) for place in shown]
    gap, caption, margin, side = 8, 20, 20, 340
    step = pictures[0].height + caption + gap
    rows = -(-len(shown) // columns)
    grid = columns * (cell + gap) - gap
    height = max(rows * step - gap, 70 + 46 * len(answer.top)) + 2 * margin
    sheet = Image.new("RGB", (grid + side + 3 * margin, height), PAPER)
    canvas = ImageDraw.Draw(sheet)
    for turn, (place, picture) in enumerate(zip(shown, pictures, strict=True)):
        left = margin + turn % columns * (cell + gap)
        top = margin + turn // columns * step
        sheet.paste(picture, (left, top))
        text = _moment(seen.numbers[place], frames_per_second)
        drawing.write(
            canvas, (left, top + picture.height + caption / 2), text,
            size=12, width=cell, colour=FAINT,
        )  # fmt: skip
    _write_answer(canvas, answer, left=grid + 2 * margin, top=margin, width=side)
    return sheet


def explained_sheet(
    seen: SeenFrames,
    heat: NDArray[np.float32],
    shares: Sequence[float],
    *,
    title: str,
    name: str,
    frames_per_second: float | None = None,
) -> Image.Image:
    """The frames that the model saw; below each, where it looked and the weight of the frame.

    Args:
        seen: Of more than 24, 24 evenly spread ones are shown.
        heat: (T, h, w) in [0, 1], for each of those frames.
        shares: Share of each frame in the total heat.
        title: The class that is explained.
        name: Of the video.
        frames_per_second: To write seconds over the frames.
    """
    shown = drawing.spread(len(seen.numbers), _MOST_SHOWN)
    columns = min(8, len(shown))
    cell, gap, margin, caption, head, meter = 144, 8, 20, 20, 66, 26
    originals = [drawing.resized(seen.pictures[place], cell) for place in shown]
    tall = originals[0].height
    step = caption + 2 * tall + 4 + meter + 2 * gap
    rows = -(-len(shown) // columns)
    width = max(columns * (cell + gap) - gap, 460) + 2 * margin
    sheet = Image.new("RGB", (width, head + rows * step + margin), PAPER)
    canvas = ImageDraw.Draw(sheet)
    drawing.write(canvas, (margin, margin + 8), title, size=18, width=width - 2 * margin)
    _legend(sheet, canvas, (width - margin, margin + 34))
    drawing.write(
        canvas, (margin, margin + 34), name, size=13, width=width - 2 * margin - 230, colour=FAINT
    )
    largest = max(shares, default=0.0) or 1.0
    for turn, (place, picture) in enumerate(zip(shown, originals, strict=True)):
        left = margin + turn % columns * (cell + gap)
        top = head + turn // columns * step
        text = _moment(seen.numbers[place], frames_per_second)
        drawing.write(canvas, (left, top + caption / 2), text, size=12, width=cell, colour=FAINT)
        sheet.paste(picture, (left, top + caption))
        warm = drawing.with_heat(np.asarray(picture), heat[place])
        sheet.paste(Image.fromarray(warm), (left, top + caption + tall + 4))
        middle = top + caption + 2 * tall + 4 + meter / 2
        share = shares[place]
        drawing.bar(canvas, (left, middle - 4, left + cell - 46, middle + 4), share / largest)
        drawing.write(
            canvas, (left + cell, middle), f"{100 * share:.0f} %", size=12, width=44, anchor="rm"
        )
    return sheet


def _legend(sheet: Image.Image, canvas: ImageDraw.ImageDraw, place: tuple[int, int]) -> None:
    right, middle = place
    ramp = np.broadcast_to(np.linspace(0, 1, 100, dtype=np.float32), (10, 100))
    drawing.write(canvas, (right, middle), "most", size=12, width=60, colour=FAINT, anchor="rm")
    sheet.paste(Image.fromarray(drawing.heat_colours(ramp)), (right - 140, middle - 5))
    drawing.write(
        canvas, (right - 148, middle), "none", size=12, width=60, colour=FAINT, anchor="rm"
    )


def _moment(number: int, frames_per_second: float | None) -> str:
    if not frames_per_second:
        return f"frame {number}"
    return f"frame {number}, {number / frames_per_second:.2f} s"


def _write_answer(
    canvas: ImageDraw.ImageDraw, answer: Answer, *, left: int, top: int, width: int
) -> None:
    drawing.write(canvas, (left, top + 8), answer.name, size=15, width=width)
    if answer.is_right is not None:
        right, wrong = "\N{CHECK MARK} right", f"\N{MULTIPLICATION X} truth: {answer.truth}"
        verdict, colour = (right, GOOD) if answer.is_right else (wrong, BAD)
        drawing.write(canvas, (left, top + 32), verdict, size=14, width=width, colour=colour)
    for place, (name, score) in enumerate(answer.top):
        line = top + 66 + 46 * place
        drawing.write(
            canvas,
            (left, line),
            name,
            size=15,
            width=width - 74,
            colour=INK if not place else FAINT,
        )
        number = f"{100 * score:.1f} %"
        drawing.write(canvas, (left + width, line), number, size=15, width=72, anchor="rm")
        fill = drawing.ACCENT if not place else FAINT
        drawing.bar(canvas, (left, line + 12, left + width, line + 20), score, fill)


def write_picture(path: Path, picture: Image.Image) -> Path:
    """Write a picture as PNG, whole or not at all.

    Raises:
        RunError: The disk refuses.
    """
    try:
        with written_aside(path) as aside:
            picture.save(aside, "PNG")
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path


def picture_names(paths: Sequence[Path]) -> list[str]:
    """File names for the pictures of each video: short, and unique on any file system.

    >>> picture_names([Path("a/x.mp4"), Path("b/x.mp4"), Path("b/y.mp4"), Path("b/Y.avi")])
    ['a_x', 'b_x', 'b_y', 'b_Y_2']
    """

    def known(name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold()  # as macOS and Windows compare

    stems = [path.stem if path.suffix else path.name for path in paths]
    often = Counter(map(known, stems))
    names: list[str] = []
    used: set[str] = set()  # a video may have the name of another one's explanation
    for path, stem in zip(paths, stems, strict=True):
        name = stem if often[known(stem)] == 1 else f"{path.absolute().parent.name}_{stem}"
        while len(os.fsencode(name)) > _MOST_NAME_BYTES:
            name = name[:-1]
        base, number = name, 2
        while used & {known(name), known(f"{name}_explained")}:
            name, number = f"{base}_{number}", number + 1
        used |= {known(name), known(f"{name}_explained")}
        names.append(name)
    return names
