"""A decoded frame becomes the picture that a player shows: upright, with square pixels, in standard dynamic range."""

from dataclasses import dataclass
from fractions import Fraction
from math import hypot, radians, tan
from struct import unpack

import av.error
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from fabnet.frames.conversion import SAME_EVERYWHERE
from fabnet.video.reject import Rejected, check_size
from fabnet.video.tone import TRANSFERS, Light, ToneMapper, Transfer, graded

# Phones write whole turns; rounding in a file's fixed-point numbers stays far below this.
_TURN_SLACK = tan(radians(1))

# Anamorphic film has pixels of 2:1. What is much further from square is a broken header.
_MOST_STRETCH = 4

_UNSPECIFIED = 2  # libav's AVCOL_SPC_UNSPECIFIED


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways a camera may lie: rows and columns change places first, then the picture is mirrored.

    Attributes:
        transposed: rows become columns.
        mirrored: left and right change places, after that.
        upside_down: above and below change places, after that.
    """

    transposed: bool = False
    mirrored: bool = False
    upside_down: bool = False

    def upright(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """An image (H, W, 3) as it lies in the file, turned."""
        if self == Orientation():
            return image
        if self.transposed:
            image = image.transpose(1, 0, 2)
        return np.ascontiguousarray(image[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1])


def orientation(matrix: bytes | None) -> Orientation:
    """What a display matrix asks for.

    The file says how the point (x, y) of its picture moves: to (a x + c y, b x + d y). Its lengths do not count, as in
    players: libav has made pixels that are not square of those. A matrix that takes the picture to a line is ignored.

    Args:
        matrix: of libav's side data: nine numbers of 32 bits in rows, a b u, c d v, x y w; None where there is none.

    Raises:
        Rejected: unreadable, where the picture would lie aslant.
    """
    if matrix is None:
        return Orientation()
    a, b, _, c, d, *_ = unpack("=9i", matrix)
    across, down = hypot(a, c), hypot(b, d)
    if not across or not down:
        return Orientation()
    a, c, b, d = a / across, c / across, b / down, d / down
    if max(abs(b), abs(c)) <= _TURN_SLACK:
        return Orientation(False, a < 0, d < 0)
    if max(abs(a), abs(d)) <= _TURN_SLACK:
        return Orientation(True, c < 0, b < 0)
    raise Rejected(
        "unreadable",
        f"its display matrix ({a:.2f} {b:.2f}; {c:.2f} {d:.2f}) turns it by no quarter or skews it; store it upright",
    )


class PixelAspect:
    """Width over height of a stream's pixels, which may change on the way.

    Args:
        stream: just opened.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._context = stream.codec_context
        self._stated = stream.sample_aspect_ratio
        # Where the container and the stream differ, the container wins, as in players.
        self._follows = self._stated is None or self._stated == self._context.sample_aspect_ratio

    def now(self) -> Fraction:
        """That of the frame which was decoded last: 1 where nothing is known."""
        ratio = self._context.sample_aspect_ratio if self._follows else self._stated
        return ratio if ratio is not None and ratio > 0 else Fraction(1)


class Display:
    """Shows frames.

    Pixels that are not square keep their height, and are as wide as they should be (as in ffplay, once the picture was
    turned upright). Whether codes are of high dynamic range is told by the transfer function alone; what a film in PQ
    was graded for, by what its first picture says of the brightest light, for all of them alike.
    """

    def __init__(self) -> None:
        self._convert = VideoReformatter()
        self._mappers: dict[tuple[int, int], ToneMapper] = {}
        self._lights: dict[Transfer, Light] = {}

    def picture(self, frame: VideoFrame, pixel: Fraction) -> NDArray[np.uint8]:
        """uint8 (H, W, 3) RGB.

        Args:
            frame: as it was decoded.
            pixel: width over height of its pixels.

        Raises:
            Rejected: unreadable or too_large.
        """
        check_size(frame.width, frame.height)
        matrix = frame.side_data.get("DISPLAYMATRIX")
        turn = orientation(bytes(matrix) if isinstance(matrix, SideData) else None)
        width, height = _square_pixels(frame.width, frame.height, pixel, turn.transposed)
        check_size(width, height)
        try:
            return turn.upright(self._rgb(frame, width, height))
        except (av.error.FFmpegError, ValueError) as error:
            raise Rejected("unreadable", f"no conversion of its {frame.format.name} pictures: {error}") from None

    def _rgb(self, frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        transfer = TRANSFERS.get(frame.color_trc)
        if transfer is None:
            rgb = self._convert.reformat(frame, width, height, "rgb24", interpolation=SAME_EVERYWHERE, threads=1)
            return np.asarray(rgb.to_ndarray(), dtype=np.uint8)
        deep = self._convert.reformat(
            frame,
            width,
            height,
            "rgb48le",
            # Nobody means BT.601, libav's answer to nothing said, by light of high range.
            src_colorspace=Colorspace.BT2020 if frame.colorspace == _UNSPECIFIED else None,
            interpolation=SAME_EVERYWHERE,
            threads=1,
        )
        key = frame.color_trc, frame.color_primaries
        if key not in self._mappers:
            light = self._lights.setdefault(transfer, graded(transfer, brightest_told(frame)))
            self._mappers[key] = ToneMapper(transfer, frame.color_primaries, light)
        return self._mappers[key].mapped(deep)


def brightest_told(frame: VideoFrame) -> float | None:
    """The brightest light of a film by a frame's metadata, cd/m2; None where they say nothing.

    That is MaxCLL or the peak of the display it was graded on, and the lesser where both are told: a film cannot be
    brighter than the display it was made on, and may be darker.
    """
    told = []
    level = frame.side_data.get("CONTENT_LIGHT_LEVEL")
    if isinstance(level, SideData):
        told.append(float(unpack("=2I", bytes(level)[:8])[0]))
    display = frame.side_data.get("MASTERING_DISPLAY_METADATA")
    if isinstance(display, SideData):
        # libav's struct: primaries and white as eight fractions, least and greatest light as two, and which are told.
        *_, greatest, parts, _, is_told = unpack("=22i", bytes(display)[:88])
        told.append(greatest / parts if is_told and parts else 0.0)
    return min((light for light in told if light > 0), default=None)


def _square_pixels(width: int, height: int, pixel: Fraction, transposed: bool) -> tuple[int, int]:
    """Size of a frame with square pixels, before it is turned: what will be its height stays."""
    if max(pixel, 1 / pixel) > _MOST_STRETCH:
        raise Rejected("unreadable", f"its pixels are {pixel.numerator}:{pixel.denominator}, which no player shows")
    if transposed:
        return width, max(1, int(height / pixel))
    return max(1, int(width * pixel)), height
