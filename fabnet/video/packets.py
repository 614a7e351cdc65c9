"""Which packets of a video need decoding for the frames on display at some times.

A packet is left out only where that cannot change a frame that is wanted: the frames of H.264 to which no other refers,
and all between a wanted frame and a key frame at which a decoder starts afresh. Seconds of one core per minute of
640 x 360 at one frame per second, by seconds between key frames (two B-frames; content that is hard or easy to code):

                               hard 0.5 s   hard 10 s   easy 0.5 s   easy 1 s   easy 10 s
    decode all                       2.93        2.85         0.90       0.93        0.84
    leave out unreferenced           1.84        1.78         0.64       0.60        0.55
    leave out before key frames      0.83        2.70         0.27       0.11        0.78
    both, as here                    0.69        1.54         0.23       0.11        0.51
    seek to each wanted frame        1.07       12.44         0.31       0.17        3.71

Reading the packets takes 0.01 to 0.03 s of these: a seek gains only where a span begins far into a file.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from av.packet import Packet
from av.video.stream import VideoStream

# Where every packet is a frame on display: other codecs have hidden ones, which would count here.
_CODECS = ("h264", "hevc")

# Packets wait until it is known whether they are needed. Python's part of a packet counts too.
_WAITING_BYTES, _PACKET_BYTES = 2**24, 1000


@dataclass(frozen=True)
class Grid:
    """Samples number `first` to `last`, each `number / fps` seconds after the clip's first frame; None = all."""

    fps: Fraction
    first: int = 0
    last: int | None = None

    def after(self, time: Fraction) -> int:
        """Number of the first sample at or after `time`, in seconds after the clip's first frame."""
        ticks = time * self.fps
        return max(self.first, -(-ticks.numerator // ticks.denominator))

    def end(self) -> Fraction:
        """Time of the sample after the last one."""
        assert self.last is not None
        return (self.last + 1) / self.fps

    def ends_before(self, sample: int) -> bool:
        return self.last is not None and sample > self.last


@dataclass(frozen=True)
class Work:
    """A packet to decode.

    Attributes:
        shown: whether its frame may be wanted, or only frames that refer to it are.
        restarts: packets before it were left out: the decoder returns what it holds and starts afresh.
    """

    packet: Packet
    shown: bool
    restarts: bool


class PacketChoice:
    """Takes the packets of a stream in order and tells which to decode.

    Of the frames that begin between two samples only the last is on display at the second, so that the others need not
    be shown. Which is last is known once a packet comes that is decoded after the second sample, since no frame is
    displayed before it is decoded. From where a file breaks that rule, or has no times, all is decoded.
    """

    def __init__(self, stream: VideoStream, grid: Grid) -> None:
        self._stream, self._grid = stream, grid
        self._everything = stream.codec_context.name not in _CODECS
        self._time_base = stream.time_base or Fraction(1)
        self._origin: int | None = None
        self._last_dts: int | None = None
        # Each with the sample that its frame may be on display at; None if a file's edit list hides the frame.
        self._undecided: deque[tuple[Packet, int | None]] = deque()
        self._left_out: list[Packet] = []  # unless a frame that is wanted refers to them
        self._bytes = 0  # of both
        self._restarts = False
        self._latest: dict[int, int] = {}  # display time of the last frame before each sample

    def begin(self, origin: int) -> None:
        """Leave out packets from now on. `origin` is the display time of the clip's first frame."""
        self._origin = origin

    def add(self, packet: Packet) -> list[Work]:
        """The stream's next packet; what to decode now."""
        if self._everything or self._origin is None:
            return [Work(packet, shown=True, restarts=False)]
        pts, dts, last_dts = packet.pts, packet.dts, self._last_dts
        if pts is None or dts is None or pts < dts or (last_dts is not None and dts < last_dts):
            return [*self.decode_all(), *self.add(packet)]
        if packet.has_sidedata("new_extradata"):  # the stream's parameters change
            return [*self.decode_all(), *self.add(packet)]
        self._last_dts = dts
        sample = None if packet.is_discard else self._sample(pts)
        if sample is not None:
            self._latest[sample] = max(pts, self._latest.get(sample, pts))
        self._undecided.append((packet, sample))
        self._bytes += packet.size + _PACKET_BYTES
        return self._decide(self._sample(dts))

    def decode_all(self) -> list[Work]:
        """Leave out nothing from now on, as is needed at the file's end too; what to decode now."""
        self._everything = True
        work = self._references()
        while self._undecided:
            work.append(self._take(self._undecided.popleft()[0], shown=True))
        return work

    def done(self) -> bool:
        """Whether a frame on display at a sample can no longer come."""
        if self._everything or self._last_dts is None or not self._grid.ends_before(self._sample(self._last_dts)):
            return False
        return all(sample is None or self._grid.ends_before(sample) for _, sample in self._undecided)

    def _sample(self, pts: int) -> int:
        assert self._origin is not None
        return self._grid.after((pts - self._origin) * self._time_base)

    def _decide(self, settled: int) -> list[Work]:
        """About waiting packets, in order; all frames of the samples before `settled` are known."""
        work: list[Work] = []
        while self._undecided:
            packet, sample = self._undecided[0]
            latest = sample is not None and packet.pts == self._latest[sample]
            if latest and sample is not None and sample >= settled and self._bytes < _WAITING_BYTES:
                break
            self._undecided.popleft()
            if self._left_out and is_restart(packet, self._stream):
                self._bytes -= sum(other.size + _PACKET_BYTES for other in self._left_out)
                self._left_out.clear()
                self._restarts = True
            if latest:
                work += [*self._references(), self._take(packet, shown=True)]
            else:
                self._left_out.append(packet)
            if self._bytes >= _WAITING_BYTES:
                work += self._references()
        if work:
            oldest = min((sample for _, sample in self._undecided if sample is not None), default=settled)
            self._latest = {key: pts for key, pts in self._latest.items() if key >= min(oldest, settled)}
        return work

    def _references(self) -> list[Work]:
        work = [self._take(packet, shown=False) for packet in self._left_out]
        self._left_out.clear()
        return work

    def _take(self, packet: Packet, shown: bool) -> Work:
        self._bytes -= packet.size + _PACKET_BYTES
        restarts, self._restarts = self._restarts, False
        return Work(packet, shown, restarts)


def is_restart(packet: Packet, stream: VideoStream) -> bool:
    """Whether no packet from this one of H.264 or HEVC on refers to one before it: an IDR picture.

    Args:
        packet: of the stream.
        stream: whose codec tells how to read it.
    """
    idr = (5,) if stream.codec_context.name == "h264" else (19, 20)
    return packet.is_keyframe and _picture_type(packet, stream) in idr


def is_entry(packet: Packet, stream: VideoStream) -> bool:
    """Whether all frames displayed from this one's on are whole when a decoder starts with it.

    So it is with key frames, but H.264 also marks those from which the picture only builds up.

    Args:
        packet: of the stream.
        stream: whose codec tells how to read it.
    """
    if stream.codec_context.name == "hevc":
        return packet.is_keyframe and 16 <= _picture_type(packet, stream) <= 21
    return packet.is_keyframe and (stream.codec_context.name != "h264" or is_restart(packet, stream))


def _picture_type(packet: Packet, stream: VideoStream) -> int:
    """Type of the first unit of a packet that is part of a picture (tables 7-1 of H.264 and H.265); -1 if none is."""
    avc = stream.codec_context.name == "h264"
    data, extradata = bytes(packet), stream.codec_context.extradata or b""
    # With a configuration record (ISO 14496-15) each unit comes after its length, otherwise after a start code.
    length_at = 4 if avc else 21
    recorded = len(extradata) > length_at and extradata[0] == 1
    for start in _units(data, (extradata[length_at] & 3) + 1) if recorded else _units_after_codes(data):
        kind = data[start] & 31 if avc else data[start] >> 1 & 63
        if (1 <= kind <= 5) if avc else kind < 32:
            return kind
    return -1


def _units(data: bytes, length_bytes: int) -> Iterator[int]:
    start = length_bytes
    while start < len(data):
        yield start
        start += int.from_bytes(data[start - length_bytes : start]) + length_bytes


def _units_after_codes(data: bytes) -> Iterator[int]:
    start = data.find(b"\0\0\1") + 3
    while 3 <= start < len(data):
        yield start
        start = data.find(b"\0\0\1", start) + 3
