"""The sound of a video file, put beside new pictures of it in an mp4."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.stream import Stream

from videozoo.data.frames.video import open_stored
from videozoo.errors import VideoError

if TYPE_CHECKING:
    from av.packet import Packet

    _Packets = Iterator[Packet[Any]]
    _Timed = tuple[Fraction, Packet[Any]]
    """A packet, and when it is decoded, in seconds."""

Kept = Literal["none", "copied", "encoded again", "lost"]
"""What became of the sound. `none`: the video has none."""

_COPIED = frozenset(("aac", "mp3", "ac3", "eac3", "alac", "opus"))
"""FFmpeg's names of the codecs that players expect in mp4 files."""
_HIGHEST_RATE = 96_000  # samples per second, of AAC
_USUAL_RATE = 48_000
_GAP_SECONDS = 0.1
"""Sound that pauses for less goes on without a pause."""


def with_sound_of(source: Path, pictures: Path, target: Path) -> tuple[Kept, str]:
    """Write an mp4 with the pictures of one file and the sound of another.

    The pictures are copied. The first stream of sound is copied, too, where an mp4 may hold it, and
    otherwise encoded as AAC. The first picture of `source` is taken to be that of `pictures`; sound
    from before it is left out.

    Args:
        source: The video with the sound.
        pictures: An mp4 whose pictures begin at 0 s.
        target: The file to write; not written if the sound is `none` or `lost`.

    Returns:
        What became of the sound, and for lost sound the reason.
    """
    reason = ""
    try:
        with open_stored(source) as stored:
            if not stored.streams.audio:
                return "none", ""
            can_copy = _sound(stored).codec.canonical_name in _COPIED
    except VideoError:  # frames in a pickle, a moving picture
        return "none", ""
    except (FFmpegError, OSError, ValueError) as error:
        return "lost", _said(error)
    ways: tuple[tuple[Kept, Callable[..., None]], ...] = (
        *((("copied", _copy),) if can_copy else ()),
        ("encoded again", _encode),
    )
    for kept, write in ways:
        try:
            with (
                open_stored(source) as stored,
                av.open(str(pictures)) as film,
                av.open(str(target), "w", format="mp4") as out,
            ):
                write(stored, film, out)
        except (FFmpegError, OSError, ValueError) as error:
            target.unlink(missing_ok=True)
            reason = _said(error)
        else:
            return kept, ""
    return "lost", reason


def _sound(stored: InputContainer) -> AudioStream:
    """The first stream of sound that FFmpeg can decode."""
    for stream in stored.streams.audio:
        if cast("object", stream.codec_context):
            return stream
    raise ValueError("FFmpeg has no decoder for it")


def _copy(stored: InputContainer, film: InputContainer, out: OutputContainer) -> None:
    shown, heard = film.streams.video[0], _sound(stored)
    new_shown = out.add_stream_from_template(shown)
    new_heard = out.add_stream_from_template(heard)
    sound = _moved(stored.demux(heard), new_heard, _start(stored))
    _mux(out, _moved(film.demux(shown), new_shown, Fraction(0)), sound)


def _encode(stored: InputContainer, film: InputContainer, out: OutputContainer) -> None:
    shown, heard = film.streams.video[0], _sound(stored)
    new_shown = out.add_stream_from_template(shown)
    rate = heard.codec_context.sample_rate
    rate = rate if 8000 <= rate <= _HIGHEST_RATE else _USUAL_RATE
    new_heard = out.add_stream("aac", rate=rate)
    coder = new_heard.codec_context
    coder.layout = "mono" if heard.codec_context.channels == 1 else "stereo"
    coder.format = "fltp"
    coder.open()
    sound = _encoded(stored.demux(heard), new_heard, _start(stored))
    _mux(out, _moved(film.demux(shown), new_shown, Fraction(0)), sound)


def _start(stored: InputContainer) -> Fraction:
    """When the first picture is shown, in seconds of the container's clock."""
    for stream in stored.streams.video:
        if stream.start_time is not None and stream.time_base:
            return stream.start_time * stream.time_base
    return Fraction(0)


def _moved(packets: _Packets, stream: Stream, start: Fraction) -> Iterator[_Timed]:
    """Packets for another file, `start` seconds earlier; without those that then end before 0."""
    last = Fraction(0)
    for packet in packets:
        if not packet.size or packet.dts is None or not packet.time_base:
            continue
        shift = round(start / packet.time_base)
        packet.dts -= shift
        if packet.pts is not None:
            packet.pts -= shift
            if shift and packet.pts + (packet.duration or 0) <= 0:
                continue
        last = _seconds(packet, last)
        packet.stream = stream
        yield last, packet


def _encoded(packets: _Packets, stream: AudioStream, start: Fraction) -> Iterator[_Timed]:
    """The sound as AAC."""
    coder = stream.codec_context
    last = Fraction(0)
    count = 0
    for frame in _resampled(packets, coder, start):
        for packet in coder.encode(frame):
            last = _seconds(packet, last)
            packet.stream = stream
            count += 1
            yield last, packet
    if not count:
        raise ValueError("no sound can be decoded")


def _resampled(
    packets: _Packets, coder: AudioCodecContext, start: Fraction
) -> Iterator[av.AudioFrame | None]:
    """Frames as the encoder takes them, from 0 s on, and None at the end."""
    resampler = av.AudioResampler(
        format="fltp", layout=coder.layout, rate=coder.sample_rate, frame_size=coder.frame_size
    )

    def resampled() -> Iterator[av.AudioFrame]:
        for packet in packets:
            for frame in cast("list[av.AudioFrame]", packet.decode()):
                if frame.pts is not None and frame.time_base:
                    frame.pts -= round(start / frame.time_base)
                    end = frame.pts * frame.time_base + Fraction(frame.samples, frame.sample_rate)
                    if end <= 0:
                        continue
                yield from resampler.resample(frame)
        yield from resampler.resample(None)

    rate = coder.sample_rate
    after = 0  # samples until the end of the last frame
    for frame in resampled():
        told = after
        if frame.pts is not None and frame.time_base:
            told = round(frame.pts * frame.time_base * rate)
        is_gap = told > after + _GAP_SECONDS * rate or not after
        frame.pts = told if is_gap else after  # the clocks of some containers are coarse
        frame.time_base = Fraction(1, rate)
        after = frame.pts + frame.samples
        yield frame
    yield None


def _mux(out: OutputContainer, *streams: Iterator[_Timed]) -> None:
    """Write packets of several streams in the order of their times."""
    waiting = [(each, next(each, None)) for each in streams]
    while any(first is not None for _, first in waiting):
        turn = min(
            (number for number, (_, first) in enumerate(waiting) if first is not None),
            key=lambda number: cast("_Timed", waiting[number][1])[0],
        )
        stream, first = waiting[turn]
        out.mux(cast("_Timed", first)[1])
        waiting[turn] = stream, next(stream, None)


def _seconds(packet: Packet[Any], last: Fraction) -> Fraction:
    at = packet.dts if packet.dts is not None else packet.pts
    return last if at is None or not packet.time_base else at * packet.time_base


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
