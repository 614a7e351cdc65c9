"""How pictures become RGB, those of videos and image files, and RGB becomes pictures of videos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from av.video.reformatter import Interpolation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: For every `reformat` and `to_ndarray` of frames. Without the last two, libswscale converts by routines of the
#: processor's instruction set, each of which rounds in its own way (docs/decisions/0014-same-bytes-everywhere.md).
SAME_EVERYWHERE = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"

# A JPEG is a row of segments (FF, marker, length, content), of which the pixels come last; EXIF is one of them, and an
# image file directory of TIFF, of which one entry is the orientation (EXIF 3.0, sections 4.6 and 4.7).
_EXIF, _EXIF_SEGMENT, _PIXELS = b"Exif\0\0", 0xE1, (0xDA, 0xD9)
_ORIENTATION = 0x0112


class ImageError(Exception):
    """Bytes that give no image.

    Attributes:
        reason: "unreadable" or "too_large".
        detail: one short line for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def decode_image(data: bytes, *, exif: bool, max_pixels: int | None = None) -> NDArray[np.uint8]:
    """The pixels of an image file, uint8 (H, W, 3) RGB.

    Args:
        data: the file's content.
        exif: as viewers show it, turned by the orientation that a camera noted. Without it pixels lie as they are
            stored, which is what the annotations of published sets are about: the tools that made them did not turn
            images. TIFF, whose orientation is no EXIF, is turned always.
        max_pixels: for files from strangers: only JPEG and PNG of no more pixels, which is checked before decoding.
            Without it any format that OpenCV reads, such as BMP and TIFF, of any size.

    Raises:
        ImageError: the bytes are no such image, damaged, or too large.
    """
    if data.startswith(JPEG):
        return _jpeg(data, exif, max_pixels)
    if max_pixels is not None:
        _check_png(data, max_pixels)
    if not data:
        raise ImageError("unreadable", "the file is empty")
    if data.startswith(PNG) and exif:
        return _turned(_opencv(data, False), orientation(data))
    return _opencv(data, exif)


def orientation(data: bytes) -> int | None:
    """How a JPEG or PNG has to be turned before it is shown, as EXIF counts it: 1 (not at all) to 8.

    Args:
        data: the file's content, or the beginning of it.

    Returns:
        1 where nothing, or nothing that makes sense, is noted; None where a JPEG ends before that is known.
    """
    if data.startswith(JPEG):
        at = 2
        while at + 4 <= len(data):
            marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
            if data[at] != 0xFF or marker in _PIXELS:
                return 1
            if marker == 0xFF:  # a filling byte
                at += 1
                continue
            content = data[at + 4 : at + 2 + length]
            at += 2 + length
            if marker == _EXIF_SEGMENT and content.startswith(_EXIF):
                return _noted(content[len(_EXIF) :]) if at <= len(data) else None
        return None
    if data.startswith(PNG):
        at = len(PNG)
        while at + 8 <= len(data):
            length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
            if kind == b"eXIf":
                return _noted(data[at + 8 : at + 8 + length])
            at += 12 + length
    return 1


def _noted(exif: bytes) -> int:
    """The orientation in a block of EXIF: a header of TIFF, and entries of 12 bytes."""
    order: Literal["little", "big"] = "little" if exif.startswith(b"II") else "big"
    first = int.from_bytes(exif[4:8], order)
    end = first + 2 + 12 * int.from_bytes(exif[first : first + 2], order)
    for at in range(first + 2, min(end, len(exif)), 12):
        if int.from_bytes(exif[at : at + 2], order) == _ORIENTATION:
            found = int.from_bytes(exif[at + 8 : at + 10], order)
            return found if 1 <= found <= 8 else 1
    return 1


def _turned(image: NDArray[np.uint8], orientation: int | None) -> NDArray[np.uint8]:
    """An image as it is shown: 2 to 4 are mirrored, upside down and both, 5 to 8 change width and height."""
    if orientation is None or orientation == 1:
        return image
    if orientation > 4:
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image.copy()


def _jpeg(data: bytes, exif: bool, max_pixels: int | None) -> NDArray[np.uint8]:
    import simplejpeg

    try:
        if max_pixels is not None:
            height, width, _, _ = simplejpeg.decode_jpeg_header(data)
            _check_size(width, height, max_pixels)
        image: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB")
    except ValueError as error:
        raise ImageError("unreadable", f"damaged JPEG: {error}") from None
    return _turned(image, orientation(data)) if exif else image


def _check_png(data: bytes, max_pixels: int) -> None:
    if not data.startswith(PNG):
        raise ImageError("unreadable", "neither JPEG nor PNG" if data else "the file is empty")
    # The header comes first: length, name, width, height.
    if len(data) < 24 or data[12:16] != b"IHDR":
        raise ImageError("unreadable", "damaged PNG: no header")
    _check_size(int.from_bytes(data[16:20]), int.from_bytes(data[20:24]), max_pixels)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError("too_large", f"frames of {width} x {height}, more than {max_pixels:,} pixels")


def _opencv(data: bytes, exif: bool) -> NDArray[np.uint8]:
    import cv2
    import numpy as np

    flags = cv2.IMREAD_COLOR_RGB if exif else cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError("unreadable", f"cannot be decoded: {error.err}") from None
    if image is None:
        raise ImageError("unreadable", "damaged image")
    return np.asarray(image, dtype=np.uint8)
