"""A video file as the frames on display at a fixed rate, and those that a detector looks at.

Files come from strangers: which stream to decode, where to enter it and how long it claims to be are checked first.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from fabnet.video.faces import Frame, Tally
from fabnet.video.packets import Grid, PacketChoice, Work, is_entry
from fabnet.video.picture import Display, PixelAspect
from fabnet.video.reject import MAX_PIXELS, Deadline, Rejected, check_size

# Only containers of video, and nothing that could name other files or addresses.
_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,asf,ogg,mxf,dv,gif"
_OPTIONS = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
_DECODER_OPTIONS = {"max_pixels": str(MAX_PIXELS)}

# These keep an index by display time; a seek in the others is a guess.
_SEEKABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
# Where a seek leads to no entry, it is tried from further before.
_STEPS_BACK_S = (0, 15, 120)

# Recordings of broadcasts begin and end where they do; the last frame is damaged then, as others may be.
_CUT_ANYWHERE = ("mpegts", "mpeg")

T = TypeVar("T")

# Durations in headers are rounded, and may count a last frame differently.
_SLACK_FRAMES, _SLACK_S, _SLACK_SHARE = 2, Fraction(1, 4), Fraction(1, 100)

# Headers announce a little too little at times; more means that the frames' times are not to be trusted.
_OVERTIME_S, _OVERTIME_SHARE = 1, Fraction(1, 10)

# Broken time stamps leave a frame on display for hours, or years.
_LONGEST_DISPLAY_S = 900

# Less than this is decoded faster than the file is opened for a seek.
_SEEK_BEYOND_S = 5


@contextmanager
def open_video(path: Path, deadline: Deadline) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its stream of pictures: the first of those that it flags as default, or of all.

    Args:
        path: of the file.
        deadline: for opening it.

    Raises:
        Rejected: unreadable, no_video_stream, no_frames, too_large or too_slow.
    """
    with _open(path, deadline) as container:
        if not container.streams:
            raise Rejected("no_frames", "the file holds no streams at all")
        cover = Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & cover]
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in container.streams}))
            raise Rejected("no_video_stream", f"its streams are: {kinds}")
        stream = next((stream for stream in streams if stream.disposition & Disposition.default), streams[0])
        context = stream.codec_context
        if context is None:
            raise Rejected("unreadable", "no decoder for its video")
        check_size(context.width, context.height)
        # Clips run in parallel, so that a decoder's own threads would only compete.
        context.thread_count = 1
        context.options = _DECODER_OPTIONS
        yield container, stream


@contextmanager
def _open(path: Path, deadline: Deadline) -> Iterator[InputContainer]:
    try:
        if path.stat().st_size == 0:
            raise Rejected("unreadable", "the file is empty")
        container = av.open(
            f"file:{path}",  # the prefix keeps libav from reading a protocol into a file name with a colon
            options=_DECODER_OPTIONS,
            container_options=_OPTIONS,
            metadata_errors="replace",
            timeout=deadline.limit_s,
        )
    except av.error.InvalidDataError:
        raise Rejected("unreadable", "not a video, or cut before its table of contents") from None
    except av.error.EOFError:
        raise Rejected("no_frames", "the file ends before its first frame") from None
    except av.error.ExitError:
        raise deadline.rejected() from None
    except (av.error.FFmpegError, OSError) as error:
        raise Rejected("unreadable", f"cannot be opened: {error.strerror}") from None
    with container:
        yield container


def find_entry(path: Path, after_s: Fraction, deadline: Deadline) -> tuple[int, int] | None:
    """Where to enter a file for what is on display `after_s` seconds after its first frame.

    Args:
        path: of the file.
        after_s: seconds after the first frame.
        deadline: for the whole clip.

    Returns:
        Display time of the first frame, and the place to seek to, both in units of the stream's time base. None where
        a seek cannot be relied on, or the file is damaged at its beginning.
    """
    with open_video(path, deadline) as (container, stream):
        if container.format.name not in _SEEKABLE or stream.time_base is None:
            return None
        try:
            first = next(container.decode(stream), None)
            if first is None or first.pts is None:
                return None
            wanted = first.pts + int(after_s / stream.time_base)
            for back in _STEPS_BACK_S:
                place = wanted - int(back / stream.time_base)
                if place <= first.pts:
                    return None
                container.seek(place, stream=stream)
                packet = next(container.demux(stream))
                if packet.pts is not None and packet.pts <= wanted and is_entry(packet, stream):
                    return first.pts, place
        except av.error.FFmpegError:
            return None  # decoding it from the beginning tells why
    return None


def announced_duration(container: InputContainer, stream: VideoStream) -> Fraction:
    """Seconds of video the header promises; 0 where it does not say.

    Args:
        container: an open file.
        stream: of pictures in it.
    """
    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    written = stream.metadata.get("DURATION", "")  # Matroska: HH:MM:SS.fraction
    try:
        hours, minutes, seconds = written.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
    except ValueError:
        # The container's duration is that of its longest stream, so it tells only about a lone one.
        alone = len(container.streams) == 1 and container.duration
        return Fraction(container.duration or 0, av.time_base) if alone else Fraction(0)


@dataclass(frozen=True)
class _Decoded:
    """A frame and width over height of its pixels; no frame where damage would show in it, or none could be decoded."""

    frame: VideoFrame | None
    pixel: Fraction = Fraction(1)


def frames(
    path: Path,
    fps: float,
    every: int | None = None,
    span: tuple[float, float] | None = None,
    limit_s: float = 600.0,
    max_damaged: float = 0.0,
    tally: Tally | None = None,
) -> Iterator[Frame]:
    """Decode one clip in order, holding few frames at a time. Pictures are as players show them (fabnet.video.picture).

    Sample k shows the last frame with a presentation time <= k / fps after the clip's first frame, so the clip's own
    frame rate need not be constant. A frame on display at several samples comes once. Frames that are not wanted are
    not decoded where that changes nothing (see fabnet.video.packets). From a frame that is damaged to the next key
    frame none comes.

    Args:
        path: of the file.
        fps: samples per second.
        every: frames number 0, `every`, 2 * `every` ... of the file come as well, as looked at.
        span: only what is on display between two times comes, in seconds after the clip's first frame.
        limit_s: time for the whole clip, including what is done with its frames meanwhile.
        max_damaged: share of the time of what is decoded that may be damaged.
        tally: counts the samples that were left out.

    Raises:
        Rejected: unreadable, no_video_stream, no_frames, truncated, damaged, too_large or too_slow. Some damage is
            known only after the frames before it have been yielded: whoever keeps them has to drop them.
    """
    rate = Fraction(str(fps))
    grid = Grid(rate) if span is None else Grid(rate, *_numbers(span, rate))
    display = Display()
    timed = _timed_frames(path, grid, every is not None, Deadline(limit_s), max_damaged)
    for samples, looked_at, time, decoded in displayed(timed, grid, every):
        if decoded.frame is not None:
            yield Frame(float(time), samples, looked_at, display.picture(decoded.frame, decoded.pixel))
        elif tally is not None:
            tally.damaged += len(samples)


def displayed(
    items: Iterable[tuple[Fraction, T | None]], grid: Grid, every: int | None = None
) -> Iterator[tuple[tuple[int, ...], bool, Fraction, T]]:
    """What is on display at the samples of `grid`, and every so many-th item besides.

    Args:
        items: (time after the clip's first frame, item) by non-decreasing time; the last is (end of the display, None).
        grid: the samples.
        every: items number 0, `every`, 2 * `every` ... come as well; None is none of them.

    Yields:
        (numbers of samples, whether it is one of every so many, time, item)

    Raises:
        Rejected: an item stays for longer than any video would show it.
    """
    held: tuple[Fraction, T] | None = None
    place = 0
    for time, item in items:
        if held is not None:
            begin, end = grid.after(held[0]), grid.after(time)
            if grid.last is not None:
                end = min(end, grid.last + 1)
            if end - begin > 2 and end - begin > _LONGEST_DISPLAY_S * grid.fps:
                raise Rejected("truncated", f"its time stamps jump by {float(time - held[0]):.0f} s")
            looked_at = every is not None and place % every == 0
            if begin < end or looked_at:
                yield tuple(range(begin, end)), looked_at, *held
            place += 1
        if item is None or grid.ends_before(grid.after(time)):
            return
        held = time, item


def _numbers(span: tuple[float, float], rate: Fraction) -> tuple[int, int]:
    """First and last sample in a span of time."""
    first, last = (Fraction(str(time)) * rate for time in span)
    return max(0, -(-first.numerator // first.denominator)), last.numerator // last.denominator


def _timed_frames(
    path: Path, grid: Grid, everything: bool, deadline: Deadline, max_damaged: float = 0.0
) -> Iterator[tuple[Fraction, _Decoded | None]]:
    """(time after the clip's first frame, frame), times never decreasing; at last (end of the display, None)."""
    start_s = grid.first / grid.fps
    entry = find_entry(path, start_s, deadline) if start_s > _SEEK_BEYOND_S and not everything else None
    with open_video(path, deadline) as (container, stream):
        decoder, choice = _Decoder(stream), PacketChoice(stream, grid)
        if entry is not None:
            decoder.origin, place = entry
            container.seek(place, stream=stream)
            choice.begin(decoder.origin)
        try:
            torn = False  # whether the packet before came in part
            for packet in container.demux(stream):
                deadline.check()
                if not packet.size:
                    continue  # the file's end; or, in AVI, a frame that stays as it is
                torn = packet.is_corrupt
                started = decoder.origin is not None
                for work in choice.add(packet):
                    yield from decoder.decode(work)
                # The two fields of an interlaced frame may come as two packets, which would count as two frames.
                if not started and decoder.origin is not None and not decoder.interlaced and not everything:
                    choice.begin(decoder.origin)
                if choice.done():
                    yield from decoder.drain()
                    decoder.check_damage(max_damaged)
                    yield grid.end(), None
                    return
            if torn and container.format.name not in _CUT_ANYWHERE:
                raise Rejected("truncated", f"the file ends inside a frame, {decoder.progress()}")
            for work in choice.decode_all():
                yield from decoder.decode(work)
            yield from decoder.drain()
        except av.error.ExitError:
            raise deadline.rejected() from None
        except av.error.FFmpegError as error:
            raise Rejected("truncated", f"decoding broke off {decoder.progress()}: {error.strerror}") from None
        end = decoder.end(announced_duration(container, stream))
        decoder.check_damage(max_damaged)
        yield end, None


class _Decoder:
    """The decoder of a stream, which gives its frames times that never decrease.

    Attributes:
        origin: display time of the clip's first frame in units of the stream's time base; None while it is not known,
            or where the file has no times.
        interlaced: whether the last frame was of two fields.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._context = stream.codec_context
        self._pixel = PixelAspect(stream)
        self._time_base = stream.time_base or Fraction(1)
        self._interval = 1 / stream.average_rate if stream.average_rate else Fraction(1, 25)
        # Of HEVC, a picture that no other of its layer refers to may still be one for the layers above.
        self._skips = self._context.name == "h264"
        self._first: Fraction | None = None
        self._last: Fraction | None = None
        self._duration = self._interval
        self._damaged = False  # the last frame, by itself or since an earlier one
        self._damaged_s = Fraction(0)
        self._broken_from: int | None = None  # display time of a packet that was torn, or refused by the decoder
        self.origin: int | None = None
        self.interlaced = False

    def decode(self, work: Work) -> Iterator[tuple[Fraction, _Decoded]]:
        if work.restarts:
            yield from self.drain()
            self._context.flush_buffers()
        if self._skips:
            self._context.skip_frame = "DEFAULT" if work.shown else "NONREF"
        try:
            decoded = self._context.decode(work.packet)
        except av.error.FFmpegError as error:
            if not self._context.width:  # what libav leaves of a size beyond max_pixels
                raise Rejected("too_large", f"frames of over {MAX_PIXELS:,} pixels, {self.progress()}") from None
            if not isinstance(error, av.error.InvalidDataError):
                raise
            self._break(work.packet)
            return
        if work.packet.is_corrupt:
            self._break(work.packet)
        yield from self._timed(decoded)

    def _break(self, packet: Packet) -> None:
        if packet.pts is None:
            self._damaged = True
        elif self._broken_from is None or packet.pts < self._broken_from:
            self._broken_from = packet.pts

    def drain(self) -> Iterator[tuple[Fraction, _Decoded]]:
        """What the decoder still holds; it takes nothing more."""
        yield from self._timed(self._context.decode(None))
        yield from self._lost()

    def _timed(self, decoded: Iterable[VideoFrame]) -> Iterator[tuple[Fraction, _Decoded]]:
        for frame in decoded:
            if self._last is None and self.origin is None:
                self.origin = frame.pts
            if frame.pts is not None:
                time = (frame.pts - (self.origin or 0)) * self._time_base
            else:
                time = Fraction(0) if self._last is None else self._last + self._interval
            self._duration = frame.duration * self._time_base if frame.duration else self._interval
            # Broken time stamps may jump back, the order of the frames does not.
            time = time if self._last is None else max(self._last, time)
            yield from self._lost(time)
            self._pass(time)
            self.interlaced = frame.interlaced_frame
            # Some pictures that only begin to build up are called key frames too, but are of another type.
            whole = frame.key_frame and frame.pict_type == PictureType.I and frame.pts != self._broken_from
            if self._broken_from is not None and (frame.pts is None or frame.pts >= self._broken_from):
                self._damaged, self._broken_from = True, None
            self._damaged = frame.is_corrupt or (self._damaged and not whole)
            yield time, _Decoded(None if self._damaged else frame, self._pixel.now())

    def _lost(self, before: Fraction | None = None) -> Iterator[tuple[Fraction, _Decoded]]:
        """The frame of a broken packet of which nothing came, lest the one before stays on display."""
        if self._broken_from is None or self._last is None:
            return
        time = (self._broken_from - (self.origin or 0)) * self._time_base
        if self._last < time and (before is None or time < before):
            self._pass(time)
            self._damaged = True
            yield time, _Decoded(None)

    def _pass(self, time: Fraction) -> None:
        """The frame before stayed until `time`."""
        if self._last is None:
            self._first = time
        elif self._damaged:
            self._damaged_s += time - self._last
        self._last = time

    def end(self, announced: Fraction) -> Fraction:
        """End of the display of the last frame, in seconds after the first; the header announced so many of video.

        Raises:
            Rejected: no_frames, truncated or damaged.
        """
        if self._last is None:
            if announced:
                raise Rejected("truncated", f"no frames, but {float(announced):.2f} s announced")
            raise Rejected("no_frames", "its video stream is empty")
        end = self._last + self._duration
        # Some containers announce a length, others an end: that of a clip which begins late is beyond its length.
        decoded = end + max((self.origin or 0) * self._time_base, Fraction(0))
        if announced - decoded > max(_SLACK_FRAMES * self._interval, _SLACK_S, _SLACK_SHARE * announced):
            raise Rejected("truncated", f"ends after {float(decoded):.2f} s of {float(announced):.2f} s")
        if announced and self._last - announced > max(Fraction(_OVERTIME_S), _OVERTIME_SHARE * announced):
            raise Rejected("damaged", f"its times run on to {float(end):.2f} s, of {float(announced):.2f} s announced")
        return end

    def check_damage(self, most: float) -> None:
        """Nothing more comes. Raises Rejected (damaged) if a larger share of the time than `most` was."""
        if self._last is None or self._first is None:
            return
        self._pass(self._last + self._duration)
        share = self._damaged_s / max(self._last - self._first, self._interval)
        if share > Fraction(most):
            raise Rejected(
                "damaged",
                f"{float(self._damaged_s):.2f} s, {float(100 * share):.0f} %, lie between a damaged frame and the next "
                f"whole one; extract.max_damaged allows {100 * most:g} %",
            )

    def progress(self) -> str:
        return "at its beginning" if self._last is None else f"after {float(self._last):.2f} s"
