"""A video file as frames at a fixed rate, chosen by presentation time."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from fabnet.video.reject import Rejected

T = TypeVar("T")

# A clip is data from strangers: only containers of video, and nothing that could name other files or addresses.
_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,asf"
_OPTIONS = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}

# Durations in headers are rounded, and may count a last frame differently.
_SLACK_FRAMES, _SLACK_S, _SLACK_SHARE = 2, Fraction(1, 4), Fraction(1, 100)


@dataclass(frozen=True)
class Sample:
    """A frame as displayed at `number / fps` seconds after the clip's first frame.

    Attributes:
        number: of the sample, from 0.
        time_s: when the frame's own display began, in seconds after the clip's first frame.
        image: uint8 (H, W, 3) RGB, turned upright as the file's rotation says.
    """

    number: int
    time_s: float
    image: NDArray[np.uint8]


def samples(path: Path, fps: float) -> Iterator[Sample]:
    """Decode one clip from its beginning to its end, holding one frame at a time.

    Sample k shows the last frame with a presentation time <= k / fps after the first frame, so the clip's own frame
    rate need not be constant; a frame is repeated where it is displayed longer than 1 / fps.

    Raises:
        Rejected: unreadable, no_video_stream, no_frames or truncated. The last is known only after the samples that
            came before it have been yielded: whoever keeps them has to drop them.
    """
    with _open(path) as container:
        stream = _video_stream(container)
        for number, time, frame in displayed(_timed_frames(container, stream), Fraction(str(fps))):
            image = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
            yield Sample(number, float(time), upright(image, frame.rotation))


def displayed(items: Iterable[tuple[Fraction, Fraction, T]], fps: Fraction) -> Iterator[tuple[int, Fraction, T]]:
    """What is on display at 0, 1 / fps, 2 / fps ... after the first of `items`.

    Args:
        items: (time, duration, item) by non-decreasing time; only the last one's duration matters.

    Yields:
        (k, time of the item after the first one's, item)
    """
    number = 0
    first = held = None
    for time, duration, item in items:
        if first is None:
            first = time
        since = time - first
        while held is not None and number / fps < since:
            yield number, held[0], held[2]
            number += 1
        held = (since, duration, item)
    while held is not None and number / fps < held[0] + held[1]:
        yield number, held[0], held[2]
        number += 1


def upright(image: NDArray[np.uint8], degrees: int) -> NDArray[np.uint8]:
    """Turn an image (H, W, 3) counter-clockwise by the rotation of a display matrix; only quarter turns exist."""
    turns = round(degrees / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


@contextmanager
def _open(path: Path) -> Iterator[InputContainer]:
    try:
        if path.stat().st_size == 0:
            raise Rejected("unreadable", "the file is empty")
        # The prefix keeps libav from reading a protocol into a file name with a colon.
        container = av.open(f"file:{path}", container_options=_OPTIONS, metadata_errors="replace")
    except av.error.InvalidDataError:
        raise Rejected("unreadable", "not a video, or cut before its table of contents") from None
    except av.error.EOFError:
        raise Rejected("no_frames", "the file ends before its first frame") from None
    except (av.error.FFmpegError, OSError) as error:
        raise Rejected("unreadable", f"cannot be opened: {error.strerror}") from None
    with container:
        yield container


def _video_stream(container: InputContainer) -> VideoStream:
    if not container.streams:
        raise Rejected("no_frames", "the file holds no streams at all")
    pictures = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & pictures]
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams}))
        raise Rejected("no_video_stream", f"its streams are: {kinds}")
    stream = streams[0]
    if stream.codec_context is None:
        raise Rejected("unreadable", "no decoder for its video")
    # Clips run in parallel, so that a decoder's own threads would only compete.
    stream.codec_context.thread_count = 1
    return stream


def _timed_frames(container: InputContainer, stream: VideoStream) -> Iterator[tuple[Fraction, Fraction, VideoFrame]]:
    """(presentation time, duration, frame) of every frame, times never decreasing."""
    interval = 1 / stream.average_rate if stream.average_rate else Fraction(1, 25)
    first = last = None
    duration = interval
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise Rejected("truncated", f"the file ends inside a frame, {_at(first, last)}")
            for frame in packet.decode():
                if frame.pts is not None and frame.time_base is not None:
                    time = frame.pts * frame.time_base
                else:
                    time = Fraction(0) if last is None else last + interval
                duration = frame.duration * frame.time_base if frame.duration and frame.time_base else interval
                # Broken time stamps may jump back, the order of the frames does not.
                last = time if last is None else max(last, time)
                first = last if first is None else first
                yield last, duration, frame
    except av.error.FFmpegError as error:
        raise Rejected("truncated", f"decoding broke off {_at(first, last)}: {error.strerror}") from None
    announced = _announced_duration(container, stream)
    if first is None or last is None:
        if announced:
            raise Rejected("truncated", f"no frames, but {float(announced):.2f} s announced")
        raise Rejected("no_frames", "its video stream is empty")
    # Some containers announce a length, others an end: that of a clip which begins late is beyond its length.
    decoded = last + duration - min(first, Fraction(0))
    if announced - decoded > max(_SLACK_FRAMES * interval, _SLACK_S, _SLACK_SHARE * announced):
        raise Rejected("truncated", f"ends after {float(decoded):.2f} s of {float(announced):.2f} s")


def _announced_duration(container: InputContainer, stream: VideoStream) -> Fraction:
    """Seconds of video the header promises; 0 where it does not say."""
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


def _at(first: Fraction | None, last: Fraction | None) -> str:
    return "at its beginning" if first is None or last is None else f"after {float(last - first):.2f} s"
