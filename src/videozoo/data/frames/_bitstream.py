"""Which packets a decoder needs for some frames, from the packet headers alone.

A `StreamIndex` is made only where headers prove the order in which the frames will come out and
what each of them depends on; for anything else there is none, and everything has to be decoded.

Sources: ITU-T H.264 7.3, 8.2.1; ITU-T H.265 7.3, 8.1.3; RFC 6386 9.1 (VP8); the VP9 bitstream
specification, 6.2 and annex B; ISO/IEC 14496-2 6.2.5.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import Packet
    from av.video.stream import VideoStream

    VideoPacket = Packet[VideoStream]

_INTRA_ONLY = {"mjpeg", "png", "prores", "dnxhd", "rawvideo", "huffyuv", "utvideo", "v210"}
_ODD_SIDE_DATA = {"new_extradata", "param_change", "encryption_info"}
_HEADER_BYTES = 32  # of a slice header; the fields read here end well before


class _NotPlainError(Exception):
    """The headers are not enough to predict the decoder."""


@dataclass(frozen=True, kw_only=True)
class StreamIndex:
    """Dependencies between the packets of one stream, in decoding order."""

    order: list[int]
    """Frame number to packet."""
    starts: list[int]
    """Packets where decoding may start, ascending; the first is 0."""
    droppable: bytearray
    """Per packet, 1 if no other frame is predicted from it."""
    leading: bytearray
    """Per packet, 1 if it also depends on frames before its own start."""
    flush_between: bool = False
    """The decoder must be flushed before a jump from one start to another."""
    always_first: bool = False
    """Packet 0 holds data that later packets may not repeat."""

    @cached_property
    def number_of(self) -> dict[int, int]:
        """Packet to frame number; packets whose frame is not shown are not in it."""
        return {packet: number for number, packet in enumerate(self.order)}

    def runs(self, packets: set[int]) -> list[list[int]]:
        """Packets to decode for `packets`: runs that each begin at a start."""
        runs: list[list[int]] = []
        for first, last in self._spans(packets):
            start = self.starts[first]
            after = self.starts[first + 1] if first + 1 < len(self.starts) else last + 1
            run = [
                packet
                for packet in range(start, last + 1)
                if packet in packets
                or not (self.droppable[packet] or (self.leading[packet] and packet < after))
            ]
            runs.append(run)
        if self.always_first and runs and runs[0][0] != 0:
            runs.insert(0, [0])
        return runs

    def _spans(self, packets: set[int]) -> list[tuple[int, int]]:
        """Each run as the number of its start and its last packet."""
        spans: list[tuple[int, int, int]] = []  # first group, last group, last packet
        for packet in sorted(packets):
            group = bisect_right(self.starts, packet) - 1
            first = group - 1 if self.leading[packet] else group
            while spans and first <= spans[-1][1]:
                first = min(first, spans.pop()[0])
            spans.append((first, group, packet))
        return [(first, packet) for first, _, packet in spans]


def index_stream(
    codec: str, extradata: bytes | None, packets: Iterable[VideoPacket], *, reorder_depth: int
) -> StreamIndex | None:
    """Index a stream from its packets' headers; None if they are not enough.

    Args:
        codec: FFmpeg's name of the decoder.
        extradata: The container's description of the stream.
        packets: All packets of the stream, in decoding order, with the container's own times.
            They are looked at one by one, and not all of them if one proves too little.
        reorder_depth: How many frames the decoder holds back before it gives out the first.
    """
    stream = _Stream(packets)
    try:
        if codec == "h264":
            return _index_h264(extradata or b"", stream, reorder_depth)
        if codec == "hevc":
            return _index_hevc(extradata or b"", stream)
        if codec == "mpeg4":
            return _index_mpeg4(extradata or b"", stream)
        if codec == "vp8":
            return _index_in_order(stream, _read_vp8)
        if codec == "vp9":
            return _index_in_order(stream, _read_vp9)
        if codec == "libdav1d":
            return _index_in_order(stream, _read_temporal_unit)
        if codec in _INTRA_ONLY:
            return _index_in_order(stream, _read_whole_picture)
    except (_NotPlainError, IndexError, ValueError):
        pass
    return None


@dataclass
class _Stream:
    """Packets one by one, remembering what little is needed of them later."""

    packets: Iterable[VideoPacket]
    times: list[int | None] = field(default_factory=list[int | None])
    is_shown: list[bool] = field(default_factory=list[bool])

    def __iter__(self) -> Iterator[tuple[int, VideoPacket]]:
        for number, packet in enumerate(self.packets):
            if packet.is_corrupt or any(
                item.data_type in _ODD_SIDE_DATA for item in packet.iter_sidedata()
            ):
                raise _NotPlainError("damaged or encrypted, or the stream's description changes")
            self.times.append(packet.pts)
            self.is_shown.append(not packet.is_discard)
            yield number, packet

    def check_order(self, order: Sequence[int], *, needs_times: bool) -> None:
        """Hold the order found against the container's times, where it has them all."""
        times = [self.times[packet] for packet in order]
        known = [time for time in times if time is not None]
        if len(known) == len(times):
            if any(after <= before for before, after in pairwise(known)):
                raise _NotPlainError("presentation times and coding order disagree")
        elif needs_times:
            raise _NotPlainError("presentation times are missing")


# --- Bits and NAL units ---------------------------------------------------------------------------


class _Bits:
    """Reads numbers from the head of a NAL unit."""

    def __init__(self, payload: bytes) -> None:
        if b"\0\0\3" in payload:  # a 3 is put after two zeros so that no start code appears
            payload = payload.replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(payload)
        self._left = len(payload) * 8

    def bits(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise _NotPlainError("a header ends early")
        return (self._value >> self._left) & ((1 << count) - 1)

    def exp_golomb(self) -> int:
        rest = self._value & ((1 << self._left) - 1)
        zeros = self._left - rest.bit_length()
        self._left -= 2 * zeros + 1
        if self._left < 0:
            raise _NotPlainError("a header ends early")
        return (rest >> self._left) - 1

    def signed_exp_golomb(self) -> int:
        code = self.exp_golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _nal_units(data: bytes, length_size: int) -> Iterator[tuple[int, int]]:
    """Spans of the NAL units in a packet; `length_size` 0 means start codes."""
    if not length_size:
        yield from _start_code_units(data)
        return
    place, size = 0, len(data)
    while place < size:
        begin = place + length_size
        place = begin + int.from_bytes(data[place:begin])
        if place > size or place == begin:
            raise _NotPlainError("NAL lengths do not fill the packet")
        yield begin, place


def _start_code_units(data: bytes) -> Iterator[tuple[int, int]]:
    code = data.find(b"\0\0\1")
    if code < 0 or data[:code].strip(b"\0"):
        raise _NotPlainError("no start code")
    while code >= 0:
        following = data.find(b"\0\0\1", code + 3)
        end = following if following >= 0 else len(data)
        while end > code + 3 and data[end - 1] == 0:
            end -= 1
        if end == code + 3:
            raise _NotPlainError("an empty NAL unit")
        yield code + 3, end
        code = following


class _ParameterSets:
    """Proves that a decoder knows the right parameter sets wherever it begins.

    So it is when each set is in the container's description, or the very same ones stand in
    every packet at which decoding may begin.
    """

    def __init__(self, described: Sequence[bytes]) -> None:
        self.all = set(described)
        self._described = frozenset(described)
        self._at_starts: tuple[bytes, ...] | None = None

    def see(self, units: Sequence[bytes], *, is_start: bool) -> None:
        """Take note of the sets within one packet; packets come in decoding order."""
        if is_start:
            new = () if self._described.issuperset(units) else tuple(units)
            if self._at_starts is None:
                self._at_starts = new
                self.all.update(new)
            elif self._at_starts != new:
                raise _NotPlainError("parameter sets change or are not repeated")
        elif not (self._at_starts or self._described) or not set(units).issubset(
            self._at_starts or self._described
        ):
            raise _NotPlainError("parameter sets amid a group of frames")


# --- H.264 ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _H264Sequence:
    """The fields of a sequence parameter set that say where frames stand."""

    num_frame_num_bits: int
    poc_type: int
    num_poc_bits: int
    is_full_chroma: bool
    """4:4:4"""


_H264_HIGH_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}


def _read_h264_sequence(unit: bytes) -> _H264Sequence:
    profile = unit[1]
    bits = _Bits(unit[4:])
    bits.exp_golomb()  # its number
    chroma = 1
    if profile in _H264_HIGH_PROFILES:
        chroma = bits.exp_golomb()
        if chroma == 3 and bits.bits(1):
            raise _NotPlainError("three separate planes")
        bits.exp_golomb()  # luma depth
        bits.exp_golomb()  # chroma depth
        bits.bits(1)
        if bits.bits(1):
            _skip_scaling_lists(bits, count=12 if chroma == 3 else 8)
    num_frame_num_bits = bits.exp_golomb() + 4
    poc_type = bits.exp_golomb()
    if poc_type not in {0, 2}:
        raise _NotPlainError("frame order by expected deltas")
    num_poc_bits = bits.exp_golomb() + 4 if poc_type == 0 else 0
    bits.exp_golomb()  # reference frames
    bits.bits(1)
    bits.exp_golomb()  # width
    bits.exp_golomb()  # height
    if not bits.bits(1):
        raise _NotPlainError("fields: a packet may be half a frame")
    return _H264Sequence(num_frame_num_bits, poc_type, num_poc_bits, chroma == 3)


def _skip_scaling_lists(bits: _Bits, *, count: int) -> None:
    for which in range(count):
        if bits.bits(1):
            last = following = 8
            for _ in range(16 if which < 6 else 64):
                if following:
                    following = (last + bits.signed_exp_golomb()) % 256
                last = following or last


def _read_avcc(extradata: bytes) -> tuple[int, list[bytes]]:
    """NAL length size and parameter sets of an `avcC` box, or of a stream with start codes."""
    if not extradata or extradata[0] != 1:
        units = _nal_units(extradata, 0) if extradata else ()
        found = [extradata[begin:end] for begin, end in units]
        return 0, [unit for unit in found if unit[0] & 31 in {7, 8}]
    sets: list[bytes] = []
    place = 5
    for mask in (31, 255):
        count = extradata[place] & mask
        place += 1
        for _ in range(count):
            size = int.from_bytes(extradata[place : place + 2])
            sets.append(extradata[place + 2 : place + 2 + size])
            place += 2 + size
    if place > len(extradata) or not all(sets):
        raise _NotPlainError("the description ends early")
    return (extradata[4] & 3) + 1, sets


def _index_h264(extradata: bytes, stream: _Stream, reorder_depth: int) -> StreamIndex:
    length_size, described = _read_avcc(extradata)
    sets = _ParameterSets(described)
    sequence = _h264_sequence_of(described)
    starts: list[int] = []
    droppable = bytearray()
    places: list[tuple[int, int]] = []  # (start, picture order count) of each packet
    highest = lowest = 0  # of the last reference frame: high and low part of its order count

    for number, packet in stream:
        data = bytes(packet)
        units: list[bytes] = []
        header = -1
        for begin, end in _nal_units(data, length_size):
            kind = data[begin] & 31
            if kind in {1, 5}:
                if data[begin + 1] & 0x80:  # its first block is the frame's first
                    if header >= 0:
                        raise _NotPlainError("two frames in a packet")
                    header = begin
                elif header < 0 or data[begin] != data[header]:
                    raise _NotPlainError("slices out of order")
            elif kind in {7, 8}:
                units.append(data[begin:end])
            elif kind in {2, 3, 4, 10, 11, 14, 15, 20, 21}:
                raise _NotPlainError("partitions, ends of sequence, layers or views")
        if header < 0:
            raise _NotPlainError("no frame in a packet")
        is_start = data[header] & 31 == 5
        if not number and not is_start:
            raise _NotPlainError("begins amid a group of frames")
        if units or is_start:
            sets.see(units, is_start=is_start)
            sequence = sequence or _h264_sequence_of(units)
        if is_start:
            starts.append(number)
        if sequence is None:
            raise _NotPlainError("no sequence parameter set")
        if not number and _has_mended_flaws(data, sequence):
            raise _NotPlainError("decoders mend the flaws of its encoder")
        is_reference = data[header] & 0x60 != 0
        droppable.append(not is_reference)
        if sequence.poc_type:
            places.append((starts[-1], number))
            continue
        if is_start:
            highest = lowest = 0
        low = _read_low_order(data[header + 1 : header + _HEADER_BYTES], sequence, is_start)
        cycle = 1 << sequence.num_poc_bits
        high = highest
        if low < lowest and lowest - low >= cycle // 2:
            high += cycle
        elif low > lowest and low - lowest > cycle // 2:
            high -= cycle
        if is_reference:
            highest, lowest = high, low
        places.append((starts[-1], high + low))

    if not places:
        raise _NotPlainError("no packets")
    if sum(unit[0] & 31 == 7 for unit in sets.all) != 1:
        raise _NotPlainError("several sequence parameter sets")
    coded = sorted(range(len(places)), key=places.__getitem__)
    if len(set(places)) < len(places):
        raise _NotPlainError("two frames at one place")
    if max(packet - shown for shown, packet in enumerate(coded)) > reorder_depth:
        raise _NotPlainError("the decoder would hold back too few frames")
    order = [packet for packet in coded if stream.is_shown[packet]]
    stream.check_order(order, needs_times=False)
    return StreamIndex(
        order=order, starts=starts, droppable=droppable, leading=bytearray(len(places))
    )


def _read_low_order(head: bytes, sequence: _H264Sequence, is_start: bool) -> int:
    """The low bits of a picture order count, from a slice that begins a frame.

    The same as with `_Bits`, written out since it runs for every packet.
    """
    if b"\0\0\3" in head:
        head = head.replace(b"\0\0\3", b"\0\0")
    value, left = int.from_bytes(head), 8 * len(head) - 1  # first block 0, the bit 1
    rest = value & ((1 << left) - 1)
    left -= 2 * (left - rest.bit_length()) + 1  # slice type
    rest = value & ((1 << left) - 1)
    left -= 2 * (left - rest.bit_length()) + 1 + sequence.num_frame_num_bits  # picture set
    if is_start:
        rest = value & ((1 << left) - 1)
        left -= 2 * (left - rest.bit_length()) + 1  # number of this start
    left -= sequence.num_poc_bits
    if left < 0:
        raise _NotPlainError("a slice header ends early")
    return (value >> left) & ((1 << sequence.num_poc_bits) - 1)


def _h264_sequence_of(units: Sequence[bytes]) -> _H264Sequence | None:
    return next((_read_h264_sequence(unit) for unit in units if unit[0] & 31 == 7), None)


def _has_mended_flaws(first_packet: bytes, sequence: _H264Sequence) -> bool:
    """True for old builds of x264: decoders decode them otherwise, if they see the first packet."""
    found = first_packet.find(b"x264 - core ")
    if found < 0:
        return False
    build = first_packet[found + 12 : found + 16].split()[:1]
    sound = 151 if sequence.is_full_chroma else 40
    return not build or not build[0].isdigit() or int(build[0]) < sound


# --- H.265 ----------------------------------------------------------------------------------------

_HEVC_SETS = {32, 33, 34}
_HEVC_LEADING = {8, 9}  # RASL: may lean on frames before their random access point


def _read_hvcc(extradata: bytes) -> tuple[int, list[bytes]]:
    if len(extradata) < 23 or extradata[:3] in {b"\0\0\0", b"\0\0\1"}:
        units = _nal_units(extradata, 0) if extradata else ()
        found = [extradata[begin:end] for begin, end in units]
        return 0, [unit for unit in found if unit[0] >> 1 & 63 in _HEVC_SETS]
    sets: list[bytes] = []
    place = 23
    for _ in range(extradata[22]):
        kind = extradata[place] & 63
        count = int.from_bytes(extradata[place + 1 : place + 3])
        place += 3
        for _ in range(count):
            size = int.from_bytes(extradata[place : place + 2])
            if kind in _HEVC_SETS:
                sets.append(extradata[place + 2 : place + 2 + size])
            place += 2 + size
    if place > len(extradata) or not all(sets):
        raise _NotPlainError("the description ends early")
    return (extradata[21] & 3) + 1, sets


def _index_hevc(extradata: bytes, stream: _Stream) -> StreamIndex:
    length_size, described = _read_hvcc(extradata)
    sets = _ParameterSets(described)
    starts: list[int] = []
    leading = bytearray()
    for number, packet in stream:
        data = bytes(packet)
        units: list[bytes] = []
        kind = -1
        for begin, end in _nal_units(data, length_size):
            unit_kind = data[begin] >> 1 & 63
            if data[begin] & 1 or data[begin + 1] >> 3:
                continue  # another layer: not decoded
            if unit_kind < 32:
                if data[begin + 2] & 0x80:  # the first slice of a frame
                    if kind >= 0:
                        raise _NotPlainError("two frames in a packet")
                    kind = unit_kind
                    if number and 16 <= kind <= 23 and data[begin + 2] & 0x40:
                        raise _NotPlainError("frames not yet shown are thrown away")
                elif kind < 0:
                    raise _NotPlainError("slices out of order")
            elif unit_kind in _HEVC_SETS:
                units.append(data[begin:end])
            elif unit_kind in {36, 37}:
                raise _NotPlainError("an end of sequence")
        if kind < 0:
            raise _NotPlainError("no frame in a packet")
        is_start = kind in {19, 20, 21}
        if kind in {16, 17, 18} or (not number and kind not in {19, 20}):
            raise _NotPlainError("a broken link, or a beginning amid a group of frames")
        if units or is_start:
            sets.see(units, is_start=is_start)
        if is_start:
            starts.append(number)
        leading.append(kind in _HEVC_LEADING)
        if leading[number] and len(starts) == 1:
            raise _NotPlainError("frames that lean on what is not there")
    if any(_may_hide_frames(unit) for unit in sets.all if unit[0] >> 1 & 63 == 34):
        raise _NotPlainError("frames may be hidden")
    if sum(unit[0] >> 1 & 63 == 33 for unit in sets.all) != 1:
        raise _NotPlainError("several sequence parameter sets")
    shown = [number for number, is_shown in enumerate(stream.is_shown) if is_shown]
    order = sorted(shown, key=lambda number: stream.times[number] or 0)
    stream.check_order(order, needs_times=True)
    _check_starts(order, starts, leading)
    return StreamIndex(
        order=order,
        starts=starts,
        droppable=bytearray(len(leading)),
        leading=leading,
        flush_between=True,
    )


def _may_hide_frames(picture_set: bytes) -> bool:
    bits = _Bits(picture_set[2:_HEADER_BYTES])
    bits.exp_golomb()
    bits.exp_golomb()
    bits.bits(1)
    return bool(bits.bits(1))


def _check_starts(order: Sequence[int], starts: Sequence[int], leading: Sequence[int]) -> None:
    """Frames come out group by group, but for the leading ones."""
    latest = 0
    for packet in order:
        if leading[packet]:
            continue
        group = bisect_right(starts, packet)
        if group < latest:
            raise _NotPlainError("groups of frames mix")
        latest = group


# --- MPEG-4 part 2 --------------------------------------------------------------------------------

_VOP = b"\0\0\1\xb6"
_VIDEO_OBJECT_GROUP = b"\0\0\1\xb3"


def _index_mpeg4(extradata: bytes, stream: _Stream) -> StreamIndex:
    """I and P frames are shown once the next one is decoded, B frames at once."""
    starts: list[int] = []
    droppable = bytearray()
    leading = bytearray()
    order: list[int] = []
    held: int | None = None  # the last I or P frame
    num_anchors = 0  # since the last start
    first_head: bytes | None = None
    for number, packet in stream:
        data = bytes(packet)
        frame = data.find(_VOP)
        # An uncoded frame takes a few bytes, and a decoder may or may not show it.
        if frame < 0 or data.find(_VOP, frame + 4) >= 0 or len(data) - frame < 16:
            raise _NotPlainError("not one coded frame in a packet")
        head = data[:frame].partition(_VIDEO_OBJECT_GROUP)[0]
        first_head = head if first_head is None else first_head
        if head not in {b"", first_head, extradata}:
            raise _NotPlainError("stream headers change")
        kind = data[frame + 4] >> 6
        if kind == 3 or (not number and kind != 0):
            raise _NotPlainError("sprites, or a beginning amid a group of frames")
        droppable.append(kind == 2)
        leading.append(kind == 2 and num_anchors == 1)
        if kind == 2:
            if held is None or (len(starts) == 1 and num_anchors == 1):
                raise _NotPlainError("a frame between others of which one is missing")
            order.append(number)
            continue
        if kind == 0:
            starts.append(number)
            num_anchors = 0
        num_anchors += 1
        if held is not None:
            order.append(held)
        held = number
    if held is not None:
        order.append(held)
    order = [number for number in order if stream.is_shown[number]]
    stream.check_order(order, needs_times=False)
    return StreamIndex(
        order=order, starts=starts, droppable=droppable, leading=leading, always_first=True
    )


# --- Streams whose frames come out in decoding order ----------------------------------------------


def _index_in_order(
    stream: _Stream, read: Callable[[VideoPacket], tuple[bool, bool]]
) -> StreamIndex:
    """Index by `read`, which tells of a packet: is it a start, and is its frame shown."""
    facts = [read(packet) for _, packet in stream]
    if not facts[0][0]:
        raise _NotPlainError("begins amid a group of frames")
    order = [
        number for number, (_, is_shown) in enumerate(facts) if is_shown and stream.is_shown[number]
    ]
    stream.check_order(order, needs_times=False)
    return StreamIndex(
        order=order,
        starts=[number for number, (is_start, _) in enumerate(facts) if is_start],
        droppable=bytearray(len(facts)),
        leading=bytearray(len(facts)),
    )


def _read_whole_picture(packet: VideoPacket) -> tuple[bool, bool]:
    return True, True


def _read_temporal_unit(packet: VideoPacket) -> tuple[bool, bool]:
    return packet.is_keyframe, True  # AV1 shows exactly one frame per unit


def _read_vp8(packet: VideoPacket) -> tuple[bool, bool]:
    head = bytes(packet)[0]
    return not head & 1, bool(head >> 4 & 1)


def _read_vp9(packet: VideoPacket) -> tuple[bool, bool]:
    data = bytes(packet)
    heads = [_Bits(data[place : place + 2]) for place in _vp9_frames(data)]
    facts = [_read_vp9_frame(bits) for bits in heads]
    num_shown = sum(is_shown for _, is_shown in facts)
    if num_shown > 1:
        raise _NotPlainError("two shown frames in a packet")
    return facts[0][0], num_shown == 1


def _vp9_frames(data: bytes) -> list[int]:
    """Offsets of the frames in a packet; a superframe lists their sizes at its end."""
    marker = data[-1]
    if marker >> 5 != 0b110:
        return [0]
    count, size_bytes = (marker & 7) + 1, (marker >> 3 & 3) + 1
    head = len(data) - 2 - count * size_bytes
    if head < 0 or data[head] != marker:
        return [0]
    places: list[int] = []
    place = 0
    for number in range(count):
        begin = head + 1 + number * size_bytes
        size = int.from_bytes(data[begin : begin + size_bytes], "little")
        if not size:
            raise _NotPlainError("an empty frame")
        places.append(place)
        place += size
    if place > head:
        raise _NotPlainError("frames longer than their packet")
    return places


def _read_vp9_frame(bits: _Bits) -> tuple[bool, bool]:
    if bits.bits(2) != 2:
        raise _NotPlainError("not a VP9 frame")
    profile = bits.bits(1) | bits.bits(1) << 1
    if profile == 3:
        bits.bits(1)
    if bits.bits(1):  # shows a frame decoded before
        return False, True
    is_inter = bits.bits(1)
    return not is_inter, bool(bits.bits(1))
