"""Opening a video file from strangers: which stream to decode, where to enter it, and how long it claims to be."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.video.stream import VideoStream

from fabnet.video.limits import MAX_PIXELS, Deadline, check_size
from fabnet.video.packets import is_entry
from fabnet.video.reject import Rejected

# Only containers of video, and nothing that could name other files or addresses.
_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,asf,gif"
_OPTIONS = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
_DECODER_OPTIONS = {"max_pixels": str(MAX_PIXELS)}

# These keep an index by display time; a seek in the others is a guess.
_SEEKABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
# Where a seek leads to no entry, it is tried from further before.
_STEPS_BACK_S = (0, 15, 120)


@contextmanager
def open_video(path: Path, deadline: Deadline) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its stream of pictures.

    Raises:
        Rejected: unreadable, no_video_stream, no_frames, too_large or too_slow.
    """
    with _open(path, deadline) as container:
        if not container.streams:
            raise Rejected("no_frames", "the file holds no streams at all")
        pictures = av.stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & pictures]
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in container.streams}))
            raise Rejected("no_video_stream", f"its streams are: {kinds}")
        stream = streams[0]
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
