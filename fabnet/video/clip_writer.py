"""An MP4 file written frame by frame, at the times and in the time base of another video."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from fabnet.errors import UserError
from fabnet.video.decode import open_video
from fabnet.video.reject import Deadline

#: By preference: what every player shows, then what every build of FFmpeg can write.
_CODECS = {"libx264": {"crf": "17", "preset": "medium"}, "libopenh264": {}, "mpeg4": {"qscale": "3"}}
_FALLBACK_RATE = Fraction(25)
# 24000/1001 is the most crooked rate in use.
_CROOKED = 1001


def choose_codec() -> str:
    """The best encoder that is built into PyAV.

    Raises:
        UserError: there is none.
    """
    for name in _CODECS:
        try:
            av.Codec(name, "w")
        except UnknownCodecError:
            continue
        return name
    raise UserError(f"this build of PyAV writes no video: it has none of {', '.join(_CODECS)}")


def time_base_of(video: Path) -> Fraction:
    """The unit of a video's times, in seconds.

    Raises:
        Rejected: see open_video.
    """
    with open_video(video, Deadline(60.0)) as (_, stream):
        return Fraction(stream.time_base or 1 / _FALLBACK_RATE)


def rate_of(frames: int, last_s: float) -> Fraction:
    """Frames per second of a video, by what was decoded of it: headers may say anything.

    Args:
        frames: of the video.
        last_s: when its last frame begins, in seconds after the first.
    """
    if frames < 2 or last_s <= 0:
        return _FALLBACK_RATE
    return Fraction((frames - 1) / last_s).limit_denominator(_CROOKED)


class ClipWriter:
    """Takes pictures, uint8 (H, W, 3) with even sides, at increasing times."""

    def __init__(self, container: OutputContainer, stream: VideoStream, rate: Fraction, time_base: Fraction) -> None:
        self._container, self._stream, self._time_base = container, stream, time_base
        self._duration = max(1, round(1 / rate / time_base))
        self._last = -1

    def add(self, time_s: float, picture: NDArray[np.uint8]) -> None:
        """Append a picture.

        Args:
            time_s: when it is shown, in seconds after the first.
            picture: uint8 (H, W, 3) RGB, of the file's height and width in pixels.
        """
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        # Times of a damaged file may stand still, which MP4 cannot say.
        self._last = max(round(time_s / self._time_base), self._last + 1)
        frame.pts, frame.time_base = self._last, self._time_base
        self._mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._mux(self._stream.encode())

    def _mux(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            packet.duration = self._duration  # the last one's counts; of the others MP4 knows the times
            self._container.mux(packet)


@contextmanager
def write_clip(path: Path, width: int, height: int, rate: Fraction, time_base: Fraction) -> Iterator[ClipWriter]:
    """Open an MP4 file for writing.

    Args:
        path: of the file.
        width, height: of its pictures in pixels; even.
        rate: frames per second, as the header announces them.
        time_base: unit of the pictures' times in seconds.
    """
    codec = choose_codec()
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream(codec, rate=rate, options=dict(_CODECS[codec]))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = time_base
        writer = ClipWriter(container, stream, rate, time_base)
        yield writer
        writer.finish()
