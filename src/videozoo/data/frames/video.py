"""Frames by number from a video file, a folder of images, or a pickle of JPEGs.

Reading eight frames of a long video should not cost the decoding of all. Where the headers of the
packets prove what depends on what (see `_bitstream`), only the packets needed are decoded;
otherwise everything up to the last wanted frame. Both give the same bytes: frame `k` is the
`k`-th that comes out when the whole stream is decoded by FFmpeg on one thread.
"""

from __future__ import annotations

import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from videozoo.data.files import IMAGE_SUFFIXES, animated_size, is_pickle, not_read
from videozoo.data.frames._bitstream import StreamIndex, index_stream
from videozoo.data.frames.pixels import (
    VARIABLE,
    check_pixels,
    decoder_pixels,
    most_damaged_pixels,
    most_pixels,
)
from videozoo.data.text import natural_key
from videozoo.errors import DataError, VideoError, counted
from videozoo.safe_pickle import load_pickle

if TYPE_CHECKING:
    from videozoo.data.frames._bitstream import VideoPacket


_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,kux,mpegts,mpeg,mpegvideo,m4v,h261,"
    "h263,h264,hevc,vvc,av1,obu,ivf,vc1,vc1test,asf,asf_o,ogg,gif,apng,mxf,gxf,nut,wtv,rm,dv,swf,"
    "mjpeg,yuv4mpegpipe,cavsvideo,dirac,dnxhd,dhav,roq,smk,bink,flic,nsv,pva,ty,wav,mp3,aac,ac3,"
    "eac3,dts,amr,aiff,caf,flac,w64"
)
"""Allowed readers of FFmpeg. Not allowed: playlists (they name other files or the network), text
art, single images."""

_PICTURES = ("JPEG", "PNG", "BMP", "WEBP", "GIF")
"""What Pillow may take a picture for: of its other formats some start programs."""
_MOST_HELD = 2
"""Frames that a decoder holds back beyond those that it says."""
_MAX_KEPT_BYTES = 64 << 20
"""Packets of larger files are read from disk again instead of kept in memory."""

_PICTURE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,  # where warnings are errors
)

_PLAYLISTS = {b"#EXTM3U": "HLS", b"ffconcat": "concat", b"<MPD": "DASH", b"v=0\r\n": "SDP"}


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """Properties of a video, without decoding."""

    num_frames: int
    height: int
    """In pixels, after rotation; so is `width`."""
    width: int
    frames_per_second: float | None
    """The container's average; None where it does not tell, and for folders and pickles."""
    codec: str
    """FFmpeg's name of the decoder; the image type for folders and pickles."""
    container: str
    """FFmpeg's name of the container; "folder" or "pickle" for the others."""
    rotation: int
    """Degrees clockwise by which stored frames are turned: 0, 90, 180 or 270."""


class ShiftedFramesError(VideoError):
    """Other frames came out of a video than its headers say; see `VideoReader.frames_at`."""


class VideoReader(Protocol):
    """Reads frames by number. Not for two threads at once; pickled as its path."""

    @property
    def info(self) -> VideoInfo:
        """Size, rate and origin."""
        ...

    @property
    def num_frames(self) -> int:
        """How many frames can be read."""
        ...

    def read(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Frames `indices` as RGB (len(indices), H, W, 3); any order, repeats allowed.

        Raises:
            IndexError: An index is negative or not below `num_frames`.
            VideoError: The frames cannot be read.
        """
        ...

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Every frame in order, RGB (H, W, 3), one in memory at a time.

        Raises:
            VideoError: The frames cannot be read.
        """
        ...

    def frames_at(self, indices: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Some frames in order, one in memory at a time, each with its number.

        What none of them needs is not decoded, where the file tells what that is.

        Args:
            indices: Numbers of frames, in any order; repeats are given once.

        Raises:
            IndexError: An index is negative or not below `num_frames`.
            ShiftedFramesError: Other frames came out than the headers say; what was given before
                may be wrong. Call it once more: then everything is decoded.
            VideoError: The frames cannot be read. If they come to an end early, they just end.
        """
        ...

    @property
    def frame_seconds(self) -> list[float] | None:
        """When each frame is shown, seconds after the first; None where nothing tells."""
        ...

    def close(self) -> None:
        """Let go of files and memory. Reading is over."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


def open_video(path: str | Path) -> VideoReader:
    """Open a video for reading frames by number.

    Args:
        path: A video file, a folder of frames (see `FrameFolder`) or a 2019 pickle
            (`.pkl` or no ending, see `JpegPickle`). Moving WebP counts as video.

    Raises:
        VideoError: Missing, or holds no frame that can be read; the message names the file.
    """
    if not isinstance(path, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise VideoError(
            f"open_video: a {type(path).__name__}, expected the path of a video file or a folder "
            "of frames; write bytes to a file first"
        )
    path = Path(path)
    if path.is_dir():
        return FrameFolder(path)
    if not path.exists():
        raise VideoError(not_read(path) or f"{path}: no such file", absent=path)
    if not path.is_file():
        raise VideoError(f"{path}: neither a file nor a folder")
    if not path.stat().st_size:
        raise VideoError(f"{path}: the file is empty")
    if is_pickle(path):
        return JpegPickle(path)
    size = animated_size(path)
    return VideoFile(path) if size is None else AnimatedImage(path, size)


class _Reader(ABC):
    """What all readers share: checking frame numbers, closing, pickling."""

    path: Path

    @property
    @abstractmethod
    def info(self) -> VideoInfo:
        """As `VideoReader.info`."""

    @property
    @abstractmethod
    def num_frames(self) -> int:
        """As `VideoReader.num_frames`."""

    def read(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Frames `indices` as RGB (len(indices), H, W, 3); any order, repeats allowed.

        Raises:
            IndexError: An index is negative or not below `num_frames`.
            VideoError: The frames cannot be read.
        """
        wanted = self._checked(indices)
        if not wanted:
            return np.empty((0, self.info.height, self.info.width, 3), np.uint8)
        frames = self._read(sorted(set(wanted)))
        return np.stack([frames[index] for index in wanted])

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Every frame in order, RGB (H, W, 3), one in memory at a time.

        Raises:
            VideoError: The frames cannot be read.
        """
        for index in range(self.num_frames):
            yield self.read([index])[0]

    def frames_at(self, indices: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Some frames in order, each with its number; see `VideoReader.frames_at`."""
        for index in sorted(set(self._checked(indices))):
            yield index, self.read([index])[0]

    @property
    def frame_seconds(self) -> list[float] | None:
        """When each frame is shown, seconds after the first; None where nothing tells."""
        return None

    def _checked(self, indices: Sequence[int]) -> list[int]:
        wanted = [int(index) for index in indices]
        for index in wanted:
            if not 0 <= index < self.num_frames:
                last = self.num_frames - 1
                raise IndexError(
                    f"{self.path}: no frame {index}; it has {last + 1} frames, 0 to {last}"
                )
        return wanted

    @abstractmethod
    def _read(self, indices: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        """Frames by number; `indices` increase and exist."""

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of files and memory. Reading is over."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)


# --- Video files ----------------------------------------------------------------------------------


class VideoFile(_Reader):
    """A video file, decoded by FFmpeg.

    The numbers of frames are those of a full decode. Where headers do not prove their count (see
    `_bitstream`; damaged, encrypted, interlaced or rare streams), the file is decoded once when
    it is opened. Packets the decoder refuses are left out, as players do; `damage` says so.

    Headers may be whole and pictures still damaged. That is not noticed while frames far from the
    damage are read, and numbers count what the headers describe. When a read runs into it, the
    file is decoded in full and `num_frames` becomes what came out; numbers the reader had
    promised before, and that do not exist, are answered with the last frame that does.

    Frames are turned upright as the container asks; pixels that are not square stay as stored.
    Where the size changes midway, frames are scaled to the size of the first. Colours are
    FFmpeg's for RGB: matrix and range as the stream declares them. Transparency is dropped.

    Attributes:
        packets_sent: Packets fed to decoders so far, those of a full decode at opening included.
        damage: What was wrong with the file, as far as it was noticed; empty if nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.packets_sent = 0
        self.damage = ""
        self._size: tuple[int, int] | None = None  # (height, width) as shown
        self._turn = _UPRIGHT
        self._is_closed = False
        self._promised = 0  # frames, at most, that `num_frames` ever told
        with _errors_of(path):
            container = _open_container(path)
            with container:
                self._open(container)
            if self._index is None:
                self._decode_all(wanted=())

    def _open(self, container: InputContainer) -> None:
        stream = _video_stream(container, self.path)
        self._stream_number = stream.index
        self._container_name = container.format.name
        self._rate = float(stream.average_rate) if stream.average_rate else None
        coder = stream.codec_context
        self._coder_name = coder.name
        self._coded_size = (coder.height, coder.width)
        check_pixels(self.path, *self._coded_size)

        packets = self._first_pass(container, stream)
        index = index_stream(
            self._coder_name, coder.extradata, packets, reorder_depth=coder.reorder_depth
        )
        for _ in packets:  # the indexer may have stopped early
            pass
        is_sound = index and index.order and not self.damage and min(self._coded_size) > 0
        self._index: StreamIndex | None = index if is_sound else None
        self._num_frames = len(self._index.order) if self._index else 0
        self._spare: VideoCodecContext | None = _prepare(coder)

    def _first_pass(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoPacket]:
        """Every packet, kept for later while they are not too many."""
        self._packets: list[VideoPacket] | None = []
        self._num_packets = 0
        self._times: list[int | None] = []
        self._time_base = stream.time_base
        self._num_bytes = 0
        try:
            for packet in container.demux(stream):
                if not packet.size:  # to a decoder it would mean the end
                    continue
                self._times.append(packet.pts)  # `_tag` puts another number in its place
                yield packet
                self._num_bytes += packet.size
                if self._packets is not None and self._num_bytes <= _MAX_KEPT_BYTES:
                    self._packets.append(_tag(packet, self._num_packets))
                else:
                    self._packets = None
                self._num_packets += 1
        except FFmpegError as error:
            self.damage = f"reading stops after {self._num_packets} packets ({error.strerror})"

    @property
    def num_frames(self) -> int:
        """How many frames can be read."""
        self._promised = max(self._promised, self._num_frames)
        return self._num_frames

    def _checked(self, indices: Sequence[int]) -> list[int]:
        """Numbers that were promised once, and turned out not to exist, are the last frame."""
        last = self.num_frames - 1
        found = [int(index) for index in indices]
        lost = {index for index in found if last < index < self._promised}
        return super()._checked([last if index in lost else index for index in found])

    @property
    def info(self) -> VideoInfo:
        """Size, rate and origin. The first use may decode a frame, to see which way is up."""
        if self._size is None:
            self.read([0])
        height, width = self._size or (0, 0)
        return VideoInfo(
            num_frames=self._num_frames,
            height=height,
            width=width,
            frames_per_second=self._rate,
            codec=self._coder_name,
            container=self._container_name,
            rotation=self._turn.degrees,
        )

    def decode_all(self) -> None:
        """Decode every frame and keep none; `num_frames` and `damage` are then the whole truth.

        Raises:
            VideoError: No frame comes out, or the file cannot be read.
        """
        promised = self._num_frames
        with _errors_of(self.path):
            num_frames = sum(1 for _ in self._all_frames())
        if not num_frames:
            raise VideoError(self._why_nothing())
        if promised != num_frames:
            self._index = None
            self._num_frames = num_frames
            self.damage = self.damage or f"of {promised} frames, {num_frames} came out"

    @property
    def frame_seconds(self) -> list[float] | None:
        """When each frame is shown, seconds after the first; None where nothing tells."""
        times = sorted(time for time in self._times if time is not None)
        whole = len(times) == len(set(times)) == len(self._times) == self._num_frames
        if not whole or not self._time_base:
            return None
        return [float((time - times[0]) * self._time_base) for time in times]

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Every frame in order, RGB (H, W, 3), one in memory at a time.

        Where pictures are damaged, these are the frames that come out, perhaps fewer than promised.
        """
        if self._is_closed:
            raise VideoError(f"{self.path}: read after close")
        _ = self.info  # which way is up
        convert = _Converter()
        with _errors_of(self.path):
            for frame in self._all_frames():
                yield self._upright(frame, convert)

    def frames_at(self, indices: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Some frames in order, each with its number; see `VideoReader.frames_at`.

        Where headers prove what depends on what, only the packets needed are decoded, and it is
        checked that exactly the expected frames come out.
        """
        if self._is_closed:
            raise VideoError(f"{self.path}: read after close")
        wanted = sorted(set(self._checked(indices)))
        _ = self.info  # which way is up
        with _errors_of(self.path):
            if self._index is None:
                yield from self._in_order(wanted)
                return
            try:
                yield from self._sparsely(self._index, wanted)
                return
            except (_SurpriseError, FFmpegError):
                self._index = None
        raise ShiftedFramesError(
            f"{self.path}: other frames come out than its headers say; it is read in order from now"
        )

    def close(self) -> None:
        """Let go of files and memory. Reading is over."""
        self._packets = self._spare = None
        self._is_closed = True

    def _read(self, indices: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        if self._is_closed:
            raise VideoError(f"{self.path}: read after close")
        with _errors_of(self.path):
            if self._index is None:
                return self._read_in_order(indices)
            try:
                return dict(self._sparsely(self._index, indices))
            except (_SurpriseError, FFmpegError):
                pass
            self._index = None
            promised = self._num_frames
            frames = self._decode_all(wanted=indices)
            if promised != self._num_frames and not self.damage:
                self.damage = f"of {promised} frames, {self._num_frames} came out"
        last = frames[max(frames)]
        return {index: frames.get(index, last) for index in indices}

    def _sparsely(
        self, index: StreamIndex, wanted: Sequence[int]
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Decode only what `wanted` needs, and see that exactly the expected frames come out.

        A surprise may come after the last frame, and then tells of those before, too.
        """
        runs = index.runs({index.order[number] for number in wanted})
        sent = {packet for run in runs for packet in run}
        number_of = index.number_of
        expected = iter(sorted(number_of[packet] for packet in sent if packet in number_of))
        missing = set(wanted)
        convert = _Converter()
        for frame in self._frames_of_runs(runs, flush_between=index.flush_between):
            number = number_of.get(-1 if frame.pts is None else frame.pts)
            if number is None or number != next(expected, None) or frame.is_corrupt:
                raise _SurpriseError
            if (frame.height, frame.width) != self._coded_size:
                raise _SurpriseError
            if number not in missing:
                continue
            turn = _turn_of(frame)
            if self._size is not None and turn != self._turn:
                raise _SurpriseError
            self._turn, self._size = turn, turn.size_of(self._coded_size)
            missing.discard(number)
            yield number, turn.apply(convert(frame, self._coded_size))
        # Not before the last frame is out: a damaged one may be shown after those built on it.
        if missing or next(expected, None) is not None:
            raise _SurpriseError

    def _frames_of_runs(
        self, runs: Sequence[Sequence[int]], *, flush_between: bool
    ) -> Iterator[av.VideoFrame]:
        coder = self._decoder()
        packets = self._fetch({packet for run in runs for packet in run})
        for number, run in enumerate(runs):
            if number and flush_between:
                yield from coder.decode(None)
                coder.flush_buffers()
            for _ in run:
                self.packets_sent += 1
                yield from coder.decode(next(packets))
        yield from coder.decode(None)

    def _read_in_order(self, wanted: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        """Decode from the beginning up to the last frame of `wanted`."""
        frames = dict(self._in_order(wanted))
        missing = set(wanted) - set(frames)
        if not missing:
            return frames
        raise VideoError(
            f"{self.path}: frame {min(missing)} was there when the file was opened and is not now; "
            "did the file change?"
        )

    def _in_order(self, wanted: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Decode from the beginning and give those of `wanted` that come out."""
        missing = set(wanted)
        convert = _Converter()
        for number, frame in enumerate(self._all_frames() if missing else ()):
            if number in missing:
                yield number, self._upright(frame, convert)
                missing.discard(number)
                if not missing:
                    return

    def _decode_all(self, *, wanted: Iterable[int]) -> dict[int, NDArray[np.uint8]]:
        """Decode everything, to learn the true count; give `wanted` and the last frame."""
        wanted = set(wanted)
        frames: dict[int, NDArray[np.uint8]] = {}
        convert = _Converter()
        frame = None
        number = -1
        for number, frame in enumerate(self._all_frames()):
            if number == 0:
                self._turn = _turn_of(frame)
                self._coded_size = (frame.height, frame.width)
                self._size = self._turn.size_of(self._coded_size)
            if number in wanted:
                frames[number] = self._upright(frame, convert)
        if frame is None:
            raise VideoError(self._why_nothing())
        if wanted and number not in frames:
            frames[number] = self._upright(frame, convert)
        self._num_frames = number + 1
        return frames

    def _upright(self, frame: av.VideoFrame, convert: _Converter) -> NDArray[np.uint8]:
        turn = _turn_of(frame)
        size = self._coded_size
        if turn.size_of(size) != self._size:  # turned otherwise than the first frame
            size = (size[1], size[0])
        return turn.apply(convert(frame, size))

    def _all_frames(self) -> Iterator[av.VideoFrame]:
        """Every frame the decoder gives, leaving out packets it refuses."""
        coder = self._decoder()
        num_refused = num_damaged = num_sent = num_given = 0
        most_damaged = most_damaged_pixels(self._num_bytes)
        for packet in chain(self._fetch(None), (None,)):
            lost = max(0, num_sent - num_given - coder.reorder_depth - _MOST_HELD)
            if (num_damaged + lost) * coder.width * coder.height > most_damaged:
                raise VideoError(self._why_too_damaged(num_damaged + lost, coder))
            num_sent += 1
            self.packets_sent += packet is not None
            try:
                frames = coder.decode(packet)
            except FFmpegError as error:
                num_refused += 1
                self.damage = (
                    f"{num_refused} of {counted(self._num_packets, 'packet')} do not decode "
                    f"({error.strerror})"
                )
                continue
            num_given += len(frames)
            num_damaged += sum(frame.is_corrupt for frame in frames)
            if num_damaged and not num_refused:
                self.damage = f"{num_damaged} of {counted(self._num_packets, 'frame')} are damaged"
            yield from frames

    def _fetch(self, numbers: set[int] | None) -> Iterator[VideoPacket]:
        """The packets `numbers`, or all, in decoding order."""
        if self._packets is not None:
            if numbers is None:
                yield from self._packets
            else:
                yield from (self._packets[number] for number in sorted(numbers))
            return
        last = max(numbers) if numbers else self._num_packets - 1
        with _open_container(self.path) as container:
            stream = cast(VideoStream, container.streams.get(self._stream_number)[0])
            full = (packet for packet in container.demux(stream) if packet.size)
            for number, packet in zip(range(last + 1), full, strict=False):
                if numbers is None or number in numbers:
                    yield _tag(packet, number)

    def _decoder(self) -> VideoCodecContext:
        """A decoder that has seen nothing yet."""
        coder, self._spare = self._spare, None
        if coder is None:
            with _open_container(self.path) as container:
                stream = container.streams.get(self._stream_number)[0]
                coder = _prepare(cast(VideoStream, stream).codec_context)
        return coder

    def _why_too_damaged(self, count: int, coder: VideoCodecContext) -> str:
        return (
            f"{self.path}: {counted(count, 'frame')} of {coder.width}x{coder.height} pixels are "
            f"damaged or do not come out, which is not decoded of {self._num_bytes:,} bytes: it "
            f"would take long; repair the file, or raise {VARIABLE} (now {most_pixels()})"
        )

    def _why_nothing(self) -> str:
        if not self._num_packets:
            return (
                f"{self.path}: holds a description of video ({self._coder_name}) but no frames; "
                "is it the first part of a stream in parts?"
            )
        return (
            f"{self.path}: none of its {counted(self._num_packets, 'packet')} gives a frame "
            f"({self._coder_name}{'; ' + self.damage if self.damage else ''}); "
            f"is it encrypted, damaged, or larger than {most_pixels():,} pixels per frame "
            f"({VARIABLE})?"
        )


@dataclass(frozen=True)
class _Turn:
    """How a stored frame is shown: transposed, then mirrored."""

    is_transposed: bool = False
    flips_rows: bool = False
    flips_columns: bool = False

    @property
    def degrees(self) -> int:
        """Clockwise; a mirror image counts as its horizontal edge goes."""
        if self.is_transposed:
            return 270 if self.flips_rows else 90
        return 180 if self.flips_columns else 0

    def size_of(self, stored: tuple[int, int]) -> tuple[int, int]:
        return (stored[1], stored[0]) if self.is_transposed else stored

    def apply(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.is_transposed:
            frame = frame.transpose(1, 0, 2)
        if self.flips_rows:
            frame = frame[::-1]
        return frame[:, ::-1] if self.flips_columns else frame


_UPRIGHT = _Turn()
_TURNS = {
    90: _Turn(True, True, False),
    180: _Turn(False, True, True),
    270: _Turn(True, False, True),
}
"""By degrees counterclockwise."""


def _turn_of(frame: av.VideoFrame) -> _Turn:
    """The quarter turns and mirrors of a frame's display matrix; other angles are left alone."""
    try:
        side_data: Any = frame.side_data  # its stubs know no keys
        found = side_data.get(SideDataType.DISPLAYMATRIX)
    except ValueError:  # another piece of side data is newer than PyAV
        return _TURNS.get(frame.rotation % 360, _UPRIGHT)
    if found is None:
        return _UPRIGHT
    # A point (x, y), y downwards, goes to (a x + c y, b x + d y).
    a, b, _, c, d = struct.unpack_from("=5i", bytes(found))
    if a and d and not (b or c):
        return _Turn(False, d < 0, a < 0)
    if b and c and not (a or d):
        return _Turn(True, b < 0, c < 0)
    return _UPRIGHT


class _Converter:
    """Turns frames into RGB arrays; one colour converter serves them all."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
        height, width = size
        picture = self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", threads=1
        )
        return cast("NDArray[np.uint8]", picture.to_ndarray())


class _SurpriseError(Exception):
    """The decoder returned other frames than the index predicts."""


@contextmanager
def _errors_of(path: Path) -> Generator[None]:
    """Turn errors of FFmpeg into errors that name the file."""
    try:
        yield
    except (FFmpegError, OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise VideoError(f"{path}: cannot be decoded: {said}") from None


def _open_container(path: Path) -> InputContainer:
    try:
        return av.open(
            f"file:{path.absolute()}",
            options={
                "protocol_whitelist": "file",
                "format_whitelist": _CONTAINERS,
                "max_pixels": decoder_pixels(),  # frames are decoded to find out what it holds
            },
            metadata_errors="replace",
        )
    except FFmpegError as error:
        raise VideoError(f"{path}: {_why_not_opened(path, error)}") from None


def open_stored(path: Path) -> InputContainer:
    """Open a video file for what is stored beside its pictures, such as sound.

    As for pictures, nothing but this file is read.

    Raises:
        VideoError: It is not a video file.
    """
    return _open_container(path)


def _why_not_opened(path: Path, error: FFmpegError) -> str:
    with path.open("rb") as file:
        head = file.read(256).lstrip()
    for mark, kind in _PLAYLISTS.items():
        if mark in head:
            return (
                f"a {kind} playlist, not a video; it names other places to read from, "
                "and only files themselves are opened"
            )
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return "a single image, not a video; frames as images are read from their folder"
    return f"not a video, or damaged beyond recognition ({error.strerror})"


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first video stream; cover art does not count."""
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    for stream in container.streams.video:
        if not stream.disposition & pictures:
            if not cast("VideoCodecContext | None", stream.codec_context):
                raise VideoError(f"{path}: FFmpeg has no decoder for its video")
            return stream
    others = sorted({_stream_title(stream) for stream in container.streams})
    held = f"it holds {', '.join(others)}" if others else "it holds no streams at all"
    raise VideoError(f"{path}: has no video stream; {held}")


def _stream_title(stream: Any) -> str:
    if stream.type == "video":
        return "cover art"
    coder = getattr(stream, "codec_context", None)
    return f"{stream.type} ({coder.name})" if coder else str(stream.type)


def _prepare(coder: VideoCodecContext) -> VideoCodecContext:
    coder.thread_count = 1  # threads cost more than they gain on a few frames
    coder.options = {"max_pixels": decoder_pixels()}
    return coder


def _tag(packet: VideoPacket, number: int) -> VideoPacket:
    """Have the decoder hand back `number` with the packet's frame, whatever its times were."""
    packet.pts, packet.dts = number, None
    return packet


# --- Animated images, folders and pickles ---------------------------------------------------------


class AnimatedImage(_Reader):
    """A moving WebP, which FFmpeg does not decode; Pillow does. Transparency is dropped."""

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        """Open it; `size` is its height and width as the header says."""
        check_pixels(path, *size)
        self.path = path
        self._size = size
        self._starts: list[float] | None = None
        with self._opened() as image:
            self._num_frames = int(getattr(image, "n_frames", 1))

    @property
    def num_frames(self) -> int:
        """How many frames can be read."""
        return self._num_frames

    @property
    def info(self) -> VideoInfo:
        """Size, and the rate where all frames are shown for equally long."""
        starts = self._frame_starts()
        info = _still_info(self._num_frames, self._size, codec="webp", container="webp")
        return replace(
            info, frames_per_second=self._num_frames / starts[-1] if starts[-1] else None
        )

    @property
    def frame_seconds(self) -> list[float] | None:
        """When each frame is shown, seconds after the first; None where nothing tells."""
        starts = self._frame_starts()
        return starts[:-1] if starts[-1] else None

    def _frame_starts(self) -> list[float]:
        """When each frame starts and the last one ends, in seconds."""
        if self._starts is None:
            milliseconds = [0]
            for image in self._images(range(self._num_frames)):
                milliseconds.append(milliseconds[-1] + int(image.info.get("duration") or 0))
            self._starts = [time / 1000 for time in milliseconds]
        return self._starts

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Every frame in order, RGB (H, W, 3), one in memory at a time.

        Raises:
            VideoError: The frames cannot be read.
        """
        for image in self._images(range(self._num_frames)):
            yield np.array(image.convert("RGB"))

    def frames_at(self, indices: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Some frames in order, each with its number; see `VideoReader.frames_at`."""
        wanted = sorted(set(self._checked(indices)))
        for index, image in zip(wanted, self._images(wanted), strict=True):
            yield index, np.array(image.convert("RGB"))

    def _read(self, indices: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        found = zip(indices, self._images(indices), strict=True)
        return {index: np.asarray(image.convert("RGB")) for index, image in found}

    def _images(self, indices: Iterable[int]) -> Iterator[Image.Image]:
        """The whole picture at each of these frames, which increase."""
        with self._opened() as image:
            for index in indices:
                try:
                    image.seek(index)
                    image.load()
                except _PICTURE_ERRORS as error:
                    raise VideoError(
                        f"{self.path}: frame {index} cannot be decoded: {error}"
                    ) from None
                yield image

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self._size)

    def _opened(self) -> Image.Image:
        try:
            return Image.open(self.path, formats=["WEBP"])
        except _PICTURE_ERRORS as error:
            raise VideoError(f"{self.path}: not a readable WebP: {error}") from None


class FrameFolder(_Reader):
    """A folder of images, one per frame, in natural order (`f2.jpg` before `f10.jpg`).

    Jpg, jpeg, png, bmp and webp count, whatever their case; hidden files and others do not.
    All must have one size. Pixels are taken as stored: a camera's orientation note (EXIF) is
    ignored, since video tools that write frames do not set it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            names = [entry for entry in path.iterdir() if _is_image(entry)]
        except OSError as error:
            raise VideoError(f"{path}: cannot be listed: {error.strerror}") from None
        self._files = sorted(names, key=lambda file: natural_key(file.name))
        if not self._files:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise VideoError(f"{path}: a folder without images ({kinds})")
        self._size = _image_size(self._files[0])

    @property
    def num_frames(self) -> int:
        """How many frames can be read."""
        return len(self._files)

    @property
    def info(self) -> VideoInfo:
        """Size and origin; a folder tells no rate."""
        kind = self._files[0].suffix.lower().lstrip(".")
        return _still_info(self.num_frames, self._size, codec=kind, container="folder")

    def _read(self, indices: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        frames: dict[int, NDArray[np.uint8]] = {}
        for index in indices:
            frames[index] = _read_image(self._files[index], self._files[index])
            if frames[index].shape[:2] != self._size:
                height, width = frames[index].shape[:2]
                raise VideoError(
                    f"{self._files[index]}: {width}x{height}, while {self._files[0].name} is "
                    f"{self._size[1]}x{self._size[0]}; all frames of a video must have one size"
                )
        return frames


class JpegPickle(_Reader):
    """A pickle in the 2019 format: (video id, label, list of JPEG files as bytes).

    Written by Python 2 or 3; read without running anything in it.

    Attributes:
        video_id: The first entry.
        label: The second entry; None if the pickle has none there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = load_pickle(path)
        except DataError as error:
            raise VideoError(str(error)) from None
        self.video_id, self.label, self._jpegs = _check_pickle(path, content)
        first = _read_image(BytesIO(self._jpegs[0]), f"{path}: frame 0")
        self._size = (first.shape[0], first.shape[1])

    @property
    def num_frames(self) -> int:
        """How many frames can be read."""
        return len(self._jpegs)

    @property
    def info(self) -> VideoInfo:
        """Size and origin; a pickle tells no rate."""
        return _still_info(self.num_frames, self._size, codec="jpeg", container="pickle")

    def _read(self, indices: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        frames: dict[int, NDArray[np.uint8]] = {}
        for index in indices:
            place = f"{self.path}: frame {index}"
            frames[index] = _read_image(BytesIO(self._jpegs[index]), place)
            if frames[index].shape[:2] != self._size:
                height, width = frames[index].shape[:2]
                raise VideoError(
                    f"{place} is {width}x{height}, frame 0 is {self._size[1]}x{self._size[0]}; "
                    "all frames of a video must have one size"
                )
        return frames


def _check_pickle(path: Path, content: Any) -> tuple[str, int | None, list[bytes]]:
    expected = "expected (video id, label, list of JPEG bytes)"
    if not isinstance(content, tuple | list) or len(content) != 3:
        size = f" of {len(content)}" if isinstance(content, tuple | list) else ""
        raise VideoError(f"{path}: holds a {type(content).__name__}{size}; {expected}")
    name, label, jpegs = content
    if isinstance(name, bytes):
        name = name.decode("utf-8", "replace")
    if not isinstance(name, str):
        raise VideoError(f"{path}: the video id is a {type(name).__name__}; {expected}")
    if label is not None and (isinstance(label, bool) or not isinstance(label, int | np.integer)):
        raise VideoError(f"{path}: the label is {label!r:.40}, not a whole number; {expected}")
    if not isinstance(jpegs, tuple | list) or not jpegs:
        kind = "empty" if isinstance(jpegs, tuple | list) else f"a {type(jpegs).__name__}"
        raise VideoError(f"{path}: the list of frames is {kind}; {expected}")
    frames: list[bytes] = []
    for number, jpeg in enumerate(jpegs):
        if isinstance(jpeg, str):  # Python 3 reading what Python 2 wrote, and writing it again
            jpeg = jpeg.encode("latin-1", "replace")
        if not isinstance(jpeg, bytes | bytearray):
            raise VideoError(f"{path}: frame {number} is a {type(jpeg).__name__}; {expected}")
        frames.append(bytes(jpeg))
    return name, None if label is None else int(label), frames


def _still_info(num_frames: int, size: tuple[int, int], *, codec: str, container: str) -> VideoInfo:
    return VideoInfo(
        num_frames=num_frames,
        height=size[0],
        width=size[1],
        frames_per_second=None,
        codec=codec,
        container=container,
        rotation=0,
    )


def _is_image(path: Path) -> bool:
    is_named_so = path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    return is_named_so and path.is_file()


def _image_size(path: Path) -> tuple[int, int]:
    with _opened_image(path, path) as image:
        return image.height, image.width


def _read_image(source: Path | BytesIO, name: Path | str) -> NDArray[np.uint8]:
    with _opened_image(source, name) as image:
        if image.format in ("WEBP", "PNG") and getattr(image, "is_animated", False):
            raise VideoError(f"{name}: a moving image; the frames of a folder are single ones")
        if image.mode.startswith("I;16"):  # Pillow would cut off what is above 255
            grey = (np.asarray(image) >> 8).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2)
        # converting makes a copy even where there is nothing to convert
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


@contextmanager
def _opened_image(source: Path | BytesIO, name: Path | str) -> Generator[Image.Image]:
    """A picture that is small enough; its pixels are decoded when they are asked for."""
    try:
        with Image.open(source, formats=_PICTURES) as image:
            check_pixels(name, image.height, image.width)
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise VideoError(f"{name}: {error} At most {most_pixels():,} ({VARIABLE}).") from None
    except _PICTURE_ERRORS as error:
        raise VideoError(f"{name}: not a readable image: {error}") from None


class FrameArray(_Reader):
    """Frames that are already in memory.

    >>> FrameArray(np.zeros((8, 32, 48, 3), np.uint8)).read([0, 7]).shape
    (2, 32, 48, 3)
    """

    def __init__(
        self, frames: Any, *, name: str = "frames", frames_per_second: float | None = None
    ) -> None:
        """Take RGB frames, a NumPy array or a PyTorch tensor, uint8 (T, H, W, 3).

        Args:
            frames: They are not copied; do not change them while they are read.
            name: How messages call them.
            frames_per_second: Where it is known.

        Raises:
            VideoError: They are of another shape or type.
        """
        self.path = Path(name)
        self._rate = frames_per_second
        self._frames: NDArray[np.uint8] = np.asarray(
            frames.detach().cpu() if _is_tensor(frames) else frames
        )
        shape, dtype = self._frames.shape, self._frames.dtype
        got = f"{name}: an array of shape {shape} and type {dtype}, expected frames as they are "
        got += "decoded: uint8 (T, H, W, 3), RGB"
        if len(shape) == 4 and shape[1] == 3 and shape[3] != 3:
            raise VideoError(f"{got}; channels come last: frames.permute(0, 2, 3, 1)")
        if len(shape) != 4 or shape[3] != 3 or 0 in shape:
            raise VideoError(f"{got}; several videos are a list of such arrays")
        if dtype != np.uint8:
            raise VideoError(f"{got}; they are scaled and normalised here")

    @property
    def num_frames(self) -> int:
        """How many frames can be read."""
        return len(self._frames)

    @property
    def info(self) -> VideoInfo:
        """Size and, where it was told, rate."""
        size = (self._frames.shape[1], self._frames.shape[2])
        info = _still_info(self.num_frames, size, codec="rawvideo", container="array")
        return replace(info, frames_per_second=self._rate)

    def _read(self, indices: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        return {index: self._frames[index] for index in indices}

    def __reduce__(self) -> tuple[Any, ...]:
        return _frame_array, (self._frames, str(self.path), self._rate)


def _frame_array(frames: Any, name: str, rate: float | None) -> FrameArray:
    return FrameArray(frames, name=name, frames_per_second=rate)


def _is_tensor(frames: Any) -> bool:
    return hasattr(frames, "cpu")  # PyTorch is not imported for that


def header_seconds(path: Path) -> float | None:
    """Length of a video as its header tells, which need not be exact; nothing is decoded.

    For remarks about many files. None where the header does not tell, the file cannot be opened, or
    it is no video file (folders of frames, pickles, pictures).
    """
    try:
        if not path.is_file() or is_pickle(path):
            return None
        with _errors_of(path), _open_container(path) as container:
            stream = _video_stream(container, path)
            if stream.duration and stream.time_base:
                return float(stream.duration * stream.time_base)
            length, start = container.duration or 0, container.start_time or 0
            if "matroska" in container.format.name and 0 < start < length:
                length -= start  # it tells the time of the end
            return length / av.time_base if length > 0 else None
    except (VideoError, OSError):
        return None


def count_frames(path: Path) -> int:
    """Open a video and count its frames.

    Raises:
        DataError: It cannot be read.
    """
    with open_video(path) as video:
        return video.num_frames
